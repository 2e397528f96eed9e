"""The executors of this machine pass the cases that every executor has to pass."""

from __future__ import annotations

from typing import Any

from pystematic.sweep import Executor, make_local_executor
from pystematic.testing import ExecutorCases


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
