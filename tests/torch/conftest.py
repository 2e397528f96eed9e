"""Puts back what torch leaves behind on purpose."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _torch_signal_handler() -> Iterator[None]:
    # torch's loader installs a handler for SIGCHLD with the first worker, and keeps it for the process's life.
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)
