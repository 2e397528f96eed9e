"""The contract between the recorder's threads and a place where recorded things go."""

from __future__ import annotations

from pystematic._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    from pystematic import rundir
else:
    Protocol = object  # importing `typing` would cost a tenth of a small program's start


@record
class ScalarBatch:
    """Scalars in the order in which they were recorded: lists of equal length, which belong to the recorder.

    Attributes:
        steps: int, or a finite float.
        times: seconds since 1970.
        values: plain int of any size or float, NaN and infinities included.
        weights: the number of samples that each stands for, None where nobody said it; None when nobody said any.
    """

    tags: list[str]
    steps: list[int | float]
    times: list[float]
    values: list[int | float]
    weights: list[float | None] | None = None


@record
class RunFacts:
    """What a backend is told of the run, all of it as its record has it: secrets are masked.

    Attributes:
        folder: the run directory, an absolute path; the folder of a recorder without a run.
        run_id: its id.
        experiment: the full name of the experiment.
        output_dir: the folder of all runs.
        params: the parameters by name; JSON-like.
    """

    folder: str
    run_id: str
    experiment: str
    output_dir: str
    params: Mapping[str, Any]


class Backend(Protocol):
    """A place where recorded things go. Subclass it; only ``name``, ``dropped`` and `write` have to be there.

    All methods but ``for_child`` are called by one thread, the same for all of them, never by the program that
    records. They may raise any exception: it is reported once, and the backend is called again next time; but one
    whose ``start`` raises is not called any more. A backend that keeps what it could not write bounds what it keeps.
    """

    name: str
    """What messages call it."""

    dropped: int
    """How many numbers were given to it and are lost."""

    def start(self, run: RunFacts) -> None:
        """Begin. Called first, and once. Large libraries are imported here, not with the backend's module."""
        return

    def write(self, batch: ScalarBatch) -> None:
        """Take a batch. It may be kept until the next ``flush``; the lists are not changed, by nobody.

        Any text is a tag, and two tags never become one. Steps come in any order. What the backend has no place for
        (a NaN, a step that is no whole number) harms nothing else. One that raises has taken nothing of the batch: its
        numbers count as lost.
        """

    def write_item(self, item: rundir.Item) -> None:
        """Take what is no number: a picture, a table, a file. Its files are written. Passed over if not overridden."""
        return

    def flush(self) -> None:
        """Put in safety what was taken. Called at least every half second, and when there is nothing new, too."""
        return

    def sync(self) -> None:
        """Wait until what was taken outlasts a loss of power. Called after a ``flush``, where a program asks for it."""
        return

    def set_status(self, status: str) -> None:
        """Take note how the run ended: completed, failed, interrupted or pruned. Called once before `close`, if known.

        Passed over where a backend has no such method.
        """
        return

    def close(self) -> None:
        """Finish. Called once, after a last ``flush``; not when the end could not wait any longer."""
        return

    def add_dropped(self, count: int) -> None:
        """Take note that the recorder lost that many numbers before any backend saw them."""
        return

    def for_child(self) -> Backend | None:
        """Return the backend of a forked child that records, started already; None if it has none.

        Called in the child. What this backend holds belongs to the parent, which goes on writing it.
        """
        return None
