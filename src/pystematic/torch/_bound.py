"""Workers of a data loader that end with the process that has started them, whatever ends that."""

from __future__ import annotations

import os
import threading

from pystematic.run import die_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def begin_worker(own: Callable[[int], object] | None, worker: int) -> None:
    """Begin a worker of a loader: bind it to its process, and call the program's ``worker_init_fn``.

    torch's own watch over the parent takes up to five seconds, and asks only between two batches.
    """
    # The name that the thread had in the parent: another one than the main thread may end before the process does.
    if threading.current_thread().name == "MainThread":
        die_with(os.getppid())
    if own is not None:
        own(worker)
