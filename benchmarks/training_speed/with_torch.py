"""The raw loop of torch, with DDP where there are several processes."""

from __future__ import annotations

import os

import torch
from task import BATCH_SIZE, LEARNING_RATE, MODELS, make_data, make_model, say_joined, timed
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler


def main() -> None:
    torch.set_num_threads(1)
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1:
        distributed.init_process_group("gloo")
        distributed.barrier()
        say_joined(size)
    for name in MODELS:
        model, data = make_model(name), make_data(name)
        if size > 1:
            model = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        sampler: DistributedSampler[object] | None = DistributedSampler(data) if size > 1 else None
        loader = DataLoader(data, batch_size=BATCH_SIZE // size, sampler=sampler, shuffle=sampler is None)
        for inputs, labels in timed(name, loader, tells=rank == 0):
            loss = cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    if size > 1:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
