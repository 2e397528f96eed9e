"""Being the process of one run of a sweep: from the server's hand-over to the exit code."""

from __future__ import annotations

import os
import sys

from pystematic.run import adopt_orphans, die_with, exit_code_of, set_origin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.run import Origin
    from pystematic.sweep._executor import Task

# What the libraries that compute on several cores read when they are loaded, or start programs that are.
_THREADS_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def lead(server: int, stdin: int, output: int) -> None:
    """Make this process the first one of a run: a session of its own, no terminal, ended with the server.

    Args:
        server: pid of the parent.
        stdin: an open ``/dev/null``.
        output: takes what is printed while there is no log.
    """
    if os.getsid(0) != os.getpid():
        os.setsid()
    die_with(server)
    adopt_orphans()
    os.dup2(stdin, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def variables(threads: int, devices: Sequence[str], gpus: int) -> dict[str, str]:
    """Return what the environment of a run says of its share of the machine."""
    found = dict.fromkeys(_THREADS_VARIABLES, str(threads))
    if gpus:
        found["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    return found


def perform(experiment: Any, task: Task, told_fd: int, origin: Origin) -> int:
    """Run the experiment as the task says, and return the exit code of its process.

    Args:
        experiment: it.
        task: what is to be run.
        told_fd: takes the directory of the run, once it is there.
        origin: of the run.
    """

    def tell(run_dir: str) -> None:
        os.write(told_fd, os.fsencode(run_dir))

    set_origin(origin.placed(tell))
    values = dict(task.values)
    if task.resume is not None:
        values["resume"] = task.resume
    sources = {name: task.sources.get(name, "sweep") for name in values}

    def run() -> None:
        experiment.execute(experiment.resolve(values, sources), sys.argv)

    return int(exit_code_of(run, debug=bool(values.get("debug"))))


def use_threads(count: int) -> None:
    """Let torch compute with so many threads, where it is loaded already and no longer asks the environment."""
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def renew_generators(seed_libraries: bool) -> None:
    """Give a forked process random numbers of its own, where the run does not seed the generators.

    Python's own generator does that by itself.
    """
    if seed_libraries:
        return
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.seed()


def forget_devices() -> None:
    """Have torch count devices anew: it may remember those that it saw before the run got its own."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and hasattr(torch.cuda, "_cached_device_count"):
        torch.cuda._cached_device_count = None
