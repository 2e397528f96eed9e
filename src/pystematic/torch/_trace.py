"""``python -m pystematic.torch._trace``: runs a program with a note of each optimizer step, for `check-distributed`.

Computes in the type that is asked for, and ends the program after so many steps. Each process writes a file of its own,
a line for each step; comparing them is not its business.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from pystematic.torch import _data, _placement
from pystematic.torch._context import Context
from pystematic.torch._share import Share
from pystematic.torch._trainer import Trainer
from pystematic.torch._world import get_rank

if TYPE_CHECKING:
    from collections.abc import Iterable


class Trace:
    """Takes note of the losses, gradients and weights of the first optimizer steps of this process.

    Args:
        folder: where the file goes.
        steps: after how many steps the program is ended.
    """

    def __init__(self, folder: str, steps: int) -> None:
        self._folder = folder
        self._steps = steps
        self._taken = 0
        self._names: dict[int, str] = {}
        # The tensors too: an identity alone may become another tensor's.
        self._named: list[torch.Tensor] = []
        self._kinds: set[str] = set()
        self._samples: float = 1
        self._losses: list[tuple[float, float]] = []
        self._line: dict[str, Any] = {}

    def install(self) -> None:
        """Have the library and torch tell of what happens."""
        place, backward, told = Context._place, torch.Tensor.backward, Trainer.backward
        hand_out = Share.hand_out

        def placed(context: Context, name: str, obj: Any) -> Any:
            made = place(context, name, obj)
            self._name(made, name)
            return made

        def handed_out(share: Share, source: str, local: int | None, total: int | None) -> None:
            hand_out(share, source, local, total)
            self._samples = 1 if local is None else local

        def noted(loss: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if loss.numel() == 1:
                self._losses.append((float(loss.detach()), self._samples))
            return backward(loss, *args, **kwargs)  # type: ignore[no-untyped-call]

        def counted(trainer: Trainer, loss: torch.Tensor, count: int | None) -> None:
            if count is not None and not trainer.share.is_repetition:
                self._samples = count
            told(trainer, loss, count)

        for owner, name, function in (
            (Context, "_place", placed),
            (Share, "hand_out", handed_out),
            (Trainer, "backward", counted),
            (torch.Tensor, "backward", noted),
        ):
            setattr(owner, name, function)
        register_optimizer_step_pre_hook(self._before)
        register_optimizer_step_post_hook(self._after)

    def _name(self, obj: Any, name: str) -> None:
        for where, item in _placement.walk(obj, name):
            if not isinstance(item, torch.nn.Module):
                continue
            self._kinds.update(type(part).__name__ for part in item.modules())
            for part, parameter in item.named_parameters():
                self._named.append(parameter)
                self._names.setdefault(id(parameter), f"context.{where}.{part}")

    def _before(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = list(self._parameters(optimizer))
        self._line = {
            "losses": self._losses,
            "gradients": {name: _print_of(tensor.grad) for name, tensor in parameters if tensor.grad is not None},
        }
        self._losses = []

    def _after(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._line["weights"] = {name: _print_of(tensor) for name, tensor in self._parameters(optimizer)}
        self._line["rates"] = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
        self._line["kinds"] = sorted(self._kinds)
        with open(os.path.join(self._folder, f"trace-{get_rank()}.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(self._line) + "\n")
        self._taken += 1
        if self._taken >= self._steps:
            raise SystemExit(0)

    def _parameters(self, optimizer: torch.optim.Optimizer) -> Iterable[tuple[str, torch.Tensor]]:
        tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
        for index, tensor in enumerate(tensors):
            yield self._names.get(id(tensor), f"parameter {index} of the optimizer"), tensor


def _print_of(tensor: torch.Tensor) -> list[float]:
    """Return two numbers that hardly stay the same when any element changes: the norm and a weighted sum."""
    flat = tensor.detach().to("cpu", torch.float64).flatten()
    weights = torch.linspace(1.0, 2.0, flat.numel(), dtype=torch.float64)
    return [float(flat.norm()), float(flat @ weights)]


def compute_in(dtype: torch.dtype) -> None:
    """Have new tensors, modules that are registered, and batches of loaders be of this type."""
    torch.set_default_dtype(dtype)
    place = Context._place

    def changed(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def placed(context: Context, name: str, obj: Any) -> Any:
        for _, item in _placement.walk(obj, name):
            if isinstance(item, torch.nn.Module):
                item.to(dtype)
        return place(context, name, obj)

    def moved(obj: Any, device: torch.device | str) -> Any:
        return _placement.change_tensors(_placement.move(obj, device), changed)

    for owner, name, function in ((Context, "_place", placed), (_data, "move", moved)):
        setattr(owner, name, function)


def main() -> None:
    """Be the program whose path and arguments follow the type, the number of steps and the folder."""
    dtype, steps, folder, path, *words = sys.argv[1:]
    compute_in(getattr(torch, dtype))
    Trace(folder, int(steps)).install()
    sys.argv = [path, *words]
    sys.path[0] = os.path.dirname(path)
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
