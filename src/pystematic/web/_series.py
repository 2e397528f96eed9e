"""Series for charts: from the store's columns to the points that a window of pixels shows."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from pystematic._record import record
from pystematic.store import Run, prepare_columns, read_columns
from pystematic.web._errors import RequestError
from pystematic.web._sampling import Sampled, Spreads, Window, in_order, sample, smooth, spread, to_floats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pystematic.web._sampling import Array
    from pystematic.web._schema import (
        Band,
        BandsAnswer,
        BandsRequest,
        Line,
        NonFinite,
        Series,
        SeriesAnswer,
        SeriesRequest,
        XAxis,
    )

# Bytes of series that are kept ready. Large ones are in the store's cache besides, which is nearly as quick.
KEPT_BYTES = 96 * 2**20
MOST_RUNS = 2000
MOST_BUCKETS = 20_000
DEFAULT_BUCKETS = 1000
X_AXES = ("step", "time", "relative")


@record
class Points:
    """A series in the order of x."""

    x: Array
    y: Array


class SeriesReader:
    """Reads series of runs, and keeps those that were asked for last. For several threads at once."""

    def __init__(self, find: Callable[[str], Run]) -> None:
        self._find = find
        self._kept: OrderedDict[tuple[str, str, str], tuple[object, Points]] = OrderedDict()
        self._kept_bytes = 0
        self._lock = threading.Lock()

    def series(self, request: SeriesRequest) -> SeriesAnswer:
        """Return what a chart shows of some runs.

        Raises:
            RequestError: there is no such run, or something is not understood.
        """
        tag, axis, window = _tag_of(request), _axis_of(request), _window_of(request)
        weight = _number(request, "smoothing", 0.0)
        names = _names(request.get("runs"), "runs")
        runs = [self._find(name) for name in names]
        self._prepare(runs, tag, axis)
        found = [
            _series(name, self._points(run, tag, axis), window, weight) for name, run in zip(names, runs, strict=True)
        ]
        return {"tag": tag, "x": axis, "series": found}

    def bands(self, request: BandsRequest) -> BandsAnswer:
        """Return mean and spread of groups of runs.

        Raises:
            RequestError: as `series`.
        """
        tag, axis, window = _tag_of(request), _axis_of(request), _window_of(request)
        groups = request.get("groups")
        if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
            raise RequestError(400, "groups must be a list of objects with key and runs.", field="groups")
        bands: list[Band] = []
        for group in groups:
            runs = [self._find(name) for name in _names(group.get("runs"), "groups")]
            self._prepare(runs, tag, axis)
            found = [self._points(run, tag, axis) for run in runs]
            parts = [(points.x, points.y) for points in found]
            bands.append(_band(str(group.get("key", "")), len(runs), spread(parts, window)))
        return {"tag": tag, "x": axis, "groups": bands}

    def _prepare(self, runs: Sequence[Run], tag: str, axis: str) -> None:
        with self._lock:
            unknown = [run.path for run in runs if (str(run.path), tag, axis) not in self._kept]
        prepare_columns(unknown)

    def _points(self, run: Run, tag: str, axis: str) -> Points:
        key = (str(run.path), tag, axis)
        state = _state_of(run)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[0] == state:
                self._kept.move_to_end(key)
                return kept[1]
        points = _read(run, tag, axis)
        with self._lock:
            self._keep(key, state, points)
        return points

    def _keep(self, key: tuple[str, str, str], state: object, points: Points) -> None:
        if key in self._kept:
            self._kept_bytes -= _size(self._kept.pop(key)[1])
        self._kept[key] = (state, points)
        self._kept_bytes += _size(points)
        while self._kept_bytes > KEPT_BYTES:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._kept_bytes -= _size(oldest)


def _size(points: Points) -> int:
    return int(points.x.nbytes + points.y.nbytes) + 500


def _state_of(run: Run) -> object:
    states = []
    for path in run.dir.metrics_files():
        try:
            found = path.stat()
        except OSError:
            continue
        states.append((path.name, found.st_size, found.st_mtime_ns, found.st_ino))
    return states


def _read(run: Run, tag: str, axis: str) -> Points:
    columns = read_columns(run.path, tag).series.get(tag)
    if columns is None:
        return Points(np.array([]), np.array([]))
    if axis == "step":
        x = to_floats(columns.step)
    else:
        x = to_floats(columns.time)
        if axis == "relative":
            started = run.started_at
            x = x - (started.timestamp() if started is not None else np.min(x, initial=np.inf) if len(x) else 0.0)
    ordered_x, ordered_y = in_order(x, to_floats(columns.value))
    # Copies, or the whole cache of the run would stay mapped for the sake of one tag.
    return Points(np.array(ordered_x), np.array(ordered_y))


# -- requests --------------------------------------------------------------------------------------------------------


def _names(names: object, field: str) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(400, f"{field} must be a list of the ids of runs.", field=field)
    if len(names) > MOST_RUNS:
        raise RequestError(400, f"{len(names)} runs are too many for one chart. Choose {MOST_RUNS}.", field=field)
    return names


def _tag_of(request: Mapping[str, Any]) -> str:
    tag = request.get("tag")
    if not isinstance(tag, str):
        raise RequestError(400, f"tag must be a text, got {tag!r}.", field="tag")
    return tag


def _axis_of(request: Mapping[str, Any]) -> XAxis:
    axis: Any = request.get("x", "step")
    if axis not in X_AXES:
        raise RequestError(400, f"x must be one of {', '.join(X_AXES)}, got {axis!r}.", field="x")
    checked: XAxis = axis
    return checked


def _window_of(request: Mapping[str, Any]) -> Window:
    buckets = request.get("buckets", DEFAULT_BUCKETS)
    if not isinstance(buckets, int) or isinstance(buckets, bool) or not 1 <= buckets <= MOST_BUCKETS:
        raise RequestError(400, f"buckets must be from 1 to {MOST_BUCKETS}, got {buckets!r}.", field="buckets")
    low, high = _number(request, "from", -np.inf), _number(request, "to", np.inf)
    return Window(low, high, buckets, request.get("scale") == "log")


def _number(request: Mapping[str, Any], field: str, default: float) -> float:
    value = request.get(field)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise RequestError(400, f"{field} must be a number, got {value!r}.", field=field)
    return float(value)


# -- answers ---------------------------------------------------------------------------------------------------------


def _series(name: str, points: Points, window: Window, weight: float) -> Series:
    found = sample(points.x, points.y, window)
    return {
        "run": name,
        "n_points": found.n_points,
        "n_nonfinite": found.n_nonfinite,
        "sampled": found.is_sampled,
        "x": found.x.tolist(),
        "y": found.y.tolist(),
        "nonfinite": _nonfinite(found),
        "smooth": _smooth(points, window, weight) if weight > 0 else None,
    }


def _nonfinite(found: Sampled) -> list[NonFinite]:
    words: list[NonFinite] = []
    for x, y in zip(found.nonfinite_x.tolist(), found.nonfinite_y.tolist(), strict=True):
        words.append({"x": x, "value": "nan" if y != y else "inf" if y > 0 else "-inf"})
    return words


def _smooth(points: Points, window: Window, weight: float) -> Line:
    """Return the smoothed line of the window; smoothed from the first point on, whatever the window is."""
    finite = np.isfinite(points.y)
    x = points.x[finite]
    line = sample(x, smooth(points.y[finite], min(weight, 1.0)), window)
    return {"x": line.x.tolist(), "y": line.y.tolist()}


def _band(key: str, n_runs: int, found: Spreads) -> Band:
    return {
        "key": key,
        "n_runs": n_runs,
        "sampled": found.is_sampled,
        "x": found.x.tolist(),
        "mean": _finite(found.mean),
        "std": [None if value != value or value in (np.inf, -np.inf) else value for value in found.std.tolist()],
        "n": [int(n) for n in found.n.tolist()],
        "min": found.low.tolist(),
        "max": found.high.tolist(),
    }


def _finite(values: Array) -> list[float]:
    """Return numbers that JSON has: a mean of huge ones may be infinite."""
    limit = np.finfo(np.float64).max
    return [float(value) for value in np.clip(values, -limit, limit).tolist()]
