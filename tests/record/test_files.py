"""Artifacts and data sets: hashed, copied whole or not at all, and never out of or around the run directory."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pystematic import Recorder, rundir
from tests.record.builders import messages, recorded

FURTHER = "Further ones of this sort are told at the end; the run goes on."


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_folder(name: str = "data") -> Path:
    folder = Path(name)
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("bb")
    (folder / "sub" / "a.txt").write_text("a")
    return folder


def test_a_file_is_copied_with_its_hash_and_size() -> None:
    Path("model.pt").write_bytes(b"weights")
    [item] = recorded(lambda recorder: recorder.artifact("model.pt"))

    assert (item.kind, item.tag, item.file) == ("artifact", "model.pt", Path("output/artifacts/model.pt"))
    assert item.data == {"sha256": sha256(b"weights"), "size_bytes": 7, "original": str(Path("model.pt").resolve())}
    assert item.file is not None
    assert item.file.read_bytes() == b"weights"


def test_a_file_of_several_blocks_is_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystematic.record._files._BLOCK", 3)
    Path("model.pt").write_bytes(b"0123456789")
    [item] = recorded(lambda recorder: recorder.artifact(Path("model.pt"), name="best"))

    assert (item.tag, item.data["sha256"]) == ("best", sha256(b"0123456789"))
    assert Path("output/artifacts/best").read_bytes() == b"0123456789"


def test_the_mode_of_a_file_is_kept() -> None:
    Path("tool.sh").write_text("#!/bin/sh")
    Path("tool.sh").chmod(0o750)
    recorded(lambda recorder: recorder.artifact("tool.sh"))

    assert os.stat("output/artifacts/tool.sh").st_mode & 0o777 == 0o750


def test_a_folder_is_copied_and_hashed_like_the_listing_of_sha256sum() -> None:
    folder = make_folder()
    [item] = recorded(lambda recorder: recorder.artifact(folder))

    listing = f"{sha256(b'bb')}  b.txt\n{sha256(b'a')}  sub/a.txt\n"
    assert (item.data["sha256"], item.data["size_bytes"], item.data["files"]) == (sha256(listing.encode()), 3, 2)
    assert item.data["listing"] == [
        {"name": "b.txt", "sha256": sha256(b"bb"), "size_bytes": 2},
        {"name": "sub/a.txt", "sha256": sha256(b"a"), "size_bytes": 1},
    ]
    copied = sorted(str(path.relative_to("output/artifacts")) for path in Path("output/artifacts").rglob("*"))
    assert copied == ["data", "data/b.txt", "data/sub", "data/sub/a.txt"]


def test_the_hash_of_a_folder_can_be_checked_by_hand() -> None:
    make_folder()
    [item] = recorded(lambda recorder: recorder.dataset("data"))
    by_hand = subprocess.run(
        "find . -type f | sed 's|^./||' | LC_ALL=C sort | xargs sha256sum | sha256sum",
        shell=True,
        cwd="data",
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert item.data["sha256"] == by_hand.split()[0]


def test_a_large_folder_has_no_listing() -> None:
    folder = Path("data")
    folder.mkdir()
    for number in range(101):
        (folder / str(number)).touch()
    [item] = recorded(lambda recorder: recorder.dataset(folder))

    assert item.data["files"] == 101
    assert "listing" not in item.data


def test_two_artifacts_of_one_name_stay_two() -> None:
    Path("model.pt").write_text("one")

    def record(recorder: Recorder) -> None:
        recorder.artifact("model.pt")
        recorder.flush()
        Path("model.pt").write_text("two")
        recorder.artifact("model.pt")

    items = recorded(record)
    assert [item.tag for item in items] == ["model.pt", "model.pt"]
    assert [item.file.read_text() for item in items if item.file is not None] == ["one", "two"]


def test_a_change_of_the_working_directory_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("model.pt").write_text("x")
    Path("elsewhere").mkdir()
    with Recorder("output") as recorder:
        recorder.artifact("model.pt")
        monkeypatch.chdir("elsewhere")

    assert Path("../output/artifacts/model.pt").read_text() == "x"


def test_a_file_of_the_run_directory_stays_where_it_is() -> None:
    def record(recorder: Recorder) -> None:
        Path("output/results").mkdir()
        Path("output/results/model.pt").write_text("x")
        recorder.artifact("output/results/model.pt")

    [item] = recorded(record)
    assert item.file == Path("output/results/model.pt")
    assert item.data["sha256"] == sha256(b"x")
    assert not Path("output/artifacts").exists()


@pytest.mark.parametrize("path", ["output", ".", ".."])
def test_a_folder_that_holds_the_run_directory_is_refused(path: str, caplog: pytest.LogCaptureFixture) -> None:
    assert recorded(lambda recorder: recorder.artifact(path)) == []
    full = Path(path).resolve()
    assert messages(caplog) == [
        f"artifact {full.name!r} could not be recorded: ValueError: {full} holds the run directory itself. {FURTHER}"
    ]


def test_a_link_is_a_hard_one_where_that_is_possible() -> None:
    Path("model.pt").write_text("x")
    [item] = recorded(lambda recorder: recorder.artifact("model.pt", link=True))

    assert item.data["link"] == "hard"
    assert os.path.samefile("model.pt", "output/artifacts/model.pt")
    assert not Path("output/artifacts/model.pt").is_symlink()


def test_a_link_to_another_disk_is_a_symbolic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    Path("model.pt").write_text("x")
    [item] = recorded(lambda recorder: recorder.artifact("model.pt", link=True))

    assert item.data["link"] == "symbolic"
    assert Path("output/artifacts/model.pt").readlink() == Path("model.pt").resolve()


def test_a_link_to_a_folder_is_a_symbolic_one() -> None:
    make_folder()
    [item] = recorded(lambda recorder: recorder.artifact("data", link=True))

    assert (item.data["link"], item.data["files"]) == ("symbolic", 2)
    assert Path("output/artifacts/data").readlink() == Path("data").resolve()


@pytest.mark.parametrize("is_folder", [False, True])
def test_where_no_link_can_be_made_it_is_copied(is_folder: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "symlink", refuse)
    make_folder()
    path = Path("data") if is_folder else Path("data/b.txt")
    [item] = recorded(lambda recorder: recorder.artifact(path, link=True))

    assert "link" not in item.data
    copy = Path("output/artifacts", path.name)
    assert not copy.is_symlink()
    assert (copy / "b.txt" if is_folder else copy).read_text() == "bb"


def test_pipes_and_links_to_folders_inside_a_folder_are_passed_over() -> None:
    folder = make_folder()
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("..", target_is_directory=True)
    (folder / "broken").symlink_to("nothing")
    (folder / "link.txt").symlink_to("b.txt")
    [item] = recorded(lambda recorder: recorder.artifact(folder))

    assert [entry["name"] for entry in item.data["listing"]] == ["b.txt", "link.txt", "sub/a.txt"]
    assert Path("output/artifacts/data/link.txt").read_text() == "bb"
    assert not Path("output/artifacts/data/link.txt").is_symlink()


def test_a_pipe_is_no_artifact(caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo("pipe")

    assert recorded(lambda recorder: recorder.artifact("pipe")) == []
    path = str(Path("pipe").resolve())
    assert messages(caplog) == [
        "artifact 'pipe' could not be recorded: OSError: "
        f"[Errno 22] it is neither a file nor a folder: {path!r}. {FURTHER}"
    ]
    assert list(Path("output/artifacts").iterdir()) == []


def test_what_is_missing_is_said_at_once_and_once(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        recorder.artifact("missing")
        said = messages(caplog)
        recorder.artifact("missing too")
        recorder.dataset("missing")

    path = str(Path("missing").resolve())
    of_kind = "{} 'missing' could not be recorded: FileNotFoundError: [Errno 2] No such file or directory: {!r}. {}"
    assert said == [of_kind.format("artifact", path, FURTHER)]
    assert messages(caplog) == [
        *said,
        of_kind.format("dataset", path, FURTHER),
        "3 recorded pictures, tables or files are not in the record of this run: "
        "artifact 'missing', artifact 'missing too', dataset 'missing'.",
    ]


def test_a_failing_copy_leaves_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    folder = make_folder()
    with Recorder("output") as recorder:
        monkeypatch.setattr(os, "fsync", refuse)
        recorder.artifact(folder)
        recorder.artifact(folder / "b.txt")
        recorder.flush()
        monkeypatch.undo()

    assert list(Path("output/artifacts").iterdir()) == []
    assert rundir.read_items("output") == []
    assert messages(caplog) == [
        f"artifact 'data' could not be recorded: OSError: [Errno 28] No space left on device. {FURTHER}",
        "2 recorded pictures, tables or files are not in the record of this run: artifact 'data', artifact 'b.txt'.",
    ]


def test_a_file_that_changes_before_it_is_copied_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    from pystematic.record import _files

    store = _files.Artifact.store

    def change_first(self: Any, place: Any) -> dict[str, Any]:
        Path("model.pt").write_text("another content")
        return store(self, place)

    monkeypatch.setattr(_files.Artifact, "store", change_first)
    Path("model.pt").write_text("x")
    [item] = recorded(lambda recorder: recorder.artifact("model.pt"))

    assert item.data["changed"] is True
    assert item.data["sha256"] == sha256(b"another content")


def test_of_a_data_set_the_hash_is_recorded_and_nothing_copied() -> None:
    Path("digits.csv").write_text("1,2\n")
    [item] = recorded(lambda recorder: recorder.dataset("digits.csv", name="digits"))

    assert (item.kind, item.tag, item.file) == ("dataset", "digits", None)
    assert item.data == {
        "sha256": sha256(b"1,2\n"),
        "size_bytes": 4,
        "original": str(Path("digits.csv").resolve()),
    }
    assert sorted(os.listdir("output")) == ["metrics.jsonl", "summary.json"]
