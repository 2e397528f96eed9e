"""Series that are parsed ahead by processes of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pystematic.store import _preparing, prepare_columns, read_columns
from pystematic.store._columns import SMALL
from tests.store.builders import make_recorded


def cached() -> list[str]:
    folder = Path(os.environ["XDG_CACHE_HOME"], "pystematic")
    return sorted(path.name for path in folder.glob("series-*")) if folder.exists() else []


def test_many_long_series_lie_in_the_cache_afterwards(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_preparing, "WORTH_IT", SMALL)
    count = SMALL // 40
    runs = [make_recorded(Path("output"), {"loss": [float(i)] * count}, i) for i in range(3)]
    prepare_columns(run.path for run in runs)

    assert len(cached()) == 3
    for i, run in enumerate(runs):
        assert read_columns(run.path, "loss").series["loss"].value.tolist() == [float(i)] * count


def test_little_work_starts_no_process(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen", refuse)
    runs = [make_recorded(Path("output"), {"loss": [1.0] * 5000}, i) for i in range(3)]
    prepare_columns([run.path for run in runs])
    prepare_columns([])
    prepare_columns([Path("nothing"), Path("nowhere")])

    assert cached() == []


def test_a_process_that_fails_costs_nothing_but_time(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_preparing, "WORTH_IT", SMALL)
    monkeypatch.setattr(_preparing, "_CODE", "raise SystemExit(1)")
    runs = [make_recorded(Path("output"), {"loss": [1.0] * (SMALL // 40)}, i) for i in range(2)]
    prepare_columns([run.path for run in runs])

    assert cached() == []
    assert len(read_columns(runs[0].path, "loss").series["loss"].value) == SMALL // 40


def test_one_tag_alone_is_read_from_the_cache(working_dir: Path) -> None:
    count = SMALL // 40
    run = make_recorded(Path("output"), {"a": [1.0] * count, "b": [2.0] * count})
    read_columns(run.path)

    assert read_columns(run.path, "b").series.keys() == {"b"}
    assert read_columns(run.path, "b").series["b"].value.tolist() == [2.0] * count
    assert read_columns(run.path, "c").series == {}
