"""Views of runs in a terminal. Knows the store's objects only through the rows that it is given."""

from pystematic.terminal._tables import format_cell, format_csv, format_table, output_width

__all__ = ["format_cell", "format_csv", "format_table", "output_width"]
