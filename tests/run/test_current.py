"""The run that is active in this process, as programs ask for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import pystematic
from pystematic.errors import ExperimentError
from pystematic.run import _current, current
from tests.run.builders import run_main


@pytest.mark.parametrize("ask", [pystematic.is_subprocess, pystematic.local_rank, pystematic.launch_subprocess])
def test_outside_of_a_run_nothing_is_known(ask: Callable[[], object]) -> None:
    with pytest.raises(ExperimentError) as caught:
        ask()
    assert str(caught.value) == (
        f"{ask.__name__}() is known only while an experiment runs, and none is running in this process."
    )


def test_a_run_is_current_from_its_main_function_to_its_end(tmp_path: Path) -> None:
    seen = []
    run = run_main(tmp_path, lambda active: seen.append((current(), active)))
    assert seen[0][0] is seen[0][1]
    assert seen[0][1].output_dir == run.path
    assert current() is None


def test_the_process_that_started_a_run_is_no_subprocess_and_has_rank_0(tmp_path: Path) -> None:
    run = run_main(tmp_path, lambda active: (pystematic.is_subprocess(), pystematic.local_rank()))
    assert run.result == (False, 0)


def test_listeners_are_told_at_once_and_of_every_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_current, "_listeners", [])
    heard: list[object] = []
    _current.when_current_changes(heard.append)
    run = run_main(tmp_path, lambda active: active)
    assert heard == [None, run.result, None]
