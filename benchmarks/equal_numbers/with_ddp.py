"""The task with torch's DistributedDataParallel and DistributedSampler, as torch's tutorial writes it."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch
import torch.distributed as dist
from task import BATCH_SIZE, EPOCHS, SETTINGS, load_digits, make_model, make_optimizer
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler


def train(accumulate: int, shuffle: bool) -> dict[str, Any]:
    world_size = dist.get_world_size()
    data = load_digits(torch.float64)
    sampler = DistributedSampler(data, shuffle=shuffle)
    loader = DataLoader(data, batch_size=BATCH_SIZE // world_size, sampler=sampler)
    model = DistributedDataParallel(make_model("mlp", torch.float64, smooth=True))
    optimizer = make_optimizer("sgd", model.parameters())
    losses = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        for index, (images, labels) in enumerate(loader, 1):
            steps = index % accumulate == 0 or index == len(loader)
            with contextlib.nullcontext() if steps else model.no_sync():
                loss = cross_entropy(model(images), labels)
                (loss / accumulate).backward()
            if steps:
                optimizer.step()
                optimizer.zero_grad()
            logged = loss.detach().clone()
            dist.all_reduce(logged)
            losses.append(logged.item() / world_size)
    return {"losses": losses, "weights": list(model.module.state_dict().values())}


def main(path: str) -> None:
    dist.init_process_group("gloo")
    found = {f"{accumulate} {shuffle}": train(accumulate, shuffle) for accumulate, shuffle in SETTINGS}
    if dist.get_rank() == 0:
        torch.save(found, path)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
