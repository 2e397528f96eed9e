"""`Executor`: what makes the runs of a sweep, wherever that is. Knows nothing of points, plans and samplers."""

from __future__ import annotations

import abc

from pystematic._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal


@record
class Task:
    """One run to be made.

    Attributes:
        number: the caller's own; events carry it. No two tasks of an executor share one.
        experiment: full name, ``train`` or ``group.train``.
        values: parameters as `Experiment.run` takes them, already of their types.
        sources: by name of a parameter, who set it: ``sweep``, ``command line``; the others come from ``sweep``.
        parent: ``sweep NAME``, the ``parent`` in ``run.json``; None for a run that belongs to no sweep.
        point: key of the point's identity, the ``point`` in ``run.json``.
        resume: directory of a run with a whole checkpoint, which is gone on with; None: a new run.
        timeout_s: how long it may take, from its start; None: for ever.
        memory_bytes: how much memory it and its children may use together (PSS); None: all there is.
        gpus: how many devices it gets for itself.
        threads: of the CPU, for computing; None: its share of the cores.
    """

    number: int
    experiment: str
    values: Mapping[str, Any]
    sources: Mapping[str, str]
    parent: str | None
    point: str | None
    resume: str | None = None
    timeout_s: float | None = None
    memory_bytes: int | None = None
    gpus: int = 0
    threads: int | None = None


@record
class Event:
    """What has become of a task.

    Attributes:
        number: that of the task.
        kind: ``run``: its directory is there, and named in ``run_dir``; ``ended``: it and all its processes are gone.
        run_dir: absolute; at ``ended`` None where there never was one.
        exit_code: as a shell sees it, 128 + the signal that ended it; None where it could not be started.
        reason: why it ended other than by itself or by `Executor.stop`: ``killed`` by somebody else's SIGKILL,
            ``oom`` out of memory, ``timeout``.
        log: the last line of its output that is not blank.
    """

    number: int
    kind: Literal["run", "ended"]
    run_dir: str | None = None
    exit_code: int | None = None
    reason: Literal["killed", "oom", "timeout"] | None = None
    log: str = ""


class Executor(abc.ABC):
    """Makes runs, some at a time. All methods are called by one thread.

    Each task gives at most one event ``run``, and then exactly one ``ended``. When ``ended`` is given, the record of
    the run says how it ended: where the process could not write it, the executor has (status ``failed`` with the
    reason as ``error.type``; ``interrupted`` after `stop`). An executor does not repeat a task, and does not choose.

    Attributes:
        name: ``fork``, ``fresh``, ``slurm`` ...
        slots: how many tasks run at once. More can be started; they wait.
        keeps_code: whether all runs have the program as it was when this was made, whatever is edited meanwhile.
        notice: one line that says what the user should know of how runs are made, None: nothing.
    """

    name: str
    slots: int
    keeps_code: bool = True
    notice: str | None = None

    @abc.abstractmethod
    def start(self, task: Task) -> None:
        """Take a task, which is set going in the next `wait` at the latest; returns at once.

        Fails for no reason that lies in the task: that is an event.
        """

    @abc.abstractmethod
    def wait(self, timeout_s: float) -> list[Event]:
        """Return what has happened since the last call, as soon as there is something, else nothing at the timeout.

        An exception of a signal handler leaves it, and costs no event.
        """

    @abc.abstractmethod
    def stop(self, number: int, *, kill: bool = False) -> None:
        """Ask a task to end (SIGTERM to its process), or kill all its processes. The event ``ended`` follows.

        Does nothing where the task has ended. One that waits for its turn ends without having run: without a
        directory, with exit code 143, or 137 when killed.
        """

    def adopt(self, numbers: Sequence[int]) -> set[int]:
        """Take over tasks that an executor of another process has started, which is gone; return which.

        Their events follow as if this one had started them, the directory included. To be called before `start`.
        Those that are left were never begun and never will be, or nobody knows what has become of them.
        """
        return set()

    def withdraw(self) -> set[int]:
        """Take back the tasks that have not begun, and return which. Each ends as one that waits does at `stop`."""
        return set()

    def take_notes(self) -> list[str]:
        """Return lines that the user should see, each of them once."""
        return []

    @abc.abstractmethod
    def close(self) -> None:
        """Kill what still runs, and return when nothing of it is left. May be called twice."""
