"""Records what the machine does while a run goes on. What is read, and how, is the business of `record`."""

from __future__ import annotations

import os
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.record import SystemMetrics
    from pystematic.run._active import ActiveRun


SAMPLE_PERIOD_S = 10.0
# Held while libraries are imported beside the main function, and during every fork: a module that one thread is
# importing can never be imported by a child that another one forks meanwhile.
_importing = threading.Lock()


class SystemSampler:
    """Records the machine's meters of one run, under the second of the run as step.

    Nothing is imported before the first `sample`, so that a short run pays nothing.
    """

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        place = run.place
        # A number, not a name: machines may share one.
        self._node = f"node{place.node_rank}" if place.world_size > place.local_world_size else None
        self._began_at = time.monotonic()
        self._metrics: SystemMetrics | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._closing = threading.Event()

    def sample(self) -> None:
        """Record what the meters show now. Never raises; after a failure it does nothing more."""
        with self._lock:
            if self._is_closed:
                return
            try:
                if self._metrics is None:
                    with _importing:
                        from pystematic.record import SystemMetrics

                        self._metrics = SystemMetrics(self._run.output_dir, node=self._node)
                self._run.recorder.scalars(self._metrics.read(), step=round(time.monotonic() - self._began_at))
            except Exception:  # of a machine or a driver: the run matters more than its temperature
                self._is_closed = True

    def start_thread(self) -> None:
        """Sample in a thread of its own, in a process that has no keeper."""
        threading.Thread(target=self._sample_on, name="pystematic-system", daemon=True).start()

    def _sample_on(self) -> None:
        while not self._closing.wait(SAMPLE_PERIOD_S):
            self.sample()

    def close(self) -> None:
        """Record nothing more; to be called before the recorder is closed."""
        self._closing.set()
        with self._lock:
            self._is_closed = True
            if self._metrics is not None:
                self._metrics.close()


def _hold_imports() -> None:
    _importing.acquire()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold_imports, after_in_parent=_importing.release, after_in_child=_importing.release)
