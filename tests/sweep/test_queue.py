"""What an executor makes of a queue that is full, that loses jobs, and that another process has filled."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pystematic.errors import ExperimentError
from pystematic.rundir import JobDir
from pystematic.sweep import Event, Task
from pystematic.sweep._code import Code
from pystematic.sweep._job_files import JobFiles, OwnFiles
from pystematic.sweep._queue import Gone, Queue, QueueExecutor, QueueFullError


class RecordingQueue(Queue):
    """Starts nothing: a test plays the jobs.

    Attributes:
        batches: the numbers that were handed over together.
        room: how many jobs it takes until others have ended; None: any number.
        gone: what it says of jobs that it no longer has.
    """

    name = "recording"

    def __init__(self, largest_batch: int | None = None, room: int | None = None) -> None:
        self.largest_batch = largest_batch
        self.room = room
        self.batches: list[list[int]] = []
        self.gone: dict[int, Gone] = {}
        self.cancelled: list[int] = []
        self.known: set[int] = set()
        self.refusal: str | None = None

    def submit(self, jobs: Mapping[int, JobFiles], tasks: Sequence[Task]) -> None:
        if self.refusal is not None:
            raise ExperimentError(self.refusal)
        if self.room is not None and len(tasks) > self.room:
            raise QueueFullError("AssocMaxSubmitJobLimit")
        if self.room is not None:
            self.room -= len(tasks)
        self.batches.append([task.number for task in tasks])

    def find_gone(self, numbers: Sequence[int]) -> Mapping[int, Gone]:
        return {number: gone for number, gone in self.gone.items() if number in numbers}

    def cancel(self, numbers: Sequence[int]) -> None:
        self.cancelled += numbers
        self.gone.update(dict.fromkeys(numbers, Gone()))

    def adopt(self, jobs: Mapping[int, JobFiles]) -> set[int]:
        return self.known & set(jobs)


def make(queue: RecordingQueue, slots: int = 10) -> QueueExecutor:
    return QueueExecutor(queue, slots, Path("jobs"), Code({}, ("module", "train")))


def start(executor: QueueExecutor, *numbers: int) -> None:
    for number in numbers:
        executor.start(Task(number, "train", {"x": number}, {}, "sweep s", "key"))


def job(number: int) -> OwnFiles:
    """Return the side of a job that has begun."""
    files = OwnFiles(JobDir(Path("jobs", str(number))))
    assert files.claim() is not None
    return files


def test_what_is_started_together_is_one_batch() -> None:
    queue = RecordingQueue()
    executor = make(queue)
    start(executor, 1, 2, 3)
    executor.wait(0)
    assert queue.batches == [[1, 2, 3]]


def test_no_batch_is_larger_than_the_queue_takes() -> None:
    queue = RecordingQueue(largest_batch=2)
    executor = make(queue)
    start(executor, *range(5))
    executor.wait(0)
    assert queue.batches == [[0, 1], [2, 3], [4]]


def test_a_full_queue_gets_the_rest_when_jobs_have_ended() -> None:
    queue = RecordingQueue(room=2)
    executor = make(queue)
    start(executor, 1, 2, 3, 4)
    while len(queue.batches) < 1:
        executor.wait(0)
    assert executor.slots == 2
    assert executor.take_notes() == ["recording takes 2 jobs at once for now: AssocMaxSubmitJobLimit"]
    for number in (1, 2):
        job(number).tell(Event(number, "ended", exit_code=0))
    queue.room = 2
    executor.wait(0)
    executor.wait(0)
    assert queue.batches == [[1, 2], [3, 4]]


def test_a_task_that_the_queue_refuses_ends_with_its_words() -> None:
    queue = RecordingQueue()
    queue.refusal = "Invalid partition"
    executor = make(queue)
    start(executor, 1)
    assert executor.wait(0) == [Event(1, "ended", log="Invalid partition")]


def test_what_a_job_tells_comes_as_events() -> None:
    executor = make(RecordingQueue())
    start(executor, 7)
    executor.wait(0)
    files = job(7)
    files.tell(Event(7, "run", run_dir="/somewhere"))
    assert executor.wait(0) == [Event(7, "run", run_dir="/somewhere")]
    files.tell(Event(7, "ended", run_dir="/somewhere", exit_code=3, log="the last line"))
    assert executor.wait(0) == [Event(7, "ended", run_dir="/somewhere", exit_code=3, log="the last line")]


def test_a_half_written_event_waits_for_its_end() -> None:
    executor = make(RecordingQueue())
    start(executor, 1)
    executor.wait(0)
    with JobDir("jobs/1").events_file.open("a") as file:
        file.write('{"number":1,"kind":"ended",')
        file.flush()
        assert executor.wait(0) == []
        file.write('"exit_code":0}\n')
    assert executor.wait(0) == [Event(1, "ended", exit_code=0)]


def test_a_job_that_vanishes_is_said_to_have_been_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QUEUE_PERIOD_S", "SETTLE_S"):
        monkeypatch.setattr(f"pystematic.sweep._queue.{name}", 0.0)
    queue = RecordingQueue()
    executor = make(queue)
    start(executor, 1)
    executor.wait(0)
    queue.gone[1] = Gone("oom", "Slurm has ended the job 5")
    executor.wait(0)
    assert executor.wait(0) == [Event(1, "ended", exit_code=137, reason="oom", log="Slurm has ended the job 5")]


def test_a_job_that_has_not_begun_never_begins_after_a_stop() -> None:
    queue = RecordingQueue()
    executor = make(queue)
    start(executor, 1)
    executor.wait(0)
    executor.stop(1)
    assert executor.wait(0) == [Event(1, "ended", exit_code=143)]
    assert queue.cancelled == [1]
    assert OwnFiles(JobDir("jobs/1")).claim() is None


def test_a_job_that_has_begun_is_asked_to_end() -> None:
    executor = make(RecordingQueue())
    start(executor, 1)
    executor.wait(0)
    files = job(1)
    assert files.asked() == ""
    executor.stop(1)
    assert files.asked() == "stop"
    executor.stop(1, kill=True)
    assert files.asked() == "kill"


def test_what_has_not_begun_is_taken_back_and_the_rest_goes_on() -> None:
    executor = make(RecordingQueue(), slots=2)
    start(executor, 1, 2, 3)
    executor.wait(0)
    job(1)
    assert executor.withdraw() == {2, 3}
    assert {event.number for event in executor.wait(0)} == {2, 3}


def test_jobs_of_an_earlier_process_are_taken_over() -> None:
    first = make(RecordingQueue())
    start(first, 1, 2, 3, 4)
    first.wait(0)
    job(2).tell(Event(2, "ended", exit_code=0))
    queue = RecordingQueue()
    queue.known = {1}
    second = make(queue)
    assert second.adopt([1, 2, 3, 9]) == {1, 2}
    assert second.wait(0) == [Event(2, "ended", exit_code=0)]


def test_the_parcel_is_for_its_owner_and_for_one_job() -> None:
    executor = make(RecordingQueue())
    start(executor, 1)
    executor.wait(0)
    parcel = JobDir("jobs/1").parcel_file
    assert os.stat(parcel).st_mode & 0o077 == 0
    job(1)
    assert not parcel.exists()


def test_files_of_ended_jobs_are_removed_at_the_end() -> None:
    executor = make(RecordingQueue())
    start(executor, 1)
    executor.wait(0)
    job(1).tell(Event(1, "ended", exit_code=0))
    executor.wait(0)
    executor.close()
    assert not JobDir("jobs/1").path.exists()
