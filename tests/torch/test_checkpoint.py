"""Checkpoint files: whole or absent, readable again, never executing code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from pystematic.errors import ExperimentError
from pystematic.torch import load_checkpoint, save_checkpoint
from tests.torch.builders import in_a_run, make_model


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, ("exploded",)


class Unwritable:
    def __reduce__(self) -> Any:
        raise OSError("the disk is full")


def test_a_checkpoint_lies_in_the_run_directory_and_reads_back() -> None:
    def main() -> Any:
        path = save_checkpoint({"model": make_model().state_dict(), "epoch": 3}, 12)
        return path, [entry.name for entry in path.parent.iterdir() if ".tmp" in entry.name]

    path, temporary = in_a_run(main)
    assert path.name == "checkpoint-12.pt"
    assert temporary == []
    state = load_checkpoint(path)
    assert state["epoch"] == 3
    assert torch.equal(state["model"]["0.weight"], make_model().state_dict()["0.weight"])
    assert load_checkpoint(str(path)).keys() == state.keys()


def test_a_save_that_fails_leaves_the_former_checkpoint() -> None:
    def main() -> Any:
        path = save_checkpoint({"epoch": 1}, "best")
        with pytest.raises(OSError, match="the disk is full"):
            save_checkpoint({"epoch": 2, "more": Unwritable()}, "best")
        return path, [entry.name for entry in path.parent.iterdir() if ".tmp" in entry.name]

    path, temporary = in_a_run(main)
    assert load_checkpoint(path) == {"epoch": 1}
    assert temporary == []


@pytest.mark.parametrize("id", ["../x", "a/b", "nul\0"])
def test_an_id_cannot_lead_to_another_folder(id: str) -> None:
    def main() -> Any:
        with pytest.raises(ValueError, match="becomes part of a file name"):
            save_checkpoint({}, id)

    in_a_run(main)


def test_saving_needs_a_run() -> None:
    with pytest.raises(ExperimentError, match="none is active"):
        save_checkpoint({}, 1)


def test_a_file_with_code_is_refused_and_not_executed(tmp_path: Path) -> None:
    torch.save({"state": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ExperimentError, match="holds objects other than tensors"):
        load_checkpoint(tmp_path / "bomb.pt")
    assert not Path("exploded").exists()


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_a_damaged_file_is_named(tmp_path: Path, kept: int) -> None:
    torch.save(make_model().state_dict(), tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:kept])
    with pytest.raises(ExperimentError, match=r"cut\.pt' is damaged"):
        load_checkpoint(tmp_path / "cut.pt")


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none.pt")
