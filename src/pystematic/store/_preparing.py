"""`prepare_columns`: parses the series of many runs by several processes, so that they lie in the cache afterwards.

Parsing is bound to one thread of Python. The processes are fresh ones, as whoever asks may have threads, with which a
fork is not safe. What they fail at is parsed by the one who reads it.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections import deque

from pystematic._cache_dir import cached_file
from pystematic.rundir import RunDir
from pystematic.store._columns import read_columns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Bytes of series that one process parses while others would have to be started.
WORTH_IT = 24 * 2**20
MOST_PROCESSES = 4
_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from pystematic.store import _preparing; _preparing.answer_requests()"
)


def prepare_columns(folders: Iterable[str | os.PathLike[str]]) -> None:
    """Parse the series of runs that are in no cache yet, where that is enough work for several processes.

    A cache that is there may be behind its file; the rest is parsed when it is read.
    """
    waiting = {os.fspath(folder): size for folder in folders if (size := _unread_bytes(folder))}
    processes = min(MOST_PROCESSES, os.cpu_count() or 1, len(waiting))
    if processes < 2 or sum(waiting.values()) < WORTH_IT or not sys.executable:
        return
    # The longest first, so that all end at nearly the same time.
    paths = deque(sorted(waiting, key=waiting.__getitem__, reverse=True))
    threads = [threading.Thread(target=_drive, args=(paths,), daemon=True) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _unread_bytes(folder: str | os.PathLike[str]) -> int:
    """Return how many bytes would have to be parsed and kept; 0 where there is a cache, or none can be."""
    main = RunDir(folder).metrics_file()
    cache = cached_file("series", os.path.realpath(main), ".bin")
    if not os.path.isabs(cache) or os.path.exists(cache) or RunDir(folder).metrics_files() != [main]:
        return 0
    try:
        return os.stat(main).st_size
    except OSError:
        return 0


def _drive(paths: deque[str]) -> None:
    """Start a process, and give it one path after the other."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _CODE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="ascii",
        )
    except OSError:
        return
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        try:
            while True:
                process.stdin.write(json.dumps(paths.popleft()) + "\n")
                process.stdin.flush()
                if not process.stdout.readline():
                    return
        except (IndexError, OSError):  # nothing is left to do; or it was ended
            return


def answer_requests() -> None:
    """Be such a process, until standard input ends: also when the one who asks has died."""
    gc.disable()  # lines hold no cycles, and looking for some is a fifth of the work
    for line in sys.stdin:
        read_columns(json.loads(line))
        print(flush=True)
