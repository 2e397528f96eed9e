"""The context with torch: placing, owning, training steps, states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import pystematic.torch
from pystematic.errors import ExperimentError
from pystematic.torch import Context
from tests.torch.builders import DEVICES, CountingRecorder, in_a_run, make_context, make_model

# A device that every torch has, and that nothing is on by itself.
ELSEWHERE = torch.device("meta")


def on_device(device: str) -> Context:
    return make_context(device=device)


# -- placing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_a_module_stays_the_same_object_on_the_device(device: str) -> None:
    context = on_device(device)
    model = make_model()
    keys = list(model.state_dict())
    context.model = model
    assert context.model is model
    assert list(model.state_dict()) == keys
    assert {parameter.device.type for parameter in model.parameters()} == {device}


def test_modules_and_tensors_are_placed_when_assigned() -> None:
    context = make_context(device="meta")
    context.model = make_model()
    context.weights = torch.ones(2)
    context.pair = {"a": [torch.ones(2)], "b": (1, make_model())}
    assert context.model[0].weight.device == ELSEWHERE
    assert context.weights.device == ELSEWHERE
    assert context.pair["a"][0].device == ELSEWHERE
    assert context.pair["b"][1][0].weight.device == ELSEWHERE


def test_register_can_leave_things_where_they_are() -> None:
    context = make_context(device="meta")
    context.register("weights", torch.ones(2), place=False)
    assert context.weights.device.type == "cpu"
    context.to("meta")
    assert context.weights.device.type == "cpu"
    context.weights = context.weights
    assert context.weights.device == ELSEWHERE


def test_a_list_that_is_assigned_stays_the_same_list() -> None:
    context = make_context(device="cpu")
    losses: list[torch.Tensor] = []
    context.losses = losses
    losses.append(torch.ones(1))
    assert context.losses is losses


@pytest.mark.parametrize("device", DEVICES)
def test_a_tensor_that_is_trained_stays_the_same_object(device: str) -> None:
    context = on_device(device)
    context.codes = codes = torch.ones(2, requires_grad=True)
    context.optimizer = torch.optim.SGD([context.codes], lr=1.0)
    context.backward(context.codes.sum())
    context.step()
    assert context.codes is codes
    assert codes.device.type == device
    assert codes.tolist() == [0.0, 0.0]


def test_a_plain_torch_loader_is_rebuilt_as_ours_from_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    context = make_context()
    plain = torch.utils.data.DataLoader(TensorDataset(torch.arange(10)), batch_size=4, shuffle=True, drop_last=True)
    context.loader = plain
    assert type(context.loader) is pystematic.torch.DataLoader
    assert (context.loader.batch_size, len(context.loader), context.loader.drop_last) == (4, 2, True)
    assert sorted(len(batch[0]) for batch in context.loader) == [4, 4]
    assert capsys.readouterr().err == ("context.loader: torch's loader was rebuilt as a pystematic.torch.DataLoader.\n")


def test_a_torch_loader_with_batches_of_its_own_is_kept() -> None:
    context = make_context()
    plain = torch.utils.data.DataLoader(TensorDataset(torch.arange(4)), batch_sampler=[[0, 1], [2, 3]])
    context.loader = plain
    assert context.loader is plain


def test_our_loader_brings_its_batches_to_the_device() -> None:
    context = make_context(device="meta")
    context.loader = pystematic.torch.DataLoader(torch.arange(4), batch_size=4)
    assert [batch.device for batch in context.loader] == [ELSEWHERE]


def test_the_device_is_the_cpu_without_a_gpu_or_with_no_cuda() -> None:
    assert make_context(cuda=False).device == torch.device("cpu")
    assert make_context().device == torch.device(DEVICES[-1])


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ExperimentError) as caught:
        make_context(device="gpu").device  # noqa: B018
    assert str(caught.value) == "device is 'gpu', which torch does not know; use auto, cpu, cuda, cuda:1 or mps"


def test_a_gpu_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ExperimentError, match=r"device is 'cuda:63', but torch .* sees .* here; use --device auto"):
        make_context(device="cuda:63").device  # noqa: B018


# -- optimizers ----------------------------------------------------------------------------------------------------


def test_an_optimizer_of_a_module_that_is_not_registered_is_refused() -> None:
    context = make_context(device="cpu")
    with pytest.raises(ExperimentError) as caught:
        context.optimizer = torch.optim.Adam(make_model().parameters())
    assert str(caught.value) == (
        "context.optimizer: 4 of the 4 parameters of this Adam belong to no module of the context "
        "(shapes (4, 3), (4,), (2, 4) and others). "
        "Assign the module first, and make the optimizer from it:\n"
        "    context.model = model\n"
        "    context.optimizer = torch.optim.Adam(context.model.parameters(), ...)"
    )
    assert not hasattr(context, "optimizer")


def test_an_optimizer_may_own_the_modules_of_a_list() -> None:
    context = make_context(device="cpu")
    context.models = [make_model(), {"b": make_model()}]
    parameters = [*context.models[0].parameters(), *context.models[1]["b"].parameters()]
    context.optimizers = (torch.optim.SGD(parameters, lr=0.1),)
    assert context.step() is None


# -- training ------------------------------------------------------------------------------------------------------


def make_trained(**context_arguments: Any) -> Context:
    context = make_context(device="cpu", **context_arguments)
    context.model = make_model().eval()
    context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
    return context


def test_backward_and_step_are_what_torch_does() -> None:
    context = make_trained()
    model = make_model().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        context.backward(context.model(torch.ones(1, 3)).square().sum())
        assert context.step(context.optimizer) is None
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    for ours, theirs in zip(context.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.grad is None


def test_step_clips_and_returns_the_norm_before() -> None:
    context = make_trained()
    before = [parameter.detach().clone() for parameter in context.model.parameters()]
    context.backward(100 * context.model(torch.ones(1, 3)).sum())
    norm = context.step(clip=1.0)
    assert norm is not None
    assert norm > 1.0
    moved = [old - new.detach() for old, new in zip(before, context.model.parameters(), strict=True)]
    assert torch.cat([part.flatten() for part in moved]).norm() == pytest.approx(0.1, rel=1e-4)


def test_step_advances_the_scheduler() -> None:
    context = make_trained()
    context.scheduler = torch.optim.lr_scheduler.StepLR(context.optimizer, step_size=1, gamma=0.5)
    context.backward(context.model(torch.ones(1, 3)).sum())
    context.step(context.optimizer, scheduler=context.scheduler)
    assert context.optimizer.param_groups[0]["lr"] == 0.05


def test_step_asks_which_of_several_optimizers() -> None:
    context = make_trained()
    context.second = torch.optim.SGD(context.model.parameters(), lr=0.1)
    with pytest.raises(ExperimentError) as caught:
        context.step()
    assert str(caught.value) == (
        "context.step() needs to be told which optimizer: these are registered: optimizer, second"
    )


def test_step_without_an_optimizer_says_so() -> None:
    with pytest.raises(ExperimentError, match="needs to be told which optimizer: none is registered"):
        make_context(device="cpu").step()


def test_evaluating_restores_the_mode_of_each_part() -> None:
    context = make_context(device="cpu")
    context.model = make_model()
    context.model[0].eval()
    with context.evaluating(context.model):
        assert not any(part.training for part in context.model.modules())
        assert not context.model(torch.ones(1, 3)).requires_grad
    assert [part.training for part in context.model] == [False, True, True]
    assert context.model.training
    assert context.model(torch.ones(1, 3)).requires_grad


def test_evaluating_restores_after_an_error() -> None:
    context = make_context(device="cpu")
    context.model = make_model()
    with pytest.raises(ValueError, match="broken"), context.evaluating():
        raise ValueError("broken")
    assert context.model.training
    assert torch.is_grad_enabled()


# -- a context of one's own ----------------------------------------------------------------------------------------


def test_in_a_context_of_ones_own_nothing_moves_before_it_is_asked_to() -> None:
    context = Context()
    context.weights = torch.ones(2)
    context.loader = pystematic.torch.DataLoader(torch.arange(4), batch_size=4)
    assert context.weights.device.type == "cpu"
    assert [batch.device.type for batch in context.loader] == ["cpu"]
    assert context.to("meta") is context
    assert context.weights.device == ELSEWHERE
    assert [batch.device for batch in context.loader] == [ELSEWHERE]
    assert context.device == ELSEWHERE


def test_a_context_of_ones_own_takes_an_optimizer_in_any_order() -> None:
    context = Context()
    model = make_model()
    context.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    context.model = model
    assert context.cpu().step() is None


@pytest.mark.parametrize("device", DEVICES)
def test_the_state_of_an_optimizer_follows_its_module(device: str) -> None:
    context = Context()
    context.optimizer = None
    context.model = make_model().eval()
    context.optimizer = torch.optim.Adam(context.model.parameters())
    context.backward(context.model(torch.ones(1, 3)).sum())
    context.step()
    context.to(device)
    context.backward(context.model(torch.ones(1, 3, device=device)).sum())
    context.step()
    averages = [state["exp_avg"].device.type for state in context.optimizer.state.values()]
    assert averages == [device] * 4


def fill(context: Context, seed: int) -> Context:
    context.model = make_model(seed).eval()
    context.optimizer = torch.optim.Adam(context.model.parameters(), lr=0.1 * (seed + 1))
    context.recorder = CountingRecorder()
    context.recorder.count = seed
    context.epoch = seed
    context.best = float(seed) if seed else None
    context.history = [seed] * seed
    context.table = np.full(2, seed)
    context.score = np.float32(seed)
    context.codes = torch.full((2,), float(seed))
    context.pair = (make_model(seed), {"name": f"run {seed}"})
    context.names = {f"{seed}"}
    context.loader = pystematic.torch.DataLoader([1, 2])
    context.criterion = len
    return context


def test_a_state_comes_back_equal_through_a_file(tmp_path: Path) -> None:
    source = fill(Context(), 3)
    source.backward(source.model(torch.ones(1, 3)).sum())
    source.step()
    torch.save(source.state_dict(), tmp_path / "state.pt")
    target = fill(Context(), 0)
    model = target.model
    target.load_state_dict(pystematic.torch.load_checkpoint(tmp_path / "state.pt"))
    assert target.model is model
    for ours, theirs in zip(target.model.parameters(), source.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert str(target.optimizer.state_dict()) == str(source.optimizer.state_dict())
    assert (target.recorder.count, target.epoch, target.best, target.history) == (3, 3, 3.0, [3, 3, 3])
    assert (target.table.tolist(), target.table.dtype) == ([3, 3], source.table.dtype)
    assert (target.score, type(target.score)) == (3.0, np.float32)
    assert target.codes.tolist() == [3.0, 3.0]
    assert torch.equal(target.pair[0][0].weight, source.pair[0][0].weight)
    assert target.pair[1] == {"name": "run 3"}
    assert target.names == {"3"}
    assert target.criterion is len


def test_what_has_no_state_is_left_out() -> None:
    assert "criterion" not in fill(Context(), 0).state_dict()


def test_missing_and_unexpected_names_are_one_error_and_nothing_is_loaded() -> None:
    context = Context()
    context.best = 1
    context.worst = 2
    with pytest.raises(ExperimentError) as caught:
        context.load_state_dict({"best": 5, "other": 3, "another": 4})
    assert str(caught.value) == (
        "the state does not fit the context; registered, but not in the state: worst; "
        "in the state, but not registered: other, another. Register the same names as the program "
        "that saved it, or load what fits with strict=False."
    )
    assert context.best == 1
    context.load_state_dict({"best": 5, "other": 3}, strict=False)
    assert (context.best, context.worst) == (5, 2)


def test_none_in_an_old_checkpoint_means_nothing_to_load() -> None:
    context = fill(Context(), 2)
    old = {**context.state_dict(), "loader": None, "criterion": None, "codes": None, "gone": None}
    context.load_state_dict(old)
    assert context.codes.tolist() == [2.0, 2.0]
    assert context.criterion is len


def test_the_epoch_need_not_be_registered() -> None:
    context = Context()
    context.load_state_dict({"epoch": 4})
    assert context.epoch == 4
    context.load_state_dict({})


def test_a_state_that_does_not_fit_names_the_object() -> None:
    context = Context()
    context.models = [make_model()]
    with pytest.raises(ExperimentError, match=r"context\.models\.0: Sequential refuses the state: Error"):
        context.load_state_dict({"models": [{k: torch.ones(1) for k in make_model().state_dict()}]})
    with pytest.raises(ExperimentError) as caught:
        context.load_state_dict({"models": []})
    assert str(caught.value) == "context.models: a list of 1 was expected, not a list of 0"


def test_the_recorder_of_a_run_takes_part_in_its_state() -> None:
    context = make_context(device="cpu")
    context.load_state_dict({"recorder": {"count": 7}})
    assert context.recorder.count == 7
    assert context.state_dict() == {"recorder": {"count": 7}}


def test_autotransform_follows_the_parameters_of_the_run(working_dir: Path) -> None:
    state = make_model(5).state_dict()
    torch.save({"model": state}, working_dir / "old.pt")

    def main() -> Any:
        context = Context()
        context.model = make_model()
        assert context.autotransform() is context
        return context.device.type, context.output_dir.parent.name

    assert in_a_run(main, device="cpu") == ("cpu", "main")


def test_autotransform_loads_the_checkpoint_that_an_experiment_declares(working_dir: Path) -> None:
    torch.save({"model": make_model(5).state_dict()}, working_dir / "old.pt")

    @pystematic.parameter(name="checkpoint", type=Path)
    @pystematic.experiment
    def main() -> Any:
        context = Context()
        context.model = make_model()
        return context.autotransform().model

    model = main.run(checkpoint=working_dir / "old.pt", capture="off").result
    assert torch.equal(model[0].weight.cpu(), make_model(5).state_dict()["0.weight"])


def test_autotransform_needs_a_run() -> None:
    with pytest.raises(ExperimentError, match="none is active"):
        Context().autotransform()
