"""Filters and sort keys: what they mean for a run, how they are printed, and what a wrong one is told."""

from __future__ import annotations

import datetime
import operator
import pickle
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.errors import UsageError
from pystematic.store._query import MISSING, check_names, parse_query, parse_sort
from tests.builders import run_python

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "query-language.md"
NOW = datetime.datetime(2026, 1, 10, 12, 0, tzinfo=datetime.UTC).timestamp()
NAN = float("nan")
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
SIMPLE_FIELDS = [
    "id",
    "experiment",
    "status",
    "started_at",
    "ended_at",
    "duration",
    "tags",
    "note",
    "host",
    "exit_code",
]
SIMPLE_FIELDS += ["parent", "sweep", "code", "commit", "path"]
STATISTICS = ["first", "last", "min", "max", "mean", "count", "min_step", "max_step"]


class OddValue:
    """A value of a type that the language does not know."""


def make_row(x: object = MISSING, **fields: object) -> dict[tuple[str, ...], object]:
    """Return the columns of a run: its parameter ``x``, and fields of its own such as ``started_at``."""
    return {("params", "x"): x, **{(name,): value for name, value in fields.items()}}


def holds(text: str, row: Mapping[Any, object]) -> bool:
    """Tell whether a run fulfils a filter, asked in both ways."""
    query = parse_query(text, now=NOW)
    by_getter = query.matches(lambda key: row.get(key, MISSING))
    by_columns = query.compile_columns({key: [value] for key, value in row.items()})(0)
    assert isinstance(by_getter, bool)
    assert by_getter is by_columns
    return by_getter


def holds_for(text: str, x: object) -> bool:
    return holds(text, make_row(x))


def refusal(text: Any) -> str:
    with pytest.raises(UsageError) as caught:
        parse_query(text)
    return str(caught.value)


def sort_refusal(text: Any) -> str:
    with pytest.raises(UsageError) as caught:
        parse_sort(text)
    return str(caught.value)


def order(text: str, columns: Mapping[Any, Sequence[object]], rows: Iterable[int]) -> list[int]:
    return parse_sort(text).order(columns, rows)


def sorted_by(text: str, values: Sequence[object]) -> list[object]:
    return [values[row] for row in order(text, {("params", "x"): values}, range(len(values)))]


class TestFields:
    @pytest.mark.parametrize(
        ("text", "key"),
        [
            *[pytest.param(f"{name} is none", (name,), id=name) for name in SIMPLE_FIELDS],
            pytest.param("error.type is none", ("error", "type"), id="error.type"),
            pytest.param("error.message is none", ("error", "message"), id="error.message"),
            pytest.param("params.lr is none", ("params", "lr"), id="parameter"),
            pytest.param("params['lr'] is none", ("params", "lr"), id="parameter in brackets"),
            pytest.param("params.a.b.c is none", ("params", "a.b.c"), id="nested parameter"),
            pytest.param("params['a.b'].c is none", ("params", "a.b.c"), id="nested parameter in brackets"),
            pytest.param("params.not.in is none", ("params", "not.in"), id="parameter with the name of a word"),
            pytest.param("params.größe is none", ("params", "größe"), id="parameter with other letters"),
            pytest.param("sources.lr is none", ("sources", "lr"), id="source"),
            pytest.param("metrics['val/acc'].max is none", ("metrics", "val/acc", "max"), id="metric"),
            pytest.param("metrics['val/acc'] is none", ("metrics", "val/acc", "last"), id="metric alone"),
            pytest.param("metrics.loss.min_step is none", ("metrics", "loss", "min_step"), id="metric after a dot"),
            pytest.param("metrics.loss is none", ("metrics", "loss", "last"), id="metric after a dot alone"),
            pytest.param("metrics.max.max is none", ("metrics", "max", "max"), id="metric with a statistic's name"),
            pytest.param('metrics["a\'b"] is none', ("metrics", "a'b", "last"), id="metric in other quotes"),
        ],
    )
    def test_a_column_is_named_by(self, text: str, key: tuple[str, ...]) -> None:
        assert parse_query(text).fields == {key}

    @pytest.mark.parametrize("statistic", STATISTICS)
    def test_a_metric_has_the_statistic(self, statistic: str) -> None:
        assert parse_query(f"metrics.loss.{statistic} > 1").fields == {("metrics", "loss", statistic)}

    def test_all_columns_of_a_filter_are_named_once(self) -> None:
        query = parse_query("params.a > 1 and not (params.b in [1] or params.a < metrics.c) and match(note, 'x')")

        assert query.fields == {("params", "a"), ("params", "b"), ("metrics", "c", "last"), ("note",)}

    def test_all_columns_of_a_sort_key_are_named(self) -> None:
        assert parse_sort("-metrics.loss.min, status").fields == {("metrics", "loss", "min"), ("status",)}


class TestComparisons:
    @given(
        st.integers() | st.floats(allow_nan=False),
        st.sampled_from(list(COMPARISONS)),
        st.integers(-(10**20), 10**20) | st.floats(allow_nan=False),
    )
    def test_numbers_compare_as_in_python(self, x: float, sign: str, other: float) -> None:
        assert holds_for(f"params.x {sign} {other!r}", x) is COMPARISONS[sign](x, other)

    @given(st.text(), st.sampled_from(list(COMPARISONS)), st.text())
    def test_texts_compare_as_in_python(self, x: str, sign: str, other: str) -> None:
        assert holds_for(f"params.x {sign} {other!r}", x) is COMPARISONS[sign](x, other)

    @pytest.mark.parametrize("sign", COMPARISONS)
    def test_a_value_may_stand_on_the_left(self, sign: str) -> None:
        mirrored = sign.translate(str.maketrans("<>", "><"))

        for x in (1, 2, 3):
            assert holds_for(f"2 {sign} params.x", x) is holds_for(f"params.x {mirrored} 2", x)

    def test_integers_beyond_the_precision_of_floats_are_exact(self) -> None:
        assert holds_for("params.x == 9007199254740993", 9007199254740993)
        assert not holds_for("params.x == 9007199254740992", 9007199254740993)
        assert not holds_for("params.x == 9007199254740992.0", 9007199254740993)
        assert holds_for("params.x > 9007199254740992.0", 9007199254740993)

    @pytest.mark.parametrize(
        ("written", "value"),
        [
            pytest.param("1e-3", 0.001, id="exponent"),
            pytest.param("1E+3", 1000, id="exponent with a sign"),
            pytest.param(".5", 0.5, id="no leading zero"),
            pytest.param("5.", 5, id="nothing after the point"),
            pytest.param("-2", -2, id="negative"),
            pytest.param("+2", 2, id="positive"),
            pytest.param("1_000", 1000, id="underscore"),
            pytest.param("inf", float("inf"), id="infinity"),
            pytest.param("-inf", float("-inf"), id="negative infinity"),
            pytest.param("'a'", "a", id="text"),
            pytest.param('"it\'s"', "it's", id="text in double quotes"),
            pytest.param(r"'it\'s'", "it's", id="escaped quote"),
            pytest.param(r"'\\ \" \n \r \t \x41 \u00e4 \U0001F600'", '\\ " \n \r \t A ä 😀', id="escapes"),
            pytest.param("true", True, id="true"),
            pytest.param("True", True, id="True"),
            pytest.param("false", False, id="false"),
            pytest.param("False", False, id="False"),
            pytest.param("[1, 'a', true]", [1, "a", True], id="list"),
            pytest.param("(1, 'a')", [1, "a"], id="tuple"),
            pytest.param("{1, 'a',}", [1, "a"], id="set"),
            pytest.param("(1,)", [1], id="tuple of one"),
            pytest.param("(1)", 1, id="value in parentheses"),
            pytest.param("[]", [], id="empty list"),
            pytest.param("()", [], id="empty tuple"),
            pytest.param("[none, -1]", [None, -1], id="list with none"),
        ],
    )
    def test_a_value_is_written_as(self, written: str, value: object) -> None:
        assert holds_for(f"params.x == {written}", value)
        assert not holds_for(f"params.x != {written}", value)

    def test_a_tuple_of_a_record_equals_a_list(self) -> None:
        assert holds_for("params.x == [1, 2]", (1, 2))

    @pytest.mark.parametrize("x", [[1], [2, 1], [1, 2, 3], [1, True], [1, "2"], [[1, 2]], "12"])
    def test_a_list_equals_no_other_value(self, x: object) -> None:
        assert not holds_for("params.x == [1, 2]", x)
        assert holds_for("params.x != [1, 2]", x)

    def test_a_chain_holds_where_each_of_its_comparisons_does(self) -> None:
        assert [holds_for("0.1 < params.x <= 1", x) for x in (0.1, 0.2, 1, 1.1)] == [False, True, True, False]

    def test_two_fields_are_compared(self) -> None:
        improved = "metrics.loss.last < metrics.loss.first"

        assert holds(improved, {("metrics", "loss", "first"): 2, ("metrics", "loss", "last"): 1.5})
        assert not holds(improved, {("metrics", "loss", "first"): 1, ("metrics", "loss", "last"): 1.5})

    @pytest.mark.parametrize(
        ("left", "right", "true"),
        [
            pytest.param(1, 1.0, {"==", "<=", ">="}, id="equal numbers"),
            pytest.param("a", "b", {"!=", "<", "<="}, id="texts"),
            pytest.param(1, "1", {"!="}, id="a number and a text"),
            pytest.param(1, True, {"!="}, id="a number and a boolean"),
            pytest.param(True, True, {"=="}, id="booleans have no order"),
            pytest.param([1], [1.0], {"=="}, id="lists have no order"),
            pytest.param([[1, None]], [[1, None]], {"=="}, id="lists in lists"),
            pytest.param([None], [0], {"!="}, id="none in a list"),
            pytest.param(None, None, set(), id="none"),
            pytest.param(MISSING, MISSING, set(), id="missing"),
            pytest.param(1, MISSING, set(), id="one is missing"),
            pytest.param(NAN, NAN, set(), id="NaN"),
            pytest.param(NAN, "a", set(), id="NaN and a text"),
        ],
    )
    def test_of_two_fields_are_true_for(self, left: object, right: object, true: set[str]) -> None:
        row = {("params", "a"): left, ("params", "b"): right}

        assert {sign for sign in COMPARISONS if holds(f"params.a {sign} params.b", row)} == true

    def test_lists_of_any_depth_are_compared(self) -> None:
        deep: list[object] = []
        for _ in range(10_000):
            deep = [deep]

        assert holds("params.a == params.b", {("params", "a"): deep, ("params", "b"): deep})


class TestKinds:
    @pytest.mark.parametrize(
        ("written", "x"),
        [
            pytest.param("0.1", "0.1", id="a number and a text"),
            pytest.param("'0.1'", 0.1, id="a text and a number"),
            pytest.param("1", True, id="a number and a boolean"),
            pytest.param("true", 1, id="a boolean and a number"),
            pytest.param("'true'", True, id="a text and a boolean"),
            pytest.param("[1]", 1, id="a list and a number"),
            pytest.param("1", [1], id="a number and a list"),
        ],
    )
    def test_values_of_two_kinds_differ_and_nothing_else(self, written: str, x: object) -> None:
        assert not holds_for(f"params.x == {written}", x)
        assert holds_for(f"params.x != {written}", x)
        if written[0] not in "t[":
            for sign in ("<", "<=", ">", ">="):
                assert not holds_for(f"params.x {sign} {written}", x)

    def test_a_parameter_that_is_a_number_or_a_word_is_found_by_what_it_is_not(self) -> None:
        assert holds_for("params.x != 'auto'", 32)
        assert holds_for("params.x not in ['auto']", 32)

    def test_subclasses_of_known_types_compare_like_these(self) -> None:
        class Text(str):
            __slots__ = ()

        assert holds_for("params.x == 'a'", Text("a"))
        assert holds_for("params.x > 1", type("Real", (float,), {})(1.5))

    def test_a_parameter_alone_means_that_it_is_true(self) -> None:
        assert [holds_for("params.x", x) for x in (True, False, 1, "a", [1], None, MISSING)] == [True, *[False] * 6]
        assert [holds_for("not params.x", x) for x in (True, False, 1, MISSING)] == [False, True, True, True]


CONDITIONS_ON_X = [
    *[f"params.x {sign} 1" for sign in COMPARISONS],
    *[f"1 {sign} params.x" for sign in COMPARISONS],
    "params.x == 'a'",
    "params.x != 'a'",
    "params.x != true",
    "params.x != []",
    "params.x in [1, 'a']",
    "params.x not in [1, 'a']",
    "params.x not in []",
    "params.x not in [none]",
    "params.x in 'abc'",
    "params.x not in 'abc'",
    "'a' in params.x",
    "'a' not in params.x",
    "match(params.x, '*')",
    "0 < params.x < 2",
    "0 != params.x != 2",
    "params.x",
]

ABSENT: list[object] = [MISSING, None]
PRESENT: list[object] = [0, "", False, [], NAN, OddValue()]


class TestMissing:
    @pytest.mark.parametrize(
        "x",
        [
            pytest.param(MISSING, id="missing"),
            pytest.param(None, id="none"),
            pytest.param(NAN, id="NaN"),
            pytest.param({"a": 1}, id="a mapping"),
            pytest.param(OddValue(), id="another type"),
        ],
    )
    def test_each_comparison_is_false_and_its_negation_true(self, x: object) -> None:
        assert [text for text in CONDITIONS_ON_X if holds_for(text, x)] == []
        assert [text for text in CONDITIONS_ON_X if not holds_for(f"not {text}", x)] == []

    @pytest.mark.parametrize("text", ["params.x is none", "params.x == none", "none == params.x", "params.x == None"])
    def test_is_none_is_true_of_none_and_of_what_is_missing(self, text: str) -> None:
        assert [holds_for(text, x) for x in ABSENT] == [True, True]
        assert [holds_for(text, x) for x in PRESENT] == [False] * 6

    @pytest.mark.parametrize("text", ["params.x is not none", "params.x != none", "none != params.x"])
    def test_is_not_none_is_the_opposite(self, text: str) -> None:
        assert [holds_for(text, x) for x in ABSENT] == [False, False]
        assert [holds_for(text, x) for x in PRESENT] == [True] * 6

    def test_the_mark_of_a_missing_value_survives_pickling(self) -> None:
        assert pickle.loads(pickle.dumps(MISSING)) is MISSING
        assert repr(MISSING) == "MISSING"

    def test_a_list_with_none_holds_what_is_missing(self) -> None:
        assert [holds_for("params.x in [1, none]", x) for x in (1, None, MISSING, 2, NAN)] == [True] * 3 + [False] * 2

    def test_a_column_that_is_not_there_is_missing_everywhere(self) -> None:
        assert [text for text in CONDITIONS_ON_X if parse_query(text).compile_columns({})(0)] == []


class TestMembership:
    def test_a_value_is_in_a_list_that_holds_its_equal(self) -> None:
        text = "params.x in [1, 'a', false]"

        assert [holds_for(text, x) for x in (1, 1.0, "a", False)] == [True] * 4
        assert [holds_for(text, x) for x in (True, 0, "1", "A", 2, [1], ["a"])] == [False] * 7
        assert [holds_for("params.x not in [1, 'a', false]", x) for x in (1, "a", 0, [1])] == [False, False, True, True]

    def test_a_list_of_a_run_holds_a_value(self) -> None:
        assert holds("'a' in tags", make_row(tags=["b", "a"]))
        assert not holds("'a' in tags", make_row(tags=["abc"]))
        assert holds("'a' not in tags", make_row(tags=[]))
        assert [holds_for("1 in params.x", x) for x in ([1.0], (2, 1), [True], ["1"], [[1]])] == [
            True,
            True,
            *[False] * 3,
        ]

    def test_a_text_holds_a_text(self) -> None:
        assert holds("'bug' in note", make_row(note="a bug in the loader"))
        assert not holds("'bug' not in note", make_row(note="a bug in the loader"))
        assert not holds("'Bug' in note", make_row(note="a bug in the loader"))
        assert holds_for("params.x in 'adam sgd'", "adam")

    def test_nothing_but_texts_is_in_a_text(self) -> None:
        assert not holds_for("1 in params.x", "1")
        assert holds_for("1 not in params.x", "1")

    def test_a_number_holds_nothing(self) -> None:
        assert not holds_for("1 in params.x", 1)
        assert not holds_for("1 not in params.x", 1)

    def test_a_field_is_in_another_one(self) -> None:
        assert holds("params.x in tags", make_row("a", tags=["a"]))
        assert not holds("params.x in tags", make_row(MISSING, tags=["a"]))


class TestMatching:
    @pytest.mark.parametrize(
        ("pattern", "fits", "fits_not"),
        [
            pytest.param("resnet*", ["resnet", "resnet18"], ["a resnet", "Resnet18"], id="any text"),
            pytest.param("v?", ["v1", "v*"], ["v", "v12"], id="any character"),
            pytest.param("v[12]", ["v1", "v2"], ["v3", "v[12]"], id="one of some"),
            pytest.param("v[0-9]", ["v1"], ["va"], id="one of a range"),
            pytest.param("v[!0-9]", ["va"], ["v1"], id="none of some"),
            pytest.param("a.+", ["a.+"], ["abb"], id="other signs stand for themselves"),
            pytest.param("*", ["", "a\nb"], [], id="everything"),
            pytest.param("[*]", ["*"], ["a"], id="an asterisk"),
            pytest.param("[", ["["], ["a"], id="an open bracket"),
        ],
    )
    def test_a_whole_text_fits_a_pattern(self, pattern: str, fits: list[str], fits_not: list[str]) -> None:
        assert [text for text in [*fits, *fits_not] if holds_for(f"match(params.x, {pattern!r})", text)] == fits

    def test_a_list_fits_where_one_of_its_texts_does(self) -> None:
        assert holds("match(tags, 'exp-*')", make_row(tags=["a", "exp-1"]))
        assert not holds("match(tags, 'exp-*')", make_row(tags=["a", 3]))

    def test_no_number_fits(self) -> None:
        assert not holds_for("match(params.x, '*')", 3)

    @given(st.text("*?[]!-a&|~.\\^"), st.text("a]*\n"))
    def test_any_text_is_a_pattern(self, pattern: str, text: str) -> None:
        holds_for(f"match(params.x, {pattern!r})", text)


class TestCombining:
    @given(st.booleans(), st.booleans(), st.booleans())
    def test_and_binds_closer_than_or_and_not_closest(self, a: bool, b: bool, c: bool) -> None:
        row = {("params", "a"): a, ("params", "b"): b, ("params", "c"): c}

        assert holds("params.a or params.b and params.c", row) is (a or (b and c))
        assert holds("(params.a or params.b) and params.c", row) is ((a or b) and c)
        assert holds("not params.a and params.b", row) is ((not a) and b)
        assert holds("not (params.a and params.b)", row) is (not (a and b))
        assert holds("not not params.a == true", row) is a
        assert holds("params.a and params.b and params.c", row) is (a and b and c)
        assert holds("params.a or params.b or params.c", row) is (a or b or c)

    def test_white_space_of_any_kind_separates(self) -> None:
        assert holds_for("\n params . x\t>\r\n1 and(params['x']<3)", 2)


@pytest.fixture
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is an hour, in summer two, before UTC."""
    if not hasattr(time, "tzset"):
        pytest.skip("this platform has one time zone")
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utc(text: str) -> float:
    return datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()


@pytest.mark.usefixtures("_berlin")
class TestTimes:
    @pytest.mark.parametrize(
        ("written", "start", "end"),
        [
            pytest.param("2026-01-02", "2026-01-01 23:00:00", "2026-01-02 23:00:00", id="day"),
            pytest.param("2026-07-02", "2026-07-01 22:00:00", "2026-07-02 22:00:00", id="day in summer"),
            pytest.param("2026-03-29", "2026-03-28 23:00:00", "2026-03-29 22:00:00", id="day of 23 hours"),
            pytest.param("2026-01-02 03:04", "2026-01-02 02:04:00", "2026-01-02 02:05:00", id="minute"),
            pytest.param("2026-01-02T03:04", "2026-01-02 02:04:00", "2026-01-02 02:05:00", id="minute with a T"),
            pytest.param("2026-01-02 03:04:05", "2026-01-02 02:04:05", "2026-01-02 02:04:06", id="second"),
            pytest.param("2026-01-02T03:04:05Z", "2026-01-02 03:04:05", "2026-01-02 03:04:06", id="in UTC"),
            pytest.param("2026-01-02 03:04-05:00", "2026-01-02 08:04:00", "2026-01-02 08:05:00", id="in another zone"),
            pytest.param("today", "2026-01-09 23:00:00", "2026-01-10 23:00:00", id="today"),
            pytest.param("yesterday", "2026-01-08 23:00:00", "2026-01-09 23:00:00", id="yesterday"),
        ],
    )
    def test_a_time_lasts_as_long_as_it_is_exact(self, written: str, start: str, end: str) -> None:
        first, last, before, after = utc(start), utc(end) - 0.001, utc(start) - 0.001, utc(end)
        true = {
            sign: [
                holds(f"started_at {sign} '{written}'", make_row(started_at=moment))
                for moment in (before, first, last, after)
            ]
            for sign in COMPARISONS
        }

        assert true == {
            "<": [True, False, False, False],
            "<=": [True, True, True, False],
            ">": [False, False, False, True],
            ">=": [False, True, True, True],
            "==": [False, True, True, False],
            "!=": [True, False, False, True],
        }

    def test_a_time_with_a_fraction_of_a_second_is_met_exactly(self) -> None:
        text = "started_at == '2026-01-02T03:04:05.250000Z'"

        assert holds(text, make_row(started_at=utc("2026-01-02 03:04:05.250000")))
        assert not holds(text, make_row(started_at=utc("2026-01-02 03:04:05.250010")))

    @pytest.mark.parametrize(
        ("written", "ago_s"),
        [
            pytest.param("2h ago", 7200, id="ago"),
            pytest.param("2h", 7200, id="without ago"),
            pytest.param("1d12h", 129600, id="two units"),
            pytest.param("0.5m ago", 30, id="fraction"),
        ],
    )
    def test_a_time_is_counted_back_from_now(self, written: str, ago_s: float) -> None:
        text = f"ended_at > '{written}'"

        assert holds(text, make_row(ended_at=NOW - ago_s + 1))
        assert not holds(text, make_row(ended_at=NOW - ago_s - 1))

    def test_now_is_when_the_filter_was_read(self) -> None:
        recent = parse_query("started_at > '1h ago'")

        assert recent.matches(lambda key: time.time() - 1800)
        assert not recent.matches(lambda key: time.time() - 5400)

    def test_a_time_may_be_one_of_several(self) -> None:
        row = make_row(started_at=utc("2026-01-02 12:00:00"))

        assert holds("started_at in ['2025-12-31', '2026-01-02']", row)
        assert not holds("started_at not in ['2025-12-31', '2026-01-02']", row)
        assert holds("started_at not in ['2025-12-31']", row)
        assert holds("started_at not in []", row)
        assert not holds("started_at not in ['2025-12-31']", make_row())

    def test_a_time_may_stand_on_the_left(self) -> None:
        text = "'2026-01-02' <= started_at < '2026-01-03'"

        assert holds(text, make_row(started_at=utc("2026-01-02 12:00:00")))
        assert not holds(text, make_row(started_at=utc("2026-01-03 12:00:00")))

    def test_two_times_of_a_run_are_compared(self) -> None:
        assert holds("started_at < ended_at", make_row(started_at=1.0, ended_at=2.0))

    @pytest.mark.parametrize("value", [MISSING, None, NAN, "2026-01-02"])
    def test_a_time_that_is_not_there_is_neither_before_nor_after(self, value: object) -> None:
        row = make_row(ended_at=value)

        assert [sign for sign in COMPARISONS if holds(f"ended_at {sign} '2026-01-02'", row)] == []
        assert not holds("ended_at in ['2026-01-02']", row)

    @pytest.mark.parametrize(
        "written",
        [
            *["tomorrow", "2026", "2026-01", "20260102", "2026-W01-5", "2026-02-30", "2026-01-02 25:00", ""],
            *[
                "2026-01-02 03",
                "2 hours ago",
                "3",
                "h",
                "-2h",
                "1e999d",
                "9999-12-31",
                "2026-01-02 03:04 MEZ",
                "2026-01-02d",
            ],
        ],
    )
    def test_no_time_is(self, written: str) -> None:
        assert refusal(f"started_at > '{written}'").splitlines()[0] == (
            f"the filter is not understood: '{written}' is no time. Write 'YYYY-MM-DD', 'YYYY-MM-DD HH:MM', "
            "'YYYY-MM-DD HH:MM:SS', 'today', 'yesterday' or '2h ago'."
        )


class TestDurations:
    def test_a_duration_is_seconds_or_a_text(self) -> None:
        row = make_row(duration=5400.0)

        assert holds("duration == 5400 and duration == '1h30m' and duration in ['90m']", row)
        assert not holds("duration > '1h30m' or duration not in ['90m', 1]", row)


# -- print and parse -------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["x", "y.z", "in", "größe"])
_QUOTED = st.text(max_size=5).map(repr)
_TAGS = st.one_of(st.just(".loss"), _QUOTED.map("[{}]".format))
_SCALARS = st.one_of(
    st.integers().map(repr),
    st.floats(allow_nan=False).map(repr),
    _QUOTED,
    st.sampled_from(["true", "False", "+1", "- 2", "1_0", ".5"]),
)
_LISTS = st.tuples(st.sampled_from(["[]", "{}"]), st.lists(st.one_of(_SCALARS, st.just("none")), max_size=3)).map(
    lambda made: made[0][0] + ", ".join(made[1]) + made[0][1]
)
_PARAMS = st.one_of(_NAMES.map("params.{}".format), _QUOTED.map("params[{}]".format))
_METRICS = st.builds("metrics{}{}".format, _TAGS, st.sampled_from(["", ".max", ".min_step"]))
_EQUAL = st.sampled_from(["==", "!="])
_ORDER = st.sampled_from(["<", "<=", ">", ">="])
_NUMBERS = st.one_of(st.integers().map(repr), st.floats(allow_nan=False).map(repr))
_IN = st.sampled_from([" in ", " not in "])
_CONDITIONS = st.recursive(
    st.one_of(
        _PARAMS,
        st.builds("{}{}{}".format, _PARAMS, _EQUAL, st.one_of(_SCALARS, _LISTS, _PARAMS, st.just("none"))),
        st.builds("{} {} {}".format, _METRICS, _ORDER, _NUMBERS),
        st.builds("{} {} {} {} {}".format, _NUMBERS, _ORDER, _METRICS, _ORDER, _PARAMS),
        st.builds("{}{}{}".format, _PARAMS, _IN, _LISTS),
        st.builds("{}{}{}".format, _QUOTED, _IN, st.sampled_from(["tags", "note", "params.x"])),
        st.builds("match({},{})".format, _PARAMS, _QUOTED),
        st.builds("{} is {}none".format, _METRICS, st.sampled_from(["", "not "])),
        st.builds("started_at{}{}".format, _ORDER, st.sampled_from(["'2h ago'", "'2026-01-02'"])),
    ),
    lambda inner: st.one_of(
        st.builds("({})".format, inner),
        st.builds("not {}".format, inner),
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("not ({})".format, inner),
    ),
    max_leaves=6,
)
_X = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.floats(), st.text(max_size=2), st.lists(st.integers(-1, 1))
)


class TestText:
    @given(_CONDITIONS, _X)
    def test_a_printed_filter_parses_to_an_equal_one(self, text: str, x: object) -> None:
        query = parse_query(text, now=NOW)
        again = parse_query(str(query), now=NOW)

        assert again == query
        assert hash(again) == hash(query)
        assert str(again) == str(query)
        assert again.fields == query.fields
        assert again.matches(lambda key: x) is query.matches(lambda key: x)

    @given(
        st.lists(st.tuples(st.sampled_from(["", "-", " - "]), st.one_of(_PARAMS, _METRICS, st.just("id"))), min_size=1)
    )
    def test_a_printed_sort_key_parses_to_an_equal_one(self, terms: list[tuple[str, str]]) -> None:
        key = parse_sort(",".join(sign + field for sign, field in terms))
        again = parse_sort(str(key))

        assert again == key
        assert hash(again) == hash(key)
        assert again.fields == key.fields

    @pytest.mark.parametrize(
        ("text", "printed"),
        [
            ("params['x']>1", "params.x > 1"),
            ("params['optimizer.lr']==None", "params.optimizer.lr is none"),
            ("metrics.loss<1", "metrics.loss.last < 1"),
            ('metrics["val/acc"] < 1', "metrics['val/acc'].last < 1"),
            ("params.x", "params.x == true"),
            ("status in ('lost', \"failed\",)", "status in ['lost', 'failed']"),
            ("((params.x) > 1)", "params.x > 1"),
            (
                "params.x and (params.y or not (params.z))",
                "params.x == true and (params.y == true or not params.z == true)",
            ),
            ("(params.x>1 and params.y>1) and params.z>1", "(params.x > 1 and params.y > 1) and params.z > 1"),
            ("(params.x>1 or params.y>1) or params.z>1", "(params.x > 1 or params.y > 1) or params.z > 1"),
            ("(params.x>1 and params.y>1) or params.z>1", "params.x > 1 and params.y > 1 or params.z > 1"),
            ("not(params.x>1 and params.y>1)", "not (params.x > 1 and params.y > 1)"),
            ("not(params.x>1 or params.y>1)", "not (params.x > 1 or params.y > 1)"),
            ("match ( note , 'a*' )", "match(note, 'a*')"),
        ],
    )
    def test_the_canonical_text_of_a_filter(self, text: str, printed: str) -> None:
        assert str(parse_query(text)) == printed
        assert repr(parse_query(text)) == f"<Query: {printed}>"

    def test_the_canonical_text_of_a_sort_key(self) -> None:
        assert str(parse_sort("- metrics['loss'] ,params['a b']")) == "-metrics.loss.last, params['a b']"
        assert repr(parse_sort("-id")) == "<SortKey: -id>"

    @pytest.mark.parametrize(
        "other", ["params.x == 1.0", "params.x == true", "params.x != 1", "params.y == 1", "1 == params.x"]
    )
    def test_filters_of_another_meaning_or_form_are_not_equal(self, other: str) -> None:
        assert parse_query("params.x == 1") != parse_query(other)

    def test_a_filter_equals_no_text(self) -> None:
        assert parse_query("params.x == 1") != "params.x == 1"
        assert parse_sort("id") != "id"


# -- sorting ---------------------------------------------------------------------------------------------------------


class TestSorting:
    def test_values_are_ordered_by_kind_and_what_is_missing_is_last(self) -> None:
        odd = OddValue()
        values: list[object] = ["b", MISSING, 2, [2], True, NAN, "a", 1.5, None, [1, "x"], False, odd]

        assert sorted_by("params.x", values) == [False, True, 1.5, 2, "a", "b", [1, "x"], [2], MISSING, NAN, None, odd]
        assert sorted_by("-params.x", values) == [[2], [1, "x"], "b", "a", 2, 1.5, True, False, MISSING, NAN, None, odd]

    @given(st.lists(st.one_of(st.integers(), st.floats(), st.none())), st.sampled_from(["", "-"]))
    def test_numbers_are_ordered_as_in_python(self, values: list[Any], sign: str) -> None:
        present = [value for value in values if value is not None and value == value]
        ordered = sorted_by(f"{sign}params.x", values)

        assert ordered[: len(present)] == sorted(present, reverse=sign == "-")
        assert all(value is None or value != value for value in ordered[len(present) :])

    def test_integers_beyond_the_precision_of_floats_are_ordered_exactly(self) -> None:
        assert sorted_by("params.x", [2**53 + 1, float(2**53), 2**53 + 2]) == [2**53, 2**53 + 1, 2**53 + 2]

    def test_lists_with_values_of_any_kind_are_ordered(self) -> None:
        values: list[object] = [[None], ["a"], [NAN], [1], [], [[1]], [True], [{}]]

        assert sorted_by("params.x", values) == [[], [True], [1], ["a"], [None], [NAN], [[1]], [{}]]

    @pytest.mark.parametrize("sign", ["", "-"])
    def test_equal_values_keep_their_order(self, sign: str) -> None:
        columns = {("params", "x"): [1, 1.0, 1, MISSING, MISSING]}

        assert order(f"{sign}params.x", columns, [2, 0, 4, 1, 3]) == [2, 0, 1, 4, 3]

    def test_a_second_key_orders_what_is_equal_in_the_first(self) -> None:
        columns: dict[Any, list[object]] = {("experiment",): ["b", "a", "b", "a"], ("params", "x"): [1, 2, 3, 4]}

        assert order("experiment, -params.x", columns, range(4)) == [3, 1, 2, 0]

    def test_only_the_given_rows_are_ordered(self) -> None:
        assert order("params.x", {("params", "x"): [3, 2, 1]}, [0, 2]) == [2, 0]

    def test_a_column_that_is_not_there_changes_no_order(self) -> None:
        assert order("-params.x", {}, [2, 0, 1]) == [2, 0, 1]


# -- hints -----------------------------------------------------------------------------------------------------------


class TestNames:
    def test_a_parameter_that_no_run_has_is_told(self) -> None:
        query = parse_query("params.learning_rte > 0.1 and params.epochs > 1")

        assert check_names(query, ["learning_rate", "epochs"], []) == (
            "no run has a parameter 'learning_rte'. Did you mean 'learning_rate'?"
        )

    def test_a_metric_that_no_run_has_is_told(self) -> None:
        assert check_names(parse_sort("-metrics['val/acuracy'].max"), [], ["val/accuracy", "loss"]) == (
            "no run has a metric 'val/acuracy'. Did you mean 'val/accuracy'?"
        )

    def test_each_unknown_name_is_told_once(self) -> None:
        query = parse_query("params.a > metrics.b.min and params.a < metrics.b.max and sources.a == 'default'")

        assert check_names(query, ["x"], ["y"]) == "no run has a metric 'b'.\nno run has a parameter 'a'."

    def test_nothing_is_told_of_names_that_some_run_has(self) -> None:
        query = parse_query("params.a > 1 and metrics.b > 1 and sources.a == 'default' and status == 'lost'")

        assert check_names(query, {"a"}, {"b"}) == ""

    def test_of_many_unknown_names_some_are_told(self) -> None:
        query = parse_query(" or ".join(f"params.a{number}" for number in range(20)))

        assert len(check_names(query, [], []).splitlines()) == 5


# -- what is wrong ---------------------------------------------------------------------------------------------------

_A_VALUE = "a field, a number, a text in quotes or a list"
_BRACKETS = "A name with such a character stands in brackets and quotes: metrics['val/accuracy']."
_DATES = "Write 'YYYY-MM-DD', 'YYYY-MM-DD HH:MM', 'YYYY-MM-DD HH:MM:SS', 'today', 'yesterday' or '2h ago'."
_STATISTICS = "first, last, min, max, mean, count, min_step or max_step"

# The filter, where it is wrong, and what is said.
WRONG = [
    # fields
    ("stauts == 'failed'", 0, "there is no field 'stauts'. Did you mean 'status'?"),
    ("started > '2h ago'", 0, "there is no field 'started'. Did you mean 'started_at'?"),
    ("param.x > 1", 0, "there is no field 'param'. Did you mean 'params'?"),
    (
        "accuracy > 1",
        0,
        "there is no field 'accuracy'. A parameter is written params.accuracy, a metric metrics['accuracy'].",
    ),
    ("'a' in tag", 7, "there is no field 'tag'. Did you mean 'tags'?"),
    ("status == completed", 10, "there is no field 'completed'. A text stands in quotes: 'completed'."),
    ("status == lost", 10, "there is no field 'lost'. A text stands in quotes: 'lost'."),
    ("params.x == null", 12, "there is no field 'null'. Write none."),
    ("params.x == nan", 12, "there is no field 'nan'. Nothing equals NaN; a metric that never was a number is none."),
    ("params", 6, "expected params.NAME or params['NAME'], but it ends here."),
    ("params > 1", 7, "expected params.NAME or params['NAME'], got '>'."),
    ("params.", 7, "expected a name after the dot, but it ends here."),
    ("params[x]", 7, "expected a text in quotes inside the brackets, got 'x'."),
    ("params['x' > 1", 11, "expected ']', got '>'."),
    (
        "params.learning-rate > 1",
        15,
        f"expected a comparison such as == or <, got '-'. There is no arithmetic. {_BRACKETS}",
    ),
    ("metrics.val/acc > 1", 11, f"expected a comparison such as == or <, got '/'. {_BRACKETS}"),
    ("metrics.a.maxx > 1", 10, f"a metric has no 'maxx', only {_STATISTICS}. Did you mean 'max'?"),
    (
        "metrics.train.loss > 1",
        14,
        f"a metric has no 'loss', only {_STATISTICS}. A tag with dots is written metrics['a.b'].",
    ),
    ("metrics.a. > 1", 11, f"expected {_STATISTICS}, got '>'."),
    ("error == 'oom'", 6, "expected error.type or error.message, got '=='."),
    ("error.code == 'oom'", 6, "expected error.type or error.message, got 'code'."),
    # words and signs of other languages
    ("params.x = 3", 9, "expected a comparison such as == or <, got '='. Write == for 'equals'."),
    ("params.x > 1 && params.y", 13, "expected 'and', 'or' or the end, got '&&'. Write 'and'."),
    ("params.x > 1 || params.y", 13, "expected 'and', 'or' or the end, got '||'. Write 'or'."),
    ("params.x > 1 AND params.y", 13, "expected 'and', 'or' or the end, got 'AND'. Write 'and'."),
    ("!params.x", 0, f"expected {_A_VALUE}, got '!'. Write 'not', or != for 'differs'."),
    (
        "note ~ 'x'",
        5,
        "expected a comparison such as == or <, got '~'. Write match(FIELD, 'PATTERN') for texts that fit a pattern.",
    ),
    ("params.x > 1 + 2", 13, "expected 'and', 'or' or the end, got '+'. There is no arithmetic."),
    ("status == “lost”", 10, f"expected {_A_VALUE}, got '“'. Quotes are ' and \"."),
    ("params.x\x00 == 1", 8, "expected a comparison such as == or <, got '\\x00'."),
    ("len(tags) > 1", 0, "there is no function 'len'. There is match(FIELD, 'PATTERN')."),
    ("__import__('os').system('true')", 0, "there is no function '__import__'. There is match(FIELD, 'PATTERN')."),
    # what is not there
    ("", None, "it is empty. Write a condition such as params.learning_rate > 0.01."),
    (" \n", None, "it is empty. Write a condition such as params.learning_rate > 0.01."),
    ("params.x >", 10, f"expected {_A_VALUE}, but it ends here."),
    ("params.x > 1 and", 16, f"expected {_A_VALUE}, but it ends here."),
    ("not", 3, f"expected {_A_VALUE}, but it ends here."),
    ("and params.x", 0, f"expected {_A_VALUE}, got 'and'."),
    ("(params.x > 1", 13, "expected 'and', 'or' or ')', but it ends here."),
    ("(params.x", 9, "expected a comparison or ')', but it ends here."),
    ("params.x > 1)", 12, "expected 'and', 'or' or the end, got ')'."),
    ("params.x > 1 params.y", 13, "expected 'and', 'or' or the end, got 'params'."),
    ("params.x not 3", 13, "expected 'in' after 'not', got 3."),
    ("params.x in [1 2]", 15, "expected a comma or ']', got 2."),
    ("params.x in [1, 2", 17, "expected a comma or ']', but it ends here."),
    ("match(note)", 10, "expected a comma and a pattern in quotes, got ')'."),
    ("match(note, x)", 12, "expected a pattern in quotes, got 'x'."),
    ("match(note, 'x'", 15, "expected ')', but it ends here."),
    ("match(", 6, "expected a field, but it ends here."),
    # values
    ("params.x == 'abc", 12, "the text that begins here has no end: another ' is missing."),
    (r"params.x == 'a\qb'", 14, "a backslash here begins nothing that is known. Write \\\\ for the backslash itself."),
    (r"params.x == '\x4'", 13, "a backslash here begins nothing that is known. Write \\\\ for the backslash itself."),
    (
        r"params.x == '\U00110000'",
        13,
        "a backslash here begins nothing that is known. Write \\\\ for the backslash itself.",
    ),
    ("params.x > 1.2.3", 11, "1.2.3 is no number. A date, a duration or any other text stands in quotes: '1.2.3'."),
    ("duration > 2h", 11, "2h is no number. A date, a duration or any other text stands in quotes: '2h'."),
    ("params.x > 1٣.0", 11, "1٣.0 is no number. A date, a duration or any other text stands in quotes: '1٣.0'."),
    ("params.x > -'a'", 12, "expected a number after the sign, got 'a'."),
    ("params.x in [params.y]", 13, "expected a number, a text in quotes, true, false or none, got 'params'."),
    ("params.x == [[1]]", 13, "expected a number, a text in quotes, true, false or none, got '['."),
    ("(params.x, 1) == params.y", 1, "a list holds numbers, texts, true, false and none only."),
    ("params.x > 2026-01-02", 15, "expected 'and', 'or' or the end, got '-'. A date stands in quotes: '2026-01-02'."),
    # what does not go together
    ("status", 0, "status alone is no condition. Compare it, with == or < for example."),
    ("params.x > 1 and tags", 17, "tags alone is no condition. Compare it, with == or < for example."),
    ("not 'a'", 4, "'a' alone is no condition. Compare it, with == or < for example."),
    ("(status)", 0, "status alone is no condition. Compare it, with == or < for example."),
    ("1 < 2", 0, "two values are compared. One of them must be a field."),
    ("params.x < 1 < 2", 11, "two values are compared. One of them must be a field."),
    ("1 in [1]", 0, "two values are compared. One of them must be a field."),
    ("none == none", 0, "two values are compared. One of them must be a field."),
    ("params.x is true", 12, "'is' is for none only. Write ==."),
    ("params.x is not 'a'", 16, "'is not' is for none only. Write !=."),
    ("params.x < none", 11, "none only equals. Write FIELD is none, or FIELD is not none."),
    ("none in params.x", 0, "none only equals. Write FIELD is none, or FIELD is not none."),
    ("1 < params.x != none", 16, "none only equals. Write FIELD is none, or FIELD is not none."),
    ("1 < params.x in [1]", 13, "'in' cannot stand in a chain of comparisons. Join them with 'and'."),
    ("params.x in tags == true", 17, "'==' cannot stand in a chain of comparisons. Join them with 'and'."),
    ("(params.x > 1) == true", 0, "a condition is not compared. Join it with 'and', 'or' or 'not'."),
    ("params.y == (params.x > 1)", 12, "a condition is not compared. Join it with 'and', 'or' or 'not'."),
    ("params.x > true", 11, "true has no order. Write == or !=."),
    ("[1] < params.x", 0, "[1] has no order. Write == or !=."),
    ("[1] in params.x", 0, "only single values are looked for. Write 'a' in params.x."),
    ("params.x in 3", 12, "3 is a number, which holds nothing."),
    ("'a' in exit_code", 7, "exit_code is a number, which holds nothing."),
    ("started_at in '2026-01-02'", 0, "started_at is a time, and a text holds only texts."),
    ("3 not in note", 0, "3 is a number, and a text holds only texts."),
    ("match('a', 'b')", 6, "only a field is matched: match(FIELD, 'PATTERN')."),
    ("match(metrics.a, 'b')", 6, "metrics.a.last is a number, and only texts are matched."),
    # values that a field never has
    ("tags == 'a'", 8, "tags is a list, 'a' is a text. Write 'a' in tags."),
    ("tags in ['a']", 0, "tags is a list. Write 'a' in tags."),
    ("tags not in note", 0, "tags is a list. Write 'a' not in tags."),
    ("exit_code == '1'", 13, "exit_code is a number, '1' is a text."),
    ("metrics.loss.min < '0.5'", 19, "metrics.loss.min is a number, '0.5' is a text."),
    ("host == 3", 8, "host is a text, 3 is a number."),
    ("sources.x == true", 13, "sources.x is a text, true is a boolean."),
    ("experiment in ['a', 3]", 20, "experiment is a text, 3 is a number."),
    ("status == 'complete'", 10, "there is no status 'complete'. Did you mean 'completed'?"),
    (
        "status in ['lost', 'done']",
        19,
        "there is no status 'done'. There are running, completed, failed, interrupted, pruned, lost and damaged.",
    ),
    ("started_at > 3", 13, f"started_at is a time, 3 is a number. {_DATES}"),
    ("'soon' > ended_at", 0, f"'soon' is no time. {_DATES}"),
    ("duration > 'long'", 11, "'long' is no duration. Write a number of seconds, '30s', '10m' or '1h30m'."),
    ("duration == true", 12, "duration is a duration, true is a boolean."),
]


class TestErrors:
    @pytest.mark.parametrize(("text", "start", "problem"), WRONG)
    def test_a_filter_is_refused_with_the_place_and_what_was_expected(
        self, text: str, start: int | None, problem: str
    ) -> None:
        shown = "" if start is None else f"\n  {text.replace(chr(0), chr(0xFFFD))}\n  {' ' * start}^"

        assert refusal(text) == f"the filter is not understood: {problem}{shown}"

    @pytest.mark.parametrize(
        ("text", "start", "problem"),
        [
            ("", None, "expected a field, but it ends here."),
            ("-", 1, "expected a field, but it ends here."),
            ("id,", 3, "expected a field, but it ends here."),
            ("-3", 1, "only fields sort, such as started_at or metrics['val/accuracy'].max."),
            ("params.x > 1", 9, "expected a comma or the end, got '>'. A - before a field reverses its order."),
            ("started_at desc", 11, "expected a comma or the end, got 'desc'. A - before a field reverses its order."),
            ("startd_at", 0, "there is no field 'startd_at'. Did you mean 'started_at'?"),
            ("match(note, 'a')", 0, "only fields sort, such as started_at or metrics['val/accuracy'].max."),
        ],
    )
    def test_a_sort_key_is_refused_with_the_place_and_what_was_expected(
        self, text: str, start: int | None, problem: str
    ) -> None:
        shown = "" if start is None else f"\n  {text}\n  {' ' * start}^"

        assert sort_refusal(text) == f"the sort key is not understood: {problem}{shown}"

    def test_what_is_no_text_is_refused(self) -> None:
        assert refusal(3) == "a filter is a text, got 3."
        assert sort_refusal(None) == "a sort key is a text, got None."

    def test_of_a_long_filter_the_wrong_part_is_shown(self) -> None:
        text = "params.x > 1 and " * 20 + "params.x > 1 und " + "params.y > 1 and " * 20

        assert refusal(text) == (
            "the filter is not understood: expected 'and', 'or' or the end, got 'und'.\n"
            "  …nd params.x > 1 and params.x > 1 and params.x > 1 und params.y > 1 and par…\n"
            f"  {' ' * 51}^"
        )

    def test_the_caret_stands_below_the_character_in_wide_letters(self) -> None:
        assert refusal("params.x == '損失e\u0301' und") == (
            "the filter is not understood: expected 'and', 'or' or the end, got 'und'.\n"
            "  params.x == '損失e\u0301' und\n"
            f"  {' ' * 20}^"
        )

    def test_lines_of_a_filter_are_shown_as_one(self) -> None:
        assert refusal("params.x\n> > 1") == (
            f"the filter is not understood: expected {_A_VALUE}, got '>'.\n  params.x > > 1\n             ^"
        )

    def test_a_long_name_is_cut(self) -> None:
        assert len(refusal("a" * 50_000)) < 400


class TestHostileTexts:
    @pytest.mark.parametrize(
        "text",
        [
            pytest.param("(" * 10_000 + "params.x" + ")" * 10_000, id="parentheses"),
            pytest.param("not " * 10_000 + "params.x", id="nots"),
            pytest.param("not (" * 10_000, id="both"),
        ],
    )
    def test_what_is_nested_too_deep_is_refused(self, text: str) -> None:
        assert refusal(text).splitlines()[0] == (
            "the filter is not understood: there are more than 50 parentheses or 'not' around each other."
        )

    def test_fifty_parentheses_are_read(self) -> None:
        assert str(parse_query("(" * 50 + "params.x > 1" + ")" * 50)) == "params.x > 1"
        assert holds_for("not " * 50 + "params.x > 1", 2)

    def test_many_parentheses_beside_each_other_are_read(self) -> None:
        assert holds_for(" and ".join(["(not (params.x > 3))"] * 200), 2)

    @pytest.mark.parametrize("letter", ["a", "'", "(", " ", "\x00", "1", "params.x and "])
    def test_a_megabyte_is_refused(self, letter: str) -> None:
        text = letter * (2**20 // len(letter))

        assert refusal(text) == f"the filter is {len(text)} characters long; at most 100000 are read."
        assert sort_refusal(text) == f"the sort key is {len(text)} characters long; at most 100000 are read."

    @pytest.mark.parametrize("text", ["[" * 10_000, "params" * 10_000, "'" + "\\" * 9_999, "-" * 10_000, "1" * 10_000])
    def test_a_long_text_without_a_meaning_is_refused(self, text: str) -> None:
        assert refusal(text).startswith("the filter is not understood: ")

    def test_a_filter_of_a_thousand_parts_is_read(self) -> None:
        text = " or ".join(f"params.x == {number}" for number in range(1000))

        assert holds_for(text, 999)
        assert not holds_for(text, 1000)
        assert holds_for("0 < " + " <= ".join(["params.x"] * 1000), 1)

    @given(st.text(st.characters(codec=None)) | st.text("params.x metricsnotandor'\"\\()[]{}<>=!,-+1e"))
    def test_any_text_is_a_filter_or_a_usage_error(self, text: str) -> None:
        try:
            query = parse_query(text)
        except UsageError as error:
            message = str(error)
        else:
            message = ""
            assert parse_query(str(query)) == query
        message.encode("utf-8")  # a terminal can show it


# -- documentation and start-up --------------------------------------------------------------------------------------


def documented(kind: str) -> list[str]:
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert blocks
    return [line for block in blocks for line in block.splitlines()]


class TestDocumentation:
    def test_each_documented_filter_is_one(self) -> None:
        assert [str(parse_query(line)) for line in documented("filter")]

    def test_each_documented_sort_key_is_one(self) -> None:
        assert [str(parse_sort(line)) for line in documented("sort")] == documented("sort")

    def test_the_documented_error_is_the_real_one(self) -> None:
        lines = documented("error")

        assert refusal(lines[1].strip()).splitlines() == lines

    def test_each_field_is_documented(self) -> None:
        text = DOCS.read_text(encoding="utf-8")

        for name in SIMPLE_FIELDS + STATISTICS:
            assert f"`{name}`" in text


def test_reading_a_filter_loads_nothing_heavy(working_dir: Path) -> None:
    done = run_python(
        "-c",
        "import sys\n"
        "before = set(sys.modules)\n"
        "from pystematic.store._query import parse_query, parse_sort\n"
        "parse_query(\"params.x > 1 and status in ['lost'] and started_at > '2h ago'\")\n"
        "parse_sort('-params.x')\n"
        "heavy = {'re', 'typing', 'dataclasses', 'inspect', 'datetime', 'fnmatch', 'ast', 'unicodedata', 'logging'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))\n",
        cwd=working_dir,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
