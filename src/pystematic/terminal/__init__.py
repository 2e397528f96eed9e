"""Views of runs in a terminal. Knows the store's objects only through the rows and numbers that it is given."""

from __future__ import annotations

from pystematic.terminal._tables import format_cell, format_csv, format_table, output_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.terminal._charts import Line as Line
    from pystematic.terminal._charts import detect_chart_style as detect_chart_style
    from pystematic.terminal._charts import render_chart as render_chart
    from pystematic.terminal._figures import save_figure as save_figure

# Loaded when first asked for: a table needs no charts.
_HOMES = {
    "Line": "_charts",
    "detect_chart_style": "_charts",
    "render_chart": "_charts",
    "save_figure": "_figures",
}

__all__ = [
    "Line",
    "detect_chart_style",
    "format_cell",
    "format_csv",
    "format_table",
    "output_width",
    "render_chart",
    "save_figure",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
