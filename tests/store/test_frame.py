"""Runs chosen, ordered, grouped, and as tables of pandas and polars."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest

from pystematic.errors import UsageError
from pystematic.store import Run, Runs, Spread, runs
from pystematic.store._frame import spread_of, uniform
from tests.builders import make_run
from tests.store.builders import make_recorded, moment


def make_grid(folder: Path) -> Runs:
    """Make two learning rates with three seeds each, and a run without either."""
    for i, (lr, seed) in enumerate((lr, seed) for lr in (0.1, 0.2) for seed in (1, 2, 3)):
        params = {"lr": lr, "random_seed": seed, "model": "resnet" if lr > 0.1 else None}
        make_recorded(folder, {"acc": [0.0, lr + seed / 100]}, i, params=params, metric="acc:max")
    make_run(folder, "other", started_at=moment(9), status="failed")
    return runs(folder)


def test_filters_and_orders_can_be_put_together(working_dir: Path) -> None:
    found = make_grid(working_dir)

    chosen = found.filter("params.lr > 0.1").sort("-metrics.acc.max").filter("params.random_seed != 3")
    assert chosen.values("params.random_seed") == [2, 1]
    assert found.sort("-params.random_seed, params.lr")[:3].values("params.lr") == [0.1, 0.2, 0.1]
    assert len(found) == 7


def test_a_part_of_a_part_is_that(working_dir: Path) -> None:
    found = make_grid(working_dir)

    assert found[1:5][1:][-1] == found[4]
    assert found[::-1][0] == found[-1]
    assert list(found[5:2]) == []


def test_the_runs_handed_out_are_the_same_objects(working_dir: Path) -> None:
    found = make_grid(working_dir)

    assert found[0] is found[0]
    assert found.sort("-started_at")[-1] is found[0]


@pytest.mark.parametrize("text", ["params.lr >", "", "lr > 3"])
def test_a_bad_filter_is_a_usage_error_at_once(text: str, working_dir: Path) -> None:
    found = make_grid(working_dir)
    with pytest.raises(UsageError, match="the filter is not understood"):
        found.filter(text)
    with pytest.raises(UsageError, match="the sort key is not understood"):
        found.sort(text)


def test_values_are_those_of_a_field(working_dir: Path) -> None:
    found = make_grid(working_dir)

    assert found.values("params.lr") == [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, None]
    assert found.values("status")[-1] == "failed"
    assert found.values("started_at")[1] == moment(1).timestamp()
    assert found.values("sources.lr")[0] == "default"
    assert found.values("params.nothing") == [None] * 7


@pytest.mark.parametrize("text", ["-params.lr", "params.lr, status"])
def test_only_one_field_has_values(text: str, working_dir: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_grid(working_dir).values(text)
    assert str(caught.value) == f"{text!r} is not one field. Write one, such as params.learning_rate."


# -- groups ----------------------------------------------------------------------------------------------------------


def test_groups_of_seeds_have_mean_deviation_and_number(working_dir: Path) -> None:
    groups = make_grid(working_dir).filter("params.lr is not none").group_by("params.lr")

    assert [group.key for group in groups] == [{"params.lr": 0.1}, {"params.lr": 0.2}]
    assert [group.n for group in groups] == [3, 3]
    spread = groups[1].spread("metrics.acc.max")
    assert spread.n == 3
    assert spread.mean == pytest.approx(0.22)
    assert spread.std == pytest.approx(0.01)
    assert groups[0].metrics("first") == {"acc": Spread(0.0, 0.0, 3)}
    assert [run.params["random_seed"] for run in groups[1].runs] == [1, 2, 3]
    assert groups[1].runs.best("acc:max") == groups[1].runs[2]
    assert repr(groups[0]) == "<Group params.lr=0.1: 3 runs>"


def test_runs_without_a_value_are_a_group(working_dir: Path) -> None:
    groups = make_grid(working_dir).group_by("params.model", "status")

    assert [(group.key, group.n) for group in groups] == [
        ({"params.model": None, "status": "completed"}, 3),
        ({"params.model": "resnet", "status": "completed"}, 3),
        ({"params.model": None, "status": "failed"}, 1),
    ]


def test_values_of_different_kinds_are_different_groups(working_dir: Path) -> None:
    for second, value in enumerate([1, True, "1", 1.0, [1], (1,), math.nan, math.nan]):
        make_run(working_dir, started_at=moment(second), params={"x": value})

    assert [group.n for group in runs(working_dir).group_by("params.x")] == [2, 1, 1, 2, 2]


def test_groups_need_a_field(working_dir: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_grid(working_dir).group_by()
    assert str(caught.value) == "group_by needs a field, such as 'params.learning_rate'."


def test_a_group_knows_only_the_statistics_that_there_are(working_dir: Path) -> None:
    (group, *_) = make_grid(working_dir).group_by("params.lr")
    with pytest.raises(UsageError) as caught:
        group.metrics("median")
    assert str(caught.value) == (
        "there is no statistic 'median'. There are first, last, min, max, mean, count, min_step, max_step."
    )


@pytest.mark.parametrize(
    ("values", "mean", "std", "n"),
    [
        ([], None, None, 0),
        ([None, "x", True], None, None, 0),
        ([2], 2.0, None, 1),
        ([1, 3], 2.0, math.sqrt(2), 2),
        ([1e308, 1e308], 1e308, 0.0, 2),
        ([1e308, -1e308], 0.0, math.inf, 2),
        ([math.inf, -math.inf], math.nan, math.nan, 2),
        ([math.inf, 1.0], math.inf, math.nan, 2),
    ],
)
def test_the_spread_of(values: list[Any], mean: float | None, std: float | None, n: int) -> None:
    assert repr(spread_of(values)) == repr(Spread(mean, std, n))


# -- tables ----------------------------------------------------------------------------------------------------------


def test_a_pandas_frame_has_a_row_a_run(working_dir: Path) -> None:
    frame = make_grid(working_dir).to_pandas()

    assert len(frame) == 7
    assert list(frame["params.lr"].dropna()) == [0.1, 0.1, 0.1, 0.2, 0.2, 0.2]
    assert frame["metrics.acc.max"][0] == 0.11
    assert frame["started_at"][0] == pandas.Timestamp(moment(0))
    assert frame["status"][6] == "failed"
    assert [name for name in frame if name.startswith(("params.", "metrics."))] == [
        "params.lr",
        "params.random_seed",
        "params.model",
        "metrics.acc.last",
        "metrics.acc.min",
        "metrics.acc.max",
    ]


def test_a_frame_has_the_statistics_that_were_asked_for(working_dir: Path) -> None:
    frame = make_grid(working_dir).to_pandas(statistics=["count"])

    assert [name for name in frame if name.startswith("metrics.")] == ["metrics.acc.count"]


def test_a_frame_of_no_runs_is_empty(working_dir: Path) -> None:
    assert len(make_grid(working_dir).filter("params.lr > 9").to_pandas()) == 0
    assert len(Runs([]).to_polars()) == 0


def test_a_polars_frame_has_a_row_a_run(working_dir: Path) -> None:
    frame = make_grid(working_dir).to_polars()

    assert frame["params.lr"].to_list() == [0.1, 0.1, 0.1, 0.2, 0.2, 0.2, None]
    assert frame.schema["started_at"] == polars.Datetime("us", "UTC")
    assert frame["started_at"][0] == moment(0)


def test_a_polars_column_of_several_types_is_text(working_dir: Path) -> None:
    for second, value in enumerate([1, "auto", None, [1, 2], True]):
        make_run(working_dir, started_at=moment(second), params={"x": value})

    assert runs(working_dir).to_polars()["params.x"].to_list() == ["1", "auto", None, "[1, 2]", "true"]


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ([1, 2.5, None], [1, 2.5, None]),
        (["a", None], ["a", None]),
        ([True, False], [True, False]),
        ([2**70, 1], [str(2**70), "1"]),
        pytest.param([10**5000, 2.5, None], [hex(10**5000), "2.5", None], id="an int of too many digits"),
        ([1, "a"], ["1", "a"]),
        ([None], [None]),
    ],
)
def test_columns_of_one_type_stay_as_they_are(values: list[Any], same: list[Any]) -> None:
    assert uniform(values) == same


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_what_is_no_unicode_is_escaped_in_a_frame(library: str, working_dir: Path) -> None:
    names = {"\ud800": 1.0, "\\ud800 (eda080)": 2.0, "ä": 3.0}
    make_recorded(working_dir, {tag: [value] for tag, value in names.items()}, params={"text": "ä\udcff"})
    frame = getattr(runs(working_dir), f"to_{library}")(["last"])

    assert {name: frame[name][0] for name in frame.columns if name.startswith("metrics.")} == {
        "metrics.\\ud800 (eda080)'.last": 1.0,
        "metrics.\\ud800 (eda080).last": 2.0,
        "metrics.ä.last": 3.0,
    }
    assert frame["params.text"][0] == "ä\\udcff"


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_missing_library_is_said(library: str, working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = make_grid(working_dir)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError) as caught:
        getattr(found, f"to_{library}")()
    assert str(caught.value) == f"to_{library} needs {library}, which is not installed: pip install {library}"


def test_runs_of_ones_own_choice_can_be_filtered(working_dir: Path) -> None:
    found = make_grid(working_dir)
    mine = Runs([found[5], found[0], Run(found[3].path)])

    assert [run.id for run in mine] == [found[5].id, found[0].id, found[3].id]
    assert mine.filter("params.lr == 0.2").values("params.random_seed") == [3, 1]
    assert mine.to_pandas()["params.lr"].tolist() == [0.2, 0.1, 0.2]
