"""`Watcher`: tells open pages what has changed in the folder, while there are any."""

from __future__ import annotations

import asyncio
import os
import threading

from pystematic.rundir import RunDir, SweepDir, sweep_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pystematic.store import Snapshot
    from pystematic.web._folder import Folder
    from pystematic.web._schema import Change, Grown

# So many running runs are followed file by file.
MOST_FOLLOWED = 500
# A silent connection is one that proxies and browsers take for dead.
KEEP_ALIVE_S = 15.0


def no_change() -> Change:
    """Return a change in which nothing has changed."""
    return {"changed": [], "removed": [], "grown": [], "sweeps": []}


class Subscriber:
    """One open page. Changes that it has not taken yet become one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._news = asyncio.Event()
        self._pending: Change | None = None
        self._is_closed = False

    def push(self, change: Change) -> None:
        """Give news, from any thread."""
        self._call(self._add, change)

    def close(self) -> None:
        """End it, from any thread."""
        self._call(self._end)

    def _call(self, function: object, *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]
        except RuntimeError:  # the loop has ended
            pass

    def _add(self, change: Change) -> None:
        self._pending = change if self._pending is None else _joined(self._pending, change)
        self._news.set()

    def _end(self) -> None:
        self._is_closed = True
        self._news.set()

    async def changes(self) -> AsyncIterator[Change | None]:
        """Yield what has changed, and None from time to time when nothing has."""
        while not self._is_closed:
            try:
                await asyncio.wait_for(self._news.wait(), KEEP_ALIVE_S)
            except TimeoutError:
                yield None
                continue
            self._news.clear()
            pending, self._pending = self._pending, None
            if pending is not None:
                yield pending


def _joined(first: Change, second: Change) -> Change:
    grown: dict[str, Grown] = {one["id"]: one for one in [*first["grown"], *second["grown"]]}
    changed = dict.fromkeys([*first["changed"], *second["changed"]])
    removed = dict.fromkeys([*first["removed"], *second["removed"]])
    for name in second["removed"]:
        changed.pop(name, None)
    for name in second["changed"]:
        removed.pop(name, None)
    return {
        "changed": list(changed),
        "removed": list(removed),
        "grown": list(grown.values()),
        "sweeps": list(dict.fromkeys([*first["sweeps"], *second["sweeps"]])),
    }


class Watcher:
    """Looks at a folder again and again, in a thread that lives while somebody listens."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._subscribers: set[Subscriber] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def subscribe(self, loop: asyncio.AbstractEventLoop) -> Subscriber:
        """Return a new listener, which is told of all that changes from now on. Looks at the folder, and may block."""
        subscriber = Subscriber(loop)
        # The state before anybody is greeted: what changes while the thread starts is told too. Without the lock, as
        # the first look at a large folder takes seconds.
        state = _FolderState(self._folder) if self._thread is None else None
        with self._lock:
            if self._is_closed:
                subscriber.close()
                return subscriber
            self._subscribers.add(subscriber)
            if self._thread is None:
                self._stop = threading.Event()
                arguments = (self._stop, state or _FolderState(self._folder))
                self._thread = threading.Thread(
                    target=self._watch, args=arguments, name="pystematic-watcher", daemon=True
                )
                self._thread.start()
                self._folder.is_watched = True
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a listener."""
        with self._lock:
            self._subscribers.discard(subscriber)
            if not self._subscribers:
                self._stop.set()
                self._thread = None

    def close(self) -> None:
        """End all listeners; there are no new ones."""
        with self._lock:
            self._is_closed = True
            self._stop.set()
            self._thread = None
            subscribers = list(self._subscribers)
        for subscriber in subscribers:
            subscriber.close()

    def _watch(self, stop: threading.Event, state: _FolderState) -> None:
        try:
            while not stop.wait(self._folder.period_s):
                change = state.look()
                if change is None:
                    continue
                with self._lock:
                    subscribers = list(self._subscribers)
                for subscriber in subscribers:
                    subscriber.push(change)
        finally:
            with self._lock:
                if self._stop is stop:  # else another one has begun
                    self._thread = None
                    self._folder.is_watched = False


class _FolderState:
    """What was seen last."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        # What the page was told last, even if that was a moment ago.
        self._snapshot = folder.known or folder.snapshot()
        self._sizes = _sizes(self._snapshot)
        self._sweeps = _sweep_states(folder.path)

    def look(self) -> Change | None:
        """Return what has changed since, None for nothing."""
        found = self._folder.snapshot(is_new=True)
        changed, removed = ([], []) if found is self._snapshot else found.changed_since(self._snapshot)
        if found.damaged != self._snapshot.damaged:
            changed += [name for name in found.damaged if name not in self._snapshot.damaged]
        sizes, sweeps = _sizes(found), _sweep_states(self._folder.path)
        grown: list[Grown] = [
            {"id": name, "log_bytes": size[0], "series_bytes": size[1]}
            for name, size in sizes.items()
            if self._sizes.get(name) != size
        ]
        other = [name for name in {**self._sweeps, **sweeps} if self._sweeps.get(name) != sweeps.get(name)]
        self._snapshot, self._sizes, self._sweeps = found, sizes, sweeps
        if not (changed or removed or grown or other):
            return None
        return {"changed": changed, "removed": removed, "grown": grown, "sweeps": other}


def _sizes(snapshot: Snapshot) -> dict[str, tuple[int, int]]:
    """Return how long log and series of the running runs are."""
    sizes = {}
    for name in snapshot.running[:MOST_FOLLOWED]:
        run_dir = RunDir(os.path.join(snapshot.folder, name))
        sizes[name] = (_size(run_dir.log_file()), sum(map(_size, run_dir.metrics_files())))
    return sizes


def _sweep_states(folder: str) -> dict[str, int]:
    return {name: _size(SweepDir(folder, name).plan_file) for name in sweep_names(folder)}


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
