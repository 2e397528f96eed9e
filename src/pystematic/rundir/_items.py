"""What is recorded beside numbers: pictures, histograms, texts, tables, files, parameters; writer beside reader.

Each is one line in `metrics*.jsonl` that begins with its kind; what is too large for a line lies in a file that the
line names. Knows no recorder, and nothing of how a picture is made.
"""

from __future__ import annotations

import json
import math
import os

from pystematic._record import record

from ._codec import MARK, decode, encode
from ._files import strict_json
from ._layout import RunDir
from ._lines import LineFile
from ._tags import exact_tag, is_unicode, parse_exact_tag, shown_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

KINDS = ("image", "figure", "histogram", "text", "table", "artifact", "dataset", "params")

# How lines of other kinds begin, so that they are found without a look at every line.
_BEGIN = b'{"kind":'
_OWN_FIELDS = ("kind", "tag", "exact_tag", "step", "time", "file")


@record
class Item:
    """One thing that was recorded and is no number.

    Attributes:
        kind: image, figure, histogram, text, table, artifact, dataset or params.
        tag: what it was recorded under; the name of a file or data set; empty for parameters.
        step: int or float.
        time: seconds since 1970.
        data: what the line says of it, by kind; see the reference.
        file: where it lies, None when all of it is in ``data``. It may be missing, in a copy of a part of a run.
        source: the name of the file of series that says so, which tells the process that recorded it.
    """

    kind: str
    tag: str
    step: int | float
    time: float
    data: dict[str, Any]
    file: Path | None
    source: str = ""


def encode_json(value: object) -> Any:
    """Return any value as strict JSON from which `Item.data` brings it back; see `encode`."""
    return _mark_specials(encode(value))


def _mark_specials(plain: Any) -> Any:
    if isinstance(plain, float) and not math.isfinite(plain):
        return {MARK: "float", "value": str(plain)}
    if isinstance(plain, dict):
        return {key: _mark_specials(item) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_mark_specials(item) for item in plain]
    return plain


def _unmark_specials(plain: Any) -> Any:
    if isinstance(plain, dict):
        if plain.get(MARK) == "float" and plain.get("value") in ("nan", "inf", "-inf"):
            return float(plain["value"])
        return {key: _unmark_specials(item) for key, item in plain.items()}
    if isinstance(plain, list):
        return [_unmark_specials(item) for item in plain]
    return plain


def format_item(item: Item, folder: str | os.PathLike[str]) -> bytes:
    """Return the line of an item; its ``data`` is JSON-like, by `encode_json` where it may be odd."""
    tag, exact = (item.tag, None) if is_unicode(item.tag) else (shown_tag(item.tag), exact_tag(item.tag))
    plain: dict[str, Any] = {"kind": item.kind, "tag": tag}
    if exact is not None:
        plain["exact_tag"] = exact
    plain.update(step=item.step, time=item.time)
    if item.file is not None:
        plain["file"] = os.path.relpath(item.file, folder).replace(os.sep, "/")
    plain.update(strict_json(item.data))
    return json.dumps(plain, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def _parse_item(plain: object, folder: Path, source: str) -> Item:
    """Read the JSON of a line.

    Raises:
        ValueError, KeyError, TypeError, OverflowError: it is damaged.
    """
    if not isinstance(plain, dict):
        raise ValueError("no record")
    kind, tag, step, time = plain["kind"], plain["tag"], plain["step"], plain["time"]
    if "exact_tag" in plain:
        tag = parse_exact_tag(plain["exact_tag"])
    numbers = all(isinstance(number, int | float) and math.isfinite(number) for number in (step, time))
    if not isinstance(kind, str) or not isinstance(tag, str) or not numbers:
        raise ValueError("a field is of the wrong type")
    file = plain.get("file")
    data = {name: value for name, value in plain.items() if name not in _OWN_FIELDS}
    return Item(
        kind, tag, step, float(time), decode(_unmark_specials(data)), _inside(folder, file) if file else None, source
    )


def _inside(folder: Path, name: object) -> Path:
    """Return the path of a file that a line names: whoever wrote it, it does not lead out of the run directory."""
    if not isinstance(name, str) or "\0" in name or "\\" in name or ":" in name.split("/")[0]:
        raise ValueError("no name of a file")
    parts = name.split("/")
    if not all(part and part not in (".", "..") for part in parts):
        raise ValueError("a file outside of the run")
    return folder.joinpath(*parts)


class ItemFile:
    """What one file of series that may still be growing holds beside numbers.

    Each reading goes on where the one before ended.
    """

    def __init__(self, path: str | os.PathLike[str], offset: int = 0) -> None:
        self._lines = LineFile(path, offset)
        self._folder = RunDir(os.path.dirname(self._lines.path)).path
        self._source = os.path.basename(self._lines.path)

    @property
    def offset(self) -> int:
        """Bytes read so far."""
        return self._lines.offset

    def read(self, *, to_end: bool = False) -> Iterator[Item]:
        """Yield what has been added. Damaged lines are passed over; `SeriesFile` counts them.

        Args:
            to_end: take a last line without its end too.

        Raises:
            OSError: the file cannot be read.
        """
        for part in self._lines.read_parts(to_end=to_end):
            if _BEGIN not in part:
                continue
            for line in part.split(b"\n"):
                if not line.startswith(_BEGIN):
                    continue
                try:
                    item = _parse_item(json.loads(line.decode()), self._folder, self._source)
                except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                    continue
                yield item


def read_items(folder: str | os.PathLike[str]) -> list[Item]:
    """Return all that was recorded in a run directory and is no number, of all its processes, in the order of time.

    Nothing that is damaged or missing raises.
    """
    items: list[Item] = []
    for path in RunDir(folder).metrics_files():
        try:
            items.extend(ItemFile(path).read(to_end=True))
        except OSError:
            continue
    items.sort(key=lambda item: item.time)
    return items


def read_table(item: Item) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and the rows of a recorded table, from its line or its file.

    Raises:
        ValueError: it is damaged, or no table.
        OSError: its file cannot be read.
    """
    plain: object = item.data
    if item.file is not None:
        with open(item.file, "rb") as file:
            try:
                plain = _unmark_specials(json.loads(file.read()))
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
    if item.kind != "table" or not isinstance(plain, dict):
        raise ValueError("no table")
    columns, rows = plain.get("columns"), plain.get("data")
    if not isinstance(columns, list) or not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
        raise ValueError("no table")
    return [str(column) for column in columns], rows
