"""The table of runs in a real browser: filter, sort, group, select, columns, labels, what comes while one looks."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest

from pystematic import rundir
from tests.builders import make_run
from tests.store.builders import make_recorded
from tests.web.browser.builders import (
    OUTPUT,
    column_texts,
    make_running,
    make_study,
    open_view,
    row_of,
    rows,
    served,
)
from tests.web.builders import ODD_TEXTS, name_of

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

FILTER = "Filter runs"


def state_of(tab: Page) -> dict[str, list[str]]:
    """Return what the address bar says about the view."""
    return parse_qs(tab.evaluate("location.hash").partition("?")[2])


def test_the_table_shows_the_runs_with_varying_parameters_and_metrics(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        expect(rows(tab)).to_have_count(6)
        assert (
            column_texts(tab, "learning_rate") == ["0.1"] * 3 + ["0.01"] * 3
            or column_texts(tab, "learning_rate") == ["0.01"] * 3 + ["0.1"] * 3
        )
        expect(tab.get_by_role("columnheader", name="val/accuracy max")).to_have_count(1)


def test_a_filter_leaves_the_runs_that_fulfil_it_and_stands_in_the_address(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        expect(rows(tab)).to_have_count(6)
        tab.get_by_label(FILTER).fill("params.learning_rate < 0.05")
        expect(rows(tab)).to_have_count(3)
        assert state_of(tab)["where"] == ["params.learning_rate < 0.05"]
        tab.reload()
        expect(rows(tab)).to_have_count(3)
        expect(tab.get_by_label(FILTER)).to_have_value("params.learning_rate < 0.05")


def test_what_is_wrong_with_a_filter_stands_below_it_until_it_is_right(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        expect(rows(tab)).to_have_count(6)
        tab.get_by_label(FILTER).fill("statsu == 'completed'")
        expect(tab.get_by_role("alert")).to_contain_text("statsu")
        expect(tab.get_by_role("alert")).to_contain_text("status")  # the nearest known one
        expect(rows(tab)).to_have_count(6)
        tab.get_by_label(FILTER).fill("status == 'completed'")
        expect(tab.get_by_role("alert")).to_have_count(0)


def test_a_click_on_a_header_sorts_and_another_one_turns_the_order(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        header = tab.get_by_role("columnheader", name="random_seed")
        header.get_by_role("button").click()
        expect(header).to_have_attribute("aria-sort", "ascending")
        expect(rows(tab)).to_have_count(6)
        tab.wait_for_selector(".grid[aria-busy=false]")
        assert column_texts(tab, "random_seed") == ["0", "0", "1", "1", "2", "2"]
        header.get_by_role("button").click()
        expect(header).to_have_attribute("aria-sort", "descending")
        tab.wait_for_selector(".grid[aria-busy=false]")
        assert column_texts(tab, "random_seed") == ["2", "2", "1", "1", "0", "0"]
        assert state_of(tab)["sort"] == ["-params.random_seed"]


def test_groups_show_mean_and_deviation_and_open_to_their_runs(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        tab.get_by_role("button", name="Group by").click()
        tab.get_by_role("button", name="All but the seed").click()
        expect(rows(tab)).to_have_count(2)
        expect(rows(tab).first).to_contain_text("3 runs")
        # 0.59, 0.63, 0.67 and 0.71, 0.75, 0.79
        expect(tab.get_by_role("grid")).to_contain_text("0.63 ± 0.04")
        expect(tab.get_by_role("grid")).to_contain_text("0.75 ± 0.04")
        tab.keyboard.press("Escape")
        tab.get_by_role("button", name="3 runs").first.click()
        expect(rows(tab)).to_have_count(3)
        assert state_of(tab)["where"][0].startswith("params.learning_rate == 0.")


def test_selected_runs_stay_selected_and_are_those_that_are_drawn(tab: Page) -> None:
    runs = make_study()
    with served() as address:
        open_view(tab, address)
        for run in runs[:2]:
            row_of(tab, run).get_by_role("checkbox").click()
        assert set(state_of(tab)["run"]) == {name_of(run) for run in runs[:2]}
        expect(tab.locator(".selection")).to_contain_text("2 selected")
        tab.locator(".selection").get_by_role("link", name="Curves").click()
        expect(tab.locator(".run-list li")).to_have_count(2)
        tab.go_back()
        expect(row_of(tab, runs[0])).to_have_attribute("aria-selected", "true")
        expect(row_of(tab, runs[5])).to_have_attribute("aria-selected", "false")


def test_shift_selects_all_between(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/runs?sort=started_at")
        boxes = rows(tab).get_by_role("checkbox")
        boxes.nth(1).click()
        boxes.nth(4).click(modifiers=["Shift"])
        assert len(state_of(tab)["run"]) == 4


def test_the_keyboard_moves_selects_and_opens(tab: Page) -> None:
    runs = make_study()
    with served() as address:
        open_view(tab, address, "#/runs?sort=started_at")
        expect(rows(tab)).to_have_count(6)
        for key in ("j", "j", "x"):
            tab.keyboard.press(key)
        assert state_of(tab)["run"] == [name_of(runs[1])]
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("heading", level=1)).to_have_text(runs[1].id)
        tab.keyboard.press("?")
        expect(tab.get_by_role("dialog", name="Keys")).to_contain_text("Dark or light")


def test_columns_are_chosen_ordered_pinned_and_resized_in_the_address(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        expect(rows(tab)).to_have_count(6)
        tab.get_by_role("button", name="Columns").click()
        tab.get_by_role("checkbox", name="experiment", exact=True).click()
        expect(tab.get_by_role("columnheader", name="experiment")).to_have_count(0)
        tab.get_by_role("button", name="Pin learning_rate").click()
        tab.get_by_role("button", name="Move random_seed to the left").click()
        tab.keyboard.press("Escape")
        shown = state_of(tab)["column"]
        assert shown.index("params.random_seed") < shown.index("params.learning_rate")
        assert state_of(tab)["pin"] == ["params.learning_rate"]
        header = tab.get_by_role("columnheader", name="random_seed")
        edge = header.locator(".resizer").bounding_box()
        before = header.bounding_box()
        assert edge
        assert before
        tab.mouse.move(edge["x"] + 4, edge["y"] + 10)
        tab.mouse.down()
        tab.mouse.move(edge["x"] + 104, edge["y"] + 10, steps=4)
        tab.mouse.up()
        expect(header).to_have_css("width", f"{round(before['width']) + 100}px")
        assert state_of(tab)["width"] == [f"{round(before['width']) + 100}:params.random_seed"]
        tab.reload()
        expect(header).to_have_css("width", f"{round(before['width']) + 100}px")


def test_a_header_dragged_onto_another_takes_its_place(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        tab.locator(".grid-head .sort", has_text="random_seed").drag_to(
            tab.get_by_role("columnheader", name="experiment")
        )
        expect(tab.locator(".grid-head .sort-label").first).to_have_text("random_seed")


def test_the_csv_holds_what_is_shown(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address, "#/runs?where=params.random_seed+%3D%3D+0&column=params.learning_rate&column=status")
        expect(rows(tab)).to_have_count(2)
        with tab.expect_download() as started:
            tab.get_by_role("link", name="CSV").click()
        table = list(csv.reader(started.value.path().read_text(encoding="utf-8").splitlines()))
        assert table[0] == ["learning_rate", "status"]
        assert sorted(table[1:]) == [["0.01", "completed"], ["0.1", "completed"]]


def test_a_tag_added_in_the_page_is_in_the_labels_of_the_run(tab: Page) -> None:
    runs = make_study()
    with served() as address:
        open_view(tab, address)
        row_of(tab, runs[0]).hover()
        row_of(tab, runs[0]).get_by_role("button", name="Edit tags and note").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("Tags").fill("baseline")
        dialog.get_by_label("Note").fill("the <b>first</b> one")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)
        expect(row_of(tab, runs[0]).locator(".tag")).to_have_text("baseline")
        labels = json.loads(runs[0].labels_file.read_text(encoding="utf-8"))
        assert labels["tags"] == ["baseline"]
        assert labels["note"] == "the <b>first</b> one"


def test_runs_that_come_and_end_while_one_looks_show_by_themselves(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        expect(rows(tab)).to_have_count(6)
        run = make_running()
        expect(row_of(tab, run)).to_contain_text("running")
        document = json.loads(run.run_file.read_text(encoding="utf-8"))
        rundir.write_document(run.run_file, {**document, "status": "failed", "exit_code": 1})
        expect(row_of(tab, run)).to_contain_text("failed")


def test_only_rows_in_sight_are_in_the_page_however_many_there_are(tab: Page) -> None:
    runs = [make_run(OUTPUT, params={"index": index}) for index in range(1200)]
    with served() as address:
        open_view(tab, address, "#/runs?sort=params.index")
        expect(tab.locator(".counts")).to_contain_text("1 200 runs")
        expect(row_of(tab, runs[0])).to_have_count(1)
        assert tab.locator(".grid-row").count() < 100
        tab.get_by_role("grid").focus()
        tab.keyboard.press("End")
        expect(row_of(tab, runs[-1])).to_have_count(1)
        assert tab.locator(".grid-row").count() < 100


def test_an_empty_folder_says_how_a_run_gets_there(tab: Page) -> None:
    OUTPUT.mkdir()
    with served() as address:
        open_view(tab, address)
        expect(tab.get_by_role("heading", name="No runs here yet.")).to_be_visible()
        make_study(1)
        expect(rows(tab)).to_have_count(1)


def test_a_server_that_has_ended_is_said_and_what_was_seen_stays(tab: Page) -> None:
    make_study()
    with served() as address:
        open_view(tab, address)
        expect(rows(tab)).to_have_count(6)
        expect(tab.locator(".live")).to_contain_text("live")
    expect(tab.locator(".live")).to_contain_text("not connected")
    expect(rows(tab)).to_have_count(6)
    tab.get_by_label(FILTER).fill("status == 'failed'")
    expect(tab.get_by_role("alert")).to_contain_text("pystematic ui")


def test_dark_and_light_can_be_chosen_and_stay(tab: Page) -> None:
    make_study(1)
    with served() as address:
        tab.emulate_media(color_scheme="light")
        open_view(tab, address)
        root = tab.locator("html")
        expect(root).to_have_attribute("data-theme", "light")
        tab.get_by_role("button", name="Dark or light").click()
        expect(root).to_have_attribute("data-theme", "dark")
        tab.reload()
        expect(root).to_have_attribute("data-theme", "dark")


# Each view, and where the odd texts stand in it.
VIEWS = ("#/runs", "#/runs?group=params.text", "#/curves", "#/compare", "#/compare//scatter", "#/compare//differences")


@pytest.mark.parametrize("view", VIEWS)
def test_markup_in_names_and_values_is_text(view: str, tab: Page) -> None:
    for index, text in enumerate(ODD_TEXTS[:-1]):
        make_recorded(
            OUTPUT,
            {f"{text} {index}": [1.0, 2.0], "loss": [1.0]},
            index,
            params={"text": text, f"<i>{index}</i>": index, "tags": [text], "note": text},
        )
    with served() as address:
        open_view(tab, address, view)
        tab.wait_for_selector(".grid-row, .chart canvas, .scatter canvas, .differences", state="attached")
        expect(tab.locator("main")).to_contain_text(re.compile("script|alert|<i>0</i>|loss|runs"))
        # The tab fails the test for each dialog and each script that the policy stops; nor is there any markup.
        assert tab.locator("main script, main img, main i, main b").count() == 0


def test_keys_do_what_they_do_elsewhere_where_something_has_the_focus(tab: Page) -> None:
    runs = make_study()
    with served() as address:
        open_view(tab, address, f"#/runs?run={name_of(runs[0])}")
        expect(rows(tab)).to_have_count(6)
        tab.get_by_role("button", name="Columns").focus()
        tab.keyboard.press("Enter")
        expect(tab.get_by_role("dialog", name="Columns")).to_be_visible()
        tab.keyboard.press("Escape")
        expect(tab.get_by_role("dialog", name="Columns")).to_have_count(0)
        tab.keyboard.press("/")
        expect(tab.get_by_label(FILTER)).to_be_focused()
        tab.keyboard.type("x")
        tab.keyboard.press("Escape")
        expect(tab.get_by_label(FILTER)).not_to_be_focused()
        tab.keyboard.press("?")
        expect(tab.get_by_role("dialog", name="Keys")).to_be_visible()
        tab.keyboard.press("Escape")
        expect(tab.get_by_role("dialog")).to_have_count(0)
        # None of these was the Escape that selects nothing.
        expect(tab.locator(".selection")).to_contain_text("1 selected")
        tab.keyboard.press("Escape")
        expect(tab.locator(".selection")).to_have_count(0)


def test_the_box_in_the_header_selects_the_rows_in_sight(tab: Page) -> None:
    for index in range(60):
        make_run(OUTPUT, params={"index": index})
    with served() as address:
        open_view(tab, address, "#/runs?sort=params.index")
        expect(tab.locator(".counts")).to_contain_text("60 runs")
        tab.get_by_label("Select the rows in sight").click()
        seen = len(state_of(tab)["run"])
        assert 15 < seen < 30
        tab.get_by_label("Select nothing").click()
        assert "run" not in state_of(tab)
