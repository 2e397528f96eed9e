"""What every program of this comparison trains, and how it tells its figures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

MODELS = ("cnn", "mlp")
BATCH_SIZE = 64  # of all processes together
LEARNING_RATE = 0.01
STEPS = {"cnn": 400, "mlp": 1200}
WARM_UP = 20  # steps that do not count


def make_model(name: str) -> nn.Module:
    if name == "cnn":
        return nn.Sequential(nn.Conv2d(1, 16, 3), nn.GELU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(2304, 10))
    return nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10))


def make_data(name: str) -> torch.utils.data.TensorDataset:
    count = STEPS[name] * BATCH_SIZE
    shape = (count, 1, 16, 16) if name == "cnn" else (count, 64)
    return torch.utils.data.TensorDataset(torch.rand(shape), torch.randint(10, (count,)))


def say_joined(count: int) -> None:
    """To be called after the first collective of ``count`` processes."""
    print(f"JOINED {count}", flush=True)


def timed(name: str, batches: Iterable[Any], *, tells: bool) -> Iterator[Any]:
    """Yield the batches, and tell the steps a second at the end."""
    begun = 0.0
    count = -WARM_UP
    for batch in batches:
        if count == 0:
            begun = time.perf_counter()
        yield batch
        count += 1
    if tells:
        tell_rate(name, count, time.perf_counter() - begun)


def tell_rate(name: str, count: int, took_s: float) -> None:
    print(f"STEPS {name} {count / took_s}", flush=True)
