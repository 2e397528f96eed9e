"""Parameters as they are written down: they come back equal, and a person can read them."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import pathlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.declare import OMITTED, Parameter, ParameterSet, Spec
from pystematic.resolve import Given, Parameters, plain_parameters, resolve


class Color(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Layer:
    units: int
    activation: str = "relu"


def doubled(text: str) -> int:
    return int(text) * 2


def make_spec(type: Any = OMITTED, **more: Any) -> Spec:
    parameters = ParameterSet("experiment 'train'")
    parameters.add(Parameter("x", type, **more))
    return Spec(parameters)


def plain(type: Any, value: object, **more: Any) -> object:
    return plain_parameters(make_spec(type, **more), Parameters({"x": value}))["x"]


def read_back(spec: Spec, values: dict[str, object]) -> Parameters:
    """Write parameters into a file of a run and resolve them from there."""
    text = rundir.format_parameters(plain_parameters(spec, Parameters(values)))
    Path("recorded.yaml").write_text(text, encoding="utf-8")
    resolution = resolve(spec, {"params_file": Given("code", plain=["recorded.yaml"])}, environ={})
    assert resolution.problems == ()
    return resolution.parameters


@pytest.mark.parametrize(
    ("type", "value", "written"),
    [
        (int, 3, 3),
        (float, 0.001, 0.001),
        (bool, True, True),
        (str, "a", "a"),
        (str | None, None, None),
        (int | str, "3", "3"),
        (pathlib.Path, pathlib.Path("a/b"), "a/b"),
        (datetime.date, datetime.date(2026, 1, 31), "2026-01-31"),
        (datetime.timedelta, datetime.timedelta(minutes=1), 60.0),
        (Color, Color.RED, "RED"),
        (Literal["a", 1], 1, 1),
        (list[int], [1, 2], [1, 2]),
        (tuple[int, ...], (1, 2), [1, 2]),
        (set[str], {"b", "a"}, ["a", "b"]),
        (dict[str, float], {"a": 1.0}, {"a": 1.0}),
        (Layer, Layer(3), {"units": 3, "activation": "relu"}),
        (list[Layer], [Layer(3)], [{"units": 3, "activation": "relu"}]),
        (lambda text: int(text), 3, 3),
        (decimal.Decimal, decimal.Decimal("0.1"), {"$type": "decimal", "value": "0.1"}),
        (doubled, 6, {"$type": "exact", "value": 6}),
        (lambda text: text * 2, "aa", {"$type": "exact", "value": "aa"}),
        (lambda text: text.split("x"), ["1", "2"], {"$type": "exact", "value": ["1", "2"]}),
        (object, {1: 2}, {"$type": "dict", "value": [[1, 2]]}),
    ],
)
def test_a_value_is_plain_where_its_type_takes_it_back_and_marked_otherwise(
    type: Any, value: object, written: object
) -> None:
    assert plain(type, value) == written


def test_a_callable_is_not_asked_about_texts() -> None:
    asked: list[str] = []
    assert plain(asked.append, "a") == {"$type": "exact", "value": "a"}
    assert asked == []


def test_a_secret_is_masked() -> None:
    spec = make_spec(secret=True)
    assert plain_parameters(spec, Parameters({"x": "s3cret"}))["x"] == {"$type": "masked"}
    assert plain_parameters(spec, Parameters({"x": None}))["x"] is None


def test_what_cannot_be_restored_is_marked_as_text() -> None:
    written = plain(object, object())
    assert isinstance(written, dict)
    assert (written["$type"], written["restorable"]) == ("text", False)


def test_only_parameters_that_count_are_written() -> None:
    parameters = ParameterSet("experiment 'train'")
    parameters.add(Parameter("m", Literal["a", "b"], "a"))
    parameters.add(Parameter("m.x", int, 1, conditions=(("m", "a"),)))
    parameters.add(Parameter("m.x", str, "1", conditions=(("m", "b"),)))
    spec = Spec(parameters, framework=False)
    assert plain_parameters(spec, Parameters({"m": "b", "m.x": "2"})) == {"m": "b", "m.x": "2"}
    assert plain_parameters(spec, Parameters({"m": "a"})) == {"m": "a"}


VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (float, st.floats(allow_nan=False)),
    (str | None, st.none() | st.text() | st.just("none")),
    (int | float | str | None, st.none() | st.integers() | st.floats(allow_nan=False) | st.text()),
    (pathlib.Path, st.sampled_from([pathlib.Path("a"), pathlib.Path("/b/ c")])),
    (bytes, st.binary()),
    (complex, st.complex_numbers(allow_nan=False)),
    (datetime.datetime, st.datetimes()),
    (Color, st.just(Color.RED)),
    (list[str], st.lists(st.text())),
    (tuple[int, str], st.tuples(st.integers(), st.text())),
    (frozenset[int], st.frozensets(st.integers())),
    (dict[int, list[str]], st.dictionaries(st.integers(), st.lists(st.text()), max_size=3)),
    (list[Layer], st.lists(st.builds(Layer, st.integers(), st.text()), max_size=3)),
    (object, st.tuples(st.integers(), st.binary()) | st.sets(st.text(), max_size=3)),
    (doubled, st.integers()),
    (lambda text: text + "!", st.text()),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (np.float64, st.floats(allow_nan=False).map(np.float64)),
]  # fmt: skip


@given(st.data())
def test_whatever_a_parameter_holds_comes_back_equal_from_the_record(data: st.DataObject) -> None:
    annotation, values = data.draw(st.sampled_from(VALUES))
    value = data.draw(values)
    spec = make_spec(annotation)
    restored = read_back(spec, {"x": value})["x"]
    assert type(restored) is type(value)
    assert restored == value


def test_an_array_comes_back() -> None:
    restored = read_back(make_spec(object), {"x": np.array([[1, 2]])})["x"]
    assert isinstance(restored, np.ndarray)
    assert restored.tolist() == [[1, 2]]


def test_a_number_that_is_none_comes_back() -> None:
    restored = read_back(make_spec(float), {"x": math.nan})["x"]
    assert isinstance(restored, float)
    assert math.isnan(restored)


def test_the_file_is_read_by_any_yaml_parser_as_json_values() -> None:
    written = plain_parameters(make_spec(list[int]), Parameters({"x": [1, 2]}))
    assert json.loads(json.dumps(written)) == {"x": [1, 2]}
