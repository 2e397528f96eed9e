"""The task with Accelerate, as its documentation writes it (``prepare``, ``accumulate``, ``gather``)."""

from __future__ import annotations

import sys
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from task import BATCH_SIZE, EPOCHS, SEED, SETTINGS, load_digits, make_model, make_optimizer
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def train(accelerator: Accelerator, accumulate: int, shuffle: bool) -> dict[str, Any]:
    accelerator.gradient_accumulation_steps = accumulate
    set_seed(SEED)
    model = make_model("mlp", torch.float64, smooth=True)
    optimizer = make_optimizer("sgd", model.parameters())
    batch_size = BATCH_SIZE // accelerator.num_processes
    loader = DataLoader(load_digits(torch.float64), batch_size=batch_size, shuffle=shuffle)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    losses = []
    for _ in range(EPOCHS):
        for images, labels in loader:
            with accelerator.accumulate(model):
                loss = cross_entropy(model(images), labels)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(accelerator.gather(loss.detach()).mean().item())
    return {"losses": losses, "weights": list(accelerator.unwrap_model(model).state_dict().values())}


def main(path: str) -> None:
    accelerator = Accelerator(cpu=True)
    found = {f"{accumulate} {shuffle}": train(accelerator, accumulate, shuffle) for accumulate, shuffle in SETTINGS}
    if accelerator.is_main_process:
        torch.save(found, path)
    accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1])
