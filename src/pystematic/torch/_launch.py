"""Starting the processes of a run on this machine, watching them, and ending them all.

The process that starts them is none of them: it makes the run directory, holds the store by which they find each
other, and outlives them, so that it can say which of them failed first and leave none behind. Each process has a
process group of its own and dies with the starter, whatever kills that.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import threading
import time

from pystematic._record import record
from pystematic.errors import ExperimentError, RunStopped
from pystematic.run import die_with

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


# How long after a first failure the others are heard: the first one noticed need not be the first one.
HEAR_OTHERS_S = 0.5
# How long processes that are told to end at once may take.
END_LIMIT_S = 2.0
# How often it is looked whether a process has ended. Its pipe does not tell: children that it left hold it open.
LOOK_PERIOD_S = 0.05
# What the words of torch's backends are when another process has gone: https://github.com/pytorch/gloo, NCCL.
_SYMPTOMS = (
    *("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Socket closed", "recvValue failed"),
    *("NCCL communicator was aborted", "ncclRemoteError", "remote process exited", "Connection was likely closed"),
    *("Timed out waiting", "Application timeout caused pair closure", "Stop_waiting response is expected"),
)
# Ends what a killed starter leaves: whole process groups, for the kernel ends only its own children. Not Python, since
# this process may have threads, and a shell is small.
_GUARD = 'while read -r pid; do pids="$pids -$pid"; done; [ -z "$pids" ] || kill -s KILL -- $pids'


@record
class Report:
    """What a process says of its end: ``kind`` is done, failed, exited or stopped.

    ``payload`` is the pickled result or exception where there is one, ``code`` the exit code that it means.
    """

    kind: str
    code: int
    at: float
    type: str = ""
    message: str = ""
    traceback: str = ""
    payload: bytes | None = None
    signum: int | None = None
    status: str = "interrupted"
    is_agreed: bool = False

    @property
    def is_secondary(self) -> bool:
        """Whether something else is the cause of this end."""
        return self.kind == "stopped" or (
            self.type in ("DistBackendError", "DistNetworkError", "DistStoreError", "RuntimeError")
            and any(words in self.message for words in _SYMPTOMS)
        )


class RankProcess:
    """A started process, as its starter sees it.

    ``to_fd`` is closed to let the process go; ``from_fd`` brings its report.
    """

    def __init__(self, rank: int, pid: int, from_fd: int, to_fd: int) -> None:
        self.rank = rank
        self.pid = pid
        self.from_fd = from_fd
        self.to_fd = to_fd
        self.report: Report | None = None
        self.exit_code: int | None = None
        self.ended_at: float | None = None
        self.is_ready = False
        self._sent: set[int] = set()
        self._received = bytearray()
        os.set_blocking(from_fd, False)

    @property
    def has_ended(self) -> bool:
        return self.exit_code is not None

    @property
    def has_failed(self) -> bool:
        return (self.report is None and self.has_ended) or (self.report is not None and self.report.kind != "done")

    @property
    def is_stopping(self) -> bool:
        """Whether it has ended at the step at which all end."""
        return self.report is not None and self.report.kind == "stopped" and self.report.is_agreed

    @property
    def is_secondary(self) -> bool:
        """Whether something else is the cause of its failure: another process, or a signal from here."""
        if self.report is not None:
            return self.report.is_secondary
        return self.exit_code is not None and -self.exit_code in self._sent

    def look(self) -> None:
        """Take what has arrived, and notice the end of the process."""
        if self.has_ended:
            return
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # the program itself waits for any child
            pid, status = self.pid, -1
        self._receive()  # after the question, so that nothing that it has written is missed
        if pid:
            self._note_end(status)

    def send(self, data: bytes) -> None:
        """Send it words; one that has died is noticed elsewhere."""
        try:
            os.write(self.to_fd, data)
        except OSError:
            return

    def signal(self, number: int) -> None:
        """Send a signal to the process; SIGKILL also to all that it has started.

        Any other would end the workers of loaders before it, and so fail a run that only ends.
        """
        self._sent.add(number)
        if number == signal.SIGKILL:
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:  # it has not made its group yet
                pass
        try:
            os.kill(self.pid, number)  # it is not reaped, so the pid is still its own
        except ProcessLookupError:
            return

    def release(self) -> None:
        """Let the process go, now that nobody needs it any more."""
        if self.to_fd >= 0:
            os.close(self.to_fd)
            self.to_fd = -1

    def kill(self) -> None:
        """End the process and all that it has started, and wait for it."""
        if not self.has_ended:
            self.signal(signal.SIGKILL)
            try:
                self._note_end(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:
                self._note_end(-1)

    def _receive(self) -> None:
        while True:
            try:
                part = os.read(self.from_fd, 1 << 20)
            except BlockingIOError:
                break
            if not part:
                break
            self._received += part
        while self.report is None and len(self._received) >= 8:
            end = 8 + int.from_bytes(self._received[:8], "big")
            if len(self._received) < end:
                break
            message = bytes(self._received[8:end])
            del self._received[:end]
            if message:
                self.report = pickle.loads(message)
            else:
                self.is_ready = True

    def _note_end(self, status: int) -> None:
        if status >= 0:
            self.exit_code = os.waitstatus_to_exitcode(status)
        else:
            self.exit_code = 0 if self.report is not None and self.report.kind == "done" else 1
        self.ended_at = time.time()
        os.close(self.from_fd)
        self.release()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # what it has left behind in its group
        except (ProcessLookupError, PermissionError):
            return


class RankGroup:
    """All processes that this one has started for a run.

    Attributes:
        asked: the exception by which the run is to end, once somebody has asked this process to end it.
    """

    def __init__(self, processes: list[RankProcess]) -> None:
        self.processes = processes
        self.asked: BaseException | None = None
        self._guard = _start_guard([process.pid for process in processes])

    def wait(self, *, grace_s: float) -> Any:
        """Wait for the end of all, and return what rank 0 returned.

        Args:
            grace_s: how long after the first process has ended at the agreed step the others are waited for.

        Raises:
            ExperimentError: a process died. Whatever the main function raised in the first process that failed is
                raised here, with the words of that process.
            KeyboardInterrupt, RunStopped: a signal asked this process to end; all others have ended before.
        """
        stopped: BaseException | None = None
        deadline: float | None = None  # of those that were told to end at once
        failed_at: float | None = None
        stopping_at: float | None = None
        try:
            while not all(process.has_ended for process in self.processes):
                try:
                    self._look()
                    now = time.monotonic()
                    if failed_at is None and any(p.has_failed and not p.is_stopping for p in self.processes):
                        failed_at = now
                    if stopping_at is None and any(process.is_stopping for process in self.processes):
                        stopping_at = now
                    if deadline is None and (
                        (failed_at is not None and now - failed_at >= HEAR_OTHERS_S)
                        or (stopping_at is not None and now - stopping_at >= grace_s)
                    ):
                        deadline = self._end_at_once()
                    if all(process.report is not None or process.has_ended for process in self.processes):
                        for process in self.processes:
                            process.release()
                    if deadline is not None and now >= deadline:
                        self.send_all(signal.SIGKILL)
                        deadline = now + 1.0
                except (KeyboardInterrupt, RunStopped) as raised:
                    stopped = stopped or raised
                    deadline = self._end_at_once()
        finally:
            self.kill()
        if stopped is not None:
            raise stopped
        return self._outcome()

    def kill(self) -> None:
        """End all that still runs, at once."""
        for process in self.processes:
            process.kill()
        if self._guard is not None:
            self._guard.kill()
            self._guard.wait()
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard = None

    def ask(self, number: int | None, exception: BaseException) -> None:
        """Tell all processes what this one was asked to do; called by signal handlers."""
        if self.asked is None:
            self.asked = exception
        if number is not None:
            self.send_all(number)

    def send_all(self, number: int) -> None:
        """Send a signal to all that still run; may be called by a signal handler."""
        for process in self.processes:
            if not process.has_ended:
                # One that does not know of the run yet would only print a traceback of its start.
                process.signal(number if process.is_ready else signal.SIGKILL)
                if number == signal.SIGKILL or process.report is not None:
                    process.release()

    def _end_at_once(self) -> float:
        """Have all end without finishing their step, and return until when they may."""
        # What says "at once" in any state of a process, unless it is ignored.
        hang_up = signal.SIGHUP if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else signal.SIGTERM
        self.send_all(hang_up)
        return time.monotonic() + END_LIMIT_S

    def _look(self) -> None:
        poll = select.poll()  # select() cannot take descriptors above 1023
        for process in self.processes:
            if not process.has_ended and process.report is None:
                poll.register(process.from_fd, select.POLLIN)
        poll.poll(LOOK_PERIOD_S * 1000)
        for process in self.processes:
            process.look()

    def _outcome(self) -> Any:
        guilty = self.guilty()
        if guilty is not None:
            if guilty.is_secondary and self.asked is not None:
                raise self.asked
            raise _exception_of(guilty, len(self.processes))
        report = next(process.report for process in self.processes if process.rank == 0)
        if report is None or report.payload is None:
            return None
        try:
            return pickle.loads(report.payload)
        except Exception as error:  # a result that cannot travel is no failure of the run
            _say_lost(error)
            return None

    def guilty(self) -> RankProcess | None:
        """Return the process whose failure is the cause of the others', None when all went well."""
        failed = [process for process in self.processes if process.has_failed]

        def order(process: RankProcess) -> tuple[bool, float]:
            at = process.report.at if process.report is not None else process.ended_at
            return process.is_secondary, at or 0.0

        return min(failed, key=order, default=None)


def _start_guard(pids: list[int]) -> Any:
    """Start the process that kills these groups when this one dies of a signal that it cannot handle."""
    import subprocess  # processes are started anyway

    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except OSError:  # no shell: the kernel still ends the processes themselves
        return None
    assert guard.stdin is not None
    guard.stdin.write("".join(f"{pid}\n" for pid in pids).encode())
    guard.stdin.flush()
    return guard


def fork_ranks(count: int, main: Callable[[int, RankEnd], None]) -> RankGroup:
    """Fork ``count`` processes that call ``main(rank, end)`` and never return from there."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    processes: list[RankProcess] = []
    starter = os.getpid()
    try:
        for rank in range(count):
            from_read, from_write = os.pipe()
            to_read, to_write = os.pipe()
            pid = os.fork()
            if pid == 0:
                _be_rank(rank, processes, starter, (from_read, from_write, to_read, to_write), main)
            os.close(from_write)
            os.close(to_read)
            processes.append(RankProcess(rank, pid, from_read, to_write))
    except BaseException:
        for process in processes:
            process.kill()
        raise
    return RankGroup(processes)


def _be_rank(
    rank: int,
    others: list[RankProcess],
    starter: int,
    pipes: tuple[int, int, int, int],
    main: Callable[[int, RankEnd], None],
) -> None:
    """Be a forked process; ends in ``os._exit``, so that no handler of the starter runs a second time."""
    code = 1
    try:
        from_read, from_write, to_read, to_write = pipes
        for fd in (from_read, to_write, *(fd for other in others for fd in (other.from_fd, other.to_fd))):
            os.close(fd)
        os.setpgid(0, 0)
        end = RankEnd(from_write, to_read, starter)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        code = end.run(lambda: main(rank, end), rank)
    except BaseException as error:  # of our own code: said as plainly as can be
        print(f"pystematic: rank {rank}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                continue
        os._exit(code)


class RankEnd:
    """The end of the line to the starter, in a process of a run."""

    def __init__(self, report_fd: int, order_fd: int, starter: int) -> None:
        self._report_fd = report_fd
        self._order_fd = order_fd
        self._starter = starter
        self._released = threading.Event()
        self.orders: dict[str, str] = {}
        die_with(starter)

    def read_orders(self) -> dict[str, str]:
        """Return what the starter says, ``NAME=VALUE`` words up to a newline; then watch that it lives."""
        line = bytearray()
        while not line.endswith(b"\n"):
            part = os.read(self._order_fd, 1)
            if not part:
                os.killpg(0, signal.SIGKILL)
            line += part
        self.orders = dict(word.split("=", 1) for word in line.decode().split())
        threading.Thread(target=self._watch, name="pystematic-starter", daemon=True).start()
        return self.orders

    def say_ready(self) -> None:
        """Tell the starter that this process handles signals from now on."""
        os.write(self._report_fd, bytes(8))

    def run(self, main: Callable[[], Any], rank: int) -> int:
        """Call ``main``, report how it ended, wait until all others have ended too, and return the exit code."""
        report = self._reported(main, rank)
        data = pickle.dumps(report)
        view = memoryview(len(data).to_bytes(8, "big") + data)
        while view:
            view = view[os.write(self._report_fd, view) :]
        # Others may still be in a last exchange with this process; its sockets stay open until they are through.
        self._released.wait()
        return report.code

    def _watch(self) -> None:
        while os.read(self._order_fd, 1):
            continue
        if not self._released.is_set():
            self._released.set()
        if os.getppid() != self._starter:
            os.killpg(0, signal.SIGKILL)

    def _reported(self, main: Callable[[], Any], rank: int) -> Report:
        try:
            result = main()
        except SystemExit as error:
            code = 0 if error.code is None else error.code if isinstance(error.code, int) else 1
            text = error.code if isinstance(error.code, str) else ""
            return Report("done" if code == 0 else "exited", code & 0xFF, time.time(), "SystemExit", text)
        except (KeyboardInterrupt, RunStopped) as stopped:
            is_agreed = vars(stopped).get("is_agreed", False)
            if isinstance(stopped, KeyboardInterrupt):
                return Report("stopped", 130, time.time(), is_agreed=is_agreed)
            code, status = stopped.exit_code, stopped.status
            return Report("stopped", code, time.time(), signum=stopped.signum, status=status, is_agreed=is_agreed)
        except BaseException as error:
            from pystematic.run import format_traceback

            try:
                data = pickle.dumps(error)
                pickle.loads(data)
                payload: bytes | None = data
            except Exception:
                payload = None
            return Report(
                "failed", 1, time.time(), type(error).__name__, _text(error), format_traceback(error), payload
            )
        if rank:
            return Report("done", 0, time.time())
        try:
            return Report("done", 0, time.time(), payload=pickle.dumps(result))
        except Exception as error:  # a result that cannot travel is no failure of the run
            _say_lost(error)
            return Report("done", 0, time.time())


def _say_lost(error: Exception) -> None:
    print(f"pystematic: the result of the main function is lost: {type(error).__name__}: {error}", file=sys.stderr)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "(no message: its __str__ raises)"


def _exception_of(guilty: RankProcess, count: int) -> BaseException:
    """Return what is raised in the starter for the failure of a process."""
    from pystematic.run import set_traceback

    who = f"rank {guilty.rank} of {count}"
    report = guilty.report
    if report is None:
        code = guilty.exit_code or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        log = "log.txt" if guilty.rank == 0 else f"log.rank-{guilty.rank}.txt"
        message = f"{who} {how}, without a word; the end of its log may tell more: {log}."
        died = ExperimentError(message)
        set_traceback(died, f"pystematic: {message}\n")
        return died
    if report.kind == "exited":
        exited = SystemExit(report.message or report.code)
        print(f"pystematic: {who} called sys.exit({report.message or report.code!r})", file=sys.stderr)
        return exited
    if report.kind == "stopped":
        if report.code == 130:
            return KeyboardInterrupt()
        stopped = RunStopped(report.signum)
        stopped.exit_code, stopped.status = report.code, report.status
        return stopped
    error: BaseException
    try:
        assert report.payload is not None
        error = pickle.loads(report.payload)
    except Exception:
        error = ExperimentError(f"{report.type}: {report.message}")
    set_traceback(error, f"{who} failed:\n{report.traceback}")
    return error
