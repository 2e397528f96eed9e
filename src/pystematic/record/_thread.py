"""The recorder's thread: takes what was recorded out of the buffer and gives it to the backends.

The buffer is one flat list. The program appends to it with a single `extend`, the thread takes from its front with a
slice and a `del`; each is one step for the interpreter, so there is no lock, and a scalar is in the list whole or not
at all. Knows no file format.
"""

from __future__ import annotations

import collections
import sys
import threading
import time

from ._numbers import read_batch
from ._warn import counted_items, counted_numbers, spell, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pystematic import rundir

    from ._backend import Backend
    from ._backend_thread import BackendThread
    from ._feed import Feed
    from ._item_thread import ItemThread
    from ._items import Snapshot

FIELDS = 4  # tag, step, time, value

# Half a second is promised; the rest is for the writing itself.
PERIOD_S = 0.4
# A long drain still writes this often, so that what is lost in a crash is never old.
DRAIN_FLUSH_S = 0.2
# Scalars taken at once. The program waits for the interpreter lock meanwhile (about 1 µs for each of them) ...
PART = 1000
# ... unless so many are waiting that being overtaken by the program is the greater danger.
HURRY_ABOVE = 30_000
HURRY_PART = 8000
# Without a real pause between parts the thread would get the interpreter lock back before the program does.
PAUSE_S = 0.00005
# No progress for so long means that a disk or backend hangs.
STUCK_AFTER_S = 1.0
CLOSE_LIMIT_S = 2.0
FLUSH_LIMIT_S = 10.0


class RecorderThread:
    """Drains ``buffer`` into ``backends`` every half second, from `start` to `close`.

    Attributes:
        weight: of the next scalar in the buffer.
    """

    def __init__(
        self,
        buffer: list[Any],
        backends: list[Backend],
        folder: str = ".",
        mask: Callable[[Any], Any] | None = None,
    ) -> None:
        self.weight: float | None = None
        self._buffer = buffer
        self._backends = backends
        self._folder = folder
        self._mask = mask
        self._reset()

    def _reset(self) -> None:
        self.is_closed = False
        self._lock = threading.RLock()  # a signal handler may record while its thread holds it
        self._written = threading.Condition()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_starting = False
        self._is_closing = False
        self._flushes_asked = 0
        self._flushes_done = 0
        self._syncs_asked = 0
        self._syncs_done = 0
        self._progress_at = time.monotonic()
        self._dropped = 0
        self._said: set[str] = set()
        self._feed: Feed | None = None
        # What is no number is stored by a thread of its own, and comes back to be written down.
        self._items: ItemThread | None = None
        self._stored: collections.deque[rundir.Item] = collections.deque()
        self._lost_items_told = 0  # of those that the item thread has lost, to the backends

    def reset_in_child(self, weight: float | None = None) -> None:
        """Begin anew in a forked child: no thread exists there, and what is buffered belongs to the parent."""
        self._buffer.clear()
        was_closed = self.is_closed
        own: list[Backend] = []
        feed: Any = None
        for backend in self._backends:
            try:
                of_child = backend.for_child()
            except Exception:  # another package's code, in the middle of a fork: the child goes on without it
                continue
            if of_child is not None:
                own.append(of_child)
                feed = of_child if backend is self._feed else feed
        self._backends[:] = own
        self._reset()
        self._feed = feed
        self.weight = weight
        self.is_closed = was_closed

    @property
    def is_stuck(self) -> bool:
        """Whether the thread has not come round for a second."""
        return time.monotonic() - self._progress_at > STUCK_AFTER_S

    def start(self) -> bool:
        """Start the thread if it does not run yet. False when the interpreter ends and allows no more threads."""
        with self._lock:
            if self._thread is not None or self._is_starting:
                return True
            self._is_starting = True
            self._progress_at = time.monotonic()
            thread = threading.Thread(target=self._run, name="pystematic-recorder", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            finally:
                self._is_starting = False
            self._thread = thread
        _close_at_end_of_child(self.close)
        return True

    def wake(self) -> None:
        """Let the thread write now."""
        self._wake.set()

    def add_backend(self, backend: BackendThread, feed: Feed) -> None:
        """Give a further backend all that is taken from now on, by way of ``feed``, which is the same each time."""
        feed.backends.append(backend)
        if self._feed is None:
            self._feed = feed
            self._backends.append(feed)
        self.start()  # so that there is one that closes it, whether or not anything is recorded

    def put_item(self, tag: str, step: int | float, snapshot: Snapshot) -> None:
        """Take what is no number; a thread of its own stores it."""
        now = time.time()
        items = self.items
        if self.start() and items.start():
            items.put(tag, step, now, snapshot)
        else:  # the interpreter ends: there are no threads any more, so this one stores
            items.store(tag, step, now, snapshot)
            self.drain()

    @property
    def items(self) -> ItemThread:
        """The thread for what is no number, not started before it is needed."""
        with self._lock:
            if self._items is None:
                from ._item_thread import ItemThread  # most programs record numbers only

                self._items = ItemThread(self._folder, self._stored.append, self._mask)
            return self._items

    def flush(self, *, numbers_only: bool = False, sync: bool = False) -> None:
        """Return when all that was recorded before is written, with ``sync`` on disk, or after ten seconds."""
        if self._thread is None:
            return
        if sync:
            with self._lock:
                self._syncs_asked += 1  # before the flush is asked for, so that the thread sees both
        deadline = time.monotonic() + FLUSH_LIMIT_S
        done = numbers_only or self._items is None or self._items.flush(deadline)
        with self._written:
            self._flushes_asked += 1
            wanted = self._flushes_asked
            self._wake.set()
            done &= self._written.wait_for(
                lambda: self._flushes_done >= wanted or self._thread is None,
                timeout=max(0.0, deadline - time.monotonic()),
            )
        if not done:
            self.say_once("flush", f"The recorder could not write within {FLUSH_LIMIT_S:.0f} s; it goes on trying.")

    def close(self, status: str | None = None) -> None:
        """Write the rest, close the backends and end the threads. May be called twice.

        Gives up a disk that hangs after two seconds. What is no number is waited for as long as it makes progress.

        Args:
            status: how the run ended, for backends that want to know.
        """
        if self.is_closed:
            return
        self.is_closed = True
        if status is not None and self._feed is not None:
            self._feed.set_status(status)
        try:
            if self._items is not None:
                self._items.close()
        finally:
            self._close_backends()

    def _close_backends(self) -> None:
        thread = self._thread
        if thread is None:
            # Recorded while the interpreter ended, when no thread could be started; or nothing could be recorded.
            if self._buffer or self._stored or self._items is not None:
                self._finish()
                self._say_lost_items()
            return
        self._is_closing = True
        self._wake.set()
        if thread is threading.current_thread():  # the garbage collector ran in our own thread; it ends by itself
            return
        thread.join(CLOSE_LIMIT_S)
        if thread.is_alive():
            lost = len(self._buffer) // FIELDS
            warn(
                f"The recorder could not finish within {CLOSE_LIMIT_S:.0f} s; at least {counted_numbers(lost)} "
                f"{'is' if lost == 1 else 'are'} not written."
            )
            self._say_lost_items()
            return
        self._thread = None
        # Another thread may have appended after the last look at the buffer.
        dropped = len(self._buffer) // FIELDS + max((backend.dropped for backend in self._backends), default=0)
        self._buffer.clear()
        if dropped:
            were = "was dropped and is" if dropped == 1 else "were dropped and are"
            warn(f"{counted_numbers(dropped, 'recorded ')} {were} not in the record of this run.")
        self._say_lost_items()
        if self._feed is not None:
            self._feed.wait()

    def _say_lost_items(self) -> None:
        lost = self._items.lost_count if self._items is not None else 0
        refused = max((getattr(backend, "dropped_items", 0) for backend in self._backends), default=0)
        total = max(lost, refused)
        if total > lost or (self._items is not None and self._items.is_any_unsaid):
            names = self._items.name_lost() if self._items is not None and lost else "the disk took no more lines"
            is_or_are = "is" if total == 1 else "are"
            warn(f"{counted_items(total)} {is_or_are} not in the record of this run: {names}.")

    def drop(self, count: int) -> None:
        """Count numbers that were recorded when they could not be taken any more."""
        with self._lock:
            self._dropped += count

    def say_once(self, about: str, message: str) -> None:
        """Warn, unless something was said about this before."""
        if about not in self._said:
            self._said.add(about)
            warn(message)

    # -- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_closing:
            self._wake.wait(PERIOD_S)
            self._wake.clear()
            asked, syncs_asked = self._flushes_asked, self._syncs_asked
            self.drain()
            if syncs_asked != self._syncs_done:
                self._syncs_done = syncs_asked
                self._sync_backends()
            with self._written:
                self._flushes_done = asked
                self._written.notify_all()
        self._finish()
        with self._written:
            self._flushes_done = self._flushes_asked
            self._written.notify_all()

    def _finish(self) -> None:
        self.drain()
        for backend in self._backends:
            self._guard(backend, "close", backend.close)

    def drain(self) -> None:
        """Give everything that is buffered to the backends and let them write it."""
        while self._stored:
            item = self._stored.popleft()
            for backend in self._backends:
                self._guard(backend, "write_item", backend.write_item, item)
        buffer = self._buffer
        flushed_at = self._progress_at = time.monotonic()
        while buffer:
            part = buffer[: (PART if len(buffer) < HURRY_ABOVE * FIELDS else HURRY_PART) * FIELDS]
            del buffer[: len(part)]
            try:
                batch, self.weight = read_batch(part, self._on_unreadable, self.weight)
            except Exception as error:  # no memory, for one: the thread must live on
                self.drop(len(part) // FIELDS)
                self.say_once("read", f"Recorded numbers could not be read and are left out: {spell(error)}.")
                continue
            for backend in self._backends if batch.tags else ():
                self._guard(backend, "write", backend.write, batch)
            self._progress_at = time.monotonic()
            if self._progress_at - flushed_at > DRAIN_FLUSH_S:
                self._flush_backends()
                flushed_at = self._progress_at
            if buffer:
                time.sleep(PAUSE_S)
        self._flush_backends()

    def _flush_backends(self) -> None:
        with self._lock:
            dropped, self._dropped = self._dropped, 0
        lost_items = self._items.lost_count - self._lost_items_told if self._items is not None else 0
        self._lost_items_told += lost_items
        for backend in self._backends:
            if dropped:
                self._guard(backend, "add_dropped", backend.add_dropped, dropped)
            if lost_items and hasattr(backend, "add_dropped_items"):  # only the run directory keeps count of them
                self._guard(backend, "add_dropped_items", backend.add_dropped_items, lost_items)
            self._guard(backend, "flush", backend.flush)
        self._progress_at = time.monotonic()

    def _sync_backends(self) -> None:
        for backend in self._backends:
            sync = getattr(backend, "sync", None)  # those that nobody derived from `Backend` may lack it
            if sync is not None:
                self._guard(backend, "sync", sync)
        self._progress_at = time.monotonic()

    def _guard(self, backend: Backend, what: str, call: Callable[..., None], *args: object) -> None:
        try:
            call(*args)
        except Exception as error:
            self.say_once(
                f"{backend.name} {what}",
                f"The recorder's backend {backend.name!r} failed: {spell(error)}. "
                "Numbers are kept in memory, within bounds, until it works again; the run goes on.",
            )

    def _on_unreadable(self, tag: object, error: Exception) -> None:
        self.drop(1)
        try:
            shown = f"{tag!r}"
        except Exception:
            shown = f"a tag of type {type(tag).__name__}"
        self.say_once(
            "unreadable",
            f"A value recorded under {shown} could not be read and is left out: {spell(error)}. "
            "Further ones are left out in silence; their number is in summary.json.",
        )


def _close_at_end_of_child(close: Callable[[], None]) -> None:
    # A child of multiprocessing ends by os._exit, which runs its finalizers but none of atexit.
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, close, exitpriority=0)
