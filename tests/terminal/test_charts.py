"""Line charts as text, read back from their letters."""

from __future__ import annotations

import array
import math
import os
import random
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pystematic.errors import UsageError
from pystematic.terminal._charts import (
    BRAILLE_BITS,
    CROSS,
    MARKS,
    Axis,
    ChartStyle,
    Line,
    detect_chart_style,
    format_ticks,
    render_chart,
    smooth,
    text_width,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
COUNTS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.lists(FINITE, min_size=2, max_size=40) | st.lists(COUNTS, min_size=2, max_size=40)


def draw(*lines: Line, **options: object) -> str:
    """Draw a small chart, "loss" above it."""
    return render_chart(lines, **{"title": "loss", "width": 60, "height": 8, **options})  # type: ignore[arg-type]


def line_of(ys: Sequence[float], label: str = "a", xs: Sequence[float] | None = None) -> Line:
    return Line(label, range(len(ys)) if xs is None else xs, ys)


def plot_of(chart: str) -> list[str]:
    """Return the rows right of the y axis, all as wide as the x axis."""
    rows = chart.split("\n")
    bottom = next(i for i, row in enumerate(rows) if re.match(r" *└|\s*\++-", row))
    corner = rows[bottom].index("└" if "└" in rows[bottom] else "+")
    top = next(i for i, row in enumerate(rows) if len(row) > corner and row[corner] in "│┤|+")
    return [row[corner + 1 :].ljust(len(rows[bottom]) - corner - 1) for row in rows[top:bottom]]


def x_axis_of(chart: str) -> str:
    return next(row.partition("└")[2] for row in chart.split("\n") if "└" in row)


def dots_of(chart: str) -> set[tuple[int, int]]:
    """Return the Braille dots that are set, as column and row, counted from the top left."""
    return {
        (2 * column + x, 4 * row + y)
        for row, letters in enumerate(plot_of(chart))
        for column, letter in enumerate(letters)
        for y, bits in enumerate(BRAILLE_BITS)
        for x, bit in enumerate(bits)
        if 0x2800 <= ord(letter) < 0x2900 and (ord(letter) - 0x2800) & bit
    }


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_a_chart_has_a_title_axes_with_round_numbers_and_a_legend() -> None:
    chart = draw(line_of([0, 1, 4, 9, 16, 25], "a run"), width=40, height=6)

    assert chart.split("\n") == [
        "loss",
        "   │                                ⢀⡠⠔⠊",
        "20 ┤                             ⣀⠤⠒⠁",
        "   │                         ⣀⡠⠒⠊",
        "10 ┤                     ⣀⡠⠒⠊",
        "   │             ⣀⣀⠤⠤⠒⠒⠉⠉",
        " 0 ┤⣀⣀⣀⣀⠤⠤⠤⠤⠔⠒⠊⠉⠉",
        "   └┬─────────────┬─────────────┬───────",
        "    0             2             4",
        "                    step",
        "  ⠒ a run",
    ]


def test_without_unicode_a_chart_is_of_ascii_letters() -> None:
    chart = draw(line_of([2, 0, math.nan, 0], "ä"), line_of([0, 1, 2, 1], "b"), width=40, height=4, unicode=False)

    assert chart.split("\n") == [
        "loss",
        "2 +AAA                BBBBBBBBBBBB",
        "1 +   AAA   BBBBBBBBBB            BBBBBB",
        "  |    BBBBBAA",
        "0 +BBBB       AAAAAAAAAAAAAAAAAAAAAAAAAA",
        "  ++-----------+-----------x-----------+",
        "   0           1           2           3",
        "                   step",
        "  A \\xe4  B b",
        "  x left out: A 1 NaN",
    ]


@given(NUMBERS, st.randoms(use_true_random=False))
@example([1.7e308, -1.7e308, 0.0], random.Random(0))
@example([5e-324, 1e-323], random.Random(0))
@example([10**18, 10**18 + 1, 10**18 + 2], random.Random(0))
@example([0.1, 0.1], random.Random(0))
def test_every_column_shows_its_lowest_and_highest_value(numbers: list[float], source: random.Random) -> None:
    xs = [source.choice(numbers) for _ in numbers]
    chart = draw(line_of(numbers, xs=xs))

    plot = plot_of(chart)
    assert len(plot) == 8
    assert {len(row) for row in plot} == {len(plot[0])}
    x_axis, y_axis = Axis(xs, 2 * len(plot[0]), log=False), Axis(numbers, 4 * 8, log=False)
    columns: dict[int, list[float]] = {}
    for x, y in zip(xs, numbers, strict=True):
        columns.setdefault(x_axis.place(x), []).append(y)
    ends = {(x, 31 - y_axis.place(end)) for x, ys in columns.items() for end in (min(ys), max(ys))}
    assert ends <= dots_of(chart)


@given(NUMBERS, st.floats(0.01, 1.0))
@example([1.7e308, -1.7e308, 1.7976931348623157e308], 0.01)
def test_behind_a_smoothed_line_every_column_shows_its_lowest_and_highest_value(
    numbers: list[float], smoothing: float
) -> None:
    plot = plot_of(draw(line_of(numbers), smoothing=smoothing))

    x_axis, y_axis = Axis(range(len(numbers)), 2 * len(plot[0]), log=False), Axis(numbers, 4 * 8, log=False)
    assert all(plot[(31 - y_axis.place(y)) // 4][x_axis.place(x) // 2] != " " for x, y in enumerate(numbers))


@given(st.lists(st.floats(min_value=5e-324, allow_infinity=False), min_size=2, max_size=40))
@example([1e300, math.nextafter(1e300, math.inf)])  # with the same logarithm
def test_on_logarithmic_axes_too_every_point_is_on_the_chart(numbers: list[float]) -> None:
    plot = plot_of(draw(line_of(numbers, xs=numbers), log_x=True, log_y=True))

    x_axis, y_axis = Axis(numbers, 2 * len(plot[0]), log=True), Axis(numbers, 4 * 8, log=True)
    assert all(plot[(31 - y_axis.place(y)) // 4][x_axis.place(y) // 2] != " " for y in numbers)


@given(NUMBERS)
@example([1.7e308, -1.7e308, 0.0])
def test_an_axis_places_numbers_in_proportion_to_their_distance(numbers: list[float]) -> None:
    axis = Axis(numbers, 100, log=False)

    low, high = Fraction(min(numbers)), Fraction(max(numbers))
    for number in numbers:
        exact = (Fraction(number) - low) / (high - low) * 99 if high > low else Fraction(99, 2)
        assert abs(axis.place(number) - exact) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_what_lies_beyond_an_axis_stands_at_its_end() -> None:
    axis = Axis([1.0, 2.0], 100, log=False)

    assert [axis.place(value) for value in (0.0, 3.0, -math.inf, math.inf)] == [0, 99, 0, 99]


def test_a_logarithmic_axis_gives_each_decade_the_same_room() -> None:
    axis = Axis([1e-3, 1e3], 61, log=True)

    assert [axis.place(10.0**exponent) for exponent in range(-3, 4)] == [0, 10, 20, 30, 40, 50, 60]


def test_a_spike_of_one_point_in_a_million_is_seen() -> None:
    ys = [1.0] * 1_000_000
    ys[654_321] = 9.0

    plot = plot_of(draw(line_of(ys)))

    spike = round(0.654321 * (len(plot[0]) - 1))
    assert all(row[spike] != " " for row in plot)
    assert all(not row[:spike].strip() and not row[spike + 1 :].strip() for row in plot[:-1])


def test_a_million_points_take_less_than_a_second() -> None:
    source = random.Random(0)
    line = line_of([source.random() for _ in range(1_000_000)])

    start = time.process_time()
    chart = draw(line, smoothing=0.6)

    assert time.process_time() - start < 1.0
    assert chart.endswith("\n  1,000,000 points in 110 columns of dots: the lowest and\nhighest of each column show")


def test_a_million_points_without_a_place_take_less_than_a_second() -> None:
    line = line_of([math.nan] * 1_000_000)

    start = time.process_time()
    chart = draw(line)

    assert time.process_time() - start < 1.0
    assert chart.endswith(f"\n  {CROSS} left out: 1000000 NaN")


@pytest.mark.parametrize("kind", [np.array, np.float32, lambda ys: array.array("d", ys), tuple])
def test_arrays_and_tuples_are_drawn_as_lists_are(kind: object) -> None:
    ys = [1.0, 2.5, -3.0, 0.5]

    assert draw(Line("a", kind(range(4)), kind(ys))) == draw(Line("a", list(range(4)), ys))  # type: ignore[operator]


def test_numbers_of_numpy_in_a_list_do_not_overflow() -> None:
    ys = [1.7e308, -1.7e308, 0.0]

    assert draw(line_of([np.float64(y) for y in ys])) == draw(line_of(ys))


def test_the_order_of_the_points_does_not_matter() -> None:
    ordered = Line("a", [1, 2, 3, 4], [1, 3, 2, 4])

    assert draw(Line("a", [3, 1, 4, 2], [2, 1, 4, 3])) == draw(ordered)


def test_a_line_needs_as_many_x_as_y() -> None:
    with pytest.raises(ValueError, match=r"^the line 'a' has 2 x and 3 y$"):
        draw(Line("a", [1, 2], [1, 2, 3]))


def test_points_without_a_place_are_marked_at_the_edge_and_counted() -> None:
    chart = draw(line_of([1, math.nan, 3, -math.inf, 2, math.inf, math.nan, 10**400, 1]))

    above = plot_of(chart)[0]
    columns = [round(step / 8 * (2 * len(above) - 1)) // 2 for step in range(9)]
    assert [i for i, letter in enumerate(above) if letter == CROSS] == [columns[5], columns[7]]
    assert [i for i, letter in enumerate(x_axis_of(chart)) if letter == CROSS] == [columns[1], columns[3], columns[6]]
    assert chart.endswith(f"\n  {CROSS} left out: 2 NaN, 1 -inf, 2 inf")


def test_the_points_of_each_line_without_a_place_are_counted() -> None:
    chart = draw(line_of([1, math.nan], "first"), line_of([1, 2], "second"), line_of([math.inf, 2], "third"))

    assert chart.endswith(f"\n  {CROSS} left out: A 1 NaN; C 1 inf")


def test_on_a_logarithmic_axis_what_is_not_positive_has_no_place() -> None:
    chart = draw(Line("a", [0, 1, 10, 100, math.nan], [1, 2, 0, -1, 3]), log_x=True, log_y=True)

    axis = x_axis_of(chart)
    assert [i for i, letter in enumerate(axis) if letter == CROSS] == [
        round((2 * len(axis) - 1) / 2) // 2,
        len(axis) - 1,
    ]
    assert chart.startswith("loss (log x, log y)\n")
    assert chart.endswith(f"\n  {CROSS} left out: 1 with x ≤ 0, 2 with y ≤ 0, 1 with x not\nfinite")


@pytest.mark.parametrize("lines", [[], [Line("a", [], [])], [Line("a", [math.nan], [1])]])
def test_a_chart_of_nothing_says_so(lines: list[Line]) -> None:
    assert draw(*lines).split("\n")[:2] == ["loss", "  no points to draw"]


def test_a_line_without_points_is_in_the_legend() -> None:
    assert draw(line_of([1, 2], "first"), Line("second", [], [])).endswith(
        "\n  A first               B second (no points)"
    )


def test_points_that_all_lack_a_place_are_marked() -> None:
    axis = x_axis_of(draw(line_of([math.nan, math.nan])))

    assert axis == CROSS + "─" * (len(axis) - 2) + CROSS


def test_a_single_point_is_drawn_as_a_letter() -> None:
    chart = draw(line_of([7]))

    assert [row.strip() for row in plot_of(chart) if row.strip()] == ["*"]
    assert chart.endswith("\n  * a")


def test_a_series_that_never_changes_is_a_line_in_the_middle() -> None:
    chart = draw(line_of([0.25] * 5))

    assert [i for i, row in enumerate(plot_of(chart)) if row.strip()] == [4]
    assert "0.25 ┤" in chart


def test_steps_around_1e18_are_told_apart() -> None:
    chart = draw(Line("a", [10**18 + i for i in range(11)], range(11)))

    assert len(dots_of(chart)) > 100
    assert re.search(r"\n +1000000000000000000 +1000000000000000010\n", chart)


@pytest.mark.parametrize("unicode", [True, False])
def test_each_of_twenty_lines_has_its_letter_even_where_they_are_the_same(unicode: bool) -> None:
    chart = draw(*(line_of([1, 2, 3], f"run{i}") for i in range(20)), unicode=unicode)

    letters = set("".join(plot_of(chart)))
    assert set(MARKS[:20]) <= letters
    legend = re.findall(r"([A-Z]) (run\d+)", chart)
    assert sorted(legend) == [(MARKS[i], f"run{i}") for i in range(20)]


def test_more_lines_than_letters_share_them() -> None:
    chart = draw(*(line_of([i, i], f"run{i}") for i in range(60)))

    assert "A run0 " in chart
    assert "A run51" in chart


def test_the_letters_stand_on_their_own_lines() -> None:
    plot = plot_of(draw(line_of([0, 0], "low"), line_of([9, 9], "high"), line_of([5, 5], "middle")))

    found = {letter: {i for i, row in enumerate(plot) if letter in row} for letter in "ABC"}
    assert found == {"A": {7}, "B": {0}, "C": {3}}


def test_letters_do_not_hide_each_other() -> None:
    lines = [line_of([1, 1], label, xs=[50, 58]) for label in "bcd"]

    chart = draw(line_of([0, 2], "a", xs=[0, 100]), *lines)

    assert {"A", "B", "C", "D"} <= set("".join(plot_of(chart)))


def test_colours_only_add_to_what_is_seen() -> None:
    lines = [line_of([i, 2, 3 - i, 1], f"run{i}") for i in range(14)]

    coloured = draw(*lines, color=True, smoothing=0.5)

    assert without_colours(coloured) == draw(*lines, smoothing=0.5)
    assert "\x1b[36mA\x1b[0m run0" in coloured
    assert "\x1b[33mB\x1b[0m run1" in coloured


def test_raw_values_do_not_hide_the_smoothed_line_of_another() -> None:
    calm, restless = line_of([5] * 1000, "calm"), line_of([20, 5, 20, 20] * 250, "restless")

    chart = draw(calm, restless, smoothing=0.99, color=True)

    (row,) = [row for row in chart.split("\n") if row.startswith(" 5 ┤")]
    assert re.fullmatch(r" 5 ┤\x1b\[36m[⣀A]+\x1b\[0m", row)


def test_raw_values_are_dimmer_than_their_smoothed_line() -> None:
    rows = draw(line_of([0, 10] * 500), smoothing=0.99, color=True).split("\n")

    assert re.fullmatch(r"10 ┤.*\x1b\[2;36m⠉+\x1b\[0m", rows[1])
    assert re.fullmatch(r" 5 ┤\x1b\[36m⣀+\x1b\[0m", rows[4])


def test_without_colours_nothing_but_text_is_written() -> None:
    assert "\x1b" not in draw(line_of([1, 2, 3]), line_of([3, 1, 2]), smoothing=0.5)


def test_labels_keep_their_letters_and_lose_their_control_over_the_terminal() -> None:
    chart = draw(line_of([1, 2], "é 😀 宽\x1b[31m\n\u202e\udc80"), title="a\tb\r", x_label="\x07")

    assert chart.startswith("a\\tb\\r\n")
    assert chart.endswith("\n  ⠒ é 😀 宽\\x1b[31m\\n\\u202e\\udc80")
    assert "\n" + " " * 29 + "\\x07\n" in chart


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("é", 1), ("e\u0301", 1), ("宽", 2), ("\uff21", 2), ("😀", 2)])
def test_the_width_of_a_text_is_that_in_a_terminal(text: str, width: int) -> None:
    assert text_width(text) == width


@given(st.text(max_size=200), st.text(max_size=200), st.booleans(), st.booleans())
def test_no_text_breaks_the_chart(label: str, title: str, color: bool, unicode: bool) -> None:
    chart = draw(
        line_of([1, 2], label), line_of([1], label), title=title, x_label=label, width=40, color=color, unicode=unicode
    )

    rows = [without_colours(row) for row in chart.split("\n")]
    assert all(row.isprintable() and text_width(row) <= 40 for row in rows)
    assert unicode or chart.isascii()


def test_a_label_of_5000_letters_is_wrapped_and_nothing_of_it_is_lost() -> None:
    label = "".join(random.Random(0).choices("abc宽", k=5000))

    chart = draw(line_of([1, 2], label), width=80)

    assert "".join(row[4:] for row in chart.split("step\n")[1].split("\n")) == label


def test_a_chart_has_at_least_40_columns_and_2_rows() -> None:
    assert draw(line_of([1, 2]), width=1, height=0) == draw(line_of([1, 2]), width=40, height=2)


@given(st.integers(40, 200), st.integers(2, 30), NUMBERS, st.booleans())
def test_no_row_is_wider_than_the_chart(width: int, height: int, numbers: list[float], unicode: bool) -> None:
    chart = draw(line_of(numbers, xs=numbers), width=width, height=height, unicode=unicode)

    assert max(map(len, chart.split("\n"))) <= width
    assert len(plot_of(chart)) == height


def test_smoothing_gives_the_numbers_of_tensorboard() -> None:
    # The expectations of TensorBoard's own test of classicSmoothing.
    third = ((0.5 * 0.4 + 0.4 * 1 * 0.6) * 0.6 + 0) / (1 - 0.6**3)

    assert smooth([1, 0.5, 0], 0.6) == pytest.approx([1, 0.6875, third], rel=1e-12)


@given(st.lists(st.floats(-1e6, 1e6), max_size=50), st.floats(0, 0.999))
def test_smoothing_follows_its_formula(values: list[float], weight: float) -> None:
    expected, last = [], 0.0
    for n, value in enumerate(values, 1):
        last = weight * last + (1 - weight) * value
        expected.append(last / (1 - weight**n))

    assert smooth(values, weight) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_smoothing_of_0_changes_nothing_and_of_1_gives_the_mean_so_far() -> None:
    assert smooth([3, 1, 8], 0) == [3, 1, 8]
    assert smooth([3, 1, 8], 1) == pytest.approx([3, 2, 4], rel=1e-12)


@given(st.lists(FINITE, min_size=1, max_size=50), st.floats(0, 1))
@example([1.7e308, -1.7e308, -1.7e308], 0.1)
def test_smoothed_values_stay_between_the_lowest_and_the_highest(values: list[float], weight: float) -> None:
    smoothed = smooth(values, weight)

    room = max(map(abs, values)) * 1e-12 + 1e-320
    assert min(values) - room <= min(smoothed)
    assert max(smoothed) <= max(values) + room


@pytest.mark.parametrize("weight", [-0.1, 1.5, math.nan])
def test_a_smoothing_beyond_0_and_1_is_refused(weight: float) -> None:
    with pytest.raises(UsageError) as refused:
        draw(line_of([1, 2]), smoothing=weight)

    assert str(refused.value) == f"the smoothing must be between 0 (none) and 1 (the mean so far), got {weight!r}."


def test_raw_values_are_dots_behind_the_smoothed_line() -> None:
    ys = [0, 10] * 500

    plot = plot_of(draw(line_of(ys), smoothing=0.99))

    # The line itself climbs from 0 in the first columns.
    assert set(plot[0][3:]) == {"⠉"}
    assert set(plot[-1][3:]) == {"⣀"}
    assert draw(line_of(ys), smoothing=0.99).startswith("loss (smoothing 0.99)\n")


@given(NUMBERS, st.integers(2, 10), st.booleans())
def test_ticks_are_different_numbers_of_the_axis_in_order(numbers: list[float], most: int, log: bool) -> None:
    numbers = [abs(number) or 1 for number in numbers] if log else numbers
    axis = Axis(numbers, 100, log=log)

    ticks = axis.ticks(most)

    assert ticks == sorted(set(ticks))
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    assert 1 <= len(ticks) <= 25
    assert len(ticks) > 1 or axis.low == axis.high or isinstance(axis.low, int)
    assert len(set(format_ticks(ticks))) == len(ticks)


@pytest.mark.parametrize(
    ("low", "high", "log", "texts"),
    [
        (0, 1000, False, ["0", "200", "400", "600", "800", "1000"]),
        (0, 3, False, ["0", "1", "2", "3"]),
        (0, 1, False, ["0", "1"]),
        (0.0, 1.0, False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-0.13, 0.31, False, ["-0.1", "0", "0.1", "0.2", "0.3"]),
        (0, 10**9, False, ["0", "2e8", "4e8", "6e8", "8e8", "1e9"]),
        (1e-300, 3e-300, False, ["1e-300", "1.5e-300", "2e-300", "2.5e-300", "3e-300"]),
        (1.0, 1000.0, True, ["1", "10", "100", "1000"]),
        (1e-10, 1.0, True, ["1e-9", "1e-6", "0.001", "1"]),
        (1.0, 40.0, True, ["1", "2", "5", "10", "20"]),
        (30.0, 40.0, True, ["30", "32", "34", "36", "38", "40"]),
        (0.1, 0.1, False, ["0.1"]),
    ],
)
def test_ticks_are_round(low: float, high: float, log: bool, texts: list[str]) -> None:
    assert format_ticks(Axis([low, high], 100, log=log).ticks(5)) == texts


@contextmanager
def terminal(variables: Mapping[str, str] | None = None, encoding: str = "utf-8", columns: int = 80) -> Iterator[None]:
    """Let standard output be a real terminal."""
    fcntl, struct, termios = (pytest.importorskip(name) for name in ("fcntl", "struct", "termios"))
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        with open(theirs, "w", encoding=encoding) as stream, pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdout", stream)
            patch.setenv("TERM", "xterm-256color")
            for name, value in (variables or {}).items():
                patch.setenv(name, value)
            yield
    finally:
        os.close(ours)


def test_a_terminal_gives_its_width_and_has_colours() -> None:
    with terminal(columns=132):
        assert detect_chart_style() == ChartStyle(width=132, color=True, unicode=True)


def test_a_pipe_gets_100_columns_without_colours() -> None:
    reader, writer = os.pipe()
    with (
        open(reader, encoding="utf-8"),
        open(writer, "w", encoding="utf-8") as stream,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", stream)
        assert detect_chart_style() == ChartStyle(width=100, color=False, unicode=True)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_may_ask_for_no_colours(variable: str, value: str) -> None:
    with terminal({variable: value}):
        assert detect_chart_style().color is False


def test_an_empty_no_color_is_as_none() -> None:
    with terminal({"NO_COLOR": ""}):
        assert detect_chart_style().color is True


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_an_encoding_without_braille_gets_ascii(encoding: str) -> None:
    with terminal(encoding=encoding):
        assert detect_chart_style().unicode is False


def test_the_console_of_linux_gets_ascii() -> None:
    with terminal({"TERM": "linux"}):
        assert detect_chart_style().unicode is False
