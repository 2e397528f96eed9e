"""Executors past one machine, with a real Slurm and a real Ray: the cases of every executor, and whole sweeps."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic.rundir import SweepDir
from pystematic.sweep import Executor, Place, Plan, RunLimits, SweepResult, make_executor_elsewhere
from pystematic.testing import ExecutorCases
from tests.builders import run_python, wait_until, write_program
from tests.process.clusters import alone, needs_ray, needs_slurm, needs_submitit

LIMIT_S = 120

Begin = Callable[..., "subprocess.Popen[str]"]
FAILING = (7, 14)

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="signals and process groups as Linux has them"),
    pytest.mark.timeout(900),  # the wait for others who use the same Slurm counts
]
on_slurm = [needs_slurm, needs_submitit, pytest.mark.xdist_group("slurm")]
SLURM = [pytest.param("slurm", marks=on_slurm)]
on_ray = [needs_ray, pytest.mark.xdist_group("ray")]

# Runs that wait go on until the file "go" is there.
PROGRAM = """
    import os, signal, threading
    import pystematic

    VERSION = 1

    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.parameter(name="waits", type=bool, default=False, identity=False)
    @pystematic.parameter(name="stubborn", type=bool, default=False, identity=False)
    @pystematic.parameter(name="password", type=str, default="")
    @pystematic.experiment(metric="loss:min")
    def train(parameters, context):
        if parameters["stubborn"]:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("version", VERSION, "has the password:", parameters["password"][::-1] == "1-yzzyx")
        if parameters["x"] in (7, 14):
            raise ValueError(f"no luck with {parameters['x']}")
        context.recorder.scalar("loss", parameters["x"], step=0)
        while parameters["waits"] and not os.path.exists("go"):
            threading.Event().wait(0.02)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


DISTRIBUTED_PROGRAM = """
    import pystematic, torch

    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.experiment
    def train(parameters, context):
        total = context.all_reduce(torch.tensor(float(context.rank + parameters["x"])), op="sum")
        context.recorder.scalar("sum", float(total), step=0)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""
SAVING_PROGRAM = """
    import os, threading
    import pystematic, torch

    @pystematic.parameter(name="epochs", type=int, default=3)
    @pystematic.experiment
    def train(parameters, context):
        context.state = torch.zeros(1)
        for epoch in context.epochs(parameters["epochs"]):
            print("epoch", epoch, flush=True)
            context.recorder.step()
            threading.Event().wait(0.02)
            if epoch == 0:
                context.save_checkpoint()
            if os.path.exists("enough"):
                break

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def executor_at(place: Place, experiment: Any, jobs: int) -> Executor:
    return make_executor_elsewhere(
        experiment, place, jobs=jobs, limits=RunLimits(), folder=Path("queue"), label="cases", output_dir="output"
    )


@pytest.mark.usefixtures("slurm")
class TestSlurm(ExecutorCases):
    pytestmark = on_slurm

    @pytest.fixture(autouse=True)
    def _alone(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with alone(tmp_path_factory.getbasetemp().parent):
            yield

    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        return executor_at(Place("slurm"), experiment, jobs)


class TestRay(ExecutorCases):
    pytestmark = on_ray

    @pytest.fixture(autouse=True)
    def _cluster(self, ray_address: str) -> None:
        self._address = ray_address

    def make_executor(self, experiment: Any, jobs: int) -> Executor:
        return executor_at(Place("ray", self._address), experiment, jobs)


# Of the session, as what starts a cluster comes before the look for leaks of a test.
@pytest.fixture(scope="session", params=[*SLURM, pytest.param("ray", marks=on_ray)])
def place(request: pytest.FixtureRequest) -> str:
    """What follows --on."""
    if request.param == "ray":
        return f"ray:{request.getfixturevalue('ray_address')}"
    request.getfixturevalue("slurm")
    return str(request.param)


@pytest.fixture(autouse=True)
def _leaves_no_job(request: pytest.FixtureRequest) -> Iterator[None]:
    if "place" not in request.fixturenames or request.getfixturevalue("place") != "slurm":
        yield
        return
    folder = request.getfixturevalue("tmp_path_factory").getbasetemp().parent
    with alone(folder):
        yield from _without_leftovers()


def _without_leftovers() -> Iterator[None]:
    before = set(queued_jobs())
    yield
    left = sorted(set(queued_jobs()) - before)  # of a test that has failed: the next one needs the nodes
    if left:
        subprocess.run(["scancel", *left], capture_output=True, timeout=LIMIT_S, check=False)
        wait_until(lambda: not set(left) & set(queued_jobs()), LIMIT_S)


@pytest.fixture
def folder(working_dir: Path) -> Path:
    write_program(working_dir, PROGRAM)
    return working_dir


@pytest.fixture
def begin(folder: Path) -> Iterator[Begin]:
    """Start a program in the folder; it is killed at the end of the test, if it is still there."""
    with contextlib.ExitStack() as stack:

        def begin(*words: str) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "prog.py", *words],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield begin


def sweep(folder: Path, place: str, *words: str) -> subprocess.CompletedProcess[str]:
    return run_python("prog.py", *options(place), *words, cwd=folder, timeout_s=LIMIT_S)


def options(place: str) -> list[str]:
    return ["sweep", "--name", "s", "--on", place]


def runs_in(folder: Path) -> list[Any]:
    try:
        return list(pystematic.runs(str(folder / "output")))
    except pystematic.core.Error:
        return []


def counts(folder: Path) -> dict[str, int]:
    return SweepResult(Plan(SweepDir(folder / "output", "s")).read()).counts


def wait_for_waiting(folder: Path, count: int) -> None:
    """Wait until so many runs are at work."""
    wait_until(lambda: sum("version" in run.log_text() for run in runs_in(folder)) >= count, LIMIT_S)


def queued_jobs() -> list[str]:
    listed = subprocess.run(["squeue", "-h", "-r", "-o", "%i"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def read_stderr_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    line, said = "", []
    while text not in line:
        line = process.stderr.readline()
        said.append(line)
        assert line, f"it has ended without saying {text!r}: {said}"


def test_a_sweep_of_twenty_points_keeps_all_records_and_shows_both_failures(folder: Path, place: str) -> None:
    ended = sweep(folder, place, "--output", "json", "train", "--x", "1..20")
    assert ended.returncode == 1, ended.stderr
    assert json.loads(ended.stdout)["counts"] == {"completed": 18, "failed": 2}
    for x in FAILING:
        assert f"ValueError: no luck with {x}" in ended.stderr
    runs = runs_in(folder)
    assert sorted(run.params["x"] for run in runs) == list(range(1, 21))
    for run in runs:
        assert run.status == ("failed" if run.params["x"] in FAILING else "completed")
        assert run.document["parent"] == "sweep s"
        assert run.document["program"]["file"] == str(folder / "prog.py")
        assert run.sources["x"] == "sweep"
    again = sweep(folder, place, "--output", "json", "train", "--x", "1..20")
    assert (again.returncode, len(runs_in(folder))) == (1, 20)


def test_a_stop_from_another_process_ends_the_jobs_and_the_same_command_goes_on(
    folder: Path, begin: Begin, place: str
) -> None:
    words = ["train", "--x", "21..26", "--waits"]
    process = begin(*options(place), *words)
    wait_for_waiting(folder, 2)
    assert run_python("-m", "pystematic", "sweep", "stop", "s", "--now", cwd=folder).returncode == 0
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143, said
    assert set(counts(folder)) == {"interrupted"}
    assert {run.status for run in runs_in(folder)} == {"interrupted"}
    (folder / "go").touch()
    again = sweep(folder, place, *words)
    assert again.returncode == 0, again.stderr
    assert counts(folder) == {"completed": 6}


def test_a_first_interrupt_takes_back_what_waits_and_lets_the_others_finish(
    folder: Path, begin: Begin, place: str
) -> None:
    process = begin(*options(place), "train", "--x", "21..30", "--waits")
    wait_for_waiting(folder, 4)
    process.send_signal(signal.SIGINT)
    read_stderr_until(process, "no more runs are started")
    (folder / "go").touch()
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, said
    assert counts(folder) == {"completed": 4, "interrupted": 6}
    assert len(runs_in(folder)) == 4


def test_a_third_interrupt_kills(folder: Path, begin: Begin, place: str) -> None:
    process = begin(*options(place), "--jobs", "2", "train", "--x", "21..23", "--waits", "--stubborn")
    wait_for_waiting(folder, 2)
    for said in ("no more runs are started", "must end now", "killed"):
        process.send_signal(signal.SIGINT)
        read_stderr_until(process, said)
    _, rest = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130, rest
    assert counts(folder) == {"interrupted": 2, "planned": 1}


@pytest.mark.parametrize("place", SLURM, indirect=True)
def test_a_killed_coordinator_finds_its_jobs_again(folder: Path, begin: Begin, place: str) -> None:
    words = ["train", "--x", "21..30", "--waits"]
    process = begin(*options(place), *words)
    wait_for_waiting(folder, 4)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    assert {run.status for run in runs_in(folder)} == {"running"}
    (folder / "go").touch()
    again = sweep(folder, place, *words)
    assert again.returncode == 0, again.stderr
    assert "10 runs of the earlier command are gone on with." in again.stderr
    made = Counter(run.params["x"] for run in runs_in(folder))
    assert made == dict.fromkeys(range(21, 31), 1)
    assert queued_jobs() == []


@pytest.mark.parametrize("place", SLURM, indirect=True)
def test_jobs_that_wait_are_taken_back_by_a_sweep_on_this_machine(folder: Path, begin: Begin, place: str) -> None:
    words = ["train", "--x", "21..28", "--waits"]
    process = begin(*options(place), *words)
    wait_for_waiting(folder, 4)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    (folder / "go").touch()  # the four that run finish; those that wait find that they are no longer wanted
    again = run_python("prog.py", "sweep", "--name", "s", "--jobs", "2", *words, cwd=folder, timeout_s=LIMIT_S)
    assert again.returncode == 0, again.stderr
    wait_until(lambda: not queued_jobs(), LIMIT_S)
    assert Counter(run.params["x"] for run in runs_in(folder)) == dict.fromkeys(range(21, 29), 1)


@needs_ray
@pytest.mark.xdist_group("ray")
def test_the_runs_of_a_killed_coordinator_of_ray_are_lost_and_made_again(
    folder: Path, begin: Begin, ray_address: str
) -> None:
    words = ["train", "--x", "21..24", "--waits"]
    process = begin(*options(f"ray:{ray_address}"), *words)
    wait_for_waiting(folder, 4)
    process.kill()
    process.communicate(timeout=LIMIT_S)
    # Ray kills the job and its run in any order: where the run goes first, its job has the time to say so.
    wait_until(lambda: {run.status for run in runs_in(folder)} <= {"lost", "failed"}, LIMIT_S)
    (folder / "go").touch()
    again = sweep(folder, f"ray:{ray_address}", "--retry", "all", *words)
    assert again.returncode == 0, again.stderr
    assert counts(folder) == {"completed": 4}


@needs_ray
@pytest.mark.parametrize(("address", "why"), [("127.0.0.1:1", "Connection refused."), ("nowhere", "Invalid address")])
def test_an_address_without_a_cluster_is_refused_at_once(folder: Path, address: str, why: str) -> None:
    ended = run_python("prog.py", "sweep", "--on", f"ray:{address}", "train", "--x", "1,2", cwd=folder)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"pystematic: --on ray: there is no cluster at '{address}': {why}")


def test_an_edit_counts_for_no_run_of_a_sweep_that_runs(folder: Path, begin: Begin, place: str) -> None:
    process = begin(*options(place), "train", "--x", "21..26", "--waits")
    wait_for_waiting(folder, 4)
    program = folder / "prog.py"
    program.write_text(program.read_text().replace("VERSION = 1", "VERSION = 2"))
    (folder / "go").touch()
    _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, said
    assert all("version 1" in run.log_text() for run in runs_in(folder))


def test_secrets_reach_the_run_and_stay_in_no_file(folder: Path, place: str) -> None:
    ended = sweep(folder, place, "train", "--x", "1..2", "--password", "xyzzy-1")
    assert ended.returncode == 0, ended.stderr
    assert all("has the password: True" in run.log_text() for run in runs_in(folder))
    files = [path for path in (folder / "output").rglob("*") if path.is_file()]
    assert [path for path in files if b"xyzzy-1" in path.read_bytes()] == []


def test_a_single_run_elsewhere_shows_its_log_and_its_end(folder: Path, place: str) -> None:
    ended = run_python("prog.py", "train", "--x", "2", "--on", place, cwd=folder, timeout_s=LIMIT_S)
    assert ended.returncode == 0, ended.stderr
    assert "version 1" in ended.stdout
    failed = run_python("prog.py", "train", "--x", "7", "--on", place, cwd=folder, timeout_s=LIMIT_S)
    assert failed.returncode == 1
    assert "ValueError: no luck with 7" in failed.stderr
    assert sorted((run.params["x"], run.status) for run in runs_in(folder)) == [(2, "completed"), (7, "failed")]


def test_an_interrupt_ends_a_single_run_elsewhere(folder: Path, begin: Begin, place: str) -> None:
    process = begin("train", "--waits", "--on", place)
    read_stderr_until(process, "has begun on")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 143
    assert [run.status for run in runs_in(folder)] == ["interrupted"]


def test_a_run_of_a_sweep_may_be_distributed(working_dir: Path, place: str) -> None:
    write_program(working_dir, DISTRIBUTED_PROGRAM)
    more = ["--distributed", "--nproc-per-node", "2", "--device", "cpu"]
    ended = sweep(working_dir, place, "--threads", "1", "--output", "json", "train", "--x", "1..2", *more)
    assert ended.returncode == 0, ended.stderr
    assert sorted(run.summary["sum"]["last"] for run in runs_in(working_dir)) == [3, 5]
    assert {run.document["attempts"][0]["world_size"] for run in runs_in(working_dir)} == {2}


@pytest.mark.parametrize("place", SLURM, indirect=True)
def test_a_job_whose_time_runs_out_saves_and_is_gone_on_with(working_dir: Path, begin: Begin, place: str) -> None:
    write_program(working_dir, SAVING_PROGRAM)
    process = begin(*options(place), "train", "--epochs", "100000")
    wait_until(lambda: any("epoch 3" in run.log_text() for run in runs_in(working_dir)), LIMIT_S)
    # What Slurm sends 90 s before the time of a job is over.
    subprocess.run(["scancel", "--signal=USR2", *queued_jobs()], capture_output=True, timeout=LIMIT_S, check=True)
    _, said = process.communicate(timeout=LIMIT_S)
    (interrupted,) = runs_in(working_dir)
    assert (process.returncode, interrupted.status) == (1, "interrupted"), said
    (working_dir / "enough").touch()
    again = sweep(working_dir, place, "train", "--epochs", "100000")
    assert again.returncode == 0, again.stderr
    (run,) = runs_in(working_dir)
    assert (run.status, len(run.document["attempts"])) == ("completed", 2)
