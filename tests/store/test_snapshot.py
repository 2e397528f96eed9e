"""What has changed in a folder between two looks at it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.store import take_snapshot
from tests.builders import make_run
from tests.store.builders import make_recorded, moment, record

OUTPUT = Path("output")


def name_of(run_dir: rundir.RunDir) -> str:
    return f"train/{run_dir.id}"


def test_nothing_has_changed_when_nothing_was_written(working_dir: Path) -> None:
    make_recorded(OUTPUT, {"loss": [1.0]})

    assert take_snapshot(OUTPUT).changed_since(take_snapshot(OUTPUT)) == ([], [])


def test_new_changed_and_removed_runs_are_told_apart(working_dir: Path) -> None:
    kept, labelled, grown, gone = (make_recorded(OUTPUT, {"loss": [1.0]}, i) for i in range(4))
    before = take_snapshot(OUTPUT)
    new = make_run(OUTPUT, started_at=moment(9))
    rundir.write_document(labelled.labels_file, {"schema": 1, "note": "x"})
    record(grown, {"loss": [2.0]})
    shutil.rmtree(gone.path)
    changed, removed = take_snapshot(OUTPUT).changed_since(before)

    assert sorted(changed) == sorted(map(name_of, (new, labelled, grown)))
    assert removed == [name_of(gone)]
    assert name_of(kept) in before.states


def test_a_running_run_that_is_lost_has_changed_without_a_change_of_its_files(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(OUTPUT, status="running", host=rundir.host_name(), pid=rundir.process_identity())
    before = take_snapshot(OUTPUT)
    assert before.running == [name_of(run)]
    monkeypatch.setattr("pystematic.store._status.is_lost", lambda *_: True)
    after = take_snapshot(OUTPUT)

    assert after.running == []
    assert after.changed_since(before) == ([name_of(run)], [])


def test_damaged_runs_are_named(working_dir: Path) -> None:
    make_run(OUTPUT)
    broken = make_run(OUTPUT)
    broken.run_file.write_text("{")
    found = take_snapshot(OUTPUT)

    assert found.damaged == [name_of(broken)]
    assert len(found.runs) == len(found.states) == 1


def test_a_folder_that_is_gone_is_empty(working_dir: Path) -> None:
    assert take_snapshot("nothing").states == {}


def test_a_run_is_named_by_its_place_in_the_folder(working_dir: Path) -> None:
    run = make_run(OUTPUT)
    found = take_snapshot(OUTPUT)

    assert [found.name_of(one.path) for one in found.runs] == [name_of(run)]
