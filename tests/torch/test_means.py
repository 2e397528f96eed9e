"""Running means: what counts in them, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

from pystematic.torch import DataLoader
from pystematic.torch import _data as data_module
from pystematic.torch._means import RunningMean
from pystematic.torch._share import Share
from pystematic.torch._trainer import Windows


def of_rank(rank: int, world_size: int, batch_size: int = 4) -> tuple[DataLoader, Share, RunningMean]:
    """Make what process ``rank`` has of a loader of five samples with two numbers each, and a mean."""
    share = Share(world_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_module, "get_rank", lambda: rank)
        patch.setattr(data_module, "get_num_processes", lambda: world_size)
        data = TensorDataset(torch.arange(10.0).reshape(5, 2))
        loader = DataLoader(data, batch_size=batch_size, loading_bar=False)
    loader.join(share, "context.loader", bool)
    return loader, share, RunningMean(leaves_out=share.leaves_out, tag="loss")


def merged(means: list[RunningMean]) -> tuple[float, float]:
    """Return the mean over all processes, and over how much it is one."""
    states = [mean.state_dict() for mean in means]
    count = sum(state["count"] for state in states)
    return sum(state["sum"] for state in states) / count, count


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_sample_that_another_process_has_counts_nowhere_whatever_is_counted(world_size: int) -> None:
    means = []
    for rank in range(world_size):
        loader, _, mean = of_rank(rank, world_size)
        for (x,) in loader:
            mean.update(x.mean(), x.numel())
        means.append(mean)
    assert merged(means) == (4.5, 10)


@pytest.mark.parametrize("counted", ["in the window", "behind it"])
def test_a_window_whose_last_micro_batch_is_short_counts(counted: str) -> None:
    means = []
    for rank in range(2):
        loader, share, mean = of_rank(rank, 2)
        for window in Windows(loader, 2, share):
            total = 0.0
            for (x,) in window:
                if counted == "in the window":
                    mean.update(x.mean(), x.numel())
                elif not share.repeated:
                    total += x.numel()
            if counted == "behind it":
                mean.update(1.0, total)
        means.append(mean)
    assert merged(means) == (4.5 if counted == "in the window" else 1.0, 10)


def test_a_loss_of_the_last_micro_batch_counts_nowhere_behind_its_window_either() -> None:
    loader, share, mean = of_rank(0, 2)
    for window in Windows(loader, 2, share):
        for (x,) in window:
            loss = x.mean()
        mean.update(loss, len(x))
    assert mean.state_dict()["count"] == 0


def test_what_is_counted_behind_the_loop_counts() -> None:
    loader, _, mean = of_rank(0, 2)
    list(loader)
    mean.update(1.0, 7)
    assert mean.state_dict() == {"sum": 7.0, "count": 7.0}


def restored() -> RunningMean:
    mean = RunningMean()
    mean.load_state_dict({"sum": 6.0, "count": 2.0})
    mean.hold()
    return mean


def test_a_reset_at_the_top_of_an_epoch_that_goes_on_is_none() -> None:
    mean = restored()
    mean.reset()
    assert math.isnan(mean.compute())
    mean.go_on()
    mean.update(6.0)
    assert mean.compute() == 4.0
    mean.reset()
    mean.update(1.0)
    assert mean.compute() == 1.0


def test_a_mean_of_something_before_the_loop_is_reset() -> None:
    mean = restored()
    mean.reset()
    mean.update(1.0)
    mean.go_on()
    assert mean.compute() == 1.0


@pytest.mark.parametrize(
    ("value", "n", "message"),
    [
        (torch.ones(2), 2, "value has the shape (2,); expected one number"),
        (torch.ones(0), 2, "value has the shape (0,); expected one number"),
        (np.ones((2, 1)), 2, "value has the shape (2, 1); expected one number"),
        (1.0, torch.ones(2), "n has the shape (2,); expected one number"),
        (1.0, -1, "n=-1; expected the number of samples, from 0"),
        (1.0, math.nan, "n=nan; expected the number of samples, from 0"),
        (1.0, math.inf, "n=inf; expected the number of samples, from 0"),
    ],
)
def test_what_makes_no_mean_is_refused(value: Any, n: Any, message: str) -> None:
    mean = RunningMean(tag="loss")
    with pytest.raises(ValueError, match="context") as caught:
        mean.update(value, n)
    assert str(caught.value) == f"context.mean('loss'): {message}"
    assert mean.state_dict() == {"sum": 0.0, "count": 0.0}


def test_a_number_may_be_one_of_numpy_or_torch() -> None:
    mean = RunningMean()
    mean.update(torch.ones(1), torch.tensor(3))
    mean.update(np.float32(5.0), np.int64(1))
    assert mean.compute() == 2.0
