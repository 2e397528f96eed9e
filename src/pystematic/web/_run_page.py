"""The page of one run: its record, its files, what it has recorded beside numbers; and how runs differ."""

from __future__ import annotations

import os
import threading
import urllib.parse
from collections import OrderedDict

from pystematic import rundir
from pystematic.errors import UsageError
from pystematic.store import Run, diff_runs, replace_tags, set_note
from pystematic.web._errors import RequestError
from pystematic.web._folder import file_inside
from pystematic.web._json import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pystematic.web._schema import (
        Checkpoint,
        Comparison,
        FileEntry,
        Histogram,
        Labels,
        LogFile,
        Media,
        MediaItem,
        Metric,
        ParameterValue,
        Patch,
        RunError,
        RunLabels,
        RunPage,
        TableData,
        Tag,
        TagKind,
    )

MOST_FILES = 2000
# Bytes of a patch, and of a text or table that was recorded, that are shown in the page.
MOST_PATCH = 2 * 2**20
MOST_TEXT = 256 * 1024
MOST_ROWS = 1000
# The same for all items of an answer together; of each at least the least is shown.
ALL_TEXTS, LEAST_TEXT = 8 * 2**20, 4096
ALL_ROWS, LEAST_ROWS = 20_000, 20
# Runs of which is kept what they have recorded beside numbers.
KEPT_ITEMS = 64
MEDIA_KINDS: tuple[TagKind, ...] = ("image", "figure", "histogram", "text", "table")
# What a browser may show by itself, of all that may lie in a run directory; by the end of its name.
INLINE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


# -- one run ---------------------------------------------------------------------------------------------------------


def run_page(name: str, run: Run, media: Sequence[Tag]) -> RunPage:
    """Return all that is known of a run; what is damaged or missing in its directory is empty."""
    document = run.document
    sources = run.sources
    parent = _text_or_none(document.get("parent"))
    files, left_out = _files(name, run)
    environment = _mapping(to_json(run.environment))
    parameters: list[ParameterValue] = [
        {"name": key, "value": to_json(value), "source": sources.get(key)} for key, value in run.params.items()
    ]
    return {
        "id": name,
        "run_id": run.id,
        "experiment": run.experiment,
        "status": run.status,
        "path": str(run.path),
        "started_at": _seconds(run.started_at),
        "ended_at": _seconds(run.ended_at),
        "duration": run.duration,
        "exit_code": _int_or_none(document.get("exit_code")),
        "host": _text_or_none(document.get("host")),
        "command": _texts(document.get("argv")),
        "parent": parent,
        "sweep": parent.removeprefix("sweep ") if parent is not None and parent.startswith("sweep ") else None,
        "metric": _text_or_none(document.get("metric")),
        "error": _error(document.get("error")),
        "parameters": parameters,
        "metrics": [_metric(tag, numbers) for tag, numbers in run.summary.items()],
        "dropped": run.dropped,
        "damaged_lines": run.damaged_lines,
        **_labels(run),
        "attempts": [to_json(one) for one in _list(document.get("attempts")) if isinstance(one, dict)],
        "code": {
            "commit": _mapping(environment.get("git")).get("commit"),
            "branch": _mapping(environment.get("git")).get("branch"),
            "remote": _mapping(environment.get("git")).get("remote"),
            "code": to_json(document.get("code")),
            "program": to_json(document.get("program")),
        },
        "environment": environment,
        "has_patch": _size(run.dir.patch_file) > 0,
        "patch_size_bytes": _size(run.dir.patch_file),
        "logs": _logs(run),
        "checkpoints": _checkpoints(name, run),
        "files": files,
        "files_left_out": left_out,
        "media": list(media),
    }


def _labels(run: Run) -> RunLabels:
    return {
        "tags": list(run.tags),
        "given_tags": list(run.given_tags),
        "note": run.later_note,
        "given_note": run.given_note,
    }


def _metric(tag: str, numbers: Mapping[str, Any]) -> Metric:
    made: Any = {"tag": tag, **{name: to_json(value) for name, value in numbers.items()}}
    metric: Metric = made
    return metric


def _error(plain: object) -> RunError | None:
    if not isinstance(plain, dict):
        return None
    return {
        "type": str(plain.get("type") or ""),
        "message": str(plain.get("message") or ""),
        "traceback": str(plain.get("traceback") or ""),
    }


def _logs(run: Run) -> list[LogFile]:
    logs: list[LogFile] = []
    try:
        names = os.listdir(run.path)
    except OSError:
        return logs
    for name in names:
        rank = rank_of_log(name)
        if rank is not None:
            logs.append({"rank": rank, "size_bytes": _size(run.path / name)})
    return sorted(logs, key=lambda log: log["rank"])


def rank_of_log(name: str) -> int | None:
    """Return the rank that writes a log, by the name of the file; None for any other file."""
    digits = name.removeprefix("log.rank-").removesuffix(".txt")
    rank = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    return rank if rundir.RunDir("").log_file(rank).name == name else None


def _checkpoints(name: str, run: Run) -> list[Checkpoint]:
    checkpoints: list[Checkpoint] = []
    for entry in rundir.read_manifest(run.dir):
        file = str(entry.get("file"))
        relative = f"{run.dir.checkpoints_dir.name}/{file}"
        checkpoints.append(
            {
                "id": str(entry.get("id")),
                "file": relative,
                "step": to_json(entry.get("step")),
                "size_bytes": _int_or_none(entry.get("size")),
                "best": bool(entry.get("best")),
                "url": file_url(name, relative),
                "entry": to_json(entry),
            }
        )
    return checkpoints


def _files(name: str, run: Run) -> tuple[list[FileEntry], int]:
    """Return the files of a run directory, and how many are left out because there are too many."""
    files: list[FileEntry] = []
    left_out = 0
    root = str(run.path)
    for folder, folders, names in os.walk(root):
        folders.sort()
        for file in sorted(names):
            path = os.path.join(folder, file)
            try:
                found = os.stat(path)
            except OSError:  # gone by now, or a link that leads nowhere
                continue
            if len(files) >= MOST_FILES:
                left_out += 1
                continue
            relative = os.path.relpath(path, root).replace(os.sep, "/")
            files.append(
                {
                    "path": relative,
                    "size_bytes": found.st_size,
                    "changed_at": found.st_mtime,
                    "url": file_url(name, relative),
                    "inline": is_inline(relative),
                }
            )
    return files, left_out


def file_url(name: str, path: str) -> str:
    """Return the address of a file of a run, relative to the page."""
    quote = urllib.parse.quote
    return f"files/{quote(name, safe='')}/{quote(path.encode('utf-8', 'surrogateescape'), safe='/')}"


def is_inline(path: str) -> bool:
    """Tell whether the browser may show a file by itself."""
    return os.path.splitext(path)[1].lower() in INLINE_TYPES


def patch_of(name: str, run: Run) -> Patch:
    """Return the uncommitted changes that a run was started with, of many the beginning."""
    real = file_inside(run.path, run.dir.patch_file.name)
    if real is None:
        return {"text": "", "size_bytes": 0, "cut": False, "url": None}
    with open(real, "rb") as file:
        data = file.read(MOST_PATCH)
        size = os.fstat(file.fileno()).st_size
    return {
        "text": data.decode("utf-8", "replace"),
        "size_bytes": size,
        "cut": size > len(data),
        "url": file_url(name, run.dir.patch_file.name),
    }


# -- labels ----------------------------------------------------------------------------------------------------------


def change_labels(name: str, run: Run, request: Mapping[str, Any]) -> Labels:
    """Write the tags and the note of a run that a request has.

    Raises:
        RequestError: one is none, or they cannot be written.
    """
    tags, note = request.get("tags"), request.get("note")
    if tags is not None and (not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags)):
        raise RequestError(400, "tags must be a list of texts.", field="tags")
    if note is not None and not isinstance(note, str):
        raise RequestError(400, "note must be a text.", field="note")
    try:
        if tags is not None:
            replace_tags(run, tags)
        if note is not None:
            set_note(run, note)
    except UsageError as error:
        field = "tags" if tags is not None else "note"
        raise RequestError(400, str(error), field=field) from None
    return {"id": name, **_labels(run)}


# -- comparing -------------------------------------------------------------------------------------------------------


def compare(names: Sequence[str], runs: Sequence[Run]) -> Comparison:
    """Return all in which the records of runs differ."""
    found = diff_runs(runs)
    sections: Any = {
        section: [
            {"name": name, "values": [to_json(value) for value in values]}
            for name, values in found.get(section, {}).items()
        ]
        for section in ("parameters", "code", "packages", "metrics")
    }
    return {"runs": list(names), **sections}  # type: ignore[typeddict-item]


# -- beside numbers --------------------------------------------------------------------------------------------------


class Items:
    """What runs have recorded beside numbers; each file is read once, as far as it goes. For several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _RunItems] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, run: Run) -> list[rundir.Item]:
        """Return them in the order of time."""
        key = str(run.path)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = _RunItems(run)
                while len(self._kept) > KEPT_ITEMS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            kept = self._kept[key]
        return kept.read()


class _RunItems:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._files: dict[tuple[str, int], rundir.ItemFile] = {}
        self._items: list[rundir.Item] = []
        self._lock = threading.Lock()

    def read(self) -> list[rundir.Item]:
        with self._lock:
            found: dict[tuple[str, int], os.stat_result] = {}
            for path in self._run.dir.metrics_files():
                try:
                    state = os.stat(path)
                except OSError:
                    continue
                found[(str(path), state.st_ino)] = state
            is_other = any(key not in found or found[key].st_size < file.offset for key, file in self._files.items())
            if is_other:  # a resume has cut something off
                self._files, self._items = {}, []
            added: list[rundir.Item] = []
            for key in found:
                file = self._files.setdefault(key, rundir.ItemFile(key[0]))
                try:
                    added += file.read()
                except OSError:
                    continue
            if added:
                self._items = sorted([*self._items, *added], key=lambda item: item.time)
            return self._items


def scalar_tags(runs: Sequence[Run]) -> list[Tag]:
    """Return the tags of the series of runs, with how many runs have each."""
    counts: dict[str, int] = {}
    for run in runs:
        for tag in run.summary:
            counts[tag] = counts.get(tag, 0) + 1
    return [{"tag": tag, "kind": "scalar", "n_runs": count} for tag, count in counts.items()]


def media_tags(runs: Sequence[Run], items: Items) -> list[Tag]:
    """Return the tags of what was recorded beside numbers, by kind."""
    counts: dict[tuple[TagKind, str], int] = {}
    for run in runs:
        for kind, tag in dict.fromkeys((item.kind, item.tag) for item in items.of(run)):
            for known in MEDIA_KINDS:
                if kind == known:
                    counts[(known, tag)] = counts.get((known, tag), 0) + 1
    return [{"tag": tag, "kind": kind, "n_runs": count} for (kind, tag), count in counts.items()]


def media_of(
    name: str, run: Run, items: Items, *, tag: str | None, kind: str | None, first: int | None, count: int
) -> Media:
    """Return some of what a run has recorded beside numbers.

    Args:
        name: of the run.
        run: it.
        items: of all runs.
        tag, kind: only this; all when None.
        first: the number of the first that is wanted, from 0; counted from the end when negative. None for some that
            are spread over all of them, the first and the last one among them.
        count: how many at most.
    """
    found = [
        item
        for item in items.of(run)
        if item.kind != "params" and (tag is None or item.tag == tag) and (kind is None or item.kind == kind)
    ]
    if first is None:
        chosen = [found[number] for number in _spread_over(len(found), count)]
    else:
        start = max(0, len(found) + first) if first < 0 else first
        chosen = found[start : start + count]
    limits = _Limits(len(chosen))
    return {"n_items": len(found), "items": [_media_item(name, run, item, limits) for item in chosen]}


def _spread_over(total: int, count: int) -> list[int]:
    if total <= count:
        return list(range(total))
    return [total - 1] if count == 1 else [i * (total - 1) // (count - 1) for i in range(count)]


class _Limits:
    """How much of each of some items is shown."""

    def __init__(self, count: int) -> None:
        self.text = min(MOST_TEXT, max(LEAST_TEXT, ALL_TEXTS // max(1, count)))
        self.rows = min(MOST_ROWS, max(LEAST_ROWS, ALL_ROWS // max(1, count)))


def _media_item(name: str, run: Run, item: rundir.Item, limits: _Limits) -> MediaItem:
    relative = None if item.file is None else os.path.relpath(item.file, run.path).replace(os.sep, "/")
    real = None if relative is None else file_inside(run.path, relative)
    kind: Any = item.kind
    made: MediaItem = {
        "kind": kind,
        "tag": item.tag,
        "step": item.step,
        "time": item.time,
        "url": None if real is None or relative is None else file_url(name, relative),
        "inline": relative is not None and is_inline(relative),
        "size_bytes": None if real is None else _size(real),
        "cut": False,
        "fields": {key: to_json(value) for key, value in item.data.items() if key not in _SHOWN_APART},
    }
    if item.kind == "text":
        made["text"], made["cut"] = _text_of(item, real, limits.text)
    elif item.kind == "table":
        made["table"], made["cut"] = _table_of(item, real, limits.rows)
    elif item.kind == "histogram":
        made["histogram"] = _histogram_of(item)
    return made


_SHOWN_APART = frozenset(("text", "data", "columns", "edges", "counts", "listing"))


def _text_of(item: rundir.Item, real: str | None, most: int) -> tuple[str, bool]:
    text = item.data.get("text")
    if isinstance(text, str):
        return text[:most], len(text) > most
    if real is None:
        return "", False
    with open(real, "rb") as file:
        data = file.read(most)
        return data.decode("utf-8", "replace"), os.fstat(file.fileno()).st_size > len(data)


def _table_of(item: rundir.Item, real: str | None, most: int) -> tuple[TableData, bool]:
    if item.file is not None and real is None:
        return {"columns": [], "rows": []}, False
    try:
        columns, rows = rundir.read_table(item)
    except (OSError, ValueError):
        return {"columns": [], "rows": []}, False
    return {"columns": columns, "rows": [to_json(row) for row in rows[:most]]}, len(rows) > most


def _histogram_of(item: rundir.Item) -> Histogram:
    edges, counts = _list(item.data.get("edges")), _list(item.data.get("counts"))
    if not all(isinstance(number, int | float) and number - number == 0 for number in [*edges, *counts]):
        return {"edges": [], "counts": []}
    return {"edges": [float(edge) for edge in edges], "counts": [int(count) for count in counts]}


# -- plain values ----------------------------------------------------------------------------------------------------


def _size(path: str | os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _seconds(moment: datetime.datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _mapping(plain: object) -> dict[str, Any]:
    return plain if isinstance(plain, dict) else {}


def _list(plain: object) -> list[Any]:
    return plain if isinstance(plain, list) else []


def _texts(plain: object) -> list[str]:
    return [str(item) for item in plain] if isinstance(plain, list) else []


def _text_or_none(plain: object) -> str | None:
    return plain if isinstance(plain, str) else None


def _int_or_none(plain: object) -> int | None:
    return plain if isinstance(plain, int) and not isinstance(plain, bool) else None
