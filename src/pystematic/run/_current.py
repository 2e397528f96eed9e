"""The run that is active in this process: the one piece of state of this package that is not passed around."""

from __future__ import annotations

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystematic.run._active import ActiveRun

_active: ActiveRun | None = None
# Told about every change: the run that begins, None when it has ended.
_listeners: list[Callable[[ActiveRun | None], None]] = []


def current() -> ActiveRun | None:
    """Return the active run of this process, or None. A forked child belongs to the run of its parent."""
    return _active


def set_current(run: ActiveRun | None) -> None:
    """Make ``run`` the active one."""
    global _active
    _active = run
    for listener in _listeners:
        listener(run)


def when_current_changes(listener: Callable[[ActiveRun | None], None]) -> None:
    """Call ``listener`` now and whenever a run begins or ends."""
    _listeners.append(listener)
    listener(_active)


def known_run(what: str) -> ActiveRun:
    """Return the active run.

    Raises:
        ExperimentError: none is active.
    """
    if _active is None:
        raise ExperimentError(f"{what} is known only while an experiment runs, and none is running in this process.")
    return _active


def new_seed(name: str | int | None = None, nbits: int = 32, *, per_rank: bool = False) -> int:
    """Return the next number of the stream that ``random_seed`` starts, or the one that belongs to ``name``.

    Args:
        name: a number that depends on this name only, not on how many seeds were drawn before. An int is taken as
            ``nbits``, as in pystematic 1.x.
        nbits: bits of the number.
        per_rank: whether every rank gets a number of its own.

    Raises:
        ExperimentError: no experiment is running.
    """
    return known_run("new_seed()").seeds.new_seed(name, nbits, per_rank=per_rank)


def is_subprocess() -> bool:
    """Tell whether `launch_subprocess` started this process.

    Raises:
        ExperimentError: no experiment is running.
    """
    return known_run("is_subprocess()").is_subprocess


def local_rank() -> int:
    """Return the number of this process among those of the run on this machine, 0 for the one that started it.

    Raises:
        ExperimentError: no experiment is running.
    """
    return known_run("local_rank()").local_rank
