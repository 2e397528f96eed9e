"""Whether a run that says `running` still is: by the process table on its own machine, elsewhere by its heartbeat."""

from __future__ import annotations

import os
import time

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

LOST_AFTER_S = 120.0
# How long the difference between our clock and a file server's is taken to hold.
CLOCK_VALID_S = 30.0
_clocks: dict[int, tuple[float, float]] = {}


def is_lost(run_dir: rundir.RunDir, document: Mapping[str, Any]) -> bool:
    """Tell whether the process of a run that says ``running`` is gone."""
    identity = document.get("pid")
    alive = rundir.is_alive(identity, document.get("host"))
    # Two machines or containers of one name have two boots; what ours does not know may live in the other.
    if alive is False and identity is not None and identity.get("boot_id") != rundir.process_identity()["boot_id"]:
        alive = None
    if alive is not None:
        return not alive
    beats = [beat for path in (run_dir.heartbeat_file, run_dir.run_file) if (beat := _touched_at(path)) is not None]
    return not beats or _server_time(run_dir.path) - max(beats) > LOST_AFTER_S


def _touched_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _server_time(folder: Path) -> float:
    """Return the time by the clock that stamps the files of ``folder``, which may be another machine's."""
    try:
        device = os.stat(folder).st_dev
        measured_at, difference_s = _clocks.get(device, (-CLOCK_VALID_S, 0.0))
        if time.monotonic() - measured_at >= CLOCK_VALID_S:
            difference_s = _stamp(folder) - time.time()
            _clocks[device] = (time.monotonic(), difference_s)
    except OSError:  # we may only read there: our own clock is the best that there is
        return time.time()
    return time.time() + difference_s


def _stamp(folder: Path) -> float:
    import tempfile

    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(b".")
        return os.fstat(file.fileno()).st_mtime
