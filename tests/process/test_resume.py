"""Runs that are killed and gone on with give the series of runs that were not, with real processes."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.builders import run_python, write_program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="distributed runs are complete on Linux only"),
    pytest.mark.timeout(180),
]

PROGRAM = """
    import pystematic, os, signal, sys, random, torch
    from torch import nn
    @pystematic.parameter(name="die", type=int, default=-1)
    @pystematic.parameter(name="how", type=str, default="epochs")
    @pystematic.experiment(metric="train/loss:min")
    def main(parameters, context):
        g = torch.Generator().manual_seed(1)
        data = torch.utils.data.TensorDataset(torch.rand(50, 4, generator=g), torch.rand(50, 1, generator=g))
        context.model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 1))
        context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.05, momentum=0.9)
        context.scheduler = torch.optim.lr_scheduler.OneCycleLR(context.optimizer, 0.1, total_steps=40)
        context.loader = pystematic.torch.DataLoader(data, batch_size=8, shuffle=True, seed_samples=False)
        mean = context.mean("loss")
        step = 0
        def die():
            if context.recorder.count == parameters["die"]:
                context._saving.wait(); context.recorder.flush(); os.kill(os.getpid(), signal.SIGKILL)
        def go():
            if parameters["how"] == "windows":
                for window in context.windows(context.loader, 2):
                    for x, y in window:
                        loss = ((context.model(x) - y) ** 2).mean(); context.backward(loss)
                        if context.recorder.count % 2: context.save_checkpoint()
                    context.step(context.optimizer, scheduler=context.scheduler)
                    context.recorder.scalar("train/loss", loss); mean.update(loss, len(y))
                    context.recorder.step(); die()
            else:
                for x, y in context.loader:
                    loss = ((context.model(x) - y) ** 2).mean(); context.backward(loss)
                    context.step(context.optimizer, clip=1.0, scheduler=context.scheduler)
                    context.recorder.scalar("train/loss", loss); mean.update(loss, len(y))
                    context.recorder.scalar("epoch", context.epoch)
                    context.recorder.scalar("batch", context.loader.batch_index)
                    context.recorder.scalar("lr", context.optimizer.param_groups[0]["lr"]); context.recorder.step()
                    if context.recorder.count % 3 == 0: context.save_checkpoint("same")
                    die()
        if parameters["how"] == "while":
            context.epoch = 0
            while context.epoch < 4:
                go(); context.save_checkpoint(); context.epoch += 1
        else:
            for epoch in context.epochs(4):
                assert context.epoch == epoch
                go(); context.recorder.scalar("mean", mean.compute()); mean.reset(); context.save_checkpoint()
        if context.is_main: print("END", context.recorder.count)
    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

WITHOUT_TORCH = """
    import pystematic, os, signal, sys, random
    @pystematic.parameter(name="die", type=int, default=-1)
    @pystematic.experiment(metric="score:max")
    def main(parameters, context):
        import numpy as np
        context.counters = {"seen": 0, "names": ["a"], "where": {1, 2}}
        context.array = np.zeros(3)
        context.odd = object()
        for epoch in context.epochs(6):
            context.counters["seen"] += 1
            context.array = context.array + epoch
            context.recorder.scalar("score", random.random())
            context.recorder.scalar("seen", context.counters["seen"])
            context.recorder.step()
            context.save_checkpoint()
            if epoch == parameters["die"]:
                context._saving.wait()
                context.recorder.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        assert "torch" not in sys.modules
        print("END", context.counters, context.array)
    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)


def series(output_dir: Path) -> list[tuple[str, int, float]]:
    (path,) = output_dir.glob("main/*/metrics.jsonl")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    records = [record for record in records if not record["tag"].startswith("system/")]  # of a slow machine
    return sorted((record["tag"], record["step"], record["value"]) for record in records)


def run_to_its_end(folder: Path, program: Path, *args: str, ranks: int = 1) -> list[tuple[str, int, float]]:
    return series_of(folder, "whole", program, *args, ranks=ranks)


def series_of(
    folder: Path, name: str, program: Path, *args: str, ranks: int = 1, code: int = 0
) -> list[tuple[str, int, float]]:
    among = [] if ranks == 1 else ["--distributed", "--nproc-per-node", str(ranks)]
    done = run_python(program, "main", *args, *among, "--output-dir", name, cwd=folder, env={"OMP_NUM_THREADS": "1"})
    assert done.returncode in ((0,) if code == 0 else (*KILLED, 1)), done.stderr
    return series(folder / name)


@pytest.mark.parametrize(("how", "die"), [("epochs", "5"), ("windows", "5"), ("while", "10")])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, how: str, die: str) -> None:
    program = write_program(tmp_path, PROGRAM)
    whole = run_to_its_end(tmp_path, program, "--random-seed", "3", "--how", how)
    series_of(tmp_path, "killed", program, "--random-seed", "3", "--how", how, "--die", die, code=1)
    assert series_of(tmp_path, "killed", program, "--resume", "last", "--die", "-1") == whole


def test_processes_that_are_killed_go_on_bit_for_bit(tmp_path: Path) -> None:
    program = write_program(tmp_path, PROGRAM)
    whole = run_to_its_end(tmp_path, program, "--random-seed", "3", ranks=2)
    series_of(tmp_path, "killed", program, "--random-seed", "3", "--die", "10", ranks=2, code=1)
    assert series_of(tmp_path, "killed", program, "--resume", "last", "--die", "-1", ranks=2) == whole


def test_another_number_of_processes_goes_on_at_the_same_step(tmp_path: Path) -> None:
    program = write_program(tmp_path, PROGRAM)
    whole = run_to_its_end(tmp_path, program, "--random-seed", "3")
    series_of(tmp_path, "killed", program, "--random-seed", "3", "--die", "10", ranks=2, code=1)
    resumed = series_of(tmp_path, "killed", program, "--resume", "last", "--die", "-1")
    assert [(tag, step) for tag, step, _ in resumed] == [(tag, step) for tag, step, _ in whole]


def test_a_run_without_torch_is_gone_on_with(tmp_path: Path) -> None:
    program = write_program(tmp_path, WITHOUT_TORCH)
    whole = run_to_its_end(tmp_path, program, "--random-seed", "3")
    series_of(tmp_path, "killed", program, "--random-seed", "3", "--die", "2", code=1)
    assert series_of(tmp_path, "killed", program, "--resume", "last", "--die", "-1") == whole
