"""What open pages are told of a folder; with the server: test_server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pystematic.web import _live
from pystematic.web._folder import Folder
from pystematic.web._live import Subscriber, Watcher
from tests.builders import make_run
from tests.web.builders import name_of

OUTPUT = Path("output")


@pytest.fixture
def watcher(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    OUTPUT.mkdir()
    monkeypatch.setattr("pystematic.web._folder.FRESH_FOR_S", 0.01)
    watcher = Watcher(Folder(OUTPUT))
    yield watcher
    watcher.close()


async def next_change(subscriber: Subscriber) -> Any:
    async for change in subscriber.changes():
        return change
    return "ended"


def change(**parts: Any) -> Any:
    return {**_live.no_change(), **parts}


def test_what_changes_while_the_watcher_starts_is_told(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    start = threading.Thread.start

    def make_and_start(thread: Any) -> None:
        made.append(make_run(OUTPUT))
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", make_and_start)

    async def run() -> None:
        subscriber = watcher.subscribe(asyncio.get_running_loop())
        assert (await next_change(subscriber))["changed"] == [name_of(made[0])]

    asyncio.run(asyncio.wait_for(run(), 30))


def test_what_a_page_has_not_taken_yet_becomes_one_change(watcher: Watcher) -> None:
    async def run() -> Any:
        subscriber = Subscriber(asyncio.get_running_loop())
        subscriber.push(change(changed=["a", "b"], grown=[{"id": "a", "log_bytes": 1, "series_bytes": 1}]))
        subscriber.push(change(changed=["c", "a"], removed=["b"]))
        subscriber.push(change(grown=[{"id": "a", "log_bytes": 2, "series_bytes": 2}], sweeps=["s"]))
        await asyncio.sleep(0)  # lets the loop take all three
        return await next_change(subscriber)

    assert asyncio.run(run()) == change(
        changed=["a", "c"], removed=["b"], grown=[{"id": "a", "log_bytes": 2, "series_bytes": 2}], sweeps=["s"]
    )


def test_a_run_that_comes_back_is_not_removed(watcher: Watcher) -> None:
    async def run() -> Any:
        subscriber = Subscriber(asyncio.get_running_loop())
        subscriber.push(change(removed=["a"]))
        subscriber.push(change(changed=["a"]))
        await asyncio.sleep(0)
        return await next_change(subscriber)

    assert asyncio.run(run()) == change(changed=["a"])


def test_while_nothing_happens_the_connection_is_kept_alive(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_live, "KEEP_ALIVE_S", 0.01)

    async def run() -> Any:
        return await next_change(watcher.subscribe(asyncio.get_running_loop()))

    assert asyncio.run(run()) is None


def test_the_thread_lives_while_somebody_listens(watcher: Watcher) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        first, second = watcher.subscribe(loop), watcher.subscribe(loop)
        thread = watcher._thread
        assert thread is not None
        watcher.unsubscribe(first)
        assert watcher._thread is thread
        watcher.unsubscribe(second)
        thread.join(30)
        assert not thread.is_alive()

    asyncio.run(run())


def test_the_end_ends_all_listeners_and_there_are_no_new_ones(watcher: Watcher) -> None:
    async def run() -> None:
        before = watcher.subscribe(asyncio.get_running_loop())
        watcher.close()
        after = watcher.subscribe(asyncio.get_running_loop())
        assert [await next_change(before), await next_change(after)] == ["ended", "ended"]

    asyncio.run(asyncio.wait_for(run(), 30))
