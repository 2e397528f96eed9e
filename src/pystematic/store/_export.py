"""Runs and their series as files for other programs: CSV, JSON, Parquet. The one place that imports pyarrow."""

from __future__ import annotations

import json
import os

from pystematic import rundir
from pystematic.errors import UsageError
from pystematic.store._frame import encodable, frame_columns, uniform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.store._runs import Runs

FORMATS = ("csv", "json", "parquet")
SERIES_COLUMNS = ("run", "tag", "step", "time", "value")


def run_table(runs: Runs, statistics: Sequence[str]) -> dict[str, list[Any]]:
    """Return runs as columns, one row a run; times as texts of ISO 8601 in UTC."""
    columns = frame_columns(runs, statistics)
    for name in ("started_at", "ended_at"):
        columns[name] = [None if time is None else rundir.format_time(time) for time in columns[name]]
    return columns


def series_table(runs: Runs, tags: Sequence[str]) -> dict[str, list[Any]]:
    """Return the points of series as columns, one row a point; of all tags where none are given.

    Raises:
        UsageError: no run has recorded one of the tags.
    """
    columns: dict[str, list[Any]] = {name: [] for name in SERIES_COLUMNS}
    missing = set(tags)
    for run in runs:
        for tag in tags or run.summary:
            series = run.metrics(tag)
            count = len(series)
            missing.discard(tag) if count else None
            columns["run"] += [run.id] * count
            columns["tag"] += [tag] * count
            for name in ("step", "time", "value"):
                numbers = getattr(series, name)
                columns[name] += numbers.tolist() if hasattr(numbers, "tolist") else list(numbers)
    if missing:
        from pystematic._words import did_you_mean

        tag = min(missing)
        known = runs.known_names()[1]
        raise UsageError(f"no run has recorded {tag!r}.{did_you_mean(tag, known)}")
    return columns


def format_of(path: str) -> str:
    """Return which format the name of a file asks for.

    Raises:
        UsageError: none that can be written.
    """
    suffix = os.path.splitext(path)[1].lower().removeprefix(".")
    if suffix not in FORMATS:
        endings = ", ".join(f".{name}" for name in FORMATS)
        raise UsageError(f"{path!r} is no file that can be written. Name one that ends in {endings}.")
    return suffix


def format_columns(columns: dict[str, list[Any]], form: str) -> bytes:
    """Return columns as the content of a file.

    JSON is a list of objects; NaN and infinities are null there. In CSV they are ``nan``, ``inf`` and ``-inf``, and
    lists and tables are JSON. In Parquet a column whose values are of several types is text.

    Raises:
        UsageError: pyarrow is not installed, for Parquet.
    """
    if form == "parquet":
        return _parquet(columns)
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    if form == "json":
        lines = ",\n ".join(json.dumps({name: _finite(value) for name, value in row.items()}) for row in rows)
        return f"[{lines}]\n".encode("ascii")
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_cell, columns))
    writer.writerows([_cell(value) for value in values] for values in zip(*columns.values(), strict=True))
    return out.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | dict):
        return json.dumps(value)
    if isinstance(value, int):
        return value if value.bit_length() < 10_000 else hex(value)
    # Halves of a character cannot be written.
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and value - value != 0:
        return None
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, int) and value.bit_length() >= 10_000:
        return hex(value)
    return value


def _parquet(columns: dict[str, list[Any]]) -> bytes:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise UsageError("a .parquet file needs pyarrow, which is not installed: pip install pyarrow") from None
    arrays = {name: _arrow_values(values) for name, values in columns.items()}
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(arrays), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _arrow_values(values: Sequence[Any]) -> list[Any]:
    same = uniform(values)
    if any(isinstance(value, float) for value in same):
        return [None if value is None else float(value) for value in same]
    return encodable(same)


def write_file(path: str, content: bytes) -> None:
    """Put an exported file in its place.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        rundir.replace_file(path, content)
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror}.") from None
