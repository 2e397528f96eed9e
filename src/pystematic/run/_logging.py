"""Records of Python's `logging` in the run's log, without any change of what the console shows.

A handler on the root logger would do for the log, but silence `logging.basicConfig` and the handler of last resort.
So `Logger.callHandlers` is covered while the run is active. Records of level INFO get that far even where the program
has configured nothing; those that would not have got there without us are for the log alone.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


class _OurLevel(int):
    """A level that we have set: told from the same number set by the program by being another object."""


class LoggingTap:
    """Copies log records from `install` to `restore`.

    Args:
        write_lines: takes the lines of a record for the log.
        emit: calls the program's handlers such that what they write to the console is not copied a second time.
        debug: level DEBUG for log and console, instead of INFO for the log alone.
        is_copied: tells whether the log gets what is written to a stream anyway, even from within ``emit``.
    """

    def __init__(
        self,
        write_lines: Callable[[list[str]], None],
        emit: Callable[..., Any],
        *,
        debug: bool = False,
        is_copied: Callable[[Any], bool] = lambda stream: False,
    ) -> None:
        self._write_lines = write_lines
        self._emit = emit
        self._debug = debug
        self._is_copied = is_copied
        self._logging: Any = None
        self._call_handlers: Any = None
        self._cover: Any = None
        self._is_active = True
        self._level_before = 0
        self._level: _OurLevel | None = None

    def install(self, logging: ModuleType) -> None:
        """Begin; called when `logging` has been imported."""
        if not self._is_active:
            return
        self._logging = logging
        root = logging.getLogger()
        wanted = logging.DEBUG if self._debug else logging.INFO
        if root.level > wanted:  # a level of 0 lets everything through
            self._level_before, self._level = root.level, _OurLevel(wanted)
            root.setLevel(self._level)
        self._call_handlers = logging.Logger.callHandlers

        def call_handlers(logger: Any, record: Any) -> None:
            self._take(logger, record)

        self._cover = logging.Logger.callHandlers = call_handlers

    def restore(self) -> None:
        """Put everything back as it was, except for what the program itself has set."""
        self._is_active = False
        logging = self._logging
        if logging is None:
            return
        if logging.Logger.callHandlers is self._cover:
            logging.Logger.callHandlers = self._call_handlers
        root = logging.getLogger()
        if self._level is not None and root.level is self._level:
            root.setLevel(self._level_before)

    def _take(self, logger: Any, record: Any) -> None:
        if not self._is_active:  # covered by somebody in turn, or called by a thread that was on its way
            self._call_handlers(logger, record)
            return
        let_through = self._debug or record.levelno >= self._level_before or not self._is_level_ours(logger)
        if not (let_through and self._comes_by_a_stream(logger, record)):
            try:
                self._write_lines(self._lines_of(record))
            except Exception:  # a record that cannot be formatted: the program's own handlers say so in their way
                pass
        if let_through:
            self._emit(self._call_handlers, logger, record)
            if (
                self._debug
                and record.levelno < self._logging.WARNING
                and not logger.hasHandlers()
                and sys.stderr is not None
            ):
                # Asked for by --debug, and below what the handler of last resort prints.
                self._emit(print, f"{record.levelname} {record.name}: {record.getMessage()}", file=sys.stderr)

    def _print(self, text: str) -> None:
        if sys.stderr is not None:
            print(text, file=sys.stderr)

    def _is_level_ours(self, logger: Any) -> bool:
        while logger is not None:
            if logger.level:
                return logger.level is self._level
            logger = logger.parent
        return False

    def _comes_by_a_stream(self, logger: Any, record: Any) -> bool:
        has_handlers = False
        while logger is not None:
            for handler in logger.handlers:
                has_handlers = True
                # Rich's handler writes to the file of a console.
                stream = getattr(handler, "stream", None) or getattr(getattr(handler, "console", None), "file", None)
                if stream is not None and record.levelno >= handler.level and self._is_copied(stream):
                    return True
            logger = logger.parent if logger.propagate else None
        last = self._logging.lastResort
        return not has_handlers and last is not None and record.levelno >= last.level and self._is_copied(last.stream)

    def _lines_of(self, record: Any) -> list[str]:
        # Not by a Formatter: it leaves the text of the traceback on the record, for the program's own to find.
        text = f"{record.levelname} {record.name}: {record.getMessage()}"
        if record.exc_info and not record.exc_text:
            text = f"{text}\n{self._logging.Formatter().formatException(record.exc_info)}"
        for more in (record.exc_text, record.stack_info):
            if more:
                text = f"{text}\n{more}"
        return text.splitlines() or [""]
