"""Several machines, and processes that are started again: by torch's own elastic agent and rendezvous.

The agent of each machine runs this command line again in fresh processes, which then join as those of torchrun do.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from pystematic.errors import ExperimentError, RunStopped
from pystematic.run import die_with
from pystematic.rundir import RunDir, finish_for_dead
from pystematic.torch._launch import END_LIMIT_S, OVERTIME_S
from pystematic.torch._report import Report, exception_of, first_cause, report_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pystematic.store import Run
    from pystematic.torch._plan import Plan

# Where rank 0 of machine 0 writes which run it has made, for its starter and for later tries. The other files of the
# same folder: ``pids``, and ``end-RANK`` for how a process has ended.
RUN_FILE = "PYSTEMATIC_RUN_FILE"
# See `_launch`: ends the processes of a starter that was killed itself.
_GUARD = """read -r _
[ -e "$0/pids" ] && for pid in $(cat "$0/pids"); do kill -s KILL -- "-$pid"; done
rm -rf "$0"
"""
_PASSED_ON = tuple(number for name in ("SIGUSR1", "SIGUSR2") if (number := getattr(signal, name, None)) is not None)


def run_elastic(plan: Plan, command: list[str], max_restarts: int, grace_s: float) -> Run:
    """Run the processes of this machine under torch's elastic agent, and return the run when they have ended.

    Raises:
        ExperimentError: processes failed; what they said stands above, or in their logs.
        KeyboardInterrupt, RunStopped: a signal or the time limit has ended the run.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from pystematic.store import Run

    folder = tempfile.mkdtemp(prefix="pystematic-")
    run_file = os.path.join(folder, "run")
    config = LaunchConfig(
        min_nodes=plan.nnodes,
        max_nodes=plan.nnodes,
        nproc_per_node=plan.nproc,
        run_id=f"pystematic-{plan.port or 0}",
        rdzv_backend="static" if plan.nnodes > 1 else "c10d",
        rdzv_endpoint=f"{plan.address}:{plan.port}" if plan.nnodes > 1 else "localhost:0",
        rdzv_configs={"rank": plan.node_rank, "timeout": 120} if plan.nnodes > 1 else {},
        max_restarts=max_restarts,
        monitor_interval=0.1,
        start_method="spawn",
    )
    print(
        f"Starting {plan.nproc} processes here, {plan.world_size} on {plan.nnodes} "
        f"machine{'s' if plan.nnodes > 1 else ''}.",
        file=sys.stderr,
    )
    os.environ[RUN_FILE] = run_file
    guard = _start_guard(folder)
    try:
        with _passing_on(folder, grace_s):
            elastic_launch(config, command[0])(*command[1:])
        stopped = first_cause(_ends(folder))
        if stopped is not None:
            raise exception_of(stopped, plan.world_size)
        return Run(_read(run_file) or os.getcwd())
    except ChildFailedError as error:
        raise _failure(error, _ends(folder), plan.world_size) from None
    except SignalException as stop:
        is_interrupt = stop.sigval == signal.SIGINT
        raise (KeyboardInterrupt() if is_interrupt else RunStopped(int(stop.sigval))) from None
    finally:
        del os.environ[RUN_FILE]
        _kill_all(folder)
        _finish_record(_read(run_file), sys.exc_info()[1])
        if guard is not None:
            guard.kill()
            guard.wait()
            guard.stdin.close()
        shutil.rmtree(folder, ignore_errors=True)


def _start_guard(folder: str) -> Any:
    import subprocess

    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError:  # no shell: the kernel still ends the processes themselves
        return None


def _finish_record(run_dir: str | None, error: BaseException | None) -> None:
    """Write how the run ended, where rank 0 of this machine was killed and could not."""
    if run_dir is None or error is None:
        return
    from pystematic.run import outcome_of

    status, exit_code = outcome_of(error)
    described = {"type": type(error).__name__, "message": str(error)} if status == "failed" else None
    try:
        finish_for_dead(RunDir(run_dir), status, exit_code, described)
    except OSError as failure:
        print(f"pystematic: how the run ended cannot be written to {run_dir}: {failure}", file=sys.stderr)


@contextlib.contextmanager
def _passing_on(folder: str, grace_s: float) -> Iterator[None]:
    """Pass the signals on that the agent does not, end who ignores them, and put all handlers back that it sets."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    numbers = [*(getattr(signal, name) for name in names), *_PASSED_ON]
    patience = _Patience(folder, grace_s)
    before = {number: signal.getsignal(number) for number in numbers}

    def pass_on(number: int, frame: object) -> None:
        for pid in _pids(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    for number in _PASSED_ON:
        if before[number] is signal.SIG_DFL:
            signal.signal(number, pass_on)
    try:
        yield
    finally:
        patience.close()
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


class _Patience:
    """Kills processes that do not end when the run is asked to; the agent would leave them half a minute.

    Hears signals by the descriptor that Python writes their numbers to, as the handlers are the agent's.
    """

    def __init__(self, folder: str, grace_s: float) -> None:
        self._folder = folder
        self._grace_s = grace_s
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._fd_before = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._work, name="pystematic-patience", daemon=True)
        self._thread.start()

    def close(self) -> None:
        signal.set_wakeup_fd(self._fd_before)
        os.close(self._write_fd)
        self._thread.join()
        os.close(self._read_fd)

    def _work(self) -> None:
        poll = select.poll()
        poll.register(self._read_fd, select.POLLIN)
        kill_at: float | None = None
        while True:
            left_s = None if kill_at is None else max(0.0, kill_at - time.monotonic())
            if not poll.poll(None if left_s is None else left_s * 1000):
                _kill_all(self._folder)
                return
            number = os.read(self._read_fd, 1)
            if not number:
                return
            patience_s = self._patience_with(number[0])
            if patience_s is None:
                continue
            if kill_at is None:
                kill_at = time.monotonic() + patience_s + OVERTIME_S
            else:  # a second one: at once
                kill_at = min(kill_at, time.monotonic() + END_LIMIT_S)

    def _patience_with(self, number: int) -> float | None:
        """Return how long a step may take after this signal; None for one that asks for no end."""
        if number in (signal.SIGINT, *_PASSED_ON):
            return self._grace_s
        if number == signal.SIGTERM:
            run_dir = _read(os.path.join(self._folder, "run"))
            return self._grace_s if run_dir and RunDir(run_dir).manifest_file.exists() else 0.0
        return 0.0 if number in (signal.SIGHUP, signal.SIGQUIT) else None


def _kill_all(folder: str) -> None:
    """End what the processes have left in their groups, such as workers of loaders."""
    for pid in _pids(folder):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _pids(folder: str) -> list[int]:
    return [int(line) for line in (_read(os.path.join(folder, "pids")) or "").split()]


def _ends(folder: str) -> list[Report]:
    """Return how the processes of this machine have ended, as far as they could say it."""
    ends = []
    for name in os.listdir(folder):
        if name.startswith("end-") and not name.endswith(".part"):
            with open(os.path.join(folder, name), "rb") as file:
                ends.append(pickle.load(file))  # renamed to this name when it was whole
    return ends


def _failure(error: Any, ends: list[Report], world_size: int) -> BaseException:
    """Return what is raised here: the first failure's own words where a process of this machine could say them."""
    cause = first_cause(ends)
    if cause is not None and not cause.is_secondary:
        if cause.kind == "exited":
            who = f"rank {cause.rank} of {world_size}"
            print(f"pystematic: {who} called sys.exit({cause.message or cause.code!r})", file=sys.stderr)
        return exception_of(cause, world_size)
    rank, failure = error.get_first_failure()
    how = f"was killed by signal {-failure.exitcode}" if failure.exitcode < 0 else f"ended with {failure.exitcode}"
    return ExperimentError(
        f"rank {rank} {how}; the end of its log tells more: log.rank-{rank}.txt (log.txt of rank 0)."
    )


@contextlib.contextmanager
def reporting(rank: int) -> Iterator[None]:
    """Be a process that `run_elastic` has started, if it is one: end with it, and tell it how this one ends."""
    path = os.environ.get(RUN_FILE)
    if path is None or os.getpid() != os.getpgrp():
        yield
        return
    folder = os.path.dirname(path)
    die_with(os.getppid())
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(folder, f"end-{rank}"))  # of an earlier try
    with open(os.path.join(folder, "pids"), "a", encoding="ascii") as file:
        file.write(f"{os.getpid()}\n")
    try:
        yield
    except BaseException as error:
        end = report_of(error, rank)
        if end.kind != "done":
            _write_end(folder, end)
        if end.kind == "stopped":
            if end.signum is None and not end.is_agreed:
                _hang_up_on_others(folder)  # nobody else has told them
            sys.exit(0)  # any other code is a failure to the agent, and it would start all of them again
        raise


def _hang_up_on_others(folder: str) -> None:
    """End the other processes of this machine, which wait for this one from now on."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # each of them might answer
    for pid in _pids(folder):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGHUP)


def _write_end(folder: str, end: Report) -> None:
    path = os.path.join(folder, f"end-{end.rank}")
    with contextlib.suppress(OSError):  # the starter may have gone
        with open(f"{path}.part", "wb") as file:
            pickle.dump(end, file)
        os.replace(f"{path}.part", path)


def note_run(run_dir: str) -> None:
    """Tell the starter of this process, if there is one, which run it has made."""
    path = os.environ.get(RUN_FILE)
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write(run_dir)


def run_of_earlier_try() -> str | None:
    """Return the directory of the run that an earlier try of these processes has made, None in the first try."""
    path = os.environ.get(RUN_FILE)
    return _read(path) if path and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0" else None


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None
