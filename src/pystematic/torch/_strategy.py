"""The contract of a strategy, which makes the processes of a run train one model; and the strategy of one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch

from pystematic.errors import ExperimentError
from pystematic.torch._placement import change_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pystematic.torch._share import Share


class Strategy(Protocol):
    """Makes modules compute the gradients of the whole step, whichever process has which of its samples.

    A module stays the object that it is: its type, attributes, parameter names, ``state_dict`` keys and
    ``copy.deepcopy`` are those of one process, and a call through any reference to it is the replicated one. A copy
    is not replicated.
    """

    name: str

    def replicate(self, module: torch.nn.Module, options: Mapping[str, Any]) -> None:
        """Prepare a module in place; called once for each, after it was moved to its device, on all ranks.

        From then on a call in training mode with gradients enabled synchronises them in the backward pass (in the
        last micro-batch of a window only), each process's scaled by `Share.scale`. In eval mode or without gradients
        nothing is synchronised, so that one rank may call it alone. A module without trainable parameters is left
        alone. A gradient of a module that was never called is refused. ``options`` are the user's, for the library
        underneath.
        """


class SingleStrategy:
    """One process: nothing is synchronised, and only accumulated micro-batches are scaled."""

    name = "single"

    def __init__(self, share: Share) -> None:
        self._share = share

    def replicate(self, module: torch.nn.Module, options: Mapping[str, Any]) -> None:
        trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if trainable:
            scale = Scale(self._share, in_eval=True)
            expect_calls(module, trainable, lambda: scale.was_called)
            module.register_forward_pre_hook(BeforeForward(scale), with_kwargs=True)
            module.register_forward_hook(AfterForward(scale), always_call=True)


class Scale:
    """Scales the gradients that enter one registered module, and takes that back from those that leave it.

    So each parameter's gradient is scaled once, also where a module's input comes from another registered one, or where
    one is called inside another.

    Args:
        share: knows the factor.
        in_eval: whether that is done in eval mode too.
    """

    def __init__(self, share: Share, *, in_eval: bool) -> None:
        self._share = share
        self._in_eval = in_eval
        self.was_called = False
        # For each call under way, the innermost last: whether it scales.
        self._calls: list[bool] = []

    def before(self, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        share = self._share
        self.was_called = True
        scales = share.depth == 0 and share.may_scale and (self._in_eval or module.training) and torch.is_grad_enabled()
        self._calls.append(scales)
        share.depth += 1
        if not scales or not (kwargs or any(_may_bring_gradients(value) for value in args)):
            return None
        changed = change_tensors((args, kwargs), self._unscaled)
        return None if changed[0] is args and changed[1] is kwargs else changed

    def after(self, output: Any) -> None:
        if not self._calls:  # the call began before the module was registered
            return
        self._share.depth -= 1
        if self._calls.pop() and output is not None:
            scale_gradients(output, self._share)

    def _unscaled(self, tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.requires_grad or tensor.is_leaf:
            return tensor
        # A copy: the module may change its input in place, which a view with a hook would not survive.
        tensor = tensor.clone()
        tensor.register_hook(self._unscale)  # type: ignore[no-untyped-call]
        return tensor

    def _unscale(self, gradient: torch.Tensor) -> torch.Tensor | None:
        factor = self._share.scale
        return None if factor in (0.0, 1.0) else gradient / factor


def _may_bring_gradients(value: Any) -> bool:
    """Tell, quickly, whether gradients may go on from a module to what it was called with."""
    return type(value) is not torch.Tensor or value.requires_grad


def expect_calls(
    module: torch.nn.Module, parameters: Iterable[torch.nn.Parameter], was_called: Callable[[], bool]
) -> None:
    """Refuse the first gradient of ``parameters`` if the module was not called by then; looks only once.

    ``module.forward(x)`` and other methods do not pass through the hooks, so that nothing would be weighed and
    synchronised.
    """
    handles: list[Any] = []

    def check(gradient: torch.Tensor) -> None:
        if not was_called():
            kind = type(module).__name__
            raise ExperimentError(
                f"a gradient has come to a {kind} of the context that was never called: only a call of the module "
                f"itself, like context.model(x), is weighed and synchronised, not model.forward(x) or another method. "
                "Call the module, or register it with wrap=False."
            )
        for handle in handles:
            handle.remove()
        handles.clear()

    handles.extend(parameter.register_hook(check) for parameter in parameters)  # type: ignore[no-untyped-call]


class BeforeForward:
    """Calls ``before`` of its receiver before a module's forward; not in copies of the module."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    @torch._dynamo.disable  # type: ignore[untyped-decorator] # a graph of the module ends here anyway
    def __call__(self, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        return self._receiver.before(module, args, kwargs)

    def __deepcopy__(self, memo: object) -> Callable[..., None]:
        return no_hook


class AfterForward:
    """Calls ``after`` of its receiver after a module's forward, also one that has raised; not in copies."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    @torch._dynamo.disable  # type: ignore[untyped-decorator]
    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> Any:
        return self._receiver.after(output)

    def __deepcopy__(self, memo: object) -> Callable[..., None]:
        return no_hook


def no_hook(*args: Any, **kwargs: Any) -> None:
    """Stand in for a hook in the copy of a module."""


def scale_gradients(output: Any, share: Share) -> None:
    """Scale the gradients that enter a module's output by what `Share.scale` is when they come."""

    def scale(gradient: torch.Tensor) -> torch.Tensor | None:
        factor = share.scale
        return None if factor == 1.0 else gradient * factor

    for tensor in tensors_in(output):
        if tensor.requires_grad:
            tensor.register_hook(scale)  # type: ignore[no-untyped-call]


def tensors_in(output: Any) -> list[torch.Tensor]:
    """Return the tensors in what a module returned: a tensor, or lists, tuples, dicts and dataclasses of them."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        return [tensor for value in output.values() for tensor in tensors_in(value)]
    if isinstance(output, (list, tuple)):
        return [tensor for value in output for tensor in tensors_in(value)]
    if hasattr(output, "__dataclass_fields__"):
        return [tensor for name in output.__dataclass_fields__ for tensor in tensors_in(getattr(output, name))]
    return []
