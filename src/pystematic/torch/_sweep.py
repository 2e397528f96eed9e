"""`run_parameter_sweep` as in pystematic-torch 1.x: each process sees GPUs of its own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import torch

from pystematic.errors import ExperimentError
from pystematic.sweep import run_each

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess

_VARIABLE = "CUDA_VISIBLE_DEVICES"


def run_parameter_sweep(
    experiment: Any,
    list_of_params: Iterable[Mapping[str, Any]],
    max_num_processes: int = 1,
    num_gpus_per_process: int | None = None,
) -> None:
    """Run an experiment once for each setting, every run in a new process, and wait for all of them.

    Args:
        experiment: what to run; it stands at the top level of a file.
        list_of_params: one mapping of parameters for each run; see `pystematic.param_matrix`.
        max_num_processes: how many run at once.
        num_gpus_per_process: how many GPUs each process sees: those that the fewest others use. All of them when None.

    Raises:
        ExperimentError: one or more runs failed, raised when all have ended; or there are not as many GPUs.
    """
    if num_gpus_per_process is None:
        run_each(experiment, list_of_params, max_num_processes, experiment.run_in_new_process)
        return
    gpus = Gpus(_visible_gpus())
    taken: dict[int, Sequence[str]] = {}

    def start(params: Mapping[str, Any]) -> BaseProcess:
        names = gpus.take(num_gpus_per_process)
        with _variable_set(_VARIABLE, ",".join(names)):
            process: BaseProcess = experiment.run_in_new_process(params)
        taken[id(process)] = names
        return process

    run_each(
        experiment,
        list_of_params,
        max_num_processes,
        start,
        on_end=lambda process: gpus.give_back(taken.pop(id(process))),
    )


class Gpus:
    """Which GPUs are used by how many processes."""

    def __init__(self, names: Sequence[str]) -> None:
        self._users = dict.fromkeys(names, 0)

    def take(self, count: int) -> list[str]:
        """Return the ``count`` GPUs that the fewest processes use.

        Raises:
            ExperimentError: there are fewer.
        """
        if not 0 <= count <= len(self._users):
            raise ExperimentError(
                f"num_gpus_per_process={count!r}: torch sees {len(self._users)} GPUs here. "
                "Ask for fewer, or leave it out."
            )
        names = sorted(self._users, key=lambda name: self._users[name])[:count]
        for name in names:
            self._users[name] += 1
        return names

    def give_back(self, names: Iterable[str]) -> None:
        """Count one process less for each of them."""
        for name in names:
            self._users[name] -= 1


def _visible_gpus() -> list[str]:
    """Return the names by which a child of this process asks for the GPUs that this one sees."""
    count = torch.cuda.device_count()
    named = os.environ.get(_VARIABLE)
    names = [str(number) for number in range(count)] if named is None else [name.strip() for name in named.split(",")]
    return names[:count]


@contextlib.contextmanager
def _variable_set(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
