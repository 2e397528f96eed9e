"""Clusters that tests need: whether they can be had here, and how they are started."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LIMIT_S = 120


def is_root_with(*commands: str) -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and all(map(shutil.which, commands))


def has_module(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


needs_slurm = pytest.mark.skipif(
    not is_root_with("slurmctld", "slurmd", "srun", "munged"),
    reason="Slurm needs root and its packages: slurmctld, slurmd, slurm-client, munge",
)
needs_submitit = pytest.mark.skipif(not has_module("submitit"), reason="submitit is not installed")
needs_ray = pytest.mark.skipif(not has_module("ray"), reason="Ray is not installed")


def is_idle() -> bool:
    idle = subprocess.run(["sinfo", "-h", "-t", "idle,mix,alloc"], capture_output=True, timeout=LIMIT_S, check=False)
    return idle.returncode == 0 and bool(idle.stdout.strip())


def run_slurm() -> Iterator[None]:
    """Have a Slurm of two nodes: one that is there already, or one for these tests."""
    if is_idle():
        yield
        return
    script = str(SCRIPTS / "slurm_local.sh")
    # Not through pipes: the daemons would hold them.
    started = subprocess.run(
        [script, "start", "2"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False
    )
    assert started.returncode == 0, "Slurm cannot be started here; scripts/slurm_local.sh start 2 says why"
    yield
    subprocess.run([script, "stop"], capture_output=True, timeout=LIMIT_S, check=False)


def run_ray() -> Iterator[str]:
    """Have a Ray cluster of two nodes on this machine; yields its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=2)
        cluster.wait_for_nodes()
        yield cluster.address
    finally:
        cluster.shutdown()
