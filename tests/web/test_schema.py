"""The contract with the front end: its copy of the types is current, and every answer is what its type says."""

from __future__ import annotations

import math
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

from pystematic import rundir, runs
from pystematic.web import _schema
from pystematic.web._report import make_report
from tests.builders import make_run
from tests.store.builders import make_recorded, moment
from tests.web.builders import add_items, name_of, opened_page, segment

ROOT = Path(__file__).resolve().parent.parent.parent
OUTPUT = Path("output")


def mismatches(value: Any, hint: Any, where: str) -> list[str]:
    """Return where a value of JSON is not what a type says."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return []
    if typing.is_typeddict(hint):
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        hints = typing.get_type_hints(hint, vars(_schema), include_extras=True)
        optional = {name for name, one in hints.items() if typing.get_origin(one) is typing.NotRequired}
        found = [f"{where}.{name} is unknown" for name in value.keys() - hints.keys()]
        found += [f"{where}.{name} is missing" for name in hints.keys() - optional - value.keys()]
        for name in value.keys() & hints.keys():
            inner = typing.get_args(hints[name])[0] if name in optional else hints[name]
            found += mismatches(value[name], inner, f"{where}.{name}")
        return found
    if origin is list:
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        return [text for i, one in enumerate(value) for text in mismatches(one, args[0], f"{where}[{i}]")]
    if origin is dict:
        if not isinstance(value, dict):
            return [f"{where}: {value!r} is no object"]
        return [text for key, one in value.items() for text in mismatches(one, args[1], f"{where}[{key!r}]")]
    if origin is typing.Literal:
        return [] if value in args else [f"{where}: {value!r} is none of {args}"]
    if origin in (types.UnionType, typing.Union):
        tried = [mismatches(value, one, where) for one in args]
        return [] if [] in tried else [text for one in tried for text in one]
    if hint is float:
        return [] if type(value) in (int, float) else [f"{where}: {value!r} is no number"]
    return [] if type(value) is (hint or type(None)) else [f"{where}: {value!r} is no {hint}"]


def make_rich_folder() -> list[rundir.RunDir]:
    """Make runs in which there is something of everything."""
    made = []
    for i in range(3):
        run = make_recorded(
            OUTPUT,
            {"loss": [1.0 + i, math.nan, math.inf, 0.5], "<b>": [float(j) for j in range(5000)]},
            i,
            params={"lr": 0.1 * i, "odd": [math.nan, {"a": (1, 2)}, 10**30, None][i], "seed": i},
            metric="loss:min",
            status="failed" if i else "completed",
            error={"type": "ValueError", "message": "no", "traceback": "…"} if i else None,
            attempts=[{"started_at": "2026-01-02T03:04:05.000000Z", "status": "failed"}],
            argv=["prog.py"],
        )
        run.log_file().write_text("a\nb\n")
        run.patch_file.write_text("--- a\n")
        rundir.write_document(run.environment_file, {"python": {"version": f"3.1{i}"}, "packages": {"a": f"{i}"}})
        run.checkpoints_dir.mkdir()
        (run.checkpoints_dir / "c.pt").write_text("x")
        rundir.write_manifest(run, [{"id": "c", "file": "c.pt", "size": 1, "step": 3}])
        add_items(
            run,
            rundir.Item("text", "t", 1, 2.0, {"text": "x"}, None),
            rundir.Item("table", "t", 2, 3.0, {"columns": ["a"], "data": [[1]]}, None),
            rundir.Item("histogram", "h", 3, 4.0, {"edges": [0.0, 1.0], "counts": [3]}, None),
            rundir.Item("figure", "f", 3, 4.0, {"library": "plotly"}, run.path / "figures" / "f.plotly.json"),
        )
        made.append(run)
    make_run(OUTPUT, status="running", ended_at=None, started_at=moment(9))
    (OUTPUT / "sweeps" / "study").mkdir(parents=True)
    rundir.SweepDir(OUTPUT, "study").plan_file.write_text(
        '{"kind": "sweep", "experiment": "train", "space": {}, "created_at": "2026-01-02T03:04:05.000000Z"}\n'
        '{"kind": "session", "seeds": [1], "objective": "loss:min"}\n'
        '{"kind": "point", "number": 0, "key": "a", "values": {"lr": 0.1}}\n'
    )
    return made


def test_the_front_end_has_the_types_of_the_server() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "api_types.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_answer_is_what_its_type_says(working_dir: Path) -> None:
    made = make_rich_folder()
    names, one = [name_of(run) for run in made], segment(made[1])
    groups = [{"key": "all", "runs": names}]
    with opened_page(OUTPUT) as page:
        answers: list[tuple[Any, Any]] = [
            (_schema.Session, page.get("/api/session")),
            (list[_schema.Column], page.get("/api/columns")),
            (_schema.Table, page.get("/api/table")),
            (_schema.Table, page.get("/api/table", group_by="params.seed")),
            (_schema.Table, page.get("/api/table", group_by=["status", "params.lr"], sort="-started_at")),
            (list[_schema.Tag], page.post("/api/tags", {"runs": names})),
            (_schema.SeriesAnswer, page.post("/api/series", {"runs": names, "tag": "loss", "smoothing": 0.5})),
            (_schema.SeriesAnswer, page.post("/api/series", {"runs": names, "tag": "<b>", "buckets": 10})),
            (_schema.BandsAnswer, page.post("/api/bands", {"groups": groups, "tag": "loss"})),
            (_schema.BandsAnswer, page.post("/api/bands", {"groups": groups, "tag": "<b>", "buckets": 10})),
            (_schema.Comparison, page.post("/api/compare", {"runs": names})),
            (_schema.RunPage, page.get(f"/api/runs/{one}")),
            (_schema.LogWindow, page.get(f"/api/runs/{one}/log")),
            (_schema.LogWindow, page.get(f"/api/runs/{one}/log", search="a", lines=1)),
            (_schema.Patch, page.get(f"/api/runs/{one}/patch")),
            (_schema.Media, page.get(f"/api/runs/{one}/media")),
            (_schema.Labels, page.post(f"/api/runs/{one}/labels", {"note": "x"})),
            (_schema.SweepList, page.get("/api/sweeps")),
            (_schema.SweepPage, page.get("/api/sweeps/study")),
            (_schema.ErrorAnswer, page.ask("/api/table?where=x").json()),
            (_schema.ErrorAnswer, page.ask("/api/table", cookie="").json()),
            (_schema.ErrorAnswer, page.ask("/api/nothing").json()),
            (_schema.Report, make_report(str(OUTPUT), list(runs(OUTPUT)), "title")),
        ]
    for hint, answer in answers:
        assert mismatches(answer, hint, getattr(hint, "__name__", str(hint))) == []


def test_a_mismatch_would_be_found() -> None:
    assert mismatches({"tag": "a", "kind": "picture", "n": 1}, _schema.Tag, "Tag") == [
        "Tag.n is unknown",
        "Tag.n_runs is missing",
        "Tag.kind: 'picture' is none of ('scalar', 'image', 'figure', 'histogram', 'text', 'table')",
    ]
