"""Signals while a run is active: they end the main function, and wait while our own code is at work.

Ours are only the handlers that nobody else has set: a program's own handler, and a signal that is ignored (`nohup`),
stay as they are.
"""

from __future__ import annotations

import os
import signal
import threading

from pystematic.errors import RunStopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any

ENDING = tuple(number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None)


class SignalWatch:
    """Handles Ctrl-C, SIGTERM and SIGHUP from `install` to `restore`.

    Args:
        foreign: the code of the function that calls code of others, the main function above all. A signal that arrives
            while it is on the stack raises there; any other waits, so that a record is never left half written.
        whole: the code of the function that does everything of a run; what stands above it belongs to another run,
            that of the parent of a forked child.
    """

    def __init__(self, foreign: CodeType, whole: CodeType) -> None:
        self._foreign = foreign
        self._whole = whole
        self._pid = os.getpid()
        self._before: dict[int, Any] = {}
        self._waiting: list[int] = []

    def install(self) -> None:
        """Set the handlers; does nothing outside of the main thread, where Python allows none."""
        if threading.current_thread() is not threading.main_thread():
            return
        defaults = {signal.SIGINT: signal.default_int_handler, **dict.fromkeys(ENDING, signal.SIG_DFL)}
        for number, default in defaults.items():
            if signal.getsignal(number) is default:
                self._before[number] = default
                signal.signal(number, self._handle)

    @property
    def has_waiting(self) -> bool:
        """Whether something has arrived that had to wait."""
        return bool(self._waiting)

    def raise_waiting(self) -> None:
        """Raise what arrived while it had to wait."""
        if self._waiting:
            raise _exception(self._waiting.pop(0))

    def postpone(self, stopped: BaseException) -> None:
        """Let a signal that has raised wait after all."""
        number = stopped.signum if isinstance(stopped, RunStopped) else signal.SIGINT
        if number is not None:
            self._waiting.append(number)

    def restore(self) -> None:
        """Put the former handlers back."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._before.clear()

    def deliver_waiting(self) -> None:
        """Send this process what arrived too late for the run, now that the former handlers are back."""
        # Ctrl-C last: it raises, and nothing behind it would be sent.
        waiting, self._waiting = sorted(self._waiting, key=lambda number: number == signal.SIGINT), []
        for number in waiting:
            signal.raise_signal(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            self._handle_in_child(number)
            return
        while frame is not None and frame.f_code is not self._whole:
            if frame.f_code is self._foreign:
                raise _exception(number)
            frame = frame.f_back
        self._waiting.append(number)

    def _handle_in_child(self, number: int) -> None:
        """Do in a forked child what would have happened there without us."""
        before: Callable[..., Any] | int | None = self._before.get(number)
        if callable(before):
            before(number, None)
            return
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else RunStopped(number)
