"""Types: how values are read from text, checked, written down and described."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import typing
from collections.abc import Callable
from typing import Annotated, Any, Literal

import annotated_types
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.declare import BadValueError, ParamType, format_value, type_of
from pystematic.declare._types import Choice, Duration, FilePath, FlagOrChoice
from pystematic.resolve._tokens import word
from tests.declare.builders import Color, Layer, Level, Node, positive, read, refusal, refusal_of_words


class Mode(enum.StrEnum):
    FAST = "fast"


class TestText:
    @pytest.mark.parametrize(
        ("annotation", "text", "value"),
        [
            pytest.param(str, "a b", "a b", id="text"),
            pytest.param(str, "", "", id="empty text"),
            pytest.param(str, "none", "none", id="none is text where None is not allowed"),
            pytest.param(int, "-3", -3, id="negative number"),
            pytest.param(float, "1e-3", 0.001, id="number with an exponent"),
            pytest.param(float, "-inf", -math.inf, id="negative infinity"),
            pytest.param(float, "3", 3.0, id="a whole number as float"),
            pytest.param(complex, "1 + 2j", 1 + 2j, id="complex"),
            pytest.param(bool, "yes", True, id="yes"),
            pytest.param(bool, "OFF", False, id="off, in any case"),
            pytest.param(bool, "1", True, id="1"),
            pytest.param(bytes, "é", "é".encode(), id="bytes"),
            pytest.param(pathlib.Path, "a/b", pathlib.Path("a/b"), id="path"),
            pytest.param(pathlib.PurePosixPath, "a", pathlib.PurePosixPath("a"), id="pure path"),
            pytest.param(datetime.date, "2026-01-31", datetime.date(2026, 1, 31), id="date"),
            pytest.param(datetime.timedelta, "1h30m", datetime.timedelta(minutes=90), id="time span"),
            pytest.param(int | None, "none", None, id="none"),
            pytest.param(int | None, "Null", None, id="null"),
            pytest.param(int | None, "3", 3, id="int or None"),
            pytest.param(typing.Optional[int], "none", None, id="Optional"),  # noqa: UP045
            pytest.param(str | None, "=none", "none", id="literally none"),
            pytest.param(str, "==x", "=x", id="literally a text with ="),
            pytest.param(None, "3", "3", id="no type: no conversion"),
            pytest.param(typing.Any, "3", "3", id="Any"),
            pytest.param(positive, "3", 3, id="a callable"),
            pytest.param(decimal.Decimal, "0.1", decimal.Decimal("0.1"), id="a class"),
            pytest.param(typing.NewType("Rate", float), "2", 2.0, id="NewType"),
        ],
    )
    def test_a_word_is_read_as(self, annotation: Any, text: str, value: object) -> None:
        made = read(annotation, text)
        assert made == value
        assert type(made) is type(value)

    def test_several_words_are_no_single_value(self) -> None:
        assert refusal_of_words(int, "1", "2") == "a whole number"
        assert refusal_of_words(str | None, "a", "b") == "text"

    def test_nan_is_a_number(self) -> None:
        assert math.isnan(read(float, "nan"))

    @pytest.mark.parametrize(
        ("annotation", "text", "expected"),
        [
            (int, "3.7", "a whole number"),
            (int, "3.0", "a whole number"),
            (int, "true", "a whole number"),
            (int, "", "a whole number"),
            (int, "none", "a whole number"),
            (int, "9" * 5000, "a whole number"),
            (float, "true", "a number"),
            (float, "abc", "a number"),
            (complex, "x", "a complex number such as 1+2j"),
            (bool, "maybe", "true or false"),
            (pathlib.Path, "a\0b", "a path, which cannot hold the character NUL"),
            (datetime.date, "31.1.2026", "a date such as 2026-01-31"),
            (datetime.datetime, "x", "a datetime such as 2026-01-31T12:00:00"),
            (datetime.time, "x", "a time such as 12:00:00"),
            (datetime.timedelta, "-5s", "a duration such as 30s, 10m or 2h"),
            (datetime.timedelta, "1e20", "a duration of less than three million years"),
            (int | None, "x", "a whole number"),
            (int | Color, "x", "a whole number or one of RED or GREEN"),
            (positive, "-3", "what positive accepts (ValueError: -3 is not positive)"),
            (lambda text: int(text), "x", "a value that its type accepts (ValueError: invalid literal for int() with "
                                          "base 10: 'x')"),
        ],
    )  # fmt: skip
    def test_a_word_is_refused(self, annotation: Any, text: str, expected: str) -> None:
        assert refusal_of_words(annotation, text) == expected


class TestCheck:
    @pytest.mark.parametrize(
        ("annotation", "value", "made"),
        [
            pytest.param(int, 3, 3, id="int"),
            pytest.param(int, "3", 3, id="text for an int"),
            pytest.param(int, Level.LOW, 16, id="an IntEnum is no longer one"),
            pytest.param(int, np.int64(3), 3, id="NumPy int"),
            pytest.param(float, 3, 3.0, id="int for a float"),
            pytest.param(float, np.float32(0.5), 0.5, id="NumPy float"),
            pytest.param(float, np.array(0.5), 0.5, id="array without dimensions"),
            pytest.param(bool, np.True_, True, id="NumPy bool"),
            pytest.param(bool, "no", False, id="no, which YAML 1.2 calls text"),
            pytest.param(complex, 2, 2 + 0j, id="int for a complex"),
            pytest.param(str, Mode.FAST, "fast", id="a StrEnum is no longer one"),
            pytest.param(str, np.str_("a"), "a", id="NumPy text"),
            pytest.param(pathlib.Path, "a", pathlib.Path("a"), id="text for a path"),
            pytest.param(bytes, b"a", b"a", id="bytes"),
            pytest.param(datetime.date, datetime.date(2026, 1, 2), datetime.date(2026, 1, 2), id="date"),
            pytest.param(datetime.timedelta, 90, datetime.timedelta(seconds=90), id="seconds for a time span"),
            pytest.param(datetime.timedelta, "90s", datetime.timedelta(seconds=90), id="duration for a time span"),
            pytest.param(list[int], (1, 2), [1, 2], id="tuple for a list"),
            pytest.param(list[int], range(2), [0, 1], id="range for a list"),
            pytest.param(list[float], np.array([1, 2]), [1.0, 2.0], id="array for a list"),
            pytest.param(tuple[int, ...], [1, 2], (1, 2), id="list for a tuple"),
            pytest.param(set[int], [1, 1], {1}, id="list for a set"),
            pytest.param(frozenset[str], ["a"], frozenset("a"), id="list for a frozenset"),
            pytest.param(dict[int, float], {"1": 2}, {1: 2.0}, id="keys of JSON are text"),
            pytest.param(object, [1], [1], id="anything"),
            pytest.param(Callable, len, len, id="a callable"),
            pytest.param(type[int], bool, bool, id="a class"),
        ],
    )
    def test_a_value_of_a_file_or_of_code_is_taken(self, annotation: Any, value: object, made: object) -> None:
        checked = type_of(annotation).check(value)
        assert checked == made
        assert type(checked) is type(made)

    @pytest.mark.parametrize(
        ("annotation", "value", "expected"),
        [
            pytest.param(int, 3.7, "a whole number", id="3.7 is no int"),
            pytest.param(int, 3.0, "a whole number", id="3.0 is no int"),
            pytest.param(int, True, "a whole number", id="true is no int"),
            pytest.param(int, np.float64(3.0), "a whole number", id="a NumPy float is no int"),
            pytest.param(int, None, "a whole number", id="None is no int"),
            pytest.param(int, [3], "a whole number", id="a list is no int"),
            pytest.param(float, True, "a number", id="true is no number"),
            pytest.param(float, 10**400, "a number that a float can hold", id="too large"),
            pytest.param(complex, True, "a complex number such as 1+2j", id="true is no complex"),
            pytest.param(bool, 1, "true or false", id="1 is no boolean"),
            pytest.param(str, 3, "text", id="3 is no text"),
            pytest.param(str, b"a", "text", id="bytes are no text"),
            pytest.param(pathlib.Path, 3, "a path", id="3 is no path"),
            pytest.param(datetime.date, datetime.datetime(2026, 1, 1), "a date such as 2026-01-31", id="a datetime"),
            pytest.param(list[int], 3, "a list, each item a whole number", id="an int is no list"),
            pytest.param(list[int], {"a": 1}, "a list, each item a whole number", id="a dict is no list"),
            pytest.param(tuple[int, int], [1], "2 values (int, int), but 1", id="too short"),
            pytest.param(tuple[int, int], 1, "2 values (int, int)", id="an int is no tuple"),
            pytest.param(dict[str, int], [1], "key=value pairs (key: text, value: int)", id="a list is no dict"),
            pytest.param(positive, -3, "what positive accepts (ValueError: -3 is not positive)", id="a callable"),
            pytest.param(positive, None, "what positive accepts", id="None, for a callable"),
            pytest.param(decimal.Decimal, [1], "what Decimal accepts", id="no instance of a class"),
            pytest.param(set[Any], [[1]], "a list, each item anything", id="what no set can hold"),
        ],
    )  # fmt: skip
    def test_a_value_of_a_file_or_of_code_is_refused(self, annotation: Any, value: object, expected: str) -> None:
        assert refusal(annotation, value) == expected

    def test_the_wrong_item_of_a_list_is_told(self) -> None:
        with pytest.raises(BadValueError, match=r"^a whole number$") as caught:
            type_of(list[list[int]]).check([[1], [2, 3.5]])
        assert caught.value.piece == 3.5

    def test_a_number_is_given_to_a_callable_as_it_is_written(self) -> None:
        assert type_of(decimal.Decimal).check(0.1) == decimal.Decimal("0.1")
        assert type_of(np.float32).check(0.5) == np.float32(0.5)
        assert type(type_of(np.float32).check(0.5)) is np.float32

    def test_a_number_stays_what_it_is_for_a_callable_that_makes_texts(self) -> None:
        value = np.float32(0.1)
        assert type_of(lambda text: text).check(value) is value

    def test_what_only_a_callable_can_have_made_is_taken_as_it_is(self) -> None:
        kind = type_of(lambda text: text.split("x"))
        assert kind.check(["a", "b"]) == ["a", "b"]
        assert kind.check("axb") == ["a", "b"]


class TestChoices:
    @pytest.mark.parametrize(
        ("annotation", "text", "value"),
        [
            (Literal["sgd", "adam"], "adam", "adam"),
            (Literal["sgd", "adam"], "ADAM", "adam"),
            (Literal["cosine_schedule"], "cosine-schedule", "cosine_schedule"),
            (Literal["adam-w"], "AdamW", "adam-w"),
            (Literal["A", "a"], "a", "a"),
            (Literal[1, "auto"], "1", 1),
            (Literal[True, "auto"], "true", True),
            (Literal["a"] | None, "none", None),
            (Literal["a", None], "none", None),
            (Color, "GREEN", Color.GREEN),
            (Color, "red", Color.RED),
            (Color, "g", Color.GREEN),
            (Color, "1", Color.RED),
            (Color, "CRIMSON", Color.RED),
            (Level, "16", Level.LOW),
        ],
    )
    def test_a_choice_is_named_by_a_word(self, annotation: Any, text: str, value: object) -> None:
        assert read(annotation, text) is value

    def test_numbers_among_the_choices_are_compared_as_numbers(self) -> None:
        assert Choice([0.001, 0.1]).parse("1e-3") == 0.001

    @pytest.mark.parametrize(
        ("annotation", "value", "made"),
        [
            (Literal["a"], "a", "a"),
            (Literal[1, 2], 2, 2),
            (Literal[1, 2], "2", 2),
            (Color, Color.RED, Color.RED),
            (Color, 1, Color.RED),
            (Color, "RED", Color.RED),
            (Level, 32, Level.HIGH),
        ],
    )
    def test_a_choice_of_a_file_or_of_code_is_taken(self, annotation: Any, value: object, made: object) -> None:
        assert type_of(annotation).check(value) is made

    @pytest.mark.parametrize(
        ("annotation", "value", "expected"),
        [
            (Literal["sgd", "adam"], "adamm", "one of sgd or adam. Did you mean 'adam'?"),
            (Literal["sgd", "adam"], "lion", "one of sgd or adam"),
            (Literal["sgd"], "lion", "sgd"),
            (Literal[1, 2], True, "one of 1 or 2"),
            (Literal["a"], None, "a"),
            (Color, 3, "one of RED or GREEN"),
        ],
    )
    def test_any_other_value_is_refused(self, annotation: Any, value: object, expected: str) -> None:
        assert refusal(annotation, value) == expected

    def test_choices_that_differ_in_case_only_are_named_exactly(self) -> None:
        assert read(Literal["A", "a"], "A") == "A"
        assert refusal_of_words(Literal["Ab", "aB"], "AB").startswith("one of Ab or aB")

    def test_a_repeated_choice_counts_once(self) -> None:
        assert Choice(["a", "a", 1, 1.0]).values == ("a", 1, 1.0)

    def test_functions_are_chosen_by_their_names(self) -> None:
        kind = Choice([math.sin, math.cos])
        assert kind.parse("cos") is math.cos
        assert kind.plain(math.cos) == "cos"

    def test_choices_of_a_list_are_known(self) -> None:
        assert type_of(list[Literal["a", "b"]]).choices == ("a", "b")


class TestDurations:
    @pytest.mark.parametrize("value", ["25s", 25, 25.0, "25"])
    def test_a_duration_is_text_or_seconds(self, value: object) -> None:
        assert Duration().check(value) == 25.0

    @pytest.mark.parametrize("value", ["-5s", -5, -0.1, math.nan, math.inf, "inf", True, None, "soon"])
    def test_a_duration_is_refused_alike_from_every_source(self, value: object) -> None:
        with pytest.raises(BadValueError, match=r"^a duration such as 30s, 10m or 2h$"):
            Duration().check(value)

    def test_a_duration_is_written_with_its_unit(self) -> None:
        assert Duration().format(25.0) == "25s"
        assert Duration().format(0.5) == "0.5s"
        assert type_of(datetime.timedelta).format(datetime.timedelta(hours=1)) == "3600s"


class TestFlagOrChoice:
    @pytest.mark.parametrize(
        ("value", "made"),
        [(True, "text"), (False, None), (None, None), ("JSON", "json"), ("yes", "text"), ("off", None)],
    )
    def test_it_is_on_off_or_one_of_some_words(self, value: object, made: object) -> None:
        assert FlagOrChoice("text", "json").check(value) == made

    @pytest.mark.parametrize("value", ["xml", 1])
    def test_anything_else_is_refused(self, value: object) -> None:
        with pytest.raises(BadValueError, match=r"^nothing, or text or json$"):
            FlagOrChoice("text", "json").check(value)


# Types with values, for the laws below. No NaN: it equals nothing.
texts = st.text(max_size=8)
numbers = st.floats(allow_nan=False)
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, texts),
    (str | None, st.none() | texts | st.sampled_from(["none", "NULL", "=none"])),
    (int, st.integers()),
    (float, numbers),
    (complex, st.complex_numbers(allow_nan=False)),
    (bool, st.booleans()),
    (bool | None, st.none() | st.booleans()),
    (bytes, st.binary(max_size=8)),
    (int | str, st.integers() | texts),
    (int | float | bool | str, st.integers() | st.booleans() | texts),
    (pathlib.PurePosixPath, texts.filter(lambda text: "\0" not in text).map(pathlib.PurePosixPath)),
    (datetime.datetime, st.datetimes()),
    (datetime.date, st.dates()),
    (datetime.time, st.times()),
    (datetime.timedelta, st.timedeltas(min_value=datetime.timedelta(0), max_value=datetime.timedelta(days=9999))),
    (Color, st.sampled_from(Color)),
    (Literal["a", 1, "b-c"], st.sampled_from(["a", 1, "b-c"])),
    (list[int], st.lists(st.integers(), max_size=4)),
    (list[str], st.lists(texts, max_size=4)),
    (list[str | None] | None, st.none() | st.lists(st.none() | texts | st.just("none"), max_size=4)),
    (list[list[float]], st.lists(st.lists(numbers, max_size=3), max_size=3)),
    (list[bool], st.lists(st.booleans(), max_size=3)),
    (tuple[int, str], st.tuples(st.integers(), texts)),
    (tuple[str, ...], st.lists(texts, max_size=3).map(tuple)),
    (set[int], st.sets(st.integers(), max_size=4)),
    (dict[str, int], st.dictionaries(texts, st.integers(), max_size=3)),
    (dict[str, list[str]], st.dictionaries(texts, st.lists(texts, max_size=2), max_size=3)),
    (list[Layer], st.lists(st.builds(Layer, st.integers(), texts), max_size=3)),
    (Node, st.builds(Node, texts, st.lists(st.builds(Node, texts), max_size=2))),
]  # fmt: skip


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[ParamType, Any]:
    annotation, values = draw(st.sampled_from(TYPED))
    return type_of(annotation), draw(values)


def outcome(read: Callable[[Any], Any], value: object) -> tuple[object, str | None]:
    """Return what was made of a value, and why it was refused, if it was."""
    try:
        return read(value), None
    except BadValueError as error:
        return None, str(error)


def same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


@given(typed_values())
def test_what_is_written_for_a_person_is_read_back_as_the_same_value(typed: tuple[ParamType, Any]) -> None:
    kind, value = typed
    assert same(kind.parse_words([word(kind.format(value)).pair]), value)


@given(typed_values())
def test_what_is_written_for_a_file_is_read_back_as_the_same_value(typed: tuple[ParamType, Any]) -> None:
    kind, value = typed
    assert same(kind.check(kind.plain(value)), value)


@given(typed_values())
def test_a_checked_value_is_given_back_unchanged(typed: tuple[ParamType, Any]) -> None:
    kind, value = typed
    assert same(kind.check(value), value)


@given(typed_values())
def test_every_schema_is_json(typed: tuple[ParamType, Any]) -> None:
    assert json.loads(json.dumps(typed[0].schema())) is not None


@given(
    st.sampled_from([annotation for annotation, _ in TYPED]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_any_value_of_a_file_is_taken_or_refused_with_a_reason(annotation: Any, value: object) -> None:
    kind = type_of(annotation)
    made, reason = outcome(kind.check, value)
    assert reason != ""
    assert reason or kind.check(made) == made or "nan" in repr(made)


@given(st.sampled_from([annotation for annotation, _ in TYPED]), st.lists(st.text(max_size=6), min_size=1, max_size=3))
def test_any_words_are_read_or_refused_with_a_reason(annotation: Any, words: list[str]) -> None:
    kind = type_of(annotation)
    pairs = [word(text).pair for text in (words if kind.is_container else words[:1])]
    assert outcome(kind.parse_words, pairs)[1] != ""


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (str, {"type": "string"}),
        (int, {"type": "integer"}),
        (bool, {"type": "boolean"}),
        (float | None, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        (pathlib.Path, {"type": "string", "format": "path"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Color, {"enum": ["RED", "GREEN"]}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Annotated[float, annotated_types.Gt(0)], {"type": "number", "exclusiveMinimum": 0}),
        (Annotated[str, annotated_types.MinLen(1)], {"type": "string", "minLength": 1}),
        (Annotated[list[int], annotated_types.MinLen(1)],
         {"type": "array", "items": {"type": "integer"}, "minItems": 1}),
        (Layer, {"type": "object", "properties": {"units": {}, "activation": {}}, "additionalProperties": False}),
    ],
)  # fmt: skip
def test_a_type_is_described_for_editors(annotation: Any, schema: dict[str, object]) -> None:
    assert type_of(annotation).schema() == schema


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        ("a b", "a b"),
        (0.001, "0.001"),
        ([1, [2, 3]], "1,2,3"),
        ((), "[]"),
        ({2, 1}, "1,2"),
        (set(), "[]"),
        ({"a": 1}, "a=1"),
        ({}, "{}"),
        (Color.GREEN, "GREEN"),
        (math.sin, "sin"),
        (pathlib.PurePosixPath("a/b"), "a/b"),
    ],
)
def test_without_a_type_a_value_is_written_by_what_it_is(value: object, text: str) -> None:
    assert format_value(value) == text


def test_a_path_may_stay_text() -> None:
    kind = FilePath(str)
    assert kind.check(pathlib.Path("a/b")) == "a/b"
    assert kind.parse("./output") == "./output"


def test_one_path_is_a_list_of_one() -> None:
    assert type_of(list[pathlib.Path]).check(pathlib.Path("a")) == [pathlib.Path("a")]
