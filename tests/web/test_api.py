"""What the page is told: table, series, one run, logs, media, sweeps, labels."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic import rundir
from pystematic.store import Run
from tests.builders import make_run
from tests.store.builders import make_recorded, moment, record
from tests.web.builders import ODD_TEXTS, Page, add_items, name_of, opened_page, segment

OUTPUT = Path("output")


@pytest.fixture
def page(working_dir: Path) -> Iterator[Page]:
    OUTPUT.mkdir()
    with opened_page(OUTPUT) as opened:
        yield opened


def make_sweep_of_three() -> list[rundir.RunDir]:
    """Make runs with two learning rates, of one of which there are two seeds."""
    settings = [(0.1, 1, 0.5), (0.1, 2, 0.7), (0.01, 1, 0.9)]
    return [
        make_recorded(
            OUTPUT,
            {"val/acc": [0.1, accuracy], "train/loss": [2.0, 1.0 - accuracy]},
            i,
            params={"lr": lr, "random_seed": seed, "model": "cnn"},
            metric="val/acc:max",
        )
        for i, (lr, seed, accuracy) in enumerate(settings)
    ]


# -- the table -------------------------------------------------------------------------------------------------------


def test_an_empty_folder_has_an_empty_table(page: Page) -> None:
    table = page.get("/api/table")

    assert (table["total"], table["matching"], table["rows"]) == (0, 0, [])
    assert page.get("/api/session")["n_runs"] == 0
    assert page.get("/api/sweeps") == {"sweeps": []}


def test_the_table_shows_what_varies_and_the_last_and_best_metrics(page: Page) -> None:
    runs = make_sweep_of_three()
    table = page.get("/api/table")

    labels = [column["label"] for column in table["columns"]]
    assert labels == [
        *("run", "experiment", "status", "started", "duration", "tags"),
        *("lr", "random_seed", "val/acc", "val/acc max", "train/loss"),
    ]
    assert [row["id"] for row in table["rows"]] == [name_of(run) for run in runs]
    first = dict(zip(labels, table["rows"][0]["values"], strict=True))
    assert (first["lr"], first["val/acc max"], first["status"], first["started"]) == (
        0.1,
        0.5,
        "completed",
        moment(0).timestamp(),
    )


def test_columns_say_what_they_are(page: Page) -> None:
    make_sweep_of_three()
    columns = {column["name"]: column for column in page.get("/api/columns")}

    assert columns["params.lr"] == {
        "name": "params.lr",
        "label": "lr",
        "kind": "parameter",
        "type": "number",
        "varies": True,
        "n_values": 2,
        "shown": True,
    }
    assert columns["params.model"]["varies"] is False
    assert columns["metrics['val/acc'].max"]["direction"] == "max"
    assert columns["metrics['val/acc'].last"]["tag"] == "val/acc"


def test_filter_sort_columns_and_window(page: Page) -> None:
    make_sweep_of_three()
    table = page.get(
        "/api/table",
        where="params.lr > 0.05",
        sort="-metrics['val/acc'].last",
        columns=["params.random_seed", "metrics['val/acc'].last"],
        offset=1,
        limit=1,
    )

    assert (table["total"], table["matching"], table["offset"]) == (3, 2, 1)
    assert [row["values"] for row in table["rows"]] == [[1, 0.5]]


def test_groups_show_mean_deviation_and_number(page: Page) -> None:
    runs = make_sweep_of_three()
    table = page.get(
        "/api/table", group_by="params.lr", sort="-metrics['val/acc'].last", columns=["params.lr", "params.model"]
    )
    assert [row["values"] for row in table["rows"]] == [[0.01, "cnn"], [0.1, "cnn"]]
    assert table["rows"][1]["members"] == [name_of(runs[0]), name_of(runs[1])]

    table = page.get("/api/table", group_by="params.lr", columns=["metrics['val/acc'].last", "params.random_seed"])
    assert [row["n"] for row in table["rows"]] == [2, 1]
    first, second = (row["values"] for row in table["rows"])
    assert first[0] == {"mean": pytest.approx(0.6), "std": pytest.approx(0.02**0.5), "n": 2}
    assert second == [{"mean": 0.9, "std": None, "n": 1}, 1]


@pytest.mark.parametrize(
    ("params", "field", "position", "text"),
    [
        ({"where": "params.lr >"}, "where", 11, "expected"),
        ({"where": "params.lr = 3"}, "where", 10, "'='"),
        ({"sort": "-lr"}, "sort", 1, "there is no field 'lr'"),
        ({"group_by": "params."}, "group_by", None, "a name after the dot"),
        ({"columns": "nothing"}, "columns", None, "there is no field 'nothing'"),
        ({"limit": "many"}, "limit", None, "limit must be a whole number, got 'many'"),
    ],
)
def test_what_is_not_understood_says_where(
    page: Page, params: dict[str, Any], field: str, position: int | None, text: str
) -> None:
    make_sweep_of_three()
    status, problem = page.refusal("/api/table", **params)

    assert (status, problem["field"]) == (400, field)
    assert text in problem["message"]
    if position is not None:
        assert problem["position"] == position


def test_names_that_no_run_has_are_a_warning(page: Page) -> None:
    make_sweep_of_three()

    table = page.get("/api/table", where="params.lrr > 1")
    assert table["warning"] == "no run has a parameter 'lrr'. Did you mean 'lr'?"
    assert table["matching"] == 0


def test_the_table_as_csv_is_what_is_shown(page: Page) -> None:
    make_sweep_of_three()
    columns = ["params.lr", "metrics['val/acc'].last"]
    answer = page.download("/api/table.csv", columns=columns, where="params.lr > 0.05")
    assert list(csv.reader(io.StringIO(answer.text))) == [["lr", "val/acc"], ["0.1", "0.5"], ["0.1", "0.7"]]
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'

    answer = page.download("/api/table.csv", columns=columns, group_by="params.lr")
    assert answer.text.splitlines()[0].split(",") == ["lr", "val/acc mean", "val/acc std", "val/acc n", "n"]


def test_a_new_run_is_in_the_table_soon(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystematic.web._folder.FRESH_FOR_S", 0.0)
    monkeypatch.setattr("pystematic.web._folder.SHARE", math.inf)
    make_sweep_of_three()
    assert page.get("/api/table")["total"] == 3
    make_recorded(OUTPUT, {"val/acc": [1.0]}, 9)

    assert page.get("/api/table")["total"] == 4


def test_odd_texts_come_as_they_are(page: Page) -> None:
    runs = [
        make_run(OUTPUT, params={"text": text, f"p{i}": text, "tags": [text]}, started_at=moment(i), note=text)
        for i, text in enumerate(ODD_TEXTS)
    ]
    for run, text in zip(runs, ODD_TEXTS, strict=True):
        record(run, {text: [1.0, 2.0]})
    table = page.get("/api/table", columns=["params.text"])
    assert [row["values"] for row in table["rows"]] == [[text] for text in ODD_TEXTS]

    names = [name_of(run) for run in runs]
    tags = page.post("/api/tags", {"runs": names, "kinds": ["scalar"]})
    assert [tag["tag"] for tag in tags] == list(ODD_TEXTS)
    for text, run in zip(ODD_TEXTS, runs, strict=True):
        answer = page.post("/api/series", {"runs": [name_of(run)], "tag": text})
        assert answer["series"][0]["y"] == [1.0, 2.0]
        shown = page.get(f"/api/runs/{segment(run)}")
        assert {parameter["name"]: parameter["value"] for parameter in shown["parameters"]}["text"] == text


def test_500_tags_are_all_there(page: Page) -> None:
    run = make_recorded(OUTPUT, {f"tag {i}": [float(i)] for i in range(500)})

    assert len(page.post("/api/tags", {"runs": [name_of(run)]})) == 500
    assert len([column for column in page.get("/api/columns") if column["kind"] == "metric"]) == 1500
    assert len([column for column in page.get("/api/table")["columns"] if column["kind"] == "metric"]) == 12


def test_a_damaged_run_is_told_of_and_has_a_page(page: Page) -> None:
    make_sweep_of_three()
    broken = make_recorded(OUTPUT, {"loss": [1.0]})
    broken.run_file.write_text("{")

    assert page.get("/api/session")["damaged"] == [name_of(broken)]
    shown = page.get(f"/api/runs/{segment(broken)}")
    assert (shown["status"], shown["metrics"][0]["tag"]) == ("damaged", "loss")


# -- series ----------------------------------------------------------------------------------------------------------


def test_series_of_several_runs_by_step_time_and_relative_time(page: Page) -> None:
    first, second = make_sweep_of_three()[:2]
    names = [name_of(first), name_of(second)]

    answer = page.post("/api/series", {"runs": names, "tag": "val/acc"})
    assert [one["run"] for one in answer["series"]] == names
    assert answer["series"][1] == {
        "run": names[1],
        "n_points": 2,
        "n_nonfinite": 0,
        "sampled": False,
        "x": [0, 1],
        "y": [0.1, 0.7],
        "nonfinite": [],
        "smooth": None,
    }
    by_time = page.post("/api/series", {"runs": names, "tag": "val/acc", "x": "time"})
    assert by_time["series"][0]["x"] == [1.7e9, 1.7e9 + 1]
    relative = page.post("/api/series", {"runs": names, "tag": "val/acc", "x": "relative"})
    assert relative["series"][0]["x"] == [1.7e9 - moment(0).timestamp(), 1.7e9 + 1 - moment(0).timestamp()]


def test_a_long_series_is_sampled_and_exact_when_zoomed_in(page: Page) -> None:
    values = [math.sin(i / 50) for i in range(20_000)]
    values[12_345] = 1e6
    run = make_recorded(OUTPUT, {"loss": values, "other": [1.0]})
    request = {"runs": [name_of(run)], "tag": "loss", "buckets": 100}

    (whole,) = page.post("/api/series", request)["series"]
    assert whole["sampled"]
    assert 200 <= len(whole["x"]) <= 210
    assert (12_345, 1e6) in zip(whole["x"], whole["y"], strict=True)

    (zoomed,) = page.post("/api/series", {**request, "from": 12_300, "to": 12_400})["series"]
    assert not zoomed["sampled"]
    assert zoomed["n_points"] == 101
    assert zoomed["y"][1:-1] == values[12_300:12_401]


def test_a_series_that_grows_is_read_on(page: Page) -> None:
    run = make_recorded(OUTPUT, {"loss": [1.0] * 3000})
    request = {"runs": [name_of(run)], "tag": "loss"}
    assert page.post("/api/series", request)["series"][0]["n_points"] == 3000
    record(run, {"loss": [2.0] * 3000})

    assert page.post("/api/series", request)["series"][0]["n_points"] == 6000


def test_nan_and_infinities_are_marked(page: Page) -> None:
    run = make_recorded(OUTPUT, {"loss": [1.0, math.nan, math.inf, -math.inf]})

    (series,) = page.post("/api/series", {"runs": [name_of(run)], "tag": "loss"})["series"]
    assert series["nonfinite"] == [{"x": 1, "value": "nan"}, {"x": 2, "value": "inf"}, {"x": 3, "value": "-inf"}]
    assert (series["n_points"], series["n_nonfinite"]) == (4, 3)


def test_a_smoothed_line_beside_the_raw_one(page: Page) -> None:
    run = make_recorded(OUTPUT, {"loss": [0.0, 1.0, 1.0]})

    (series,) = page.post("/api/series", {"runs": [name_of(run)], "tag": "loss", "smoothing": 0.5})["series"]
    assert series["smooth"] == {"x": [0, 1, 2], "y": pytest.approx([0.0, 1 / 1.5, 1.5 / 1.75])}


def test_bands_of_groups(page: Page) -> None:
    first, second, third = map(name_of, make_sweep_of_three())
    groups = [{"key": "0.1", "runs": [first, second]}, {"key": "0.01", "runs": [third]}]
    answer = page.post("/api/bands", {"groups": groups, "tag": "val/acc"})

    assert answer["groups"][0] == {
        "key": "0.1",
        "n_runs": 2,
        "sampled": False,
        "x": [0, 1],
        "mean": pytest.approx([0.1, 0.6]),
        "std": pytest.approx([0, 0.02**0.5]),
        "n": [2, 2],
        "min": [0.1, 0.5],
        "max": [0.1, 0.7],
    }
    assert answer["groups"][1]["std"] == [None, None]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"runs": "all"}, "runs"),
        ({"tag": 3}, "tag"),
        ({"x": "wall"}, "x"),
        ({"buckets": 0}, "buckets"),
        ({"from": "start"}, "from"),
        ({"runs": ["x"] * 2001}, "runs"),
    ],
)
def test_a_wrong_request_of_series_says_what_is_wrong(page: Page, change: dict[str, Any], field: str) -> None:
    status, problem = page.refusal("/api/series", {"runs": [], "tag": "loss", **change})

    assert (status, problem["field"]) == (400, field)


@pytest.mark.parametrize("body", ["", "{", "[]", "3", "[" * 100_000])
def test_what_is_no_json_object_is_refused(page: Page, body: str) -> None:
    assert page.ask("/api/series", "POST", body.encode("ascii")).status == 400


# -- one run ---------------------------------------------------------------------------------------------------------


def test_a_run_with_all_that_is_known_of_it(page: Page) -> None:
    run = make_recorded(
        OUTPUT,
        {"loss": [2.0, 1.0]},
        params={"lr": 0.1, "note": "given", "tags": ["a"]},
        status="failed",
        error={"type": "ValueError", "message": "no", "traceback": "Traceback …"},
        parent="sweep study",
        argv=["prog.py", "train"],
    )
    run.log_file().write_text("hello\n")
    run.patch_file.write_text("--- a\n+++ b\n")
    rundir.write_document(run.environment_file, {"python": {"version": "3.11"}, "git": {"commit": "abc"}})
    shown = page.get(f"/api/runs/{segment(run)}")

    assert shown["parameters"][0] == {"name": "lr", "value": 0.1, "source": "default"}
    assert shown["metrics"][0] == {"tag": "loss", **Run(run.path).summary["loss"]}
    assert shown["error"] == {"type": "ValueError", "message": "no", "traceback": "Traceback …"}
    assert (shown["sweep"], shown["command"], shown["code"]["commit"]) == ("study", ["prog.py", "train"], "abc")
    assert shown["logs"] == [{"rank": 0, "size_bytes": 6}]
    assert (shown["given_note"], shown["note"], shown["given_tags"]) == ("given", "", ["a"])
    assert shown["has_patch"]
    files = {file["path"]: file for file in shown["files"]}
    assert page.download("/" + files["log.txt"]["url"]).text == "hello\n"
    assert page.get(f"/api/runs/{segment(run)}/patch")["text"] == "--- a\n+++ b\n"


def test_a_run_without_anything_has_a_page(page: Page) -> None:
    run = make_run(OUTPUT)
    run.parameters_file.unlink()
    shown = page.get(f"/api/runs/{segment(run)}")

    assert (shown["parameters"], shown["metrics"], shown["logs"], shown["media"]) == ([], [], [], [])
    assert page.get(f"/api/runs/{segment(run)}/log")["lines"] == []
    assert page.get(f"/api/runs/{segment(run)}/patch")["text"] == ""


def test_a_log_by_windows_ranks_and_words(page: Page) -> None:
    run = make_run(OUTPUT)
    run.log_file().write_text("".join(f"line {i}\n" for i in range(1, 1001)))
    run.log_file(1).write_text("of rank 1\n")
    address = f"/api/runs/{segment(run)}/log"

    assert page.get(address, lines=2)["lines"] == [
        {"number": 999, "text": "line 999"},
        {"number": 1000, "text": "line 1000"},
    ]
    assert [line["number"] for line in page.get(address, **{"from": 10, "lines": 2})["lines"]] == [10, 11]
    found = page.get(address, search="LINE 99", lines=3)
    assert ([line["number"] for line in found["lines"]], found["next"]) == ([99, 990, 991], 991)
    assert page.get(address, rank=1)["lines"] == [{"number": 1, "text": "of rank 1"}]
    assert page.refusal(address, rank=2)[0] == 404


def test_media_by_tag_and_kind(page: Page) -> None:
    run = make_run(OUTPUT)
    image = run.path / "images" / "a_0.png"
    image.parent.mkdir()
    image.write_bytes(b"\x89PNG")
    table = {"columns": ["a", "b"], "data": [[1, None], ["<b>", math.inf]]}
    add_items(
        run,
        rundir.Item("image", "a", 0, 1.0, {"width": 1}, image),
        rundir.Item("text", "<b>", 1, 2.0, {"text": "<script>"}, None),
        rundir.Item("table", "t", 2, 3.0, rundir.encode_json(table), None),
        rundir.Item("histogram", "h", 3, 4.0, {"edges": [0.0, 1.0], "counts": [3]}, None),
        rundir.Item("image", "gone", 4, 5.0, {}, run.path / "images" / "gone.png"),
        rundir.Item("artifact", "model", 5, 6.0, {"sha256": "0"}, run.path / "artifacts" / "m"),
    )
    address = f"/api/runs/{segment(run)}/media"

    media = page.get(address)
    assert media["n_items"] == 6
    first, text, rows, histogram, gone, _ = media["items"]
    assert (first["inline"], first["fields"], first["size_bytes"]) == (True, {"width": 1}, 4)
    assert page.download("/" + first["url"]).content == b"\x89PNG"
    assert text["text"] == "<script>"
    assert rows["table"] == {"columns": ["a", "b"], "rows": [[1, None], ["<b>", {"special": "inf"}]]}
    assert histogram["histogram"] == {"edges": [0.0, 1.0], "counts": [3]}
    assert gone["url"] is None
    assert [item["tag"] for item in page.get(address, kind="image")["items"]] == ["a", "gone"]
    assert [item["tag"] for item in page.get(address, tag="<b>")["items"]] == ["<b>"]
    assert [item["tag"] for item in page.get(address, offset=-1)["items"]] == ["model"]
    kinds = {tag["kind"] for tag in page.post("/api/tags", {"runs": [name_of(run)]})}
    assert kinds == {"image", "text", "table", "histogram"}


def test_of_very_many_items_some_are_shown_from_the_first_to_the_last(page: Page) -> None:
    run = make_run(OUTPUT)
    add_items(run, *(rundir.Item("text", "t", i, float(i), {"text": "x" * 10}, None) for i in range(1000)))
    address = f"/api/runs/{segment(run)}/media"

    media = page.get(address, limit=5)
    assert (media["n_items"], [item["step"] for item in media["items"]]) == (1000, [0, 249, 499, 749, 999])
    assert [item["step"] for item in page.get(address, offset=7, limit=2)["items"]] == [7, 8]
    assert len(page.get(address)["items"]) == 200


def test_long_texts_and_tables_are_cut_and_said_to_be(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystematic.web._run_page.ALL_TEXTS", 8)
    monkeypatch.setattr("pystematic.web._run_page.LEAST_TEXT", 3)
    monkeypatch.setattr("pystematic.web._run_page.ALL_ROWS", 4)
    monkeypatch.setattr("pystematic.web._run_page.LEAST_ROWS", 1)
    run = make_run(OUTPUT)
    path = run.path / "texts" / "t.txt"
    path.parent.mkdir()
    path.write_text("abcdef")
    rows = [[i] for i in range(5)]
    add_items(
        run,
        rundir.Item("text", "t", 0, 1.0, {"text": "abcdef"}, None),
        rundir.Item("text", "t", 1, 2.0, {}, path),
        rundir.Item("table", "t", 2, 3.0, {"columns": ["a"], "data": rows}, None),
        rundir.Item("table", "t", 3, 4.0, {"columns": ["a"], "data": rows[:1]}, None),
    )

    items = page.get(f"/api/runs/{segment(run)}/media")["items"]
    assert [item.get("text") for item in items] == ["abc", "abc", None, None]
    assert [len(item["table"]["rows"]) for item in items[2:]] == [1, 1]
    assert [item["cut"] for item in items] == [True, True, True, False]


def test_media_that_are_added_are_found(page: Page) -> None:
    run = make_run(OUTPUT)
    address = f"/api/runs/{segment(run)}/media"
    for count in range(1, 4):
        add_items(run, rundir.Item("text", "t", count, float(count), {"text": "x"}, None))
        assert page.get(address)["n_items"] == count
    run.metrics_file().write_bytes(b"")  # a resume has cut it

    assert page.get(address)["n_items"] == 0


def test_a_comparison_holds_what_differs(page: Page) -> None:
    first, _, third = make_sweep_of_three()
    names = [name_of(first), name_of(third)]

    found = page.post("/api/compare", {"runs": names})
    assert found["parameters"] == [{"name": "lr", "values": [0.1, 0.01]}]
    assert {"name": "val/acc:last", "values": [0.5, 0.9]} in found["metrics"]
    assert found["packages"] == []


def test_labels_are_written_and_shown_at_once(page: Page) -> None:
    run = make_run(OUTPUT, params={"tags": ["given"]})
    page.get("/api/table")
    labels = page.post(f"/api/runs/{segment(run)}/labels", {"tags": ["good", "given"], "note": "a <b>note</b>"})

    assert (labels["tags"], labels["note"]) == (["given", "good"], "a <b>note</b>")
    (row,) = page.get("/api/table")["rows"]
    assert (row["tags"], row["note"]) == (["given", "good"], "a <b>note</b>")
    assert pystematic.runs("output")[0].tags == ("given", "good")
    assert page.post(f"/api/runs/{segment(run)}/labels", {"tags": []})["tags"] == ["given"]
    assert pystematic.runs("output")[0].note == "a <b>note</b>"


@pytest.mark.parametrize("body", [{"tags": "a"}, {"tags": [1]}, {"tags": [" "]}, {"tags": ["a\nb"]}, {"note": 3}])
def test_wrong_labels_are_refused(page: Page, body: dict[str, Any]) -> None:
    run = make_run(OUTPUT)

    assert page.refusal(f"/api/runs/{segment(run)}/labels", body)[0] == 400
    assert not run.labels_file.exists()


def test_a_folder_that_may_not_be_written_is_one_message(page: Page) -> None:
    run = make_run(OUTPUT)
    run.labels_file.mkdir()
    status, problem = page.refusal(f"/api/runs/{segment(run)}/labels", {"note": "x"})

    assert status == 400
    assert "labels of" in problem["message"]


# -- sweeps ----------------------------------------------------------------------------------------------------------


def test_a_sweep_with_its_points(page: Page) -> None:
    runs = make_sweep_of_three()
    folder = rundir.SweepDir(OUTPUT, "study")
    folder.path.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {"kind": "sweep", "experiment": "train", "space": {}, "created_at": "2026-01-02T03:04:05.000000Z"},
        {"kind": "session", "seeds": [1, 2], "objective": "val/acc:max", "words": ["train", "--lr", "0.1,0.01"]},
        {"kind": "point", "number": 0, "key": "a", "values": {"lr": 0.1}},
        {"kind": "point", "number": 1, "key": "b", "values": {"lr": 0.01}},
    ]
    for number, (run, key, seed) in enumerate(zip(runs, "aab", (1, 2, 1), strict=True)):
        lines += [
            {"kind": "start", "number": number, "key": f"k{number}", "point": key, "seed": seed},
            {
                "kind": "end",
                "number": number,
                "run_dir": name_of(run),
                "status": "completed",
                "objective": [0.5, 0.7, 0.9][number],
                "metric": "val/acc:max",
            },
        ]
    folder.plan_file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    (entry,) = page.get("/api/sweeps")["sweeps"]
    assert (entry["name"], entry["n_points"], entry["counts"]) == ("study", 2, {"completed": 3, "planned": 1})
    sweep = page.get("/api/sweeps/study")
    assert (sweep["parameters"], sweep["varying"], sweep["n_done"], sweep["n_runs"]) == (["lr"], ["lr"], 3, 4)
    assert sweep["best"] == 0
    points = {point["number"]: point for point in sweep["points"]}
    assert (points[0]["mean"], points[0]["n"]) == (pytest.approx(0.6), 2)
    assert points[0]["runs"] == [name_of(runs[0]), name_of(runs[1])]
    assert points[1]["status"] == "planned"
    assert page.refusal("/api/sweeps/other")[0] == 404
    assert page.refusal("/api/sweeps/..%2Ftrain")[0] == 404


# -- files -----------------------------------------------------------------------------------------------------------


def test_files_are_attachments_but_for_pictures(page: Page) -> None:
    run = make_run(OUTPUT)
    for name in ("page.html", "drawing.svg", "script.js", "ü <b>.txt", "picture.PNG"):
        (run.path / name).write_text("<script>alert(1)</script>")

    for name in ("page.html", "drawing.svg", "script.js", "%C3%BC%20%3Cb%3E.txt", "picture.PNG"):
        answer = page.download(f"/files/{segment(run)}/{name}")
        assert answer.status == 200
        assert "sandbox" in answer.headers["content-security-policy"]
        if name == "picture.PNG":
            assert answer.headers["content-type"] == "image/png"
        else:
            assert answer.headers["content-type"] == "application/octet-stream"
            assert answer.headers["content-disposition"] == f"attachment; filename*=UTF-8''{name}"


def test_nothing_outside_of_a_run_is_served(page: Page, working_dir: Path) -> None:
    run = make_run(OUTPUT)
    (working_dir / "secret.txt").write_text("secret")
    (OUTPUT / "secret.txt").write_text("secret")
    os.symlink(working_dir / "secret.txt", run.path / "link.txt")
    os.symlink(working_dir, run.path / "folder")
    os.symlink(working_dir / "secret.txt", run.log_file())
    os.symlink(working_dir / "secret.txt", run.patch_file)
    os.mkfifo(run.path / "pipe")
    other = make_run(working_dir / "elsewhere")
    os.symlink(other.path, OUTPUT / "train" / "linked")
    secret = working_dir / "secret.txt"
    here = segment(run)
    addresses = [
        *(f"/files/{here}/{path}" for path in ("link.txt", "folder/secret.txt", "pipe", "", ".", "checkpoints")),
        *(f"/files/{here}/{up}{up}secret.txt" for up in ("../", "%2e%2e/", "..%2f", "%2e%2e%2f", "..%5c", "./../")),
        f"/files/{here}/{secret}",
        f"/files/{here}/%2F{str(secret)[1:]}",
        f"/files/{here}/run.json%00.txt",
        *(f"/files/{name}/secret.txt" for name in ("", ".", "..", "%2e%2e", "train%2F..", "..%2F..", "train%2F%2e%2e")),
        "/files/train%2Flinked/run.json",
        "/api/runs/train%2Flinked",
        "/api/runs/..%2Felsewhere%2Ftrain",
        f"/api/runs/%2F{str(run.path)[1:]}",
        f"/api/runs/train%2F.%2F{run.id}",
        f"/api/runs/train%2F{run.id}%2F",
        "/..%2f..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        f"/{secret}",
    ]
    for address in addresses:
        answer = page.download(address)
        assert answer.status == 404, address
        assert "secret" not in answer.text.replace("secret.txt", ""), address
    assert page.get(f"/api/runs/{here}/log")["lines"] == []
    assert page.get(f"/api/runs/{here}/patch")["text"] == ""
    assert page.download(f"/files/{here}/run.json").status == 200
