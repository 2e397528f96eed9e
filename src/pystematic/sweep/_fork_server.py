"""A server that has imported the program and forks a process for each run, which costs milliseconds.

It is forked from the coordinator itself where that is safe, else it is a new interpreter that imports the program as
`multiprocessing` would. Either way the program is read once: what is edited later counts for no run of this sweep.
"""

from __future__ import annotations

import gc
import os
import sys
import threading

from pystematic.run import Origin
from pystematic.sweep._child import forget_devices, lead, perform, renew_generators, use_threads, variables
from pystematic.sweep._code import find_provenance
from pystematic.sweep._server import Process, Server, default_signals, say_crash

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.sweep._channel import Channel
    from pystematic.sweep._executor import Task
    from pystematic.sweep._gpus import Devices, Lease

# How long the first run waits for git; a repository that takes longer is asked by each run anew, beside its work.
PROVENANCE_LIMIT_S = 2.0


class ForkServer(Server):
    """Forks runs of ``experiment``."""

    def __init__(self, channel: Channel, coordinator: int, devices: Devices, experiment: Any, jobs: int) -> None:
        super().__init__(channel, coordinator, devices, jobs)
        self._experiment = experiment
        self._null = os.open(os.devnull, os.O_RDONLY)
        self._provenance: Any = None
        self._has_warmed_up = False

    def launch(self, task: Task, leases: Sequence[Lease], threads: int) -> Process:
        if not self._has_warmed_up:
            self._has_warmed_up = True
            self._warm_up(task)
        read_fd, write_fd = os.pipe()
        output = _temporary_file()
        server = os.getpid()
        try:
            pid = os.fork()
        except BaseException:
            for fd in (read_fd, write_fd, output):
                os.close(fd)
            raise
        if pid == 0:
            self._be_run(task, leases, threads, server, output, read_fd, write_fd)
        os.close(write_fd)
        return Process(task, pid, read_fd, output, leases)

    def _warm_up(self, task: Task) -> None:
        """Do once what is the same for all runs: load modules, and find out what they are made of."""
        try:
            load_what_runs_need()
            resolution = self._experiment.resolve(dict(task.values), dict(task.sources))
            output_dir = str(resolution.parameters.get("output_dir") or "output")
            self._provenance = find_provenance(self._experiment, output_dir, PROVENANCE_LIMIT_S)
        except Exception:  # the run itself will say what is wrong with its values
            pass
        gc.freeze()  # what is there now is never looked at, and so never copied, by the garbage collector of a run

    def _be_run(
        self, task: Task, leases: Sequence[Lease], threads: int, server: int, output: int, read_fd: int, write_fd: int
    ) -> None:
        """Be the forked process; never returns, so that no handler of the coordinator runs a second time."""
        code = 1
        try:
            default_signals()
            lead(server, self._null, output)
            for fd in (*self.descriptors, self._null, output, read_fd):
                os.close(fd)
            os.environ.update(variables(threads, [lease.uuid for lease in leases], task.gpus))
            use_threads(threads)
            renew_generators(task.values.get("seed_libraries", True))
            if leases:
                forget_devices()
            gc.enable()
            origin = Origin(task.parent, task.point, False, self._provenance)
            code = perform(self._experiment, task, write_fd, origin)
            _end_interpreter()
        except BaseException as error:
            say_crash(error)
        finally:
            _flush_streams()
            os._exit(code)


def serve_forked(
    channel: Channel, coordinator: int, devices: Devices, experiment: Any, jobs: int, foreign: Sequence[int] = ()
) -> None:
    """Be the server, in a process that the coordinator has just forked; never returns.

    Args:
        channel: to the coordinator.
        coordinator: its pid.
        devices: that runs may lease.
        experiment: what is run.
        jobs: how many runs there are at once.
        foreign: descriptors of the coordinator that must not live on here.
    """
    code = 1
    try:
        for fd in foreign:
            os.close(fd)
        os.setsid()
        gc.disable()
        _forget_ends()
        _use_own_streams()
        ForkServer(channel, coordinator, devices, experiment, jobs).serve()
        code = 0
    except BaseException as error:
        say_crash(error)
    finally:
        os._exit(code)


def _use_own_streams() -> None:
    """Use this process's descriptors, where the coordinator prints elsewhere: into a notebook, a test's capture."""
    for name, fd in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            is_own = getattr(sys, name).fileno() == fd
        except Exception:  # closed, None, or no file at all
            is_own = False
        if not is_own:
            mode = "w" if fd else "r"
            stream = open(fd, mode, encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
            setattr(sys, name, stream)


def load_what_runs_need() -> None:
    """Import what each run would import otherwise, of ours and of what we make use of."""
    import importlib

    for library, names in _MODULES.items():
        if not library or library in sys.modules:
            for name in names:
                importlib.import_module(name)


# By the library that the program must have imported itself.
_MODULES = {
    "": (
        *("faulthandler", "json", "logging", "shutil", "traceback"),
        *("pystematic.cli._experiment", "pystematic.cli._resume", "pystematic.record", "pystematic.record._thread"),
        *(f"pystematic.run.{name}" for name in ("_context", "_lifecycle", "_recorder", "_resume", "_spawn")),
        *("pystematic.run._stop", "pystematic.run._traceback", "pystematic.store"),
        *(f"pystematic.rundir.{name}" for name in ("_codec", "_documents", "_files", "_items", "_process")),
        *(f"pystematic.rundir.{name}" for name in ("_scalars", "_series", "_summary", "_yaml")),
        *("pystematic.torch._launch", "pystematic.torch._plan", "pystematic.torch._start"),
    ),
    "numpy": ("numpy.random",),
    "torch": tuple(f"pystematic.torch.{name}" for name in ("_checkpoints", "_context", "_data", "_placement")),
}


def _temporary_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pystematic-output", os.MFD_CLOEXEC)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _forget_ends() -> None:
    """Drop what the coordinator does at its end: a process of a run ends with what the run has added."""
    import atexit

    # What these do for any process comes again.
    ends: list[Any] = []
    atexit._clear()
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        util._finalizer_registry.clear()
        process: Any = sys.modules["multiprocessing.process"]
        process._children = set()
        util._run_after_forkers()
        ends.append(util._exit_function)
    logging: Any = sys.modules.get("logging")
    if logging is not None:
        ends.append(logging.shutdown)
    for end in ends:
        atexit.register(end)


def _end_interpreter() -> None:
    """Do what the interpreter does before it ends, and what `os._exit` leaves out."""
    import atexit

    shutdown: Any = getattr(threading, "_shutdown", None)
    if shutdown is not None:
        shutdown()
    run_ends: Any = atexit._run_exitfuncs
    run_ends()


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except Exception:  # a full disk, a closed stream: the run has ended
            continue
