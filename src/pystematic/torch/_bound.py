"""Workers of a data loader that end with the process that has started them, whatever ends that."""

from __future__ import annotations

import os
import signal
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
    _leave_signals_to_parent()
    if own is not None:
        own(worker)


def _leave_signals_to_parent() -> None:
    """Let the parent decide what a signal to the whole group means: a terminal, torchrun and Slurm send it to all.

    A worker that died of it would fail a run that comes to the end of its step and saves.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        # By SIGTERM torch ends workers that do not end by themselves: that of the parent still counts.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_parents_word, name="pystematic-worker", daemon=True).start()


def _end_with_parents_word() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid not in (os.getppid(), os.getpid()):
        continue
    os._exit(0)
