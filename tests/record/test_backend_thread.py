"""Further backends: each gets everything in its own thread, and none harms the program, the record or another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pystematic import Recorder, rundir
from pystematic.record import Backend, RunFacts, ScalarBatch
from pystematic.record import _backend_thread as module
from pystematic.record._backend_thread import BackendThread, wait_for_all
from tests.builders import run_python, wait_until
from tests.record.builders import messages

FACTS = RunFacts("/nowhere", "id", "train", "/", {})


class Memory(Backend):
    """A backend that keeps what it is given; in each method it first does what ``act`` says."""

    def __init__(self, name: str = "memory", act: Callable[[str], None] = lambda method: None) -> None:
        self.name = name
        self.dropped = 0
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.values: list[float] = []
        self.items: list[rundir.Item] = []
        self.facts: list[RunFacts] = []
        self._act = act

    def _called(self, method: str) -> None:
        self.calls.append(method)
        self.threads.add(threading.current_thread().name)
        self._act(method)

    def start(self, run: RunFacts) -> None:
        self._called("start")
        self.facts.append(run)

    def write(self, batch: ScalarBatch) -> None:
        self._called("write")
        self.values += batch.values

    def write_item(self, item: rundir.Item) -> None:
        self._called("write_item")
        self.items.append(item)

    def flush(self) -> None:
        self._called("flush")

    def close(self) -> None:
        self._called("close")

    def add_dropped(self, count: int) -> None:
        self._called("add_dropped")
        self.dropped += count


class Hanging(Memory):
    """A backend that hangs in one method until it is released."""

    def __init__(self, method: str) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        super().__init__("hanging", lambda called: self._hang() if called == method else None)

    def _hang(self) -> None:
        self.entered.set()
        self.released.wait(60)


def failing(*methods: str) -> Memory:
    def act(method: str) -> None:
        if method in methods:
            raise OSError(28, "No space left")

    return Memory("failing", act)


def batch(*values: float) -> ScalarBatch:
    return ScalarBatch(["a"] * len(values), list(range(len(values))), [1.5] * len(values), list(values))


def test_a_backend_gets_all_in_its_own_thread() -> None:
    memory, plain = Memory(), Memory("plain")
    with Recorder("output") as recorder:
        recorder.add_backend(memory)
        recorder.add_backend(plain)
        for value in range(5000):
            recorder.scalar("a", value)
        recorder.text("t", "x")

    assert memory.values == plain.values == list(range(5000))
    assert [item.tag for item in memory.items] == ["t"]
    assert memory.threads == {"pystematic-memory"}
    assert memory.calls[0] == "start"
    assert memory.calls[-2:] == ["flush", "close"]
    assert memory.calls.count("close") == memory.calls.count("start") == 1


def test_a_backend_is_told_of_the_run() -> None:
    facts = RunFacts("/runs/train/x", "x", "train", "/runs", {"lr": 0.1})
    memory, other = Memory(), Memory()
    with Recorder("output", run=facts) as recorder:
        recorder.add_backend(memory)
    with Recorder("runs/mine/one") as recorder:
        recorder.add_backend(other)

    assert memory.facts == [facts]
    assert other.facts == [
        RunFacts(str(Path("runs/mine/one").absolute()), "one", "mine", str(Path("runs/mine").absolute()), {})
    ]


def test_a_backend_that_is_added_later_gets_what_follows() -> None:
    memory = Memory()
    with Recorder("output") as recorder:
        recorder.scalar("a", 1)
        recorder.flush()
        recorder.add_backend(memory)
        recorder.scalar("a", 2)

    assert memory.values == [2]


def test_a_run_that_records_nothing_starts_and_ends_its_backends() -> None:
    memory = Memory()
    with Recorder("output") as recorder:
        recorder.add_backend(memory)

    assert (memory.calls[0], memory.calls[-1]) == ("start", "close")


def test_a_backend_hears_of_lost_numbers(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    with Recorder("output") as recorder:
        recorder.add_backend(memory)
        recorder.scalar("a", "no number")

    assert memory.dropped == 1
    assert "1 recorded number is not in the backend 'memory'. The run's directory has them all." in messages(caplog)


def test_a_slow_backend_holds_up_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(module, "QUEUE_LIMIT", 1000)
    hanging, memory = Hanging("write"), Memory()
    with Recorder("output") as recorder:
        recorder.add_backend(hanging)
        recorder.add_backend(memory)
        recorder.scalar("a", 0)
        hanging.entered.wait(60)
        waited_s = 0.0
        for begin in range(1, 3000, 400):
            began = time.monotonic()
            for value in range(begin, begin + 400):
                recorder.scalar("a", value)
            recorder.flush()
            waited_s = max(waited_s, time.monotonic() - began)
            wait_until(lambda begin=begin: len(memory.values) == begin + 400)  # type: ignore[misc]
        hanging.released.set()
        wait_until(lambda: len(hanging.values) > 1)
        recorder.scalar("a", 3201)

    assert waited_s < 1
    assert memory.values == rundir.read_series("output").points["a"].values == list(range(3202))
    assert hanging.values == [*range(len(hanging.values) - 1), 3201]
    lost = 3202 - len(hanging.values)
    assert lost >= 2000
    assert messages(caplog) == [
        "The recorder's backend 'hanging' is too slow: 1000 numbers wait for it, further ones are left out of it until "
        "it has caught up. The run goes on, and its directory has them all.",
        f"{lost} recorded numbers are not in the backend 'hanging'. The run's directory has them all.",
    ]


def test_a_backend_that_cannot_be_started_is_said_once_and_costs_itself(caplog: pytest.LogCaptureFixture) -> None:
    broken, memory = failing("start"), Memory()
    with Recorder("output") as recorder:
        recorder.add_backend(broken)
        recorder.add_backend(memory)
        for value in range(100):
            recorder.scalar("a", value)
        recorder.flush()
        recorder.scalar("a", 100)

    assert broken.calls == ["start"]
    assert memory.values == list(range(101))
    assert messages(caplog) == [
        "The recorder's backend 'failing' could not be started: OSError: [Errno 28] No space left. "
        "The run goes on without it, and its directory has everything.",
        "101 recorded numbers are not in the backend 'failing'. The run's directory has them all.",
    ]


def test_a_backend_that_fails_is_said_once_and_called_again(caplog: pytest.LogCaptureFixture) -> None:
    broken = failing("write")
    with Recorder("output") as recorder:
        recorder.add_backend(broken)
        for value in range(3):
            recorder.scalar("a", value)
            recorder.flush()
            wait_until(lambda value=value: broken.calls.count("write") > value)  # type: ignore[misc]

    assert broken.calls[-1] == "close"
    assert messages(caplog) == [
        "The recorder's backend 'failing' failed: OSError: [Errno 28] No space left. "
        "The run goes on, and its directory has everything.",
        "3 recorded numbers are not in the backend 'failing'. The run's directory has them all.",
    ]


@pytest.mark.parametrize("method", ["flush", "close", "write_item"])
def test_other_failures_are_contained_too(method: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = failing(method)
    with Recorder("output") as recorder:
        recorder.add_backend(broken)
        recorder.scalar("a", 1)
        recorder.text("t", "x")

    assert broken.values == [1]
    assert broken.calls[-1] == "close"
    lost = "1 recorded picture, table or file is not in the backend 'failing'. The run's directory has them all."
    assert messages(caplog) == [
        "The recorder's backend 'failing' failed: OSError: [Errno 28] No space left. "
        "The run goes on, and its directory has everything.",
        *([lost] if method == "write_item" else []),
    ]


def test_the_end_waits_a_limited_time_for_all_backends_together(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "CLOSE_LIMIT_S", 0.3)
    backends = [Hanging("write"), Hanging("write"), Hanging("close")]
    recorder = Recorder("output")
    for number, backend in enumerate(backends):
        backend.name = f"hanging-{number}"
        recorder.add_backend(backend)
    recorder.scalar("a", 1)
    recorder.flush()
    for backend in backends[:2]:
        backend.entered.wait(60)
    began = time.monotonic()
    recorder.close()
    closed_s = time.monotonic() - began
    for backend in backends:
        backend.released.set()

    assert 0.3 <= closed_s < 2
    assert messages(caplog) == [
        "The recorder's backend 'hanging-0' could not finish in time; at least 1 recorded number is not in it. "
        "The run's directory has them all.",
        "The recorder's backend 'hanging-1' could not finish in time; at least 1 recorded number is not in it. "
        "The run's directory has them all.",
        "The recorder's backend 'hanging-2' could not finish in time. The run's directory has everything.",
    ]


def test_a_backend_that_is_still_being_started_gets_the_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_LIMIT_S", 0.1)
    slow = Hanging("start")
    recorder = Recorder("output")
    recorder.add_backend(slow)
    recorder.scalar("a", 1)
    threading.Timer(0.5, slow.released.set).start()
    recorder.close()

    assert slow.values == [1]
    assert slow.calls[-1] == "close"


def test_a_start_that_hangs_is_given_up_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_LIMIT_S", 0.1)
    monkeypatch.setattr(module, "START_LIMIT_S", 0.2)
    slow = Hanging("start")
    thread = BackendThread("slow", lambda: slow, FACTS)
    assert thread.begin()
    thread.write(batch(1, 2))
    thread.close()
    wait_for_all([thread])
    missing = thread.missing
    slow.released.set()

    assert missing == 2


def test_a_backend_by_its_name_is_made_in_its_thread() -> None:
    with Recorder("output") as recorder:
        recorder.add_backend("csv")
        recorder.scalar("a", 0.5, 3)

    lines = Path("output/scalars.csv").read_text().splitlines()
    assert lines[0] == "tag,step,time,value"
    assert lines[1].startswith("a,3,")


def test_an_object_that_is_no_backend_is_an_error() -> None:
    with Recorder("output") as recorder, pytest.raises(TypeError) as caught:
        recorder.add_backend(5)  # type: ignore[arg-type]
    assert str(caught.value) == (
        "5 is no backend: it has no name, dropped, start, write, write_item, flush, close, add_dropped and for_child. "
        "Make it a subclass of pystematic.record.Backend."
    )


def test_other_ranks_feed_no_backend() -> None:
    memory = Memory()
    with Recorder("output", rank=1, world_size=2) as recorder:
        recorder.add_backend(memory)
        recorder.scalar("a", 1)

    assert memory.calls == []


def test_a_closed_recorder_starts_no_backend() -> None:
    memory = Memory()
    recorder = Recorder("output")
    recorder.close()
    recorder.add_backend(memory)

    assert memory.calls == []


def test_a_program_of_another_thread_may_add_backends_while_it_records() -> None:
    backends = [Memory(str(number)) for number in range(8)]
    with Recorder("output") as recorder:
        threads = [threading.Thread(target=recorder.add_backend, args=(backend,)) for backend in backends]
        for thread in threads:
            thread.start()
            recorder.scalar("a", 1)
        for thread in threads:
            thread.join()
        recorder.scalar("b", 2)

    assert all(backend.values[-1] == 2 for backend in backends)


CHILD = """
import os, sys, pystematic
from pystematic.record import Backend

class Lines(Backend):
    name = "lines"
    dropped = 0
    def __init__(self, path, inherited=False):
        self.path, self.inherited = path, inherited
    def start(self, run):
        assert not self.inherited
        self.file = open(self.path, "a")
    def write(self, batch):
        print(*batch.tags, file=self.file)
    def flush(self):
        self.file.flush()
    def close(self):
        self.file.close()
    def for_child(self):
        if sys.argv[1] == "none":
            return None
        child = Lines("child.txt", inherited=True)
        child.file = open("child.txt", "a")
        return child

recorder = pystematic.Recorder("output")
recorder.add_backend(Lines("parent.txt"))
recorder.scalar("parent", 1)
recorder.flush()
if os.fork() == 0:
    recorder.scalar("child", 1)
    recorder.close()
    os._exit(0)
os.wait()
recorder.close()
"""


def test_a_forked_child_feeds_the_backend_of_the_child(working_dir: Path) -> None:
    done = run_python("-W", "error", "-c", CHILD, "own", cwd=working_dir)

    assert (done.returncode, done.stderr) == (0, "")
    assert Path("parent.txt").read_text() == "parent\n"
    assert Path("child.txt").read_text() == "child\n"


def test_a_backend_without_one_for_children_gets_nothing_of_them(working_dir: Path) -> None:
    done = run_python("-W", "error", "-c", CHILD, "none", cwd=working_dir)

    assert (done.returncode, done.stderr) == (0, "")
    assert Path("parent.txt").read_text() == "parent\n"
    assert not Path("child.txt").exists()


def test_where_no_thread_can_be_started_there_is_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    memory = Memory()
    recorder = Recorder("output")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    recorder.add_backend(memory)
    monkeypatch.undo()
    recorder.close()

    assert memory.calls == []


class Told(Memory):
    """A backend that wants to know how the run ended."""

    def set_status(self, status: str) -> None:
        self._called(f"set_status {status}")


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "completed"), (ValueError(), "failed"), (SystemExit(2), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_a_backend_is_told_how_the_run_ended_before_it_is_closed(error: BaseException | None, status: str) -> None:
    told = Told("told")
    recorder = Recorder("output")
    recorder.add_backend(told)
    recorder.__exit__(None if error is None else type(error), error, None)

    assert told.calls[-2:] == [f"set_status {status}", "close"]


def test_a_backend_without_a_place_for_the_status_is_closed_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    class Old:
        """As users wrote them by the protocol before."""

        name = "old"
        dropped = 0
        is_closed = False

        def start(self, run: RunFacts) -> None: ...
        def write(self, batch: ScalarBatch) -> None: ...
        def write_item(self, item: rundir.Item) -> None: ...
        def flush(self) -> None: ...
        def add_dropped(self, count: int) -> None: ...
        def for_child(self) -> None: ...
        def close(self) -> None:
            self.is_closed = True

    old = Old()
    recorder = Recorder("output")
    recorder.add_backend(old)  # type: ignore[arg-type]
    recorder.close("failed")

    assert old.is_closed
    assert messages(caplog) == []


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
def test_a_backend_that_wants_to_exit_loses_its_batch_only(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def act(method: str) -> None:
        if method == "write" and memory.calls.count("write") == 1:
            raise error

    memory = Memory("exits", act)
    thread = BackendThread("exits", lambda: memory, FACTS)
    thread.begin()
    thread.write(batch(1, 2))
    wait_until(lambda: "write" in memory.calls)
    wait_until(lambda: memory.calls.count("flush") > 1)
    thread.write(batch(3))
    thread.close()
    wait_for_all([thread])

    assert memory.values == [3]
    assert thread.dropped == 2
    assert messages(caplog)[-1] == (
        "2 recorded numbers are not in the backend 'exits'. The run's directory has them all."
    )
