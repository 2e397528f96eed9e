"""What a reader says of a run that says `running`: the truth by the process table, elsewhere by its heartbeat."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pystematic import rundir
from pystematic.rundir import _clock
from pystematic.store import Run
from tests.builders import PROCESS_LIMIT_S, make_run

HOST = rundir.host_name()


def make_running(output_dir: Path, *, age_s: float = 0, beat_age_s: float | None = None, **fields: Any) -> Run:
    """Make a run that says ``running``, whose document and heartbeat (None: it has none) are that old."""
    run_dir = make_run(output_dir, status="running", ended_at=None, exit_code=None, **fields)
    now = time.time()
    os.utime(run_dir.run_file, (now, now - age_s))
    if beat_age_s is not None:
        run_dir.heartbeat_file.touch()
        os.utime(run_dir.heartbeat_file, (now, now - beat_age_s))
    return Run(run_dir.path)


@pytest.mark.parametrize("status", ["completed", "failed", "interrupted", "pruned"])
def test_an_ended_run_says_how_it_ended(status: str, working_dir: Path) -> None:
    assert Run(make_run(working_dir, status=status).path).status == status


def test_an_ended_run_needs_no_living_process(working_dir: Path) -> None:
    run_dir = make_run(working_dir, status="failed", host=HOST, pid=rundir.process_identity())

    assert Run(run_dir.path).status == "failed"


def test_a_run_of_this_process_is_running_however_old_its_heartbeat(working_dir: Path) -> None:
    run = make_running(working_dir, host=HOST, pid=rundir.process_identity(), age_s=9e5, beat_age_s=9e5)

    assert run.status == "running"


def test_a_run_is_lost_at_once_when_its_process_is_dead(working_dir: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        run = make_running(working_dir, host=HOST, pid=rundir.process_identity(child.pid), beat_age_s=0)
        assert run.status == "running"
        child.kill()
        child.wait(PROCESS_LIMIT_S)
        assert run.status == "lost"


def test_a_number_that_another_process_has_now_is_not_the_run(working_dir: Path) -> None:
    run = make_running(working_dir, host=HOST, pid={**rundir.process_identity(), "start_time": "1"}, beat_age_s=0)

    assert run.status == "lost"


@pytest.mark.parametrize(("beat_age_s", "status"), [(0, "running"), (100, "running"), (140, "lost"), (9e5, "lost")])
def test_a_run_of_another_machine_is_judged_by_its_heartbeat(beat_age_s: float, status: str, working_dir: Path) -> None:
    assert make_running(working_dir, age_s=9e5, beat_age_s=beat_age_s).status == status


@pytest.mark.parametrize(("age_s", "status"), [(0, "running"), (140, "lost")])
def test_a_run_without_a_heartbeat_is_judged_by_its_document(age_s: float, status: str, working_dir: Path) -> None:
    assert make_running(working_dir, age_s=age_s).status == status


def test_a_run_that_has_just_been_resumed_may_have_an_old_heartbeat(working_dir: Path) -> None:
    assert make_running(working_dir, age_s=0, beat_age_s=9e5).status == "running"


@pytest.mark.parametrize(("beat_age_s", "status"), [(0, "running"), (140, "lost")])
def test_another_boot_of_a_machine_of_this_name_is_judged_by_the_heartbeat(
    beat_age_s: float, status: str, working_dir: Path
) -> None:
    identity = {**rundir.process_identity(), "boot_id": "another"}

    assert make_running(working_dir, host=HOST, pid=identity, age_s=9e5, beat_age_s=beat_age_s).status == status


@pytest.mark.parametrize("pid", [None, [], {}, "1", {"pid": "1"}], ids=repr)
@pytest.mark.parametrize(("beat_age_s", "status"), [(0, "running"), (140, "lost")])
def test_a_damaged_identity_is_judged_by_the_heartbeat(
    pid: Any, beat_age_s: float, status: str, working_dir: Path
) -> None:
    assert make_running(working_dir, host=HOST, pid=pid, age_s=9e5, beat_age_s=beat_age_s).status == status


def test_the_age_is_that_by_the_clock_of_the_file_server(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clock, "_clocks", {})
    slow_clock = SimpleNamespace(time=lambda: time.time() - 600, monotonic=time.monotonic)
    monkeypatch.setattr(_clock, "time", slow_clock)
    assert make_running(working_dir, age_s=9e5, beat_age_s=0).status == "running"
    assert make_running(working_dir, age_s=9e5, beat_age_s=140).status == "lost"


def test_looking_at_the_clock_leaves_nothing_in_the_directory(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_clock, "_clocks", {})
    run = make_running(working_dir, age_s=9e5, beat_age_s=0)
    before = sorted(os.listdir(run.path))

    assert run.status == "running"
    assert sorted(os.listdir(run.path)) == before


def test_where_nothing_may_be_written_our_own_clock_decides(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> float:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_clock, "_clocks", {})
    monkeypatch.setattr(_clock, "_stamp", refuse)

    assert make_running(working_dir, age_s=9e5, beat_age_s=0).status == "running"
    assert make_running(working_dir, age_s=9e5, beat_age_s=140).status == "lost"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"status": 5}', '{"id": "x"}', "\0" * 50], ids=repr)
def test_a_run_whose_document_cannot_be_understood_is_damaged(content: str, working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    run_dir.run_file.write_text(content)

    assert Run(run_dir.path).status == "damaged"


def test_the_status_is_that_of_the_moment(working_dir: Path) -> None:
    run_dir = make_run(working_dir, status="running", host=HOST, pid=rundir.process_identity())
    run = Run(run_dir.path)
    assert run.status == "running"
    rundir.write_document(run_dir.run_file, {**run.document, "status": "completed"})
    assert run.status == "completed"
    run_dir.run_file.write_text("damaged")
    assert run.status == "damaged"
