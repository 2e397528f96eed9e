"""The table of a sweep: its points, the best first, with what varies and the objective over the seeds."""

from __future__ import annotations

import os

from pystematic.cli._output import print_records, print_text
from pystematic.cli._records import table_width
from pystematic.sweep import PointResult, SweepResult
from pystematic.terminal import format_cell, format_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def print_result(result: SweepResult, form: str) -> None:
    """Print the points of a sweep, the best first: what varies, mean and deviation over the seeds, their number."""
    points = result.ranked()
    if form == "json":
        print_records("json", _record(result, points), [], [])
        return
    varying = result.varying
    shown = [name if name not in _OWN_COLUMNS else f"params.{name}" for name in varying]
    metric = None if result.objective is None else result.objective.tag
    rows = [_row(point, dict(zip(varying, shown, strict=True)), metric, form) for point in points]
    columns = ["point", *shown, "status"]
    if metric is not None:
        columns += [metric, *(["std"] if form == "csv" else []), "n"]
    columns.append("run")
    if form == "csv":
        print_records("csv", None, rows, columns)
        return
    lines = [format_table(rows, columns, width=table_width())] if rows else []
    lines += ["", *_sentences(result)]
    print_text("\n".join(lines))


_OWN_COLUMNS = frozenset({"point", "status", "std", "n", "run"})


def _row(point: PointResult, columns: Mapping[str, str], metric: str | None, form: str) -> dict[str, object]:
    row: dict[str, object] = {"point": point.point.number, "status": point.status}
    row.update({column: point.values.get(name) for name, column in columns.items()})
    ids = [os.path.basename(one.run_dir) for one in point.attempts if one.run_dir]
    row["run"] = ",".join(ids) if form == "csv" else (ids[0] if len(ids) == 1 else f"{len(ids)} runs" if ids else "")
    if metric is not None:
        row["n"] = len(point.objectives)
        row[metric] = point.mean
        row["std"] = point.std
        if form == "text" and point.std is not None:
            row[metric] = f"{format_cell(point.mean)} ± {point.std:.2g}"
    return row


def _record(result: SweepResult, points: list[PointResult]) -> dict[str, Any]:
    return {
        "name": result.name,
        "experiment": result.experiment,
        "metric": None if result.objective is None else result.objective.text,
        "running": result.is_running,
        "counts": result.counts,
        "best": None if result.best is None else result.best.point.number,
        "points": [
            {
                "point": point.point.number,
                "values": point.point.values,
                "status": point.status,
                "statuses": list(point.statuses),
                "mean": point.mean,
                "std": point.std,
                "n": len(point.objectives),
                "runs": [one.run_dir for one in point.attempts if one.run_dir],
            }
            for point in points
        ],
    }


def _sentences(result: SweepResult) -> list[str]:
    counts = ", ".join(f"{count} {status}" for status, count in result.counts.items()) or "no runs yet"
    lines = [f"Sweep {result.name}: {counts}."]
    best = result.best
    if best is not None and result.objective is not None:
        varying = " ".join(f"{name}={format_cell(best.values.get(name))}" for name in result.varying)
        spread = "" if best.std is None else f" ± {best.std:.2g} (n={len(best.objectives)})"
        lines.append(f"Best {result.objective.text}: {format_cell(best.mean)}{spread}  {varying}".rstrip())
    left_out = result.describe_superseded()
    if left_out is not None:
        lines.append(left_out)
    if result.counts.get("failed"):
        lines.append(f"Failed runs are run again by: pystematic sweep retry {result.name}")
    return lines
