"""What the commands that look at runs share: where the runs are, and a run as a record, a path, a time."""

from __future__ import annotations

import os
import sys

from pystematic.errors import NotFoundError, UsageError
from pystematic.store import Run, find_run, runs
from pystematic.terminal import format_cell, output_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.resolve import Parameters
    from pystematic.store import Runs


def runs_in(options: Parameters) -> Runs:
    """Return the runs of the folder to look in.

    Raises:
        NotFoundError: there is no such folder.
    """
    return runs(folder_of(options))


def folder_of(options: Parameters) -> str:
    """Return the folder to look in.

    Raises:
        NotFoundError: there is no such folder.
    """
    path = str(options["output_dir"])
    if not os.path.isdir(path):
        source = options.source_of("output_dir")
        hint = " Runs are recorded in ./output unless --output-dir says otherwise." if source == "default" else ""
        raise NotFoundError(f"there is no folder {path!r} with runs ({source}).{hint}")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"the folder {path!r} may not be read by you ({options.source_of('output_dir')}).")
    return path


def runs_named(options: Parameters, words: Sequence[str]) -> list[Run]:
    """Return the runs that words of a command line name, each once.

    Raises:
        NotFoundError: one is no run.
    """
    return list(dict.fromkeys(find_run(word, str(options["output_dir"])) for word in words))


def record_of(run: Run) -> dict[str, Any]:
    """Return what is known of a run as JSON holds it: parameters as in the run's own file."""
    return {
        "id": run.id,
        "experiment": run.experiment,
        "status": run.status,
        "path": str(run.path),
        "started_at": None if run.started_at is None else run.started_at.isoformat(),
        "duration_s": run.duration,
        "params": run.plain_params,
        "sources": run.sources,
        "metrics": run.summary,
        "tags": list(run.tags),
        "note": run.note,
        "metric": run.document.get("metric"),
    }


def local_time(seconds: float | None) -> str:
    """Write a time as people read it where they are; nothing for None."""
    import time

    if seconds is None:
        return ""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):  # a year that the platform cannot convert
        return str(seconds)


def shown_path(run: Run) -> str:
    """Return the way to a run's folder from here, if it lies below."""
    relative = os.path.relpath(run.path)
    return str(run.path) if relative.startswith("..") else relative


def facts_line(name: str, value: object, width: int = 9) -> str:
    """Write one fact of a run. Names of a longer one among them need its ``width``."""
    return f"  {name:<{width}} {format_cell(value)}"


def table_width() -> int | None:
    """Return the terminal's width, None where nothing may be cut."""
    return None if sys.stdout is None else output_width()


def labels_of(found: Sequence[Run]) -> list[str]:
    """Return a short name for each of some runs, such that no two are alike."""
    ids = [run.id for run in found]
    for names in ([run_id.rpartition("_")[2] for run_id in ids], ids):
        if len(set(names)) == len(names):
            return names
    return [f"{run_id} ({i})" for i, run_id in enumerate(ids, 1)]
