"""Line charts as text: dots of Braille letters, or plain ASCII where the terminal has no better.

Knows numbers and labels only, no runs. Of every column of dots the lowest and the highest value are drawn, so that a
spike is never hidden however many points share the column.
"""

from __future__ import annotations

import math
import os
import sys
import unicodedata
from bisect import bisect_right
from itertools import groupby, islice
from operator import itemgetter, le

from pystematic._record import record
from pystematic.errors import UsageError
from pystematic.terminal._tables import output_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PIPED_WIDTH = 100
SMALLEST_WIDTH = 40
# Letters and not shapes: every terminal has them, in one column, and there are enough of them. No x: it marks a point.
MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwyz"
# SGR codes of the terminal's own palette, which fits its background; the darkest and the grey ones are left out.
COLOURS = (36, 33, 35, 32, 31, 34, 96, 93, 95, 92, 91, 94)
# Bits of the dots of a letter from U+2800 on, by row, then column (Unicode: Braille Patterns).
BRAILLE_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
CROSS = "\N{MULTIPLICATION SIGN}"
IN_ASCII = str.maketrans({"─": "-", "│": "|", "┤": "+", "└": "+", "┬": "+", CROSS: "x", "≤": "<="})


@record
class Line:
    """One line of a chart: the points' numbers, in any order. Lists, arrays of the standard library or of NumPy."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@record
class ChartStyle:
    """What the terminal, or whatever else standard output is, can show."""

    width: int
    color: bool
    unicode: bool


def detect_chart_style() -> ChartStyle:
    """Return the width and abilities of standard output.

    Colours are for terminals only, and not where ``NO_COLOR`` is set (no-color.org). The console of Linux, without a
    window system, knows UTF-8 but has no Braille in its fonts.
    """
    terminal = os.environ.get("TERM", "")
    try:
        f"⣿┤≤{CROSS}".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        encodable = False
    else:
        encodable = True
    return ChartStyle(
        width=output_width() or PIPED_WIDTH,
        color=sys.stdout.isatty() and not os.environ.get("NO_COLOR") and terminal != "dumb",
        unicode=encodable and terminal != "linux",
    )


@record
class Curve:
    """The points of a line that can be drawn, in the order of x, and what is known of the others.

    Attributes:
        above: x of the points that are infinite.
        below: x of those that are NaN, minus infinity, or not positive where the axis is logarithmic.
        counts: how many of each kind have no place, by the words for it.
    """

    label: str
    x: list[float]
    y: list[float]
    above: list[float]
    below: list[float]
    counts: dict[str, int]


def make_curve(line: Line, *, log_x: bool = False, log_y: bool = False) -> Curve:
    """Sort out the points of a line.

    Raises:
        ValueError: it has not as many x as y.
    """
    xs, ys = _numbers(line.x), _numbers(line.y)
    if len(xs) != len(ys):
        raise ValueError(f"the line {line.label!r} has {len(xs)} x and {len(ys)} y")
    above: list[float] = []
    below: list[float] = []
    counts: dict[str, int] = {}
    has_place = all(map(math.isfinite, xs)) and all(map(math.isfinite, ys))
    if not has_place or (log_x and min(xs, default=1) <= 0) or (log_y and min(ys, default=1) <= 0):
        kept = []
        for x, y in zip(xs, ys, strict=True):
            if not math.isfinite(x) or (log_x and x <= 0):
                why = "with x ≤ 0" if math.isfinite(x) else "with x not finite"
            elif y == math.inf:
                why = "inf"
                above.append(x)
            elif not math.isfinite(y) or (log_y and y <= 0):
                why = "NaN" if y != y else "-inf" if y == -math.inf else "with y ≤ 0"
                below.append(x)
            else:
                kept.append((x, y))
                continue
            counts[why] = counts.get(why, 0) + 1
        xs, ys = [x for x, _ in kept], [y for _, y in kept]
    if not all(map(le, xs, islice(xs, 1, None))):
        order = sorted(range(len(xs)), key=xs.__getitem__)
        xs, ys = [xs[i] for i in order], [ys[i] for i in order]
    return Curve(line.label, xs, ys, above, below, counts)


def describe_counts(curve: Curve) -> str:
    """Say how many points of which kind are not on the line: ``3 NaN, 1 inf``."""
    return ", ".join(f"{count} {why}" for why, count in curve.counts.items())


def _numbers(values: Iterable[float]) -> list[float]:
    """Return Python's own numbers, which neither warn nor wrap; what no float can hold becomes infinite."""
    # Arrays make a list of their own at a tenth of the cost of going through them.
    numbers: list[float] = values.tolist() if hasattr(values, "tolist") else list(values)
    kinds = set(map(type, numbers))
    if kinds <= {float} or (kinds <= {int, float} and max(map(abs, numbers), default=0) < 2**1000):
        return numbers
    return list(map(_number, numbers))


def _number(value: float) -> float:
    try:
        return value if type(value) is int and math.isfinite(value) else float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def smooth(values: Sequence[float], weight: float) -> list[float]:
    """Return the exponential moving average, corrected for its start, as TensorBoard's slider does.

    With w the weight, ``last = w * last + (1 - w) * y`` from ``last = 0`` on, and ``last / (1 - w ** n)`` is the n-th
    value (`classicSmoothing` in tensorboard/webapp/widgets/line_chart_v2/data_transformer.ts). That is the mean of all
    values so far, the k-th before the last weighted with ``w ** k``; computed so, a weight of 1 gives the plain mean.

    Raises:
        UsageError: the weight is not between 0 and 1.
    """
    if not 0 <= weight <= 1:
        raise UsageError(f"the smoothing must be between 0 (none) and 1 (the mean so far), got {weight!r}.")
    smoothed = []
    mean = total = 0.0
    for value in values:
        total = total * weight + 1.0
        share = 1.0 / total
        # Not mean + (value - mean) * share: the difference of two finite numbers may be infinite.
        mean = (mean - mean * share) + value * share
        smoothed.append(mean)
    return smoothed


def column_slices(xs: Sequence[float], axis: Axis) -> Iterator[tuple[int, slice]]:
    """Yield each column that has points, and which of the sorted ``xs`` fall into it."""
    start = 0
    while start < len(xs):
        column = axis.place(xs[start])
        end = bisect_right(xs, column, start, key=axis.place)
        yield column, slice(start, end)
        start = end


class Axis:
    """A linear or logarithmic scale of ``size`` places, 0 for the smallest of ``values``, the last for the largest."""

    def __init__(self, values: Iterable[float], size: int, *, log: bool) -> None:
        numbers = list(values)
        self.low, self.high = (min(numbers), max(numbers)) if numbers else (math.inf, -math.inf)
        self.size = size
        self.log = log

    def place(self, value: float) -> int:
        """Return where ``value`` stands: at the end what lies beyond, in the middle where all values are equal."""
        low, high = self.low, self.high
        if low >= high:
            return (self.size - 1) // 2
        if self.log:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        if high - low == math.inf:
            value, low, high = value / 2, low / 2, high / 2
        share = (value - low) / (high - low) if high > low else 0.5
        # A smoothed value may lie beyond the others by a rounding error.
        return int(min(1.0, max(0.0, share)) * (self.size - 1) + 0.5)

    def ticks(self, most: int) -> list[float]:
        """Return about ``most`` round numbers of the axis, at least one where there is any value."""
        if self.low >= self.high:
            return [self.low] if self.low == self.high else []
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            every = max(1, -(-(last - first + 1) // most))
            ticks = [float(f"1e{exponent}") for exponent in range(-(-first // every) * every, last + 1, every)]
            if last - first < 2:
                ticks = [float(f"{digit}e{exponent}") for exponent in range(first - 1, last + 1) for digit in (1, 2, 5)]
            ticks = [tick for tick in ticks if self.low <= tick <= self.high]
            if len(ticks) > 1:
                return ticks
        return self._linear_ticks(most)

    def _linear_ticks(self, most: int) -> list[float]:
        """Return the multiples of 1, 2 or 5 times a power of ten. In whole numbers, exact at every magnitude."""
        rough = (self.high - self.low) / most
        if rough == math.inf:
            rough = self.high / most - self.low / most
        exponent = math.floor(math.log10(rough or 5e-324))
        if isinstance(self.low, int) and isinstance(self.high, int):
            exponent = max(exponent, 0)  # steps and counts have no halves
        up, down = 10 ** max(exponent, 0), 10 ** max(-exponent, 0)
        least, unit = rough.as_integer_ratio()
        # A little less is enough: the float next to 0.2 is larger than 2 / 10.
        step = next(n * up for n in (1, 2, 5, 10) if n == 10 or n * up * unit * 1001 >= least * down * 1000)
        low, low_unit = self.low.as_integer_ratio()
        high, high_unit = self.high.as_integer_ratio()
        first, last = -(-low * down // (low_unit * step)), high * down // (high_unit * step)
        rounded = dict.fromkeys(n * step if down == 1 else n * step / down for n in range(first - 1, last + 2))
        ticks = [tick for tick in rounded if self.low <= tick <= self.high]
        # One number alone gives no scale.
        return ticks if len(ticks) > 1 or most > 10 else self._linear_ticks(most * 2)


def format_ticks(ticks: Sequence[float]) -> list[str]:
    """Write the numbers of an axis, all as short as they can be without being another number."""
    if all(abs(tick) < 10**7 and tick == int(tick) for tick in ticks):
        return [str(int(tick)) for tick in ticks]
    if len(ticks) == 1:
        texts = [f"{ticks[0]:.6g}"]
    else:
        written = ([f"{tick:.{digits}g}" for tick in ticks] for digits in range(1, 18))
        texts = next(texts for texts in written if list(map(float, texts)) == list(map(float, ticks)))
        # Steps beyond 2**53 may differ where their floats do not; 64 bits have up to 20 digits.
        if len(set(texts)) < len(texts) and max(map(abs, ticks)) < 10**20:
            texts = [str(tick) for tick in ticks]
    return [text.replace("e+0", "e").replace("e+", "e").replace("e-0", "e-") for text in texts]


def escape(text: str, *, unicode: bool = True) -> str:
    """Write what would move the cursor, hide or turn text around as ``\\x1b``; all but ASCII where there is no more."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown if unicode else _to_ascii(shown)


def _to_ascii(text: str) -> str:
    return text.translate(IN_ASCII).encode("ascii", "backslashreplace").decode("ascii")


def _letter_width(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def text_width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(map(_letter_width, text))


def _wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most ``width`` columns, after a space or, where there is none near, anywhere."""
    lines, used = [""], 0
    for letter in text:
        lines[-1] += letter
        used += _letter_width(letter)
        if used > width and letter != " ":
            line = lines[-1]
            cut = line.rfind(" ") + 1 if " " in line[len(line) // 2 :] else len(line) - 1
            lines[-1:] = [line[:cut], line[cut:]]
            used = text_width(line[cut:])
    return [line.rstrip() for line in lines]


# Layers: what is drawn higher takes the whole letter. Raw dots around a smoothed line would make it a smear.
RAW, LINE, MARK = range(3)


def _paint(text: str, owner: int | None, *, dim: bool = False) -> str:
    if owner is None or not text:
        return text
    return f"\x1b[{'2;' if dim else ''}{COLOURS[owner % len(COLOURS)]}m{text}\x1b[0m"


class _Canvas:
    """A grid of letters, each of ``across`` times ``down`` dots, that remembers whose they are. Row 0 is the top."""

    def __init__(self, columns: int, rows: int, across: int, down: int) -> None:
        self.columns, self.rows = columns, rows
        self.across, self.down = across, down
        # By row and column: layer, owner, bits of the dots.
        self._cells: dict[tuple[int, int], tuple[int, int, int]] = {}
        # By owner and column: a row of its line.
        self._trails: dict[int, dict[int, int]] = {}

    def dot(self, layer: int, owner: int, x: int, y: int) -> None:
        """Set one dot, unless a higher layer has the letter."""
        column, row = x // self.across, y // self.down
        there, _, bits = self._cells.get((row, column), (layer, owner, 0))
        if there <= layer:
            bit = BRAILLE_BITS[y % self.down][x % self.across]
            self._cells[row, column] = (layer, owner, bits | bit if there == layer else bit)
        if layer == LINE:
            self._trails.setdefault(owner, {})[column] = row

    def connect(self, owner: int, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Set the dots of a line between two others."""
        across, down = end[0] - start[0], end[1] - start[1]
        steps = max(abs(across), abs(down))
        for i in range(1, steps):
            self.dot(LINE, owner, start[0] + round(across * i / steps), start[1] + round(down * i / steps))

    def mark(self, owner: int, owners: int) -> None:
        """Put the owner's letter on its line here and there, beside those of others where lines run together."""
        trail = list(self._trails.get(owner, {}).items())
        every = max(20, 3 * owners)
        first = min(every * (2 * owner + 1) // (2 * owners), max(0, len(trail) - 1))
        for start in range(first, len(trail), every):
            for column, row in [*trail[start : start + every], *reversed(trail[:start])]:
                if self._cells[row, column][0] != MARK:
                    self._cells[row, column] = (MARK, owner, 0)
                    break

    def row_text(self, row: int, marks: Sequence[str], *, color: bool) -> str:
        """Return a row of letters, painted where there are colours."""
        text = ""
        cells = (self._letter(row, column, marks) for column in range(self.columns))
        for (owner, dim), group in groupby(cells, itemgetter(1, 2)):
            letters = "".join(letter for letter, *_ in group)
            text += _paint(letters, owner, dim=dim) if color else letters
        return text

    def _letter(self, row: int, column: int, marks: Sequence[str]) -> tuple[str, int | None, bool]:
        if (row, column) not in self._cells:
            return " ", None, False
        layer, owner, bits = self._cells[row, column]
        if layer == MARK or (layer == LINE and self.down == 1):
            return marks[owner], owner, False
        return chr(0x2800 + bits) if self.down > 1 else ".", owner, layer == RAW


class _Chart:
    """The curves on their canvas, and the rows of text around it."""

    def __init__(
        self, curves: list[Curve], *, width: int, height: int, log_x: bool, log_y: bool, smoothing: float, unicode: bool
    ) -> None:
        self.curves = curves
        self.unicode = unicode
        self.width = max(width, SMALLEST_WIDTH)
        if len(curves) > 1:
            self.marks = [MARKS[i % len(MARKS)] for i in range(len(curves))]
        else:
            # A line alone needs no letter; one dot would be overlooked.
            self.marks = ["*" if not unicode or (curves and len(curves[0].x) == 1) else "⠒"]
        rows, (across, down) = max(height, 2), (2, 4) if unicode else (1, 1)
        ends = [end for curve in curves if curve.y for end in (min(curve.y), max(curve.y))]
        self.y_axis = Axis(ends, rows * down, log=log_y)
        ticks = self.y_axis.ticks(max(3, rows // 3))
        self.y_texts = {self._row(tick) // down: text for tick, text in zip(ticks, format_ticks(ticks), strict=True)}
        self.margin = max(map(len, self.y_texts.values()), default=0)
        columns = self.width - self.margin - 2
        places = [x for curve in curves for x in (*curve.x[:1], *curve.x[-1:], *curve.above, *curve.below)]
        self.x_axis = Axis(places, columns * across, log=log_x)
        self.canvas = _Canvas(columns, rows, across, down)
        self._draw(smoothing)

    def wrap(self, text: str, width: int) -> list[str]:
        """Return a text as lines of at most ``width`` columns, in letters that can be shown."""
        return _wrap(escape(text, unicode=self.unicode), width)

    def _row(self, value: float) -> int:
        return self.y_axis.size - 1 - self.y_axis.place(value)

    def _draw(self, smoothing: float) -> None:
        for owner, curve in enumerate(self.curves):
            line = smooth(curve.y, smoothing) if smoothing else curve.y
            before = None
            for column, part in column_slices(curve.x, self.x_axis):
                if smoothing:
                    for value in (max(curve.y[part]), min(curve.y[part])):
                        self.canvas.dot(RAW, owner, column, self._row(value))
                values = line[part]
                if before is not None:
                    self.canvas.connect(owner, before, (column, self._row(values[0])))
                for row in range(self._row(max(values)), self._row(min(values)) + 1):
                    self.canvas.dot(LINE, owner, column, row)
                before = column, self._row(values[-1])
        for owner, curve in enumerate(self.curves):
            if len(self.curves) > 1 or len(curve.x) == 1:
                self.canvas.mark(owner, len(self.curves))

    def plot_rows(self, *, color: bool) -> Iterator[str]:
        """Yield the canvas with the y axis before it."""
        above = self._crosses(curve.above for curve in self.curves)
        if above:
            crossed = "".join(CROSS if i in above else " " for i in range(self.canvas.columns))
            yield f"{'':{self.margin}} │{crossed}"
        for row in range(self.canvas.rows):
            text = self.y_texts.get(row, "")
            yield f"{text:>{self.margin}} {'┤' if text else '│'}{self.canvas.row_text(row, self.marks, color=color)}"

    def axis_rows(self, x_label: str) -> Iterator[str]:
        """Yield the x axis, its numbers, and what they are."""
        columns = self.canvas.columns
        ticks = self.x_axis.ticks(max(3, columns // 14))
        line, numbers = ["─"] * columns, ""
        for tick, text in zip(ticks, format_ticks(ticks), strict=True):
            column = self.x_axis.place(tick) // self.canvas.across
            start = max(0, min(column - len(text) // 2, columns - len(text)))
            if not numbers or start > len(numbers):
                numbers = numbers.ljust(start) + text
                line[column] = "┬"
        for column in self._crosses(curve.below for curve in self.curves):
            line[column] = CROSS
        yield f"{'':{self.margin}} └{''.join(line)}"
        yield f"{'':{self.margin}}  {numbers}"
        for text in self.wrap(x_label, columns):
            yield f"{'':{self.margin}}  {'':{(columns - text_width(text)) // 2}}{text}"

    def _crosses(self, places: Iterable[list[float]]) -> set[int]:
        axis, across = self.x_axis, self.canvas.across
        return {column // across for some in places for column, _ in column_slices(sorted(some), axis)}

    def legend_rows(self, *, color: bool) -> Iterator[str]:
        """Yield the letters and labels, as many beside each other as there is room for."""
        entries = []
        for owner, curve in enumerate(self.curves):
            first, *more = self.wrap(curve.label + ("" if curve.x else " (no points)"), self.width - 4)
            mark = _paint(self.marks[owner], owner if color else None)
            entries.append((f"  {mark} {first}", 4 + text_width(first)))
            entries += [(f"    {rest}", 4 + text_width(rest)) for rest in more]
        widest = max((width for _, width in entries), default=0)
        across = max(1, self.width // max(widest, 1)) if len(entries) == len(self.curves) else 1
        for start in range(0, len(entries), across):
            yield "".join(text + " " * (widest - width) for text, width in entries[start : start + across])

    def note_rows(self) -> Iterator[str]:
        """Yield what a reader must know of points that are not there to see."""
        left_out = []
        for mark, curve in zip(self.marks, self.curves, strict=False):
            if curve.counts:
                left_out.append(f"{mark} {describe_counts(curve)}" if len(self.curves) > 1 else describe_counts(curve))
        if left_out:
            yield from self.wrap(f"  {CROSS} left out: {'; '.join(left_out)}", self.width)
        most = max((len(curve.x) for curve in self.curves), default=0)
        if most > self.x_axis.size:
            note = (
                f"  {most:,} points in {self.x_axis.size} columns of dots: the lowest and highest of each column show"
            )
            yield from self.wrap(note, self.width)


def render_chart(
    lines: Sequence[Line],
    *,
    title: str,
    width: int,
    height: int,
    log_x: bool = False,
    log_y: bool = False,
    smoothing: float = 0.0,
    x_label: str = "step",
    color: bool = False,
    unicode: bool = True,
) -> str:
    """Draw lines over each other, with axes and a legend.

    Points without a place (NaN, infinite, not positive on a logarithmic axis) are left out of their line, marked at the
    edge, and counted below. Lines have letters on them, so that the chart can be read without colours.

    Args:
        lines: each with its label; more than the letters there are share them.
        title: stands above.
        width: columns of the whole, at least 40; longer texts are wrapped, never cut.
        height: rows of the plot itself, without axis, title and legend; at least 2.
        log_x: scale the x axis logarithmically.
        log_y: scale the y axis logarithmically.
        smoothing: weight of `smooth`; above 0 the raw values are dots behind the line.
        x_label: what x is.
        color: use the terminal's colours.
        unicode: use Braille dots and box lines; else ASCII, for labels too.

    Returns:
        Lines without a newline at the end.

    Raises:
        UsageError: the smoothing is not between 0 and 1.
    """
    curves = [make_curve(line, log_x=log_x, log_y=log_y) for line in lines]
    chart = _Chart(curves, width=width, height=height, log_x=log_x, log_y=log_y, smoothing=smoothing, unicode=unicode)
    how = [*(["log x"] if log_x else []), *(["log y"] if log_y else [])]
    how += [f"smoothing {smoothing:g}"] if smoothing else []
    rows = chart.wrap(f"{title} ({', '.join(how)})" if how else title, chart.width)
    if chart.x_axis.low > chart.x_axis.high:
        rows.append("  no points to draw")
    else:
        rows += chart.plot_rows(color=color)
        rows += chart.axis_rows(x_label)
    rows += chart.legend_rows(color=color)
    rows += chart.note_rows()
    text = "\n".join(row.rstrip() for row in rows)
    return text if unicode else _to_ascii(text)
