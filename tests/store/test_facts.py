"""What filters see of a run: odd values, odd documents, and the same whether the index or the run is asked."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path
from typing import Any

import numpy
import pytest

from pystematic import rundir
from pystematic.store import runs
from pystematic.store._facts import commit_of, metrics_of_document, plain_params, plain_value
from tests.builders import make_run
from tests.store.builders import make_recorded


def deep(levels: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (Path("a/b"), "a/b"),
        ((1, "x"), [1, "x"]),
        ({2, 1}, [1, 2]),
        (frozenset(["a"]), ["a"]),
        ([Path("a"), (1,)], ["a", [1]]),
        (rundir.MASKED, "<masked>"),
        (rundir.Exact((1, 2)), [1, 2]),
        (numpy.float64(0.5), 0.5),
        (numpy.int32(3), 3),
        (numpy.array([1, 2]), [1, 2]),
        (2**100, 2**100),
        (2**20_000, hex(2**20_000)),
        (b"ab", "b'ab'"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(hours=1), "1:00:00"),
        (1 + 2j, "(1+2j)"),
        ({"a": (1,)}, {"a": [1]}),
        ("\ud800", "\ud800"),
        (object, str(object)),
        (math.inf, math.inf),
        (None, None),
        (True, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_parameter_is_seen_as(value: object, seen: object, working_dir: Path) -> None:
    plain = plain_value(rundir.encode(value))
    assert (plain, type(plain)) == (seen, type(seen))
    make_run(working_dir, params={"x": value})
    for _ in range(2):  # read, and out of the index
        assert runs(working_dir).values("params.x") == [seen]


def test_nan_is_seen_as_nan(working_dir: Path) -> None:
    make_run(working_dir, params={"x": math.nan})
    for _ in range(2):
        (value,) = runs(working_dir).values("params.x")
        assert math.isnan(value)


def test_lists_that_are_too_deep_end_somewhere(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    run_dir.parameters_file.write_text(f"x: {json.dumps(deep(80))}\ny: 1\n")
    for _ in range(2):
        assert runs(working_dir).filter("params.y == 1").values("params.x")[0][0] != []


def test_a_mark_that_is_not_understood_stays_a_table() -> None:
    assert plain_params({"x": {"$type": "path", "value": 3}, "y": {"$type": "odd"}}) == {"x": 3, "y": {"$type": "odd"}}


@pytest.mark.parametrize(
    "fields",
    [
        {"experiment": 3, "error": "text", "parent": [1], "code": {}, "exit_code": "1", "host": None},
        {"started_at": 5, "ended_at": "yesterday", "sources": [1], "metric": 4, "pid": "x"},
        {"started_at": "9999-12-31T23:59:59.999999Z", "error": {"type": 3, "message": None}},
        {"started_at": "2026-01-02T03:04:05", "sources": {"lr": 3, "x": None}},
    ],
)
def test_documents_of_somebody_elses_making_do_no_harm(fields: dict[str, Any], working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    rundir.write_document(run_dir.run_file, {**(rundir.read_document(run_dir.run_file) or {}), **fields})
    for _ in range(2):
        found = runs(working_dir)
        assert found.values("id") == [run_dir.id]
        for field in ("experiment", "error.type", "parent", "exit_code", "host", "duration", "sources.lr", "code"):
            found.values(field)
        assert len(found.filter("status == 'completed'").sort("-started_at, experiment")) == 1


def test_the_summary_of_another_program_is_read_by_our_rules(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    run_dir.summary_file.write_text(
        '{"files": {}, "metrics": {"a": {"max": NaN, "min": {"special": "-inf"}, "last": 3, "count": true}}}'
    )
    for _ in range(2):
        found = runs(working_dir)
        assert found.values("metrics.a.max") == [None]
        assert found.values("metrics.a.min") == [-math.inf]
        assert found.values("metrics.a.last") == [3]


@pytest.mark.parametrize("plain", [None, [], {"a": 3}, {"a": {"max": "x"}}])
def test_a_summary_of_another_form_is_damaged(plain: object) -> None:
    with pytest.raises(ValueError, match=r"no metrics|is damaged|no special"):
        metrics_of_document(plain)


def test_tags_that_are_no_unicode_are_metrics_too(working_dir: Path) -> None:
    make_recorded(working_dir, {"\ud800": [2.0], "a.b/c'd\n": [3.0]})
    for _ in range(2):
        found = runs(working_dir)
        assert sorted(found.known_names()[1]) == ["a.b/c'd\n", "\ud800"]
        assert found.columns([("metrics", "\ud800", "max")]) == {("metrics", "\ud800", "max"): [2.0]}
        assert found.values(r"metrics['a.b/c\'d\n'].max") == [3.0]


@pytest.mark.parametrize(
    ("document", "commit"),
    [
        ({"schema": 1, "packages": {"git": '\n "git": {"commit": "no"}'}, "git": {"commit": "abc"}}, "abc"),
        ({"schema": 1, "packages": {}}, None),
        ({"schema": 1, "git": None}, None),
        ({"schema": 1, "git": {"commit": None}}, None),
        ({"git": {"commit": "abc"}}, "abc"),
    ],
)
def test_the_commit_is_found_in_the_environment(
    document: dict[str, Any], commit: str | None, working_dir: Path
) -> None:
    run_dir = make_run(working_dir)
    rundir.write_document(run_dir.environment_file, document)

    assert commit_of(run_dir.environment_file.read_bytes()) == commit
    assert commit_of(json.dumps(document).encode()) == commit
    assert runs(working_dir).values("commit") == [commit]


@pytest.mark.parametrize("content", [b"", b"{", b'{\n "schema": 1,\n "git": {"com', b"[1]", b"\xff", b'{"git": 3}'])
def test_a_damaged_environment_names_no_commit(content: bytes) -> None:
    assert commit_of(content) is None
