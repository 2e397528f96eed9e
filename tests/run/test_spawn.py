"""Runs in processes of their own, and further processes of one run as in pystematic 1.x."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pystematic
from pystematic.errors import ExperimentError
from pystematic.run import _spawn, current, end_processes, start_process
from pystematic.run._spawn import end_launched
from pystematic.store import Run
from tests.builders import run_python, wait_until, write_program
from tests.run.builders import Started, logged, only_run, run_main


@pystematic.parameter(name="end", default="return")
@pystematic.experiment(name="spawned")
def spawned(parameters: Any) -> None:
    """The experiment of these tests, which new processes import from this file."""
    print("in the child")
    ends: dict[str, Any] = {
        "return": lambda: None,
        "fail": lambda: dict[str, int]()["missing"],
        "exit": lambda: sys.exit(7),
        "terminate": lambda: os.kill(os.getpid(), signal.SIGTERM),
        "interrupt": lambda: os.kill(os.getpid(), signal.SIGINT),
    }
    ends[parameters["end"]]()


under_another_name = pystematic.experiment(name="other-name")(lambda parameters: None)


def never_end(ignored: Any, ready: Any) -> None:
    if ignored:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready.set()
    threading.Event().wait()


def start_endless(*, ignoring: bool) -> Any:
    """Start a process that does not end by itself, or not even when it is asked to."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=never_end, args=(ignoring, ready))
    process.start()
    ready.wait(60)
    return process


@pytest.fixture
def output_dir(tmp_path: Path) -> Path:
    return tmp_path / "output"


# -- a new run in a new process --------------------------------------------------------------------------------------


def test_a_new_process_runs_a_new_run(output_dir: Path) -> None:
    process = spawned.run_in_new_process({"output_dir": str(output_dir)})
    process.join(60)
    assert process.exitcode == 0
    run = only_run(output_dir)
    assert (run.experiment, run.status, run.document["parent"]) == ("spawned", "completed", None)
    assert logged(Path(run.dir.log_file()))[1] == "in the child"
    assert run.document["pid"]["pid"] == process.pid != os.getpid()


@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("fail", 1, "failed"),
        ("exit", 7, "failed"),
        ("terminate", 143, "interrupted"),
        ("interrupt", 130, "interrupted"),
    ],
)
def test_its_exit_code_is_that_of_a_command_line(
    output_dir: Path, end: str, code: int, status: str, capfd: pytest.CaptureFixture[str]
) -> None:
    process = spawned.run_in_new_process({"output_dir": str(output_dir), "end": end})
    process.join(60)
    assert process.exitcode == code
    assert only_run(output_dir).status == status
    shown = capfd.readouterr().err
    assert ("KeyError: 'missing'" in shown) == (end == "fail")
    assert "_lifecycle.py" not in shown
    assert (f"The run failed. Its record is in {only_run(output_dir).path}" in shown) == (end == "fail")


def test_wrong_parameters_are_a_message_and_exit_code_2(output_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    process = spawned.run_in_new_process({"output_dir": str(output_dir), "ende": "x", "random_seed": "y"})
    process.join(60)
    assert process.exitcode == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("pystematic: ") for line in lines)


def test_an_output_folder_that_cannot_be_used_is_a_message_and_exit_code_1(
    output_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (output_dir).mkdir()
    (output_dir / "file").touch()
    process = spawned.run_in_new_process({"output_dir": str(output_dir / "file")})
    process.join(60)
    assert process.exitcode == 1
    assert capfd.readouterr().err.startswith("pystematic: the output folder ")


def test_a_run_started_by_a_run_names_it_as_its_parent(output_dir: Path) -> None:
    def main(active: Any) -> int | None:
        process = spawned.run_in_new_process({"output_dir": str(output_dir / "inner")})
        process.join(60)
        return process.exitcode

    outer = run_main(output_dir / "outer", main)
    assert outer.result == 0
    assert only_run(output_dir / "inner").document["parent"] == outer.id


def test_an_experiment_is_found_under_the_name_that_it_has_in_its_module(output_dir: Path) -> None:
    process = under_another_name.run_in_new_process({"output_dir": str(output_dir)})
    process.join(60)
    assert (process.exitcode, only_run(output_dir).experiment) == (0, "other-name")


def test_an_experiment_inside_of_a_function_is_refused() -> None:
    @pystematic.experiment(name="inner")
    def inner(parameters: Any) -> None: ...

    with pytest.raises(ExperimentError) as caught:
        start_process(inner, {})
    assert str(caught.value) == (
        f"experiment 'inner' cannot run in a new process: it stands nowhere in the module {__name__}, where the "
        "process would look for it. Define it at the top level of a file."
    )


def test_an_experiment_of_a_notebook_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    with pytest.raises(ExperimentError) as caught:
        start_process(SimpleNamespace(name="train", __module__="__main__", run=None), {})
    assert str(caught.value) == (
        "experiment 'train' cannot run in a new process: it is defined in a notebook or on the standard input, which a "
        "new process cannot import. Move it to a file."
    )


def test_a_parameter_that_cannot_be_pickled_is_refused() -> None:
    with pytest.raises(ExperimentError) as caught:
        start_process(spawned, {"end": lambda: None})
    assert str(caught.value).startswith("the parameters of 'spawned' cannot be handed over to a new process: ")
    assert str(caught.value).endswith("Give values that can be pickled.")


def test_an_experiment_inside_of_the_main_guard_is_not_found_and_said_so(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import pystematic

        if __name__ == "__main__":
            @pystematic.experiment
            def train(parameters): ...

            process = train.run_in_new_process({})
            process.join()
            print(process.exitcode)
        """,
    )
    done = run_python(program, cwd=working_dir)
    assert done.stdout == "1\n"
    assert done.stderr == (
        "pystematic: there is no train in the module __main__ when it is imported by a new process. "
        "Do not define experiments inside of `if __name__ == '__main__':`.\n"
    )


# -- further processes of one run ------------------------------------------------------------------------------------

LAUNCHING = """
    import os, sys, threading
    import pystematic

    @pystematic.parameter(name="count", default=2)
    @pystematic.parameter(name="fail", default=0)
    @pystematic.parameter(name="wait", default=False)
    @pystematic.experiment
    def train(parameters, context):
        if not pystematic.is_subprocess():
            processes = [
                pystematic.launch_subprocess(random_seed=pystematic.new_seed()) for _ in range(parameters["count"])
            ]
        rank = pystematic.local_rank()
        print("rank", rank, parameters["random_seed"], pystematic.output_dir.name, flush=True)
        context.recorder.scalar("rank", rank)
        if pystematic.is_subprocess():
            if parameters["fail"] == rank:
                raise ValueError(f"of rank {rank}")
            if parameters["wait"]:
                print("waiting", rank, flush=True)
                threading.Event().wait()
            try:
                pystematic.launch_subprocess()
            except pystematic.ExperimentError as error:
                print(error)
        elif parameters["wait"]:
            logs = [pystematic.output_dir / f"log.rank-{i + 1}.txt" for i in range(parameters["count"])]
            while not all(log.exists() and "waiting" in log.read_text() for log in logs):
                pass
        else:
            for process in processes:
                process.join()

    if __name__ == "__main__":
        train.cli()
"""


def test_a_launched_process_shares_the_directory_and_has_a_rank(working_dir: Path) -> None:
    program = write_program(working_dir, LAUNCHING)
    done = run_python(program, "--random-seed", "5", cwd=working_dir)
    assert (done.returncode, done.stderr) == (0, "")
    run = only_run(working_dir / "output")
    seeds = {}
    for rank in range(3):
        lines = logged(Path(run.dir.log_file(rank)))
        _, number, seed, run_id = lines[1].split()
        assert (number, run_id) == (str(rank), run.id)
        seeds[rank] = int(seed)
        if rank:
            assert lines[2] == "a process that launch_subprocess() started cannot launch further ones."
    assert seeds[0] == 5
    assert len(set(seeds.values())) == 3
    assert list(run.metrics("rank").value) == [1.0]  # the mean of 0, 1, 2
    assert (run.status, run.params["random_seed"]) == ("completed", 5)


def test_a_launched_process_that_fails_makes_the_run_fail(working_dir: Path) -> None:
    program = write_program(working_dir, LAUNCHING)
    done = run_python(program, "--fail", "2", cwd=working_dir)
    assert done.returncode == 1
    run = only_run(working_dir / "output")
    assert run.status == "failed"
    assert run.document["error"]["type"] == "ExperimentError"
    assert run.document["error"]["message"] == (
        "1 of 2 subprocesses failed: rank 2 ended with exit code 1; see log.rank-2.txt"
    )
    assert "ValueError: of rank 2" in Path(run.dir.log_file(2)).read_text(encoding="utf-8")


def test_a_launched_process_that_still_runs_at_the_end_is_ended(working_dir: Path) -> None:
    program = write_program(working_dir, LAUNCHING)
    done = run_python(program, "--wait", cwd=working_dir)
    assert done.returncode == 0
    run = only_run(working_dir / "output")
    assert run.status == "completed"
    for rank in (1, 2):
        assert Path(run.dir.log_file(rank)).read_text(encoding="utf-8").endswith("interrupted, exit code 143\n")


def test_launching_is_for_the_run_that_is_current(tmp_path: Path) -> None:
    assert current() is None
    with pytest.raises(ExperimentError, match=r"^launch_subprocess\(\) is known only while an experiment runs"):
        pystematic.launch_subprocess()


# -- ending processes ------------------------------------------------------------------------------------------------


def test_processes_are_asked_to_end_first() -> None:
    process = start_endless(ignoring=False)
    end_processes([process])
    assert process.exitcode == -signal.SIGTERM


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spawn, "GRACE_S", 0.01)
    process = start_endless(ignoring=True)
    end_processes([process])
    assert process.exitcode == -signal.SIGKILL


def test_in_a_hurry_it_is_killed_at_once() -> None:
    process = start_endless(ignoring=True)
    end_processes([process], lambda: True)
    assert process.exitcode == -signal.SIGKILL


def test_a_second_ctrl_c_leaves_no_process() -> None:
    process = start_endless(ignoring=True)

    def interrupt() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        end_processes([process], interrupt)
    assert process.exitcode == -signal.SIGKILL


def test_what_has_ended_before_is_judged_by_its_exit_code() -> None:
    context = multiprocessing.get_context("fork")
    processes: list[Any] = [context.Process(target=os._exit, args=(code,)) for code in (0, 3)]
    for process in processes:
        process.start()
        process.join()
    running = start_endless(ignoring=False)
    assert end_launched([*processes, running]) == ["rank 2 ended with exit code 3; see log.rank-2.txt"]
    assert running.exitcode == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_stopped_leaves_no_launched_process(working_dir: Path, number: signal.Signals) -> None:
    program = write_program(working_dir, LAUNCHING.replace("process.join()", "threading.Event().wait()"))
    with Started(program, "--count", "1", cwd=working_dir) as started:
        started.wait_for("a process that launch_subprocess() started cannot launch further ones.")
        started.send(number)
        code, _, _ = started.finish()
    assert code == 128 + number
    run = only_run(working_dir / "output")
    assert run.status == "interrupted"
    wait_until(lambda: "exit code" in Path(run.dir.log_file(1)).read_text(encoding="utf-8"))
    assert json.loads(Path(run.dir.run_file).read_text(encoding="utf-8"))["exit_code"] == 128 + number
    assert Run(run.path).status == "interrupted"
