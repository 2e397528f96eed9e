"""From tokens to assignments: which words belong to which option, and what is wrong with them."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from pystematic.declare import Parameter, ParameterSet, Spec
from pystematic.resolve import OptionReader, tokenize


def make_spec() -> Spec:
    parameters = ParameterSet("experiment 'train'")
    for parameter in (
        Parameter("lr", float, 0.1, flags=["-l"]),
        Parameter("name", str),
        Parameter("sizes", list[int], []),
        Parameter("pair", tuple[int, int], (1, 2)),
        Parameter("amp", bool, False, flags=["-a"]),
        Parameter("optimizer", Literal["sgd", "adam"], "sgd"),
        Parameter("password", str),
        Parameter("either", int | list[int], 1),
        Parameter("learning_rate", float, 0.1),
    ):
        parameters.add(parameter)
    return Spec(parameters)


def read(*argv: str, **more: Any) -> OptionReader:
    reader = OptionReader()
    reader.read(tokenize(argv), make_spec(), **more)
    return reader


def given(*argv: str, **more: Any) -> dict[str, object]:
    """Return what each parameter was given, texts joined by spaces."""
    reader = read(*argv, **more)
    assert reader.problems == []
    return {
        name: entry.plain if entry.words is None else " ".join(text for text, _ in entry.words)
        for name, entry in reader.given.items()
    }


class TestValues:
    @pytest.mark.parametrize(
        ("argv", "expected"),
        [
            pytest.param(["--lr", "3"], {"lr": "3"}, id="a value behind its option"),
            pytest.param(["--lr=3"], {"lr": "3"}, id="a value in its option"),
            pytest.param(["-l", "3"], {"lr": "3"}, id="a short option"),
            pytest.param(["--lr", "-3"], {"lr": "-3"}, id="a negative number"),
            pytest.param(["--lr", "-inf"], {"lr": "-inf"}, id="negative infinity"),
            pytest.param(["--lr=-nan"], {"lr": "-nan"}, id="a negative NaN"),
            pytest.param(["--name="], {"name": ""}, id="an empty text"),
            pytest.param(["--name", ""], {"name": ""}, id="an empty word"),
            pytest.param(["--name=--lr"], {"name": "--lr"}, id="a value that looks like an option"),
            pytest.param(["--name", "--", "--lr"], {"name": "--lr"}, id="a value behind the end of options"),
            pytest.param(["--sizes", "1", "2", "3"], {"sizes": "1 2 3"}, id="a list"),
            pytest.param(["--sizes", "1", "2", "--lr", "3"], {"sizes": "1 2", "lr": "3"}, id="a list ends"),
            pytest.param(["--sizes", "1", "--sizes", "2"], {"sizes": "1 2"}, id="a list in parts"),
            pytest.param(["--sizes", "-1", "-2"], {"sizes": "-1 -2"}, id="a list of negative numbers"),
            pytest.param(["--pair", "1", "--pair", "2"], {"pair": "1 2"}, id="a tuple in parts"),
            pytest.param(["--either", "1", "2"], {"either": "1 2"}, id="a union with a list"),
            pytest.param(["--amp"], {"amp": True}, id="a flag"),
            pytest.param(["--no-amp"], {"amp": False}, id="a flag that is off"),
            pytest.param(["-a"], {"amp": True}, id="a short flag"),
            pytest.param(["--amp=false"], {"amp": "false"}, id="a flag with a value"),
            pytest.param(["--amp", "false"], {"amp": "false"}, id="a flag with a boolean word behind it"),
        ],
    )  # fmt: skip
    def test_words_belong_to_the_option_before_them(self, argv: list[str], expected: dict[str, object]) -> None:
        assert given(*argv) == expected

    def test_a_literal_word_is_marked(self) -> None:
        assert read("--name", "=none").given["name"].words == [("none", True)]
        assert read("--name==none").given["name"].words == [("none", True)]
        assert read("--name", "none").given["name"].words == [("none", False)]

    def test_the_spelling_is_remembered_for_messages(self) -> None:
        assert read("-l", "3").given["lr"].spelled == "-l"
        assert read("-l", "3").given["lr"].source == "command line"

    def test_words_that_no_option_takes_are_kept(self) -> None:
        reader = read("a", "--lr", "3", "b", "--amp", "c")
        assert [word.text for word in reader.words] == ["a", "b", "c"]


class TestBeforeTheNameOfAnExperiment:
    def test_a_list_takes_one_word_only(self) -> None:
        reader = read("--sizes", "1", "train", "--lr", "3", greedy=False)
        assert reader.given["sizes"].words == [("1", False)]
        assert [word.text for word in reader.words] == ["train"]

    def test_reading_ends_at_the_first_word_of_no_option(self) -> None:
        reader = OptionReader()
        tokens = tokenize(["--lr", "3", "train", "--name", "a"])
        assert reader.read(tokens, make_spec(), greedy=False, stop_at_word=True) == 2
        assert list(reader.given) == ["lr"]
        assert reader.words == []

    def test_a_flag_takes_no_word(self) -> None:
        assert [word.text for word in read("--amp", "true", greedy=False).words] == ["true"]

    def test_parts_of_a_list_before_and_after_the_name_are_joined(self) -> None:
        reader = OptionReader()
        reader.read(tokenize(["--sizes", "1"]), make_spec(), greedy=False)
        reader.read(tokenize(["--sizes", "2", "3"]), make_spec())
        assert reader.given["sizes"].words == [("1", False), ("2", False), ("3", False)]


class TestFieldsOfSeveralClasses:
    @pytest.fixture
    def spec(self) -> Spec:
        parameters = ParameterSet("experiment 'train'")
        for parameter in (
            Parameter("m", Literal["a", "b", "c"], "a"),
            Parameter("m.x", bool, False, conditions=(("m", "a"),)),
            Parameter("m.x", list[int], [], conditions=(("m", "b"),)),
            Parameter("m.x", int, 1, conditions=(("m", "c"),)),
        ):
            parameters.add(parameter)
        return Spec(parameters)

    @pytest.mark.parametrize(
        ("argv", "words", "left"),
        [
            pytest.param(["--m.x", "1", "2"], None, ["1", "2"], id="by default a flag"),
            pytest.param(["--m", "b", "--m.x", "1", "2"], ["1", "2"], [], id="a list"),
            pytest.param(["--m", "c", "--m.x", "1", "2"], ["1"], ["2"], id="a scalar"),
            pytest.param(["--m", "nothing", "--m.x"], None, [], id="no class at all"),
        ],
    )
    def test_the_chosen_class_says_how_many_words_an_option_takes(
        self, spec: Spec, argv: list[str], words: list[str] | None, left: list[str]
    ) -> None:
        reader = OptionReader()
        reader.read(tokenize(argv), spec)
        given = reader.given["m.x"].words
        assert (None if given is None else [text for text, _ in given]) == words
        assert [word.text for word in reader.words] == left


class TestProblems:
    @pytest.mark.parametrize(
        ("argv", "problem"),
        [
            pytest.param(
                ["--learning-rat", "3"], "there is no option --learning-rat. Did you mean --learning-rate?", id="typo"
            ),
            pytest.param(
                ["--learning_rate", "3"], "there is no option --learning_rate. Did you mean --learning-rate?", id="_"
            ),
            pytest.param(["-lr", "3"], "there is no option -lr. Did you mean --lr?", id="one dash"),
            pytest.param(["-x"], "there is no option -x.", id="unknown letter"),
            pytest.param(["--nothing-of-the-kind"], "there is no option --nothing-of-the-kind.", id="unknown"),
            pytest.param(["--name"], "--name needs a value: text.", id="no value at the end"),
            pytest.param(
                ["--sizes"], "--sizes needs a value: int ... (for an empty list write '[]').", id="no item at the end"
            ),
            pytest.param(
                ["--name", "--lr", "3"],
                "--name needs a value, but the option --lr follows it. If that is the value, write --name=--lr.",
                id="an option is no value",
            ),
            pytest.param(
                ["--name", "--lr=3"],
                "--name needs a value, but the option --lr=3 follows it. If that is the value, write --name=--lr=3.",
                id="an option with a value is no value",
            ),
            pytest.param(
                ["--lr", "1", "--lr", "2"], "--lr is given twice: '1', then '2'. Give it once.", id="a scalar twice"
            ),
            pytest.param(
                ["-l", "1", "--lr=2"], "-l and --lr are both given: '1', then '2'. Give one of them.", id="alias"
            ),
            pytest.param(["--amp", "--amp"], "--amp is given twice: True, then True. Give it once.", id="a flag twice"),
            pytest.param(
                ["--amp", "--no-amp"], "--amp and --no-amp are both given. Give one of them.", id="on and off"
            ),
            pytest.param(
                ["--no-amp=true"], "--no-amp=true: --no-amp takes no value.", id="a negation with a value"
            ),
            pytest.param(
                ["--password", "abc", "--password", "xyz"],
                "--password is given twice. Give it once.",
                id="a secret is not told",
            ),
        ],
    )  # fmt: skip
    def test_it_is_told(self, argv: list[str], problem: str) -> None:
        assert read(*argv).problems == [problem]

    def test_all_are_told_at_once(self) -> None:
        assert read("--foo", "a", "--lr", "1", "--lr", "2", "--name").problems == [
            "there is no option --foo.",
            "--lr is given twice: '1', then '2'. Give it once.",
            "--name needs a value: text.",
        ]

    def test_the_words_behind_an_unknown_option_are_not_told_again(self) -> None:
        assert read("--foo", "a", "b").words == []

    def test_a_word_behind_an_unknown_option_that_has_its_value_is_told(self) -> None:
        assert [word.text for word in read("--foo=a", "b").words] == ["b"]

    def test_a_flag_of_one_letter_is_no_hint(self) -> None:
        parameters = ParameterSet("experiment 'train'")
        parameters.add(Parameter("learning_rate", float, 0.1, flags=["-l"]))
        reader = OptionReader()
        reader.read(tokenize(["--lr", "3"]), Spec(parameters))
        assert reader.problems == ["there is no option --lr. Did you mean --learning-rate?"]

    def test_the_help_page_is_a_hint(self) -> None:
        assert read("--hlep").problems == ["there is no option --hlep. Did you mean --help?"]

    def test_hidden_options_are_no_hint(self) -> None:
        assert read("--subproces", "a").problems == ["there is no option --subproces."]

    def test_another_message_may_be_made_for_an_unknown_option(self) -> None:
        reader = read("--foo", on_unknown=lambda option: f"what is {option.name}?")
        assert reader.problems == ["what is --foo?"]
