"""`RayQueue`: each job a task of Ray, in a process of its own. The one place that imports Ray."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from pystematic.errors import ExperimentError
from pystematic.sweep._job import be_job
from pystematic.sweep._queue import Gone, Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pystematic.sweep._executor import Task
    from pystematic.sweep._job_files import JobFiles


# How long somebody may take to accept a connection at an address that was given.
REACHABLE_LIMIT_S = 10.0
_RAYS_OWN = ("RAY_", "PYTHONBREAKPOINT")


class RayQueue(Queue):
    """Tasks of a Ray cluster. They end with this process, as Ray ends what belongs to a driver that is gone.

    Args:
        address: of a cluster; None: the one that RAY_ADDRESS names or that was started on this machine, else one of
            this process's own.
        limits: of each run.

    Raises:
        ExperimentError: Ray is not installed, or there is no cluster at the address.
    """

    name = "ray"

    def __init__(self, address: str | None, limits: Any) -> None:
        self._variables = dict(os.environ)
        try:
            import ray
        except ImportError:
            raise ExperimentError("--on ray needs Ray: pip install 'pystematic[ray]'.") from None
        self._ray: Any = ray
        self._refs: dict[int, Any] = {}
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            self._connect(address)
        resources: dict[str, Any] = {"num_cpus": limits.threads or 1, "num_gpus": limits.gpus}
        if limits.memory_bytes is not None:
            resources["memory"] = limits.memory_bytes
        # A process for each task: what a run leaves in a process, GPU memory for one, no other run gets.
        self._remote: Any = ray.remote(max_calls=1, max_retries=0, **resources)(be_job)

    def _connect(self, address: str | None) -> None:
        ray = self._ray
        # Workers find us and the program as this process does.
        paths = os.environ.get("PYTHONPATH")
        environment = {"env_vars": {"PYTHONPATH": paths}} if paths else None
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error", "runtime_env": environment}
        where = address or os.environ.get("RAY_ADDRESS")
        if where:
            _check_reachable(where)
        with _own_signals():
            try:
                ray.init(address=address or "auto", **options)
            except (ConnectionError, ValueError) as error:
                if where:
                    raise ExperimentError(f"--on ray: there is no cluster at {where!r}: {error}") from None
                if not isinstance(error, ConnectionError):
                    raise
                ray.init(include_dashboard=False, **options)
        _keep_off_stdout()

    def submit(self, jobs: Mapping[int, JobFiles], tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._refs[task.number] = self._remote.remote(str(jobs[task.number].place.path.absolute()))

    def find_gone(self, numbers: Sequence[int]) -> Mapping[int, Gone]:
        found = {}
        for number in numbers:
            ref = self._refs[number]
            done, _ = self._ray.wait([ref], timeout=0)
            if done:
                found[number] = self._why(ref)
        return found

    def _why(self, ref: Any) -> Gone:
        errors = self._ray.exceptions
        try:
            self._ray.get(ref)
        except errors.OutOfMemoryError as error:
            return Gone("oom", _first_line(error))
        except errors.RayError as error:
            return Gone("killed", _first_line(error))
        return Gone("killed", "Ray has ended the task")

    def cancel(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if number in self._refs:
                self._ray.cancel(self._refs[number], force=True)

    def close(self) -> None:
        self._refs.clear()
        if self._is_ours:
            with _own_signals():
                self._ray.shutdown()
        _restore(self._variables)


def _check_reachable(address: str) -> None:
    """Refuse an address at which nothing listens: Ray itself tries for minutes, and hears no signal meanwhile.

    Raises:
        ExperimentError: nothing does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # such as ``auto``: Ray knows what it means, or says that it is no address
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACHABLE_LIMIT_S).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ExperimentError(f"--on ray: there is no cluster at {address!r}: {why}.") from None


def make_ray_queue(address: str | None, limits: Any) -> RayQueue:
    """Return the queue of a Ray cluster; see `RayQueue`."""
    return RayQueue(address, limits)


class _own_signals:  # noqa: N801 - used like a function
    """Keeps Ray from taking SIGTERM over, which is ours."""

    def __enter__(self) -> None:
        self._is_main = threading.current_thread() is threading.main_thread()
        self._before = signal.getsignal(signal.SIGTERM) if self._is_main else None

    def __exit__(self, *exc: object) -> None:
        if self._is_main:
            signal.signal(signal.SIGTERM, self._before)


def _keep_off_stdout() -> None:
    """Drop what Ray prints of its own accord about its processes: standard output is for our tables and JSON.

    What becomes of our own tasks we hear from `find_gone`. Ray has no switch for these lines.
    """
    worker: Any = sys.modules.get("ray._private.worker")
    if worker is not None and hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda data, ignore_prefix=False: None


def _restore(variables: Mapping[str, str]) -> None:
    """Undo what Ray has set for itself: what is started later by this process is no part of the cluster."""
    for name in [name for name in os.environ if name not in variables and name.startswith(_RAYS_OWN)]:
        del os.environ[name]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:500]
