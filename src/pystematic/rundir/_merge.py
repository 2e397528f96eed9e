"""One series out of those that the ranks of a run have recorded: which points belong together, and what they become."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from fractions import Fraction

    from ._scalars import Columns, Number, Weights


def merge_values(values: Sequence[Number], weights: Sequence[float | None], reduce: str) -> Number:
    """Return what the values of several ranks are together.

    A value of weight 0 counts nowhere, unless all are of weight 0: then all count alike, as they do without weights
    (None is 1). A NaN that counts makes the result NaN, whatever ``reduce``: what went wrong on one rank must be seen.

    Args:
        values: of one tag and step, one for each rank that has recorded it.
        weights: of the values, the number of samples; not negative.
        reduce: mean (weighted), sum, min or max.
    """
    if any(weight == 0 for weight in weights) and any(weight != 0 for weight in weights):
        counted = [(value, weight) for value, weight in zip(values, weights, strict=True) if weight != 0]
        values, weights = [value for value, _ in counted], [weight for _, weight in counted]
    first = values[0]
    if any(value != value for value in values):
        return math.nan
    if reduce == "min":
        return min(values)
    if reduce == "max":
        return max(values)
    if reduce == "sum":
        return first if len(values) == 1 else _sum(values)
    if all(value == first for value in values):
        return first
    return _mean(values, [1.0 if weight is None else weight for weight in weights])


def _sum(values: Sequence[Number]) -> Number:
    if all(isinstance(value, int) for value in values):
        return sum(values)
    try:
        return math.fsum(values)
    except OverflowError:
        return _exact_sum(values)
    except ValueError:  # inf - inf
        return math.nan


def _mean(values: Sequence[Number], weights: Sequence[float]) -> Number:
    if not any(weights):
        weights = [1.0] * len(weights)
    try:
        infinite = [value for value in values if math.isinf(value)]
        if infinite:
            return infinite[0] if len(set(infinite)) == 1 else math.nan
        mean = math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / math.fsum(weights)
        if math.isfinite(mean):
            return min(max(mean, min(values)), max(values))  # rounded it may lie beside them
    except (OverflowError, ValueError):  # an integer that no float holds, or products that are too large
        pass
    return _exact_mean(values, weights)


def _exact_sum(values: Sequence[Number]) -> Number:
    from fractions import Fraction  # for what no float holds, which is next to never

    return _rounded(sum(map(Fraction, values), Fraction()))


def _exact_mean(values: Sequence[Number], weights: Sequence[float]) -> Number:
    from fractions import Fraction

    total = sum((Fraction(value) * Fraction(weight) for value, weight in zip(values, weights, strict=True)), Fraction())
    return _rounded(total / sum(map(Fraction, weights), Fraction()))


def _rounded(exact: Fraction) -> Number:
    try:
        return float(exact)
    except OverflowError:
        return round(exact)


class RankPoints:
    """What one rank has recorded under one tag: lists of equal length, in the order of recording."""

    __slots__ = ("steps", "times", "values", "weights")

    def __init__(
        self, steps: list[Number], times: list[float], values: list[Number], weights: Weights | None = None
    ) -> None:
        self.steps = steps
        self.times = times
        self.values = values
        self.weights = weights

    def extend(self, other: RankPoints) -> None:
        """Append what was recorded later, or elsewhere."""
        if self.weights is not None or other.weights is not None:
            self.weights = self.known_weights + other.known_weights
        self.steps.extend(other.steps)
        self.times.extend(other.times)
        self.values.extend(other.values)

    @property
    def known_weights(self) -> Weights:
        return [None] * len(self.steps) if self.weights is None else self.weights

    def sort_by_time(self) -> None:
        """Put the points in the order of their times; those of one time stay in theirs."""
        order = sorted(range(len(self.times)), key=self.times.__getitem__)
        self.steps = [self.steps[i] for i in order]
        self.times = [self.times[i] for i in order]
        self.values = [self.values[i] for i in order]
        self.weights = None if self.weights is None else [self.weights[i] for i in order]


def merge_points(parts: Sequence[RankPoints], reduce: str) -> RankPoints:
    """Return the one series of what several ranks have recorded under a tag, without weights and in no certain order.

    Points of one step belong together: the first ones of all ranks, the second ones, and so on. The time of a point is
    when the last rank had recorded it.
    """
    if len(parts) == 1 or reduce == "none":
        whole = RankPoints([], [], [])
        for part in parts:
            whole.extend(part)
        whole.weights = None
        return whole
    if all(part.steps == parts[0].steps for part in parts):  # as it is when all went well
        values = zip(*(part.values for part in parts), strict=True)
        weights = zip(*(part.known_weights for part in parts), strict=True)
        return RankPoints(
            parts[0].steps,
            list(map(max, *(part.times for part in parts))),
            [merge_values(one, of_one, reduce) for one, of_one in zip(values, weights, strict=True)],
        )
    groups: dict[tuple[Number, int], _Group] = {}
    for rank, part in enumerate(parts):
        occurrences: dict[Number, int] = {}
        for step, time, value, weight in zip(part.steps, part.times, part.values, part.known_weights, strict=True):
            occurrence = occurrences[step] = occurrences.get(step, -1) + 1
            group = groups.get((step, occurrence))
            if group is None:
                group = groups[step, occurrence] = _Group("", step, 0.0)
            group.add(rank, time, value, weight)
    return RankPoints(
        [group.step for group in groups.values()],
        [group.time for group in groups.values()],
        [group.merged(reduce) for group in groups.values()],
    )


class _Group:
    """Points of several ranks that belong together."""

    __slots__ = ("ranks", "since", "step", "tag", "time", "values", "weights")

    def __init__(self, tag: str, step: Number, since: float) -> None:
        self.tag = tag
        self.step = step
        self.since = since
        self.time = 0.0
        self.values: list[Number] = []
        self.weights: list[float | None] = []
        self.ranks: list[int] = []

    def add(self, rank: int, time: float, value: Number, weight: float | None) -> None:
        self.time = max(self.time, time) if self.values else time
        self.values.append(value)
        self.weights.append(weight)
        self.ranks.append(rank)

    def merged(self, reduce: str) -> Number:
        return self.values[0] if len(self.values) == 1 else merge_values(self.values, self.weights, reduce)


class RankMerge:
    """Puts together what ranks have recorded under one tag and step: the first points of each, the second ones, ....

    Points are added in the order in which each rank has recorded them, the ranks in any order. A tag whose ``reduce``
    is "none" keeps all points.

    Args:
        world_size: how many ranks record; a point that all of them have recorded is done. None: unknown.
        reduces: by tag how it is merged, where it is not the mean; may grow.

    Attributes:
        is_exact: whether no rank has added a point after it was taken without that rank.
    """

    def __init__(self, world_size: int | None = None, reduces: Mapping[str, str] | None = None) -> None:
        self.is_exact = True
        self._world_size = world_size
        self._reduces = reduces if reduces is not None else {}
        self._open: dict[tuple[str, Number], list[_Group]] = {}
        self._done: list[_Group] = []
        # By tag the ranks that were missing when a point was taken.
        self._missed: dict[str, set[int]] = {}

    def __bool__(self) -> bool:
        """Whether there are points that were not taken yet."""
        return bool(self._open or self._done)

    def add(self, rank: int, columns: Columns, weights: Weights | None = None, *, now: float = 0.0) -> None:
        """Add points of one rank; ``now`` is by the clock of `take`."""
        tags, steps, times, values = columns
        for i, (tag, step, time, value) in enumerate(zip(tags, steps, times, values, strict=True)):
            if rank in self._missed.get(tag, ()):
                self.is_exact = False
            group = self._group_for(rank, tag, step, now)
            group.add(rank, time, value, None if weights is None else weights[i])

    def _group_for(self, rank: int, tag: str, step: Number, now: float) -> _Group:
        if self._reduces.get(tag) == "none":
            group = _Group(tag, step, now)
            self._done.append(group)
            return group
        groups = self._open.setdefault((tag, step), [])
        group = next((one for one in groups if rank not in one.ranks), _Group(tag, step, now))
        if not group.ranks:
            groups.append(group)
        if len(group.ranks) + 1 == self._world_size:
            groups.remove(group)
            if not groups:
                del self._open[tag, step]
            self._done.append(group)
        return group

    def take(self, *, before: float | None = None) -> Columns | None:
        """Return the points that are done, in the order of their times; None when there are none.

        Args:
            before: those too whose first part was added before this moment, whoever is still missing; None for all.
        """
        done, self._done = self._done, []
        for key, groups in list(self._open.items()):
            old = [group for group in groups if before is None or group.since < before]
            if not old:
                continue
            done += old
            if len(old) == len(groups):
                del self._open[key]
            else:
                self._open[key] = [group for group in groups if group not in old]
            if self._world_size is not None:
                for group in old:
                    missing = set(range(self._world_size)).difference(group.ranks)
                    self._missed.setdefault(group.tag, set()).update(missing)
        if not done:
            return None
        done.sort(key=lambda group: group.time)
        return (
            [group.tag for group in done],
            [group.step for group in done],
            [group.time for group in done],
            [group.merged(self._reduces.get(group.tag, "mean")) for group in done],
        )
