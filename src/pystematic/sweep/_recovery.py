"""What a dead coordinator has left: finds the directories of runs whose end nobody has written into the plan."""

from __future__ import annotations

import os
import time

from pystematic import rundir
from pystematic.errors import ExperimentError
from pystematic.store import Run
from pystematic.sweep._job_files import JobFiles
from pystematic.sweep._plan import relative_run_dir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from pystematic.sweep._objective import Objective
    from pystematic.sweep._plan import Attempt, Plan

# Runs die with their coordinator; how long that may take. On another machine they are dead when they are silent.
DYING_S = 10.0
DYING_ELSEWHERE_S = 130.0
_PERIOD_S = 0.1


def recover(
    plan: Plan, experiment: str, objective: Objective | None, adopted: Container[int], say: Callable[[str], None]
) -> None:
    """Write into the plan how the runs have ended of which it says only that they were started.

    Args:
        plan: claimed.
        experiment: full name.
        objective: judges runs, or None.
        adopted: the numbers of starts that an executor has taken over.
        say: tells the user what is waited for.

    Raises:
        ExperimentError: one of them is still alive.
        RunDirectoryError: the plan cannot be written.
    """
    attempts = [one for attempts in plan.state.attempts.values() for one in attempts]
    open_ones = [one for one in attempts if one.status is None and one.number not in adopted]
    if not open_ones:
        return
    jobs = {one.number: job for one in open_ones if (job := JobFiles(plan.dir.job_dir(one.number))).exists}
    for one in open_ones:
        if one.number in jobs:
            _ask_job(plan, one, jobs)
    unknown = {one.key: one for one in open_ones if one.run_dir is None}
    if unknown:
        _find_directories(plan, experiment, unknown)
    _wait_until_dead(plan, open_ones, jobs, say)
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
                "code": run.document.get("code"),
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


def _ask_job(plan: Plan, attempt: Attempt, jobs: dict[int, JobFiles]) -> None:
    """Keep a job from beginning; of one that has begun, take what it has told."""
    job = jobs[attempt.number]
    if job.take_back():
        del jobs[attempt.number]
    for event in job.read_events():
        if event.run_dir is not None:
            attempt.run_dir = relative_run_dir(event.run_dir, plan.dir.output_dir)
        if event.kind == "ended":
            jobs.pop(attempt.number, None)


def _wait_until_dead(
    plan: Plan, attempts: list[Attempt], jobs: Mapping[int, JobFiles], say: Callable[[str], None]
) -> None:
    began = time.monotonic()
    was_said = False
    while True:
        alive = [_name_of(one) for one in attempts if _is_alive(plan, one, jobs.get(one.number))]
        if not alive:
            return
        waited_s = time.monotonic() - began
        if jobs and waited_s > DYING_S and not was_said:
            was_said = True
            say(f"waiting until runs on other machines are silent, up to {DYING_ELSEWHERE_S:.0f} s ...")
        if waited_s > (DYING_ELSEWHERE_S if jobs else DYING_S):
            raise ExperimentError(
                f"runs of the sweep '{plan.name}' are still alive, though their coordinator is gone: "
                f"{', '.join(alive)}. End them first{', or give the same --on as before' if jobs else ''}."
            )
        time.sleep(_PERIOD_S)


def _is_alive(plan: Plan, attempt: Attempt, job: JobFiles | None) -> bool:
    if job is not None and job.is_alive:
        return True
    path = attempt.run_dir
    return path is not None and Run(os.path.join(plan.dir.output_dir, path)).status == "running"


def _name_of(attempt: Attempt) -> str:
    return attempt.run_dir or f"start {attempt.number}"
