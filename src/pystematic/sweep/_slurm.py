"""`SlurmQueue`: job arrays of Slurm, submitted through submitit. The one place that imports submitit."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess

from pystematic import rundir
from pystematic._words import did_you_mean, short
from pystematic.errors import ExperimentError, UsageError
from pystematic.sweep._job import be_job
from pystematic.sweep._queue import Gone, Queue, QueueFullError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from pystematic.sweep._executor import Task
    from pystematic.sweep._job_files import JobFiles

# A command of Slurm that takes longer has no answer; the next one may.
COMMAND_LIMIT_S = 60.0
# More than submitit says by itself: our coordinator decides whether a run is made again.
_ALWAYS = {"no-requeue": True}
# Of what a run gets beside its own limits: the two processes that look after it, and the time in which it ends.
MORE_MEMORY_MB = 256
MORE_TIME_S = 120.0
# Why a job has ended that has not said it itself, by the states of squeue(1) in which it has.
_OVER: dict[str, Any] = {
    **dict.fromkeys(("COMPLETED", "CANCELLED", "FAILED", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"), "killed"),
    **dict.fromkeys(("TIMEOUT", "DEADLINE"), "timeout"),
    "OUT_OF_MEMORY": "oom",
}
# What sbatch says when a limit of the account is reached (https://slurm.schedmd.com/resource_limits.html).
_FULL = re.compile(
    r"AssocMaxSubmitJobLimit|AssocGrpSubmitJobsLimit|QOS\w*Submit\w*Limit|MaxSubmitJob|"
    r"job submit limit|[Tt]emporarily unable to accept job|MaxJobCount",
)
_MAX_ARRAY_SIZE = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)


class SlurmQueue(Queue):
    """Jobs of Slurm, in arrays as large as the cluster takes.

    Args:
        folder: of submitit's files and the lists of what was submitted; all nodes see it.
        label: the beginning of the names of the jobs.
        settings: of `sbatch`, by submitit's names; and ``python``.
        source: where they were given.

    Raises:
        ExperimentError: there is no Slurm here, or it does not answer.
        UsageError: Slurm or submitit does not know a setting.
    """

    name = "slurm"

    def __init__(self, folder: Path, label: str, settings: Mapping[str, Any], source: str) -> None:
        try:
            import submitit
        except ImportError:
            raise ExperimentError("--on slurm needs submitit: pip install 'pystematic[slurm]'.") from None
        self._folder = folder
        self._label = label
        self._ids: dict[int, str] = {}
        settings = dict(settings)
        try:
            python = settings.pop("python", None)
            # Each file of submitit's has the number of a job in its name.
            self._submitit: Any = submitit.SlurmExecutor(folder / "submitit", python=python)
        except RuntimeError:
            raise ExperimentError("--on slurm: there is no Slurm on this machine (no srun).") from None
        self.largest_batch = _largest_array()
        self.most = _most_submitted()
        self._set(settings, source)

    def _set(self, settings: dict[str, Any], source: str) -> None:
        known = self._submitit._valid_parameters()
        names = self._submitit._equivalence_dict()
        settings = {names.get(name, name): value for name, value in settings.items()}
        problems = [
            f"{source}: Slurm has no setting {name!r} by submitit.{did_you_mean(name, known)} "
            "Others go into the table 'additional_parameters'."
            for name in settings
            if name not in known
        ]
        if problems:
            raise UsageError(problems)
        more = {**_ALWAYS, **dict(settings.pop("additional_parameters", None) or {})}
        # Without a time of its own a job has that of its partition; submitit would ask for five minutes.
        self._submitit.update_parameters(
            **{"time": None, "wckey": None, **settings}, additional_parameters=more, job_name=self._label
        )

    # -- what a queue does ---------------------------------------------------------------------------------------

    def submit(self, jobs: Mapping[int, JobFiles], tasks: Sequence[Task]) -> None:
        numbers = [task.number for task in tasks]
        name = f"{self._label}-{os.urandom(4).hex()}"
        batch = {"name": name, "numbers": numbers, "id": None}
        file = self._folder / f"{name}.json"
        # Before and after, so that a coordinator that takes over can ask Slurm by the name what it has.
        rundir.write_document(file, batch, fsync=True)
        self._submitit.update_parameters(job_name=name)
        try:
            with _without_own_job():
                made = self._submitit.map_array(be_job, [str(jobs[number].place.path.absolute()) for number in numbers])
        except Exception as error:  # submitit raises what its process has said, in classes of its own
            text = _said_by(error)
            os.unlink(file)
            raise QueueFullError(text) if _FULL.search(text) else ExperimentError(f"Slurm refuses: {text}") from None
        batch["id"] = made[0].job_id.partition("_")[0]
        rundir.write_document(file, batch)
        self._ids.update({number: job.job_id for number, job in zip(numbers, made, strict=True)})

    def find_gone(self, numbers: Sequence[int]) -> Mapping[int, Gone]:
        ids = {number: self._ids[number] for number in numbers if number in self._ids}
        states = _states(ids.values())
        if states is None:
            return {}
        found: dict[int, Gone] = {}
        for number, job in ids.items():
            state = states.get(job, "")
            if not state or state in _OVER:
                found[number] = Gone(_OVER.get(state, "killed"), self._last_words(job, state))
        return found

    def cancel(self, numbers: Sequence[int]) -> None:
        ids = [self._ids[number] for number in numbers if number in self._ids]
        if ids:
            _run(["scancel", *ids])

    def adopt(self, jobs: Mapping[int, JobFiles]) -> set[int]:
        for path in sorted(self._folder.glob(f"{self._label}-*.json")):
            batch = rundir.read_document(path) or {}
            numbers = [number for number in batch.get("numbers") or () if isinstance(number, int)]
            main = batch.get("id") or _id_of_name(str(batch.get("name")))
            if main is None or not any(number in jobs for number in numbers):
                continue
            for i, number in enumerate(numbers):
                if number in jobs:
                    self._ids[number] = f"{main}_{i}" if len(numbers) > 1 else str(main)
        states = _states([self._ids[number] for number in jobs if number in self._ids])
        if states is None:
            raise ExperimentError("Slurm does not answer, so that nobody knows which jobs of the sweep it has.")
        living = {job for job, state in states.items() if state not in _OVER}
        return {number for number in jobs if self._ids.get(number) in living}

    def _last_words(self, job: str, state: str) -> str:
        """Return what a job has said that ended before its run could begin, or else how Slurm has ended it."""
        main, _, index = job.partition("_")
        stem = f"{main}_{index}" if index else main
        for path in self._folder.glob(f"submitit/{stem}_*.err"):
            lines = path.read_text("utf-8", "replace").split("\n")
            words = [line.strip() for line in lines if line.strip()]
            if words:
                return words[-1][:500]
        return f"Slurm has ended the job {job}{f' as {state}' if state else ''}"


def _settings_of(limits: Any) -> dict[str, Any]:
    """Return what the limits of each run say to Slurm."""
    found: dict[str, Any] = {}
    if limits.timeout_s is not None:
        found["time"] = int((limits.timeout_s + MORE_TIME_S) / 60) + 1
    if limits.memory_bytes is not None:
        found["mem"] = f"{(limits.memory_bytes >> 20) + MORE_MEMORY_MB}MB"
    if limits.gpus:
        found["gpus_per_node"] = limits.gpus
    if limits.threads is not None:
        found["cpus_per_task"] = limits.threads
    return found


def make_slurm_queue(folder: Path, label: str, profile: Mapping[str, Any], source: str, limits: Any) -> SlurmQueue:
    """Return the queue of this machine's Slurm.

    Args:
        folder: of its files.
        label: the beginning of the names of its jobs.
        profile: settings of a person.
        source: where they were given.
        limits: of each run; they win.
    """
    return SlurmQueue(folder, label, {**profile, **_settings_of(limits)}, source)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a command of Slurm; None where it cannot be run or gives no answer."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def _states(ids: Any) -> dict[str, str] | None:
    """Return the states of jobs that Slurm knows, None where it does not answer."""
    mains = sorted({job.partition("_")[0] for job in ids})
    if not mains:
        return {}
    done = _run(["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", f"--jobs={','.join(mains)}"])
    if done is None:
        return None
    if done.returncode != 0:
        return {} if "Invalid job id" in done.stderr else None
    lines = [line.strip().partition("|") for line in done.stdout.splitlines()]
    return {job: state for job, _, state in lines}


def _id_of_name(name: str) -> str | None:
    done = _run(["squeue", "--noheader", "--states=all", "--format=%F", f"--name={name}"])
    words = [] if done is None else done.stdout.split()
    return words[0] if words else None


def _largest_array() -> int:
    """Return how many jobs an array may have; MaxArraySize is one more than the largest index.

    Raises:
        ExperimentError: Slurm does not answer. Each point would wait for that, and fail.
    """
    done = _run(["scontrol", "show", "config"])
    if done is not None and done.returncode:
        said = done.stderr.strip().rpartition("\n")[2][:300]
        raise ExperimentError(f"--on slurm: Slurm does not answer ({said}). See what sinfo says.")
    found = None if done is None else _MAX_ARRAY_SIZE.search(done.stdout)
    return max(1, int(found[1])) if found else 1


def _most_submitted() -> int | None:
    """Return how many jobs the user may have in the queue, by his associations; None where none of them says."""
    done = _run(["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={_user()}",
                 "format=MaxSubmitJobs"])  # fmt: skip
    if done is None or done.returncode != 0:
        return None  # a cluster without accounting has no such limits
    numbers = [int(line) for line in done.stdout.split() if line.isdecimal()]
    return min(numbers) if numbers else None


def _user() -> str:
    import getpass

    return getpass.getuser()


@contextlib.contextmanager
def _without_own_job() -> Any:
    """Hide the job in which this process may be itself: sbatch takes what is said of it for defaults."""
    hidden = {name: value for name, value in os.environ.items() if name.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
    kept = ("SLURM_CONF", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_CLUSTERS", "SLURM_CLUSTERS")
    hidden = {name: value for name, value in hidden.items() if name not in kept}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)


def _said_by(error: Exception) -> str:
    """Return what sbatch has said, of an exception of submitit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines if "sbatch: " in line]
    return "; ".join(dict.fromkeys(said)) or short(lines[-1] if lines else error, 300)
