"""The summary of a run's series, `summary.json`: a few numbers per tag, kept while points are written or read."""

from __future__ import annotations

import math
import os

from ._files import read_document, write_document
from ._layout import RunDir, rank_of_metrics_file
from ._scalars import parse_special, special_name
from ._series import SeriesFile, by_tag, read_series
from ._tags import exact_tag, is_unicode, parse_exact_tag, shown_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ._scalars import Columns, Number


_STATISTICS = ("first", "last", "min", "max", "mean", "count", "min_step", "max_step")
# Beside them where the newest point is NaN, which ``last`` leaves out; else it is not there.
ENDS_IN_NAN = "ends_in_nan"


class _ExactSum:
    """A sum without rounding, so that it is the same in whatever portions the numbers come.

    Held as floats that do not overlap, the largest one first; see `math.fsum` and
    https://doi.org/10.1007/PL00009321 (Shewchuk 1997).
    """

    __slots__ = ("_infinite", "_parts", "_shift")

    def __init__(self) -> None:
        self._parts: list[float] = []
        self._infinite = 0.0  # the sum of what is infinite; NaN when nothing can be said
        self._shift = 0  # the parts are 2**shift times smaller, where the sum itself would be too large

    def add(self, numbers: Sequence[Number]) -> None:
        try:
            self._parts = self._sum(numbers)
            return
        except (OverflowError, ValueError):
            pass
        finite: list[Number] = []
        for number in numbers:
            if _is_finite_float(number):
                finite.append(number)
            else:
                self._infinite += number if isinstance(number, float) else math.nan
        try:
            self._parts = self._sum(finite)
        except OverflowError:
            self._shrink()
            self._parts = self._sum(finite)

    def merge(self, other: _ExactSum) -> None:
        self._infinite += other._infinite
        if other._shift:
            self._shrink()
            self._parts = _parts_of_sum([*self._parts, *other._parts])
        else:
            self.add(other._parts)

    def _sum(self, numbers: Sequence[Number]) -> list[float]:
        if self._shift:
            numbers = [math.ldexp(number, -self._shift) for number in numbers]
        return _parts_of_sum([*self._parts, *numbers])

    def _shrink(self) -> None:
        if not self._shift:
            self._shift = 64
            self._parts = [math.ldexp(part, -self._shift) for part in self._parts]

    def mean(self, count: int) -> float:
        if self._infinite != 0:
            return self._infinite
        numerator, denominator = 0, 1
        for part in self._parts:
            of_part, by = part.as_integer_ratio()
            numerator, denominator = numerator * by + of_part * denominator, denominator * by
        return (numerator << self._shift) / (denominator * count)  # of ints, which Python rounds once


def _parts_of_sum(numbers: list[Number]) -> list[float]:
    """Return few floats with the same exact sum; the argument is used up."""
    parts = []
    while rounded := math.fsum(numbers):
        parts.append(rounded)
        numbers.append(-rounded)
    return parts


def _is_finite_float(number: Number) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


class _TagTally:
    __slots__ = (
        *("count", "first", "first_time", "last", "last_time", "max", "max_step"),
        *("min", "min_step", "newest_is_nan", "newest_time", "numbers", "sum"),
    )

    def __init__(self) -> None:
        self.count = 0
        self.numbers = 0  # those that are not NaN; without any nothing else is known
        self.first: Number = 0
        self.last: Number = 0
        self.min: Number = 0
        self.max: Number = 0
        self.sum = _ExactSum()
        self.min_step: Number = 0
        self.max_step: Number = 0
        self.first_time = self.last_time = 0.0
        self.newest_time = -math.inf  # of all points, NaN too
        self.newest_is_nan = False

    def add(self, steps: list[Number], times: list[float], values: list[Number]) -> None:
        self.count += len(values)
        kept = [i for i, value in enumerate(values) if value == value]
        latest = max(times)
        is_newest = latest >= self.newest_time
        if is_newest:
            self.newest_time, self.newest_is_nan = latest, False
        if len(kept) != len(values):
            if is_newest:
                newest = len(times) - 1 - times[::-1].index(latest)
                self.newest_is_nan = values[newest] != values[newest]
            steps, times, values = [steps[i] for i in kept], [times[i] for i in kept], [values[i] for i in kept]
            if not values:
                return
            latest = max(times)
        earliest, lowest, highest = min(times), min(values), max(values)
        if not self.numbers or earliest < self.first_time:
            self.first, self.first_time = values[times.index(earliest)], earliest
        if not self.numbers or latest >= self.last_time:
            self.last, self.last_time = values[len(times) - 1 - times[::-1].index(latest)], latest
        if not self.numbers or lowest < self.min:
            self.min, self.min_step = lowest, steps[values.index(lowest)]
        if not self.numbers or highest > self.max:
            self.max, self.max_step = highest, steps[values.index(highest)]
        self.numbers += len(values)
        self.sum.add(values)

    def merge(self, other: _TagTally) -> None:
        """Count in what another one has counted, as if it came after this one."""
        self.count += other.count
        if other.newest_time >= self.newest_time:
            self.newest_time, self.newest_is_nan = other.newest_time, other.newest_is_nan
        if not other.numbers:
            return
        if not self.numbers or other.first_time < self.first_time:
            self.first, self.first_time = other.first, other.first_time
        if not self.numbers or other.last_time >= self.last_time:
            self.last, self.last_time = other.last, other.last_time
        if not self.numbers or other.min < self.min:
            self.min, self.min_step = other.min, other.min_step
        if not self.numbers or other.max > self.max:
            self.max, self.max_step = other.max, other.max_step
        self.numbers += other.numbers
        self.sum.merge(other.sum)

    def to_plain(self) -> dict[str, object]:
        more = {ENDS_IN_NAN: True} if self.newest_is_nan else {}
        if not self.numbers:
            return {**dict.fromkeys(_STATISTICS), "count": self.count, **more}
        return {
            "first": _plain(self.first),
            "last": _plain(self.last),
            "min": _plain(self.min),
            "max": _plain(self.max),
            "mean": _plain(self.sum.mean(self.numbers)),
            "count": self.count,
            "min_step": self.min_step,
            "max_step": self.max_step,
            **more,
        }


def _plain(value: Number) -> object:
    special = special_name(value)
    if special is None:
        return value
    return None if special == "nan" else {"special": special}


class Tally:
    """Keeps the summary of one file while it is written or read: per tag a few numbers, however many points."""

    def __init__(self) -> None:
        self._tags: dict[str, _TagTally] = {}

    def add(self, columns: Columns) -> None:
        """Count further points in."""
        if not columns[0]:
            return
        for tag, part in by_tag(columns):
            tally = self._tags.get(tag)
            if tally is None:
                tally = self._tags[tag] = _TagTally()
            tally.add(part.steps, part.times, part.values)

    @classmethod
    def merged(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the tally of several files; of points of one time the order of the files decides."""
        merged = cls()
        for tally in tallies:
            for tag, one in tally._tags.items():
                merged._tags.setdefault(tag, _TagTally()).merge(one)
        return merged

    def to_plain(self) -> dict[str, object]:
        """Return what ``summary.json`` holds under ``metrics``; strict JSON."""
        plain: dict[str, object] = {tag: tally.to_plain() for tag, tally in self._tags.items() if is_unicode(tag)}
        for tag, tally in self._tags.items():
            if not is_unicode(tag):
                shown = shown_tag(tag)
                while shown in plain:  # somebody's plain tag looks just like it
                    shown += "'"
                plain[shown] = {"exact_tag": exact_tag(tag), **tally.to_plain()}
        return plain


def summarize(folder: str | os.PathLike[str], *, dropped: int = 0) -> dict[str, object]:
    """Return what ``summary.json`` of a run directory should hold, computed from the series themselves."""
    paths = RunDir(folder).metrics_files()
    if sum(rank_of_metrics_file(path.name) is not None for path in paths) > 1:
        recorded = read_series(folder)
        tally = Tally()
        for tag, points in recorded.points.items():
            tally.add(([tag] * len(points.steps), points.steps, points.times, points.values))
        return make_summary(
            tally.to_plain(), sizes=recorded.sizes, dropped=dropped, damaged_lines=recorded.damaged_lines
        )
    tallies: list[Tally] = []
    sizes: dict[str, int] = {}
    damaged_lines = 0
    for path in paths:
        file = SeriesFile(path)
        tallies.append(Tally())
        try:
            for columns in file.read(to_end=True):
                tallies[-1].add(columns)
        except OSError:
            pass  # what could be read counts; the size tells that there is more
        damaged_lines += file.damaged_lines
        sizes[path.name] = file.offset
    metrics = Tally.merged(tallies).to_plain()
    return make_summary(metrics, sizes=sizes, dropped=dropped, damaged_lines=damaged_lines)


def rewrite_summary(folder: str | os.PathLike[str]) -> None:
    """Write ``summary.json`` anew, from the series; for when nobody else writes it any more.

    Raises:
        OSError: it cannot be written.
    """
    path = RunDir(folder).summary_file
    before = read_document(path) or {}
    document = summarize(folder)
    # What never came into the series cannot be counted in them.
    known = {key: before.get(key) for key in ("dropped", "dropped_items")}
    document.update((key, count) for key, count in known.items() if isinstance(count, int))
    write_document(path, document)


def make_summary(
    metrics: dict[str, object], *, sizes: Mapping[str, int] | None, dropped: int, damaged_lines: int
) -> dict[str, object]:
    """Return the document of ``summary.json``.

    Args:
        metrics: of a `Tally`.
        sizes: the bytes of each file that are counted in; None when the summary holds points that no file has.
        dropped: numbers that were recorded and could not be written.
        damaged_lines: lines of the files that hold no record.
    """
    files = None if sizes is None else dict(sizes)
    return {"schema": 1, "metrics": metrics, "dropped": dropped, "damaged_lines": damaged_lines, "files": files}


def is_current_summary(summary: Mapping[str, object], folder: str | os.PathLike[str]) -> bool:
    """Tell whether the document of a ``summary.json`` counts in all that the files of the run hold now.

    Sizes are compared and not times: two writers within one tick of the clock, and copied files, keep their truth.
    """
    try:
        return summary.get("files") == {path.name: path.stat().st_size for path in RunDir(folder).metrics_files()}
    except OSError:
        return False


def parse_metrics(plain: object) -> dict[str, dict[str, Number | None]]:
    """Read the ``metrics`` of a ``summary.json``: by tag ``first``, ``last``, ``min`` and so on, None where all is NaN.

    ``ends_in_nan`` is among them, and True, only where the newest point is NaN.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(plain, dict):
        raise ValueError("no metrics")
    metrics: dict[str, dict[str, Number | None]] = {}
    for shown, fields in plain.items():
        if not isinstance(fields, dict):
            raise ValueError(f"the summary of {shown!r} is damaged")
        numbers: dict[str, Number | None] = {}
        for name in _STATISTICS:
            value = fields.get(name)
            if isinstance(value, dict):
                value = parse_special(value.get("special"))
            if value is not None and not isinstance(value, int | float):
                raise ValueError(f"{name!r} of {shown!r} is damaged")
            numbers[name] = value if value == value else None  # NaN is not what we write
        if fields.get(ENDS_IN_NAN):
            numbers[ENDS_IN_NAN] = True
        metrics[parse_exact_tag(fields["exact_tag"]) if "exact_tag" in fields else shown] = numbers
    return metrics
