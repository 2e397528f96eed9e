"""The recorder as programs use it: never waits, never raises for a bad value, and loses nothing, whatever dies."""

from __future__ import annotations

import gc
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pystematic
from pystematic import rundir
from pystematic.errors import RunDirectoryError
from pystematic.record import Recorder
from pystematic.record import _recorder as recorder_module
from pystematic.record import _thread as thread_module
from tests.builders import PROCESS_LIMIT_S, mount_command, run_python, wait_until
from tests.record.builders import on_device


def lines(name: str | Path = "output/metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def rows(name: str | Path = "output/metrics.jsonl") -> list[tuple[str, float, float]]:
    return [(line["tag"], line["step"], line["value"]) for line in lines(name)]


def run_program(program: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a program that may use ``Recorder``; its folder is ``output``."""
    path = cwd / "prog.py"
    path.write_text("import os, sys, threading, time\nfrom pystematic import Recorder\n" + textwrap.dedent(program))
    return run_python(path, *args, cwd=cwd)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_it_is_a_public_name() -> None:
    assert pystematic.Recorder is Recorder


def test_a_line_stands_for_each_number() -> None:
    before = time.time()
    with Recorder("output") as recorder:
        recorder.scalar("train/loss", 0.25, step=12)
    after = time.time()

    [line] = lines()
    assert list(line) == ["tag", "step", "time", "value"]
    assert (line["tag"], line["step"], line["value"]) == ("train/loss", 12, 0.25)
    assert before - 0.001 <= line["time"] <= after


def test_the_folder_is_made_and_nothing_else_until_something_is_recorded(working_dir: Path) -> None:
    before = threading.active_count()
    recorder = Recorder("output/deeper")
    assert threading.active_count() == before
    recorder.close()

    assert list((working_dir / "output" / "deeper").iterdir()) == []


def test_the_step_is_counted() -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", 1)
        recorder.step()
        recorder.scalar("a", 2)
        recorder.scalar("a", 3, step=100)
        recorder.step()
        recorder.scalar("a", 4)
        recorder.count = 50
        recorder.scalar("a", 5)
        recorder.scalar("a", 6, step=7)

    assert rows() == [("a", 0, 1), ("a", 1, 2), ("a", 100, 3), ("a", 2, 4), ("a", 50, 5), ("a", 7, 6)]


def test_several_numbers_have_one_step_and_one_time() -> None:
    with Recorder("output") as recorder:
        recorder.scalars({"a": 1, "b": np.float32(0.5), "c": [1]}, step=3)
        recorder.scalars({})

    assert rows() == [("a", 3, 1), ("b", 3, 0.5)]
    assert len({line["time"] for line in lines()}) == 1


def test_the_step_goes_into_a_checkpoint_and_comes_back() -> None:
    with Recorder("output") as recorder:
        recorder.count = 7
        state = json.loads(json.dumps(recorder.state_dict()))
    with Recorder("other") as other:
        other.load_state_dict(state)
        assert other.count == 7


@pytest.mark.parametrize("count", [None, "5", [1], math.nan, 2**63, 1j], ids=repr)
def test_a_count_that_is_no_step_is_refused_where_it_is_set(count: Any) -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", 1)
        with pytest.raises(ValueError, match="expected the number of a step") as caught:
            recorder.count = count
        recorder.step()
        recorder.scalar("a", 2)

    assert str(caught.value) == f"recorder.count = {count!r}: expected the number of a step"
    assert rows() == [("a", 0, 1), ("a", 1, 2)]


@pytest.mark.parametrize("state", [{}, {"count": None}, None], ids=repr)
def test_a_state_without_a_step_is_refused(state: Any) -> None:
    with Recorder("output") as recorder:
        recorder.count = 3
        with pytest.raises(ValueError, match="load_state_dict") as caught:
            recorder.load_state_dict(state)
        assert recorder.count == 3

    assert (
        str(caught.value) == f"recorder.load_state_dict({state!r}): expected what state_dict returns, {{'count': STEP}}"
    )


def test_a_step_that_changes_in_place_is_kept_as_it_was() -> None:
    with Recorder("output") as recorder:
        recorder.count = np.array(0)  # type: ignore[assignment]
        for value in range(3):
            recorder.scalar("a", value)
            recorder.scalars({"b": value})
            recorder.count += 1

    assert [row[1] for row in rows()] == [0, 0, 1, 1, 2, 2]


def test_values_that_change_in_place_are_kept_as_they_were() -> None:
    import torch

    tensor, array = torch.tensor(0.0), np.array(0.0)
    with Recorder("output") as recorder:
        for _ in range(100):
            recorder.scalar("tensor", tensor)
            recorder.scalars({"array": array})
            tensor += 1
            array += 1

    assert [row[2] for row in rows() if row[0] == "tensor"] == list(range(100))
    assert [row[2] for row in rows() if row[0] == "array"] == list(range(100))


def test_every_kind_of_number_comes_back() -> None:
    import torch

    values = [
        0.1,
        -0.0,
        1e-310,
        float("inf"),
        float("-inf"),
        10**30,
        True,
        np.float32(0.1),
        np.int64(7),
        torch.tensor(2),
    ]
    with Recorder("output") as recorder:
        for value in values:
            recorder.scalar("a", value)

    found = rundir.read_series("output").points["a"].values
    assert list(map(repr, found)) == [
        *("0.1", "-0.0", "1e-310", "inf", "-inf", str(10**30), "1", repr(float(np.float32(0.1))), "7", "2")
    ]


@pytest.mark.parametrize("reduce", ["sum", "min", "max", "none"])
def test_how_ranks_are_merged_is_kept_for_the_tag(reduce: str) -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", 1, reduce=reduce)
        recorder.scalars({"b": 1}, reduce=reduce)
        recorder.scalar("c", 1)

    assert [line.get("reduce") for line in lines()] == [reduce, reduce, None]


def test_an_unknown_way_to_merge_is_an_error() -> None:
    with Recorder("output") as recorder, pytest.raises(ValueError, match="reduce") as caught:
        recorder.scalar("a", 1, reduce="median")
    assert str(caught.value) == "reduce='median' of the recorded 'a': expected one of mean, sum, min, max, none"


class Hostile:
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_bad_value_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", "no number")
        recorder.scalar("a", 1, step=float("nan"))  # type: ignore[arg-type]
        recorder.scalar("a", 1, step=10**5000)
        recorder.scalar(Hostile(), 1, reduce="sum")  # type: ignore[arg-type]
        recorder.scalar("a", 2)

    assert rows() == [("a", 0, 2)]
    assert messages(caplog)[-1] == "4 recorded numbers were dropped and are not in the record of this run."
    summary = rundir.read_document("output/summary.json")
    assert summary is not None
    assert summary["dropped"] == 4


def test_a_change_of_the_working_directory_changes_nothing(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working_dir / "elsewhere").mkdir()
    with Recorder("output") as recorder:
        monkeypatch.chdir("elsewhere")
        recorder.scalar("a", 1)

    assert rows(working_dir / "output" / "metrics.jsonl") == [("a", 0, 1)]


def test_a_flush_returns_when_all_is_in_the_file() -> None:
    with Recorder("output") as recorder:
        for value in range(1000):
            recorder.scalar("a", value)
        recorder.flush()
        assert [row[2] for row in rows()] == list(range(1000))


def test_what_is_recorded_is_in_the_file_within_a_second() -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", -1)
        recorder.flush()
        for value in range(3):
            began = time.monotonic()
            recorder.scalar("a", value)
            size = os.stat("output/metrics.jsonl").st_size
            wait_until(lambda size=size: os.stat("output/metrics.jsonl").st_size > size)  # type: ignore[misc]
            assert time.monotonic() - began < 1


def test_a_second_recorder_goes_on_in_the_file_of_the_first() -> None:
    for value in range(3):
        with Recorder("output") as recorder:
            recorder.scalar("a", value)

    assert [row[2] for row in rows()] == [0, 1, 2]
    assert rundir.read_document("output/summary.json") == rundir.summarize("output")


def test_each_rank_has_its_file() -> None:
    with Recorder("output", rank=3) as recorder:
        recorder.scalar("a", 1)

    assert rows("output/metrics.rank-3.jsonl") == [("a", 0, 1)]


def test_silence_ignores_all_that_follows() -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", 1)
        recorder.silence()
        recorder.scalar("a", 2)
        recorder.scalars({"b": 2})
        recorder.step()

    assert rows() == [("a", 0, 1)]


def test_a_closed_recorder_says_once_that_it_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder("output")
    recorder.scalar("a", 1)
    recorder.close()
    recorder.close()
    for _ in range(3):
        recorder.scalar("a", 2)
        recorder.scalars({"b": 2})
    recorder.flush()

    assert rows() == [("a", 0, 1)]
    assert messages(caplog) == ["The recorder is closed; what is recorded now is dropped."]


def test_a_recorder_that_is_forgotten_writes_the_rest_and_ends_its_thread() -> None:
    before = threading.active_count()
    recorder = Recorder("output")
    recorder.scalar("a", 1)
    del recorder
    gc.collect()

    assert rows() == [("a", 0, 1)]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("folder", "reason"), [("file/deeper", "Not a directory"), ("file", "File exists"), ("a\0b", "embedded null byte")]
)
def test_a_folder_that_cannot_be_used_is_named(folder: str, reason: str) -> None:
    Path("file").touch()
    with pytest.raises(RunDirectoryError) as caught:
        Recorder(folder)
    assert str(caught.value) == f"{folder!r} cannot be used to record into: {reason}. Choose another folder."


def test_the_program_never_waits_for_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    waited: list[str] = []

    def noting(read: Callable[[torch.Tensor], Any]) -> Callable[[torch.Tensor], Any]:
        def note(tensor: torch.Tensor) -> Any:
            waited.append(threading.current_thread().name)
            return read(tensor)

        return note

    for name in ("item", "tolist"):
        monkeypatch.setattr(torch.Tensor, name, noting(getattr(torch.Tensor, name)))
    with Recorder("output") as recorder:
        for _ in range(50):
            recorder.scalar("a", on_device(torch.tensor(1.0, requires_grad=True) * 2))
            recorder.scalars({"b": on_device(torch.tensor(1))})

    assert set(waited) == {"pystematic-recorder"}
    assert len(rows()) == 100


def test_recording_causes_no_garbage_collection() -> None:
    collections: list[str] = []

    def note(phase: str, info: dict[str, int]) -> None:
        collections.append(threading.current_thread().name)

    with Recorder("output") as recorder:
        recorder.scalar("a", 0.5)
        gc.collect()
        gc.callbacks.append(note)
        try:
            for _ in range(20_000):
                recorder.scalar("a", 0.5)
                recorder.step()
        finally:
            gc.callbacks.remove(note)

    assert threading.main_thread().name not in collections


def test_many_threads_record_at_once() -> None:
    def record(recorder: Recorder, tag: str) -> None:
        for value in range(2000):
            recorder.scalar(tag, value, step=value)

    with Recorder("output") as recorder:
        threads = [threading.Thread(target=record, args=(recorder, f"t{i}")) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    found = rows()
    assert len(found) == 12_000
    for i in range(6):
        assert [row[1:] for row in found if row[0] == f"t{i}"] == [(value, value) for value in range(2000)]


def test_a_signal_handler_may_record() -> None:
    with Recorder("output") as recorder:
        before = signal.signal(signal.SIGUSR1, lambda *_: recorder.scalar("signal", 1))
        try:
            for value in range(200):
                signal.raise_signal(signal.SIGUSR1)
                recorder.scalar("a", value)
        finally:
            signal.signal(signal.SIGUSR1, before)

    assert [row[0] for row in rows()].count("signal") == 200


def test_a_disk_that_hangs_slows_and_then_drops_and_the_program_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "BUFFER_LIMIT", 10)
    monkeypatch.setattr(thread_module, "STUCK_AFTER_S", 0.1)
    released, write = threading.Event(), os.write

    def hang(descriptor: int, data: bytes) -> int:
        released.wait(PROCESS_LIMIT_S)
        return write(descriptor, data)

    with Recorder("output") as recorder:
        monkeypatch.setattr(os, "write", hang)
        recorded = 0
        while not messages(caplog):
            recorder.scalar("a", recorded)
            recorded += 1
        began = time.monotonic()
        for _ in range(1000):
            recorder.scalar("a", -1)
        assert time.monotonic() - began < 1
        released.set()
        monkeypatch.undo()
        recorder.flush()
        recorder.scalar("b", 5)

    assert messages(caplog)[0] == (
        "The recorder has not been able to write for a second and holds 10 numbers; further ones are dropped until the "
        "disk answers. The run goes on."
    )
    summary = rundir.read_document("output/summary.json")
    assert summary is not None
    assert summary["dropped"] == recorded + 1000 - len(rows()) + 1
    assert rows()[-1] == ("b", 0, 5)
    assert [row[2] for row in rows()[:-1]] == list(range(len(rows()) - 1))


# -- the ends of processes ---------------------------------------------------------------------------------------

KILLED = """
    never = threading.Event()
    recorder = Recorder(sys.argv[1])
    print("ready", flush=True)
    while True:
        recorder.scalar("at", time.monotonic())
        recorder.step()
        never.wait(0.001)  # the pace of a loop that records a thousand numbers a second
"""


def test_what_was_recorded_a_second_before_a_kill_is_there(working_dir: Path) -> None:
    program = working_dir / "prog.py"
    program.write_text("import sys, threading, time\nfrom pystematic import Recorder\n" + textwrap.dedent(KILLED))
    children = []
    for i in range(3):
        child = subprocess.Popen([sys.executable, program, f"output-{i}"], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        children.append((child, time.monotonic()))
    for i, (child, began) in enumerate(children):
        moment = began + (0.95, 1.3, 2.1)[i]
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(max(0.0, moment - time.monotonic()))
        killed_at = time.monotonic()
        child.kill()
        child.wait(PROCESS_LIMIT_S)
        child.communicate()
        series = rundir.read_series(f"output-{i}")
        points = series.points["at"]

        assert points.steps == list(range(len(points.steps)))
        assert killed_at - points.values[-1] < 1
        assert series.damaged_lines <= 1  # the one in whose writing the process was killed


ENDS = {
    "the end of the program": "pass",
    "sys.exit": "sys.exit(3)",
    "an exception": "1 / 0",
    "an interrupt": "raise KeyboardInterrupt",
    "a thread that is still recording": "threading.Thread(target=lambda: recorder.scalar('a', 1000)).start()",
    "SIGTERM by a handler": "import signal; signal.signal(15, lambda *_: sys.exit(1)); signal.raise_signal(15)",
}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_at_the_end_of_the_interpreter_nothing_is_lost(end: str, working_dir: Path) -> None:
    program = f"""
    recorder = Recorder("output")
    for value in range(1000):
        recorder.scalar("a", value)
    {end}
    """
    run_program(program, cwd=working_dir)

    values = [row[2] for row in rows()]
    assert values[:1000] == list(range(1000))
    assert len(values) == 1000 + ("Thread" in end)
    assert rundir.read_document("output/summary.json") == rundir.summarize("output")


def test_what_is_recorded_while_the_interpreter_ends_is_written(working_dir: Path) -> None:
    program = """
    import atexit
    recorder = Recorder("output")
    atexit.register(lambda: recorder.scalar("a", 1))
    """
    done = run_program(program, cwd=working_dir)

    assert (done.returncode, done.stderr) == (0, "")
    assert rows() == [("a", 0, 1)]


def test_a_forked_child_writes_a_file_of_its_own(working_dir: Path) -> None:
    program = """
    recorder = Recorder("output")
    recorder.count = 5
    recorder.scalar("a", 1)
    child = os.fork()
    recorder.scalar("a", 2 if child else 3)
    if not child:
        sys.exit()
    os.waitpid(child, 0)
    recorder.scalar("a", 4)
    print(child)
    """
    done = run_program(program, cwd=working_dir)

    assert done.stderr == ""
    assert rows() == [("a", 5, 1), ("a", 5, 2), ("a", 5, 4)]
    assert rows(f"output/metrics.pid-{int(done.stdout)}.jsonl") == [("a", 5, 3)]
    assert sorted(rundir.read_series("output").points["a"].values) == [1, 2, 3, 4]
    assert rundir.read_document("output/summary.json") == rundir.summarize("output")


def test_a_forked_child_that_records_nothing_leaves_nothing(working_dir: Path) -> None:
    program = """
    recorder = Recorder("output")
    recorder.scalar("a", 1)
    if not os.fork():
        sys.exit()
    os.wait()
    """
    run_program(program, cwd=working_dir)

    assert sorted(os.listdir("output")) == ["metrics.jsonl", "summary.json"]
    assert rows() == [("a", 0, 1)]


def test_a_grandchild_has_a_file_of_its_own(working_dir: Path) -> None:
    program = """
    recorder = Recorder("output")
    for value in range(3):
        recorder.scalar("a", value)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            sys.exit()
    recorder.scalar("a", 3)
    """
    run_program(program, cwd=working_dir)

    files = sorted(name for name in os.listdir("output") if name.endswith(".jsonl"))
    assert len(files) == 4
    assert sorted(rows(f"output/{name}")[0][2] for name in files) == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_of_multiprocessing_loses_nothing(method: str, working_dir: Path) -> None:
    program = """
    import multiprocessing

    def record(folder):
        own = Recorder(folder)
        own.scalar("own", 1)
        if sys.argv[1] == "fork":
            recorder.scalar("inherited", 2)

    if __name__ == "__main__":
        recorder = Recorder("output")
        recorder.scalar("a", 0)
        child = multiprocessing.get_context(sys.argv[1]).Process(target=record, args=("child",))
        child.start()
        child.join()
        print(child.pid, child.exitcode)
    """
    done = run_program(program, method, cwd=working_dir)

    assert done.stderr == ""
    pid, exit_code = map(int, done.stdout.split())
    assert exit_code == 0
    assert rows("child/metrics.jsonl") == [("own", 0, 1)]
    assert rows() == [("a", 0, 0)]
    if method == "fork":
        assert rows(f"output/metrics.pid-{pid}.jsonl") == [("inherited", 0, 2)]


def test_where_no_thread_can_be_started_the_program_writes_by_itself(working_dir: Path) -> None:
    program = """
    def refuse(self):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = refuse
    recorder = Recorder("output")
    for value in range(10):
        recorder.scalar("a", value)
    """
    done = run_program(program, cwd=working_dir)

    assert done.stderr == ""
    assert [row[2] for row in rows()] == list(range(10))


# -- a full disk -------------------------------------------------------------------------------------------------

FULL_DISK = """
    from pystematic.record import _rundir
    from pystematic import rundir

    if sys.argv[1] == "bounded":
        _rundir.PENDING_LIMIT_BYTES = 10_000
    recorder = Recorder("disk/run")

    def record(count):
        for _ in range(count):
            recorder.scalar("a", recorder.count)
            recorder.step()
        recorder.flush()

    record(100)
    filler = open("disk/filler", "wb", buffering=0)
    try:
        while filler.write(bytes(1000)):
            pass
    except OSError:
        pass
    for _ in range(20):
        record(100)
    assert recorder.count == 2100
    os.unlink("disk/filler")
    filler.close()
    record(1)
    record(100)
    recorder.close()
    series = rundir.read_series("disk/run")
    summary = rundir.read_document("disk/run/summary.json")
    assert rundir.is_current_summary(summary, "disk/run")
    values = series.points["a"].values
    assert values[:100] == list(range(100)) and values[-100:] == list(range(2101, 2201))
    assert len(set(values)) == len(values) == 2201 - summary["dropped"], (len(values), summary["dropped"])
    assert summary == rundir.summarize("disk/run", dropped=summary["dropped"])
    print(summary["dropped"] > 0)
"""


@pytest.mark.parametrize("amount", ["all", "bounded"])
def test_a_full_disk_is_said_once_and_what_is_kept_is_written_when_there_is_room(
    amount: str, working_dir: Path
) -> None:
    command = mount_command()
    if command is None:
        pytest.skip("nothing can be mounted here; injected errors are tested in test_rundir")
    (working_dir / "disk").mkdir()
    (working_dir / "prog.py").write_text(
        "import os, sys, threading, time\nfrom pystematic import Recorder\n" + textwrap.dedent(FULL_DISK)
    )
    script = f"mount -t tmpfs -o size=1m none disk && exec {sys.executable} prog.py {amount}"
    done = subprocess.run(
        [*command, "sh", "-c", script], capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False
    )

    said = done.stderr.splitlines()
    assert said[0] == (
        "The recorder's backend 'run directory' failed: OSError: [Errno 28] No space left on device: "
        f"'{working_dir}/disk/run/metrics.jsonl'. Numbers are kept in memory, within bounds, until it works again; "
        "the run goes on."
    )
    assert len(said) == (1 if amount == "all" else 2)
    assert done.stdout == ("False\n" if amount == "all" else "True\n")
    if amount == "bounded":
        assert said[1].endswith(" recorded numbers were dropped and are not in the record of this run.")


# -- weights -----------------------------------------------------------------------------------------------------


def weights(name: str = "output/metrics.jsonl") -> list[tuple[float, float | None]]:
    return [(line["value"], line.get("weight")) for line in lines(name)]


def test_what_is_recorded_counts_by_the_weight_that_is_set() -> None:
    with Recorder("output") as recorder:
        assert recorder.weight is None
        recorder.scalar("a", 1)
        recorder.weight = 32
        recorder.scalar("a", 2)
        recorder.scalars({"a": 3, "b": 4})
        recorder.weight = 7
        recorder.weight = 8
        recorder.scalar("a", 5)
        recorder.weight = None
        recorder.scalar("a", 6)

    assert weights() == [(1, None), (2, 32), (3, 32), (4, 32), (5, 8), (6, None)]


def test_samples_of_another_rank_weigh_nothing_whatever_weight_is_set() -> None:
    with Recorder("output") as recorder:
        recorder.weight = 4
        recorder.is_repeated = True
        recorder.scalar("a", 1)
        recorder.weight = 1
        assert (recorder.weight, recorder.is_repeated) == (0, True)
        recorder.scalar("a", 2)
        recorder.is_repeated = False
        recorder.scalar("a", 3)
        recorder.is_repeated = True
        recorder.weight = None
        recorder.scalar("a", 4)
        recorder.is_repeated = False
        recorder.scalar("a", 5)

    assert weights() == [(1, 0), (2, 0), (3, 1), (4, 0), (5, None)]


def test_a_weight_that_is_set_before_anything_is_recorded_counts() -> None:
    with Recorder("output") as recorder:
        recorder.weight = 0
        recorder.scalar("a", 1)

    assert weights() == [(1, 0)]


def test_a_weight_that_does_not_change_costs_nothing() -> None:
    with Recorder("output") as recorder:
        recorder.scalar("a", 1)
        recorder.weight = 5
        before = len(recorder._buffer)
        recorder.weight = 5
        assert len(recorder._buffer) <= before

    assert weights() == [(1, None)]


def test_a_weight_may_be_a_number_of_numpy_or_torch() -> None:
    import numpy as np
    import torch

    given: list[Any] = [np.int64(3), np.float32(2.5), torch.tensor(4)]
    with Recorder("output") as recorder:
        for weight in given:
            recorder.weight = weight
            recorder.scalar("a", 1)

    assert [weight for _, weight in weights()] == [3, 2.5, 4]


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, "5", [1]])
def test_a_weight_that_is_none_is_an_error(weight: Any) -> None:
    with Recorder("output") as recorder:
        with pytest.raises(ValueError, match="expected a number of samples, or None") as caught:
            recorder.weight = weight
        assert recorder.weight is None
    assert str(caught.value) == f"recorder.weight = {weight!r}: expected a number of samples, or None"


def test_weights_of_a_buffer_that_is_full_are_right_and_do_not_make_it_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystematic.record._recorder.BUFFER_LIMIT", 10)
    monkeypatch.setattr("pystematic.record._thread.STUCK_AFTER_S", 0.05)
    released = threading.Event()
    with Recorder("output") as recorder:
        recorder.scalar("a", 0)
        recorder.flush()
        write = recorder._thread._backends[0].write
        monkeypatch.setattr(recorder._thread._backends[0], "write", lambda batch: (released.wait(60), write(batch)))
        for step in range(5000):
            recorder.weight = step
            recorder.scalar("a", step)
        assert len(recorder._buffer) < 5000
        released.set()
        recorder.flush()
        recorder.scalar("a", 1000)

    found = weights()
    assert found[-1] == (1000, 4999)
    assert all(weight == value for value, weight in found[1:-1])


def test_a_forked_child_goes_on_with_the_weight(working_dir: Path) -> None:
    program = """
import os, pystematic
recorder = pystematic.Recorder("output")
recorder.weight = 5
recorder.scalar("a", 1)
if os.fork() == 0:
    recorder.scalar("a", 2)
    recorder.close()
    os._exit(0)
os.wait()
recorder.close()
"""
    done = run_python("-c", program, cwd=working_dir)

    assert (done.returncode, done.stderr) == (0, "")
    assert weights() == [(1, 5)]
    [of_child] = Path("output").glob("metrics.pid-*.jsonl")
    assert weights(str(of_child)) == [(2, 5)]


def test_a_flush_can_wait_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with Recorder("output") as recorder:
        recorder.scalar("loss", 1.0)
        recorder.flush()
        assert synced == []
        recorder.scalar("loss", 2.0)
        recorder.flush(sync=True)
        assert synced == [Path("output/metrics.jsonl").stat().st_size]
        recorder.flush(sync=True)  # there is nothing new
        assert len(synced) == 1


def test_scalars_that_are_no_dict_are_said_once_and_do_not_end_the_program(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        for _ in range(2):
            recorder.scalars([1, 2])  # type: ignore[arg-type]
        recorder.scalars({"a": 1})

    assert [line["tag"] for line in lines("output/metrics.jsonl")] == ["a"]
    assert messages(caplog) == [
        "recorder.scalars([1, 2]): expected a dict, {tag: value}. It is left out; the run goes on."
    ]


def test_a_step_of_numpy_is_a_plain_number_in_the_state() -> None:
    with Recorder("output") as recorder:
        recorder.count = np.int64(7)  # type: ignore[assignment]

        assert type(recorder.state_dict()["count"]) is int
