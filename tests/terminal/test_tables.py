"""Tables as text and CSV: whole where they are piped, cut to a terminal's width, and harmless whatever they hold."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
from collections.abc import Mapping
from typing import Any
from unicodedata import combining, east_asian_width

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.terminal import format_cell, format_csv, format_table, output_width

texts = st.text(st.characters(categories=None), max_size=20)
cells = st.none() | st.booleans() | st.integers() | st.floats() | texts | st.lists(texts | st.integers(), max_size=3)
rows = st.lists(st.fixed_dictionaries({}, optional={"a": cells, "b": cells}), max_size=4)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, ""), (True, "true"), (False, "false"), (1, "1"), (10**20, "1" + "0" * 20), ("text", "text")),
        *((0.1, "0.1"), (1 / 3, "0.333333"), (1e-10, "1e-10"), (123456789.0, "1.23457e+08"), (-0.0, "-0")),
        *((math.nan, "nan"), (math.inf, "inf"), ([1, None, 0.5], "1,,0.5"), (("a", [True]), "a,true")),
        *(("a\nb\tc\r", "a\\nb\\tc\\r"), ("\x1b[31mred", "\\x1b[31mred"), ("\ud800", "\\ud800"), ("\0", "\\x00")),
        *(("\u202egnp.exe", "\\u202egnp.exe"), ("Zoë 😀", "Zoë 😀"), ("[bold]", "[bold]")),
    ],
    ids=ascii,
)
def test_a_cell_is_short_and_harmless(value: object, text: str) -> None:
    assert format_cell(value) == text


def test_a_number_that_python_does_not_spell_is_written_in_hexadecimal() -> None:
    assert format_cell(16**5000) == "0x1" + "0" * 5000
    assert format_csv([{"a": 16**5000}], ["a"]) == "a\n0x1" + "0" * 5000


@given(cells)
def test_every_cell_can_be_printed_in_one_line(value: object) -> None:
    text = format_cell(value)

    text.encode("utf-8")
    assert text.isprintable()


def test_columns_are_aligned_numbers_to_the_right() -> None:
    table = format_table(
        [{"run": "a", "lr": 0.1, "name": "x"}, {"run": "bcd", "lr": 10, "name": None}, {"run": "e"}],
        ["run", "name", "lr"],
    )

    assert table == "run  name   lr\na    x     0.1\nbcd         10\ne"


def test_a_table_without_rows_is_its_header() -> None:
    assert format_table([], ["run", "lr"]) == "run  lr"
    assert format_table([], []) == ""


def test_nothing_is_cut_without_a_width() -> None:
    assert format_table([{"a": "x" * 1000, "b": 1}], ["a", "b"]).splitlines()[1] == "x" * 1000 + "  1"


def test_on_a_terminal_long_cells_and_long_lines_are_cut() -> None:
    table = format_table([{"a": "x" * 1000, "b": 1}], ["a", "b"], width=60)
    narrow = format_table([{"a": "x" * 1000, "b": 1}], ["a", "b"], width=20)

    assert table.splitlines() == ["a" + " " * 39 + "  b", "x" * 39 + "…" + "  1"]
    assert narrow.splitlines() == ["a" + " " * 18 + "…", "x" * 19 + "…"]


def test_wide_and_combining_characters_take_the_columns_that_they_take() -> None:
    table = format_table([{"a": "日本", "b": 1}, {"a": "e\u0301", "b": 2}, {"a": "abcd", "b": 3}], ["a", "b"])

    assert table == "a     b\n日本  1\ne\u0301     2\nabcd  3"
    assert format_table([{"a": "日" * 30}], ["a"], width=80).splitlines()[1] == "日" * 19 + "…"


def columns_of(line: str) -> int:
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in line)


@given(rows, st.integers(40, 90))
def test_no_line_is_wider_than_the_terminal(table: list[Mapping[str, object]], width: int) -> None:
    lines = format_table(table, ["a", "b"], width=width).split("\n")

    assert len(lines) == len(table) + 1
    assert max(map(columns_of, lines)) <= width


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_dispensable_columns_are_left_out_before_lines_are_cut() -> None:
    row = {"run": "a" * 10, "started": "b" * 10, "time": "c" * 10, "loss": 0.5}

    def columns(width: int | None) -> list[str]:
        return format_table([row], list(row), width=width, dispensable=("started", "time")).splitlines()[0].split()

    assert columns(None) == columns(40) == ["run", "started", "time", "loss"]
    assert columns(39) == columns(28) == ["run", "time", "loss"]
    assert columns(27) == ["run", "loss"]


def test_csv_has_a_header_and_numbers_in_full() -> None:
    text = format_csv([{"a": 1 / 3, "b": 10**20}, {"a": True}], ["a", "b"])

    assert text == "a,b\n0.3333333333333333,100000000000000000000\ntrue,"


def test_csv_holds_texts_as_they_are() -> None:
    values = ['quote " and, comma', "two\nlines", "  blanks ", "Zoë 😀", "\x1b[31m", "=1+1"]
    text = format_csv([{"a": value} for value in values], ["a"])

    assert read_csv(text) == [["a"], *([value] for value in values)]


def test_lists_in_csv_are_whole() -> None:
    assert read_csv(format_csv([{"a": [1 / 3, None, "x,y"]}], ["a"])) == [["a"], ["0.3333333333333333,,x,y"]]


@given(rows)
def test_csv_of_anything_can_be_read_back(table: list[Mapping[str, object]]) -> None:
    text = format_csv(table, ["a", "b"])
    text.encode("utf-8")

    read = read_csv(text)
    assert read[0] == ["a", "b"]
    assert len(read) == len(table) + 1
    for row, line in zip(table, read[1:], strict=True):
        for name, cell in zip("ab", line, strict=True):
            value = row.get(name)
            if isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value):
                assert cell == value
            elif isinstance(value, float):
                assert repr(float(cell)) == repr(value)


class Screen(io.StringIO):
    """Standard output as a terminal of so many columns."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


@pytest.mark.parametrize(("columns", "width"), [(120, 120), (20, 40), (0, 80)])
def test_the_width_is_that_of_the_terminal(columns: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Screen())
        patch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size((columns, 24)))
        assert output_width() == width


def test_where_the_terminal_does_not_tell_its_width_it_is_eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int) -> Any:
        raise OSError(25, "Inappropriate ioctl for device")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Screen())
        patch.setattr(os, "get_terminal_size", refuse)
        assert output_width() == 80


def test_a_pipe_has_no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        assert output_width() is None
