"""`Context` with torch: places what is assigned to it on the device, takes training steps, gives and takes states.

Loads without torch, and does not import it: as long as torch is not loaded there is nothing to place.
"""

from __future__ import annotations

import sys

from pystematic.errors import ExperimentError
from pystematic.run import Context as BaseContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from typing import Any, Self

    import torch

    from pystematic.run import ActiveRun, ContextRun
    from pystematic.torch._checkpoints import Checkpoints
    from pystematic.torch._means import RunningMean
    from pystematic.torch._trainer import Trainer


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
    ``torch.utils.data.DataLoader`` is rebuilt as one in a run, and one line says so; in a context of your own it stays
    as it is, and its batches are not moved.
    """

    __slots__ = ("_checkpoints", "_device", "_trainer", "_unplaced", "_unsaved")
    _checkpoints: Checkpoints | None
    _device: torch.device | None
    _trainer: Trainer | None
    _unplaced: set[str]
    _unsaved: set[str]

    def __init__(self, run: ContextRun | None = None) -> None:
        super().__init__(run)
        object.__setattr__(self, "_device", None)
        object.__setattr__(self, "_checkpoints", None)
        object.__setattr__(self, "_trainer", None)
        object.__setattr__(self, "_unplaced", set())
        object.__setattr__(self, "_unsaved", set())

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
    def local_rank(self) -> int:
        """The number of this process among those of this machine, from 0."""
        from pystematic.torch._world import get_local_rank  # not loaded before it is needed

        return super().local_rank if self._find_run() is not None else get_local_rank()

    @property
    def world_size(self) -> int:
        """How many processes work on the run together."""
        from pystematic.torch._world import get_num_processes  # not loaded before it is needed

        return super().world_size if self._find_run() is not None else get_num_processes()

    # -- what is registered --------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        obj: Any,
        *,
        checkpoint: bool = True,
        place: bool = True,
        wrap: bool = True,
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Register ``obj`` under ``name``, as an assignment does, and return it as it is registered.

        Args:
            name: the attribute to reach it by.
            obj: any object. Modules stay the same objects; a tensor on another device is copied.
            checkpoint: whether it takes part in checkpoints.
            place: whether it may be moved to the context's device, now and by `to`.
            wrap: whether modules in it are replicated, compiled and run in the run's precision.
            options: for what replicates modules, such as ``{"find_unused_parameters": True}``.

        Raises:
            ExperimentError: an optimizer has parameters that belong to no registered module, or a module that is to
                be replicated is on another device.
        """
        obj = super().register(name, obj, place=place)
        (self._unplaced.discard if place else self._unplaced.add)(name)
        if self._run is None:
            return obj
        if checkpoint:
            self._unsaved.discard(name)
            run: Any = self._run
            # Not before: without any state of its own a run that goes on would only record its steps twice.
            run.stop.use_saving(self._save_and_wait)
            if self._find_run().restored is not None:
                restored = self._saving.restore(name, obj)
                if restored is not obj:
                    vars(self)[name] = obj = restored
        else:
            self._unsaved.add(name)
        if name == "epoch":
            self._saving.begin_epoch()
        elif "torch" in sys.modules:
            if wrap and not place and self.world_size > 1:
                _placement().check_device(name, obj, self.device)
            self._training.take(f"context.{name}", obj, wrap=wrap, options=options or {})
        return obj

    def _place(self, name: str, obj: Any) -> Any:
        if self._run is None or "torch" not in sys.modules:
            return obj
        placement = _placement()
        placement.check_owned(name, obj, vars(self))
        from pystematic.torch._data import DataLoader, rebuild  # imports torch

        if placement.is_plain_loader(obj):
            obj = rebuild(obj, f"context.{name}", self.world_size)
        return obj.to(self.device) if isinstance(obj, DataLoader) else placement.place(obj, self.device)

    @property
    def _training(self) -> Trainer:
        if self._trainer is None:
            _placement()  # says what is missing where torch is not installed
            from pystematic.torch._trainer import Trainer  # imports torch

            run = self._find_run()
            parameters = {} if run is None else run.parameters
            trainer = Trainer(parameters, self.device, self.rank, self.world_size, self._noted)
            if run is not None:
                trainer.share.on_begin = self._begin_training
                if self.world_size > 1:
                    trainer.share.on_hand_out = self._begin_training_batch
                trainer.share.on_repeated = self._begin_repetition
                if run.restored is not None:
                    trainer.load_state_dict(run.restored.get("scaler") or {})
                trainer.share.on_step_end = run.stop.end_step
            object.__setattr__(self, "_trainer", trainer)
        assert self._trainer is not None
        return self._trainer

    def _active_run(self, what: str) -> ActiveRun:
        """Return the run, which inside of one is more than a context in general may ask of it."""
        run: ActiveRun = self._known_run(what)  # type: ignore[assignment]
        return run

    @property
    def _saving(self) -> Checkpoints:
        if self._checkpoints is None:
            from pystematic.torch._checkpoints import Checkpoints  # many runs save nothing

            run: Any = self._find_run()
            if run is None:
                raise ExperimentError("checkpoints are those of a run, and none is active in this process")
            active = self._active_run("save_checkpoint")
            checkpoints = Checkpoints(self, active)
            active.stop.use_saving(self._save_and_wait)
            object.__setattr__(self, "_checkpoints", checkpoints)
        assert self._checkpoints is not None
        return self._checkpoints

    def _begin_training(self) -> None:
        """Do what belongs before the first training batch of a run."""
        run: Any = self._known_run("loader")
        if not run.uses_loader:
            run.uses_loader = True
            self._training.compare("the first training batch with the registered names", sorted(vars(self)))
            self._saving.begin_training()

    def _begin_training_batch(self, samples: int | None) -> None:
        """Tell the recorder what this process's numbers weigh beside those of the others."""
        recorder: Any = self.recorder
        if samples is not None and not getattr(recorder, "is_repeated", False):
            recorder.weight = samples

    def _begin_repetition(self, is_repeated: bool) -> None:
        """Tell the recorder whether this process's numbers count, whatever the program says that they weigh."""
        recorder: Any = self.recorder
        recorder.is_repeated = is_repeated

    def _save_and_wait(self) -> None:
        with self._noted("the checkpoint at the end"):
            self._saving.save()
            self._saving.wait()
            if self.world_size > 1:
                # A launcher ends all processes when the first one has ended: none does before the file is whole.
                _collectives().barrier(self.world_size)

    def scaler_state(self) -> dict[str, Any]:
        """Return the state of what scales gradients in fp16, for checkpoints."""
        return {} if self._trainer is None else self._trainer.state_dict()

    def _noted(self, name: str) -> AbstractContextManager[Any]:
        """Enclose what all processes do; one process needs nothing of torch for it."""
        import contextlib

        return self._collective(name) if self.world_size > 1 else contextlib.nullcontext()

    def save_checkpoint(self, id: Any = None, metric: float | None = None) -> None:
        """Save the state of everything registered, into ``checkpoints/`` of the run; all processes call it.

        A file is whole or absent, whatever dies meanwhile. The loop is blocked for the copy of the state; a thread
        writes it. The last ``keep_last`` and the best ``keep_best`` stay.

        Args:
            id: what tells this checkpoint from others; the recorder's step when None. A further one of the same id
                takes its place.
            metric: how good it is; when None the last recorded value of the experiment's ``metric``.
        """
        with self._noted("save_checkpoint"):
            self._saving.save(id, metric)

    @property
    def should_stop(self) -> bool:
        """Whether the run was asked to end, for loops that use neither our loaders nor ``recorder.step()``.

        All processes ask at the same places, and get the same answer.
        """
        run: Any = self._known_run("should_stop")
        return bool(run.stop.asks_at_step_end())

    def epochs(self, count: int) -> Iterator[int]:
        """Yield the epochs up to ``count`` - 1, from 0 or from where a resumed run goes on, with `epoch` set to each.

        A run that is asked to end does so between two epochs too.
        """
        run = self._find_run()
        if run is None:
            yield from super().epochs(count)
            return
        saving = self._saving
        saving.begin_epochs()
        for epoch in range(saving.first_epoch, count):
            self.epoch = epoch
            yield epoch
            run.stop.end_step()

    def _find_run(self) -> Any:  # an `ActiveRun`, of which the base class needs less
        if self._run is None:
            from pystematic.run import current  # a context of one's own speaks of the run that it is used in

            return current()
        return self._run

    # -- training ------------------------------------------------------------------------------------------------

    def backward(self, loss: torch.Tensor, count: int | None = None) -> None:
        """Compute the gradients of ``loss`` and add them to those of the parameters.

        Args:
            loss: a mean over samples.
            count: how many samples of this process it is a mean of, where no loader of ours (or more than one) knows.
        """
        self._training.backward(loss, count)

    def windows(self, loader: Any, accumulate: int) -> Any:
        """Yield the micro-batches of one optimizer step after the other: ``accumulate`` batches, fewer at the end.

        The gradients of a window add up to those of its samples in one batch, and are synchronised once.

            for window in context.windows(context.loader, accumulate=4):
                for images, labels in window:
                    context.backward(cross_entropy(context.model(images), labels))
                context.step()
        """
        return self._training.windows(loader, accumulate)

    def autocast(self) -> AbstractContextManager[Any]:
        """Compute a ``with`` block in the run's precision. Registered modules do by themselves."""
        return self._training.autocast()

    def mean(self, tag: str) -> RunningMean:
        """Return the running mean of this name, made when it is first asked for; it takes part in checkpoints.

        ``update(value, n)`` adds ``n`` samples (or tokens, pixels, ...), ``compute()`` returns the mean over all
        processes, ``reset()`` begins anew. Update it inside the loop over batches, which knows what counts nowhere. In
        a run that goes on in the middle of an epoch, a reset before the first batch does not take away what was
        restored.
        """
        from pystematic.torch._checkpoints import MEAN_PREFIX
        from pystematic.torch._means import RunningMean  # imports torch

        name = f"{MEAN_PREFIX}{tag}"
        if name not in vars(self):
            share = None if self._run is None else self._training.share
            made = RunningMean(self.world_size, lambda n: share is not None and share.leaves_out(n), self._noted, tag)
            vars(self)[name] = made if self._run is None else self._saving.restore(name, made)
        mean: RunningMean = vars(self)[name]
        return mean

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
        return self._training.step(optimizer, clip, scheduler)

    def evaluating(self, *models: torch.nn.Module) -> AbstractContextManager[None]:
        """Put models into eval mode without gradients for a ``with`` block; afterwards each part is as it was.

        Without arguments: all registered modules.
        """
        placement = _placement()
        block: AbstractContextManager[None] = placement.evaluating(models or placement.modules_in(vars(self)))
        return self._training.evaluating(block)

    # -- all processes together ----------------------------------------------------------------------------------

    def all_reduce(self, value: Any, op: str | None = None) -> Any:
        """Return the sum, mean, min, max or product of ``value`` over all processes; all of them call it.

        Args:
            value: a tensor (a new one is returned), of one shape and type on all processes, or a number. Numbers are
                exact: an int if all processes give ints and ``op`` is not ``mean``, else a float.
            op: ``sum``, ``mean``, ``min``, ``max`` or ``product``; numbers are summed without it.

        Raises:
            ExperimentError: the processes give different things, or ask for different operations.
        """
        with self._collective("all_reduce") as collectives:
            return collectives.all_reduce(value, op, self.world_size)

    def gather(self, value: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes along dimension 0; all of them call it.

        What was computed from a batch of our loader comes in the order of the data set, each sample once; gather it
        before the next batch. Numbers of rows may differ.

        Raises:
            ExperimentError: the processes' tensors differ in more than their number of rows.
        """
        rows = self._training.local_rows(value)
        with self._collective("gather") as collectives:
            gathered: torch.Tensor = collectives.gather(value, rows, self.world_size)
        return gathered

    def broadcast(self, value: Any, source: int = 0) -> Any:
        """Return what rank ``source`` has given: a tensor, or anything that can be pickled; all processes call it.

        What the others give is not read; it may be None.
        """
        with self._collective("broadcast") as collectives:
            return collectives.broadcast(value, source, self.device, self.world_size)

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        with self._collective("barrier") as collectives:
            collectives.barrier(self.world_size)

    def main_first(self, local: bool = False) -> AbstractContextManager[None]:
        """Let the main process run a ``with`` block before all others, which find its work done.

        Args:
            local: the first process of each machine, for what is on the machine's own disk.
        """
        first = self.world_size == 1 or (self.local_rank if local else self.rank) == 0
        block: AbstractContextManager[None] = _collectives().main_first(
            first, lambda: self._collective("main_first"), self.world_size
        )
        return block

    def _collective(self, name: str) -> AbstractContextManager[Any]:
        """Enclose what all processes do, so that those are named that do not; gives the functions for it."""
        run = self._find_run()
        block: AbstractContextManager[Any] = _collectives().noted(None if run is None else run.watch, name)
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

    def ddp(self, **options: Any) -> Self:
        """Replicate what is registered now, as the run's context does at each assignment; all processes call it.

        Modules stay the objects that they are, and loaders weigh their batches. Move everything first. In one process
        nothing is replicated.

        Args:
            options: for what replicates modules, such as ``find_unused_parameters=True``.
        """
        for name, obj in vars(self).items():
            self._training.take(f"context.{name}", obj, wrap=True, options=options)
        return self

    def autotransform(self) -> Self:
        """Move everything to where the run's parameters ask for, and replicate it where there are several processes.

        When the experiment declares a parameter ``checkpoint`` and it is set, the state in that file is loaded first.
        """
        run = self._find_run()
        if run is None:
            raise ExperimentError("context.autotransform() follows the parameters of a run, and none is active")
        if run.parameters.get("checkpoint"):
            from pystematic.torch._checkpoint import load_checkpoint  # not loaded before it is needed

            self.load_state_dict(load_checkpoint(run.parameters["checkpoint"]))
        self.to(_placement().find_device(run.parameters))
        return self.ddp() if self.world_size > 1 else self

    def state_dict(self) -> dict[str, Any]:
        """Return the state of everything registered that has one, by name.

        Modules, optimizers and whatever has ``state_dict`` and ``load_state_dict`` give theirs; numbers, text, bytes,
        tensors, arrays, and lists, tuples, dicts and sets of them are taken as they are. Anything else is left out.
        Tensors share their memory with the objects.
        """
        from pystematic.torch import _state  # not loaded before it is needed

        return {name: _state.take_state(obj) for name, obj in self.saved().items() if _state.has_state(obj)}

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> None:
        """Put the state that `state_dict` returned back into what is registered.

        An entry that is None where an object with a state is registered holds nothing to load (old checkpoints).

        Args:
            state: the states by name.
            strict: whether every registered name with a state must be there, and no other.

        Raises:
            ExperimentError: names are missing or unexpected (nothing is loaded then), or a state does not fit.
        """
        from pystematic.torch import _state  # not loaded before it is needed
        from pystematic.torch._checkpoints import MEAN_PREFIX

        for name in state:
            if name.startswith(MEAN_PREFIX):  # made when it is first asked for
                self.mean(name.removeprefix(MEAN_PREFIX))
        registered = self.saved()
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

    def saved(self) -> dict[str, Any]:
        """Return what takes part in checkpoints, with the run's own recorder, which nobody needs to assign."""
        registered = {name: obj for name, obj in vars(self).items() if name not in self._unsaved}
        return registered if self._run is None else {"recorder": self.recorder, **registered}


def _placement() -> Any:
    try:
        from pystematic.torch import _placement  # imports torch, which a program without torch must not pay for
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ExperimentError("this needs torch, which is not installed: pip install 'pystematic[torch]'") from error
    return _placement


def _collectives() -> Any:
    _placement()
    from pystematic.torch import _collectives  # imports torch

    return _collectives
