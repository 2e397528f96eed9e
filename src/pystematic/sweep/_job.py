"""Being a job of a queue, on whatever machine: makes one run there as an executor of that machine, and tells of it.

Knows nothing of queues: what Slurm or Ray start is a call of `be_job`.
"""

from __future__ import annotations

import os
import signal
import threading

from pystematic.errors import Error
from pystematic.rundir import JobDir
from pystematic.sweep._executor import Event, Task
from pystematic.sweep._job_files import OwnFiles
from pystematic.sweep._local import make_fresh_executor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.sweep._executor import Executor

# How often it is looked whether the coordinator wants the run to end.
PERIOD_S = 0.25


def be_job(folder: str) -> None:
    """Make the run that the folder of a `JobDir` describes, and return when nothing of it is left."""
    _leave_signals_to_the_run()
    files = OwnFiles(JobDir(folder))
    parcel = files.claim()
    if parcel is None:
        return
    task = _with_share(parcel.task)
    try:
        executor = make_fresh_executor(parcel.code, 1)
    except (Error, OSError) as error:
        files.tell(Event(task.number, "ended", log=f"the run could not be started here: {error}"))
        return
    try:
        _perform(executor, task, files)
    finally:
        executor.close()


def _perform(executor: Executor, task: Task, files: OwnFiles) -> None:
    executor.start(task)
    done = ""
    while True:
        for event in executor.wait(PERIOD_S):
            files.tell(event)
            if event.kind == "ended":
                return
        files.touch()
        asked = files.asked()
        if asked in ("stop", "kill") and asked != done:
            done = asked
            executor.stop(task.number, kill=asked == "kill")


def _leave_signals_to_the_run() -> None:
    """Outlive what a batch system sends to all processes of a job, to tell what becomes of the run."""
    if threading.current_thread() is not threading.main_thread():
        return
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2", "SIGCONT"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, signal.SIG_IGN)


def _with_share(task: Task) -> Task:
    """Return the task as this machine runs it: the queue has chosen its devices and cores."""
    cores = os.environ.get("SLURM_CPUS_PER_TASK", "")
    threads = task.threads or (int(cores) if cores.isdecimal() else None)
    return Task(**{**vars(task), "gpus": 0, "threads": threads})
