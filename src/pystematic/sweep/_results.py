"""What has come of a sweep: its points with the statuses of their runs and the objective over the seeds."""

from __future__ import annotations

import os

from pystematic._record import record
from pystematic._words import short
from pystematic.rundir import Exact, StoredText, decode
from pystematic.store import Run
from pystematic.sweep._identity import SEED_NAME
from pystematic.sweep._objective import deviation_of, mean_of, parse_objective
from pystematic.sweep._plan import Attempt, Plan, PlannedPoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from typing import Any

    from pystematic.sweep._objective import Objective

# Those that the same command does not start again.
DONE = frozenset({"completed", "pruned"})
WAITING = "planned"
_MOST_CHANGES = 5


@record
class PointResult:
    """A point of a sweep with what has come of it.

    Attributes:
        point: it.
        values: of the sweep's parameters.
        attempts: the newest for each seed that was started.
        statuses: of the runs, in the order of the seeds; ``planned`` for those that were not started.
        objectives: of the completed runs.
    """

    point: PlannedPoint
    values: dict[str, Any]
    attempts: tuple[Attempt, ...]
    statuses: tuple[str, ...]
    objectives: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        return mean_of(self.objectives)

    @property
    def std(self) -> float | None:
        """The sample standard deviation over the seeds."""
        return deviation_of(self.objectives)

    @property
    def is_complete(self) -> bool:
        """Whether every seed has completed, so that the mean is that of all."""
        return all(status == "completed" for status in self.statuses)

    @property
    def status(self) -> str:
        """The status that tells most: what is left to do, or went wrong, before what is done."""
        for status in ("failed", "running", "lost", "interrupted", "pruned", WAITING):
            if status in self.statuses:
                return status
        return "completed"


class SweepResult:
    """A sweep as its plan and its runs tell it.

    Args:
        plan: read.
        objective: that judges; by what the plan says when None.
        order: keys of points that stand first, in this order; the others stand as they were planned.
    """

    def __init__(self, plan: Plan, objective: Objective | None = None, order: Sequence[str] = ()) -> None:
        self.plan = plan
        self.name = plan.name
        self.experiment = str(plan.state.sweep.get("experiment") or "")
        text = plan.state.session.get("objective")
        self.objective = objective or (parse_objective(text) if isinstance(text, str) else None)
        coordinator = plan.coordinator()
        self.is_running = coordinator is not None
        self._own_seed = bool(plan.state.sweep.get("own_seed"))
        self.seeds: list[int | None] = [None] if self._own_seed else list(plan.state.session.get("seeds") or [])
        ordered = [plan.state.points[key] for key in dict.fromkeys((*order, *plan.state.points))]
        self.points = [self._result(point) for point in ordered]

    @property
    def counts(self) -> dict[str, int]:
        """How many runs have each status."""
        found: dict[str, int] = {}
        for point in self.points:
            for status in point.statuses:
                found[status] = found.get(status, 0) + 1
        return found

    @property
    def best(self) -> PointResult | None:
        """The point with the best mean, of those of which every seed has completed."""
        best: PointResult | None = None
        if self.objective is None:
            return None
        for point in self.points:
            if point.is_complete and point.mean is not None and self.objective.is_better(
                point.mean, None if best is None else best.mean
            ):  # fmt: skip
                best = point
        return best

    def describe_superseded(self) -> str | None:
        """Say how many runs count no more, since other points have taken the place of theirs; None: all do."""
        state = self.plan.state
        runs = sum(slot[0] in state.superseded for slot in state.attempts)
        if not runs:
            return None
        changes = []
        for point in state.superseded.values():
            twin = state.twin(point.values)
            changes.append((state.base(point.key), state.base(twin.key) if twin is not None else None, point.values))
        return superseded_sentence(runs, changes)

    @property
    def varying(self) -> list[str]:
        """The names of the parameters that differ between points."""
        names: dict[str, set[str]] = {}
        for point in self.points:
            for name in point.point.values:
                names.setdefault(name, set())
        for point in self.points:
            for name, seen in names.items():
                seen.add(repr(point.point.values.get(name)))
        return [name for name, seen in names.items() if len(seen) > 1]

    def ranked(self) -> list[PointResult]:
        """Return the points, the best first, those without a number last and as planned."""
        if self.objective is None:
            return self.points
        loss = self.objective.loss
        return sorted(self.points, key=lambda one: (one.mean is None, loss(one.mean) if one.mean is not None else 0.0))

    def runs(self) -> list[Run]:
        """Return the newest run of each point and seed, as planned; those that have no directory are missing."""
        return [Run(path) for point in self.points for path in self.paths_of(point)]

    def paths_of(self, point: PointResult) -> list[str]:
        """Return the directories of the newest runs of a point, those that have one."""
        return [os.path.join(self.plan.dir.output_dir, one.run_dir) for one in point.attempts if one.run_dir]

    def _result(self, point: PlannedPoint) -> PointResult:
        attempts = []
        statuses = []
        objectives = []
        for seed in self.seeds:
            attempt = self.plan.state.newest((point.key, seed))
            status = WAITING if attempt is None else self._status(attempt)
            statuses.append(status)
            if attempt is not None:
                attempts.append(attempt)
                value = self._objective_of(attempt) if status == "completed" else None
                if value is not None:
                    objectives.append(value)
        values = {name: shown_value(plain) for name, plain in point.values.items()}
        return PointResult(point, values, tuple(attempts), tuple(statuses), tuple(objectives))

    def _status(self, attempt: Attempt) -> str:
        if attempt.status is not None:
            return attempt.status
        if attempt.run_dir is None:
            return "running" if self.is_running else "lost"
        status = Run(os.path.join(self.plan.dir.output_dir, attempt.run_dir)).status
        return "lost" if status == "damaged" else status

    def _objective_of(self, attempt: Attempt) -> float | None:
        if self.objective is None or attempt.run_dir is None:
            return None
        if attempt.metric == self.objective.text:
            return attempt.objective
        return self.objective.value_of(Run(os.path.join(self.plan.dir.output_dir, attempt.run_dir)))


def superseded_sentence(
    runs: int, changes: Iterable[tuple[Mapping[str, Any] | None, Mapping[str, Any] | None, Container[str]]]
) -> str:
    """Say how many runs of a sweep count no more, and why.

    Args:
        runs: how many.
        changes: what their points had in common, what those in their place have, and what the sweep itself gives.
    """
    was: dict[str, dict[str, None]] = {}
    now: dict[str, str] = {}
    for old, new, given in changes:
        if old is None or new is None:
            continue
        for name in dict.fromkeys((*old, *new)):
            before, after = _base_text(old, name), _base_text(new, name)
            if before != after and name not in given and name != SEED_NAME:
                was.setdefault(name, {})[before] = None
                now[name] = after
    texts = [f"{name} was {' or '.join(was[name])}, and is {now[name]} now" for name in list(was)[:_MOST_CHANGES]]
    more = [f"{len(was) - _MOST_CHANGES} more have changed"] if len(was) > _MOST_CHANGES else []
    why = "; ".join([*texts, *more]) or "parameters outside of the space have changed"
    return f"{'1 earlier run does' if runs == 1 else f'{runs} earlier runs do'} not count any more: {why}."


def _base_text(base: Mapping[str, Any], name: str) -> str:
    return short(shown_value(base[name])) if name in base else "not there"


def shown_value(plain: object) -> Any:
    """Return a value of the plan for people."""
    value = decode(plain)
    if isinstance(value, Exact):
        return value.value
    return str(value) if isinstance(value, StoredText) else value
