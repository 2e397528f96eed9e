"""The saver: files that are whole or absent, which ones stay, and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from pystematic import rundir
from pystematic.torch._saver import Saver, newest_whole


def make_saver(folder: Path, said: list[str] | None = None, **options: Any) -> Saver:
    options = {"keep_last": 2, "keep_best": 0, "metric": None, **options}
    return Saver(rundir.RunDir(folder), warn=(said if said is not None else []).append, **options)


def save(saver: Saver, id: str, value: float | None = None, step: int = 0) -> None:
    state = {"pystematic": 1, "step": step, "state": {"x": torch.ones(3)}}
    saver.save(state, {"id": id, "step": step, "metric_value": value})
    saver.wait()


def files(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder / "checkpoints") if name != "manifest.json")


def test_the_last_ones_stay(tmp_path: Path) -> None:
    saver = make_saver(tmp_path)
    for id in "1234":
        save(saver, id)
    assert files(tmp_path) == ["checkpoint-3.pt", "checkpoint-4.pt"]


@pytest.mark.parametrize(("direction", "best"), [("max", "2"), ("min", "3")])
def test_the_best_one_stays_beside_them(tmp_path: Path, direction: str, best: str) -> None:
    saver = make_saver(tmp_path, keep_last=1, keep_best=1, metric=("score", direction))
    for id, value in (("1", 0.5), ("2", 0.9), ("3", 0.1), ("4", float("nan")), ("5", 0.6)):
        save(saver, id, value)
    assert files(tmp_path) == [f"checkpoint-{best}.pt", "checkpoint-5.pt"]


def test_a_whole_file_is_listed_at_each_moment_when_an_id_is_used_again(tmp_path: Path) -> None:
    saver = make_saver(tmp_path, keep_last=1)
    save(saver, "same", step=1)
    seen = []
    write = rundir.write_manifest

    def look(run_dir: rundir.RunDir, entries: Any) -> None:
        seen.append([rundir.is_whole(run_dir, entry) for entry in rundir.read_manifest(run_dir)])
        write(run_dir, entries)
        seen.append([rundir.is_whole(run_dir, entry) for entry in rundir.read_manifest(run_dir)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pystematic.torch._saver.rundir.write_manifest", look, raising=False)
        save(saver, "same", step=2)
    assert seen == [[True], [True]]
    assert files(tmp_path) == ["checkpoint-same.2.pt"]
    found = newest_whole(rundir.RunDir(tmp_path), print)
    assert found is not None
    assert found[1]["step"] == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_one_is_passed_over_and_said(tmp_path: Path, damage: str) -> None:
    saver = make_saver(tmp_path)
    save(saver, "1", step=1)
    save(saver, "2", step=2)
    path = tmp_path / "checkpoints" / "checkpoint-2.pt"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 255
        path.write_bytes(content[:-100] if damage == "cut" else content)
    said: list[str] = []
    found = newest_whole(rundir.RunDir(tmp_path), said.append)
    assert found is not None
    assert found[1]["step"] == 1
    assert said == [f"the checkpoint 'checkpoint-2.pt' of {tmp_path.name} is damaged or gone, and is passed over."]


def test_a_damaged_manifest_costs_no_checkpoint(tmp_path: Path) -> None:
    save(make_saver(tmp_path), "1", step=1)
    (tmp_path / "checkpoints" / "manifest.json").write_bytes(b'{"schema": 1, "check')
    said: list[str] = []
    rundir.remove_leftovers(rundir.RunDir(tmp_path))
    found = newest_whole(rundir.RunDir(tmp_path), said.append)
    assert found is not None
    assert found[1]["step"] == 1
    assert said == [
        f"the manifest of the checkpoints of {tmp_path.name} is damaged; the newest file that can be read is taken."
    ]


def test_leftovers_of_dead_writers_are_removed(tmp_path: Path) -> None:
    save(make_saver(tmp_path), "1")
    folder = tmp_path / "checkpoints"
    (folder / "checkpoint-2.pt.123.tmp").write_bytes(b"half")
    (folder / "checkpoint-2.pt").write_bytes(b"whole, but not listed")
    (folder / "mine.pt").write_bytes(b"of the user")
    make_saver(tmp_path)
    assert files(tmp_path) == ["checkpoint-1.pt", "mine.pt"]


def test_a_save_that_fails_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    saver = make_saver(tmp_path, said)
    save(saver, "1")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pystematic.torch._saver.os.fsync", full)
        save(saver, "2")
        save(saver, "3")
    assert said == [
        "the checkpoint 2 could not be saved: No space left on device. The run goes on, and so do older checkpoints; "
        "further ones that fail of the same are not told of."
    ]
    assert files(tmp_path) == ["checkpoint-1.pt"]
    save(saver, "4")
    assert files(tmp_path) == ["checkpoint-1.pt", "checkpoint-4.pt"]
    with monkeypatch.context() as patch:
        patch.setattr("pystematic.torch._saver.os.fsync", full)
        save(saver, "5")
    assert len(said) == 2  # it had worked meanwhile


def test_a_folder_that_is_gone_is_a_save_that_fails(tmp_path: Path) -> None:
    said: list[str] = []
    saver = make_saver(tmp_path, said)
    (tmp_path / "checkpoints").rmdir()
    save(saver, "1")
    save(saver, "2")
    assert said == [
        "the checkpoint 1 could not be saved: No such file or directory. The run goes on, and so do older checkpoints; "
        "further ones that fail of the same are not told of."
    ]
    (tmp_path / "checkpoints").mkdir()
    save(saver, "3")
    assert files(tmp_path) == ["checkpoint-3.pt"]


def test_a_checkpoint_that_cannot_be_listed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    saver = make_saver(tmp_path, said)
    save(saver, "1")

    def full(run_dir: rundir.RunDir, entries: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pystematic.torch._saver.rundir.write_manifest", full, raising=False)
        save(saver, "2")
    assert len(said) == 1
    assert files(tmp_path) == ["checkpoint-1.pt"]


def test_the_series_are_on_disk_before_a_checkpoint_is_listed(tmp_path: Path) -> None:
    listed: list[int] = []

    def sync_series() -> None:
        listed.append(len(rundir.read_manifest(rundir.RunDir(tmp_path))))

    saver = make_saver(tmp_path, sync_series=sync_series)
    save(saver, "1")
    assert listed == [0]
    assert len(rundir.read_manifest(rundir.RunDir(tmp_path))) == 1


def test_the_program_may_change_its_tensors_at_once(tmp_path: Path) -> None:
    saver = make_saver(tmp_path)
    weights = torch.ones(1000)
    saver.save({"pystematic": 1, "state": {"weights": weights}}, {"id": "1", "step": 0, "metric_value": None})
    weights.zero_()
    saver.wait()
    found = newest_whole(rundir.RunDir(tmp_path), print)
    assert found is not None
    assert torch.equal(found[1]["state"]["weights"], torch.ones(1000))


def test_the_name_of_a_file_that_is_gone_is_not_used_again(tmp_path: Path) -> None:
    saver = make_saver(tmp_path)
    save(saver, "same", step=1)
    (tmp_path / "checkpoints" / "checkpoint-same.pt").unlink()
    save(saver, "same", step=2)
    assert files(tmp_path) == ["checkpoint-same.2.pt"]
