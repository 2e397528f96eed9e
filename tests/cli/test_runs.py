"""``ls``, ``show``, ``diff`` and ``best``: what a person, a program and a spreadsheet get to see of runs."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic import rundir
from pystematic.rundir import RunDir
from tests.builders import make_repository, make_run, run_git, run_python, write_program
from tests.cli.builders import Ended, program, run_on_terminal
from tests.cli.builders import pystematic as command

Capsys = pytest.CaptureFixture[str]

START = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _times_are_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def record(run: RunDir, metrics: Mapping[str, list[float]]) -> None:
    """Record series as the run would have."""
    recorder = pystematic.Recorder(run.path)
    for tag, values in metrics.items():
        for step, value in enumerate(values):
            recorder.scalar(tag, value, step=step)
    recorder.close()


def made_run(
    number: int,
    metrics: Mapping[str, list[float]] | None = None,
    *,
    experiment: str = "train",
    params: Mapping[str, object] | None = None,
    **more: Any,
) -> RunDir:
    """Make the run that was started as the ``number``-th, a minute after the one before."""
    started_at = START + datetime.timedelta(minutes=number)
    run = make_run(Path("output"), experiment, params=params, started_at=started_at, **more)
    record(run, metrics or {})
    return run


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


# -- ls ----------------------------------------------------------------------------------------------------------


def test_ls_shows_what_varies_beside_the_metrics(capsys: Capsys) -> None:
    first = made_run(0, {"loss": [0.5, 0.25]}, params={"lr": 0.1, "epochs": 3}, metric="loss:min")
    second = made_run(1, {"loss": [0.25, 0.75]}, params={"lr": 0.01, "epochs": 3}, metric="loss:min", status="failed")
    assert command(capsys, "ls") == Ended(
        0,
        f"""\
run                         status     started              time    lr  loss  loss:min
{first.id}  completed  2026-01-02 03:04:05  1.0s   0.1  0.25      0.25
{second.id}  failed     2026-01-02 03:05:05  1.0s  0.01  0.75      0.25
""",
        "",
    )


def test_ls_names_the_experiment_where_there_are_several(capsys: Capsys) -> None:
    made_run(0)
    made_run(1, experiment="tools.clean")
    lines = command(capsys, "ls").out.splitlines()
    assert lines[0].split() == ["run", "experiment", "status", "started", "time"]
    assert [line.split()[1] for line in lines[1:]] == ["train", "tools.clean"]


def test_ls_shows_tags_where_there_are_some(capsys: Capsys) -> None:
    made_run(0, params={"tags": ["a", "b"]})
    made_run(1)
    lines = command(capsys, "ls").out.splitlines()
    assert lines[0].endswith("  tags")
    assert lines[1].endswith("  a,b")


def test_tables_and_comparisons_leave_out_what_measures_the_machine(capsys: Capsys) -> None:
    for number in range(2):
        made_run(number, {"loss": [0.5], "system/memory_percent": [float(number)]})
    assert "system" not in command(capsys, "ls").out
    assert "system" not in command(capsys, "ls", "--group-by", "status").out
    assert command(capsys, "diff", "last", "last~1").out == "Nothing differs that is recorded.\n"
    assert "system/memory_percent" in command(capsys, "show", "last").out
    asked = command(capsys, "ls", "--columns", "system/memory_percent", "--output", "csv").out
    assert asked == "system/memory_percent\n0.0\n1.0\n"


def test_ls_keeps_parameters_apart_from_its_own_columns(capsys: Capsys) -> None:
    made_run(0, {"loss": [1.0]}, params={"status": "open", "loss": "l1", "time": 1})
    made_run(1, {"loss": [2.0]}, params={"status": "shut", "loss": "l2", "time": 2})
    row = rows_of(command(capsys, "ls", "--output", "csv").out)[0]
    assert row["status"] == "completed"
    assert (row["params.status"], row["params.loss"], row["params.time"]) == ("open", "l1", "1")
    assert row["loss"] == "1.0"


def test_ls_as_json_holds_everything(capsys: Capsys) -> None:
    run = made_run(
        0, {"loss": [0.5, float("nan"), float("inf")]}, params={"lr": 0.1, "data": Path("x")}, metric="loss:min"
    )
    (shown,) = json.loads(command(capsys, "ls", "--output", "json").out)
    assert shown == {
        "id": run.id,
        "experiment": "train",
        "status": "completed",
        "path": os.path.abspath(run.path),
        "started_at": "2026-01-02T03:04:05+00:00",
        "duration_s": 1.0,
        "params": {"lr": 0.1, "data": rundir.encode(Path("x"))},
        "sources": {"lr": "default", "data": "default"},
        "metrics": {
            "loss": {
                "first": 0.5,
                "last": {"special": "inf"},
                "min": 0.5,
                "max": {"special": "inf"},
                "mean": {"special": "inf"},
                "count": 3,
                "min_step": 0,
                "max_step": 2,
            }
        },
        "tags": [],
        "note": "",
        "metric": "loss:min",
    }


def test_ls_as_csv_holds_numbers_in_full(capsys: Capsys) -> None:
    made_run(0, {"loss": [1 / 3]}, params={"lr": 0.1})
    made_run(1, {"loss": [2 / 3]}, params={"lr": 0.2, "text": 'a,b\n"c"'})
    rows = rows_of(command(capsys, "ls", "--output", "csv").out)
    assert [row["loss"] for row in rows] == [str(1 / 3), str(2 / 3)]
    assert [row["text"] for row in rows] == ["", 'a,b\n"c"']


def test_ls_of_an_empty_folder(capsys: Capsys) -> None:
    Path("output").mkdir()
    assert command(capsys, "ls") == Ended(0, "There are no runs in ./output.\n", "")
    assert command(capsys, "ls", "--output", "json").out == "[]\n"
    assert command(capsys, "ls", "--output", "csv").out == "run,experiment,status,started,time\n"


@pytest.mark.parametrize("name", ["ls", "best"])
def test_a_folder_that_does_not_exist_is_wrong_usage(capsys: Capsys, name: str) -> None:
    assert command(capsys, name) == Ended(
        2,
        "",
        f"pystematic {name}: error: there is no folder './output' with runs (default). "
        "Runs are recorded in ./output unless --output-dir says otherwise.\n"
        f"See 'pystematic {name} --help'.\n",
    )
    assert command(capsys, name, "--output-dir", "gone").err.splitlines()[0] == (
        f"pystematic {name}: error: there is no folder 'gone' with runs (command line)."
    )


@pytest.mark.parametrize(("count", "message"), [(1, "1 folder holds"), (2, "2 folders hold")])
def test_ls_counts_damaged_records(capsys: Capsys, count: int, message: str) -> None:
    made_run(0)
    for i in range(count):
        made_run(1 + i).run_file.write_text("{")
    ended = command(capsys, "ls")
    assert len(ended.out.splitlines()) == 2
    assert ended.err == f"{message} a damaged run.json, left out here.\n"


def test_what_writes_runs_into_a_file_says_which_it_leaves_out(capsys: Capsys) -> None:
    made_run(0)
    made_run(1).run_file.write_text("{")
    assert command(capsys, "export", "--file", "runs.csv").err == (
        "1 folder holds a damaged run.json, left out here.\nWrote 1 run to runs.csv.\n"
    )


def test_ls_cuts_long_values_on_a_terminal_only(working_dir: Path) -> None:
    made_run(0, params={"text": "v" * 300})
    made_run(1, params={"text": "w" * 300})
    code, screen = run_on_terminal(100, "-m", "pystematic", "ls")
    assert code == 0
    assert max(map(len, screen.splitlines())) <= 100
    assert "vvvvv…" in screen
    assert "v" * 300 in run_python("-m", "pystematic", "ls").stdout


def test_values_cannot_take_over_the_terminal(capsys: Capsys) -> None:
    made_run(
        0, params={"text": "\x1b[2J", "tags": ["\x07"], "note": "a\nb"}, error={"type": "E", "message": "\x1b[31m"}
    )
    made_run(1, params={"text": "x"})
    for words in (["ls"], ["show", "last~1"], ["diff", "last", "last~1"]):
        out = command(capsys, *words).out
        assert "\x1b" not in out
        assert "\x07" not in out
        assert r"\x1b[2J" in out


# -- show --------------------------------------------------------------------------------------------------------


def test_show_shows_all_of_a_run(capsys: Capsys) -> None:
    run = made_run(
        0,
        {"loss": [0.5, 0.25, 0.75]},
        params={"lr": 0.1, "tags": ["a"], "note": "Remember."},
        argv=["prog.py", "train", "--lr", "0.1"],
        sources={"lr": "command line", "tags": "default", "note": "default"},
    )
    assert (
        command(capsys, "show", "last").out.partition("\nFiles\n")[0]
        == f"""\
train {run.id}: completed
  folder    output/train/{run.id}
  started   2026-01-02 03:04:05
  time      1.0s
  host      elsewhere
  command   prog.py train --lr 0.1
  tags      a
  note      Remember.

Parameters
  name  value      source
  lr    0.1        command line
  tags  a          default
  note  Remember.  default

Metrics
  tag   last   min   max  mean  count  min_step  max_step
  loss  0.75  0.25  0.75   0.5      3         1         2
"""
    )


def test_show_says_where_the_newest_number_is_nan(capsys: Capsys) -> None:
    made_run(0, {"loss": [0.5, math.nan], "acc": [1.0]})
    metrics = command(capsys, "show", "last").out.partition("\nMetrics\n")[2].partition("\nFiles\n")[0]
    assert metrics.splitlines() == [
        "  tag   last  min  max  mean  count  min_step  max_step  ends_in_nan",
        "  loss   0.5  0.5  0.5   0.5      2         0         0         true",
        "  acc      1    1    1     1      1         0         0",
    ]


def test_show_lists_the_files(capsys: Capsys) -> None:
    run = made_run(0, {"loss": [1.0]})
    (run.path / "figures").mkdir()
    (run.path / "figures" / "a.png").write_bytes(b"x" * 2048)
    files = command(capsys, "show", "last").out.partition("\nFiles\n")[2]
    assert files.splitlines()[0].split() == ["file", "size"]
    assert "  figures/a.png    2.0 KiB" in files.splitlines()
    assert {line.split()[0] for line in files.splitlines()} == {
        *("file", "figures/a.png", "metrics.jsonl", "parameters.yaml", "run.json"),
        *(path.name for path in run.path.iterdir() if path.is_file()),
    }


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "completed"),
        ({"status": "failed", "exit_code": 3}, "failed, exit code 3"),
        ({"status": "failed", "error": {"type": "ValueError", "message": "no\nmore"}}, "failed (ValueError: no)"),
        ({"status": "failed", "error": {"type": "ValueError", "message": ""}}, "failed (ValueError)"),
        ({"status": "failed", "error": {"type": "E", "message": "['a'] and 'b'])"}}, "failed (E: ['a'] and 'b']))"),
        ({"status": "interrupted", "exit_code": 130}, "interrupted, exit code 130"),
    ],
)
def test_show_says_how_the_run_ended(capsys: Capsys, fields: dict[str, Any], status: str) -> None:
    run = made_run(0, **fields)
    assert command(capsys, "show", "last").out.splitlines()[0] == f"train {run.id}: {status}"


def test_show_has_the_traceback(capsys: Capsys) -> None:
    made_run(0, status="failed", error={"type": "ValueError", "message": "no", "traceback": "Traceback:\n  File\nno\n"})
    assert "\nError\n  Traceback:\n    File\n  no\n\nFiles\n" in command(capsys, "show", "last").out


def test_show_names_the_commit_and_its_changes(capsys: Capsys) -> None:
    run = made_run(0)
    rundir.write_document(run.environment_file, {"git": {"commit": "0123456789abcdef", "branch": "main"}})
    assert "\n  commit    0123456789ab (main)\n" in command(capsys, "show", "last").out
    run.patch_file.write_text("diff\n")
    assert "\n  commit    0123456789ab (main) with uncommitted changes, see source.patch\n" in (
        command(capsys, "show", "last").out
    )


def test_show_as_json_has_the_record_and_the_environment(capsys: Capsys) -> None:
    run = made_run(0, {"loss": [1.0]}, params={"lr": 0.1})
    rundir.write_document(run.environment_file, {"python": {"version": "3.11.1"}})
    shown = json.loads(command(capsys, "show", "last", "--output", "json").out)
    assert shown["params"] == {"lr": 0.1}
    assert shown["record"] == json.loads(run.run_file.read_text())
    assert shown["environment"]["python"] == {"version": "3.11.1"}


def test_show_as_csv_has_the_parameters(capsys: Capsys) -> None:
    made_run(0, params={"lr": 0.1, "text": "a,b"})
    assert (
        command(capsys, "show", "last", "--output", "csv").out
        == 'name,value,source\nlr,0.1,default\ntext,"a,b",default\n'
    )


@pytest.mark.parametrize("where", ["path", "id", "end", "beginning", "last", "tag"])
def test_a_run_is_found_by(capsys: Capsys, where: str) -> None:
    run = made_run(0, params={"tags": ["the-one"]})
    words = {"path": str(run.path), "id": run.id, "end": run.id[-6:], "beginning": run.id[:-2], "tag": "the-one"}
    assert command(capsys, "show", words.get(where, where)).out.startswith(f"train {run.id}: completed\n")


def test_a_path_needs_no_folder_of_runs(capsys: Capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run = made_run(0)
    path = os.path.abspath(run.path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    out = command(capsys, "show", path).out
    assert out.startswith(f"train {run.id}: completed\n  folder    {path}\n")
    assert command(capsys, "diff", path, path).code == 0


@pytest.mark.parametrize("words", [["show", "gone"], ["diff", "last", "gone"], ["rerun", "gone"]])
def test_an_unknown_run_is_wrong_usage(capsys: Capsys, words: list[str]) -> None:
    run = made_run(0)
    assert command(capsys, *words) == Ended(
        2,
        "",
        f"pystematic {words[0]}: error: there is no run 'gone' in './output'. There are {run.id}.\n"
        f"See 'pystematic {words[0]} --help'.\n",
    )


def test_what_is_damaged_is_shown_as_far_as_it_goes(capsys: Capsys) -> None:
    run = made_run(0, params={"lr": 0.1})
    for path in (run.run_file, run.environment_file, run.summary_file):
        path.write_text('{"half": ')
    ended = command(capsys, "show", str(run.path))
    assert ended.code == 0
    assert ended.out.startswith(f"train {run.id}: damaged\n")
    assert "  lr      0.1" in ended.out.splitlines()


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": "text", "host": 3, "metric": 7, "started_at": 5, "ended_at": [], "exit_code": "x"},
        {"metric": "loss", "error": "no", "sources": [], "status": "unheard of", "argv": [None, 1]},
        {"metric": ":max", "error": {}, "attempts": None, "pid": None},
    ],
)
def test_records_of_somebody_elses_making_do_no_harm(capsys: Capsys, fields: dict[str, Any]) -> None:
    run = made_run(0, {"loss": [1.0]})
    rundir.write_document(run.run_file, {**json.loads(run.run_file.read_text()), **fields})
    rundir.write_document(run.environment_file, {"git": "no", "packages": [], "python": 3})
    for words in (["ls"], ["show", "last"], ["diff", "last", "last"], ["best", "loss:max"]):
        for form in ("text", "json", "csv"):
            assert command(capsys, *words, "--output", form).code == 0


# -- diff --------------------------------------------------------------------------------------------------------


def test_diff_shows_only_what_differs(capsys: Capsys) -> None:
    first = made_run(0, {"loss": [0.5]}, params={"lr": 0.1, "epochs": 3})
    second = made_run(1, {"loss": [0.25]}, params={"lr": 0.01, "epochs": 3, "new": "x"})
    rundir.write_document(first.environment_file, {"packages": {"numpy": "1.0", "scipy": "1.0"}})
    rundir.write_document(second.environment_file, {"packages": {"numpy": "2.0", "scipy": "1.0"}})
    ended = command(capsys, "diff", first.id, second.id)
    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["what", "name", first.id[-6:], second.id[-6:]],
        ["parameters", "lr", "0.1", "0.01"],
        ["parameters", "new", "x"],
        ["packages", "numpy", "1.0", "2.0"],
        ["metrics", "loss:last", "0.5", "0.25"],
        ["metrics", "loss:min", "0.5", "0.25"],
        ["metrics", "loss:max", "0.5", "0.25"],
    ]


def test_diff_of_equal_runs(capsys: Capsys) -> None:
    first, second = made_run(0, params={"lr": 0.1}), made_run(1, params={"lr": 0.1})
    assert command(capsys, "diff", first.id, second.id) == Ended(0, "Nothing differs that is recorded.\n", "")
    assert json.loads(command(capsys, "diff", first.id, second.id, "--output", "json").out) == {
        "runs": [first.id, second.id]
    }


def test_diff_of_three_runs(capsys: Capsys) -> None:
    runs = [made_run(i, params={"lr": value}) for i, value in enumerate([0.1, 0.1, 0.2])]
    rows = rows_of(command(capsys, "diff", *(run.id for run in runs), "--output", "csv").out)
    assert rows == [
        {"what": "parameters", "name": "lr", **dict(zip((r.id[-6:] for r in runs), ("0.1", "0.1", "0.2"), strict=True))}
    ]


def test_diff_of_a_run_with_itself_tells_the_columns_apart(capsys: Capsys) -> None:
    run = made_run(0)
    assert command(capsys, "diff", run.id, run.id, "--output", "csv").out == f"what,name,{run.id} (1),{run.id} (2)\n"


# -- best --------------------------------------------------------------------------------------------------------


def test_best_shows_the_best_by_the_metric_of_the_experiment(capsys: Capsys) -> None:
    first = made_run(0, {"acc": [0.5, 0.9, 0.1]}, params={"lr": 0.1}, metric="acc:max")
    second = made_run(1, {"acc": [0.8, 0.8]}, params={"lr": 0.2}, metric="acc:max")
    made_run(2, {}, params={"lr": 0.3}, metric="acc:max")
    assert command(capsys, "best") == Ended(
        0,
        f"""\
Best of 2 by acc:max: train {first.id} with 0.9
  folder    output/train/{first.id}
  lr        0.1

run                         acc:max   lr
{first.id}      0.9  0.1
{second.id}      0.8  0.2
""",
        "",
    )


def test_best_by_another_metric(capsys: Capsys) -> None:
    made_run(0, {"acc": [0.5], "loss": [3.0]}, metric="acc:max")
    second = made_run(1, {"acc": [0.4], "loss": [1.0]}, metric="acc:max")
    shown = json.loads(command(capsys, "best", "loss:min", "--output", "json").out)
    assert (shown["id"], shown["metric"], shown["value"]) == (second.id, "loss:min", 1.0)


def test_best_knows_the_direction_of_a_declared_metric(capsys: Capsys) -> None:
    made_run(0, {"acc": [0.5]}, metric="acc:max")
    assert rows_of(command(capsys, "best", "acc", "--output", "csv").out)[0]["acc:max"] == "0.5"


def test_best_of_equals_is_the_earliest(capsys: Capsys) -> None:
    first = made_run(0, {"acc": [0.5]})
    made_run(1, {"acc": [0.5]})
    assert rows_of(command(capsys, "best", "acc:max", "--output", "csv").out)[0]["run"] == first.id
    assert rows_of(command(capsys, "best", "acc:min", "--output", "csv").out)[0]["run"] == first.id


def test_nan_never_wins(capsys: Capsys) -> None:
    made_run(0, {"acc": [float("nan")]})
    second = made_run(1, {"acc": [float("nan"), 0.1]})
    for direction in ("max", "min"):
        assert json.loads(command(capsys, "best", f"acc:{direction}", "--output", "json").out)["id"] == second.id


def test_best_lists_ten_and_counts_the_rest(capsys: Capsys) -> None:
    for i in range(13):
        made_run(i, {"acc": [float(i)]})
    lines = command(capsys, "best", "acc:max").out.splitlines()
    assert lines[0].startswith("Best of 13 by acc:max: ")
    assert lines[-1] == "and 3 more"
    assert [line.split()[1] for line in lines[-11:-1]] == [str(i) for i in range(12, 2, -1)]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["acc"], "'acc' has no direction. Write acc:max or acc:min."),
        (["acc:up"], "'acc:up' has no direction. Write acc:up:max or acc:up:min."),
        (["ac:max"], "no run has recorded 'ac'. Did you mean 'acc'?"),
        (["wholly:max"], "no run has recorded 'wholly'. There are acc, loss."),
        ([], "the experiments have different metrics (f1:max, loss:min). Say which one, or use --experiment NAME."),
        (["--experiment", "other"], "no run has recorded 'f1'. There are acc."),
        (["--experiment", "trian"], "there is no run of experiment 'trian' in './output'. Did you mean 'train'?"),
        (
            ["--experiment", "plain"],
            "no experiment here declares its metric. Say by what: pystematic best TAG:max or TAG:min.",
        ),
    ],
)
def test_best_says_what_is_missing(capsys: Capsys, words: list[str], problem: str) -> None:
    made_run(0, {"acc": [1.0], "loss": [1.0]}, metric="loss:min")
    made_run(1, {"acc": [1.0]}, experiment="other", metric="f1:max")
    made_run(2, experiment="plain")
    assert command(capsys, "best", *words) == Ended(
        2, "", f"pystematic best: error: {problem}\nSee 'pystematic best --help'.\n"
    )


def test_best_where_nothing_is_recorded(capsys: Capsys) -> None:
    made_run(0)
    assert command(capsys, "best", "acc:max").err.splitlines()[0] == (
        "pystematic best: error: no run has recorded 'acc'. None has recorded anything."
    )
    Path("empty").mkdir()
    assert command(capsys, "best", "--output-dir", "empty").err.splitlines()[0] == (
        "pystematic best: error: there are no runs in 'empty'."
    )


# -- real runs ---------------------------------------------------------------------------------------------------


def test_real_runs(capsys: Capsys) -> None:
    @pystematic.parameter("lr", type=float, default=0.1)
    @pystematic.parameter("api_key", default=None)
    @pystematic.experiment(metric="loss:min")
    def train(parameters: pystematic.Parameters, context: pystematic.Context) -> None:
        for step in range(3):
            context.recorder.scalar("loss", parameters["lr"] / (step + 1), step=step)

    ids = [program(capsys, "train", "--lr", lr, "--api-key", "hunter2").value.id for lr in ("0.3", "0.6")]
    rows = rows_of(command(capsys, "ls", "--output", "csv").out)
    assert [(row["run"], row["lr"], float(row["loss"])) for row in rows] == [
        (ids[0], "0.3", 0.3 / 3),
        (ids[1], "0.6", 0.6 / 3),
    ]
    assert json.loads(command(capsys, "best", "--output", "json").out)["id"] == ids[0]
    difference = json.loads(command(capsys, "diff", *ids, "--output", "json").out)
    assert difference["parameters"]["lr"] == [0.3, 0.6]
    shown = command(capsys, "show", "last").out
    assert ["api_key", "<masked>", "command", "line"] in [line.split() for line in shown.splitlines()]
    assert "hunter2" not in shown
    assert "\n  command   prog.py train --lr 0.6 --api-key <masked>\n" in shown


def test_a_real_run_in_a_repository_names_its_commit(working_dir: Path) -> None:
    make_repository(working_dir, {".gitignore": "output\n"})
    write_program(working_dir)
    run_git(working_dir, "add", "--all")
    run_git(working_dir, "commit", "--quiet", "--message", "second")
    commit = run_git(working_dir, "rev-parse", "HEAD")[:12]
    assert run_python("prog.py", "train").returncode == 0
    assert f"\n  commit    {commit} (main)\n" in run_python("-m", "pystematic", "show", "last").stdout
