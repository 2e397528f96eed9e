"""Tables as plain text, JSON or CSV. A terminal gets them cut to its width; a pipe gets everything."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def format_cell(value: object) -> str:
    """Write a value for a person: short numbers, no quotes, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(format_cell(item) for item in value)
    return str(value).replace("\n", "\\n").replace("\t", "\\t")


def format_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, width: int | None = None) -> str:
    """Align rows below a header; numbers to the right.

    Args:
        rows: column name to value.
        columns: which columns, in order.
        width: the terminal's width; longer lines are cut there. None cuts nothing.
    """
    cells = [[format_cell(row.get(column)) for column in columns] for row in rows]
    numeric = [all(isinstance(row.get(column), int | float | None) for row in rows) for column in columns]
    widths = [max([len(column), *(len(line[i]) for line in cells)]) for i, column in enumerate(columns)]
    if width is not None:
        widths = [min(size, max(len(column), 40)) for size, column in zip(widths, columns, strict=True)]
    lines = []
    for line in [list(columns), *cells]:
        parts = []
        for text, size, right in zip(line, widths, numeric, strict=True):
            shown = text if len(text) <= size else text[: size - 1] + "…"
            parts.append(shown.rjust(size) if right else shown.ljust(size))
        joined = "  ".join(parts).rstrip()
        lines.append(joined if width is None or len(joined) <= width else joined[: width - 1] + "…")
    return "\n".join(lines)


def format_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> str:
    """Write rows as CSV (RFC 4180, with a header), numbers in full."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row.get(column)) for column in columns])
    return out.getvalue().rstrip("\n")


def _csv_cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, int | float | str | None) else format_cell(value)


def output_width() -> int | None:
    """Return the terminal's width, or None where standard output is piped and nothing may be cut."""
    if not sys.stdout.isatty():
        return None
    import os

    try:
        return max(40, os.get_terminal_size(sys.stdout.fileno()).columns)
    except (OSError, ValueError):
        return 80
