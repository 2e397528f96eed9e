"""The recorder's thread: what was appended goes to every backend in order, and no backend harms the program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pystematic.record import Backend, ScalarBatch
from pystematic.record import _thread as thread_module
from pystematic.record._thread import RecorderThread
from tests.builders import wait_until


class Memory(Backend):
    """A backend that keeps what it is given; in each method it first does what ``act`` says."""

    def __init__(self, name: str = "memory", act: Callable[[str], None] = lambda method: None) -> None:
        self.name = name
        self.dropped = 0
        self.calls: list[str] = []
        self.values: list[float] = []
        self._act = act

    def _called(self, method: str) -> None:
        self.calls.append(method)
        self._act(method)

    def write(self, batch: ScalarBatch) -> None:
        self._called("write")
        self.values += batch.values

    def flush(self) -> None:
        self._called("flush")

    def close(self) -> None:
        self._called("close")

    def add_dropped(self, count: int) -> None:
        self._called("add_dropped")
        self.dropped += count

    def for_child(self) -> Backend | None:
        self._called("for_child")
        return Memory(f"{self.name} of the child")


class Hanging(Memory):
    """A backend whose first write hangs until it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        super().__init__("hanging", self._hang)

    def _hang(self, method: str) -> None:
        if method == "write":
            self.entered.set()
            self.released.wait(60)


def failing(*methods: str, error: Callable[[], BaseException] = lambda: OSError(28, "No space left")) -> Memory:
    def act(method: str) -> None:
        if method in methods:
            raise error()

    return Memory("failing", act)


def append(buffer: list[Any], *values: Any) -> None:
    for value in values:
        buffer.extend(("a", 0, 1.5, value))


@contextmanager
def recording(*backends: Memory) -> Iterator[tuple[list[Any], RecorderThread]]:
    """Start a thread over a buffer; close it in the end."""
    buffer: list[Any] = []
    thread = RecorderThread(buffer, list(backends))
    assert thread.start()
    try:
        yield buffer, thread
    finally:
        thread.close()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert {record.name for record in caplog.records} <= {"pystematic"}
    return [record.getMessage() for record in caplog.records]


def test_every_backend_gets_all_in_order() -> None:
    one, two = Memory(), Memory()
    with recording(one, two) as (buffer, _):
        append(buffer, *range(5000))

    assert one.values == two.values == list(range(5000))
    assert buffer == []


def test_what_is_appended_is_written_within_a_second_without_being_asked() -> None:
    memory = Memory()
    with recording(memory) as (buffer, _):
        append(buffer, 1)
        appended_at = time.monotonic()
        wait_until(lambda: memory.values == [1] and memory.calls[-1] == "flush")
        assert time.monotonic() - appended_at < 1


def test_a_flush_returns_when_all_is_written() -> None:
    memory = Memory()
    with recording(memory) as (buffer, thread):
        append(buffer, 1, 2)
        thread.flush()
        assert memory.values == [1, 2]
        assert memory.calls[-1] == "flush"


def test_a_flush_before_the_start_returns_at_once() -> None:
    RecorderThread([], [Memory()]).flush()


def test_flushes_of_many_threads_all_return() -> None:
    memory = Memory()
    with recording(memory) as (buffer, thread):

        def record() -> None:
            for _ in range(20):
                append(buffer, 1)
                thread.flush()

        threads = [threading.Thread(target=record) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

    assert len(memory.values) == 160


def test_a_backend_is_closed_once_after_a_last_flush() -> None:
    memory = Memory()
    with recording(memory) as (buffer, thread):
        append(buffer, 1)
        thread.close()
        thread.close()

    assert memory.values == [1]
    assert memory.calls[-2:] == ["flush", "close"]
    assert memory.calls.count("close") == 1


def test_it_starts_once_and_its_thread_ends_with_close() -> None:
    before = threading.active_count()
    with recording(Memory()) as (_, thread):
        assert thread.start()
        assert threading.active_count() == before + 1

    assert threading.active_count() == before


def test_without_a_start_a_close_writes_what_is_there() -> None:
    memory = Memory()
    buffer: list[Any] = []
    thread = RecorderThread(buffer, [memory])
    append(buffer, 1)
    thread.close()

    assert memory.values == [1]
    assert memory.calls == ["write", "flush", "close"]


def test_where_no_thread_can_be_started_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    thread = RecorderThread([], [Memory()])

    assert not thread.start()
    assert not thread.start()


@pytest.mark.parametrize("error", [lambda: OSError(28, "No space left"), lambda: ZeroDivisionError("x")])
def test_a_failing_backend_is_reported_once_and_the_others_go_on(
    error: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = failing("write", "flush", error=error), Memory()
    with recording(bad, good) as (buffer, thread):
        for value in range(4):
            append(buffer, value)
            thread.flush()

    message = (
        f"The recorder's backend 'failing' failed: {type(error()).__name__}: {error()}. Numbers are kept in memory, "
        "within bounds, until it works again; the run goes on."
    )
    assert good.values == [0, 1, 2, 3]
    assert bad.calls.count("write") == 4
    assert messages(caplog) == [message] * 2  # for its writes and for its flushes


def test_a_backend_that_fails_to_close_does_not_keep_the_others_open(caplog: pytest.LogCaptureFixture) -> None:
    bad, good = failing("close"), Memory()
    with recording(bad, good):
        pass

    assert good.calls[-1] == "close"
    assert len(messages(caplog)) == 1


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_without_a_text_is_reported_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    with recording(failing("flush", error=UnspeakableError)) as (_, thread):
        thread.flush()

    assert messages(caplog)[0].startswith("The recorder's backend 'failing' failed: UnspeakableError. ")


def test_a_close_with_a_hanging_backend_is_over_after_two_seconds(caplog: pytest.LogCaptureFixture) -> None:
    hanging = Hanging()
    with recording(hanging) as (buffer, thread):
        append(buffer, 1)
        thread.wake()
        assert hanging.entered.wait(60)
        append(buffer, 2, 3)
        began = time.monotonic()
        thread.close()
        took_s = time.monotonic() - began
        hanging.released.set()

    assert 1.5 < took_s < 4
    assert messages(caplog) == ["The recorder could not finish within 2 s; at least 2 numbers are not written."]


def test_a_flush_with_a_hanging_backend_gives_up_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_module, "FLUSH_LIMIT_S", 0.05)
    hanging = Hanging()
    with recording(hanging) as (buffer, thread):
        append(buffer, 1)
        thread.flush()
        thread.flush()
        hanging.released.set()

    assert messages(caplog) == ["The recorder could not write within 0 s; it goes on trying."]
    assert hanging.values == [1]


def test_a_thread_that_does_not_come_round_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_module, "STUCK_AFTER_S", 0.05)
    hanging = Hanging()
    with recording(hanging) as (buffer, thread):
        assert not thread.is_stuck
        append(buffer, 1)
        thread.wake()
        wait_until(lambda: thread.is_stuck)
        hanging.released.set()
        thread.flush()
        assert hanging.values == [1]


def test_a_value_that_cannot_be_read_is_counted_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    with recording(memory) as (buffer, _):
        append(buffer, 1, "x", None, 2)

    assert memory.values == [1, 2]
    assert memory.dropped == 2
    assert messages(caplog) == [
        "A value recorded under 'a' could not be read and is left out: TypeError: a str is no real number. "
        "Further ones are left out in silence; their number is in summary.json.",
        "2 recorded numbers were dropped and are not in the record of this run.",
    ]


class HostileTag:
    def __str__(self) -> str:
        raise UnspeakableError

    __repr__ = __str__


def test_a_tag_without_a_text_is_told_by_its_type(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    with recording(memory) as (buffer, _):
        buffer.extend((HostileTag(), 0, 1.5, 1))
        append(buffer, 2)

    assert memory.values == [2]
    assert messages(caplog)[0].startswith(
        "A value recorded under a tag of type HostileTag could not be read and is left out: UnspeakableError. "
    )


def test_a_part_that_cannot_be_read_at_all_costs_itself(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> ScalarBatch:
        raise MemoryError("no memory")

    memory = Memory()
    with recording(memory) as (buffer, thread):
        with monkeypatch.context() as patch:
            patch.setattr(thread_module, "read_batch", refuse)
            append(buffer, 1, 2, 3)
            thread.flush()
        append(buffer, 4)

    assert memory.values == [4]
    assert memory.dropped == 3
    assert messages(caplog)[0] == "Recorded numbers could not be read and are left out: MemoryError: no memory."


def test_numbers_that_were_dropped_are_told_to_the_backends(caplog: pytest.LogCaptureFixture) -> None:
    one, two = Memory(), failing("add_dropped")
    with recording(one, two) as (_, thread):
        thread.drop(3)
        thread.flush()
        thread.drop(4)

    assert one.dropped == 7
    assert "7 recorded numbers were dropped and are not in the record of this run." in messages(caplog)


def test_in_a_child_the_backends_are_those_of_the_child() -> None:
    memory = Memory()
    buffer: list[Any] = []
    backends: list[Backend] = [memory, failing("for_child")]
    thread = RecorderThread(buffer, backends)
    append(buffer, 1)
    thread.reset_in_child()  # as after a fork
    append(buffer, 2)
    thread.close()

    assert [backend.name for backend in backends] == ["memory of the child"]
    assert memory.values == []


def test_a_child_of_a_closed_recorder_has_a_closed_one() -> None:
    thread = RecorderThread([], [Memory()])
    thread.close()
    thread.reset_in_child()

    assert thread.is_closed


def test_what_is_said_once_is_not_said_again(caplog: pytest.LogCaptureFixture) -> None:
    thread = RecorderThread([], [])
    for _ in range(3):
        thread.say_once("about", "a message")
    thread.say_once("something else", "another one")

    assert messages(caplog) == ["a message", "another one"]


def test_a_signal_handler_may_record_while_its_thread_holds_the_lock() -> None:
    with recording(Memory()) as (_, thread), thread._lock:
        thread.drop(1)
        assert thread.start()


def test_what_is_recorded_while_a_long_backlog_is_written_is_never_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_module, "PAUSE_S", 0.02)  # a backlog of about a second
    memory = Memory()
    with recording(memory) as (buffer, thread):
        append(buffer, *range(100_000))
        thread.flush()

    assert memory.values == list(range(100_000))
    last_write = len(memory.calls) - memory.calls[::-1].index("write")
    assert memory.calls[:last_write].count("flush") >= 2
