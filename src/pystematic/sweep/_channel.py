"""`Channel`: pickled messages between the coordinator of a sweep and the process that starts its runs."""

from __future__ import annotations

import contextlib
import pickle
import select
import signal
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


# All but those of faults, which must not wait, and the thirty real-time ones: `signal` makes an enum member of each in
# each of its answers, which took a tenth of the coordinator's time.
_NAMES = (
    *("HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "PIPE", "ALRM", "VTALRM", "PROF", "CHLD", "CONT", "TSTP", "TTIN"),
    *("TTOU", "URG", "IO", "WINCH", "XCPU", "XFSZ"),
)
_HELD_SIGNALS = frozenset(getattr(signal, f"SIG{name}") for name in _NAMES if hasattr(signal, f"SIG{name}"))


class Channel:
    """One end of a socket. Nothing of a message is lost when a signal handler raises while one waits.

    Attributes:
        is_open: false once the other end has gone.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._received = bytearray()
        self.is_open = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: Any) -> None:
        """Send a message; does nothing when the other end has gone.

        Raises:
            Exception: of `pickle`, before anything is sent.
        """
        content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with signals_held():
            try:
                self._socket.setblocking(True)
                self._socket.sendall(len(content).to_bytes(8, "big") + content)
            except OSError:
                self.is_open = False

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to receive."""
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self._socket, select.POLLIN)
        poll.poll(max(0.0, timeout_s) * 1000)

    def receive(self) -> list[Any]:
        """Return all messages that have arrived whole."""
        with signals_held():
            self._read()
            messages = []
            while len(self._received) >= 8:
                end = 8 + int.from_bytes(self._received[:8], "big")
                if len(self._received) < end:
                    break
                messages.append(pickle.loads(bytes(self._received[8:end])))
                del self._received[:end]
            return messages

    def _read(self) -> None:
        while self.is_open:
            try:
                part = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                part = b""
            self._received += part
            self.is_open = bool(part)

    def close(self) -> None:
        """Close this end, which tells the other."""
        self.is_open = False
        self._socket.close()


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Let no handler of `_HELD_SIGNALS` run inside, in this thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
