"""`Trainer`: what a context does with modules, optimizers and loaders so that steps are right in every mode."""

from __future__ import annotations

import contextlib
import sys
import weakref
from typing import TYPE_CHECKING, Any

import torch

from pystematic._words import short
from pystematic.errors import ExperimentError
from pystematic.torch import _placement
from pystematic.torch._comparison import Comparison
from pystematic.torch._data import DataLoader, read_count
from pystematic.torch._share import Share
from pystematic.torch._strategy import AfterForward, BeforeForward, SingleStrategy, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Trainer:
    """Replicates modules, scales and clips gradients, takes steps.

    Args:
        parameters: ``precision``, ``compile`` and ``sync_batchnorm`` of the run.
        device: of the context.
        rank: of this process.
        world_size: of the run.
        noted: encloses what all processes do together, under a name for those that wait for it.
    """

    def __init__(
        self,
        parameters: Mapping[str, Any],
        device: torch.device,
        rank: int,
        world_size: int,
        noted: Callable[[str], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self.share = Share(world_size)
        self._noted = noted
        self._device = device
        self._rank = rank
        self._world_size = world_size
        self._dtype = _DTYPES.get(str(parameters.get("precision") or "fp32"))
        self._compile = bool(parameters.get("compile"))
        self._sync_batchnorm = bool(parameters.get("sync_batchnorm"))
        self._strategy: Strategy | None = self._make_strategy()
        self._comparison = _make_comparison(parameters, rank, world_size)
        # The objects, not only their identities: that of an object that is gone is given to another one.
        self._taken: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._modules: list[torch.nn.Module] = []
        self._is_evaluating = 0
        self._scaler = torch.amp.GradScaler(device.type) if self._dtype is torch.float16 else None
        self._is_own_step = False
        self._has_stepped = False
        self._must_update_scale = False
        self._has_said_what_differs = False

    def _make_strategy(self) -> Strategy | None:
        if self._world_size == 1:
            return None  # made when gradients are accumulated for the first time
        from pystematic.torch._ddp import DdpStrategy  # one process needs nothing of it

        return DdpStrategy(self.share)

    # -- what is registered --------------------------------------------------------------------------------------

    def take(self, path: str, obj: Any, *, wrap: bool, options: Mapping[str, Any]) -> None:
        """Prepare what was registered: modules, optimizers and loaders in it."""
        for where, item in _placement.walk(obj, path):
            if self._taken.get(id(item)) is item:
                continue
            if isinstance(item, torch.nn.Module) and wrap:
                self._take_module(where, item, options)
            elif isinstance(item, torch.optim.Optimizer):
                self._take_optimizer(item)
            elif isinstance(item, torch.Tensor) and item.requires_grad and item.is_leaf and self._world_size > 1:
                raise ExperimentError(
                    f"{where} is a trainable tensor outside of a module: its gradients would not be synchronised "
                    f"between the {self._world_size} processes. Make it a Parameter of a module, and assign that."
                )
            elif isinstance(item, DataLoader):
                item.join(self.share, where, lambda: self._is_evaluating > 0)
            else:
                continue
            self._taken[id(item)] = item

    def compare(self, what: str, lines: list[str]) -> None:
        """Check that all processes are about to do ``what`` with the same ``lines``; all of them call it.

        Raises:
            ExperimentError: another process differs.
        """
        if self._comparison is not None:
            with self._noted(what):
                self._comparison.check(what, lines)

    def _take_module(self, where: str, module: torch.nn.Module, options: Mapping[str, Any]) -> None:
        if self._world_size > 1:
            self.compare(f"registering {where}", _described(module))
        if not any(parameter.requires_grad for parameter in module.parameters()):
            return
        if self._world_size > 1:
            if self._sync_batchnorm:
                _synchronise_batchnorm(module)
            self._say_what_differs(module)
        self._modules.append(module)
        if self._dtype is not None and not self._compile:
            precision = _Precision(self)
            module.register_forward_pre_hook(BeforeForward(precision), with_kwargs=True)
            module.register_forward_hook(AfterForward(precision), always_call=True)
        if self._strategy is not None:
            with self._noted(f"registering {where}"):
                self._strategy.replicate(module, options)
        if self._compile:
            # As module.compile() does, which torch leaves out of copies and files too.
            module._compiled_call_impl = _CompiledCall(self, module)

    def _say_what_differs(self, module: torch.nn.Module) -> None:
        """Say once in which modules several processes cannot compute what one would."""
        if self._rank != 0 or self._has_said_what_differs:
            return
        kinds = []
        if any(_is_batchnorm(part) for part in module.modules()):
            kinds.append("batch norm computes its statistics in each process (--sync-batchnorm: over all)")
        if any(isinstance(part, torch.nn.modules.dropout._DropoutNd) and part.p for part in module.modules()):
            kinds.append("dropout draws in each process")
        if kinds:
            self._has_said_what_differs = True
            print(
                f"pystematic: the numbers will differ from those of one process: {'; '.join(kinds)}.", file=sys.stderr
            )

    def _take_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        if self._scaler is not None:
            optimizer.register_step_pre_hook(self._refuse_plain_step)
        optimizer.register_step_post_hook(lambda *_: self.share.finish_step())

    def _refuse_plain_step(self, *_: Any) -> None:
        self._has_stepped = True
        if not self._is_own_step:
            raise ExperimentError(
                "with precision fp16 the gradients are scaled, and optimizer.step() would take them as they are. "
                "Use context.backward(loss) and context.step(optimizer)."
            )

    # -- steps ---------------------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor, count: int | None) -> None:
        """Add the gradients of ``loss``, a mean over ``count`` samples of this process."""
        if not isinstance(loss, torch.Tensor):
            raise TypeError(
                f"context.backward() takes the loss as a tensor, not a {type(loss).__name__}: {short(loss)}"
            )
        self._update_scale()
        if count is not None:
            if count < 0:
                raise ValueError(f"count={count}: a loss is a mean over a number of samples")
            if self.share.is_repetition:
                count = 0
            self.share.count(count, self._summed(count))
        try:
            (loss if self._scaler is None else self._scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        finally:
            self.share.forget_count()

    def _summed(self, count: int) -> int:
        if self._world_size == 1:
            return count
        box = torch.tensor([count], dtype=torch.int64)
        with self._noted("backward(count=...)"):
            torch.distributed.all_reduce(box)
        return int(box)

    def step(self, optimizer: torch.optim.Optimizer, clip: float | None, scheduler: Any) -> torch.Tensor | None:
        """Clip the gradients, update the parameters, advance the scheduler, and clear the gradients."""
        norm = None
        if clip is not None and not clip > 0:
            raise ValueError(f"clip={clip!r}: the largest norm of the gradients is a number above 0, or None")
        if self._scaler is not None:
            self._scaler.unscale_(optimizer)
        if (correction := self.share.count_correction) != 1.0:
            gradients = [parameter.grad for parameter in _parameters_of(optimizer) if parameter.grad is not None]
            torch._foreach_mul_(gradients, correction)
        if clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(_parameters_of(optimizer), clip)
        self._is_own_step, self._has_stepped = True, self._scaler is None
        try:
            if self._scaler is None:
                optimizer.step()
            else:
                self._scaler.step(optimizer)  # does not call the optimizer where a gradient is infinite
                self._must_update_scale = True
        finally:
            self._is_own_step = False
        stepped = self._has_stepped
        self.share.finish_step()
        if scheduler is not None and stepped:
            scheduler.step()
        optimizer.zero_grad()
        return norm

    def _update_scale(self) -> None:
        # Not in `step`: further optimizers may have gradients that were computed with the same scale.
        if self._must_update_scale and self._scaler is not None:
            self._must_update_scale = False
            self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the scale of gradients in fp16; nothing in other precisions."""
        self._update_scale()
        return {} if self._scaler is None else self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the scale of a checkpoint."""
        if self._scaler is not None and state:
            self._scaler.load_state_dict(dict(state))

    def windows(self, loader: Any, accumulate: int) -> Windows:
        """Return the windows of one epoch of ``loader``."""
        if not isinstance(loader, DataLoader):
            raise TypeError(
                f"context.windows() takes a pystematic.torch.DataLoader, not a {type(loader).__name__}: it must know "
                "how many samples its batches have."
            )
        accumulate = read_count("accumulate", accumulate)
        if accumulate < 1:
            raise ValueError(f"accumulate={accumulate}: a window has at least one batch")
        self.share.may_scale = True
        if self._strategy is None:
            self._strategy = SingleStrategy(self.share)
            for module in self._modules:
                self._strategy.replicate(module, {})
        return Windows(loader, accumulate, self.share)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute in the run's precision."""
        if self._dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=self._dtype)

    @contextlib.contextmanager
    def evaluating(self, block: AbstractContextManager[None]) -> Iterator[None]:
        """Take note that loaders that are iterated meanwhile do not train."""
        self._is_evaluating += 1
        try:
            with block:
                yield
        finally:
            self._is_evaluating -= 1

    def local_rows(self, value: Any) -> int | None:
        """Return how many rows of ``value`` are samples of this process that count; None: all of them."""
        rows = value.shape[0] if isinstance(value, torch.Tensor) and value.dim() else None
        return 0 if self.share.repeated and rows == 1 else None


def _parameters_of(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


class Windows:
    """The optimizer steps of one epoch, each an iterable of micro-batches. ``len()`` is known."""

    def __init__(self, loader: DataLoader, accumulate: int, share: Share) -> None:
        self._loader = loader
        self._accumulate = accumulate
        self._share = share

    def __len__(self) -> int:
        return -(-len(self._loader) // self._accumulate)

    def __iter__(self) -> Iterator[Window]:
        # An epoch that goes on where a checkpoint was saved goes on at the begin of a window.
        sizes = self._loader.sizes_ahead()
        batches = iter(self._loader)
        try:
            for begin in range(0, len(sizes), self._accumulate):
                window = Window(batches, sizes[begin : begin + self._accumulate], self._share, self._loader)
                yield window
                window.finish()
                self._loader.release()
                # Only now: what is saved here holds the step that was taken after the window's last micro-batch.
                self._share.end_batch()
        finally:
            # Not left to the garbage collector: the last window, which the program's variable still holds, holds them.
            batches.close()


class Window:
    """The micro-batches of one optimizer step."""

    def __init__(self, batches: Iterator[Any], sizes: list[int], share: Share, loader: DataLoader) -> None:
        self._batches = batches
        self._loader = loader
        self._sizes = sizes
        self._share = share
        self._left = len(sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[Any]:
        self._share.open_window(sum(self._sizes))
        self._loader.hold()
        try:
            while self._left:
                self._left -= 1
                self._share.is_last = self._left == 0
                yield next(self._batches)
        finally:
            self._share.close_window()

    def finish(self) -> None:
        """Pass over what the program has left of the window."""
        if not self._left:
            return
        self._share.open_window(0)  # so that these are no steps
        while self._left:
            self._left -= 1
            next(self._batches)
        self._share.close_window()


class _Precision:
    """Has one module compute in the run's precision, and return what it returns in full precision."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        # One for each call under way, the innermost last: modules may call themselves.
        self._blocks: list[AbstractContextManager[Any]] = []

    def before(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        block = self._trainer.autocast()
        block.__enter__()
        self._blocks.append(block)

    def after(self, output: Any) -> Any:
        if self._blocks:
            self._blocks.pop().__exit__(None, None, None)
        return _in_full_precision(output)


class _CompiledCall:
    """Calls one module compiled, in the run's precision.

    The precision is set around what is compiled: a hook that does so would stand inside of it, and end its graph.
    """

    def __init__(self, trainer: Trainer, module: torch.nn.Module) -> None:
        def call(*args: Any, **kwargs: Any) -> Any:
            return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]

        self._trainer = trainer
        # Not the method itself, as module.compile() does: it is torch's own code, and so is the forward of a
        # `Sequential`, and torch compiles a call only once it is in somebody else's.
        self._compiled = torch.compile(call)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self._trainer.autocast() as block:
            output = self._compiled(*args, **kwargs)
        return output if block is None else _in_full_precision(output)


def _in_full_precision(output: Any) -> Any:
    """Return the output of a module such that losses and metrics are computed in full precision."""
    return _placement.change_tensors(
        output, lambda tensor: tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
    )


def _make_comparison(parameters: Mapping[str, Any], rank: int, world_size: int) -> Comparison | None:
    if world_size == 1:
        return None
    from pystematic.torch._group import DEFAULT_TIMEOUT_S, group_store

    limit_s = float(parameters.get("collective_timeout") or DEFAULT_TIMEOUT_S)
    return Comparison(group_store(), rank, world_size, limit_s)


def _described(module: torch.nn.Module) -> list[str]:
    """Return what must be the same of a module in all processes, a line for each part."""
    lines = [type(module).__qualname__]
    for name, parameter in module.named_parameters():
        kind = "trainable" if parameter.requires_grad else "fixed"
        lines.append(f"{kind} {name} {tuple(parameter.shape)} {parameter.dtype} on {parameter.device.type}")
    lines += [f"buffer {name} {tuple(buffer.shape)} {buffer.dtype}" for name, buffer in module.named_buffers()]
    return lines


def _is_batchnorm(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and not isinstance(module, torch.nn.SyncBatchNorm)


def _synchronise_batchnorm(module: torch.nn.Module) -> None:
    """Make the batch norms in a module compute their statistics over all processes; each stays the object it is."""
    for part in module.modules():
        if _is_batchnorm(part):
            converted = torch.nn.SyncBatchNorm(part.num_features)  # type: ignore[arg-type]
            part.__class__ = torch.nn.SyncBatchNorm
            for name, value in vars(converted).items():
                vars(part).setdefault(name, value)
