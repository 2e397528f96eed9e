"""Whether this process may be forked: a copy of it lacks all threads but one, and waits for ever for the others."""

from __future__ import annotations

import os
import sys
import threading

# Names of threads whose libraries start them again in a forked child.
_PREPARED = ("jemalloc_bg",)


def why_not_fork() -> str | None:
    """Return why a fork of this process could hang or crash, None where it is safe."""
    if not hasattr(os, "fork") or sys.platform != "linux":
        return "this platform has no safe fork"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return "CUDA is initialised in this process"
    others = [
        thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith("pystematic-")
    ]
    if others:
        return f"a thread of the program is running ({others[0]})"
    extra = _native_threads() - _pooled_by_openblas()
    if extra > 0:
        return f"a parallel computation has left {extra} thread{'s' * (extra > 1)} here"
    return None


def _native_threads() -> int:
    """Return how many threads this process has that Python does not know, and that are not prepared for a fork."""
    count = -len(threading.enumerate())
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm", encoding="utf-8", errors="replace") as file:
                count += not file.read().startswith(_PREPARED)
        except OSError:  # it has ended meanwhile
            continue
    return count


def _pooled_by_openblas() -> int:
    """Return how many threads OpenBLAS libraries have made at their import; they make new ones in a forked child.

    https://github.com/OpenMathLib/OpenBLAS/blob/develop/driver/others/blas_server.c: its handlers of pthread_atfork.
    """
    paths = set()
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
        for line in file:
            path = line.rpartition(" ")[2].strip()
            if "openblas" in path.rpartition("/")[2].lower():
                paths.add(path)
    if not paths:
        return 0
    import ctypes

    count = 0
    for path in paths:
        library = ctypes.CDLL(path)
        for prefix in ("", "scipy_"):
            for suffix in ("64_", ""):
                ask = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
                if ask is not None:
                    count += max(0, int(ask()) - 1)
                    break
            else:
                continue
            break
    return count
