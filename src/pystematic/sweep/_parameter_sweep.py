"""`run_parameter_sweep`: a list of settings, each run in a process of its own, some at a time."""

from __future__ import annotations

from pystematic._words import short
from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from multiprocessing.process import BaseProcess
    from typing import Any, Protocol

    class RunsInNewProcess(Protocol):
        name: str

        def run_in_new_process(self, params: Mapping[str, Any] | None = None, /) -> BaseProcess: ...


GRACE_S = 10.0


def param_matrix(**param_values: Any) -> list[dict[str, Any]]:
    """Return every combination of the given values, the last parameter varying fastest.

    Args:
        **param_values: a list or tuple of values for each parameter; anything else is one constant value.

    Example:
        >>> param_matrix(lr=[0.1, 0.01], epochs=3)
        [{'lr': 0.1, 'epochs': 3}, {'lr': 0.01, 'epochs': 3}]
    """
    combinations: list[dict[str, Any]] = [{}]
    for name, values in param_values.items():
        listed = values if isinstance(values, list | tuple) else [values]
        combinations = [{**combination, name: value} for combination in combinations for value in listed]
    return combinations


def run_parameter_sweep(
    experiment: RunsInNewProcess,
    list_of_params: Iterable[Mapping[str, Any]],
    max_num_processes: int = 1,
    *,
    before_start: Callable[[int], None] | None = None,
) -> None:
    """Run an experiment once for each setting, every run in a new process, and wait for all of them.

    Args:
        experiment: what to run; it stands at the top level of a file.
        list_of_params: one mapping of parameters for each run; see `param_matrix`.
        max_num_processes: how many run at once.
        before_start: called with the index of the run before its process is started.

    Raises:
        ExperimentError: one or more runs failed; raised when all have ended, naming the settings that failed.
    """
    from multiprocessing.connection import wait

    if max_num_processes < 1:
        raise ExperimentError(f"max_num_processes={max_num_processes!r}: at least one process is needed.")
    running: dict[int, tuple[BaseProcess, Mapping[str, Any]]] = {}
    failures: list[str] = []

    def collect() -> None:
        ended = wait([process.sentinel for process, _ in running.values()])
        for sentinel, (process, params) in list(running.items()):
            if sentinel in ended:
                process.join()
                if process.exitcode != 0:
                    failures.append(f"exit code {process.exitcode}: {short(dict(params), 200)}")
                del running[sentinel]

    total = 0
    try:
        for total, params in enumerate(list_of_params, 1):
            while len(running) >= max_num_processes:
                collect()
            if before_start is not None:
                before_start(total - 1)
            process = experiment.run_in_new_process(params)
            running[process.sentinel] = (process, params)
        while running:
            collect()
    finally:
        _end([process for process, _ in running.values()])
    if failures:
        raise ExperimentError(
            f"{len(failures)} of {total} runs of '{experiment.name}' failed:\n  " + "\n  ".join(failures)
        )


def _end(processes: list[BaseProcess]) -> None:
    """End what still runs when the sweep itself was interrupted: asked first, then killed."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(GRACE_S)
        if process.is_alive():
            process.kill()
            process.join()
