"""Line charts as files, read back from what was written."""

from __future__ import annotations

import math
import re
import struct
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure  # all of it: what its imports leave behind is nothing that a test leaves
import pytest

from pystematic.errors import UsageError
from pystematic.terminal._charts import CROSS, Line
from pystematic.terminal._figures import save_figure
from tests.builders import run_python

BLUE, RED = "#0072b2", "#d55e00"


def line_of(ys: Sequence[float], label: str = "a", xs: Sequence[float] | None = None) -> Line:
    return Line(label, range(len(ys)) if xs is None else xs, ys)


def svg_of(folder: Path, charts: dict[str, list[Line]], **options: object) -> str:
    save_figure(folder / "p.svg", charts, **options)  # type: ignore[arg-type]
    return (folder / "p.svg").read_text(encoding="utf-8")


def texts_of(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def paths_of(svg: str, colour: str) -> list[list[tuple[float, float]]]:
    """Return the points of the lines of a colour, in the order of drawing; y grows downwards."""
    found = re.findall(r'<path d="([^"]*)" [^>]*style="fill: none; stroke: ' + colour, svg)
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path.replace("\n", " "))] for path in found
    ]


def crosses_of(svg: str, colour: str) -> list[tuple[float, float]]:
    """Return where the marks of a colour are that are shaped like an x."""
    (shape,) = re.findall(r'<path id="(\w+)" d="M -3 3 \nL 3 -3 \nM -3 -3 \nL 3 3 \n" style="stroke: ' + colour, svg)
    return [(float(x), float(y)) for x, y in re.findall(rf'<use xlink:href="#{shape}" x="(\S+)" y="(\S+)"', svg)]


def test_a_png_is_written(tmp_path: Path) -> None:
    save_figure(tmp_path / "p.PNG", {"loss": [line_of([3, 1, 2])]})

    header = (tmp_path / "p.PNG").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", header[16:])
    assert (width, height) == (1200, 687)


def test_an_svg_holds_its_titles_and_labels_as_text(tmp_path: Path) -> None:
    texts = texts_of(svg_of(tmp_path, {"loss": [line_of([3, 1], "first"), line_of([1, 2], "second")]}))

    assert {"loss", "step", "first", "second"} <= set(texts)


def test_the_same_numbers_give_the_same_svg(tmp_path: Path) -> None:
    charts = {"loss": [line_of([3, 1, 2])]}

    assert svg_of(tmp_path, charts) == svg_of(tmp_path, charts)


def test_each_title_has_its_chart_and_a_label_its_colour_in_all_of_them(tmp_path: Path) -> None:
    svg = svg_of(tmp_path, {"one": [line_of([1, 2], "a"), line_of([2, 1], "b")], "two": [line_of([3, 4], "b")]})

    texts = texts_of(svg)
    assert [texts.count(text) for text in ("one", "two", "a", "b")] == [1, 1, 1, 1]
    # One more of each in the legend.
    assert len(paths_of(svg, BLUE)) == 1 + 1
    assert len(paths_of(svg, RED)) == 2 + 1


def test_the_raw_line_stands_behind_the_smoothed_one(tmp_path: Path) -> None:
    svg = svg_of(tmp_path, {"loss": [line_of([0, 8, 0, 8])]}, smoothing=0.5)

    raw, smoothed, _ = paths_of(svg, BLUE)
    assert [y for _, y in raw] == [raw[0][1], raw[1][1], raw[0][1], raw[1][1]]
    # 0, 8 * 2/3, 8 * 2/7, 8 * 10/15
    heights = [(raw[0][1] - y) / (raw[0][1] - raw[1][1]) for _, y in smoothed]
    assert heights == pytest.approx([0, 2 / 3, 2 / 7, 10 / 15], abs=1e-4)
    assert "stroke-opacity: 0.3" in svg
    assert "smoothing 0.5, pale: as recorded" in texts_of(svg)


def test_a_spike_of_one_point_in_a_million_is_in_the_picture(tmp_path: Path) -> None:
    ys = [1.0] * 1_000_000
    ys[654_321] = 9.0

    svg = svg_of(tmp_path, {"loss": [line_of(ys)]})

    points = paths_of(svg, BLUE)[0]
    left, right = points[0][0], points[-1][0]
    highest = min(points, key=lambda point: point[1])
    assert (highest[0] - left) / (right - left) == pytest.approx(0.654321, abs=1e-5)
    assert points[0][1] - highest[1] > 200
    assert len(svg) < 100_000
    assert "1,000,000 points sampled: the lowest and highest of each of 4,000 columns" in texts_of(svg)


def test_points_without_a_place_are_marked_at_the_edge_and_counted(tmp_path: Path) -> None:
    lines = [line_of([1, math.nan, 2, math.inf]), line_of([1, 2, -math.inf, math.nan], "b")]

    svg = svg_of(tmp_path, {"loss": lines})

    (start, low), (end, high) = paths_of(svg, BLUE)[0]
    places = [start + (end - start) / 2 * step for step in range(4)]
    above, below = min(y for _, y in crosses_of(svg, BLUE)), max(y for _, y in crosses_of(svg, BLUE))
    assert above < high < low < below
    assert crosses_of(svg, BLUE) == [pytest.approx((places[3], above)), pytest.approx((places[1], below))]
    assert crosses_of(svg, RED) == [pytest.approx((places[2], below)), pytest.approx((places[3], below))]
    assert f"{CROSS} left out: 2 NaN, 1 inf, 1 -inf" in texts_of(svg)


def test_logarithmic_axes_give_each_decade_the_same_room(tmp_path: Path) -> None:
    svg = svg_of(tmp_path, {"loss": [Line("a", [0, 1, 10, 100], [5, 1, 100, 10_000])]}, log_x=True, log_y=True)

    (x0, y0), (x1, y1), (x2, y2) = paths_of(svg, BLUE)[0]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=1e-3)
    assert y0 - y1 == pytest.approx(y1 - y2, abs=1e-3)
    assert f"{CROSS} left out: 1 with x ≤ 0" in texts_of(svg)


@pytest.mark.parametrize("ys", [[1.7e308, -1.7e308, 0.0], [1e-300, 3e-300, 2e-300], [5e-324, 1.5e-323, 1e-323]])
def test_numbers_of_any_magnitude_fill_the_chart(ys: list[float], tmp_path: Path) -> None:
    points = paths_of(svg_of(tmp_path, {"loss": [line_of(ys)]}), BLUE)[0]

    assert abs(points[0][1] - points[1][1]) > 200
    assert points[2][1] == pytest.approx((points[0][1] + points[1][1]) / 2, abs=1e-3)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="no lines"),
        pytest.param([line_of([])], id="no points"),
        pytest.param([line_of([math.nan] * 3)], id="no place"),
    ],
)
@pytest.mark.parametrize("log", [False, True])
def test_a_chart_of_nothing_says_so(lines: list[Line], log: bool, tmp_path: Path) -> None:
    assert "no points to draw" in texts_of(svg_of(tmp_path, {"loss": lines}, log_x=log, log_y=log))


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("ys", [[7], [0.25] * 5, [10**18, 10**18 + 1], [5e-324, 1.7e308]])
def test_odd_series_are_drawn(ys: list[float], log: bool, tmp_path: Path) -> None:
    svg = svg_of(tmp_path, {"loss": [line_of(ys)]}, log_y=log)

    assert "no points to draw" not in texts_of(svg)
    assert BLUE in svg


def test_any_text_is_a_label(tmp_path: Path) -> None:
    labels = [r"$\frac{", "_hidden", "<b>&", "é 😀 宽", "\x1b[31m\n\u202e\udc80", ""]

    texts = texts_of(svg_of(tmp_path, {"$x^2$": [line_of([1, 2], label) for label in labels]}, x_label="$t"))

    assert {"$x^2$", "$t", r"$\frac{", "_hidden", "<b>&", "é 😀 宽", r"\x1b[31m\n\u202e\udc80"} <= set(texts)


def test_of_a_label_of_5000_letters_the_ends_are_shown(tmp_path: Path) -> None:
    texts = texts_of(svg_of(tmp_path, {"t" * 5000 + "end": [line_of([1, 2], "begin" + "l" * 5000 + "end")]}))

    assert sum(bool(re.fullmatch("t{30,60}…t{30,60}end", text)) for text in texts) == 1
    assert sum(bool(re.fullmatch("beginl{30,60}…l{30,60}end", text)) for text in texts) == 1


def test_twenty_lines_differ_without_their_colours(tmp_path: Path) -> None:
    svg = svg_of(tmp_path, {"loss": [line_of([i, i], f"run{i}") for i in range(20)]})

    assert {f"run{i}" for i in range(20)} <= set(texts_of(svg))
    # Eleven shapes, then dashes.
    assert len(re.findall("stroke-dasharray", svg)) == 9 * 2


@pytest.mark.parametrize("name", ["p.pdf", "p", "png", "p.png.txt"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        save_figure(tmp_path / name, {"loss": [line_of([1])]})

    path = str(tmp_path / name)
    assert str(refused.value) == f"{path!r} is no picture that can be written. Name a file that ends in .png or .svg."
    assert list(tmp_path.glob("p*")) == []


def test_nothing_to_draw_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^there is nothing to draw in 'p\.png'\.$"):
        save_figure("p.png", {})


def test_without_matplotlib_the_error_says_what_to_install() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(UsageError) as refused:
            save_figure("p.svg", {"loss": [line_of([1])]})

    assert str(refused.value) == "'p.svg' needs matplotlib, which is not installed: pip install 'pystematic[plot]'"


def test_a_folder_that_is_not_there_is_an_error_of_usage() -> None:
    with pytest.raises(UsageError) as refused:
        save_figure("nowhere/p.svg", {"loss": [line_of([1])]})

    assert str(refused.value) == "'nowhere/p.svg' cannot be written: No such file or directory."


def test_a_smoothing_beyond_1_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    before = svg_of(tmp_path, {"loss": [line_of([1, 2])]})

    with pytest.raises(UsageError, match=r"^the smoothing must be between 0 .* got 2\.$"):
        svg_of(tmp_path, {"loss": [line_of([1, 2])]}, smoothing=2)

    assert (tmp_path / "p.svg").read_text(encoding="utf-8") == before


def test_the_settings_of_matplotlib_stay_as_they_were(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)

    svg_of(tmp_path, {"loss": [line_of([1, 2])]})

    assert dict(matplotlib.rcParams) == before


def test_neither_pyplot_nor_a_display_is_needed(working_dir: Path) -> None:
    code = """
import sys
from pystematic.terminal._charts import Line
from pystematic.terminal._figures import save_figure
assert "matplotlib" not in sys.modules
save_figure("p.png", {"loss": [Line("a", [1, 2], [3, 4])]})
assert "matplotlib.pyplot" not in sys.modules
"""
    done = run_python("-W", "error", "-c", code, env={"DISPLAY": "", "MPLBACKEND": "TkAgg"})

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (working_dir / "p.png").stat().st_size > 1000
