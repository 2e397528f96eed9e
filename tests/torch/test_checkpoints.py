"""Restoring name by name: what a run that is gone on with finds again, against the run that was never stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import preprocessing
from torch.optim import lr_scheduler

import pystematic
from pystematic import rundir
from pystematic.errors import ExperimentError

STEPS_OF_EPOCH = 4


class Killed(Exception):  # noqa: N818 - an event, not an error
    """Ends a main function where a test wants it."""


def run_of(main: Callable[..., Any], **params: object) -> Any:
    """Run ``main(context)`` as an experiment and return what it returns."""

    @pystematic.experiment(name="main", metric="score:max")
    def experiment(parameters: Any, context: Any) -> Any:
        return main(context)

    return experiment.run({"random_seed": 1, "capture": "off", "system_metrics": False, **params}).result


def stopped_and_resumed(main: Callable[..., Any], **params: object) -> Any:
    """Run ``main``, which raises `Killed`, and go on with it; return what it returns then."""
    with pytest.raises(Killed):
        run_of(main, **params)
    return run_of(main, resume="last")


def manifest(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("output/main/*/checkpoints/manifest.json")
    entries: list[dict[str, Any]] = json.loads(path.read_text())["checkpoints"]
    return entries


# -- learning rates ----------------------------------------------------------------------------------------------

SCHEDULERS: dict[str, Callable[[torch.optim.Optimizer], Any]] = {
    "warm-up": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 9)),
    "one-cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=30),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 20),
    "restarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 5),
    "plateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, patience=1),
    "sequential": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4), lr_scheduler.StepLR(optimizer, 3)], [6]
    ),
}


@pytest.mark.parametrize("epoch_of_kill", [0, 1, 2])
@pytest.mark.parametrize("kind", SCHEDULERS)
def test_a_scheduler_built_after_the_restored_optimizer_goes_on(kind: str, epoch_of_kill: int) -> None:
    rates: dict[int, list[tuple[float, float]]] = {}

    def main(context: Any, kills: bool = True) -> None:
        context.model = torch.nn.Linear(2, 1)
        groups: list[dict[str, Any]] = [
            {"params": [context.model.weight]},
            {"params": [context.model.bias], "lr": 0.01},
        ]
        context.optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
        context.scheduler = SCHEDULERS[kind](context.optimizer)
        for epoch in context.epochs(5):
            rates[epoch] = []
            for _ in range(STEPS_OF_EPOCH):
                context.model(torch.ones(1, 2)).sum().backward()
                context.optimizer.step()
                rates[epoch].append(tuple(group["lr"] for group in context.optimizer.param_groups))
                if kind == "plateau":
                    context.scheduler.step(1.0)
                else:
                    context.scheduler.step()
            context.save_checkpoint()
            if kills and epoch == epoch_of_kill:
                raise Killed

    run_of(lambda context: main(context, kills=False))
    whole = dict(rates)
    rates.clear()
    with pytest.raises(Killed):
        run_of(main)
    run_of(lambda context: main(context, kills=False), resume="last")
    assert rates == whole


# -- what is restored, and when ----------------------------------------------------------------------------------


def test_the_first_assignment_restores_and_says_so_and_later_ones_are_assignments(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(context: Any) -> list[int]:
        context.counter = 1
        seen = [context.counter]
        if context.counter == 1:
            context.counter = 7
            context.save_checkpoint()
            raise Killed
        context.counter = 2
        return [*seen, context.counter]

    assert stopped_and_resumed(main) == [7, 2]
    assert capsys.readouterr().err.count("restored context.counter\n") == 1


def test_what_is_recorded_behind_the_end_of_an_epoch_that_was_saved_is_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(context: Any) -> None:
        context.loader = pystematic.torch.DataLoader(torch.arange(6.0), batch_size=2, loading_bar=False)
        for epoch in context.epochs(4):
            for x in context.loader:
                context.recorder.scalar("x", x.mean())
                context.recorder.step()
                context.save_checkpoint()
            context.recorder.scalar("in time", 1, step=epoch)
            context.save_checkpoint()
            if epoch > 0:
                context.recorder.scalar("late", 1, step=epoch)
                context.recorder.scalar("late too", 1)

    run_of(main)
    assert capsys.readouterr().err == (
        "pystematic: recorded after save_checkpoint() at the end of epoch 1: 'late' and 'late too'. A run that goes on "
        "from that checkpoint begins with the next epoch and loses it. Save last in the epoch.\n"
    )


@pytest.mark.parametrize("saved", ["in an epoch", "between two"])
def test_a_mean_that_is_reset_at_the_top_of_each_epoch_goes_on(saved: str) -> None:
    found: dict[int, float] = {}

    def main(context: Any, kills: bool = True) -> None:
        context.loader = pystematic.torch.DataLoader(torch.arange(6.0), batch_size=2, loading_bar=False)
        for epoch in context.epochs(2):
            context.mean("x").reset()
            for i, x in enumerate(context.loader):
                context.mean("x").update(x.mean() + 10 * epoch, len(x))
                if kills and saved == "in an epoch" and (epoch, i) == (1, 0):
                    context.save_checkpoint()
                    raise Killed
            found[epoch] = context.mean("x").compute()
            if kills and saved == "between two":
                context.save_checkpoint()
                raise Killed

    with pytest.raises(Killed):
        run_of(main)
    run_of(lambda context: main(context, kills=False), resume="last")
    assert found == {0: 2.5, 1: 12.5}


def test_names_that_are_missing_or_new_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    def first(context: Any) -> None:
        context.old = 1
        context.save_checkpoint()
        raise Killed

    def second(context: Any) -> None:
        context.new = 1
        for _ in context.epochs(1):
            pass

    with pytest.raises(Killed):
        run_of(first)
    run_of(second, resume="last")
    said = capsys.readouterr().err
    assert "the checkpoint holds old, which nothing was assigned to before training." in said
    assert "the checkpoint does not hold new, which begins anew." in said


def test_a_state_that_does_not_fit_is_one_clear_error() -> None:
    def main(context: Any, size: int) -> None:
        context.model = torch.nn.Linear(size, 1)
        context.save_checkpoint()
        raise Killed

    with pytest.raises(Killed):
        run_of(lambda context: main(context, 2))
    with pytest.raises(ExperimentError, match=r"^context\.model: Linear refuses the state: [^\n]*\n\tsize mismatch"):
        run_of(lambda context: main(context, 3), resume="last")


def draws() -> tuple[float, float, float]:
    import random

    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_generators_are_those_of_the_checkpoint_at_the_first_batch_of_a_restored_loader() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(12.0).reshape(12, 1))

    def main(context: Any, kill_at: int | None) -> list[Any]:
        context.loader = pystematic.torch.DataLoader(data, batch_size=4, shuffle=True, random_seed=3)
        context.seen = []
        for _ in context.epochs(3):
            for (x,) in context.loader:
                context.seen.append([x.flatten().tolist(), *draws()])
                context.save_checkpoint()
                if len(context.seen) == kill_at:
                    raise Killed
        return list(context.seen)

    whole = run_of(lambda context: main(context, None))
    with pytest.raises(Killed):
        run_of(lambda context: main(context, 5))

    def disturbed(context: Any) -> list[Any]:
        draws()  # what a program draws before its first batch must not matter
        return main(context, None)

    resumed = run_of(disturbed, resume="last")
    assert resumed == whole
    assert len(whole) == 9


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_draws_nothing_from_global_generators(workers: int) -> None:
    data = torch.utils.data.TensorDataset(torch.arange(12.0))

    def main(context: Any) -> None:
        context.loader = pystematic.torch.DataLoader(data, batch_size=4, shuffle=True, num_workers=workers)
        for _ in range(2):
            torch.manual_seed(5)
            before = torch.get_rng_state()
            for _ in context.loader:
                assert torch.equal(torch.get_rng_state(), before)
            assert torch.equal(torch.get_rng_state(), before)

    run_of(main)


# -- which checkpoints stay --------------------------------------------------------------------------------------


def test_the_metric_of_the_experiment_says_which_is_best(working_dir: Path) -> None:
    def main(context: Any) -> None:
        context.x = 0
        for score in (0.3, 0.9, 0.1, 0.2):
            context.recorder.scalar("score", score)
            context.save_checkpoint()
            context.recorder.step()

    run_of(main, keep_last=1)
    assert [(entry["id"], entry["metric_value"]) for entry in manifest(working_dir)] == [("1", 0.9), ("3", 0.2)]


def test_a_metric_that_is_given_wins(working_dir: Path) -> None:
    def main(context: Any) -> None:
        for id, score in (("a", 5.0), ("b", 7.0), ("c", 1.0)):
            context.recorder.scalar("score", 0.5)
            context.save_checkpoint(id, metric=score)

    run_of(main, keep_last=1)
    assert [(entry["id"], entry["metric_value"]) for entry in manifest(working_dir)] == [("b", 7.0), ("c", 1.0)]


@pytest.mark.parametrize("id", ["../x", "a/b", "", "nul\0", "line\nbreak"])
def test_an_id_cannot_lead_to_another_folder(id: str) -> None:
    def main(context: Any) -> None:
        with pytest.raises(ValueError, match="becomes part of a file name"):
            context.save_checkpoint(id)

    run_of(main)


# -- without an estimator's code ---------------------------------------------------------------------------------


class Estimator:
    """Made like those of scikit-learn."""

    def __init__(self) -> None:
        self.coef_ = np.zeros(2)
        self.steps_ = 0

    def get_params(self) -> dict[str, Any]:
        return {}

    def fit(self, x: Any, y: Any) -> Estimator:
        self.coef_ = self.coef_ + x.sum()
        self.steps_ += 1
        return self


def test_an_estimator_whose_attributes_are_plain_goes_on() -> None:
    def main(context: Any) -> tuple[list[float], int]:
        context.estimator = Estimator()
        for epoch in context.epochs(3):
            context.estimator.fit(np.ones(3) * epoch, None)
            context.save_checkpoint()
            if epoch == 1 and context.run_is_first:
                raise Killed
        return context.estimator.coef_.tolist(), context.estimator.steps_

    def first(context: Any) -> None:
        context.register("run_is_first", True, checkpoint=False)
        main(context)

    def second(context: Any) -> Any:
        context.register("run_is_first", False, checkpoint=False)
        return main(context)

    with pytest.raises(Killed):
        run_of(first)
    assert run_of(second, resume="last") == ([9.0, 9.0], 3)


@pytest.mark.parametrize("make", [preprocessing.StandardScaler, preprocessing.MinMaxScaler])
def test_an_estimator_of_scikit_learn_goes_on_as_if_it_had_not_been_stopped(make: Callable[[], Any]) -> None:
    inputs = np.random.default_rng(0).random((80, 3))

    def main(context: Any) -> dict[str, Any]:
        context.estimator = make()
        for epoch in context.epochs(4):
            batch = inputs[20 * epoch : 20 * epoch + 20]
            context.estimator.partial_fit(batch)
            context.save_checkpoint()
            if context.recorder.count == 1:
                raise Killed
            context.recorder.step()
        return {name: value for name, value in vars(context.estimator).items() if name.endswith("_")}

    def whole(context: Any) -> dict[str, Any]:
        context.recorder.count = 10
        return main(context)

    expected = run_of(whole)
    with pytest.raises(Killed):
        run_of(main)
    found = run_of(whole, resume="last")
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert type(found[name]) is type(value)
        assert np.array_equal(found[name], value)


def test_what_only_code_could_read_back_is_said_once_and_left_out(
    working_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Odd:
        def state_dict(self) -> dict[str, Any]:
            return {"where": Path("x")}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def main(context: Any) -> None:
        context.odd = Odd()
        context.thing = object()
        context.x = 1
        context.save_checkpoint()
        context.save_checkpoint("again")

    run_of(main)
    said = capsys.readouterr().err
    assert said.count("context.odd has a state that only code could read back") == 1
    assert said.count("context.thing is a object without state_dict(); it is in no checkpoint.") == 1
    (path, _) = sorted(working_dir.glob("output/main/*/checkpoints/*.pt"))
    assert set(pystematic.torch.load_checkpoint(path)) >= {"x"}


# -- runs from a checkpoint --------------------------------------------------------------------------------------


def saved_run(working_dir: Path) -> Path:
    def main(context: Any) -> None:
        context.x = 0
        context.x = 5
        context.recorder.count = 12
        context.save_checkpoint("mine")

    run_of(main)
    (path,) = working_dir.glob("output/main/*/checkpoints/*.pt")
    return path


def test_a_new_run_begins_from_a_saved_state(working_dir: Path) -> None:
    path = saved_run(working_dir)

    def main(context: Any) -> tuple[int, int]:
        context.x = 0
        return context.x, context.recorder.count

    assert run_of(main, checkpoint=str(path)) == (5, 12)
    (document,) = (
        document
        for found in working_dir.glob("output/main/*/run.json")
        if (document := json.loads(found.read_text()))["attempts"][0]["checkpoint"]
    )
    assert document["attempts"][0]["checkpoint"] == str(path)
    assert document["id"] != rundir.run_of_checkpoint(path).id  # type: ignore[union-attr]


def test_a_run_from_a_state_begins_there_again_when_it_has_none_of_its_own(
    working_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved_run(working_dir)

    def killed(context: Any) -> None:
        context.x = 0
        context.recorder.scalar("score", 1.0)
        raise Killed

    def main(context: Any) -> int:
        context.x = 0
        value: int = context.x
        return value

    with pytest.raises(Killed):
        run_of(killed, checkpoint=str(path))
    assert run_of(main, resume="last") == 5
    assert "from its beginning: it has no checkpoint." in capsys.readouterr().err
    assert len(list(working_dir.glob("output/main/*/metrics.cut-2.jsonl"))) == 1


def test_a_copy_of_a_run_goes_on_under_its_new_name(working_dir: Path) -> None:
    import shutil

    def main(context: Any) -> int:
        context.x = 0
        context.recorder.scalar("score", 1.0)
        if context.x:
            return 1
        context.x = 1
        context.save_checkpoint()
        raise Killed

    with pytest.raises(Killed):
        run_of(main)
    (run,) = working_dir.glob("output/main/*")
    copy = shutil.copytree(run, run.with_name("copy"))
    assert run_of(main, resume=str(copy)) == 1
    assert (copy / "metrics.jsonl").read_text().count("\n") == 2  # what was before the checkpoint is still there
