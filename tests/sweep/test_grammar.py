"""The grammar of values: what each text means for each type, what is refused, and that formatting undoes parsing."""

from __future__ import annotations

import enum
import math
import pathlib
from typing import Annotated, Any, Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pystematic.declare import Parameter
from pystematic.sweep._grammar import Axis, BadAxisError, Range, axis_of, format_axis, parse_axis


class Gt:
    """A condition as `annotated_types` has it."""

    def __init__(self, gt: float) -> None:
        self.gt = gt


class Color(enum.Enum):
    RED = 1
    BLUE = 2


def parameter(type: Any, **more: Any) -> Parameter:
    return Parameter("x", type, **more)


def read(type: Any, *texts: str, **more: Any) -> Axis:
    return parse_axis(parameter(type, **more), [[(text, False) for text in texts]], "command line")


@pytest.mark.parametrize(
    ("type", "text", "values"),
    [
        (float, "0.1,1e-2", [0.1, 0.01]),
        (float, "1e-4..1e-1:log:n=4", [1e-4, 1e-3, 1e-2, 1e-1]),
        (float, "0..1:n=11", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        (float, "-1..1:n=3,7", [-1.0, 0.0, 1.0, 7.0]),
        (int, "2..6", [2, 3, 4, 5, 6]),
        (int, "0..100:step=40", [0, 40, 80]),
        (int, "-2..0,9", [-2, -1, 0, 9]),
        (str, "a,b", ["a", "b"]),
        (str, "a..b", ["a..b"]),
        (str | None, "a,=none,none", ["a", "none", None]),
        (pathlib.Path, "x..y,z", [pathlib.Path("x..y"), pathlib.Path("z")]),
        (Literal["adam", "sgd"], "adam,sgd", ["adam", "sgd"]),
        (Color, "RED,BLUE", [Color.RED, Color.BLUE]),
        (bool, "true,no", [True, False]),
        (int | None, "none,3", [None, 3]),
        (int | float, "1..3", [1, 2, 3]),
        (int | str, "1..3", ["1..3"]),
    ],
)
def test_a_text_is_read_by_the_declared_type(type: Any, text: str, values: list[Any]) -> None:
    assert list(read(type, text).values) == values


def test_a_range_without_a_number_of_values_is_one_to_take_values_from() -> None:
    assert read(float, "1e-4..0.1:log").range == Range(1e-4, 0.1, log=True)
    assert read(float, "-1..1").range == Range(-1.0, 1.0)
    assert read(int, "16..256:log").range == Range(16, 256, log=True, integer=True)


def test_a_literal_word_is_one_value_with_its_commas() -> None:
    assert list(parse_axis(parameter(str), [[("a,b", True)]], "").values) == ["a,b"]


def test_each_use_of_a_list_option_is_one_value() -> None:
    uses = [[("1", False), ("2", False)], [("3,4", False)]]
    assert list(parse_axis(parameter(list[int]), uses, "").values) == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("type", "text", "message"),
    [
        (float, "1..0", "'1..0' is no range: it begins with the smaller number, and ends with the larger one"),
        (float, "0..1:log", "'0..1:log' is no range: with :log both ends are above 0"),
        (float, "0..inf", "'0..inf' is no range: both ends are finite numbers"),
        (float, "0..1:step=2", "'0..1:step=2': say how many values the range has: 0..1:n=5"),
        (float, "0..1:n=1", "'0..1:n=1': n is a whole number of at least 2, unlike '1'"),
        (float, "0..1:lin", "'0..1:lin': :lin is unknown here. Expected LOW..HIGH, with :log, with :n=5"),
        (
            float,
            "0.1,0..1",
            "'0..1' stands beside other values, but is a range without a list of values. Give it alone, "
            "or say how many values it has (:n=5)",
        ),
        (int, "1..9:n=3", "'1..9:n=3': whole numbers have a step: 1..9:step=3"),
        (int, "1..9:log:step=3", "'1..9:log:step=3': log and step contradict each other"),
        (int, "0..9999999", "'0..9999999' has more than a million values. Give it a step: 0..9999999:step=1000"),
        (
            int,
            "1..x",
            "'1..x' is no range: expected LOW..HIGH, LOW..HIGH:step=2 or LOW..HIGH:log, each end a whole number",
        ),
        (int, "1,two", "'two' is not a whole number"),
        (str, "a,,b", "nothing stands between two commas. To mean the whole text write = before it"),
        (
            Literal["a", "b"],
            "a..b",
            "'a..b' is not one of a or b. Only numbers have ranges",
        ),
        (Annotated[int, Gt(1)], "0..2", "0, of '0..2', is not a whole number > 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(type: Any, text: str, message: str) -> None:
    with pytest.raises(BadAxisError) as refused:
        read(type, text)
    assert str(refused.value) == message


def test_the_values_of_a_secret_are_never_shown() -> None:
    with pytest.raises(BadAxisError) as refused:
        read(int, "hunter2", secret=True)
    assert "hunter2" not in str(refused.value)
    assert format_axis(read(str, "hunter2,x", secret=True)) == "<masked>,<masked>"


@pytest.mark.parametrize(
    ("type", "value", "values"),
    [
        (float, [0.1, 1], [0.1, 1.0]),
        (float, 0.1, [0.1]),
        (int, range(3), [0, 1, 2]),
        (str, "a,b", ["a,b"]),
        (str, ["a,b", "c"], ["a,b", "c"]),
        (list[int], [1, 2], [[1, 2]]),
        (list[int], [[1, 2], [3]], [[1, 2], [3]]),
        (list[list[int]], [[1, 2], [3]], [[[1, 2], [3]]]),
    ],
)
def test_code_gives_a_list_of_values_or_one(type: Any, value: object, values: list[Any]) -> None:
    assert list(axis_of(parameter(type), value, "code", reads_texts=False).values) == values


def test_code_may_give_a_range_of_numbers_as_a_text() -> None:
    assert axis_of(parameter(float), "0..1", "code", reads_texts=False).range == Range(0.0, 1.0)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.999999, 1.0])
@pytest.mark.parametrize(
    "range",
    [Range(1e-4, 1e-1, log=True), Range(-3.0, 7.0), Range(2, 6, integer=True), Range(1, 512, log=True, integer=True)],
)
def test_every_value_of_a_range_lies_in_it(range: Range, share: float) -> None:
    value = range.at(share)
    assert range.low <= value <= range.high
    assert isinstance(value, int) == range.integer


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1))
def test_formatting_undoes_parsing_of_numbers(values: list[float]) -> None:
    axis = Axis(parameter(float), values)
    assert list(read(float, format_axis(axis)).values) == values


@given(st.lists(st.text(st.characters(exclude_characters=",=", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_formatting_undoes_parsing_of_texts_without_commas(values: list[str]) -> None:
    assume(len(values) == 1 or values[0].lower() not in ("none", "null"))  # at the front = stands for the whole
    written = format_axis(Axis(parameter(str), values))
    literal = written.startswith("=")
    axis = parse_axis(parameter(str), [[(written.removeprefix("="), literal)]], "")
    assert list(axis.values) == values


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_formatting_undoes_parsing_of_one_text(value: str) -> None:
    written = format_axis(Axis(parameter(str), [value]))
    literal = written.startswith("=")
    assert list(parse_axis(parameter(str), [[(written[literal:], literal)]], "").values) == [value]


@given(finite, finite, st.booleans())
def test_formatting_undoes_parsing_of_ranges(a: float, b: float, log: bool) -> None:
    low, high = min(a, b), max(a, b)
    if low == high or (log and low <= 0):
        return
    axis = Axis(parameter(float), (), Range(low, high, log=log))
    assert read(float, format_axis(axis)).range == axis.range


@given(finite, finite, st.integers(2, 30), st.booleans())
def test_the_values_of_a_range_ascend_from_end_to_end(a: float, b: float, n: int, log: bool) -> None:
    low, high = min(a, b), max(a, b)
    if low == high or (log and low <= 0):
        return
    values = list(read(float, f"{low!r}..{high!r}{':log' if log else ''}:n={n}").values)
    assert len(values) == n
    assert (values[0], values[-1]) == (low, high)
    assert all(math.isfinite(value) for value in values)
    assert values == sorted(values)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from([int, float, str, bool, int | None]))
def test_any_text_is_read_or_refused(text: str, type: Any) -> None:
    try:
        axis = read(type, text)
    except BadAxisError:
        return
    assert axis.range is not None or len(axis.values) >= 1
