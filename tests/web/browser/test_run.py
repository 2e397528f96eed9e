"""One run in a real browser: its parameters, its log while it grows, its patch, its pictures, its files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pystematic import rundir
from tests.builders import PROCESS_LIMIT_S, make_run, run_python, write_program
from tests.store.builders import make_recorded
from tests.web.browser.builders import OUTPUT, make_running, open_view, served
from tests.web.builders import name_of

pytest.importorskip("playwright.sync_api")

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROGRAM = """
    import matplotlib.figure
    import numpy
    import pystematic

    @pystematic.parameter(name="learning_rate", type=float, default=1e-3)
    @pystematic.experiment(metric="loss:min")
    def train(parameters, context):
        for step in range(3):
            context.recorder.scalar("loss", 1 / (1 + step), step=step)
            picture = numpy.full((8, 8, 3), 80 * step, dtype=numpy.uint8)
            context.recorder.image("input", picture, step=step)
            context.recorder.histogram("weights", numpy.arange(100.0), step=step)
            context.recorder.text("sample", f"text <b>{step}</b>", step=step)
        context.recorder.table("confusion", [{"digit": 3, "as": "<i>8</i>"}], step=2)
        plot = matplotlib.figure.Figure()
        plot.subplots().plot([1, 2])
        context.recorder.figure("plot", plot, step=2)
        open(context.output_dir / "notes.bin", "wb").write(b"123")
        context.recorder.artifact(context.output_dir / "notes.bin")

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""
PATCH = """\
diff --git a/train.py b/train.py
index 1111111..2222222 100644
--- a/train.py
+++ b/train.py
@@ -1,2 +1,2 @@
-lr = 0.1
+lr = 0.2
+name = "<script>alert(1)</script>"
"""


def open_run(tab: Page, address: str, run: rundir.RunDir, part: str = "") -> None:
    open_view(tab, address, f"#/run/{quote(name_of(run), safe='')}{part and '/' + part}")


def log_of(run: rundir.RunDir) -> Path:
    return Path(run.path) / "log.txt"


def test_parameters_stand_with_their_sources_and_metrics_with_their_extremes(tab: Page) -> None:
    run = make_recorded(
        OUTPUT,
        {"val/accuracy": [0.5, 0.75, 0.625]},
        params={"learning_rate": 0.25},
        sources={"learning_rate": "environment LR"},
        metric="val/accuracy:max",
    )
    with served() as address:
        open_run(tab, address, run)
        expect(tab.get_by_role("row", name="learning_rate")).to_have_text("learning_rate0.25environment LR")
        expect(tab.get_by_role("row", name="val/accuracy")).to_contain_text("0.6250.50.750.6253")


def test_the_error_of_a_failed_run_stands_first(tab: Page) -> None:
    error = {"type": "ValueError", "message": "<b>odd</b>", "traceback": "Traceback …\nValueError: <b>odd</b>"}
    run = make_run(OUTPUT, status="failed", error=error)
    with served() as address:
        open_run(tab, address, run)
        expect(tab.locator(".card").first).to_contain_text("ValueError: <b>odd</b>")
        expect(tab.locator(".traceback")).to_contain_text("Traceback …")


def test_a_log_is_followed_while_it_grows_and_left_alone_when_one_scrolls_up(tab: Page) -> None:
    run = make_running()
    log = log_of(run)
    log.write_text("".join(f"line {number}\n" for number in range(1, 1001)), encoding="utf-8")
    with served() as address:
        open_run(tab, address, run, "log")
        expect(tab.locator(".log-line", has_text="line 1000")).to_be_visible()
        with log.open("a", encoding="utf-8") as file:
            file.write("one line more\n")
        expect(tab.locator(".log-line", has_text="one line more")).to_be_visible()
        tab.get_by_role("button", name="Begin").click()
        expect(tab.locator(".log-line").first).to_contain_text("line 1")
        expect(tab.get_by_label("follow")).not_to_be_checked()
        with log.open("a", encoding="utf-8") as file:
            file.write("the last line\n")
        expect(tab.locator(".counts")).to_contain_text("1 002 lines")
        expect(tab.locator(".log-line", has_text="the last line")).to_have_count(0)
        tab.get_by_role("button", name="End").click()
        expect(tab.locator(".log-line", has_text="the last line")).to_be_visible()


def test_a_search_in_a_log_goes_from_place_to_place(tab: Page) -> None:
    run = make_run(OUTPUT)
    lines = [f"line {number}" + (" needle" if number in (700, 9000) else "") for number in range(1, 10_001)]
    log_of(run).write_text("\n".join(lines) + "\n", encoding="utf-8")
    with served() as address:
        open_run(tab, address, run, "log")
        expect(tab.locator(".counts")).to_contain_text("10 000 lines")
        field = tab.get_by_label("Search the log")
        field.fill("NEEDLE")
        field.press("Enter")
        expect(tab.locator(".log-marked")).to_contain_text("line 700 needle")
        expect(tab.locator(".log-marked mark")).to_have_text("needle")
        field.press("Enter")
        expect(tab.locator(".log-marked")).to_contain_text("line 9000 needle")
        field.fill("nowhere")
        field.press("Enter")
        expect(tab.locator(".log-search")).to_contain_text("not found")


def test_only_lines_in_sight_of_a_long_log_are_in_the_page(tab: Page) -> None:
    run = make_run(OUTPUT)
    count = 700_000  # more pixels than an element may have
    log_of(run).write_text("".join(f"{number}\n" for number in range(1, count + 1)), encoding="utf-8")
    with served() as address:
        open_run(tab, address, run, "log")
        expect(tab.locator(".log-line").first).to_contain_text("1")
        tab.get_by_role("button", name="End").click()
        expect(tab.locator(".log-text", has_text=re.compile(f"^{count}$"))).to_be_visible()
        assert tab.locator(".log-line").count() < 100
        tab.mouse.move(640, 500)
        tab.mouse.wheel(0, -1800)  # a hundred lines
        expect(tab.locator(".log-text", has_text=re.compile(f"^{count}$"))).to_have_count(0)
        expect(tab.locator(".log-text", has_text=re.compile(f"^{count - 101}$"))).to_be_visible()


def test_a_patch_is_shown_as_a_diff(tab: Page) -> None:
    run = make_run(OUTPUT)
    Path(run.patch_file).write_text(PATCH, encoding="utf-8")
    with served() as address:
        open_run(tab, address, run, "code")
        expect(tab.locator(".patch summary")).to_have_text(re.compile("^train.py [+]2 .1$"))
        expect(tab.locator(".diff-line.diff-removed")).to_have_text("-lr = 0.1")
        expect(tab.locator(".diff-line.diff-added").last).to_have_text('+name = "<script>alert(1)</script>"')


def test_pictures_texts_and_files_of_a_real_run_are_shown(tab: Page, working_dir: Path) -> None:
    program = write_program(working_dir, PROGRAM)
    ended = run_python(program, "train", "--output-dir", OUTPUT, timeout_s=PROCESS_LIMIT_S)
    assert ended.returncode == 0, ended.stderr
    (path,) = (OUTPUT / "train").iterdir()
    run = rundir.RunDir(path)
    with served() as address:
        open_run(tab, address, run, "media")
        image = tab.get_by_alt_text("input, step 2")
        expect(image).to_be_visible()
        assert image.evaluate("image => image.complete && image.naturalWidth") == 8
        tab.get_by_label("Step of input").fill("0")
        expect(tab.get_by_alt_text("input, step 0")).to_be_visible()
        expect(tab.get_by_role("img", name="Histogram of weights from 0 to 99")).to_be_visible()
        expect(tab.locator(".recorded-text")).to_have_text("text <b>2</b>")
        expect(tab.get_by_role("row", name="3 <i>8</i>")).to_be_visible()
        plot = tab.get_by_alt_text("plot, step 2")
        plot.scroll_into_view_if_needed()
        expect(plot).to_be_visible()
        tab.get_by_role("link", name="Files").click()
        with tab.expect_download() as started:
            tab.get_by_role("link", name="notes.bin").first.click()
        assert started.value.path().read_bytes() == b"123"
        tab.get_by_role("link", name="Code & environment").click()
        expect(tab.locator(".run-body")).to_contain_text("packages")


def test_tags_of_the_start_stay_and_later_ones_are_edited(tab: Page) -> None:
    run = make_run(OUTPUT, params={"tags": ["given"], "note": "why it was started"})
    with served() as address:
        open_run(tab, address, run)
        expect(tab.locator(".run-note")).to_have_text("why it was started")
        tab.get_by_role("button", name="Edit tags and note").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("Tags").fill("later")
        dialog.get_by_label("Tags").press("Enter")
        dialog.get_by_role("button", name="Save").click()
        expect(tab.locator(".run-title .tag")).to_have_text(["given", "later"])
        tab.get_by_role("button", name="Edit tags and note").click()
        tab.get_by_role("button", name="Remove the tag later").click()
        tab.get_by_role("dialog").get_by_role("button", name="Save").click()
        expect(tab.locator(".run-title .tag")).to_have_text(["given"])


def test_a_run_that_is_not_there_is_said(tab: Page) -> None:
    OUTPUT.mkdir()
    with served() as address:
        open_view(tab, address, "#/run/train%2Fnowhere")
        expect(tab.get_by_role("alert")).to_contain_text("nowhere")
