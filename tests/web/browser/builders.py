"""Builders of the browser tests: a served folder, runs to look at, and where things are in the page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pystematic import rundir
from tests.builders import PROCESS_LIMIT_S, make_run
from tests.store.builders import make_recorded

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

OUTPUT = Path("output")


@contextmanager
def served(folder: Path | str = OUTPUT) -> Iterator[str]:
    """Serve a folder by `pystematic ui` in a process of its own; yield the address that it prints."""
    command = [sys.executable, "-m", "pystematic", "ui", str(folder), "--no-browser"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stderr is not None
        printed = []
        for line in process.stderr:
            printed.append(line)
            if line.startswith("Ctrl-C"):
                break
        found = re.search(r"http://\S+token=\S+", "".join(printed))
        try:
            assert found, printed
            yield found[0]
        finally:
            process.terminate()
            process.wait(PROCESS_LIMIT_S)


def open_view(tab: Page, address: str, view: str = "#/runs") -> None:
    """Open a view of the page; the token in the address lets the tab in."""
    tab.goto(address)
    tab.goto(re.sub(r"\?.*", "", address) + view)
    tab.wait_for_selector("main.view")


def make_study(count: int = 6) -> list[rundir.RunDir]:
    """Make runs with two learning rates and three seeds, that recorded a loss and an accuracy."""
    runs = []
    for index in range(count):
        rate, seed = (0.1, 0.01)[index // 3 % 2], index % 3
        accuracy = [0.5 + 0.04 * index + 0.01 * step for step in range(10)]
        runs.append(
            make_recorded(
                OUTPUT,
                {"train/loss": [1 / (1 + step + index) for step in range(10)], "val/accuracy": accuracy},
                index,
                params={"learning_rate": rate, "random_seed": seed},
                metric="val/accuracy:max",
            )
        )
    return runs


def make_running(**fields: object) -> rundir.RunDir:
    """Make a run that this process is said to be."""
    process = {"host": rundir.host_name(), "pid": rundir.process_identity()}
    return make_run(OUTPUT, status="running", ended_at=None, exit_code=None, **{**process, **fields})  # type: ignore[arg-type]


def rows(tab: Page) -> Locator:
    """Return the rows of the table that have been loaded."""
    return tab.locator(".grid-row:has(.grid-lead)")


def row_of(tab: Page, run: rundir.RunDir) -> Locator:
    return tab.locator(".grid-row", has_text=run.id)


def column_texts(tab: Page, label: str) -> list[str]:
    """Return what stands in a column, from top to bottom."""
    names: Sequence[str] = [text.strip(" ↑↓") for text in tab.locator(".grid-head .sort-label").all_inner_texts()]
    at = names.index(label)
    placed = [(row.bounding_box() or {"y": 0.0})["y"] for row in rows(tab).all()]
    texts = [row.locator(".grid-cell").nth(at).inner_text() for row in rows(tab).all()]
    return [text for _, text in sorted(zip(placed, texts, strict=True))]
