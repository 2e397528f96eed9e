"""`Capture`: the output, the log records and the crash reports of this process go into the run's log too."""

from __future__ import annotations

import os
import sys

from pystematic.run._logging import LoggingTap
from pystematic.run._say import say
from pystematic.run._streams import StreamTee

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pystematic.run._imports import ImportWatch
    from pystematic.run._log import LogFile
    from pystematic.run._masking import Masker


class Capture:
    """What the parameters ``capture`` and ``debug`` ask for, from `install` to `restore`.

    Args:
        how: ``sys``, ``fd`` or ``off``.
        log: where it goes.
        log_file: the path of the log.
        masker: masks secrets, for a process that writes to the log too.
        watch: tells when the program imports `logging`.
        debug: log records of level DEBUG, on the console too.
        only_log: nothing comes to the console, whatever ``how`` says; for a process that nobody sees.
    """

    def __init__(
        self,
        how: str,
        *,
        log: LogFile,
        log_file: str,
        masker: Masker,
        watch: ImportWatch,
        debug: bool = False,
        only_log: bool = False,
    ) -> None:
        self._how = "sys" if only_log else how
        self._only_log = only_log
        self._log = log
        self._log_file = log_file
        self._masker = masker
        self._watch = watch
        self._debug = debug
        self._undo: list[tuple[str, Callable[[], None]]] = []

    def install(self) -> None:
        """Begin.

        Raises:
            ExperimentError: ``fd`` cannot be had here. Nothing is changed then.
        """
        if self._how == "off":
            if self._debug:
                self._tap_logging(LoggingTap(lambda lines: None, _call, debug=True))
            return
        tee = StreamTee(self._log, only_log=self._only_log)
        if self._only_log:
            # Also what C code and children print, and the last words of a crash. The process has no other output, so
            # nothing has to be put back.
            for fd in (1, 2):
                os.dup2(self._log.fd, fd)
        if self._how == "fd":
            from pystematic.run._descriptors import DescriptorCapture, is_captured

            descriptors = DescriptorCapture(self._log_file, self._masker.secrets)
            descriptors.install()
            self._undo.append(("output of C code and children", descriptors.restore))
            # Of notebooks and test suites, that write elsewhere.
            tee.install([stream for stream in (sys.stdout, sys.stderr) if not is_captured(stream)])
            is_copied = is_captured
        else:
            tee.install()
            is_copied = _nothing
        self._undo.append(("output", tee.restore))
        self._tap_logging(LoggingTap(self._log.write_lines, tee.without_copy, debug=self._debug, is_copied=is_copied))
        self._catch_crashes()

    def restore(self) -> None:
        """Put everything back as it was, whatever of it fails."""
        while self._undo:
            what, undo = self._undo.pop()
            try:
                undo()
            except Exception as error:  # the rest is put back all the same
                say(f"the {what} cannot be put back: {type(error).__name__}: {error}")

    def _tap_logging(self, tap: LoggingTap) -> None:
        self._watch.when_imported("logging", tap.install)
        self._undo.append(("log records", tap.restore))

    def _catch_crashes(self) -> None:
        """Have the interpreter write the stack of a crash into the log."""
        import faulthandler

        was_enabled = faulthandler.is_enabled()
        by_option = "faulthandler" in sys._xoptions or os.environ.get("PYTHONFAULTHANDLER") or sys.flags.dev_mode
        if was_enabled and not by_option:
            return  # somebody else's, with a file that nobody can tell us
        if was_enabled and self._how == "fd":
            return  # on stderr, which goes into the log
        faulthandler.enable(self._log.fd)

        def restore() -> None:
            faulthandler.disable()
            if was_enabled and sys.__stderr__ is not None:
                faulthandler.enable(sys.__stderr__)

        self._undo.append(("crash reports", restore))


def _nothing(stream: Any) -> bool:
    return False


def _call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return function(*args, **kwargs)
