"""What a recorded value is: kept as it was when it was recorded, and read later as a plain number that equals it."""

from __future__ import annotations

import decimal
import enum
import fractions
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.record._numbers import WeightChange, read_batch, read_number, read_step, read_tag, snapshot
from tests.record.builders import on_device


class Rank(enum.IntEnum):
    SECOND = 2


class Mean:
    """A number that changes, as running means do."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Index:
    def __index__(self) -> int:
        return 7


class Hostile:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Text(str):
    def __str__(self) -> str:
        return "another text"


def recorded(value: Any) -> int | float:
    """Return ``value`` as the thread reads it after it was recorded."""
    return read_number(snapshot(value))


def equal(a: float, b: float) -> bool:
    return repr(a) == repr(b)


@given(st.floats() | st.integers() | st.booleans())
def test_a_number_of_python_is_read_as_it_is(value: float) -> None:
    read = recorded(value)

    assert type(read) in (int, float)
    assert equal(read, int(value) if isinstance(value, bool) else value)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((Rank.SECOND, 2), (fractions.Fraction(1, 4), 0.25), (decimal.Decimal("0.1"), 0.1), (Index(), 7)),
        *((decimal.Decimal("NaN"), math.nan), (Mean(1.5), 1.5)),
    ],
    ids=["enum", "fraction", "decimal", "index", "decimal nan", "mean"],
)
def test_other_numbers_are_read_as_what_they_equal(value: Any, number: float) -> None:
    assert equal(recorded(value), number)


@pytest.mark.parametrize(
    "kind", [np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.bool_, np.longdouble]
)
@pytest.mark.parametrize(
    "make", [lambda kind, n: kind(n), lambda kind, n: np.array(n, kind), lambda kind, n: np.array([[n]], kind)]
)
def test_scalars_and_arrays_of_one_element_are_read(kind: Any, make: Callable[[Any, int], Any]) -> None:
    assert recorded(make(kind, 1)) == 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e-310])
def test_odd_numbers_of_numpy_are_read_to_the_last_bit(number: float) -> None:
    assert equal(recorded(np.float64(number)), number)
    assert equal(recorded(np.array(number)), number)


def test_the_largest_ints_of_numpy_are_read_whole() -> None:
    assert recorded(np.uint64(2**64 - 1)) == 2**64 - 1
    assert recorded(np.int64(-(2**63))) == -(2**63)


def test_scalars_and_tensors_of_torch_are_read() -> None:
    import torch

    for kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int8, torch.int64, torch.bool):
        assert recorded(torch.ones((), dtype=kind)) == 1
        assert recorded(torch.ones((1, 1), dtype=kind)) == 1
    for number in (math.nan, math.inf, -0.0, 5e-324):
        assert equal(recorded(torch.tensor(number, dtype=torch.float64)), number)
    assert equal(recorded(torch.tensor(0.1)), float(np.float32(0.1)))


def test_a_tensor_that_is_changed_in_place_keeps_its_recorded_value() -> None:
    import torch

    tensor = torch.tensor(1.0)
    kept = snapshot(tensor)
    tensor += 41

    assert read_number(kept) == 1.0


def test_a_tensor_of_the_cpu_is_read_at_once() -> None:
    import torch

    assert type(snapshot(torch.tensor(2.0, requires_grad=True) * 3)) is float
    assert snapshot(torch.tensor([[5]])) == 5


def test_a_tensor_of_a_device_is_cut_off_from_its_graph() -> None:
    import torch

    weight = torch.tensor(2.0, requires_grad=True)
    kept = snapshot(on_device(weight * 3))

    assert not kept.requires_grad
    assert read_number(kept) == 6.0


def test_a_tensor_of_a_device_that_is_changed_in_place_keeps_its_recorded_value() -> None:
    import torch

    tensor = on_device(torch.tensor(1.0))
    kept = snapshot(tensor)
    tensor += 41

    assert read_number(kept) == 1.0


def test_tensors_of_a_device_are_read_in_one_go_for_each_type(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def refuse(tensor: object) -> float:
        raise AssertionError("a tensor was read by itself")

    written = [1.5, True, -7, math.nan, 2.5, 0.1]
    kinds = [torch.float32, torch.bool, torch.int64, torch.float64, torch.float32, torch.bfloat16]
    tensors = [
        snapshot(on_device(torch.tensor([number], dtype=kind))) for number, kind in zip(written, kinds, strict=True)
    ]
    monkeypatch.setattr(torch.Tensor, "item", refuse)
    batch, _ = read_batch([x for i, tensor in enumerate(tensors) for x in ("t", i, 0.0, tensor)], on_failure=refuse_all)

    assert batch.steps == list(range(6))
    assert batch.values[:3] == [1.5, 1, -7]
    assert math.isnan(batch.values[3])
    assert batch.values[4:] == [2.5, float(torch.tensor(0.1, dtype=torch.bfloat16))]


def refuse_all(tag: object, error: Exception) -> None:
    raise AssertionError(f"{tag} was not read: {error}")


def test_a_tensor_of_a_device_that_is_no_number_costs_only_itself() -> None:
    import torch

    failed = []
    values = [on_device(torch.tensor(number)) for number in (1.0, [1.0, 2.0], 3.0)]
    batch, _ = read_batch(
        [x for i, value in enumerate(values) for x in (f"t{i}", i, 0.0, value)], lambda tag, error: failed.append(tag)
    )

    assert (batch.tags, batch.values, failed) == (["t0", "t2"], [1.0, 3.0], ["t1"])


def test_an_array_that_is_changed_in_place_keeps_its_recorded_value() -> None:
    array = np.array([1.0])
    kept = snapshot(array)
    view = snapshot(array[0:1])
    array[0] = 42

    assert read_number(kept) == read_number(view) == 1.0


def test_an_object_that_changes_keeps_its_recorded_value() -> None:
    mean = Mean(1.0)
    kept = snapshot(mean)
    mean.value = 42

    assert read_number(kept) == 1.0


class ForeignArray:
    """An array of a library that is not known, whose value may still be computed elsewhere."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.reads = 0

    def copy(self) -> ForeignArray:
        return ForeignArray(self.value)

    def item(self) -> float:
        self.reads += 1
        return self.value


def test_an_array_of_another_library_is_copied_and_not_waited_for() -> None:
    array = ForeignArray(1.0)
    kept = snapshot(array)
    array.value = 42

    assert (array.reads, kept.reads) == (0, 0)
    assert read_number(kept) == 1.0


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("0.5", "a str is no real number"),
        (None, "a NoneType is no real number"),
        (1j, "a complex is no real number"),
        (np.complex128(1j), "a complex is no real number"),
        ([1.0], "a list is no real number"),
        (np.str_("1"), "a str is no real number"),
    ],
    ids=repr,
)
def test_what_is_no_number_fails_when_it_is_read(value: Any, problem: str) -> None:
    kept = snapshot(value)

    with pytest.raises(TypeError) as caught:
        read_number(kept)
    assert str(caught.value) == problem


def test_several_numbers_fail_when_they_are_read() -> None:
    with pytest.raises(ValueError, match="size 1"):
        recorded(np.zeros(2))


@pytest.mark.parametrize("value", [Hostile(), Hostile, object()], ids=["instance", "class", "object"])
def test_keeping_never_raises(value: Any) -> None:
    snapshot(value)


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_whole_step_is_an_int(step: int) -> None:
    read = read_step(step)
    assert type(read) is int
    assert read == step


@pytest.mark.parametrize(
    ("step", "read"),
    [
        (3.0, 3),
        (0.5, 0.5),
        (True, 1),
        (np.int32(5), 5),
        (np.float32(2), 2),
        (-0.0, 0),
        (1e300, 1e300),
        (2.0**63, 2.0**63),
    ],
    ids=repr,
)
def test_other_steps_are_ints_where_they_are_whole_and_fit_64_bits(step: Any, read: float) -> None:
    assert equal(read_step(step), read)


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (math.nan, "a step cannot be nan"),
        (math.inf, "a step cannot be inf"),
        (2**63, "a step cannot have more than 64 bits"),
        (-(10**5000), "a step cannot have more than 64 bits"),
    ],
    ids=["nan", "inf", "2**63", "very long"],
)
def test_a_step_that_no_reader_could_sort_is_refused(step: Any, problem: str) -> None:
    with pytest.raises(ValueError, match="step") as caught:
        read_step(step)
    assert str(caught.value) == problem


def test_a_tag_is_the_text_itself() -> None:
    assert read_tag("a") == "a"
    assert read_tag(Text("a")) == "a"
    assert type(read_tag(Text("a"))) is str
    assert read_tag(5) == "5"


def batch_of(*scalars: tuple[Any, Any, Any]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, str]]]:
    """Return what is read of scalars (tag, step, value), and what failed with its reason."""
    failures: list[tuple[Any, str]] = []
    flat = [field for tag, step, value in scalars for field in (tag, step, 1.5, value)]
    batch, _ = read_batch(flat, lambda tag, error: failures.append((tag, type(error).__name__)))
    return list(zip(batch.tags, batch.steps, batch.times, batch.values, strict=True)), failures


def test_a_batch_holds_the_scalars_in_their_order() -> None:
    assert batch_of(("a", 0, 0.5), ("b", 1, 7), ("a", 2, math.inf)) == (
        [("a", 0, 1.5, 0.5), ("b", 1, 1.5, 7), ("a", 2, 1.5, math.inf)],
        [],
    )


def test_what_cannot_be_read_costs_itself_only() -> None:
    rows, failures = batch_of(
        *(("a", 0, 1.0), ("b", 0, "x"), ("c", math.nan, 1), ("d", 10**30, 1), (Hostile(), 0, 1), ("f", 1.0, np.int8(2)))
    )

    assert rows == [("a", 0, 1.5, 1.0), ("f", 1, 1.5, 2)]
    assert [reason for _, reason in failures] == ["TypeError", "ValueError", "ValueError", "RuntimeError"]
    assert [tag for tag, _ in failures[:3]] == ["b", "c", "d"]


def test_a_step_of_too_many_bits_is_found_among_ordinary_ones() -> None:
    assert batch_of(("a", 0, 1), ("a", 2**63, 2)) == ([("a", 0, 1.5, 1)], [("a", "ValueError")])


def weights_of(*entries: tuple[str, float] | WeightChange, weight: float | None = None) -> tuple[Any, Any, Any]:
    """Return values, weights, and the weight at the end of a buffer of scalars (tag, value) and marks."""
    flat: list[Any] = []
    for entry in entries:
        flat += (entry, 0, 0.0, 0) if isinstance(entry, WeightChange) else (entry[0], 0, 1.5, entry[1])
    batch, at_end = read_batch(flat, refuse, weight)
    return batch.values, batch.weights, at_end


def refuse(tag: object, error: Exception) -> None:
    raise AssertionError(f"{tag!r} cannot be read: {error}")


def test_without_a_mark_there_are_no_weights() -> None:
    assert weights_of(("a", 1), ("a", 2)) == ([1, 2], None, None)


def test_a_mark_gives_a_weight_to_all_that_follow() -> None:
    entries = (("a", 1), WeightChange(32), ("a", 2), ("b", 3), WeightChange(7.5), ("a", 4))

    assert weights_of(*entries) == ([1, 2, 3, 4], [None, 32, 32, 7.5], 7.5)


def test_the_weight_of_the_batch_before_holds_until_the_next_mark() -> None:
    assert weights_of(("a", 1), WeightChange(None), ("a", 2), weight=8) == ([1, 2], [8, None], None)


def test_a_batch_of_marks_alone_is_empty() -> None:
    assert weights_of(WeightChange(1), WeightChange(2)) == ([], None, 2)


def test_weights_stay_with_their_scalars_where_one_cannot_be_read() -> None:
    flat: list[Any] = [WeightChange(1), 0, 0.0, 0, "a", 0, 1.5, "x", WeightChange(2), 0, 0.0, 0, "b", 0, 1.5, 5]
    failures: list[Any] = []
    batch, weight = read_batch(flat, lambda tag, error: failures.append(tag))

    assert (batch.tags, batch.values, batch.weights, weight, failures) == (["b"], [5], [2], 2, ["a"])
