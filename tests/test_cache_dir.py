"""The cache folder: where it is, and that nothing fails without it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pystematic._cache_dir import cache_dir, cached_file, read_cache, write_cache

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="these are the customs of Linux")


def test_the_folder_is_that_of_the_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == str(tmp_path / "pystematic")


@pytest.mark.parametrize("value", [None, "", "relative/folder"])
def test_without_an_absolute_path_in_the_variable_the_folder_is_in_the_home(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_dir() == str(tmp_path / ".cache" / "pystematic")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = cached_file("kind", "key", ".txt")
    write_cache(path, "Ünïcode\n")
    assert read_cache(path) == "Ünïcode\n"
    assert [entry.name for entry in Path(path).parent.iterdir()] == [Path(path).name]


def test_a_second_writing_replaces_the_first() -> None:
    path = cached_file("kind", "key", ".txt")
    write_cache(path, "first, and longer")
    write_cache(path, "second")
    assert read_cache(path) == "second"


def test_different_keys_have_different_files() -> None:
    assert cached_file("kind", "/a/prog.py", ".json") != cached_file("kind", "/b/prog.py", ".json")
    assert cached_file("kind", "key", ".json") == cached_file("kind", "key", ".json")


def test_a_missing_or_damaged_file_is_no_cache(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.txt"
    damaged.write_bytes(b"\xff\xfe")
    assert read_cache(str(tmp_path / "missing.txt")) is None
    assert read_cache(str(damaged)) is None
    assert read_cache(str(tmp_path)) is None


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write_cache(str(tmp_path / "file" / "cache.txt"), "text")
    assert read_cache(str(tmp_path / "file" / "cache.txt")) is None


def test_a_text_that_cannot_be_encoded_leaves_nothing_behind(tmp_path: Path) -> None:
    write_cache(str(tmp_path / "new" / "cache.txt"), "\udc80")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_user_without_a_home_gets_no_folder_named_tilde(monkeypatch: pytest.MonkeyPatch, working_dir: Path) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where nobody knows the user
    path = cached_file("kind", "key", ".txt")
    write_cache(path, "text")
    assert read_cache(path) is None
    assert list(working_dir.iterdir()) == []
