"""`Context` with torch: places what is assigned to it on the device, takes training steps, gives and takes states.

Loads without torch, and does not import it: as long as torch is not loaded there is nothing to place.
"""

from __future__ import annotations

import sys

from pystematic.errors import ExperimentError
from pystematic.run import Context as BaseContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from typing import Any, Self

    import torch

    from pystematic.run import ContextRun


class Context(BaseContext):
    """The context of a run, or one of your own.

    The run's context, the second argument of the main function, places modules and tensors on the run's
    device when they are assigned. In a context of your own (``pystematic.torch.Context()``) nothing moves before
    one of `to`, `cpu`, `cuda`, `autotransform` is called.

        context.model = make_model()
        context.optimizer = torch.optim.Adam(context.model.parameters())
        for images, labels in context.loader:
            context.backward(cross_entropy(context.model(images), labels))
            context.step()

    Batches of a `pystematic.torch.DataLoader` that is registered come on the device. A plain
    ``torch.utils.data.DataLoader`` is registered as it is: its batches are not moved.
    """

    __slots__ = ("_device", "_unplaced")
    _device: torch.device | None
    _unplaced: set[str]

    def __init__(self, run: ContextRun | None = None) -> None:
        super().__init__(run)
        object.__setattr__(self, "_device", None)
        object.__setattr__(self, "_unplaced", set())

    # -- facts ---------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where things are placed: what the parameters ``device`` and ``cuda`` ask for, or where `to` moved them.

        Raises:
            ExperimentError: there is no such device, or torch is not installed.
        """
        if self._device is None:
            placement = _placement()
            device = placement.find_device({"device": "cpu"} if self._run is None else self._run.parameters)
            object.__setattr__(self, "_device", device)
        assert self._device is not None
        return self._device

    @property
    def rank(self) -> int:
        """The number of this process among all processes of the run, from 0."""
        from pystematic.torch._world import get_rank  # not loaded before it is needed

        return super().rank if self._find_run() is not None else get_rank()

    @property
    def world_size(self) -> int:
        """How many processes work on the run together."""
        from pystematic.torch._world import get_num_processes  # not loaded before it is needed

        return super().world_size if self._find_run() is not None else get_num_processes()

    # -- what is registered --------------------------------------------------------------------------------------

    def register(self, name: str, obj: Any, *, place: bool = True) -> Any:
        """Register ``obj`` under ``name``, as an assignment does, and return it as it is registered.

        Args:
            name: the attribute to reach it by.
            obj: any object. Modules stay the same objects; a tensor on another device is copied.
            place: whether it may be moved to the context's device, now and by `to`.

        Raises:
            ExperimentError: an optimizer has parameters that belong to no registered module.
        """
        obj = super().register(name, obj, place=place)
        (self._unplaced.discard if place else self._unplaced.add)(name)
        return obj

    def _place(self, name: str, obj: Any) -> Any:
        if self._run is None or "torch" not in sys.modules:
            return obj
        placement = _placement()
        placement.check_owned(name, obj, vars(self))
        from pystematic.torch._data import DataLoader  # imports torch

        return obj.to(self.device) if isinstance(obj, DataLoader) else placement.place(obj, self.device)

    def _find_run(self) -> ContextRun | None:
        if self._run is None:
            from pystematic.run import current  # a context of one's own speaks of the run that it is used in

            return current()
        return self._run

    # -- training ------------------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor) -> None:
        """Compute the gradients of ``loss`` and add them to those of the parameters."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(
        self,
        optimizer: torch.optim.Optimizer | None = None,
        clip: float | None = None,
        scheduler: Any = None,
    ) -> torch.Tensor | None:
        """Clip the gradients, take a step of the optimizer and of the scheduler, and clear the gradients.

        Args:
            optimizer: may be left out when just one is registered.
            clip: the largest norm of all gradients of the optimizer's parameters together; larger ones are scaled down.
            scheduler: a learning rate scheduler that advances with each step.

        Returns:
            The norm before clipping, a tensor on the device, when ``clip`` is given.
        """
        placement = _placement()
        if optimizer is None:
            registered = placement.optimizers_in(vars(self))
            if len(registered) != 1:
                found = f"these are registered: {', '.join(registered)}" if registered else "none is registered"
                raise ExperimentError(f"context.step() needs to be told which optimizer: {found}")
            (optimizer,) = registered.values()
        norm: torch.Tensor | None = placement.step(optimizer, clip, scheduler)
        return norm

    def evaluating(self, *models: torch.nn.Module) -> AbstractContextManager[None]:
        """Put models into eval mode without gradients for a ``with`` block; afterwards each part is as it was.

        Without arguments: all registered modules.
        """
        placement = _placement()
        block: AbstractContextManager[None] = placement.evaluating(models or placement.modules_in(vars(self)))
        return block

    # -- explicit forms, for a context of one's own -------------------------------------------------------------

    def to(self, device: torch.device | str) -> Self:
        """Move everything registered to ``device``, and place there what is assigned from now on in a run's context.

        Modules are moved in place; the state of optimizers follows; whatever else has a method ``to``, such as our
        DataLoader, is asked for it.
        """
        import torch

        placement = _placement()
        object.__setattr__(self, "_device", torch.device(device))
        for name, obj in vars(self).items():
            if name not in self._unplaced:
                vars(self)[name] = placement.place(obj, device, ask_others=True)
        for optimizer in placement.optimizers_in(vars(self)).values():
            placement.place_state(optimizer)
        return self

    def cpu(self) -> Self:
        """Move everything to the CPU."""
        return self.to("cpu")

    def cuda(self) -> Self:
        """Move everything to the current GPU."""
        import torch

        return self.to(torch.device("cuda", torch.cuda.current_device()))

    def autotransform(self) -> Self:
        """Move everything to where the run's parameters ask for.

        When the experiment declares a parameter ``checkpoint`` and it is set, the state in that file is loaded first.
        """
        run = self._find_run()
        if run is None:
            raise ExperimentError("context.autotransform() follows the parameters of a run, and none is active")
        if run.parameters.get("checkpoint"):
            from pystematic.torch._checkpoint import load_checkpoint  # not loaded before it is needed

            self.load_state_dict(load_checkpoint(run.parameters["checkpoint"]))
        return self.to(_placement().find_device(run.parameters))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of everything registered that has one, by name.

        Modules, optimizers and whatever has ``state_dict`` and ``load_state_dict`` give theirs; numbers, text, bytes,
        tensors, arrays, and lists, tuples, dicts and sets of them are taken as they are. Anything else is left out.
        Tensors share their memory with the objects.
        """
        from pystematic.torch import _state  # imports torch

        return {name: _state.take_state(obj) for name, obj in self._with_recorder().items() if _state.has_state(obj)}

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> None:
        """Put the state that `state_dict` returned back into what is registered.

        An entry that is None where an object with a state is registered holds nothing to load (old checkpoints).

        Args:
            state: the states by name.
            strict: whether every registered name with a state must be there, and no other.

        Raises:
            ExperimentError: names are missing or unexpected (nothing is loaded then), or a state does not fit.
        """
        from pystematic.torch import _state  # imports torch

        registered = self._with_recorder()
        # The epoch is known without being registered, and old checkpoints need not have it.
        missing = [name for name, obj in registered.items() if name not in state and _state.has_state(obj)]
        unexpected = [name for name, value in state.items() if name not in registered and value is not None]
        problems = [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("registered, but not in the state", [name for name in missing if name != "epoch"]),
                ("in the state, but not registered", [name for name in unexpected if name != "epoch"]),
            )
            if names
        ]
        if strict and problems:
            raise ExperimentError(
                f"the state does not fit the context; {'; '.join(problems)}. Register the same names as the program "
                "that saved it, or load what fits with strict=False."
            )
        for name, value in state.items():
            if name in registered:
                vars(self)[name] = _state.put_state(registered[name], value, f"context.{name}")
            elif name == "epoch" and value is not None:
                self.epoch = value

    def _with_recorder(self) -> dict[str, Any]:
        """Return what is registered, with the run's own recorder, which nobody needs to assign."""
        return vars(self) if self._run is None else {"recorder": self.recorder, **vars(self)}


def _placement() -> Any:
    try:
        from pystematic.torch import _placement  # imports torch, which a program without torch must not pay for
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ExperimentError("this needs torch, which is not installed: pip install 'pystematic[torch]'") from error
    return _placement
