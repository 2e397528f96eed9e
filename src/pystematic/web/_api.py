"""`Api`: what the page can ask, as plain functions. Knows no HTTP but its status codes."""

from __future__ import annotations

import os
import time

from pystematic._version import __version__
from pystematic.rundir import sweep_names
from pystematic.store import Snapshot
from pystematic.web._errors import RequestError
from pystematic.web._folder import Folder, file_inside
from pystematic.web._live import Watcher
from pystematic.web._log import MOST_LINES, Logs
from pystematic.web._run_page import (
    Items,
    change_labels,
    compare,
    media_of,
    media_tags,
    patch_of,
    run_page,
    scalar_tags,
)
from pystematic.web._series import SeriesReader
from pystematic.web._sweeps import list_sweeps, sweep_page
from pystematic.web._table import TableMaker, TableQuestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pystematic.web._schema import (
        BandsAnswer,
        Column,
        Comparison,
        Labels,
        LogWindow,
        Media,
        Patch,
        RunPage,
        SeriesAnswer,
        Session,
        SweepList,
        SweepPage,
        Table,
        Tag,
    )

    # The query of an address: each name with all of its values.
    Query = Mapping[str, Sequence[str]]

MOST_COMPARED = 200
DEFAULT_LOG_LINES = 200
DEFAULT_MEDIA = 200


class Api:
    """Answers for one folder. For several threads at once.

    Attributes:
        folder: it.
        watcher: tells what changes in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.folder = Folder(path)
        self.watcher = Watcher(self.folder)
        self._series = SeriesReader(self.folder.run)
        self._items = Items()
        self._logs = Logs()
        self._maker: TableMaker | None = None

    def close(self) -> None:
        """End what runs in the background."""
        self.watcher.close()

    # -- all runs --------------------------------------------------------------------------------------------------

    def session(self) -> Session:
        """Return what is shown."""
        snapshot = self.folder.snapshot()
        return {
            "version": __version__,
            "root": self.folder.path,
            "name": os.path.basename(self.folder.path) or self.folder.path,
            "n_runs": len(snapshot.states),
            "n_running": len(snapshot.running),
            "damaged": list(snapshot.damaged),
            "n_sweeps": len(sweep_names(self.folder.path)),
            "pid": os.getpid(),
            "now": time.time(),
        }

    def columns(self) -> list[Column]:
        """Return all columns."""
        with self.folder.lock:
            return self._table_maker().columns

    def table(self, query: Query) -> Table:
        """Return a window of the table."""
        question = _question(query)
        with self.folder.lock:
            return self._table_maker().table(question)

    def table_csv(self, query: Query) -> bytes:
        """Return all of the table."""
        question = _question(query)
        with self.folder.lock:
            return self._table_maker().csv(question)

    def _table_maker(self) -> TableMaker:
        snapshot: Snapshot = self.folder.recent()
        if self._maker is None or self._maker.snapshot is not snapshot:
            self._maker = TableMaker(snapshot)
        return self._maker

    # -- some runs -------------------------------------------------------------------------------------------------

    def tags(self, request: Mapping[str, Any]) -> list[Tag]:
        """Return what some runs have recorded."""
        runs = [self.folder.run(name) for name in _names(request)]
        kinds = request.get("kinds")
        wanted = None if kinds is None else {str(kind) for kind in kinds} if isinstance(kinds, list) else set()
        found: list[Tag] = []
        if wanted is None or "scalar" in wanted:
            found += scalar_tags(runs)
        if wanted is None or wanted - {"scalar"}:
            found += [tag for tag in media_tags(runs, self._items) if wanted is None or tag["kind"] in wanted]
        return found

    def series(self, request: Any) -> SeriesAnswer:
        """Return series for a chart."""
        return self._series.series(request)

    def bands(self, request: Any) -> BandsAnswer:
        """Return mean and spread of groups for a chart."""
        return self._series.bands(request)

    def compare(self, request: Mapping[str, Any]) -> Comparison:
        """Return how some runs differ."""
        names = _names(request)
        if len(names) > MOST_COMPARED:
            message = f"{len(names)} runs are too many to compare. Choose {MOST_COMPARED}."
            raise RequestError(400, message, field="runs")
        return compare(names, [self.folder.run(name) for name in names])

    # -- one run ---------------------------------------------------------------------------------------------------

    def run(self, name: str) -> RunPage:
        """Return all of a run but its log, patch and media."""
        run = self.folder.run(name)
        return run_page(name, run, media_tags([run], self._items))

    def log(self, name: str, query: Query) -> LogWindow:
        """Return lines of a log."""
        run = self.folder.run(name)
        rank = _int(query, "rank", 0)
        path = file_inside(run.path, run.dir.log_file(rank).name)
        if path is None:
            if rank == 0:
                return {"size_bytes": 0, "n_lines": 0, "lines": [], "next": None}
            raise RequestError(404, f"there is no log of rank {rank}.", field="rank")
        count = max(0, min(_int(query, "lines", DEFAULT_LOG_LINES), MOST_LINES))
        text = _text(query, "search")
        if text:
            return self._logs.search(path, text, _int(query, "after", 0), count)
        return self._logs.window(path, _int(query, "from", 1) if "from" in query else None, count)

    def patch(self, name: str) -> Patch:
        """Return the uncommitted changes."""
        return patch_of(name, self.folder.run(name))

    def media(self, name: str, query: Query) -> Media:
        """Return what was recorded beside numbers."""
        run = self.folder.run(name)
        tag = query["tag"][0] if query.get("tag") else None
        count = max(0, min(_int(query, "limit", DEFAULT_MEDIA), 1000))
        first = _int(query, "offset", 0) if "offset" in query else None
        kind = _text(query, "kind") or None
        return media_of(name, run, self._items, tag=tag, kind=kind, first=first, count=count)

    def change_labels(self, name: str, request: Mapping[str, Any]) -> Labels:
        """Write tags and note of a run."""
        labels = change_labels(name, self.folder.run(name), request)
        self.folder.snapshot(is_new=True)
        return labels

    def file(self, name: str, path: str) -> str:
        """Return the real path of a file of a run.

        Raises:
            RequestError: there is none, or it lies elsewhere.
        """
        found = file_inside(self.folder.run(name).path, path)
        if found is None:
            raise RequestError(404, f"there is no file {path!r} in the run {name!r}.")
        return found

    # -- sweeps ----------------------------------------------------------------------------------------------------

    def sweeps(self) -> SweepList:
        """Return all sweeps."""
        return list_sweeps(self.folder.path)

    def sweep(self, name: str) -> SweepPage:
        """Return one sweep."""
        return sweep_page(self.folder.path, name)


def _question(query: Query) -> TableQuestion:
    return TableQuestion(
        where=_text(query, "where"),
        sort=_text(query, "sort"),
        group_by=tuple(query.get("group_by", ())),
        columns=tuple(query.get("columns", ())),
        offset=max(0, _int(query, "offset", 0)),
        limit=max(0, _int(query, "limit", 200)),
    )


def _names(request: Mapping[str, Any]) -> list[str]:
    names = request.get("runs")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(400, "runs must be a list of the ids of runs.", field="runs")
    return names


def _text(query: Query, field: str) -> str:
    values = query.get(field)
    return values[0] if values else ""


def _int(query: Query, field: str, default: int) -> int:
    text = _text(query, field)
    if not text:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise RequestError(400, f"{field} must be a whole number, got {text[:40]!r}.", field=field)
    return int(text)
