"""The index of an output folder: `open_table` returns its runs as columns, as quickly as they can be had, and right.

What was read once is kept in the user's cache folder, in one SQLite file for each output folder, in segments of packed
columns. It is updated by readers only, and may be deleted, damaged, read-only, or in use at any time: what cannot be
used is read from the run directories again.

A change is found by the last change of each run's directory: every document is replaced by a rename, which changes
that. Runs that say that they run are looked at file by file, and those that were read within two seconds of a change
are read again. What somebody edits in place is found by looking at the files of some runs each time, in turn.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, contextmanager, suppress

from pystematic._cache_dir import cached_file
from pystematic.store._packing import MACHINE, pack, unpack
from pystematic.store._reading import ENDED, NOTHING, RUNNING, Scan, signature_of
from pystematic.store._segments import (
    HEADS,
    SIZE,
    PackedSegment,
    column_key,
    column_name,
    join_segments,
    read_again,
    read_in_order,
    read_segments,
)
from pystematic.store._table import UNSETTLED, ColumnReader, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any

    from pystematic.store._facts import Key

    # The number of a segment, and a row in it; nothing for the first of all.
    Cursor = tuple[int, ...]

SCHEMA = 1
# In a folder of at most so many runs the files of each are looked at every time, in a larger one those of some in turn.
ALL_LOOKED_AT, LOOKED_AT = 1000, 250
# Runs that were read lately are kept in a segment of at most so many, which is cheap to write anew.
SMALL = 256
# So many segments that are less than half full are joined.
MOST_HALF_EMPTY = 32
# A reader does not wait long for another one: it can always do without.
TIMEOUT_S = 1.0
# How long an index is kept that nobody has written to.
KEPT_S = 60 * 86400.0
_DDL = (
    "CREATE TABLE state (id INTEGER PRIMARY KEY, data BLOB)",
    "CREATE TABLE cell (segment INTEGER, name TEXT, data BLOB, PRIMARY KEY (segment, name))",
)


def open_table(folder: str, *, reread: Collection[str] = ()) -> Table:
    """Return the runs below a folder as they are now.

    Args:
        folder: an output folder, or that of one experiment.
        reread: relative paths of runs that are known to have changed.
    """
    folder = os.path.abspath(folder)
    for _ in range(2):  # once more after a damaged one was removed
        index = _Index(folder)
        try:
            return _open(folder, index, set(reread))
        except (ValueError, sqlite3.Error):
            index.discard()
    return _open(folder, _Index(folder, is_usable=False), set(reread))


def discard_index(folder: str) -> None:
    """Remove the index of a folder, if there is one."""
    _Index(os.path.abspath(folder)).discard()


def index_file(folder: str) -> str:
    """Return where the index of a folder is, or would be."""
    return cached_file("index", os.path.realpath(folder), ".sqlite")


def table_of(paths: Iterable[str]) -> Table:
    """Return the runs of some directories as they are now, without an index."""
    segments = [segment for segment in [read_in_order("", [(path, 0) for path in paths])] if segment.names]
    return Table("", segments, _Columns(_Index("", is_usable=False), "", segments))


def _open(folder: str, index: _Index, reread: set[str]) -> Table:
    segments = index.load()
    scan = Scan(folder, {name for segment in segments for name in segment.names if "/" not in name})
    stale, cursor = _find_stale(segments, scan, index.cursor, reread)
    fresh = read_segments(folder, [(name, scan.changed_ns[name]) for name in stale]) if stale else []
    if fresh or cursor or any(segment.is_changed for segment in segments):
        segments = index.update(segments, fresh, cursor)
    table = Table(folder, segments, _Columns(index, folder, segments))
    table.is_looked_at = not cursor
    return table


def _find_stale(
    segments: Sequence[PackedSegment], scan: Scan, cursor: Cursor, reread: set[str]
) -> tuple[list[str], Cursor]:
    """Return which directories have to be read, and at which run to go on looking; lets their old rows die.

    Raises:
        ValueError: the segments contradict each other.
    """
    found = scan.changed_ns
    stored: dict[str, int] = {}
    count = 0
    for segment in segments:
        if segment.dead:
            stored.update((segment.names[row], segment.changed_ns[row]) for row in segment.live_rows())
        else:
            stored.update(zip(segment.names, segment.changed_ns, strict=True))
        count += len(segment.names) - len(segment.dead)
    if len(stored) != count:
        raise ValueError("two segments hold the same run")
    outdated = {name for name in reread if name in stored}
    if stored != found:
        outdated.update(name for name, changed in stored.items() if found.get(name) != changed)
    looked_at = count if count <= ALL_LOOKED_AT else LOOKED_AT
    first = _position(segments, cursor) if looked_at < count else 0
    following = _cursor_at(segments, (first + looked_at) % count) if looked_at < count else ()
    outdated.update(_changed_inside(scan.folder, segments, outdated, first, looked_at))
    for segment in segments:
        dead = outdated.intersection(segment.names) if outdated else ()
        if dead:
            rows = {row for row, name in enumerate(segment.names) if name in dead} - segment.dead
            segment.is_changed = segment.is_changed or bool(rows)
            segment.dead |= rows
    fresh = [name for name in outdated if name in found]
    if len(stored) - (len(outdated) - len(fresh)) != len(found):
        fresh += found.keys() - stored.keys()
    return fresh, following


def _position(segments: Sequence[PackedSegment], cursor: Cursor) -> int:
    """Return how many live rows stand before a row; 0 where there is no such row any more."""
    start = 0
    for segment in segments:
        if cursor and segment.number == cursor[0]:
            return start + sum(row < cursor[1] for row in segment.live_rows())
        start += len(segment.names) - len(segment.dead)
    return 0


def _cursor_at(segments: Sequence[PackedSegment], position: int) -> Cursor:
    for segment in segments:
        rows = segment.live_rows()
        if position < len(rows):
            return segment.number, rows[position]
        position -= len(rows)
    return ()


def _changed_inside(
    folder: str, segments: Sequence[PackedSegment], known: set[str], first: int, looked_at: int
) -> Iterable[str]:
    """Yield the runs whose files have changed, or may have, while their directories have not.

    Those that run are looked at, and ``looked_at`` others from the ``first`` one on, in turn.
    """
    count = sum(len(segment.names) - len(segment.dead) for segment in segments)
    last = first + looked_at
    start = 0
    for segment in segments:
        rows = segment.live_rows()
        end = start + len(rows)
        in_turn = [*range(max(first, start), min(last, end)), *range(start, min(last - count, end))]
        chosen = {rows[number - start] for number in in_turn}
        if not set(segment.kinds) <= {ENDED}:
            chosen.update(row for row in rows if segment.kinds[row] & UNSETTLED or segment.kinds[row] == RUNNING)
        for row in chosen:
            name, kind = segment.names[row], segment.kinds[row]
            if name in known or kind == NOTHING:
                continue
            if kind & UNSETTLED or signature_of(f"{folder}/{name}", kind) != segment.signatures[row]:
                yield name
        start = end


class _DamagedError(ValueError):
    """What is in the index cannot be what was written."""


# What only says that the file cannot be used now: it is locked, in a folder that is full or may not be written.
_UNUSABLE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_NOLFS,
    )
)


class _Index:
    """The file of one folder's index.

    Attributes:
        cursor: at which run to go on looking at files in turn; empty for the first.
    """

    def __init__(self, folder: str, *, is_usable: bool = True) -> None:
        self._folder = os.path.realpath(folder)
        self._path = index_file(folder)
        self._is_usable = is_usable and os.path.isabs(self._path)
        self._state: bytes | None = None
        self.cursor: Cursor = ()

    def load(self) -> list[PackedSegment]:
        """Return the stored segments, with their heads only; none where there is no index, or it cannot be used now.

        Raises:
            ValueError, sqlite3.Error: it is damaged.
        """
        if not self._is_usable or not os.path.exists(self._path):
            return []
        try:
            with closing(self._connect()) as connection:
                connection.execute("BEGIN")
                if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                    return []  # whoever made it was killed
                return self._load(connection)
        except sqlite3.Error as error:
            if not _is_unusable(error):
                raise
            self._is_usable = False
            return []

    def _load(self, connection: sqlite3.Connection) -> list[PackedSegment]:
        found = connection.execute("SELECT data FROM state").fetchone()
        if found is None:
            raise _DamagedError("no state")
        self._state = found[0]
        (state,) = unpack(found[0], "state")
        segments = []
        try:
            if state["key"] != self._key():  # of another version, or of a folder whose name has the same checksum
                return []
            self.cursor = tuple(state["cursor"])
            for number, dead in state["segments"]:
                segment = PackedSegment(number, _cells(connection, number, HEADS))
                segment.dead = set(dead)
                segments.append(segment)
        except (KeyError, TypeError) as error:
            raise _DamagedError(f"a state of another form: {error!r}") from None
        return segments

    def _key(self) -> list[Any]:
        return [SCHEMA, MACHINE, os.name, self._folder]

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=TIMEOUT_S, isolation_level=None)

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection | None]:
        """Connect, where there is something to connect to."""
        if not self._is_usable or not os.path.exists(self._path):
            yield None
            return
        with closing(self._connect()) as connection:
            yield connection

    # -- writing ---------------------------------------------------------------------------------------------------

    def update(
        self, segments: Sequence[PackedSegment], fresh: Sequence[PackedSegment], cursor: Cursor
    ) -> list[PackedSegment]:
        """Put what was read to what is stored, and store it, where that is possible; return all that counts now.

        Raises:
            ValueError, sqlite3.Error: what is stored is damaged.
        """
        joined = _to_be_joined(segments, fresh)
        numbers = {segment.number for segment in joined}
        kept = [segment for segment in segments if segment.number not in numbers]
        added = [segment for segment in fresh if segment.number not in numbers]
        if joined:
            with self.opened() as connection:
                for segment in joined:
                    if not segment.is_whole:
                        _complete(connection, self._folder, segment)
            added += join_segments(joined)
        if self._is_usable:
            try:
                self._store(kept, added, cursor)
            except (OSError, sqlite3.Error) as error:
                if isinstance(error, sqlite3.Error) and not _is_unusable(error):
                    raise
        return [*kept, *added]

    def _store(self, kept: Sequence[PackedSegment], added: Sequence[PackedSegment], cursor: Cursor) -> None:
        if not os.path.exists(self._path):
            self._create()
        with closing(self._connect()) as connection:
            # A process that is killed leaves the old content or the new one; after a power cut, checksums tell.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                for statement in _DDL:
                    connection.execute(statement)
            found = connection.execute("SELECT data FROM state").fetchone()
            if (None if found is None else found[0]) != self._state:
                return  # another reader was quicker; what we know is right too
            numbers = [segment.number for segment in kept]
            stored = [number for (number,) in connection.execute("SELECT DISTINCT segment FROM cell")]
            gone = set(stored).difference(numbers)
            connection.executemany("DELETE FROM cell WHERE segment = ?", [(number,) for number in gone])
            for segment in added:
                cells = [(segment.number, name, data) for name, data in segment.packed.items()]
                connection.executemany("INSERT INTO cell VALUES (?, ?, ?)", cells)
            state = {
                "key": self._key(),
                "cursor": cursor,
                "segments": [[segment.number, sorted(segment.dead)] for segment in [*kept, *added]],
            }
            connection.execute("INSERT OR REPLACE INTO state VALUES (0, ?)", [pack([state], "state")])
            connection.execute("COMMIT")

    def _create(self) -> None:
        folder = os.path.dirname(self._path)
        os.makedirs(folder, exist_ok=True)
        with suppress(OSError):
            _remove_old(folder)
        # Parameters may be nobody else's business, and the run directories may be protected.
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))

    def discard(self) -> None:
        """Remove the index, where that is possible."""
        if os.path.isabs(self._path):
            for path in (f"{self._path}-journal", self._path):
                with suppress(OSError):
                    os.unlink(path)


class _Columns(ColumnReader):
    """Reads columns of segments out of the index, and from the runs again where it lacks them."""

    def __init__(self, index: _Index, folder: str, segments: Sequence[PackedSegment]) -> None:
        self._index = index
        self._folder = folder
        self._segments = segments

    def read(self, keys: Collection[Key]) -> dict[Key, list[Any]]:
        columns: dict[Key, list[Any]] = {key: [] for key in keys}
        with self._index.opened() as connection:
            for segment in self._segments:
                for key, values in self._read(connection, segment, keys).items():
                    columns[key] += values
        return columns

    def _read(
        self, connection: sqlite3.Connection | None, segment: PackedSegment, keys: Collection[Key]
    ) -> dict[Key, list[Any]]:
        if not segment.is_whole and connection is not None:
            try:
                packed = _cells(connection, segment.number, [*map(column_name, keys), HEADS[-1]])
                if HEADS[-1] in packed:
                    return {key: segment.column(key, packed) for key in keys}
            except (ValueError, sqlite3.Error):
                pass
        if not segment.is_whole:
            read_again(self._folder, segment)  # damaged, or written anew by another reader since
        return {key: segment.column(key, segment.packed) for key in keys}

    def list_keys(self) -> list[Key]:
        names: dict[str, None] = {}
        for segment in self._segments:
            if segment.is_whole:
                names.update(dict.fromkeys(segment.packed))
        if not all(segment.is_whole for segment in self._segments):
            with suppress(sqlite3.Error), self._index.opened() as connection:
                if connection is not None:
                    names.update((name, None) for (name,) in connection.execute("SELECT DISTINCT name FROM cell"))
        return [column_key(name) for name in names if name not in HEADS]


def _complete(connection: sqlite3.Connection | None, folder: str, segment: PackedSegment) -> None:
    """Get all columns of a segment."""
    packed = {} if connection is None else _cells(connection, segment.number)
    if set(HEADS) <= packed.keys():
        segment.packed = packed
    else:
        read_again(folder, segment)


def _to_be_joined(segments: Sequence[PackedSegment], fresh: Sequence[PackedSegment]) -> list[PackedSegment]:
    """Return those that are better written as one: the small ones, those mostly dead, and half empty ones if many."""
    everything = [*segments, *fresh]
    live = {segment.number: len(segment.names) - len(segment.dead) for segment in everything}
    mostly_dead = [segment for segment in segments if 2 * live[segment.number] < len(segment.names)]
    small = [segment for segment in everything if live[segment.number] <= SMALL]
    half_empty = [segment for segment in everything if 2 * live[segment.number] < SIZE]
    chosen = [*mostly_dead, *(small if len(small) > 1 else ())]
    if len(half_empty) >= MOST_HALF_EMPTY:
        chosen += half_empty
    return list({segment.number: segment for segment in chosen}.values())


def _cells(connection: sqlite3.Connection, number: int, names: Sequence[str] = ()) -> dict[str, bytes]:
    """Return columns of a segment, all where no names are given.

    Raises:
        ValueError: something else stands there.
    """
    query = "SELECT name, data FROM cell WHERE segment = ?"
    if names:
        query += f" AND name IN ({', '.join('?' * len(names))})"
    cells = dict(connection.execute(query, [number, *names]))
    if not all(isinstance(data, bytes) for data in cells.values()):
        raise _DamagedError("a column that is no bytes")
    return cells


def _is_unusable(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _UNUSABLE


def _remove_old(folder: str) -> None:
    """Remove what was not written for a long time: the folders that it was about are most likely gone."""
    long_ago = time.time() - KEPT_S
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("index-") and entry.stat().st_mtime < long_ago:
                os.unlink(entry.path)
