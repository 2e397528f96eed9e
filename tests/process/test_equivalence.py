"""One process and several give the same numbers, with real processes: short batches, windows, chained modules."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import pystematic
from tests.builders import run_python, write_program

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="distributed runs are complete on Linux only"),
    pytest.mark.timeout(180),
]

PROGRAM = """
    import json
    import torch
    from torch import nn
    import pystematic

    COUNT = 150  # the last of the batches of 64 has 22 samples

    def make_data(dtype):
        generator = torch.Generator().manual_seed(3)
        images = torch.rand(COUNT, 1, 8, 8, generator=generator, dtype=torch.float64)
        labels = (images.sum((1, 2, 3)) * 3).long() % 10
        return torch.utils.data.TensorDataset(images.to(dtype), labels)

    def make_mlp():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))

    def make_cnn():
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(72, 10))

    def train(context, name, model, optimizer, dtype, accumulate=1, parts=False):
        torch.manual_seed(7)
        model = model().to(dtype)
        setattr(context, f"loader_{name}", pystematic.torch.DataLoader(
            make_data(dtype), batch_size=16 if accumulate > 1 else 64, shuffle=True, random_seed=5, loading_bar=False))
        loader = getattr(context, f"loader_{name}")
        if parts:  # a module behind another, one of them inside a third
            context.first, context.inner = model[:2], model[-1]
            context.last = model[2:]
            compute = lambda images: context.last(context.first(images))
        else:
            setattr(context, f"model_{name}", model)
            compute = model
        context.optimizer = optimizer(model.parameters())
        losses = []
        for epoch in range(2):
            for window in context.windows(loader, accumulate):
                total = count = 0.0
                for images, labels in window:
                    loss = nn.functional.cross_entropy(compute(images), labels)
                    context.backward(loss)
                    weight = 0 if context._training.share.repeated else len(labels)
                    total, count = total + loss.item() * weight, count + weight
                context.step(context.optimizer, clip=1.0)
                losses.append(context.all_reduce(total) / context.all_reduce(count))
        return {"losses": losses, "weights": [p.detach().double().flatten().tolist() for p in model.parameters()]}

    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)

    def adam(parameters):
        return torch.optim.Adam(parameters, lr=1e-3)

    @pystematic.experiment
    def main(parameters, context):
        f64, f32 = torch.float64, torch.float32
        found = {
            "f64-mlp-sgd": train(context, "a", make_mlp, sgd, f64),
            "f64-mlp-adam": train(context, "b", make_mlp, adam, f64),
            "f64-cnn-adam": train(context, "c", make_cnn, adam, f64),
            "f64-cnn-sgd-accumulated": train(context, "d", make_cnn, sgd, f64, accumulate=4),
            "f64-mlp-parts": train(context, "e", make_mlp, sgd, f64, parts=True),
            "f32-cnn-sgd": train(context, "f", make_cnn, sgd, f32),
        }
        if context.is_main:
            with open(f"found-{context.world_size}.json", "w") as file:
                json.dump(found, file)

    if __name__ == "__main__":
        main.cli()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """What each number of processes has computed."""
    folder = tmp_path_factory.mktemp("equivalence")
    program = write_program(folder, PROGRAM)
    results = {}
    for count in (1, 2, 3, 4):
        ranks = [] if count == 1 else ["--distributed", "--nproc-per-node", str(count)]
        done = run_python(program, "--random-seed", "1", *ranks, cwd=folder, timeout_s=120)
        assert done.returncode == 0, done.stderr
        results[count] = json.loads(Path(folder / f"found-{count}.json").read_text())
    return results


def largest_difference(one: Any, other: Any) -> float:
    if isinstance(one, list):
        return max(largest_difference(a, b) for a, b in zip(one, other, strict=True))
    return abs(float(one) - float(other))


CASES = ["mlp-sgd", "mlp-adam", "cnn-adam", "cnn-sgd-accumulated", "mlp-parts"]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("name", CASES)
def test_loss_and_weights_are_those_of_one_process_in_float64(found: dict[int, Any], name: str, count: int) -> None:
    alone, together = found[1][f"f64-{name}"], found[count][f"f64-{name}"]
    assert largest_difference(alone["losses"], together["losses"]) < 1e-9
    assert largest_difference(alone["weights"], together["weights"]) < 1e-9


@pytest.mark.parametrize("count", [2, 3, 4])
def test_loss_and_weights_are_those_of_one_process_in_float32(found: dict[int, Any], count: int) -> None:
    alone, together = found[1]["f32-cnn-sgd"], found[count]["f32-cnn-sgd"]
    assert largest_difference(alone["losses"], together["losses"]) < 1e-5
    assert largest_difference(alone["weights"], together["weights"]) < 1e-5


def test_the_model_is_trained_in_as_many_steps_as_there_are_batches(found: dict[int, Any]) -> None:
    for name in CASES:
        losses = found[1][f"f64-{name}"]["losses"]
        assert len(losses) == 6  # of two epochs of 64, 64 and 22 samples
        assert losses[-1] != losses[0]


PRECISE = """
    import json
    import torch
    from torch import nn
    import pystematic

    @pystematic.experiment
    def main(parameters, context):
        generator = torch.Generator().manual_seed(3)
        inputs = torch.rand(150, 16, generator=generator)
        data = torch.utils.data.TensorDataset(inputs, inputs[:, :5].argmax(1))
        context.model = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 5))
        context.optimizer = torch.optim.SGD(context.model.parameters(), lr=0.5)
        context.loader = pystematic.torch.DataLoader(data, batch_size=64, shuffle=True, random_seed=5)
        losses = []
        for epoch in context.epochs(8):
            for images, labels in context.loader:
                loss = nn.functional.cross_entropy(context.model(images), labels)
                context.backward(loss)
                context.step(clip=1.0)
                context.recorder.scalar("loss", loss)
                context.recorder.step()
        weights = torch.cat([p.detach().flatten() for p in context.model.parameters()])
        of_ranks = context.gather(weights[None])
        if context.is_main:
            with open("found.json", "w") as file:
                json.dump({"equal": bool((of_ranks == of_ranks[0]).all()), "type": str(weights.dtype)}, file)

    if __name__ == "__main__":
        main.cli()
"""


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_processes_train_in_half_precision_as_one_does(tmp_path: Path, precision: str) -> None:
    program = write_program(tmp_path, PRECISE)
    series = {}
    for count in (1, 2):
        ranks = [] if count == 1 else ["--distributed", "--nproc-per-node", str(count)]
        words = ["--random-seed", "1", "--precision", precision, "--output-dir", str(count), *ranks]
        done = run_python(program, *words, cwd=tmp_path, timeout_s=120)
        assert done.returncode == 0, done.stderr
        [run] = pystematic.runs(tmp_path / str(count))
        series[count] = run.metrics("loss").value.tolist()
    assert json.loads((tmp_path / "found.json").read_text()) == {"equal": True, "type": "torch.float32"}
    assert len(series[1]) == 24
    assert series[1][-1] < 0.9 * series[1][0]
    # Three digits are what is left of a loss in such a precision.
    assert series[2] == pytest.approx(series[1], rel=0.02)
