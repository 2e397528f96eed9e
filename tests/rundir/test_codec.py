"""Odd values through JSON-like ones and back: equal, or marked as text. Nothing raises, and nothing executes code."""

from __future__ import annotations

import collections
import copy
import dataclasses
import datetime
import enum
import functools
import json
import os
import pathlib
import pickle
import reprlib
import zoneinfo
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings

from pystematic.rundir import MASKED, Exact, StoredText, decode, encode
from tests.rundir.odd_values import plain_trees, restorable, same


class Colour(enum.Enum):
    RED = "red"


class TextColour(enum.StrEnum):
    RED = "red"


class NumberColour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5


class Pair(NamedTuple):
    a: int
    b: int


class Hostile:
    """Raises whatever it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no text of me")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name} either")


class OwnList(list[int]):
    pass


def nested(depth: int, wrap: Any = lambda inner: [inner]) -> Any:
    return functools.reduce(lambda inner, _: wrap(inner), range(depth), 1)


def endless_list() -> list[Any]:
    endless: list[Any] = [1]
    endless.append(endless)
    return endless


def endless_dict() -> dict[str, Any]:
    endless: dict[str, Any] = {"a": 1}
    endless["b"] = (endless,)
    return endless


def doubled(depth: int) -> list[Any]:
    """Return a list that takes little memory, and written out has 2**depth items."""
    return functools.reduce(lambda inner, _: [inner, inner], range(depth), [1])


def json_of(plain: Any) -> str:
    return json.dumps(plain, allow_nan=True)


def is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(is_plain, value))
    if isinstance(value, dict):
        return all(type(key) is str and is_plain(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, float, str)


@given(restorable())
def test_every_value_comes_back_equal(value: Any) -> None:
    assert same(decode(json.loads(json_of(encode(value)))), value)


@settings(max_examples=40)
@given(restorable())
def test_what_is_written_is_plain_and_can_be_encoded_as_utf_8(value: Any) -> None:
    plain = encode(value)

    assert is_plain(plain)
    json.dumps(plain, ensure_ascii=False).encode("utf-8")


@given(plain_trees())
def test_no_record_makes_decode_raise(plain: Any) -> None:
    decode(plain)


@given(plain_trees())
def test_a_table_that_looks_like_a_mark_comes_back_as_it_was(plain: Any) -> None:
    assert same(decode(json.loads(json_of(encode(plain)))), plain)


def test_a_plain_value_stays_readable() -> None:
    value = {"lr": 1e-3, "layers": [64, 32], "name": "a", "on": True, "none": None}

    assert encode(value) == value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 1_000_000, id="1 MB of text"),
        pytest.param("\ud800" * 20_000 + "😀", id="many surrogates"),
        pytest.param("\ud83d\ude00", id="two surrogates that would make one character"),
        pytest.param(10**400, id="an int of 400 digits"),
        pytest.param(-(10**10_000), id="an int that Python does not spell"),
        pytest.param({"k" * 2000: 1}, id="a long key"),
        pytest.param({"\udfff": {"\0": 1}}, id="odd keys"),
        pytest.param({1: "a", "1": "b", None: "c", (1, "x"): "d", True and 2: "e"}, id="keys of all types"),
        pytest.param({"$type": "path", "value": "x"}, id="a table that looks like a mark"),
        pytest.param(nested(60), id="60 lists"),
        pytest.param(nested(45, lambda inner: (inner,)), id="45 tuples"),
        pytest.param(nested(30, lambda inner: {0: inner}), id="30 tables with keys that are no text"),
        pytest.param(pathlib.Path(os.fsdecode(b"\xff/x")), id="a path that is no text"),
        pytest.param(np.array("x"), id="an array without dimensions"),
        pytest.param(np.array(["ab", "c"]), id="an array of texts"),
        pytest.param(np.arange(12).reshape(3, 4)[::2, ::-1], id="a view of an array"),
        pytest.param(np.void(b"abc"), id="raw bytes of NumPy"),
        pytest.param(np.datetime64("NaT", "ns"), id="no time"),
        pytest.param([0.5] * 100_000, id="a long list"),
    ],
)
def test_a_large_or_rare_value_comes_back_equal(value: Any) -> None:
    assert same(decode(json.loads(json_of(encode(value)))), value)


def test_a_time_in_a_named_zone_is_the_same_moment() -> None:
    moment = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))

    assert decode(encode(moment)) == moment


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(Colour.RED, "<Colour.RED: 'red'>", id="enum"),
        pytest.param(TextColour.RED, "<TextColour.RED: 'red'>", id="enum of texts"),
        pytest.param(NumberColour.RED, "<NumberColour.RED: 1>", id="enum of numbers"),
        pytest.param(Point(1), "Point(x=1, y=0.5)", id="dataclass"),
        pytest.param(Pair(1, 2), "Pair(a=1, b=2)", id="named tuple"),
        pytest.param(OwnList([1]), "[1]", id="a list of another class"),
        pytest.param(collections.OrderedDict(a=1), None, id="ordered dict"),
        pytest.param(Colour, "<enum 'Colour'>", id="class"),
        pytest.param(Hostile(), "<Hostile>", id="an object that raises whatever is asked"),
        pytest.param(np.ma.masked_array([1, 2], [False, True]), None, id="masked array"),
        pytest.param(np.array([object()]), None, id="array of objects"),
        pytest.param(np.zeros(1, dtype="f4,i4"), None, id="array of records"),
        pytest.param(np.str_("a\0"), None, id="NumPy text that ends with NUL"),
        pytest.param(
            datetime.datetime(2026, 3, 29, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")), None, id="a time left out"
        ),
    ],
)
def test_what_cannot_come_back_is_text_and_marked_so(value: Any, text: str | None) -> None:
    wanted = repr(value) if text is None else text
    plain = encode(value)

    assert plain == {"$type": "text", "value": wanted, "restorable": False}
    assert isinstance(decode(plain), StoredText)
    assert decode(plain) == wanted


def test_one_item_that_cannot_come_back_costs_itself_only() -> None:
    value = {"good": [1, (2, 3)], "bad": [4, Hostile(), np.str_("a\0")], "last": 5}

    assert decode(encode(value)) == {"good": [1, (2, 3)], "bad": [4, "<Hostile>", repr(np.str_("a\0"))], "last": 5}


def test_a_value_that_holds_itself_ends_in_a_text_there() -> None:
    assert decode(encode(endless_list())) == [1, reprlib.repr(endless_list())]
    assert decode(encode(endless_dict())) == {"a": 1, "b": (reprlib.repr(endless_dict()),)}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(nested(5000), id="lists"),
        pytest.param(nested(5000, lambda inner: (inner, 1)), id="tuples"),
        pytest.param(nested(5000, lambda inner: {"a": inner}), id="tables"),
        pytest.param(nested(5000, lambda inner: {0: inner}), id="tables with keys that are no text"),
        pytest.param(nested(500, lambda inner: frozenset([inner])), id="sets"),
        pytest.param(nested(5000, Exact), id="marks"),
    ],
)
def test_a_very_deep_value_ends_in_a_text(value: Any) -> None:
    plain = encode(value)
    depth = json_of(plain).count("[") + json_of(plain).count("{")

    assert depth < 300
    assert '"restorable": false' in json_of(plain)


@pytest.mark.parametrize("depth", [40, 200])
def test_a_value_that_written_out_would_never_end_is_one_text(depth: int) -> None:
    plain = encode({"a": doubled(depth)})

    assert plain["$type"] == "text"
    assert len(plain["value"]) < 10_000


def test_a_value_with_many_shared_parts_is_written_out_where_that_is_possible() -> None:
    assert decode(encode(doubled(10))) == doubled(10)


def test_secrets_are_a_mark_without_a_value() -> None:
    assert encode([MASKED]) == [{"$type": "masked"}]
    assert decode(encode([MASKED]))[0] is MASKED
    assert str(MASKED) == repr(MASKED) == "<masked>"


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_copied_mask_is_the_mask(make_copy: Any) -> None:
    assert make_copy(MASKED) is MASKED


@pytest.mark.parametrize("value", ["text", [1], {"a": (1,)}, None, "\ud800"])
def test_a_checked_value_keeps_its_mark(value: Any) -> None:
    decoded = decode(json.loads(json_of(encode(Exact(value)))))

    assert isinstance(decoded, Exact)
    assert decoded == Exact(value)
    assert same(decoded.value, value)
    assert repr(decoded) == f"Exact({value!r})"


def test_exact_values_compare_by_what_they_hold() -> None:
    assert Exact("a") != Exact("b")
    assert Exact("a") != "a"
    assert len({Exact("a"), Exact("a"), Exact("b")}) == 2


UNFIT = (
    {"$type": "tuple", "value": "abc"},
    {"$type": "set", "value": [[1]]},
    {"$type": "dict", "value": [["a"]]},
    {"$type": "dict", "value": ["ab"]},
    {"$type": "dict", "value": [[[], 1]]},
    {"$type": "bytes", "value": "no base 64!"},
    {"$type": "bytes", "value": [1]},
    {"$type": "complex", "value": [1, 2, 3]},
    {"$type": "int", "value": 5},
    {"$type": "path", "value": 5},
    {"$type": "purepath", "value": "x", "flavour": "os"},
    {"$type": "purepath", "value": "x"},
    {"$type": "date", "value": "yesterday"},
    {"$type": "decimal", "value": 0.5},
    {"$type": "decimal", "value": "x"},
    {"$type": "range", "value": [0, 1, 0]},
    {"$type": "text"},
    {"$type": "text", "value": 5},
    {"$type": "surrogates", "value": "zz"},
    {"$type": "numpy.array", "value": {"dtype": "O", "shape": [1], "base64": "AAAAAAAAAAA="}},
    {"$type": "numpy.array", "value": {"dtype": "f8", "shape": [1000000], "base64": ""}},
    {"$type": "numpy.scalar", "value": None},
    {"$type": "unheard of", "value": 1},
    {"$type": 5, "value": 1},
)


@pytest.mark.parametrize("plain", UNFIT, ids=str)
def test_a_mark_that_does_not_fit_its_value_stays_as_it_is(plain: Any) -> None:
    assert decode(plain) == plain


def test_a_record_that_is_too_deep_stays_as_it_is() -> None:
    plain = nested(5000)

    assert decode(plain) is plain


EVIL = (
    {"$type": "python/object/apply:os.system", "value": ["touch proof"]},
    {"$type": "eval", "value": "open('proof', 'w')"},
    {"$type": "__import__", "value": "os"},
    {"$type": "purepath", "value": "x", "flavour": "__builtins__"},
    {"$type": "numpy.array", "value": {"dtype": "O", "shape": [1], "base64": "gANjb3MKc3lzdGVtCg=="}},
    {"$type": "decimal", "value": "__import__('os').system('touch proof')"},
)


@pytest.mark.parametrize("plain", EVIL, ids=str)
def test_no_record_executes_code(plain: Any, working_dir: pathlib.Path) -> None:
    assert decode([plain]) == [plain]
    assert list(working_dir.iterdir()) == []
