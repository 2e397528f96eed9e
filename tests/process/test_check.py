"""``check-distributed`` with real programs: one that is right, some that are wrong from a step on, one that fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.builders import run_python, write_program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="distributed runs are complete on Linux only"),
    pytest.mark.timeout(300),
]

PROGRAM = """
    import torch
    from torch import nn
    import pystematic

    @pystematic.parameter(name="how", type=str, default="right")
    @pystematic.experiment
    def train(parameters, context):
        how = parameters["how"]
        if how == "fail":
            raise ValueError("no such data")
        inputs = torch.rand(30, 4, generator=torch.Generator().manual_seed(1))
        data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
        norm = nn.BatchNorm1d(8) if how == "batchnorm" else nn.Identity()
        context.model = nn.Sequential(nn.Linear(4, 8), norm, nn.GELU(), nn.Linear(8, 1))
        context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.05)
        context.loader = pystematic.torch.DataLoader(data, batch_size=8, shuffle=True)
        step = 0
        for epoch in context.epochs(3):
            for a, b in context.loader:
                loss = nn.functional.mse_loss(context.model(a), b)
                if how == "rate" and step == 3:
                    context.optimizer.param_groups[0]["lr"] = 0.05 * (1 + context.rank)
                if how == "noise" and step == 2:
                    loss = loss * (1 + context.rank)
                context.backward(loss)
                context.step()
                context.recorder.scalar("train/loss", loss)
                context.recorder.step()
                step += 1

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def check(folder: Path, how: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = write_program(folder, PROGRAM)
    command: tuple[str | Path, ...] = (
        "-m",
        "pystematic",
        "check-distributed",
        program,
        "train",
        "--steps",
        "5",
        *options,
        "--",
        "--how",
        how,
    )
    return run_python(*command, cwd=folder, timeout_s=280)


def test_a_program_that_is_right_is_the_same_in_both_types(tmp_path: Path) -> None:
    done = check(tmp_path, "right", "--processes", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{dtype}: 5 steps are the same in 1 and 3 processes, to {allowed}: losses, gradients, weights, and what was "
        "recorded."
        for dtype, allowed in (("float64", "1e-09"), ("float32", "0.0001"))
    ]


@pytest.mark.parametrize(
    ("how", "found", "reason"),
    [
        ("rate", "step 3 (the first one is 0) differs: the learning rate is 0.05 in 1 process", "depends on the rank"),
        ("noise", "step 2 (the first one is 0) differs: the loss is", "the data or the forward pass differ"),
        ("batchnorm", "step 0 (the first one is 0) differs: the loss is", "(--sync-batchnorm: over all)"),
    ],
)
def test_the_step_from_which_a_program_differs_is_named(tmp_path: Path, how: str, found: str, reason: str) -> None:
    done = check(tmp_path, how)
    assert done.returncode == 1, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"float64: {found}")
    assert reason in second


def test_a_program_that_fails_is_a_usage_error_with_its_words(tmp_path: Path) -> None:
    done = check(tmp_path, "fail")
    assert done.returncode == 2
    assert "the program failed in 1 process(es), with float64:" in done.stderr
    assert "ValueError: no such data" in done.stderr
