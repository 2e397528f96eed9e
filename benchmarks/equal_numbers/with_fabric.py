"""The task with Lightning Fabric, as its documentation writes it (``setup``, ``no_backward_sync``, ``all_reduce``)."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch
from lightning_fabric import Fabric
from task import BATCH_SIZE, EPOCHS, SEED, SETTINGS, load_digits, make_model, make_optimizer
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def train(fabric: Fabric, accumulate: int, shuffle: bool) -> dict[str, Any]:
    fabric.seed_everything(SEED)
    model = make_model("mlp", torch.float64, smooth=True)
    optimizer = make_optimizer("sgd", model.parameters())
    model, optimizer = fabric.setup(model, optimizer)
    batch_size = BATCH_SIZE // fabric.world_size
    loader = fabric.setup_dataloaders(DataLoader(load_digits(torch.float64), batch_size=batch_size, shuffle=shuffle))
    losses = []
    for _ in range(EPOCHS):
        for index, (images, labels) in enumerate(loader, 1):
            steps = index % accumulate == 0 or index == len(loader)
            with fabric.no_backward_sync(model, enabled=not steps):
                loss = cross_entropy(model(images), labels)
                fabric.backward(loss / accumulate)
            if steps:
                optimizer.step()
                optimizer.zero_grad()
            losses.append(fabric.all_reduce(loss.detach(), reduce_op="mean").item())
    return {"losses": losses, "weights": list(model.module.state_dict().values())}


def main(path: str) -> None:
    fabric = Fabric(accelerator="cpu", strategy="ddp", devices=int(os.environ["WORLD_SIZE"]), precision="64-true")
    fabric.launch()
    found = {f"{accumulate} {shuffle}": train(fabric, accumulate, shuffle) for accumulate, shuffle in SETTINGS}
    if fabric.is_global_zero:
        torch.save(found, path)


if __name__ == "__main__":
    main(sys.argv[1])
