"""What all programs in this folder train: small networks on scikit-learn's digits. Knows no library of training."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import TensorDataset

BATCH_SIZE = 64
EPOCHS = 2
# Of 1797. The last batch has 3 samples: uneven parts on two processes, and none for one of four.
SAMPLES = 28 * BATCH_SIZE + 3
SEED = 20
ACCUMULATE = (1, 3)


@dataclass(frozen=True)
class Case:
    """What is trained with one and with several processes.

    Attributes:
        kind: ``float64`` or ``float32``, of smooth networks; ``gradients``, of steps in float32 with kinks.
        model: mlp or cnn.
        optimizer: sgd or adam.
        accumulate: batches in an optimizer step.
    """

    kind: str
    model: str
    optimizer: str
    accumulate: int

    @property
    def name(self) -> str:
        windows = f", windows of {self.accumulate}" if self.accumulate > 1 else ""
        return f"{self.kind}: {self.model}, {self.optimizer}{windows}"

    @property
    def dtype(self) -> torch.dtype:
        return torch.float64 if self.kind == "float64" else torch.float32


# Kinks and Adam amplify rounding in float32, in whatever implementation: there each step is compared by itself.
CASES = tuple(
    Case(kind, model, optimizer, accumulate)
    for kind, optimizers in (("float64", ("sgd", "adam")), ("float32", ("sgd",)), ("gradients", ("adam",)))
    for model, optimizer, accumulate in itertools.product(("mlp", "cnn"), optimizers, ACCUMULATE)
)

# Of the other libraries: batches in an optimizer step, and whether the order is random.
SETTINGS = tuple(itertools.product(ACCUMULATE, (True, False)))


def load_digits(dtype: torch.dtype) -> TensorDataset:
    """Return images of 1 x 8 x 8 pixels from 0 to 1, and their digits."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    pixels = torch.tensor(images[:SAMPLES]).to(dtype).view(-1, 1, 8, 8) / 16
    return TensorDataset(pixels, torch.tensor(labels[:SAMPLES]))


def make_model(name: str, dtype: torch.dtype, *, smooth: bool) -> nn.Module:
    """Return an ``mlp`` or a ``cnn``, always with the same weights; ``smooth``: GELU and average pooling, no kinks."""
    torch.manual_seed(SEED)
    activation, pool = (nn.GELU, nn.AvgPool2d) if smooth else (nn.ReLU, nn.MaxPool2d)
    if name == "mlp":
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), activation(), nn.Linear(64, 10))
    else:
        model = nn.Sequential(
            *(nn.Conv2d(1, 8, 3), activation(), pool(2)),
            *(nn.Conv2d(8, 16, 2), activation(), nn.Flatten(), nn.Linear(64, 10)),
        )
    return model.to(dtype)


def make_optimizer(name: str, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return ``sgd`` or ``adam``."""
    return torch.optim.SGD(parameters, lr=0.1) if name == "sgd" else torch.optim.Adam(parameters, lr=1e-3)
