"""The local executor in whole programs: what it forks, what it falls back to, and what is left when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystematic.errors import ExperimentError
from pystematic.store import Run, runs
from pystematic.sweep import make_local_executor
from pystematic.sweep._gpus import DEVICES_VARIABLE, FOLDER_VARIABLE, Devices
from pystematic.testing._executor_program import case
from tests.builders import PROCESS_LIMIT_S, run_python, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the care of processes is complete on Linux only")

BEGIN = """
import os, subprocess, sys, threading
import pystematic
from pystematic.sweep import Task, make_local_executor
{extra}
@pystematic.parameter(name="x", type=int, default=0)
@pystematic.experiment
def train(parameters):
    {body}

if __name__ == "__main__":
    executor = make_local_executor(train, jobs={jobs}, gpus={gpus})
    print(executor.name, executor.notice, sep="|", flush=True)
    count = {count}
    for number in range(count):
        executor.start(Task(number, "train", {{"x": number}}, {{}}, "sweep s", str(number), gpus={gpus}))
    while count:
        count -= sum(event.kind == "ended" for event in executor.wait(0.1))
    executor.close()
"""


def write_program(folder: Path, body: str, *, extra: str = "", count: int = 1, jobs: int = 1, gpus: int = 0) -> Path:
    path = folder / "program.py"
    path.write_text(BEGIN.format(body=body, extra=extra, count=count, jobs=jobs, gpus=gpus))
    return path


def records(folder: Path) -> list[Run]:
    return list(runs(folder / "output"))


def alive(pids: list[int]) -> list[int]:
    found = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            found.append(pid)
    return found


def test_a_plain_program_is_forked(working_dir: Path) -> None:
    program = write_program(working_dir, "print(os.getpid(), os.getppid())", count=2)
    ended = run_python(program, cwd=working_dir)
    assert ended.stdout == "fork|None\n"
    assert [run.status for run in records(working_dir)] == ["completed", "completed"]


def test_a_program_that_computes_at_import_gets_fresh_interpreters(working_dir: Path) -> None:
    extra = "import threading; threading.Thread(target=threading.Event().wait, name='pool', daemon=True).start()"
    program = write_program(working_dir, "pass", extra=extra)
    ended = run_python(program, cwd=working_dir)
    assert ended.stdout == (
        "fresh|Each run is a fresh interpreter, as a thread of the program is running (pool); "
        "an edit of the program counts from the next run on.\n"
    )
    assert [run.status for run in records(working_dir)] == ["completed"]


def test_a_coordinator_with_threads_has_a_server_of_its_own_that_forks(working_dir: Path) -> None:
    extra = "import threading"
    program = write_program(working_dir, "pass", extra=extra)
    start = "threading.Thread(target=threading.Event().wait, daemon=True).start()"
    text = program.read_text().replace("    executor = ", f"    {start}\n    executor = ")
    program.write_text(text)
    assert run_python(program, cwd=working_dir).stdout == "fork|None\n"
    assert [run.status for run in records(working_dir)] == ["completed"]


def test_an_edit_changes_nothing_for_a_sweep_that_runs(working_dir: Path) -> None:
    body = "print('old'); open('program.py', 'a').write('\\nraise SystemExit(9)\\n')"
    ended = run_python(write_program(working_dir, body, count=3), cwd=working_dir)
    assert ended.returncode == 0
    assert [run.status for run in records(working_dir)] == ["completed"] * 3
    assert len({run.document["code"] for run in records(working_dir)}) == 1


def test_runs_without_seeding_draw_different_numbers(working_dir: Path) -> None:
    body = "open(f'drawn-{parameters.x}', 'w').write(str(numpy.random.rand()))"
    program = write_program(working_dir, body, extra="import numpy", count=2)
    program.write_text(program.read_text().replace('{"x": number}', '{"x": number, "seed_libraries": False}'))
    assert run_python(program, cwd=working_dir).returncode == 0
    assert len({path.read_text() for path in working_dir.glob("drawn-*")}) == 2


@pytest.fixture
def living_sweep(working_dir: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A coordinator with two runs, each with a child in its group and one in a session of its own; and all pids."""
    body = (
        "pids = [subprocess.Popen(['sleep', '600'], start_new_session=own).pid for own in (False, True)]; "
        "open(f'new-{parameters.x}', 'w').write(' '.join(map(str, [os.getpid(), os.getppid(), *pids]))); "
        "os.rename(f'new-{parameters.x}', f'pids-{parameters.x}'); threading.Event().wait()"
    )
    program = write_program(working_dir, body, count=2, jobs=2)
    with subprocess.Popen([sys.executable, program], cwd=working_dir, stdout=subprocess.PIPE, text=True) as process:
        files = [working_dir / "pids-0", working_dir / "pids-1"]
        wait_until(lambda: all(file.exists() for file in files))
        pids = [int(word) for file in files for word in file.read_text().split()]
        yield process, pids
        process.kill()
        for pid in alive(pids):
            os.kill(pid, signal.SIGKILL)


def test_killing_the_coordinator_leaves_no_process(living_sweep: tuple[subprocess.Popen[str], list[int]]) -> None:
    process, pids = living_sweep
    assert len(alive(pids)) == 8  # the server twice
    process.kill()
    wait_until(lambda: not alive(pids), 5.0)


def test_killing_the_server_ends_its_runs_and_is_told(
    living_sweep: tuple[subprocess.Popen[str], list[int]], working_dir: Path
) -> None:
    process, pids = living_sweep
    os.kill(pids[1], signal.SIGKILL)
    assert process.wait(PROCESS_LIMIT_S) == 0
    runs_and_server = [pid for number, pid in enumerate(pids) if number % 4 < 2]
    assert alive(runs_and_server) == []
    assert {run.document["error"]["type"] for run in records(working_dir)} == {"killed"}


def test_a_signal_to_everything_by_name_does_not_end_the_server(
    living_sweep: tuple[subprocess.Popen[str], list[int]], working_dir: Path
) -> None:
    process, pids = living_sweep
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        os.kill(pids[1], number)
    for pid in (pids[0], pids[4]):
        os.kill(pid, signal.SIGTERM)
    assert process.wait(PROCESS_LIMIT_S) == 0
    assert {run.status for run in records(working_dir)} == {"interrupted"}
    assert alive(pids) == []


def test_two_sweeps_never_share_a_device(working_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(DEVICES_VARIABLE, "GPU-a,GPU-b")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "gpus"))
    # Making a folder is exclusive: a second run on the device would fail.
    body = (
        "mine = os.environ['CUDA_VISIBLE_DEVICES']; os.mkdir(f'busy-{mine}'); threading.Event().wait(0.05); "
        "os.rmdir(f'busy-{mine}')"
    )
    program = write_program(working_dir, body, count=8, jobs=2, gpus=1)
    sweeps = [subprocess.Popen([sys.executable, program], cwd=working_dir, stdout=subprocess.DEVNULL) for _ in "ab"]
    assert [sweep.wait(PROCESS_LIMIT_S) for sweep in sweeps] == [0, 0]
    assert [run.status for run in records(working_dir)] == ["completed"] * 16


def test_more_devices_than_there_are_is_an_error() -> None:
    with pytest.raises(ExperimentError, match=r"^gpus=2: each run would need more devices than .* \(1\)\. Ask for"):
        make_local_executor(case, jobs=1, gpus=2, devices=Devices(["A"]))


def test_no_job_at_all_is_an_error() -> None:
    with pytest.raises(ExperimentError, match=r"^jobs=0: at least one run at a time is needed\.$"):
        make_local_executor(case, jobs=0)
