"""The context where two processes work together: what is refused, samplers, the explicit form of replication."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Sampler, TensorDataset

from pystematic.errors import ExperimentError
from pystematic.testing import run_on_ranks
from pystematic.torch import Context, DataLoader, get_rank
from pystematic.torch import _placement as placement

pytestmark = pytest.mark.timeout(180)


class OfRank(Sampler[int]):
    """A sampler that gives each process the indices of its own, as DistributedSampler does."""

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[int]:
        return iter(range(get_rank(), 8, 2))


class Drawing(Sampler[int]):
    """A sampler that draws from the global generator, which the processes have left in different states."""

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(8).tolist())


def refusal_of(call: Callable[[], Any]) -> str:
    try:
        return f"not refused: {call()!r}"
    except ExperimentError as error:
        return str(error)


def batches_of(sampler: Sampler[int], name: str) -> list[list[int]]:
    context = Context()
    loader = DataLoader(torch.arange(8), batch_size=4, sampler=sampler, random_seed=1, loading_bar=False)
    setattr(context, name, loader)
    context.ddp()
    return [context.gather(batch).tolist() for batch in loader]


def sampler_of_each_rank() -> str:
    """Have rank 0 ask its sampler first, so that rank 1 sees what it got; rank 0 goes on alone."""
    context = Context()
    context.uneven = DataLoader(torch.arange(8), batch_size=4, sampler=OfRank(), loading_bar=False)
    context.ddp()
    with context.main_first():
        return refusal_of(lambda: [len(batch) for batch in context.uneven])


def weights_after_a_step() -> list[float]:
    """Train one step on a batch of three samples, of which rank 1 has two."""
    context = Context()
    context.model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(context.model.weight, float(get_rank() == 0))  # replication begins with those of rank 0
    context.optimizer = torch.optim.SGD(context.model.parameters(), lr=1.0)
    data = TensorDataset(torch.tensor([[1.0], [2.0], [6.0]]))
    context.loader = DataLoader(data, batch_size=3, loading_bar=False)
    assert context.ddp() is context
    for (x,) in context.loader:
        context.backward(context.model(x).mean())
        context.step()
    return [float(weight) for weight in context.model.weight.flatten()]


def train_by_forward() -> None:
    context = Context()
    context.model = nn.Linear(2, 1)
    context.ddp()
    context.model.forward(torch.ones(3, 2)).sum().backward()


def everything_on_a_rank() -> dict[str, Any]:
    """Do all that two processes are needed for: starting them is what takes long."""
    torch.manual_seed(get_rank())
    elsewhere = nn.Linear(1, 1, device="meta")
    return {
        "drawn": batches_of(Drawing(), "drawn"),
        "uneven": sampler_of_each_rank(),
        "weights": weights_after_a_step(),
        "forward": refusal_of(train_by_forward),
        "device": refusal_of(lambda: placement.check_device("model", {"a": elsewhere}, torch.device("cpu"))),
    }


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    """What each of two processes has found."""
    return run_on_ranks(everything_on_a_rank, 2)


def test_a_sampler_that_draws_gives_all_processes_one_sequence(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["drawn"] == ranks[1]["drawn"]
    assert sorted(index for batch in ranks[0]["drawn"] for index in batch) == list(range(8))


def test_a_sampler_with_a_sequence_for_each_process_is_refused(ranks: list[dict[str, Any]]) -> None:
    assert ranks[1]["uneven"].startswith(
        "context.uneven: its sampler gives other indices on rank 1 than on rank 0. Each process gets its part of one"
    )


def test_ddp_makes_a_context_of_ones_own_weigh_and_synchronise(ranks: list[dict[str, Any]]) -> None:
    assert [rank["weights"] for rank in ranks] == [[-2.0], [-2.0]]  # 1 minus the mean of 1, 2 and 6


def test_a_module_that_is_trained_without_being_called_is_refused(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert rank["forward"].startswith("a gradient has come to a Linear of the context that was never called: ")


def test_a_parameter_on_the_wrong_device_is_refused(ranks: list[dict[str, Any]]) -> None:
    assert [rank["device"] for rank in ranks] == [
        "context.model.a.weight is on meta, and this process computes on cpu. Register the module with place=True, or "
        "with wrap=False if it is not to be replicated."
    ] * 2
