"""`Context`, given to the main function beside its parameters: facts about the run, and what is registered on it.

Knows no library. `pystematic.torch.Context` adds devices, optimizers and states on top of it.
"""

from __future__ import annotations

from pystematic._words import did_you_mean
from pystematic.errors import ExperimentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any, Protocol

    from pystematic.record import Recorder
    from pystematic.resolve import Parameters

    class ContextRun(Protocol):
        """What a context needs to know of the run that it belongs to; `ActiveRun` is one."""

        @property
        def output_dir(self) -> Path: ...
        @property
        def parameters(self) -> Parameters: ...
        @property
        def recorder(self) -> Recorder: ...
        @property
        def run_dir(self) -> Any: ...
        @property
        def seeds(self) -> Any: ...
        @property
        def rank(self) -> int: ...
        @property
        def local_rank(self) -> int: ...
        @property
        def world_size(self) -> int: ...
        @property
        def watch(self) -> Any: ...


# Names that the context is going to have. Refused already now, so that no program has to be changed later.
_KEPT_FREE = frozenset(
    {
        *("should_stop", "save_checkpoint", "ddp"),
    }
)


class Context:
    """Facts about the run, and whatever is assigned to it: every assignment registers an object under its name.

    A context belongs to one run (``run``) or to none; what only a run knows is then an ``AttributeError``.

        context.model = make_model()
        context.register("history", [], place=False)
    """

    # What is registered lives in `__dict__`, everything of our own in slots: reading `context.model` in a training
    # loop costs what reading any attribute costs.
    __slots__ = ("__dict__", "_run")
    _run: ContextRun | None

    def __init__(self, run: ContextRun | None = None) -> None:
        object.__setattr__(self, "_run", run)

    # -- facts about the run -------------------------------------------------------------------------------------

    @property
    def output_dir(self) -> Path:
        """The run's directory."""
        return self._known_run("output_dir").output_dir

    @property
    def parameters(self) -> Parameters:
        """The run's parameters, read-only."""
        return self._known_run("parameters").parameters

    @property
    def run_id(self) -> str:
        """The run's id, which is the name of its directory."""
        return str(self._known_run("run_id").run_dir.id)

    @property
    def recorder(self) -> Recorder:
        """The run's recorder, or the one that was assigned."""
        assigned: Recorder | None = vars(self).get("recorder")
        return assigned if assigned is not None else self._known_run("recorder").recorder

    @recorder.setter
    def recorder(self, value: Any) -> None:
        vars(self)["recorder"] = value

    @property
    def device(self) -> Any:
        """Where things are placed; a context that knows no library places nothing, and says ``"cpu"``."""
        return "cpu"

    @property
    def rank(self) -> int:
        """The number of this process among all processes of the run, from 0."""
        run = self._find_run()
        return 0 if run is None else run.rank

    @property
    def local_rank(self) -> int:
        """The number of this process among those of this machine, from 0."""
        run = self._find_run()
        return 0 if run is None else run.local_rank

    @property
    def world_size(self) -> int:
        """How many processes work on the run together."""
        run = self._find_run()
        return 1 if run is None else run.world_size

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that speaks for all: rank 0."""
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        """Whether more than one process works on the run."""
        return self.world_size > 1

    def new_seed(self, name: str | int | None = None, nbits: int = 32, *, per_rank: bool = False) -> int:
        """Return the next number of the stream that ``random_seed`` starts, or the one that belongs to ``name``.

        Args:
            name: a number that depends on this name only, not on how many seeds were drawn before. An int is taken
                as ``nbits``.
            nbits: bits of the number.
            per_rank: whether every rank gets a number of its own.
        """
        run = self._find_run()
        if run is None:
            raise ExperimentError("context.new_seed() draws from the seed of a run, and this context belongs to none")
        if isinstance(name, int):
            return self.new_seed(None, name, per_rank=per_rank)
        seed: int = run.seeds.new_seed(name, nbits=nbits, per_rank=per_rank)
        return seed

    # -- epochs --------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The epoch that `epochs` is in, or what was assigned; 0 before."""
        return int(vars(self).get("epoch", 0))

    @epoch.setter
    def epoch(self, value: int) -> None:
        vars(self)["epoch"] = value

    def epochs(self, count: int) -> Iterator[int]:
        """Yield 0, 1, … up to ``count`` - 1, with `epoch` set to each of them."""
        for epoch in range(count):
            self.epoch = epoch
            yield epoch

    # -- what is registered --------------------------------------------------------------------------------------

    def register(self, name: str, obj: Any, *, place: bool = True) -> Any:
        """Register ``obj`` under ``name``, as an assignment does, and return it as it is registered.

        Args:
            name: the attribute to reach it by.
            obj: any object.
            place: whether it may be moved to the context's device.
        """
        owner = next((cls for cls in type(self).__mro__ if name in vars(cls)), None)
        settable = owner is not None and getattr(vars(owner)[name], "fset", None) is not None
        if name in _KEPT_FREE or (not settable and owner is not None and owner.__module__.startswith("pystematic.")):
            raise AttributeError(
                f"context.{name} cannot be assigned: the name belongs to the context itself. "
                f"Use another name, for instance context.own_{name.strip('_')}."
            )
        if place:
            obj = self._place(name, obj)
        if settable:
            object.__setattr__(self, name, obj)
        else:
            vars(self)[name] = obj
        return obj

    def __setattr__(self, name: str, value: Any) -> None:
        self.register(name, value)

    def __getattr__(self, name: str) -> Any:
        # Called for what is neither registered nor of the class, and for properties that found no run.
        if isinstance(getattr(type(self), name, None), property):
            raise AttributeError(f"context.{name} is known only inside a run, and this context belongs to none")
        names = {*vars(self), *(own for own in dir(type(self)) if not own.startswith("_"))}
        raise AttributeError(f"nothing is registered as context.{name}.{did_you_mean(name, sorted(names))}")

    def __setstate__(self, state: tuple[dict[str, Any] | None, dict[str, Any]]) -> None:
        # Copies are put together as they were, without registering (and so placing) anything anew.
        registered, own = state
        for name, value in own.items():
            object.__setattr__(self, name, value)
        vars(self).update(registered or {})

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={type(obj).__name__}" for name, obj in vars(self).items())
        return f"{type(self).__name__}({inside})"

    def _place(self, name: str, obj: Any) -> Any:
        """Return ``obj`` where it belongs. Raises when it cannot be registered."""
        return obj

    def _find_run(self) -> ContextRun | None:
        """Return the run that this context speaks of."""
        return self._run

    def _known_run(self, attribute: str) -> ContextRun:
        run = self._find_run()
        if run is None:
            raise AttributeError(attribute)  # becomes the whole message in __getattr__
        return run


def check_device(parameters: Parameters) -> None:
    """Check that ``device`` and ``cuda`` do not contradict each other. Looks at no hardware, and imports nothing.

    Raises:
        UsageError: they do.
    """
    device = parameters.get("device")
    if isinstance(device, str) and device.split(":")[0] == "cuda" and parameters.get("cuda") is False:
        raise UsageError(
            f"device is {device!r} ({parameters.source_of('device')}), but cuda is off "
            f"({parameters.source_of('cuda')}): give either --device {device} or --no-cuda"
        )
