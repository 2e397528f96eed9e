"""`StoreAgreement`: all processes of a run stop at the end of the same step, without a collective for each step.

A process that is asked to stop says so in the store. A thread of each process looks there five times a second; once it
sees the question, it promises the first step at whose end its main thread can still stop. The last promised step is
the one. The main thread goes on meanwhile, but never beyond its own promise, before all have promised: so nobody waits
in a collective for one that has stopped already.
"""

from __future__ import annotations

import threading
from typing import Any

from pystematic.run import StopReason

LOOK_PERIOD_S = 0.2
CLOSE_LIMIT_S = 2.0
_QUESTION = "stop/question"
# The promise of a process that will end no step any more.
_NEVER = 2**62


class StoreAgreement:
    """One process's part of the agreement.

    Args:
        store: of the run; used by this thread alone, since clients of the store block each other.
        rank: of this process.
        world_size: of the run.
    """

    def __init__(self, store: Any, rank: int, world_size: int) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._asked: StopReason | None = None
        self._reason: StopReason | None = None
        self._step = 0
        self._promise: int | None = None
        self._decision: int | None = None
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._look, name="pystematic-agreement", daemon=True)
        self._thread.start()

    def ask(self, reason: StopReason) -> None:
        """Ask all processes to stop; the first one who asks says why. Called from signal handlers: takes no lock."""
        if self._asked is None:
            self._asked = reason
            self._wake.set()

    def agreed(self, step: int) -> StopReason | None:
        """Tell, at the end of ``step``, whether all stop here; waits only where this process has promised to."""
        if self._promise is None:  # the usual case, without a lock
            self._step = step
            if self._promise is None:
                return None
        with self._changed:
            self._step = step
            while self._decision is None and self._promise is not None and step >= self._promise:
                self._changed.wait(1.0)
            return self._reason if self._decision is not None and step >= self._decision else None

    def close(self) -> None:
        """End the thread, and let nobody wait for a promise of this process: it ends no further step."""
        self._closed.set()
        self._wake.set()
        self._thread.join(CLOSE_LIMIT_S)
        if self._promise is None and not self._thread.is_alive():
            try:
                self._store.set(f"stop/{self._rank}", str(_NEVER))
            except RuntimeError:  # the store is gone, and with it whoever could wait
                return

    def _look(self) -> None:
        try:
            while not self._closed.is_set():
                self._wake.wait(LOOK_PERIOD_S)
                self._wake.clear()
                # The first of several questions counts: later ones find it answered.
                asked = self._asked if self._reason is None else None
                if asked is not None and self._store.add(f"{_QUESTION}/count", 1) == 1:
                    self._store.set(_QUESTION, asked.to_text())
                if self._reason is None and self._store.check([_QUESTION]):
                    self._answer(StopReason.from_text(self._store.get(_QUESTION).decode()))
                    return
        except RuntimeError:  # the store is gone, and with it the run
            return

    def _answer(self, reason: StopReason) -> None:
        with self._changed:
            self._reason = reason
            # The main thread may be about to end the step after this one without seeing the promise.
            self._promise = self._step + 2
        self._store.set(f"stop/{self._rank}", str(self._promise))
        promises = [int(self._store.get(f"stop/{rank}")) for rank in range(self._world_size)]
        with self._changed:
            self._decision = max(promises)
            self._changed.notify_all()
