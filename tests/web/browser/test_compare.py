"""Comparing runs in a real browser: a brush filters the table, any two columns are drawn, what differs is listed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

import pytest

from tests.store.builders import make_recorded
from tests.web.browser.builders import OUTPUT, make_study, open_view, rows, served
from tests.web.builders import name_of

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page


def brush_last_axis(tab: Page, share_from: float, share_to: float) -> None:
    """Drag along the last axis of the parallel coordinates, shares of it from the top."""
    box = tab.locator(".parallel canvas").bounding_box()
    assert box
    # Where the page has put the axes: 90 pixels from the right, 46 from the top, 22 from the bottom.
    x, top, height = box["x"] + box["width"] - 90, box["y"] + 46, box["height"] - 46 - 22
    tab.mouse.move(x, top + height * share_from)
    tab.mouse.down()
    tab.mouse.move(x, top + height * share_to, steps=8)
    tab.mouse.up()


def test_a_brush_filters_the_table_and_can_be_kept_as_a_filter(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/compare")
        expect(tab.get_by_role("img", name="Parallel coordinates of 6 runs over 3 columns")).to_be_visible()
        expect(rows(tab)).to_have_count(6)
        brush_last_axis(tab, -0.02, 0.45)  # the upper part of the accuracy
        expect(tab.locator(".compare-note")).to_contain_text("are inside the brush")
        inside = 3
        expect(rows(tab)).to_have_count(inside)
        tab.get_by_role("button", name="Keep as filter").click()
        expect(tab.get_by_label("Filter runs")).to_have_value(re.compile(r"<= metrics\['val/accuracy'\]\.max <="))
        expect(rows(tab)).to_have_count(inside)
        expect(tab.get_by_role("img", name="Parallel coordinates of 3 runs")).to_be_visible()


def test_a_brush_stands_in_the_address_and_is_cleared(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/compare")
        expect(rows(tab)).to_have_count(6)
        brush_last_axis(tab, 0.55, 1.02)
        expect(rows(tab)).to_have_count(3)
        tab.reload()
        expect(tab.locator(".compare-note")).to_contain_text("3 of 6 runs")
        expect(rows(tab)).to_have_count(3)
        tab.get_by_role("button", name="Clear the brush").click()
        expect(rows(tab)).to_have_count(6)
        assert "brush" not in tab.evaluate("location.hash")


def test_any_two_columns_are_drawn_with_a_third_as_colour(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/compare//scatter")
        expect(tab.get_by_role("img", name="val/accuracy max over learning_rate of 6 runs")).to_be_visible()
        tab.get_by_label("x axis").select_option(label="train/loss")
        tab.get_by_label("colour").select_option(label="random_seed")
        expect(
            tab.get_by_role("img", name="val/accuracy max over train/loss of 6 runs, coloured by random_seed")
        ).to_be_visible()
        # Each of a few values has a sign of its own, so that colour is not alone.
        expect(tab.locator(".legend-entry")).to_have_text(["●0", "■1", "▲2"])
        scatter = parse_qs(tab.evaluate("location.hash").partition("?")[2])["scatter"][0]
        assert "metrics['train/loss'].last" in scatter


def test_what_differs_between_selected_runs_is_listed_and_nothing_else(tab: Page) -> None:
    runs = make_study()
    chosen = "&".join(f"run={quote(name_of(run), safe='')}" for run in (runs[0], runs[1]))
    with served() as address:
        open_view(tab, address, f"#/compare//differences?{chosen}")
        table = tab.locator(".differences table")
        expect(table.get_by_role("row", name="random_seed 0 1")).to_be_visible()
        expect(table).to_contain_text("val/accuracy")
        expect(table).not_to_contain_text("learning_rate")


def test_a_brush_over_texts_and_lists_chooses_those_that_have_them(tab: Page) -> None:
    for index, sizes in enumerate(([1, 2], [3], [1, 2], [4, 5])):
        params = {"sizes": sizes, "model": f"it's {index % 2}"}
        make_recorded(OUTPUT, {"loss": [float(index)]}, index, params=params)
    with served() as address:
        axes = "&".join(f"axis={quote(name)}" for name in ("params.model", "metrics.loss.last", "params.sizes"))
        open_view(tab, address, f"#/compare?{axes}")
        expect(rows(tab)).to_have_count(4)
        # Categories stand in the order of their texts from the bottom: [1, 2], [3], [4, 5].
        brush_last_axis(tab, 0.7, 1.02)
        expect(tab.locator(".compare-note")).to_contain_text("2 of 4 runs")
        tab.get_by_role("button", name="Keep as filter").click()
        expect(tab.get_by_label("Filter runs")).to_have_value("params.sizes == [1, 2]")
        expect(rows(tab)).to_have_count(2)
