"""Signals while a run is active: they end the main function, and wait while our own code is at work.

A first Ctrl-C, a SIGTERM where there is a checkpoint, SIGUSR1 and SIGUSR2 let the loop come to the end of its step.
Ours are only the handlers that nobody else has set: a program's own handler, and a signal that is ignored (`nohup`),
stay as they are.
"""

from __future__ import annotations

import os
import signal
import threading
import time

from pystematic.errors import RunStopped
from pystematic.run._stop import StopReason, time_is_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType
    from typing import Any

    from pystematic.run._stop import StopControl


def _numbers(*names: str) -> tuple[int, ...]:
    return tuple(number for name in names if (number := getattr(signal, name, None)) is not None)


SAVING = _numbers("SIGUSR1", "SIGUSR2")
ENDING = (*_numbers("SIGTERM", "SIGHUP"), *SAVING)
# How long the main thread may take to end after it was told to at once, before the process is ended for it.
HARD_LIMIT_S = 2.5
# Within this time the same signal from the process that has started this one is the same event.
SAME_EVENT_S = 1.0


class SignalWatch:
    """Handles Ctrl-C and the signals of `ENDING` from `install` to `restore`.

    Args:
        foreign: the code of the function that calls code of others, the main function above all. A signal that arrives
            while it is on the stack raises there; any other waits, so that a record is never left half written.
        whole: the code of the function that does everything of a run; what stands above it belongs to another run,
            that of the parent of a forked child.
        grace_s: how long the loop may take to come to the end of a step, and to save.
        end_hard: writes the end of the run, by exit code, when the main thread does not come back; ends the process.

    Attributes:
        control: asks the loop to stop at the end of its step; None: there is none yet.
    """

    def __init__(
        self, foreign: CodeType, whole: CodeType, grace_s: float = 25.0, end_hard: Callable[[int], None] = os._exit
    ) -> None:
        self._foreign = foreign
        self._whole = whole
        self._grace_s = grace_s
        self._end_hard = end_hard
        self._asked: list[int] = []
        self._asked_at = 0.0
        self._timer: threading.Timer | None = None
        self._time_limit: threading.Timer | None = None
        self._late: StopReason | None = None
        self.control: StopControl | None = None
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

    def limit_time(self, limit_s: float) -> None:
        """Ask for an end in ``limit_s`` seconds, as SIGUSR1 would."""

        def ask() -> None:
            reason = time_is_up()
            assert self.control is not None
            self._arm(self._grace_s, lambda: self._lose_patience(reason))
            self.control.ask(reason)

        self._time_limit = _daemon_timer(limit_s, ask)

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
        for timer in (self._timer, self._time_limit):
            if timer is not None:
                timer.cancel()
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)
        self._before.clear()

    def deliver_waiting(self) -> None:
        """Send this process what arrived too late for the run, now that the former handlers are back."""
        # Ctrl-C last: it raises, and nothing behind it would be sent.
        waiting, self._waiting = sorted(self._waiting, key=lambda number: number == signal.SIGINT), []
        for number in waiting:
            if number not in SAVING:  # those have asked for an end that has come
                signal.raise_signal(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            self._handle_in_child(number)
            return
        while frame is not None and frame.f_code is not self._whole:
            if frame.f_code is self._foreign:
                self._end_main(number)
                return
            frame = frame.f_back
        self._waiting.append(number)

    def _end_main(self, number: int) -> None:
        """End the main function now, or at the end of its step where it has steps."""
        late, self._late = self._late, None
        if late is not None:
            raise late.exception(is_agreed=False)
        first = not self._asked
        reason = self._reason_to_wait(number) if first else None
        if reason is None and number in SAVING:
            return  # it is on its way already
        if self._is_echo(number):
            return
        self._asked.append(number)
        self._asked_at = time.monotonic()
        if reason is None:
            self._arm(HARD_LIMIT_S, lambda: self._end_hard(_exit_code(number)))
            raise _exception(number)
        assert self.control is not None
        self._arm(self._grace_s + self.control.extra_grace_s, lambda: self._lose_patience(reason))
        self.control.ask(reason)

    def _is_echo(self, number: int) -> bool:
        """Tell whether a signal came to all processes of the run, and is only passed on once more."""
        return (
            self._asked == [number]
            and self.control is not None
            and self.control.hears_twice
            and time.monotonic() - self._asked_at < SAME_EVENT_S
        )

    def _reason_to_wait(self, number: int) -> StopReason | None:
        control = self.control
        if control is None:
            return None
        if number in SAVING:
            return StopReason(number, 128 + number, saves=True)
        if number == signal.SIGTERM and control.has_saved:
            return StopReason(number, 128 + number, saves=True)
        if number == signal.SIGINT and control.is_stepping:
            return StopReason(number, 130, saves=False)
        return None

    def _lose_patience(self, reason: StopReason) -> None:
        """Have the main thread end now: the grace is over. Runs in the timer's thread."""
        self._late = reason
        self._arm(HARD_LIMIT_S, lambda: self._end_hard(reason.exit_code))
        os.kill(self._pid, signal.SIGTERM)

    def _arm(self, limit_s: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = _daemon_timer(limit_s, action)

    def _handle_in_child(self, number: int) -> None:
        """Do in a forked child what would have happened there without us."""
        before: Callable[..., Any] | int | None = self._before.get(number)
        if callable(before):
            before(number, None)
            return
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _daemon_timer(limit_s: float, action: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(limit_s, action)
    timer.name = "pystematic-grace"
    timer.daemon = True
    timer.start()
    return timer


def _exit_code(number: int) -> int:
    return 130 if number == signal.SIGINT else 128 + number


def _exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else RunStopped(number)
