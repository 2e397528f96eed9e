"""Executors past one machine, with a real Slurm and a real Ray: the cases of every executor, and whole sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pystematic.sweep import Executor, Place, RunLimits, make_executor_elsewhere
from pystematic.testing import ExecutorCases

ray = pytest.importorskip("ray", reason="Ray is not installed")


class TestRay(ExecutorCases):
    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        return make_executor_elsewhere(experiment, Place("ray"), jobs=jobs, limits=RunLimits(), folder=Path("queue"), label="cases", output_dir="output")
