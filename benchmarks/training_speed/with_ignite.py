"""The loop with Ignite, as its documentation writes it; it starts its own processes."""

from __future__ import annotations

import sys
import time
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from task import BATCH_SIZE, LEARNING_RATE, MODELS, WARM_UP, make_data, make_model, say_joined, tell_rate
from torch.nn.functional import cross_entropy


def train(local_rank: int) -> None:
    torch.set_num_threads(1)
    idist.barrier()
    say_joined(idist.get_world_size())
    for name in MODELS:
        model = idist.auto_model(make_model(name))
        optimizer = idist.auto_optim(torch.optim.SGD(model.parameters(), lr=LEARNING_RATE))
        # The batch size is that of all processes.
        loader = idist.auto_dataloader(make_data(name), batch_size=BATCH_SIZE, shuffle=True)

        def step(engine: Engine, batch: Any, model: Any = model, optimizer: Any = optimizer) -> float:
            loss = cross_entropy(model(batch[0]), batch[1])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()

        begun = 0.0
        trainer = Engine(step)

        @trainer.on(Events.ITERATION_COMPLETED(once=WARM_UP))
        def begin() -> None:
            nonlocal begun
            begun = time.perf_counter()

        trainer.run(loader, max_epochs=1)
        if idist.get_rank() == 0:
            tell_rate(name, len(loader) - WARM_UP, time.perf_counter() - begun)


def main(count: int) -> None:
    with idist.Parallel(backend="gloo", nproc_per_node=count) if count > 1 else idist.Parallel() as parallel:
        parallel.run(train)


if __name__ == "__main__":
    main(int(sys.argv[1]))
