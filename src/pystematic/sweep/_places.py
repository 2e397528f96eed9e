"""Where runs are made: ``--on``, read and turned into an executor. A place past this machine is a line of `_QUEUES`."""

from __future__ import annotations

import os

from pystematic._record import record
from pystematic._words import did_you_mean, short
from pystematic.errors import ExperimentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from pystematic.resolve import Parameters
    from pystematic.sweep._coordinator import RunLimits
    from pystematic.sweep._executor import Executor
    from pystematic.sweep._queue import Queue

LOCAL = "local"
# How many runs are in the queue of a cluster, running or waiting, unless --jobs says otherwise.
JOBS_ELSEWHERE = 100
# How long the submission waits for git.
PROVENANCE_LIMIT_S = 10.0


@record
class Place:
    """Where runs are made.

    Attributes:
        kind: ``local``, or what starts jobs.
        detail: what stands behind the colon: a profile, an address; or None.
    """

    kind: str = LOCAL
    detail: str | None = None

    @property
    def is_local(self) -> bool:
        return self.kind == LOCAL


@record
class QueueRequest:
    """What a queue is made of.

    Attributes:
        place: that was asked for.
        label: tells its jobs from others.
        folder: of its own files.
        limits: of each run.
        slots: how many jobs are wanted at once.
    """

    place: Place
    label: str
    folder: Path
    limits: RunLimits
    slots: int


def parse_place(text: str, source: str = "--on") -> Place:
    """Read ``local``, ``slurm``, ``slurm:PROFILE``, ``ray`` or ``ray:ADDRESS``.

    Raises:
        UsageError: it is none.
    """
    kind, colon, detail = str(text).partition(":")  # from code it may be anything
    if kind == LOCAL and not colon:
        return Place()
    if kind not in _QUEUES or (colon and not detail):
        known = f"local, {', '.join(f'{name}[:{detail}]' for name, (detail, _) in _QUEUES.items())}"
        raise UsageError(
            f"{source} {short(str(text))}: there is no such place.{did_you_mean(kind, _QUEUES)} Known: {known}."
        )
    return Place(kind, detail or None)


def place_of(parameters: Parameters) -> Place:
    """Return where a run with these parameters is made.

    Raises:
        UsageError: there is no such place.
    """
    text = parameters.get("on")
    return Place() if text is None else parse_place(str(text), f"on ({parameters.source_of('on')})")


def make_executor_elsewhere(
    experiment: Any, place: Place, *, jobs: int | None, limits: RunLimits, folder: Path, label: str, output_dir: str
) -> Executor:
    """Return an executor for runs on other machines, of the program as it is now.

    Args:
        experiment: what is run.
        place: where.
        jobs: how many at once; None: as many as is usual there.
        limits: of each run.
        folder: takes the files of jobs and the copy of the program; all machines see it.
        label: tells its jobs from others.
        output_dir: the folder of the runs.

    Raises:
        ExperimentError: what starts jobs is not there, or the folder cannot be written.
        UsageError: there is no such profile or setting.
    """
    from pystematic.rundir import unusable
    from pystematic.sweep._code import Code, describe_code, find_provenance
    from pystematic.sweep._queue import QueueExecutor
    from pystematic.sweep._snapshot import copy_code

    if jobs is not None and jobs < 1:
        raise ExperimentError(f"jobs={jobs!r}: at least one run at a time is needed.")
    slots = JOBS_ELSEWHERE if jobs is None else jobs
    code = describe_code(experiment)
    known = find_provenance(experiment, output_dir, PROVENANCE_LIMIT_S)
    folder = folder.absolute()
    try:
        (folder / "jobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        code = copy_code(Code(code.preparation, code.home, known), folder / "code", [os.path.abspath(output_dir)])
    except OSError as error:
        raise unusable(output_dir, error) from None
    queue = _QUEUES[place.kind][1](QueueRequest(place, label, folder / "jobs", limits, slots))
    return QueueExecutor(queue, slots, folder / "jobs", code)


def _make_slurm(request: QueueRequest) -> Queue:
    from pystematic.resolve import read_profile
    from pystematic.sweep._slurm import make_slurm_queue

    profile, source = read_profile("slurm", request.place.detail, os.getcwd())
    return make_slurm_queue(request.folder, request.label, profile, source, request.limits)


def _make_ray(request: QueueRequest) -> Queue:
    from pystematic.sweep._ray import make_ray_queue

    return make_ray_queue(request.place.detail, request.limits)


# What stands behind the colon, and what makes the queue.
_QUEUES: dict[str, tuple[str, Callable[[QueueRequest], Queue]]] = {
    "slurm": ("PROFILE", _make_slurm),
    "ray": ("ADDRESS", _make_ray),
}
