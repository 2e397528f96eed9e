"""Processes that end with the one that has started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pystematic.run import die_with
from pystematic.torch._bound import begin_worker
from tests.builders import wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel does it on Linux only")


def grandchild_of_killed_child(begin: Callable[[], object]) -> int:
    """Fork a child that forks one that begins with ``begin`` and then waits; kill the child, return the other's pid."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.fork() == 0:
                begin()
                os.write(write, str(os.getpid()).encode())
            signal.pause()
        finally:
            os._exit(1)
    pid = int(os.read(read, 100))
    os.close(read)
    os.close(write)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_dies_with_its_starter() -> None:
    pid = grandchild_of_killed_child(lambda: die_with(os.getppid()))
    wait_until(lambda: not is_alive(pid), 5.0)


def test_a_worker_dies_with_its_process_and_begins_as_the_program_says() -> None:
    said: list[int] = []

    def begin() -> None:
        begin_worker(said.append, 3)
        assert said == [3]  # else the pipe is closed without a pid, and the test fails

    pid = grandchild_of_killed_child(begin)
    wait_until(lambda: not is_alive(pid), 5.0)


def test_a_signal_to_all_is_left_to_the_workers_process() -> None:
    ask_read, ask = os.pipe()
    answer, answer_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ask)
            begin_worker(None, 0)
            while asked := os.read(ask_read, 1):
                os.write(answer_write, asked)
        finally:
            os._exit(7)
    os.write(ask, b"1")
    assert os.read(answer, 1) == b"1"  # it has begun
    for name in ("INT", "TERM", "HUP", "USR1", "USR2"):
        subprocess.run(["kill", f"-{name}", str(pid)], timeout=30, check=True)  # somebody else than its parent
    os.write(ask, b"2")
    os.close(answer_write)
    assert os.read(answer, 1) == b"2"
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for fd in (ask_read, ask, answer):
        os.close(fd)


def test_a_worker_of_a_thread_outlives_it() -> None:
    """The kernel would kill it with the thread that has forked it, and not with the process."""
    read, write = os.pipe()
    made: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            begin_worker(None, 0)
            os.write(write, b"begun")
            signal.pause()
            os._exit(0)
        made.extend((pid, threading.get_native_id()))

    thread = threading.Thread(target=fork)
    thread.start()
    assert os.read(read, 5) == b"begun"
    thread.join()
    pid, task = made
    wait_until(lambda: not Path(f"/proc/self/task/{task}").exists())
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0  # not killed by the kernel before
    os.close(read)
    os.close(write)


def test_a_process_whose_starter_has_died_already_ends() -> None:
    pid = os.fork()
    if pid == 0:
        die_with(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
