"""The thread that stores what is no number: it holds up neither numbers nor the program, and drops nothing unsaid."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pystematic import Recorder, rundir
from pystematic.record import _item_thread as module
from pystematic.record._item_thread import ItemThread
from tests.builders import run_python, wait_until
from tests.record.builders import messages


class Gate:
    """A snapshot whose storing waits until it is opened."""

    kind = "text"
    size_bytes = 100

    def __init__(self, error: BaseException | None = None) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.error = error

    def store(self, place: Any) -> dict[str, Any]:
        self.entered.set()
        self.opened.wait(60)
        if self.error is not None:
            raise self.error
        return {"text": "x"}


def open_gate() -> Gate:
    gate = Gate()
    gate.opened.set()
    return gate


def dropped_items() -> object:
    return (rundir.read_document("output/summary.json") or {}).get("dropped_items")


def test_numbers_do_not_wait_for_a_picture() -> None:
    gate = Gate()
    with Recorder("output") as recorder:
        recorder._thread.put_item("slow", 0, gate)
        gate.entered.wait(60)
        recorder.scalar("a", 1.0)
        wait_until(lambda: Path("output/metrics.jsonl").exists())
        assert rundir.read_series("output").points["a"].values == [1.0]
        gate.opened.set()

    assert [item.tag for item in rundir.read_items("output")] == ["slow"]


def test_a_flush_waits_for_what_is_stored() -> None:
    with Recorder("output") as recorder:
        recorder.text("long", "x" * 100_000)
        recorder.table("long", {"n": list(range(10_000))})
        recorder.flush()

        assert [item.kind for item in rundir.read_items("output")] == ["text", "table"]


def test_a_flush_of_numbers_does_not_wait_for_pictures() -> None:
    gate = Gate()
    with Recorder("output") as recorder:
        recorder._thread.put_item("slow", 0, gate)
        recorder.scalar("a", 1.0)
        recorder.flush(numbers_only=True)
        assert rundir.read_series("output").points["a"].values == [1.0]
        gate.opened.set()


def test_the_time_of_an_item_is_that_of_the_call() -> None:
    gate = Gate()
    with Recorder("output") as recorder:
        recorder._thread.put_item("slow", 0, gate)
        recorder.text("a", "x")
        after = time.time()
        wait_until(lambda: time.time() > after + 0.01)
        gate.opened.set()

    assert all(item.time <= after for item in rundir.read_items("output"))


def test_a_failure_is_said_once_and_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        for _ in range(3):
            gate = Gate(RuntimeError("no"))
            gate.opened.set()
            recorder._thread.put_item("bad", 0, gate)
        recorder.text("good", "x")

    assert [item.tag for item in rundir.read_items("output")] == ["good"]
    assert messages(caplog) == [
        "text 'bad' could not be recorded: RuntimeError: no. "
        "Further ones of this sort are told at the end; the run goes on.",
        "3 recorded pictures, tables or files are not in the record of this run: text 'bad' (3).",
    ]
    assert dropped_items() == 3


def test_each_lost_file_is_named_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        recorder.artifact("missing-1.bin")
        recorder.artifact("missing-2.bin")

    assert len(messages(caplog)) == 2
    assert messages(caplog)[1] == (
        "2 recorded pictures, tables or files are not in the record of this run: "
        "artifact 'missing-1.bin', artifact 'missing-2.bin'."
    )
    assert dropped_items() == 2


def test_the_names_of_what_is_lost_are_few(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "LOST_NAMES_LIMIT", 3)
    monkeypatch.setattr(module, "TOLD_NAMES_LIMIT", 2)
    with Recorder("output") as recorder:
        for name in "abcdec":
            recorder.image(name, 5)

    assert messages(caplog)[1] == (
        "6 recorded pictures, tables or files are not in the record of this run: image 'c' (2), image 'a', 3 others."
    )


def test_a_library_that_wants_to_exit_costs_its_picture_only(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        gate = Gate(SystemExit(3))
        gate.opened.set()
        recorder._thread.put_item("bad", 0, gate)
        recorder.text("good", "x")

    assert [item.tag for item in rundir.read_items("output")] == ["good"]
    assert messages(caplog)[0].startswith("text 'bad' could not be recorded: SystemExit: 3.")
    assert dropped_items() == 1


def test_each_sort_of_failure_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with Recorder("output") as recorder:
        recorder.image("a", 5)
        recorder.image("b", 5)
        recorder.table("c", 5)
        recorder.text("d", "x", step=float("nan"))  # type: ignore[arg-type]

    assert [message.partition(":")[0] for message in messages(caplog)] == [
        "image 'a' could not be recorded",
        "table 'c' could not be recorded",
        "text 'd' could not be recorded",
        "4 recorded pictures, tables or files are not in the record of this run",
    ]


def test_too_much_that_waits_holds_the_program_up_a_little_and_is_then_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT_BYTES", 150)
    monkeypatch.setattr(module, "ROOM_LIMIT_S", 0.05)
    gates = [Gate(), Gate(), Gate(), Gate()]
    thread = ItemThread("output", lambda item: None)
    thread.start()
    for gate in gates[:2]:
        thread.put("a", 0, 1.5, gate)
    began = time.monotonic()
    for gate in gates[2:]:
        thread.put("b", 0, 1.5, gate)
    waited_s = time.monotonic() - began
    for gate in gates:
        gate.opened.set()
    thread.close()

    assert 0.1 <= waited_s < 1
    assert [gate.entered.is_set() for gate in gates] == [True, True, False, False]
    assert messages(caplog) == [
        "What is recorded cannot be stored as fast: text 'b' and others are dropped. Record fewer or smaller ones. "
        "The run goes on."
    ]
    assert (thread.lost_count, thread.name_lost()) == (2, "text 'b' (2)")


def test_room_that_is_made_is_used_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_LIMIT_BYTES", 150)
    stored: list[rundir.Item] = []
    thread = ItemThread("output", stored.append)
    thread.start()
    for _ in range(20):
        thread.put("a", 0, 1.5, open_gate())
    thread.close()

    assert len(stored) == 20


def test_the_end_waits_as_long_as_there_is_progress(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.3)
    monkeypatch.setattr(module, "SILENT_S", 0.1)

    class Slow(Gate):
        def store(self, place: Any) -> dict[str, Any]:
            until = time.monotonic() + 0.8
            while time.monotonic() < until:
                place.on_progress()
            return {"text": "x"}

    with Recorder("output") as recorder:
        recorder._thread.put_item("slow", 0, Slow())

    assert len(rundir.read_items("output")) == 1
    assert messages(caplog) == ["Storing 1 recorded picture, table or file before the end."]


def test_the_end_gives_up_what_is_stuck(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "STUCK_AFTER_S", 0.2)
    gate = Gate()
    recorder = Recorder("output")
    recorder.scalar("a", 1.0)
    recorder._thread.put_item("stuck", 0, gate)
    gate.entered.wait(60)
    recorder.close()
    gate.opened.set()

    assert rundir.read_series("output").points["a"].values == [1.0]
    assert messages(caplog) == [
        "1 recorded picture, table or file could not be stored before the end.",
        "1 recorded picture, table or file is not in the record of this run: text 'stuck'.",
    ]
    assert dropped_items() == 1


def test_a_closed_recorder_takes_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder("output")
    recorder.close()
    recorder.text("a", "x")
    recorder.params({})

    assert rundir.read_items("output") == []
    assert messages(caplog) == ["The recorder is closed; what is recorded now is dropped."]


def test_a_silent_recorder_takes_nothing() -> None:
    with Recorder("output") as recorder:
        recorder.silence()
        recorder.text("a", "x")
        recorder.image("a", "no image")

    assert not Path("output/metrics.jsonl").exists()


def test_what_is_stored_while_the_disk_refuses_lines_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with Recorder("output") as recorder:
        Path("output").rename("away")
        recorder.params({"a": 1})
        recorder.flush()
        assert not Path("output").exists()
        Path("away").rename("output")

    assert len(rundir.read_items("output")) == 1


def test_at_the_end_of_the_interpreter_nothing_is_lost(working_dir: Path) -> None:
    program = """
import atexit, pystematic
recorder = pystematic.Recorder("output")
recorder.text("before", "x")
late = pystematic.Recorder("late")
atexit.register(lambda: late.text("in atexit", "x" * 100_000))
"""
    done = run_python("-W", "error", "-c", program, cwd=working_dir)

    assert (done.returncode, done.stderr) == (0, "")
    assert [item.tag for item in rundir.read_items("output")] == ["before"]
    assert [item.tag for item in rundir.read_items("late")] == ["in atexit"]


def test_a_forked_child_stores_what_it_records_itself(working_dir: Path) -> None:
    program = """
import os, pystematic
recorder = pystematic.Recorder("output")
recorder.text("parent", "x")
if os.fork() == 0:
    recorder.text("child", "x" * 100_000)
    recorder.close()
    os._exit(0)
os.wait()
recorder.close()
"""
    done = run_python("-W", "error", "-c", program, cwd=working_dir)

    assert (done.returncode, done.stderr) == (0, "")
    items = rundir.read_items("output")
    assert sorted((item.tag, item.source.split("-")[0]) for item in items) == [
        ("child", "metrics.pid"),
        ("parent", "metrics.jsonl"),
    ]


def test_a_line_is_written_after_its_file_only(working_dir: Path) -> None:
    """Killed at any moment, no line names a file that is not whole."""
    program = """
import os, signal, sys, threading, time, pystematic
import numpy as np
never = threading.Event()
recorder = pystematic.Recorder(sys.argv[1])
image = np.random.default_rng(1).integers(0, 255, (300, 300, 3), dtype=np.uint8)
recorder.image("a", image)
recorder.image("a", image)
recorder.flush()  # a busy machine may take long to come so far
threading.Timer(float(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
while True:
    recorder.image("a", image)
    never.wait(0.01)  # the pace of a loop, so that the kill meets a file that is being written, not a full queue
"""
    for number, delay_s in enumerate((0.1, 0.3, 0.5)):
        folder = f"output-{number}"
        done = run_python("-c", program, folder, str(delay_s), cwd=working_dir)
        assert done.returncode == -9
        for item in rundir.read_items(folder):
            assert item.file is not None
            assert item.file.read_bytes().endswith(b"IEND\xaeB`\x82")
        assert len(rundir.read_items(folder)) > 1
        for line in Path(folder, "metrics.jsonl").read_bytes().split(b"\n")[:-1]:
            json.loads(line)
