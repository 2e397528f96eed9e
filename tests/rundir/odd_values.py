"""Strategies for the values that parameters can have, and what it means that one came back equal."""

from __future__ import annotations

import datetime
import decimal
import math
import pathlib
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import strategies as st

_TEXTS = (
    *("", "yes", "~", "1e3", ".nan", "0o17", "- a", "a: b # c", "<<"),
    *("\0", "\ud800", "\ud83d\ude00", "😀👩‍👩‍👧", "\x85\u2028"),
)
_FLOATS = (-0.0, 5e-324, 1e-310, 1e16, 1e22, math.inf, -math.inf, math.nan)


_ZONES = (None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3, seconds=7)), ZoneInfo("Europe/Berlin"))


# Composite strategies have a short name; written out, those that hold each other have one of 50 kB.
@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw any text: lone surrogates, NUL and control characters too."""
    return draw(st.text(st.characters(categories=None), max_size=12) | st.sampled_from(_TEXTS))


@st.composite
def scalars(draw: st.DrawFn) -> Any:
    """Draw what is compared by value and can be a key, ints of hundreds of digits and NaN included."""
    powers = st.integers(0, 700).map(lambda power: 7 - 10**power)
    return draw(
        st.none()
        | st.booleans()
        | st.integers()
        | powers
        | st.floats()
        | st.sampled_from(_FLOATS)
        | texts()
        | st.binary(max_size=9)
    )


_SCALAR_TYPES = (
    *(np.float16, np.float32, np.float64, np.longdouble, np.int8, np.int64, np.uint64),
    *(np.bool_, np.complex64, np.complex128),
)


@st.composite
def numpy_values(draw: st.DrawFn) -> Any:
    """Draw a scalar or an array of any shape, byte order and layout."""
    kind = draw(st.sampled_from(_SCALAR_TYPES))
    numbers = st.integers(0, 1) if kind is np.bool_ else st.integers(0, 100)
    if draw(st.booleans()):
        return kind(draw(numbers))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    array: Any = np.array(draw(st.lists(numbers, min_size=math.prod(shape), max_size=math.prod(shape))), kind).reshape(
        shape
    )
    swapped: Any = array.astype(array.dtype.newbyteorder()) if draw(st.booleans()) else array
    return swapped.T


def _is_a_moment(time: datetime.datetime) -> bool:
    """Tell whether a time equals itself in another zone: not in an hour that its zone has twice, or leaves out."""
    return time.tzinfo is None or time.astimezone(datetime.UTC) == time


@st.composite
def odd_scalars(draw: st.DrawFn) -> Any:
    """Draw a value without parts, of a type that JSON may lack."""
    paths = texts().filter(lambda text: "\0" not in text)
    strategies: list[st.SearchStrategy[Any]] = [
        scalars(),
        st.builds(complex, st.floats(), st.floats()),
        paths.map(pathlib.Path),
        paths.map(pathlib.PureWindowsPath),
        st.datetimes(timezones=st.sampled_from(_ZONES)).filter(_is_a_moment),
        *(st.dates(), st.times(), st.timedeltas(), st.decimals()),
        st.builds(range, st.integers(), st.integers(), st.integers(min_value=1)),
        st.binary(max_size=9).map(bytearray),
        st.datetimes().map(lambda time: np.datetime64(time, "us")),
        texts().filter(lambda text: not text.endswith("\0")).map(np.str_),
        numpy_values(),
    ]
    return draw(st.one_of(strategies))


@st.composite
def hashable(draw: st.DrawFn) -> Any:
    """Draw a key or an item of a set."""
    return draw(
        st.recursive(
            scalars() | st.decimals(allow_nan=False),
            lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
            max_leaves=4,
        )
    )


@st.composite
def restorable(draw: st.DrawFn) -> Any:
    """Draw a value that has to come back equal."""
    return draw(
        st.recursive(
            odd_scalars(),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.lists(inner, max_size=4).map(tuple),
                st.dictionaries(texts(), inner, max_size=4),
                st.dictionaries(hashable(), inner, max_size=4),
                st.sets(hashable(), max_size=4),
                st.frozensets(hashable(), max_size=4),
            ),
            max_leaves=12,
        )
    )


_MARKS = (
    *("tuple", "set", "frozenset", "dict", "bytes", "bytearray", "complex", "path", "purepath"),
    *("datetime", "date", "time", "timedelta", "decimal", "range", "int", "surrogates", "text"),
    *("exact", "masked", "numpy.scalar", "numpy.array", "object", "eval"),
)


@st.composite
def plain_trees(draw: st.DrawFn) -> Any:
    """Draw what JSON and YAML can hold, with many tables that look like the marks of odd values."""
    return draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | texts(),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.dictionaries(texts(), inner, max_size=4),
                st.fixed_dictionaries({"$type": st.sampled_from(_MARKS), "value": inner}, optional={"flavour": inner}),
            ),
            max_leaves=12,
        )
    )


def same(a: Any, b: Any) -> bool:
    """Tell whether ``b`` is equal to ``a`` in type, value, order, and down to the sign of a zero."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return bool(a.hex() == b.hex())
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, decimal.Decimal):
        return str(a) == str(b)
    if isinstance(a, np.ndarray | np.generic):
        return bool(a.dtype == b.dtype) and a.shape == b.shape and bool(a.tolist() == b.tolist())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a.items(), b.items(), strict=True))
    if isinstance(a, set | frozenset):
        return _spelled(a) == _spelled(b)
    if isinstance(a, int | datetime.datetime | datetime.time):
        return bool(a == b)
    return bool(a == b) and _spelled(a) == _spelled(b)


def _spelled(value: Any) -> str:
    """Return the repr of a key, whatever the order of what is in it."""
    if isinstance(value, frozenset | set):
        return f"{type(value).__name__}{sorted(map(_spelled, value))}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_spelled, value))})"
    return repr(value)
