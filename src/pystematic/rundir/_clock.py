"""The clock that stamps the files of a folder: a file server's may differ from ours by minutes."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

# How long the difference between our clock and a file server's is taken to hold.
CLOCK_VALID_S = 30.0
_clocks: dict[int, tuple[float, float]] = {}


def server_time(folder: Path) -> float:
    """Return the time, in seconds since 1970, by the clock that stamps the files of ``folder``."""
    try:
        device = os.stat(folder).st_dev
        measured_at, difference_s = _clocks.get(device, (-CLOCK_VALID_S, 0.0))
        if time.monotonic() - measured_at >= CLOCK_VALID_S:
            difference_s = _stamp(folder) - time.time()
            _clocks[device] = (time.monotonic(), difference_s)
    except OSError:  # we may only read there: our own clock is the best that there is
        return time.time()
    return time.time() + difference_s


def last_touched(paths: list[Path]) -> float | None:
    """Return when the newest of these files was written, by the clock that stamps them; None where none is there."""
    times = []
    for path in paths:
        try:
            times.append(path.stat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)


def _stamp(folder: Path) -> float:
    import tempfile

    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(b".")
        return os.fstat(file.fileno()).st_mtime
