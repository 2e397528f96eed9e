"""JSON and TOML files of people: their values, the lines of their keys, and messages that name a line."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.rundir import parse_json_with_lines, parse_toml_with_lines, parse_yaml
from tests.rundir.odd_values import same

trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=15,
)


def paths_in(tree: Any, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return the path of every key of ``tree``."""
    if isinstance(tree, list):
        return {inner for i, item in enumerate(tree) for inner in paths_in(item, (*path, str(i)))}
    if isinstance(tree, dict):
        own = {(*path, key) for key in tree}
        return own | {inner for key, item in tree.items() for inner in paths_in(item, (*path, key))}
    return set()


@given(trees, st.sampled_from([None, 0, 2]))
def test_json_is_read_as_the_standard_library_reads_it_with_every_key(tree: Any, indent: int | None) -> None:
    read, lines = parse_json_with_lines(json.dumps(tree, indent=indent))

    assert same(read, tree)
    assert set(lines) == paths_in(tree)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), trees, min_size=1), st.sampled_from([None, 2]))
def test_json_has_the_same_lines_when_it_is_read_as_yaml(tree: Any, indent: int | None) -> None:
    text = json.dumps(tree, indent=indent)

    assert parse_json_with_lines(text)[1] == parse_yaml(text)[1]


def test_the_lines_of_json_keys_are_told_by_their_paths() -> None:
    _, lines = parse_json_with_lines('{"a": [\n{"b": "}\\n\\"{"},\n{"b": {"c": 1}}],\n\n"\\u0064": {}\n}')

    assert lines == {("a",): 1, ("a", "0", "b"): 2, ("a", "1", "b"): 3, ("a", "1", "b", "c"): 3, ("d",): 5}


def test_a_large_json_file_is_read_in_time_that_grows_with_its_size() -> None:
    text = json.dumps({f"key {i}": "x" * 20 for i in range(30_000)})
    began = time.process_time()
    _, lines = parse_json_with_lines(text)

    assert len(lines) == 30_000
    assert time.process_time() - began < 5  # looking for the end of each text from its start took a minute


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity"])
def test_json_may_hold_what_python_writes_into_it(text: str) -> None:
    assert same(parse_json_with_lines(f'{{"a": {text}}}')[0], {"a": float(text.replace("Infinity", "inf"))})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1,\n"b": 2,\n"a": 3}', "line 3: 'a' stands here again, after line 1."),
        ('{"a": {"b": 1,\n"\\u0062": 2}}', "line 2: 'b' stands here again, after line 1."),
        ('[{"a": 1},\n{"b": 1, "b": 2}]', "line 2: 'b' stands here again, after line 2."),
        ('{\n"a": 1,\n}', "line 3: this is no JSON: Expecting property name enclosed in double quotes."),
        ("{'a': 1}", "line 1: this is no JSON: Expecting property name enclosed in double quotes."),
        ('{"a": 1}\n\nx', "line 3: this is no JSON: Extra data."),
        ("", "line 1: this is no JSON: Expecting value."),
        ("[" * 100_000, "this JSON is nested too deeply."),
        (f"[{'9' * 5000}]", "this JSON holds a number of too many digits."),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_wrong_in_json_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        parse_json_with_lines(text)
    assert str(caught.value) == problem


def test_equal_keys_of_different_objects_are_no_problem() -> None:
    assert parse_json_with_lines('{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}')[0] == {
        "a": {"a": 1},
        "b": [{"a": 1}, {"a": 2}],
    }


TOML = '''\
# a = 1
a = 1
"b.c" = """
x = 3
[no]
"quoted\\""""
m = [
  [1, 2], # [z]
  ["]", 'x = 1'],
]
d = { e = 1, f.g = { h = 2 } }

[t.u] # a comment
  v = 1979-05-27 07:32:00
'w x'.y = \'\'
"\\u00e9" = 1
[[r]]
k = 1
[[ r ]]
k = 2
l = """"quotes"""\""
z = true'''


def test_toml_is_read_as_the_standard_library_reads_it_with_the_lines_of_its_keys() -> None:
    tree, lines = parse_toml_with_lines(TOML)

    assert tree["b.c"] == 'x = 3\n[no]\n"quoted"'
    assert tree["r"] == [{"k": 1}, {"k": 2, "l": '"quotes""', "z": True}]
    assert lines == {
        ("a",): 2,
        ("b.c",): 3,
        ("m",): 7,
        ("d",): 11,
        ("d", "e"): 11,
        ("d", "f", "g"): 11,
        ("d", "f", "g", "h"): 11,
        ("t", "u"): 13,
        ("t", "u", "v"): 14,
        ("t", "u", "w x", "y"): 15,
        ("t", "u", "é"): 16,
        ("r",): 17,
        ("r", "k"): 18,
        ("r", "l"): 21,
        ("r", "z"): 22,
    }


def test_toml_with_the_line_ends_of_windows_has_the_same_lines() -> None:
    assert parse_toml_with_lines(TOML.replace("\n", "\r\n"))[1] == parse_toml_with_lines(TOML)[1]


@pytest.mark.parametrize("text", ["", "# comment", "\n\n", "[a]\n", "a = 1 # end"])
def test_short_toml_is_read(text: str) -> None:
    _, lines = parse_toml_with_lines(text)

    assert lines == ({("a",): 1} if "a]" in text or "a =" in text else {})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\nb = \n", "line 2: this is no TOML: Invalid value."),
        ("a = 1\na = 2\n", "line 2: this is no TOML: Cannot overwrite a value."),
        ("a = [1", "this is no TOML: Unclosed array."),
        ("a = " + "[" * 100_000, "this TOML is nested too deeply."),
        ("a = " + "9" * 5000, "this TOML holds a number of too many digits."),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_wrong_in_toml_is_named(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as caught:
        parse_toml_with_lines(text)
    assert str(caught.value) == problem
