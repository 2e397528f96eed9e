"""Rank 0 feeds backends with what all ranks have recorded, as one series."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from pystematic import Recorder, rundir
from pystematic.record import Backend, ScalarBatch
from pystematic.record import _feed as module
from pystematic.record._feed import RankFeed
from tests.builders import wait_until
from tests.record.builders import Clock
from tests.record.test_backend_thread import Memory


class Points(Memory):
    """A backend that keeps tags and steps too."""

    def __init__(self) -> None:
        super().__init__("points")
        self.points: list[tuple[str, float, float]] = []

    def write(self, batch: ScalarBatch) -> None:
        self.points += zip(batch.tags, batch.steps, batch.values, strict=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def write(rank: int, *points: tuple[str, float, float], weight: float | None = None, **reduces: str) -> None:
    columns = (
        [tag for tag, _, _ in points],
        [step for _, step, _ in points],
        [1e9] * len(points),
        [value for _, _, value in points],
    )
    weights: list[float | None] | None = None if weight is None else [weight] * len(points)
    with rundir.RunDir(".").metrics_file(rank).open("ab") as file:
        file.write(rundir.ScalarFormatter(reduces).format(columns, weights))


def batch(*points: tuple[str, float, float], weight: float | None = None) -> ScalarBatch:
    tags, steps, values = ([point[i] for point in points] for i in range(3))
    return ScalarBatch(tags, steps, [1e9] * len(points), values, None if weight is None else [weight] * len(points))  # type: ignore[arg-type]


def make_feed(world_size: int, **reduces: str) -> tuple[RankFeed, Points]:
    feed, points = RankFeed(".", world_size, reduces), Points()
    feed.backends.append(points)  # type: ignore[arg-type]
    return feed, points


def test_a_point_of_all_ranks_is_given_on_when_the_last_one_has_written_it(clock: Clock) -> None:
    feed, given = make_feed(3)
    feed.write(batch(("a", 0, 1.0), weight=1))
    write(1, ("a", 0, 4.0), weight=2)
    feed.flush()
    assert given.points == []
    write(2, ("a", 0, 7.0), weight=3)
    clock.now += 0.5
    feed.flush()

    assert given.points == [("a", 0, 5.0)]


def test_a_point_of_some_ranks_is_given_on_after_a_second(clock: Clock) -> None:
    feed, given = make_feed(2)
    feed.write(batch(("val", 0, 1.0)))
    feed.flush()
    clock.now += 0.9
    feed.flush()
    assert given.points == []
    clock.now += 0.2
    feed.flush()

    assert given.points == [("val", 0, 1.0)]


def test_the_end_gives_on_all_there_is(clock: Clock) -> None:
    feed, given = make_feed(2, n="sum")
    feed.write(batch(("n", 0, 1.0), ("a", 0, 1.0)))
    write(1, ("n", 0, 2.0), ("a", 1, 5.0))
    feed.close()

    assert sorted(given.points) == [("a", 0, 1.0), ("a", 1, 5.0), ("n", 0, 3.0)]
    assert given.calls == ["close"]


def test_what_only_another_rank_says_of_a_tag_counts(clock: Clock) -> None:
    feed, given = make_feed(3)
    write(1, ("n", 0, 2.0), n="max")
    write(2, ("n", 0, 3.0), n="max")
    feed.close()

    assert given.points == [("n", 0, 3.0)]


def test_what_a_former_attempt_has_recorded_is_not_given_again(clock: Clock) -> None:
    write(0, ("a", 0, 1.0))
    write(1, ("a", 0, 1.0))
    feed, given = make_feed(2)
    feed.write(batch(("a", 1, 2.0)))
    write(1, ("a", 1, 4.0))
    feed.close()

    assert given.points == [("a", 1, 3.0)]


def test_ranks_that_began_before_rank_0_lose_nothing(clock: Clock) -> None:
    write(1, ("a", 0, 4.0))
    feed, given = make_feed(2)
    feed.write(batch(("a", 0, 2.0)))
    feed.close()

    assert given.points == [("a", 0, 3.0)]


def test_a_rank_that_never_writes_harms_nothing(clock: Clock) -> None:
    feed, given = make_feed(2)
    Path("metrics.rank-1.jsonl").mkdir()
    feed.write(batch(("a", 0, 2.0)))
    feed.close()

    assert given.points == [("a", 0, 2.0)]


def test_what_children_record_is_no_ranks(clock: Clock) -> None:
    feed: Backend = make_feed(2)[0]

    assert feed.for_child() is None


def test_recorders_of_several_ranks_feed_one_series() -> None:
    given = Points()
    recorders = [Recorder("output", rank=rank, world_size=3) for rank in range(3)]
    recorders[0].add_backend(given)
    for rank, recorder in enumerate(recorders):
        recorder.weight = rank + 1
        for step in range(100):
            recorder.scalar("loss", float(rank), step)
            recorder.scalar("n", 1, step, reduce="sum")
    began = time.monotonic()
    wait_until(lambda: len(given.points) == 200)
    waited_s = time.monotonic() - began
    for recorder in reversed(recorders):
        recorder.close()

    series = rundir.read_series("output").points
    assert waited_s < 2
    assert sorted(given.points) == sorted(
        (tag, step, value)
        for tag, points in series.items()
        for step, value in zip(points.steps, points.values, strict=True)
    )
    assert series["loss"].values == [8 / 6] * 100
    assert series["n"].values == [3] * 100


def test_pictures_go_on_at_once(clock: Clock) -> None:
    feed, given = make_feed(2)
    item: Any = object()
    feed.write_item(item)

    assert given.items == [item]
