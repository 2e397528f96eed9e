"""What all processes of a run do together: sums, gathered tensors, barriers. Nothing on one process."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

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
    """Return the sum, mean, min, max or product over all processes, in a new tensor or as the number that came in."""
    if op is None:
        if isinstance(value, torch.Tensor):
            raise ValueError("all_reduce() of a tensor needs op=: sum, mean, min, max or product")
        op = "sum"
    if op not in _OPERATIONS:
        raise ValueError(f"all_reduce(op={op!r}): expected one of {', '.join(_OPERATIONS)}")
    if world_size == 1:
        return value.clone() if isinstance(value, torch.Tensor) else value
    tensor = _contiguous(value) if isinstance(value, torch.Tensor) else _as_tensor(value)
    dist.all_reduce(tensor, _OPERATIONS[op])
    if op == "mean":
        tensor = tensor / world_size
    return tensor if isinstance(value, torch.Tensor) else tensor.item()


def gather(value: torch.Tensor, local: int | None, world_size: int) -> torch.Tensor:
    """Return the tensors of all processes, one after the other along dimension 0; ``local`` rows of this one count."""
    if not isinstance(value, torch.Tensor):
        raise TypeError(f"gather() takes a tensor, not a {type(value).__name__}; gather objects with all_gather_object")
    rows = (value if value.dim() else value[None]).detach()
    if local is not None and local < len(rows):
        rows = rows[:local]
    if world_size == 1:
        return rows
    sizes = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(world_size)]
    dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
    lengths = [int(size) for size in sizes]
    longest = max(lengths)
    padded = rows.new_zeros((longest, *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in range(world_size)]
    dist.all_gather(parts, padded)
    return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])


def broadcast(value: Any, source: int, device: torch.device, world_size: int) -> Any:
    """Return what rank ``source`` gave: a tensor, or any object that can be pickled."""
    if world_size == 1:
        return value
    if isinstance(value, torch.Tensor):
        tensor = _contiguous(value)
        dist.broadcast(tensor, source)
        return tensor
    box = [value]
    dist.broadcast_object_list(box, source)
    return place(box[0], device)


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


def _as_tensor(value: Any) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)
