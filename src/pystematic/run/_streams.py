"""``--capture sys``: what Python prints goes into the log too. The streams stay the same objects.

Only their methods ``write`` and ``flush`` are covered, on the objects themselves: whoever holds a stream from before
keeps the right one, and terminal, width, colours, encoding and file number are those of the console.
"""

from __future__ import annotations

import codecs
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from pystematic.run._folder import Folder
    from pystematic.run._log import LogFile

_ABSENT = object()


class StreamTee:
    """Copies what is written to streams into a log, from `install` to `restore`.

    Args:
        log: where the copy goes.
        only_log: nothing comes to the console.
    """

    def __init__(self, log: LogFile, *, only_log: bool = False) -> None:
        self._log = log
        self._only_log = only_log
        # Owner, method, our cover, and what stood on the object before.
        self._covered: list[tuple[Any, str, Callable[..., Any], Any]] = []
        # Set in a thread while something is on its way that the log has already.
        self._known = threading.local()
        self._is_active = False

    def install(self, streams: Iterable[Any] | None = None) -> None:
        """Cover the streams; one that does not allow it is left alone.

        Args:
            streams: ``sys.stdout`` and ``sys.stderr`` when None.
        """
        self._is_active = True
        for stream in (sys.stdout, sys.stderr) if streams is None else streams:
            if stream is None or self._has_covered(stream):
                continue
            folder = self._log.stream()
            self._cover_text(stream, folder)
            try:
                buffer = stream.buffer
            except Exception:  # not every stream has one, and a closed or detached one says so in many ways
                continue
            if buffer is not None and not self._has_covered(buffer):
                self._cover_bytes(buffer, folder, getattr(stream, "encoding", None))

    def restore(self) -> None:
        """Uncover the streams. A cover that somebody has covered in turn stays, and does nothing any more."""
        self._is_active = False
        while self._covered:
            owner, name, cover, before = self._covered.pop()
            if vars(owner).get(name) is not cover:
                continue
            if before is _ABSENT:
                object.__delattr__(owner, name)
            else:
                object.__setattr__(owner, name, before)
        self._log.end_streams()

    def without_copy(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function whose output the log has already."""
        before = getattr(self._known, "is_set", False)
        self._known.is_set = True
        try:
            return call(*args, **kwargs)
        finally:
            self._known.is_set = before

    def _copies(self) -> bool:
        return self._is_active and not getattr(self._known, "is_set", False)

    def _cover_text(self, stream: Any, folder: Folder) -> None:
        write, flush = stream.write, getattr(stream, "flush", None)

        known, feed = self._known, self._log.feed

        def covered_write(*args: Any, **kwargs: Any) -> Any:
            # `without_copy`, written out: this is called several times for every `print`.
            is_known = getattr(known, "is_set", False)
            if not is_known and self._is_active and args and isinstance(args[0], str):
                feed(folder, args[0])
                if self._only_log:
                    return len(args[0])
            known.is_set = True
            try:
                return write(*args, **kwargs)
            finally:
                known.is_set = is_known

        self._cover(stream, "write", covered_write)
        if flush is not None:  # writes what `write` has kept back, through the buffer's `write`
            self._cover(stream, "flush", lambda: self.without_copy(flush))

    def _cover_bytes(self, buffer: Any, folder: Folder, encoding: str | None) -> None:
        write = buffer.write
        decoder = _decoder(encoding)

        def covered_write(*args: Any, **kwargs: Any) -> Any:
            if self._copies() and args:
                try:
                    text = decoder.decode(bytes(args[0]))
                except (TypeError, ValueError):  # no bytes: the buffer itself will say so
                    text = ""
                self._log.feed(folder, text)
                if self._only_log:
                    return len(args[0])
            return write(*args, **kwargs)

        self._cover(buffer, "write", covered_write)

    def _cover(self, owner: Any, name: str, cover: Callable[..., Any]) -> None:
        try:
            before = vars(owner).get(name, _ABSENT)
            # Of object: a proxy's own __setattr__ would cover what it stands for, which calls us again.
            object.__setattr__(owner, name, cover)
        except (AttributeError, TypeError):  # an object with slots; it goes on as it is
            return
        self._covered.append((owner, name, cover, before))

    def _has_covered(self, owner: object) -> bool:
        return any(owner is covered for covered, *_ in self._covered)


def _decoder(encoding: str | None) -> Any:
    # Who writes bytes to a console that knows ASCII only writes UTF-8: that is why it writes bytes.
    name = "utf-8" if (encoding or "ascii").lower() in ("ascii", "us-ascii", "ansi_x3.4-1968") else encoding
    try:
        return codecs.getincrementaldecoder(name or "utf-8")("backslashreplace")
    except LookupError:
        return codecs.getincrementaldecoder("utf-8")("backslashreplace")
