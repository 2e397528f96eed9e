"""Logs of any size as windows of lines, and a search in them. Of a log only where every so many lines begin is kept."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

import numpy as np

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from pystematic.web._schema import LogLine, LogWindow

# Lines from one known place in the file to the next.
STRIDE = 256
CHUNK = 4 * 2**20
# A window of lines is short.
SMALL_CHUNK = 256 * 1024
# Bytes of a line that are shown.
LONGEST_LINE = 10_000
MOST_LINES = 5000
KEPT_LOGS = 8
# A search answers with what it has found by then, and says where to go on.
SEARCH_S = 0.5
_NEWLINE = 10


class LogIndex:
    """Where the lines of a log that may grow are. Not for several threads at once.

    Attributes:
        size: bytes that were looked at.
        ends: how many line ends there are in them.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.size = 0
        self.ends = 0
        # Where the lines 0, STRIDE, 2 * STRIDE, … begin.
        self._starts = [0]
        self._number = -1

    def update(self) -> None:
        """Look at what has been added. A log that was replaced or cut is looked at anew.

        Raises:
            OSError: it cannot be read.
        """
        with open(self._path, "rb", buffering=0) as file:
            found = os.fstat(file.fileno())
            if found.st_size < self.size or found.st_ino != self._number:
                self.size, self.ends, self._starts, self._number = 0, 0, [0], found.st_ino
            file.seek(self.size)
            while self.size < found.st_size:
                data = file.read(min(CHUNK, found.st_size - self.size))
                if not data:
                    break
                self._take(data)

    def _take(self, data: bytes) -> None:
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
        # The line after the n-th end is line n; the next that is a multiple of the stride has its start kept.
        first = len(self._starts) * STRIDE - self.ends - 1
        self._starts += (ends[first::STRIDE] + 1 + self.size).tolist()
        self.ends += len(ends)
        self.size += len(data)

    def n_lines(self, file: BinaryIO) -> int:
        """Return how many lines there are, the one that has no end yet among them."""
        if not self.size:
            return 0
        file.seek(self.size - 1)
        return self.ends + (file.read(1) != b"\n")

    def read(self, file: BinaryIO, first: int, count: int) -> list[LogLine]:
        """Return lines from the one numbered ``first`` (from 0) on; of long ones the beginning."""
        lines: list[LogLine] = []
        number, position = self._before(first)
        begun = b""  # of the line that the last chunk has ended in
        cut = False
        while len(lines) < count and position < self.size:
            file.seek(position)
            data = file.read(min(SMALL_CHUNK, self.size - position))
            if not data:
                break
            position += len(data)
            at = 0
            if number < first:  # skip whole lines without making them
                ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
                skipped = min(first - number, len(ends))
                number += skipped
                at = int(ends[skipped - 1]) + 1 if skipped else 0
                if number < first:
                    continue
            while len(lines) < count:
                end = data.find(b"\n", at)
                piece = data[at : min(end if end >= 0 else len(data), at + LONGEST_LINE - len(begun) + 1)]
                cut = cut or len(begun) + (end if end >= 0 else len(data)) - at > LONGEST_LINE
                begun = (begun + piece)[:LONGEST_LINE]
                if end < 0:
                    break
                lines.append(_line(number, begun, cut=cut))
                number, at, begun, cut = number + 1, end + 1, b"", False
        if len(lines) < count and (begun or cut):
            lines.append(_line(number, begun, cut=cut))
        return lines

    def search(self, file: BinaryIO, text: str, after: int, count: int) -> tuple[list[LogLine], int | None]:
        """Return the lines behind number ``after`` (from 0; -1 for all) that hold a text, in any case of its letters.

        Returns:
            The lines, and the number behind which to go on; None when all has been looked at.
        """
        wanted = text.encode("utf-8", "replace").lower()
        deadline = time.monotonic() + SEARCH_S
        found: list[int] = []
        number, position = self._before(after + 1)
        rest = b""
        while position < self.size or rest:
            file.seek(position)
            data = rest + file.read(min(CHUNK, self.size - position))
            position = min(self.size, position + CHUNK)
            whole = data.rfind(b"\n") + 1 if position < self.size else len(data)
            # Of a line without an end in sight only the beginning is looked at.
            part, rest = (data[:whole], data[whole:]) if whole else (data, b"")
            hits, ends = _matching_lines(part.lower(), wanted)
            # A long line comes in parts, and may be found in several.
            found += [number + hit for hit in hits if number + hit > (found[-1] if found else after)]
            number += ends
            is_late = time.monotonic() > deadline
            if len(found) >= count or (is_late and position < self.size):
                break
        is_done = position >= self.size and not rest and len(found) <= count
        found = found[:count]
        lines = [line for hit in found for line in self.read(file, hit, 1)]
        if is_done:
            return lines, None
        return lines, found[-1] if len(found) == count else number - 1

    def _before(self, number: int) -> tuple[int, int]:
        """Return a line at or before this one of which it is known where it begins, and where."""
        known = min(max(0, number) // STRIDE, len(self._starts) - 1)
        return known * STRIDE, self._starts[known]


def _matching_lines(data: bytes, wanted: bytes) -> tuple[list[int], int]:
    """Return which lines of some bytes hold others, and how many line ends there are."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == _NEWLINE)
    hits = []
    at = data.find(wanted)
    while at >= 0:
        line = int(np.searchsorted(ends, at))
        hits.append(line)
        if line >= len(ends):
            break
        at = data.find(wanted, int(ends[line]) + 1)
    return hits, len(ends)


def _line(number: int, data: bytes, *, cut: bool) -> LogLine:
    line: LogLine = {"number": number + 1, "text": data.rstrip(b"\r").decode("utf-8", "replace")}
    if cut:
        line["cut"] = True
    return line


class Logs:
    """Reads windows of logs, and remembers the lines of those that were read last. For several threads at once."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[LogIndex, threading.Lock]] = OrderedDict()
        self._lock = threading.Lock()

    def window(self, path: str, first: int | None, count: int) -> LogWindow:
        """Return lines from number ``first`` (from 1) on, the last ones when None.

        Raises:
            OSError: the log cannot be read.
        """
        index, lock = self._index(path)
        with lock, open(path, "rb") as file:
            index.update()
            n_lines = index.n_lines(file)
            start = max(0, n_lines - count) if first is None else max(0, first - 1)
            lines = index.read(file, start, min(count, MOST_LINES))
            return {"size_bytes": index.size, "n_lines": n_lines, "lines": lines, "next": None}

    def search(self, path: str, text: str, after: int, count: int) -> LogWindow:
        """Return the next lines behind number ``after`` (from 1, 0 for all) that hold a text.

        Raises:
            OSError: the log cannot be read.
        """
        index, lock = self._index(path)
        with lock, open(path, "rb") as file:
            index.update()
            lines, following = index.search(file, text, after - 1, min(count, MOST_LINES))
            n_lines = index.n_lines(file)
            following = None if following is None else following + 1
            return {"size_bytes": index.size, "n_lines": n_lines, "lines": lines, "next": following}

    def _index(self, path: str) -> tuple[LogIndex, threading.Lock]:
        with self._lock:
            if path not in self._kept:
                self._kept[path] = LogIndex(path), threading.Lock()
                while len(self._kept) > KEPT_LOGS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(path)
            return self._kept[path]
