"""Runs in processes of their own: a new run, or a further process of the active one as in pystematic 1.x."""

from __future__ import annotations

import os
import sys
import time

from pystematic.errors import Error, ExperimentError, RunStopped
from pystematic.run import _current
from pystematic.run._origin import Origin, origin, set_origin
from pystematic.run._say import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from typing import Any, Protocol

    class Runnable(Protocol):
        name: str

        def run(self, params: Any = None, /) -> Any: ...


# What says how a command line was read; its outcome is what a further process gets.
_NOT_PASSED_ON = frozenset({"params_file", "preset", "dry_run", "pdb"})
GRACE_S = 10.0
# How often it is looked whether the grace is over before its time.
PERIOD_S = 0.1


def start_process(experiment: Runnable, params: Mapping[str, Any]) -> BaseProcess:
    """Start a new run of ``experiment`` in a new process, and return the process.

    Its exit code is that of a command line: 0 done, 1 failed (the traceback is on stderr), 2 wrong parameters, 128 + n
    ended by signal n.

    Raises:
        ExperimentError: another process could not find the experiment, or cannot be handed the parameters.
    """
    import multiprocessing

    module, attribute = find_home(experiment)
    context = multiprocessing.get_context("spawn")
    run = _current.current()
    parent = None if run is None else run.run_dir.id
    process = context.Process(
        target=_run_in_child, args=(module, attribute, dict(params), parent), name=experiment.name
    )
    try:
        process.start()
    except Exception as error:
        if not _is_about_pickling(error):
            raise
        raise ExperimentError(
            f"the parameters of '{experiment.name}' cannot be handed over to a new process: {error}. "
            "Give values that can be pickled."
        ) from error
    return process


def find_home(experiment: Any) -> tuple[str, str]:
    """Return the module and the name in it by which another process finds the experiment.

    Raises:
        ExperimentError: there is none.
    """
    name = str(getattr(experiment, "__module__", None) or "")
    module = sys.modules.get(name)
    # On standard input the file is said to be "<stdin>".
    if module is None or (name == "__main__" and not (module.__spec__ or _has_file(module))):
        raise ExperimentError(
            f"experiment '{experiment.name}' cannot run in a new process: it is defined in a notebook or on the "
            "standard input, which a new process cannot import. Move it to a file."
        )
    path = str(getattr(experiment, "__qualname__", experiment.name))
    for candidate in (path, *(own for own, value in list(vars(module).items()) if value is experiment)):
        if _follow(module, candidate) is experiment:
            return name, candidate
    raise ExperimentError(
        f"experiment '{experiment.name}' cannot run in a new process: it stands nowhere in the module {name}, where "
        "the process would look for it. Define it at the top level of a file."
    )


def _has_file(module: Any) -> bool:
    return os.path.isfile(getattr(module, "__file__", None) or "")


def _follow(module: Any, path: str) -> Any:
    found = module
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _is_about_pickling(error: Exception) -> bool:
    import pickle

    return isinstance(error, pickle.PicklingError) or (
        isinstance(error, AttributeError | TypeError) and "pickle" in str(error)
    )


def launch_subprocess(**additional_params: Any) -> BaseProcess:
    """Start a further process of the active run: the same experiment and parameters, in the same run directory.

    It writes ``log.rank-N.txt`` and ``metrics.rank-N.jsonl``; `pystematic.local_rank` tells it its N, from 1. One that
    fails makes the run fail when the main function has returned; one that still runs then is ended.

    Args:
        **additional_params: other values for some parameters, such as ``random_seed=pystematic.new_seed()``: the seed
            is otherwise the same in all processes.

    Raises:
        ExperimentError: no experiment is running, or this process was launched itself.
    """
    run = _current.known_run("launch_subprocess()")
    if run.is_subprocess:
        raise ExperimentError("a process that launch_subprocess() started cannot launch further ones.")
    rank = len(run.launched) + 1
    values = {name: value for name, value in run.parameters.items() if name not in _NOT_PASSED_ON}
    values.update(additional_params)
    values.update(subprocess=str(run.run_dir.parameters_file), local_rank=rank)
    process = start_process(run.experiment, values)
    run.launched.append(process)
    return process


def end_launched(processes: Sequence[BaseProcess], is_hurried: Callable[[], bool] = lambda: False) -> list[str]:
    """End what `launch_subprocess` started and still runs; return what is to be said of those that failed.

    Args:
        processes: all of them, in the order of their ranks.
        is_hurried: asked from time to time whether those that do not end by themselves are to be killed at once.
    """
    exit_codes = [process.exitcode for process in processes]  # None for those that run
    end_processes([process for process, code in zip(processes, exit_codes, strict=True) if code is None], is_hurried)
    return [
        f"rank {rank} ended with exit code {code}; see log.rank-{rank}.txt"
        for rank, code in enumerate(exit_codes, 1)
        if code
    ]


def end_processes(processes: Sequence[BaseProcess], is_hurried: Callable[[], bool] = lambda: False) -> None:
    """Ask processes to end, and kill those that have not ended after a while."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + GRACE_S
    try:
        while (alive := [process for process in processes if process.is_alive()]) and time.monotonic() < deadline:
            if is_hurried():
                break
            alive[0].join(PERIOD_S)
    finally:  # also after a second Ctrl-C
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def find_experiment(module: str, attribute: str) -> Any:
    """Return what `find_home` has found, in another process.

    Raises:
        ExperimentError: it is not there when the module is only imported.
    """
    import importlib

    experiment = _follow(importlib.import_module(module), attribute)
    if experiment is None:
        raise ExperimentError(
            f"there is no {attribute} in the module {module} when it is imported by a new process. "
            "Do not define experiments inside of `if __name__ == '__main__':`."
        )
    return experiment


def exit_code_of(call: Callable[[], Any], *, debug: bool = False) -> int:
    """Run an experiment by ``call``; say on stderr how it failed, and return the exit code of a command line."""
    from pystematic.run import _traceback

    try:
        call()
    except KeyboardInterrupt:
        return 130
    except RunStopped as stopped:
        return stopped.exit_code
    except SystemExit as error:
        if isinstance(error.code, str):
            say(error.code)
        return 0 if error.code is None else error.code & 0xFF if isinstance(error.code, int) else 1
    except BaseException as error:
        if not _traceback.is_users_own(error) and isinstance(error, Error):
            for line in str(error).splitlines():
                say(line)
            return 1 if isinstance(error, ExperimentError) else 2
        if origin().has_console or not _traceback.is_users_own(error):  # else its log has it
            print(_traceback.format_traceback(error, debug=debug), end="", file=sys.stderr)
            _traceback.say_where(error)
        return 1
    return 0


def _run_in_child(module: str, attribute: str, params: dict[str, Any], parent: str | None) -> None:
    set_origin(Origin(parent=parent))
    sys.exit(exit_code_of(lambda: find_experiment(module, attribute).run(params), debug=bool(params.get("debug"))))
