"""Series as columns: the same with and without a cache, whatever happens to the file and to the cache."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pystematic import rundir
from pystematic._cache_dir import cache_dir
from pystematic.store import Run, _columns
from tests.builders import make_run, run_python
from tests.store.builders import record


@pytest.fixture(autouse=True)
def _small_files_are_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columns, "SMALL", 1)


@pytest.fixture
def _everything_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columns, "SETTLED_AFTER_NS", -(10**18))


def caches() -> list[Path]:
    return sorted(Path(cache_dir()).glob("series-*"))


def read(run_dir: rundir.RunDir) -> dict[str, tuple[list[Any], list[Any], list[Any]]]:
    """Return all series as a new process would read them."""
    found = _columns.read_columns(run_dir)
    return {tag: tuple(map(listed, (c.step, c.value, c.time))) for tag, c in found.series.items()}  # type: ignore[misc]


def listed(column: Any) -> list[Any]:
    """Return a column as a list in which NaN equals NaN, and 1 is not 1.0."""
    return [repr(number) for number in (column if isinstance(column, list) else column.tolist())]


def truth(run_dir: rundir.RunDir) -> dict[str, tuple[list[Any], list[Any], list[Any]]]:
    """Return all series as the file has them."""
    series = rundir.read_series(run_dir)
    return {
        tag: tuple(listed(_columns.make_column(part)) for part in (points.steps, points.values, points.times))  # type: ignore[misc]
        for tag, points in series.points.items()
    }


def make_cached(folder: Path, values: Sequence[float] = (3.0, 2.0, 1.0)) -> rundir.RunDir:
    """Make a run whose series are in the cache."""
    run_dir = make_run(folder)
    record(run_dir, {"loss": values, "steps": range(len(values))}, with_summary=False)
    assert read(run_dir) == truth(run_dir)
    assert len(caches()) == 1
    return run_dir


def refuse_to_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(file: rundir.SeriesFile, *, to_end: bool) -> dict[str, Any]:
        assert file.offset >= os.path.getsize(file.path), "the file is parsed again"
        return {}

    monkeypatch.setattr(_columns, "_parse", parse)


@pytest.mark.usefixtures("_everything_is_settled")
def test_a_file_that_has_not_changed_is_not_parsed_again(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_dir = make_cached(working_dir)
    refuse_to_parse(monkeypatch)

    assert read(run_dir) == truth(run_dir)


def test_types_come_back(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    series = Run(run_dir.path).metrics("steps")

    assert (series.step.dtype, series.value.dtype, series.time.dtype) == ("int64", "int64", "float64")


def test_arrays_out_of_the_cache_are_the_users_own(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    values = Run(run_dir.path).metrics("loss").value
    values[0] = 99.0

    assert Run(run_dir.path).metrics("loss").value.tolist() == [3.0, 2.0, 1.0]


def test_of_a_file_that_has_grown_only_the_new_part_is_parsed(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = make_cached(working_dir)
    before = run_dir.metrics_file().stat().st_size
    record(run_dir, {"loss": [0.5], "new": [1.0]}, with_summary=False)
    offsets = []
    really = _columns._parse

    def parse(file: rundir.SeriesFile, *, to_end: bool) -> Any:
        offsets.append(file.offset)
        return really(file, to_end=to_end)

    monkeypatch.setattr(_columns, "_parse", parse)
    assert read(run_dir) == truth(run_dir)
    assert min(offsets) == before


def test_a_file_that_grows_many_times_is_right_each_time(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columns, "MOST_PARTS", 3)
    run_dir = make_cached(working_dir)
    for number in range(12):
        record(run_dir, {"loss": [number / 2], "late" if number > 5 else "early": [number]}, with_summary=False)
        assert read(run_dir) == truth(run_dir)
    assert len(_columns._parse_parts(caches()[0].read_bytes())) <= 4


def test_a_number_of_another_type_later_changes_the_type(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    for value in (0.5, 2**53 + 1, 2**70, math.nan, -math.inf):
        record(run_dir, {"steps": [value]}, with_summary=False)
        assert read(run_dir) == truth(run_dir)
    assert read(run_dir) == truth(run_dir)


def change_first_value(path: Path) -> None:
    """Change a number in place: neither the size nor the last part of the file tells."""
    path.write_bytes(path.read_bytes().replace(b"3.0", b"9.0", 1))


def replace_file(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.with_name("new").write_bytes(b"".join(reversed(lines)))
    path.with_name("new").replace(path)


def replace_by_longer_file(path: Path) -> None:
    replace_file(path)
    path.write_bytes(path.read_bytes() * 2)


CHANGES: dict[str, Callable[[Path], object]] = {
    "shrunk": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "edited": change_first_value,
    "replaced": replace_file,
    "replaced by a longer one": replace_by_longer_file,
    "rewritten longer": lambda path: path.write_bytes(path.read_bytes().replace(b"3.0", b"9.0") * 2),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "unfinished": lambda path: path.write_bytes(path.read_bytes() + b'{"tag":"loss","step":9,"ti'),
    "damaged": lambda path: path.write_bytes(path.read_bytes() + b"garbage\n\0\n"),
    "whole without a line end": lambda path: path.write_bytes(path.read_bytes()[:-1]),
}


@pytest.mark.usefixtures("_everything_is_settled")
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_not_what_it_was_is_read_right(change: str, working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    CHANGES[change](run_dir.metrics_file())
    for _ in range(2):
        assert read(run_dir) == truth(run_dir)
        assert _columns.read_columns(run_dir).damaged_lines == rundir.read_series(run_dir).damaged_lines
    record(run_dir, {"loss": [7.0]}, with_summary=False)
    assert read(run_dir) == truth(run_dir)


def test_a_change_within_a_tick_of_the_clock_is_seen(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    for _ in range(3):
        change_first_value(run_dir.metrics_file())
        assert read(run_dir) == truth(run_dir)


def test_a_removed_file_has_no_series(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    run_dir.metrics_file().unlink()

    assert read(run_dir) == {}


def test_a_copy_of_a_run_has_its_own(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    copied = rundir.RunDir(shutil.copytree(run_dir.path, working_dir / "copy"))
    record(copied, {"loss": [0.25]}, with_summary=False)

    assert read(copied) == truth(copied)
    assert read(run_dir) == truth(run_dir)


def test_series_of_several_processes_are_merged_and_not_cached(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    record(run_dir, {"loss": [1.0, 3.0]}, with_summary=False)
    record(run_dir, {"loss": [2.0, 4.0]}, rank=1, with_summary=False)

    assert Run(run_dir.path).metrics("loss").value.tolist() == [1.5, 3.5]
    assert caches() == []


def test_small_files_are_not_cached(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columns, "SMALL", 10_000)
    run_dir = make_run(working_dir)
    record(run_dir, {"loss": [1.0]}, with_summary=False)

    assert read(run_dir) == truth(run_dir)
    assert caches() == []


# -- the cache -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("_everything_is_settled")
def test_a_damaged_cache_changes_no_number(working_dir: Path) -> None:
    run_dir = make_cached(working_dir)
    record(run_dir, {"loss": [0.5]}, with_summary=False)
    read(run_dir)
    (path,) = caches()
    whole = path.read_bytes()
    right = truth(run_dir)
    for position in range(0, len(whole), 3):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        assert read(run_dir) == right, position
        path.write_bytes(whole[:position])
        assert read(run_dir) == right, position


def test_it_is_only_for_the_user(working_dir: Path) -> None:
    make_cached(working_dir)

    assert caches()[0].stat().st_mode & 0o777 == 0o600


def test_a_cache_that_cannot_be_written_is_done_without(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    run_dir = make_run(working_dir)
    record(run_dir, {"loss": [1.0]}, with_summary=False)

    assert read(run_dir) == truth(run_dir)


def test_a_cache_of_another_file_with_the_same_checksum_is_not_taken(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = str(working_dir / "same.bin")
    monkeypatch.setattr(_columns, "cached_file", lambda kind, key, suffix: same)
    runs = [make_run(working_dir), make_run(working_dir)]
    for number, run_dir in enumerate(runs):
        record(run_dir, {"loss": [float(number)]}, with_summary=False)
    for _ in range(2):
        for run_dir in runs:
            assert read(run_dir) == truth(run_dir)


def test_the_oldest_are_removed(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [make_run(working_dir) for _ in range(4)]
    for number, run_dir in enumerate(made):
        record(run_dir, {"loss": [1.0] * 20}, with_summary=False)
        read(run_dir)
        for path in caches()[:]:
            if path.stat().st_mtime > 1e9:
                os.utime(path, (number, number))
    size = sum(path.stat().st_size for path in caches())
    monkeypatch.setattr(_columns, "MOST_BYTES", size // 2 + 1)
    record(made[3], {"loss": [2.0]}, with_summary=False)
    read(made[3])

    assert 1 <= len(caches()) < 4
    for run_dir in made:
        assert read(run_dir) == truth(run_dir)


def test_without_numpy_columns_are_arrays_and_cached_too(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    record(run_dir, {"loss": [0.5, 1.0], "whole": [1, 2], "big": [2**70]}, with_summary=False)
    code = f"""
import sys
sys.modules["numpy"] = None
from pystematic.store import Run, _columns
_columns.SMALL = 1
for _ in range(2):
    run = Run({str(run_dir.path)!r})
    print(*(run.metrics(tag).value for tag in ("loss", "whole", "big")))
"""
    line = f"array('d', [0.5, 1.0]) array('q', [1, 2]) [{2**70}]\n"
    assert run_python("-c", code).stdout == line * 2
    assert len(caches()) == 1
    assert read(run_dir) == truth(run_dir)


def test_joined_parts_of_several_kinds_are_the_column_of_the_whole(working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    for values in ([1, 2**53 + 1], [1, 0.5], [2, 2**80]):
        record(run_dir, {"mixed": values}, with_summary=False)
        assert read(run_dir) == truth(run_dir)


@hypothesis.settings(max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["grow", "cut", "tear", "rewrite", "look"]),
            st.integers(0, 40) | st.floats() | st.sampled_from([2**53 + 1, 2**80]),
        ),
        max_size=10,
    )
)
@pytest.mark.usefixtures("_everything_is_settled")
def test_whatever_happens_to_a_file_its_columns_are_those_of_the_file(
    steps: list[tuple[str, float]], working_dir: Path
) -> None:
    run_dir = make_run(working_dir / os.urandom(8).hex())
    record(run_dir, {"loss": [3.0, 2.0]}, with_summary=False)
    path = run_dir.metrics_file()
    for operation, number in steps:
        size = path.stat().st_size
        if operation == "grow":
            record(run_dir, {"loss": [number], "other": [1, number]}, with_summary=False)
        elif operation == "cut":
            os.truncate(path, size // 2)
        elif operation == "tear":
            path.write_bytes(path.read_bytes() + b'{"tag":"loss"')
        elif operation == "rewrite":
            path.unlink()
            record(run_dir, {"loss": [number] * 5}, with_summary=False)
        else:
            assert read(run_dir) == truth(run_dir)
    assert read(run_dir) == truth(run_dir)
