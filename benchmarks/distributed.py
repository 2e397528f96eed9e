"""What training costs beside the raw loop of torch: launch, steps per second, and checkpoints.

`python benchmarks/distributed.py [launch] [steps] [checkpoint]`; each figure is the median of several, in ratio to what
torch needs for the same on this machine. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TARGETS = {
    "launch, forked": 0.5,
    "launch, fresh": 1.0,
    "steps, cnn": 0.98,
    "steps, mlp": 0.90,
    "checkpoint, loop blocked first": 0.6,
    "checkpoint, loop blocked later": 0.35,
    "checkpoint, safe on disk": 3.0,
}
PARTS = ("launch", "steps", "checkpoint")

LAUNCHED = """
import sys, time, torch
{busy}
import pystematic

@pystematic.experiment
def train(parameters, context):
    context.barrier()
    print("JOINED", flush=True)

if __name__ == "__main__":
    train.cli()
"""
TORCHRUN = """
import torch, torch.distributed as dist
dist.init_process_group("gloo")
dist.barrier()
print("JOINED", flush=True)
dist.destroy_process_group()
"""


def seconds_to_join(command: list[str], folder: Path) -> float:
    """Return how long it takes until the first process is through its first collective."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    took = next((time.perf_counter() - begun for line in process.stdout if "JOINED" in line), None)
    process.communicate()
    if took is None:
        raise SystemExit(f"{' '.join(command)} did not join")
    return took


def measure_launch(folder: Path) -> dict[str, float]:
    busy = "torch.rand(400, 400) @ torch.rand(400, 400)  # leaves threads, which forbids a fork"
    (folder / "forked.py").write_text(LAUNCHED.format(busy=""))
    (folder / "fresh.py").write_text(LAUNCHED.format(busy=busy))
    (folder / "torchrun.py").write_text(TORCHRUN)
    ranks = ["--distributed", "--nproc-per-node", "2"]
    commands = {
        "torchrun": [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "torchrun.py",
        ],
        "launch, forked": [sys.executable, "forked.py", *ranks],
        "launch, fresh": [sys.executable, "fresh.py", *ranks],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(3):  # in turns: what else the machine does meets all of them
        for name, command in commands.items():
            times[name].append(seconds_to_join(command, folder))
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {name: medians[name] / medians["torchrun"] for name in commands if name != "torchrun"}


def measure_steps(folder: Path) -> dict[str, float]:
    import torch
    from torch import nn

    import pystematic

    torch.set_num_threads(1)

    def make(name: str) -> tuple[nn.Module, torch.utils.data.TensorDataset]:
        if name == "cnn":
            model = nn.Sequential(
                nn.Conv2d(1, 16, 3), nn.GELU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(2304, 10)
            )
            return model, torch.utils.data.TensorDataset(torch.rand(6400, 1, 16, 16), torch.randint(10, (6400,)))
        model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10))
        return model, torch.utils.data.TensorDataset(torch.rand(19200, 64), torch.randint(10, (19200,)))

    def raw(name: str) -> float:
        model, data = make(name)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
        begun = time.perf_counter()
        for inputs, labels in loader:
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return len(loader) / (time.perf_counter() - begun)

    @pystematic.parameter(name="model", type=str, default="cnn")
    @pystematic.experiment(name="steps")
    def ours(parameters: object, context: object) -> float:
        model, data = make(parameters["model"])  # type: ignore[index]
        context.model = model  # type: ignore[attr-defined]
        context.optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # type: ignore[attr-defined]
        loader = pystematic.torch.DataLoader(data, batch_size=64, shuffle=True, seed_samples=False)
        context.loader = loader  # type: ignore[attr-defined]
        begun = time.perf_counter()
        for inputs, labels in loader:
            loss = nn.functional.cross_entropy(context.model(inputs), labels)  # type: ignore[attr-defined]
            context.backward(loss)  # type: ignore[attr-defined]
            context.step()  # type: ignore[attr-defined]
            context.recorder.scalar("loss", loss)  # type: ignore[attr-defined]
            context.recorder.step()  # type: ignore[attr-defined]
        return len(loader) / (time.perf_counter() - begun)

    found = {}
    for name in ("cnn", "mlp"):
        ratios = []
        for _ in range(3):
            theirs = raw(name)
            run = ours.run({"model": name, "output_dir": str(folder), "device": "cpu", "capture": "off"})
            ratios.append(float(run.result) / theirs)
        found[f"steps, {name}"] = statistics.median(ratios)
    return found


def measure_checkpoint(folder: Path) -> dict[str, float]:
    import torch

    from pystematic import rundir
    from pystematic.torch._saver import Saver

    state = {"pystematic": 1, "state": {f"weight {i}": torch.rand(5_000_000) for i in range(20)}}  # 400 MB

    def seconds(call: Callable[[], object]) -> float:
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun

    def plain(index: int) -> None:
        with open(folder / f"plain-{index}.pt", "wb") as file:
            torch.save(state, file)

    theirs = statistics.median(seconds(lambda index=index: plain(index)) for index in range(3))  # type: ignore[misc]
    saver = Saver(rundir.RunDir(folder), keep_last=2, keep_best=0, metric=None, warn=print)
    blocked, safe = [], []
    for index in range(4):
        begun = time.perf_counter()
        saver.save(state, {"id": str(index), "step": index, "metric_value": None})
        blocked.append(time.perf_counter() - begun)
        saver.wait()
        safe.append(time.perf_counter() - begun)
    return {
        "checkpoint, loop blocked first": blocked[0] / theirs,
        "checkpoint, loop blocked later": statistics.median(blocked[1:]) / theirs,
        "checkpoint, safe on disk": statistics.median(safe) / theirs,
    }


def main() -> int:
    parts = sys.argv[1:] or PARTS
    missed = 0
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            os.sync()  # what others have left to write is not ours to pay
            for name, ratio in globals()[f"measure_{part}"](Path(folder)).items():
                target = TARGETS[name]
                is_met = ratio >= target if name.startswith("steps") else ratio <= target
                missed += not is_met
                print(f"{name:32}{ratio:8.2f}   target {target:.2f}   {'ok' if is_met else 'MISSED'}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
