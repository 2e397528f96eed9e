"""How real programs end: exit codes as a shell sees them, and a status that tells the truth."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from pathlib import Path

import pytest

from tests.builders import run_python, wait_until, write_program
from tests.process.builders import run_on_small_disk
from tests.run.builders import Started, logged, only_run

PROGRAM = """
    import os, signal, sys, threading, time
    import pystematic

    def wait():
        print("ready", flush=True)
        threading.Event().wait()  # for a signal

    def wait_with_finally():
        try:
            wait()
        finally:
            print("cleaning up", flush=True)

    def wait_in_finally():
        try:
            wait()
        finally:
            print("cleaning up", flush=True)
            wait()

    def wait_in_a_thread():
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        thread.join()

    def own_handler():
        signal.signal(signal.SIGTERM, lambda *args: sys.exit(9))
        wait()

    def catch():
        try:
            wait()
        except KeyboardInterrupt:
            print("caught")

    def fail():
        raise ValueError("the words of the program")

    ENDS = {
        "return": lambda: None, "wait": wait, "wait-with-finally": wait_with_finally,
        "wait-in-finally": wait_in_finally, "wait-in-a-thread": wait_in_a_thread, "own-handler": own_handler,
        "catch": catch, "fail": fail,
        "exit-0": lambda: sys.exit(0), "exit-none": lambda: sys.exit(), "exit-3": lambda: sys.exit(3),
        "exit-300": lambda: sys.exit(300), "exit-text": lambda: sys.exit("the words of the program"),
        "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()), "os-exit": lambda: os._exit(5),
        "exit-from-thread": lambda: threading.Thread(target=sys.exit, args=(3,)).start(),
    }

    @pystematic.parameter(name="end", default="return")
    @pystematic.experiment
    def train(parameters, context):
        ENDS[parameters["end"]]()

    if __name__ == "__main__":
        train.cli()
        print("after the run")
"""


@pytest.fixture
def program(working_dir: Path) -> Path:
    return write_program(working_dir, PROGRAM)


def record(folder: Path) -> tuple[str, int | None]:
    run = only_run(folder / "output")
    return run.status, run.document["exit_code"]


@pytest.mark.parametrize("capture", ["sys", "fd"])
@pytest.mark.parametrize(
    ("end", "code", "status"),
    [
        ("return", 0, "completed"),
        ("exit-0", 0, "completed"),
        ("exit-none", 0, "completed"),
        ("exit-3", 3, "failed"),
        ("exit-300", 44, "failed"),
        ("exit-text", 1, "failed"),
        ("fail", 1, "failed"),
        ("interrupt", 130, "interrupted"),
        ("exit-from-thread", 0, "completed"),
    ],
)
def test_a_program_ends_with_its_exit_code_and_the_record_has_it(
    program: Path, capture: str, end: str, code: int, status: str
) -> None:
    done = run_python(program, "--end", end, "--capture", capture, cwd=program.parent)
    assert done.returncode == code
    assert record(program.parent) == (status, code)
    assert (done.stdout == "after the run\n") == (end in ("return", "exit-from-thread"))
    assert ("the words of the program" in done.stderr) == (end in ("exit-text", "fail"))


@pytest.mark.parametrize("capture", ["sys", "fd", "off"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_at_once_and_says_where_the_record_is(
    program: Path, capture: str, number: signal.Signals
) -> None:
    with Started(program, "--end", "wait-with-finally", "--capture", capture, cwd=program.parent) as started:
        started.wait_for("ready")
        started.send(number)
        code, out, err = started.finish()
    run = only_run(program.parent / "output")
    assert code == 128 + number
    assert record(program.parent) == ("interrupted", 128 + number)
    assert out == "cleaning up\n"
    assert err == f"Interrupted. The record is in {run.path.relative_to(program.parent)}\n"
    assert logged(Path(run.dir.log_file()))[-1] == f"interrupted, exit code {128 + number}"


def test_a_signal_while_the_program_waits_for_a_thread_ends_the_run(program: Path) -> None:
    with Started(program, "--end", "wait-in-a-thread", cwd=program.parent) as started:
        started.wait_for("ready")
        started.send(signal.SIGTERM)
        assert started.finish()[0] == 143
    assert record(program.parent) == ("interrupted", 143)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_what_cleans_up(program: Path, second: signal.Signals) -> None:
    with Started(program, "--end", "wait-in-finally", cwd=program.parent) as started:
        started.wait_for("ready")
        started.send(signal.SIGINT)
        started.wait_for("cleaning up")
        started.wait_for("ready")
        started.send(second)
        assert started.finish()[0] == 128 + second
    assert record(program.parent) == ("interrupted", 128 + second)


def test_a_handler_of_the_programs_own_decides(program: Path) -> None:
    with Started(program, "--end", "own-handler", cwd=program.parent) as started:
        started.wait_for("ready")
        started.send(signal.SIGTERM)
        assert started.finish()[0] == 9
    assert record(program.parent) == ("failed", 9)


def test_a_program_that_catches_ctrl_c_completes(program: Path) -> None:
    with Started(program, "--end", "catch", cwd=program.parent) as started:
        started.wait_for("ready")
        started.send(signal.SIGINT)
        assert started.finish()[:2] == (0, "caught\nafter the run\n")
    assert record(program.parent) == ("completed", 0)


def test_with_nohup_a_hang_up_is_ignored(program: Path) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with Started(program, "--end", "wait", cwd=program.parent, preexec_fn=ignore) as started:
        started.wait_for("ready")
        started.send(signal.SIGHUP)
        assert only_run(program.parent / "output").status == "running"
        started.send(signal.SIGTERM)
        assert started.finish()[0] == 143
    assert record(program.parent) == ("interrupted", 143)


@pytest.mark.parametrize("capture", ["sys", "fd"])
def test_a_killed_run_is_lost(program: Path, capture: str) -> None:
    with Started(program, "--end", "wait", "--capture", capture, cwd=program.parent) as started:
        started.wait_for("ready")
        started.send(signal.SIGKILL)
        assert started.finish()[0] == 137
    run = only_run(program.parent / "output")
    assert (run.document["status"], run.status) == ("running", "lost")
    wait_until(lambda: logged(Path(run.dir.log_file()))[-1] == "ready")


def test_a_run_that_leaves_by_os_exit_is_lost(program: Path) -> None:
    assert run_python(program, "--end", "os-exit", cwd=program.parent).returncode == 5
    assert only_run(program.parent / "output").status == "lost"


@pytest.mark.parametrize("statement", ["train.run()", "train.run({'end': 'fail'})"])
def test_the_exception_of_a_run_from_code_can_be_caught(working_dir: Path, statement: str) -> None:
    body = f"""
        try:
            print({statement}.status)
        except ValueError as error:
            print("caught", error)
        print(train.run().status)
    """
    text = PROGRAM.replace('        train.cli()\n        print("after the run")\n', body)
    done = run_python(write_program(working_dir, text), cwd=working_dir)
    first = "completed" if statement == "train.run()" else "caught the words of the program"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{first}\ncompleted\n", "")


# -- a disk that is full at the end ----------------------------------------------------------------------------------

FILLING = """
    import os, sys
    import pystematic

    @pystematic.parameter(name="fail", default=False)
    @pystematic.parameter(name="text", default="x")
    @pystematic.experiment
    def train(parameters, context):
        def fill():
            with open("disk/filler", "wb", buffering=0) as file:
                try:
                    while file.write(bytes(512)):
                        pass
                except OSError:
                    print("the disk is full")
        fill()
        if parameters["fail"]:
            raise ValueError("words " * 1000)

    if __name__ == "__main__":
        train.cli()
"""


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [("", 0, "completed"), ("--fail", 1, "failed"), (f"--text {'y' * 5000}", 0, "completed")],
)
def test_on_a_disk_that_is_full_at_the_end_the_status_is_still_written(
    working_dir: Path, options: str, code: int, status: str
) -> None:
    program = write_program(working_dir, FILLING)
    command = f"{shlex.quote(sys.executable)} {program} --output-dir disk/output {options}"
    script = f"{command}; code=$?; rm disk/filler; cp -r disk/output left; exit $code"
    done = run_on_small_disk(script, cwd=working_dir, size_kib=512)
    assert done.stdout == "the disk is full\n"
    assert done.returncode == code
    run = only_run(working_dir / "left")
    document = json.loads(Path(run.dir.run_file).read_text(encoding="utf-8"))
    assert (document["status"], document["exit_code"], run.status) == (status, code, status)
    assert document["ended_at"] is not None
    assert (document["error"] or {}).get("type") == ("ValueError" if code else None)
    said = "pystematic: the log cannot be written: No space left on device. The run goes on.\n"
    assert done.stderr.startswith(said if code else "")
    assert "It will be shown as lost" not in done.stderr
