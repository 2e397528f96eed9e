"""The loop with context, loader and recorder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from task import BATCH_SIZE, LEARNING_RATE, MODELS, make_data, make_model, say_joined, timed
from torch.nn.functional import cross_entropy

import pystematic
import pystematic.torch


@pystematic.experiment
def train(parameters: Mapping[str, Any], context: pystematic.torch.Context) -> None:
    torch.set_num_threads(1)
    context.barrier()
    say_joined(context.world_size)
    for name in MODELS:
        model, data = make_model(name), make_data(name)
        setattr(context, f"{name}_model", model)
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        setattr(context, f"{name}_optimizer", optimizer)
        loader = pystematic.torch.DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, seed_samples=False)
        setattr(context, f"{name}_loader", loader)
        for inputs, labels in timed(name, loader, tells=context.is_main):
            loss = cross_entropy(model(inputs), labels)
            context.backward(loss)
            context.step(optimizer)
            context.recorder.scalar("loss", loss)
            context.recorder.step()


if __name__ == "__main__":
    train.cli()
