"""How runs differ: parameters that vary, and everything that their records know."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.store import MISSING, Run, diff_runs, parse_metric, varying_columns, varying_parameters
from tests.builders import make_run
from tests.store.builders import make_recorded


def make_runs(folder: Path, *params: dict[str, Any]) -> list[Run]:
    return [Run(make_run(folder, params=one).path) for one in params]


# -- metrics with a direction ------------------------------------------------------------------------------------


@given(st.text(min_size=1), st.sampled_from(["max", "min"]))
def test_a_metric_is_a_tag_and_a_direction(tag: str, direction: str) -> None:
    assert parse_metric(f"{tag}:{direction}") == (tag, direction)


@pytest.mark.parametrize("text", ["", "loss", ":max", "loss:", "loss:MAX", "loss:max ", "max"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="direction") as caught:
        parse_metric(text)
    assert str(caught.value) == f"{text!r} is no metric with a direction. Write TAG:max or TAG:min."


# -- parameters that vary ----------------------------------------------------------------------------------------


def test_parameters_that_differ_vary_in_the_order_of_their_declaration(working_dir: Path) -> None:
    found = make_runs(
        working_dir, {"b": 1, "same": 1, "a": [1, 2], "c": "x"}, {"b": 1, "same": 1, "a": [1, 3], "c": "y"}
    )

    assert varying_parameters(found) == ["a", "c"]


def test_a_parameter_that_only_some_runs_have_varies(working_dir: Path) -> None:
    assert varying_parameters(make_runs(working_dir, {"a": 1}, {"a": 1, "b": None})) == ["b"]


def test_a_run_whose_parameters_are_damaged_makes_none_of_them_vary(working_dir: Path) -> None:
    found = make_runs(working_dir, {"a": 1, "b": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2})
    found[1].dir.parameters_file.unlink()
    found[2].dir.parameters_file.write_bytes(b"\xff")
    assert varying_parameters([Run(run.path) for run in found]) == []
    assert varying_columns({"a": [1, MISSING, 1], "b": [1, MISSING, 2], "c": [3, MISSING, MISSING]}) == ["b", "c"]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0.0, -0.0), (None, "null"), ((1,), [1]), ("1", 1)])
def test_values_of_another_type_differ(one: object, other: object, working_dir: Path) -> None:
    assert varying_parameters(make_runs(working_dir, {"a": one}, {"a": other})) == ["a"]


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, {"b": 1, "a": 2}, "\ud800", b"\0", 10**1000],
    ids=["nan", "inf", "table", "surrogate", "bytes", "big int"],
)
def test_equal_odd_values_do_not_differ(value: object, working_dir: Path) -> None:
    assert varying_parameters(make_runs(working_dir, {"a": value}, {"a": value})) == []


def test_the_order_in_a_table_is_no_difference(working_dir: Path) -> None:
    assert varying_parameters(make_runs(working_dir, {"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}})) == []


def test_how_a_run_was_started_is_left_out_and_what_it_is_stays(working_dir: Path) -> None:
    found = make_runs(
        working_dir,
        {"output_dir": "a", "tags": ["x"], "device": "cpu", "random_seed": 1, "lr": 0.1},
        {"output_dir": "b", "tags": ["y"], "device": "cuda", "random_seed": 2, "lr": 0.2},
    )

    assert varying_parameters(found) == ["random_seed", "lr"]


def test_of_one_run_or_none_nothing_varies(working_dir: Path) -> None:
    assert varying_parameters([]) == []
    assert varying_parameters(make_runs(working_dir, {"a": 1})) == []


def test_a_file_of_a_person_with_keys_of_several_types_is_compared(working_dir: Path) -> None:
    found = make_runs(working_dir, {}, {})
    for run, last in zip(found, "xy", strict=True):
        run.dir.parameters_file.write_text(f"a: {{1: a, b: {last}}}\n")

    assert varying_parameters(found) == ["a"]


# -- everything --------------------------------------------------------------------------------------------------


def test_equal_runs_do_not_differ(working_dir: Path) -> None:
    made = [make_recorded(working_dir, {"a": [1, math.nan]}, params={"lr": 0.1}) for _ in range(2)]

    assert diff_runs([Run(one.path) for one in made]) == {}
    assert diff_runs([]) == {}


def test_all_that_differs_is_told_by_section(working_dir: Path) -> None:
    one = make_recorded(working_dir, {"loss": [2, 1], "same": [1]}, params={"lr": 0.1, "path": Path("a"), "same": 1})
    two = make_recorded(
        working_dir, {"loss": [3, 1], "same": [1], "acc": [math.nan]}, params={"lr": 0.2, "path": Path("a"), "same": 1}
    )
    for run_dir, number in ((one, 1), (two, 2)):
        rundir.write_document(
            run_dir.environment_file,
            {
                "python": {"version": f"3.11.{number}"},
                "git": {"commit": f"c{number}", "branch": "main"},
                "packages": {"zlib": "1", "numpy": f"2.{number}", "a": f"1.{number}"},
            },
        )
    two.patch_file.write_text("a patch")

    difference = diff_runs([Run(one.path), Run(two.path)])
    assert difference == {
        "parameters": {"lr": [0.1, 0.2]},
        "code": {
            "commit": ["c1", "c2"],
            "python": ["3.11.1", "3.11.2"],
            "uncommitted changes": [None, f"source.patch {hashlib.sha256(b'a patch').hexdigest()[:12]}"],
        },
        "packages": {"a": ["1.1", "1.2"], "numpy": ["2.1", "2.2"]},
        "metrics": {"loss:max": [2, 3], "acc:count": [None, 1]},
    }
    assert list(difference) == ["parameters", "code", "packages", "metrics"]
    assert list(difference["packages"]) == ["a", "numpy"]


def test_an_int_of_too_many_digits_is_compared(working_dir: Path) -> None:
    one, other, same = (
        Run(make_recorded(working_dir, {"a": [value]}, i).path)
        for i, value in enumerate([10**5000, 10**5000 + 1, 10**5000])
    )

    assert diff_runs([one, same]) == {}
    assert diff_runs([one, other])["metrics"]["a:last"] == [10**5000, 10**5000 + 1]


def test_odd_parameters_are_shown_as_what_they_are(working_dir: Path) -> None:
    found = make_runs(working_dir, {"a": (1,), "b": rundir.Exact("x")}, {"a": (2,), "b": rundir.Exact("y")})

    assert diff_runs(found) == {"parameters": {"a": [(1,), (2,)], "b": ["x", "y"]}}


def test_three_runs_have_three_columns(working_dir: Path) -> None:
    assert diff_runs(make_runs(working_dir, {"a": 1}, {}, {"a": 1})) == {"parameters": {"a": [1, None, 1]}}


@pytest.mark.parametrize("content", ["", "[]", '{"packages": [], "git": 5, "python": "3"}'], ids=repr)
def test_damaged_records_are_compared_by_what_can_be_read(content: str, working_dir: Path) -> None:
    found = make_runs(working_dir, {"a": 1}, {"a": 2})
    for run in found:
        run.dir.environment_file.write_text(content)

    assert diff_runs(found) == {"parameters": {"a": [1, 2]}}
