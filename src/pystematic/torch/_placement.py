"""Where tensors, modules and optimizers live: finding the device, moving things to it, and walking what holds them.

The one module through which the context meets torch. It is imported once torch is loaded: before that, nothing can
exist that would have to be moved.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import torch
import torch.utils.data

from pystematic.errors import ExperimentError
from pystematic.torch._state import walk as walk

if TYPE_CHECKING:
    from pystematic.resolve import Parameters


def find_device(parameters: Mapping[str, Any] | Parameters) -> torch.device:
    """Return the device that ``device`` and ``cuda`` of a run ask for.

    ``auto`` is the GPU if torch sees one and ``cuda`` is on, else the CPU.

    Raises:
        ExperimentError: torch knows no such device, or this machine has none.
    """
    wanted = str(parameters.get("device") or "auto")
    if wanted == "auto":
        wanted = "cuda" if parameters.get("cuda", True) and torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ExperimentError(
            f"device is {wanted!r}, which torch does not know; use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ExperimentError(
                f"device is {wanted!r}, but torch {torch.__version__} sees {count or 'no'} GPU{'s' * (count > 1)} "
                "here; use --device auto for a GPU if there is one, or --device cpu"
            )
        if device.index is None:
            # Spelled out, as it is in the device of each tensor, which programs compare with this one. Asking torch
            # would begin to use the GPU, in a process that may still be forked.
            device = torch.device("cuda", torch.cuda.current_device() if torch.cuda.is_initialized() else 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ExperimentError("device is 'mps', but torch sees no such device here; use --device auto or --device cpu")
    return device


def move(obj: Any, device: torch.device | str) -> Any:
    """Return ``obj``, such as a batch, with every tensor in it on ``device``.

    Goes through lists, tuples, named tuples, mappings and dataclasses (attrs classes too), and keeps their types.
    Whatever else has a method ``to`` is asked for it. What holds nothing to be moved is returned as the same object.
    """
    if isinstance(obj, torch.Tensor):
        if obj.device == device:
            return obj
        # To a GPU the copy runs beside the computation if the memory is pinned; other memory is read before it returns.
        to_gpu = obj.is_cpu and torch.device(device).type == "cuda"
        return obj.to(device, non_blocking=to_gpu)
    if obj is None or isinstance(obj, (str, bytes, int, float)):
        return obj
    if type(obj) in (list, tuple) and all(type(item) is torch.Tensor and item.device == device for item in obj):
        return obj  # most batches on the CPU
    if callable(getattr(obj, "to", None)) and not isinstance(obj, type):
        return obj.to(device)
    return _rebuild(obj, lambda item: move(item, device))


def move_to_device(device: torch.device | str, *args: Any) -> Any:
    """Return the arguments with every tensor in them on ``device``: one as itself, several as a tuple.

    Goes through lists, tuples, named tuples, mappings and dataclasses, and keeps their types. Whatever else has a
    method ``to`` is asked for it; anything else stays as it is.
    """
    return move(args[0] if len(args) == 1 else args, device)


def place(obj: Any, device: torch.device | str, *, ask_others: bool = False) -> Any:
    """Return ``obj`` with the modules and tensors in it, and in its lists, tuples and dicts, on ``device``.

    Modules, and tensors that an optimizer can train, are moved in place and stay the same objects.
    With ``ask_others`` whatever else has a method ``to`` is asked for it.
    """
    if isinstance(obj, torch.Tensor):
        if not (obj.is_leaf and obj.requires_grad):
            return obj.to(device)
        # A copy would be the result of a computation, which no optimizer can change. Modules do the same.
        obj.data = obj.data.to(device)
        if obj.grad is not None:
            obj.grad.data = obj.grad.data.to(device)
        return obj
    if isinstance(obj, torch.nn.Module):
        return obj.to(device)
    if isinstance(obj, (list, tuple, dict)):
        return _rebuild(obj, lambda item: place(item, device, ask_others=ask_others))
    if ask_others and callable(getattr(obj, "to", None)) and not isinstance(obj, type):
        return obj.to(device)
    return obj


def is_plain_loader(obj: Any) -> bool:
    """Tell whether ``obj`` is one of torch's own loaders."""
    return type(obj) is torch.utils.data.DataLoader


def place_state(optimizer: torch.optim.Optimizer) -> None:
    """Bring the state of an optimizer to where its parameters are now."""
    if optimizer.state:
        optimizer.load_state_dict(optimizer.state_dict())  # torch casts each entry to its parameter's device


def change_tensors(obj: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return ``obj`` with ``change`` applied to every tensor in its lists, tuples, dicts and dataclasses."""
    if isinstance(obj, torch.Tensor):
        return change(obj)
    return _rebuild(obj, lambda item: change_tensors(item, change))


def _rebuild(obj: Any, change: Callable[[Any], Any]) -> Any:
    """Return ``obj`` with ``change`` applied to what it holds: the same object if nothing is another one then."""
    if isinstance(obj, tuple):
        items = [change(item) for item in obj]
        if all(new is old for new, old in zip(items, obj, strict=True)):
            return obj
        return obj._make(items) if hasattr(obj, "_make") else type(obj)(items)
    if isinstance(obj, (list, MutableMapping)):
        pairs = list(obj.items() if isinstance(obj, MutableMapping) else enumerate(obj))
        return _with_changes(obj, pairs, change, lambda copied, key, value: copied.__setitem__(key, value))
    if not isinstance(obj, type) and (dataclasses.is_dataclass(obj) or hasattr(obj, "__attrs_attrs__")):
        fields = dataclasses.fields(obj) if dataclasses.is_dataclass(obj) else obj.__attrs_attrs__
        pairs = [(field.name, getattr(obj, field.name)) for field in fields if hasattr(obj, field.name)]
        return _with_changes(obj, pairs, change, object.__setattr__)  # of object: frozen ones too
    return obj


def _with_changes(
    obj: Any, pairs: Iterable[tuple[Any, Any]], change: Callable[[Any], Any], put: Callable[[Any, Any, Any], None]
) -> Any:
    copied = obj
    for key, value in pairs:
        changed = change(value)
        if changed is not value:
            if copied is obj:
                copied = copy.copy(obj)
            put(copied, key, changed)
    return copied


def check_owned(name: str, obj: Any, registered: Mapping[str, Any]) -> None:
    """Check that the parameters of every optimizer in ``obj`` belong to registered modules (or are registered).

    Raises:
        ExperimentError: some do not, so that they would be trained on another device, or not saved.
    """
    for path, optimizer in walk(obj, name):
        if not isinstance(optimizer, torch.optim.Optimizer):
            continue
        owned: set[int] = set()
        for _, item in walk(dict(registered), ""):
            if isinstance(item, torch.nn.Module):
                owned.update(id(parameter) for parameter in item.parameters())
            elif isinstance(item, torch.Tensor):
                owned.add(id(item))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        strangers = [parameter for parameter in parameters if id(parameter) not in owned]
        if strangers:
            shapes = ", ".join(str(tuple(parameter.shape)) for parameter in strangers[:3])
            more = " and others" if len(strangers) > 3 else ""
            raise ExperimentError(
                f"context.{path}: {len(strangers)} of the {len(parameters)} parameters of this "
                f"{type(optimizer).__name__} belong to no module of the context (shapes {shapes}{more}). "
                "Assign the module first, and make the optimizer from it:\n"
                "    context.model = model\n"
                f"    context.{name} = torch.optim.{type(optimizer).__name__}(context.model.parameters(), ...)"
            )


def check_device(name: str, obj: Any, device: torch.device) -> None:
    """Check that the parameters of every module in ``obj`` are where the context's other things are.

    Raises:
        ExperimentError: some are not, so that they could not be replicated.
    """
    for path, module in walk(obj, name):
        if not isinstance(module, torch.nn.Module):
            continue
        for parameter_name, parameter in module.named_parameters():
            if parameter.device != torch.empty(0, device=device).device:
                raise ExperimentError(
                    f"context.{path}.{parameter_name} is on {parameter.device}, and this process computes on {device}. "
                    "Register the module with place=True, or with wrap=False if it is not to be replicated."
                )


def optimizers_in(registered: Mapping[str, Any]) -> dict[str, torch.optim.Optimizer]:
    """Return the registered optimizers by their paths."""
    if not any(isinstance(obj, (list, tuple, dict)) for obj in registered.values()):  # as in most programs
        return {name: obj for name, obj in registered.items() if isinstance(obj, torch.optim.Optimizer)}
    return {path[1:]: item for path, item in walk(dict(registered), "") if isinstance(item, torch.optim.Optimizer)}


def modules_in(registered: Mapping[str, Any]) -> list[torch.nn.Module]:
    """Return the registered modules."""
    return [item for _, item in walk(dict(registered), "") if isinstance(item, torch.nn.Module)]


def step(optimizer: torch.optim.Optimizer, clip: float | None = None, scheduler: Any = None) -> torch.Tensor | None:
    """Clip the gradients, update the parameters, advance the scheduler, and clear the gradients.

    Returns:
        The norm of all gradients before clipping, when ``clip`` is given.
    """
    norm = None
    if clip is not None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
    optimizer.step()
    if scheduler is not None:
        scheduler.step()
    optimizer.zero_grad()
    return norm


@contextlib.contextmanager
def evaluating(modules: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Put ``modules`` into eval mode, without gradients; afterwards every submodule is in its own mode again."""
    modules = list(modules)
    modes = [(part, part.training) for module in modules for part in module.modules()]
    starts = [(module, module.training) for module in modules]
    try:
        for module in modules:
            module.eval()
        with torch.no_grad():
            yield
    finally:
        # By `train` first, for modules that do more there than setting the flag; then each part its own.
        for module, training in starts:
            module.train(training)
        for part, training in modes:
            part.training = training
