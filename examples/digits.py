"""Train a small convolutional network on scikit-learn's handwritten digits, and look at what it learnt.

python digits.py                                     # what there is
python digits.py train --learning-rate 0.01          # a minute at most on two CPU cores
python digits.py train --distributed --nproc-per-node 2 --device cpu     # the same numbers
python digits.py train --resume last                 # goes on where the last run was stopped
python digits.py sweep --name study --seeds 3 --jobs 2 train --learning-rate 1e-3,1e-2 --optimizer adamw,sgd
pystematic sweep show study                          # which of them is best: mean and deviation over the seeds
python digits.py evaluate                            # the best model so far
python digits.py data summary
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

import pystematic
import pystematic.torch

validation_share = pystematic.parameter(
    name="validation_share",
    type=float,
    default=0.2,
    help="Part of the images that is kept for validation.",
)


@pystematic.parameter(name="learning_rate", type=float, default=3e-3, help="Step size of the optimizer.")
@pystematic.parameter(name="optimizer", type=Literal["adamw", "sgd"], default="adamw", help="What updates the weights.")
@pystematic.parameter(name="epochs", type=int, default=15, help="Passes over the training set.")
@pystematic.parameter(name="batch_size", type=int, default=64, help="Images in a batch.")
@validation_share
@pystematic.experiment(metric="val/accuracy:max")
def train(parameters: Mapping[str, Any], context: pystematic.torch.Context) -> float:
    """Train a small CNN on handwritten digits."""
    train_set, validation_set = load_digits(parameters["validation_share"])
    context.model = make_model()
    context.optimizer = make_optimizer(parameters["optimizer"], context.model, parameters["learning_rate"])
    context.train_loader = pystematic.torch.DataLoader(train_set, parameters["batch_size"], shuffle=True)
    context.validation_loader = pystematic.torch.DataLoader(validation_set, batch_size=256, loading_bar=False)

    context.best = 0.0
    for epoch in context.epochs(parameters["epochs"]):
        for images, labels in context.train_loader:
            scores = context.model(images)
            loss = cross_entropy(scores, labels)
            context.backward(loss)
            context.step(context.optimizer)
            context.recorder.scalar("train/loss", loss)
            context.recorder.scalar("train/accuracy", (scores.argmax(dim=1) == labels).float().mean())
            context.recorder.step()

        val_loss, accuracy = validate(context, context.validation_loader)
        context.recorder.scalar("val/loss", val_loss)
        context.recorder.scalar("val/accuracy", accuracy)
        print(f"epoch {epoch}: validation loss {val_loss:.4f}, accuracy {accuracy:.4f}")
        if accuracy > context.best:
            context.best = accuracy
            if context.is_main:
                pystematic.torch.save_checkpoint(context.model.state_dict(), "best")
        context.save_checkpoint()
    return context.best


@pystematic.parameter(
    name="model",
    type=Path,
    help="A run of 'train' (its directory), or a checkpoint file.",
    default_help="the run with the best validation accuracy",
)
@validation_share
@pystematic.experiment
def evaluate(parameters: Mapping[str, Any], context: pystematic.torch.Context) -> float:
    """Measure the accuracy of a trained model on the validation images."""
    path = parameters["model"] or pystematic.runs(parameters["output_dir"]).best("val/accuracy:max").path
    if path.is_dir():
        path = path / "checkpoint-best.pt"
    _, validation_set = load_digits(parameters["validation_share"])
    context.model = make_model()
    context.model.load_state_dict(pystematic.torch.load_checkpoint(path))
    context.loader = pystematic.torch.DataLoader(validation_set, batch_size=256)
    loss, accuracy = validate(context, context.loader)
    context.recorder.scalar("test/loss", loss)
    context.recorder.scalar("test/accuracy", accuracy)
    print(f"{path}: accuracy {accuracy:.4f} on {len(validation_set)} images")
    return accuracy


@validation_share
@pystematic.group
def data() -> None:
    """Look at the images."""


@data.experiment
def summary(parameters: Mapping[str, Any]) -> None:
    """Count the images of each digit."""
    for name, images in zip(("training", "validation"), load_digits(parameters["validation_share"]), strict=True):
        counts = torch.bincount(images.tensors[1], minlength=10).tolist()
        print(f"{name}: {len(images)} images; " + ", ".join(f"{digit}: {n}" for digit, n in enumerate(counts)))


@pystematic.parameter(name="index", type=int, default=0, help="Which of the validation images.")
@data.experiment
def show(parameters: Mapping[str, Any]) -> None:
    """Draw one of the validation images as text."""
    _, validation_set = load_digits(parameters["validation_share"])
    image, label = validation_set[parameters["index"]]
    print(f"This is a {int(label)}:")
    for row in image[0]:
        print("".join(" .:-=+*#%@"[int(value * 9)] * 2 for value in row))


def load_digits(validation_share: float) -> tuple[TensorDataset, TensorDataset]:
    """Return the training and the validation images, always split in the same way."""
    from sklearn import datasets, model_selection

    images, labels = datasets.load_digits(return_X_y=True)
    pixels = torch.tensor(images).float().view(-1, 1, 8, 8) / 16
    train, validation = model_selection.train_test_split(
        range(len(labels)), test_size=validation_share, random_state=0, stratify=labels
    )
    classes = torch.tensor(labels)
    return TensorDataset(pixels[train], classes[train]), TensorDataset(pixels[validation], classes[validation])


def make_model() -> nn.Module:
    """Return a network that maps images of 8 x 8 pixels to scores of the ten digits."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, kernel_size=3, padding=1), nn.GELU()),
        *(nn.Conv2d(32, 64, kernel_size=3, padding=1), nn.GELU(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * 4 * 4, 128), nn.GELU(), nn.Linear(128, 10)),
    )


def make_optimizer(name: str, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Return what updates the weights of the model; sgd has momentum, as it learns too little in few epochs without."""
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9)
    return torch.optim.AdamW(model.parameters(), lr=learning_rate)


def validate(context: pystematic.torch.Context, loader: pystematic.torch.DataLoader) -> tuple[float, float]:
    """Return the mean loss and the accuracy of the context's model over all images of ``loader``."""
    loss, accuracy = context.mean("validation/loss"), context.mean("validation/accuracy")
    loss.reset()
    accuracy.reset()
    with context.evaluating(context.model):
        for images, labels in loader:
            scores = context.model(images)
            loss.update(cross_entropy(scores, labels), len(labels))
            accuracy.update((scores.argmax(dim=1) == labels).float().mean(), len(labels))
    return loss.compute(), accuracy.compute()


if __name__ == "__main__":
    pystematic.global_entrypoint()
