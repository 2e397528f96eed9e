"""What becomes of a process when the one that has started it dies: it dies too, or somebody takes it over."""

from __future__ import annotations

import os
import signal
import sys

# prctl(2)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with(starter: int) -> None:
    """Have the kernel kill this process when its starter dies; elsewhere than on Linux a closed pipe has to tell."""
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:  # it died before we said so
        os._exit(1)


def adopt_orphans() -> None:
    """Become the parent of every process below this one that loses its own, so that none gets out of sight."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
