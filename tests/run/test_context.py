"""The context without any library: facts about the run, names that are taken, epochs."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pystematic.errors import ExperimentError, UsageError
from pystematic.resolve import Parameters
from pystematic.run import Context, check_device


def make_context_run(**changes: Any) -> Any:
    run = {
        "output_dir": Path("output/train/a"),
        "parameters": Parameters({"lr": 0.1}),
        "recorder": "the recorder",
        "run_dir": SimpleNamespace(id="2026-01-02_03-04-05_abcdef"),
        "seeds": SimpleNamespace(new_seed=lambda name=None, nbits=32, per_rank=False: (name, nbits, per_rank)),
        "rank": 0,
        "local_rank": 0,
        "world_size": 1,
    }
    return SimpleNamespace(**{**run, **changes})


def test_the_facts_are_those_of_the_run() -> None:
    context = Context(make_context_run(rank=3, local_rank=1, world_size=4))
    assert context.output_dir == Path("output/train/a")
    assert context.parameters["lr"] == 0.1
    assert str(context.recorder) == "the recorder"
    assert context.run_id == "2026-01-02_03-04-05_abcdef"
    assert context.device == "cpu"
    assert (context.rank, context.local_rank, context.world_size) == (3, 1, 4)
    assert not context.is_main
    assert context.is_distributed


def test_without_a_run_the_process_is_alone() -> None:
    context = Context()
    assert (context.rank, context.local_rank, context.world_size) == (0, 0, 1)
    assert context.is_main
    assert not context.is_distributed


@pytest.mark.parametrize("name", ["output_dir", "parameters", "recorder", "run_id"])
def test_what_only_a_run_knows_says_so(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(Context(), name)
    assert str(caught.value) == f"context.{name} is known only inside a run, and this context belongs to none"
    assert not hasattr(Context(), name)


def test_an_assignment_registers_under_the_name() -> None:
    context = Context()
    history: list[int] = []
    context.history = history
    assert context.history is history
    assert vars(context) == {"history": history}
    del context.history
    assert not hasattr(context, "history")


def test_register_returns_what_it_registered() -> None:
    context = Context()
    assert context.register("best", 0.5, place=False) == 0.5
    assert context.best == 0.5


@pytest.mark.parametrize("name", ["device", "output_dir", "rank", "epochs", "_run", "should_stop", "save_checkpoint"])
def test_reserved_names_refuse_an_assignment(name: str) -> None:
    with pytest.raises(AttributeError) as caught:
        setattr(Context(), name, 1)
    assert str(caught.value) == (
        f"context.{name} cannot be assigned: the name belongs to the context itself. "
        f"Use another name, for instance context.own_{name.strip('_')}."
    )


def test_the_recorder_can_be_replaced() -> None:
    context = Context(make_context_run())
    context.recorder = "another"
    assert context.recorder == "another"
    assert vars(context) == {"recorder": "another"}


def test_a_misspelt_name_gets_the_nearest_one() -> None:
    context = Context()
    context.learning_rate = 0.1
    with pytest.raises(AttributeError) as caught:
        context.learning_rat  # noqa: B018
    assert str(caught.value) == "nothing is registered as context.learning_rat. Did you mean 'learning_rate'?"


def test_epochs_count_from_zero_and_are_known_meanwhile() -> None:
    context = Context()
    assert context.epoch == 0
    assert [(epoch, context.epoch) for epoch in context.epochs(3)] == [(0, 0), (1, 1), (2, 2)]
    assert context.epoch == 2


def test_the_epoch_may_be_counted_by_hand() -> None:
    context = Context()
    context.epoch = 0
    while context.epoch < 3:
        context.epoch += 1
    assert context.epoch == 3


def test_seeds_come_from_the_run() -> None:
    context = Context(make_context_run())
    drawn: list[Any] = [context.new_seed(), context.new_seed(16), context.new_seed("split", 8, per_rank=True)]
    assert drawn == [(None, 32, False), (None, 16, False), ("split", 8, True)]


def test_without_a_run_there_are_no_seeds() -> None:
    with pytest.raises(ExperimentError, match="this context belongs to none"):
        Context().new_seed()


def test_a_subclass_has_attributes_and_properties_of_its_own() -> None:
    class Own(Context):
        limit = 3

        @property
        def half(self) -> float:
            return self.whole / 2

        @half.setter
        def half(self, value: float) -> None:
            self.whole = value * 2

    context = Own()
    context.limit = 5
    context.half = 2.0
    assert (context.limit, context.half, context.whole) == (5, 2.0, 4.0)


def test_the_repr_shows_what_is_registered() -> None:
    context = Context()
    context.best = 0.5
    context.history = []
    assert repr(context) == "Context(best=float, history=list)"


def test_a_copy_holds_the_same_objects() -> None:
    context = Context(make_context_run())
    context.history = [1]
    copied = copy.copy(context)
    copied.best = 1
    assert copied.history is context.history
    assert copied.run_id == context.run_id
    assert not hasattr(context, "best")


def test_device_and_no_cuda_contradict_each_other() -> None:
    sources = {"device": "command line", "cuda": "project pyproject.toml:3"}
    with pytest.raises(UsageError) as caught:
        check_device(Parameters({"device": "cuda:1", "cuda": False}, sources))
    assert str(caught.value) == (
        "device is 'cuda:1' (command line), but cuda is off (project pyproject.toml:3): "
        "give either --device cuda:1 or --no-cuda"
    )


@pytest.mark.parametrize("values", [{}, {"device": "auto", "cuda": False}, {"device": "cuda", "cuda": True}])
def test_any_other_device_is_left_to_the_library(values: dict[str, Any]) -> None:
    check_device(Parameters(values))
