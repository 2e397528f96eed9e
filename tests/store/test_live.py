"""The numbers of live runs: the last summary, and what was recorded since."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pystematic import rundir
from pystematic.store import Run, runs
from pystematic.store._live import live_summary
from tests.builders import make_run
from tests.store.builders import record


def make_live(folder: Path, before: Sequence[float], since: Sequence[float]) -> rundir.RunDir:
    run_dir = make_run(folder, status="running", host=rundir.host_name(), pid=rundir.process_identity(), ended_at=None)
    record(run_dir, {"loss": before})
    add(run_dir, since)
    return run_dir


def add(run_dir: rundir.RunDir, values: Sequence[float], tag: str = "loss", start: int = 100) -> None:
    count = len(values)
    columns: Any = ([tag] * count, list(range(start, start + count)), [1.8e9 + i for i in range(count)], list(values))
    with open(run_dir.metrics_file(), "ab") as file:
        file.write(rundir.ScalarFormatter().format(columns))


@pytest.mark.parametrize(
    ("before", "since"),
    [
        ([3.0, 1.0, 2.0], [0.5, 4.0]),
        ([3.0, 1.0, 2.0], [1.5]),
        ([3.0], []),
        ([3, 1], [5]),
        ([1.0], [1.0]),
        ([math.nan], [2.0]),
        ([2.0], [math.nan]),
        ([2.0, math.nan], []),
        ([math.nan], [math.nan]),
        ([math.inf, 1.0], [2.0]),
        ([2.0], [-math.inf]),
    ],
)
def test_it_is_what_all_of_the_series_give(
    before: list[float], since: list[float], working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_live(working_dir / "output", before, since)
    whole = rundir.parse_metrics(rundir.summarize(run_dir)["metrics"])["loss"]

    def refuse(folder: object, *, dropped: int = 0) -> dict[str, object]:
        raise AssertionError("all of the series are read")

    monkeypatch.setattr(rundir, "summarize", refuse, raising=False)
    monkeypatch.setattr("pystematic.rundir._summary.summarize", refuse)
    live = Run(run_dir.path).summary["loss"]
    assert {name: value for name, value in live.items() if name != "mean"} == {
        name: value for name, value in whole.items() if name != "mean"
    }
    assert live["mean"] == whole["mean"] or live["mean"] == pytest.approx(whole["mean"], nan_ok=True)
    for _ in range(2):
        assert runs("output").values("metrics.loss.last") == [live["last"]]
        assert runs("output").values("metrics.loss.count") == [live["count"]]


@pytest.mark.parametrize(
    ("before", "since", "ends_in_nan"),
    [
        ([2.0, math.nan], [1.0], False),
        ([2.0], [math.nan, 1.0], False),
        ([2.0], [1.0, math.nan], True),
        ([math.nan], [1.0, math.nan], True),
        ([2.0, math.nan], [math.nan], True),
    ],
)
def test_it_says_where_the_newest_point_is_nan(
    before: list[float], since: list[float], ends_in_nan: bool, working_dir: Path
) -> None:
    run_dir = make_live(working_dir / "output", before, since)

    assert Run(run_dir.path).summary["loss"].get("ends_in_nan", False) is ends_in_nan


def test_a_tag_that_is_new_is_there(working_dir: Path) -> None:
    run_dir = make_live(working_dir / "output", [1.0], [])
    add(run_dir, [7.0], "acc")

    assert Run(run_dir.path).summary["acc"]["last"] == 7.0
    assert runs("output").values("metrics.acc.max") == [7.0]


def test_it_grows_with_the_file(working_dir: Path) -> None:
    run_dir = make_live(working_dir / "output", [1.0], [])
    run = Run(run_dir.path)
    for value in (2.0, 3.0, 4.0):
        add(run_dir, [value])
        assert run.summary["loss"]["max"] == value
        assert runs("output").values("metrics.loss.max") == [value]


def test_of_several_processes_it_is_the_last_summary(working_dir: Path) -> None:
    run_dir = make_live(working_dir / "output", [1.0], [])
    record(run_dir, {"loss": [3.0]}, rank=1)
    add(run_dir, [9.0])

    assert Run(run_dir.path).summary["loss"]["last"] == 2.0
    assert runs("output").values("metrics.loss.last") == [2.0]


@pytest.mark.parametrize(
    "summary",
    [
        None,
        {},
        {"files": None, "metrics": {}},
        {"files": {"metrics.jsonl": 10**9}, "metrics": {}},
        {"files": {"metrics.jsonl": "x"}, "metrics": {}},
        {"files": {"metrics.rank-1.jsonl": 0}, "metrics": {}},
        {"files": {"metrics.jsonl": 0}, "metrics": {"loss": 3}},
    ],
)
def test_without_a_summary_that_holds_it_is_computed_from_all(
    summary: dict[str, Any] | None, working_dir: Path
) -> None:
    run_dir = make_live(working_dir / "output", [4.0, 2.0], [3.0])
    run_dir.summary_file.unlink()
    if summary is not None:
        rundir.write_document(run_dir.summary_file, summary)

    assert Run(run_dir.path).summary["loss"]["mean"] == 3.0
    assert runs("output").values("metrics.loss.mean") == [3.0]


def test_a_file_that_is_gone_gives_nothing(working_dir: Path) -> None:
    run_dir = make_live(working_dir / "output", [1.0], [])
    document = rundir.read_document(run_dir.summary_file)
    assert document is not None
    size = run_dir.metrics_file().stat().st_size
    run_dir.metrics_file().unlink()

    assert live_summary(run_dir, document, {"metrics.jsonl": size}) is None
    assert Run(run_dir.path).summary == {}
