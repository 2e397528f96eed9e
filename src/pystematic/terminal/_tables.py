"""Tables as plain text, JSON or CSV. A terminal gets them cut to its width; a pipe gets everything."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


# Longer cells are cut on a terminal, so that one text does not push all else out of sight.
MOST_CELL_WIDTH = 40


def format_cell(value: object) -> str:
    """Write a value for a person: short numbers, no quotes, nothing for None.

    What would move the cursor or colour the screen, and what cannot be printed, is escaped: values come from anybody.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(format_cell(item) for item in value)
    text = _spell(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def _spell(value: object) -> str:
    try:
        return str(value)
    except ValueError:  # an int of some thousand digits
        return hex(value) if isinstance(value, int) else repr(value)


def format_table(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    *,
    width: int | None = None,
    dispensable: Sequence[str] = (),
) -> str:
    """Align rows below a header; numbers to the right.

    Args:
        rows: column name to value.
        columns: which columns, in order.
        width: the terminal's width; longer cells and lines are cut. None cuts nothing.
        dispensable: columns that are left out, one after another, before a line is cut.
    """
    header = [format_cell(column) for column in columns]
    cells = [[format_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
    if width is not None:
        widths = [min(size, max(_width(name), MOST_CELL_WIDTH)) for size, name in zip(widths, header, strict=True)]
    kept = list(range(len(columns)))
    for name in dispensable:
        if width is not None and name in columns and sum(widths[i] + 2 for i in kept) - 2 > width:
            kept.remove(columns.index(name))
    lines = []
    for line in [header, *cells]:
        parts = []
        for text, size, right in ((line[i], widths[i], numeric[i]) for i in kept):
            shown = _cut(text, size)
            blank = " " * (size - _width(shown))
            parts.append(blank + shown if right else shown + blank)
        joined = "  ".join(parts).rstrip()
        lines.append(joined if width is None else _cut(joined, width))
    return "\n".join(lines)


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    left = width - 1
    for i, letter in enumerate(text):
        left -= _width(letter)
        if left < 0:
            return text[:i] + "…"
    return text


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes (https://www.unicode.org/reports/tr11)."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)


def format_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Write rows as CSV (RFC 4180 with the line ends of Unix) below a header; numbers in full, texts as they are."""
    import csv

    lines = _Lines()
    writer = csv.writer(lines)
    writer.writerow([_csv_cell(column) for column in columns])
    for row in rows:
        writer.writerow([_csv_cell(row.get(column)) for column in columns])
    return "\n".join(lines)


class _Lines(list[str]):
    """A file for `csv.writer`, which before Python 3.13 quotes the letters of its line end only: so that has both."""

    def write(self, line: str) -> None:
        self.append(line.removesuffix("\r\n"))


def _csv_cell(value: object) -> object:
    if value is None or isinstance(value, float):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join("" if item is None else str(_csv_cell(item)) for item in value)
    # Halves of a character cannot be printed.
    return _spell(value).encode("utf-8", "backslashreplace").decode("utf-8")


def output_width() -> int | None:
    """Return the terminal's width, or None where standard output is piped and nothing may be cut."""
    if not sys.stdout.isatty():
        return None
    import os

    try:
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return max(40, columns or 80)  # 0 where a terminal does not know its size
