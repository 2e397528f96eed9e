"""``ls`` and ``best``: which runs are shown, in which order, with which columns, and together."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from pystematic import rundir
from pystematic.rundir import format_time
from pystematic.store import runs
from tests.builders import make_run
from tests.cli.builders import Ended, pystematic, run_on_terminal
from tests.store.builders import make_recorded, moment

Capsys = pytest.CaptureFixture[str]


def error(text: str, command: str = "ls") -> Ended:
    return Ended(2, "", f"pystematic {command}: error: {text}\nSee 'pystematic {command} --help'.\n")


def make_grid(**fields: Any) -> list[str]:
    """Make two learning rates with two seeds each, in ./output; return the ids."""
    made = []
    for i, (lr, seed) in enumerate((lr, seed) for lr in (0.1, 0.2) for seed in (1, 2)):
        params = {"lr": lr, "random_seed": seed}
        made.append(
            make_recorded(
                Path("output"), {"acc": [0.9, lr + seed / 100]}, i, params=params, metric="acc:max", **fields
            ).id
        )
    return made


def listed(capsys: Capsys, *words: str) -> list[str]:
    ended = pystematic(capsys, "ls", *words, "--output", "json")
    assert (ended.code, ended.err) == (0, "")
    return [record["id"] for record in json.loads(ended.out)]


# -- which runs ------------------------------------------------------------------------------------------------------


def test_a_filter_chooses(capsys: Capsys) -> None:
    made = make_grid()

    assert listed(capsys, "--where", "params.lr > 0.1 and params.random_seed == 2") == [made[3]]


def test_a_sort_key_orders_and_is_reversed_with_a_sign(capsys: Capsys) -> None:
    made = make_grid()

    assert listed(capsys, "--sort", "params.random_seed") == [made[0], made[2], made[1], made[3]]
    assert listed(capsys, "--sort=-metrics.acc.last") == made[::-1]


def test_a_limit_takes_the_newest_or_the_first_by_the_key(capsys: Capsys) -> None:
    made = make_grid()

    assert listed(capsys, "--limit", "2") == made[2:]
    assert listed(capsys, "--limit", "1", "--sort", "metrics.acc.last") == made[:1]
    assert listed(capsys, "--limit", "99") == made


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--limit", "0"], "--limit 0 shows nothing. Give 1 or more."),
        (["--limit", "0", "--group-by", "lr"], "--limit 0 shows nothing. Give 1 or more."),
        (
            ["--where", "lr > 3"],
            "the filter is not understood: there is no field 'lr'. A parameter is written params.lr, a metric "
            "metrics['lr'].\n  lr > 3\n  ^",
        ),
        (
            ["--sort", "3"],
            "the sort key is not understood: only fields sort, such as started_at or metrics['val/accuracy'].max.\n"
            "  3\n  ^",
        ),
        (
            ["--columns", "id,nothing"],
            "the field is not understood: there is no field 'nothing'. A parameter is written params.nothing, a "
            "metric metrics['nothing'].\n  nothing\n  ^",
        ),
        (["--columns", "id,,lr"], "a column is empty in 'id,,lr'. Write names with one comma between them."),
        (["--experiment", "trian"], "there is no run of experiment 'trian' in './output'. Did you mean 'train'?"),
        (["--sweep", "x"], "there is no run of a sweep 'x' in './output'. There is none."),
        (["--watch"], "--watch draws on a terminal. Leave it out to print the list once."),
    ],
)
def test_wrong_usage(capsys: Capsys, words: list[str], text: str) -> None:
    make_grid()

    assert pystematic(capsys, "ls", *words) == error(text)


def test_a_filter_that_nothing_fits_says_so(capsys: Capsys) -> None:
    make_grid()

    assert pystematic(capsys, "ls", "--where", "params.lr > 3") == Ended(0, "No run in ./output fits.\n", "")
    assert pystematic(capsys, "ls", "--where", "params.lr > 3", "--output", "json").out == "[]\n"


def test_names_that_no_run_has_are_said(capsys: Capsys) -> None:
    make_grid()

    ended = pystematic(capsys, "ls", "--where", "params.random_sed == 1", "--sort", "metrics.loss.min")
    assert ended.code == 0
    assert ended.err == (
        "no run has a parameter 'random_sed'. Did you mean 'random_seed'?\nno run has a metric 'loss'.\n"
    )


def test_an_experiment_chooses(capsys: Capsys) -> None:
    make_grid()
    other = make_run(Path("output"), "other").id

    assert listed(capsys, "--experiment", "other") == [other]


def test_points_of_sweeps_are_left_out_and_counted(capsys: Capsys) -> None:
    made = make_grid()
    point = make_run(Path("output"), parent="sweep study", started_at=moment(9)).id

    ended = pystematic(capsys, "ls")
    assert point not in ended.out
    assert ended.err == "1 run of a sweep is left out: --all, or --sweep NAME.\n"
    assert listed(capsys) == made
    assert listed(capsys, "--all") == [*made, point]
    assert listed(capsys, "--sweep", "study") == [point]
    assert pystematic(capsys, "ls", "--sweep", "studdy") == error(
        "there is no run of a sweep 'studdy' in './output'. Did you mean 'study'?"
    )


# -- columns ---------------------------------------------------------------------------------------------------------


def test_columns_are_fields_parameters_and_metrics(capsys: Capsys) -> None:
    made = make_grid()

    ended = pystematic(
        capsys,
        "ls",
        "--columns",
        "run, lr, acc, acc:max, metrics['acc'].first, status",
        "--limit",
        "1",
        "--output",
        "csv",
    )
    assert ended.out == f"run,lr,acc,acc:max,metrics['acc'].first,status\n{made[3]},0.2,0.22,0.9,0.9,completed\n"


def test_columns_as_json_are_named_as_they_were_asked_for(capsys: Capsys) -> None:
    make_grid()

    ended = pystematic(capsys, "ls", "--columns", "params.lr,note,params.nothing", "--limit", "1", "--output", "json")
    assert json.loads(ended.out) == [{"params.lr": 0.2, "note": "", "params.nothing": None}]


def test_times_are_local_for_people_and_utc_for_programs(capsys: Capsys) -> None:
    make_grid()
    started, ended = moment(0), moment(1)
    words = ["ls", "--columns", "started,ended_at,time", "--sort", "started_at", "--limit", "1"]
    row = json.loads(pystematic(capsys, *words, "--output", "json").out)[0]
    text = pystematic(capsys, *words).out

    assert row == {"started": format_time(started.timestamp()), "ended_at": format_time(ended.timestamp()), "time": 1.0}
    assert text.splitlines()[1].split("  ") == [
        f"{started.astimezone():%Y-%m-%d %H:%M:%S}",
        f"{ended.astimezone():%Y-%m-%d %H:%M:%S}",
        "1.0s",
    ]


def test_groups_by_a_time_show_it_as_such(capsys: Capsys) -> None:
    make_grid()
    words = ["ls", "--group-by", "started_at", "--limit", "1", "--sort", "started_at"]

    assert f"{moment(0).astimezone():%Y-%m-%d %H:%M:%S}" in pystematic(capsys, *words).out
    row = json.loads(pystematic(capsys, *words, "--output", "json").out)[0]
    assert row["started_at"] == format_time(moment(0).timestamp())


# -- groups ----------------------------------------------------------------------------------------------------------


def test_groups_show_mean_deviation_and_number(capsys: Capsys) -> None:
    make_grid()

    assert pystematic(capsys, "ls", "--group-by", "lr").out == (
        " lr  n  acc              acc:max\n0.1  2  0.1150 ± 0.0071  0.9 ± 0\n0.2  2  0.2150 ± 0.0071  0.9 ± 0\n"
    )


def test_groups_as_json_and_csv(capsys: Capsys) -> None:
    make_grid()

    groups = json.loads(pystematic(capsys, "ls", "--group-by", "lr,status", "--output", "json").out)
    assert [(group["lr"], group["status"], group["n"]) for group in groups] == [
        (0.1, "completed", 2),
        (0.2, "completed", 2),
    ]
    assert groups[0]["metrics"]["acc:max"] == {"mean": 0.9, "std": 0.0, "n": 2}
    lines = pystematic(capsys, "ls", "--group-by", "lr", "--output", "csv").out.splitlines()
    assert lines[0] == "lr,n,acc mean,acc std,acc n,acc:max mean,acc:max std,acc:max n"
    assert lines[1].startswith("0.1,2,0.115,0.00707")


def test_groups_are_ordered_by_the_mean(capsys: Capsys) -> None:
    make_grid()

    words = ["ls", "--group-by", "params.lr", "--sort=-metrics.acc.last", "--limit", "1", "--output", "json"]
    (group,) = json.loads(pystematic(capsys, *words).out)
    assert group["params.lr"] == 0.2


def test_the_group_of_one_has_no_deviation(capsys: Capsys) -> None:
    make_recorded(Path("output"), {"acc": [0.5]}, params={"lr": 1.0})

    assert pystematic(capsys, "ls", "--group-by", "lr").out == "lr  n  acc\n 1  1  0.5\n"


# -- watching --------------------------------------------------------------------------------------------------------


def test_watching_draws_the_list_until_ctrl_c(working_dir: Path) -> None:
    made = make_grid()
    code = """
import time
from pystematic.cli import main
shown = []
def sleep(seconds):
    shown.append(seconds)
    if len(shown) == 2:
        raise KeyboardInterrupt
time.sleep = sleep
main(["ls", "--watch", "--columns", "run"])
"""
    code_of_exit, screen = run_on_terminal(80, "-c", code)

    assert code_of_exit == 0
    assert screen.count("\x1b[H") == 2
    assert all(screen.count(run_id) == 2 for run_id in made)


# -- best ------------------------------------------------------------------------------------------------------------


def test_best_of_a_choice(capsys: Capsys) -> None:
    made = make_grid()

    def best(*words: str) -> str:
        record = json.loads(pystematic(capsys, "best", *words, "--output", "json").out)
        return str(record["id"])

    assert best("--where", "params.lr > 0.1") == made[2]
    assert best("acc:min", "--where", "params.lr > 0.1") == made[2]
    assert best("acc:max") == made[0]


def test_best_of_a_choice_that_is_empty(capsys: Capsys) -> None:
    make_grid()

    assert pystematic(capsys, "best", "--where", "params.lr > 3") == error(
        "there is no run that fits in './output'.", "best"
    )


def test_best_of_a_sweep(capsys: Capsys) -> None:
    make_grid()
    point = make_recorded(Path("output"), {"acc": [0.1]}, 9, parent="sweep study", metric="acc:max").id

    assert json.loads(pystematic(capsys, "best", "--sweep", "study", "--output", "json").out)["id"] == point


def test_many_runs_are_listed_like_few(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    make_grid()
    make_run(Path("output"), started_at=moment(9), params={"lr": [1, 2]}, status="failed")
    for words in (["ls"], ["ls", "--output", "csv"], ["ls", "--columns", "run,lr"], ["best"]):
        few = pystematic(capsys, *words)
        with monkeypatch.context() as patch:
            patch.setattr("pystematic.cli._listing.FEW", 0)
            assert pystematic(capsys, *words) == few


def test_a_run_that_was_changed_in_place_is_listed_as_it_is(capsys: Capsys) -> None:
    make_grid()
    pystematic(capsys, "ls")
    run = runs("output")[0]
    rundir.RunDir(run.path).parameters_file.write_text("lr: 7\n")

    assert listed(capsys, "--where", "params.lr == 7") == [run.id]


# -- names that another column has -----------------------------------------------------------------------------------


def test_a_metric_with_the_name_of_a_column_takes_no_ones_place(capsys: Capsys) -> None:
    make_recorded(
        Path("output"), {"time": [3.0], "status": [7.0], "lr": [0.5]}, 0, params={"lr": 0.1, "run": "a", "n": 1}
    )
    make_recorded(
        Path("output"), {"time": [4.0], "status": [8.0], "lr": [0.25]}, 1, params={"lr": 0.2, "run": "b", "n": 2}
    )

    rows = list(csv.DictReader(io.StringIO(pystematic(capsys, "ls", "--output", "csv").out)))
    assert [(row["status"], row["metrics.status"], row["metrics.time"]) for row in rows] == [
        ("completed", "7.0", "3.0"),
        ("completed", "8.0", "4.0"),
    ]
    groups = json.loads(pystematic(capsys, "ls", "--group-by", "params.lr,n", "--output", "json").out)
    assert [(group["params.lr"], group["params['n']"], group["n"]) for group in groups] == [(0.1, 1, 1), (0.2, 2, 1)]
    groups = list(csv.DictReader(io.StringIO(pystematic(capsys, "ls", "--group-by", "lr", "--output", "csv").out)))
    assert [(group["lr"], group["n"], group["metrics.lr mean"]) for group in groups] == [
        ("0.1", "1", "0.5"),
        ("0.2", "1", "0.25"),
    ]
    best = json.loads(pystematic(capsys, "best", "lr:max", "--output", "json").out)["id"]
    assert pystematic(capsys, "best", "lr:max", "--output", "csv").out.splitlines()[1].startswith(best)


def test_a_metric_that_is_always_nan_is_never_best(capsys: Capsys) -> None:
    make_recorded(Path("output"), {"loss": [math.nan]}, 0)

    assert "'loss' is NaN in all runs" in pystematic(capsys, "best", "loss:min").err


def test_a_column_or_group_that_is_none_is_called_a_field(capsys: Capsys) -> None:
    make_recorded(Path("output"), {}, 0)

    assert "the field is not understood" in pystematic(capsys, "ls", "--group-by", "nope").err
