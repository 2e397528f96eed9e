"""`Server`: the loop of the process that starts the runs of a sweep on this machine, and takes care of their processes.

It is the parent of all runs, has one thread and computes nothing, and ends with the coordinator, whatever ended that.
How a run is started is what `_fork_server` and `_fresh` add. Each run leads a session of its own and adopts what its
children leave; what a run leaves in turn comes to this process, and is killed.
"""

from __future__ import annotations

import abc
import os
import select
import signal
import sys
import time

from pystematic.run import adopt_orphans
from pystematic.sweep import _processes
from pystematic.sweep._channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystematic.sweep._executor import Task
    from pystematic.sweep._gpus import Devices, Lease

# How long a run that was told to end because its time is over may take, unless its own `grace` says otherwise; and how
# much longer than that grace, which the run keeps itself.
GRACE_S = 25.0
MORE_GRACE_S = 2.0
# How often it is looked for free devices, used memory, and whether killed processes have gone.
LEASE_PERIOD_S = 0.2
MEMORY_PERIOD_S = 0.5
KILL_PERIOD_S = 0.01
# How long `close` waits for processes that the kernel does not let go.
CLOSE_LIMIT_S = 4.0
LONGEST_TAIL_BYTES = 4096


class Process:
    """A run that was started, as the server sees it.

    Args:
        pid: its first process, which leads a session.
        told_fd: where it writes its directory.
        output_fd: a file with what it has printed before it had a log.
    """

    def __init__(self, task: Task, pid: int, told_fd: int, output_fd: int, leases: Sequence[Lease]) -> None:
        self.task = task
        self.pid = pid
        self.told_fd = told_fd
        self.output_fd = output_fd
        self.leases = list(leases)
        self.deadline = None if task.timeout_s is None else time.monotonic() + task.timeout_s
        self.memory_at = None if task.memory_bytes is None else time.monotonic() + MEMORY_PERIOD_S
        self.reason: str | None = None
        self.is_asked = False  # by the coordinator
        self.status: int | None = None
        self.oom_kills = _processes.oom_kills()
        os.set_blocking(told_fd, False)

    @property
    def descriptors(self) -> list[int]:
        """What a process that is forked later must not hold."""
        return [self.told_fd, self.output_fd, *(lease.fd for lease in self.leases if lease.fd >= 0)]

    def read_told(self) -> str | None:
        """Return the directory, once it is told; then nobody listens any more."""
        if self.told_fd < 0:
            return None
        try:
            content = os.read(self.told_fd, 1 << 16)
        except BlockingIOError:
            return None
        os.close(self.told_fd)
        self.told_fd = -1
        return os.fsdecode(content) if content else None

    def read_tail(self) -> str:
        """Return the end of what it has printed beside its log."""
        size = os.fstat(self.output_fd).st_size
        content = os.pread(self.output_fd, LONGEST_TAIL_BYTES, max(0, size - LONGEST_TAIL_BYTES))
        return content.decode("utf-8", "replace")

    def close(self) -> None:
        """Close what is open here, and give the devices back."""
        for fd in (self.told_fd, self.output_fd):
            if fd >= 0:
                os.close(fd)
        self.told_fd = self.output_fd = -1
        for lease in self.leases:
            lease.release()


class Server(abc.ABC):
    """Starts runs as the coordinator says, and says what becomes of them.

    Messages to it: ``("start", task)``, ``("stop", number, kill)``. From it: ``("started", number, pid)``,
    ``("run", number, directory)``, ``("ended", number, exit code as of `os.waitstatus_to_exitcode`, reason, tail of
    the output, whether the coordinator has asked for it)``, ``("note", text)``.

    Args:
        channel: to the coordinator.
        coordinator: its pid.
        devices: that runs may lease.
        jobs: how many runs there are at once.
    """

    def __init__(self, channel: Channel, coordinator: int, devices: Devices, jobs: int) -> None:
        self._channel = channel
        self._coordinator = coordinator
        self._devices = devices
        self._running: dict[int, Process] = {}
        self._leaving: list[Process] = []  # ended, but something that they have started is still there
        self._waiting: list[Task] = []  # for devices
        self._wakeup_read, self._wakeup_write = os.pipe()
        self.jobs = jobs
        self._cores = Cores(jobs)

    @abc.abstractmethod
    def launch(self, task: Task, leases: Sequence[Lease], threads: int) -> Process:
        """Start a run that computes with so many threads.

        Raises:
            OSError: there can be no further process.
        """

    def serve(self) -> None:
        """Work until the coordinator has gone or closes the channel; then leave nothing behind."""
        self._prepare()
        try:
            while self._channel.is_open and os.getppid() == self._coordinator:
                self._wait()
                for message in self._channel.receive():
                    self._obey(message)
                self._start_waiting()
                self._look()
        finally:
            self._kill_all()

    @property
    def descriptors(self) -> list[int]:
        """What no run must hold."""
        own = [self._channel.fileno(), self._wakeup_read, self._wakeup_write]
        return own + [fd for process in self._processes() for fd in process.descriptors if fd >= 0]

    def _prepare(self) -> None:
        adopt_orphans()
        for fd in (self._wakeup_read, self._wakeup_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake_up)
        # What is meant for the sweep goes to the coordinator; this process must be there to the end.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)

    def _processes(self) -> list[Process]:
        return [*self._running.values(), *self._leaving]

    # -- what the coordinator says -------------------------------------------------------------------------------

    def _obey(self, message: tuple[object, ...]) -> None:
        kind, *rest = message
        if kind == "start":
            self._waiting.append(rest[0])  # type: ignore[arg-type]
        elif kind == "stop":
            number, kill = rest
            self._stop(int(number), bool(kill))  # type: ignore[call-overload]

    def _stop(self, number: int, kill: bool) -> None:
        for task in [task for task in self._waiting if task.number == number]:
            self._waiting.remove(task)
            self._channel.send(("ended", number, -9 if kill else -15, None, "", True))
        process = self._running.get(number)
        if process is None:
            return
        if process.reason is None:
            process.is_asked = True
        if kill:
            _processes.kill_tree(process.pid)
        else:
            _processes.kill(process.pid, signal.SIGTERM)

    def _start_waiting(self) -> None:
        for task in list(self._waiting):
            try:
                leases = self._devices.take(task.gpus) if task.gpus else []
                if leases is None:
                    continue
                self._waiting.remove(task)
                self._start(task, leases)
            except Exception as error:  # a full process table, a folder of leases that cannot be used
                if task in self._waiting:
                    self._waiting.remove(task)
                text = f"the run could not be started: {type(error).__name__}: {error}"
                self._channel.send(("ended", task.number, None, None, text, False))

    def _start(self, task: Task, leases: Sequence[Lease]) -> None:
        threads = task.threads or share_of_cores(self.jobs)
        try:
            process = self.launch(task, leases, threads)
            _bind(process.pid, self._cores.take(task.number, threads))
        except BaseException:
            self._cores.give_back(task.number)
            for lease in leases:
                lease.release()
            raise
        self._running[task.number] = process
        self._channel.send(("started", task.number, process.pid))

    # -- what becomes of runs ------------------------------------------------------------------------------------

    def _wait(self) -> None:
        poll = select.poll()
        for fd in (self._channel.fileno(), self._wakeup_read):
            poll.register(fd, select.POLLIN)
        for process in self._running.values():
            if process.told_fd >= 0:
                poll.register(process.told_fd, select.POLLIN)
        poll.poll(self._patience_s() * 1000)
        try:
            while os.read(self._wakeup_read, 4096):
                pass
        except BlockingIOError:
            return

    def _patience_s(self) -> float:
        now = time.monotonic()
        moments = [now + 1.0]  # the coordinator may be gone without a word: another process holds its end
        if self._waiting:
            moments.append(now + LEASE_PERIOD_S)
        if self._leaving:
            moments.append(now + KILL_PERIOD_S)
        for process in self._running.values():
            moments += [moment for moment in (process.deadline, process.memory_at) if moment is not None]
        return max(0.0, min(moments) - now)

    def _look(self) -> None:
        for number, process in list(self._running.items()):
            self._tell_directory(process)
            self._keep_limits(process)
            if self._reap(process):
                del self._running[number]
                self._leaving.append(process)
        if self._leaving and not self._kill_orphans():
            for process in self._leaving:
                self._finish(process)
            self._leaving.clear()

    def _tell_directory(self, process: Process) -> None:
        directory = process.read_told()
        if directory is not None:
            self._channel.send(("run", process.task.number, directory))

    def _keep_limits(self, process: Process) -> None:
        now = time.monotonic()
        if process.deadline is not None and now >= process.deadline:
            if process.reason is None and not process.is_asked:
                process.reason = "timeout"
                grace_s = process.task.values.get("grace")
                process.deadline = now + (GRACE_S if grace_s is None else float(grace_s)) + MORE_GRACE_S
                _processes.kill(process.pid, signal.SIGTERM)
            else:
                process.deadline = now + 1.0
                _processes.kill_tree(process.pid)
        if process.memory_at is not None and now >= process.memory_at:
            assert process.task.memory_bytes is not None
            process.memory_at = now + MEMORY_PERIOD_S
            limit = process.task.memory_bytes
            if _processes.memory_bytes(_processes.tree_of(process.pid), limit) > limit:
                process.reason = "oom"
                _processes.kill_tree(process.pid)

    def _reap(self, process: Process) -> bool:
        pid, status = os.waitpid(process.pid, os.WNOHANG)
        if not pid:
            return False
        self._tell_directory(process)  # what it has said just before its end
        process.status = os.waitstatus_to_exitcode(status)
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return True

    def _kill_orphans(self) -> bool:
        """Kill what ended runs have left; return whether any of it is still there.

        Living runs adopt what comes from below them, so that what is here and no run is no living run's.
        """
        known = {process.pid for process in self._running.values()}
        orphans = [pid for pid in _processes.children_of(os.getpid()) if pid not in known]
        for pid in orphans:
            _processes.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        return bool(orphans) and any(pid not in known for pid in _processes.children_of(os.getpid()))

    def _finish(self, process: Process) -> None:
        status = process.status
        assert status is not None
        if status < 0 and process.reason is None and not process.is_asked:
            is_oom = status == -signal.SIGKILL and _processes.oom_kills() > process.oom_kills
            process.reason = "oom" if is_oom else "killed"
        tail = process.read_tail()
        process.close()
        self._cores.give_back(process.task.number)
        uuids = [lease.uuid for lease in process.leases]
        if not process.is_asked:
            for uuid in self._devices.note_outcome(uuids, status != 0):
                text = f"{uuid} is set aside: the last runs on it have failed, while others did not."
                self._channel.send(("note", text))
        self._channel.send(("ended", process.task.number, status, process.reason, tail, process.is_asked))

    def _kill_all(self) -> None:
        """Kill all runs and what they have started, and wait until it is gone."""
        for process in self._running.values():
            _processes.kill_tree(process.pid)
        for process in self._running.values():
            try:
                os.waitpid(process.pid, 0)
            except ChildProcessError:
                continue
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        self._running.clear()
        deadline = time.monotonic() + CLOSE_LIMIT_S
        while self._kill_orphans() and time.monotonic() < deadline:
            time.sleep(KILL_PERIOD_S)


def _bind(pid: int, cores: Sequence[int]) -> None:
    """Let a process that has just begun, and what it starts, run on these cores only; on all where there are none."""
    if not cores:
        return
    try:
        os.sched_setaffinity(pid, cores)
    except OSError:  # it has ended, or the cores were taken from us meanwhile
        return


def _wake_up(number: int, frame: object) -> None:
    """Stand in for a handler, so that the byte in the pipe is written."""


def default_signals() -> None:
    """Undo, in a run, what the server has set: handlers as in a new interpreter."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())


def share_of_cores(jobs: int) -> int:
    """Return how many cores each of ``jobs`` runs has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // jobs)


class Cores:
    """The cores of this machine, of which each run gets its own as long as there are any.

    Args:
        jobs: how many runs there are at once; a single one is left alone.
    """

    def __init__(self, jobs: int) -> None:
        self._free = sorted(os.sched_getaffinity(0)) if jobs > 1 and hasattr(os, "sched_getaffinity") else []
        self._taken: dict[int, list[int]] = {}

    def take(self, number: int, count: int) -> list[int]:
        """Return cores for a task: ``count`` of them, or none where so many are not free, which means all."""
        taken, rest = self._free[:count], self._free[count:]
        if len(taken) < count:
            return []
        self._free = rest
        self._taken[number] = taken
        return taken

    def give_back(self, number: int) -> None:
        """Note that a task is over."""
        self._free = sorted([*self._free, *self._taken.pop(number, [])])


def say_crash(error: BaseException) -> None:
    """Say what has ended a server that should not end."""
    print(f"pystematic: the process that starts runs has failed: {type(error).__name__}: {error}", file=sys.stderr)
