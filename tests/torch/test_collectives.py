"""What two processes do together."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pystematic.testing import run_on_ranks
from pystematic.torch import Context, get_rank

pytestmark = pytest.mark.timeout(120)


def use_all() -> dict[str, Any]:
    """Use every collective, as a rank."""
    context, rank = Context(), get_rank()
    order: list[str] = []
    with context.main_first():
        order.append(f"rank {rank}")
    mean = context.mean("loss")
    mean.update(torch.tensor(float(rank)), 1 + rank)
    transposed = torch.arange(6.0).reshape(2, 3).t() + 10 * rank
    return {
        "sum": context.all_reduce(rank + 1),
        "mean": context.all_reduce(torch.tensor([1.0, 3.0]) * rank, "mean").tolist(),
        "max": context.all_reduce(float(rank), "max"),
        "gather": context.gather(torch.arange(2 + rank) + 10 * rank).tolist(),
        "gather of bools": context.gather(torch.tensor([rank == 0])).tolist(),
        "gather of numbers": context.gather(torch.tensor(rank)).tolist(),
        "gather of nothing": context.gather(torch.arange(rank)).tolist(),
        "broadcast": context.broadcast({"rank": rank}, source=1),
        "broadcast of a view": context.broadcast(transposed if rank else transposed.contiguous(), source=1).tolist(),
        "running mean": mean.compute(),
        "order": order,
    }


@pytest.fixture(scope="module")
def ranks() -> list[dict[str, Any]]:
    """What each of two processes got."""
    return run_on_ranks(use_all, 2)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sum", 3),
        ("mean", [0.5, 1.5]),
        ("max", 1.0),
        ("gather", [0, 1, 10, 11, 12]),
        ("gather of bools", [True, False]),
        ("gather of numbers", [0, 1]),
        ("gather of nothing", [0]),
        ("broadcast", {"rank": 1}),
        ("broadcast of a view", [[10.0, 13.0], [11.0, 14.0], [12.0, 15.0]]),
        ("running mean", 2 / 3),
    ],
)
def test_all_processes_get_the_same(ranks: list[dict[str, Any]], name: str, expected: object) -> None:
    assert [rank[name] for rank in ranks] == [expected, expected]


def test_a_tensor_needs_an_operation() -> None:
    with pytest.raises(ValueError, match=r"^all_reduce\(\) of a tensor needs op=: sum, mean, min, max or product$"):
        Context().all_reduce(torch.ones(1))


def raise_on_rank_1() -> None:
    if get_rank() == 1:
        raise ValueError("the words of the test")


def test_what_a_rank_raises_is_shown() -> None:
    with pytest.raises(RuntimeError, match="the words of the test"):
        run_on_ranks(raise_on_rank_1, 2)
