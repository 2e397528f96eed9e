"""Runs of several processes that are interrupted, killed, or that fail: nobody is left, and the record is the truth."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from faults._harness import CaseError, Ended, Place, Process, expect, last_line

GONE_WITHIN_S = 5.0
GRACE_S = 3.0

PROGRAM = """
    import os, signal, sys, time
    import torch
    import pystematic

    def mark():
        open(f"pid-{os.getpid()}", "w").close()

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 10**6

        def __getitem__(self, index):
            mark()
            return torch.zeros(1)

    @pystematic.parameter(name="how", type=str, required=True)
    @pystematic.experiment
    def train(parameters, context):
        how = parameters["how"]
        mark()
        context.barrier()
        if how == "ignore":
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        if how == "slow-step":
            context.save_checkpoint()
            context.recorder.step()
        if how == "workers":
            context.loader = pystematic.torch.DataLoader(Samples(), batch_size=2, num_workers=1)
        open(f"ready-{context.rank}", "w").close()
        if context.rank == 1:
            if how == "raise":
                raise ValueError("the words of the program")
            if how == "exit":
                sys.exit(3)
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        if how == "workers":
            for batch in context.loader:
                pass
        while how in ("ignore", "slow-step"):
            time.sleep(0.1)
        while True:
            context.all_reduce(1)
            time.sleep(0.01)
            context.recorder.step()

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def _start(place: Place, how: str) -> Process:
    program = place.write("prog.py", PROGRAM)
    options = ("--distributed", "--nproc-per-node", "2", "--device", "cpu", "--grace", f"{GRACE_S:g}")
    process = place.start(program, "train", "--how", how, *options, "--output-dir", place.output_dir)
    _wait_until(lambda: len(list(place.folder.glob("ready-*"))) == 2 or process.popen.poll() is not None, 60.0)
    if how == "workers":
        _wait_until(lambda: len(_marked(place)) == 4, 60.0)
    return process


def _wait_until(holds: object, limit_s: float) -> bool:
    assert callable(holds)
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _marked(place: Place) -> list[int]:
    return [int(path.name.removeprefix("pid-")) for path in place.folder.glob("pid-*")]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _check(place: Place, process: Process, *, code: int, status: str, within_s: float = GONE_WITHIN_S) -> Ended:
    began = time.monotonic()
    ended = process.wait()
    took_s = time.monotonic() - began
    expect(took_s <= within_s, f"the parent ended {took_s:.1f} s after the fault")
    left_s = max(0.0, within_s - took_s)
    if not _wait_until(lambda: not any(map(_is_alive, _marked(place))), left_s):
        left = [pid for pid in _marked(place) if _is_alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        raise CaseError(f"{len(left)} processes are left {within_s:g} s after the fault")
    runs = place.read()
    expect(ended.code == code, f"exit code {ended.code}, not {code}: {last_line(ended.stderr)}")
    expect(len(runs) == 1, f"{len(runs)} runs")
    expect(runs[0]["status"] == status, f"status {runs[0]['status']}, not {status}")
    return ended


def _twice(process: Process, send: object) -> None:
    assert callable(send)

    def threads() -> int:
        try:
            return len(os.listdir(f"/proc/{process.popen.pid}/task"))
        except OSError:
            return 10**6

    before = threads()
    send()
    _wait_until(lambda: threads() > before, GONE_WITHIN_S)  # the first has been heard
    send()


def _interrupt_twice(place: Place, how: str) -> None:
    process = _start(place, how)
    _twice(process, lambda: process.signal(signal.SIGINT))
    _check(place, process, code=130, status="interrupted")


def _kill_parent(place: Place, how: str) -> None:
    process = _start(place, how)
    process.signal(signal.SIGKILL)
    _check(place, process, code=137, status="lost")


def interrupt_parent_twice(place: Place) -> None:
    _interrupt_twice(place, "loop")


def interrupt_all_twice(place: Place) -> None:
    process = _start(place, "loop")

    def send() -> None:
        for pid in [process.popen.pid, *_marked(place)]:
            if _is_alive(pid):
                os.kill(pid, signal.SIGINT)

    _twice(process, send)
    _check(place, process, code=130, status="interrupted")


def terminate(place: Place) -> None:
    process = _start(place, "loop")
    process.signal(signal.SIGTERM)
    _check(place, process, code=143, status="interrupted")


def terminate_past_grace(place: Place) -> None:
    process = _start(place, "slow-step")
    process.signal(signal.SIGTERM)
    _check(place, process, code=143, status="interrupted", within_s=GRACE_S + GONE_WITHIN_S)


def hang_up(place: Place) -> None:
    process = _start(place, "loop")
    process.signal(signal.SIGHUP)
    _check(place, process, code=129, status="interrupted")


def kill_parent(place: Place) -> None:
    _kill_parent(place, "loop")


def rank_killed(place: Place) -> None:
    ended = _check(place, _start(place, "kill"), code=1, status="failed")
    expect("rank 1 of 2 was killed by SIGKILL" in ended.stderr, "the killed process is not named")


def rank_raises(place: Place) -> None:
    ended = _check(place, _start(place, "raise"), code=1, status="failed")
    lines = ended.stderr.splitlines()
    expect(lines[1:3] == ["rank 1 of 2 failed:", "Traceback (most recent call last):"], "its traceback is not first")
    expect("ValueError: the words of the program" in lines, "the words of the program are not shown")


def rank_exits(place: Place) -> None:
    _check(place, _start(place, "exit"), code=3, status="failed")


def ignoring(place: Place) -> None:
    _interrupt_twice(place, "ignore")


def ignoring_kill(place: Place) -> None:
    _kill_parent(place, "ignore")


def workers(place: Place) -> None:
    _interrupt_twice(place, "workers")


def workers_kill(place: Place) -> None:
    _kill_parent(place, "workers")
