"""Folding: from what a terminal gets to the lines that it shows in the end."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from typing import Any

import pytest
import rich.console
import rich.progress
import tqdm
from hypothesis import given
from hypothesis import strategies as st

from pystematic.run._folder import LONGEST_LINE, LONGEST_ROW, MOST_ROWS, Folder


def fold(*pieces: str, close: bool = True) -> list[str]:
    """Return the lines that come of pieces of output; without ``close`` those that are known before its end."""
    lines: list[str] = []
    folder = Folder(lines.append)
    for piece in pieces:
        folder.feed(piece)
    if close:
        folder.close()
    return lines


class Terminal(io.StringIO):
    """Keeps what is written to it, piece by piece, and says that it is a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)

    def isatty(self) -> bool:
        return True


def make_bar(terminal: Terminal, count: int, name: str, *, leave: bool = True) -> Any:
    class Bar(tqdm.tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread that outlives the test

    return Bar(
        range(count), desc=name, file=terminal, leave=leave, mininterval=0, miniters=1, ncols=60,
        bar_format="{desc} {percentage:3.0f}%",
    )  # fmt: skip


def make_console(terminal: Terminal) -> rich.console.Console:
    return rich.console.Console(file=terminal, force_terminal=True, width=60, color_system="truecolor")


# -- plain output ----------------------------------------------------------------------------------------------------


def test_a_line_is_done_at_its_newline() -> None:
    assert fold("one\ntwo\nthr", close=False) == ["one", "two"]


def test_output_without_a_final_newline_is_a_line_at_the_end() -> None:
    assert fold("one\ntwo") == ["one", "two"]


def test_pieces_of_a_line_are_put_together() -> None:
    assert fold("o", "n", "e", "\n") == ["one"]


def test_blank_lines_and_blanks_stay() -> None:
    assert fold("a\n\n  b \n") == ["a", "", "  b "]


def test_a_carriage_return_before_a_newline_is_no_overwriting() -> None:
    assert fold("one\r\ntwo\r", "\nthree\r\n", close=False) == ["one", "two", "three"]


@pytest.mark.parametrize(
    "sequence",
    [
        "\x1b[31m",
        "\x1b[38;2;1;2;3m",
        "\x1b(B",
        "\x1b]8;;https://example.org\x1b\\",
        "\x1b]0;a title\x07",
        "\x1bM",
        "\x07",
    ],
)
def test_colours_links_titles_and_bells_leave_the_text_alone(sequence: str) -> None:
    assert fold(f"a {sequence}red\x1b[0m word\n", close=False) == ["a red word"]


@pytest.mark.parametrize("at", range(1, 20))
def test_a_control_sequence_may_be_cut_anywhere(at: int) -> None:
    text = "a\x1b[1;31mb\x1b[0mc\x1b]0;t\x07d\n"
    assert fold(text[:at], text[at:], close=False) == ["abcd"]


def test_a_sequence_without_an_end_does_not_swallow_what_follows_for_ever() -> None:
    assert fold("a\x1b]8;;" + "x" * 20_000, "b\nc\n")[-1] == "c"


def test_a_line_longer_than_any_is_written_in_parts_without_a_blank_one() -> None:
    lines = fold("x" * (LONGEST_LINE + 1), "\n", "y\n")
    assert [len(line) for line in lines] == [LONGEST_LINE + 1, 1]


def test_a_huge_line_in_one_piece_is_one_line() -> None:
    assert [len(line) for line in fold("x" * (LONGEST_LINE + 5) + "\ny\n")] == [LONGEST_LINE + 5, 1]


def test_a_row_that_only_grows_is_written_in_parts() -> None:
    pieces = ["\x1b[0m" + "x" * 1000] * 150
    lines = fold("\r", *pieces)
    assert LONGEST_ROW < len(lines[0]) <= LONGEST_ROW + 1000
    assert "".join(lines) == "x" * 150_000


# -- one row that is written again -----------------------------------------------------------------------------------


def test_a_row_that_is_written_again_is_one_line() -> None:
    assert fold("\r 0%", "\r50%", "\r100%\n") == ["100%"]


def test_a_shorter_text_leaves_what_it_does_not_cover_as_a_terminal_does() -> None:
    assert fold("| loading data", "\r/", "\r-\n") == ["- loading data"]


def test_backspaces_go_back() -> None:
    assert fold("1/3", "\b\b\b2/3", "\b\b\b3/3\n") == ["3/3"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abc\r\x1b[Kd\n", ["d"]),
        ("abc\x1b[2K\rd\n", ["d"]),
        ("abc\x1b[2D\x1b[1Kd\n", [" dc"]),
        ("abc\x1b[1Gd\n", ["dbc"]),
        ("abc\r\x1b[2Cd\n", ["abd"]),
        ("a\nb\x1b[2Jc\n", ["a", "b", "c"]),
        ("a\nb\x1b[Hc\n", ["a", "b", "c"]),
    ],
)
def test_erasing_and_moving_inside_a_row(text: str, expected: list[str]) -> None:
    assert fold(text) == expected


def test_the_lines_of_one_bar_after_another_are_known_while_the_next_one_runs() -> None:
    terminal = Terminal()
    for epoch in range(3):
        for _ in make_bar(terminal, 4, f"epoch {epoch}"):
            pass
    assert fold(*terminal.pieces, close=False) == ["epoch 0 100%", "epoch 1 100%"]
    assert fold(*terminal.pieces) == ["epoch 0 100%", "epoch 1 100%", "epoch 2 100%"]


def test_a_line_after_a_bar_follows_it() -> None:
    terminal = Terminal()
    for epoch in range(2):
        for _ in make_bar(terminal, 4, f"epoch {epoch}"):
            pass
        terminal.write(f"loss {epoch}\n")
    assert fold(*terminal.pieces, close=False) == ["epoch 0 100%", "loss 0", "epoch 1 100%", "loss 1"]


def test_a_bar_that_is_cleared_leaves_nothing() -> None:
    terminal = Terminal()
    for _ in make_bar(terminal, 3, "epoch", leave=False):
        pass
    assert fold(*terminal.pieces) == []


def test_a_finished_bar_is_written_before_another_stream_goes_on() -> None:
    lines: list[str] = []
    folder = Folder(lines.append)
    folder.feed("\r50%\r100%\n")
    assert lines == []
    folder.settle()
    assert lines == ["100%"]


@pytest.mark.parametrize("text", ["\r50%", "\r50%\n\rinner\x1b[A", "\x1b[?25l\r50%\n"])
def test_a_bar_at_work_is_not_written_because_another_stream_goes_on(text: str) -> None:
    lines: list[str] = []
    folder = Folder(lines.append)
    folder.feed(text)
    folder.settle()
    assert lines == []


# -- several rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [True, False])
def test_nested_bars_are_folded_to_their_last_states(leave: bool) -> None:
    terminal = Terminal()
    for epoch in make_bar(terminal, 2, "outer"):
        for _ in make_bar(terminal, 3, f"inner {epoch}", leave=leave):
            pass
    terminal.write("done\n")
    inner = [f"inner {epoch} 100%" for epoch in range(2)] if leave else []
    # One that stays is taken over by the outer one, shorter by two characters.
    assert fold(*terminal.pieces, close=False) == [*inner, "outer 100%0%" if leave else "outer 100%", "done"]


def test_three_levels_of_bars_with_lines_between_them() -> None:
    terminal = Terminal()
    for epoch in make_bar(terminal, 2, "outer"):
        for _ in make_bar(terminal, 2, "middle", leave=False):
            for _ in make_bar(terminal, 2, "inner", leave=False):
                pass
        tqdm.tqdm.write(f"written {epoch}", file=terminal)
    assert fold(*terminal.pieces) == ["written 0", "written 1", "outer 100%"]


def test_rich_progress_is_folded_below_the_lines_that_it_lets_through() -> None:
    terminal = Terminal()
    console = make_console(terminal)
    with rich.progress.Progress(
        "{task.description} {task.percentage:.0f}%", console=console, auto_refresh=False
    ) as bar:
        tasks = [bar.add_task(name, total=2) for name in ("first", "second")]
        for step in range(2):
            for task in tasks:
                bar.advance(task)
                bar.refresh()
            console.print(f"[red]step {step}[/red]")
    console.print("after")
    assert fold(*terminal.pieces, close=False) == ["step 0", "step 1", "first 100%", "second 100%", "after"]


def test_a_transient_display_of_rich_leaves_only_the_lines() -> None:
    terminal = Terminal()
    console = make_console(terminal)
    with console.status("working"):
        console.print("one")
        console.print("two")
    console.print("after")
    assert fold(*terminal.pieces, close=False) == ["one", "two", "after"]


def test_rows_that_looked_done_are_written_anew_when_the_cursor_goes_back_to_them() -> None:
    assert fold("a 0%\nb 0%\n\x1b[2Aa 9%\nb 9%\n") == ["a 0%", "b 0%", "a 9%", "b 9%"]


def test_a_display_of_more_rows_than_any_terminal_has_is_written_from_its_top() -> None:
    lines = fold("\x1b[?25l", *[f"row {i}\n" for i in range(MOST_ROWS + 10)], close=False)
    assert lines[:2] == ["row 0", "row 1"]


def test_erasing_below_takes_the_rows_away() -> None:
    assert fold("\x1b[?25la\nb\nc\x1b[2A\r\x1b[Jd\n\x1b[?25h") == ["d"]


# -- laws ------------------------------------------------------------------------------------------------------------

# fmt: off
PIECES = st.lists(
    st.sampled_from([
        "a", "bc ", "\n", "\r", "\b", "\t", "é", "\x1b[A", "\x1b[2A", "\x1b[B", "\x1b[F", "\x1b[E", "\x1b[5G",
        "\x1b[3C", "\x1b[2D", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[H", "\x1b[?25l", "\x1b[?25h",
        "\x1b[0m", "\x1b]0;t\x07", "\x1b(B",
    ]),
    max_size=60,
)
# fmt: on


@given(PIECES, st.randoms(use_true_random=False))
def test_where_the_output_is_cut_makes_no_difference(pieces: list[str], generator: random.Random) -> None:
    text = "".join(pieces)
    assert fold(*cut(text, generator)) == fold(text)


def cut(text: str, generator: random.Random) -> Sequence[str]:
    places = sorted(generator.choices(range(len(text) + 1), k=5))
    return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=10), max_size=20))
def test_lines_without_control_characters_stay_as_they_are(lines: list[str]) -> None:
    assert fold("".join(f"{line}\n" for line in lines), close=False) == lines


@given(PIECES)
def test_no_line_holds_a_control_sequence_or_a_newline(pieces: list[str]) -> None:
    assert not any(letter in line for line in fold("".join(pieces)) for letter in "\x1b\n\r\b")
