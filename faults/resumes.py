"""Training that is killed at a random step and gone on with: its series must be those of a training that was not."""

from __future__ import annotations

import json
import random

from faults._harness import Place, expect, last_line

# Steps of 64 samples over two epochs of 500: 8 steps each, the last one of 52.
PROGRAM = """
    import os, signal
    import torch
    from torch import nn
    import pystematic

    @pystematic.parameter(name="die_at", type=int, default=-1)
    @pystematic.parameter(name="die_on", type=int, default=0)
    @pystematic.experiment
    def train(parameters, context):
        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(1)
        inputs = torch.rand(500, 8, generator=generator, dtype=torch.float64)
        data = torch.utils.data.TensorDataset(inputs, inputs.sin().sum(1, keepdim=True))
        context.model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 1)).double()
        context.optimizer = torch.optim.Adam(context.model.parameters(), lr=0.01)
        context.scheduler = torch.optim.lr_scheduler.OneCycleLR(context.optimizer, 0.05, total_steps=24)
        context.loader = pystematic.torch.DataLoader(data, batch_size=64, shuffle=True, loading_bar=False)
        for epoch in context.epochs(3):
            for inputs, targets in context.loader:
                loss = nn.functional.mse_loss(context.model(inputs), targets)
                context.backward(loss)
                context.step(scheduler=context.scheduler)
                context.recorder.scalar("loss", loss)
                context.recorder.scalar("lr", context.optimizer.param_groups[0]["lr"])
                context.recorder.step()
                if context.recorder.count % 3 == 0:
                    context.save_checkpoint()
                if context.recorder.count == parameters["die_at"] and context.rank == parameters["die_on"]:
                    os.killpg(0, signal.SIGKILL)
            context.save_checkpoint()

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

READER = """
import json, sys, pystematic
[run] = pystematic.runs(sys.argv[1])
series = {tag: run.metrics(tag) for tag in ("loss", "lr")}
print(json.dumps({tag: [one.step.tolist(), one.value.tolist()] for tag, one in series.items()}))
"""

WAYS = ((1, 1), (2, 2), (1, 2), (2, 1), (2, 3))
STEPS = 24


def same_numbers(place: Place) -> None:
    """Kill everything of a run at ``moments`` random steps, go on with as many processes or with others."""
    chosen = random.Random(7)
    place.write("prog.py", PROGRAM)
    whole = {ranks: _train(place, f"whole-{ranks}", ranks) for ranks in (1, 2)}
    expect(whole[1]["loss"][0] == list(range(STEPS)), f"the whole run has the steps {whole[1]['loss'][0]}")
    for moment in range(place.moments):
        before, after = WAYS[moment % len(WAYS)]
        step = chosen.randrange(1, STEPS + 1)
        which = f"killed at step {step} of {before} processes, gone on with by {after}"
        name = f"killed-{moment}"
        words = ["--die-at", str(step), "--die-on", str(chosen.randrange(before)), *_among(before)]
        ended = place.run("prog.py", "train", "--output-dir", name, "--random-seed", "3", *words)
        expect(ended.code != 0, f"{which}: it was not killed")
        resumed = place.run(
            "prog.py", "train", "--output-dir", name, "--resume", "last", "--die-at", "-1", *_among(after)
        )
        expect(resumed.code == 0, f"{which}: it ended with {resumed.code}: {last_line(resumed.stderr)}")
        _compare(_read(place, name), whole[before], exact=before == after, which=which)


def _among(ranks: int) -> list[str]:
    return ["--no-distributed"] if ranks == 1 else ["--distributed", "--nproc-per-node", str(ranks)]


def _train(place: Place, name: str, ranks: int) -> dict[str, list[list[float]]]:
    ended = place.run("prog.py", "train", "--output-dir", name, "--random-seed", "3", *_among(ranks))
    expect(ended.code == 0, f"the whole run on {ranks} ended with {ended.code}: {last_line(ended.stderr)}")
    return _read(place, name)


def _read(place: Place, name: str) -> dict[str, list[list[float]]]:
    ended = place.run("-c", READER, name)
    expect(ended.code == 0, f"the series cannot be read: {last_line(ended.stderr)}")
    series: dict[str, list[list[float]]] = json.loads(ended.stdout)
    return series


def _compare(
    found: dict[str, list[list[float]]], expected: dict[str, list[list[float]]], *, exact: bool, which: str
) -> None:
    for tag, (steps, values) in expected.items():
        own_steps, own_values = found[tag]
        expect(own_steps == steps, f"{which}: {tag} has the steps {own_steps}")
        apart = max(abs(one - other) for one, other in zip(own_values, values, strict=True))
        expect(apart <= (0.0 if exact else 1e-5), f"{which}: {tag} is {apart:g} apart")
