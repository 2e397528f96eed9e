from __future__ import annotations

import random
from pathlib import Path

import pytest

from pystematic.web import _log
from pystematic.web._log import Logs


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let short logs cross as many borders as long ones do."""
    monkeypatch.setattr(_log, "CHUNK", 97)
    monkeypatch.setattr(_log, "SMALL_CHUNK", 61)
    monkeypatch.setattr(_log, "STRIDE", 4)
    monkeypatch.setattr(_log, "LONGEST_LINE", 30)


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def texts(logs: Logs, path: Path, first: int | None, count: int) -> list[tuple[int, str]]:
    return [(line["number"], line["text"]) for line in logs.window(str(path), first, count)["lines"]]


def test_any_window_holds_the_lines_of_the_file(tmp_path: Path) -> None:
    draw = random.Random(1)
    lines = ["x" * draw.randrange(0, 28) for _ in range(100)]
    log = tmp_path / "log.txt"
    write_lines(log, lines)
    logs = Logs()

    for first in range(1, 103):
        for count in (1, 3, 10):
            expected = [(n, lines[n - 1]) for n in range(first, min(first + count, 101))]
            assert texts(logs, log, first, count) == expected


def test_without_a_first_line_the_last_ones_are_read(tmp_path: Path) -> None:
    write_lines(tmp_path / "log.txt", [str(n) for n in range(1, 51)])

    window = Logs().window(str(tmp_path / "log.txt"), None, 2)

    assert window["lines"] == [{"number": 49, "text": "49"}, {"number": 50, "text": "50"}]
    assert (window["n_lines"], window["size_bytes"]) == (50, (tmp_path / "log.txt").stat().st_size)


def test_what_is_added_to_a_log_is_read_without_what_was_read_before(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    logs = Logs()
    expected = ""
    for n in range(1, 60):
        with log.open("a", encoding="utf-8") as file:
            file.write(f"line {n}\npart")
        expected += f"line {n}\npart"
        whole = expected.split("\n")
        assert texts(logs, log, 1, 1000) == list(enumerate(whole, 1))
        assert logs.window(str(log), 1, 1)["n_lines"] == len(whole)


def test_a_log_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    logs = Logs()
    write_lines(log, ["old"] * 30)
    texts(logs, log, None, 5)
    write_lines(tmp_path / "new.txt", ["new"] * 31)
    (tmp_path / "new.txt").replace(log)

    assert texts(logs, log, 31, 5) == [(31, "new")]


def test_of_a_long_line_the_beginning_is_read_and_said_to_be_one(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    write_lines(log, ["a", "b" * 1000, "c" * 30, "d" * 31, "e"])

    assert Logs().window(str(log), 1, 10)["lines"] == [
        {"number": 1, "text": "a"},
        {"number": 2, "text": "b" * 30, "cut": True},
        {"number": 3, "text": "c" * 30},
        {"number": 4, "text": "d" * 30, "cut": True},
        {"number": 5, "text": "e"},
    ]


def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "log.txt").touch()

    assert Logs().window(str(tmp_path / "log.txt"), None, 10) == {
        "size_bytes": 0,
        "n_lines": 0,
        "lines": [],
        "next": None,
    }


def test_a_search_finds_each_line_once_in_any_case(tmp_path: Path) -> None:
    draw = random.Random(2)
    lines = [draw.choice(["an error here", "ERROR error", "fine", "", "Errör"]) for _ in range(200)]
    log = tmp_path / "log.txt"
    write_lines(log, lines)
    logs = Logs()

    found, after = [], 0
    while True:
        window = logs.search(str(log), "eRRor", after, 7)
        found += [line["number"] for line in window["lines"]]
        if window["next"] is None:
            break
        after = window["next"]

    assert found == [n for n, line in enumerate(lines, 1) if "error" in line.lower()]


def test_a_search_that_runs_out_of_time_says_where_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "SEARCH_S", -1.0)
    lines = [f"line {n}" for n in range(1, 101)] + ["needle"]
    write_lines(tmp_path / "log.txt", lines)
    logs = Logs()

    after, calls, found = 0, 0, []
    while after is not None:
        window = logs.search(str(tmp_path / "log.txt"), "needle", after, 10)
        found += [line["number"] for line in window["lines"]]
        after, calls = window["next"], calls + 1  # type: ignore[assignment]

    assert found == [101]
    assert calls > 1


def test_odd_bytes_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"\xff\xfe caf\xc3\xa9\r\nlast \xf0")

    assert texts(Logs(), tmp_path / "log.txt", 1, 10) == [(1, "\ufffd\ufffd caf\u00e9"), (2, "last \ufffd")]
