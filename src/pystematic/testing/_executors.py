"""`ExecutorCases`: what every executor promises, each sentence of its contract as a test."""

from __future__ import annotations

import abc
import os
import pathlib
import time
from typing import TYPE_CHECKING, Any

from pystematic import rundir
from pystematic.sweep import Event, Executor, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A run that takes longer has failed the test, on any machine.
LIMIT_S = 60.0


class ExecutorCases(abc.ABC):
    """Subclass it as ``TestMyExecutor`` and override `make_executor`. Needs pytest."""

    @abc.abstractmethod
    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        """Return a new executor for runs of ``experiment``, ``jobs`` at once."""

    # Of the executors of one test, which are closed at its end whatever happens.
    def setup_method(self) -> None:
        """Begin a test."""
        self._made: list[Executor] = []
        self._early: list[Event] = []  # that came while the test waited for something else
        self._folder = pathlib.Path.cwd()

    def teardown_method(self) -> None:
        """Close what the test has made."""
        for executor in self._made:
            executor.close()

    def _executor(self, jobs: int = 1) -> Executor:
        from pystematic.testing._executor_program import case

        made = self.make_executor(case, jobs)
        self._made.append(made)
        return made

    def _task(self, number: int, action: str = "end", **more: Any) -> Task:
        values: dict[str, Any] = {
            "action": action,
            "folder": str(self._folder),
            "label": str(number),
            "output_dir": "output",
        }
        values |= {"random_seed": 1, "grace": 0.2, **more.pop("values", {})}
        return Task(number, "case", values, {"action": "sweep"}, "sweep test", f"key-{number}", **more)

    def _events(self, executor: Executor, until: Callable[[list[Event]], bool]) -> list[Event]:
        found, self._early = self._early, []
        if until(found):
            return found
        for _ in _moments():
            found += executor.wait(0.1)
            if until(found):
                return found
        raise AssertionError(f"no more than {found} in {LIMIT_S} s")

    def _end_of(self, executor: Executor, task: Task) -> Event:
        """Start a task, and return its last event."""
        executor.start(task)
        return _ended(self._events(executor, lambda events: _has_ended(events, task.number)), task.number)

    def _wait_for(self, name: str) -> str:
        path = self._folder / name
        for _ in _moments():
            if path.exists():
                return path.read_text()
            for executor in self._made:
                self._early += executor.wait(0.01)
        raise AssertionError(f"no file {name} in {LIMIT_S} s")

    @staticmethod
    def _document(event: Event) -> dict[str, Any]:
        assert event.run_dir is not None
        document = rundir.read_document(rundir.RunDir(event.run_dir).run_file)
        assert document is not None
        return document

    def test_a_task_gives_its_directory_and_then_its_end(self) -> None:
        executor = self._executor()
        executor.start(self._task(7))
        events = self._events(executor, lambda events: _has_ended(events, 7))
        assert [event.kind for event in events] == ["run", "ended"]
        assert events[0].run_dir == events[1].run_dir
        assert (events[1].exit_code, events[1].reason) == (0, None)

    def test_the_record_tells_sweep_point_and_sources(self) -> None:
        document = self._document(self._end_of(self._executor(), self._task(1)))
        assert document["status"] == "completed"
        assert (document["parent"], document["point"]) == ("sweep test", "key-1")
        assert document["sources"]["action"] == document["sources"]["label"] == "sweep"

    def test_a_failure_shows_its_last_line(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "fail"))
        assert (event.exit_code, event.reason, event.log) == (1, None, "ValueError: as it was told to")
        assert self._document(event)["status"] == "failed"

    def test_an_exit_code_of_the_program_is_kept(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "exit"))
        assert (event.exit_code, event.reason) == (3, None)

    def test_values_that_do_not_fit_end_without_a_directory(self) -> None:
        event = self._end_of(self._executor(), self._task(1, values={"size": "large"}))
        assert (event.exit_code, event.run_dir) == (2, None)
        assert "size" in event.log

    def test_a_run_that_is_killed_is_failed(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "die"))
        assert (event.exit_code, event.reason) == (137, "killed")
        document = self._document(event)
        assert (document["status"], document["error"]["type"]) == ("failed", "killed")

    def test_a_stop_interrupts(self) -> None:
        executor = self._executor()
        executor.start(self._task(1, "wait"))
        self._wait_for("waits-1")
        executor.stop(1)
        event = _ended(self._events(executor, lambda events: _has_ended(events, 1)), 1)
        assert (event.exit_code, event.reason) == (143, None)
        assert self._document(event)["status"] == "interrupted"

    def test_a_killing_stop_needs_nobodys_consent(self) -> None:
        executor = self._executor()
        executor.start(self._task(1, "stubborn"))
        self._wait_for("waits-1")
        executor.stop(1, kill=True)
        event = _ended(self._events(executor, lambda events: _has_ended(events, 1)), 1)
        assert (event.exit_code, event.reason) == (137, None)
        assert self._document(event)["status"] == "interrupted"

    def test_a_run_whose_time_is_over_is_failed(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "wait", timeout_s=3.0))
        assert event.reason == "timeout"
        document = self._document(event)
        assert (document["status"], document["error"]["type"]) == ("failed", "timeout")

    def test_a_run_that_ignores_the_end_of_its_time_is_killed(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "stubborn", timeout_s=3.0))
        assert (event.exit_code, event.reason) == (137, "timeout")
        assert self._document(event)["error"]["type"] == "timeout"

    def test_a_run_that_needs_more_memory_than_it_may_is_killed(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "eat", memory_bytes=250 << 20))
        assert (event.exit_code, event.reason) == (137, "oom")
        assert self._document(event)["error"]["type"] == "oom"

    def test_what_a_run_leaves_is_gone_when_its_end_is_told(self) -> None:
        self._end_of(self._executor(), self._task(1, "leave"))
        assert [pid for pid in self._wait_for("left-1").split() if _is_alive(int(pid))] == []

    def test_no_more_run_at_once_than_there_are_slots(self) -> None:
        executor = self._executor(jobs=1)
        for number in (1, 2, 3):
            executor.start(self._task(number))
        events = self._events(executor, lambda events: all(_has_ended(events, number) for number in (1, 2, 3)))
        assert [(event.number, event.kind) for event in events] == [
            (number, kind) for number in (1, 2, 3) for kind in ("run", "ended")
        ]

    def test_as_many_run_at_once_as_there_are_slots(self) -> None:
        executor = self._executor(jobs=2)
        for number in (1, 2):
            executor.start(self._task(number, "wait"))
        for number in (1, 2):
            self._wait_for(f"waits-{number}")
        (self._folder / "go").touch()
        events = self._events(executor, lambda events: all(_has_ended(events, number) for number in (1, 2)))
        assert {event.exit_code for event in events if event.kind == "ended"} == {0}

    def test_a_task_that_waits_can_be_stopped(self) -> None:
        executor = self._executor(jobs=1)
        executor.start(self._task(1, "wait"))
        executor.start(self._task(2))
        executor.stop(2)
        events = self._events(executor, lambda events: _has_ended(events, 2))
        assert (_ended(events, 2).exit_code, _ended(events, 2).run_dir) == (143, None)
        (self._folder / "go").touch()

    def test_output_goes_into_the_log(self) -> None:
        event = self._end_of(self._executor(), self._task(1, "print"))
        assert event.run_dir is not None
        log = rundir.RunDir(event.run_dir).log_file(0).read_text()
        assert f"read '' in {self._folder}" in log
        assert "from a child" in log

    def test_close_leaves_nothing_behind(self) -> None:
        executor = self._executor()
        executor.start(self._task(1, "stubborn"))
        self._wait_for("waits-1")
        executor.close()
        executor.close()
        assert not _is_alive(int(self._wait_for("began-1")))

    def test_stopping_what_has_ended_does_nothing(self) -> None:
        executor = self._executor()
        self._end_of(executor, self._task(1))
        executor.stop(1)
        executor.stop(99, kill=True)
        assert self._end_of(executor, self._task(2)).exit_code == 0

    def test_waiting_for_nothing_returns_at_the_timeout(self) -> None:
        assert self._executor().wait(0.01) == []


def _moments() -> Iterator[None]:
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        yield


def _has_ended(events: list[Event], number: int) -> bool:
    return any(event.kind == "ended" and event.number == number for event in events)


def _ended(events: list[Event], number: int) -> Event:
    return next(event for event in events if event.kind == "ended" and event.number == number)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
