"""`run_parameter_sweep` and `param_matrix`: settings, how many run at once, what is said of those that failed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.process import BaseProcess
from typing import Any

import pytest

from pystematic import param_matrix, run_parameter_sweep
from pystematic.declare import Parameter
from pystematic.errors import ExperimentError
from pystematic.sweep import run_each

# From Python 3.12 on; what is forked here computes nothing.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

# Forked, as nothing is to be learned here from importing a program anew.
_FORK = multiprocessing.get_context("fork")


class Runs:
    """What looks like an experiment to a sweep; each of its runs is a process that ends as the setting says.

    Attributes:
        started: the settings, in the order in which they were started.
        most: the largest number of processes that were alive at once.
    """

    name = "train"

    def __init__(self, parameters: list[Parameter] | None = None) -> None:
        self.started: list[Mapping[str, Any]] = []
        self.most = 0
        self.processes: list[BaseProcess] = []
        self._parameters = parameters or []

    def run_in_new_process(self, params: Mapping[str, Any] | None = None, /) -> BaseProcess:
        setting = dict(params or {})
        self.started.append(setting)
        process = _FORK.Process(target=setting.get("work", lambda: None))
        process.start()
        self.processes.append(process)
        self.most = max(self.most, sum(one.is_alive() for one in self.processes))
        return process

    def get_parameters(self) -> list[Parameter]:
        return self._parameters


def end_with(exit_code: int) -> Callable[[], None]:
    return lambda: os._exit(exit_code)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


# -- param_matrix ------------------------------------------------------------------------------------------------


def test_the_last_parameter_varies_fastest() -> None:
    assert param_matrix(lr=[0.1, 0.2], depth=(1, 2)) == [
        {"lr": 0.1, "depth": 1},
        {"lr": 0.1, "depth": 2},
        {"lr": 0.2, "depth": 1},
        {"lr": 0.2, "depth": 2},
    ]


@pytest.mark.parametrize("constant", ["text", 3, None, {"a": 1}, range(3)])
def test_what_is_no_list_or_tuple_is_one_value(constant: object) -> None:
    assert param_matrix(fixed=constant, lr=[1]) == [{"fixed": constant, "lr": 1}]


def test_a_list_of_values_is_one_value_inside_a_list() -> None:
    assert param_matrix(sizes=[[1, 2], [3]]) == [{"sizes": [1, 2]}, {"sizes": [3]}]


def test_no_parameters_are_one_setting_and_no_values_are_none() -> None:
    assert param_matrix() == [{}]
    assert param_matrix(lr=[], depth=[1, 2]) == []


def test_settings_do_not_share_a_dict() -> None:
    first, second = param_matrix(lr=[1, 2])
    first["more"] = 1
    assert second == {"lr": 2}


# -- run_parameter_sweep -----------------------------------------------------------------------------------------


def test_every_setting_is_run_in_order() -> None:
    runs = Runs()
    run_parameter_sweep(runs, param_matrix(lr=[1, 2, 3]))
    assert runs.started == [{"lr": 1}, {"lr": 2}, {"lr": 3}]
    assert not any(process.is_alive() for process in runs.processes)


def test_no_settings_are_no_runs() -> None:
    runs = Runs()
    run_parameter_sweep(runs, [])
    assert runs.started == []


def test_without_being_told_one_runs_at_a_time() -> None:
    runs = Runs()
    run_parameter_sweep(runs, param_matrix(lr=[1, 2, 3]))
    assert runs.most == 1


def test_as_many_as_are_allowed_run_at_once() -> None:
    reader, writer = os.pipe()

    def work() -> None:
        os.close(writer)
        os.read(reader, 1)  # returns at the end of the stream, when the third setting is asked for

    def settings() -> Iterator[dict[str, Any]]:
        yield {"work": work}
        yield {"work": work}
        os.close(writer)
        yield {"work": lambda: None}

    runs = Runs()
    run_parameter_sweep(runs, settings(), max_num_processes=2)
    os.close(reader)
    assert runs.most == 2
    assert len(runs.started) == 3


@pytest.mark.parametrize("count", [0, -1])
def test_less_than_one_process_is_refused(count: int) -> None:
    runs = Runs()
    with pytest.raises(ExperimentError) as caught:
        run_parameter_sweep(runs, [{}], count)
    assert str(caught.value) == f"max_num_processes={count}: at least one process is needed."
    assert runs.started == []


def test_those_that_failed_are_named_when_all_have_ended() -> None:
    fails, is_killed = end_with(3), kill_itself
    settings = [{"lr": 1, "work": fails}, {"lr": 2, "work": end_with(0)}, {"lr": 3, "work": is_killed}]
    runs = Runs([Parameter("lr", int), Parameter("work")])
    with pytest.raises(ExperimentError) as caught:
        run_parameter_sweep(runs, settings)
    assert len(runs.started) == 3
    first, *failures = str(caught.value).splitlines()
    assert first == "2 of 3 runs of 'train' failed:"
    assert failures == [
        f"  exit code 3: {{'lr': 1, 'work': {fails!r}}}",
        f"  killed by signal 9: {{'lr': 3, 'work': {is_killed!r}}}",
    ]


def test_secrets_of_a_failed_run_are_masked() -> None:
    settings = [{"api_key": "hidden", "lr": 1, "work": kill_itself}]
    runs = Runs([Parameter("api_key"), Parameter("lr", int), Parameter("work")])
    with pytest.raises(ExperimentError) as caught:
        run_parameter_sweep(runs, settings)
    assert "'api_key': '<masked>', 'lr': 1" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_sweep_that_is_interrupted_ends_what_it_started() -> None:
    forever = threading.Event()

    def settings() -> Iterator[dict[str, Any]]:
        yield {"work": forever.wait}
        raise KeyboardInterrupt

    runs = Runs()
    with pytest.raises(KeyboardInterrupt):
        run_parameter_sweep(runs, settings(), max_num_processes=2)
    [process] = runs.processes
    assert process.exitcode == -15


def test_a_run_that_cannot_start_ends_the_sweep_and_what_it_started() -> None:
    forever = threading.Event()
    runs = Runs()

    def start(params: Mapping[str, Any]) -> BaseProcess:
        if params["lr"] == 2:
            raise OSError("no more processes")
        return runs.run_in_new_process(params)

    with pytest.raises(OSError, match="no more processes"):
        run_each(runs, [{"lr": 1, "work": forever.wait}, {"lr": 2}], 2, start)
    assert [process.exitcode for process in runs.processes] == [-15]


def test_the_end_of_each_run_is_told_once() -> None:
    ended: list[BaseProcess] = []
    runs = Runs()
    run_each(runs, param_matrix(lr=[1, 2, 3]), 2, runs.run_in_new_process, ended.append)
    assert sorted(map(id, ended)) == sorted(map(id, runs.processes))
