"""`RankEnd`: a process of a run, as far as the one that has started it is concerned. Its other side is `_launch`."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time

from pystematic.run import die_with
from pystematic.torch._report import Report, report_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# What the starter writes before it closes the pipe. Without it, the pipe's end is that of the starter.
RELEASE = b"."


class RankEnd:
    """The end of the line to the starter, in a process of a run.

    Args:
        report_fd: where the report goes.
        order_fd: where the starter's words come from.
        starter: its pid.
    """

    def __init__(self, report_fd: int, order_fd: int, starter: int) -> None:
        self._report_fd = report_fd
        self._order_fd = order_fd
        self._released = threading.Event()
        die_with(starter)

    def read_orders(self) -> dict[str, str]:
        """Return what the starter says, ``NAME=VALUE`` words up to a newline; then watch that it lives."""
        line = bytearray()
        while not line.endswith(b"\n"):
            part = os.read(self._order_fd, 1)
            if not part:
                os.killpg(0, signal.SIGKILL)
            line += part
        threading.Thread(target=self._watch, name="pystematic-starter", daemon=True).start()
        return dict(word.split("=", 1) for word in line.decode().split())

    def say_ready(self) -> None:
        """Tell the starter that this process handles signals from now on."""
        os.write(self._report_fd, bytes(8))

    def run(self, main: Callable[[], Any], rank: int) -> int:
        """Call ``main``, report how it ended, wait until all others have ended too, and return the exit code."""
        try:
            report = _report_of_result(main(), rank)
        except BaseException as error:
            report = report_of(error, rank)
        self._send(report)
        # Others may still be in a last exchange with this process; its sockets stay open until they are through.
        self._released.wait()
        return report.code

    def stop_hard(self, exit_code: int) -> None:
        """Report that this process is ended from a thread, as its main thread does not come back."""
        signum = exit_code - 128 if exit_code > 128 else None
        self._send(Report("stopped", exit_code, time.time(), signum=signum))

    def _send(self, report: Report) -> None:
        data = pickle.dumps(report)
        view = memoryview(len(data).to_bytes(8, "big") + data)
        while view:
            view = view[os.write(self._report_fd, view) :]

    def _watch(self) -> None:
        last = b""
        while part := os.read(self._order_fd, 1):
            last = part
        if last != RELEASE:
            os.killpg(0, signal.SIGKILL)
        self._released.set()


def _report_of_result(result: Any, rank: int) -> Report:
    if rank:
        return Report("done", 0, time.time(), rank)
    try:
        return Report("done", 0, time.time(), payload=pickle.dumps(result))
    except Exception as error:  # a result that cannot travel is no failure of the run
        say_lost(error)
        return Report("done", 0, time.time())


def say_lost(error: Exception) -> None:
    """Say that what the main function returned cannot be had."""
    print(f"pystematic: the result of the main function is lost: {type(error).__name__}: {error}", file=sys.stderr)
