"""Texts, histograms, tables, parameters: what is recorded is what was there when it was recorded."""

from __future__ import annotations

import datetime
import importlib
import json
import math
import pathlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import Recorder, rundir
from tests.record.builders import messages, on_device, recorded


@pytest.fixture(scope="module", autouse=True)
def _frames() -> None:
    """Import what changes the process at its import before the look for leaks."""
    importlib.import_module("pandas")
    importlib.import_module("polars")


def table_of(rows: Any) -> tuple[list[str], list[list[Any]]]:
    [item] = recorded(lambda recorder: recorder.table("t", rows))
    return rundir.read_table(item)


def histogram_of(values: Any, **options: Any) -> dict[str, Any]:
    [item] = recorded(lambda recorder: recorder.histogram("h", values, **options))
    return item.data


# -- texts -------------------------------------------------------------------------------------------------------


def test_a_text_stands_in_its_line() -> None:
    [item] = recorded(lambda recorder: recorder.text("sample", "Once\nupon ü", step=7))

    assert (item.kind, item.tag, item.step, item.data, item.file) == (
        "text",
        "sample",
        7,
        {"text": "Once\nupon ü"},
        None,
    )


def test_a_long_text_becomes_a_file() -> None:
    text = "ü" * 10_000
    [item] = recorded(lambda recorder: recorder.text("val/sample", text, step=7))

    assert item.file is not None
    assert item.file.parts[-2:] == ("texts", "val.sample_7.txt")
    assert item.file.read_text("utf-8") == text
    assert item.data == {"size_bytes": 20_000}


def test_a_text_that_is_no_unicode_is_recorded_escaped() -> None:
    [item] = recorded(lambda recorder: recorder.text("a", "x\ud800y"))

    assert item.data == {"text": "x\\ud800y"}


def test_the_step_is_the_recorders_where_none_is_given() -> None:
    def record(recorder: Recorder) -> None:
        recorder.count = 5
        recorder.text("a", "x")
        recorder.params({})

    assert [item.step for item in recorded(record)] == [5, 5]


# -- parameters --------------------------------------------------------------------------------------------------


def test_parameters_come_back_equal() -> None:
    params = {"lr": 0.1, "path": pathlib.Path("x"), "odd": math.inf, "sizes": (1, 2), "when": datetime.date(2026, 1, 2)}
    [item] = recorded(lambda recorder: recorder.params(params))

    assert item.data == {"params": params}


def test_parameters_are_those_of_the_call() -> None:
    def record(recorder: Recorder) -> None:
        params = {"sizes": [1, 2]}
        recorder.params(params)
        params["sizes"].append(3)

    [item] = recorded(record)
    assert item.data == {"params": {"sizes": [1, 2]}}


# -- histograms --------------------------------------------------------------------------------------------------

numbers = st.lists(st.floats(width=32) | st.integers(-1000, 1000), max_size=60)


@given(numbers, st.integers(1, 80))
def test_a_histogram_counts_every_value_once(values: list[float], bins: int) -> None:
    data = histogram_of(values, bins=bins)
    finite = [value for value in values if math.isfinite(value)]

    assert sum(data["counts"]) == data["count"] == len(finite)
    assert data["nan"] + data["inf"] + data["-inf"] == len(values) - len(finite)
    assert len(data["edges"]) == len(data["counts"]) + (1 if finite else 0)
    assert data["edges"] == sorted(data["edges"])
    if finite:
        assert data["edges"][0] <= data["min"] == min(finite)
        assert data["edges"][-1] >= data["max"] == max(finite)
        assert math.isclose(data["mean"], math.fsum(finite) / len(finite), rel_tol=1e-6, abs_tol=1e-30)


def test_a_histogram_is_that_of_numpy() -> None:
    values = np.random.default_rng(1).normal(size=1000)
    data = histogram_of(values, bins=20)
    counts, edges = np.histogram(values, bins=20)

    assert data["counts"] == list(counts)
    assert np.allclose(data["edges"], edges, rtol=1e-12)


def test_values_that_are_not_finite_are_counted_apart() -> None:
    data = histogram_of([1.0, math.nan, math.inf, math.inf, -math.inf, 2.0], bins=2)

    assert (data["nan"], data["inf"], data["-inf"], data["counts"]) == (1, 2, 1, [1, 1])


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        ([5, 5, 5], 3),
        ([0.0], 1),
        ([1e-320, 2e-320], 2),
        ([1.0, 1.0000000000000002], 2),
        ([-1.7e308, 1.7e308], 2),
        ([True, False], 2),
        (np.arange(12, dtype=np.uint8).reshape(3, 4), 12),
        (np.array([0.5, 1.5], dtype=np.float32), 2),
        (7, 1),
    ],
)
def test_odd_ranges_have_a_histogram_too(values: Any, counts: int) -> None:
    data = histogram_of(values)

    assert sum(data["counts"]) == counts
    assert all(math.isfinite(edge) for edge in data["edges"])


def test_a_histogram_of_nothing_finite_is_empty() -> None:
    assert histogram_of([]) == {"edges": [], "counts": [], "count": 0, "nan": 0, "inf": 0, "-inf": 0}
    assert histogram_of([math.nan])["nan"] == 1


def test_a_histogram_is_of_the_values_at_the_call() -> None:
    import torch

    array, tensor, listed = np.zeros(3), on_device(torch.zeros(3)), [0.0, 0.0, 0.0]

    def record(recorder: Recorder) -> None:
        for values in (array, tensor, listed):
            recorder.histogram("h", values)
            values[0] = 5.0

    assert [item.data["max"] for item in recorded(record)] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("values", ["list", "numpy", "torch"])
def test_a_histogram_of_complex_numbers_is_refused(values: str, caplog: pytest.LogCaptureFixture) -> None:
    import torch

    plain = [1 + 5j]
    given: Any = {"list": plain, "numpy": np.array(plain), "torch": torch.tensor(plain, dtype=torch.complex128)}
    assert recorded(lambda recorder: recorder.histogram("h", given[values])) == []
    assert messages(caplog) == [
        "histogram 'h' could not be recorded: TypeError: complex128 values are no real numbers. "
        "Further ones of this sort are told at the end; the run goes on."
    ]


def test_tensors_of_every_kind_have_a_histogram() -> None:
    import torch

    for tensor in (torch.ones(2, dtype=torch.bfloat16), torch.ones(2, requires_grad=True), torch.ones(2).bool()):
        assert histogram_of(tensor)["count"] == 2


@pytest.mark.parametrize("bins", [0, -1, 10_001, 2.5, True, "x"])
def test_a_number_of_bins_that_is_none_is_said(bins: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert recorded(lambda recorder: recorder.histogram("h", [1.0], bins=bins)) == []
    assert messages(caplog) == [
        f"histogram 'h' could not be recorded: ValueError: bins={bins!r}: expected a whole number from 1 to 10000. "
        "Further ones of this sort are told at the end; the run goes on."
    ]


# -- tables ------------------------------------------------------------------------------------------------------


def test_a_table_of_dicts_has_the_columns_of_all_of_them() -> None:
    assert table_of([{"a": 1}, {"b": "x", "a": 2}, {}]) == (["a", "b"], [[1, None], [2, "x"], [None, None]])


def test_a_table_of_columns() -> None:
    columns = {"n": np.arange(2), "x": [0.5, None], "t": ("a", "b")}

    assert table_of(columns) == (["n", "x", "t"], [[0, 0.5, "a"], [1, None, "b"]])


def test_a_frame_of_pandas() -> None:
    import pandas as pd

    frame = pd.DataFrame({"n": [1, 2], "t": pd.to_datetime(["2026-01-02", None]), "s": pd.array([True, None])})

    assert table_of(frame) == (
        ["n", "t", "s"],
        [[1, "2026-01-02T00:00:00", True], [2, None, None]],
    )


def test_columns_of_pandas_with_one_name_stay_two() -> None:
    import pandas as pd

    assert table_of(pd.DataFrame([[1, 2]], columns=["a", "a"]))[1] == [[1, 2]]


def test_a_frame_of_polars() -> None:
    import polars as pl

    assert table_of(pl.DataFrame({"n": [1, None], "s": ["a", "b"]})) == (["n", "s"], [[1, "a"], [None, "b"]])


def test_cells_are_numbers_texts_or_nothing() -> None:
    cells = [math.nan, np.float32(0.5), np.int8(3), np.bool_(True), pathlib.Path("x"), b"x", "\ud800", 10**30, [1]]

    assert [row[0] for row in table_of({"a": cells})[1]] == [
        *(None, 0.5, 3, True, "x", "b'x'", "\\ud800", 10**30, "[1]"),
    ]


def test_an_infinity_comes_back() -> None:
    assert table_of({"a": [math.inf, -math.inf]})[1] == [[math.inf], [-math.inf]]


def test_a_long_table_becomes_a_file_that_pandas_reads() -> None:
    import pandas as pd

    [item] = recorded(lambda recorder: recorder.table("val/all", {"n": list(range(5000)), "s": ["x"] * 5000}))

    assert item.file is not None
    assert item.file.parts[-2:] == ("tables", "val.all_0.json")
    assert item.data == {"columns": ["n", "s"], "rows": 5000}
    assert rundir.read_table(item)[1][-1] == [4999, "x"]
    frame = pd.read_json(item.file, orient="split")
    assert list(frame.columns) == ["n", "s"]
    assert frame["n"].sum() == sum(range(5000))


def test_a_table_is_that_of_the_call() -> None:
    rows = [{"a": 1}]
    column = np.zeros(1)

    def record(recorder: Recorder) -> None:
        recorder.table("rows", rows)
        recorder.table("columns", {"a": column})
        rows[0]["a"] = 5
        column[0] = 5

    assert [rundir.read_table(item)[1] for item in recorded(record)] == [[[1]], [[0.0]]]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (5, "TypeError: 'int' object is not iterable"),
        ([1, 2], "TypeError: a table is a list of dicts, a dict of columns, or a frame of pandas or polars"),
        ({"a": 5}, "TypeError: a column of a table is a list, got int"),
        ({"a": "text"}, "TypeError: a column of a table is a list, got str"),
        ({"a": [1], "b": [1, 2]}, "ValueError: the columns of a table are of different lengths (a: 1, b: 2)"),
    ],
)
def test_what_is_no_table_is_said(rows: Any, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    assert recorded(lambda recorder: recorder.table("t", rows)) == []
    assert messages(caplog) == [
        f"table 't' could not be recorded: {problem}. Further ones of this sort are told at the end; the run goes on."
    ]


# -- secrets -----------------------------------------------------------------------------------------------------


def mask(plain: Any) -> Any:
    return json.loads(json.dumps(plain).replace("secret", "***"))


def test_no_secret_reaches_a_file() -> None:
    with Recorder("output", mask=mask) as recorder:
        recorder.text("short", "a secret")
        recorder.text("long", "a secret " * 5000)
        recorder.table("short", [{"a": "secret"}])
        recorder.table("long", [{"a": "secret"}] * 5000)
        recorder.params({"key": "secret"})

    files = [path for path in Path("output").rglob("*") if path.is_file()]
    assert [path.name for path in files if "secret" in path.read_text()] == []
    first, *others = rundir.read_items("output")
    assert first.data["text"] == "a ***"
    assert len(others) == 4


def test_the_index_of_a_frame_is_its_first_column_unless_it_only_numbers_the_rows() -> None:
    pandas = pytest.importorskip("pandas")
    named = pandas.DataFrame({"a": [1, 2]}, index=pandas.Index(["x", "y"], name="class"))
    unnamed = pandas.DataFrame({"a": [1, 2]})

    def record(recorder: Recorder) -> None:
        for frame in (unnamed.describe(), named, unnamed):
            recorder.table("t", frame)

    [described, of_class, plain] = recorded(record)

    assert rundir.read_table(described)[0] == ["index", "a"]
    assert [row[0] for row in rundir.read_table(described)[1]][:3] == ["count", "mean", "std"]
    assert rundir.read_table(of_class) == (["class", "a"], [["x", 1], ["y", 2]])
    assert rundir.read_table(plain) == (["a"], [[1], [2]])
