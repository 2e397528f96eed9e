"""The plan of a sweep on disk: written ahead, line by line, by one coordinator; read by anybody.

Each line is a JSON object with a ``kind``. What a coordinator intends stands there before it is done, so that another
one can go on after a kill at any moment. A torn line, the last one of a killed writer, is passed over.

    sweep    what it is: name, experiment, space, seeds, search, objective, program; the first line
    session  a coordinator begins: its options, command line, process, and what its points have in common (`base`)
    space    points were added by another command
    point    a setting that is to be run: number, key, values, and the trial of a sampler. It takes the place of an
             earlier one of the same values and another key: that was made when a default was another
    start    a run begins: its number, key, point, seed, and the directory that it goes on with
    run      its directory
    end      how it ended: status, type of the error, objective, last line of its log
    again    points and seeds of runs that are to be run once more although they have ended
"""

from __future__ import annotations

import json
import os
import time

from pystematic import rundir
from pystematic._record import record
from pystematic._words import short
from pystematic.errors import ExperimentError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    # A run of the sweep: the key of its point, and its seed; None where the point has its own.
    Slot = tuple[str, int | None]

SCHEMA = 1
# On another machine a coordinator is taken for dead when it has not touched its claim for so long.
SILENT_FOR_S = 120.0
TOUCH_PERIOD_S = 15.0
_LONGEST_NAME = 100


@record
class PlannedPoint:
    """A setting of a sweep.

    ``values`` are plain, as ``parameters.yaml`` holds them, of the parameters that the sweep gives. ``trial`` is the
    number that a sampler gave it, None for points of a grid.
    """

    number: int
    key: str
    values: dict[str, Any]
    trial: int | None = None


class Attempt:
    """One start of a run, and what became of it.

    Attributes:
        number: of the start, in the whole plan.
        key: of the run's identity.
        point: key of the point.
        seed: the random seed that the sweep gave, None where the point has its own.
        run_dir: relative to the output folder; None as long as it is unknown.
        status: None while it is unknown how it ended.
        objective, metric: the number that it is judged by, and by which metric.
        error: type of the error of a failed one.
        log: the last line of its output.
        code: hash of the code that it ran, None where that is unknown.
    """

    __slots__ = ("code", "error", "key", "log", "metric", "number", "objective", "point", "run_dir", "seed", "status")

    def __init__(self, number: int, key: str, point: str, seed: int | None) -> None:
        self.number = number
        self.key = key
        self.point = point
        self.seed = seed
        self.run_dir: str | None = None
        self.status: str | None = None
        self.objective: float | None = None
        self.metric: str | None = None
        self.error: str | None = None
        self.log = ""
        self.code: str | None = None

    @property
    def slot(self) -> Slot:
        """The run that it is an attempt at."""
        return self.point, self.seed


class PlanState:
    """What the plan says.

    Attributes:
        sweep: the first line.
        session: the newest line of its kind.
        spaces: descriptions of the spaces, the first one and those that were added.
        points: by key, in the order in which they were planned.
        superseded: by key, those whose place another one has taken; they count no more.
        attempts: by the key of the point and the seed, the newest last; those of superseded points among them.
        again: points and seeds of runs that are to be run once more.
        next_number: for the next start.
        next_point: the number for the next point.
    """

    def __init__(self) -> None:
        self.sweep: dict[str, Any] = {}
        self.session: dict[str, Any] = {}
        self.spaces: list[Any] = []
        self.points: dict[str, PlannedPoint] = {}
        self.superseded: dict[str, PlannedPoint] = {}
        self.attempts: dict[Slot, list[Attempt]] = {}
        self.again: set[Slot] = set()
        self.next_number = 0
        self.next_point = 0
        self._by_number: dict[int, Attempt] = {}
        self._by_values: dict[str, str] = {}  # to keys
        self._bases: dict[str, Mapping[str, Any]] = {}  # by the keys of points

    def newest(self, slot: Slot) -> Attempt | None:
        """Return the newest attempt at a run."""
        attempts = self.attempts.get(slot)
        return attempts[-1] if attempts else None

    def newest_attempts(self) -> dict[Slot, Attempt]:
        """Return the newest attempt at each run of the points that count."""
        return {slot: attempts[-1] for slot, attempts in self.attempts.items() if slot[0] in self.points}

    def twin(self, values: Mapping[str, Any]) -> PlannedPoint | None:
        """Return the point of these values that counts."""
        strict: Any = rundir.strict_json(dict(values))
        key = self._by_values.get(_text_of(strict))
        return None if key is None else self.points[key]

    def base(self, key: str) -> Mapping[str, Any] | None:
        """Return what a point had in common with others when it was planned; None where that was not recorded."""
        return self._bases.get(key)

    def _take_point(self, point: PlannedPoint) -> None:
        if point.key in self.points:
            return
        text = _text_of(point.values)
        former = self._by_values.get(text)
        if former is not None:
            self.superseded[former] = self.points.pop(former)
        self.superseded.pop(point.key, None)
        self.points[point.key] = point
        self._by_values[text] = point.key
        self.next_point = max(self.next_point, point.number + 1)
        base = self.session.get("base")
        if isinstance(base, dict):
            self._bases[point.key] = base

    def take(self, line: Mapping[str, Any]) -> None:
        """Take note of one line.

        Raises:
            KeyError, TypeError: it lacks something; the caller passes it over.
        """
        kind = line.get("kind")
        if kind == "sweep":
            self.sweep = dict(line)
            self.spaces.append(line["space"])
        elif kind == "session":
            self.session = dict(line)
        elif kind == "space":
            self.spaces.append(line["space"])
        elif kind == "point":
            self._take_point(
                PlannedPoint(int(line["number"]), str(line["key"]), dict(line["values"]), line.get("trial"))
            )
        elif kind == "start":
            attempt = Attempt(int(line["number"]), str(line["key"]), str(line["point"]), line.get("seed"))
            attempt.run_dir = line.get("resume")
            self.attempts.setdefault(attempt.slot, []).append(attempt)
            self.again.discard(attempt.slot)
            self._by_number[attempt.number] = attempt
            self.next_number = max(self.next_number, attempt.number + 1)
        elif kind == "again":
            self.again.update((str(point), seed) for point, seed in line["runs"])
        elif kind in ("run", "end"):
            attempt = self._by_number[int(line["number"])]
            attempt.run_dir = line.get("run_dir") or attempt.run_dir
            if kind == "end":
                attempt.status = str(line["status"])
                attempt.objective, attempt.metric = line.get("objective"), line.get("metric")
                attempt.error, attempt.log = line.get("error"), str(line.get("log") or "")
                attempt.code = line.get("code")


class Plan:
    """The plan of one sweep: its state, and the one file to which lines are appended.

    Args:
        folder: of the sweep.

    Attributes:
        state: what it says; kept current by `write`.
    """

    def __init__(self, folder: rundir.SweepDir) -> None:
        self.dir = folder
        self.state = PlanState()
        self._descriptor: int | None = None
        self._claim: int | None = None
        self._touched_at = 0.0

    @property
    def name(self) -> str:
        return self.dir.name

    @property
    def exists(self) -> bool:
        """Whether something is planned."""
        return bool(self.state.sweep)

    def read(self) -> Plan:
        """Read what is on disk, and return the plan. An absent or damaged one is empty."""
        self.state = PlanState()
        try:
            with open(self.dir.plan_file, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return self
        for raw in lines:
            try:
                line = json.loads(raw)
                self.state.take(line)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # torn or damaged: it costs that line only
        return self

    def claim(self) -> None:
        """Become the one coordinator of the sweep, and read its plan.

        Raises:
            ExperimentError: another one is at work, or the folder cannot be written.
        """
        try:
            os.makedirs(self.dir.stops_dir, exist_ok=True)
            self._claim = self._take_claim()
            self.read()
            self._open()
        except OSError as error:
            self.close()
            raise rundir.unusable(self.dir.output_dir, error) from None

    def _take_claim(self) -> int:
        seen = self.dir.claim_numbers()
        document = {"host": rundir.host_name(), "pid": rundir.process_identity(), "started_at": time.time()}
        own = f"{self.dir.claim_file(0)}.{os.urandom(6).hex()}.tmp"
        with open(own, "w", encoding="utf-8") as file:
            json.dump(document, file)
        now = os.stat(own).st_mtime  # by the clock of the file server, which stamps the other claims too
        try:
            for number in seen:
                self._refuse_living(number, now)
            number = (seen[-1] if seen else 0) + 1
            try:
                os.link(own, self.dir.claim_file(number))  # whole, and for one process only
            except FileExistsError:
                self._refuse_living(number, now)
                raise ExperimentError(
                    f"the sweep '{self.name}' is being started by another process. Try again."
                ) from None
            # Since we looked one may have begun and ended, and another one begun: then there are two, and both refuse.
            try:
                for other in self.dir.claim_numbers():
                    if other != number:
                        self._refuse_living(other, now)
            except ExperimentError:
                os.unlink(self.dir.claim_file(number))
                raise
        finally:
            os.unlink(own)
        for old in seen:
            _remove(self.dir.claim_file(old))
        return number

    def _refuse_living(self, number: int, now: float) -> None:
        path = self.dir.claim_file(number)
        document = rundir.read_document(path) or {}
        identity, host = document.get("pid"), document.get("host")
        alive = rundir.is_alive(identity, host)
        if alive is None:
            try:
                alive = now - path.stat().st_mtime < SILENT_FOR_S
            except FileNotFoundError:
                return
        if alive:
            pid = identity.get("pid") if isinstance(identity, dict) else "?"
            place = "this machine" if host == rundir.host_name() else host
            raise ExperimentError(
                f"the sweep '{self.name}' is being run by process {pid} on {place}. Wait for it, or end it: "
                f"pystematic sweep stop {self.name}"
            )

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._descriptor = os.open(self.dir.plan_file, flags, 0o666)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # what a killed writer has begun is a line of its own

    def write(self, *lines: Mapping[str, Any], fsync: bool = False) -> None:
        """Append lines, and take note of them.

        Raises:
            RunDirectoryError: they cannot be written.
        """
        assert self._descriptor is not None
        strict: list[Any] = [rundir.strict_json(dict(line)) for line in lines]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in strict)
        view = memoryview(text.encode("ascii"))
        size = os.fstat(self._descriptor).st_size
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
            if fsync:
                os.fsync(self._descriptor)
        except OSError as error:
            self._cut(size)
            raise rundir.unusable(self.dir.output_dir, error) from None
        for line in strict:
            self.state.take(line)

    def _cut(self, size: int) -> None:
        """Take back what was written in part, on a full disk: whoever writes next begins a line of its own."""
        assert self._descriptor is not None
        try:
            os.ftruncate(self._descriptor, size)
        except OSError:  # readers pass over the torn line
            return

    def touch(self) -> None:
        """Show other machines, from time to time, that the coordinator lives."""
        if self._claim is not None and time.monotonic() - self._touched_at > TOUCH_PERIOD_S:
            self._touched_at = time.monotonic()
            try:
                os.utime(self.dir.claim_file(self._claim))
            except OSError:
                return

    def coordinator(self) -> Mapping[str, Any] | None:
        """Return who coordinates the sweep now: ``host`` and ``pid``; None when nobody does."""
        for number in reversed(self.dir.claim_numbers()):
            document = rundir.read_document(self.dir.claim_file(number)) or {}
            alive = rundir.is_alive(document.get("pid"), document.get("host"))
            if alive is not False:
                return document
        return None

    def close(self) -> None:
        """Put the plan on disk and give the claim back."""
        if self._descriptor is not None:
            try:
                os.fsync(self._descriptor)
            except OSError:  # a file system without it, or a full disk: it is as safe as can be
                pass
            os.close(self._descriptor)
            self._descriptor = None
        if self._claim is not None:
            _remove(self.dir.claim_file(self._claim))
            self._claim = None


def relative_run_dir(run_dir: str, output_dir: str | os.PathLike[str]) -> str:
    """Return a run's directory as the plan holds it, so that the output folder may be moved."""
    return os.path.relpath(os.path.abspath(run_dir), os.path.abspath(output_dir)).replace(os.sep, "/")


def checked_sweep_name(name: str) -> str:
    """Return a name for a sweep.

    Raises:
        UsageError: it cannot be the name of a folder.
    """
    bad = (
        not name
        or name[0] in ".-="
        or any(letter in '/\\:*?"<>|' or not letter.isprintable() or letter.isspace() for letter in name)
        or len(name.encode("utf-8", "replace")) > _LONGEST_NAME
    )
    if bad:
        raise UsageError(f"--name {short(name)}: it becomes a folder. Use letters, digits, '-', '_' and '.'.")
    return name


def find_plans(output_dir: str, fits: Callable[[Mapping[str, Any]], bool]) -> list[Plan]:
    """Return the sweeps whose first line fits, read, the newest first."""
    found: list[tuple[str, Plan]] = []
    for name in rundir.sweep_names(output_dir):
        head = read_head(rundir.SweepDir(output_dir, name))
        if fits(head):
            found.append((str(head.get("created_at")), Plan(rundir.SweepDir(output_dir, name)).read()))
    return [plan for _, plan in sorted(found, key=lambda entry: entry[0], reverse=True)]


def read_head(folder: rundir.SweepDir) -> dict[str, Any]:
    """Return the first line of a plan, empty where there is none."""
    try:
        with open(folder.plan_file, "rb") as file:
            head = json.loads(file.readline())
    except (OSError, ValueError):
        return {}
    return head if isinstance(head, dict) and head.get("kind") == "sweep" else {}


def point_lines(points: Iterable[PlannedPoint]) -> list[dict[str, Any]]:
    """Return the lines of points."""
    return [
        {"kind": "point", "number": one.number, "key": one.key, "values": one.values, "trial": one.trial}
        for one in points
    ]


def _text_of(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _remove(path: os.PathLike[str]) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
