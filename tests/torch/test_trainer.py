"""Steps on one process, and what several must agree on: precision, windows, counts, what is refused."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from pystematic.errors import ExperimentError
from pystematic.testing import run_on_ranks
from pystematic.torch import Context, DataLoader
from pystematic.torch._trainer import Trainer
from tests.torch.builders import make_context


def make_data(count: int = 10, dtype: torch.dtype = torch.float64) -> TensorDataset:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(count, 3, generator=generator, dtype=torch.float64).to(dtype)
    return TensorDataset(inputs, inputs.sum(1, keepdim=True))


def make_net(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 1)).to(dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 0.5)
    return net


def loss_of(model: nn.Module, batch: Any) -> torch.Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def gradients_of(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def whole_gradients(data: TensorDataset) -> list[torch.Tensor]:
    """Return the gradients of all samples in one batch."""
    model = make_net()
    loss_of(model, data.tensors).backward()  # type: ignore[no-untyped-call]
    return gradients_of(model)


def prepared(data: TensorDataset, batch_size: int, **parameters: object) -> Context:
    context = make_context(**parameters)
    context.model = make_net()
    context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
    context.loader = DataLoader(data, batch_size=batch_size, loading_bar=False)
    return context


# -- what is registered ----------------------------------------------------------------------------------------------


def test_an_object_in_the_memory_of_one_that_is_gone_is_taken_as_well() -> None:
    context = make_context()
    prepared = set()
    for _ in range(50):
        # Each is made before the former goes, so that some lie where an earlier one has lain.
        context.loader = DataLoader(make_data(1), loading_bar=False)
        list(context.loader)
        prepared.add(context.loader.has_trained)
    assert prepared == {True}


def test_a_module_under_two_names_is_prepared_once() -> None:
    context = make_context(precision="bf16")
    context.model = make_net(torch.float32)
    hooks = len(context.model._forward_hooks)
    context.same = context.model
    assert len(context.model._forward_hooks) == hooks


# -- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [3, 4, 10])
def test_the_gradients_of_a_window_are_those_of_its_samples_in_one_batch(batch_size: int) -> None:
    data = make_data()
    context = prepared(data, batch_size)
    for window in context.windows(context.loader, accumulate=4):
        for batch in window:
            context.backward(loss_of(context.model, batch))
    for found, expected in zip(gradients_of(context.model), whole_gradients(data), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_each_epoch_has_all_windows_also_while_the_last_window_is_still_held() -> None:
    context = prepared(make_data(10), batch_size=2)
    epochs = []
    for _ in range(3):
        counts = []
        for window in context.windows(context.loader, accumulate=2):  # the name outlives the loop
            counts.append(sum(1 for _ in window))
        epochs.append(counts)
    assert epochs == [[2, 2, 1]] * 3
    assert context.loader.state_dict()["epoch"] == 3


def test_windows_left_early_end_the_epoch() -> None:
    context = prepared(make_data(10), batch_size=2)
    for window in context.windows(context.loader, accumulate=2):
        next(iter(window))
        break
    assert [len(window) for window in context.windows(context.loader, accumulate=2)] == [2, 2, 1]


def test_the_lengths_of_windows_are_known_and_the_last_one_is_shorter() -> None:
    context = prepared(make_data(10), 2)
    windows = context.windows(context.loader, accumulate=2)
    assert len(windows) == 3
    assert [(len(window), sum(len(batch[0]) for batch in window)) for window in windows] == [(2, 4), (2, 4), (1, 2)]


def test_what_is_left_of_a_window_is_passed_over() -> None:
    context = prepared(make_data(8), 2)
    first = []
    for window in context.windows(context.loader, accumulate=2):
        for inputs, _ in window:
            first.append(inputs[0, 0].item())
            break
    inputs = make_data(8).tensors[0]
    assert first == [inputs[0, 0].item(), inputs[4, 0].item()]


def test_counts_in_a_window_weigh_its_micro_batches() -> None:
    data = make_data()
    context = prepared(data, 4)
    plain = copy.deepcopy(context.model)
    for window in context.windows(context.loader, accumulate=3):
        for inputs, targets in window:
            context.backward(loss_of(context.model, (inputs, targets)), count=len(inputs))
    context.step()
    for parameter, gradient in zip(plain.parameters(), whole_gradients(data), strict=True):
        parameter.data -= 0.1 * gradient
    for found, expected in zip(context.model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


def test_two_loaders_in_one_window_need_a_count() -> None:
    context = prepared(make_data(), 5)
    context.other = DataLoader(make_data(6), batch_size=5, loading_bar=False)
    others = iter(context.other)
    for window in context.windows(context.loader, accumulate=2):
        for batch in window:
            both = loss_of(context.model, batch) + loss_of(context.model, next(others))
            with pytest.raises(ExperimentError, match=r"two loaders \(context.loader and context.other\)"):
                context.backward(both)
            context.backward(loss_of(context.model, batch), count=5)
            return


@pytest.mark.parametrize("accumulate", [0, -1])
def test_a_window_has_at_least_one_batch(accumulate: int) -> None:
    context = prepared(make_data(), 5)
    with pytest.raises(ValueError, match=f"accumulate={accumulate}: a window has at least one batch"):
        context.windows(context.loader, accumulate)


@pytest.mark.parametrize("accumulate", ["2", 2.0, None])
def test_a_number_of_batches_is_whole(accumulate: Any) -> None:
    context = prepared(make_data(), 5)
    kind = type(accumulate).__name__
    with pytest.raises(TypeError, match=f"accumulate={accumulate!r}: expected a whole number, not a {kind}"):
        context.windows(context.loader, accumulate)


@pytest.mark.parametrize("clip", [-1, 0.0, math.nan])
def test_a_norm_to_clip_to_is_above_0(clip: float) -> None:
    context = prepared(make_data(), 5)
    context.backward(loss_of(context.model, next(iter(context.loader))))
    before = copy.deepcopy(context.model.state_dict())
    with pytest.raises(ValueError, match="clip") as caught:
        context.step(clip=clip)
    assert str(caught.value) == f"clip={clip!r}: the largest norm of the gradients is a number above 0, or None"
    assert all(torch.equal(value, before[name]) for name, value in context.model.state_dict().items())
    norm = context.step(clip=math.inf)  # measures only
    assert norm is not None
    assert norm > 0


def test_a_loss_is_a_tensor() -> None:
    context = prepared(make_data(), 5)
    loss: Any = 1.5
    with pytest.raises(TypeError, match=r"^context\.backward\(\) takes the loss as a tensor, not a float: 1\.5$"):
        context.backward(loss)


def test_windows_need_a_loader_that_knows_its_sizes() -> None:
    context = prepared(make_data(), 5)
    with pytest.raises(TypeError, match=r"takes a pystematic\.torch\.DataLoader, not a list"):
        context.windows([1, 2], 2)


def test_a_negative_count_is_refused() -> None:
    context = prepared(make_data(), 5)
    with pytest.raises(ValueError, match="count=-1"):
        context.backward(torch.zeros(1, requires_grad=True).sum(), count=-1)


# -- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("precision", "inside"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_registered_module_computes_in_the_runs_precision_and_returns_full(
    precision: str, inside: torch.dtype
) -> None:
    context = make_context(precision=precision)
    seen = []
    context.model = make_net(torch.float32)
    context.model[0].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    assert context.model(torch.rand(2, 3)).dtype is torch.float32
    assert seen == [inside]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_module_is_one_graph_in_the_runs_precision(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = []

    def compile(graph: torch.fx.GraphModule, inputs: object) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=compile))
    context = make_context(precision=precision, compile=True)
    plain = make_net(torch.float32)
    context.model = copy.deepcopy(plain)
    inputs = torch.rand(2, 3)
    output = context.model(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        expected = plain(inputs).float()

    assert len(graphs) == 1
    assert output.dtype is torch.float32
    assert torch.equal(output, expected)
    assert list(context.model.state_dict()) == list(plain.state_dict())
    assert not torch.is_autocast_enabled("cpu")
    assert copy.deepcopy(context.model)(inputs).dtype is torch.float32  # in the program's own precision


def test_autocast_computes_in_the_runs_precision() -> None:
    context = make_context(precision="bf16")
    with context.autocast():
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype is torch.bfloat16
    with make_context(precision="fp32").autocast():
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype is torch.float32


def test_a_module_that_raises_leaves_the_precision_as_it_was() -> None:
    context = make_context(precision="bf16")
    context.model = make_net(torch.float32)
    with pytest.raises(RuntimeError, match="shapes"):
        context.model(torch.rand(2, 7))
    assert not torch.is_autocast_enabled("cpu")


def test_fp16_scales_the_loss_and_unscales_before_clipping() -> None:
    context = make_context(precision="fp16")
    context.model = make_net(torch.float32)
    context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
    batch = make_data(dtype=torch.float32).tensors
    context.backward(loss_of(context.model, batch) * 0.001)  # within what fp16 holds at the first scale
    scaled = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients_of(context.model)))
    norm = context.step(clip=1.0)
    expected = math.sqrt(sum(float(gradient.square().sum()) for gradient in whole_gradients(make_data())))
    assert norm is not None
    assert float(norm) == pytest.approx(expected * 0.001, rel=0.01)
    assert scaled > 1000 * float(norm)


def test_fp16_skips_a_step_with_an_infinite_gradient_and_its_scheduler() -> None:
    context = make_context(precision="fp16")
    context.model = make_net(torch.float32)
    context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.1)
    context.scheduler = torch.optim.lr_scheduler.StepLR(context.optimizer, 1)
    before = copy.deepcopy(context.model.state_dict())
    scale = context.scaler_state()["scale"]
    context.backward(context.model(torch.rand(2, 3)).sum() * math.inf)
    context.step(scheduler=context.scheduler)
    for name, value in context.model.state_dict().items():
        assert torch.equal(value, before[name])
    assert context.scheduler.last_epoch == 0
    assert context.scaler_state()["scale"] == scale / 2


# -- several processes -----------------------------------------------------------------------------------------------


def make_rank(parameters: dict[str, Any] | None = None) -> Trainer:
    group = torch.distributed
    return Trainer(parameters or {}, torch.device("cpu"), group.get_rank(), group.get_world_size())


def register(trainer: Trainer, name: str, obj: Any) -> Any:
    trainer.take(f"context.{name}", obj, wrap=True, options={})
    return obj


def loader_of(trainer: Trainer, data: TensorDataset, batch_size: int) -> DataLoader:
    made: DataLoader = register(trainer, "loader", DataLoader(data, batch_size=batch_size, loading_bar=False))
    return made


def gradients_on_a_rank(how: str, count: int) -> list[Any]:
    """Return the gradients of ``count`` samples, of which each process has its share."""
    trainer = make_rank()
    model = register(trainer, "model", make_net())
    for batch in loader_of(trainer, make_data(count), max(count, 4)):
        if how == "plain":
            loss_of(model, batch).backward()  # type: ignore[no-untyped-call]
        else:
            trainer.backward(loss_of(model, batch), len(batch[0]) if how == "count" else None)
    return [gradient.tolist() for gradient in gradients_of(model)]


def norm_on_a_rank() -> float:
    trainer = make_rank()
    model = register(trainer, "model", make_net())
    for batch in loader_of(trainer, make_data(), 10):
        trainer.backward(loss_of(model, batch), None)
    norm = trainer.step(torch.optim.SGD(model.parameters(), lr=0.1), 0.01, None)
    assert norm is not None
    return float(norm)


def evaluate_on_rank_0() -> float:
    model = register(make_rank(), "model", make_net())
    if torch.distributed.get_rank() != 0:
        return 0.0
    model.eval()
    with torch.no_grad():
        return float(loss_of(model, make_data().tensors))


def synchronise_batchnorm() -> tuple[str, bool, list[str]]:
    norm = nn.BatchNorm1d(3)
    model = nn.Sequential(norm, nn.Linear(3, 1))
    register(make_rank({"sync_batchnorm": True}), "model", model)
    return type(norm).__name__, model[0] is norm, list(model.state_dict())


def refusal_of(name: str, obj: Any) -> str:
    try:
        register(make_rank({"collective_timeout": 20.0}), name, obj)
    except ExperimentError as error:
        return str(error)
    return ""


def everything_on_a_rank() -> dict[str, Any]:
    """Do all that several processes are needed for: starting them is what takes long."""
    rank = torch.distributed.get_rank()
    found: dict[str, Any] = {
        f"{how}-{count}": gradients_on_a_rank(how, count) for how in ("backward", "plain", "count") for count in (10, 1)
    }
    return found | {
        "norm": norm_on_a_rank(),
        "evaluated": evaluate_on_rank_0(),
        "batchnorm": synchronise_batchnorm(),
        "another": refusal_of("model", nn.Linear(3, 1 + rank)),
        "loose": refusal_of("bias", torch.zeros(3, requires_grad=True)),
    }


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    """What each of three processes has found."""
    return run_on_ranks(everything_on_a_rank, 3)


@pytest.mark.parametrize("count", [10, 1])
@pytest.mark.parametrize("how", ["backward", "plain", "count"])
def test_uneven_shares_give_the_gradients_of_the_whole_batch(ranks: list[dict[str, Any]], how: str, count: int) -> None:
    expected = whole_gradients(make_data(count))
    for found in ranks:
        for gradient, whole in zip(found[f"{how}-{count}"], expected, strict=True):
            torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), whole, rtol=1e-12, atol=1e-15)


def test_the_norm_is_that_of_the_synchronised_gradients(ranks: list[dict[str, Any]]) -> None:
    expected = math.sqrt(sum(float(gradient.square().sum()) for gradient in whole_gradients(make_data())))
    assert [found["norm"] for found in ranks] == [pytest.approx(expected, rel=1e-12)] * 3


def test_one_rank_may_evaluate_alone(ranks: list[dict[str, Any]]) -> None:
    expected = float(loss_of(make_net(), make_data().tensors).detach())
    assert [found["evaluated"] for found in ranks] == [pytest.approx(expected, rel=1e-12), 0.0, 0.0]


def test_synchronised_batchnorm_keeps_objects_and_keys(ranks: list[dict[str, Any]]) -> None:
    keys = list(nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).state_dict())
    assert [found["batchnorm"] for found in ranks] == [("SyncBatchNorm", True, keys)] * 3


def test_ranks_with_different_modules_are_refused_by_all_of_them(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["another"].startswith(
        "registering context.model: trainable weight (1, 3) torch.float32 on cpu on rank 0, "
        "trainable weight (2, 3) torch.float32 on cpu on rank 1."
    )
    for rank in (1, 2):
        assert f"trainable weight ({rank + 1}, 3) torch.float32 on cpu on rank {rank}" in ranks[rank]["another"]


def test_a_trainable_tensor_outside_of_a_module_is_refused(ranks: list[dict[str, Any]]) -> None:
    for found in ranks:
        assert found["loose"].startswith("context.bias is a trainable tensor outside of a module")
