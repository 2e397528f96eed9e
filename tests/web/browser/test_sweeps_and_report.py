"""Sweeps in a real browser; and a report as a file, without a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.builders import run_python, write_program
from tests.web.browser.builders import OUTPUT, column_texts, make_study, open_view, rows, served
from tests.web.builders import name_of

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROGRAM = """
    import pystematic

    @pystematic.parameter(name="rate", type=float, default=0.1)
    @pystematic.experiment(metric="score:max")
    def train(parameters, context):
        for step in range(5):
            context.recorder.scalar("score", parameters["rate"] * step + parameters["random_seed"] % 2, step=step)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def test_a_sweep_shows_points_deviation_progress_and_the_best(tab: Page, working_dir: Path) -> None:
    program = write_program(working_dir, PROGRAM)
    options = ["sweep", "--name", "study", "--seeds", "2", "train", "--rate", "1,2,4", "--output-dir", str(OUTPUT)]
    ended = run_python(program, *options)
    assert ended.returncode == 0, ended.stderr
    with served() as address:
        open_view(tab, address, "#/sweeps")
        row = tab.get_by_role("row", name="study")
        expect(row).to_contain_text("6 completed")
        tab.get_by_role("link", name="study").click()
        expect(tab.locator(".sweep-best")).to_contain_text(
            re.compile(r"★ best: 16(\.5)?.*with rate 4|★ best: 17.*with rate 4")
        )
        expect(tab.locator("tr.best")).to_contain_text("2/2")
        expect(tab.get_by_role("img", name="score:max of 3 points in their order")).to_be_visible()
        tab.get_by_role("link", name="In the table").click()
        expect(rows(tab)).to_have_count(6)


def open_report(tab: Page, path: Path) -> None:
    requests: list[str] = []
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(path.absolute().as_uri())
    tab.wait_for_selector(".grid-row")
    assert requests == [path.absolute().as_uri()]


def test_a_report_opens_from_the_disk_with_table_curves_and_comparison(tab: Page, working_dir: Path) -> None:
    runs = make_study()
    path = working_dir / "report.html"
    ended = run_python("-m", "pystematic", "report", "--file", path, "--output-dir", OUTPUT)
    assert ended.returncode == 0, ended.stderr
    open_report(tab, path)
    expect(rows(tab)).to_have_count(6)
    tab.get_by_role("columnheader", name="random_seed").get_by_role("button").click()
    assert column_texts(tab, "random_seed") == ["0", "0", "1", "1", "2", "2"]
    tab.get_by_role("link", name="Curves", exact=True).click()
    drawn = tab.locator("[data-tag='train/loss'] .chart-frame")
    expect(drawn).to_have_attribute("aria-label", re.compile("6 lines.*values from .* to 1,"))
    tab.get_by_role("link", name="Compare", exact=True).click()
    expect(tab.get_by_role("img", name="Parallel coordinates of 6 runs")).to_be_visible()
    tab.get_by_role("radio", name="What differs").click()
    expect(tab.locator(".differences")).to_contain_text("learning_rate")
    tab.get_by_role("link", name="Runs", exact=True).click()
    tab.get_by_role("link", name=runs[0].id).click()
    expect(tab.get_by_role("heading", level=1)).to_have_text(runs[0].id)
    expect(tab.get_by_role("row", name="learning_rate")).to_contain_text("0.1")


def test_the_keys_of_a_report_lead_to_no_sweeps(tab: Page, working_dir: Path) -> None:
    make_study(1)
    path = working_dir / "report.html"
    ended = run_python("-m", "pystematic", "report", "--file", path, "--output-dir", OUTPUT)
    assert ended.returncode == 0, ended.stderr
    open_report(tab, path)
    tab.keyboard.press("2")
    curves = tab.get_by_role("link", name="Curves", exact=True)
    expect(curves).to_have_attribute("aria-current", "page")
    tab.keyboard.press("4")
    tab.keyboard.press("?")
    keys = tab.get_by_role("dialog")
    expect(keys).to_contain_text("Compare")
    expect(keys).not_to_contain_text("Sweeps")
    expect(curves).to_have_attribute("aria-current", "page")


def test_markup_in_a_report_is_text(tab: Page, working_dir: Path) -> None:
    make_study(1)
    from tests.store.builders import make_recorded

    odd = "</script><script>alert(1)</script><!--"
    make_recorded(OUTPUT, {odd: [1.0, 2.0]}, 9, params={"text": odd, "tags": [odd], "note": odd})
    path = working_dir / "report.html"
    ended = run_python("-m", "pystematic", "report", "--file", path, "--output-dir", OUTPUT)
    assert ended.returncode == 0, ended.stderr
    open_report(tab, path)
    expect(tab.get_by_role("grid")).to_contain_text("</script><script>alert(1)")
    tab.get_by_role("link", name="Curves", exact=True).click()
    expect(tab.locator(".chart h3", has_text="</script>")).to_be_visible()


def test_a_report_of_selected_runs_holds_only_those(tab: Page, working_dir: Path) -> None:
    runs = make_study()
    path = working_dir / "report.html"
    ended = run_python("-m", "pystematic", "report", runs[0].id, runs[4].id, "--file", path, "--output-dir", OUTPUT)
    assert ended.returncode == 0, ended.stderr
    assert name_of(runs[1]) not in path.read_text(encoding="utf-8")
    open_report(tab, path)
    expect(rows(tab)).to_have_count(2)


def test_curves_and_comparison_of_a_report_are_of_the_selected_runs(tab: Page, working_dir: Path) -> None:
    runs = make_study()
    path = working_dir / "report.html"
    ended = run_python("-m", "pystematic", "report", "--file", path, "--output-dir", OUTPUT)
    assert ended.returncode == 0, ended.stderr
    open_report(tab, path)
    for run in (runs[0], runs[4]):
        tab.locator(".grid-row", has_text=run.id).get_by_role("checkbox").click()
    tab.get_by_role("link", name="Curves", exact=True).first.click()
    drawn = tab.locator("[data-tag='train/loss'] .chart-frame")
    expect(drawn).to_have_attribute("aria-label", re.compile("2 lines"))
    tab.get_by_role("radio", name="Relative").click()
    expect(drawn).to_have_attribute("aria-label", re.compile("2 lines, relative"))
    tab.get_by_role("link", name="Compare", exact=True).click()
    expect(tab.get_by_role("img", name="Parallel coordinates of 2 runs")).to_be_visible()


def test_a_report_draws_mean_and_band(tab: Page, working_dir: Path) -> None:
    make_study()
    path = working_dir / "report.html"
    ended = run_python("-m", "pystematic", "report", "--file", path, "--output-dir", OUTPUT)
    assert ended.returncode == 0, ended.stderr
    open_report(tab, path)
    tab.get_by_role("link", name="Curves", exact=True).click()
    tab.get_by_label("mean ± std").check()
    drawn = tab.locator("[data-tag='val/accuracy'] .chart-frame")
    expect(drawn).to_have_attribute("aria-label", re.compile("2 lines.*from 0.54 to 0.75,"))
