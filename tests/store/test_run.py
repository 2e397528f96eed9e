"""A run as a reader sees it: its files, current whenever asked; what is missing or damaged is empty, never an error."""

from __future__ import annotations

import datetime
import json
import math
import os
import pathlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pystematic import rundir
from pystematic.record import Recorder
from pystematic.store import Run, Series
from tests.builders import make_run, run_python
from tests.store.builders import make_recorded, moment, record


def test_a_run_is_named_by_its_directory(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output", "group.train")
    run = Run(os.path.relpath(run_dir.path))

    assert run.path == run_dir.path
    assert run.id == run_dir.path.name
    assert run.experiment == "group.train"


def test_a_copied_directory_is_the_run(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir / "output", {"a": [1, 2]}, params={"lr": 0.1})
    shutil.copytree(run_dir.path, working_dir / "copy" / run_dir.id)
    copy = Run(working_dir / "copy" / run_dir.id)

    assert (copy.id, copy.experiment, copy.params) == (run_dir.id, "train", {"lr": 0.1})
    assert list(copy.metrics("a").value) == [1, 2]


def test_the_times_are_in_utc(working_dir: Path) -> None:
    run = Run(make_run(working_dir, started_at=moment(0)).path)

    assert run.started_at == moment(0)
    assert run.ended_at == moment(1)
    assert run.started_at is not None
    assert run.started_at.tzinfo is datetime.UTC
    assert run.duration == 1.0


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-02T05:04:00+02:00", moment(0)),
        ("2026-01-02T03:04:00", moment(0)),
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_a_time_in_another_form_is_read_or_unknown(text: Any, time: Any, working_dir: Path) -> None:
    run = Run(make_run(working_dir, started_at=moment(0), ended_at=text).path)

    assert run.ended_at == time


def test_a_running_run_has_lasted_until_now(working_dir: Path) -> None:
    started = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=100)
    run_dir = make_run(
        working_dir,
        status="running",
        started_at=started,
        ended_at=None,
        host=rundir.host_name(),
        pid=rundir.process_identity(),
    )

    duration = Run(run_dir.path).duration
    assert duration is not None
    assert 100 <= duration < 160


def test_how_long_a_lost_run_has_lasted_is_unknown(working_dir: Path) -> None:
    run_dir = make_run(
        working_dir,
        status="running",
        ended_at=None,
        host=rundir.host_name(),
        pid={**rundir.process_identity(), "pid": 0},
    )

    assert Run(run_dir.path).status == "lost"
    assert Run(run_dir.path).duration is None


def test_odd_parameters_come_back_as_what_they_were(working_dir: Path) -> None:
    params = {
        "path": pathlib.Path("a/b"),
        "pair": (1, 2.5),
        "raw": b"\0\xff",
        "nan": math.nan,
        "half": np.float16(0.5),
        "text": "\ud800",
        "none": None,
    }
    read = Run(make_run(working_dir, params=params).path).params

    assert list(read) == list(params)
    assert repr(read) == repr(params)


def test_a_checked_text_is_read_as_the_text(working_dir: Path) -> None:
    run = Run(make_run(working_dir, params={"name": rundir.Exact("a")}).path)

    assert run.params == {"name": "a"}


def test_a_secret_is_masked_and_what_could_not_be_stored_is_text(working_dir: Path) -> None:
    run = Run(make_run(working_dir, params={"password": rundir.MASKED, "object": len}).path)

    assert str(run.params["password"]) == "<masked>"
    assert run.params["object"] == repr(len)


def test_the_names_of_parameters_are_texts(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    run_dir.parameters_file.write_text("1: a\n~: b\n")

    assert Run(run_dir.path).params == {"1": "a", "None": "b"}


def test_sources_are_told(working_dir: Path) -> None:
    run = Run(make_run(working_dir, params={"lr": 0.1}, sources={"lr": "command line"}).path)

    assert run.sources == {"lr": "command line"}


def test_tags_and_notes_of_the_start_and_of_later_are_joined(working_dir: Path) -> None:
    run_dir = make_run(working_dir, params={"tags": ["a", "b"], "note": "first"})
    rundir.write_document(run_dir.labels_file, {"tags": ["b", "c", 5], "note": "second"})
    run = Run(run_dir.path)

    assert run.tags == ("a", "b", "c")
    assert run.note == "first\nsecond"


@pytest.mark.parametrize(
    ("params", "labels", "tags", "note"),
    [
        ({}, None, (), ""),
        ({"tags": "one", "note": "\ud800"}, None, ("one",), "\ud800"),
        ({"tags": ("a",), "note": None}, {}, ("a",), ""),
        ({"tags": 5, "note": 5}, {"tags": "x", "note": []}, (), ""),
        ({"tags": rundir.Exact(["a"]), "note": rundir.Exact("n")}, {"tags": ["b"]}, ("a", "b"), "n"),
    ],
    ids=repr,
)
def test_labels_in_other_forms_are_read_or_passed_over(
    params: dict[str, Any], labels: Any, tags: tuple[str, ...], note: str, working_dir: Path
) -> None:
    run_dir = make_run(working_dir, params=params)
    if labels is not None:
        rundir.write_document(run_dir.labels_file, labels)

    assert Run(run_dir.path).tags == tags
    assert Run(run_dir.path).note == note


# -- metrics -----------------------------------------------------------------------------------------------------


def test_a_series_has_numpy_arrays_of_steps_values_and_times(working_dir: Path) -> None:
    series = Run(make_recorded(working_dir, {"train/loss": [0.5, 0.25]}).path).metrics("train/loss")

    assert (series.step.dtype, series.value.dtype, series.time.dtype) == ("int64", "float64", "float64")
    assert series.step.tolist() == [0, 1]
    assert series.value.tolist() == [0.5, 0.25]
    assert series.time.tolist() == [1.7e9, 1.7e9 + 1]
    assert len(series) == 2
    assert repr(series) == "<Series 'train/loss': 2 points, last 0.25 at step 1>"


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2], "int64"),
        ([2**63 - 1, -(2**63)], "int64"),
        ([1, 0.5], "float64"),
        ([1, math.nan], "float64"),
        ([math.inf, -0.0], "float64"),
        ([2**63], "object"),
        ([2**53 + 1, 0.5], "object"),
        ([10**400, 0.5], "object"),
    ],
)
def test_values_have_the_narrowest_type_that_holds_them_exactly(
    values: list[float], dtype: str, working_dir: Path
) -> None:
    found = Run(make_recorded(working_dir, {"a": values}).path).metrics("a").value

    assert found.dtype == dtype
    assert repr([v.item() if isinstance(v, np.generic) else v for v in found]) == repr(
        [float(v) for v in values] if dtype == "float64" else values
    )


def test_a_series_that_was_not_recorded_is_empty(working_dir: Path) -> None:
    series = Run(make_recorded(working_dir, {"a": [1]}).path).metrics("b")

    assert len(series) == 0
    assert (series.step.dtype, series.value.dtype) == ("float64", "float64")
    assert repr(series) == "<Series 'b': 0 points>"


def test_without_numpy_a_series_has_arrays_of_the_standard_library(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [0.5, 1], "b": [1, 2], "c": [2**70]})
    code = f"""if True:
        import sys
        sys.modules["numpy"] = None
        from pystematic.store import Run
        run = Run({str(run_dir.path)!r})
        print(*(run.metrics(tag).value for tag in "abc"))
    """

    assert run_python("-c", code).stdout == f"array('d', [0.5, 1.0]) array('q', [1, 2]) [{2**70}]\n"


def test_all_processes_of_a_run_count(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1, 3]})
    record(run_dir, {"a": [2, 4], "b": [5]}, rank=1, with_summary=False)
    run = Run(run_dir.path)

    assert run.metrics("a").value.tolist() == [1.5, 3.5]
    assert run.summary["a"]["count"] == 2
    assert set(run.summary) == {"a", "b"}


def test_the_summary_tells_the_numbers_of_each_tag(working_dir: Path) -> None:
    run = Run(make_recorded(working_dir, {"a": [3, 1, 2, math.nan]}).path)

    numbers = {"first": 3, "last": 2, "min": 1, "max": 3, "mean": 2, "count": 4, "min_step": 1, "max_step": 0}
    assert run.summary == {"a": {**numbers, "ends_in_nan": True}}


def test_the_summary_document_spares_reading_the_series(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_recorded(working_dir, {"a": [1]})
    run = Run(run_dir.path)
    with monkeypatch.context() as patch:
        patch.delattr("pystematic.rundir._series.SeriesFile")
        assert run.summary["a"]["last"] == 1


@pytest.mark.parametrize("content", [None, "", "{", '{"metrics": []}', '{"metrics": {"a": 5}}'], ids=repr)
def test_a_missing_or_damaged_summary_is_computed_from_the_series(content: str | None, working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1, 2]})
    before = Run(run_dir.path).summary
    run_dir.summary_file.unlink()
    if content is not None:
        run_dir.summary_file.write_text(content)

    assert Run(run_dir.path).summary == before


def test_a_damaged_summary_of_the_right_sizes_is_computed_anew(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1, 2]})
    document = json.loads(run_dir.summary_file.read_text())
    document["metrics"]["a"] = 5
    run_dir.summary_file.write_text(json.dumps(document))

    assert Run(run_dir.path).summary["a"]["last"] == 2


def test_a_summary_that_is_behind_the_series_is_computed_anew_and_keeps_what_was_dropped(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1]})
    document = json.loads(run_dir.summary_file.read_text())
    rundir.write_document(run_dir.summary_file, {**document, "dropped": 7})
    record(run_dir, {"a": [2]}, with_summary=False)
    run = Run(run_dir.path)

    assert run.summary["a"]["count"] == 2
    assert run.dropped == 7


def test_damaged_lines_are_counted(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1]})
    with open(run_dir.metrics_file(), "ab") as file:
        file.write(b"damaged\n{")

    assert Run(run_dir.path).damaged_lines == 2
    assert Run(run_dir.path).metrics("a").value.tolist() == [1]


def test_a_run_object_is_always_current(working_dir: Path) -> None:
    run_dir = make_run(working_dir, params={"lr": 0.1})
    run = Run(run_dir.path)
    assert (run.params, run.summary, len(run.metrics("a")), run.tags) == ({"lr": 0.1}, {}, 0, ())
    with Recorder(run_dir.path) as recorder:
        for count in (1, 2):
            recorder.scalar("a", count)
            recorder.flush()
            assert run.metrics("a").value.tolist() == list(range(1, count + 1))
            assert run.summary["a"]["last"] == count
    rundir.replace_file(run_dir.parameters_file, rundir.format_parameters({"lr": 0.2}).encode())
    rundir.write_document(run_dir.labels_file, {"tags": ["x"]})

    assert (run.params, run.tags) == ({"lr": 0.2}, ("x",))


def test_what_has_not_changed_is_not_read_again(working_dir: Path) -> None:
    run = Run(make_recorded(working_dir, {"a": [1]}).path)

    assert run.metrics("a").value.tolist() == [1]
    assert run.metrics("a").value is run.metrics("a").value
    assert run.document is run.document


# -- what was captured, and what is shown ------------------------------------------------------------------------


def test_environment_patch_and_logs_are_read(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    rundir.write_document(run_dir.environment_file, {"python": "3.11"})
    run_dir.patch_file.write_bytes(b"--- a\n+++ b\n\xff\n")
    run_dir.log_file().write_text("zero\n")
    run_dir.log_file(1).write_text("one\n")
    run = Run(run_dir.path)

    assert run.environment == {"python": "3.11"}
    assert run.patch == "--- a\n+++ b\n\ufffd\n"
    assert (run.log_text(), run.log_text(1), run.log_text(2)) == ("zero\n", "one\n", "")


def test_an_empty_directory_is_a_damaged_run_without_anything(working_dir: Path) -> None:
    (working_dir / "train" / "x").mkdir(parents=True)
    run = Run(working_dir / "train" / "x")

    assert (run.id, run.experiment, run.status, run.started_at, run.duration) == ("x", "train", "damaged", None, None)
    assert (run.params, run.sources, run.tags, run.note, run.summary) == ({}, {}, (), "", {})
    assert (run.environment, run.patch, run.log_text(), run.dropped, run.damaged_lines) == ({}, "", "", 0, 0)
    assert repr(run) == "<Run train x damaged>"


@pytest.mark.parametrize(
    "content", [b"\0" * 100, b"[" * 50_000, b"{}", b"\xff", b"null"], ids=lambda content: repr(content[:4])
)
def test_damage_of_any_file_is_no_error(content: bytes, working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1]}, params={"lr": 1})
    for path in run_dir.path.iterdir():
        path.write_bytes(content)
    for path in (run_dir.labels_file, run_dir.environment_file, run_dir.patch_file, run_dir.log_file()):
        path.write_bytes(content)
    run = Run(run_dir.path)
    for name in ("status", "started_at", "duration", "sources", "params", "tags", "note", "summary", "dropped"):
        getattr(run, name)

    assert run.status == "damaged"
    assert len(run.metrics("a")) == 0
    assert run._repr_html_()


def test_it_shows_its_last_metrics(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [0.123456789], "b": [3], "c": [math.nan], "d": [4]})

    assert repr(Run(run_dir.path)) == f"<Run train {run_dir.id} completed a=0.123457 b=3 c=nan>"


def test_what_cannot_be_printed_or_spelled_in_digits_is_shown_all_the_same(working_dir: Path) -> None:
    run = Run(make_recorded(working_dir, {"\ud800": [1.0], "big": [10**5000], "diverged": [1.0, math.nan]}).path)

    shown = sorted(repr(run).partition(" completed ")[2].removesuffix(">").split())
    assert shown == ["\\ud800=1", f"big={hex(10**5000)[:199]}…", "diverged=nan"]
    assert "<th>\\ud800</th><td>1</td>" in run._repr_html_()


def test_in_a_notebook_every_text_is_escaped(working_dir: Path) -> None:
    evil = "<script>alert(1)</script>"
    html = Run(
        make_recorded(working_dir, {evil: [1]}, params={evil: evil}, status=evil, experiment_name=evil).path
    )._repr_html_()

    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 4


def test_a_long_value_is_cut_where_it_is_shown(working_dir: Path) -> None:
    assert len(Run(make_run(working_dir, params={"text": "x" * 10_000}).path)._repr_html_()) < 1000


def test_runs_of_one_directory_are_equal(working_dir: Path) -> None:
    run_dir, other = make_run(working_dir), make_run(working_dir)

    assert Run(run_dir.path) == Run(os.path.relpath(run_dir.path))
    assert Run(run_dir.path) != Run(other.path)
    assert Run(run_dir.path) != str(run_dir.path)
    assert len({Run(run_dir.path), Run(run_dir.path), Run(other.path)}) == 2


def test_the_result_of_the_main_function_is_kept(working_dir: Path) -> None:
    assert Run(working_dir, result=[1]).result == [1]
    assert Run(working_dir).result is None


def test_reading_a_run_writes_nothing(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir, {"a": [1]}, params={"lr": 0.1})
    run_dir.summary_file.unlink()

    def state() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in working_dir.rglob("*"))

    before = state()
    run = Run(run_dir.path)
    repr(run), run.summary, run.metrics("a"), run._repr_html_(), run.tags, run.environment

    assert state() == before


def test_a_series_is_a_public_class() -> None:
    assert Series("a", rundir.Points([0], [1.5], [2])).value.tolist() == [2]
