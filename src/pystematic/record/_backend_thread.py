"""A backend in a thread of its own: slow or broken, it holds up neither the recorder nor another backend."""

from __future__ import annotations

import collections
import threading
import time

from ._backend import ScalarBatch
from ._warn import counted_items, counted_numbers, spell, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pystematic import rundir

    from ._backend import Backend, RunFacts

# Numbers (and other things) that may wait for a backend; about 20 MB.
QUEUE_LIMIT = 200_000
FLUSH_PERIOD_S = 0.4
# All backends together may hold up the end so long ...
CLOSE_LIMIT_S = 2.0
# ... and one that is still being imported and started until so long after its begin: a short run would lose all.
START_LIMIT_S = 15.0


class BackendThread:
    """Feeds one backend. What the recorder's thread calls never waits.

    Args:
        name: what messages call it.
        make: makes the backend, in the thread, as that may import a large library.
        run: of which it is told; None when it is started already.
    """

    def __init__(self, name: str, make: Callable[[], Backend], run: RunFacts | None) -> None:
        self.name = name
        self._make = make
        self._run_facts = run
        self._backend: Backend | None = None
        self._is_failed = False
        self._started_at: float | None = None
        self._is_closing = False
        self._status: str | None = None
        self._queue: collections.deque[ScalarBatch | rundir.Item | int] = collections.deque()
        # Each counter is written by one thread only, so that no lock is needed: by the recorder's ...
        self._put_count = 0
        self._put_items = 0
        self._refused = 0
        self._refused_items = 0
        # ... and by our own.
        self._taken_count = 0
        self._taken_items = 0
        self._lost = 0
        self._lost_items = 0
        self._wake = threading.Event()
        self._said: set[str] = set()
        self._began_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name=f"pystematic-{name}", daemon=True)

    @property
    def dropped(self) -> int:
        """How many numbers it was given that are not in the backend."""
        return self._refused + self._lost + (self._backend.dropped if self._backend is not None else 0)

    @property
    def dropped_items(self) -> int:
        """How many things that are no numbers it was given that are not in the backend."""
        return self._refused_items + self._lost_items

    @property
    def missing(self) -> int:
        """How many numbers are not in the backend, those that still wait for it counted in."""
        return self.dropped + self._put_count - self._taken_count

    @property
    def missing_items(self) -> int:
        """How many things that are no numbers are not in the backend, those that still wait for it counted in."""
        return self.dropped_items + self._put_items - self._taken_items

    @property
    def _waiting(self) -> int:
        return self._put_count - self._taken_count + self._put_items - self._taken_items

    def begin(self) -> bool:
        """Start the thread, which starts the backend. False when the interpreter ends and allows no more threads."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    # -- called by the recorder's thread -------------------------------------------------------------------------

    def write(self, batch: ScalarBatch) -> None:
        self._put(batch)

    def write_item(self, item: rundir.Item) -> None:
        self._put(item)

    def add_dropped(self, count: int) -> None:
        self._put(count)

    def _put(self, thing: ScalarBatch | rundir.Item | int) -> None:
        numbers, items = _count_of(thing)
        if self._is_failed or self._waiting + numbers + items > QUEUE_LIMIT:
            self._refused += numbers
            self._refused_items += items
            if not self._is_failed:
                self._say_once(
                    "queue",
                    f"The recorder's backend {self.name!r} is too slow: {QUEUE_LIMIT} numbers wait for it, further "
                    "ones are left out of it until it has caught up. The run goes on, and its directory has them all.",
                )
            return
        self._queue.append(thing)
        self._put_count += numbers
        self._put_items += items
        self._wake.set()
        if self._thread.ident is None:  # of a forked child, most of which record nothing
            self.begin()

    def set_status(self, status: str) -> None:
        """Take note how the run ended, which the backend is told before it is closed."""
        self._status = status

    def close(self) -> None:
        """Ask the thread to write the rest and to end. Returns at once; see `wait_for_all`."""
        self._is_closing = True
        self._wake.set()

    def for_child(self) -> BackendThread | None:
        of_child = self._backend.for_child() if self._backend is not None else None
        if of_child is None:
            return None
        return BackendThread(self.name, lambda: of_child, None)

    def wait(self, deadline: float) -> bool:
        """Wait until the closed thread has ended, by the monotonic clock; tell whether it has."""
        while self._thread.is_alive():
            limit = self._began_at + START_LIMIT_S if self._started_at is None else self._started_at + CLOSE_LIMIT_S
            left_s = max(deadline, limit) - time.monotonic()
            if left_s <= 0:
                return False
            self._thread.join(min(left_s, 0.05))
        return True

    # -- in the thread -------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            backend = self._make()
            if self._run_facts is not None:
                backend.start(self._run_facts)
        except BaseException as error:  # of another package, a disk or a network
            self._is_failed = True
            self._say_once(
                "start",
                f"The recorder's backend {self.name!r} could not be started: {spell(error)}. "
                "The run goes on without it, and its directory has everything.",
            )
            self._drop_queue()
            return
        self._backend = backend
        self._started_at = time.monotonic()
        while True:
            is_closing = self._is_closing
            is_idle = not self._write_queue(backend, time.monotonic() + FLUSH_PERIOD_S)
            self._guard("flush", backend.flush)
            if is_closing and is_idle:
                break
            if is_idle:
                self._wake.wait(FLUSH_PERIOD_S)
                self._wake.clear()
        if self._status is not None and hasattr(backend, "set_status"):  # one of another package may be older
            self._guard("set_status", backend.set_status, self._status)
        self._guard("close", backend.close)

    def _write_queue(self, backend: Backend, until: float) -> bool:
        """Write what waits, until it is time to flush; tell whether there was anything."""
        was_any = False
        while self._queue and time.monotonic() < until:
            was_any = True
            thing = self._queue.popleft()
            if isinstance(thing, int):
                is_taken = self._guard("add_dropped", backend.add_dropped, thing)
            elif isinstance(thing, ScalarBatch):
                is_taken = self._guard("write", backend.write, thing)
            else:
                is_taken = self._guard("write_item", backend.write_item, thing)
            self._count_taken(thing, is_lost=not is_taken)
        return was_any

    def _drop_queue(self) -> None:
        while self._queue:
            self._count_taken(self._queue.popleft(), is_lost=True)

    def _count_taken(self, thing: ScalarBatch | rundir.Item | int, *, is_lost: bool) -> None:
        numbers, items = _count_of(thing)
        if is_lost:
            self._lost += numbers
            self._lost_items += items
        self._taken_count += numbers
        self._taken_items += items

    def _guard(self, what: str, call: Callable[..., None], *args: Any) -> bool:
        """Call a method of the backend; tell whether it did not fail."""
        try:
            call(*args)
        except BaseException as error:  # SystemExit of a library too: the thread, and what waits for it, must live on
            self._say_once(
                what,
                f"The recorder's backend {self.name!r} failed: {spell(error)}. The run goes on, and its directory has "
                "everything.",
            )
            return False
        return True

    def _say_once(self, about: str, message: str) -> None:
        if about not in self._said:
            self._said.add(about)
            warn(message)


def _count_of(thing: ScalarBatch | rundir.Item | int) -> tuple[int, int]:
    """Return how many numbers, and how many other things, are given to the backend with it."""
    if isinstance(thing, int):
        return 0, 0
    return (len(thing.tags), 0) if isinstance(thing, ScalarBatch) else (0, 1)


def _spell_counts(numbers: int, items: int) -> str:
    if not items:
        return counted_numbers(numbers, "recorded ")
    return f"{counted_numbers(numbers, 'recorded ')} and {counted_items(items)}" if numbers else counted_items(items)


def wait_for_all(threads: Iterable[BackendThread]) -> None:
    """Wait until closed backends are done, two seconds for all of them together, and tell what they lack."""
    limit = time.monotonic() + CLOSE_LIMIT_S
    for thread in threads:
        is_done = thread.wait(limit)
        numbers, items = (thread.dropped, thread.dropped_items) if is_done else (thread.missing, thread.missing_items)
        lacks = f"{_spell_counts(numbers, items)} {'is' if numbers + items == 1 else 'are'} not in"
        if not is_done:
            at_least = f"at least {lacks} it. " if numbers + items else ""
            warn(
                f"The recorder's backend {thread.name!r} could not finish in time; {at_least}"
                "The run's directory has them all."
                if at_least
                else f"The recorder's backend {thread.name!r} could not finish in time. The run's directory has "
                "everything."
            )
        elif numbers + items:
            warn(f"{lacks} the backend {thread.name!r}. The run's directory has them all.")
