"""What a process says of its end, and what another one makes of it."""

from __future__ import annotations

import pickle
import signal

import pytest

from pystematic.errors import ExperimentError, RunStopped
from pystematic.run import StopReason, format_traceback
from pystematic.torch._report import Report, exception_of, first_cause, report_of


class StubbornError(Exception):
    """Cannot be pickled, and has no text."""

    def __reduce__(self) -> str:
        raise TypeError("no")

    def __str__(self) -> str:
        raise TypeError("no")


def failure(error: BaseException, rank: int = 0) -> Report:
    """Return the report of ``error`` as another process gets it."""
    try:
        raise error
    except BaseException as raised:
        report: Report = pickle.loads(pickle.dumps(report_of(raised, rank)))
        return report


def test_a_failure_comes_back_with_its_type_its_words_and_the_traceback_of_its_rank() -> None:
    error = exception_of(failure(ValueError("the words"), rank=2), 4)
    assert (type(error), str(error)) == (ValueError, "the words")
    assert format_traceback(error).startswith("rank 2 of 4 failed:\nTraceback (most recent call last):\n")


def test_a_failure_that_cannot_travel_is_told_in_words() -> None:
    error = exception_of(failure(StubbornError(), rank=1), 2)
    assert type(error) is ExperimentError
    assert str(error) == "rank 1 of 2 failed: StubbornError: (no message: its __str__ raises)"


@pytest.mark.parametrize(
    ("code", "expected"), [(3, ("exited", 3, "")), ("words", ("exited", 1, "words")), (0, ("done", 0, ""))]
)
def test_sys_exit_is_told_with_its_code(code: object, expected: tuple[str, int, str]) -> None:
    report = failure(SystemExit(code))
    assert (report.kind, report.code, report.message) == expected


def test_a_process_that_exited_ends_the_run_with_its_code() -> None:
    assert getattr(exception_of(failure(SystemExit(3)), 2), "code", None) == 3


@pytest.mark.parametrize(
    "reason",
    [
        StopReason(signal.SIGUSR1, 138, saves=True),
        StopReason(None, 75, saves=True),
        StopReason(None, 0, saves=True, status="pruned"),
    ],
)
def test_a_stop_comes_back_with_its_code_and_status(reason: StopReason) -> None:
    report = failure(reason.exception())
    assert report.is_agreed
    stopped = exception_of(report, 2)
    assert isinstance(stopped, RunStopped)
    assert (stopped.signum, stopped.exit_code, stopped.status) == (reason.signum, reason.exit_code, reason.status)


@pytest.mark.parametrize(("error", "is_agreed"), [(KeyboardInterrupt(), False), (RunStopped(15), False)])
def test_a_stop_at_once_is_agreed_by_nobody(error: BaseException, is_agreed: bool) -> None:
    assert failure(error).is_agreed is is_agreed


def test_ctrl_c_comes_back_as_ctrl_c() -> None:
    assert type(exception_of(failure(KeyboardInterrupt()), 2)) is KeyboardInterrupt


def of_peer() -> RuntimeError:
    return RuntimeError("[gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:3401")


def test_the_words_of_torch_about_another_process_are_a_symptom() -> None:
    assert failure(of_peer()).is_symptom
    assert not failure(RuntimeError("the program's own words")).is_symptom
    assert not failure(ValueError("Connection closed by peer")).is_symptom


def test_what_a_program_makes_of_a_symptom_is_one_too() -> None:
    def wrapped(*, silent: bool) -> BaseException:
        try:
            try:
                raise of_peer()
            except RuntimeError:
                if silent:
                    raise KeyError("step") from None
                raise KeyError("step")  # noqa: B904 - as a careless program does
        except KeyError as error:
            return error

    assert failure(wrapped(silent=False)).is_symptom
    assert not failure(wrapped(silent=True)).is_symptom


def test_the_first_failure_that_is_no_symptom_is_the_cause() -> None:
    done = Report("done", 0, at=1.0, rank=0)
    symptom = Report("failed", 1, at=2.0, rank=1, is_symptom=True)
    stopped = Report("stopped", 129, at=2.5, rank=4)
    later, earlier = Report("failed", 1, at=4.0, rank=2), Report("failed", 1, at=3.0, rank=3)
    assert first_cause([done, symptom, stopped, later, earlier]) is earlier
    assert first_cause([done, symptom]) is symptom
    assert first_cause([done]) is None
