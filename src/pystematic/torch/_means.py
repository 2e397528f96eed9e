"""`RunningMean`: a weighted mean over the samples of all processes, that a checkpoint can hold."""

from __future__ import annotations

import contextlib
import math
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
        leaves_out: tells whether a number over ``n`` of anything is one of a sample that another process has too, which
            counts nowhere.
        noted: encloses what all processes do together, under a name for those that wait for it.
        tag: its name, for messages.
    """

    def __init__(
        self,
        world_size: int = 1,
        leaves_out: Callable[[float], bool] = lambda n: False,
        noted: Callable[[str], AbstractContextManager[Any]] = contextlib.nullcontext,
        tag: str = "",
    ) -> None:
        self._world_size = world_size
        self._noted = noted
        self._leaves_out = leaves_out
        self._tag = tag
        self._is_within_epoch = False
        self._set_aside: tuple[Any, Any] | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew. Between `hold` and `go_on` it is for what is updated there only."""
        if self._is_within_epoch and self._set_aside is None:
            self._set_aside = (self._sum, self._count)
        self._sum: Any = 0.0
        self._count: Any = 0.0

    def update(self, value: Any, n: Any = 1) -> None:
        """Add ``n`` samples (or tokens, pixels, ...) whose mean is ``value``; a tensor is not waited for.

        Raises:
            ValueError: ``value`` is not one number, or ``n`` is negative or not finite.
        """
        given: Any
        for name, given in (("value", value), ("n", n)):
            if math.prod(getattr(given, "shape", ())) != 1:
                shape = tuple(given.shape)
                raise ValueError(f"context.mean({self._tag!r}): {name} has the shape {shape}; expected one number")
        if not isinstance(n, torch.Tensor) and not 0 <= n < math.inf:
            raise ValueError(f"context.mean({self._tag!r}): n={n!r}; expected the number of samples, from 0")
        if self._leaves_out(n):
            return
        if self._is_within_epoch:
            self._is_within_epoch, self._set_aside = False, None
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

    def hold(self) -> None:
        """Keep what was restored in the middle of an epoch: the code before the loop over its batches runs again."""
        self._is_within_epoch = True

    def go_on(self) -> None:
        """Take note that the loop goes on: a reset before it, at the top of the epoch, was one of the epoch's begin."""
        if self._set_aside is not None:
            self._sum, self._count = self._set_aside
        self._is_within_epoch, self._set_aside = False, None
