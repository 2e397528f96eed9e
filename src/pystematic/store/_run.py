"""`Run`: one run directory, read when it is asked for. What is missing or damaged in it is empty, never an error."""

from __future__ import annotations

import math
import os

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import Any, TypeVar

    from pystematic.store._columns import Columns

    T = TypeVar("T")

    # By tag: first, last, min, max, mean, count, min_step, max_step.
    Summary = dict[str, dict[str, Any]]

# What a record that cannot be understood says of its status.
DAMAGED = "damaged"


class Run:
    """A run that has been started: a view of its directory, current whenever it is asked.

        run = pystematic.runs("output")[-1]
        run.params["learning_rate"], run.metrics("train/loss").value

    Args:
        path: the run directory.
        result: what the main function returned, where the run was made by this process.

    Attributes:
        dir: the paths of its files.
        result: as given.
    """

    def __init__(self, path: str | os.PathLike[str], *, result: Any = None) -> None:
        self.dir = rundir.RunDir(os.path.abspath(os.fspath(path)))
        self.result = result
        self._read: dict[str, tuple[object, Any]] = {}

    # -- what the run says of itself -----------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The run id: the name of its directory."""
        return self.dir.id

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.dir.path

    @property
    def document(self) -> dict[str, Any]:
        """All of ``run.json``; empty when it is damaged."""
        return self._current(self.dir.run_file, lambda: rundir.read_document(self.dir.run_file) or {})

    @property
    def experiment(self) -> str:
        """The full name of the experiment."""
        name = self.document.get("experiment")
        return name if isinstance(name, str) else self.path.parent.name

    @property
    def status(self) -> str:
        """``running``, ``completed``, ``failed``, ``interrupted``, ``pruned``, or ``lost`` when its process is gone.

        ``damaged`` when ``run.json`` cannot be read.
        """
        status = self.document.get("status")
        if not isinstance(status, str):
            return DAMAGED
        if status == "running":
            from pystematic.store._status import is_lost  # a finished run needs none of it

            return "lost" if is_lost(self.dir, self.document) else "running"
        return status

    @property
    def started_at(self) -> datetime.datetime | None:
        """When it was started first, in UTC."""
        return self._time("started_at")

    @property
    def ended_at(self) -> datetime.datetime | None:
        """When it ended, in UTC; None while it runs, and when it is lost."""
        return self._time("ended_at")

    @property
    def duration(self) -> float | None:
        """Seconds from the start to the end, or until now while it runs; None when that is unknown."""
        started, ended = self.started_at, self.ended_at
        if started is not None and ended is None and self.status == "running":
            import datetime

            ended = datetime.datetime.now(datetime.UTC)
        return None if started is None or ended is None else (ended - started).total_seconds()

    @property
    def sources(self) -> dict[str, str]:
        """Where the value of each parameter came from."""
        return _texts(self.document.get("sources"))

    def _time(self, name: str) -> datetime.datetime | None:
        import datetime

        try:
            time = datetime.datetime.fromisoformat(self.document[name])
        except (KeyError, TypeError, ValueError):
            return None
        return time.replace(tzinfo=datetime.UTC) if time.tzinfo is None else time.astimezone(datetime.UTC)

    # -- parameters and labels -----------------------------------------------------------------------------------

    @property
    def plain_params(self) -> dict[str, Any]:
        """The parameters as the file holds them, without their odd types; made for comparing."""

        return self._current(self.dir.parameters_file, lambda: rundir.read_parameters(self.dir.parameters_file))

    @property
    def params(self) -> dict[str, Any]:
        """The value of every parameter. What could not be stored is a text, what is secret is ``<masked>``."""
        return {name: _value(value) for name, value in self.plain_params.items()}

    @property
    def tags(self) -> tuple[str, ...]:
        """The labels given at the start and later, each once."""
        from pystematic.store._facts import plain_value, tags_of  # the end of a run needs none of it

        return tuple(tags_of({"tags": plain_value(self.plain_params.get("tags"))}, self._labels))

    @property
    def given_tags(self) -> tuple[str, ...]:
        """Those of the labels that were given at the start, as a parameter."""
        from pystematic.store._facts import plain_value, tags_of

        return tuple(tags_of({"tags": plain_value(self.plain_params.get("tags"))}, {}))

    @property
    def given_note(self) -> str:
        """The note given at the start."""
        from pystematic.store._facts import note_of, plain_value

        return note_of({"note": plain_value(self.plain_params.get("note"))}, {})

    @property
    def later_note(self) -> str:
        """The note written later."""
        from pystematic.store._facts import note_of

        return note_of({}, self._labels)

    @property
    def note(self) -> str:
        """The notes given at the start and later, joined by line ends."""
        from pystematic.store._facts import note_of, plain_value

        return note_of({"note": plain_value(self.plain_params.get("note"))}, self._labels)

    @property
    def _labels(self) -> dict[str, Any]:
        return self._current(self.dir.labels_file, lambda: rundir.read_document(self.dir.labels_file) or {})

    # -- metrics -------------------------------------------------------------------------------------------------

    def metrics(self, tag: str) -> Series:
        """Return a recorded series, of all processes of the run; an empty one when nothing is recorded under ``tag``.

        The tags are those of `summary`.
        """
        from pystematic.store._columns import read_columns

        columns = self._cached("columns", self._series_state(), lambda: read_columns(self.path)).series.get(tag)
        return Series(tag, rundir.Points([], [], [])) if columns is None else Series.of_columns(tag, columns)

    @property
    def summary(self) -> Summary:
        """By tag ``first``, ``last``, ``min``, ``max``, ``mean``, ``count``, ``min_step``, ``max_step``.

        ``first`` and ``last`` are by time, ``min_step`` and ``max_step`` the steps at which the extremes were. NaN is
        counted and otherwise left out; None where nothing else was recorded. Where the newest point is NaN there is
        ``ends_in_nan``, too, which is True. Computed anew from the series when ``summary.json`` is missing or behind
        them.
        """
        live = self._live_summary()
        if live is not None:
            return live
        try:
            return rundir.parse_metrics(self._summary_document()["metrics"])
        except (KeyError, ValueError):
            return {}

    @property
    def dropped(self) -> int:
        """How many recorded numbers could not be written."""
        return _whole(self._summary_document().get("dropped"))

    @property
    def damaged_lines(self) -> int:
        """How many lines of the series are damaged and left out."""
        return _whole(self._summary_document().get("damaged_lines"))

    def _summary_document(self) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            summary = rundir.read_document(self.dir.summary_file) or {}
            if rundir.is_current_summary(summary, self.path) and _is_readable(summary):
                return summary
            if self._live_summary() is not None:
                return summary
            return rundir.summarize(self.path, dropped=_whole(summary.get("dropped")))

        return self._cached("summary", (_state(self.dir.summary_file), self._series_state()), read)

    def _live_summary(self) -> Summary | None:
        """Return the summary of a run that says that it runs, None where that takes a look at all of its series."""
        if self.document.get("status") != "running":
            return None

        def read() -> Summary | None:
            from pystematic.store._live import live_summary

            sizes = {name: state[1] for name, state in self._series_state() if state is not None}
            return live_summary(self.path, rundir.read_document(self.dir.summary_file) or {}, sizes)

        return self._cached("live", (_state(self.dir.summary_file), self._series_state()), read)

    def _series_state(self) -> list[tuple[str, tuple[int, int, int] | None]]:
        return [(path.name, _state(path)) for path in self.dir.metrics_files()]

    # -- what was captured ---------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, Any]:
        """All of ``environment.json``: Python, platform, packages, git; empty until it is captured."""
        return self._current(self.dir.environment_file, lambda: rundir.read_document(self.dir.environment_file) or {})

    @property
    def patch(self) -> str:
        """The uncommitted changes that it was started with, as a diff; empty when there were none."""
        return _text(self.dir.patch_file)

    def log_text(self, rank: int = 0) -> str:
        """Return the log of one process; empty when there is none."""
        return _text(self.dir.log_file(rank))

    # -- how it is shown -----------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        last = [f"{_shown(tag)}={_shown(_last(numbers))}" for tag, numbers in list(self.summary.items())[:3]]
        return f"<Run {self.experiment} {self.id} {self.status}{' ' if last else ''}{' '.join(last)}>"

    def _repr_html_(self) -> str:
        """Return a small table for notebooks. Every text in it is escaped: names and values may come from anybody."""
        import html

        rows = [("status", self.status), ("folder", str(self.path))]
        rows += [(_shown(name), _shown(value)) for name, value in self.params.items()]
        rows += [(_shown(tag), _shown(_last(numbers))) for tag, numbers in self.summary.items()]
        body = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        return f"<table><caption>{html.escape(self.experiment)} {html.escape(self.id)}</caption>{body}</table>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    # -- caches --------------------------------------------------------------------------------------------------

    def _current(self, path: Path, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return self._cached(path.name, _state(path), read)

    def _cached(self, name: str, state: object, read: Callable[[], T]) -> T:
        """Return what was read last, unless the files have changed since: ``state`` was taken before reading."""
        cached = self._read.get(name)
        if cached is None or cached[0] != state:
            cached = self._read[name] = (state, read())
        value: T = cached[1]
        return value


class Series:
    """The points of one tag in the order of their recording.

    Attributes:
        tag: what it was recorded under.
        step: int64, float64 where a step is no whole number.
        value: float64; int64 where all values are integers; objects where neither holds every value exactly.
        time: float64, seconds since 1970.

    The three are numpy arrays; ``array.array`` of the same types, or lists for objects, where numpy is not installed.
    """

    __slots__ = ("step", "tag", "time", "value")

    # `Any`, as numpy need not be there.
    step: Any
    value: Any
    time: Any

    def __init__(self, tag: str, points: rundir.Points) -> None:
        from pystematic.store._columns import columns_of  # where nobody asks for series, none of it is needed

        self._take(tag, columns_of(points))

    @classmethod
    def of_columns(cls, tag: str, columns: Columns) -> Series:
        """Make a series of numbers that are columns already."""
        made = cls.__new__(cls)
        made._take(tag, columns)
        return made

    def _take(self, tag: str, columns: Columns) -> None:
        self.tag = tag
        self.step = columns.step
        self.value = columns.value
        self.time = columns.time

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        last = f", last {_shown(self.value[-1])} at step {self.step[-1]}" if len(self) else ""
        return f"<Series {self.tag!r}: {len(self)} points{last}>"


def _value(plain: Any) -> Any:
    """Return a parameter's value; how it was checked is of no interest to a reader."""
    value = rundir.decode(plain)
    return value.value if isinstance(value, rundir.Exact) else value


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_readable(summary: dict[str, Any]) -> bool:
    try:
        rundir.parse_metrics(summary.get("metrics"))
    except ValueError:
        return False
    return True


def _text(path: Path) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _texts(plain: object) -> dict[str, str]:
    return {str(name): str(text) for name, text in plain.items()} if isinstance(plain, dict) else {}


def _whole(plain: object) -> int:
    return plain if isinstance(plain, int) else 0


def _last(numbers: Mapping[str, Any]) -> Any:
    """Return the last number, NaN too."""
    return math.nan if rundir.ENDS_IN_NAN in numbers else numbers["last"]


def _shown(value: object) -> str:
    """Write a value short enough for one line, in letters that can be printed."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:.6g}"
    text = rundir.spell_int(value) if isinstance(value, int) else str(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 200 else f"{text[:199]}…"
