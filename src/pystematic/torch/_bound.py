"""Processes that end with the one that has started them, whatever ends that: the kernel sees to it, on Linux."""

from __future__ import annotations

import os
import signal
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with(starter: int) -> None:
    """Have the kernel kill this process when the thread that has started it ends (prctl(2)); elsewhere do nothing.

    Args:
        starter: the pid of the process that has started this one.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != starter:  # it died before we said so
        os._exit(1)


def begin_worker(own: Callable[[int], object] | None, worker: int) -> None:
    """Begin a worker of a loader: bind it to its process, and call the program's ``worker_init_fn``.

    torch's own watch over the parent takes up to five seconds, and asks only between two batches.
    """
    # The name that the thread had in the parent: another one than the main thread may end before the process does.
    if threading.current_thread().name == "MainThread":
        die_with(os.getppid())
    if own is not None:
        own(worker)
