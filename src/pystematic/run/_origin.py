"""`Origin`: what the process that starts a run of another process hands on, beside the parameters."""

from __future__ import annotations

import os

from pystematic._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pystematic.run._provenance import Provenance


def _ignore(run_dir: str) -> None:
    return


@record
class Origin:
    """Where the runs of this process come from.

    Attributes:
        parent: what started them: the id of a run, or ``sweep NAME``.
        point: key of the sweep's point that they are runs of.
        has_console: whether what they print is for the console too, or for the log alone.
        provenance: what they are made of, where the process that has imported the program has found that out for all
            the processes that it forks.
        copy: a folder that the program was loaded from, and the folder of which it is a copy, or None. The record names
            the latter, where a person looks for it.
        is_placed: whether it is decided where they are made: here.
        on_run_dir: called with the directory of a run as soon as its first files are there.
    """

    parent: str | None = None
    point: str | None = None
    has_console: bool = True
    provenance: Provenance | None = None
    on_run_dir: Callable[[str], None] = _ignore
    copy: tuple[str, str] | None = None
    is_placed: bool = False

    def placed(self, on_run_dir: Callable[[str], None]) -> Origin:
        """Return the same for runs that are made here, with somebody who is told the directory."""
        return Origin(**{**vars(self), "on_run_dir": on_run_dir, "is_placed": True})

    def original_of(self, path: str | None) -> str | None:
        """Return the file of which ``path`` is a copy, or ``path`` itself."""
        if path is None or self.copy is None or not path.startswith(self.copy[0] + os.sep):
            return path
        return self.copy[1] + path[len(self.copy[0]) :]


_origin = Origin()


def origin() -> Origin:
    """Return where the runs of this process come from."""
    return _origin


def set_origin(made: Origin) -> None:
    """Say where the runs of this process come from; in a process that was started for one run."""
    global _origin
    _origin = made
