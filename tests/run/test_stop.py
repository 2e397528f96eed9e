"""A run is asked to end, and does so at the end of a step."""

from __future__ import annotations

import signal
import threading

import pytest

from pystematic.errors import RunStopped
from pystematic.run import StopControl, StopReason


def reason(signum: int | None = signal.SIGUSR1, *, saves: bool = True, status: str = "interrupted") -> StopReason:
    return StopReason(signum, 75 if signum is None else 128 + signum, saves=saves, status=status)


@pytest.mark.parametrize("one", [reason(), reason(None), reason(signal.SIGINT, saves=False), reason(status="pruned")])
def test_a_reason_travels_as_text(one: StopReason) -> None:
    assert vars(StopReason.from_text(one.to_text())) == vars(one)


def test_a_run_that_nobody_asked_goes_on() -> None:
    control = StopControl()
    control.end_step()
    control.end_main()
    assert not control.should_stop
    assert not control.asks_at_step_end()


def test_the_run_ends_at_the_next_steps_end_with_the_code_of_the_reason() -> None:
    control = StopControl()
    control.ask(reason())
    with pytest.raises(RunStopped) as caught:
        control.end_step()
    assert (caught.value.signum, caught.value.exit_code, caught.value.status) == (signal.SIGUSR1, 138, "interrupted")
    assert control.should_stop


def test_ctrl_c_ends_as_a_keyboard_interrupt() -> None:
    control = StopControl()
    control.ask(reason(signal.SIGINT, saves=False))
    with pytest.raises(KeyboardInterrupt):
        control.end_step()


def test_the_first_of_several_reasons_counts() -> None:
    control = StopControl()
    control.ask(reason(signal.SIGUSR2))
    control.ask(reason(signal.SIGTERM))
    with pytest.raises(RunStopped) as caught:
        control.end_step()
    assert caught.value.signum == signal.SIGUSR2


@pytest.mark.parametrize(("saves", "count"), [(True, 1), (False, 0)])
def test_a_checkpoint_is_saved_before_the_end_where_the_reason_asks_for_it(saves: bool, count: int) -> None:
    saved: list[bool] = []
    control = StopControl()
    control.use_saving(lambda: saved.append(control.should_stop))
    control.ask(reason(saves=saves))
    with pytest.raises(RunStopped):
        control.end_step()
    assert saved == [True] * count


def test_the_time_limit_ends_the_run_with_75() -> None:
    control = StopControl(0.0)
    with pytest.raises(RunStopped) as caught:
        control.end_step()
    assert (caught.value.signum, caught.value.exit_code) == (None, 75)


def test_only_the_time_keeper_looks_at_the_time() -> None:
    control = StopControl(0.0, is_time_keeper=False)
    control.end_step()


def test_a_loop_of_its_own_is_told_of_the_time_limit() -> None:
    control = StopControl(0.0)
    assert control.asks_at_step_end()


def test_a_main_function_that_returns_as_it_was_told_to_stop_is_interrupted() -> None:
    control = StopControl()
    control.ask(reason())
    assert control.asks_at_step_end()
    with pytest.raises(RunStopped) as caught:
        control.end_main()
    assert caught.value.exit_code == 138


def test_a_main_function_that_was_told_nothing_has_completed() -> None:
    control = StopControl()
    control.ask(reason())
    control.end_main()


def test_other_threads_end_steps_without_being_stopped() -> None:
    control = StopControl()
    control.ask(reason())
    thread = threading.Thread(target=control.end_step)
    thread.start()
    thread.join()
    with pytest.raises(RunStopped):
        control.end_step()


def test_steps_tell_that_it_is_worth_waiting_for_the_next() -> None:
    control = StopControl()
    assert not control.is_stepping
    control.end_step()
    assert control.is_stepping


def test_a_question_may_be_left_to_other_processes() -> None:
    asked: list[StopReason] = []
    control = StopControl()
    control.delegate(asked.append, extra_grace_s=1.0)
    one = reason()
    control.ask(one)
    control.end_step()
    assert asked == [one]
    assert control.is_stepping
    assert control.has_saved


def test_all_processes_of_a_run_stop_where_they_agree() -> None:
    class AtThree:
        def ask(self, reason: StopReason) -> None:
            self.reason = reason

        def agreed(self, step: int) -> StopReason | None:
            return self.reason if step == 3 else None

    control = StopControl()
    control.use_agreement(AtThree())
    control.ask(reason())
    control.end_step()
    control.end_step()
    with pytest.raises(RunStopped):
        control.end_step()
