"""`Table`: the runs of one folder as columns, made of segments. Knows how a field is derived from what was read.

A row is the number of a run in it; the segments follow each other.
"""

from __future__ import annotations

import abc
import os
import time

from pystematic.store._facts import FIXED
from pystematic.store._query_tree import MISSING
from pystematic.store._reading import BROKEN, ENDED, NOTHING, RUNNING, signature_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from typing import Any

    from pystematic.store._facts import Key

    Columns = dict[Key, list[Any]]

# What stands beside a kind where a change may have been too recent to be told from the next one.
UNSETTLED = 4
KIND = UNSETTLED - 1
_DURATION_PARTS = (("fixed", "started_at"), ("fixed", "ended_at"))


class Segment:
    """Some runs, read at one time.

    Attributes:
        number: its own, never used again.
        names: the path of each relative to the folder, with ``/``.
        changed_ns: the last change of each directory.
        signatures: see `Reading`.
        kinds: see `Reading`, with UNSETTLED.
        dead: rows that were read again, or are gone.
        is_changed: whether a row has died since the segment was stored.
    """

    def __init__(
        self, number: int, names: list[str], changed_ns: list[int], signatures: list[int], kinds: list[int]
    ) -> None:
        self.number = number
        self.names = names
        self.changed_ns = changed_ns
        self.signatures = signatures
        self.kinds = kinds
        self.dead: set[int] = set()
        self.is_changed = False

    def live_rows(self) -> list[int]:
        """Return the rows that count."""
        rows = range(len(self.names))
        return [row for row in rows if row not in self.dead] if self.dead else list(rows)


class ColumnReader(abc.ABC):
    """Reads the columns of some segments, one after the other."""

    @abc.abstractmethod
    def read(self, keys: Collection[Key]) -> Columns:
        """Return columns as they were read, those of `columns_of`; `MISSING` where a run has no value."""

    @abc.abstractmethod
    def list_keys(self) -> Iterable[Key]:
        """Return the keys of all columns that there are."""


class Table:
    """The runs of a folder.

    Attributes:
        folder: its absolute path.
        names: the path of each row relative to the folder.
        rows: those that are runs, in the order of their start.
        damaged: how many directories hold a run.json that cannot be understood.
        is_looked_at: whether the files of every run were looked at just now.
        now: when the runs that are running were looked at, in seconds since 1970.
    """

    def __init__(self, folder: str, segments: Sequence[Segment], columns: ColumnReader) -> None:
        self.folder = folder
        self.is_looked_at = False
        self.now = time.time()
        self.names: list[str] = []
        self.kinds: list[int] = []
        self.signatures: list[int] = []
        live: list[int] = []
        for segment in segments:
            start = len(self.names)
            self.names += segment.names
            self.kinds += segment.kinds
            self.signatures += segment.signatures
            live += [start + row for row in segment.live_rows()] if segment.dead else range(start, len(self.names))
        self._reader = columns
        self._columns: Columns = {}
        kinds = self.kinds
        self._live = live
        is_plain = set(kinds) <= {ENDED}  # nearly always, and there may be very many
        self._unordered = live if is_plain else [row for row in live if kinds[row] & KIND >= ENDED]
        self.damaged = 0 if is_plain else sum(kinds[row] & KIND == BROKEN for row in live)
        self._rows: list[int] | None = None

    @property
    def rows(self) -> list[int]:
        if self._rows is None:
            self._rows = self.in_order(self._unordered)
        return self._rows

    @property
    def unordered_rows(self) -> list[int]:
        """The same as `rows`, in any order."""
        return self._unordered

    def in_order(self, rows: Iterable[int]) -> list[int]:
        """Return rows in the order of their start, those of unknown start first, and of their ids."""
        started, names = self.column(("started_at",)), self.names
        first = float("-inf")
        keyed = [(first if started[row] is None else started[row], names[row].rpartition("/")[2], row) for row in rows]
        keyed.sort()
        return [row for _, _, row in keyed]

    def path(self, row: int) -> str:
        """Return the absolute path of a run's directory."""
        return os.path.join(self.folder, self.names[row])

    def kind(self, row: int) -> int:
        """Return what the directory is; see `Reading`."""
        return self.kinds[row] & KIND

    def run_names(self) -> list[str]:
        """Return the paths, relative to the folder, of all directories that hold a run.json, readable or not."""
        return [self.names[row] for row in self._live if self.kind(row) != NOTHING]

    def changed_names(self, rows: Iterable[int]) -> set[str]:
        """Return which of some ended runs have changed since they were read, by the state of their files."""
        if self.is_looked_at:
            return set()
        return {
            self.names[row]
            for row in rows
            if self.kind(row) == ENDED and signature_of(self.path(row), ENDED) != self.signatures[row]
        }

    def known_names(self) -> tuple[list[str], list[str]]:
        """Return the names of all parameters and metrics that a run has, or had lately."""
        params: dict[str, None] = {}
        tags: dict[str, None] = {}
        for head, *rest in self._reader.list_keys():
            if head == "params":
                params[rest[0]] = None
            elif head == "metrics":
                tags[rest[0]] = None
        return list(params), list(tags)

    def read_values(self, rows: Iterable[int]) -> list[dict[Key, Any]]:
        """Return all that was read of each run, by the keys of `columns_of`."""
        columns = self._reader.read(list(self._reader.list_keys()))
        return [{key: column[row] for key, column in columns.items() if column[row] is not MISSING} for row in rows]

    # -- columns ---------------------------------------------------------------------------------------------------

    def columns(self, keys: Iterable[Key]) -> Columns:
        """Return the columns of some fields of the query language."""
        wanted = list(keys)
        self._read({part for key in wanted for part in _parts_of(key)})
        return {key: self.column(key) for key in wanted}

    def column(self, key: Key) -> list[Any]:
        """Return the values of all rows for a field of the query language; `MISSING` where there is none."""
        if key not in self._columns:
            self._read(_parts_of(key))
            self._columns[key] = self._derive(key)
        return self._columns[key]

    def _read(self, parts: Iterable[Key]) -> None:
        absent = [part for part in parts if part not in self._columns]
        if absent:
            self._columns.update(self._reader.read(absent))

    def _derive(self, key: Key) -> list[Any]:
        head = key[0]
        columns = self._columns
        if head == "id":
            return [name.rpartition("/")[2] for name in self.names]
        if head == "path":
            return [self.path(row) for row in range(len(self.names))]
        if head == "sources":
            return [_source(sources, key[1]) for sources in columns[("sources",)]]
        if head == "sweep":
            return [
                parent[len("sweep ") :] if parent is not None and parent.startswith("sweep ") else None
                for parent in columns[("fixed", "parent")]
            ]
        if head == "status":
            return self._statuses()
        if head == "duration":
            return self._durations()
        (part,) = _parts_of(key)
        return columns[part]

    def _statuses(self) -> list[Any]:
        """Return what a person would call the status now."""
        states = self._columns[("fixed", "state")]
        running = [row for row in self._unordered if self.kind(row) == RUNNING]
        if not running:
            return states
        from pystematic import rundir
        from pystematic.store._status import is_lost  # while nothing runs, none of it is needed

        states = list(states)
        hosts, pids = self._columns[("fixed", "host")], self._columns[("fixed", "pid")]
        for row in running:
            document = {"host": hosts[row], "pid": pids[row]}
            if is_lost(rundir.RunDir(self.path(row)), document):
                states[row] = "lost"
        return states

    def _durations(self) -> list[Any]:
        started, ended = (self._columns[part] for part in _DURATION_PARTS)
        durations: list[Any] = [
            None if start is None or end is None else end - start for start, end in zip(started, ended, strict=True)
        ]
        running = [row for row in self._unordered if self.kind(row) == RUNNING and ended[row] is None]
        if running:
            states = self.column(("status",))
            for row in running:
                if states[row] == "running" and started[row] is not None:
                    durations[row] = self.now - started[row]
        return durations


def _parts_of(key: Key) -> tuple[Key, ...]:
    """Return what has to be read for a field."""
    head = key[0]
    if head in ("id", "path"):
        return ()
    if head in ("params", "metrics"):
        return (key,)
    if head == "sources":
        return (("sources",),)
    if head == "error":
        return (("fixed", f"error.{key[1]}"),)
    if head == "sweep":
        return (("fixed", "parent"),)
    if head == "status":
        return ("fixed", "state"), ("fixed", "host"), ("fixed", "pid")
    if head == "duration":
        return (*_DURATION_PARTS, ("fixed", "state"), ("fixed", "host"), ("fixed", "pid"))
    return (("fixed", head),) if head in FIXED else ()


def _source(sources: Any, name: str) -> Any:
    if not isinstance(sources, dict) or name not in sources:
        return MISSING
    return str(sources[name])
