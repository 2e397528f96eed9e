"""What is recorded beside numbers: each kind takes a snapshot in the program, and is encoded and stored by a thread.

Pictures and files have modules of their own. Knows no thread, and of files only where `Place` makes them.
"""

from __future__ import annotations

import math
import os

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any, Protocol
else:
    Protocol = object

# Larger ones lie in a file of their own, so that reading numbers stays fast.
LINE_LIMIT_BYTES = 16 << 10


class Snapshot(Protocol):
    """One thing as it was when it was recorded. Made in the program, stored in a thread."""

    kind: str
    size_bytes: int
    """About what it holds in memory until it is stored."""

    def store(self, place: Place) -> dict[str, Any]:
        """Return the fields of its line, once all files that they name are written.

        Raises:
            Exception: whatever goes wrong; it costs this one only, and leaves no file.
        """


class Place:
    """Where one snapshot is stored: makes its files in the run directory, under names that nobody has.

    Attributes:
        folder: the run directory.
        tag: what is stored under it.
        file: what the line will name, once it is made.
        on_progress: to be called again and again by what takes long.
    """

    def __init__(
        self,
        folder: str,
        tag: str,
        step: int | float,
        *,
        on_progress: Callable[[], None],
        mask: Callable[[Any], Any] | None = None,
    ) -> None:
        self.folder = folder
        self.tag = tag
        self.file: Path | None = None
        self.on_progress = on_progress
        self._step = step
        self._mask = mask

    def mask(self, plain: Any) -> Any:
        """Return a text, or what is made of lists, dicts and texts, without secrets."""
        return plain if self._mask is None else self._mask(plain)

    def write(self, kind: str, suffix: str, content: bytes) -> Path:
        """Write a file and make it the one that the line names."""
        descriptor, self.file = rundir.create_item_file(self.folder, kind, self.tag, self._step, suffix)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
        except BaseException:
            remove_quietly(self.file)
            raise
        return self.file


def remove_quietly(path: str | os.PathLike[str]) -> None:
    try:
        os.unlink(path)
    except OSError:
        return


class Text:
    """A text. Long ones become a file."""

    kind = "text"

    def __init__(self, text: Any) -> None:
        self._text = text if type(text) is str else str(text)
        self.size_bytes = len(self._text)

    def store(self, place: Place) -> dict[str, Any]:
        content = str(place.mask(self._text)).encode("utf-8", "backslashreplace")
        if len(content) <= LINE_LIMIT_BYTES:
            return {"text": content.decode()}
        place.write(self.kind, ".txt", content)
        return {"size_bytes": len(content)}


class Params:
    """Parameters beside those of the run, by name."""

    kind = "params"

    def __init__(self, params: Mapping[str, Any]) -> None:
        self._plain = rundir.encode_json({str(name): value for name, value in params.items()})
        self.size_bytes = 1000

    def store(self, place: Place) -> dict[str, Any]:
        return {"params": place.mask(self._plain)}


class Histogram:
    """How often values lie where: ``bins`` of equal width over the finite ones; the others are counted apart."""

    kind = "histogram"

    def __init__(self, values: Any, bins: int) -> None:
        if isinstance(bins, bool) or not isinstance(bins, int) or not 1 <= bins <= 10_000:
            raise ValueError(f"bins={bins!r}: expected a whole number from 1 to 10000")
        self._values = copy_of(values)
        self._bins = bins
        self.size_bytes = size_of(self._values)

    def store(self, place: Place) -> dict[str, Any]:
        import numpy as np

        values = np.asarray(read_array(self._values)).ravel()
        if values.dtype.kind == "c":  # numpy would leave out the imaginary parts
            raise TypeError(f"{values.dtype.name} values are no real numbers")
        if values.dtype.kind not in "bifu":
            values = values.astype(np.float64)
        if values.dtype.kind == "f":
            special = {
                "nan": int(np.isnan(values).sum()),
                "inf": int(np.isposinf(values).sum()),
                "-inf": int(np.isneginf(values).sum()),
            }
            values = values[np.isfinite(values)]
        else:
            special = {"nan": 0, "inf": 0, "-inf": 0}
        values = values.astype(np.float64)
        fields: dict[str, Any] = {"edges": [], "counts": [], "count": len(values), **special}
        if not len(values):
            return fields
        low, high = float(values.min()), float(values.max())
        if low == high:  # a width of its own, like numpy's, but in proportion to the value
            half = abs(low) / 2 or 0.5
            edges = np.linspace(low - half, high + half, self._bins + 1)
        else:
            # Not `np.histogram`'s own: it fails where high - low is more than the largest float.
            shares = np.linspace(0.0, 1.0, self._bins + 1)
            edges = low * (1 - shares) + high * shares
        edges = np.unique(edges)  # of neighbouring floats there are not as many
        counts = np.histogram(values, bins=edges)[0] if len(edges) > 1 else np.array([len(values)])
        scale = max(abs(low), abs(high)) or 1.0
        fields.update(
            edges=[float(edge) for edge in edges],
            counts=[int(count) for count in counts],
            min=low,
            max=high,
            mean=float((values / scale).mean() * scale),
            std=float((values / scale).std() * scale),
        )
        return fields


class Table:
    """Rows under names. Long ones become a file."""

    kind = "table"

    def __init__(self, rows: Any) -> None:
        self._columns, self._cells = _read_columns(rows)
        if len(set(map(len, self._cells))) > 1:
            lengths = ", ".join(f"{name}: {len(cells)}" for name, cells in zip(self._columns, self._cells, strict=True))
            raise ValueError(f"the columns of a table are of different lengths ({lengths})")
        self.size_bytes = 100 * sum(map(len, self._cells))

    def store(self, place: Place) -> dict[str, Any]:
        import json

        cells = [list(map(_plain_cell, column)) for column in self._cells]
        rows = place.mask([list(row) for row in zip(*cells, strict=True)])
        plain = rundir.strict_json({"columns": self._columns, "data": rows})
        content = json.dumps(plain, allow_nan=False, separators=(",", ":")).encode("ascii")
        if len(content) <= LINE_LIMIT_BYTES:
            fields: dict[str, Any] = plain
            return fields
        place.write(self.kind, ".json", content)
        return {"columns": self._columns, "rows": len(rows)}


def _read_columns(rows: Any) -> tuple[list[str], list[list[Any]]]:
    """Return the names of a table's columns and their cells, in lists that belong to the caller."""
    if hasattr(rows, "to_dict") and hasattr(
        rows, "columns"
    ):  # a frame of pandas, whose names may be equal, or of polars
        columns = list(rows.columns)
        if hasattr(rows, "iloc"):
            if type(rows.index).__name__ != "RangeIndex" or rows.index.name is not None:  # more than line numbers
                rows = rows.reset_index(allow_duplicates=True)
                columns = list(rows.columns)
            return list(map(str, columns)), [rows.iloc[:, i].tolist() for i in range(len(columns))]
        return columns, [rows[name].to_list() for name in columns]
    if hasattr(rows, "items"):
        return list(map(str, rows)), [_cells_of(cells) for cells in rows.values()]
    listed = list(rows)
    if not all(hasattr(row, "items") for row in listed):
        raise TypeError("a table is a list of dicts, a dict of columns, or a frame of pandas or polars")
    found: dict[str, list[Any]] = {}
    for number, row in enumerate(listed):
        for name, cell in row.items():
            found.setdefault(str(name), [None] * number).append(cell)
        for cells in found.values():
            if len(cells) == number:
                cells.append(None)
    return list(found), list(found.values())


def _cells_of(cells: Any) -> list[Any]:
    if isinstance(cells, str | bytes) or not hasattr(cells, "__iter__"):
        raise TypeError(f"a column of a table is a list, got {type(cells).__name__}")
    if hasattr(cells, "detach"):
        cells = cells.detach()
    return list(cells.tolist() if hasattr(cells, "tolist") else cells)


def _plain_cell(cell: Any) -> Any:
    """Return a cell as a number, text, bool or None. NaN is None, as for pandas; what is none of them is its text."""
    if cell is None or isinstance(cell, bool):
        return cell
    if hasattr(cell, "item") and not isinstance(cell, int | float):
        try:
            cell = cell.item()
        except Exception:  # an array of several elements
            return str(cell)
    if isinstance(cell, float):
        if cell != cell:
            return None
        return float(cell) if math.isfinite(cell) else rundir.encode_json(float(cell))
    if isinstance(cell, int):
        return bool(cell) if isinstance(cell, bool) else int(cell)
    if isinstance(cell, str):
        return cell.encode("utf-8", "backslashreplace").decode()
    if hasattr(cell, "isoformat"):
        text = cell.isoformat()
        return None if text == "NaT" else text
    try:
        text = str(cell)
    except Exception:
        text = f"<{type(cell).__name__}>"
    return None if text == "<NA>" else text


def copy_of(values: Any) -> Any:
    """Return what keeps the numbers that an array, a tensor or a sequence has now, without waiting for a device."""
    if hasattr(values, "detach"):
        return values.detach().clone()
    if isinstance(values, int | float):
        return [values]
    if hasattr(values, "__array__") or hasattr(values, "copy"):
        return values.copy()
    return list(values)


def read_array(values: Any) -> Any:
    """Return what was copied as something that numpy reads; waits for the device of a tensor."""
    if hasattr(values, "detach"):
        values = values.cpu()
        if values.dtype.is_floating_point and values.element_size() < 4:
            values = values.float()  # numpy has no bfloat16
        return values.resolve_conj().resolve_neg().numpy()
    return values


def size_of(values: Any) -> int:
    """Return about how many bytes an array, a tensor or a list holds."""
    size = getattr(values, "nbytes", None)
    return size if isinstance(size, int) else 64 * len(values) if hasattr(values, "__len__") else 1000
