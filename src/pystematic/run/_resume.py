"""Going on with a run in its directory: who may, and what is written about it.

One resumer at a time: the claim is a file ``attempt-K`` that exactly one process can create. It is asked for before
anything else of the run is read, so that what is read is not changed any more.
"""

from __future__ import annotations

import os
import time

from pystematic import rundir
from pystematic._record import record
from pystematic._words import short
from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any

# On another machine a run is taken for dead when its heartbeat has stood still for so long while we look on ...
STILL_FOR_S = 60.0
# ... and at once when it has for so long already; longer, as a network file system may show us an old time.
DEAD_AFTER_S = 120.0
_LOOK_PERIOD_S = 1.0


@record
class Claim:
    """The right to go on with a run, from `claim` on.

    Attributes:
        number: of the attempt, from 2 on.
        path: the file that is the claim.
        document: the run's ``run.json``, as the former attempt has left it.
    """

    number: int
    path: Path
    document: dict[str, Any]

    def release(self) -> None:
        """Give the claim back, of an attempt that has not begun."""
        try:
            os.unlink(self.path)
        except OSError:  # it stays, as that of a dead process
            return


def claim(
    run_dir: rundir.RunDir,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Claim:
    """Claim the next attempt of a run.

    Args:
        run_dir: of the run.
        say: tells a person what is waited for.
        clock: seconds, for the wait for a heartbeat.
        sleep: waits for seconds.

    Raises:
        ExperimentError: the run is completed, or alive, or another process has claimed the attempt.
        OSError: the claim cannot be written.
    """
    document = rundir.read_document(run_dir.run_file) or {}
    if document.get("status") == "completed":
        raise ExperimentError(f"the run {run_dir.id} is completed: another process has gone on with it to its end.")
    number = len(document.get("attempts") or [None]) + 1
    looked_at = [run_dir.heartbeat_file, run_dir.run_file, run_dir.summary_file]
    unknown = []
    if document.get("status") == "running" and not _is_dead(run_dir, document, looked_at, "is alive:"):
        unknown.append(str(document.get("host")))
    # Claims of attempts that `run.json` does not list: of processes that are starting, or died while they did.
    while (path := run_dir.attempt_file(number)).exists():
        claimed = rundir.read_document(path) or {}
        if not _is_dead(run_dir, claimed, [*looked_at, path], "is being resumed by"):
            unknown.append(str(claimed.get("host")))
        looked_at.append(path)
        number += 1
    if unknown:
        _wait_until_still(run_dir, unknown[-1], looked_at, say, clock, sleep)
    _create(run_dir, number)
    return Claim(number, run_dir.attempt_file(number), document)


def _create(run_dir: rundir.RunDir, number: int) -> None:
    path = run_dir.attempt_file(number)
    mine = {"host": rundir.host_name(), "pid": rundir.process_identity(), "job": batch_job()}
    try:
        rundir.create_document(path, mine)
    except FileExistsError:
        winner = rundir.read_document(path) or {}
        raise _refusal(run_dir, winner, "is being resumed by") from None


def _is_dead(run_dir: rundir.RunDir, claimant: Mapping[str, Any], looked_at: list[Path], what: str) -> bool:
    """Tell whether the process of a former attempt is surely gone; False: it ran where we cannot see.

    Raises:
        ExperimentError: it lives.
    """
    if _superseded(claimant):
        return True
    identity = claimant.get("pid")
    alive = rundir.is_alive(identity, claimant.get("host"))
    if alive:
        raise _refusal(run_dir, claimant, what)
    if alive is False and identity and identity.get("boot_id") == rundir.process_identity()["boot_id"]:
        return True
    # Of another machine, or of one with our name that was started at another time: only the heartbeat tells.
    beat = rundir.last_touched(looked_at)
    return beat is None or rundir.server_time(run_dir.path) - beat > DEAD_AFTER_S


def _refusal(run_dir: rundir.RunDir, claimant: Mapping[str, Any], what: str) -> ExperimentError:
    pid = (claimant.get("pid") or {}).get("pid", "of unknown number")
    host = claimant.get("host")
    where = "this machine" if host == rundir.host_name() else host or "another machine"
    return ExperimentError(
        f"the run {run_dir.id} {what} process {pid} on {where}. Wait for its end, or stop it, or start a new run."
    )


def _wait_until_still(
    run_dir: rundir.RunDir,
    host: str,
    looked_at: list[Path],
    say: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    say(f"The run {run_dir.id} was started on {host}; waiting up to {STILL_FOR_S:.0f} s for its heartbeat.")
    first = rundir.last_touched(looked_at)
    still_since = clock()
    while clock() - still_since < STILL_FOR_S:
        sleep(_LOOK_PERIOD_S)
        if rundir.last_touched(looked_at) != first:
            raise ExperimentError(
                f"the run {run_dir.id} is alive on {host}: its heartbeat goes on. "
                "Wait for its end, or stop it there, or start a new run."
            )


def _superseded(claimant: Mapping[str, Any]) -> bool:
    """Tell whether the batch system has started the claimant's job again, so that its former process is gone."""
    job, now = claimant.get("job"), batch_job()
    if not isinstance(job, dict) or now is None:
        return False
    same = job.get("id") == now["id"] and job.get("task") == now["task"]
    return same and int(now["restarts"]) > int(job.get("restarts") or 0)


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


# They say that a run is resumed, not what it is.
_NO_CHANGES = ("resume", "checkpoint", "dry_run", "params_file")


def changed_parameters(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return what a resume changes: name to the former and the new value, both as ``parameters.yaml`` holds them."""
    names = [name for name in now if name not in _NO_CHANGES and before.get(name) != now[name]]
    return {name: [before.get(name), now[name]] for name in names}


def describe_changes(changes: Mapping[str, list[Any]]) -> list[str]:
    """Return one line for each changed parameter."""
    return [f"{name}: {short(old)} -> {short(new)}" for name, (old, new) in changes.items()]


def sources_of_attempt(sources: Mapping[str, str], earlier: Mapping[str, Any], run_id: str) -> dict[str, str]:
    """Return the sources of a further attempt: who had set, in an earlier one, what it has taken over from there."""
    known = earlier.get("sources")
    known = known if isinstance(known, dict) else {}
    return {
        name: str(known.get(name, source)) if source == f"run {run_id}" else source for name, source in sources.items()
    }
