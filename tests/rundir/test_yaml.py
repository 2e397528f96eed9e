"""parameters.yaml by our parser and by anybody's, and YAML files of people by the rules of version 1.2."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pystematic.rundir import decode, encode, format_parameters, parse_yaml, read_parameters
from tests.builders import run_python
from tests.rundir.odd_values import restorable, same, texts

HEADER = "# Parameters of a run. Every value is JSON, which is YAML too; give this file to --params-file.\n"


def is_unicode(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


names = st.from_regex(r"\A[a-z_]+(\.[a-z_]+)*\Z") | texts().filter(is_unicode)
parameters = st.dictionaries(names, restorable(), max_size=4)


def write(folder: Path, text: str) -> Path:
    path = folder / "parameters.yaml"
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def tree_of(text: str) -> Any:
    return parse_yaml(text)[0]


def test_a_file_holds_one_line_for_each_parameter() -> None:
    plain = {"lr": 1e-3, "layers": [64, 32], "name": "Zoë", "on": True, "nothing": None, "of": {"a b": 1}}

    assert format_parameters(plain) == HEADER + (
        'lr: 0.001\nlayers: [64, 32]\nname: "Zoë"\n"on": true\nnothing: null\nof: {"a b": 1}\n'
    )


@settings(max_examples=25)
@given(parameters)
@example({"a": math.nan, "b": [math.inf, -math.inf]})
def test_our_parser_reads_what_was_written(values: dict[str, Any]) -> None:
    plain = {name: encode(value) for name, value in values.items()}

    assert same(tree_of(format_parameters(plain)) or {}, plain)


@settings(max_examples=25)
@given(parameters)
@example({"a": {"😀": "😀", "k" * 2000: 1, "<<": "=", "~": None, "": ""}})
@example({"a": "\U0001fae8 \ufeff \x85 \u2028 \x7f \0 \ud83d\ude00"})
@example({"😀": 1, "y": 2, "NO": 3, "a: b": 4, "# c": 5, "null": 6, "1": 7, "---": 8, "a-": 9, "e5": 10})
def test_any_parser_of_yaml_reads_what_was_written(values: dict[str, Any]) -> None:
    plain = {name: encode(value) for name, value in values.items()}
    text = format_parameters(plain)

    assert same(yaml.load(text, Loader=yaml.SafeLoader) or {}, plain)
    assert same(yaml.load(text, Loader=yaml.CSafeLoader) or {}, plain)


@settings(max_examples=25)
@given(parameters)
@example({"a": math.nan, "b: c": "\U0001fae8", "d": 10**4000})
def test_a_file_gives_back_the_values(values: dict[str, Any]) -> None:
    path = write(Path(), format_parameters({name: encode(value) for name, value in values.items()}))

    assert same({name: decode(plain) for name, plain in read_parameters(path).items()}, values)


def test_numbers_look_like_numbers_to_parsers_of_both_versions() -> None:
    numbers = [1e-3, 1e16, 1e22, -1e-310, 5e-324, -0.0, 1.5e300, 0, -1, 10**400]

    assert same(yaml.safe_load(format_parameters({"a": numbers}))["a"], numbers)


def test_one_megabyte_of_text_is_read_back(tmp_path: Path) -> None:
    value = "0123456789abcde\n" * 65536

    assert read_parameters(write(tmp_path, format_parameters({"text": value}))) == {"text": value}


def test_own_files_are_read_without_a_parser_of_yaml(working_dir: Path) -> None:
    write(working_dir, format_parameters({"a": 1, "b": {"c": [None, "x"]}}))
    code = (
        "import sys; from pystematic.rundir import read_parameters;"
        "print(read_parameters('parameters.yaml'), 'yaml' in sys.modules)"
    )

    assert run_python("-c", code).stdout == "{'a': 1, 'b': {'c': [None, 'x']}} False\n"


def test_a_file_that_somebody_has_edited_is_read(tmp_path: Path) -> None:
    text = format_parameters({"lr": 0.1, "name": "a"}).replace("0.1", "1e-3  # smaller") + "more: [x, y]\n"

    assert read_parameters(write(tmp_path, text)) == {"lr": 1e-3, "name": "a", "more": ["x", "y"]}


def test_a_file_with_the_line_ends_of_windows_is_read(tmp_path: Path) -> None:
    text = format_parameters({"lr": 0.1, "name": "a"}).replace("\n", "\r\n")

    assert read_parameters(write(tmp_path, text)) == {"lr": 0.1, "name": "a"}


DAMAGED = (
    *("a: [1", "just text", "- a\n- b", "a: 1\na: 2", "a: !!python/name:os.system x", HEADER + "a: [1\n"),
    *("a: " + "[" * 100_000, HEADER + "a: " + "[" * 100_000, HEADER + "a\n", "a: \0"),
)


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: repr(text[-20:]))
def test_a_damaged_file_gives_nothing(text: str, tmp_path: Path) -> None:
    assert read_parameters(write(tmp_path, text)) == {}


def test_bytes_that_are_no_text_give_nothing(tmp_path: Path) -> None:
    path = tmp_path / "parameters.yaml"
    path.write_bytes(b"a: \xff\n")

    assert read_parameters(path) == {}


def test_a_missing_file_gives_nothing(tmp_path: Path) -> None:
    assert read_parameters(tmp_path / "parameters.yaml") == {}
    assert read_parameters(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-3", 1e-3), ("1e3", 1e3), ("1.", 1.0), (".5", 0.5), ("-.5", -0.5), ("+1.5E+2", 150.0), ("-0.0", -0.0)),
        *(("12", 12), ("-12", -12), ("+12", 12), ("012", 12), ("0o17", 15), ("0xfF", 255), ("0", 0)),
        *((".inf", math.inf), ("-.Inf", -math.inf), ("+.INF", math.inf), (".nan", math.nan), (".NaN", math.nan)),
        *(("null", None), ("~", None), ("Null", None), ("", None), ("true", True), ("TRUE", True), ("False", False)),
    ],
)
def test_a_word_without_quotes_is_what_version_1_2_makes_of_it(text: str, value: object) -> None:
    assert same(tree_of(f"a: {text}\n"), {"a": value})


WORDS = (
    *("no", "yes", "on", "off", "y", "n", "tRUE", "NIL", "inf", "nan", "NaN", "+.nan", "+", ".", "--1", "e1", "1e"),
    *("1_000", "0b1", "0o8", "0x", "0xg", "-0x1F", "12:30", "1:30:00", "2026-01-02", "1e1.5", "1e٣", "٣"),
)


@pytest.mark.parametrize("text", WORDS)
def test_other_words_are_text(text: str) -> None:
    assert tree_of(f"a: {text}\n") == {"a": text}


@pytest.mark.parametrize("text", ["1", "true", "~", ".nan", "1e3"])
@pytest.mark.parametrize("quoted", ["'{}'", '"{}"', "!!str {}", "|-\n  {}"])
def test_what_is_quoted_is_text(text: str, quoted: str) -> None:
    assert tree_of(f"a: {quoted.format(text)}\n") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!int 5", 5),
        ("!!float 5", 5.0),
        ("!!bool true", True),
        ("!!null ~", None),
        ("!!seq [1]", [1]),
        ("!!map {}", {}),
    ],
)
def test_tags_of_plain_data_are_followed(text: str, value: object) -> None:
    assert same(tree_of(f"a: {text}\n"), {"a": value})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("!!int x", "line 2: 'x' is no int."),
        ("!!int 1.5", "line 2: '1.5' is no int."),
        ("!!float true", "line 2: 'true' is no float."),
        ("!!bool 1", "line 2: '1' is no bool."),
        ("!!int " + "9" * 5000, f"line 2: {repr('9' * 5000)[:79]}… is no int."),
        ("9" * 5000, "line 2: a number of 5000 digits is not read."),
    ],
)
def test_a_number_that_is_none_names_its_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"^line 2") as caught:
        tree_of(f"# comment\na: {text}\n")
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("!!python/object/apply:os.system ['touch proof']", "!!python/object/apply:os.system"),
        ("!!python/object/new:os.system [touch proof]", "!!python/object/new:os.system"),
        ("!!python/name:os.system x", "!!python/name:os.system"),
        ("!!python/module:proof x", "!!python/module:proof"),
        ("!!python/tuple [1, 2]", "!!python/tuple"),
        ("!own x", "!own"),
        ("!own {a: 1}", "!own"),
        ("!own [1]", "!own"),
        ("!<int> 5", "int"),
        ("!!set {a, b}", "!!set"),
        ("!!omap [a: 1]", "!!omap"),
        ("!!seq {a: 1}", "!!seq"),
        ("!!binary aGk=", "!!binary"),
        ("!!timestamp 2026-01-02", "!!timestamp"),
    ],
)
def test_other_tags_are_refused_and_execute_nothing(text: str, tag: str, working_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"^line 2") as caught:
        tree_of(f"# comment\na: {text}\n")
    assert str(caught.value) == (f"line 2: the tag {tag!r} is refused: a file holds data only, and executes nothing.")
    assert list(working_dir.iterdir()) == []


def test_a_tag_behind_another_handle_is_refused_too(working_dir: Path) -> None:
    with pytest.raises(ValueError, match=r"^line 3: the tag '!!python/object/apply:os\.system' is refused"):
        tree_of("%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['touch proof']\n")
    assert list(working_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: 'a' stands here again, after line 1."),
        ("x:\n  a: 1\n  a: 2\n", "line 3: 'a' stands here again, after line 2."),
        ("? [1, 2]\n: x\n", "line 1: a key must be one word, not a list or table."),
        ("a: &a [*a]\n", "line 1: the aliases of this file make it endless."),
        ("a: [1\nb: 2\n", "line 2: this is no YAML: did not find expected ',' or ']'."),
        ("a:\n\t- 1\n", "line 2: this is no YAML: found character that cannot start any token."),
        ("a: 1\n---\nb: 2\n", "line 2: this is no YAML: but found another document."),
        ("a: *b\n", "line 1: this is no YAML: found undefined alias."),
        ("a: \ud800\n", "this is no YAML: it is no UTF-8 text."),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        parse_yaml(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "text", ["[" * 900 + "]" * 900, "- " * 900 + "x", '"\\ud800": ' + "[" * 5000], ids=lambda text: text[:9]
)
def test_what_is_nested_too_deeply_is_one_message(text: str) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_yaml(text)


def test_a_short_file_that_would_become_endless_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]

    with pytest.raises(ValueError, match=r"^line \d+: the aliases of this file make it endless\.$"):
        parse_yaml("\n".join(levels))


def test_aliases_stand_for_what_they_name() -> None:
    assert tree_of("a: &x {b: [1]}\nc: *x\n") == {"a": {"b": [1]}, "c": {"b": [1]}}


def test_a_merge_key_is_a_key_like_any_other() -> None:
    assert tree_of("a: &x {b: 1}\nc:\n  <<: *x\n") == {"a": {"b": 1}, "c": {"<<": {"b": 1}}}


def test_the_lines_of_keys_are_told_by_their_paths() -> None:
    _, lines = parse_yaml("# comment\na: 1\n\nb:\n  c: {d: 2,\n    e: 3}\n  f:\n  - g: 4\n  - 5\n1: x\n")

    assert lines == {
        ("a",): 2,
        ("b",): 4,
        ("b", "c"): 5,
        ("b", "c", "d"): 5,
        ("b", "c", "e"): 6,
        ("b", "f"): 7,
        ("b", "f", "0", "g"): 8,
        ("1",): 10,
    }


@pytest.mark.parametrize("text", ["", "# comment\n", "---\n", "~"])
def test_an_empty_file_is_none(text: str) -> None:
    assert parse_yaml(text) == (None, {})


@pytest.mark.parametrize("escaped", ["\\ud83d\\ude00", "\\uD83D\\uDE00", "\\U0001F600"])
def test_a_character_that_json_writes_as_a_pair_is_one_character(escaped: str) -> None:
    assert tree_of(f'"{escaped}": "{escaped}"') == {"😀": "😀"}
