"""`make_local_executor`: runs on this machine, by fork where that is safe, else in fresh interpreters.

The coordinator's side: a queue, and what a server says turned into events and records.
"""

from __future__ import annotations

import collections
import os
import signal
import sys
import time

from pystematic.errors import ExperimentError
from pystematic.run import why_not_fork
from pystematic.sweep import _processes
from pystematic.sweep._channel import Channel, signals_held
from pystematic.sweep._code import Code, describe_code
from pystematic.sweep._endings import last_line, shell_code, write_end
from pystematic.sweep._executor import Event, Executor
from pystematic.sweep._gpus import Devices, find_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.sweep._executor import Task

# How long a server may take to end when it is told to.
CLOSE_LIMIT_S = 10.0


class LocalExecutor(Executor):
    """Runs that a server on this machine starts.

    Args:
        name: how the server starts runs.
        slots: how many at once.
        channel: to the server.
        server: its pid; a child of this process.
        notice: what the user should know.
    """

    def __init__(self, name: str, slots: int, channel: Channel, server: int, notice: str | None) -> None:
        self.name = name
        self.slots = slots
        self.notice = notice
        self.keeps_code = name == "fork"
        self._notes: list[str] = []
        self._channel = channel
        self._server: int | None = server
        self._pending: collections.deque[Task] = collections.deque()
        self._pids: dict[int, int | None] = {}  # of tasks that the server has; None until it says the pid
        self._directories: dict[int, str] = {}
        self._events: list[Event] = []

    def start(self, task: Task) -> None:
        if self._server is None:
            raise ExperimentError("this executor is closed.")
        self._pending.append(task)
        self._fill()

    def wait(self, timeout_s: float) -> list[Event]:
        deadline = time.monotonic() + timeout_s
        while True:
            with signals_held():
                for message in self._channel.receive() if self._server is not None else ():
                    self._take(message)
                if self._server is not None and not self._channel.is_open:
                    self._lose_server()
                self._fill()
                if self._events:
                    events, self._events = self._events, []
                    return events
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._server is None:
                return []
            self._channel.wait(left_s)

    def stop(self, number: int, *, kill: bool = False) -> None:
        for task in [task for task in self._pending if task.number == number]:
            with signals_held():
                self._pending.remove(task)
                self._events.append(Event(number, "ended", exit_code=137 if kill else 143))
            return
        if number in self._pids:
            self._channel.send(("stop", number, kill))

    def take_notes(self) -> list[str]:
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        if self._server is None:
            return
        server, self._server = self._server, None
        self._channel.close()
        deadline = time.monotonic() + CLOSE_LIMIT_S
        while not _has_ended(server):
            if time.monotonic() > deadline:
                self._kill_server(server)
            time.sleep(0.002)
        for number, directory in self._directories.items():
            if number in self._pids:
                write_end(directory, -signal.SIGKILL, None, True)
        self._pids.clear()
        self._pending.clear()

    def _fill(self) -> None:
        """Give the server as many tasks as there are slots."""
        while self._pending and len(self._pids) < self.slots and self._channel.is_open:
            with signals_held():
                task = self._pending.popleft()
                self._pids[task.number] = None
                try:
                    self._channel.send(("start", task))
                except Exception as error:  # of pickle
                    del self._pids[task.number]
                    text = f"its parameters cannot be handed over: {type(error).__name__}: {error}"
                    self._events.append(Event(task.number, "ended", log=text))

    def _take(self, message: tuple[Any, ...]) -> None:
        kind, *rest = message
        if kind == "started":
            number, pid = rest
            self._pids[number] = pid
        elif kind == "run":
            number, directory = rest
            self._directories[number] = directory
            self._events.append(Event(number, "run", run_dir=directory))
        elif kind == "ended":
            self._end(*rest)
        elif kind == "note":
            self._notes.append(rest[0])

    def _end(self, number: int, status: int | None, reason: Any, tail: str, is_asked: bool) -> None:
        self._pids.pop(number, None)
        directory = self._directories.pop(number, None)
        if directory is not None:
            write_end(directory, status, reason, is_asked)
        self._events.append(Event(number, "ended", directory, shell_code(status), reason, last_line(directory, tail)))

    def _lose_server(self) -> None:
        """Say of all its runs that they were killed: the kernel has ended them with the server."""
        assert self._server is not None
        server, self._server = self._server, None
        self._kill_server(server)
        self._channel.close()
        for number in list(self._pids):
            self._end(number, -signal.SIGKILL, "killed", "", False)
        for task in self._pending:
            text = "the process that starts runs was killed"
            self._events.append(Event(task.number, "ended", log=text))
        self._pending.clear()

    def _kill_server(self, server: int) -> None:
        for pid in self._pids.values():
            if pid is not None:
                _processes.kill_tree(pid)
        _processes.kill_tree(server)
        while not _has_ended(server):
            time.sleep(0.002)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # the program itself waits for any child
        return True


def make_local_executor(
    experiment: Any,
    *,
    jobs: int,
    gpus: int = 0,
    devices: Devices | None = None,
    fork: bool = True,
) -> LocalExecutor:
    """Return an executor for runs on this machine; to be called before threads are started and locks are taken.

    What this process has open, a forked server has open too: locks by ``flock`` would outlive this process by the
    moment that the server takes to notice its end.

    Args:
        experiment: what is run.
        jobs: how many runs at once.
        gpus: how many devices the runs will want, each.
        devices: those of this machine; found when None.
        fork: whether runs are forked where that is safe.

    Raises:
        ExperimentError: there are not so many devices, or no new process can import the program.
    """
    if jobs < 1:
        raise ExperimentError(f"jobs={jobs!r}: at least one run at a time is needed.")
    devices = find_devices() if devices is None else devices
    if gpus > len(devices.uuids):
        raise ExperimentError(
            f"gpus={gpus}: each run would need more devices than this machine shows ({len(devices.uuids)}). "
            "Ask for fewer; CUDA_VISIBLE_DEVICES says which of them count."
        )
    _open_standard_descriptors()
    why = why_not_fork() if fork else "fresh interpreters were asked for"
    if why is None:
        return _forked(experiment, jobs, devices)
    code = describe_code(experiment)
    if fork and sys.platform == "linux":
        made, why = _spawned("fork", jobs, code, devices, None)
        if made is not None:
            return made
    notice = f"Each run is a fresh interpreter, as {why}; an edit of the program counts from the next run on."
    made, why = _spawned("fresh", jobs, code, devices, notice)
    assert made is not None
    return made


def make_fresh_executor(code: Code, jobs: int) -> LocalExecutor:
    """Return an executor for runs of a program that this process has not loaded; they lease no devices.

    Raises:
        ExperimentError: there can be no further process.
    """
    _open_standard_descriptors()
    made, _ = _spawned("fresh", jobs, code, Devices([]), None)
    assert made is not None
    return made


def _open_standard_descriptors() -> None:
    """Open what a caller has closed (``<&-``): a socket with the number 0 would be taken for standard input."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _spawned(
    kind: str, jobs: int, code: Code, devices: Devices, notice: str | None
) -> tuple[LocalExecutor | None, str | None]:
    from pystematic.sweep._fresh import start_server

    channel, popen, why = start_server(kind, code, devices, devices.folder, jobs)
    popen.returncode = 0  # reaped by the executor
    made = LocalExecutor(kind, jobs, channel, popen.pid, notice)
    if why is None:
        return made, None
    made.close()
    return None, why


def _forked(experiment: Any, jobs: int, devices: Devices) -> LocalExecutor:
    import socket

    from pystematic.sweep._fork_server import serve_forked

    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    ours, theirs = socket.socketpair()
    coordinator = os.getpid()
    server = os.fork()
    if server == 0:
        serve_forked(Channel(theirs), coordinator, devices, experiment, jobs, (ours.fileno(),))
    theirs.close()
    return LocalExecutor("fork", jobs, Channel(ours), server, None)
