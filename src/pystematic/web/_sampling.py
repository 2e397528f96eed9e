"""Series as a chart of some pixels needs them: no spike is lost. Knows arrays of numpy only.

Of each bucket of x, one for every pixel, the smallest and the largest value stay, in the order of x.
"""

from __future__ import annotations

import numpy as np

from pystematic._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Array = np.ndarray[Any, np.dtype[Any]]

# Of so many points with no finite value each is marked; of more the first in each bucket.
MOST_NONFINITE = 1000


@record
class Window:
    """Which part of a series is looked at.

    Attributes:
        low, high: bounds of x, infinite for all.
        buckets: how many pixels wide the chart is.
        is_log: whether its x axis is logarithmic.
    """

    low: float = -np.inf
    high: float = np.inf
    buckets: int = 1000
    is_log: bool = False


@record
class Sampled:
    """The points of a window.

    Attributes:
        x, y: finite ones, in the order of x, with the next one on each side of the window.
        nonfinite_x, nonfinite_y: some of those whose value is NaN or infinite.
        n_points: how many points the window holds, of both kinds.
        n_nonfinite: how many of them are not finite.
        is_sampled: whether finite ones were left out.
    """

    x: Array
    y: Array
    nonfinite_x: Array
    nonfinite_y: Array
    n_points: int
    n_nonfinite: int
    is_sampled: bool


def to_floats(column: Any) -> Array:
    """Return a column of numbers as float64; what is too large becomes infinite."""
    try:
        return np.asarray(column, dtype=np.float64)
    except OverflowError:
        return np.array([_to_float(number) for number in column], dtype=np.float64)


def _to_float(number: Any) -> float:
    try:
        return float(number)
    except OverflowError:
        return np.inf if number > 0 else -np.inf


def in_order(x: Array, y: Array) -> tuple[Array, Array]:
    """Return points in the order of x; those of one x stay in theirs. A point without a finite x is left out."""
    finite = np.isfinite(x)
    if not finite.all():
        x, y = x[finite], y[finite]
    if len(x) > 1 and (x[1:] < x[:-1]).any():
        order = np.argsort(x, kind="stable")
        return x[order], y[order]
    return x, y


def sample(x: Array, y: Array, window: Window) -> Sampled:
    """Return what a chart shows of points in the order of x."""
    finite = np.isfinite(y)
    if finite.all():
        odd_x = odd_y = x[:0]
    else:
        inside = ~finite & (x >= window.low) & (x <= window.high)
        odd_x, odd_y = x[inside], y[inside]
        x, y = x[finite], y[finite]
    start, end = int(np.searchsorted(x, window.low, "left")), int(np.searchsorted(x, window.high, "right"))
    n_points = end - start
    kept = slice(max(0, start - 1), end + 1)
    shown_x, shown_y = x[kept], y[kept]
    is_sampled = n_points > 2 * window.buckets
    if is_sampled:
        chosen = _extremes(shown_x, shown_y, window)
        shown_x, shown_y = shown_x[chosen], shown_y[chosen]
    n_odd = len(odd_x)
    if n_odd > MOST_NONFINITE:
        first = _bucket_starts(odd_x, window)[:MOST_NONFINITE]
        odd_x, odd_y = odd_x[first], odd_y[first]
    return Sampled(shown_x, shown_y, odd_x, odd_y, n_points + n_odd, n_odd, is_sampled)


def _bucket_starts(x: Array, window: Window) -> Array:
    """Return where each bucket that has points begins; ``x`` is in order and not empty."""
    low, high = max(float(x[0]), window.low), min(float(x[-1]), window.high)
    if window.is_log and low <= 0:
        positive = x[np.searchsorted(x, 0.0, "right") :]
        low = float(positive[0]) if len(positive) else low
    edges = _edges(low, high, window)
    # What stands before the first edge or behind the last is a bucket of its own.
    starts = np.searchsorted(x, edges[:-1], "left")
    starts = np.concatenate([[0], starts, [np.searchsorted(x, edges[-1], "right")]])
    return np.unique(starts[starts < len(x)])


def _edges(low: float, high: float, window: Window) -> Array:
    """Return the bounds of the buckets from ``low`` to ``high``."""
    if window.is_log and 0 < low < high:
        return np.geomspace(low, high, window.buckets + 1)
    # By halves: the difference of two finite numbers may be infinite.
    edges: Array = 2 * np.linspace(low / 2, high / 2, window.buckets + 1)
    return edges


def _extremes(x: Array, y: Array, window: Window) -> Array:
    """Return the numbers of the smallest and largest point of each bucket, the first of equals, and of both ends."""
    starts = _bucket_starts(x, window)
    lengths = np.diff(np.append(starts, len(x)))
    chosen = [np.array([0, len(x) - 1])]
    for reduce in (np.minimum, np.maximum):
        extreme = np.repeat(reduce.reduceat(y, starts), lengths)
        found = np.flatnonzero(y == extreme)
        bucket = np.searchsorted(starts, found, "right")
        chosen.append(found[np.unique(bucket, return_index=True)[1]])
    return np.unique(np.concatenate(chosen))


# -- smoothing -------------------------------------------------------------------------------------------------------

# In a block the weights shrink by this factor at most, so that nothing is lost in rounding.
_BLOCK_FACTOR = 1e-4


def smooth(y: Array, weight: float) -> Array:
    """Return the exponential moving average of finite values, corrected for its start; as `pystematic plot` has it.

    With w the weight the n-th is the sum of ``w ** k`` times the k-th value before it, over the sum of ``w ** k``.
    """
    if weight <= 0 or len(y) < 2:
        return y
    count = len(y)
    if weight >= 1:
        return np.cumsum(y) / np.arange(1, count + 1)
    # Block by block, all at once: within one the powers of the weight are a plain cumulative sum.
    size = max(1, min(count, int(np.log(_BLOCK_FACTOR) / np.log(weight))))
    blocks = -(-count // size)
    padded = np.zeros(blocks * size)
    padded[:count] = y
    powers = weight ** np.arange(size)
    with np.errstate(over="ignore", invalid="ignore"):
        inner = np.cumsum(padded.reshape(blocks, size) / powers, axis=1) * powers
        carries = np.empty(blocks)
        carry, decay = 0.0, weight**size
        for i, end in enumerate(inner[:, -1].tolist()):
            carries[i] = carry
            carry = carry * decay + end
        total = (inner + carries[:, None] * (powers * weight)).ravel()[:count]
        averaged: Array = total / ((1 - weight ** np.arange(1, count + 1)) / (1 - weight))
    return averaged


# -- bands -----------------------------------------------------------------------------------------------------------


@record
class Spreads:
    """Some series as one: at each x the mean, sample standard deviation (NaN of one), number, extremes of all points.

    Attributes:
        is_sampled: whether x are buckets.
    """

    x: Array
    mean: Array
    std: Array
    n: Array
    low: Array
    high: Array
    is_sampled: bool


def spread(series: Sequence[tuple[Array, Array]], window: Window) -> Spreads:
    """Return mean and spread of series in the order of x; what is not finite is left out.

    Each series counts once at an x, with the mean of its points there.
    """
    parts = []
    for x, y in series:
        kept = np.isfinite(y) & (x >= window.low) & (x <= window.high)
        if window.is_log:
            kept &= x > 0
        if kept.any():
            parts.append((x[kept], y[kept]))
    if not parts:
        nothing = np.array([])
        return Spreads(nothing, nothing, nothing, nothing, nothing, nothing, False)
    places = _shared_places([x for x, _ in parts], 2 * window.buckets)
    if places is not None:
        return _spread_at(parts, places, False)
    low, high = min(float(x[0]) for x, _ in parts), max(float(x[-1]) for x, _ in parts)
    return _spread_at(parts, _edges(low, high, window)[:-1], True)


def _shared_places(xs: Sequence[Array], most: int) -> Array | None:
    """Return all x of some series, None where there are more, or the series mostly have points at different ones.

    Those of seeds share their steps; by time no two series do.
    """
    own: list[Array] = []
    for x in xs:
        if own and np.array_equal(x, xs[0]):
            own.append(own[0])
            continue
        own.append(np.unique(x))
        if len(own[-1]) > most:
            return None
    every = np.unique(np.concatenate(own))
    is_shared = len(xs) == 1 or sum(map(len, own)) >= 1.5 * len(every)
    return every if is_shared and len(every) <= most else None


def _spread_at(parts: Sequence[tuple[Array, Array]], places: Array, is_sampled: bool) -> Spreads:
    """Return the spread of what belongs to each place that has points: those from it up to the next one."""
    count = len(places)
    total, squares, n = np.zeros(count), np.zeros(count), np.zeros(count)
    low, high = np.full(count, np.inf), np.full(count, -np.inf)
    means = []
    for x, y in parts:
        place = np.maximum(np.searchsorted(places, x, "right") - 1, 0)  # the first edge may be rounded up
        found, starts = np.unique(place, return_index=True)
        lengths = np.diff(np.append(starts, len(x)))
        mean = np.add.reduceat(y / np.repeat(lengths, lengths), starts)
        total[found] += mean / len(parts)  # the sum of large numbers may be infinite where their mean is not
        n[found] += 1
        low[found] = np.minimum(low[found], np.minimum.reduceat(y, starts))
        high[found] = np.maximum(high[found], np.maximum.reduceat(y, starts))
        means.append((found, mean))
    has = n > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total * (len(parts) / n)
        for found, own in means:
            squares[found] += (own - mean[found]) ** 2
        std = np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan)
    return Spreads(places[has], mean[has], std[has], n[has], low[has], high[has], is_sampled)
