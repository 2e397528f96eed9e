"""What the recorder's thread gives to backends that have threads of their own; in a distributed run, one series."""

from __future__ import annotations

import os
import time

from pystematic import rundir

from ._backend import Backend, ScalarBatch
from ._backend_thread import wait_for_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._backend_thread import BackendThread

# How long a point waits for ranks that have not recorded it. With what the other ranks and the reading take, two
# seconds pass at most.
WAIT_S = 1.0
POLL_PERIOD_S = 0.4


class Feed(Backend):
    """Gives everything to each of its backends, and never waits for one of them."""

    name = "further backends"

    def __init__(self, backends: list[BackendThread] | None = None) -> None:
        self.dropped = 0  # what a backend has dropped it says itself
        self.backends = backends if backends is not None else []

    def write(self, batch: ScalarBatch) -> None:
        for backend in self.backends:
            backend.write(batch)

    def write_item(self, item: rundir.Item) -> None:
        for backend in self.backends:
            backend.write_item(item)

    def set_status(self, status: str) -> None:
        for backend in self.backends:
            backend.set_status(status)

    def close(self) -> None:
        for backend in self.backends:
            backend.close()

    def wait(self) -> None:
        """Wait until the closed backends are done, within their limits."""
        wait_for_all(self.backends)

    def add_dropped(self, count: int) -> None:
        for backend in self.backends:
            backend.add_dropped(count)

    def for_child(self) -> Backend | None:
        of_child = [child for backend in self.backends if (child := backend.for_child()) is not None]
        return Feed(of_child) if of_child else None


class RankFeed(Feed):
    """Takes what this rank records, reads what the others have written, and gives on what all have in common.

    Args:
        folder: the run directory.
        world_size: how many ranks record.
        reduces: by tag how ranks are merged, where it is not the mean.
    """

    def __init__(self, folder: str, world_size: int, reduces: Mapping[str, str]) -> None:
        super().__init__()
        self._own_reduces = reduces
        self._reduces: dict[str, str] = {}  # those of the other ranks too
        self._merge = rundir.RankMerge(world_size, self._reduces)
        self._polled_at = 0.0
        run_dir = rundir.RunDir(folder)
        # A run that goes on in its directory: what the former attempt has recorded was fed by that one.
        goes_on = _size(run_dir.metrics_file()) > 0
        self._files = {
            rank: rundir.SeriesFile(path, offset=_size(path) if goes_on else 0)
            for rank in range(1, world_size)
            for path in (run_dir.metrics_file(rank),)
        }

    def write(self, batch: ScalarBatch) -> None:
        columns = (batch.tags, batch.steps, batch.times, batch.values)
        self._reduces.update(self._own_reduces)
        self._merge.add(0, columns, batch.weights, now=time.monotonic())

    def flush(self) -> None:
        now = time.monotonic()
        if now - self._polled_at >= POLL_PERIOD_S:
            self._polled_at = now
            self._poll()
        self._give_on(self._merge.take(before=now - WAIT_S))

    def close(self) -> None:
        self._poll()
        self._give_on(self._merge.take())
        super().close()

    def for_child(self) -> None:
        return None  # what children record is no rank's

    def _poll(self) -> None:
        for rank, file in self._files.items():
            try:
                for columns, weights in file.read_weighted():
                    self._reduces.update(file.reduces)
                    self._merge.add(rank, columns, weights, now=time.monotonic())
            except OSError:  # not made yet, or not to be read in this moment
                continue

    def _give_on(self, columns: rundir.Columns | None) -> None:
        if columns is not None:
            super().write(ScalarBatch(*columns))


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
