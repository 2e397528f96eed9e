"""The backend that writes into the run directory: its files, their safety, what it keeps and what it counts."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.record import ScalarBatch
from pystematic.record import _rundir as backend_module
from pystematic.record._rundir import RunDirBackend
from tests.record.builders import Clock


def batch(*values: float, tag: str = "a", time: float = 1e9) -> ScalarBatch:
    count = len(values)
    return ScalarBatch([tag] * count, list(range(count)), [time + i for i in range(count)], list(values))


def values_in(name: str = "metrics.jsonl") -> list[float | None]:
    return [json.loads(line)["value"] for line in Path(name).read_text().splitlines()]


def summary() -> dict[str, Any]:
    document = rundir.read_document("summary.json")
    assert document is not None
    return document


def names() -> list[str]:
    return sorted(os.listdir())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(backend_module, "time", clock)
    return clock


class Disk:
    """Stands for the disk behind `os.write`: full or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.synced = 0
        self._write, self._fsync = os.write, os.fsync
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def write(self, descriptor: int, data: bytes) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(descriptor, data)

    def fsync(self, descriptor: int) -> None:
        self.synced += 1
        self._fsync(descriptor)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_nothing_recorded_leaves_no_file() -> None:
    backend = RunDirBackend(".")
    backend.flush()
    backend.close()

    assert names() == []


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, "metrics.jsonl"), ({"rank": 2}, "metrics.rank-2.jsonl"), ({"rank": 2, "pid": 7}, "metrics.pid-7.jsonl")],
)
def test_each_process_has_a_file_of_its_own(options: dict[str, Any], name: str) -> None:
    backend = RunDirBackend(".", **options)
    backend.write(batch(1.5, 2))
    backend.flush()

    assert names() == [name]
    assert values_in(name) == [1.5, 2]
    backend.close()


def test_a_forked_child_has_a_file_with_its_number() -> None:
    backend = RunDirBackend(".", rank=1)
    child = backend.for_child()
    child.write(batch(1))
    child.flush()
    child.close()
    backend.close()

    assert names() == [f"metrics.pid-{os.getpid()}.jsonl"]


def test_a_flush_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = os.write

    def note(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", note)
    backend = RunDirBackend(".", rank=1)
    for i in range(100):
        backend.write(batch(i))
    backend.flush()

    assert sizes == [Path("metrics.rank-1.jsonl").stat().st_size]
    backend.close()


def test_times_are_written_in_milliseconds_and_the_summary_knows_no_more() -> None:
    backend = RunDirBackend(".")
    # Appended by two threads, of which the later one was faster: in milliseconds they are the same time.
    backend.write(ScalarBatch(["a", "a"], [0, 1], [1e9 + 0.1239, 1e9 + 0.1231], [1, 2]))
    backend.flush()
    backend.close()

    assert [json.loads(line)["time"] for line in Path("metrics.jsonl").read_text().splitlines()] == [1e9 + 0.123] * 2
    assert summary() == rundir.summarize(".")


def test_how_a_tag_is_merged_stands_in_its_lines() -> None:
    reduces = {"b": "sum"}
    backend = RunDirBackend(".", rank=1, reduces=reduces)
    backend.write(batch(1, tag="a"))
    backend.write(batch(2, tag="b"))
    backend.flush()
    backend.close()

    lines = [json.loads(line) for line in Path("metrics.rank-1.jsonl").read_text().splitlines()]
    assert [line.get("reduce") for line in lines] == [None, "sum"]


# -- the disk ----------------------------------------------------------------------------------------------------


def test_the_file_is_synced_every_thirty_seconds_and_at_the_end(clock: Clock, disk: Disk) -> None:
    backend = RunDirBackend(".", rank=1)
    backend.write(batch(1))
    backend.flush()
    assert disk.synced == 0
    clock.now += 30
    backend.flush()
    assert disk.synced == 1
    clock.now += 300
    backend.flush()  # nothing new
    assert disk.synced == 1
    backend.write(batch(2))
    backend.flush()
    backend.write(batch(3))
    backend.flush()
    assert disk.synced == 2
    backend.close()
    assert disk.synced == 3


def test_a_full_disk_keeps_all_until_there_is_room(disk: Disk) -> None:
    backend = RunDirBackend(".")
    backend.write(batch(1))
    backend.flush()
    disk.is_full = True
    for value in (2, 3):
        backend.write(batch(value))
        with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'"):
            backend.flush()
    disk.is_full = False
    backend.write(batch(4))
    backend.flush()
    backend.close()

    assert values_in() == [1, 2, 3, 4]
    assert backend.dropped == 0
    assert summary() == rundir.summarize(".")


def test_what_is_kept_for_a_full_disk_is_bounded_and_the_rest_is_counted(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "PENDING_LIMIT_BYTES", 200)
    backend = RunDirBackend(".")
    disk.is_full = True
    for i in range(20):
        backend.write(batch(i))
        with pytest.raises(OSError, match="No space"):
            backend.flush()
    disk.is_full = False
    backend.write(batch(20))  # still too much is waiting
    backend.flush()
    backend.write(batch(21))
    backend.flush()
    backend.close()

    kept = values_in()
    assert kept == [*range(len(kept) - 1), 21]
    assert 200 <= Path("metrics.jsonl").stat().st_size < 400
    assert backend.dropped == 22 - len(kept)
    assert summary()["dropped"] == backend.dropped
    assert summary()["metrics"]["a"]["count"] == len(kept)


def test_what_the_disk_never_took_is_counted_at_the_end(disk: Disk) -> None:
    backend = RunDirBackend(".")
    backend.write(batch(1))
    backend.flush()
    backend.write(batch(2, 3))
    disk.is_full = True
    with pytest.raises(OSError, match="No space"):
        backend.flush()
    with pytest.raises(OSError, match="No space"):
        backend.close()
    disk.is_full = False

    assert backend.dropped == 2
    assert rundir.summarize(".")["metrics"] == rundir.Tally.merged([_tally(1)]).to_plain()


def _tally(*values: float) -> rundir.Tally:
    tally = rundir.Tally()
    one = batch(*values)
    tally.add((one.tags, one.steps, one.times, one.values))
    return tally


def test_a_summary_that_counts_what_no_file_has_is_not_taken_for_current() -> None:
    Path("metrics.jsonl").mkdir()  # the series cannot be written, the summary can
    backend = RunDirBackend(".")
    backend.write(batch(1))
    with pytest.raises(IsADirectoryError):
        backend.flush()
    backend.close()

    assert summary()["dropped"] == 1
    assert not rundir.is_current_summary(summary(), ".")


# -- the summary -------------------------------------------------------------------------------------------------


def test_the_summary_is_written_every_ten_seconds_and_at_the_end(clock: Clock) -> None:
    backend = RunDirBackend(".")
    backend.write(batch(1))
    backend.flush()
    assert names() == ["metrics.jsonl"]
    clock.now += 10
    backend.flush()
    assert summary()["metrics"]["a"]["last"] == 1
    backend.write(batch(2))
    clock.now += 9
    backend.flush()
    assert summary()["metrics"]["a"]["last"] == 1
    backend.close()
    assert summary()["metrics"]["a"]["last"] == 2


def test_a_summary_without_news_is_not_written_again(clock: Clock) -> None:
    backend = RunDirBackend(".")
    backend.write(batch(1))
    clock.now += 10
    backend.flush()
    before = Path("summary.json").stat().st_ino
    clock.now += 10
    backend.flush()
    backend.close()

    assert Path("summary.json").stat().st_ino == before


def test_other_ranks_and_children_write_no_summary(clock: Clock) -> None:
    for backend in (RunDirBackend(".", rank=1), RunDirBackend(".", pid=7)):
        backend.write(batch(1))
        clock.now += 10
        backend.flush()
        backend.close()

    assert names() == ["metrics.pid-7.jsonl", "metrics.rank-1.jsonl"]


def test_the_summary_is_that_of_all_processes() -> None:
    main, other = RunDirBackend("."), RunDirBackend(".", rank=1)
    main.write(batch(1, 2))
    other.write(batch(10, 20, 30, tag="a", time=1e9 + 5))
    other.write(batch(5, tag="b"))
    main.flush()
    other.flush()
    other.close()
    main.close()

    assert summary() == rundir.summarize(".")
    assert (summary()["metrics"]["a"]["max"], summary()["metrics"]["a"]["count"]) == (30, 3)
    assert set(summary()["metrics"]) == {"a", "b"}
    assert rundir.is_current_summary(summary(), ".")


def test_the_main_process_sums_up_what_the_others_recorded_although_it_recorded_nothing(clock: Clock) -> None:
    main, other = RunDirBackend("."), RunDirBackend(".", rank=1)
    other.write(batch(1))
    other.flush()
    other.close()
    clock.now += 10
    main.flush()
    main.close()

    assert summary() == rundir.summarize(".")


def test_a_later_attempt_goes_on_where_the_files_end() -> None:
    Path("metrics.jsonl").write_text('{"tag":"a","step":0,"time":1.5,"value":7}\n{"tag":"a","st')
    rundir.write_document("summary.json", {"dropped": 5})
    backend = RunDirBackend(".")
    backend.write(batch(8))
    backend.add_dropped(2)
    backend.flush()
    backend.close()

    assert summary() == rundir.summarize(".", dropped=7)
    assert summary()["damaged_lines"] == 1
    assert summary()["metrics"]["a"]["count"] == 2


def test_numbers_lost_before_the_backend_saw_any_are_in_the_summary() -> None:
    backend = RunDirBackend(".")
    backend.add_dropped(3)
    backend.close()

    assert summary() == rundir.summarize(".", dropped=3)


actions = st.lists(
    st.tuples(
        st.sampled_from(["write", "flush", "summary", "attempt"]),
        st.integers(0, 2),
        st.lists(st.floats(), min_size=1, max_size=4),
    ),
    max_size=12,
)


@given(actions)
def test_the_summary_equals_a_recomputation_from_the_files(steps: list[tuple[str, int, list[float]]]) -> None:
    for name in names():
        if name.endswith((".json", ".jsonl")):
            os.unlink(name)
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(backend_module, "time", clock)
        backends = [RunDirBackend(".", rank=rank) for rank in range(3)]
        now = 1e9
        for action, rank, values in steps:
            now += 0.25
            if action == "write":
                backends[rank].write(batch(*values, tag="ab"[len(values) % 2], time=now))
            elif action == "flush":
                backends[rank].flush()
            elif action == "summary":
                clock.now += 10
                backends[0].flush()
            else:
                backends[rank].flush()
                backends[rank].close()
                backends[rank] = RunDirBackend(".", rank=rank)
        for backend in reversed(backends):
            backend.flush()
            backend.close()
    recomputed = rundir.summarize(".")

    if recomputed["files"]:
        assert json.dumps(summary()) == json.dumps(json.loads(json.dumps(recomputed)))
        assert rundir.is_current_summary(summary(), ".")
    else:
        assert not Path("summary.json").exists()


# -- ranks, and what is no number --------------------------------------------------------------------------------


def weighted(weight: float, *values: float, tag: str = "a", time: float = 1e9) -> ScalarBatch:
    plain = batch(*values, tag=tag, time=time)
    return ScalarBatch(plain.tags, plain.steps, plain.times, plain.values, [weight] * len(values))


def test_the_summary_of_known_ranks_is_that_of_the_merged_series(clock: Clock) -> None:
    main, other = RunDirBackend(".", world_size=2), RunDirBackend(".", rank=1, world_size=2)
    main.write(weighted(1, 1, 2))
    other.write(weighted(2, 4, 5))
    for backend in (other, main):
        backend.flush()
        backend.close()

    numbers = summary()["metrics"]["a"]
    assert (numbers["first"], numbers["last"], numbers["mean"], numbers["count"]) == (3.0, 4.0, 3.5, 2)
    assert summary() == rundir.summarize(".")


def test_a_point_waits_for_the_other_ranks_before_it_is_counted(clock: Clock) -> None:
    main = RunDirBackend(".", world_size=2)
    clock.now += 10
    main.write(batch(1))
    main.flush()
    assert (summary()["metrics"], summary()["files"]) == ({}, None)
    clock.now += 10
    main.write(batch(2, tag="b"))
    main.flush()
    assert set(summary()["metrics"]) == {"a"}
    main.close()

    assert summary() == rundir.summarize(".")


def test_a_rank_that_comes_too_late_is_counted_in_the_end(clock: Clock) -> None:
    main, other = RunDirBackend(".", world_size=2), RunDirBackend(".", rank=1)
    main.write(batch(1))
    for _ in range(2):
        clock.now += 10
        main.flush()
    other.write(batch(3))
    other.flush()
    main.close()
    other.close()

    assert summary()["metrics"]["a"]["mean"] == 2
    assert rundir.is_current_summary(summary(), ".")


def test_files_of_ranks_that_are_too_large_to_count_anew_leave_a_summary_that_is_not_current(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "RECOUNT_LIMIT_BYTES", 10)
    main, other = RunDirBackend("."), RunDirBackend(".", rank=1)
    other.write(batch(3))
    other.flush()
    main.write(batch(1))
    main.flush()
    main.close()
    other.close()

    assert not rundir.is_current_summary(summary(), ".")


def test_weights_stand_in_the_lines() -> None:
    backend = RunDirBackend(".")
    backend.write(weighted(32, 1.5))
    backend.flush()
    backend.close()

    [line] = Path("metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["weight"] == 32


def item(tag: str = "a") -> rundir.Item:
    return rundir.Item("text", tag, 0, 1.5, {"text": "x"}, None)


def test_what_is_no_number_is_a_line_of_the_same_file() -> None:
    backend = RunDirBackend(".")
    backend.write(batch(1))
    backend.write_item(item())
    backend.write(batch(2))
    backend.flush()
    backend.close()

    assert ["kind" in json.loads(line) for line in Path("metrics.jsonl").read_text().splitlines()] == [
        *(False, True, False),
    ]
    assert summary() == rundir.summarize(".")
    assert summary()["metrics"]["a"]["count"] == 2
    assert rundir.is_current_summary(summary(), ".")


def test_items_that_the_disk_never_took_are_counted(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "PENDING_LIMIT_BYTES", 10)
    backend = RunDirBackend(".")
    backend.write_item(item())
    backend.write_item(item("dropped"))

    assert (backend.dropped, backend.dropped_items) == (0, 1)
    disk.is_full = True
    with pytest.raises(OSError, match="No space left"):
        backend.flush()
    disk.is_full = False
    backend.flush()
    backend.close()
    assert [one.tag for one in rundir.read_items(".")] == ["a"]
    assert (summary()["dropped"], summary()["dropped_items"]) == (0, 1)


def test_lines_that_are_still_kept_at_the_end_are_counted_by_what_they_hold(disk: Disk) -> None:
    backend = RunDirBackend(".")
    backend.write(batch(1))
    backend.write_item(item('{"kind":"text"'))
    backend.write(batch(2, tag='\n{"kind":'))
    disk.is_full = True
    with pytest.raises(OSError, match="No space left"):
        backend.flush()
    with pytest.raises(OSError, match="No space left"):
        backend.close()

    assert (backend.dropped, backend.dropped_items) == (2, 1)


def test_items_that_are_lost_stand_in_the_summary_with_those_of_a_former_attempt() -> None:
    first = RunDirBackend(".")
    first.add_dropped_items(2)
    first.close()
    assert (summary()["dropped_items"], summary()["dropped"], summary()["metrics"]) == (2, 0, {})

    second = RunDirBackend(".")
    second.write(batch(1))
    second.add_dropped_items(3)
    second.flush()
    second.close()
    assert (summary()["dropped_items"], summary()["dropped"]) == (5, 0)
    assert rundir.is_current_summary(summary(), ".")
