"""The objective of a sweep: which recorded number says how good a run is, and how runs compare by it."""

from __future__ import annotations

import math
import os

from pystematic._record import record
from pystematic.errors import UsageError
from pystematic.rundir import ENDS_IN_NAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystematic.store import Run

BEST = "@best"


@record
class Objective:
    """A metric with its direction, judged by its last value or by its best one.

    Args:
        tag: of the metric.
        direction: ``max`` or ``min``.
        takes_best: judge by the best value that was ever recorded.
    """

    tag: str
    direction: str
    takes_best: bool = False

    @property
    def text(self) -> str:
        """As it is written on the command line."""
        return f"{self.tag}:{self.direction}{BEST if self.takes_best else ''}"

    def value_of(self, run: Run) -> float | None:
        """Return a run's number; None where it has recorded none, or the number is NaN or infinite."""
        value = self._judged(run)
        # NaN never wins, and an infinity is the sign of a defect: neither says how good a run is.
        return value if value is not None and math.isfinite(value) else None

    def explain_none(self, run: Run) -> str:
        """Say in a sentence why `value_of` is None."""
        name, value = os.path.basename(run.path), self._judged(run)
        if value is None:
            return f"{name} has recorded no {self.tag!r}."
        if math.isnan(value) and run.summary[self.tag]["last"] is None:
            return f"{name} has recorded nothing but NaN as {self.tag!r}."
        return f"the {'best' if self.takes_best else 'last'} {self.tag!r} of {name} is {value}."

    def _judged(self, run: Run) -> float | None:
        numbers = run.summary.get(self.tag)
        if not numbers:
            return None
        value = numbers[self.direction if self.takes_best else "last"]
        if value is None or (ENDS_IN_NAN in numbers and not self.takes_best):
            return math.nan
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf

    def is_better(self, value: float, than: float | None) -> bool:
        """Tell whether one value beats another one."""
        return than is None or (value > than if self.direction == "max" else value < than)

    def loss(self, value: float) -> float:
        """Return a number that is the smaller the better."""
        return -value if self.direction == "max" else value


def parse_objective(text: str, source: str = "--metric") -> Objective:
    """Read ``TAG:max``, ``TAG:min``, or either with ``@best``.

    Raises:
        UsageError: it is none; without a direction nobody knows what is better.
    """
    takes_best = text.endswith(BEST)
    tag, _, direction = text.removesuffix(BEST).rpartition(":")
    if not tag or direction not in ("max", "min"):
        raise UsageError(
            f"{source} {text!r}: expected a metric with its direction, TAG:max or TAG:min, judged by the last value, "
            "or TAG:max@best, by the best one."
        )
    return Objective(tag, direction, takes_best)


def mean_of(values: Sequence[float]) -> float | None:
    """Return the mean, None of no values."""
    return math.fsum(values) / len(values) if values else None


def deviation_of(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation, None of fewer than two values."""
    mean = mean_of(values)
    if mean is None or len(values) < 2:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
