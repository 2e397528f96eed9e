"""The last word on a run whose process could not say it: killed, out of memory, out of time."""

from __future__ import annotations

import os
import signal
import time

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TEXTS = {
    "killed": "its process was killed by {signal}, by somebody else",
    "oom": "it was killed for want of memory",
    "timeout": "it was ended, as its time was over",
    "exited": "its process ended with exit code {code} before the run had",
}
LONGEST_TAIL_BYTES = 8192


def shell_code(status: int | None) -> int | None:
    """Return the exit code that a shell shows for a process that has ended so."""
    return None if status is None else status if status >= 0 else 128 - status


def write_end(run_dir: str, status: int | None, reason: str | None, is_asked: bool) -> None:
    """Complete the record of a run whose process has ended, where it says that it still runs.

    A run that has ended in time what the end of its time has interrupted is failed all the same.

    Args:
        run_dir: of the run.
        status: of its process: an exit code, or minus the signal.
        reason: ``killed``, ``oom``, ``timeout``, or None.
        is_asked: whether the sweep has ended it.
    """
    path = rundir.RunDir(run_dir).run_file
    document = rundir.read_document(path)
    if document is None:
        return
    is_late = reason == "timeout" and document.get("status") == "interrupted"
    if document.get("status") != "running" and not is_late:
        return
    code = shell_code(status)
    ended_at = rundir.format_time(time.time())
    if is_asked and reason is None:
        result, error = "interrupted", None
    else:
        result, error = "failed", _described(status, reason)
    document.update(status=result, exit_code=code, error=error, ended_at=ended_at)
    attempts: list[Any] = document.get("attempts") or []
    if attempts and isinstance(attempts[-1], dict):
        attempts[-1].update(status=result, ended_at=ended_at)
    try:
        rundir.write_document(path, document, fsync=True)
    except OSError:  # a full disk: readers see that the process is gone
        return


def _described(status: int | None, reason: str | None) -> dict[str, str]:
    kind = reason or "exited"
    name = signal.Signals(-status).name if status is not None and status < 0 else ""
    return {"type": kind, "message": _TEXTS[kind].format(signal=name, code=status)}


def last_line(run_dir: str | None, tail: str) -> str:
    """Return the last line of a run's output that says something.

    Args:
        run_dir: of the run, None where there never was one.
        tail: the end of what was printed outside of its log.
    """
    if run_dir is None:
        return _last_telling(tail, "")
    one = rundir.RunDir(run_dir)
    return _last_telling(_tail_of(os.fspath(one.log_file(0))), f" {one.id}: ") or _last_telling(tail, "")


def _last_telling(text: str, opening: str) -> str:
    """Return the last line that is neither blank nor one that a log begins or ends with."""
    for line in reversed(text.splitlines()):
        words = without_time(line).strip()
        is_opening = opening != "" and opening in words and words != line.strip()
        if words and not is_opening and not words.endswith(_CLOSING):
            return words
    return ""


# How the log of a run ends: "failed, exit code 1". It begins with what was run: "train RUN: prog.py train".
_CLOSING = tuple(f", exit code {code}" for code in range(256))


def without_time(line: str) -> str:
    """Return a line of a log without the time that it begins with."""
    stamp, text = line[:24], line[24:]
    return text if len(stamp) == 24 and stamp[4] == stamp[7] == "-" and stamp[13] == stamp[16] == ":" else line


def _tail_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LONGEST_TAIL_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
