"""The executors of this machine pass the cases that every executor has to pass."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pystematic.sweep import Executor, Task, make_local_executor
from pystematic.testing import ExecutorCases
from tests.builders import wait_until


class TestForked(ExecutorCases):
    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        made = make_local_executor(experiment, jobs=jobs)
        assert (made.name, made.notice) == ("fork", None)
        return made


class TestFresh(ExecutorCases):
    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        made = make_local_executor(experiment, jobs=jobs, fork=False)
        assert made.name == "fresh"
        return made


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core only: there is nothing to share out")
@pytest.mark.parametrize("fork", [True, False])
def test_runs_at_the_same_time_have_cores_of_their_own(working_dir: Path, fork: bool) -> None:
    from pystematic.testing._executor_program import case

    executor = make_local_executor(case, jobs=2, fork=fork)
    try:
        for number in (1, 2):
            values = {"action": "wait", "folder": str(working_dir), "label": str(number), "output_dir": "output"}
            executor.start(Task(number, "case", values, {}, "sweep s", f"key-{number}", threads=1))
        wait_until(lambda: executor.wait(0.01) is not None and len(list(working_dir.glob("waits-*"))) == 2)
        cores = [os.sched_getaffinity(int((working_dir / f"began-{number}").read_text())) for number in (1, 2)]
        assert [len(own) for own in cores] == [1, 1]
        assert cores[0].isdisjoint(cores[1])
    finally:
        executor.close()
