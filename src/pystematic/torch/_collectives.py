"""What all processes of a run do together: sums, gathered tensors, barriers. Nothing on one process."""

from __future__ import annotations

import contextlib
import math
import numbers
import sys
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from pystematic.errors import ExperimentError
from pystematic.torch._placement import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pystematic.torch._watch import CollectiveWatch

_OPERATIONS = {
    "sum": dist.ReduceOp.SUM,
    "min": dist.ReduceOp.MIN,
    "max": dist.ReduceOp.MAX,
    "product": dist.ReduceOp.PRODUCT,
    "mean": dist.ReduceOp.SUM,
}


def all_reduce(value: Any, op: str | None, world_size: int) -> Any:
    """Return the sum, mean, min, max or product over all processes, in a new tensor or as a number.

    Numbers are exact: an int if all processes give ints (a mean is a float), else a float.

    Raises:
        ExperimentError: the processes give different things, or ask for different operations.
    """
    is_tensor = isinstance(value, torch.Tensor)
    if op is None:
        if is_tensor:
            raise ValueError("all_reduce() of a tensor needs op=: sum, mean, min, max or product")
        op = "sum"
    if op not in _OPERATIONS:
        raise ValueError(f"all_reduce(op={op!r}): expected one of {', '.join(_OPERATIONS)}")
    number = None if is_tensor else _to_number(value)
    if world_size == 1:
        return value.clone() if is_tensor else value
    # What each process brings is told before it travels: the library underneath takes one's bits for another's kind.
    brought = _describe(value) if is_tensor else "a number"
    told = gather_objects((f"{brought} with op={op!r}", number), world_size)
    _check_alike("all_reduce", [what for what, _ in told])
    if not is_tensor:
        return _reduce_numbers([each for _, each in told], op)
    tensor = _contiguous(value)
    dist.all_reduce(tensor, _OPERATIONS[op])
    return tensor / world_size if op == "mean" else tensor


def gather(value: torch.Tensor, local: int | None, world_size: int) -> torch.Tensor:
    """Return the tensors of all processes, one after the other along dimension 0; ``local`` rows of this one count.

    Raises:
        ExperimentError: the processes' tensors differ in more than their number of rows.
    """
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"gather() takes a tensor, not a {type(value).__name__}; gather objects with all_gather_object")
    rows = (value if value.dim() else value[None]).detach()
    if local is not None and local < len(rows):
        rows = rows[:local]
    if world_size == 1:
        return rows
    told = gather_objects((_describe(rows, any_rows=True), len(rows)), world_size)
    _check_alike("gather", [what for what, _ in told])
    lengths = [length for _, length in told]
    padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(parts, padded)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


def broadcast(value: Any, source: int, device: torch.device, world_size: int) -> Any:
    """Return what rank ``source`` gave: a tensor, or any object that can be pickled; what others give is not read."""
    if not 0 <= source < world_size:
        raise ValueError(f"broadcast(source={source!r}): there is no such rank among {world_size}")
    if world_size == 1:
        return value
    is_source = dist.get_rank() == source
    sends_tensor = is_source and isinstance(value, torch.Tensor) and value.layout is torch.strided
    form = (tuple(value.shape), value.dtype, value.device.type) if sends_tensor else None
    box = [(form, None if sends_tensor else value) if is_source else None]
    dist.broadcast_object_list(box, source)
    assert box[0] is not None
    form, obj = box[0]
    if form is None:
        return place(obj, device)
    shape, dtype, kind = form
    if is_source:
        tensor = _contiguous(value)
    else:
        tensor = torch.empty(shape, dtype=dtype, device=device if device.type == kind else kind)
    dist.broadcast(tensor, source)
    return tensor


def gather_objects(value: Any, world_size: int) -> list[Any]:
    """Return what each process gave, by rank: small things that can be pickled."""
    if world_size == 1:
        return [value]
    values: list[Any] = [None] * world_size
    dist.all_gather_object(values, value)
    return values


def barrier(world_size: int) -> None:
    """Wait until all processes have come here."""
    if world_size > 1:
        dist.barrier()


@contextlib.contextmanager
def main_first(first: bool, noted: Callable[[], AbstractContextManager[Any]], world_size: int) -> Iterator[None]:
    """Let some processes run a block before all others, which find its work done."""
    if not first:
        with noted():
            barrier(world_size)
    try:
        yield
    finally:
        if first:
            with noted():
                barrier(world_size)


@contextlib.contextmanager
def noted(watch: CollectiveWatch | None, name: str) -> Iterator[Any]:
    """Enclose what all processes do, under the watch's eyes if there is one; gives this module."""
    with contextlib.nullcontext() if watch is None else watch.noted(name):
        yield sys.modules[__name__]


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    # Copies of memory go between processes, whatever the strides are here and there.
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def _to_number(value: Any) -> int | float:
    plain = value.item() if hasattr(value, "dtype") and getattr(value, "ndim", None) == 0 else value  # of NumPy
    if not isinstance(plain, numbers.Real):
        raise TypeError(f"all_reduce() takes a tensor or a number, not {value!r}, a {type(value).__name__}")
    return int(plain) if isinstance(plain, numbers.Integral) else float(plain)


def _reduce_numbers(values: list[int | float], op: str) -> int | float:
    if any(isinstance(value, float) for value in values):
        values = [float(value) for value in values]
    if op == "mean":
        return sum(values) / len(values)
    if op == "product":
        return math.prod(values)
    if op == "sum":
        return sum(values)
    # Comparisons with NaN are false, so that min() and max() would depend on the order of the ranks.
    unknown = [value for value in values if value != value]
    return unknown[0] if unknown else (min(values) if op == "min" else max(values))


def _describe(tensor: torch.Tensor, *, any_rows: bool = False) -> str:
    shape = ", ".join(["N" if any_rows and i == 0 else str(size) for i, size in enumerate(tensor.shape)])
    return f"a tensor ({shape}) of {tensor.dtype} on {tensor.device.type}"


def _check_alike(name: str, told: list[str]) -> None:
    """Check that all processes bring the same to a collective; all of them find the same.

    Raises:
        ExperimentError: they do not.
    """
    ranks: dict[str, list[str]] = {}
    for rank, what in enumerate(told):
        ranks.setdefault(what, []).append(str(rank))
    if len(ranks) > 1:
        each = "; ".join(f"rank {', '.join(those)}: {what}" for what, those in ranks.items())
        raise ExperimentError(f"context.{name}() needs the same kind from all processes, and got {each}.")
