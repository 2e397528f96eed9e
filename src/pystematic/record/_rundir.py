"""The backend that is always there: `metrics*.jsonl` and `summary.json` of a run directory. Knows no thread."""

from __future__ import annotations

import os
import time

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._backend import RunFacts, ScalarBatch

# Lines that are kept while the disk refuses them; about 800,000 numbers.
PENDING_LIMIT_BYTES = 64 << 20
SYNC_PERIOD_S = 30.0
SUMMARY_PERIOD_S = 10.0
# How long a point waits in the summary for ranks that have not recorded it.
RANK_WAIT_S = 2.0
# Files of all ranks that are read anew for the last summary; about 300,000 numbers.
RECOUNT_LIMIT_BYTES = 24 << 20
# How a line of another kind begins; in a text of a line a quote has a backslash before it, and a line break is escaped.
ITEM_LINE_START = b'\n{"kind":'
# Of `summary.json`: pictures, tables and files that are lost, where there are any.
DROPPED_ITEMS = "dropped_items"


class RunDirBackend:
    """Writes the series of one process, and, as rank 0, the summary of all that the run's processes wrote.

    A process has a file of its own: ``rank`` names it, or ``pid`` for a forked child that records.

    Args:
        folder: the run directory.
        rank: of the process.
        pid: of a forked child.
        world_size: how many ranks record.
        reduces: by tag how ranks are merged, where it is not the mean; may grow later.
    """

    name = "run directory"

    def __init__(
        self,
        folder: str,
        *,
        rank: int = 0,
        pid: int | None = None,
        world_size: int = 1,
        reduces: dict[str, str] | None = None,
    ) -> None:
        self.dropped = 0
        self.dropped_items = 0
        self._folder = folder
        self._rank = rank
        self._pid = pid
        self._reduces = reduces if reduces is not None else {}
        self._writer = rundir.SeriesWriter(rundir.RunDir(folder).metrics_file(rank, pid=pid))
        self._formatter = rundir.ScalarFormatter(self._reduces)
        self._pending = bytearray()
        self._synced_at = time.monotonic()
        self._unsynced = False
        # None in a process that does not write the summary.
        self._summary = (
            _SummaryWriter(folder, self._writer, world_size, self._reduces) if rank == 0 and pid is None else None
        )

    def start(self, run: RunFacts) -> None:
        return

    def write(self, batch: ScalarBatch) -> None:
        # Milliseconds in the file; the summary must not know more, or it would differ from one made of the file.
        columns = (batch.tags, batch.steps, [int(time * 1000) / 1000 for time in batch.times], batch.values)
        if len(self._pending) > PENDING_LIMIT_BYTES:
            self.dropped += len(batch.tags)
            return
        if self._summary is not None:
            self._summary.add(columns, batch.weights)
        self._pending += self._formatter.format(columns, batch.weights)

    def write_item(self, item: rundir.Item) -> None:
        if len(self._pending) > PENDING_LIMIT_BYTES:
            self.dropped_items += 1
            return
        self._pending += rundir.format_item(item, self._folder)

    def flush(self) -> None:
        now = time.monotonic()
        if self._pending:
            self._unsynced = True
            self._writer.write(self._pending)
        if self._unsynced and now - self._synced_at >= SYNC_PERIOD_S:
            self._sync()
        if self._summary is not None and now - self._summary.written_at >= SUMMARY_PERIOD_S:
            self._summary.write(self.dropped, self.dropped_items, complete=not self._pending)

    def sync(self) -> None:
        if self._unsynced:
            self._sync()

    def _sync(self) -> None:
        self._writer.sync()
        self._synced_at = time.monotonic()
        self._unsynced = False

    def set_status(self, status: str) -> None:
        return  # it stands in `run.json`

    def close(self) -> None:
        try:
            lines = self._pending.count(b"\n")
            items = (b"\n" + self._pending).count(ITEM_LINE_START)
            self.dropped += lines - items
            self.dropped_items += items
            if self._unsynced:
                self._sync()
        finally:
            self._writer.close()
            if self._summary is not None:
                self._summary.write(self.dropped, self.dropped_items, complete=not self._pending, is_last=True)

    def add_dropped(self, count: int) -> None:
        self.dropped += count

    def add_dropped_items(self, count: int) -> None:
        """Take note that so many pictures, tables and files were lost before they came here."""
        self.dropped_items += count

    def for_child(self) -> RunDirBackend:
        # The parent's descriptor is left alone: its number may by now be that of another file.
        return RunDirBackend(self._folder, rank=self._rank, pid=os.getpid(), reduces=self._reduces)


class _SummaryWriter:
    """Keeps `summary.json`: counts its own points as they are written, those of other processes by reading their files.

    Starts with what an earlier attempt of the run, or another recorder, had left in the folder. Where several ranks
    record, the merged points are counted, two seconds later.
    """

    def __init__(self, folder: str, own: rundir.SeriesWriter, world_size: int, reduces: dict[str, str]) -> None:
        self.written_at = time.monotonic()
        self._run_dir = rundir.RunDir(folder)
        self._writer = own
        self._own_name = os.path.basename(own.path)
        self._dropped_before = 0
        self._dropped_items_before = 0
        self._files: dict[str, tuple[rundir.SeriesFile, rundir.Tally]] = {}
        self._last: tuple[object, ...] = ()
        self._own_reduces = reduces
        self._reduces: dict[str, str] = {}  # those of the other ranks too
        self._ranks = rundir.RankMerge(world_size, self._reduces) if world_size > 1 else None
        self._merged = rundir.Tally()
        self._is_exact = True

    def add(self, columns: rundir.Columns, weights: rundir.Weights | None = None) -> None:
        """Count points in that are going to be written; to be called before their lines are."""
        if not self._files:
            self._begin()
        self._count(0, columns, weights, self._files[self._own_name][1])

    def _begin(self) -> None:
        before = rundir.read_document(self._run_dir.summary_file) or {}
        self._dropped_before = _whole(before.get("dropped"))
        self._dropped_items_before = _whole(before.get(DROPPED_ITEMS))
        self._read(self._own_name, to_end=True)

    def _count(
        self, rank: int | None, columns: rundir.Columns, weights: rundir.Weights | None, tally: rundir.Tally
    ) -> None:
        if self._ranks is None or rank is None:
            tally.add(columns)
        else:
            self._reduces.update(self._own_reduces)
            self._ranks.add(rank, columns, weights, now=time.monotonic())

    def _read(self, name: str, *, to_end: bool = False) -> rundir.SeriesFile:
        if name not in self._files:
            self._files[name] = (rundir.SeriesFile(self._run_dir.path / name), rundir.Tally())
        file, tally = self._files[name]
        try:
            for columns, weights in file.read_weighted(to_end=to_end):
                self._reduces.update(file.reduces)
                self._count(rundir.rank_of_metrics_file(name), columns, weights, tally)
        except OSError:
            pass  # the sizes in the document will tell readers that something is missing
        return file

    def write(self, dropped: int, dropped_items: int, *, complete: bool, is_last: bool = False) -> None:
        """Write the document when anything has changed.

        Args:
            dropped: numbers that are lost.
            dropped_items: pictures, tables and files that are lost.
            complete: all that was counted is in the files.
            is_last: the end of this process's part.
        """
        self.written_at = time.monotonic()
        names = [path.name for path in self._run_dir.metrics_files()]
        if not self._files:
            if not names and not dropped and not dropped_items:
                return
            self._begin()
        sizes = self._read_others(names)
        if self._ranks is not None:
            merged = self._ranks.take(before=None if is_last else self.written_at - RANK_WAIT_S)
            if merged is not None:
                self._merged.add(merged)
            complete = complete and self._is_exact and self._ranks.is_exact and not self._ranks
        # The last summary counts in what was still waiting for other ranks, although no file has changed.
        state = (dropped, dropped_items, complete, is_last and self._ranks is not None, sorted(sizes.items()))
        if state == self._last:
            return
        if is_last and self._ranks is not None and not complete and sum(sizes.values()) <= RECOUNT_LIMIT_BYTES:
            summary = rundir.summarize(self._run_dir.path, dropped=self._dropped_before + dropped)
        else:
            summary = rundir.make_summary(
                # In the order of their names, like a reader that has no summary.
                rundir.Tally.merged([self._merged, *(self._files[name][1] for name in sorted(self._files))]).to_plain(),
                sizes=sizes if complete else None,
                dropped=self._dropped_before + dropped,
                damaged_lines=self._writer.torn_lines + sum(file.damaged_lines for file, _ in self._files.values()),
            )
        lost_items = self._dropped_items_before + dropped_items
        if lost_items:
            summary[DROPPED_ITEMS] = lost_items
        rundir.write_document(self._run_dir.summary_file, summary)
        self._last = state

    def _read_others(self, names: list[str]) -> dict[str, int]:
        """Count in what other processes have written since; return how much of each file is counted in."""
        is_rank = [name for name in names if name != self._own_name and rundir.rank_of_metrics_file(name) is not None]
        if is_rank and self._ranks is None:
            # More ranks than was said: what this one has counted so far was merged with nothing.
            self._ranks = rundir.RankMerge(None, self._reduces)
            self._is_exact = False
        return {name: _size(self._writer.path) if name == self._own_name else self._read(name).offset for name in names}


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
