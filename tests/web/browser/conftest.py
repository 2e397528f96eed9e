"""A real browser for the tests of the page; they are skipped where there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Request

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
LIMIT_MS = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the system's Chromium, once for each module: its driver's event loop must not meet other tests."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tested with playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine")
    sync_api.expect.set_options(timeout=LIMIT_MS)
    # Chromium has no sandbox for root, and what it opens here is our own.
    options = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*options, "--disable-dev-shm-usage"])
        yield started
        started.close()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """Open a tab of 1280 by 800; the test fails when a script does, a policy is broken, another host is asked."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True)
    context.set_default_timeout(LIMIT_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))

    def read(message: ConsoleMessage) -> None:
        # The browser reports each answer of 400 and more, such as that to a filter which is half typed.
        if message.type == "error" and "Failed to load resource" not in message.text:
            wrong.append(message.text)

    def refuse(dialog: Dialog) -> None:
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def follow(request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1:", "file://")):
            wrong.append(f"request: {request.url}")

    page.on("request", follow)
    page.on("console", read)
    page.on("dialog", refuse)
    yield page
    context.close()
    assert not wrong
