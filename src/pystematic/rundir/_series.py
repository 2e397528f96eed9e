"""The recorded series of a run, `metrics*.jsonl`: files that are appended to, and read while they grow.

A file is appended to by one process only and is read after a crash and after damage. Knows no recorder, thread or
library of arrays.
"""

from __future__ import annotations

import errno
import os

from pystematic._record import record

from ._layout import RunDir, rank_of_metrics_file
from ._lines import LineFile
from ._merge import RankPoints, merge_points
from ._scalars import LineParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ._scalars import Columns, Number, Weights


class SeriesWriter:
    """Appends lines to one file. Opened at the first write; never truncates, and leaves no line of others torn.

    Attributes:
        torn_lines: lines that this writer had to leave unfinished and has written again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.torn_lines = 0
        self._descriptor: int | None = None
        self._torn: bool | None = None  # None: the end of the file has to be looked at

    def write(self, pending: bytearray) -> None:
        """Write whole lines, and take away from ``pending`` what has been written.

        Raises:
            OSError: the disk refused; what could not be written is left in ``pending``, to be given again.
        """
        descriptor = self._open()
        try:
            while pending:
                if self._torn is None:
                    self._torn = self._ends_torn(descriptor)
                before = int(self._torn)
                written = os.write(descriptor, b"\n" + pending if before else pending) - before
                if written == len(pending):
                    self._torn = False
                    pending.clear()
                    return
                # A part was taken. The line in which it ends is written again, on a line of its own; but one of which
                # only the end is missing is whole for a reader, and gets its end with the next write.
                self._torn = None
                if written > 0 and pending[written] == ord("\n"):
                    del pending[: written + 1]
                    continue
                whole = pending.rfind(b"\n", 0, max(written, 0)) + 1
                self.torn_lines += written > whole
                del pending[:whole]
                if written <= 0:
                    raise OSError(errno.ENOSPC, "nothing could be written", self.path)
        except OSError as error:
            self._torn = None
            if error.filename is None:
                error.filename = self.path
            raise

    def _open(self) -> int:
        if self._descriptor is not None and not os.fstat(self._descriptor).st_nlink:
            self.close()  # removed under our hands: what is written to it would be lost in silence
        if self._descriptor is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self.path, flags, 0o666)
            self._torn = None
        return self._descriptor

    @staticmethod
    def _ends_torn(descriptor: int) -> bool:
        if not os.lseek(descriptor, 0, os.SEEK_END):
            return False
        os.lseek(descriptor, -1, os.SEEK_END)
        return os.read(descriptor, 1) != b"\n"

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        if self._descriptor is not None:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file. May be called twice; a further write opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class SeriesFile(LineFile):
    """One file of series that may still be growing. Each reading goes on where the one before ended.

    Attributes:
        offset: bytes read so far; always the start of a line, except after the reading of an unfinished last one.
        damaged_lines: lines so far that hold no record.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int = 0) -> None:
        super().__init__(path, offset)
        self.damaged_lines = 0
        self._parser = LineParser()

    @property
    def reduces(self) -> dict[str, str]:
        """By tag how ranks are merged, where what was read so far says so."""
        return self._parser.reduces

    def read(self, *, to_end: bool = False, limit: int | None = None) -> Iterator[Columns]:
        """Yield what has been added, in parts.

        Args:
            to_end: take a last line without its end too: it is whole, or torn and counted as damaged.
            limit: do not read beyond this byte.
        """
        for columns, _ in self.read_weighted(to_end=to_end, limit=limit):
            yield columns

    def read_weighted(
        self, *, to_end: bool = False, limit: int | None = None
    ) -> Iterator[tuple[Columns, Weights | None]]:
        """Yield what `read` does, and the weights beside it; None where no line of a part has one."""
        for data in self.read_parts(to_end=to_end, limit=limit):
            parsed = self._parser.parse(data)
            self.damaged_lines += parsed.damaged
            if parsed.columns[0]:
                yield parsed.columns, parsed.weights


@record
class Points:
    """The points of one tag, as lists of equal length, in the order in which they were recorded."""

    steps: list[Number]
    times: list[float]
    values: list[Number]


@record
class RecordedSeries:
    """All series of a run.

    Attributes:
        points: by tag, in the order of their first points.
        damaged_lines: lines that hold no record and were left out.
        unreadable_files: names of files that could not be read to their end.
        sizes: how many bytes of each file were read.
    """

    points: dict[str, Points]
    damaged_lines: int
    unreadable_files: tuple[str, ...]
    sizes: dict[str, int]


def read_series(folder: str | os.PathLike[str]) -> RecordedSeries:
    """Read the series of a run, of all processes that wrote into its directory.

    What several ranks have recorded under one tag and step becomes one point; see `merge_values`. Points of several
    files are put in the order of their times. Nothing that is damaged or missing raises.
    """
    found: dict[str, list[tuple[int | None, RankPoints]]] = {}
    reduces: dict[str, str] = {}
    damaged_lines = 0
    sizes: dict[str, int] = {}
    unreadable: list[str] = []
    for path in RunDir(folder).metrics_files():
        file = SeriesFile(path)
        rank = rank_of_metrics_file(path.name)
        own: dict[str, RankPoints] = {}
        try:
            for columns, weights in file.read_weighted(to_end=True):
                for tag, part in by_tag(columns, weights):
                    if tag in own:
                        own[tag].extend(part)
                    else:
                        own[tag] = part
        except OSError:
            unreadable.append(path.name)
        for tag, points in own.items():
            found.setdefault(tag, []).append((rank, points))
        reduces.update(file.reduces)
        damaged_lines += file.damaged_lines
        sizes[path.name] = file.offset
    merged = {tag: _merge_files(parts, reduces.get(tag, "mean")) for tag, parts in found.items()}
    return RecordedSeries(merged, damaged_lines, tuple(unreadable), sizes)


def _merge_files(parts: list[tuple[int | None, RankPoints]], reduce: str) -> Points:
    if len(parts) > 1:
        ranks = [points for rank, points in parts if rank is not None]
        # Forked children are further writers and no ranks: what they have recorded stays as it is.
        whole = merge_points(ranks, reduce) if ranks else RankPoints([], [], [])
        for rank, points in parts:
            if rank is None:
                whole.extend(points)
        whole.sort_by_time()
    else:
        [(_, whole)] = parts
    return Points(whole.steps, whole.times, whole.values)


def by_tag(columns: Columns, weights: Weights | None = None) -> Iterable[tuple[str, RankPoints]]:
    """Take columns apart by tag. The lists of a tag that is alone are those of the columns."""
    tags, steps, times, values = columns
    if tags.count(tags[0]) == len(tags):
        return ((tags[0], RankPoints(steps, times, values, weights)),)
    parts: dict[str, RankPoints] = {}
    for tag, step, time, value in zip(tags, steps, times, values, strict=True):
        part = parts.get(tag)
        if part is None:
            part = parts[tag] = RankPoints([], [], [])
        part.steps.append(step)
        part.times.append(time)
        part.values.append(value)
    if weights is not None:
        for part in parts.values():
            part.weights = []
        for tag, weight in zip(tags, weights, strict=True):
            parts[tag].weights.append(weight)  # type: ignore[union-attr]
    return parts.items()
