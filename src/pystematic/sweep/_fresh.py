"""A server that starts a new interpreter for each run: slower than a fork, and safe whatever the program has done.

Also the start of new interpreters for the sweep, which find the program as `multiprocessing` does.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys

from pystematic.errors import ExperimentError
from pystematic.run import exit_code_of, why_not_fork
from pystematic.sweep._channel import Channel
from pystematic.sweep._child import lead, perform, variables
from pystematic.sweep._code import Code
from pystematic.sweep._gpus import Devices
from pystematic.sweep._server import Process, Server, say_crash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.sweep._executor import Task
    from pystematic.sweep._gpus import Lease

_CODE = "import sys; sys.path[:] = {path!r}; from pystematic.sweep._fresh import {function} as main; main({arguments})"


def command_of(function: str, *arguments: object) -> list[str]:
    """Return the command line of a new interpreter that calls a function of this module."""
    import subprocess

    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    path = [folder or os.getcwd() for folder in sys.path]
    code = _CODE.format(path=path, function=function, arguments=", ".join(map(repr, arguments)))
    return [sys.executable, *flags, "-c", code]


class FreshServer(Server):
    """Starts runs in new interpreters.

    Args:
        channel, coordinator, devices: as for every server.
        code: of the program.
        jobs: how many runs there are at once.
    """

    def __init__(
        self,
        channel: Channel,
        coordinator: int,
        devices: Devices,
        code: Code,
        jobs: int,
    ) -> None:
        import tempfile

        super().__init__(channel, coordinator, devices, jobs)
        self._code = code
        self._folder = tempfile.TemporaryDirectory(prefix="pystematic-sweep-", ignore_cleanup_errors=True)

    def launch(self, task: Task, leases: Sequence[Lease], threads: int) -> Process:
        import subprocess
        import tempfile

        read_fd, write_fd = os.pipe()
        with tempfile.TemporaryFile() as file:
            output = os.dup(file.fileno())
        # A file and no pipe: the ranks of a distributed run are started by the same command line.
        path = os.path.join(self._folder.name, f"task-{task.number}")
        try:
            with open(path, "wb") as file:
                pickle.dump((self._code, task), file)
            popen = subprocess.Popen(
                command_of("be_run", path, os.getpid(), write_fd),
                env={**os.environ, **variables(threads, [lease.uuid for lease in leases], task.gpus)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(write_fd, *(lease.fd for lease in leases)),
                start_new_session=True,
                restore_signals=True,
            )
        except BaseException:
            os.close(read_fd)
            os.close(output)
            raise
        finally:
            os.close(write_fd)
        popen.returncode = 0  # we reap it ourselves
        return Process(task, popen.pid, read_fd, output, leases)

    def close(self) -> None:
        """Remove the files of its tasks."""
        self._folder.cleanup()


def be_run(path: str, server: int, told_fd: int) -> None:
    """Be the process of a run, in a new interpreter; for its command line."""
    is_first = os.environ.get("PYSTEMATIC_RANK") is None  # else one of a distributed run, started by the first
    if is_first:
        _default_signals()
        lead(server, 0, 1)
    with open(path, "rb") as file:
        code, task = pickle.load(file)
    experiments: list[Any] = []

    def load() -> None:
        experiments.append(code.load())

    exit_code = exit_code_of(load)
    if exit_code == 0:
        exit_code = perform(experiments[0], task, told_fd, code.origin(task.parent, task.point))
    sys.exit(exit_code)


def _default_signals() -> None:
    # The server ignores them, and what is ignored stays so in a new program.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def be_server(fd: int, coordinator: int) -> None:
    """Be a server, in a new interpreter; for its command line.

    The first message tells which one: ``("fork" or "fresh", code, devices, jobs)``. The answer is
    ``("ready", why forking is not safe here, or None)``.
    """
    os.setsid()
    channel = Channel(socket.socket(fileno=fd))
    os.set_inheritable(fd, False)
    while channel.is_open and not (messages := channel.receive()):
        channel.wait(1.0)
    if not channel.is_open:
        return
    kind, code, uuids, folder, jobs = messages[0]
    devices = Devices(uuids, folder)
    try:
        if kind == "fork":
            _serve_forking(channel, coordinator, devices, code, jobs)
            return
        server = FreshServer(channel, coordinator, devices, code, jobs)
        channel.send(("ready", None))
        try:
            server.serve()
        finally:
            server.close()
    except BaseException as error:
        say_crash(error)
    os._exit(0)


def _serve_forking(channel: Channel, coordinator: int, devices: Devices, code: Code, jobs: int) -> None:
    from pystematic.sweep._fork_server import ForkServer, load_what_runs_need

    experiments: list[Any] = []

    def load() -> None:
        experiments.append(code.load())
        load_what_runs_need()

    if exit_code_of(load) != 0:
        channel.send(("ready", "its module cannot be imported by a new process"))
        os._exit(1)
    why = why_not_fork()
    channel.send(("ready", why))
    if why is None:
        ForkServer(channel, coordinator, devices, experiments[0], jobs).serve()
    os._exit(0)


def start_server(kind: str, code: Code, devices: Devices, folder: str, jobs: int) -> tuple[Channel, Any, str | None]:
    """Start a server of its own; return the channel to it, its process, and why it is not safe.

    Raises:
        ExperimentError: it has died.
    """
    import subprocess

    ours, theirs = socket.socketpair()
    with theirs:
        popen = subprocess.Popen(
            command_of("be_server", theirs.fileno(), os.getpid()),
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
        )
    channel = Channel(ours)
    channel.send((kind, code, devices.uuids, folder, jobs))
    messages: list[Any] = []
    while channel.is_open and not messages:
        channel.wait(1.0)
        messages = channel.receive()
    if not messages:
        exit_code = popen.wait()
        channel.close()
        raise ExperimentError(
            f"the process that starts the runs has died (exit code {exit_code}) before it was ready; see above."
        )
    return channel, popen, messages[0][1]
