"""Runs of several real processes of this machine: what comes back, what is written, and that nobody is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tensorboard.backend.event_processing import event_accumulator

import pystematic
from tests.builders import wait_until, write_program
from tests.process.builders import run_on_terminal

LIMIT_S = 60.0
GONE_WITHIN_S = 5.0

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="distributed runs are complete on Linux only"),
    pytest.mark.timeout(120),
]

PROGRAM = """
    import ctypes, logging, os, signal, sys, threading
    import torch
    import pystematic

    never = threading.Event()

    def leave_a_mark():
        with open(f"pid-{os.getpid()}", "x"):
            pass

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 1_000_000

        def __getitem__(self, index):
            if not os.path.exists(f"pid-{os.getpid()}"):
                leave_a_mark()
            return torch.zeros(1)

    def loop(context, saves):
        context.state = torch.zeros(1)
        for i in range(100_000):
            context.all_reduce(1)
            context.recorder.scalar("i", i)
            if saves and i == 0:
                context.save_checkpoint()
            if i == 3:
                open(f"looping-{context.rank}", "x").close()
            never.wait(0.005)  # a step takes a while, so that the loop is not through before it is stopped
            context.recorder.step()

    @pystematic.parameter(name="how", type=str, default="return")
    @pystematic.parameter(name="lr", type=float, default=0.5)
    @pystematic.experiment
    def train(parameters, context):
        leave_a_mark()
        how, rank = parameters["how"], context.rank
        print("printed by rank", rank, "lr", parameters["lr"], "seed", parameters["random_seed"], flush=True)
        context.recorder.scalar("rank", rank)
        if how == "record":
            context.recorder.weight = 1 if rank else 3
            for _ in range(3):
                context.recorder.scalar("mean", rank)
                context.recorder.scalar("sum", rank, reduce="sum")
                context.recorder.step()
            context.loader = pystematic.torch.DataLoader([0.0, 1.0, 2.0, 3.0, 4.0], batch_size=4)
            for batch in context.loader:  # the last one has one sample, which both have
                context.recorder.weight = len(batch)
                context.recorder.scalar("batch/mean", batch.mean())
                context.recorder.scalar("batch/samples", len(batch), reduce="sum")
                context.recorder.step()
        if how == "log":
            logging.getLogger("program").warning("logged by rank %d", rank)
            os.write(1, f"from C by rank {rank}\\n".encode())
        if how == "bar":
            for batch in pystematic.torch.DataLoader(list(range(8)), batch_size=2):
                pass
        if how == "fail" and rank == 1:
            raise ValueError("the words of the program")
        if how == "fail-late":
            if rank == 1:
                raise ValueError("the words of the program")
            context.barrier()
        if how == "exit-3" and rank == 1:
            sys.exit(3)
        if how == "killed" and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang-in-c":
            if rank == 1:
                raise ValueError("the words of the program")
            ctypes.PyDLL(None).sleep(100)
        if how == "ignore":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            open(f"looping-{rank}", "x").close()
            while True:
                never.wait()
        if how == "workers":
            context.loader = pystematic.torch.DataLoader(Samples(), batch_size=2, num_workers=1)
            for i, batch in enumerate(context.loader):
                if i == 3:
                    open(f"looping-{rank}", "x").close()
        if how == "workers-killed":
            context.loader = pystematic.torch.DataLoader(Samples(), batch_size=2, num_workers=1)
            for i, batch in enumerate(context.loader):
                if i == 3 and rank == 1:
                    os.kill(os.getpid(), signal.SIGKILL)
        if how == "missing":
            if rank == 1:
                never.wait()
            context.barrier()
        if how == "different":
            (context.broadcast if rank else context.barrier)(*([torch.ones(1)] if rank else []))
        if how == "loop":
            loop(context, saves=False)
        if how == "loop-saved":
            loop(context, saves=True)
        if how == "fail-once" and rank == 1 and not os.path.exists("failed-once"):
            open("failed-once", "x").close()
            raise ValueError("only the first time")
        return (lambda: 0) if how == "lambda" else {"rank": rank, "world_size": context.world_size}

    if __name__ == "__main__":
        BODY
"""
COMMAND_LINE = "pystematic.global_entrypoint()"


def write(folder: Path, body: str = COMMAND_LINE, before: str = "") -> Path:
    return write_program(folder, PROGRAM.replace("BODY", body).replace("import torch\n", f"import torch\n{before}", 1))


@pytest.fixture
def start(working_dir: Path) -> Iterator[Any]:
    """Start the program; whatever is left of it afterwards is ended."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*argv: str, program: Path | None = None, launcher: tuple[str, ...] = (), **env: str) -> Any:
        command = [sys.executable, *launcher, str(program or write(working_dir)), *argv]
        with open("out.txt", "wb") as out, open("err.txt", "wb") as err:
            popen = subprocess.Popen(
                command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0
            )
        started.append(popen)
        return popen

    yield begin
    for popen in started:
        popen.kill()
        popen.wait()
    for pid in marked(working_dir):
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()


def train(start: Any, how: str, *options: str, **env: str) -> Any:
    return start("train", "--distributed", "--nproc-per-node", "2", "--how", how, *options, **env)


def marked(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("pid-")) for path in folder.glob("pid-*")]


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_of(popen: Any, folder: Path, limit_s: float = LIMIT_S) -> int:
    """Return the exit code, when all processes have gone in time."""
    code = int(popen.wait(limit_s))
    wait_until(lambda: not any(is_alive(pid) for pid in marked(folder)), GONE_WITHIN_S)
    return code


def document(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("output/train/*/run.json")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def run_log(folder: Path, rank: int) -> Path:
    (path,) = folder.glob("output/train/*/log.txt" if rank == 0 else f"output/train/*/log.rank-{rank}.txt")
    return path


def log_of(folder: Path, rank: int) -> str:
    return run_log(folder, rank).read_text()


def recorded_steps(path: Path) -> list[int]:
    """Return the steps of the loop in a file of series; the machine's meters have others."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["step"] for line in lines if line["tag"] == "i"]


def is_looping(folder: Path) -> bool:
    return len(list(folder.glob("looping-*"))) == 2


# -- a run that goes well ----------------------------------------------------------------------------------------


def test_all_processes_work_in_one_directory_and_each_writes_its_own_files(start: Any, working_dir: Path) -> None:
    assert end_of(train(start, "return"), working_dir) == 0
    (run_dir,) = working_dir.glob("output/train/*")
    names = {path.name for path in run_dir.iterdir()}
    assert {"log.txt", "log.rank-1.txt", "metrics.jsonl", "metrics.rank-1.jsonl"} <= names
    assert document(working_dir)["status"] == "completed"
    assert document(working_dir)["attempts"][0]["world_size"] == 2


def test_the_console_shows_rank_0_and_each_log_its_own_rank(start: Any, working_dir: Path) -> None:
    end_of(train(start, "return", "--random-seed", "7"), working_dir)
    assert Path("out.txt").read_text() == "printed by rank 0 lr 0.5 seed 7\n"
    assert "printed by rank 0" in log_of(working_dir, 0)
    assert "printed by rank 1" not in log_of(working_dir, 0)
    assert "printed by rank 1 lr 0.5 seed 7" in log_of(working_dir, 1)


def test_run_returns_the_result_of_rank_0(start: Any, working_dir: Path) -> None:
    body = "run = train.run(distributed=True, nproc_per_node=3); print(run.result, run.status)"
    popen = start(program=write(working_dir, body))
    assert end_of(popen, working_dir) == 0
    assert Path("out.txt").read_text().splitlines()[-1] == "{'rank': 0, 'world_size': 3} completed"


def test_a_result_that_cannot_travel_is_said_and_is_no_failure(start: Any, working_dir: Path) -> None:
    assert end_of(train(start, "lambda"), working_dir) == 0
    assert "pystematic: the result of the main function is lost: " in Path("err.txt").read_text()
    assert document(working_dir)["status"] == "completed"


def test_where_a_fork_is_unsafe_fresh_processes_get_the_same_parameters(start: Any, working_dir: Path) -> None:
    unsafe = (
        "    import threading; threading.Thread(target=threading.Event().wait, name='feeder', daemon=True).start()\n"
    )
    program = write(working_dir, before=unsafe)
    popen = start("train", "--distributed", "--nproc-per-node", "2", "--lr", "0.25", program=program)
    assert end_of(popen, working_dir) == 0
    said = Path("err.txt").read_text().splitlines()[0]
    assert said == "Running on 2 fresh processes: no fork, as a thread of the program is running (feeder)."
    seed = log_of(working_dir, 0).partition("seed ")[2].split()[0]
    assert f"printed by rank 1 lr 0.25 seed {seed}" in log_of(working_dir, 1)


def test_a_notebook_where_a_fork_is_unsafe_is_refused(working_dir: Path) -> None:
    program = (
        "import threading, torch, pystematic\n"
        "threading.Thread(target=threading.Event().wait, name='feeder', daemon=True).start()\n"
        "@pystematic.experiment\n"
        "def train(): pass\n"
        "try: train.run(distributed=True, nproc_per_node=2)\n"
        "except pystematic.core.ExperimentError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert ended.stdout == (
        "the processes of this run cannot be forked, as a thread of the program is running (feeder), and there is no "
        "program file that fresh ones could run. Restart the kernel or interpreter and run the experiment first, or "
        "put it into a file.\n"
    )


def test_a_lone_rank_variable_changes_nothing(start: Any, working_dir: Path) -> None:
    assert end_of(start("train", RANK="1", WORLD_SIZE="2"), working_dir) == 0
    assert document(working_dir)["attempts"][0]["world_size"] == 1


def test_each_rank_records_and_backends_and_summary_have_the_merged_series(start: Any, working_dir: Path) -> None:
    assert end_of(train(start, "record", "--recorders", "csv,tensorboard"), working_dir) == 0
    (run_dir,) = working_dir.glob("output/train/*")
    own = [json.loads(line) for line in (run_dir / "metrics.rank-1.jsonl").read_text().splitlines()]
    assert {(line["value"], line["weight"]) for line in own if line["tag"] == "mean"} == {(1.0, 1)}
    (run,) = pystematic.runs("output")
    assert run.metrics("mean").value.tolist() == [0.25] * 3  # three samples of rank 0, one of rank 1
    assert run.metrics("sum").value.tolist() == [1.0] * 3
    assert run.metrics("batch/mean").value.tolist() == [1.5, 4.0]
    assert run.metrics("batch/samples").value.tolist() == [4, 1]
    summary = json.loads((run_dir / "summary.json").read_text())["metrics"]
    assert (summary["mean"]["count"], summary["mean"]["last"]) == (3, 0.25)
    rows = [line.split(",") for line in next(run_dir.rglob("*.csv")).read_text().splitlines()]
    tag, value = rows[0].index("tag"), rows[0].index("value")
    assert [float(row[value]) for row in rows[1:] if row[tag] == "mean"] == [0.25] * 3
    events = event_accumulator.EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("mean")] == [(0, 0.25), (1, 0.25), (2, 0.25)]


def test_the_summary_counts_in_what_a_process_records_behind_the_end_of_rank_0(start: Any, working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import threading
        import pystematic

        never = threading.Event()

        @pystematic.experiment
        def train(parameters, context):
            while context.rank == 1 and not (context.output_dir / "summary.json").exists():
                never.wait(0.01)
            context.recorder.scalar("loss", 1.0 + context.rank, step=0)

        if __name__ == "__main__":
            pystematic.global_entrypoint()
        """,
    )
    words = ("train", "--distributed", "--nproc-per-node", "2", "--device", "cpu")
    assert end_of(start(*words, program=program), working_dir) == 0
    (run_dir,) = working_dir.glob("output/train/*")
    assert json.loads((run_dir / "summary.json").read_text())["metrics"]["loss"]["last"] == 1.5


def test_log_records_come_to_the_log_of_their_rank_and_those_of_rank_0_to_the_console(
    start: Any, working_dir: Path
) -> None:
    assert end_of(train(start, "log"), working_dir) == 0
    for rank in (0, 1):
        assert f"logged by rank {rank}" in log_of(working_dir, rank)
        assert f"from C by rank {rank}" in Path("out.txt" if rank == 0 else run_log(working_dir, 1)).read_text()
    console = Path("out.txt").read_text() + Path("err.txt").read_text()
    assert "logged by rank 0" in console
    assert "by rank 1" not in console


def test_only_rank_0_shows_a_progress_bar(working_dir: Path) -> None:
    """On a terminal; the bars of the others would overwrite it."""
    program = write(working_dir)
    code, shown = run_on_terminal(
        program, "train", "--distributed", "--nproc-per-node", "2", "--how", "bar", cwd=working_dir
    )
    assert code == 0, shown
    bars = [part for part in shown.decode().replace("\n", "\r").split("\r") if "4/4" in part]
    assert bars
    assert len({bar.split("|")[0] for bar in bars}) == 1
    assert "4/4" not in log_of(working_dir, 1)


# -- failures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fail", "fail-late", "hang-in-c"])
def test_a_process_that_raises_ends_the_run_with_its_own_traceback(start: Any, working_dir: Path, how: str) -> None:
    popen = train(start, how)
    wait_until(lambda: len(marked(working_dir)) == 2)
    began = time.monotonic()
    assert end_of(popen, working_dir) == 1
    assert time.monotonic() - began < GONE_WITHIN_S + 1.0
    lines = Path("err.txt").read_text().splitlines()
    assert lines[1] == "rank 1 of 2 failed:"
    assert lines[2] == "Traceback (most recent call last):"
    assert "in train" in lines[3]
    assert "ValueError: the words of the program" in lines
    assert "pystematic/torch" not in "\n".join(lines)
    error = document(working_dir)["error"]
    assert (document(working_dir)["status"], error["type"]) == ("failed", "ValueError")


def test_sys_exit_in_one_process_is_the_runs_exit_code(start: Any, working_dir: Path) -> None:
    assert end_of(train(start, "exit-3"), working_dir) == 3
    assert "pystematic: rank 1 of 2 called sys.exit(3)" in Path("err.txt").read_text()
    assert document(working_dir)["status"] == "failed"


@pytest.mark.parametrize("how", ["killed", "workers-killed"])
def test_a_killed_process_is_named_and_ends_the_run(start: Any, working_dir: Path, how: str) -> None:
    assert end_of(train(start, how), working_dir) == 1
    words = "rank 1 of 2 was killed by SIGKILL, without a word; the end of its log may tell more: log.rank-1.txt."
    assert f"pystematic: {words}" in Path("err.txt").read_text()
    assert document(working_dir)["error"]["message"] == words


def test_a_process_that_all_wait_for_is_named_with_the_lines_of_both(start: Any, working_dir: Path) -> None:
    assert end_of(train(start, "missing", "--collective-timeout", "4"), working_dir) == 1
    said = Path("err.txt").read_text()
    program = working_dir / "prog.py"
    lines = program.read_text().splitlines()
    barrier = 1 + max(i for i, line in enumerate(lines) if line == "        context.barrier()")
    where = f"{program}:{barrier}"
    assert f"pystematic: rank 0 has waited 2 s in barrier ({where}) for rank 1, which has called none." in said
    assert "rank 1 is here:\n" in said
    assert "never.wait()" in said
    assert f"rank 0 waits in barrier ({where}) for this process, rank 1, which is here:" in log_of(working_dir, 1)


def test_processes_in_different_collectives_are_named_with_both_lines(start: Any, working_dir: Path) -> None:
    assert end_of(train(start, "different", "--collective-timeout", "4"), working_dir) == 1
    program = working_dir / "prog.py"
    lines = program.read_text().splitlines()
    where = f"{program}:{1 + next(i for i, line in enumerate(lines) if 'context.broadcast if rank' in line)}"
    said = Path("err.txt").read_text() + log_of(working_dir, 1)
    assert re.search(
        rf"rank 0 has waited 2 s in barrier \({re.escape(where)}\) for rank 1, which is in broadcast "
        rf"\({re.escape(where)}\)",
        said,
    )


# -- signals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "number", "code"),
    [
        ("loop", signal.SIGINT, 130),
        ("loop", signal.SIGTERM, 143),
        ("loop", signal.SIGHUP, 129),
        ("loop-saved", signal.SIGTERM, 143),
        ("loop-saved", signal.SIGUSR1, 138),
        ("workers", signal.SIGINT, 130),
        ("workers", signal.SIGTERM, 143),
    ],
)
def test_a_signal_to_the_parent_ends_all(start: Any, working_dir: Path, how: str, number: int, code: int) -> None:
    popen = train(start, how)
    wait_until(lambda: is_looping(working_dir))
    popen.send_signal(number)
    assert end_of(popen, working_dir, GONE_WITHIN_S + 5.0) == code
    assert (document(working_dir)["status"], document(working_dir)["exit_code"]) == ("interrupted", code)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_at_once_is_one_event(start: Any, working_dir: Path, number: int) -> None:
    popen = train(start, "loop-saved")
    wait_until(lambda: is_looping(working_dir))
    for pid in [*marked(working_dir), popen.pid]:
        os.kill(pid, number)
    assert end_of(popen, working_dir, GONE_WITHIN_S + 5.0) == 128 + number
    steps = set()
    for path in working_dir.glob("output/train/*/metrics*.jsonl"):
        steps.add(recorded_steps(path)[-1])
    assert len(steps) == 1  # none was cut short


@pytest.mark.parametrize("how", ["loop", "ignore", "workers"])
def test_ctrl_c_twice_ends_all_within_5_s(start: Any, working_dir: Path, how: str) -> None:
    popen = train(start, how)
    wait_until(lambda: is_looping(working_dir))
    threads = psutil.Process(popen.pid).num_threads()
    popen.send_signal(signal.SIGINT)
    # The first has been heard: the patience of the parent has its own thread.
    wait_until(lambda: not is_alive(popen.pid) or psutil.Process(popen.pid).num_threads() > threads)
    popen.send_signal(signal.SIGINT)
    assert end_of(popen, working_dir, GONE_WITHIN_S) == 130
    assert document(working_dir)["status"] == "interrupted"


@pytest.mark.parametrize("how", ["loop", "ignore", "workers"])
def test_a_killed_parent_leaves_nobody(start: Any, working_dir: Path, how: str) -> None:
    popen = train(start, how)
    wait_until(lambda: is_looping(working_dir))
    popen.kill()
    assert end_of(popen, working_dir) == -signal.SIGKILL
    assert len(marked(working_dir)) == (4 if how == "workers" else 2)


def test_sigusr1_saves_the_same_step_for_all(start: Any, working_dir: Path) -> None:
    popen = train(start, "loop")
    wait_until(lambda: is_looping(working_dir))
    popen.send_signal(signal.SIGUSR1)
    assert end_of(popen, working_dir) == 138
    (manifest,) = working_dir.glob("output/train/*/checkpoints/*.json")
    (entry,) = json.loads(manifest.read_text())["checkpoints"]
    for path in working_dir.glob("output/train/*/metrics*.jsonl"):
        assert recorded_steps(path)[-1] == entry["step"] - 1


def test_the_time_limit_ends_all_with_75(start: Any, working_dir: Path) -> None:
    popen = train(start, "loop", "--max-time", "2")
    assert end_of(popen, working_dir) == 75
    assert (document(working_dir)["status"], document(working_dir)["exit_code"]) == ("interrupted", 75)
    assert list(working_dir.glob("output/train/*/checkpoints/*.pt"))


# -- launchers and restarts --------------------------------------------------------------------------------------


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_processes_of_torchrun_work_on_one_run(start: Any, working_dir: Path) -> None:
    popen = start("train", launcher=TORCHRUN)
    assert end_of(popen, working_dir) == 0
    assert document(working_dir)["attempts"][0]["world_size"] == 2
    assert "Joined torchrun: rank 0 of 2" in Path("err.txt").read_text()
    assert "printed by rank 1" in log_of(working_dir, 1)


def test_a_failure_under_torchrun_fails_the_run_with_the_words_of_the_process(start: Any, working_dir: Path) -> None:
    popen = start("train", "--how", "fail", launcher=TORCHRUN)
    assert end_of(popen, working_dir) == 1
    assert document(working_dir)["status"] == "failed"
    error = document(working_dir)["error"]
    assert (error["type"], error["message"]) == ("ValueError", "the words of the program")
    assert "rank 1 of 2 failed:\nTraceback (most recent call last):" in Path("err.txt").read_text()


def test_a_restart_goes_on_in_the_same_directory(start: Any, working_dir: Path) -> None:
    popen = train(start, "fail-once", "--max-restarts", "1")
    assert end_of(popen, working_dir) == 0
    found = document(working_dir)
    assert (found["status"], len(found["attempts"])) == ("completed", 2)


def test_a_killed_parent_of_restarting_processes_leaves_nobody(start: Any, working_dir: Path) -> None:
    popen = train(start, "workers", "--max-restarts", "1")
    wait_until(lambda: is_looping(working_dir))
    popen.kill()
    assert end_of(popen, working_dir) == -signal.SIGKILL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138), (signal.SIGINT, 130)])
def test_a_signal_is_no_reason_for_a_restart(start: Any, working_dir: Path, number: int, code: int) -> None:
    popen = train(start, "loop-saved", "--max-restarts", "1")
    wait_until(lambda: is_looping(working_dir))
    popen.send_signal(number)
    assert end_of(popen, working_dir) == code
    assert (document(working_dir)["status"], len(document(working_dir)["attempts"])) == ("interrupted", 1)


def test_restarting_processes_that_ignore_signals_are_killed_and_the_run_is_interrupted(
    start: Any, working_dir: Path
) -> None:
    popen = train(start, "ignore", "--max-restarts", "1")
    wait_until(lambda: is_looping(working_dir))
    popen.send_signal(signal.SIGTERM)
    assert end_of(popen, working_dir, 2 * GONE_WITHIN_S) == 143
    assert (document(working_dir)["status"], document(working_dir)["exit_code"]) == ("interrupted", 143)
