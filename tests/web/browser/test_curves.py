"""Curves in a real browser: nothing is hidden, all charts share the zoom, new points come by themselves."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from tests.store.builders import make_recorded, record
from tests.web.browser.builders import OUTPUT, make_running, make_study, open_view, served
from tests.web.builders import name_of

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

POINTS = 1_000_000
SPIKE_AT = 456_789
SPIKE = 1e6


def chart(tab: Page, tag: str) -> Locator:
    return tab.locator(f"[data-tag='{tag}']")


def picture(tab: Page, tag: str) -> Locator:
    """Return the drawn part of a chart, whose label says what is seen."""
    return chart(tab, tag).locator(".chart-frame")


def drag(tab: Page, where: Locator, share_from: float, share_to: float) -> None:
    box = where.locator(".u-over").bounding_box()
    assert box
    y = box["y"] + box["height"] / 2
    tab.mouse.move(box["x"] + box["width"] * share_from, y)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * share_to, y, steps=5)
    tab.mouse.up()


def inked_share_of_height(tab: Page, tag: str) -> float:
    """Return over how much of the height of the plot, from top to bottom, a line is drawn."""
    return float(
        picture(tab, tag).evaluate(
            """frame => {
                const canvas = frame.querySelector("canvas");
                const over = frame.querySelector(".u-over").getBoundingClientRect();
                const at = canvas.getBoundingClientRect();
                const ratio = canvas.width / at.width;
                const [left, top] = [(over.left - at.left) * ratio, (over.top - at.top) * ratio].map(Math.round);
                const [width, height] = [over.width * ratio, over.height * ratio].map(Math.round);
                const { data } = canvas.getContext("2d").getImageData(left, top, width, height);
                let [first, last] = [height, 0];
                for (let y = 0; y < height; y++)
                    for (let x = 0; x < width; x++) {
                        // Lines of runs are opaque; the grid shines through.
                        if (data[(y * width + x) * 4 + 3] <= 200) continue;
                        [first, last] = [Math.min(first, y), Math.max(last, y)];
                    }
                return (last - first) / height;
            }"""
        )
    )


@pytest.mark.timeout(300)  # a million lines are written and read
def test_a_spike_is_seen_at_every_zoom(tab: Page) -> None:
    values = [math.sin(step / 5e4) for step in range(POINTS)]
    values[SPIKE_AT] = SPIKE
    make_recorded(OUTPUT, {"spike": values})
    with served() as address:
        for half in (None, 300_000, 30_000, 3_000, 300, 30, 5):
            zoom = "" if half is None else f"?zoom={SPIKE_AT - half},{SPIKE_AT + half}"
            open_view(tab, address, f"#/curves{zoom}")
            expect(picture(tab, "spike")).to_have_attribute("aria-label", re.compile("to 1000000, axis to"))
            assert inked_share_of_height(tab, "spike") > 0.8
            sampled = half is None or half >= 3000
            expect(chart(tab, "spike").get_by_text("sampled", exact=True)).to_have_count(1 if sampled else 0)


def test_a_drag_zooms_all_charts_and_finer_points_are_asked_for(tab: Page) -> None:
    make_recorded(OUTPUT, {"a": [float(step % 100) for step in range(50_000)], "b": [1.0] * 50_000})
    asked: list[dict[str, object]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/api/series"):
            asked.append(json.loads(request.post_data or ""))

    tab.on("request", note)
    with served() as address:
        open_view(tab, address, "#/curves")
        expect(picture(tab, "a")).to_have_attribute("aria-label", re.compile("step"))
        expect(chart(tab, "a").get_by_text("sampled", exact=True)).to_have_count(1)
        asked.clear()
        drag(tab, picture(tab, "a"), 0.5, 0.51)
        expect(chart(tab, "a").get_by_text("sampled", exact=True)).to_have_count(0)
        low, high = map(float, parse_qs(tab.evaluate("location.hash").partition("?")[2])["zoom"][0].split(","))
        assert 24_000 < low < high < 27_000
        assert {request["tag"] for request in asked} == {"a", "b"}
        assert all(request["from"] == low and request["to"] == high for request in asked)
        expect(picture(tab, "b")).to_have_attribute("aria-label", re.compile(r"b: 1 lines, step 2[456]\d\d\d"))
        chart(tab, "a").locator(".u-over").dblclick()
        expect(chart(tab, "a").get_by_text("sampled", exact=True)).to_have_count(1)
        assert "zoom" not in tab.evaluate("location.hash")


def test_the_crosshair_stands_over_all_charts_and_reads_the_nearest_points(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/curves")
        expect(picture(tab, "val/accuracy")).to_have_attribute("aria-label", re.compile("6 lines"))
        box = chart(tab, "train/loss").locator(".u-over").bounding_box()
        assert box
        tab.mouse.move(box["x"] + box["width"] * 0.495, box["y"] + 20)
        readout = tab.locator(".readout")
        expect(readout).to_have_count(1)
        expect(readout).to_contain_text("learning_rate=0.1 random_seed=0")
        expect(readout.locator("tr").first.locator("td").last).to_have_text(re.compile("0\\.2|0\\.16667"))
        other = chart(tab, "val/accuracy").locator(".u-cursor-x")
        expect(other).to_be_visible()


def test_points_recorded_while_one_looks_are_drawn(tab: Page) -> None:
    run = make_running()
    record(run, {"loss": [3.0, 2.0]})
    with served() as address:
        open_view(tab, address, "#/curves")
        expect(picture(tab, "loss")).to_have_attribute("aria-label", re.compile("values from 2 to 3,"))
        record(run, {"loss": [3.0, 2.0, 0.5, 7.0]})
        expect(picture(tab, "loss")).to_have_attribute("aria-label", re.compile("values from 0.5 to 7,"))
        record(run, {"new tag": [1.0]})
        expect(chart(tab, "new tag")).to_have_count(1)


def test_of_many_tags_only_those_in_sight_are_drawn_and_a_search_finds_the_others(tab: Page) -> None:
    make_recorded(OUTPUT, {f"layer{index}/norm": [float(index), 1.0] for index in range(500)})
    with served() as address:
        open_view(tab, address, "#/curves")
        expect(tab.locator(".chart")).to_have_count(500)
        expect(tab.locator(".chart canvas").first).to_be_visible()
        assert tab.locator(".chart canvas").count() < 40
        tab.get_by_label("Search tags").fill("layer499")
        expect(tab.locator(".chart")).to_have_count(1)
        expect(picture(tab, "layer499/norm")).to_have_attribute("aria-label", re.compile("values from 1 to 499"))


def test_what_is_no_finite_number_is_marked(tab: Page) -> None:
    make_recorded(OUTPUT, {"loss": [1.0, math.nan, 0.5, math.inf, -math.inf, 0.25]})
    with served() as address:
        open_view(tab, address, "#/curves")
        expect(chart(tab, "loss")).to_contain_text("3 not finite")
        expect(picture(tab, "loss")).to_have_attribute("aria-label", re.compile("values from 0.25 to 1,"))


def test_runs_of_one_setting_are_drawn_as_mean_and_band(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/curves")
        expect(picture(tab, "val/accuracy")).to_have_attribute("aria-label", re.compile("6 lines"))
        tab.get_by_label("mean ± std").check()
        expect(picture(tab, "val/accuracy")).to_have_attribute("aria-label", re.compile("2 lines.*from 0.54 to 0.75,"))
        expect(tab.locator(".run-list li")).to_have_count(2)


def test_smoothing_draws_another_line_and_keeps_the_raw_one(tab: Page) -> None:
    make_recorded(OUTPUT, {"loss": [float(step % 2) for step in range(100)]})
    with served() as address:
        open_view(tab, address, "#/curves")
        raw = picture(tab, "loss")
        expect(raw).to_have_attribute("aria-label", re.compile("values from 0 to 1,"))
        with tab.expect_request("**/api/series") as asked:
            tab.get_by_label("Smoothing").fill("0.9")
        assert json.loads(asked.value.post_data or "")["smoothing"] == 0.9
        tab.wait_for_selector(".chart-frame:not(.chart-loading)")
        # The raw values still span the axis, and the reading is that of the smooth line.
        expect(raw).to_have_attribute("aria-label", re.compile("values from 0 to 1,"))
        box = raw.locator(".u-over").bounding_box()
        assert box
        tab.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20)
        value = float(tab.locator(".readout tr td").last.inner_text())
        assert 0.4 < value < 0.6


def test_axes_are_logarithmic_and_x_is_time_where_one_wants_it(tab: Page) -> None:
    make_recorded(OUTPUT, {"loss": [10.0**-step for step in range(6)]})
    with served() as address:
        open_view(tab, address, "#/curves")
        tab.get_by_label("log y").check()
        tab.get_by_role("radio", name="Relative").click()
        expect(picture(tab, "loss")).to_have_attribute("aria-label", re.compile("relative .*values from 0.00001 to 1,"))
        tab.get_by_role("radio", name="Time", exact=True).click()
        expect(picture(tab, "loss")).to_have_attribute("aria-label", re.compile("time 2023-11-1"))
        assert parse_qs(tab.evaluate("location.hash").partition("?")[2])["logy"] == ["1"]


def test_what_has_no_place_on_a_logarithmic_axis_is_said(tab: Page) -> None:
    make_recorded(OUTPUT, {"loss": [1.0, 0.0, -2.0, 0.5]})
    with served() as address:
        open_view(tab, address, "#/curves?logy=1")
        expect(chart(tab, "loss")).to_contain_text("2 not on a log axis")
        tab.get_by_label("log x").check()
        expect(chart(tab, "loss")).to_contain_text("3 not on a log axis")  # step 0, too


def test_one_chart_is_shown_large_and_left_again(tab: Page) -> None:
    runs = make_study()
    with served() as address:
        open_view(tab, address, f"#/curves?run={name_of(runs[0])}")
        chart(tab, "train/loss").get_by_role("button", name="large").click()
        expect(tab.locator(".chart")).to_have_count(1)
        expect(picture(tab, "train/loss")).to_have_attribute("aria-label", re.compile("1 lines"))
        tab.keyboard.press("Escape")
        expect(tab.locator(".chart")).to_have_count(2)
