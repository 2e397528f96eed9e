"""The loop with Accelerate, as its documentation writes it."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from task import BATCH_SIZE, LEARNING_RATE, MODELS, make_data, make_model, say_joined, timed
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader


def main() -> None:
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    accelerator.wait_for_everyone()
    say_joined(accelerator.num_processes)
    for name in MODELS:
        model = make_model(name)
        optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)
        loader = DataLoader(make_data(name), batch_size=BATCH_SIZE // accelerator.num_processes, shuffle=True)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for inputs, labels in timed(name, loader, tells=accelerator.is_main_process):
            loss = cross_entropy(model(inputs), labels)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
    accelerator.end_training()


if __name__ == "__main__":
    main()
