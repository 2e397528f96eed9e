"""Several machines and Slurm, as far as one machine can be them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import write_program

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
LIMIT_S = 90

PROGRAM = """
    import pystematic

    @pystematic.experiment
    def train(parameters, context):
        print("sum of ranks", context.all_reduce(context.rank))

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def is_root_with(*commands: str) -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and all(map(shutil.which, commands))


def has_slurm() -> bool:
    if not shutil.which("srun") or not shutil.which("sinfo"):
        return False
    idle = subprocess.run(["sinfo", "-h", "-t", "idle"], capture_output=True, timeout=LIMIT_S, check=False)
    return idle.returncode == 0 and bool(idle.stdout.strip())


def world_size_in(folder: Path) -> int:
    (path,) = folder.glob("output/train/*/run.json")
    document = json.loads(path.read_text())
    assert document["status"] == "completed"
    return int(document["attempts"][0]["world_size"])


@pytest.mark.skipif(not is_root_with("ip", "unshare"), reason="network namespaces need root and iproute2")
@pytest.mark.timeout(120)
def test_two_machines_work_on_one_run(working_dir: Path) -> None:
    program = write_program(working_dir, PROGRAM)
    options = "--nnodes 2 --nproc-per-node 1 --node-rank $NODE_RANK --master-addr node0 --master-port 29512"
    command = f"{sys.executable} {program} train --distributed --device cpu {options}"
    ended = subprocess.run(
        [SCRIPTS / "two_nodes.sh", command], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert "node0: sum of ranks 1" in ended.stdout
    assert world_size_in(working_dir) == 2


@pytest.mark.skipif(not has_slurm(), reason="no idle Slurm node: scripts/slurm_local.sh start")
@pytest.mark.timeout(120)
def test_the_tasks_of_srun_work_on_one_run(working_dir: Path) -> None:
    program = write_program(working_dir, PROGRAM)
    command = ["srun", "-n", "2", sys.executable, str(program), "train", "--distributed", "--device", "cpu"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "sum of ranks 1" in ended.stdout
    assert world_size_in(working_dir) == 2
