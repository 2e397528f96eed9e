"""Builders for the tests of sweeps: a specification, a space of a command line, an executor without processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pystematic import rundir
from pystematic.declare import Parameter, ParameterSet, Spec
from pystematic.resolve import OptionReader, Resolution, resolve, tokenize
from pystematic.sweep import Event, Executor, Listener, Session, SweepOptions, Task
from pystematic.sweep._space import Space, SpaceReader


def spec_of(*parameters: Parameter) -> Spec:
    """Return a specification of these parameters and of those that every experiment has."""
    made = ParameterSet("experiment 'train'")
    for parameter in parameters:
        made.add(parameter)
    return Spec(made)


def space_of(
    spec: Spec,
    line: str | Sequence[str] = "",
    *,
    zips: Sequence[str] = (),
    file: str | None = None,
    points: str | None = None,
) -> Space:
    """Return the space that a command line describes."""
    tokens = tokenize(line.split() if isinstance(line, str) else line)
    options = OptionReader()
    options.read(tokens, spec)
    reader = SpaceReader(spec, options.problems)
    if points is not None:
        reader.add_points(points)
    reader.add_words(options.given, options.uses)
    if file is not None:
        reader.add_file(file)
    return reader.finish(reader.zip(zips))


class Target:
    """What looks like an experiment to a sweep."""

    full_name = "train"

    def __init__(self, spec: Spec, metric: str | None = "loss:min") -> None:
        self.spec = spec
        self.metric = metric

    def main_function(self) -> None:
        """Do nothing."""

    def resolve(self, given: Mapping[str, Any]) -> Resolution:
        return resolve(self.spec, given)


class Outcome:
    """How a run of the `RecordingExecutor` ends, and what it has recorded as ``loss``: one number, or several."""

    def __init__(
        self,
        status: str = "completed",
        loss: float | None = None,
        error: tuple[str, str] | None = None,
        losses: Sequence[float] = (),
    ) -> None:
        self.status = status
        self.losses = losses if loss is None else (loss,)
        self.error = error


class RecordingExecutor(Executor):
    """Makes runs without processes: writes their records at once, and ends them in the order in which they started.

    Args:
        output_dir: the folder of the runs.
        outcome: how a run with these values ends; None: it goes on until it is stopped.
        slots: how many at once.

    Attributes:
        tasks: all that were started.
        stops: number and whether it was killed, of all that were stopped.
        most: the largest number that ran at once.
    """

    name = "recording"

    def __init__(
        self,
        output_dir: str,
        outcome: Callable[[Mapping[str, Any]], Outcome | None] = lambda values: Outcome(),
        slots: int = 1,
    ) -> None:
        self.slots = slots
        self.tasks: list[Task] = []
        self.stops: list[tuple[int, bool]] = []
        self.most = 0
        self.is_closed = False
        self._output_dir = output_dir
        self._outcome = outcome
        self._running: dict[int, tuple[Task, str, rundir.RunDocument]] = {}
        self._events: list[Event] = []

    def start(self, task: Task) -> None:
        self.tasks.append(task)
        made = (
            rundir.create_run_dir(self._output_dir, task.experiment)
            if task.resume is None
            else rundir.RunDir(task.resume)
        )
        document = rundir.RunDocument(
            made,
            experiment=task.experiment,
            argv=[],
            sources=task.sources,
            program={},
            metric=None,
            parent=task.parent,
            notes=[],
        )
        document.fields["point"] = task.point
        document.write()
        self._running[task.number] = (task, os.fspath(made.path), document)
        self.most = max(self.most, len(self._running))
        self._events.append(Event(task.number, "run", os.fspath(made.path)))

    def wait(self, timeout_s: float) -> list[Event]:
        events, self._events = self._events, []
        for number, (task, _, _) in list(self._running.items()):
            outcome = self._outcome(task.values)
            if outcome is not None:
                events.append(self.end(number, outcome))
                break
        return events

    def end(self, number: int, outcome: Outcome) -> Event:
        """End a run."""
        _, path, document = self._running.pop(number)
        error = None if outcome.error is None else {"type": outcome.error[0], "message": outcome.error[1]}
        if outcome.losses:
            write_series(path, {"loss": list(enumerate(outcome.losses))})
        document.finish(outcome.status, 0 if outcome.status == "completed" else 1, error)
        return Event(number, "ended", path, 0 if outcome.status == "completed" else 1, None, "the last line")

    def stop(self, number: int, *, kill: bool = False) -> None:
        self.stops.append((number, kill))
        if number in self._running:
            self._events.append(self.end(number, Outcome("interrupted")))

    def close(self) -> None:
        self.is_closed = True


def write_series(path: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Write numbers as a run records them."""
    with open(rundir.RunDir(path).metrics_file(), "ab") as file:
        for tag, points in series.items():
            steps, values = [step for step, _ in points], [value for _, value in points]
            columns: Any = ([tag] * len(points), steps, [1.0 + step for step in steps], values)
            file.write(rundir.ScalarFormatter().format(columns))


class Notes(Listener):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def session_of(target: Target, line: str, output_dir: str, **options: Any) -> Session:
    """Return a session as a command line asks for it."""
    space = space_of(target.spec, f"{line} --output-dir {output_dir}")
    return Session(target, space, SweepOptions(**options), lambda given: target.resolve(given), line.split())
