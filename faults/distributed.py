"""Runs of one and several processes that are interrupted, killed, or fail: nobody is left, and the record is the truth.

Each case is tried for each way in which processes come to be; processes are found by a mark in their environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from faults._harness import CaseError, Ended, Place, Process, expect, last_line, wait_until

GONE_WITHIN_S = 5.0
GRACE_S = 3.0
START_LIMIT_S = 60.0
MARK = "FAULT_MARK"

PROGRAM = """
    import os, signal, sys, threading, time
    import torch
    import pystematic

    if "UNSAFE" in os.environ:  # no fork is safe beside a thread
        threading.Thread(target=threading.Event().wait, name="feeder", daemon=True).start()

    class Samples(torch.utils.data.Dataset):
        def __len__(self):
            return 10**6

        def __getitem__(self, index):
            open(f"worker-{os.getpid()}", "w").close()
            return torch.zeros(1)

    @pystematic.parameter(name="how", type=str, required=True)
    @pystematic.experiment
    def train(parameters, context):
        how = parameters["how"]
        is_last = context.rank == context.world_size - 1
        context.state = torch.zeros(1)
        context.barrier()
        if how.startswith("ignore"):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        if how in ("saved", "slow-step"):
            context.save_checkpoint()
            context.recorder.step()
        if how == "workers":
            context.loader = pystematic.torch.DataLoader(Samples(), batch_size=2, num_workers=1)
        open(f"ready-{context.rank}", "w").close()
        if is_last:
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


@dataclass(frozen=True)
class Way:
    """A way in which the processes of a run come to be.

    ``world_size`` is how many there are; ``is_ours`` tells whether the parent is our own, with an exit code of ours.
    """

    name: str
    world_size: int
    launcher: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    is_ours: bool = True


_TWO = ("--distributed", "--nproc-per-node", "2", "--device", "cpu")
FORK = Way("fork", 2, options=_TWO)
FRESH = Way("fresh", 2, options=_TWO, env=(("UNSAFE", "1"),))
TORCHRUN = Way("torchrun", 2, ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"), is_ours=False)
RESTARTING = Way("restarting", 2, options=(*_TWO, "--max-restarts", "1"))
ONE = Way("one", 1)
WAYS = (FORK, FRESH, TORCHRUN, RESTARTING, ONE)


def _for_each_way(place: Place, check: Callable[[Place, Way], None], ways: Iterable[Way] = WAYS) -> None:
    """Check each way, the first ones where only a few moments are asked for."""
    for way in tuple(ways)[: place.moments]:
        try:
            check(place.sub(way.name), way)
        except CaseError as error:
            raise CaseError(f"{way.name}: {error}") from None


def _start(place: Place, way: Way, how: str, *options: str) -> Process:
    program = place.write("prog.py", PROGRAM)
    argv = (*way.launcher, program, "train", "--how", how, *way.options, "--grace", f"{GRACE_S:g}", *options)
    env = {**dict(way.env), MARK: str(place.folder)}
    process = place.start(*argv, "--output-dir", place.output_dir, **env)
    count = way.world_size
    wait_until(lambda: _has_ended(process) or len(list(place.folder.glob("ready-*"))) == count, START_LIMIT_S)
    if how == "workers":
        wait_until(lambda: len(list(place.folder.glob("worker-*"))) == count, START_LIMIT_S)
    return process


def _has_ended(process: Process) -> bool:
    return process.popen.poll() is not None


def _marked(place: Place) -> dict[int, str]:
    """Return the command lines of all living processes that belong to the case, by pid."""
    mark = f"{MARK}={place.folder}".encode()
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended meanwhile, or of another user
            if mark not in (path / "environ").read_bytes().split(b"\0"):
                continue
            if (path / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
                continue
            found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def _check(
    place: Place, way: Way, process: Process, *, code: int, status: str, within_s: float = GONE_WITHIN_S
) -> Ended:
    """Check that all processes have gone in time, and that the exit code and the record are right."""
    launcher = set() if way.is_ours else {process.popen.pid}  # how long a launcher itself takes is its own business

    def left_over() -> dict[int, str]:
        return {pid: command for pid, command in _marked(place).items() if pid not in launcher}

    gone = wait_until(lambda: (_has_ended(process) or not way.is_ours) and not left_over(), within_s)
    left = left_over()
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    expect(gone, f"{len(left)} processes are left {within_s:g} s after the fault: {', '.join(left.values())}")
    ended = process.wait()
    runs = place.read()
    if way.is_ours or code == 137:
        expect(ended.code == code, f"exit code {ended.code}, not {code}: {last_line(ended.stderr)}")
    else:
        expect(ended.code != 0, "exit code 0")
    expect(len(runs) == 1, f"{len(runs)} runs")
    expect(runs[0]["status"] == status, f"status {runs[0]['status']}, not {status}: {last_line(ended.stderr)}")
    if status != "lost":
        expect(runs[0]["exit_code"] == code, f"exit code {runs[0]['exit_code']} in the record, not {code}")
    return ended


def _saved_steps(place: Place) -> list[int]:
    return [
        entry["step"]
        for path in place.output_dir.glob("train/*/checkpoints/manifest.json")
        for entry in json.loads(path.read_text())["checkpoints"]
    ]


def _twice(process: Process, send: Callable[[], None]) -> None:
    def threads() -> int:
        try:
            return len(os.listdir(f"/proc/{process.popen.pid}/task"))
        except OSError:
            return 10**6

    before = threads()
    send()
    wait_until(lambda: threads() > before, 1.0)  # the first has been heard
    send()


def _interrupt_twice(how: str, ways: Iterable[Way] = WAYS) -> Callable[[Place], None]:
    def check(place: Place, way: Way) -> None:
        process = _start(place, way, how)
        _twice(process, lambda: process.signal(signal.SIGINT))
        _check(place, way, process, code=130, status="interrupted")

    return lambda place: _for_each_way(place, check, ways)


def _send(
    how: str, number: int, ways: Iterable[Way] = WAYS, *, within_s: float = GONE_WITHIN_S, saves: bool = False
) -> Callable[[Place], None]:
    code = 128 + number

    def check(place: Place, way: Way) -> None:
        process = _start(place, way, how)
        process.signal(number)
        _check(place, way, process, code=code, status="interrupted", within_s=within_s)
        if saves:
            steps = _saved_steps(place)
            expect(bool(steps) and max(steps) > 0, f"no checkpoint was saved at the end: steps {steps}")

    return lambda place: _for_each_way(place, check, ways)


def _kill_parent(how: str) -> Callable[[Place], None]:
    def check(place: Place, way: Way) -> None:
        process = _start(place, way, how)
        process.signal(signal.SIGKILL)
        _check(place, way, process, code=137, status="lost")

    return lambda place: _for_each_way(place, check)


# torchrun itself dies of SIGUSR1, and of a second Ctrl-C, with its processes.
_OURS = (FORK, FRESH, RESTARTING, ONE)
# The others start all processes again.
_SEVERAL = (FORK, FRESH, TORCHRUN)
# One process that ignores signals does just that.
_STARTED = (FORK, FRESH, RESTARTING)

interrupt_parent_twice = _interrupt_twice("loop")
terminate = _send("loop", signal.SIGTERM)
terminate_saved = _send("saved", signal.SIGTERM, within_s=GRACE_S + GONE_WITHIN_S, saves=True)
terminate_past_grace = _send("slow-step", signal.SIGTERM, within_s=GRACE_S + GONE_WITHIN_S)
terminate_ignoring = _send("ignore", signal.SIGTERM, _STARTED)
hang_up = _send("loop", signal.SIGHUP)
hang_up_saved = _send("slow-step", signal.SIGHUP)
user_signal = _send("loop", signal.SIGUSR1, _OURS, within_s=GRACE_S + GONE_WITHIN_S, saves=True)
user_signal_2 = _send("loop", signal.SIGUSR2, _OURS, within_s=GRACE_S + GONE_WITHIN_S, saves=True)
user_signal_past_grace = _send("slow-step", signal.SIGUSR1, _OURS, within_s=GRACE_S + GONE_WITHIN_S)
kill_parent = _kill_parent("loop")
ignoring = _interrupt_twice("ignore", _STARTED)
ignoring_kill = _kill_parent("ignore")
workers = _interrupt_twice("workers", _OURS)
workers_terminate = _send("workers", signal.SIGTERM)
workers_kill = _kill_parent("workers")


def interrupt_all_twice(place: Place) -> None:
    """As a terminal does, whose Ctrl-C comes to a whole group."""

    def check(place: Place, way: Way) -> None:
        process = _start(place, way, "loop")

        def send() -> None:
            for pid in _marked(place):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)

        _twice(process, send)
        _check(place, way, process, code=130, status="interrupted")

    _for_each_way(place, check)


def time_is_up(place: Place) -> None:
    def check(place: Place, way: Way) -> None:
        process = _start(place, way, "loop", "--max-time", "4")
        _check(place, way, process, code=75, status="interrupted", within_s=4 + GRACE_S + GONE_WITHIN_S)
        expect(len(_saved_steps(place)) == 1, "no checkpoint was saved")

    _for_each_way(place, check)


def time_is_up_past_grace(place: Place) -> None:
    def check(place: Place, way: Way) -> None:
        process = _start(place, way, "slow-step", "--max-time", "2")
        _check(place, way, process, code=75, status="interrupted", within_s=2 + GRACE_S + GONE_WITHIN_S)

    _for_each_way(place, check, _OURS)


def rank_killed(place: Place) -> None:
    def check(place: Place, way: Way) -> None:
        ended = _check(place, way, _start(place, way, "kill"), code=1, status="failed")
        if way.is_ours:
            expect("rank 1 of 2 was killed by SIGKILL" in ended.stderr, "the killed process is not named")

    _for_each_way(place, check, _SEVERAL)


def rank_raises(place: Place) -> None:
    def check(place: Place, way: Way) -> None:
        ended = _check(place, way, _start(place, way, "raise"), code=1, status="failed")
        lines = ended.stderr.splitlines()
        first = lines.index("Traceback (most recent call last):")
        if way.world_size > 1:
            expect(lines[first - 1] == "rank 1 of 2 failed:", "its traceback is not first, or its rank not named")
        words = [line for line in lines if line and not line.startswith(" ")]
        after = words.index("Traceback (most recent call last):") + 1
        expect(words[after] == "ValueError: the words of the program", "the words of the program are not first")

    _for_each_way(place, check, (*_SEVERAL, ONE))


def rank_exits(place: Place) -> None:
    _for_each_way(place, _exits, (*_SEVERAL, ONE))


def _exits(place: Place, way: Way) -> None:
    _check(place, way, _start(place, way, "exit"), code=3, status="failed")
