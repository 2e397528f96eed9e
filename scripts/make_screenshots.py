"""Take the pictures of the page for the docs: of a real sweep of the digits example, each view in both themes.

    python scripts/make_screenshots.py [--output-dir DIR]       DIR: a folder that holds the sweep already

Needs what the tests of the page need: playwright, and the system's Chromium.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images" / "web"
SWEEP = ["--name", "lr-study", "--jobs", "2", "--seeds", "3"]
PARAMETERS = ["--learning-rate", "3e-4,1e-3,3e-3,1e-2", "--batch-size", "32,128", "--epochs", "5"]
THEMES = ("light", "dark")
SIZE = {"width": 1280, "height": 800}
LIMIT_MS = 30_000
ACCURACY = "metrics['val/accuracy'].max"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output-dir", type=Path, help="a folder that holds the sweep already")
    given: Path | None = parser.parse_args().output_dir
    # A path that stands in the pictures, and says nothing of who made them.
    study = Path(tempfile.gettempdir()) / "study"
    if given is None:
        study.mkdir()
    try:
        folder = given or run_sweep(study)
        with served(folder) as address:
            take_all(address, folder)
    finally:
        if given is None:
            shutil.rmtree(study)
    return 0


def run_sweep(study: Path) -> Path:
    """Run the sweep in a folder; return that of its runs."""
    shutil.copy(ROOT / "examples" / "digits.py", study)
    command = [sys.executable, "digits.py", "sweep", *SWEEP, "train", *PARAMETERS]
    # The package of this tree, also where another one is installed.
    path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    subprocess.run(command, cwd=study, check=True, env={**os.environ, "PYTHONPATH": path})
    return study / "output"


@contextmanager
def served(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "pystematic", "ui", str(folder), "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        printed = ""
        while "Ctrl-C" not in printed:
            line = server.stderr.readline()
            if not line:
                raise SystemExit(f"the page was not served:\n{printed}")
            printed += line
        found = re.search(r"http://\S+token=\S+", printed)
        try:
            yield found[0] if found else ""
        finally:
            server.terminate()


def take_all(address: str, folder: Path) -> None:
    from playwright.sync_api import sync_playwright

    IMAGES.mkdir(parents=True, exist_ok=True)
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    options = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        for theme in THEMES:
            take_theme(browser, address, folder, theme)
        browser.close()


def take_theme(browser: Browser, address: str, folder: Path, theme: str) -> None:
    context = browser.new_context(viewport=SIZE, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(LIMIT_MS)
    tab = context.new_page()
    tab.goto(address)
    base = re.sub(r"\?.*", "", address)
    for name, view, prepare in views(folder):
        # Another document for each, so that none has anything left of the one before.
        tab.goto("about:blank")
        tab.goto(base + view)
        prepare(tab)
        tab.screenshot(path=IMAGES / f"{name}-{theme}.png")
        print(f"{name}-{theme}.png")
    context.close()


def views(folder: Path) -> list[tuple[str, str, Callable[[Page], object]]]:
    """Return the name, the address and what has to be seen first of each picture."""
    runs = sorted(f"train/{path.name}" for path in (folder / "train").iterdir())
    drawn = [("run", name) for name in (runs[0], runs[6], runs[12], runs[18], runs[21])]
    run = quote(runs[-1], safe="")
    best = {"sort": f"-{ACCURACY}"}
    groups = [("group", "params.learning_rate"), ("group", "params.batch_size"), ("sort", f"-{ACCURACY}")]
    scatter = f'["params.learning_rate","{ACCURACY}","params.batch_size"]'
    return [
        ("runs", f"#/runs?{urlencode([*best.items(), *drawn])}", ready(".grid-row.selected")),
        ("groups", f"#/runs?{urlencode(groups)}", ready(".group-name")),
        ("curves", f"#/curves?{urlencode([*drawn, ('smooth', '0.6')])}", read_curves),
        ("bands", f"#/curves?{urlencode({'bands': 1, 'size': 'large', **best})}", ready(".chart canvas")),
        ("parallel", "#/compare", brush_best),
        ("scatter", f"#/compare//scatter?{urlencode({'scatter': scatter})}", ready(".scatter canvas")),
        ("differences", f"#/compare//differences?{urlencode(drawn)}", ready(".differences td")),
        ("run", f"#/run/{run}", ready(".card")),
        ("log", f"#/run/{run}/log?search=accuracy", ready(".log-marked")),
        ("sweep", "#/sweeps/lr-study", ready(".sweep-chart canvas")),
    ]


def ready(selector: str) -> Callable[[Page], object]:
    def wait(tab: Page) -> None:
        tab.wait_for_selector(selector)
        settle(tab)

    return wait


def settle(tab: Page) -> None:
    """Wait until nothing is being loaded, and what has come is drawn."""
    tab.wait_for_selector(".loading, .chart-loading, .grid[aria-busy=true]", state="detached")
    tab.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def read_curves(tab: Page) -> None:
    ready(".chart canvas")(tab)
    box = tab.locator("[data-tag='train/loss'] .u-over").bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.6)
    tab.wait_for_selector(".readout")


def brush_best(tab: Page) -> None:
    ready(".parallel canvas")(tab)
    box = tab.locator(".parallel canvas").bounding_box()
    assert box is not None
    x, top, height = box["x"] + box["width"] - 90, box["y"] + 46, box["height"] - 68
    tab.mouse.move(x, top)
    tab.mouse.down()
    tab.mouse.move(x, top + height * 0.2, steps=5)
    tab.mouse.up()
    tab.wait_for_selector("text=Keep as filter")
    tab.mouse.move(2, 2)
    settle(tab)


if __name__ == "__main__":
    sys.exit(main())
