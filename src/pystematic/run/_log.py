"""The log of a run: lines with times, progress bars folded to their last state, secrets masked.

Imports next to nothing, since the process of ``--capture fd`` runs it too.
"""

from __future__ import annotations

import os
import threading
import time

from pystematic.run._folder import Folder
from pystematic.run._say import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class LogFile:
    """Appends lines to a log file. A disk that fails is counted and said once; it never fails the writer.

    Safe from any thread, from signal handlers and in forked children, which append to the same file.

    Args:
        path: the file.
        mask_lines: masks secrets in lines.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self, path: str | os.PathLike[str], mask_lines: Callable[[Sequence[str]], Sequence[str]] | None = None
    ) -> None:
        self._fd = _above_streams(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _CLOSE_ON_EXEC, 0o666))
        self._mask_lines = mask_lines
        self._is_closed = False
        self._folders: list[Folder] = []
        self._is_torn = False  # a line was written in part
        self._stamp = (0, "")
        self._problem: OSError | None = None  # still to be said
        self._has_failed = False
        self.lost = 0
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.RLock()  # a signal handler of this thread may print while it writes
        self._is_busy = False
        self._queue: list[tuple[Folder, str]] = []
        self._lines: list[str] = []

    def reset_in_child(self) -> None:
        """Begin anew in a forked child.

        The lock may be held by a thread that does not exist there, and what is pending is the parent's to write.
        """
        self._begin()
        for folder in self._folders:
            folder.reset()

    @property
    def fd(self) -> int:
        """The descriptor, for crash reports of the interpreter."""
        return self._fd

    def stream(self) -> Folder:
        """Return a folder for one stream of output; its lines are this log's."""
        folder = Folder(self._take)
        self._folders.append(folder)
        return folder

    def _take(self, line: str) -> None:
        self._lines.append(line)

    def feed(self, folder: Folder, text: str) -> None:
        """Give a piece of output to a folder; never raises on its own account."""
        with self._lock:
            if self._is_busy:  # a signal handler of this thread: whoever it has interrupted goes on with it
                self._queue.append((folder, text))
                return
            self._is_busy = True
            try:
                self._feed(folder, text)
                while self._queue:
                    self._feed(*self._queue.pop(0))
            finally:
                self._is_busy = False
        if self._problem is not None:
            self._say_problem()

    def _feed(self, folder: Folder, text: str) -> None:
        for other in self._folders:
            if other is not folder and other.is_on_screen:
                other.settle()
        try:
            folder.feed(text)
        except Exception:  # the program's print must not fail for our sake
            self.lost += 1
        if self._lines:
            self._write_taken()

    def end_streams(self) -> None:
        """Write what is pending of all streams; nothing more comes from them."""
        with self._lock:
            for folder in self._folders:
                folder.close()
            self._folders.clear()
            self._write_taken()
        self._say_problem()

    def write_first(self, line: str) -> None:
        """Append a line as `write_lines` does.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._append([line])

    def write_lines(self, lines: Iterable[str]) -> None:
        """Append lines with the time, together; what is no line is made one."""
        with self._lock:
            if not self._is_busy:
                for folder in self._folders:
                    folder.settle()
                self._write_taken()
            self._write([part for line in lines for part in line.split("\n")])
        self._say_problem()

    def write_line(self, line: str) -> None:
        """Append one line with the time."""
        self.write_lines([line])

    def _write_taken(self) -> None:
        if self._lines:
            lines, self._lines = self._lines, []
            self._write(lines)

    def _write(self, lines: Sequence[str]) -> None:
        try:
            self._append(lines)
        except OSError as error:
            if not self._has_failed:
                self._has_failed, self._problem = True, error
            self.lost += len(lines)

    def _append(self, lines: Sequence[str]) -> None:
        if self._is_closed or not lines:
            return
        now = time.time()
        second = int(now)
        if self._stamp[0] != second:
            self._stamp = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        stamp = f"{self._stamp[1]}.{int((now - second) * 1000):03d} "
        masked = lines if self._mask_lines is None else self._mask_lines(lines)
        text = stamp + ("\n" + stamp).join(masked) + "\n"
        view = memoryview((b"\n" if self._is_torn else b"") + text.encode("utf-8", "backslashreplace"))
        try:
            while view:
                written = os.write(self._fd, view)
                self._is_torn = view[written - 1] != 0x0A
                view = view[written:]
        finally:
            view.release()

    def _say_problem(self) -> None:
        problem, self._problem = self._problem, None
        if problem is not None:
            say(f"the log cannot be written: {problem.strerror}. The run goes on.")

    def close(self) -> None:
        """Write what is pending and close the file."""
        with self._lock:
            if self._is_closed:
                return
            self.end_streams()
            self._is_closed = True
            try:
                os.close(self._fd)
            except OSError:
                pass


_CLOSE_ON_EXEC = getattr(os, "O_CLOEXEC", 0)


def _above_streams(fd: int) -> int:
    """Return a descriptor that nobody takes for the console, where the program was started without one (``>&-``)."""
    if fd > 2:
        return fd
    import fcntl  # not on Windows, where descriptors 0 to 2 are always there

    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved
