"""Who a process is, beyond its number, and whether it still lives: numbers are used again after a while."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def host_name() -> str:
    """Return this machine's name."""
    if hasattr(os, "uname"):
        return os.uname().nodename
    return os.environ.get("COMPUTERNAME", "localhost")


def boot_id() -> str | None:
    """Return what changes with every boot of this machine, or None where that is unknown."""
    if sys.platform == "linux":
        return _read("/proc/sys/kernel/random/boot_id")
    import psutil

    return str(int(psutil.boot_time()))


def start_time(pid: int) -> str | None:
    """Return when a process was started, to be compared for equality only; None when there is no such process."""
    if sys.platform == "linux":
        text = _read(f"/proc/{pid}/stat")
        if text is None:
            return None
        # The name in parentheses may hold anything, so fields are counted from behind it (proc(5): 22nd field).
        fields = text.rpartition(")")[2].split()
        return None if len(fields) < 20 or fields[0] in ("Z", "X") else fields[19]
    import psutil

    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Return number, start time and boot of a process, by which any process on this machine can tell if it lives."""
    number = os.getpid() if pid is None else pid
    return {"pid": number, "start_time": start_time(number), "boot_id": boot_id()}


def is_alive(identity: Mapping[str, Any] | None, host: str | None) -> bool | None:
    """Tell whether a process lives; None when that cannot be known here: it ran on another machine."""
    if not isinstance(identity, dict) or host != host_name():
        return None
    number = identity.get("pid")
    if not isinstance(number, int):
        return None
    if identity.get("boot_id") != boot_id():
        return False  # the machine was booted since (or is another one of the same name, where a heartbeat would tell)
    started = start_time(number)
    return started is not None and started == identity.get("start_time")


def _read(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return None
