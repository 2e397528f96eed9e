"""The folder of checkpoints: what is listed, whole, left over, and what a resume cuts off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.rundir import RunDir
from tests.builders import make_run


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(run_dir: RunDir) -> dict[str, str]:
    return {path.name: path.read_text() for path in run_dir.path.glob("*.jsonl")}


def test_what_was_recorded_after_a_checkpoint_moves_to_files_of_its_own(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    write(run_dir.metrics_file(), "one\ntwo\nthree\n")
    write(run_dir.metrics_file(1), "eins\nzwei\n")
    write(run_dir.metrics_file(pid=7), "child\n")
    write(tmp_path / "metrics.cut-2.jsonl", "of an earlier resume\n")

    assert rundir.cut_series(run_dir, {"metrics.jsonl": 4, "metrics.rank-1.jsonl": 10}, 3) == 16
    assert files(run_dir) == {
        "metrics.jsonl": "one\n",
        "metrics.cut-3.jsonl": "two\nthree\n",
        "metrics.rank-1.jsonl": "eins\nzwei\n",
        "metrics.pid-7.cut-3.jsonl": "child\n",
        "metrics.cut-2.jsonl": "of an earlier resume\n",
    }


def test_cutting_again_changes_nothing(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    write(run_dir.metrics_file(), "one\ntwo\n")
    rundir.cut_series(run_dir, {"metrics.jsonl": 4}, 2)
    before = files(run_dir)
    assert rundir.cut_series(run_dir, {"metrics.jsonl": 4}, 3) == 0
    assert files(run_dir) == before


def test_killed_before_the_cut_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = RunDir(tmp_path)
    write(run_dir.metrics_file(), "one\ntwo\n")

    def die(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die)
        with pytest.raises(KeyboardInterrupt):
            rundir.cut_series(run_dir, {"metrics.jsonl": 4}, 2)
    assert files(run_dir)["metrics.jsonl"] == "one\ntwo\n"


def test_the_run_of_a_checkpoint_is_that_in_whose_folder_it_lies(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path)
    ours = write(run_dir.checkpoints_dir / "checkpoint-1.pt", "")
    former = write(run_dir.path / "checkpoint-1.pt", "")
    elsewhere = write(tmp_path / "other" / "deep" / "checkpoint-1.pt", "")
    found = rundir.run_of_checkpoint(ours), rundir.run_of_checkpoint(former)
    assert [None if one is None else one.path for one in found] == [run_dir.path, run_dir.path]
    assert rundir.run_of_checkpoint(elsewhere) is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"chfckpoints": []}', '{"checkpoints": 5}', '{"checkpoints": [5]}', "\0"]
)
def test_a_manifest_that_cannot_be_understood_lists_nothing(tmp_path: Path, content: str) -> None:
    run_dir = RunDir(tmp_path)
    write(run_dir.manifest_file, content)
    write(run_dir.checkpoints_dir / "checkpoint-1.pt", "of a run that has nothing else")
    assert rundir.read_manifest(run_dir) == []
    assert [entry["file"] for entry in rundir.unlisted_checkpoints(run_dir)] == ["checkpoint-1.pt"]
    rundir.remove_leftovers(run_dir)
    assert (run_dir.checkpoints_dir / "checkpoint-1.pt").exists()


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", 5, None])
def test_a_name_that_leads_out_of_the_folder_is_no_file(tmp_path: Path, name: object) -> None:
    assert rundir.checkpoint_path(RunDir(tmp_path), {"file": name}) is None
    assert not rundir.is_whole(RunDir(tmp_path), {"file": name})
