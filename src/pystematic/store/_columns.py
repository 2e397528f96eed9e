"""The series of a run as columns, kept in the user's cache folder once they are parsed: `read_columns`.

Large files of series take long to parse and rarely change, or only grow. What was parsed is kept as plain arrays, which
are mapped into memory when they are asked for again; of a file that has grown, only the new part is parsed. A cache
that is damaged, missing or cannot be written only costs time.
"""

from __future__ import annotations

import array
import json
import os
import time
import zlib

from pystematic import rundir
from pystematic._cache_dir import cached_file
from pystematic._record import record
from pystematic.store._reading import changed_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

# A multiple of eight bytes, so that the columns behind it are aligned.
MAGIC = b"pystematic columns, v 1\n"
# Bytes of series that are parsed faster than a cache of them pays.
SMALL = 256 * 1024
# Bytes of all cached columns together; the oldest are removed.
MOST_BYTES = 2 * 1024**3
# Parts of a cache that were added one by one; more are written as one.
MOST_PARTS = 16
# A file that has grown is the same as before if so many pieces of it, of so many bytes, are.
PIECES, PIECE_BYTES = 64, 4096
SETTLED_AFTER_NS = 2_000_000_000


@record
class Columns:
    """The points of one tag in the order of their recording.

    Attributes:
        step: arrays of numpy, or of the standard library where that is not installed; lists where no type of an
            array holds all numbers exactly.
        value: likewise.
        time: likewise.
    """

    step: Any
    value: Any
    time: Any


@record
class RunColumns:
    """All series of a run.

    Attributes:
        series: by tag, in the order of their first points.
        damaged_lines: lines that hold no record.
    """

    series: Mapping[str, Columns]
    damaged_lines: int


def read_columns(folder: str | os.PathLike[str], tag: str | None = None) -> RunColumns:
    """Read the series of a run, of all processes that wrote into its directory; see `rundir.read_series`.

    Args:
        folder: of the run.
        tag: the only series that is wanted; the others may be missing then. All when None.
    """
    files = rundir.RunDir(folder).metrics_files()
    main = rundir.RunDir(folder).metrics_file()
    if files == [main]:
        cache = _Cache(str(main))
        if cache.is_worth_it:
            return cache.read(tag)
    series = rundir.read_series(folder)
    columns = {tag: columns_of(points) for tag, points in series.points.items()}
    return RunColumns(columns, series.damaged_lines)


# -- columns ---------------------------------------------------------------------------------------------------------


def make_column(numbers: Sequence[Any]) -> Any:
    """Return numbers as an array of int64 or float64, or a list of objects where neither holds all of them exactly."""
    column = _as_array(numbers)
    if column is None and float in map(type, numbers):
        # An array of floats has lost which of its numbers were integers: what is joined from such has to be the same.
        numbers = [float(number) if _is_exact_float(number) else number for number in numbers]
    try:
        import numpy  # takes as long as a whole small run: only where arrays are asked for
    except ImportError:
        return list(numbers) if column is None else column
    if column is None:
        return numpy.array(numbers, dtype=object)
    # Through an array of the standard library: it takes half as long as numpy's own way from a list.
    return numpy.frombuffer(column, dtype=column.typecode) if len(column) else numpy.array([], dtype=column.typecode)


def _as_array(numbers: Sequence[Any]) -> array.array[Any] | None:
    """Return an array that holds numbers exactly, None where there is none."""
    try:
        return array.array("q" if numbers else "d", numbers)
    except (TypeError, OverflowError):  # a float, or an integer that is too large
        kinds = set(map(type, numbers))
    if int in kinds and (kinds == {int} or not all(map(_is_exact_float, numbers))):
        return None
    return array.array("d", numbers)


def _is_exact_float(number: float) -> bool:
    try:
        return not isinstance(number, int) or float(number) == number
    except OverflowError:
        return False


# -- what is kept ----------------------------------------------------------------------------------------------------

_NAMES = ("step", "value", "time")
# The length and the checksum before a head.
_HEAD_SIZE = 12


class _Part:
    """What was parsed at one time.

    As bytes: the length of the head, its checksum, the head as JSON, blanks up to a multiple of eight, and the columns.

    Attributes:
        head: ``end`` and ``damaged``, of the file of series up to here; ``tags``, a list of tag, count, and for each
            column its kind, length and checksum.
        start: where the columns begin in ``data``.
        data: all of the cache's file.
    """

    def __init__(self, head: dict[str, Any], data: Any, start: int) -> None:
        self.head = head
        self.data = data
        self.start = start

    def columns(self) -> Iterator[tuple[str, list[_Column]]]:
        """Yield the columns of each tag, unread."""
        position = self.start
        for tag, count, specs in self.head["tags"]:
            columns = []
            for kind, size, checksum in specs:
                columns.append(_Column(kind, count, self.data, position, size, checksum))
                position += -(-size // 8) * 8
            yield tag, columns


class _Column:
    def __init__(self, kind: str, count: int, data: Any, start: int, size: int, checksum: int) -> None:
        self.kind = kind
        self.count = count
        self._data = data
        self._start = start
        self._size = size
        self._checksum = checksum

    def read(self) -> Any:
        """Return the numbers.

        Raises:
            ValueError: they are damaged.
        """
        view = memoryview(self._data)[self._start : self._start + self._size]
        if len(view) != self._size or zlib.crc32(view) != self._checksum:
            raise ValueError("damaged columns")
        if self.kind == "O":
            return _as_column(json.loads(bytes(view)), "O")
        try:
            import numpy
        except ImportError:
            return array.array(self.kind, bytes(view))
        return numpy.frombuffer(view, dtype=self.kind)


def _as_column(numbers: Sequence[Any], kind: str) -> Any:
    try:
        import numpy
    except ImportError:
        return list(numbers)
    return numpy.array(numbers, dtype=kind)


def _format_part(head: dict[str, Any], series: Mapping[str, Columns]) -> list[Any]:
    """Return a part as pieces to be written one after the other; columns are not copied.

    Raises:
        ValueError: there is a number that cannot be written.
    """
    tags = []
    body: list[Any] = []
    for tag, columns in series.items():
        specs = []
        for name in _NAMES:
            kind, data = _column_bytes(getattr(columns, name))
            specs.append([kind, len(data), zlib.crc32(data)])
            body += [data, bytes(-len(data) % 8)]
        tags.append([tag, len(columns.step), specs])
    text = json.dumps({**head, "tags": tags}).encode("ascii")
    text += b" " * (-(len(text) + _HEAD_SIZE) % 8)
    return [len(text).to_bytes(8, "little"), zlib.crc32(text).to_bytes(4, "little"), text, *body]


def _column_bytes(column: Any) -> tuple[str, Any]:
    kind = _column_kind(column)
    if kind == "O":
        return kind, json.dumps(_as_list(column)).encode("ascii")
    return kind, memoryview(column).cast("B") if len(column) else b""


def _parse_parts(data: Any) -> list[_Part]:
    """Return the parts of a cache's file.

    Raises:
        ValueError: it is damaged.
    """
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ValueError("no cache of series")
    parts = []
    position = len(MAGIC)
    while position < len(data):
        length = int.from_bytes(data[position : position + 8], "little")
        checksum = int.from_bytes(data[position + 8 : position + _HEAD_SIZE], "little")
        position += _HEAD_SIZE
        text = bytes(data[position : position + length])
        if zlib.crc32(text) != checksum or len(text) != length:
            raise ValueError("a damaged part")
        head = json.loads(text)
        parts.append(_Part(head, data, position + length))
        position += length + sum(-(-size // 8) * 8 for _, _, specs in head["tags"] for _, size, _ in specs)
    if position != len(data) or not parts:
        raise ValueError("a cache of another length")
    return parts


class _Cache:
    """The cached columns of one file of series that no other file belongs to."""

    def __init__(self, source: str) -> None:
        self._source = os.path.realpath(source)
        self._path = cached_file("series", self._source, ".bin")
        found = os.stat(self._source)
        self._state = [changed_ns(found), found.st_size, found.st_ino]
        self.is_worth_it = found.st_size >= SMALL and os.path.isabs(self._path)

    def read(self, only: str | None = None) -> RunColumns:
        """Return the columns of all tags, or those of one, from the cache as far as that holds them.

        Raises:
            OSError: the file of series cannot be read.
        """
        try:
            parts = self._load()
            return self._read(parts, only)
        except (OSError, ValueError, KeyError, TypeError):
            return self._read([], only)

    def _read(self, parts: list[_Part], only: str | None) -> RunColumns:
        series: dict[str, list[Columns]] = {}
        if len(parts) >= MOST_PARTS:
            only = None  # they may be written as one
        for part in parts:
            for tag, columns in part.columns():
                if only is None or tag == only:
                    series.setdefault(tag, []).append(Columns(*(column.read() for column in columns)))
        end = parts[-1].head["end"] if parts else 0
        damaged = parts[-1].head["damaged"] if parts else 0
        file = rundir.SeriesFile(self._source, end)
        added = _parse(file, to_end=False)
        last = rundir.SeriesFile(self._source, file.offset)
        for some in (added, _parse(last, to_end=True)):
            for tag, parsed in some.items():
                series.setdefault(tag, []).append(parsed)
        joined = {tag: _join(columns) for tag, columns in series.items()}
        damaged += file.damaged_lines
        if file.offset - end >= SMALL or len(parts) > MOST_PARTS:
            self._store(parts, added, joined if last.offset == file.offset else None, file.offset, damaged)
        return RunColumns(joined, damaged + last.damaged_lines)

    def _load(self) -> list[_Part]:
        """Return the parts that hold for the file as it is now.

        Raises:
            OSError, ValueError, KeyError, TypeError: there is no cache, or it is damaged.
        """
        import mmap

        with open(self._path, "rb") as file:
            # Written to, the arrays are the user's own; the file stays.
            parts = _parse_parts(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        head = parts[-1].head
        changed, size, number = head["state"]
        is_same = [changed, size, number] == self._state
        if head["source"] != self._source or number != self._state[2] or not (is_same or size < self._state[1]):
            return []
        if not (is_same and head["is_settled"]) and head["print"] != _fingerprint(self._source, head["end"]):
            return []
        return parts

    def _store(
        self,
        parts: list[_Part],
        added: Mapping[str, Columns],
        joined: Mapping[str, Columns] | None,
        end: int,
        damaged: int,
    ) -> None:
        """Keep what was parsed; a cache that cannot be written is not written."""
        try:
            head = {
                "source": self._source,
                "state": self._state,
                "is_settled": self._state[0] < time.time_ns() - SETTLED_AFTER_NS,
                "print": _fingerprint(self._source, end),
                "end": end,
                "damaged": damaged,
            }
            if joined is not None and len(parts) >= MOST_PARTS:
                old, part = MAGIC, _format_part(head, joined)
            else:
                old, part = bytes(parts[0].data) if parts else MAGIC, _format_part(head, added)
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            temporary = f"{self._path}.{os.urandom(6).hex()}.tmp"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
            try:
                with open(descriptor, "wb") as file:
                    file.writelines([old, *part])
                os.replace(temporary, self._path)
            except BaseException:
                os.unlink(temporary)
                raise
            _remove_oldest(os.path.dirname(self._path))
        except (OSError, ValueError):
            pass


def _parse(file: rundir.SeriesFile, *, to_end: bool) -> dict[str, Columns]:
    parts: dict[str, list[Columns]] = {}
    for columns in file.read(to_end=to_end):
        for tag, points in rundir.by_tag(columns):
            # Each part by itself: a million numbers as objects of Python would take ten times the memory.
            parts.setdefault(tag, []).append(
                Columns(make_column(points.steps), make_column(points.values), make_column(points.times))
            )
    return {tag: _join(columns) for tag, columns in parts.items()}


def columns_of(points: rundir.Points) -> Columns:
    """Return points as columns."""
    return Columns(make_column(points.steps), make_column(points.values), make_column(points.times))


def _join(parts: Sequence[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return Columns(*(_joined([getattr(part, name) for part in parts]) for name in _NAMES))


def _joined(columns: Sequence[Any]) -> Any:
    kinds = {_column_kind(column) for column in columns}
    if len(kinds) > 1 or kinds == {"O"}:
        return make_column([number for column in columns for number in _as_list(column)])
    try:
        import numpy
    except ImportError:
        whole = array.array(kinds.pop())
        for column in columns:
            whole.extend(column)
        return whole
    return numpy.concatenate(columns)


def _column_kind(column: Any) -> str:
    if isinstance(column, array.array):
        return column.typecode
    return {"l": "q"}.get(kind := getattr(getattr(column, "dtype", None), "char", "O"), kind)


def _as_list(column: Any) -> list[Any]:
    return column if isinstance(column, list) else list(column.tolist())


def _fingerprint(path: str, end: int) -> int:
    """Return a checksum of pieces of a file up to ``end``, the first and the last ones among them."""
    checksum = 0
    with open(path, "rb", buffering=0) as file:
        for i in range(PIECES):
            file.seek(max(0, (end - PIECE_BYTES) * i // (PIECES - 1)))
            checksum = zlib.crc32(file.read(min(PIECE_BYTES, end)), checksum)
    return checksum


def _remove_oldest(folder: str) -> None:
    """Keep the caches of series below `MOST_BYTES`, and remove what writers that were killed have left."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("series-"):
                state = entry.stat()
                found.append((state.st_mtime, state.st_size, entry.path))
    total = sum(size for _, size, _ in found)
    long_ago = time.time() - 3600
    for changed, size, path in sorted(found):
        if total > MOST_BYTES or (path.endswith(".tmp") and changed < long_ago):
            os.unlink(path)
            total -= size
