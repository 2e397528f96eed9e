"""Wording: nearest names, lists in sentences, durations and sizes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic._words import (
    did_you_mean,
    english_list,
    format_duration,
    format_size,
    kebab,
    nearest,
    parse_duration,
    short,
    snake,
)

NAMES = ["learning_rate", "epochs", "weight_decay", "optimizer.momentum"]


@given(st.text("abcxyz_", min_size=1))
def test_a_python_name_survives_its_spelling_on_the_command_line(name: str) -> None:
    assert snake(kebab(name)) == name
    assert "_" not in kebab(name)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        pytest.param("learning_rat", "learning_rate", id="a letter missing"),
        pytest.param("lerning_ratee", "learning_rate", id="two letters wrong"),
        pytest.param("epcohs", "epochs", id="neighbours swapped"),
        pytest.param("LEARNING-RATE", "learning_rate", id="another case and dashes"),
        pytest.param("learn", "learning_rate", id="unfinished"),
        pytest.param("lr", "learning_rate", id="initials"),
        pytest.param("wd", "weight_decay", id="other initials"),
        pytest.param("momentum", "optimizer.momentum", id="the last part of a dotted name"),
    ],
)
def test_the_nearest_name_is_found_when(typed: str, meant: str) -> None:
    assert nearest(typed, NAMES) == meant


@pytest.mark.parametrize(
    "typed",
    [
        pytest.param("batch_size", id="another word"),
        pytest.param("", id="nothing"),
        pytest.param("e", id="one letter"),
        pytest.param("x", id="one letter that no name has"),
    ],
)
def test_no_name_is_near_to(typed: str) -> None:
    assert nearest(typed, NAMES) is None


def test_a_name_of_one_letter_is_not_near_to_another_one() -> None:
    assert nearest("x", ["y"]) is None
    assert nearest("X", ["x"]) == "x"


def test_a_beginning_that_two_names_share_is_no_hint() -> None:
    assert nearest("weight", ["weight_decay", "weight_initializer"]) is None


def test_the_nearest_of_several_near_names_is_taken() -> None:
    assert nearest("epoch", ["epics", "epochs"]) == "epochs"


@given(st.text(max_size=12), st.lists(st.text(max_size=12), max_size=5))
def test_a_hint_is_always_one_of_the_names(typed: str, names: list[str]) -> None:
    found = nearest(typed, names)
    assert found is None or found in names


def test_a_hint_is_a_sentence_to_append() -> None:
    assert did_you_mean("epoch", NAMES) == " Did you mean 'epochs'?"
    assert did_you_mean("epoch", NAMES, "--{}") == " Did you mean --epochs?"
    assert did_you_mean("nothing of the kind", NAMES) == ""


@pytest.mark.parametrize(
    ("items", "sentence"),
    [([], ""), (["a"], "a"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")],
)
def test_a_list_reads_as_in_a_sentence(items: list[str], sentence: str) -> None:
    assert english_list(items, "or") == sentence


def test_a_long_value_is_cut() -> None:
    assert short("x" * 100) == "'" + "x" * 78 + "…"
    assert len(short("x" * 100)) == 80
    assert short("x" * 78) == "'" + "x" * 78 + "'"


def test_a_value_whose_repr_raises_is_named_by_its_class() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise RuntimeError

    assert short(Odd()) == "<Odd whose repr raises RuntimeError>"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("0s", 0.0),
        ("0", 0.0),
        ("1.5h", 5400.0),
        ("90", 90.0),
        (" 90 ", 90.0),
        ("0.5", 0.5),
        ("1e3", 1000.0),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "s",
        "1w",
        "-5",
        "-5s10s",
        "10s-5s",
        "inf",
        "nan",
        "infs",
        "1e308d",
        "0s30",
        "0h30",
        "1m30",
        "ten",
        "3ms",
    ],
)
def test_a_text_that_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a duration such as 30s, 10m or 2h, got ") as caught:
        parse_duration(text)
    assert str(caught.value) == f"expected a duration such as 30s, 10m or 2h, got {text!r}"


@given(st.integers(0, 10**9))
def test_whole_seconds_are_the_same_with_and_without_a_unit(seconds: int) -> None:
    assert parse_duration(f"{seconds}s") == parse_duration(str(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0s"),
        (0.44, "0.4s"),
        (9.96, "10s"),
        (59.6, "1m00s"),
        (185.0, "3m05s"),
        (3599.7, "1h00m"),
        (7800.0, "2h10m"),
        (86399.9, "1d00h"),
        (352800.0, "4d02h"),
    ],
)
def test_a_time_span_is_written_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**50, "1024.0 TiB"),
    ],
)
def test_a_size_is_written_for_people(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@given(st.integers(0, 2**49))
def test_a_written_size_is_right_to_its_last_digit(size_bytes: int) -> None:
    number, unit = format_size(size_bytes).split()
    scale = 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit)
    assert math.isclose(float(number) * scale, size_bytes, abs_tol=scale * 0.0501)
    assert float(number) < 1024
