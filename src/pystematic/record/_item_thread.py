"""The thread that encodes and stores what is no number, so that numbers never wait for a picture or a copy."""

from __future__ import annotations

import collections
import threading
import time

from pystematic import rundir

from ._items import Place
from ._warn import counted_items, spell, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._items import Snapshot

# What may wait to be stored. Above it the program waits a little, then what it records is dropped.
WAITING_LIMIT_BYTES = 256 << 20
ROOM_LIMIT_S = 0.5
# Without progress for so long a picture or a copy is given up at the end. Each block that is copied is progress.
STUCK_AFTER_S = 5.0
# How long the end waits in silence.
SILENT_S = 2.0
# Of so many that are lost the names are kept, and so many are told at the end.
LOST_NAMES_LIMIT = 1000
TOLD_NAMES_LIMIT = 10


class ItemThread:
    """Stores snapshots one after the other, from the first `put` to `close`.

    Attributes:
        lost_count: how many were given up: dropped, failed, or not stored before the end.
        is_any_unsaid: whether no message has named one of them yet.

    Args:
        folder: the run directory.
        on_stored: called in the thread with each item, once all its files are written.
        mask: takes secrets out of texts, tables and parameters.
    """

    def __init__(
        self, folder: str, on_stored: Callable[[rundir.Item], None], mask: Callable[[Any], Any] | None = None
    ) -> None:
        self._folder = folder
        self._on_stored = on_stored
        self._mask = mask
        self._waiting: collections.deque[tuple[str, int | float, float, Snapshot]] = collections.deque()
        self._waiting_bytes = 0
        self._changed = threading.Condition(threading.RLock())  # a signal handler may record
        self._is_closing = False
        self._progress_at = time.monotonic()
        self._put_count = 0
        self._done_count = 0
        self._storing: tuple[str, str] | None = None
        self._is_given_up = False
        self.lost_count = 0
        self.is_any_unsaid = False
        self._lost: collections.Counter[tuple[str, str]] = collections.Counter()  # by kind and tag
        self._said: set[tuple[str, str]] = set()
        self._thread = threading.Thread(target=self._run, name="pystematic-recorder-items", daemon=True)

    def start(self) -> bool:
        """Start the thread if it does not run yet. False when the interpreter ends and allows no more threads."""
        with self._changed:
            if self._thread.ident is None:
                try:
                    self._thread.start()
                except RuntimeError:
                    return False
            return True

    def put(self, tag: str, step: int | float, now: float, snapshot: Snapshot) -> None:
        """Take a snapshot to be stored. Waits half a second at most where too many wait already; then it is dropped."""
        with self._changed:
            if self._waiting_bytes > WAITING_LIMIT_BYTES:
                self._changed.wait_for(lambda: self._waiting_bytes <= WAITING_LIMIT_BYTES, ROOM_LIMIT_S)
            if self._waiting_bytes > WAITING_LIMIT_BYTES:
                self._count_lost(snapshot.kind, tag)
                self._say_once(
                    snapshot.kind,
                    "room",
                    f"What is recorded cannot be stored as fast: {snapshot.kind} {tag!r} and others are dropped. "
                    "Record fewer or smaller ones. The run goes on.",
                )
                return
            if not self._waiting:
                self._progress_at = time.monotonic()
            self._waiting.append((tag, step, now, snapshot))
            self._waiting_bytes += snapshot.size_bytes
            self._put_count += 1
            self._changed.notify_all()

    def _say_once(self, kind: str, about: str, message: str) -> None:
        """Warn of something that is lost, unless one of this kind was lost for the same reason before."""
        if (kind, about) in self._said:
            self.is_any_unsaid = True
            return
        self._said.add((kind, about))
        warn(message)

    def say_failure(self, kind: str, tag: str, error: BaseException) -> None:
        """Count something that is not recorded, and tell why, once for each kind and sort of failure."""
        self._count_lost(kind, tag)
        self._say_once(
            kind,
            type(error).__name__,
            f"{kind} {tag!r} could not be recorded: {spell(error)}. "
            "Further ones of this sort are told at the end; the run goes on.",
        )

    def _count_lost(self, kind: str, tag: str) -> None:
        with self._changed:
            self.lost_count += 1
            if len(self._lost) < LOST_NAMES_LIMIT or (kind, tag) in self._lost:
                self._lost[kind, tag] += 1

    def name_lost(self) -> str:
        """Return the names of what is lost, those that are lost most often first: ``image 'a' (15), artifact 'b'``."""
        with self._changed:
            told = self._lost.most_common(TOLD_NAMES_LIMIT)
            others = self.lost_count - sum(count for _, count in told)
        names = [f"{kind} {tag!r}" + (f" ({count})" if count > 1 else "") for (kind, tag), count in told]
        return ", ".join([*names, f"{others} others"] if others else names)

    def flush(self, deadline: float) -> bool:
        """Wait until all that was put before is stored; tell whether it was, by the monotonic clock's ``deadline``."""
        with self._changed:
            wanted = self._put_count
            return self._changed.wait_for(lambda: self._done_count >= wanted, max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Store the rest and end the thread: as long as there is progress, then what is left is given up."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is threading.current_thread() or not self._thread.is_alive():
            return
        began = time.monotonic()
        is_said = False
        while self._thread.is_alive():
            self._thread.join(0.1)
            now = time.monotonic()
            left = self._put_count - self._done_count
            if not is_said and now - began > SILENT_S and left:
                is_said = True
                warn(f"Storing {counted_items(left)} before the end.")
            if now - max(began, self._progress_at) > STUCK_AFTER_S:
                self._give_up()
                return

    def _give_up(self) -> None:
        with self._changed:
            self._is_given_up = True
            left = [(snapshot.kind, tag) for tag, _, _, snapshot in self._waiting]
            if self._storing is not None:
                left.append(self._storing)
            for kind, tag in left:
                self._count_lost(kind, tag)
            self.is_any_unsaid = True
        warn(f"{counted_items(len(left))} could not be stored before the end.")

    # -- in the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if not self._waiting or self._is_given_up:
                    return
                tag, step, now, snapshot = self._waiting.popleft()
                self._storing = (snapshot.kind, tag)
            self._on_progress()
            self.store(tag, step, now, snapshot)
            with self._changed:
                self._storing = None
                self._waiting_bytes -= snapshot.size_bytes
                self._done_count += 1
                self._on_progress()
                self._changed.notify_all()

    def store(self, tag: str, step: int | float, now: float, snapshot: Snapshot) -> None:
        """Store a snapshot here and now."""
        place = Place(self._folder, tag, step, on_progress=self._on_progress, mask=self._mask)
        try:
            data = snapshot.store(place)
        except BaseException as error:  # of a library that encodes, or of the disk: it costs this one only
            if not self._is_given_up:  # else it is counted already
                self.say_failure(snapshot.kind, tag, error)
            if not isinstance(error, Exception) and threading.current_thread() is not self._thread:
                raise  # of the program, that stores at the end of the interpreter
            return
        self._on_stored(rundir.Item(snapshot.kind, tag, step, int(now * 1000) / 1000, data, place.file))

    def _on_progress(self) -> None:
        self._progress_at = time.monotonic()
