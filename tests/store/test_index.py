"""The index: whatever happens to runs, to it, or to whoever uses it, the answers are those of the directories."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.store import Run, Runs, _index, _reading, _segments, runs
from pystematic.store._index import discard_index, index_file, open_table, table_of
from pystematic.store._packing import pack, unpack
from pystematic.store._runs import run_directories
from tests.builders import make_run
from tests.store.builders import make_recorded, moment, record

LONG_AGO_NS = 1_600_000_000_000_000_000


@pytest.fixture
def _everything_is_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every change for an old one, as if the test had waited: nothing is read again for being recent."""
    monkeypatch.setattr("pystematic.store._reading.SETTLED_AFTER_NS", -(10**18))


def facts_of(run: Run) -> dict[str, Any]:
    """Return what a run itself says, by the names of fields."""
    error = run.document.get("error") or {}
    return {
        "id": run.id,
        "experiment": run.experiment,
        "status": run.status,
        "note": run.note,
        "tags": list(run.tags),
        "path": str(run.path),
        "started_at": None if run.started_at is None else run.started_at.timestamp(),
        "ended_at": None if run.ended_at is None else run.ended_at.timestamp(),
        "exit_code": run.document.get("exit_code"),
        "error.type": error.get("type"),
        "params.lr": run.params.get("lr"),
        "params.model": run.params.get("model"),
        "sources.lr": run.sources.get("lr"),
        "metrics.loss.min": run.summary.get("loss", {}).get("min"),
        "metrics.loss.last": run.summary.get("loss", {}).get("last"),
        "metrics['val/accuracy'].max": run.summary.get("val/accuracy", {}).get("max"),
    }


def check(folder: Path) -> None:
    """Compare what the index says of a folder with what its directories say."""
    truth = [Run(directory) for directory in run_directories(str(folder))]
    truth = [run for run in truth if run.status != "damaged"]
    found = runs(folder)
    assert {run.id for run in found} == {run.id for run in truth}
    expected = {run.id: facts_of(run) for run in truth}
    fields = {field: found.values(field) for field in next(iter(expected.values()), {})}
    assert {found[i].id: {name: values[i] for name, values in fields.items()} for i in range(len(found))} == expected
    assert found.damaged == sum(Run(directory).status == "damaged" for directory in run_directories(str(folder)))
    plain = Runs(sorted(truth, key=lambda run: (run.started_at is not None and run.started_at.timestamp(), run.id)))
    for query in ("metrics.loss.min < 0.5", "params.lr > 0.1 and status != 'failed'", "'good' in tags"):
        assert [run.id for run in found.filter(query).sort("-params.lr, id")] == [
            run.id for run in plain.filter(query).sort("-params.lr, id")
        ]


def stored_runs(folder: Path) -> int:
    """Return how many runs the index of a folder holds."""
    return sum(len(segment.live_rows()) for segment in _index._Index(str(folder.resolve())).load())


def make_three(folder: Path) -> list[rundir.RunDir]:
    return [
        make_recorded(folder, {"loss": [1.0, i / 10]}, i, params={"lr": float(i), "model": "resnet"}) for i in range(3)
    ]


# -- what happens to runs --------------------------------------------------------------------------------------------


class World:
    """A folder in which runs are made and changed in every way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.counter = itertools.count()

    def directories(self) -> list[Path]:
        return [Path(path) for path in run_directories(str(self.folder))]

    def apply(self, operation: str, number: int) -> None:
        existing = self.directories()
        if operation == "create" or not existing:
            self.create(number)
            return
        chosen = existing[number % len(existing)]
        getattr(self, operation)(chosen, rundir.RunDir(chosen), number)

    def create(self, number: int) -> None:
        lr: object = [0.1, 1.5, None, "auto", [1, 2], True][number % 6]
        status = ["completed", "failed", "interrupted", "running"][number % 4]
        experiment = ["train", "test"][number % 2]
        second = next(self.counter)
        make_recorded(
            self.folder, {"loss": [number / 7]}, second, experiment=experiment, status=status, params={"lr": lr}
        )

    def finish(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        document = rundir.read_document(run.run_file) or {}
        rundir.write_document(run.run_file, {**document, "status": "completed", "exit_code": number})

    def relabel(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        rundir.write_document(run.labels_file, {"tags": ["good", str(number)][: number % 3], "note": f"n{number}"})

    def edit(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        """Change a document in place, as some editors do."""
        run.labels_file.write_text(f'{{"tags": ["good", "{number}"]}}')
        run.parameters_file.write_text(f"lr: {number}\nmodel: by hand\n")

    def record_more(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        record(run, {"loss": [number / 3], "val/accuracy": [number / 100]}, with_summary=number % 2 == 0)

    def tear(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        with open(run.metrics_file(), "ab") as file:
            file.write(b'{"tag":"loss","st')

    def damage(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        path = [run.run_file, run.summary_file, run.labels_file, run.parameters_file][number % 4]
        path.write_bytes([b"", b"{", b"[1]", b"\xff"][number // 4 % 4])

    def restore(self, _path: Path, run: rundir.RunDir, number: int) -> None:
        rundir.write_document(
            run.run_file, {"status": "failed", "error": {"type": "ValueError"}, "sources": {"lr": "code"}}
        )

    def delete(self, path: Path, _run: rundir.RunDir, number: int) -> None:
        shutil.rmtree(path)

    def copy(self, path: Path, _run: rundir.RunDir, number: int) -> None:
        shutil.copytree(path, path.with_name(f"2026-01-02_03-04-05_{next(self.counter):06}"))

    def move(self, path: Path, _run: rundir.RunDir, number: int) -> None:
        target = self.folder / "moved" / f"2026-01-02_03-04-05_{next(self.counter):06}"
        target.parent.mkdir(exist_ok=True)
        path.rename(target)

    def swap(self, path: Path, _run: rundir.RunDir, number: int) -> None:
        """Put another run's directory in the place of this one."""
        other = self.directories()[-1]
        aside = self.folder / "aside"
        path.rename(aside)
        if other != path:
            other.rename(path)
        aside.rename(other)

    def forget(self, path: Path, _run: rundir.RunDir, number: int) -> None:
        """Make it no run at all."""
        (path / "run.json").unlink()


OPERATIONS = [name for name in vars(World) if not name.startswith("_") and name not in ("directories", "apply")]


@hypothesis.settings(
    max_examples=25,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(
    steps=st.lists(st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 60), st.booleans()), max_size=14),
)
@pytest.mark.usefixtures("_everything_is_settled")
def test_whatever_happens_to_runs_the_index_says_what_the_directories_say(
    steps: list[tuple[str, int, bool]], working_dir: Path
) -> None:
    world = World(working_dir / os.urandom(8).hex() / "output")
    world.create(0)
    for operation, number, is_looked_at in steps:
        world.apply(operation, number)
        if is_looked_at:
            check(world.folder)
    check(world.folder)


@pytest.mark.usefixtures("_everything_is_settled")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_single_change_is_seen(operation: str, working_dir: Path) -> None:
    world = World(working_dir / "output")
    for number in range(6):
        world.create(number)
    check(world.folder)
    for number in (0, 1, 5, 7):
        world.apply(operation, number)
        check(world.folder)


def test_a_second_change_within_a_tick_of_the_clock_is_seen(working_dir: Path) -> None:
    (run_dir, *_) = make_three(working_dir / "output")
    state = run_dir.labels_file
    for number in range(5):
        state.write_text(f'{{"note": "{number}"}}')
        os.utime(state, ns=(LONG_AGO_NS, LONG_AGO_NS))
        assert runs("output").filter(f"note == '{number}'")[0].id == run_dir.id


@pytest.mark.usefixtures("_everything_is_settled")
def test_an_ended_run_is_read_once(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_three(working_dir / "output")
    runs("output")

    def refuse(folder: str, found: object) -> list[Any]:
        raise AssertionError(f"{folder} is read again")

    monkeypatch.setattr(_index, "read_segments", refuse)
    assert len(runs("output").filter("params.lr >= 1")) == 2


@pytest.mark.usefixtures("_everything_is_settled")
def test_of_many_runs_only_the_changed_ones_are_read(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_three(working_dir / "output")
    runs("output")
    rundir.write_document(made[1].labels_file, {"tags": ["good"]})
    read: list[list[str]] = []
    really = _segments.read_segments

    def count(folder: str, found: Any) -> Any:
        read.append([name for name, _ in found])
        return really(folder, found)

    monkeypatch.setattr(_index, "read_segments", count)
    assert [run.id for run in runs("output").filter("'good' in tags")] == [made[1].id]
    assert read == [[f"train/{made[1].id}"]]


@pytest.mark.usefixtures("_everything_is_settled")
def test_in_a_large_folder_edits_in_place_are_found_in_turn(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index, "ALL_LOOKED_AT", 2)
    monkeypatch.setattr(_index, "LOOKED_AT", 2)
    made = [make_run(working_dir / "output", started_at=moment(i)) for i in range(7)]
    runs("output")
    for run_dir in made:
        run_dir.labels_file.touch()  # a new file is seen at once
    runs("output")
    for run_dir in made:
        run_dir.labels_file.write_text('{"note": "edited"}')
    seen = [len([note for note in open_table("output").column(("note",)) if note == "edited"]) for _ in range(4)]
    assert seen[-1] == 7
    assert seen == sorted(seen)


@pytest.mark.usefixtures("_everything_is_settled")
def test_in_a_large_folder_the_runs_that_are_handed_out_are_looked_at(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_index, "ALL_LOOKED_AT", 1)
    monkeypatch.setattr(_index, "LOOKED_AT", 1)
    made = [make_run(working_dir / "output", started_at=moment(i), params={"lr": float(i)}) for i in range(6)]
    runs("output")
    made[5].parameters_file.write_text("lr: -1\n")
    made[4].parameters_file.write_text("lr: 0.5\n")

    assert [run.params["lr"] for run in runs("output").sort("-params.lr")[:3]] == [3.0, 2.0, 1.0]


def test_runs_are_those_of_the_moment(working_dir: Path) -> None:
    make_three(working_dir / "output")
    found = runs("output")
    make_run(working_dir / "output")

    assert (len(found), len(runs("output"))) == (3, 4)


@pytest.mark.usefixtures("_everything_is_settled")
def test_many_small_changes_do_not_scatter_the_index(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index, "SMALL", 4)
    monkeypatch.setattr(_index, "MOST_HALF_EMPTY", 5)
    for second in range(40):
        make_run(working_dir / "output", started_at=moment(second), params={"lr": float(second)})
        assert len(runs("output")) == second + 1
    segments = _index._Index(str(working_dir / "output")).load()
    assert len(segments) <= 8
    assert sum(len(segment.live_rows()) for segment in segments) == 40
    check(working_dir / "output")


def test_a_live_run_shows_its_current_numbers(working_dir: Path) -> None:
    run_dir = make_recorded(
        working_dir / "output",
        {"loss": [3.0]},
        status="running",
        host=rundir.host_name(),
        pid=rundir.process_identity(),
    )
    for value in (2.0, 1.0, 0.5):
        record(run_dir, {"loss": [value]}, with_summary=False)
        found = runs("output").filter("status == 'running'")
        assert found.values("metrics.loss.min") == [value]
        (duration,) = found.values("duration")
        assert duration > 0


def test_a_run_whose_process_is_gone_is_lost(working_dir: Path) -> None:
    make_run(working_dir / "output", status="running", host=rundir.host_name(), ended_at=None, pid={
        **rundir.process_identity(), "pid": 2**22 + 1
    })  # fmt: skip

    found = runs("output").filter("status == 'lost'")
    assert found.values("duration") == [None]


# -- what happens to the index ---------------------------------------------------------------------------------------


def test_it_is_in_the_cache_folder_and_only_there(working_dir: Path) -> None:
    make_three(working_dir / "output")
    before = sorted(working_dir.rglob("*"))
    runs("output").filter("params.lr > 0").best("loss:min")

    assert sorted(working_dir.rglob("*")) == before
    path = Path(index_file("output"))
    assert path.parent == Path(os.environ["XDG_CACHE_HOME"]) / "pystematic"
    assert path.stat().st_mode & 0o777 == 0o600
    assert stored_runs(working_dir / "output") == 3


def test_it_may_be_deleted_at_any_time(working_dir: Path) -> None:
    make_three(working_dir / "output")
    found = runs("output")
    discard_index("output")

    assert found.filter("params.lr > 0").values("params.lr") == [1.0, 2.0]
    check(working_dir / "output")
    assert stored_runs(working_dir / "output") == 3


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 0xFF
    path.write_bytes(content)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "another file": lambda path: path.write_bytes(b"hello" * 1000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "header": lambda path: flip(path, 20),
    "a folder": lambda path: put_folder(path),
    "no state": lambda path: change(path, "DELETE FROM state"),
    "other state": lambda path: change(path, "UPDATE state SET data = x'00'"),
    "state of another form": lambda path: change_state(path, {"cursor": 3}),
    "state without segments": lambda path: change_state(path, {"segments": None}),
    "no cells": lambda path: change(path, "DELETE FROM cell"),
    "text cells": lambda path: change(path, "UPDATE cell SET data = 'text'"),
    "mixed cells": lambda path: change(path, "UPDATE cell SET data = (SELECT data FROM cell LIMIT 1)"),
    "no tables": lambda path: change(path, "DROP TABLE cell"),
}


def change(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def change_state(path: Path, fields: dict[str, object]) -> None:
    connection = sqlite3.connect(path)
    (data,) = connection.execute("SELECT data FROM state").fetchone()
    (state,) = unpack(data, "state")
    connection.execute("UPDATE state SET data = ?", [pack([{**state, **fields}], "state")])
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_anew(damage: str, working_dir: Path) -> None:
    make_three(working_dir / "output")
    runs("output")
    path = Path(index_file("output"))
    DAMAGES[damage](path)

    check(working_dir / "output")
    if not path.is_dir():
        check(working_dir / "output")
        assert stored_runs(working_dir / "output") == 3


def test_a_flipped_byte_anywhere_changes_no_answer(working_dir: Path) -> None:
    make_three(working_dir / "output")
    runs("output")
    path = Path(index_file("output"))
    whole = path.read_bytes()
    for position in range(0, len(whole), max(1, len(whole) // 150)):
        path.write_bytes(whole)
        flip(path, position)
        found = runs("output").filter("params.lr > 0 and metrics.loss.min < 1")
        assert found.values("params.lr") == [1.0, 2.0], position


def test_damage_that_is_met_only_in_a_column_changes_no_answer(working_dir: Path) -> None:
    make_three(working_dir / "output")
    runs("output")
    name = _segments.column_name(("params", "lr")).replace("'", "''")
    change(Path(index_file("output")), f"UPDATE cell SET data = x'0102' WHERE name = '{name}'")

    assert runs("output").filter("params.lr > 0").values("params.lr") == [1.0, 2.0]


@pytest.mark.parametrize("base", ["/proc/nowhere", "relative"])
def test_without_a_cache_folder_it_works(base: str, working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", base)
    if base == "relative":
        monkeypatch.setattr("pystematic.store._index.cached_file", lambda kind, key, suffix: f"{base}/{kind}{suffix}")
    make_three(working_dir / "output")

    check(working_dir / "output")
    check(working_dir / "output")
    assert not (working_dir / "relative").exists()


@pytest.mark.usefixtures("_everything_is_settled")
def test_an_index_that_may_not_be_written_is_read(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_three(working_dir / "output")
    runs("output")
    really = sqlite3.connect

    def connect_read_only(path: str, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = really(f"file:{path}?mode=ro", uri=True, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_read_only)
    rundir.write_document(made[0].labels_file, {"tags": ["good"]})
    check(working_dir / "output")
    check(working_dir / "output")


@pytest.mark.usefixtures("_everything_is_settled")
def test_an_index_that_somebody_holds_is_done_without(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_index, "TIMEOUT_S", 0.01)
    make_three(working_dir / "output")
    runs("output")
    connection = sqlite3.connect(index_file("output"))
    connection.execute("BEGIN EXCLUSIVE")
    try:
        check(working_dir / "output")
    finally:
        connection.close()


@pytest.mark.usefixtures("_everything_is_settled")
def test_of_two_readers_that_update_it_one_wins_and_both_are_right(working_dir: Path) -> None:
    made = make_three(working_dir / "output")
    folder = str(working_dir / "output")
    runs(folder)
    rundir.write_document(made[0].labels_file, {"tags": ["good"]})
    index = _index._Index(folder)
    segments = index.load()  # what a slow reader has seen

    assert len(runs(folder).filter("'good' in tags")) == 1  # a quick one updates it
    slow = index.update(segments, _segments.read_segments(folder, [(f"train/{made[1].id}", 0)]), ())
    assert len(slow) > 0
    check(working_dir / "output")


@pytest.mark.usefixtures("_everything_is_settled")
def test_columns_that_another_reader_has_replaced_are_read_from_the_runs(working_dir: Path) -> None:
    make_three(working_dir / "output")
    runs("output")
    found = runs("output")
    discard_index("output")
    make_run(working_dir / "output", started_at=moment(9), params={"lr": 9.0})
    runs("output")

    assert found.values("params.lr") == [0.0, 1.0, 2.0]
    assert runs("output").values("params.lr") == [0.0, 1.0, 2.0, 9.0]


def test_an_index_of_another_folder_with_the_same_checksum_is_not_taken(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = str(working_dir / "same.sqlite")
    monkeypatch.setattr(_index, "cached_file", lambda kind, key, suffix: same)
    make_three(working_dir / "one")
    make_run(working_dir / "two", params={"lr": 7.0})

    for _ in range(2):
        check(working_dir / "one")
        check(working_dir / "two")


def test_indexes_that_were_not_used_for_long_are_removed(working_dir: Path) -> None:
    make_three(working_dir / "output")
    runs("output")
    old = Path(index_file("output"))
    new = old.with_name("index-0.sqlite")
    shutil.copy(old, new)
    os.utime(old, ns=(LONG_AGO_NS, LONG_AGO_NS))
    make_run(working_dir / "other")
    runs("other")

    assert (old.exists(), new.exists()) == (False, True)


# -- reading many ----------------------------------------------------------------------------------------------------


@pytest.fixture
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_segments, "SIZE", 2)
    monkeypatch.setattr(_segments, "MOST_ALONE", 2)


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("may_fork", [True, False])
def test_many_runs_are_read_by_two_processes(
    may_fork: bool, working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_segments, "may_fork", lambda: may_fork)
    for second in range(9):
        make_recorded(working_dir / "output", {"loss": [second / 10]}, second, params={"lr": float(second)})

    check(working_dir / "output")
    assert runs("output").values("params.lr") == [float(second) for second in range(9)]


@pytest.mark.usefixtures("_small_segments")
@pytest.mark.parametrize("handed_over", [0, 1])
def test_what_a_killed_helper_has_not_read_is_read(
    handed_over: int, working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_segments, "may_fork", lambda: True)
    really = _segments._read_part
    parent = os.getpid()
    parts = itertools.count()

    def die(reader: Any, folder: str, part: Any) -> Any:
        if os.getpid() != parent and next(parts) >= handed_over:
            os._exit(9)
        return really(reader, folder, part)

    monkeypatch.setattr(_segments, "_read_part", die)
    for second in range(9):
        make_run(working_dir / "output", started_at=moment(second), params={"lr": float(second)})

    assert runs("output").values("params.lr") == [float(second) for second in range(9)]


@pytest.mark.parametrize("is_killed", [False, True])
def test_many_directories_are_looked_at_by_two_processes(
    is_killed: bool, working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [make_run(working_dir / "output", started_at=moment(second), params={"lr": 1.0}) for second in range(9)]
    monkeypatch.setattr(_reading, "MOST_ALONE", 2)
    monkeypatch.setattr(_reading, "may_fork", lambda: True)
    if is_killed:
        parent = os.getpid()
        really = os.stat

        def stat(path: Any, **options: Any) -> os.stat_result:
            if os.getpid() != parent:
                os._exit(9)
            return really(path, **options)

        monkeypatch.setattr(os, "stat", stat)
    check(working_dir / "output")
    make_run(working_dir / "output", started_at=moment(9))
    shutil.rmtree(made[3].path)
    check(working_dir / "output")


def test_runs_may_be_put_together_from_several_folders(working_dir: Path) -> None:
    one, two = (
        make_recorded(working_dir / "a", {"loss": [2.0]}, 5),
        make_recorded(working_dir / "b", {"loss": [1.0]}, 1),
    )
    together = Runs([Run(one.path), Run(two.path)])

    assert [run.id for run in together] == [one.id, two.id]
    assert [run.id for run in together.sort("metrics.loss.last")] == [two.id, one.id]
    assert table_of([str(one.path), str(two.path)]).column(("id",)) == [one.id, two.id]
