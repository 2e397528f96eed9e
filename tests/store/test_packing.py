"""Columns as bytes: every value comes back, and no damage passes."""

from __future__ import annotations

import math
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pystematic.store import MISSING
from pystematic.store._packing import pack, unpack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**9000), 2**9000)
    | st.floats()
    | st.text(st.characters())
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=2) | st.just(MISSING)


@hypothesis.given(st.lists(VALUES, max_size=30) | st.lists(st.floats() | st.just(MISSING)) | st.lists(st.integers()))
def test_every_column_comes_back(values: list[Any]) -> None:
    assert repr(unpack(pack(values, "name"), "name")) == repr(values)


@pytest.mark.parametrize(
    "values",
    [
        [],
        [MISSING] * 3,
        [0.0, -0.0],
        [-0.0, 0.0],
        [1, True, 1.0],
        [True, True],
        [1.5] * 4,
        [math.nan, math.nan],
        [{"a": 1}] * 3 + [{"a": True}, {}],
        [[1], [True]],
        ["x"] * 3,
        [2**63, 1],
        [-(2**63), 2**63 - 1],
        [MISSING, {"a": 1}, MISSING, {"a": 1}],
    ],
    ids=repr,
)
def test_equal_values_of_other_types_stay_apart(values: list[Any]) -> None:
    assert repr(unpack(pack(values, "name"), "name")) == repr(values)


@pytest.mark.parametrize("values", [[1.5, 2.5], ["a", None], [1, MISSING, 3], [{"a": 1}]], ids=repr)
def test_no_damage_passes(values: list[Any]) -> None:
    data = pack(values, "name")
    for position in range(len(data)):
        for bits in (1, 0x80, 0xFF):
            with pytest.raises(ValueError, match="is damaged"):
                unpack(data[:position] + bytes([data[position] ^ bits]) + data[position + 1 :], "name")
        with pytest.raises(ValueError, match="is damaged"):
            unpack(data[:position], "name")


def test_a_column_is_not_taken_for_another_one() -> None:
    with pytest.raises(ValueError, match="the column other is damaged"):
        unpack(pack([1, 2], "name"), "other")


def test_a_column_of_one_value_is_small() -> None:
    assert len(pack(["resnet18"] * 2000, "name")) < 50
