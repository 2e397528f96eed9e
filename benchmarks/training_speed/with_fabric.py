"""The loop with Lightning Fabric, as its documentation writes it; it starts its own processes."""

from __future__ import annotations

import sys

import torch
from lightning_fabric import Fabric
from task import BATCH_SIZE, LEARNING_RATE, MODELS, make_data, make_model, say_joined, timed
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def main(count: int) -> None:
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=count, strategy="ddp" if count > 1 else "auto")
    fabric.launch()
    fabric.barrier()
    say_joined(fabric.world_size)
    for name in MODELS:
        model = make_model(name)
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        model, optimizer = fabric.setup(model, optimizer)
        loader = fabric.setup_dataloaders(DataLoader(make_data(name), batch_size=BATCH_SIZE // count, shuffle=True))
        for inputs, labels in timed(name, loader, tells=fabric.is_global_zero):
            loss = cross_entropy(model(inputs), labels)
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    main(int(sys.argv[1]))
