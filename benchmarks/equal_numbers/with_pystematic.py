"""The task with pystematic: the same file for any number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from task import BATCH_SIZE, CASES, EPOCHS, Case, load_digits, make_model, make_optimizer
from torch.nn.functional import cross_entropy

import pystematic
import pystematic.torch


@pystematic.parameter(name="cases", type=str, default="", help="Only those with this in their name.")
@pystematic.parameter(name="alone", type=Path, help="Directory of a run, whose weights the steps of 'gradients' have.")
@pystematic.experiment
def train(parameters: Mapping[str, Any], context: pystematic.torch.Context) -> None:
    """Train each case, record the loss of each batch, keep the final weights, or the gradients."""
    for case in CASES:
        if parameters["cases"] in case.name:
            train_case(case, context, parameters["alone"])


def train_case(case: Case, context: pystematic.torch.Context, alone: Path | None) -> None:
    gradients = case.kind == "gradients"
    context.model = make_model(case.model, case.dtype, smooth=not gradients)
    context.optimizer = make_optimizer(case.optimizer, context.model.parameters())
    context.loader = pystematic.torch.DataLoader(load_digits(case.dtype), BATCH_SIZE, shuffle=True, loading_bar=False)
    given = None
    if gradients and alone is not None:
        given = pystematic.torch.load_checkpoint(alone / f"checkpoint-{CASES.index(case)}.pt")["weights"]
    kept = Steps(context.model, given)
    if gradients:
        context.optimizer.register_step_pre_hook(lambda *_: kept.keep_gradients())

    for _ in range(EPOCHS):
        if case.accumulate == 1:
            for images, labels in context.loader:
                kept.begin()
                take_batch(case, context, images, labels)
                context.step()
            continue
        for window in context.windows(context.loader, case.accumulate):
            kept.begin()
            for images, labels in window:
                take_batch(case, context, images, labels)
            context.step()

    weights = kept.weights if gradients else [list(context.model.state_dict().values())]
    state = {"weights": weights, "gradients": kept.gradients}
    pystematic.torch.save_checkpoint(state, CASES.index(case))


def take_batch(case: Case, context: pystematic.torch.Context, images: torch.Tensor, labels: torch.Tensor) -> None:
    loss = cross_entropy(context.model(images), labels)
    context.backward(loss)
    context.recorder.scalar(f"{case.name}: loss", loss)
    context.recorder.step()


class Steps:
    """Weights before each step and its gradients; begins each step from given weights where there are some."""

    def __init__(self, model: torch.nn.Module, given: list[list[torch.Tensor]] | None) -> None:
        self._model = model
        self._given = given
        self.weights: list[list[torch.Tensor]] = []
        self.gradients: list[list[torch.Tensor]] = []

    def begin(self) -> None:
        parameters = list(self._model.parameters())
        if self._given is not None:
            with torch.no_grad():
                for parameter, given in zip(parameters, self._given[len(self.weights)], strict=True):
                    parameter.copy_(given)
        self.weights.append([parameter.detach().clone() for parameter in parameters])

    def keep_gradients(self) -> None:
        gradients = [parameter.grad for parameter in self._model.parameters()]
        self.gradients.append([gradient.clone() for gradient in gradients if gradient is not None])


if __name__ == "__main__":
    pystematic.global_entrypoint()
