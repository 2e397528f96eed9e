"""Builders of the recorder's tests."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from pystematic import Recorder, rundir


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def on_device(tensor: Any) -> Any:
    """Return a tensor that says it is on another device, of which a machine of the tests may have none."""
    return tensor.as_subclass(_make_class())


@functools.cache  # tensors of several classes cannot be stacked
def _make_class() -> Any:
    import torch  # many tests that import this need none

    class OnDevice(torch.Tensor):
        @property
        def is_cpu(self) -> bool:  # type: ignore[override]
            return False

    return OnDevice


def recorded(record: Callable[[Recorder], object]) -> list[rundir.Item]:
    """Return what a recorder leaves in a fresh folder beside numbers."""
    shutil.rmtree("output", ignore_errors=True)
    with Recorder("output") as recorder:
        record(recorder)
    return rundir.read_items("output")


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said to the user."""
    assert {record.name for record in caplog.records} <= {"pystematic"}
    return [record.getMessage() for record in caplog.records]
