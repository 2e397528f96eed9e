"""`Queue`: a batch system or cluster that starts jobs when there is room. `QueueExecutor`: runs as jobs of a queue.

What a job is told and tells lies in files (`_job_files`); a queue is asked only for what those cannot say.
"""

from __future__ import annotations

import abc
import collections
import signal
import time

from pystematic import rundir
from pystematic._record import record
from pystematic.errors import ExperimentError
from pystematic.sweep._channel import signals_held
from pystematic.sweep._endings import shell_code, write_end
from pystematic.sweep._executor import Event, Executor
from pystematic.sweep._job_files import JobFiles, Parcel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal

    from pystematic.sweep._code import Code
    from pystematic.sweep._executor import Task

# How often files of jobs are read, and for each thousandth of a second that it takes, how much longer is waited.
FILES_PERIOD_S = 0.1
# How often the queue is asked which jobs it still has.
QUEUE_PERIOD_S = 3.0
# How long after the end of a job its last words may take to be seen here.
SETTLE_S = 2.0
# How long `close` waits for jobs to end by themselves, and then for the queue to end them.
CLOSE_LIMIT_S = 15.0


class QueueFullError(Exception):
    """A queue takes no more jobs for now."""


@record
class Gone:
    """A job that the queue no longer has.

    Attributes:
        reason: why, as in an `Event`; None where it has ended by itself, or was cancelled.
        text: the last line of what it has said, outside of a run.
    """

    reason: Literal["killed", "oom", "timeout"] | None = "killed"
    text: str = ""


class Queue(abc.ABC):
    """Starts a process for each job, on some machine that sees the same files; it calls `_job.be_job`.

    A job is known by the number of its task.

    Attributes:
        name: of the executor.
        most: how many jobs it has room for, None where there is no limit.
        largest_batch: how many are handed over together at most, None where there is no limit.
    """

    name: str
    most: int | None = None
    largest_batch: int | None = None

    @abc.abstractmethod
    def submit(self, jobs: Mapping[int, JobFiles], tasks: Sequence[Task]) -> None:
        """Hand over jobs whose folders are written.

        Raises:
            QueueFullError: it has taken none of them, and will when others have ended.
            ExperimentError: it has taken none, and will not.
        """

    @abc.abstractmethod
    def find_gone(self, numbers: Sequence[int]) -> Mapping[int, Gone]:
        """Return which of these jobs have ended, or are known no longer."""

    @abc.abstractmethod
    def cancel(self, numbers: Sequence[int]) -> None:
        """Have jobs ended, begun or not; returns at once."""

    def adopt(self, jobs: Mapping[int, JobFiles]) -> set[int]:
        """Return which jobs of an earlier process it still has; they are known from now on."""
        return set()

    def close(self) -> None:
        """Leave the queue. What was submitted is over."""
        return


class _Job:
    """A task that was given to the queue."""

    def __init__(self, files: JobFiles, run_dir: str | None = None) -> None:
        self.files = files
        self.run_dir = run_dir
        self.asked: Literal["", "stop", "kill"] = ""
        self.gone: Gone | None = None
        self.gone_at = 0.0


class QueueExecutor(Executor):
    """Runs as jobs of a queue.

    Args:
        queue: starts jobs. Closed by `close`.
        slots: how many are in the queue at once, running or waiting.
        jobs_dir: the folder of their files, which all machines see.
        code: of the program.
        notice: what the user should know.
    """

    def __init__(self, queue: Queue, slots: int, jobs_dir: Path, code: Code, notice: str | None = None) -> None:
        self.name = queue.name
        self.slots = slots if queue.most is None else min(slots, queue.most)
        self.notice = notice
        self._queue: Queue | None = queue
        self._dir = jobs_dir
        self._code = code
        self._pending: collections.deque[Task] = collections.deque()
        self._jobs: dict[int, _Job] = {}
        self._ended: list[JobFiles] = []
        self._events: list[Event] = []
        self._notes: list[str] = []
        self._asked_at = 0.0

    # -- the protocol --------------------------------------------------------------------------------------------

    def start(self, task: Task) -> None:
        if self._queue is None:
            raise ExperimentError("this executor is closed.")
        self._pending.append(task)

    def wait(self, timeout_s: float) -> list[Event]:
        deadline = time.monotonic() + timeout_s
        while True:
            with signals_held():  # also for what `submit` starts: a Ctrl-C in the terminal reaches all processes
                began = time.monotonic()
                self._submit()
                self._read_files()
                self._ask_queue()
                took_s = time.monotonic() - began
                if self._events:
                    events, self._events = self._events, []
                    return events
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._queue is None:
                return []
            time.sleep(min(left_s, FILES_PERIOD_S + 10 * took_s))

    def stop(self, number: int, *, kill: bool = False) -> None:
        with signals_held():
            for task in [task for task in self._pending if task.number == number]:
                self._pending.remove(task)
                self._events.append(_never_begun(number, kill))
            job = self._jobs.get(number)
            if job is None or self._take_back(number, job, kill):
                return
            job.asked = "kill" if kill else "stop"
            job.files.ask(job.asked)

    def adopt(self, numbers: Sequence[int]) -> set[int]:
        assert self._queue is not None
        jobs = {number: JobFiles(rundir.JobDir(self._dir / str(number))) for number in numbers}
        jobs = {number: files for number, files in jobs.items() if files.exists}
        known = self._queue.adopt(jobs)
        for number, files in jobs.items():
            events = files.read_events()
            if number not in known and not any(event.kind == "ended" for event in events):
                continue
            self._jobs[number] = _Job(files)
            for event in events:
                self._take(event)
            known = known | {number}
        return set(known)

    def withdraw(self) -> set[int]:
        with signals_held():
            waiting = {task.number for task in self._pending}
            self._events += [_never_begun(number, False) for number in waiting]
            self._pending.clear()
            begun = {number: job for number, job in self._jobs.items() if not job.files.claimant()}
            return waiting | {number for number, job in begun.items() if self._take_back(number, job, False)}

    def take_notes(self) -> list[str]:
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        if self._queue is None:
            return
        queue = self._queue
        self._pending.clear()
        for number in list(self._jobs):
            self.stop(number, kill=True)
        self._wait_for_all(CLOSE_LIMIT_S)
        if self._jobs:
            queue.cancel(list(self._jobs))
            self._wait_for_all(CLOSE_LIMIT_S)
        self._queue = None
        queue.close()
        for files in self._ended:
            files.remove()

    # -- the queue -----------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        while self._queue is not None and self._pending and len(self._jobs) < self.slots:
            if not self._submit_batch(self._queue):
                return

    def _submit_batch(self, queue: Queue) -> bool:
        """Hand over as many tasks as there is room for; False where the queue takes no more."""
        free = self.slots - len(self._jobs)
        free = free if queue.largest_batch is None else min(free, queue.largest_batch)
        tasks = [self._pending.popleft() for _ in range(min(free, len(self._pending)))]
        jobs = {task.number: files for task in tasks if (files := self._write(task)) is not None}
        tasks = [task for task in tasks if task.number in jobs]
        if not tasks:
            return True
        try:
            queue.submit(jobs, tasks)
        except QueueFullError as error:
            self._wait_for_room(jobs, tasks, str(error))
            return False
        except ExperimentError as error:
            self._refuse(jobs, str(error))
            return True
        self._jobs.update({number: _Job(files) for number, files in jobs.items()})
        return True

    def _write(self, task: Task) -> JobFiles | None:
        files = JobFiles(rundir.JobDir(self._dir / str(task.number)))
        try:
            files.write(Parcel(self._code, task))
        except Exception as error:  # of pickle; a full disk
            text = f"its parameters cannot be handed over: {type(error).__name__}: {error}"
            self._events.append(Event(task.number, "ended", log=text))
            return None
        return files

    def _wait_for_room(self, jobs: Mapping[int, JobFiles], tasks: Sequence[Task], text: str) -> None:
        """Give tasks later, one after the other: the limit counts jobs that we know nothing of."""
        if not self._jobs and len(tasks) == 1:
            self._refuse(jobs, text)
            return
        for task in reversed(tasks):
            jobs[task.number].remove()
            self._pending.appendleft(task)
        room = len(self._jobs) or len(tasks) // 2
        if room < self.slots:
            self._notes.append(f"{self.name} takes {room} jobs at once for now: {text}")
        self.slots = room

    def _refuse(self, jobs: Mapping[int, JobFiles], text: str) -> None:
        for number, files in jobs.items():
            files.take_back()
            self._events.append(Event(number, "ended", log=text))

    def _take_back(self, number: int, job: _Job, kill: bool) -> bool:
        """End a job that has not begun; False where it has."""
        assert self._queue is not None
        if not job.files.take_back():
            return False
        del self._jobs[number]
        self._queue.cancel([number])
        self._events.append(_never_begun(number, kill))
        return True

    def _ask_queue(self) -> None:
        now = time.monotonic()
        if self._queue is None or not self._jobs or now - self._asked_at < QUEUE_PERIOD_S:
            return
        self._asked_at = now
        for number, gone in self._queue.find_gone(list(self._jobs)).items():
            job = self._jobs[number]
            if job.gone is None:
                job.gone, job.gone_at = gone, now

    # -- the files -----------------------------------------------------------------------------------------------

    def _read_files(self) -> None:
        for number, job in list(self._jobs.items()):
            for event in job.files.read_events():
                self._take(event)
            if number in self._jobs and job.gone is not None and time.monotonic() - job.gone_at >= SETTLE_S:
                self._end_without_word(number, job, job.gone)

    def _take(self, event: Event) -> None:
        if event.number not in self._jobs:
            return
        self._events.append(event)
        if event.kind == "run":
            self._jobs[event.number].run_dir = event.run_dir
        else:
            self._ended.append(self._jobs.pop(event.number).files)

    def _end_without_word(self, number: int, job: _Job, gone: Gone) -> None:
        """Say of a job, and of its run, what it could not say itself."""
        del self._jobs[number]
        job.files.take_back()
        reason = None if job.asked else gone.reason
        if job.run_dir is not None:
            write_end(job.run_dir, -signal.SIGKILL, reason, bool(job.asked))
        code = shell_code(-signal.SIGKILL)
        self._events.append(Event(number, "ended", job.run_dir, code, reason, gone.text))

    def _wait_for_all(self, limit_s: float) -> None:
        deadline = time.monotonic() + limit_s
        while self._jobs and time.monotonic() < deadline:
            self._read_files()
            self._ask_queue()
            time.sleep(FILES_PERIOD_S)


def _never_begun(number: int, kill: bool) -> Event:
    return Event(number, "ended", exit_code=137 if kill else 143)
