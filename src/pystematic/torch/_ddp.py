"""`DdpStrategy`: torch's DistributedDataParallel on the parameters of a module that stays the object that it is.

The wrapper of torch is made over a plain list of the parameters, and its two halves of ``forward`` are called from
hooks of the module (the parts that ``torch.distributed._composable.replicate`` uses too, which changes the class of the
module and forbids ``deepcopy``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parallel import DistributedDataParallel

from pystematic.torch._strategy import AfterForward, BeforeForward, Scale, expect_calls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pystematic.torch._share import Share


class DdpStrategy:
    """Replicates modules over the default process group."""

    name = "ddp"

    def __init__(self, share: Share) -> None:
        self._share = share
        # Modules may be forgotten by the program, but not what the gradients of their parameters run through.
        self._replicas: list[_Replica] = []
        self._owned: set[int] = set()

    def replicate(self, module: torch.nn.Module, options: Mapping[str, Any]) -> None:
        if any(parameter.requires_grad for parameter in module.parameters()):
            self._replicas.append(_Replica(module, self._share, options, self._owned))


class _Replica:
    def __init__(self, module: torch.nn.Module, share: Share, options: Mapping[str, Any], owned: set[int]) -> None:
        self._share = share
        self._scale = Scale(share, in_eval=False)
        # For each call under way, the innermost last: whether its gradients are synchronised.
        self._calls: list[bool] = []
        every = [parameter for parameter in module.parameters() if parameter.requires_grad]
        kinds = {parameter.device for parameter in every}
        if len(kinds) > 1:
            raise ValueError(f"the parameters of a replicated module are on several devices: {sorted(map(str, kinds))}")
        for tensor in (*module.parameters(), *module.buffers()):  # all processes begin with the values of rank 0
            torch.distributed.broadcast(tensor.detach(), 0)
        # What another registered module has too is synchronised with that one, once.
        parameters = [parameter for parameter in every if id(parameter) not in owned]
        owned.update(id(parameter) for parameter in parameters)
        expect_calls(module, parameters, lambda: self._scale.was_called)
        self._ddp: DistributedDataParallel | None = None
        if parameters:
            held = torch.nn.Module()
            held.parameters_of_the_module = torch.nn.ParameterList(parameters)
            # As in torch's own wrapper, statistics are those of rank 0, which checkpoints hold, in all processes.
            for index, buffer in enumerate(module.buffers()):
                held.register_buffer(f"buffer_{index}", buffer)
            self._ddp = DistributedDataParallel(held, **{"init_sync": False, **options})
        module.register_forward_pre_hook(BeforeForward(self), with_kwargs=True)
        module.register_forward_hook(AfterForward(self), always_call=True)

    def before(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        active = self._ddp is not None and module.training and torch.is_grad_enabled() and not any(self._calls)
        self._calls.append(active)
        if active:
            assert self._ddp is not None
            self._ddp.require_backward_grad_sync = self._share.is_last
            self._ddp._pre_forward(*args, **kwargs)  # type: ignore[no-untyped-call]
        return self._scale.before(module, args, kwargs)

    def after(self, output: Any) -> Any:
        if not self._calls:
            return None
        active = self._calls.pop()
        if active and output is not None:  # None: forward has raised
            assert self._ddp is not None
            output = self._ddp._post_forward(output)  # type: ignore[no-untyped-call]
        self._scale.after(output)
        return output
