"""``--capture fd``: what C code and children of this process write to descriptors 1 and 2 goes into the log too.

A process of its own stands between them and the console: a process that drains its own descriptors deadlocks when C
code prints more than a pipe holds, and loses the last words of a crash. See `_drain` for what runs there.
"""

from __future__ import annotations

import os
import signal
import sys

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FINISH_LIMIT_S = 2.0
_STREAMS = (1, 2)
# They are meant for the run, whose last words the draining process waits for.
_NOT_FOR_THE_DRAIN = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2")


class DescriptorCapture:
    """Leads descriptors 1 and 2 through the draining process, from `install` to `restore`.

    Args:
        log_file: the log, which the draining process appends to.
        secrets: what is masked there.
    """

    def __init__(self, log_file: str, secrets: Iterable[str]) -> None:
        self._log_file = log_file
        self._secrets = list(secrets)
        self._owner = os.getpid()
        self._saved: dict[int, int] = {}
        self._pid: int | None = None
        self._request_fd = self._answer_fd = -1

    def install(self) -> None:
        """Start the draining process and put it in between.

        Raises:
            ExperimentError: this platform cannot do it, or the process cannot be started.
        """
        if sys.platform == "win32" or not hasattr(os, "posix_spawn"):
            raise ExperimentError("--capture fd needs Linux or macOS; use --capture sys or off here.")
        flush_streams()
        opened: list[int] = []
        try:
            self._install(opened)
        except OSError as error:
            for fd in opened:
                _close(fd)
            self.restore()
            raise ExperimentError(
                f"--capture fd: the draining process cannot be started: {error.strerror}. "
                "Use --capture sys or off, or try again."
            ) from None

    def _install(self, opened: list[int]) -> None:
        """Do it; ``opened`` gets the descriptors that are to be closed when this fails."""
        channels = _channels()
        opened += [fd for _, *ends in channels for fd in ends]
        config_read, config_write = os.pipe()
        request_read, request_write = os.pipe()
        answer_read, answer_write = os.pipe()
        opened += [config_read, config_write, request_read, request_write, answer_read, answer_write]
        handed_over = [*(read for _, read, _ in channels), config_read, request_read, answer_write]
        # New numbers above all others, as one of ours could be the place where another one has to go.
        numbers = range(max(opened) + 1, max(opened) + 1 + len(handed_over))
        words = [f"{number}:{streams[0]}" for number, (streams, *_) in zip(numbers, channels, strict=False)]
        words += map(str, numbers[len(channels) :])
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        code = f"import sys; sys.path.insert(0, {root!r}); from pystematic.run._drain import main; main()"
        executable = sys.executable or ""
        self._pid = os.posix_spawn(
            executable,
            [executable or "python", "-I", "-S", "-c", code, *words],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for fd, number in zip(handed_over, numbers, strict=True)],
            setsigmask=[number for name in _NOT_FOR_THE_DRAIN if (number := getattr(signal, name, None))],
        )
        self._request_fd, self._answer_fd = request_write, answer_read
        for fd in handed_over:
            os.close(fd)
        opened[:] = [write for _, _, write in channels]
        with os.fdopen(config_write, "w", encoding="utf-8", errors="surrogatepass") as config:
            config.write("\0".join([self._log_file, *self._secrets]))
        for streams, _, write in channels:
            for fd in streams:
                self._saved[fd] = os.dup(fd)
                os.dup2(write, fd)
            os.close(write)
            opened.remove(write)

    def restore(self) -> None:
        """Put the console back, and wait until the log has all that was written, but not for children that write on."""
        flush_streams()
        for fd, saved in self._saved.items():
            os.dup2(saved, fd)
            os.close(saved)
        self._saved.clear()
        pid, self._pid = self._pid, None
        if pid is None:
            return
        os.close(self._request_fd)
        is_ours = os.getpid() == self._owner  # and not a forked child's, that nobody waits for
        if is_ours and _is_readable(self._answer_fd, FINISH_LIMIT_S) and not os.read(self._answer_fd, 1):
            try:
                os.waitpid(pid, 0)  # it has ended
            except ChildProcessError:  # the program waits for any child
                pass
        os.close(self._answer_fd)


def flush_streams() -> None:
    """Write out what Python's streams keep back."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            continue


def is_captured(stream: object) -> bool:
    """Tell whether what is written to a stream comes out at descriptor 1 or 2."""
    try:
        return stream.fileno() in _STREAMS  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError, TypeError):
        return False


def _channels() -> list[tuple[list[int], int, int]]:
    """Return for each console its descriptors, what the draining process reads, and what takes their place.

    Where 1 and 2 are one console they share a channel, so that what they write stays in order.
    """
    consoles: dict[tuple[int, int], list[int]] = {}
    for fd in _STREAMS:
        try:
            found = os.fstat(fd)
        except OSError:  # closed (`>&-`): nothing can be written there
            continue
        consoles.setdefault((found.st_dev, found.st_ino), []).append(fd)
    return [(streams, *_channel(streams[0])) for streams in consoles.values()]


def _channel(fd: int) -> tuple[int, int]:
    """Return what the draining process reads and what takes the place of ``fd``: a terminal if that is one."""
    if not os.isatty(fd):
        return os.pipe()
    import fcntl
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8))
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST  # the real terminal does what is to be done at a newline
    attributes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return master, slave


def _is_readable(fd: int, limit_s: float) -> bool:
    """Wait until a descriptor of any number can be read; `select` takes none above 1023."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(limit_s * 1000))


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass
