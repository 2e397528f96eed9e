"""What a filter means: its tree, printed as text and compiled to nested functions; the values that it compares.

Knows neither the grammar (`_query_parser`) nor where values come from: a column is a key, and a row is whatever the
function that reads a column takes.
"""

from __future__ import annotations

import abc
import operator
from itertools import pairwise

from pystematic._record import record
from pystematic._words import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    # Names a column: ("status",), ("params", "learning_rate"), ("metrics", "val/accuracy", "max").
    Key = tuple[str, ...]
    # Returns the value of one column in a row.
    Read = Callable[[Any], object]
    Bind = Callable[[Key], Read]
    # Tells whether a row fulfils a condition.
    Test = Callable[[Any], bool]


class _Missing:
    """What stands in a column where a run has no value."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING = _Missing()

# What a value is compared as. NOTHING is missing, None, or of a type that the language does not know.
NOTHING, TEXT, NUMBER, BOOLEAN, LIST = "", "a text", "a number", "a boolean", "a list"
# What some fields hold: both are numbers, which one compares with texts of their own.
TIME, DURATION = "a time", "a duration"


class _Kinds(dict[type, str]):
    def __missing__(self, cls: type) -> str:
        return next((kind for known, kind in self.items() if issubclass(cls, known)), NOTHING)


KINDS = _Kinds({str: TEXT, bool: BOOLEAN, int: NUMBER, float: NUMBER, list: LIST, tuple: LIST})

# The fields of one name, and what each holds.
FIELDS = {
    **dict.fromkeys(("id", "experiment", "status", "note", "host", "parent", "sweep", "code", "commit", "path"), TEXT),
    **dict.fromkeys(("started_at", "ended_at"), TIME),
    "duration": DURATION,
    "exit_code": NUMBER,
    "tags": LIST,
}
ERROR_PARTS = ("type", "message")
STATISTICS = ("first", "last", "min", "max", "mean", "count", "min_step", "max_step")


class Condition(abc.ABC):
    """A part of a filter that is true or false of a run. Its text is the canonical one, which parses to its equal."""

    @abc.abstractmethod
    def compile(self, bind: Bind, now: float) -> Test:
        """Return a function of a row.

        Args:
            bind: returns, for the key of a column, what reads it; called for every column that the condition reads.
            now: what relative times count from, in seconds since 1970.
        """


# -- what is compared ------------------------------------------------------------------------------------------------


@record
class Field:
    """A column."""

    key: Key

    @property
    def kind(self) -> str:
        """What it holds; NOTHING for a parameter, which may hold anything."""
        head = self.key[0]
        if head == "params":
            return NOTHING
        if head == "metrics":
            return NUMBER
        return FIELDS.get(head, TEXT)

    def read(self, bind: Bind) -> Read:
        return bind(self.key)

    def __str__(self) -> str:
        head, *rest = self.key
        if head == "metrics":
            tag, statistic = rest
            return f"metrics{_access(tag, [tag])}.{statistic}"
        return head if not rest else f"{head}{_access(rest[0], rest[0].split('.'))}"


def _access(name: str, parts: Sequence[str]) -> str:
    return f".{name}" if all(part.isidentifier() for part in parts) else f"[{name!r}]"


@record
class Literal:
    """A value that is written in the filter."""

    value: Any

    def read(self, bind: Bind) -> Read:
        value = self.value
        return lambda row: value

    # Python's 1 equals True and 1.0.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and repr(self.value) == repr(other.value)

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __str__(self) -> str:
        is_word = self.value is None or isinstance(self.value, bool)
        return str(self.value).lower() if is_word else repr(self.value)


@record
class Items:
    """A list that is written in the filter."""

    literals: tuple[Literal, ...]

    @property
    def value(self) -> Any:
        """Its values."""
        return [literal.value for literal in self.literals]

    def read(self, bind: Bind) -> Read:
        values = self.value
        return lambda row: values

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.literals))}]"


if TYPE_CHECKING:
    Operand = Field | Literal | Items


# -- conditions ------------------------------------------------------------------------------------------------------


@record
class And(Condition):
    """True where all of its conditions are."""

    conditions: tuple[Condition, ...]

    def compile(self, bind: Bind, now: float) -> Test:
        return _all_of([condition.compile(bind, now) for condition in self.conditions])

    def __str__(self) -> str:
        return " and ".join(_inside(condition, (And, Or)) for condition in self.conditions)


@record
class Or(Condition):
    """True where one of its conditions is."""

    conditions: tuple[Condition, ...]

    def compile(self, bind: Bind, now: float) -> Test:
        tests = [condition.compile(bind, now) for condition in self.conditions]
        return lambda row: any(test(row) for test in tests)

    def __str__(self) -> str:
        return " or ".join(_inside(condition, (Or,)) for condition in self.conditions)


@record
class Not(Condition):
    """True where its condition is false."""

    condition: Condition

    def compile(self, bind: Bind, now: float) -> Test:
        test = self.condition.compile(bind, now)
        return lambda row: not test(row)

    def __str__(self) -> str:
        return f"not {_inside(self.condition, (And, Or))}"


def _inside(condition: Condition, looser: tuple[type, ...]) -> str:
    return f"({condition})" if isinstance(condition, looser) else str(condition)


def _all_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    if len(tests) == 2:
        first, second = tests
        return lambda row: first(row) and second(row)

    return lambda row: all(test(row) for test in tests)


@record
class IsNone(Condition):
    """True where a column has no value or None; with ``negated`` where it has another one."""

    field: Field
    negated: bool = False

    def compile(self, bind: Bind, now: float) -> Test:
        read, negated = self.field.read(bind), self.negated

        def test(row: Any) -> bool:
            value = read(row)
            return (value is None or value is MISSING) is not negated

        return test

    def __str__(self) -> str:
        return f"{self.field} is {'not ' if self.negated else ''}none"


@record
class Match(Condition):
    """True where a text, or a text of a list, fits a pattern of ``*``, ``?`` and ``[letters]`` from end to end."""

    field: Field
    pattern: str

    def compile(self, bind: Bind, now: float) -> Test:
        import fnmatch  # it loads the regular expressions, which no other query needs
        import re

        read, fits = self.field.read(bind), re.compile(fnmatch.translate(self.pattern)).match

        def test(row: Any) -> bool:
            value: Any = read(row)
            kind = KINDS[type(value)]
            if kind == LIST:
                return any(isinstance(item, str) and fits(item) is not None for item in value)
            return kind == TEXT and fits(value) is not None

        return test

    def __str__(self) -> str:
        return f"match({self.field}, {self.pattern!r})"


@record
class Comparison(Condition):
    """One comparison, or a chain of them: each operand with the next one.

    Each is false where a value is missing, None or NaN. ``!=`` is true of two other values that are not equal,
    whatever their kinds; the others are false of values of different kinds.
    """

    operands: tuple[Operand, ...]
    signs: tuple[str, ...]

    def compile(self, bind: Bind, now: float) -> Test:
        pairs = zip(self.signs, pairwise(self.operands), strict=True)
        return _all_of([_compare(left, sign, right, bind, now) for sign, (left, right) in pairs])

    def __str__(self) -> str:
        rest = zip(self.signs, self.operands[1:], strict=True)
        return " ".join([str(self.operands[0]), *(f"{sign} {operand}" for sign, operand in rest)])


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
ORDERINGS = ("<", "<=", ">", ">=")


def _compare(left: Operand, sign: str, right: Operand, bind: Bind, now: float) -> Test:
    if not isinstance(left, Field):
        left, sign, right = right, _MIRRORED[sign], left
    assert isinstance(left, Field)
    read = left.read(bind)
    if not isinstance(right, Literal):
        return _compare_columns(read, sign, right.read(bind))
    if left.kind == TIME:
        return _compare_time(read, sign, parse_time(right.value, now))
    return _compare_constant(read, sign, _constant(left, right.value))


def _compare_constant(read: Read, sign: str, constant: Any) -> Test:
    kinds, kind = KINDS, KINDS[type(constant)]

    def differs(row: Any) -> bool:
        value = read(row)
        return _is_comparable(value) and (kinds[type(value)] != kind or value != constant)

    if sign == "!=":
        return differs
    compare = _OPERATORS[sign]

    def test(row: Any) -> bool:
        value = read(row)
        return kinds[type(value)] == kind and compare(value, constant)

    return test


def _compare_columns(read: Read, sign: str, read_other: Read) -> Test:
    def differ(row: Any) -> bool:
        value, other = read(row), read_other(row)
        return _is_comparable(value) and _is_comparable(other) and not is_equal(value, other)

    if sign == "!=":
        return differ
    if sign == "==":
        return lambda row: is_equal(read(row), read_other(row))
    compare = _OPERATORS[sign]

    def test(row: Any) -> bool:
        value, other = read(row), read_other(row)
        kind = KINDS[type(value)]
        return kind in (NUMBER, TEXT) and kind == KINDS[type(other)] and compare(value, other)

    return test


def _compare_time(read: Read, sign: str, span: tuple[float, float]) -> Test:
    start, end = span
    compare: Callable[[Any], bool] = {
        "<": lambda time: time < start,
        "<=": lambda time: time < end,
        ">": lambda time: time >= end,
        ">=": lambda time: time >= start,
        "==": lambda time: start <= time < end,
        "!=": lambda time: time < start or time >= end,
    }[sign]

    def test(row: Any) -> bool:
        value = read(row)
        return KINDS[type(value)] == NUMBER and compare(value)

    return test


@record
class Contains(Condition):
    """True where a list holds a value, or a text another one; false with and without ``negated`` where one is missing.

    A list that is written in the filter may hold none: it stands for a value that is missing or None.
    """

    item: Field | Literal
    container: Operand
    negated: bool = False

    def compile(self, bind: Bind, now: float) -> Test:
        read, negated = self.item.read(bind), self.negated
        if isinstance(self.container, Items):
            assert isinstance(self.item, Field)
            return _is_one_of(self.item, self.container, read, negated, now)
        read_container = self.container.read(bind)

        def test(row: Any) -> bool:
            value: Any = read(row)
            container: Any = read_container(row)
            kind = KINDS[type(container)]
            if kind not in (LIST, TEXT) or not _is_comparable(value):
                return False
            if isinstance(value, str):  # a text equals nothing but texts: Python's own `in`, many times as fast
                return (value in container) is not negated
            return (kind == LIST and any(is_equal(value, item) for item in container)) is not negated

        return test

    def __str__(self) -> str:
        return f"{self.item} {'not ' if self.negated else ''}in {self.container}"


def _is_one_of(field: Field, items: Items, read: Read, negated: bool, now: float) -> Test:
    values = [literal.value for literal in items.literals if literal.value is not None]
    has_none = len(values) < len(items.literals) and not negated
    spans = [parse_time(value, now) for value in values] if field.kind == TIME else []
    by_kind: dict[str, set[Any]] = {TEXT: set(), NUMBER: set(), BOOLEAN: set()}
    for value in values if field.kind != TIME else ():
        value = _constant(field, value)
        by_kind[KINDS[type(value)]].add(value)

    def test(row: Any) -> bool:
        value: Any = read(row)
        if not _is_comparable(value):
            return has_none and (value is None or value is MISSING)
        kind = KINDS[type(value)]
        if spans:
            return (kind == NUMBER and any(start <= value < end for start, end in spans)) is not negated
        return (value in by_kind.get(kind, ())) is not negated

    return test


# -- values ----------------------------------------------------------------------------------------------------------


def _constant(field: Field, value: Any) -> Any:
    """Return a value of the filter as ``field`` holds it: the text of a duration is seconds."""
    return parse_duration(value) if field.kind == DURATION and isinstance(value, str) else value


def _is_comparable(value: Any) -> bool:
    return KINDS[type(value)] != NOTHING and bool(value == value)


def is_equal(value: Any, other: Any) -> bool:
    """Tell whether two values are of one kind and equal, those in lists too. In a list None equals None."""
    pairs = [(value, other)]
    is_item = False
    while pairs:  # no recursion: a record that somebody edited may hold lists of any depth
        value, other = pairs.pop()
        kind = KINDS[type(value)]
        if kind != KINDS[type(other)]:
            return False
        if kind == LIST:
            if len(value) != len(other):
                return False
            pairs += zip(value, other, strict=True)
            is_item = True
        elif not (value == other if kind != NOTHING else is_item and value is None and other is None):
            return False
    return True


_DAY_LENGTH, _MINUTE_LENGTH, _SECOND_LENGTH = len("YYYY-MM-DD"), len("HH:MM"), len("HH:MM:SS")


def parse_time(text: str, now: float) -> tuple[float, float]:
    """Return the beginning and the end of the time that ``text`` means, in seconds since 1970.

    ``2026-01-02``, ``today`` and ``yesterday`` are a day, ``2026-01-02 03:04`` a minute, ``2026-01-02 03:04:05`` a
    second, ``2h ago`` and ``2h`` a moment. Without ``Z`` or ``+HH:MM`` behind it a time is local.

    Raises:
        ValueError: it is none of these.
    """
    text = text.strip()
    ago = text.removesuffix("ago").strip()
    if ago[-1:] in ("s", "m", "h", "d") and ago[:1] in tuple(".0123456789"):
        moment = now - parse_duration(ago)
        return moment, moment
    try:
        return _parse_date(text, now)
    except (OverflowError, OSError) as error:  # a year that the platform cannot convert
        raise ValueError(str(error)) from None


def _parse_date(text: str, now: float) -> tuple[float, float]:
    import datetime  # few queries ask for times

    day = datetime.timedelta(days=1)
    date, rest = text[:_DAY_LENGTH], text[_DAY_LENGTH:]
    if text in ("today", "yesterday"):
        start = datetime.datetime.fromtimestamp(now).replace(hour=0, minute=0, second=0, microsecond=0)
        if text == "yesterday":
            start -= day
    # What else Python takes as ISO 8601, such as 20260102 or 2026-W01-5, is more likely a slip.
    elif len(date) < _DAY_LENGTH or date[4] != "-" or date[7] != "-" or rest[:1] not in ("", " ", "T"):
        raise ValueError("no date")
    else:
        start = datetime.datetime.fromisoformat(text)
    begin = start.timestamp()
    if rest:
        return begin, begin + _length_s(rest[1:])
    return begin, (start + day).timestamp()  # a local day may have 23 or 25 hours


def _length_s(clock: str) -> float:
    """Return how long a time of day lasts: ``03:04`` a minute, ``03:04:05`` a second."""
    digits = len(clock.rstrip("Z").partition("+")[0].partition("-")[0])
    if digits < _MINUTE_LENGTH:
        raise ValueError("hours alone")
    return {_MINUTE_LENGTH: 60.0, _SECOND_LENGTH: 1.0}.get(digits, 1e-6)


# -- order -----------------------------------------------------------------------------------------------------------

# Values of different kinds stand in this order; what is in none of them, and NaN, stands last in either direction.
_SORTED_KINDS = (BOOLEAN, NUMBER, TEXT, LIST)


def order_rows(rows: Sequence[int], column: Sequence[object], descending: bool) -> list[int]:
    """Return row numbers in the order of their values in ``column``; equal ones stay as they were."""
    groups: dict[str, list[int]] = {kind: [] for kind in _SORTED_KINDS}
    last: list[int] = []
    for row in rows:
        value = column[row]
        group = last if value != value else groups.get(KINDS[type(value)], last)
        group.append(row)
    ordered: list[int] = []
    for kind in reversed(_SORTED_KINDS) if descending else _SORTED_KINDS:
        read: Any = column.__getitem__
        rank: Callable[[int], Any] = read if kind != LIST else lambda row: _list_rank(column[row])
        ordered += sorted(groups[kind], key=rank, reverse=descending)
    return ordered + last


def _list_rank(items: Any) -> list[tuple[int, Any]]:
    """Return what orders lists: their items by kind and value; one that has no order stands behind the others."""
    ranks: list[tuple[int, Any]] = []
    for item in items:
        kind = KINDS[type(item)]
        has_order = kind in _SORTED_KINDS[:-1] and item == item
        ranks.append((_SORTED_KINDS.index(kind), item) if has_order else (len(_SORTED_KINDS), 0))
    return ranks
