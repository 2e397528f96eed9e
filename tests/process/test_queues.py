"""Executors past one machine, with a real Slurm and a real Ray: the cases of every executor, and whole sweeps."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pystematic.sweep import Executor, Place, RunLimits, make_executor_elsewhere
from pystematic.testing import ExecutorCases

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """A cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()


@needs_ray
@pytest.mark.xdist_group("ray")
class TestRay(ExecutorCases):
    @pytest.fixture(autouse=True)
    def _cluster(self, ray_address: str) -> None:
        self.address = ray_address

    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        return make_executor_elsewhere(
            experiment, Place("ray", self.address), jobs=jobs, limits=RunLimits(), folder=Path("queue"), label="cases",
            output_dir="output",
        )
