"""What a dead coordinator has left: finds the directories of runs whose end nobody has written into the plan."""

from __future__ import annotations

import os
import time

from pystematic import rundir
from pystematic.errors import ExperimentError
from pystematic.store import Run
from pystematic.sweep._plan import relative_run_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.sweep._objective import Objective
    from pystematic.sweep._plan import Attempt, Plan

# Runs die with their coordinator; how long that may take.
DYING_S = 10.0
_PERIOD_S = 0.1


def recover(plan: Plan, experiment: str, objective: Objective | None) -> None:
    """Write into the plan how the runs have ended of which it says only that they were started.

    Raises:
        ExperimentError: one of them is still alive.
        RunDirectoryError: the plan cannot be written.
    """
    open_ones = [one for attempts in plan.state.attempts.values() for one in attempts if one.status is None]
    if not open_ones:
        return
    unknown = {one.key: one for one in open_ones if one.run_dir is None}
    if unknown:
        _find_directories(plan, experiment, unknown)
    _wait_until_dead(plan, open_ones)
    lines: list[dict[str, object]] = []
    for attempt in open_ones:
        if attempt.run_dir is None:  # its process died before it had a directory
            lines.append({"kind": "end", "number": attempt.number, "status": "lost", "at": time.time()})
            continue
        run = Run(os.path.join(plan.dir.output_dir, attempt.run_dir))
        status = run.status
        value = objective.value_of(run) if objective is not None and status in ("completed", "pruned") else None
        error = run.document.get("error")
        lines.append(
            {
                "kind": "end",
                "number": attempt.number,
                "run_dir": attempt.run_dir,
                "status": "lost" if status in ("damaged", "running") else status,
                "error": error.get("type") if isinstance(error, dict) else None,
                "objective": value,
                "metric": None if objective is None else objective.text,
                "at": time.time(),
            }
        )
    plan.write(*lines)


def can_resume(path: str) -> bool:
    """Tell whether a run has a whole checkpoint."""
    run_dir = rundir.RunDir(path)
    return any(rundir.is_whole(run_dir, entry) for entry in reversed(rundir.read_manifest(run_dir)))


def _find_directories(plan: Plan, experiment: str, unknown: dict[str, Attempt]) -> None:
    """Look through the runs of the experiment for those of this sweep that the plan does not know."""
    known = {one.run_dir for attempts in plan.state.attempts.values() for one in attempts if one.run_dir is not None}
    folder = plan.dir.output_dir / experiment
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        relative = relative_run_dir(path, plan.dir.output_dir)
        if relative in known:
            continue
        document = rundir.read_document(rundir.RunDir(path).run_file)
        if document is None or document.get("parent") != f"sweep {plan.name}":
            continue
        attempt = unknown.get(str(document.get("point")))
        if attempt is not None and attempt.run_dir is None:
            attempt.run_dir = relative


def _wait_until_dead(plan: Plan, attempts: list[Attempt]) -> None:
    deadline = time.monotonic() + DYING_S
    while True:
        alive = [
            one.run_dir
            for one in attempts
            if one.run_dir is not None and Run(os.path.join(plan.dir.output_dir, one.run_dir)).status == "running"
        ]
        if not alive:
            return
        if time.monotonic() > deadline:
            raise ExperimentError(
                f"runs of the sweep '{plan.name}' are still alive, though their coordinator is gone: "
                f"{', '.join(alive)}. End them first."
            )
        time.sleep(_PERIOD_S)
