"""``export``: runs and series for other programs, as CSV, JSON and Parquet."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pandas
import pytest

from tests.builders import make_run
from tests.cli.builders import Ended, pystematic
from tests.store.builders import make_recorded, moment

Capsys = pytest.CaptureFixture[str]
OUTPUT = Path("output")


def error(text: str) -> Ended:
    return Ended(2, "", f"pystematic export: error: {text}\nSee 'pystematic export --help'.\n")


def make_two() -> list[str]:
    return [
        make_recorded(OUTPUT, {"loss": [2.0, float("nan")], "acc": [i / 2]}, i, params={"lr": lr, "tags": ["a,b"]}).id
        for i, lr in enumerate((0.1, "auto"))
    ]


def frame_of(ended: Ended) -> pandas.DataFrame:
    assert (ended.code, ended.err) == (0, "")
    return pandas.read_csv(io.StringIO(ended.out))


def test_runs_go_to_standard_output_as_csv(capsys: Capsys) -> None:
    made = make_two()
    frame = frame_of(pystematic(capsys, "export"))

    assert list(frame["id"]) == made
    assert list(frame["params.lr"]) == ["0.1", "auto"]
    assert list(frame["metrics.acc.max"]) == [0.0, 0.5]
    assert list(frame["metrics.loss.count"]) == [2, 2]
    assert list(frame["tags"]) == ['["a,b"]'] * 2
    assert frame["started_at"][0] == moment(0).isoformat().replace("+00:00", ".000000Z")


def test_runs_as_json(capsys: Capsys) -> None:
    make_two()
    rows = json.loads(pystematic(capsys, "export", "--output", "json").out)

    assert [row["params.lr"] for row in rows] == [0.1, "auto"]
    assert rows[0]["tags"] == ["a,b"]


def test_the_points_of_series(capsys: Capsys) -> None:
    made = make_two()
    ended = pystematic(capsys, "export", "--series")

    assert ended.out.splitlines() == [
        "run,tag,step,time,value",
        *(
            line
            for run, acc in zip(made, ("0.0", "0.5"), strict=True)
            for line in (
                f"{run},loss,0,1700000000.0,2.0",
                f"{run},loss,1,1700000001.0,nan",
                f"{run},acc,0,1700000000.0,{acc}",
            )
        ),
    ]
    assert len(frame_of(pystematic(capsys, "export", "--tag", "acc"))) == 2
    assert (
        json.loads(pystematic(capsys, "export", "--tag", "loss", made[0], "--output", "json").out)[1]["value"] is None
    )


def test_some_runs_by_name_filter_and_order(capsys: Capsys) -> None:
    made = make_two()

    assert list(frame_of(pystematic(capsys, "export", made[1]))["id"]) == [made[1]]
    assert list(frame_of(pystematic(capsys, "export", "--where", "params.lr == 0.1"))["id"]) == [made[0]]
    assert list(frame_of(pystematic(capsys, "export", "--sort=-started_at"))["id"]) == made[::-1]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_file_is_written_in_the_format_of_its_ending(form: str, capsys: Capsys) -> None:
    made = make_two()
    ended = pystematic(capsys, "export", "--file", f"runs.{form}")

    assert ended == Ended(0, "", f"Wrote 2 runs to runs.{form}.\n")
    read = {"csv": pandas.read_csv, "json": pandas.read_json, "parquet": pandas.read_parquet}[form]
    frame = read(f"runs.{form}")
    assert list(frame["id"]) == made
    assert list(frame["metrics.acc.max"]) == [0.0, 0.5]


def test_odd_tags_and_ints_of_too_many_digits_are_text_in_parquet(capsys: Capsys) -> None:
    make_recorded(OUTPUT, {"\ud800": [1.0], "big": [10**5000, 0.5]})
    assert pystematic(capsys, "export", "--series", "--file", "series.parquet").code == 0
    assert pystematic(capsys, "export", "--file", "runs.parquet").code == 0

    frame = pandas.read_parquet("series.parquet")
    assert list(frame[frame["tag"] == "big"]["value"]) == [hex(10**5000), "0.5"]
    assert pandas.read_parquet("runs.parquet")["metrics.\\ud800 (eda080).last"][0] == 1.0


def test_series_as_parquet_are_numbers(capsys: Capsys) -> None:
    make_two()

    assert (
        pystematic(capsys, "export", "--tag", "acc", "--file", "acc.parquet").err == "Wrote 2 points to acc.parquet.\n"
    )
    frame = pandas.read_parquet("acc.parquet")
    assert frame["value"].dtype == "float64"
    assert list(frame["step"]) == [0, 0]


def test_an_empty_folder_gives_a_header(capsys: Capsys) -> None:
    OUTPUT.mkdir()

    assert pystematic(capsys, "export").out.startswith("id,experiment,status,started_at,")
    assert pystematic(capsys, "export", "--output", "json").out == "[]\n"
    assert pystematic(capsys, "export", "--series").out == "run,tag,step,time,value\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--file", "x.xlsx"], "'x.xlsx' is no file that can be written. Name one that ends in .csv, .json, .parquet."),
        (["--file", "x.csv", "--output", "json"], "'x.csv' and --output json ask for different formats."),
        (["--file", "nowhere/x.csv"], "'nowhere/x.csv' cannot be written: No such file or directory."),
        (["--tag", "los"], "no run has recorded 'los'. Did you mean 'loss'?"),
        (["--where", "x"], "the filter is not understood: there is no field 'x'. A parameter is written params.x, a "
                           "metric metrics['x'].\n  x\n  ^"),
        (["nothing"], None),
    ],
)  # fmt: skip
def test_wrong_usage(capsys: Capsys, words: list[str], text: str | None) -> None:
    made = make_two()
    unknown = f"there is no run 'nothing' in './output'. There are {', '.join(sorted(made, reverse=True))}."

    assert pystematic(capsys, "export", *words) == error(text or unknown)


def test_parquet_without_pyarrow_is_said(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    make_two()
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert pystematic(capsys, "export", "--file", "x.parquet") == error(
        "a .parquet file needs pyarrow, which is not installed: pip install pyarrow"
    )


def test_odd_values_are_written_in_full(capsys: Capsys) -> None:
    make_run(OUTPUT, params={"x": 'a,b\n"c"', "y": 2**70, "z": [1, None], "w": True})
    (row,) = frame_of(pystematic(capsys, "export")).to_dict("records")

    assert (row["params.x"], str(row["params.y"]), row["params.z"]) == ('a,b\n"c"', str(2**70), "[1, null]")
    assert row["params.w"]
