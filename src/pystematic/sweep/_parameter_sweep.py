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

        def get_parameters(self) -> Iterable[Any]: ...


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
    experiment: RunsInNewProcess, list_of_params: Iterable[Mapping[str, Any]], max_num_processes: int = 1
) -> None:
    """Run an experiment once for each setting, every run in a new process, and wait for all of them.

    Args:
        experiment: what to run; it stands at the top level of a file.
        list_of_params: one mapping of parameters for each run; see `param_matrix`.
        max_num_processes: how many run at once.

    Raises:
        ExperimentError: one or more runs failed; raised when all have ended, naming the settings that failed.
    """
    run_each(experiment, list_of_params, max_num_processes, experiment.run_in_new_process)


def run_each(
    experiment: RunsInNewProcess,
    list_of_params: Iterable[Mapping[str, Any]],
    max_num_processes: int,
    start: Callable[[Mapping[str, Any]], BaseProcess],
    on_end: Callable[[BaseProcess], None] = lambda process: None,
) -> None:
    """Do what `run_parameter_sweep` does.

    Args:
        experiment: what is run.
        list_of_params: one mapping for each run.
        max_num_processes: how many run at once.
        start: starts one.
        on_end: called when one has ended.
    """
    from multiprocessing.connection import wait

    from pystematic.run import end_processes  # a sweep costs processes; `param_matrix` alone costs nothing

    if max_num_processes < 1:
        raise ExperimentError(f"max_num_processes={max_num_processes!r}: at least one process is needed.")
    running: dict[int, tuple[BaseProcess, Mapping[str, Any]]] = {}
    failures: list[str] = []

    def collect() -> None:
        for sentinel in wait(list(running)):
            assert isinstance(sentinel, int)
            process, params = running.pop(sentinel)
            process.join()
            on_end(process)
            if process.exitcode:
                failures.append(f"{_ended(process.exitcode)}: {_shown(experiment, params)}")

    total = 0
    try:
        for params in list_of_params:
            total += 1
            while len(running) >= max_num_processes:
                collect()
            process = start(params)
            running[process.sentinel] = (process, params)
        while running:
            collect()
    finally:  # those that still run when the sweep itself was interrupted
        end_processes([process for process, _ in running.values()])
    if failures:
        raise ExperimentError(
            f"{len(failures)} of {total} runs of '{experiment.name}' failed:\n  " + "\n  ".join(failures)
        )


def _ended(exit_code: int) -> str:
    return f"exit code {exit_code}" if exit_code > 0 else f"killed by signal {-exit_code}"


def _shown(experiment: RunsInNewProcess, params: Mapping[str, Any]) -> str:
    secret = {parameter.name for parameter in experiment.get_parameters() if parameter.secret}
    return short({name: "<masked>" if name in secret else value for name, value in params.items()}, 200)
