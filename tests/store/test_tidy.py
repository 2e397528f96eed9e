"""Labels, notes and the removal of runs: what is written, and what is refused."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.errors import UsageError
from pystematic.store import Run, add_tags, remove_run, remove_tags, runs, set_note
from pystematic.store._tidy import find_leftovers
from tests.builders import make_run


def test_tags_are_added_once_and_taken_away(working_dir: Path) -> None:
    run = Run(make_run(working_dir, params={"tags": ["first"]}).path)

    add_tags(run, ["good", "first", "good", "two words"])
    assert run.tags == ("first", "good", "two words")
    remove_tags(run, ["good"])
    assert list(run.tags) == ["first", "two words"]
    assert rundir.read_document(run.dir.labels_file) == {"schema": 1, "tags": ["two words"]}


@pytest.mark.parametrize("tag", ["", "  ", "a\nb", "\x1b[31m"])
def test_a_tag_is_a_line_of_text(tag: str, working_dir: Path) -> None:
    run = Run(make_run(working_dir).path)
    with pytest.raises(UsageError) as caught:
        add_tags(run, ["fine", tag])
    assert str(caught.value) == f"{tag!r} is no tag. A tag is a word or a line of text."
    assert run.tags == ()


def test_a_tag_that_a_run_has_not_cannot_be_taken_away(working_dir: Path) -> None:
    run = Run(make_run(working_dir, params={"tags": ["first"]}).path)
    with pytest.raises(UsageError) as caught:
        remove_tags(run, ["good"])
    assert str(caught.value) == f"{run.id} has no tag 'good'. It has 'first'."
    with pytest.raises(UsageError) as caught:
        remove_tags(run, ["first"])
    assert str(caught.value) == f"'first' was given to {run.id} when it was started, and stays: it is a parameter."


def test_a_run_without_tags_has_none_to_take_away(working_dir: Path) -> None:
    run = Run(make_run(working_dir).path)
    with pytest.raises(UsageError) as caught:
        remove_tags(run, ["good"])
    assert str(caught.value) == f"{run.id} has no tag 'good'. It has none."


def test_a_note_replaces_the_one_before_and_leaves_the_tags(working_dir: Path) -> None:
    run = Run(make_run(working_dir, params={"note": "at the start"}).path)
    add_tags(run, ["good"])

    set_note(run, "one")
    set_note(run, "two")
    assert (run.note, run.tags) == ("at the start\ntwo", ("good",))
    set_note(run, "")
    assert run.note == "at the start"


def test_what_is_damaged_is_not_written_over(working_dir: Path) -> None:
    run = Run(make_run(working_dir).path)
    run.dir.labels_file.write_text("{")

    with pytest.raises(UsageError, match=r"the labels of .* are damaged"):
        add_tags(run, ["good"])
    assert run.dir.labels_file.read_text() == "{"


def test_a_folder_that_cannot_be_written_is_said(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(make_run(working_dir).path)

    def refuse(path: object, document: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(rundir, "write_document", refuse, raising=False)
    with pytest.raises(UsageError) as caught:
        set_note(run, "x")
    assert str(caught.value) == (
        f"the labels of {run.id} cannot be written: Permission denied ({run.dir.labels_file})."
    )


# -- removing --------------------------------------------------------------------------------------------------------


def test_a_removed_run_is_gone_with_all_files(working_dir: Path) -> None:
    kept, removed = make_run(working_dir / "output"), make_run(working_dir / "output")
    (removed.path / "artifacts").mkdir()
    (removed.path / "artifacts" / "link").symlink_to(kept.path)

    remove_run(Run(removed.path), "output")
    assert os.listdir(working_dir / "output" / "train") == [kept.id]
    assert [run.id for run in runs("output")] == [kept.id]
    assert kept.run_file.exists()


def test_a_run_of_the_folder_of_one_experiment_may_be_removed(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")

    remove_run(Run(run_dir.path), "output/train")
    assert not run_dir.path.exists()


@pytest.mark.parametrize("folder", ["elsewhere", "output/other", "output/train/run"])
def test_nothing_outside_the_folder_is_removed(folder: str, working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    for name in ("elsewhere", "output/other"):
        (working_dir / name).mkdir()
    place = folder.replace("run", run_dir.id) if folder.endswith("run") else folder
    with pytest.raises(UsageError) as caught:
        remove_run(Run(run_dir.path), place)
    assert str(caught.value) == (
        f"{str(run_dir.path)!r} is no run inside {place!r}, and nothing else is removed. Name its folder: --output-dir."
    )
    assert run_dir.run_file.exists()


def test_a_link_to_a_run_elsewhere_is_not_followed(working_dir: Path) -> None:
    elsewhere = make_run(working_dir / "elsewhere")
    (working_dir / "output" / "train").mkdir(parents=True)
    link = working_dir / "output" / "train" / "2026-01-01_00-00-00_aaaaaa"
    link.symlink_to(elsewhere.path)
    with pytest.raises(UsageError, match="is no run inside 'output'"):
        remove_run(Run(link), "output")
    assert elsewhere.run_file.exists()


def test_a_folder_that_is_no_run_is_not_removed(working_dir: Path) -> None:
    (working_dir / "output" / "train" / "notes").mkdir(parents=True)
    with pytest.raises(UsageError, match="is no run inside 'output'"):
        remove_run(Run("output/train/notes"), "output")


def test_a_live_run_is_not_removed(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output", status="running", host=rundir.host_name(), pid=rundir.process_identity())
    with pytest.raises(UsageError) as caught:
        remove_run(Run(run_dir.path), "output")
    assert str(caught.value) == f"{run_dir.id} is still running on {rundir.host_name()}. Stop it first."


# -- leftovers -------------------------------------------------------------------------------------------------------


def test_leftovers_are_found_by_their_names_and_age(working_dir: Path) -> None:
    names = [
        ".removed-2026-01-01_00-00-00_aaaaaa-0f0f0f",
        "summary.json.0123456789ab.tmp",
        "model.tmp",
        "summary.json.0123456789xy.tmp",
        "run.json",
    ]
    for name in names:
        (working_dir / name).touch()
    assert find_leftovers(str(working_dir)) == []  # may still be in use
    for name in names:
        os.utime(name, (time.time() - 3600, time.time() - 3600))
    assert find_leftovers(str(working_dir)) == [str(working_dir / name) for name in sorted(names[:2])]
    assert find_leftovers("nowhere") == []
