"""The grammar: which words of a command line are options, by their spelling alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.resolve import Option, Word, tokenize
from pystematic.resolve._tokens import is_option, word


@pytest.mark.parametrize("text", ["--lr", "--lr=3", "-l", "--no-amp", "--a.b-c", "--é", "-lr", "-info", "-nano"])
def test_dashes_before_a_letter_make_an_option(text: str) -> None:
    assert is_option(text)


@pytest.mark.parametrize(
    "text",
    [
        "lr", "", "-", "--", "---", "--1", "-1", "-.5", "-1e-3", "-1,2", "-1..1", "=--lr", "a--b",
        "-inf", "-INF", "-Infinity", "-nan", "-NaN", "-inf,1", "-nan,-inf", "-inf..inf", "-inf..",
    ],
)  # fmt: skip
def test_anything_else_is_a_value(text: str) -> None:
    assert not is_option(text)


def test_an_option_ends_at_its_first_equals_sign() -> None:
    assert tokenize(["--lr=a=b", "--lr=", "--lr"]) == [
        Option("--lr", "a=b", 0),
        Option("--lr", "", 1),
        Option("--lr", None, 2),
    ]


def test_an_equals_sign_before_a_word_marks_it_as_literal() -> None:
    assert tokenize(["=none", "==x", "=", "none"]) == [
        Word("none", True, 0),
        Word("=x", True, 1),
        Word("", True, 2),
        Word("none", False, 3),
    ]
    assert word("=--lr").pair == ("--lr", True)


def test_a_lone_double_dash_ends_the_options() -> None:
    assert tokenize(["--a", "--", "--b", "--", "=c"]) == [
        Option("--a", None, 0),
        Word("--b", False, 2),
        Word("--", False, 3),
        Word("c", True, 4),
    ]


@given(st.lists(st.text(alphabet="-=ainf.,1", max_size=6) | st.text(max_size=5), max_size=6))
def test_every_word_becomes_one_token_at_its_place(argv: list[str]) -> None:
    tokens = tokenize(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    assert [token.position for token in tokens] == [i for i in range(len(argv)) if i != end]
    for token in tokens:
        text = argv[token.position]
        if isinstance(token, Word):
            assert text == ("=" if token.literal else "") + token.text
        else:
            assert text == token.name + ("" if token.value is None else f"={token.value}")
            assert token.position < end


@given(st.floats())
def test_no_number_is_an_option(number: float) -> None:
    assert not is_option(str(number))
    assert not is_option(f"{number},{number}")
