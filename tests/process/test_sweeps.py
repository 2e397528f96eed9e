"""Sweeps with real processes: signals in three stages, a killed coordinator, early stops, what a shell sees."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic.rundir import SweepDir, sweep_names
from pystematic.sweep import Plan, SweepResult
from tests.builders import PROCESS_LIMIT_S, run_python, wait_until, write_program

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals and process groups as Linux has them")

# Runs go on until the file "go" is there.
PROGRAM = """
    import os, threading
    import pystematic

    never = threading.Event()

    @pystematic.parameter(name="lr", type=float, default=0.1)
    @pystematic.parameter(name="steps", type=int, default=3)
    @pystematic.parameter(name="waits", type=bool, default=False, identity=False)
    @pystematic.experiment(metric="loss:min")
    def train(parameters, context):
        if parameters["lr"] < 0:
            raise ValueError("lr is negative")
        step = 0
        while step < parameters["steps"] or (parameters["waits"] and not os.path.exists("go")):
            context.recorder.scalar("loss", parameters["lr"], step=step)
            context.recorder.step()
            step += 1
            if parameters["waits"]:
                never.wait(0.01)  # the pace of a loop

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "prog.py", "sweep", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(folder: Path, name: str) -> SweepResult:
    return SweepResult(Plan(SweepDir(folder / "output", name)).read())


def runs_in(folder: Path) -> list[Any]:
    try:
        return list(pystematic.runs(str(folder / "output")))
    except pystematic.core.Error:
        return []


def wait_for_runs(folder: Path, count: int) -> None:
    wait_until(lambda: len([run for run in runs_in(folder) if run.summary]) >= count)


def alive_children(folder: Path) -> list[int]:
    """Return the processes that work in a folder, this one excepted."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                if os.path.samefile(f"/proc/{name}/cwd", folder):
                    found.append(int(name))
            except OSError:
                continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sweep"
    made.mkdir()
    write_program(made, PROGRAM)
    return made


def test_a_sweep_and_the_same_command_again(folder: Path) -> None:
    words = ["prog.py", "sweep", "--name", "s", "--jobs", "2", "--output", "json", "train", "--lr", "0.1,-1,0.3"]
    first = run_python(*words, cwd=folder)
    assert first.returncode == 1
    shown = json.loads(first.stdout)
    assert shown["counts"] == {"completed": 2, "failed": 1}
    assert "ValueError: lr is negative" in first.stderr
    again = run_python(*words, cwd=folder)
    assert (again.returncode, json.loads(again.stdout)) == (1, shown)
    for run in runs_in(folder):
        assert run.document["parent"] == "sweep s"
        assert run.sources["lr"] == "sweep"


def test_a_sweep_without_standard_streams_runs_as_with_them(folder: Path) -> None:
    command = f"{sys.executable} prog.py sweep --name s train --lr 0.1,0.2 <&- >&- 2>&-"
    ended = subprocess.run(["/bin/sh", "-c", command], cwd=folder, timeout=PROCESS_LIMIT_S, check=False)
    assert ended.returncode == 0
    assert result_of(folder, "s").counts == {"completed": 2}


def test_a_retry_from_another_folder_is_one_of_the_sweep_that_is_named(folder: Path, tmp_path: Path) -> None:
    first = run_python("prog.py", "sweep", "train", "--lr", "-1,0.2", "--output-dir", "output", cwd=folder)
    assert first.returncode == 1, first.stderr
    (name,) = sweep_names(folder / "output")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run_python("-m", "pystematic", "sweep", "retry", name, "--output-dir", str(folder / "output"), cwd=elsewhere)
    assert list(elsewhere.iterdir()) == []
    (again, once) = sorted(
        (len(attempts) for attempts in Plan(SweepDir(folder / "output", name)).read().state.attempts.values()),
        reverse=True,
    )
    assert (again, once) == (2, 1)


def test_the_runs_are_normal_runs_that_ls_leaves_out(folder: Path) -> None:
    run_python("prog.py", "sweep", "--name", "s", "train", "--lr", "0.1,0.2", cwd=folder)
    listed = run_python("-m", "pystematic", "ls", cwd=folder)
    assert "2 runs of sweeps are left out" in listed.stderr
    assert (
        len(json.loads(run_python("-m", "pystematic", "ls", "--sweep", "s", "--output=json", cwd=folder).stdout)) == 2
    )


@pytest.mark.parametrize(
    ("signals", "code", "statuses"),
    [
        ([signal.SIGINT], 130, {"completed": 2, "planned": 1}),
        ([signal.SIGINT, signal.SIGINT], 130, {"interrupted": 2, "planned": 1}),
        ([signal.SIGTERM], 143, {"interrupted": 2, "planned": 1}),
    ],
)
def test_signals_end_it_in_stages(
    folder: Path, signals: list[signal.Signals], code: int, statuses: dict[str, int]
) -> None:
    process = start(folder, "--name", "s", "--jobs", "2", "train", "--lr", "0.1,0.2,0.3", "--waits")
    wait_for_runs(folder, 2)
    assert process.stderr is not None
    for number in signals:
        process.send_signal(number)
        line = ""
        while "no more runs are started" not in line and "must end now" not in line:
            line = process.stderr.readline()
            assert line
    if statuses.get("completed"):
        (folder / "go").touch()
    process.communicate(timeout=PROCESS_LIMIT_S)
    assert process.returncode == code
    assert result_of(folder, "s").counts == statuses
    wait_until(lambda: not alive_children(folder))


def test_a_killed_coordinator_leaves_nothing_and_loses_nothing(folder: Path) -> None:
    words = ["--name", "s", "--jobs", "2", "train", "--lr", "0.1,0.2,0.3,0.4", "--waits"]
    process = start(folder, *words)
    wait_for_runs(folder, 2)
    process.kill()
    process.communicate(timeout=PROCESS_LIMIT_S)
    wait_until(lambda: not alive_children(folder))
    assert result_of(folder, "s").counts == {"lost": 2, "planned": 2}
    (folder / "go").touch()
    again = run_python("prog.py", "sweep", *words, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert result_of(folder, "s").counts == {"completed": 4}


def test_a_stop_from_another_process_ends_the_runs(folder: Path) -> None:
    process = start(folder, "--name", "s", "--jobs", "2", "train", "--lr", "0.1,0.2,0.3", "--waits")
    wait_for_runs(folder, 2)
    assert run_python("-m", "pystematic", "sweep", "stop", "s", "--now", cwd=folder).returncode == 0
    process.communicate(timeout=PROCESS_LIMIT_S)
    assert process.returncode == 143
    assert result_of(folder, "s").counts == {"interrupted": 2, "planned": 1}
    refused = run_python("-m", "pystematic", "sweep", "stop", "s", cwd=folder)
    assert (refused.returncode, "the sweep 's' is not running." in refused.stderr) == (2, True)


def test_a_hopeless_run_ends_as_pruned(folder: Path) -> None:
    process = start(
        folder,
        "--name",
        "s",
        "--jobs",
        "3",
        "--stop",
        "asha",
        "train",
        "--lr",
        "0.1,0.2,0.3",
        "--waits",
        "--steps",
        "9",
    )
    wait_until(lambda: any(run.status == "pruned" for run in runs_in(folder)))
    (folder / "go").touch()
    _, said = process.communicate(timeout=PROCESS_LIMIT_S)
    assert process.returncode == 0, said
    assert "pruned" in result_of(folder, "s").counts
    ended = next(run for run in runs_in(folder) if run.status == "pruned")
    assert ended.document["exit_code"] == 0
    assert ended.params["lr"] > 0.1


def test_runs_of_other_code_are_counted_and_can_be_repeated(folder: Path) -> None:
    words = ["prog.py", "sweep", "--name", "s", "train", "--lr", "0.1,0.2"]
    assert "other code" not in run_python(*words, cwd=folder).stderr
    assert "other code" not in run_python(*words, cwd=folder).stderr
    program = folder / "prog.py"
    program.write_text(program.read_text() + "# an edit\n")
    counted = run_python(*words, cwd=folder)
    assert "2 finished runs were made by other code; --repeat changed runs them again." in counted.stderr
    assert len(runs_in(folder)) == 2
    words.insert(2, "--repeat=changed")
    assert "2 finished runs were made by other code, to be run again." in run_python(*words, cwd=folder).stderr
    assert len(runs_in(folder)) == 4
    assert "other code" not in run_python(*words, cwd=folder).stderr


def test_an_edit_is_said_and_counts_for_no_run_of_the_sweep(folder: Path) -> None:
    process = start(folder, "--name", "s", "train", "--lr", "0.1,0.2", "--waits")
    wait_for_runs(folder, 1)
    program = folder / "prog.py"
    program.write_text(program.read_text().replace('"lr is negative"', '"an edit"') + "raise SystemExit(9)\n")
    assert process.stderr is not None
    line = ""
    while "has changed" not in line:
        line = process.stderr.readline()
        assert line
    assert line == "prog.py has changed; the sweep goes on with the code that it began with.\n"
    (folder / "go").touch()
    process.communicate(timeout=PROCESS_LIMIT_S)
    assert process.returncode == 0
    assert len({run.document["code"] for run in runs_in(folder)}) == 1


def test_a_secret_of_a_known_shape_is_not_in_the_recorded_command(folder: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    run_python("prog.py", "sweep", "--name", "s", "train", "--lr", "0.1,0.2", "--note", token, cwd=folder)
    files = [path for path in (folder / "output").rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if token.encode() in path.read_bytes()] == []
    refused = run_python("-m", "pystematic", "sweep", "retry", "s", cwd=folder)
    assert (refused.returncode, "secrets stand in its command" in refused.stderr) == (2, True)
