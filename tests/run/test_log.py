"""The log file: lines with times from several streams, threads, children, and on a disk that fails."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pystematic.run._log import LogFile
from tests.run.builders import logged, open_log


def test_every_line_has_its_time(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        log.write_lines(["one", "two"])
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (one|two)", line) for line in lines)
    assert len(lines) == 2


def test_what_holds_newlines_becomes_several_lines(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        log.write_line("one\ntwo")
    assert logged(tmp_path / "log.txt") == ["one", "two"]


def test_every_line_is_masked(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt", lambda lines: [line.replace("secret", "***") for line in lines]) as log:
        folder = log.stream()
        log.write_line("a secret")
        log.feed(folder, "sec")
        log.feed(folder, "ret\n")
    assert logged(tmp_path / "log.txt") == ["a ***", "***"]


def test_text_that_utf8_cannot_hold_is_escaped(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        log.write_line("a \udc80 b")
    assert logged(tmp_path / "log.txt") == ["a \\udc80 b"]


def test_streams_do_not_mix_inside_a_line(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        out, err = log.stream(), log.stream()
        log.feed(out, "a")
        log.feed(err, "b\n")
        log.feed(out, "c\n")
    assert logged(tmp_path / "log.txt") == ["b", "ac"]


def test_a_finished_bar_stands_before_what_was_written_after_it(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        out, err = log.stream(), log.stream()
        log.feed(err, "\r50%")
        log.feed(err, "\r100%\n")
        log.feed(out, "loss 0.5\n")
        log.feed(err, "\r50%")
        log.feed(err, "\r100%\n")
        log.write_line("INFO program: a record")
    assert logged(tmp_path / "log.txt") == ["100%", "loss 0.5", "100%", "INFO program: a record"]


def test_what_is_pending_is_written_at_the_end(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        log.feed(log.stream(), "no newline")
        log.feed(log.stream(), "\r50%")
    assert logged(tmp_path / "log.txt") == ["no newline", "50%"]


def test_after_its_end_nothing_is_written_and_nothing_fails(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        folder = log.stream()
    log.feed(folder, "late\n")
    log.write_line("late")
    log.close()
    assert logged(tmp_path / "log.txt") == []


def test_another_log_is_appended_to(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with open_log(tmp_path / "log.txt") as log:
            log.write_line(text)
    assert logged(tmp_path / "log.txt") == ["first", "second"]


def test_a_log_that_cannot_be_opened_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        LogFile(tmp_path / "nowhere" / "log.txt")


def test_lines_of_many_threads_stay_whole(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        folder = log.stream()

        def work(name: str) -> None:
            for i in range(200):
                log.feed(folder, f"{name} {i}\n")

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    lines = logged(tmp_path / "log.txt")
    assert sorted(lines) == sorted(f"{name} {i}" for name in "abcd" for i in range(200))


def test_a_signal_handler_may_print_while_a_line_is_on_its_way(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        folder = log.stream()

        def mask(lines: Sequence[str]) -> Sequence[str]:  # called in the midst of writing, as a handler may be
            if "outer" in lines:
                log.feed(folder, "inner\n")
            return lines

        log._mask_lines = mask
        log.feed(folder, "outer\nnext\n")
    assert logged(tmp_path / "log.txt") == ["outer", "next", "inner"]


def test_a_full_disk_is_said_once_and_fails_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    log = LogFile("/dev/full")
    folder = log.stream()
    log.feed(folder, "one\n")
    log.feed(folder, "two\n")
    log.write_line("three")
    log.close()
    assert log.lost == 3
    assert capsys.readouterr().err == (
        "pystematic: the log cannot be written: No space left on device. The run goes on.\n"
    )


def test_the_first_line_tells_of_a_full_disk() -> None:
    log = LogFile("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        log.write_first("one")
    log.close()


def test_a_line_that_was_written_in_part_is_not_continued_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_write = os.write
    with open_log(tmp_path / "log.txt") as log:
        calls = iter([10])

        def fail_once(fd: int, data: bytes) -> int:
            limit = next(calls, None)
            if limit is not None:
                return real_write(fd, bytes(data)[:limit])
            monkeypatch.setattr(os, "write", real_write)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", fail_once)
        log.write_line("one")
        log.write_line("two")
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines[0]) == 10
    assert lines[1].endswith(" two")


def test_a_forked_child_appends_and_leaves_what_is_pending_to_its_parent(tmp_path: Path) -> None:
    with open_log(tmp_path / "log.txt") as log:
        folder = log.stream()
        log.feed(folder, "pending")
        log._lock.acquire()  # as another thread may hold it
        pid = os.fork()
        if pid == 0:
            log.reset_in_child()
            log.feed(folder, "of the child\n")
            os._exit(0)
        os.waitpid(pid, 0)
        log._lock.release()
        log.feed(folder, " of the parent\n")
    assert logged(tmp_path / "log.txt") == ["of the child", "pending of the parent"]


def test_where_there_is_no_console_the_log_is_not_taken_for_it(tmp_path: Path) -> None:
    saved = os.dup(0)
    os.close(0)
    try:
        with open_log(tmp_path / "log.txt") as log:
            assert log.fd > 2
            log.write_line("one")
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(0)
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert logged(tmp_path / "log.txt") == ["one"]


def test_nothing_is_said_where_there_is_no_stderr() -> None:
    log = LogFile("/dev/full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        log.write_line("one")
    log.close()
    assert log.lost == 1
