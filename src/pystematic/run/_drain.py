"""The process of ``--capture fd``: copies what comes to the console and into the log, until nobody sends more.

Runs in an interpreter of its own, without site packages. It outlives the run's process, whatever ends that: the
signals that end a run are blocked from before its first instruction.
"""

from __future__ import annotations

import codecs
import os
import select
import sys

from pystematic.run._log import LogFile
from pystematic.run._masking import Masker

PART = 1 << 16
# A pseudo-terminal hands on what was written to it a little later.
TERMINAL_DELAY_S = 0.05

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.run._folder import Folder


def main() -> None:
    """Drain what the command line names: ``SOURCE:CONSOLE ...``, then the descriptors of the configuration, of the
    request to finish, and of the answer to it."""
    *pairs, config_fd, request_fd, answer_fd = sys.argv[1:]
    with os.fdopen(int(config_fd), encoding="utf-8", errors="surrogatepass") as config:
        path, *secrets = config.read().split("\0")
    log = LogFile(path, Masker(secrets).mask_lines)
    consoles = {_lowered(source): int(console) for source, _, console in (pair.partition(":") for pair in pairs)}
    _follow_window_size(consoles)
    _Drain(log, consoles).run(_lowered(request_fd), _lowered(answer_fd))
    log.close()
    os._exit(0)  # whoever waits for us waits for nothing else


def _lowered(number: str) -> int:
    """Return the descriptor under the lowest number that is free: `select` takes none above 1023."""
    fd = os.dup(int(number))
    os.close(int(number))
    return fd


class _Drain:
    def __init__(self, log: LogFile, consoles: dict[int, int]) -> None:
        self._log = log
        self._consoles = consoles
        self._folders: dict[int, Folder] = {source: log.stream() for source in consoles}
        self._decoders = {source: codecs.getincrementaldecoder("utf-8")("backslashreplace") for source in consoles}

    def run(self, request_fd: int, answer_fd: int) -> None:
        """Copy until nobody holds the other ends; answer the request (its end) when all from before it is copied."""
        requests = [request_fd]
        while self._consoles:
            ready = select.select([*self._consoles, *requests], [], [])[0]
            self._copy(ready)
            if request_fd in ready:
                requests.clear()
                # Children may go on writing for ever: what was there when we were asked is what counts.
                while waiting := select.select(list(self._consoles), [], [], self._delay_s())[0]:
                    self._copy(waiting)
                if self._consoles:
                    _write_all(answer_fd, b".")

    def _delay_s(self) -> float:
        return TERMINAL_DELAY_S if any(map(os.isatty, self._consoles)) else 0.0

    def _copy(self, sources: list[int]) -> None:
        for source in sources:
            if source not in self._consoles:
                continue
            try:
                part = os.read(source, PART)
            except OSError:  # how a terminal says that nobody holds its other end
                part = b""
            if not part:
                del self._consoles[source]
                continue
            _write_all(self._consoles[source], part)
            self._log.feed(self._folders[source], self._decoders[source].decode(part))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError:  # the console is gone; the log goes on
        return


def _follow_window_size(consoles: dict[int, int]) -> None:
    terminals = [(source, console) for source, console in consoles.items() if os.isatty(source)]
    if not terminals:
        return
    import fcntl
    import signal
    import termios

    def copy_size(*_: object) -> None:
        for source, console in terminals:
            try:
                fcntl.ioctl(source, termios.TIOCSWINSZ, fcntl.ioctl(console, termios.TIOCGWINSZ, b"\0" * 8))
            except OSError:
                continue

    signal.signal(signal.SIGWINCH, copy_size)
