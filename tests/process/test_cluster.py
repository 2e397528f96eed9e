"""Several machines and Slurm, as far as one machine can be them. Each command stands in docs/how-to/distributed.md."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pystematic
from tests.builders import wait_until, write_program
from tests.process.clusters import SCRIPTS, is_root_with, needs_slurm

LIMIT_S = 120

pytestmark = pytest.mark.timeout(900)  # the wait for others who use the same Slurm counts

PROGRAM = """
    import os, threading
    import pystematic, torch

    @pystematic.parameter(name="how", type=str, default="return")
    @pystematic.experiment
    def train(parameters, context):
        print("sum of ranks", context.all_reduce(context.rank), flush=True)
        if parameters["how"] == "fail" and context.rank == 1:
            raise ValueError("the words of the program")
        if parameters["how"] == "fail":
            context.barrier()
        if parameters["how"] == "until-requeued":
            is_first = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
            context.state = torch.zeros(1)
            for epoch in context.epochs(100_000):
                context.recorder.scalar("epoch", epoch)
                context.recorder.step()
                if not is_first:
                    print("went on with epoch", epoch, flush=True)
                    break
                if epoch == 3:
                    context.save_checkpoint()
                    open(f"looping-{context.rank}", "x").close()
                threading.Event().wait(0.01)  # so that the job is put back before the loop is through

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""
JOB = """\
#!/bin/bash
#SBATCH --ntasks=2 --requeue --open-mode=append --output=job.txt
srun {python} {program} train --how until-requeued --distributed --device cpu --resume auto
"""


def can_make_namespaces() -> bool:
    if not is_root_with("ip", "unshare"):
        return False
    probe = ["unshare", "--net", "--uts", "ip", "link", "set", "lo", "up"]
    return subprocess.run(probe, capture_output=True, timeout=LIMIT_S, check=False).returncode == 0


needs_namespaces = pytest.mark.skipif(
    not can_make_namespaces(), reason="two machines need network namespaces: root, iproute2 and a kernel that has them"
)


def run_document(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("output/train/*/run.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def on_two_machines(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    program = write_program(folder, PROGRAM)
    machines = "--nnodes 2 --nproc-per-node 1 --node-rank $NODE_RANK --master-addr node0 --master-port 29512"
    command = f"{sys.executable} {program} train --distributed --device cpu {machines} {' '.join(options)}"
    return subprocess.run(
        [SCRIPTS / "two_nodes.sh", command], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def srun(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["srun", "--ntasks", "2", sys.executable, str(write_program(folder, PROGRAM)), "train", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)


@needs_namespaces
@pytest.mark.xdist_group("two machines")
def test_two_machines_work_on_one_run(working_dir: Path) -> None:
    ended = on_two_machines(working_dir)
    assert ended.returncode == 0, ended.stdout
    assert "node0: sum of ranks 1" in ended.stdout
    document = run_document(working_dir)
    assert (document["status"], document["attempts"][0]["world_size"]) == ("completed", 2)
    (run_dir,) = working_dir.glob("output/train/*")
    assert "sum of ranks 1" in (run_dir / "log.rank-1.txt").read_text()


@needs_namespaces
@pytest.mark.xdist_group("two machines")
def test_a_failure_on_one_machine_ends_both_with_its_words(working_dir: Path) -> None:
    ended = on_two_machines(working_dir, "--how", "fail")
    assert ended.returncode == 1
    document = run_document(working_dir)
    assert document["status"] == "failed"
    assert (document["error"]["type"], document["error"]["message"]) == ("ValueError", "the words of the program")
    assert "node0: rank 1 of 2 failed:" in ended.stdout


@needs_slurm
@pytest.mark.usefixtures("slurm")
@pytest.mark.xdist_group("slurm")
def test_the_tasks_of_srun_work_on_one_run(working_dir: Path) -> None:
    ended = srun(working_dir, "--distributed", "--device", "cpu")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "sum of ranks 1\n"
    assert "Joined Slurm: rank 0 of 2" in ended.stderr
    document = run_document(working_dir)
    assert (document["status"], document["attempts"][0]["world_size"]) == ("completed", 2)


@needs_slurm
@pytest.mark.usefixtures("slurm")
@pytest.mark.xdist_group("slurm")
def test_several_tasks_of_srun_are_refused_without_a_word_on_distributed(working_dir: Path) -> None:
    ended = srun(working_dir)
    assert ended.returncode == 2
    assert "Say --distributed to have them work on one run together, or --no-distributed for 2 runs." in ended.stderr
    assert not Path("output").exists()


@needs_slurm
@pytest.mark.usefixtures("slurm")
@pytest.mark.xdist_group("slurm")
def test_a_failing_task_of_srun_ends_all_with_its_words(working_dir: Path) -> None:
    ended = srun(working_dir, "--distributed", "--device", "cpu", "--how", "fail")
    assert ended.returncode == 1
    assert "rank 1 of 2 failed:" in ended.stderr
    assert run_document(working_dir)["error"]["message"] == "the words of the program"


@needs_slurm
@pytest.mark.usefixtures("slurm")
@pytest.mark.xdist_group("slurm")
def test_a_job_that_is_put_back_into_the_queue_goes_on_with_its_run(working_dir: Path) -> None:
    program = write_program(working_dir, PROGRAM)
    Path("job.sh").write_text(JOB.format(python=sys.executable, program=program))
    submitted = subprocess.run(
        ["sbatch", "--parsable", "job.sh"], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    try:
        wait_until(lambda: len(list(working_dir.glob("looping-*"))) == 2, LIMIT_S)
        subprocess.run(["scontrol", "requeue", job], capture_output=True, timeout=LIMIT_S, check=True)
        wait_until(lambda: run_document(working_dir)["status"] == "completed", LIMIT_S)
    finally:
        subprocess.run(["scancel", job], capture_output=True, timeout=LIMIT_S, check=False)
    attempts = run_document(working_dir)["attempts"]
    assert [(attempt["status"], attempt["world_size"]) for attempt in attempts] == [
        ("interrupted", 2),
        ("completed", 2),
    ]
    (run_dir,) = working_dir.glob("output/train/*")
    steps = pystematic.runs("output")[0].metrics("epoch").step.tolist()
    assert steps == list(range(len(steps)))  # none twice, none missing
    assert "went on with epoch" in (run_dir / "log.txt").read_text()
