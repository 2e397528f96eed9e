"""Early stopping: comparison at equal steps and equal seeds, and what is never stopped."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.errors import UsageError
from pystematic.sweep._objective import Objective
from pystematic.sweep._watch import (
    MOST_PERIOD_S,
    PERIOD_S,
    AshaStopper,
    Curve,
    MedianStopper,
    MetricWatch,
    Stopper,
    make_stopper,
)
from tests.sweep.builders import write_series


def curve(*losses: float) -> Curve:
    return Curve(tuple(float(step) for step in range(len(losses))), losses)


def test_the_median_stopper_compares_at_the_same_step() -> None:
    # At step 3 the others stood at 4, although they are at 1 by now.
    others = [curve(7, 6, 5, 4, 3, 2, 1)] * 4
    assert not MedianStopper().is_hopeless("a", curve(7, 6, 5, 3.9), others)
    assert MedianStopper().is_hopeless("a", curve(7, 6, 5, 4.1), others)


def test_the_median_stopper_waits_for_others_and_for_two_steps() -> None:
    others = [curve(1, 1, 1, 1)] * 4
    assert not MedianStopper().is_hopeless("a", curve(9, 9), others)
    assert not MedianStopper().is_hopeless("a", curve(9, 9, 9), others[:3])
    assert MedianStopper().is_hopeless("a", curve(9, 9, 9), others)


def test_of_three_runs_at_a_rung_the_best_goes_on() -> None:
    others = [curve(0.2), curve(0.3)]
    assert not AshaStopper().is_hopeless("a", curve(0.1), others)
    assert AshaStopper().is_hopeless("b", curve(0.25), others)


def test_a_run_is_judged_once_at_a_rung() -> None:
    stopper = AshaStopper()
    assert not stopper.is_hopeless("a", curve(0.5), [])
    assert not stopper.is_hopeless("a", curve(0.5, 0.5), [curve(0.1), curve(0.2)])
    assert stopper.is_hopeless("a", curve(0.5, 0.5, 0.5), [curve(0.1, 0.1, 0.1), curve(0.2, 0.2, 0.2)])


def test_runs_that_record_at_other_steps_bring_no_rungs_of_their_own() -> None:
    # As with twelve sizes of batches: together they have recorded for the ninth time at step 14.
    others = [Curve((every, 2.0 * every, 3.0 * every), (0.5, 0.5, 0.5)) for every in range(6, 18)]
    assert not AshaStopper().is_hopeless("a", Curve((6, 12, 18), (0.1, 0.9, 0.1)), others)
    assert AshaStopper().is_hopeless("a", Curve((6, 12, 18), (0.1, 0.1, 0.9)), others)


def test_a_run_that_has_not_come_to_a_rung_is_compared_with_nobody() -> None:
    stopper = AshaStopper()
    others = [curve(0.3, 0.2, 0.1)] * 3
    assert not stopper.is_hopeless("a", Curve((), ()), others)


@pytest.mark.parametrize(("takes_best", "losses"), [(False, (-0.5, -0.9, -0.7)), (True, (-0.5, -0.9, -0.9))])
def test_a_run_that_is_judged_by_its_best_number_is_compared_by_it(
    tmp_path: Path, takes_best: bool, losses: tuple[float, ...]
) -> None:
    path = str(rundir.create_run_dir(tmp_path, "train").path)
    write_series(path, {"acc": [(0, 0.5), (1, 0.9), (2, 0.7)]})
    stopper = WorstStopper()
    MetricWatch(stopper, Objective("acc", "max", takes_best)).find_hopeless({0: (path, 1)})
    assert stopper.losses == losses


class WorstStopper(Stopper):
    """Ends whatever is worse than all others."""

    def is_hopeless(self, run: str, curve: Curve, others: object) -> bool:
        assert isinstance(others, list)
        self.seen = len(others)
        self.losses = curve.losses
        return bool(others) and all(curve.losses[-1] > other.losses[-1] for other in others)


def test_runs_are_compared_with_those_of_their_seed_only(tmp_path: Path) -> None:
    paths = []
    for value in (0.9, 0.1, 0.5):
        path = str(rundir.create_run_dir(tmp_path, "train").path)
        write_series(path, {"acc": [(0, value)]})
        paths.append(path)
    stopper = WorstStopper()
    watch = MetricWatch(stopper, Objective("acc", "max"), [(paths[0], 1), (paths[1], 2)])
    assert watch.find_hopeless({5: (paths[2], 1)}) == [5]
    assert stopper.seen == 1


def make_run(folder: Path, *values: float) -> str:
    path = str(rundir.create_run_dir(folder, "train").path)
    count = len(values)
    lines = rundir.ScalarFormatter().format((["acc"] * count, list(range(count)), [1.0] * count, list(values)))
    rundir.RunDir(path).metrics_file().write_bytes(lines)
    return path


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, -(10**400)], ids=lambda one: str(one)[:4])
def test_what_is_not_finite_is_worse_than_any_number(tmp_path: Path, value: float) -> None:
    others = [(make_run(tmp_path, *[0.1] * 5), 1) for _ in range(4)]
    diverged = make_run(tmp_path, *[value] * 5)
    watch = MetricWatch(MedianStopper(), Objective("acc", "max"), others)
    assert watch.find_hopeless({7: (diverged, 1)}) == [7]


def test_runs_that_end_between_two_looks_are_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("pystematic.sweep._watch.time.monotonic", lambda: now)
    watch = MetricWatch(MedianStopper(), Objective("acc", "max"))
    watch.find_hopeless({})
    short = {number: (make_run(tmp_path, *[0.5] * 5), 1) for number in range(4)}
    for number, run in short.items():  # each runs for less than a look takes to come
        watch.find_hopeless({number: run})
    now += PERIOD_S
    assert watch.find_hopeless({9: (make_run(tmp_path, *[0.1] * 5), 1)}) == [9]


def test_looks_that_take_long_are_rarer_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("pystematic.sweep._watch.time.monotonic", lambda: now)
    stopper = WorstStopper()
    watch = MetricWatch(stopper, Objective("acc", "max"), [(make_run(tmp_path, 0.5), 1)])
    path = make_run(tmp_path, 0.5)

    def look() -> bool:
        stopper.seen = 0
        write_series(path, {"acc": [(len(times) + 1, 0.5)]})
        watch.find_hopeless({1: (path, 1)})
        times.append(now)
        return stopper.seen > 0

    def slow(run: str, curve: Curve, others: object) -> bool:
        nonlocal now
        stopper.seen = 1
        now += 10.0
        return False

    times: list[float] = []
    monkeypatch.setattr(stopper, "is_hopeless", slow)
    assert look()
    now += PERIOD_S
    assert look(), "the first look says nothing about the next one"
    now += MOST_PERIOD_S - 0.1
    assert not look()
    now += 0.1
    assert look()


def test_an_unknown_stopper_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--stop 'x': there are median and asha\.$"):
        make_stopper("x")
