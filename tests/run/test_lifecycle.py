"""One run in this process: its files from first to last, the truth of its status, and what is put back afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pystematic import rundir
from pystematic.errors import ExperimentError, RunDirectoryError, RunStopped
from pystematic.run import ActiveRun, _descriptors, current
from pystematic.run._imports import ImportWatch
from pystematic.store import Run
from tests.builders import make_repository
from tests.run.builders import logged, make_hooks, only_run, run_main


def document(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run.dir.run_file).read_text(encoding="utf-8"))
    return found


def log_of(run: Run) -> list[str]:
    return logged(Path(run.dir.log_file()))


def raiser(error: BaseException) -> Callable[[ActiveRun], None]:
    def main(active: ActiveRun) -> None:
        raise error

    return main


def end_by(output_dir: Path, error: BaseException, **request: Any) -> Run:
    """Run a main function that raises; check that it is raised here, and return the run."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - whatever it is
        run_main(output_dir, raiser(error), **request)
    assert caught.value is error
    return only_run(output_dir)


# -- the record ------------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_documents(tmp_path: Path) -> None:
    run = run_main(tmp_path, lambda active: "the result", lr=0.1, notes=("a note",))
    found = document(run)
    assert run.result == "the result"
    assert run.path.parent == tmp_path / "train"
    assert found["schema"] == 1
    assert (found["id"], found["experiment"], found["status"]) == (run.id, "train", "completed")
    assert (found["exit_code"], found["error"], found["parent"]) == (0, None, None)
    assert found["argv"] == ["prog.py", "train"]
    assert found["sources"]["lr"] == "default"
    assert found["notes"] == ["a note"]
    assert found["host"] == os.uname().nodename
    assert found["pid"]["pid"] == os.getpid()
    assert found["started_at"] < found["ended_at"]
    assert [attempt["status"] for attempt in found["attempts"]] == ["completed"]
    assert yaml.safe_load(Path(run.dir.parameters_file).read_text(encoding="utf-8"))["lr"] == 0.1
    assert json.loads(Path(run.dir.environment_file).read_text(encoding="utf-8"))["schema"] == 1
    assert log_of(run) == [f"train {run.id}: prog.py train", "a note", "completed, exit code 0"]


def test_a_run_that_records_and_changes_nothing_leaves_no_more_files(tmp_path: Path) -> None:
    run = run_main(tmp_path)
    assert sorted(os.listdir(run.path)) == ["environment.json", "log.txt", "parameters.yaml", "run.json"]


def test_while_the_main_function_runs_the_status_is_running(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> Any:
        return Run(active.output_dir).status, document(Run(active.output_dir))["status"]

    assert run_main(tmp_path, main).result == ("running", "running")


def test_code_and_patch_are_of_the_programs_repository(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repository", {"prog.py": "x = 1\n"})
    (repository / "prog.py").write_text("x = 2\n", encoding="utf-8")
    run = run_main(repository / "output", code_file=str(repository / "prog.py"))
    assert "+x = 2\n" in run.patch
    assert len(document(run)["code"]) == 64
    again = run_main(repository / "output", code_file=str(repository / "prog.py"))
    assert document(again)["code"] == document(run)["code"]  # the first run is no part of it


def test_slow_provenance_does_not_keep_the_run_from_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = make_repository(tmp_path / "repository", {"prog.py": "x = 1\n"})
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    # Answers when the main function has begun: were it waited for, neither would ever end.
    begun = tmp_path / "begun"
    wait = f'[ -e "{begun}.read" ] || {{ read line < "{begun}"; touch "{begun}.read"; }}'
    slow.write_text(f'#!/bin/sh\n{wait}\nPATH="{os.environ["PATH"]}" exec git "$@"\n', encoding="utf-8")
    slow.chmod(0o755)
    os.mkfifo(begun)
    monkeypatch.setenv("PATH", str(slow.parent), prepend=os.pathsep)

    def main(active: ActiveRun) -> None:
        begun.write_text("go\n", encoding="utf-8")

    run = run_main(tmp_path / "output", main, code_file=str(repository / "prog.py"))
    assert len(document(run)["code"]) == 64


# -- how a run ends --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "exit_code", "described"),
    [
        (SystemExit(), "completed", 0, None),
        (SystemExit(0), "completed", 0, None),
        (SystemExit(False), "completed", 0, None),
        (SystemExit(3), "failed", 3, None),
        (SystemExit(-1), "failed", 255, None),
        (SystemExit("words"), "failed", 1, {"type": "SystemExit", "message": "words"}),
        (SystemExit(1.5), "failed", 1, None),
        (KeyboardInterrupt(), "interrupted", 130, None),
        (RunStopped(signal.SIGTERM), "interrupted", 143, None),
        (RunStopped(signal.SIGHUP), "interrupted", 129, None),
    ],
)
def test_every_way_to_end_has_its_status_and_exit_code(
    tmp_path: Path, error: BaseException, status: str, exit_code: int, described: Mapping[str, str] | None
) -> None:
    run = end_by(tmp_path, error)
    found = document(run)
    assert (found["status"], found["exit_code"], found["error"]) == (status, exit_code, described)
    assert found["attempts"][-1]["status"] == status
    assert log_of(run)[-1] == f"{status}, exit code {exit_code}"


@pytest.mark.parametrize("error", [ValueError("words"), asyncio.CancelledError("words"), GeneratorExit("words")])
def test_an_exception_is_a_failure_and_described(tmp_path: Path, error: BaseException) -> None:
    run = end_by(tmp_path, error)
    found = document(run)
    assert (found["status"], found["exit_code"]) == ("failed", 1)
    assert (found["error"]["type"], found["error"]["message"]) == (type(error).__name__, "words")
    assert found["error"]["traceback"].startswith("Traceback (most recent call last):\n")
    assert "/_lifecycle.py" not in found["error"]["traceback"]
    assert [*found["error"]["traceback"].splitlines(), "failed, exit code 1"] == log_of(run)[1:]


def test_a_main_function_that_catches_the_interruption_completes(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> str:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return "went on"

    run = run_main(tmp_path, main)
    assert (run.result, run.status) == ("went on", "completed")


class Unspeakable(Exception):  # noqa: N818
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Broken(Exception):  # noqa: N818
    @property
    def __notes__(self) -> Any:  # type: ignore[override]
        raise MemoryError

    def __str__(self) -> str:
        raise MemoryError


@pytest.mark.parametrize("error", [Unspeakable(), Broken()])
def test_an_exception_that_cannot_be_described_is_a_failure_all_the_same(tmp_path: Path, error: Exception) -> None:
    found = document(end_by(tmp_path, error))
    assert (found["status"], found["exit_code"]) == ("failed", 1)


def test_a_message_that_raises_is_said(tmp_path: Path) -> None:
    assert document(end_by(tmp_path, Unspeakable()))["error"]["message"] == "(its __str__ raises RuntimeError)"


def test_a_deep_recursion_is_described_shortly(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> None:
        main(active)

    with pytest.raises(RecursionError):
        run_main(tmp_path, main)
    assert len(document(only_run(tmp_path))["error"]["traceback"].splitlines()) < 30


def test_hooks_are_called_around_the_main_function(tmp_path: Path) -> None:
    order: list[Any] = []
    error = ValueError("words")
    hooks = make_hooks(lambda parameters: order.append(parameters["lr"]), order.append)

    def main(active: ActiveRun) -> None:
        order.append("main")
        raise error

    with pytest.raises(ValueError, match="words"):
        run_main(tmp_path, main, hooks=hooks, lr=0.1)
    assert order == [0.1, "main", error]


@pytest.mark.parametrize("main", [lambda active: None, raiser(SystemExit(0))])
def test_hooks_are_told_of_no_error_where_there_is_none(tmp_path: Path, main: Callable[[ActiveRun], None]) -> None:
    told: list[object] = []
    with contextlib.suppress(SystemExit):
        run_main(tmp_path, main, hooks=make_hooks(after=told.append))
    assert told == [None]


def fail_with(error: BaseException) -> Callable[[Any], None]:
    def hook(given: Any) -> None:
        raise error

    return hook


@pytest.mark.parametrize("error", [SystemExit(7), MemoryError("none left"), ValueError("words")])
def test_a_hook_that_fails_at_the_end_changes_nothing(
    tmp_path: Path, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_main(tmp_path, hooks=make_hooks(after=fail_with(error)))
    assert run.status == "completed"
    assert capsys.readouterr().err == (
        f"pystematic: a hook failed at the end of the run: {type(error).__name__}: {error}\n"
    )


def test_a_hook_that_ends_the_program_before_the_run_is_how_it_ended(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run_main(tmp_path, hooks=make_hooks(before=fail_with(SystemExit(4))))
    assert document(only_run(tmp_path))["exit_code"] == 4


def test_ctrl_c_in_a_hook_at_the_end_comes_through_when_the_record_is_finished(tmp_path: Path) -> None:
    def hook(error: BaseException | None) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_main(tmp_path, hooks=make_hooks(after=hook))
    assert only_run(tmp_path).status == "completed"


def test_a_signal_while_our_own_code_is_at_work_waits_for_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rundir.RunDocument.finish

    def finish(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        real(*args)

    monkeypatch.setattr(rundir.RunDocument, "finish", finish)
    with pytest.raises(KeyboardInterrupt):
        run_main(tmp_path)
    assert only_run(tmp_path).status == "completed"


def test_a_signal_during_the_start_is_raised_where_the_main_function_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rundir.RunDocument.write

    def write(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(rundir.RunDocument, "write", real)
        signal.raise_signal(signal.SIGTERM)
        real(*args, **kwargs)

    monkeypatch.setattr(rundir.RunDocument, "write", write)
    called: list[object] = []
    with pytest.raises(RunStopped):
        run_main(tmp_path, called.append)
    assert (called, only_run(tmp_path).status) == ([], "interrupted")


def test_the_debugger_is_opened_where_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pdb

    stops: list[str] = []

    def post_mortem(traceback: Any) -> None:
        while traceback.tb_next is not None:
            traceback = traceback.tb_next
        stops.append(traceback.tb_frame.f_code.co_name)
        signal.raise_signal(signal.SIGINT)  # a person who has seen enough

    monkeypatch.setattr(pdb, "post_mortem", post_mortem)
    with pytest.raises(KeyboardInterrupt):
        run_main(tmp_path, raiser(ValueError("words")), pdb=True)
    assert (stops, only_run(tmp_path).status) == (["main"], "failed")


# -- runs that cannot start ------------------------------------------------------------------------------------------


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "output").touch()
    with pytest.raises(RunDirectoryError) as caught:
        run_main(tmp_path / "output")
    assert str(caught.value).endswith("or give another one: --output-dir.")
    assert current() is None


@pytest.mark.parametrize("failing", ["parameters.yaml", "run.json", "log.txt"])
def test_where_a_first_file_cannot_be_written_nothing_is_left(
    working_dir: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    real_replace, real_open = os.replace, os.open

    def replace(source: Any, target: Any) -> None:
        if str(target).endswith(failing):
            raise full
        real_replace(source, target)

    def open_(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith(failing):
            raise full
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "open", open_)
    called: list[object] = []
    with pytest.raises(RunDirectoryError) as caught:
        run_main(Path("output"), called.append)
    assert str(caught.value) == (
        "the output folder 'output' cannot be written: No space left on device. "
        "Free some space, or give another one: --output-dir."
    )
    assert called == []
    assert list((working_dir / "output").rglob("*")) == [working_dir / "output" / "train"]


def test_where_the_output_cannot_be_captured_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(captured: object) -> None:
        raise ExperimentError("not here")

    monkeypatch.setattr(_descriptors.DescriptorCapture, "install", refuse)
    with pytest.raises(ExperimentError, match="not here"):
        run_main(tmp_path, capture="fd")
    assert list((tmp_path / "train").iterdir()) == []
    assert current() is None
    assert run_main(tmp_path).status == "completed"


def test_a_second_run_inside_a_running_one_is_refused(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> str:
        with pytest.raises(ExperimentError) as caught:
            run_main(tmp_path, experiment="other")
        return str(caught.value).replace(active.run_dir.id, "ID")

    assert run_main(tmp_path, main).result == (
        "experiment 'other' cannot start: the run ID is active in this process, and there is room for one at a time. "
        "Start it in a process of its own: experiment.run_in_new_process(params)."
    )


def test_a_second_run_in_another_thread_is_refused(tmp_path: Path) -> None:
    refused: list[BaseException] = []

    def start_another() -> None:
        try:
            run_main(tmp_path)
        except ExperimentError as error:
            refused.append(error)

    def main(active: ActiveRun) -> None:
        thread = threading.Thread(target=start_another)
        thread.start()
        thread.join()

    run_main(tmp_path, main)
    assert len(refused) == 1


def test_of_many_threads_that_start_a_run_one_gets_it(tmp_path: Path) -> None:
    barrier, done = threading.Barrier(4), threading.Barrier(4)
    outcomes: list[str] = []

    def work() -> None:
        barrier.wait()
        try:
            run_main(tmp_path, lambda active: done.wait(30))
            outcomes.append("ran")
        except ExperimentError:
            outcomes.append("refused")
            done.wait(30)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ran", "refused", "refused", "refused"]


def test_after_a_failure_the_next_run_works(tmp_path: Path) -> None:
    end_by(tmp_path, ValueError("words"))
    assert run_main(tmp_path).status == "completed"


def test_a_run_in_another_thread_than_the_main_one_works(tmp_path: Path) -> None:
    thread = threading.Thread(target=run_main, args=(tmp_path,))
    thread.start()
    thread.join()
    assert only_run(tmp_path).status == "completed"


# -- what is put back ------------------------------------------------------------------------------------------------


def process_state() -> dict[str, object]:
    return {
        "streams": (sys.stdout, sys.stderr, sys.stdout.write, sys.stderr.write),
        "attributes": [dict(vars(stream)) for stream in (sys.stdout, sys.stderr)],
        # Set by torch, when a part of it is imported for the first time.
        "environment": {name: text for name, text in os.environ.items() if not name.startswith("TORCHINDUCTOR_")},
        "signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "logging": (logging.Logger.callHandlers, logging.root.level, list(logging.root.handlers)),
        "imports": list(sys.meta_path),
        "hooks": (sys.excepthook, sys.displayhook, threading.excepthook),
        "descriptors": set(os.listdir("/proc/self/fd")),
        "threads": set(threading.enumerate()),
    }


@pytest.mark.parametrize("capture", ["sys", "fd", "off"])
@pytest.mark.parametrize("error", [None, ValueError("words"), KeyboardInterrupt()])
def test_the_process_is_exactly_as_before(tmp_path: Path, capture: str, error: BaseException | None) -> None:
    def main(active: ActiveRun) -> None:
        print("printed")
        logging.getLogger("program").warning("logged")
        if error is not None:
            raise error

    run_main(tmp_path)  # whatever is loaded late is loaded now
    before = process_state()
    with contextlib.suppress(ValueError, KeyboardInterrupt):
        run_main(tmp_path, main, capture=capture, debug=True, deterministic=True)
    after = process_state()
    for what, value in before.items():
        assert after[what] == value, what


def test_one_thing_that_cannot_be_put_back_keeps_nothing_else_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = process_state()

    def fail(watch: object) -> None:
        raise ValueError("words")

    real = ImportWatch.close
    monkeypatch.setattr(ImportWatch, "close", fail)
    run = run_main(tmp_path)
    monkeypatch.setattr(ImportWatch, "close", real)
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, ImportWatch)]
    assert capsys.readouterr().err == "pystematic: the import system cannot be put back: ValueError: words\n"
    assert process_state() == before
    assert run.status == "completed"


@pytest.mark.parametrize("capture", ["sys", "fd"])
def test_what_is_printed_is_in_the_log(tmp_path: Path, capture: str, capfd: pytest.CaptureFixture[str]) -> None:
    def main(active: ActiveRun) -> None:
        print("one")
        print("two", file=sys.stderr)
        print("no newline", end="")

    run = run_main(tmp_path, main, capture=capture)
    assert sorted(log_of(run)[1:-1]) == ["no newline", "one", "two"]
    assert capfd.readouterr() == ("one\nno newline", "two\n")


def test_without_capture_the_log_holds_start_and_end(tmp_path: Path) -> None:
    run = run_main(tmp_path, lambda active: print("one"), capture="off")
    assert log_of(run) == [f"train {run.id}: prog.py train", "completed, exit code 0"]


def test_secrets_are_in_no_file(tmp_path: Path) -> None:
    secrets = {"api_token": "hunter2-hunter2", "pin": 7, "keys": ["first-key", "second-key"]}
    argv = ("prog.py", "train", "--api-token", "hunter2-hunter2", "--pin", "007", "--keys", "first-key", "second-key")

    def main(active: ActiveRun) -> None:
        print(dict(active.parameters))
        raise ValueError(f"refused: {active.parameters['api_token']} {active.parameters['keys']}")

    with pytest.raises(ValueError, match="refused"):
        run_main(tmp_path, main, secrets=secrets, argv=argv, notes=("with hunter2-hunter2",))
    run = only_run(tmp_path)
    content = "".join(path.read_text(encoding="utf-8") for path in run.path.iterdir())
    for secret in ("hunter2", "first-key", "second-key", "007"):
        assert secret not in content
    assert document(run)["argv"] == ["prog.py", "train", "--api-token", "<masked>", "--pin", "<masked>",
                                     "--keys", "<masked>", "<masked>"]  # fmt: skip


# -- a disk that fails at the end ------------------------------------------------------------------------------------


def test_a_status_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(rundir.RunDocument, "finish", fail)
    run = run_main(tmp_path)
    assert capsys.readouterr().err == (
        f"pystematic: how the run ended (completed) cannot be written to {run.dir.run_file}: Input/output error. "
        "It will be shown as lost.\n"
    )
    assert current() is None


# -- forked children -------------------------------------------------------------------------------------------------


def exit_code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("error", [None, ValueError("of the child"), SystemExit(5)])
def test_a_forked_child_that_leaves_through_our_code_does_not_end_the_record(
    tmp_path: Path, error: BaseException | None
) -> None:
    pids: list[int] = []

    def main(active: ActiveRun) -> str:
        print("before", end="")
        pid = os.fork()
        if pid == 0:
            print("of the child")
            if error is not None:
                raise error
            return "child"
        pids.append(pid)
        os.waitpid(pid, 0)
        print(" after")
        return Run(active.output_dir).document["status"]  # type: ignore[no-any-return]

    parent = os.getpid()
    try:
        run = run_main(tmp_path, main)
    except (ValueError, SystemExit) as raised:
        os._exit(3 if raised is error else 4)
    finally:
        if os.getpid() != parent:
            still_ours = vars(sys.stdout).get("write"), signal.getsignal(signal.SIGTERM)
            os._exit(3 if still_ours == (None, signal.SIG_DFL) and current() is None else 4)
    assert (run.result, run.status) == ("running", "completed")
    assert log_of(run)[1:] == ["of the child", "before after", "completed, exit code 0"]


def test_a_forked_child_may_run_an_experiment_of_its_own(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                run_main(tmp_path / "child", lambda inner: print("inner"))
            finally:
                os._exit(0)
        return exit_code_of(pid)

    run = run_main(tmp_path / "parent", main)
    assert (run.result, run.status) == (0, "completed")
    child = only_run(tmp_path / "child")
    assert child.status == "completed"
    assert log_of(child)[1] == "inner"
    assert "inner" not in log_of(run)


def work_in_child(path: str) -> None:
    print(f"of process {os.path.basename(path)}")
    Path(path).write_text("done", encoding="utf-8")


def wait_in_child(ready: Any) -> None:
    ready.set()
    threading.Event().wait()


def test_children_of_multiprocessing_print_into_the_log_and_end_nothing(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> list[int | None]:
        context = multiprocessing.get_context("fork")
        processes = [context.Process(target=work_in_child, args=(str(tmp_path / str(i)),)) for i in range(3)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return [process.exitcode for process in processes]

    run = run_main(tmp_path / "output", main)
    assert run.result == [0, 0, 0]
    assert sorted(log_of(run)[1:-1]) == [f"of process {i}" for i in range(3)]
    assert run.status == "completed"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_can_be_terminated(tmp_path: Path, method: str) -> None:
    def main(active: ActiveRun) -> int | None:
        context: Any = multiprocessing.get_context(method)
        ready = context.Event()
        process = context.Process(target=wait_in_child, args=(ready,))
        process.start()
        ready.wait(60)
        process.terminate()
        process.join()
        return process.exitcode  # type: ignore[no-any-return]

    run = run_main(tmp_path, main)
    assert (run.result, run.status) == (-signal.SIGTERM, "completed")


def test_a_fork_while_other_threads_print_and_start_runs_does_not_hang(tmp_path: Path) -> None:
    stop = threading.Event()

    def print_on(active: ActiveRun) -> None:
        while not stop.is_set():
            print("x" * 100)
            _ = active.recorder
            with contextlib.suppress(ExperimentError):
                run_main(tmp_path)

    def main(active: ActiveRun) -> set[int]:
        _ = active.recorder  # a module that another thread is importing can be imported by no child
        threads = [threading.Thread(target=print_on, args=(active,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        codes = set()
        for _ in range(30):
            pid = os.fork()
            if pid == 0:
                print("of the child")
                _ = active.recorder
                os._exit(0)
            codes.add(exit_code_of(pid))
        stop.set()
        for thread in threads:
            thread.join()
        return codes

    assert run_main(tmp_path, main).result == {0}
