"""What a recorded value is: how it is kept when it is recorded, and read as a plain number later, in the thread."""

from __future__ import annotations

import math
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._backend import ScalarBatch

# Types whose instances never change, so that no copy has to be kept. Those of numpy's scalars are added as they come.
UNCHANGING: set[type] = {float, int, bool}


def snapshot(value: Any) -> Any:
    """Return what keeps the value that ``value`` has now, without waiting for a device that still computes it.

    Never raises: what cannot be copied is returned as it is, and fails when it is read, if at all.
    """
    try:
        if hasattr(value, "detach"):  # a torch tensor
            if value.is_cpu and value.numel() == 1:
                return value.item()  # which costs less than a copy, and waits for nothing
            return value.detach().clone()  # cut off from its graph, copied in the order of its stream
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic):
            UNCHANGING.add(type(value))
            return value
        if hasattr(value, "item"):  # an array of numpy or another library; those without a copy do not change
            return value.copy() if hasattr(value, "copy") else value
        return read_number(value)  # of an object of Python, that may be another number by the time it is read
    except Exception:
        return value


def read_number(value: Any) -> int | float:
    """Return ``value`` as a plain int or float that equals it.

    Raises:
        TypeError: it is no real number.
        Exception: whatever the reading of the value raised.
    """
    if hasattr(value, "item"):  # numpy and torch; one with several elements raises
        value = value.item()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if hasattr(type(value), "__index__"):
        return int(value.__index__())
    if hasattr(type(value), "__float__"):
        return float(value)
    raise TypeError(f"a {type(value).__name__} is no real number")


def read_step(value: Any) -> int | float:
    """Return a step as an int of 64 bits, or as a float when it is no whole number.

    Raises:
        TypeError, ValueError: it is no such number.
        Exception: whatever the reading of the value raised.
    """
    number = read_number(value)
    if isinstance(number, float):
        if not math.isfinite(number):
            raise ValueError(f"a step cannot be {number!r}")
        if number.is_integer() and -(2.0**63) <= number < 2.0**63:
            return int(number)
    elif not -(2**63) <= number < 2**63:
        raise ValueError("a step cannot have more than 64 bits")
    return number


def read_tag(tag: Any) -> str:
    """Return a tag as a plain text."""
    return str.__str__(tag) if isinstance(tag, str) else str(tag)


class WeightChange:
    """Stands in place of a tag where the weight of what follows is another one; see `read_batch`."""

    __slots__ = ("weight",)

    def __init__(self, weight: float | None) -> None:
        self.weight = weight


_NUMBERS = {float, int}


def read_batch(
    flat: list[Any], on_failure: Callable[[Any, Exception], None], weight: float | None = None
) -> tuple[ScalarBatch, float | None]:
    """Make a batch of a flat list of tag, step, time and value, one after the other.

    A scalar that cannot be read is left out: ``on_failure`` is called with its tag and the reason.

    Args:
        flat: the list; where the weight changes, a `WeightChange` stands in place of a tag.
        on_failure: called for what cannot be read.
        weight: of the first scalars.

    Returns:
        The batch, and the weight at its end.
    """
    from ._backend import ScalarBatch

    tags, steps, times, values = flat[0::4], flat[1::4], flat[2::4], flat[3::4]
    kinds = set(map(type, tags))
    weights: list[float | None] | None = None if weight is None else [weight] * len(tags)
    if WeightChange in kinds:
        taken, weight = _take_weights(tags, weight)
        kept = [i for i, tag in enumerate(tags) if tag.__class__ is not WeightChange]
        tags, steps, times, values, taken = (
            [column[i] for i in kept] for column in (tags, steps, times, values, taken)
        )
        weights = taken if any(one is not None for one in taken) else None
        kinds.discard(WeightChange)
    if not set(map(type, values)) <= _NUMBERS:
        _read_devices(values)
    if (
        set(map(type, values)) <= _NUMBERS
        and set(map(type, steps)) <= {int}
        and kinds <= {str}
        and (not steps or (max(steps) < 2**63 and min(steps) >= -(2**63)))
    ):
        return ScalarBatch(tags, steps, times, values, weights), weight
    read_columns: tuple[list[Any], list[Any], list[Any], list[Any], list[Any]] = ([], [], [], [], [])
    for i, (tag, step, time, value) in enumerate(zip(tags, steps, times, values, strict=True)):
        try:
            read = (read_tag(tag), read_step(step), time, read_number(value), None if weights is None else weights[i])
        except Exception as error:
            on_failure(tag, error)
            continue
        for column, field in zip(read_columns, read, strict=True):
            column.append(field)
    tags, steps, times, values, taken = read_columns
    return ScalarBatch(tags, steps, times, values, None if weights is None else taken), weight


def _read_devices(values: list[Any]) -> None:
    """Put numbers in place of the tensors that lie on a device such as a GPU: all in one go, not one by one."""
    torch = sys.modules.get("torch")
    if torch is None:
        return
    found: dict[Any, list[int]] = {}
    for i, value in enumerate(values):
        if isinstance(value, torch.Tensor) and not value.is_cpu and value.numel() == 1:
            found.setdefault((value.device, value.dtype), []).append(i)
    for (device, _), places in found.items():
        try:
            if device.type == "cuda":
                torch.cuda.synchronize(device)  # the program may have computed them in a stream of its own
            numbers = torch.stack([values[i].reshape(()) for i in places]).tolist()
        except Exception:  # one of them cannot be read: each by itself says which
            continue
        for i, number in zip(places, numbers, strict=True):
            values[i] = number


def _take_weights(tags: list[Any], weight: float | None) -> tuple[list[float | None], float | None]:
    weights: list[float | None] = []
    for tag in tags:
        if tag.__class__ is WeightChange:
            weight = tag.weight
        weights.append(weight)
    return weights, weight
