"""What every backend of the recorder must do: each sentence of the protocol's docstring is a case here."""

from __future__ import annotations

import abc
import base64
import copy
import math
import threading
import time

from pystematic import rundir
from pystematic.record import Backend, Recorder, RunFacts, ScalarBatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import BinaryIO, TypeAlias

    # Tag, step and value of each point, in any order.
    Points: TypeAlias = Sequence[tuple[str, float, float]]

# Any text is a tag; the two with a surrogate are no Unicode.
ODD_TAGS = (
    *("", " ", ".", "..", "../up", "/root", "a/b/c", "a//b", "a.b", "A", "a:b", "a|b", "ü", "😀", "a\nb", "a\0b"),
    *("a" * 1000, '"quoted"', "\ud800", "\udc00", "{}", "%s", "CON", "step", "step'", "_step", "time", "value"),
)
ODD_VALUES = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308, 2**63, -(2**70), 10**400)


ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


class BackendCases(abc.ABC):
    """Subclass it with a name that pytest collects, and say how your backend is made and read back:

    class TestMyBackend(BackendCases):
        def make(self):
            return MyBackend()

        def read(self, run):
            return [(tag, step, value) for ... in open(...)]
    """

    relative_error = 0.0
    """How much a value that comes back may differ, where the backend keeps fewer digits."""

    @abc.abstractmethod
    def make(self) -> Backend:
        """Return a new backend, not started."""

    @abc.abstractmethod
    def read(self, run: RunFacts) -> Points:
        """Return the points that the backend has kept of a run; the tags as it spells them."""

    def settle(self, run: RunFacts) -> None:
        """Wait until what a closed backend has kept can be read, where another process writes it."""
        return

    # -- builders ------------------------------------------------------------------------------------------------

    def facts(self, folder: Path) -> RunFacts:
        """Return a run that a backend is told of; its folder exists."""
        path = folder / "output" / "train" / "2026-01-02_03-04-05_abcdef"
        path.mkdir(parents=True, exist_ok=True)
        return RunFacts(
            folder=str(path),
            run_id=path.name,
            experiment="train",
            output_dir=str(folder / "output"),
            params={"learning_rate": 0.1, "layers": [1, 2], "name": "ü | x", "none": None},
        )

    def started(self, run: RunFacts) -> Backend:
        backend = self.make()
        backend.start(run)
        return backend

    def finish(self, backend: Backend, run: RunFacts) -> None:
        backend.flush()
        backend.close()
        self.settle(run)

    def assert_points(self, run: RunFacts, expected: Points) -> None:
        found = sorted(self.read(run), key=lambda point: (point[0], point[1], point[2]))
        wanted = sorted(expected, key=lambda point: (point[0], point[1], point[2]))
        assert [point[:2] for point in found] == [point[:2] for point in wanted]
        for (_, _, value), (_, _, other) in zip(found, wanted, strict=True):
            assert math.isclose(value, other, rel_tol=self.relative_error, abs_tol=0.0), (found, wanted)

    # -- cases ---------------------------------------------------------------------------------------------------

    def test_it_has_a_name_and_has_dropped_nothing(self) -> None:
        backend = self.make()

        assert isinstance(backend.name, str)
        assert backend.name
        assert backend.dropped == 0

    def test_what_was_written_is_there_after_the_close(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        backend.write(batch(("train/loss", 1, 0.5), ("val/accuracy", 1, 0.25), ("train/loss", 2, 0.125)))
        backend.write(batch(("train/loss", 3, 2)))
        self.finish(backend, run)

        assert backend.dropped == 0
        self.assert_points(
            run, [("train/loss", 1, 0.5), ("val/accuracy", 1, 0.25), ("train/loss", 2, 0.125), ("train/loss", 3, 2.0)]
        )

    def test_what_was_flushed_is_in_safety_before_the_close(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        try:
            backend.write(batch(("a", 1, 0.5)))
            backend.flush()
            wait_until(lambda: len(self.read(run)) == 1)
            self.assert_points(run, [("a", 1, 0.5)])
        finally:
            backend.close()
            self.settle(run)

    def test_a_flush_may_come_without_news(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        backend.flush()
        backend.write(batch(("a", 1, 0.5)))
        backend.flush()
        self.finish(backend, run)

        self.assert_points(run, [("a", 1, 0.5)])

    def test_a_run_without_numbers_ends_well(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        self.finish(backend, run)

        assert backend.dropped == 0

    def test_steps_come_in_any_order(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        points = [("a", step, float(step)) for step in (5, 3, 4, 0, 1, 2)]
        backend.write(batch(*points))
        self.finish(backend, run)

        self.assert_points(run, points)

    def test_odd_values_do_not_harm_others(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        odd = [("odd", step, value) for step, value in enumerate(ODD_VALUES)]
        backend.write(batch(("a", 1, 0.5), *odd, ("a", 2, 0.25)))
        self.finish(backend, run)

        assert [point for point in sorted(self.read(run), key=str) if point[0] == "a"] == [
            ("a", 1, 0.5),
            ("a", 2, 0.25),
        ]

    def test_any_text_is_a_tag_and_two_never_become_one(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        backend.write(batch(*((tag, 1, float(number)) for number, tag in enumerate(ODD_TAGS))))
        self.finish(backend, run)

        found = self.read(run)
        assert sorted(value for _, _, value in found) == [float(number) for number in range(len(ODD_TAGS))]
        assert len({tag for tag, _, _ in found}) == len(ODD_TAGS)

    def test_a_batch_is_left_as_it_was(self, tmp_path: Path) -> None:
        given = batch(("b", 2, 0.5), ("a", 1, 3))
        before = copy.deepcopy(given)
        run = self.facts(tmp_path)
        backend = self.started(run)
        backend.write(given)
        self.finish(backend, run)

        assert given == before

    def test_a_batch_may_carry_weights(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        backend.write(ScalarBatch(["a", "a"], [1, 2], [1.75e9, 1.75e9], [0.5, 0.25], [32.0, None]))
        self.finish(backend, run)

        self.assert_points(run, [("a", 1, 0.5), ("a", 2, 0.25)])

    def test_every_other_kind_is_taken_or_passed_over(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        recorded = record_one_of_each(run.folder, tmp_path)
        assert {item.kind for item in recorded} == set(rundir.KINDS)
        backend = self.started(run)
        for item in recorded:
            backend.write_item(item)
        backend.write(batch(("a", 1, 0.5)))
        self.finish(backend, run)

        assert ("a", 1, 0.5) in [(tag, step, value) for tag, step, value in self.read(run)]

    def test_it_hears_of_numbers_that_were_lost_before(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        backend.add_dropped(3)
        self.finish(backend, run)

        assert backend.dropped in (0, 3)

    def test_a_forked_child_gets_a_backend_of_its_own_or_none(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        backend = self.started(run)
        of_child = backend.for_child()
        backend.write(batch(("a", 1, 0.5)))
        self.finish(backend, run)

        assert of_child is not backend
        assert of_child is None or of_child.dropped == 0
        assert ("a", 1, 0.5) in [(tag, step, value) for tag, step, value in self.read(run)]

    def test_it_lives_in_the_thread_that_started_it(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        errors: list[BaseException] = []

        def work() -> None:
            try:
                backend = self.started(run)
                backend.write(batch(("a", 1, 0.5)))
                backend.flush()
                backend.close()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        self.settle(run)

        assert errors == []
        self.assert_points(run, [("a", 1, 0.5)])

    def test_a_recorder_feeds_it(self, tmp_path: Path) -> None:
        run = self.facts(tmp_path)
        with Recorder(run.folder, run=run) as recorder:
            recorder.add_backend(self.make())
            for step in range(1000):
                recorder.scalar("train/loss", step * 0.5, step)
        self.settle(run)

        self.assert_points(run, [("train/loss", step, step * 0.5) for step in range(1000)])


def batch(*points: tuple[str, int | float, int | float]) -> ScalarBatch:
    """Return a batch of tags, steps and values, recorded a millisecond apart."""
    return ScalarBatch(
        [tag for tag, _, _ in points],
        [step for _, step, _ in points],
        [1.75e9 + number / 1000 for number in range(len(points))],
        [value for _, _, value in points],
    )


def record_one_of_each(folder: str, elsewhere: Path) -> list[rundir.Item]:
    """Record something of each kind into a run directory, and return what stands there."""
    import numpy as np

    file = elsewhere / "model.txt"
    file.write_text("weights")
    directory = elsewhere / "parts"
    directory.mkdir()
    (directory / "one.txt").write_text("1")
    with Recorder(folder) as recorder:
        recorder.image("images/noise", np.zeros((4, 5, 3), np.uint8), 1)
        recorder.histogram("weights", [0.0, 1.0, 2.0, math.nan], 1)
        recorder.histogram("nothing", [math.nan], 1)
        recorder.text("note", "a <b>text</b> | x", 1)
        recorder.text("long", "word " * 10_000, 1)
        recorder.table("confusion", [{"class": "cat", "right": 3}, {"class": "dog", "right": None}], 1)
        recorder.table("long", {"n": list(range(10_000))}, 1)
        recorder.params({"width": 3, "odd": math.inf})
        recorder.artifact(file)
        recorder.artifact(directory)
        recorder.dataset(file)
        recorder.figure("curve", SmallFigure(), 1)
    return rundir.read_items(folder)


class SmallFigure:
    """Stands for a figure of matplotlib, which need not be installed."""

    canvas = None

    def savefig(self, file: BinaryIO, format: str) -> None:
        file.write(base64.b64decode(ONE_PIXEL))


def wait_until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    """Wait for what another process or thread is about to do."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)
