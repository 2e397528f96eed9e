"""`StopControl`: asks a run to end at the end of a step, and sees to it that it ends at all.

A step ends when a training loader is asked for the next batch, or at ``recorder.step()`` where no loader is used.
Signals, the time limit and whoever prunes the run ask; the loop answers at its next step's end, by `RunStopped`.
"""

from __future__ import annotations

import signal
import threading
import time

from pystematic.errors import RunStopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Agreement(Protocol):
        """How the processes of a run agree on one step to stop at; see `pystematic.torch._agree`."""

        def ask(self, reason: StopReason) -> None: ...
        def agreed(self, step: int) -> StopReason | None: ...


TIME_IS_UP_CODE = 75  # EX_TEMPFAIL of sysexits.h: "try again"
# A loop that has not ended a step for so long is not taken for one that will end the next soon.
STEPPING_WITHIN_S = 60.0


class StopReason:
    """Why a run ends before its end.

    Args:
        signum: of a signal, or None.
        exit_code: what the process ends with.
        saves: whether a checkpoint is saved first.
        status: of the run's record.
    """

    def __init__(self, signum: int | None, exit_code: int, *, saves: bool, status: str = "interrupted") -> None:
        self.signum = signum
        self.exit_code = exit_code
        self.saves = saves
        self.status = status

    def to_text(self) -> str:
        """Write it for the other processes."""
        return f"{self.signum or 0}:{self.exit_code}:{int(self.saves)}:{self.status}"

    @classmethod
    def from_text(cls, text: str) -> StopReason:
        """Read what `to_text` wrote."""
        signum, code, saves, status = text.split(":")
        return cls(int(signum) or None, int(code), saves=saves == "1", status=status)

    def exception(self, *, is_agreed: bool = True) -> BaseException:
        """Return what ends the main function.

        Args:
            is_agreed: all processes of the run end at this step; tells whoever has started them.
        """
        if self.signum == signal.SIGINT:
            interrupted = KeyboardInterrupt()
            vars(interrupted)["is_agreed"] = is_agreed
            return interrupted
        stopped = RunStopped(self.signum)
        stopped.exit_code = self.exit_code
        stopped.status = self.status
        vars(stopped)["is_agreed"] = is_agreed
        return stopped


def time_is_up() -> StopReason:
    """Return the reason of a run that has come to its time limit."""
    return StopReason(None, TIME_IS_UP_CODE, saves=True)


class StopControl:
    """Where the main thread asks, at the end of each step, whether to stop.

    Args:
        max_time_s: how long the run may take; None: for ever.
        is_time_keeper: whether this process watches the time; one for a run.

    Attributes:
        asked: why this process was asked to end the run, as soon as it is.
        should_stop: whether the run has come to the step at whose end it stops.
        has_saved: whether there is a checkpoint, so that it is worth waiting for another one.
        extra_grace_s: how much longer than others the process may take to end.
        hears_twice: whether a signal that was sent to all processes comes a second time, from the one that has started
            this one.
    """

    def __init__(self, max_time_s: float | None = None, *, is_time_keeper: bool = True) -> None:
        self._deadline = None if max_time_s is None or not is_time_keeper else time.monotonic() + max_time_s
        self._reason: StopReason | None = None
        self._agreement: Agreement | None = None
        self._save: Callable[[], Any] | None = None
        self._step = 0
        self._last_step_at: float | None = None
        self._thread = threading.get_ident()
        self._delegate: Callable[[StopReason], None] | None = None
        self.asked: StopReason | None = None
        self.should_stop = False
        self.has_saved = False
        self.extra_grace_s = 0.0
        self.hears_twice = False
        self._answered: StopReason | None = None

    @property
    def is_stepping(self) -> bool:
        """Whether the loop ends steps, so that it is worth waiting for the end of the next one."""
        if self._delegate is not None:
            return True
        return self._last_step_at is not None and time.monotonic() - self._last_step_at < STEPPING_WITHIN_S

    def delegate(self, ask: Callable[[StopReason], None], *, extra_grace_s: float) -> None:
        """Leave it to other processes to end their steps, and to the caller to wait for them; ``ask`` tells them.

        Args:
            ask: called with each reason, by signal handlers.
            extra_grace_s: by when the caller has ended the others, after the grace.
        """
        self._delegate = ask
        self.has_saved = True  # whether there is a checkpoint is theirs to know
        self.extra_grace_s = extra_grace_s

    def use_agreement(self, agreement: Agreement) -> None:
        """Stop only where all processes of the run do."""
        self._agreement = agreement

    def use_saving(self, save: Callable[[], Any]) -> None:
        """Call ``save`` for the checkpoint of a stop that asks for one."""
        self._save = save

    def ask(self, reason: StopReason) -> None:
        """Ask for an end at the next step's end; may be called by a signal handler or any thread."""
        self.asked = self.asked or reason
        if self._delegate is not None:
            self._delegate(reason)
        elif self._agreement is not None:
            self._agreement.ask(reason)
        elif self._reason is None:
            self._reason = reason

    def end_step(self) -> None:
        """Take note of the end of a step, in the main thread of the run.

        Raises:
            RunStopped, KeyboardInterrupt: the run ends here.
        """
        reason = self._reason_at_step_end()
        self._last_step_at = time.monotonic()
        if reason is not None and threading.get_ident() == self._thread:
            self.stop(reason)

    def asks_at_step_end(self) -> bool:
        """Tell, at the end of a step, whether the run was asked to end; all processes get the same answer."""
        if not self.should_stop:
            self._answered = self._reason_at_step_end()
            self.should_stop = self._answered is not None
        return self.should_stop

    def end_main(self) -> None:
        """Take note that the main function has returned: on its own account, or because it was told to stop.

        Raises:
            RunStopped, KeyboardInterrupt: it was told to.
        """
        if self._answered is not None:
            self.stop(self._answered)

    def _reason_at_step_end(self) -> StopReason | None:
        self._step += 1
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self.ask(time_is_up())
        return self._reason if self._agreement is None else self._agreement.agreed(self._step)

    def stop(self, reason: StopReason) -> None:
        """End the run now: save if that was asked for, and raise."""
        self.should_stop = True
        self._reason = self._answered = None
        if reason.saves and self._save is not None:
            self._save()
        raise reason.exception()
