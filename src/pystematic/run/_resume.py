"""Going on with a run in its directory: who may, from which checkpoint, and what is written about it.

One resumer at a time: the claim is a file ``attempt-K`` that exactly one process can create.
"""

from __future__ import annotations

import json
import os
import time

from pystematic import rundir
from pystematic._words import short
from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

# On another machine a run is taken for dead when its heartbeat has stood still for so long.
STILL_FOR_S = 60.0
_LOOK_PERIOD_S = 1.0


def claim(run_dir: rundir.RunDir, document: Mapping[str, Any], say: Callable[[str], None]) -> int:
    """Claim the next attempt of a run and return its number.

    Args:
        run_dir: of the run.
        document: its ``run.json``.
        say: tells a person what is waited for.

    Raises:
        ExperimentError: the run is alive, or another process has claimed the attempt.
    """
    number = len(document.get("attempts") or [None]) + 1
    while os.path.exists(run_dir.attempt_file(number)):
        _refuse_living_claim(run_dir, number)
        number += 1
    if document.get("status") == "running":
        _wait_until_dead(run_dir, document, say)
    try:
        descriptor = os.open(run_dir.attempt_file(number), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        raise ExperimentError(
            f"the run {run_dir.id} is being resumed by another process at this moment. Wait for it, or start a new run."
        ) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump({"host": rundir.host_name(), "pid": rundir.process_identity(), "job": batch_job()}, file)
    return number


def _refuse_living_claim(run_dir: rundir.RunDir, number: int) -> None:
    claimed = rundir.read_document(run_dir.attempt_file(number)) or {}
    if rundir.is_alive(claimed.get("pid"), claimed.get("host")):
        raise ExperimentError(
            f"the run {run_dir.id} is being resumed by process {claimed['pid'].get('pid')} on {claimed.get('host')}. "
            "Wait for it, or start a new run."
        )


def _wait_until_dead(run_dir: rundir.RunDir, document: Mapping[str, Any], say: Callable[[str], None]) -> None:
    host = document.get("host")
    alive = rundir.is_alive(document.get("pid"), host)
    if alive is False or _superseded(document):
        return
    if alive:
        pid = (document.get("pid") or {}).get("pid")
        raise ExperimentError(
            f"the run {run_dir.id} is alive: process {pid} on this machine. A live run cannot be resumed."
        )
    say(f"The run {run_dir.id} was started on {host}; waiting up to {STILL_FOR_S:.0f} s for its heartbeat.")
    first = last = _beat(run_dir)
    still_since = time.monotonic()
    while time.monotonic() - still_since < STILL_FOR_S:
        time.sleep(_LOOK_PERIOD_S)
        last = _beat(run_dir)
        if last != first:
            raise ExperimentError(f"the run {run_dir.id} is alive on {host}: its heartbeat goes on.")


def _superseded(document: Mapping[str, Any]) -> bool:
    """Tell whether the batch system has started the run's job again, so that its former process is gone."""
    job, now = document.get("job"), batch_job()
    if not isinstance(job, dict) or now is None:
        return False
    same = job.get("id") == now["id"] and job.get("task") == now["task"]
    return same and int(now["restarts"]) > int(job.get("restarts") or 0)


def _beat(run_dir: rundir.RunDir) -> float:
    times = []
    for path in (run_dir.heartbeat_file, run_dir.run_file, run_dir.summary_file):
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=0.0)


def batch_job(environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """Return the batch job of this process: ``id``, array ``task`` and how often it was ``restarts``-ed; or None."""
    environ = os.environ if environ is None else environ
    job = environ.get("SLURM_ARRAY_JOB_ID") or environ.get("SLURM_JOB_ID")
    if not job:
        return None
    restarts = environ.get("SLURM_RESTART_COUNT", "0")
    return {
        "id": job,
        "task": environ.get("SLURM_ARRAY_TASK_ID"),
        "restarts": int(restarts) if restarts.isdecimal() else 0,
    }


def changed_parameters(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what a resume changes: name to the former and the new value, both as ``parameters.yaml`` holds them."""
    names = [name for name in now if before.get(name) != now[name]]
    return {name: [before.get(name), now[name]] for name in names}


def describe_changes(changes: Mapping[str, list[Any]], shown: Callable[[str], bool]) -> list[str]:
    """Return one line for each changed parameter that a person would want to know of."""
    return [f"{name}: {short(old)} -> {short(new)}" for name, (old, new) in changes.items() if shown(name)]
