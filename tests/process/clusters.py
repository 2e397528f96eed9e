"""Clusters that tests need: whether they can be had here, and how they are started."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
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


def run_slurm(folder: Path) -> Iterator[None]:
    """Have a Slurm of two nodes: one that is there already, or one for the tests of all workers of this session.

    Args:
        folder: that the workers share. Who starts it says so there, and the last one who uses it stops it.
    """
    started = folder / "slurm-started"
    # Two locks: a worker that begins must not wait until all who use it already have ended.
    with open(folder / "slurm-users", "w") as users, open(folder / "slurm-switch", "w") as switch:
        fcntl.flock(switch, fcntl.LOCK_EX)
        if not is_idle():
            call_script("start", "2")
            started.touch()
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(switch, fcntl.LOCK_UN)
        yield
        fcntl.flock(switch, fcntl.LOCK_EX)
        with contextlib.suppress(BlockingIOError):  # another worker still needs it
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if started.exists():
                started.unlink()
                call_script("stop")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Have the Slurm for one test: others that wait for a number of runs at once would wait for ever."""
    with open(folder / "slurm-test", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def call_script(*words: str) -> None:
    # Not through pipes: the daemons would hold them.
    done = subprocess.run(
        [SCRIPTS / "slurm_local.sh", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"scripts/slurm_local.sh {words[0]} has failed; call it by hand to see why"


RAY_CLUSTER = """
import sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
try:
    cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    print("ADDRESS", cluster.address, flush=True)
    sys.stdin.read()
finally:
    cluster.shutdown()
"""


def run_ray() -> Iterator[str]:
    """Have a Ray cluster of two nodes on this machine; yields its address."""
    importlib.import_module("ray")  # which puts its own into sys.path and sys.excepthook: no test is to blame for that
    # In a process of its own: a node takes over the handling of SIGTERM where it is started, and for good.
    process = subprocess.Popen(
        [sys.executable, "-c", RAY_CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = next((line.split()[1] for line in process.stdout if line.startswith("ADDRESS ")), None)
        assert address is not None, "no Ray cluster could be started"
        yield address
    finally:
        process.stdin.close()  # it ends then, as it does when this process dies
        process.wait(LIMIT_S)
        process.stdout.close()
