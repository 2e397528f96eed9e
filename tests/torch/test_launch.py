"""Forked processes as their starter sees them: results, failures, stubborn ones. Torch plays no part."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from pystematic.errors import ExperimentError, RunStopped
from pystematic.run import StopReason
from pystematic.torch import _launch
from pystematic.torch._launch import RankGroup, fork_ranks
from pystematic.torch._rank_end import RankEnd
from tests.builders import wait_until

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="a run is forked on Linux only"),
    pytest.mark.timeout(60),
]

HANG_UP = StopReason(signal.SIGHUP, 129, saves=False)
TERMINATE = StopReason(signal.SIGTERM, 143, saves=True)


def start(
    main: Callable[[int, RankEnd], Any], count: int = 2, *, grace_s: float = 30.0, has_saved: bool = False
) -> RankGroup:
    group = RankGroup(grace_s, lambda: has_saved)

    def ready(rank: int, end: RankEnd) -> Any:
        end.read_orders()
        end.say_ready()
        return main(rank, end)

    fork_ranks(group, count, ready)
    for process in group.processes:
        process.send(b"port=1\n")
    return group


def ignore_signals(rank: int, end: RankEnd) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    if rank == 1:
        raise ValueError("the words of the program")
    signal.sigwait([signal.SIGUSR1])


def wait_for_signal(rank: int, end: RankEnd) -> None:
    signal.sigwait([signal.SIGUSR1])


def in_signal_handlers_time(group: RankGroup, reason: StopReason) -> None:
    """Ask the group from another thread once its processes are ready, as a signal handler does in the main thread."""

    def ask() -> None:
        wait_until(lambda: all(process.is_ready for process in group.processes))
        group.ask(reason)

    threading.Thread(target=ask).start()


def test_the_result_of_rank_0_comes_back() -> None:
    assert start(lambda rank, end: {"rank": rank}, 3).wait() == {"rank": 0}


def test_nobody_ends_before_all_have_ended() -> None:
    read, write = os.pipe()

    def main(rank: int, end: RankEnd) -> None:
        if rank == 1:
            os.read(read, 1)

    group = start(main)
    waited: list[Any] = []
    thread = threading.Thread(target=lambda: waited.append(group.wait()))
    thread.start()
    wait_until(lambda: group.processes[0].report is not None)
    assert not group.processes[0].has_ended
    os.write(write, b".")
    thread.join()
    assert waited == [None]
    os.close(read)
    os.close(write)


def test_the_words_of_the_failing_process_are_raised() -> None:
    with pytest.raises(ValueError, match="the words of the program") as caught:
        start(ignore_signals).wait()
    assert type(caught.value) is ValueError


def test_others_are_killed_when_one_has_failed_and_they_ignore_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "END_LIMIT_S", 0.2)
    group = start(ignore_signals)
    with pytest.raises(ValueError, match="the words"):
        group.wait()
    assert group.processes[0].exit_code == -signal.SIGKILL


def test_a_process_that_dies_without_a_word_is_named() -> None:
    with pytest.raises(ExperimentError) as caught:
        start(lambda rank, end: os._exit(3) if rank else None).wait()
    assert str(caught.value) == (
        "rank 1 of 2 ended with exit code 3, without a word; the end of its log may tell more: log.rank-1.txt."
    )


def test_a_killed_process_is_named() -> None:
    with pytest.raises(ExperimentError, match=r"^rank 0 of 2 was killed by SIGKILL, without a word; .*: log\.txt\.$"):
        start(lambda rank, end: None if rank else os.kill(os.getpid(), signal.SIGKILL)).wait()


def test_a_failure_beats_a_symptom_that_came_before_it() -> None:
    def main(rank: int, end: RankEnd) -> None:
        if rank == 0:
            raise RuntimeError("Connection closed by peer")
        signal.sigtimedwait([signal.SIGUSR1], 0.2)
        raise ValueError("the cause")

    with pytest.raises(ValueError, match="the cause"):
        start(main).wait()


def test_processes_that_ignore_sigterm_are_killed_without_a_grace_where_nothing_was_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_launch, "OVERTIME_S", 0.2)

    def main(rank: int, end: RankEnd) -> None:
        ignore_signals(0, end)

    group = start(main)
    in_signal_handlers_time(group, TERMINATE)
    with pytest.raises(RunStopped) as caught:
        group.wait()
    assert caught.value.exit_code == 143


def test_one_that_waits_for_another_that_was_interrupted_is_ended_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handler does not run while it waits in a collective for the other."""
    monkeypatch.setattr(_launch, "END_LIMIT_S", 0.1)
    monkeypatch.setattr(_launch, "OVERTIME_S", 30.0)

    def main(rank: int, end: RankEnd) -> None:
        if rank == 0:
            ignore_signals(rank, end)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        signal.pause()

    group = start(main)
    in_signal_handlers_time(group, TERMINATE)
    began = time.monotonic()
    with pytest.raises(RunStopped):
        group.wait()
    assert time.monotonic() - began < 20.0
    assert group.processes[0].exit_code == -signal.SIGKILL


def test_where_something_was_saved_sigterm_leaves_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_launch, "OVERTIME_S", 0.0)

    def main(rank: int, end: RankEnd) -> str:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.sigtimedwait([signal.SIGUSR1], 0.5)
        return "came to the end"

    group = start(main, has_saved=True)
    in_signal_handlers_time(group, TERMINATE)
    assert group.wait() == "came to the end"


def test_processes_that_are_not_ready_yet_are_killed() -> None:
    group = RankGroup(30.0, lambda: False)
    fork_ranks(group, 2, lambda rank, end: end.read_orders())
    group.ask(HANG_UP)
    with pytest.raises(RunStopped):
        group.wait()
    assert [process.exit_code for process in group.processes] == [-signal.SIGKILL] * 2


def test_a_process_that_is_ended_from_a_thread_has_stopped_and_not_failed() -> None:
    def main(rank: int, end: RankEnd) -> None:
        end.stop_hard(75)
        os._exit(75)

    with pytest.raises(RunStopped) as caught:
        start(main).wait()
    assert (caught.value.exit_code, caught.value.signum) == (75, None)


def test_a_start_that_is_given_up_leaves_nobody() -> None:
    group = start(wait_for_signal)
    group.kill()
    assert all(process.has_ended for process in group.processes)


def test_a_process_dies_when_the_pipe_of_its_starter_ends_without_a_word() -> None:
    """As on systems whose kernel does not tell of the starter's death."""
    group = start(wait_for_signal, 1)
    (process,) = group.processes
    os.close(process.to_fd)
    process.to_fd = -1
    with pytest.raises(ExperimentError, match="was killed by SIGKILL"):
        group.wait()


def test_what_a_process_has_left_in_its_group_dies_with_it() -> None:
    read, write = os.pipe()

    def main(rank: int, end: RankEnd) -> int:
        pid = os.fork()
        if pid == 0:
            os.close(read)
            signal.sigwait([signal.SIGUSR1])
        return pid

    assert start(main, 1).wait() > 0
    os.close(write)
    assert os.read(read, 1) == b""  # the child held the other end
    os.close(read)


def test_an_interrupt_while_a_process_is_let_go_is_an_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    group = start(lambda rank, end: rank)
    close = os.close
    pending = {process.to_fd for process in group.processes}

    def close_and_interrupt(fd: int) -> None:
        close(fd)
        if fd in pending:
            pending.clear()
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", close_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        group.wait()
    assert not pending
    assert all(process.has_ended for process in group.processes)
