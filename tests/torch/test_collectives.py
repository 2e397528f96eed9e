"""What two processes do together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pystematic.errors import ExperimentError
from pystematic.testing import run_on_ranks
from pystematic.torch import Context, DataLoader, get_rank

pytestmark = pytest.mark.timeout(120)


def refusal_of(call: Callable[[], Any]) -> str:
    try:
        return f"not refused: {call()!r}"
    except (ExperimentError, ValueError) as error:
        return str(error)


def data_of_rank(context: Context, count: int) -> tuple[list[list[int]], list[int]]:
    """Return each batch of ``count`` samples put together again, the last one with one sample, and what comes later."""
    trainer = context._training
    loader = DataLoader(torch.arange(count), batch_size=4, loading_bar=False)
    trainer.take("context.loader", loader, wrap=True, options={})
    batches = []
    with context.evaluating():
        for batch in loader:
            batches.append(context.gather(batch * 10).tolist())
    return batches, context.gather(torch.tensor([get_rank()])).tolist()


def use_all() -> dict[str, Any]:
    """Use every collective, as a rank."""
    context, rank = Context(), get_rank()
    store = torch.distributed.distributed_c10d._get_default_store()
    with context.main_first():
        was_first = not store.check(["done"])
        store.set("done", "")
    mean = context.mean("loss")
    mean.update(torch.tensor(float(rank)), 1 + rank)
    rest = data_of_rank(context, 5)
    transposed = torch.arange(6.0).reshape(2, 3).t() + 10 * rank
    return {
        "sum": context.all_reduce(rank + 1),
        "mean": context.all_reduce(torch.tensor([1.0, 3.0]) * rank, "mean").tolist(),
        "max": context.all_reduce(float(rank), "max"),
        "an int and a float": context.all_reduce(0.5 if rank else 1),
        "a bool and a number of NumPy": context.all_reduce(np.float32(0.5) if rank else True),
        "large ints": context.all_reduce(2**70 + rank),
        "product": context.all_reduce(rank + 2, "product"),
        "mean of ints": context.all_reduce(rank, "mean"),
        "min with NaN": str(context.all_reduce(float("nan") if rank else 1.0, "min")),
        "other shapes": refusal_of(lambda: context.all_reduce(torch.ones(2 + rank), "sum")),
        "other types": refusal_of(
            lambda: context.all_reduce(torch.ones(2).to([torch.int32, torch.float32][rank]), "sum")
        ),
        "other kinds": refusal_of(lambda: context.all_reduce(torch.ones(2) if rank else 1, "sum")),
        "other operations": refusal_of(lambda: context.all_reduce(1, ["sum", "max"][rank])),
        "other columns": refusal_of(lambda: context.gather(torch.ones(2, 3 + rank))),
        "each batch of a loader": rest[0],
        "after a loader": rest[1],
        "gather": context.gather(torch.arange(2 + rank) + 10 * rank).tolist(),
        "gather of bools": context.gather(torch.tensor([rank == 0])).tolist(),
        "gather of numbers": context.gather(torch.tensor(rank)).tolist(),
        "gather of nothing": context.gather(torch.arange(rank)).tolist(),
        "broadcast": context.broadcast({"rank": rank}, source=1),
        "broadcast of a view": context.broadcast(transposed if rank else transposed.contiguous(), source=1).tolist(),
        "broadcast to whom has nothing": context.broadcast(torch.tensor([1.5]) if rank == 0 else None).tolist(),
        "broadcast from nobody": refusal_of(lambda: context.broadcast(1, source=2)),
        "running mean": mean.compute(),
        "was first": was_first,
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
        ("an int and a float", 1.5),
        ("a bool and a number of NumPy", 1.5),
        ("large ints", 2**71 + 1),
        ("product", 6),
        ("mean of ints", 0.5),
        ("min with NaN", "nan"),
        (
            "other shapes",
            "context.all_reduce() needs the same kind from all processes, and got rank 0: a tensor (2) of torch.float32"
            " on cpu with op='sum'; rank 1: a tensor (3) of torch.float32 on cpu with op='sum'.",
        ),
        (
            "other types",
            "context.all_reduce() needs the same kind from all processes, and got rank 0: a tensor (2) of torch.int32 "
            "on cpu with op='sum'; rank 1: a tensor (2) of torch.float32 on cpu with op='sum'.",
        ),
        (
            "other kinds",
            "context.all_reduce() needs the same kind from all processes, and got rank 0: a number with op='sum'; "
            "rank 1: a tensor (2) of torch.float32 on cpu with op='sum'.",
        ),
        (
            "other operations",
            "context.all_reduce() needs the same kind from all processes, and got rank 0: a number with op='sum'; "
            "rank 1: a number with op='max'.",
        ),
        (
            "other columns",
            "context.gather() needs the same kind from all processes, and got rank 0: a tensor (N, 3) of torch.float32 "
            "on cpu; rank 1: a tensor (N, 4) of torch.float32 on cpu.",
        ),
        ("each batch of a loader", [[0, 10, 20, 30], [40]]),
        ("after a loader", [0, 1]),
        ("broadcast to whom has nothing", [1.5]),
        ("broadcast from nobody", "broadcast(source=2): there is no such rank among 2"),
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
    assert [type(rank[name]) for rank in ranks] == [type(expected)] * 2


def test_the_main_process_goes_first(ranks: list[dict[str, Any]]) -> None:
    assert [rank["was first"] for rank in ranks] == [True, False]


def test_one_process_gets_what_it_gave() -> None:
    context, tensor = Context(), torch.ones(2)
    assert context.all_reduce(3, "max") == 3
    reduced = context.all_reduce(tensor, "sum")
    assert reduced is not tensor
    assert torch.equal(reduced, tensor)
    assert torch.equal(context.gather(tensor), tensor)
    assert context.broadcast("text") == "text"
    context.barrier()
    for local in (False, True):
        with context.main_first(local=local):
            pass


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^all_reduce\(\) takes a tensor or a number, not '3', a str$"):
        Context().all_reduce("3")


def test_a_tensor_needs_an_operation() -> None:
    with pytest.raises(ValueError, match=r"^all_reduce\(\) of a tensor needs op=: sum, mean, min, max or product$"):
        Context().all_reduce(torch.ones(1))


def raise_on_rank_1() -> None:
    if get_rank() == 1:
        raise ValueError("the words of the test")


def test_what_a_rank_raises_is_shown() -> None:
    with pytest.raises(RuntimeError, match="the words of the test"):
        run_on_ranks(raise_on_rank_1, 2)
