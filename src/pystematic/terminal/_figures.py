"""Line charts as files, PNG or SVG: the one place that imports matplotlib (the extra ``plot``).

Uses matplotlib's objects alone: no pyplot, no choice of a backend, no display, no settings left changed. Knows numbers
and labels only, no runs.
"""

from __future__ import annotations

import math
import os
import sys

from pystematic.errors import UsageError
from pystematic.rundir import replace_file
from pystematic.terminal._charts import CROSS, Axis, column_slices, escape, format_ticks, make_curve, smooth, text_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pystematic.terminal._charts import Curve, Line

FORMATS = (".png", ".svg")
DPI = 150
MOST_PIXELS = 60_000  # Agg draws less than 2**16 in each direction
# Of one chart, and of each of several beside each other, in inches.
ALONE, BESIDE = (8.0, 4.4), (5.4, 3.4)
MOST_BESIDE = 3
ROW_INCHES = 0.18  # of the legend
LETTER_INCHES = 0.078  # on average, at the sizes of SETTINGS
# More than a large screen is wide; each keeps its lowest and highest value.
COLUMNS = 4000
CROSSES = 100  # more would run into each other
TICKS = 6
# Okabe and Ito, "Color Universal Design" (2008), without yellow: told apart by the colour-blind. Markers, and dashes
# where these begin anew, are for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "<", ">", "p", "h", "*")
DASHES = ("-", "--", "-.", ":")
SETTINGS: dict[Any, Any] = {
    # Labels are other people's texts: a dollar sign is no formula, and no TeX is run.
    "text.parse_math": False,
    "text.usetex": False,
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    # Text stays text, to be searched and read aloud. Names inside the file come from a salt: the same input gives the
    # same bytes.
    "svg.fonttype": "none",
    "svg.hashsalt": "pystematic",
}


def save_figure(
    path: str | os.PathLike[str],
    charts: Mapping[str, Sequence[Line]],
    *,
    log_x: bool = False,
    log_y: bool = False,
    smoothing: float = 0.0,
    x_label: str = "step",
) -> None:
    """Write one picture with a small chart for each title; a label looks the same in all of them.

    Points without a place are left out, marked and counted as in `render_chart`. Changes matplotlib's settings while it
    draws, so one thread at a time.

    Args:
        path: ends in ``.png`` or ``.svg``; a file that is there is replaced.
        charts: title to lines.
        log_x: scale the x axes logarithmically.
        log_y: scale the y axes logarithmically.
        smoothing: weight of `smooth`; above 0 the raw line stands behind, paler.
        x_label: what x is.

    Raises:
        UsageError: another suffix, no charts, no matplotlib, or the file cannot be written.
    """
    name = os.fspath(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in FORMATS:
        raise UsageError(f"{name!r} is no picture that can be written. Name a file that ends in .png or .svg.")
    if not charts:
        raise UsageError(f"there is nothing to draw in {name!r}.")
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise UsageError(f"{name!r} needs matplotlib, which is not installed: pip install 'pystematic[plot]'") from None
    import warnings

    curves = {title: [make_curve(line, log_x=log_x, log_y=log_y) for line in lines] for title, lines in charts.items()}
    with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
        # Its font has not every letter; what it draws instead can be seen.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        content = _draw(curves, suffix[1:], log_x=log_x, log_y=log_y, smoothing=smoothing, x_label=x_label)
    try:
        replace_file(name, content)
    except OSError as error:
        raise UsageError(f"{name!r} cannot be written: {error.strerror}.") from None


def _draw(
    charts: Mapping[str, list[Curve]], format: str, *, log_x: bool, log_y: bool, smoothing: float, x_label: str
) -> bytes:
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(curve.label for curves in charts.values() for curve in curves))
    across = min(len(charts), MOST_BESIDE if len(charts) != 4 else 2)
    down = -(-len(charts) // across)
    width, height = ALONE if len(charts) == 1 else BESIDE
    legend = _Legend(labels, width * across)
    size = (width * across, height * down + ROW_INCHES * legend.rows)
    figure = Figure(figsize=size, dpi=min(DPI, MOST_PIXELS / max(size)), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, curves) in enumerate(charts.items(), 1):
        axes = figure.add_subplot(down, across, place)
        axes.set_title(_cut(title, width - 1.0), loc="left")
        _draw_chart(axes, curves, legend, log_x=log_x, log_y=log_y, smoothing=smoothing, x_label=_cut(x_label, width))
    legend.draw(figure)
    buffer = io.BytesIO()
    # Without the date, the same input gives the same bytes.
    figure.savefig(buffer, format=format, metadata={"Date": None} if format == "svg" else None)
    return buffer.getvalue()


class _Legend:
    """Gives each label its look, and lists them below all charts."""

    def __init__(self, labels: list[str], width_inches: float) -> None:
        self.texts = {label: _cut(label, width_inches - 1.0) for label in labels}
        widest = max(map(text_width, self.texts.values()), default=0)
        self.columns = max(1, min(len(labels), int(width_inches / (widest * LETTER_INCHES + 0.7))))
        self.rows = -(-len(labels) // self.columns)
        self._indices = {label: i for i, label in enumerate(labels)}

    def look(self, label: str) -> dict[str, Any]:
        """Return the arguments of the lines of a label."""
        i = self._indices[label]
        return {
            "color": COLOURS[i % len(COLOURS)],
            "linestyle": DASHES[i // len(MARKERS) % len(DASHES)],
            "linewidth": 1.4,
            "marker": MARKERS[i % len(MARKERS)],
            "markersize": 4.5,
        }

    def marker_places(self, label: str, points: int) -> tuple[int, int]:
        """Return the first point with a marker and how many on the next is, beside those of the other labels."""
        # Not matplotlib's fractions of the line's length: on a noisy line these are all over.
        every = max(1, points // 10) if points > 20 else 1
        return every * self._indices[label] // len(self._indices), every

    def draw(self, figure: Figure) -> None:
        """List the labels."""
        from matplotlib.lines import Line2D

        if self.texts:
            handles = [Line2D([], [], **self.look(label)) for label in self.texts]
            figure.legend(handles, list(self.texts.values()), loc="outside lower center", ncols=self.columns)


def _draw_chart(
    axes: Axes, curves: list[Curve], legend: _Legend, *, log_x: bool, log_y: bool, smoothing: float, x_label: str
) -> None:
    places = [x for curve in curves for x in (*curve.x[:1], *curve.x[-1:], *curve.above, *curve.below)]
    x_axis, cross_axis = Axis(places, COLUMNS, log=log_x), Axis(places, CROSSES, log=log_x)
    y_axis = Axis([y for curve in curves for y in curve.y], COLUMNS, log=log_y)
    x_exponent, y_exponent = _exponent(x_axis), _exponent(y_axis)
    _scale(axes, x_axis, y_axis)
    for curve in curves:
        look = legend.look(curve.label)
        # Nothing is drawn of no points: matplotlib would make infinite room for it.
        if smoothing and curve.x:
            xs, ys = _thin(curve.x, curve.y, x_axis)
            axes.plot(_scaled(xs, x_exponent), _scaled(ys, y_exponent), color=look["color"], alpha=0.3, linewidth=0.8)
        if curve.x:
            xs, ys = _thin(curve.x, smooth(curve.y, smoothing) if smoothing else curve.y, x_axis)
            every = legend.marker_places(curve.label, len(xs))
            axes.plot(_scaled(xs, x_exponent), _scaled(ys, y_exponent), markevery=every, **look)
        for left_out, edge in ((sorted(curve.above), 1.0), (sorted(curve.below), 0.0)):
            xs = [left_out[part][0] for _, part in column_slices(left_out, cross_axis)]
            if xs:
                cross = {"color": look["color"], "marker": "x", "linestyle": "none", "clip_on": False}
                axes.plot(_scaled(xs, x_exponent), [edge] * len(xs), transform=axes.get_xaxis_transform(), **cross)
    if x_exponent:
        x_label = f"{x_label} / 1e{x_exponent}"
    if y_exponent:
        axes.set_ylabel(f"value / 1e{y_exponent}")
    axes.set_xlabel("\n".join([x_label, *_notes(curves, smoothing)]))
    if x_axis.low > x_axis.high:
        axes.set_xticks([])
    if y_axis.low > y_axis.high:
        axes.set_yticks([])
        axes.text(0.5, 0.5, "no points to draw", transform=axes.transAxes, ha="center", color="#767676")


def _scale(axes: Axes, x_axis: Axis, y_axis: Axis) -> None:
    """Set up logarithmic axes, before anything is drawn: what matplotlib finds itself may be infinite."""
    from matplotlib.ticker import NullLocator

    if x_axis.log and x_axis.low <= x_axis.high:
        axes.set_xscale("log")
        axes.set_xlim(*_log_limits(x_axis))
        ticks = x_axis.ticks(TICKS)
        axes.set_xticks([float(tick) for tick in ticks], format_ticks(ticks))
        axes.xaxis.set_minor_locator(NullLocator())
    if y_axis.log and y_axis.low <= y_axis.high:
        axes.set_yscale("log")
        axes.set_ylim(*_log_limits(y_axis))
        ticks = y_axis.ticks(TICKS)
        axes.set_yticks([float(tick) for tick in ticks], format_ticks(ticks))
        axes.yaxis.set_minor_locator(NullLocator())


def _notes(curves: list[Curve], smoothing: float) -> list[str]:
    counts: dict[str, int] = {}
    for curve in curves:
        for why, count in curve.counts.items():
            counts[why] = counts.get(why, 0) + count
    notes = [f"smoothing {smoothing:g}, pale: as recorded"] if smoothing else []
    if counts:
        notes.append(f"{CROSS} left out: {', '.join(f'{count} {why}' for why, count in counts.items())}")
    most = max((len(curve.x) for curve in curves), default=0)
    if most > 4 * COLUMNS:
        notes.append(f"{most:,} points sampled: the lowest and highest of each of {COLUMNS:,} columns")
    return notes


def _cut(text: str, width_inches: float) -> str:
    """Make a text one line, the middle left out: of names that begin alike the end counts."""
    shown = escape(text)
    room = int(width_inches / LETTER_INCHES) * len(shown) // max(1, text_width(shown))
    return shown if len(shown) <= room else f"{shown[: room // 2]}…{shown[-(room // 2) :]}"


def _thin(xs: list[float], ys: list[float], axis: Axis) -> tuple[list[float], list[float]]:
    """Keep the first, lowest, highest and last point of each column, where there are many more."""
    if len(xs) <= 4 * axis.size:
        return xs, ys
    kept: list[int] = []
    for _, part in column_slices(xs, axis):
        values = ys[part]
        chosen = {0, values.index(min(values)), values.index(max(values)), len(values) - 1}
        kept += [part.start + i for i in sorted(chosen)]
    return [xs[i] for i in kept], [ys[i] for i in kept]


def _exponent(axis: Axis) -> int:
    """Return by what power of ten to divide: matplotlib takes 1e-300 for 0, and the span of a linear axis overflows."""
    largest = max(abs(axis.low), abs(axis.high))
    if axis.log or not 0 < largest < math.inf:
        return 0
    exponent = math.floor(math.log10(largest))
    return exponent if abs(exponent) > 100 else 0


def _log_limits(axis: Axis) -> tuple[float, float]:
    """Return the ends of a logarithmic axis, with some room beyond the values."""
    decades = math.log10(axis.high) - math.log10(axis.low)
    room = 10 ** (0.04 * decades if decades else 0.5)
    return max(axis.low / room, 5e-324), min(axis.high * room, sys.float_info.max)


def _scaled(values: list[float], exponent: int) -> list[float]:
    # In two steps: 10.0 ** 324 would be too large for the smallest numbers.
    half = 10.0 ** (exponent // 2)
    return (
        [value / half / 10.0 ** (exponent - exponent // 2) for value in values]
        if exponent
        else list(map(float, values))
    )
