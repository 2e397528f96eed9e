"""`Folder`: the folder that the page shows: its runs now, and which directory a name of a run means."""

from __future__ import annotations

import os
import threading
import time

from pystematic.rundir import RunDir
from pystematic.store import Run, take_snapshot
from pystematic.web._errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.store import Snapshot

# How old the runs of an answer may be. Who is told of changes asks anew anyway.
FRESH_FOR_S = 1.0
# Of the time at most this share is spent on looking at the folder.
SHARE = 0.1


class Folder:
    """A folder of runs, looked at again when somebody asks.

    May be used by several threads; `lock` is held while a snapshot's runs are asked, which are not made for that.

    Attributes:
        path: its absolute path.
        lock: see above.
        is_watched: whether somebody looks again and again, and so keeps the snapshot new.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(path)
        self.lock = threading.Lock()
        self.is_watched = False
        self._look = threading.Lock()
        self._real = os.path.realpath(self.path)
        self._snapshot: Snapshot | None = None
        self._looked_at = 0.0
        self._cost_s = 0.0

    def snapshot(self, *, is_new: bool = False) -> Snapshot:
        """Return the runs as they are, or were a moment ago; with ``is_new`` as they are now.

        While nothing changes it is the same object, so that what was made of it may be kept.
        """
        with self._look:
            age = time.monotonic() - self._looked_at
            if self._snapshot is None or is_new or age > self.period_s:
                began = time.monotonic()
                found = take_snapshot(self.path)  # others go on asking the one before
                self._looked_at = time.monotonic()
                self._cost_s = self._looked_at - began
                self._take(found)
            assert self._snapshot is not None
            return self._snapshot

    @property
    def known(self) -> Snapshot | None:
        """The runs as they were when the folder was looked at last; None before the first look."""
        return self._snapshot

    def recent(self) -> Snapshot:
        """Return the same; while a watcher looks again and again, as it has found them last, without a wait."""
        known = self._snapshot
        return known if known is not None and self.is_watched else self.snapshot()

    @property
    def period_s(self) -> float:
        """How often a watcher should look."""
        return max(FRESH_FOR_S, self._cost_s / SHARE)

    def _take(self, found: Snapshot) -> None:
        known = self._snapshot
        is_same = known is not None and known.states == found.states and known.damaged == found.damaged
        # How long a run has been running is another matter each time.
        if not is_same or found.running:
            self._snapshot = found

    # -- names ---------------------------------------------------------------------------------------------------

    def run(self, name: str) -> Run:
        """Return the run of a name.

        Raises:
            RequestError: there is none, or it leads out of the folder.
        """
        parts = name.split("/")
        is_odd = "\\" in name or "\0" in name or ":" in parts[0]
        if is_odd or len(parts) > 2 or not all(part and part not in (".", "..") for part in parts):
            raise RequestError(404, f"{name!r} is no run of this folder.")
        directory = os.path.join(self.path, *parts)
        if not os.path.lexists(RunDir(directory).run_file) or not self._is_inside(directory):
            raise RequestError(404, f"there is no run {name!r} in this folder.", hint="It may have been removed.")
        return Run(directory)

    def _is_inside(self, path: str) -> bool:
        return os.path.realpath(path).startswith(self._real.rstrip(os.sep) + os.sep)


def file_inside(directory: str | os.PathLike[str], name: str) -> str | None:
    """Return the real path of a file below a directory; None where there is no plain file, or links lead elsewhere."""
    if "\0" in name or "\\" in name or os.path.isabs(name) or ":" in name.split("/")[0]:
        return None
    if not all(part and part not in (".", "..") for part in name.split("/")):
        return None
    try:
        real = os.path.realpath(os.path.join(directory, name), strict=True)
    except (OSError, ValueError):
        return None
    root = os.path.realpath(directory).rstrip(os.sep) + os.sep
    return real if real.startswith(root) and os.path.isfile(real) else None
