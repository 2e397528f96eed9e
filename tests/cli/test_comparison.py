"""Comparing the series of two runs: what is equal, and where they first differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pystematic
from pystematic.cli._comparison import Comparison, first_difference
from pystematic.store import Run
from tests.builders import make_run


def series(values: list[Any], steps: list[int] | None = None) -> Any:
    class Recorded(SimpleNamespace):
        def __len__(self) -> int:
            return len(self.value)

    return Recorded(step=list(range(len(values))) if steps is None else steps, value=values)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("old", "new", "rtol", "difference"),
    [
        (series([1.0, NAN, INF, -INF]), series([1.0, NAN, INF, -INF]), 0.0, None),
        (series([1.0]), series([1.0 + 2**-52]), 0.0, "at step 0 it was 1.0, now 1.0000000000000002"),
        (series([1.0]), series([1.0 + 2**-52]), 1e-9, None),
        (series([INF]), series([1.0]), 0.5, "at step 0 it was inf, now 1.0"),
        (series([INF]), series([-INF]), 0.5, "at step 0 it was inf, now -inf"),
        (series([NAN]), series([1.0]), 0.5, "at step 0 it was nan, now 1.0"),
        (series([0.0]), series([1e-300]), 0.5, "at step 0 it was 0.0, now 1e-300"),
        (series([2**60]), series([2**60 + 1]), 0.0, f"at step 0 it was {2**60}, now {2**60 + 1}"),
        (series([10**5000]), series([5]), 0.5, f"at step 0 it was {hex(10**5000)}, now 5"),
        (series([1.0, 2.0]), series([1.0, 2.0], [0, 2]), 0.0, "value 2 was recorded at step 1, now at step 2"),
        (series([1.0]), series([1.0, 2.0]), 0.0, "it had 1 values, now 2"),
    ],
    ids=lambda _: "",
)
def test_what_counts_as_equal(old: Any, new: Any, rtol: float, difference: str | None) -> None:
    assert first_difference(old, new, rtol) == difference


def recorded(**series: list[float]) -> Run:
    run = make_run(Path("output"))
    recorder = pystematic.Recorder(run.path)
    for tag, values in series.items():
        for step, value in enumerate(values):
            recorder.scalar(tag.replace("__", "/"), value, step=step)
    recorder.close()
    return Run(run.path)


def test_every_series_of_either_run_is_compared() -> None:
    old = recorded(loss=[1.0, 2.0], gone=[1.0], same=[1.0])
    new = recorded(loss=[1.0, 3.0], new=[1.0], same=[1.0])
    assert Comparison(old, new).problems == {
        "loss": "at step 1 it was 2.0, now 3.0",
        "gone": "it had 1 values, now 0",
        "new": "it had 0 values, now 1",
    }


def test_what_is_measured_of_the_machine_is_left_out() -> None:
    old, new = recorded(system__cpu=[1.0], loss=[1.0]), recorded(system__cpu=[2.0, 3.0], loss=[1.0])
    assert Comparison(old, new).report() == "Verified: 1 value in 1 series, all equal."


def test_the_tolerance_is_told() -> None:
    old, new = recorded(loss=[1.0, 2.0]), recorded(loss=[1.0, 2.001])
    assert Comparison(old, new, 0.01).report() == "Verified: 2 values in 1 series, all equal within rtol=0.01."
    assert Comparison(old, new).report() == (f"{old.id} and {new.id} differ:\n  loss: at step 1 it was 2.0, now 2.001")


def test_nothing_recorded_is_nothing_verified() -> None:
    old, new = recorded(), recorded()
    assert Comparison(old, new).report() == (
        f"Neither {old.id} nor {new.id} has recorded a series, so there is nothing to compare."
    )
