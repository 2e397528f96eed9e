"""Process trees as the kernel shows them: who is below whom, how much memory they use, killing all of them.

Reads ``/proc``; where there is none a tree is its process group, and memory is not known.
"""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def children_of(pid: int) -> list[int]:
    """Return the processes whose parent is ``pid`` now, those that have ended and were not waited for included."""
    try:
        found: list[int] = []
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        return found
    except OSError:  # it has ended, or the kernel was built without these files
        return _children_by_scan(pid)


def _children_by_scan(pid: int) -> list[int]:
    try:
        names = os.listdir("/proc")
    except OSError:
        return []
    return [int(name) for name in names if name.isdecimal() and _parent_of(int(name)) == pid]


def _parent_of(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold anything (proc(5)).
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def tree_of(pid: int) -> list[int]:
    """Return ``pid`` and all below it."""
    found = [pid]
    for one in found:
        found += [child for child in children_of(one) if child not in found]
    return found


def kill_tree(pid: int) -> None:
    """Kill a process, its group and all below it. What is started meanwhile becomes an orphan of whoever adopts."""
    below = tree_of(pid)
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it leads no group yet
        pass
    for one in below:
        kill(one, signal.SIGKILL)


def kill(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def memory_bytes(pids: Iterable[int], enough: int) -> int:
    """Return how much memory processes use together, what they share counted once (PSS).

    Args:
        pids: the processes.
        enough: below this the answer may be larger than the truth. What the kernel knows without counting pages is an
            upper bound, and most often that is all that is needed.
    """
    pids = list(pids)
    bound = sum(map(_resident_bytes, pids))
    return bound if bound < enough else sum(map(_proportional_bytes, pids))


def _resident_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, IndexError):
        pass
    return _resident_bytes(pid)


def oom_kills(path: str = "/proc/vmstat") -> int:
    """Return how many processes the kernel of this machine has killed for want of memory."""
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except (OSError, IndexError):
        pass
    return 0
