"""`run.json`: what it says at the start and at the end, and on a disk that has no room for another one."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pystematic.rundir import RunDir, RunDocument, create_run_dir, finish_for_dead, format_time


def make_document(run_dir: RunDir, **changes: Any) -> RunDocument:
    given: dict[str, Any] = {
        "experiment": "train",
        "argv": ["prog.py", "train"],
        "sources": {"lr": "default"},
        "program": {"file": "prog.py", "module": None, "code_file": "prog.py"},
        "metric": "loss:min",
        "parent": None,
        "notes": ["a note"],
    }
    return RunDocument(run_dir, **{**given, **changes})


def read(run_dir: RunDir) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run_dir.run_file).read_text(encoding="ascii"))
    return found


def fill_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no file made, and none grow."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = os.pwrite

    def write(descriptor: int, content: bytes, offset: int) -> int:
        return real(descriptor, content[: os.fstat(descriptor).st_size - offset], offset)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(os, "pwrite", write)


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return create_run_dir(tmp_path, "train")


ERROR = {"type": "ValueError", "message": "words " * 1000, "traceback": "Traceback\n" * 1000}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1767323045.0000004, "2026-01-02T03:04:05.000000Z"),
        (1767323045.9999999, "2026-01-02T03:04:06.000000Z"),
        (1767323045.123456, "2026-01-02T03:04:05.123456Z"),
    ],
)
def test_a_time_is_in_utc_with_microseconds(seconds: float, text: str) -> None:
    assert format_time(seconds) == text


def test_at_the_start_it_says_running(run_dir: RunDir) -> None:
    make_document(run_dir).write()
    found = read(run_dir)
    assert (found["status"], found["ended_at"], found["exit_code"], found["error"]) == ("running", None, None, None)
    assert (found["id"], found["experiment"], found["metric"]) == (run_dir.id, "train", "loss:min")
    assert found["pid"]["pid"] == os.getpid()
    assert [(attempt["status"], attempt["ended_at"]) for attempt in found["attempts"]] == [("running", None)]


def test_at_the_end_it_says_how(run_dir: RunDir) -> None:
    document = make_document(run_dir)
    document.write()
    document.finish("failed", 1, ERROR)
    found = read(run_dir)
    assert (found["status"], found["exit_code"], found["error"]) == ("failed", 1, ERROR)
    assert found["ended_at"] >= found["started_at"]
    assert found["attempts"][0] == {
        **found["attempts"][0],
        "status": "failed",
        "ended_at": found["ended_at"],
    }
    assert os.listdir(run_dir.path) == ["run.json"]


@pytest.mark.parametrize("error", [None, ERROR, {"type": "X" * 5000}, {"type": "ü" * 50, "message": "ü" * 600}])
@pytest.mark.parametrize("notes", [[], ["a note " * 200]])
def test_without_room_for_another_one_it_is_written_over_the_old_one(
    run_dir: RunDir, error: dict[str, str] | None, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = make_document(run_dir, notes=notes)
    document.write()
    size = Path(run_dir.run_file).stat().st_size
    fill_disk(monkeypatch)
    document.finish("failed", 3, error)
    found = read(run_dir)
    assert (found["status"], found["exit_code"], found["id"]) == ("failed", 3, run_dir.id)
    assert found["ended_at"] is not None
    assert (found["error"] or {}).get("type") == (None if error is None else error["type"][:100])
    assert Path(run_dir.run_file).stat().st_size <= size
    assert os.listdir(run_dir.path) == ["run.json"]


def test_all_that_fits_is_kept(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    document = make_document(run_dir)
    document.write()
    fill_disk(monkeypatch)
    document.finish("completed", 0, None)
    assert read(run_dir) == document.fields


def test_what_is_left_of_a_message_is_its_beginning(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    document = make_document(run_dir, notes=["a note " * 200])
    document.write()
    fill_disk(monkeypatch)
    document.finish("failed", 1, ERROR)
    assert read(run_dir)["error"] == {"type": "ValueError", "message": ERROR["message"][:100]}


def test_a_disk_that_takes_nothing_at_all_is_an_error(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    document = make_document(run_dir)
    document.write()
    fill_disk(monkeypatch)
    monkeypatch.setattr(os, "pwrite", lambda descriptor, content, offset: 10)
    with pytest.raises(OSError, match="No space left on device"):
        document.finish("completed", 0, None)


def test_a_document_that_is_gone_cannot_be_written_over(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    document = make_document(run_dir)
    fill_disk(monkeypatch)
    with pytest.raises(FileNotFoundError):
        document.finish("completed", 0, None)


def test_the_starter_writes_the_end_of_a_run_whose_process_is_dead(run_dir: RunDir) -> None:
    document = make_document(run_dir)
    document.fields["pid"] = {**document.fields["pid"], "start_time": "another process of this number"}
    document.write()
    finish_for_dead(run_dir, "interrupted", 143, None)
    written = read(run_dir)
    assert (written["status"], written["exit_code"], written["error"]) == ("interrupted", 143, None)
    assert (written["attempts"][-1]["status"], written["attempts"][-1]["ended_at"]) == (
        "interrupted",
        written["ended_at"],
    )


def test_the_end_of_a_run_whose_process_lives_is_its_own_to_write(run_dir: RunDir) -> None:
    document = make_document(run_dir)
    document.write()
    finish_for_dead(run_dir, "failed", 1, None)
    assert read(run_dir) == document.fields


def test_an_end_that_is_written_stays(run_dir: RunDir) -> None:
    document = make_document(run_dir)
    document.finish("failed", 3, None)
    document.fields["pid"] = {**document.fields["pid"], "start_time": "another process of this number"}
    document.write()
    finish_for_dead(run_dir, "interrupted", 143, None)
    assert (read(run_dir)["status"], read(run_dir)["exit_code"]) == ("failed", 3)
