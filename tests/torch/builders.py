"""Builders of the tests about torch: a run as a context sees it, small models, programs that ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import pystematic
from pystematic.resolve import Parameters
from pystematic.run import StopControl
from pystematic.torch import Context

# What can be tested here: the GPU too where there is one.
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


class CountingRecorder:
    """A recorder that only counts."""

    def __init__(self) -> None:
        self.count = 0

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


def make_context_run(output_dir: Path, **parameters: object) -> Any:
    """Make what a context knows of a run, without a run."""
    values = {"device": "auto", "cuda": True, **parameters}
    return SimpleNamespace(
        output_dir=output_dir,
        parameters=Parameters(values, dict.fromkeys(values, "command line")),
        recorder=CountingRecorder(),
        run_dir=SimpleNamespace(id="2026-01-02_03-04-05_abcdef"),
        seeds=SimpleNamespace(new_seed=lambda name=None, nbits=32, per_rank=False: (name, nbits, per_rank)),
        rank=0,
        local_rank=0,
        world_size=1,
        metric=None,
        restored=None,
        stop=StopControl(),
        uses_loader=False,
        watch=None,
        before_end=[],
    )


def make_context(**parameters: object) -> Context:
    """Make the context of a run with these parameters."""
    return Context(make_context_run(Path("output"), **parameters))


def make_model(seed: int = 0) -> torch.nn.Sequential:
    """Make a small model, the same for the same seed, without drawing from the global generator."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(), torch.nn.Linear(4, 2))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-1, 1, generator=generator)
    return model


def in_a_run(function: Callable[[], Any], **params: object) -> Any:
    """Return what ``function`` returns when it is the main function of a run with these parameters."""

    @pystematic.experiment
    def main() -> Any:
        return function()

    return main.run({"random_seed": 1, "capture": "off", **params}).result
