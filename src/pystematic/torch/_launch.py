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
import time

from pystematic.errors import ExperimentError, RunStopped
from pystematic.torch._rank_end import RELEASE, RankEnd, say_lost
from pystematic.torch._report import HEAR_OTHERS_S, Report, exception_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pystematic.run import StopReason

# How long processes that are told to end at once may take, before they are killed.
END_LIMIT_S = 2.0
# How long after its patience with them is over processes that were asked to end are killed. They end by themselves
# within `pystematic.run`'s HARD_LIMIT_S of it, unless they ignore signals.
OVERTIME_S = 3.0
# How often it is looked whether a process has ended. Its pipe does not tell: children that it left hold it open.
LOOK_PERIOD_S = 0.05
# Ends what a killed starter leaves: whole process groups, for the kernel ends only its own children. Not Python, since
# this process may have threads, and a shell is small.
_GUARD = 'while read -r pid; do pids="$pids -$pid"; done; [ -z "$pids" ] || kill -s KILL -- $pids'


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
        if self.has_ended:
            return
        if not self.is_ready:
            number = signal.SIGKILL  # it does not know of the run yet, and would only print a traceback of its start
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
            self.send(RELEASE)
            # Forgotten first: Ctrl-C may come between any two of these lines, and all is tidied up once more then.
            fd, self.to_fd = self.to_fd, -1
            os.close(fd)

    def wait(self) -> None:
        """Wait for the end of a killed process."""
        if not self.has_ended:
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
        fd, self.from_fd = self.from_fd, -1
        if fd >= 0:
            os.close(fd)
        self.release()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # what it has left behind in its group
        except (ProcessLookupError, PermissionError):
            return


class RankGroup:
    """All processes that this one starts for a run. Made before them, so that whatever stops the start ends them.

    Args:
        grace_s: how long processes may take to come to the end of their step and to save.
        has_saved: tells whether the run has a checkpoint, so that SIGTERM leaves them time for another one.

    Attributes:
        processes: in the order of their ranks.
        asked: the exception by which the run is to end, once somebody has asked this process to end it.
    """

    def __init__(self, grace_s: float, has_saved: Callable[[], bool]) -> None:
        self.processes: list[RankProcess] = []
        self.asked: BaseException | None = None
        self._grace_s = grace_s
        self._has_saved = has_saved
        self._guard: Any = None
        # When the others are told to end at once, and when they are killed; None as long as all goes well.
        self._end_at: float | None = None
        self._told_all = False
        self._kill_at: float | None = None

    def ask(self, reason: StopReason) -> None:
        """Tell all processes what this one was asked to do; called by signal handlers."""
        if self.asked is None:
            self.asked = reason.exception()
        patience_s = self._grace_s
        if reason.signum == signal.SIGTERM and not self._has_saved():
            patience_s = 0.0
        self._kill_by(time.monotonic() + patience_s + OVERTIME_S)
        if reason.signum is not None:
            self._signal_all(reason.signum)

    def wait(self) -> Any:
        """Wait for the end of all, and return what rank 0 returned.

        Raises:
            ExperimentError: a process died. Whatever the main function raised in the first process that failed is
                raised here, with the words of that process.
            KeyboardInterrupt, RunStopped: a signal asked this process to end; all others have ended before.
        """
        stopped: BaseException | None = None
        try:
            self._guard = _start_guard([process.pid for process in self.processes])
            while not all(process.has_ended for process in self.processes):
                try:
                    self._look()
                    self._act(time.monotonic())
                except (KeyboardInterrupt, RunStopped) as raised:
                    stopped = stopped or raised
                    self._end_all()
        finally:
            self.kill()
        if stopped is not None:
            raise stopped
        return self._outcome()

    def kill(self) -> None:
        """End all that still runs, at once."""
        for process in self.processes:
            process.signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.kill()
            guard.wait()
            guard.stdin.close()

    def _look(self) -> None:
        poll = select.poll()  # select() cannot take descriptors above 1023
        for process in self.processes:
            if not process.has_ended and process.report is None:
                poll.register(process.from_fd, select.POLLIN)
        poll.poll(LOOK_PERIOD_S * 1000)
        for process in self.processes:
            process.look()

    def _act(self, now: float) -> None:
        """Let processes go that have ended, and end those that the end of others leaves without a purpose."""
        if all(process.report is not None or process.has_ended for process in self.processes):
            for process in self.processes:
                process.release()
        if self._end_at is None or self._end_at > now + HEAR_OTHERS_S:
            if any(process.has_failed and not process.is_stopping for process in self.processes):
                self._end_at = now + HEAR_OTHERS_S
            elif self._end_at is None and any(process.is_stopping for process in self.processes):
                self._end_at = now + self._grace_s
        if self._end_at is not None and now >= self._end_at and not self._told_all:
            self._end_all()
        if self._kill_at is not None and now >= self._kill_at:
            self._signal_all(signal.SIGKILL)
            self._kill_at = now + 1.0

    def _end_all(self) -> None:
        """Have all end without finishing their step."""
        self._told_all = True
        # What says "at once" in any state of a process, unless it is ignored.
        hang_up = signal.SIGHUP if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else signal.SIGTERM
        self._signal_all(hang_up)
        self._kill_by(time.monotonic() + END_LIMIT_S)

    def _kill_by(self, at: float) -> None:
        self._kill_at = at if self._kill_at is None else min(self._kill_at, at)

    def _signal_all(self, number: int) -> None:
        for process in self.processes:
            process.signal(number)
            if process.report is not None:
                process.release()

    def _outcome(self) -> Any:
        guilty = self.guilty()
        if guilty is not None:
            if guilty.is_secondary and self.asked is not None:
                raise self.asked
            raise _exception_of(guilty, len(self.processes))
        report = self.processes[0].report
        if report is None or report.payload is None:
            return None
        try:
            return pickle.loads(report.payload)
        except Exception as error:  # a result that cannot travel is no failure of the run
            say_lost(error)
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


def fork_ranks(group: RankGroup, count: int, main: Callable[[int, RankEnd], Any]) -> None:
    """Fork ``count`` processes into ``group`` that call ``main(rank, end)`` and never return from there."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    starter = os.getpid()
    for rank in range(count):
        from_read, from_write = os.pipe()
        to_read, to_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            _be_rank(rank, group.processes, starter, (from_read, from_write, to_read, to_write), main)
        os.close(from_write)
        os.close(to_read)
        group.processes.append(RankProcess(rank, pid, from_read, to_write))


def _be_rank(
    rank: int,
    others: list[RankProcess],
    starter: int,
    pipes: tuple[int, int, int, int],
    main: Callable[[int, RankEnd], Any],
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


def _exception_of(guilty: RankProcess, count: int) -> BaseException:
    """Return what is raised in the starter for the failure of a process."""
    who = f"rank {guilty.rank} of {count}"
    report = guilty.report
    if report is not None:
        if report.kind == "exited":
            print(f"pystematic: {who} called sys.exit({report.message or report.code!r})", file=sys.stderr)
        return exception_of(report, count)
    from pystematic.run import set_traceback

    code = guilty.exit_code or 0
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    log = "log.txt" if guilty.rank == 0 else f"log.rank-{guilty.rank}.txt"
    message = f"{who} {how}, without a word; the end of its log may tell more: {log}."
    died = ExperimentError(message)
    set_traceback(died, f"pystematic: {message}\n")
    return died
