"""What has come of a sweep: its points with the statuses of their runs and the objective over the seeds."""

from __future__ import annotations

import os

from pystematic._record import record
from pystematic.rundir import Exact, StoredText, decode
from pystematic.store import Run
from pystematic.sweep._objective import deviation_of, mean_of, parse_objective
from pystematic.sweep._plan import Attempt, Plan, PlannedPoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.sweep._objective import Objective

# Those that the same command does not start again.
DONE = frozenset({"completed", "pruned"})
WAITING = "planned"


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
    """

    def __init__(self, plan: Plan, objective: Objective | None = None) -> None:
        self.plan = plan
        self.name = plan.name
        self.experiment = str(plan.state.sweep.get("experiment") or "")
        text = plan.state.session.get("objective")
        self.objective = objective or (parse_objective(text) if isinstance(text, str) else None)
        coordinator = plan.coordinator()
        self.is_running = coordinator is not None
        self._own_seed = bool(plan.state.sweep.get("own_seed"))
        self.seeds: list[int | None] = [None] if self._own_seed else list(plan.state.session.get("seeds") or [])
        self.points = [self._result(point) for point in plan.state.points.values()]

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
        found = []
        for point in self.points:
            for attempt in point.attempts:
                if attempt.run_dir is not None:
                    found.append(Run(os.path.join(self.plan.dir.output_dir, attempt.run_dir)))
        return found

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


def shown_value(plain: object) -> Any:
    """Return a value of the plan for people."""
    value = decode(plain)
    if isinstance(value, Exact):
        return value.value
    return str(value) if isinstance(value, StoredText) else value
