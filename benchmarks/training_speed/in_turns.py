"""The raw loop of torch and that of pystematic in the same processes, a few steps of one after a few of the other.

So both meet the machine at the same speed, which changes by a third within a minute on shared ones.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from task import BATCH_SIZE, LEARNING_RATE, MODELS, make_data, make_model
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import pystematic
import pystematic.torch

STEPS_A_TURN = 50
TURNS = 31
WARM_UP_TURNS = 2
Loop = Callable[[], object]


class Samples(torch.utils.data.TensorDataset):
    """Asked for one sample after the other, as any data set but torch's own is."""


def make_raw_loop(name: str, data: torch.utils.data.Dataset[Any], rank: int, size: int) -> Loop:
    model = make_model(name)
    if size > 1:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    sampler: DistributedSampler[object] | None = DistributedSampler(data) if size > 1 else None
    batches = without_end(DataLoader(data, batch_size=BATCH_SIZE // size, sampler=sampler, shuffle=sampler is None))

    def loop() -> None:
        for _ in range(STEPS_A_TURN):
            inputs, labels = next(batches)
            loss = cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return loop


def make_our_loop(
    context: pystematic.torch.Context, way: str, name: str, data: torch.utils.data.Dataset[Any], *, seed_samples: bool
) -> Loop:
    model = make_model(name)
    setattr(context, f"{name}_{way}_model", model)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
    setattr(context, f"{name}_{way}_optimizer", optimizer)
    loader = pystematic.torch.DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, seed_samples=seed_samples)
    setattr(context, f"{name}_{way}_loader", loader)
    batches = without_end(loader)

    def loop() -> None:
        for _ in range(STEPS_A_TURN):
            inputs, labels = next(batches)
            loss = cross_entropy(model(inputs), labels)
            context.backward(loss)
            context.step(optimizer)
            context.recorder.scalar("loss", loss)
            context.recorder.step()

    return loop


def without_end(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def seconds_of(loop: Loop) -> float:
    begun = time.perf_counter()
    loop()
    return time.perf_counter() - begun


@pystematic.experiment
def train(parameters: Mapping[str, Any], context: pystematic.torch.Context) -> None:
    torch.set_num_threads(1)
    for name in MODELS:
        data = make_data(name)
        own_data = Samples(*data.tensors)
        loops = {
            "raw": make_raw_loop(name, data, context.rank, context.world_size),
            "pystematic": make_our_loop(context, "rows", name, data, seed_samples=False),
            "own data set": make_our_loop(context, "own", name, own_data, seed_samples=False),
            "own data set, seed_samples=True": make_our_loop(context, "seeded", name, own_data, seed_samples=True),
        }
        times: dict[str, list[float]] = {way: [] for way in loops}
        for turn in range(TURNS + WARM_UP_TURNS):
            ways = list(loops)
            for way in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                times[way].append(seconds_of(loops[way]))
        if context.is_main:
            raw = times["raw"][WARM_UP_TURNS:]
            print(f"TOOK {name}|{1000 * statistics.median(raw) / STEPS_A_TURN}", flush=True)
            for way in list(times)[1:]:
                ratios = [one / other for one, other in zip(raw, times[way][WARM_UP_TURNS:], strict=True)]
                print(f"RATIO {name}|{way}|{statistics.median(ratios)}", flush=True)


if __name__ == "__main__":
    train.cli()
