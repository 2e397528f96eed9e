"""Tracebacks as their author wants them, and what is said at the console when a run ends by an exception."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pystematic.errors import RunStopped
from pystematic.run import ActiveRun
from pystematic.run._traceback import (
    format_traceback,
    is_users_own,
    mark_as_users,
    run_dir_of,
    say_how_it_ended,
)
from tests.builders import run_python, write_program
from tests.run.builders import run_main


@pytest.fixture(autouse=True)
def _hook() -> Iterator[None]:
    before = sys.excepthook
    yield
    sys.excepthook = before


def fail_in_run(tmp_path: Path, main: Callable[[ActiveRun], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - any that the main function raises
        run_main(tmp_path, main)
    return caught.value


def failing_main(active: ActiveRun) -> None:
    local_variable = "never shown"
    raise ValueError(f"of {len(local_variable)} letters")


def test_only_the_programs_own_frames_are_shown(tmp_path: Path) -> None:
    text = format_traceback(fail_in_run(tmp_path, failing_main))
    assert [line for line in text.splitlines() if line.startswith("  File")] == [
        f'  File "{__file__}", line {failing_main.__code__.co_firstlineno + 2}, in failing_main'
    ]
    assert text.endswith("ValueError: of 11 letters\n")


def test_no_value_of_a_variable_is_shown(tmp_path: Path) -> None:
    assert "'never shown'" not in format_traceback(fail_in_run(tmp_path, failing_main))


def test_debug_shows_every_frame(tmp_path: Path) -> None:
    assert "_lifecycle.py" in format_traceback(fail_in_run(tmp_path, failing_main), debug=True)


def test_our_frames_below_the_programs_are_hidden_too(tmp_path: Path) -> None:
    error = fail_in_run(tmp_path, lambda active: active.seeds.new_seed("x", nbits=-1))
    text = format_traceback(error)
    assert "_seeds.py" not in text
    assert text.count("  File") == 1


def test_causes_and_groups_are_stripped_too(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> None:
        try:
            active.seeds.new_seed("x", nbits=-1)
        except ValueError as error:
            raise ExceptionGroup("several", [error, KeyError("other")]) from error

    text = format_traceback(fail_in_run(tmp_path, main))
    assert "_seeds.py" not in text
    assert "_lifecycle.py" not in text
    assert "KeyError: 'other'" in text


def test_exceptions_that_cause_each_other_end(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> None:
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    assert "second" in format_traceback(fail_in_run(tmp_path, main))


def test_a_failure_that_is_ours_alone_keeps_its_frames() -> None:
    with pytest.raises(ValueError, match="of nobody") as caught:
        raise ValueError("of nobody")
    assert "test_a_failure_that_is_ours_alone" in format_traceback(caught.value)


def test_an_exception_knows_the_run_that_it_has_ended(tmp_path: Path) -> None:
    error = fail_in_run(tmp_path, failing_main)
    [run_dir] = tmp_path.glob("train/*")
    assert is_users_own(error)
    assert run_dir_of(error) == str(run_dir)
    assert run_dir_of(ValueError()) is None


def test_an_exception_that_takes_no_attributes_is_fine(tmp_path: Path) -> None:
    class Closed(Exception):  # noqa: N818
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    error = Closed()
    mark_as_users(error, "x")
    assert not is_users_own(error)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunStopped(15)])
def test_an_interruption_names_the_record(
    working_dir: Path, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    say_how_it_ended(error)
    mark_as_users(error, str(working_dir / "output" / "train" / "x"))
    say_how_it_ended(error)
    assert capsys.readouterr().err == "Interrupted. The record is in output/train/x\n"


def test_a_record_elsewhere_is_named_by_its_whole_path(
    tmp_path: Path, working_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = KeyboardInterrupt()
    mark_as_users(error, str(tmp_path / "x"))
    say_how_it_ended(error)
    assert capsys.readouterr().err == f"Interrupted. The record is in {tmp_path / 'x'}\n"


def test_the_hook_prints_once_and_takes_itself_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = fail_in_run(tmp_path, failing_main)
    before = sys.excepthook = sys.__excepthook__
    say_how_it_ended(error)
    say_how_it_ended(error)
    sys.excepthook(type(error), error, error.__traceback__)
    assert sys.excepthook is before
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.count("ValueError: of 11 letters\n\nThe run failed. Its record is in ") == 1


def test_another_exception_is_shown_as_ever(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sys.excepthook = sys.__excepthook__
    say_how_it_ended(fail_in_run(tmp_path, failing_main))  # the program has caught it
    another = KeyError("another")
    sys.excepthook(KeyError, another, None)
    assert capsys.readouterr().err == "KeyError: 'another'\n"


def test_a_hook_of_the_programs_own_is_called_and_the_record_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[object] = []
    sys.excepthook = lambda kind, value, traceback: seen.append(value)
    error = fail_in_run(tmp_path, failing_main)
    say_how_it_ended(error)
    sys.excepthook(type(error), error, error.__traceback__)
    assert seen == [error]
    assert capsys.readouterr().err.startswith("\nThe run failed. Its record is in ")


def test_without_stderr_nothing_is_said() -> None:
    error = KeyboardInterrupt()
    mark_as_users(error, "x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        say_how_it_ended(error)


def test_a_program_shows_its_own_frames_and_where_the_record_is(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import pystematic

        def inner():
            raise ValueError("the words of the program")

        @pystematic.experiment
        def train(parameters):
            inner()

        train.cli()
        """,
    )
    done = run_python(program, cwd=working_dir)
    [run_dir] = working_dir.glob("output/train/*")
    assert done.returncode == 1
    assert done.stderr == (
        f'Traceback (most recent call last):\n  File "{program}", line 8, in train\n    inner()\n'
        f'  File "{program}", line 4, in inner\n    raise ValueError("the words of the program")\n'
        f"ValueError: the words of the program\n\nThe run failed. Its record is in {run_dir.relative_to(working_dir)}\n"
    )
    assert 'raise ValueError("the words of the program")' in (run_dir / "log.txt").read_text(encoding="utf-8")
