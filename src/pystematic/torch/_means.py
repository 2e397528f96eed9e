"""`RunningMean`: a weighted mean over the samples of all processes, that a checkpoint can hold."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch

from pystematic.torch._collectives import gather_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager


class RunningMean:
    """A mean over samples. Sums are kept in float64 on the CPU, or on the device until they are asked for.

    Args:
        world_size: how many processes update it, each with its own samples.
        is_repeated: tells whether the batch at hand is one sample that another process has too, which counts nowhere.
        noted: encloses what all processes do together, under a name for those that wait for it.
    """

    def __init__(
        self,
        world_size: int = 1,
        is_repeated: Callable[[], bool] = bool,
        noted: Callable[[str], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self._world_size = world_size
        self._noted = noted
        self._is_repeated = is_repeated
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._sum: Any = 0.0
        self._count: Any = 0.0

    def update(self, value: Any, n: float = 1) -> None:
        """Add ``n`` samples whose mean is ``value``; a tensor is not waited for."""
        if n == 1 and self._is_repeated():
            return
        if isinstance(value, torch.Tensor):
            value = value.detach().to(torch.float64 if value.device.type != "mps" else torch.float32)
        self._sum = self._sum + value * n
        self._count = self._count + n

    def compute(self) -> float:
        """Return the mean over all processes, NaN where there was no sample; all processes call it."""
        total, count = float(self._sum), float(self._count)
        if self._world_size > 1:
            with self._noted("mean.compute"):
                parts = gather_objects((total, count), self._world_size)
            total, count = (sum(column) for column in zip(*parts, strict=True))
        return total / count if count else float("nan")

    def state_dict(self) -> dict[str, float]:
        """Return sum and count of this process."""
        return {"sum": float(self._sum), "count": float(self._count)}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from the sum and count of a checkpoint."""
        self._sum, self._count = float(state["sum"]), float(state["count"])
