"""Who a process is and whether it lives, told by real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from pystematic.rundir import host_name, is_alive, process_identity
from pystematic.rundir._process import start_time
from tests.builders import PROCESS_LIMIT_S


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that waits for its standard input to end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        try:
            yield child
        finally:
            child.kill()
            child.wait(PROCESS_LIMIT_S)


def test_this_process_lives() -> None:
    identity = process_identity()

    assert identity["pid"] == os.getpid()
    assert is_alive(identity, host_name()) is True


def test_the_identity_of_this_process_does_not_change() -> None:
    assert process_identity() == process_identity(os.getpid())


def test_another_process_lives_until_it_has_ended() -> None:
    with process() as child:
        identity = process_identity(child.pid)
        assert is_alive(identity, host_name()) is True
        child.kill()
        child.wait(PROCESS_LIMIT_S)
        assert is_alive(identity, host_name()) is False


def test_a_process_that_nobody_has_waited_for_is_dead() -> None:
    with process() as child:
        identity = process_identity(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
        assert is_alive(identity, host_name()) is False


def test_a_process_that_is_stopped_lives() -> None:
    with process() as child:
        identity = process_identity(child.pid)
        child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)

        assert is_alive(identity, host_name()) is True


def test_a_number_that_another_process_has_got_is_not_the_process() -> None:
    identity = {**process_identity(), "start_time": "1"}

    assert is_alive(identity, host_name()) is False


def test_a_process_from_before_the_last_boot_is_dead() -> None:
    identity = {**process_identity(), "boot_id": "another"}

    assert is_alive(identity, host_name()) is False


def test_of_another_machine_nothing_is_known() -> None:
    assert is_alive(process_identity(), "elsewhere") is None
    assert is_alive(process_identity(), None) is None


@pytest.mark.parametrize("identity", [None, {}, [], "text", {"pid": None}, {"pid": "1"}, {"pid": 1.0}], ids=repr)
def test_of_a_damaged_identity_nothing_is_known(identity: Any) -> None:
    assert is_alive(identity, host_name()) is None


@pytest.mark.parametrize("pid", [-1, 0, 2**22 + 1, 10**30])
def test_a_number_that_no_process_has_is_dead(pid: int) -> None:
    assert is_alive({**process_identity(), "pid": pid}, host_name()) is False


def test_a_process_may_have_any_name() -> None:
    name = ") 1 2 (x"
    with subprocess.Popen(
        [sys.executable, "-c", f"open('/proc/self/comm', 'w').write({name!r}); print('named', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"named\n"
        ticks = int(str(start_time(child.pid)))
        boot = psutil.boot_time()
        started = psutil.Process(child.pid).create_time()
        child.kill()
        child.wait(PROCESS_LIMIT_S)

    assert boot + ticks / os.sysconf("SC_CLK_TCK") == pytest.approx(started, abs=1.1)


def test_the_name_of_the_machine_is_the_one_that_others_see() -> None:
    assert host_name() == os.uname().nodename
