"""Sweeps as the page shows them. The one place that knows of `pystematic.sweep`; without it there are none."""

from __future__ import annotations

import datetime

from pystematic.rundir import SweepDir, sweep_names
from pystematic.web._errors import RequestError
from pystematic.web._json import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.sweep import PointResult, SweepResult
    from pystematic.web._schema import SweepEntry, SweepList, SweepPage, SweepPoint

DONE = frozenset(("completed", "failed", "pruned", "interrupted", "lost"))


def list_sweeps(folder: str) -> SweepList:
    """Return all sweeps of a folder, the newest first."""
    entries: list[SweepEntry] = []
    for name in sweep_names(folder):
        result = _result(folder, name)
        if result is None:
            continue
        best = result.best
        entries.append(
            {
                "name": name,
                "experiment": result.experiment,
                "created_at": _created_at(result),
                "is_running": result.is_running,
                "metric": None if result.objective is None else result.objective.text,
                "n_points": len(result.points),
                "counts": result.counts,
                "best": None if best is None else to_json(best.mean),
            }
        )
    entries.sort(key=lambda entry: entry["created_at"] or 0.0, reverse=True)
    return {"sweeps": entries}


def sweep_page(folder: str, name: str) -> SweepPage:
    """Return a sweep with its points, the best first.

    Raises:
        RequestError: there is none of this name.
    """
    result = _result(folder, name) if name in sweep_names(folder) else None
    if result is None:
        raise RequestError(404, f"there is no sweep {name!r} in this folder.")
    parameters = list(dict.fromkeys(key for point in result.points for key in point.values))
    counts = result.counts
    words = result.plan.state.session.get("words")
    return {
        "name": name,
        "experiment": result.experiment,
        "created_at": _created_at(result),
        "is_running": result.is_running,
        "metric": None if result.objective is None else result.objective.text,
        "seeds": list(result.seeds),
        "parameters": parameters,
        "varying": result.varying,
        "counts": counts,
        "n_done": sum(count for status, count in counts.items() if status in DONE),
        "n_runs": sum(counts.values()),
        "best": None if result.best is None else result.best.point.number,
        "command": [str(word) for word in words] if isinstance(words, list) else [],
        "points": [_point(point, parameters) for point in result.ranked()],
    }


def _result(folder: str, name: str) -> SweepResult | None:
    try:
        from pystematic.sweep import Plan, SweepResult  # only where there are sweeps
    except ModuleNotFoundError:
        return None
    plan = Plan(SweepDir(folder, name)).read()
    return SweepResult(plan) if plan.exists else None


def _created_at(result: SweepResult) -> float | None:
    try:
        return datetime.datetime.fromisoformat(str(result.plan.state.sweep.get("created_at"))).timestamp()
    except ValueError:
        return None


def _point(point: PointResult, parameters: list[str]) -> SweepPoint:
    newest: Any = point.attempts[-1] if point.attempts else None
    return {
        "number": point.point.number,
        "values": [to_json(point.values.get(name)) for name in parameters],
        "status": point.status,
        "statuses": list(point.statuses),
        "mean": to_json(point.mean),
        "std": to_json(point.std),
        "n": len(point.objectives),
        "runs": [one.run_dir for one in point.attempts if one.run_dir],
        "log": "" if newest is None else newest.log,
    }
