"""Early stopping: compares the metrics that runs record while they run, at equal steps and equal seeds.

Knows nothing of processes; says which runs are hopeless, and the coordinator asks those to end.
"""

from __future__ import annotations

import abc
import bisect
import itertools
import math
import os
import statistics
import time

from pystematic._record import record
from pystematic.errors import UsageError
from pystematic.store import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pystematic.sweep._objective import Objective

# How often runs are looked at; seldomer where a look takes long, but not so seldom that whole runs are missed.
PERIOD_S = 0.1
MOST_PERIOD_S = 5.0
_MOST_SHARE = 0.05


@record
class Curve:
    """Losses of a run by step, both in the order of the steps. The smaller a loss, the better."""

    steps: tuple[float, ...]
    losses: tuple[float, ...]

    def at(self, step: float) -> float | None:
        """Return the loss at the last recorded step that is not behind ``step``; None before the first one."""
        index = bisect.bisect_right(self.steps, step)
        return self.losses[index - 1] if index else None

    def best_at(self, step: float) -> float | None:
        """Return the best loss up to ``step``."""
        return min(self.losses[: bisect.bisect_right(self.steps, step)], default=None)

    def reaches(self, step: float) -> bool:
        """Tell whether something was recorded at this step or behind it."""
        return bool(self.steps) and self.steps[-1] >= step


class Stopper(abc.ABC):
    """Decides which runs are not worth their time."""

    @abc.abstractmethod
    def is_hopeless(self, run: str, curve: Curve, others: Sequence[Curve]) -> bool:
        """Tell whether a running run should end; asked again whenever it has recorded more.

        Args:
            run: which it is; the same text whenever it is asked about this run.
            curve: what it has recorded so far; at least one number.
            others: of the other runs with the same seed, finished and running ones.
        """


class MedianStopper(Stopper):
    """Ends a run whose best number so far is worse than the median of the others' best ones at the same step.

    Golovin et al., "Google Vizier", 2017, section 3.2.2, with the best number in place of the running average. A run
    is left alone in its first two recorded steps, and as long as fewer than four others have come as far.
    """

    def __init__(self, *, others: int = 4, patience: int = 2) -> None:
        self._others = others
        self._patience = patience

    def is_hopeless(self, run: str, curve: Curve, others: Sequence[Curve]) -> bool:
        if len(curve.steps) <= self._patience:
            return False
        step = curve.steps[-1]
        bests = [best for other in others if other.reaches(step) and (best := other.best_at(step)) is not None]
        own = curve.best_at(step)
        return len(bests) >= self._others and own is not None and own > statistics.median(bests)


class AshaStopper(Stopper):
    """Asynchronous successive halving: at each rung only the best third goes on.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020. Rungs are where a run that records the
    metric as early and as often as any has recorded it for the 1st, 3rd, 9th, 27th ... time. Not where the runs
    together have: those of other batch sizes have other steps, and each would bring rungs of its own. A run that comes
    to a rung is compared once, with all that have come there before it.
    """

    def __init__(self, *, factor: int = 3) -> None:
        self._factor = factor
        self._passed: dict[str, float] = {}  # by run the step of the highest rung that it has passed

    def is_hopeless(self, run: str, curve: Curve, others: Sequence[Curve]) -> bool:
        first, period = _earliest(one.steps for one in (curve, *others) if one.steps)
        times = 1
        while curve.reaches(step := first + (times - 1) * period):
            if step > self._passed.get(run, float("-inf")):
                if self._loses(curve, others, step):
                    return True
                self._passed[run] = step
            times *= self._factor
        return False

    def _loses(self, curve: Curve, others: Sequence[Curve], step: float) -> bool:
        own = curve.at(step)
        losses = sorted(loss for one in others if one.reaches(step) and (loss := one.at(step)) is not None)
        if own is None or len(losses) + 1 < self._factor:
            return False  # too few to have a best third
        kept = (len(losses) + 1) // self._factor
        return bisect.bisect_left(losses, own) >= kept


def _earliest(grids: Iterable[tuple[float, ...]]) -> tuple[float, float]:
    """Return the first step of all, and the smallest number of steps from one to the next of the same run."""
    firsts, periods = [], []
    for steps in grids:
        firsts.append(steps[0])
        periods += [later - earlier for earlier, later in itertools.pairwise(steps)]
    return min(firsts), min(periods, default=max(1.0, min(firsts)))


STOPPERS: dict[str, Callable[[], Stopper]] = {"median": MedianStopper, "asha": AshaStopper}


def make_stopper(name: str) -> Stopper:
    """Return the stopper of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in STOPPERS:
        raise UsageError(f"--stop {name!r}: there are {' and '.join(STOPPERS)}.")
    return STOPPERS[name]()


class MetricWatch:
    """Reads what the runs of a sweep record, and asks a stopper about those that run.

    Args:
        stopper: decides.
        objective: which metric counts.
        earlier: directories and seeds of runs that have ended before.
    """

    def __init__(self, stopper: Stopper, objective: Objective, earlier: Iterable[tuple[str, int | None]] = ()) -> None:
        self._stopper = stopper
        self._objective = objective
        self._runs: dict[str, tuple[Run, int | None]] = {path: (Run(path), seed) for path, seed in earlier}
        self._curves: dict[str, Curve] = {}
        self._living: set[str] = set(self._runs)  # those of which there may be more to read
        self._next_at = 0.0
        self._has_looked = False

    def find_hopeless(self, running: Mapping[int, tuple[str, int | None]]) -> list[int]:
        """Return the numbers of the runs that should end.

        Args:
            running: directory and seed by number.
        """
        begun_at = time.monotonic()
        for path, seed in running.values():  # also between two looks: a short run ends before the next one
            if path not in self._runs:
                self._runs[path] = (Run(path), seed)
            self._living.add(path)
        if begun_at < self._next_at:
            return []
        alive = {path for path, _ in running.values()}
        changed = {path for path in list(self._living) if self._read(path, is_alive=path in alive)}
        found = []
        for number, (path, seed) in running.items():
            curve = self._curves.get(path)
            if curve is None or not curve.steps or path not in changed:
                continue
            others = [
                self._curves[other]
                for other, (_, its_seed) in self._runs.items()
                if other != path and its_seed == seed and other in self._curves
            ]
            if self._stopper.is_hopeless(path, curve, others):
                found.append(number)
        took_s = time.monotonic() - begun_at
        pause_s = max(PERIOD_S, took_s / _MOST_SHARE)
        # The first look loads what reads series, which says nothing about the next one.
        self._next_at = time.monotonic() + (min(pause_s, MOST_PERIOD_S) if self._has_looked else PERIOD_S)
        self._has_looked = True
        return found

    def _read(self, path: str, *, is_alive: bool) -> bool:
        """Read the curve of a run; tell whether there is more than before. Of one that has ended for the last time."""
        if not is_alive:
            self._living.discard(path)
        run, _ = self._runs[path]
        if not os.path.isdir(path):
            return False
        series = run.metrics(self._objective.tag)
        pairs: dict[float, float] = {}
        for step, value in zip(series.step, series.value, strict=True):
            if step is not None:
                pairs[float(step)] = self._loss_of(value)
        steps = sorted(pairs)
        losses = [pairs[step] for step in steps]
        if self._objective.takes_best:
            losses = list(itertools.accumulate(losses, min))
        curve = Curve(tuple(steps), tuple(losses))
        before = self._curves.get(path)
        self._curves[path] = curve
        return before is None or len(before.steps) != len(curve.steps)

    def _loss_of(self, value: float) -> float:
        try:
            loss = self._objective.loss(float(value))
        except OverflowError:
            return math.inf
        # NaN and infinities of either sign are signs of a defect, and worse than any number.
        return loss if math.isfinite(loss) else math.inf
