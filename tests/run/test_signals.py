"""Signals while a run is active: they raise in the program's code and wait in ours."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from pystematic.errors import RunStopped
from pystematic.run import StopControl, _signals
from pystematic.run._signals import SignalWatch
from tests.builders import wait_until

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def call_foreign(function: Callable[[], Any]) -> Any:
    return function()


def whole_run(function: Callable[[], Any]) -> Any:
    return function()


@contextlib.contextmanager
def watched(
    grace_s: float = 25.0, control: StopControl | None = None, end_hard: Callable[[int], None] = os._exit
) -> Iterator[SignalWatch]:
    watch = SignalWatch(call_foreign.__code__, whole_run.__code__, grace_s, end_hard)
    watch.control = control
    watch.install()
    try:
        yield watch
    finally:
        watch.restore()


@contextlib.contextmanager
def handled(number: int, handler: Any) -> Iterator[None]:
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in ALL]


def send(number: int) -> None:
    signal.raise_signal(number)


def test_ctrl_c_is_a_keyboard_interrupt_in_the_programs_code() -> None:
    with watched(), pytest.raises(KeyboardInterrupt):
        call_foreign(lambda: send(signal.SIGINT))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ending_signals_stop_the_run_in_the_programs_code(number: signal.Signals) -> None:
    with watched(), pytest.raises(RunStopped) as caught:
        call_foreign(lambda: send(number))
    assert (caught.value.signum, caught.value.exit_code) == (number, 128 + number)
    assert str(caught.value) == f"the run was stopped by signal {int(number)}"


@pytest.mark.parametrize("number", ALL)
def test_in_our_own_code_a_signal_waits(number: signal.Signals) -> None:
    with watched() as watch:
        send(number)
        assert watch.has_waiting
        with pytest.raises((KeyboardInterrupt, RunStopped)):
            watch.raise_waiting()
        assert not watch.has_waiting
        watch.raise_waiting()


def test_in_our_own_code_below_another_run_a_signal_waits() -> None:
    """As in a run of a forked child, below the main function of its parent's run."""
    with watched() as watch:
        call_foreign(lambda: whole_run(lambda: send(signal.SIGTERM)))
        assert watch.has_waiting
        with pytest.raises(RunStopped):
            watch.raise_waiting()


def test_what_has_raised_can_wait_after_all() -> None:
    with watched() as watch:
        for number in (signal.SIGTERM, signal.SIGINT):
            try:
                call_foreign(lambda number=number: send(number))  # type: ignore[misc]
            except (KeyboardInterrupt, RunStopped) as stopped:
                watch.postpone(stopped)
        with pytest.raises(RunStopped):
            watch.raise_waiting()
        with pytest.raises(KeyboardInterrupt):
            watch.raise_waiting()


def test_what_waits_is_delivered_to_the_former_handlers_ctrl_c_last() -> None:
    order: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        order.append(number)

    with watched() as watch:
        send(signal.SIGINT)
        send(signal.SIGTERM)
    with handled(signal.SIGTERM, note), pytest.raises(KeyboardInterrupt):
        watch.deliver_waiting()
    assert order == [signal.SIGTERM]
    watch.deliver_waiting()


def test_the_former_handlers_are_put_back() -> None:
    before = handlers()
    with watched():
        assert handlers() != before
    assert handlers() == before


@pytest.mark.parametrize("number", ALL)
def test_a_handler_of_the_programs_own_stays_and_works(number: signal.Signals) -> None:
    got: list[int] = []
    with handled(number, lambda number, frame: got.append(number)):
        before = handlers()
        with watched():
            assert signal.getsignal(number) is before[ALL.index(number)]
            call_foreign(lambda: send(number))
        assert handlers() == before
    assert got == [number]


@pytest.mark.parametrize("number", ALL)
def test_a_signal_that_is_ignored_stays_so(number: signal.Signals) -> None:
    with handled(number, signal.SIG_IGN):
        with watched():
            call_foreign(lambda: send(number))
            assert signal.getsignal(number) is signal.SIG_IGN
        assert signal.getsignal(number) is signal.SIG_IGN


def test_a_handler_that_the_program_sets_during_the_run_stays() -> None:
    def own(number: int, frame: FrameType | None) -> None: ...

    before = signal.getsignal(signal.SIGTERM)
    with watched():
        signal.signal(signal.SIGTERM, own)
    assert signal.getsignal(signal.SIGTERM) is own
    signal.signal(signal.SIGTERM, before)


def test_outside_of_the_main_thread_nothing_is_changed() -> None:
    before = handlers()
    seen: list[Any] = []

    def work() -> None:
        with watched():
            seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_in_a_forked_child_a_signal_does_what_it_did_without_us(number: signal.Signals) -> None:
    with watched():
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            call_foreign(lambda: send(number))
            os._exit(0)
        os.close(write)
        os.read(read, 1)
        os.close(read)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number


def test_in_a_forked_child_ctrl_c_is_a_keyboard_interrupt() -> None:
    with watched():
        pid = os.fork()
        if pid == 0:
            try:
                send(signal.SIGINT)
            except KeyboardInterrupt:
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def wait_for_ever() -> None:
    threading.Event().wait(30.0)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_stop_whose_grace_is_over_keeps_its_own_code(number: signal.Signals) -> None:
    def main() -> None:
        send(number)
        wait_for_ever()

    with watched(0.05, StopControl()), pytest.raises(RunStopped) as caught:
        call_foreign(main)
    assert (caught.value.signum, caught.value.exit_code) == (number, 128 + number)
    assert not vars(caught.value)["is_agreed"]


def test_ctrl_c_in_a_loop_that_ends_no_further_step_interrupts_after_the_grace() -> None:
    control = StopControl()
    control.end_step()

    def main() -> None:
        send(signal.SIGINT)
        wait_for_ever()

    with watched(0.05, control), pytest.raises(KeyboardInterrupt):
        call_foreign(main)


def test_ctrl_c_waits_for_no_step_where_there_are_none() -> None:
    with watched(control=StopControl()), pytest.raises(KeyboardInterrupt):
        call_foreign(lambda: send(signal.SIGINT))


def test_sigterm_waits_for_the_end_of_the_step_once_there_is_a_checkpoint() -> None:
    control = StopControl()
    control.has_saved = True
    with watched(control=control):
        call_foreign(lambda: send(signal.SIGTERM))
        with pytest.raises(RunStopped) as caught:
            control.end_step()
    assert caught.value.exit_code == 143


def test_a_second_signal_ends_at_once() -> None:
    control = StopControl()
    control.end_step()
    with watched(control=control):
        call_foreign(lambda: send(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            call_foreign(lambda: send(signal.SIGINT))


def test_sighup_ends_at_once_though_there_is_a_checkpoint() -> None:
    control = StopControl()
    control.has_saved = True
    control.end_step()
    with watched(control=control), pytest.raises(RunStopped) as caught:
        call_foreign(lambda: send(signal.SIGHUP))
    assert caught.value.exit_code == 129


def test_the_time_limit_asks_for_the_end_of_the_step() -> None:
    control = StopControl()
    with watched(control=control) as watch:
        watch.limit_time(0.01)
        with pytest.raises(RunStopped) as caught:
            wait_until(lambda: control.end_step())
    assert caught.value.exit_code == 75


def test_a_loop_that_ends_no_step_ends_after_the_time_limit_and_the_grace() -> None:
    with watched(0.05, StopControl()) as watch:
        watch.limit_time(0.01)
        with pytest.raises(RunStopped) as caught:
            call_foreign(wait_for_ever)
    assert (caught.value.exit_code, caught.value.signum) == (75, None)


def test_a_main_thread_that_does_not_come_back_is_ended_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_signals, "HARD_LIMIT_S", 0.05)
    codes: list[int] = []
    ended = threading.Event()

    def end_hard(code: int) -> None:
        codes.append(code)
        ended.set()

    with watched(end_hard=end_hard):
        with pytest.raises(RunStopped):
            call_foreign(lambda: send(signal.SIGTERM))
        assert ended.wait(30.0)
    assert codes == [143]
