"""Many run directories: find, read and compare them. Imports no code of the user, and writes nothing."""

from __future__ import annotations

from pystematic.store._run import Run, Series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.store._columns import Columns as Columns
    from pystematic.store._columns import read_columns as read_columns
    from pystematic.store._compare import diff_runs as diff_runs
    from pystematic.store._compare import parse_metric as parse_metric
    from pystematic.store._compare import varying_columns as varying_columns
    from pystematic.store._compare import varying_parameters as varying_parameters
    from pystematic.store._doctor import Finding as Finding
    from pystematic.store._doctor import examine as examine
    from pystematic.store._export import format_columns as format_columns
    from pystematic.store._export import format_of as format_of
    from pystematic.store._export import run_table as run_table
    from pystematic.store._export import series_table as series_table
    from pystematic.store._export import write_file as write_file
    from pystematic.store._find import find_run as find_run
    from pystematic.store._frame import Spread as Spread
    from pystematic.store._frame import group_rows as group_rows
    from pystematic.store._frame import spread_of as spread_of
    from pystematic.store._legacy import import_runs as import_runs
    from pystematic.store._preparing import prepare_columns as prepare_columns
    from pystematic.store._query import MISSING as MISSING
    from pystematic.store._query import Query as Query
    from pystematic.store._query import SortKey as SortKey
    from pystematic.store._query import check_names as check_names
    from pystematic.store._query import field_text as field_text
    from pystematic.store._query import parse_query as parse_query
    from pystematic.store._query import parse_sort as parse_sort
    from pystematic.store._query_parser import QueryError as QueryError
    from pystematic.store._runs import Group as Group
    from pystematic.store._runs import Runs as Runs
    from pystematic.store._runs import parse_field as parse_field
    from pystematic.store._runs import quoted as quoted
    from pystematic.store._runs import runs as runs
    from pystematic.store._snapshot import Snapshot as Snapshot
    from pystematic.store._snapshot import take_snapshot as take_snapshot
    from pystematic.store._tidy import add_tags as add_tags
    from pystematic.store._tidy import check_removable as check_removable
    from pystematic.store._tidy import remove_run as remove_run
    from pystematic.store._tidy import remove_tags as remove_tags
    from pystematic.store._tidy import replace_tags as replace_tags
    from pystematic.store._tidy import set_note as set_note

# Loaded when first asked for: the end of every run needs `Run`, and nothing else.
_HOMES = {
    "_columns": ("Columns", "read_columns"),
    "_compare": ("diff_runs", "parse_metric", "varying_columns", "varying_parameters"),
    "_doctor": ("Finding", "examine"),
    "_export": ("format_columns", "format_of", "run_table", "series_table", "write_file"),
    "_find": ("find_run",),
    "_frame": ("Spread", "group_rows", "spread_of"),
    "_legacy": ("import_runs",),
    "_preparing": ("prepare_columns",),
    "_query": ("MISSING", "Query", "SortKey", "check_names", "field_text", "parse_query", "parse_sort"),
    "_query_parser": ("QueryError",),
    "_runs": ("Group", "Runs", "parse_field", "quoted", "runs"),
    "_snapshot": ("Snapshot", "take_snapshot"),
    "_tidy": ("add_tags", "check_removable", "remove_run", "remove_tags", "replace_tags", "set_note"),
}

__all__ = ["Run", "Series", *(name for names in _HOMES.values() for name in names)]


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            import importlib

            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
