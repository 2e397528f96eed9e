"""Runs as rows of a table, one column a field, for pandas, polars and files; and groups of runs, mean and spread."""

from __future__ import annotations

import json
import math

from pystematic import rundir
from pystematic._record import record
from pystematic.errors import UsageError
from pystematic.store._facts import STATISTICS
from pystematic.store._query_tree import KINDS, MISSING, NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Protocol

    from pystematic.store._facts import Key

    class SomeRuns(Protocol):
        """What is needed of `Runs`."""

        def columns(self, keys: Iterable[Key]) -> dict[Key, list[Any]]: ...
        def known_names(self) -> tuple[list[str], list[str]]: ...


FACTS = (
    *("id", "experiment", "status", "started_at", "ended_at", "duration", "exit_code"),
    *("tags", "note", "parent", "code", "commit", "host", "path"),
)
TIMES = ("started_at", "ended_at")
DEFAULT_STATISTICS = ("last", "min", "max")


def frame_columns(runs: SomeRuns, statistics: Sequence[str] = DEFAULT_STATISTICS) -> dict[str, list[Any]]:
    """Return the facts, parameters and metrics of runs by the names of columns; None where a run has no value.

    A parameter is ``params.NAME``, a metric ``metrics.TAG.last``; what is no Unicode in a name is written as in the
    files of a run, ``\\ud800 (eda080)``. Times are seconds since 1970.

    Raises:
        UsageError: there is no such statistic.
    """
    for statistic in statistics:
        check_statistic(statistic)
    params, tags = runs.known_names()
    keys: dict[str, Key] = {name: (name,) for name in FACTS}
    keys.update((f"params.{shown}", ("params", name)) for name, shown in _shown_names(params).items())
    keys.update(
        (f"metrics.{shown}.{statistic}", ("metrics", tag, statistic))
        for tag, shown in _shown_names(tags).items()
        for statistic in statistics
    )
    columns = runs.columns(keys.values())
    filled = {name: [None if value is MISSING else value for value in columns[key]] for name, key in keys.items()}
    # What no run here has is that of others in the folder.
    return {name: column for name, column in filled.items() if name in FACTS or any(v is not None for v in column)}


def _shown_names(names: Sequence[str]) -> dict[str, str]:
    """Return how names stand in those of columns, which must be Unicode: as tags that are none do in files of a run."""
    shown = {name: name if rundir.is_unicode(name) else rundir.shown_tag(name) for name in names}
    plain = {name for name in names if rundir.is_unicode(name)}
    for name in names:
        while name not in plain and shown[name] in plain:  # somebody's plain one looks just like it
            shown[name] += "'"
    return shown


def check_statistic(name: str) -> None:
    """Refuse what is no statistic of a metric.

    Raises:
        UsageError: it is none.
    """
    if name not in STATISTICS:
        raise UsageError(f"there is no statistic {name!r}. There are {', '.join(STATISTICS)}.")


def to_pandas(runs: SomeRuns, statistics: Sequence[str]) -> Any:
    """Return a DataFrame of runs; see `Runs.to_pandas`."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from None
    columns = frame_columns(runs, statistics)
    frame = pandas.DataFrame({name: pandas.Series(encodable(values)) for name, values in columns.items()})
    for name in TIMES:
        frame[name] = pandas.to_datetime(frame[name], unit="s", utc=True)
    return frame


def to_polars(runs: SomeRuns, statistics: Sequence[str]) -> Any:
    """Return a DataFrame of runs; see `Runs.to_polars`."""
    try:
        import polars
    except ModuleNotFoundError as error:
        if error.name != "polars":
            raise
        raise UsageError("to_polars needs polars, which is not installed: pip install polars") from None
    columns = frame_columns(runs, statistics)
    made = [polars.Series(name, encodable(uniform(values)), strict=False) for name, values in columns.items()]
    frame = polars.DataFrame(made)
    times = [(polars.col(name).cast(polars.Float64) * 1e6).cast(polars.Datetime("us", "UTC")) for name in TIMES]
    return frame.with_columns(times)


def uniform(values: Sequence[Any]) -> list[Any]:
    """Return values of one type, for columns that hold one: numbers stay numbers, mixed ones become their JSON."""
    kinds = {KINDS[type(value)] for value in values if value is not None}
    if kinds <= {NUMBER} and all(
        isinstance(value, float) or -(2**63) <= value < 2**63 for value in values if value is not None
    ):
        return list(values)
    if len(kinds) <= 1 and not any(isinstance(value, dict | list) for value in values):
        return [_spell(value) if kinds <= {NUMBER} and value is not None else value for value in values]
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]


def encodable(values: Sequence[Any]) -> list[Any]:
    """Return values whose texts are Unicode: halves of a character, which no other library takes, are escaped."""
    return [
        value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) and not value.isascii() else value
        for value in values
    ]


def _spell(value: Any) -> str:
    return rundir.spell_int(value) if isinstance(value, int) else str(value)


# -- groups ----------------------------------------------------------------------------------------------------------


@record
class Spread:
    """Some numbers together.

    Attributes:
        mean: None when there are none.
        std: the sample's standard deviation (divided by n - 1); None of fewer than two.
        n: how many there are.
    """

    mean: float | None
    std: float | None
    n: int


def spread_of(values: Iterable[Any]) -> Spread:
    """Return mean, sample standard deviation and number of what are numbers among ``values``."""
    numbers = [value for value in values if KINDS[type(value)] == NUMBER]
    if not numbers:
        return Spread(None, None, 0)
    count = len(numbers)
    mean = _mean(numbers, count)
    if count == 1 or not math.isfinite(mean):
        return Spread(mean, None if count == 1 else math.nan, count)
    try:
        std = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (count - 1))
    except OverflowError:
        std = math.inf
    return Spread(mean, std, count)


def _mean(numbers: Sequence[Any], count: int) -> float:
    try:
        return math.fsum(numbers) / count
    except ValueError:  # infinities of both signs
        return math.nan
    except OverflowError:
        return math.fsum(float(number) / count for number in numbers)


def group_rows(columns: Sequence[Sequence[Any]], rows: Sequence[int]) -> list[list[int]]:
    """Return rows with equal values in all columns together, in the order in which the groups begin."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        groups.setdefault(tuple(_group_key(column[row]) for column in columns), []).append(row)
    return list(groups.values())


def _group_key(value: Any) -> Any:
    kind = KINDS[type(value)]
    if value is None or value is MISSING:
        return None
    if isinstance(value, list | tuple | dict):
        return kind, json.dumps(value, sort_keys=True)
    return kind, "nan" if value != value else value
