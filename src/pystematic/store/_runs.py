"""`Runs`: some of the runs below a folder, found when they are asked for. Reads what the index does not know."""

from __future__ import annotations

import abc
import os
from collections.abc import Sequence

from pystematic import rundir
from pystematic.errors import NotFoundError, UsageError
from pystematic.store._compare import parse_metric
from pystematic.store._run import DAMAGED, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, overload

    from pystematic.store._facts import Key
    from pystematic.store._frame import Spread
    from pystematic.store._table import Table

    # From row numbers to those that are left, in their new order.
    Step = Callable[[Table, list[int]], list[int]]

# Of so many runs at most the files are looked at once more before they are handed out.
MOST_LOOKED_AT = 100
ATTEMPTS = 3


class Runs(Sequence[Run]):
    """Runs in the order of their start, the newest last.

        found = pystematic.runs("output").filter("params.learning_rate > 0.01").sort("-metrics['val/accuracy'].max")
        found[0].params, found.values("metrics['val/accuracy'].max")

    Nothing is read before the runs are asked for. They are those of the moment at which the folder was looked at; each
    `Run` itself is current.

    Attributes:
        damaged: how many directories were left out because their ``run.json`` cannot be read.
    """

    def __init__(self, runs: Iterable[Run] = (), *, damaged: int = 0) -> None:
        self._source: _Source = _GivenRuns(runs, damaged)
        self._parent: Runs | None = None
        self._step: Step | None = None
        self._is_filter = False
        # The rows that were found, and in which table; the latter is another one when files have changed since.
        self._found: list[int] | None = None
        self._seen: dict[bool, tuple[Table, list[int]]] = {}

    @classmethod
    def _of(cls, source: _Source) -> Runs:
        made = cls()
        made._source = source
        return made

    def _with(self, step: Step, *, is_filter: bool = False) -> Runs:
        made = Runs._of(self._source)
        made._parent = self
        made._step = step
        made._is_filter = is_filter
        return made

    # -- as a sequence ---------------------------------------------------------------------------------------------

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> Run: ...
        @overload
        def __getitem__(self, index: slice) -> Runs: ...

    def __getitem__(self, index: int | slice) -> Run | Runs:
        if isinstance(index, slice):
            part = index
            return self._with(lambda table, rows: rows[part])
        return self._source.run(self._rows()[index])

    def __iter__(self) -> Iterator[Run]:
        return map(self._source.run, self._rows())

    def __len__(self) -> int:
        return len(self._evaluate(in_order=False) if self._found is None and self._is_choice else self._rows())

    @property
    def damaged(self) -> int:
        """How many directories were left out because their ``run.json`` cannot be read."""
        return self._source.damaged if self._parent is None else 0

    def __repr__(self) -> str:
        damaged = f", {self.damaged} damaged" if self.damaged else ""
        newest = f", newest {self[-1].id}" if len(self) else ""
        return f"<Runs: {len(self)}{newest}{damaged}>"

    def _rows(self) -> list[int]:
        """Return the rows of the runs, in order."""
        if self._found is None:
            for _ in range(ATTEMPTS):
                rows = self._evaluate(in_order=True)
                if len(rows) > MOST_LOOKED_AT or not self._source.look_again(rows):
                    break
            self._found = rows
            self._table = self._source.table
        return self._found

    def _evaluate(self, *, in_order: bool) -> list[int]:
        """Return the rows by the table of now, those of a choice of all runs in any order if that is enough."""
        table = self._source.table
        for known in (in_order, True):
            if known in self._seen and self._seen[known][0] is table:
                return self._seen[known][1]
        if self._parent is None or self._step is None:
            rows = self._source.rows() if in_order else self._source.unordered_rows()
        elif self._is_choice:
            # Putting the few that are left in order costs less than putting all in order before.
            rows = self._step(table, self._parent._evaluate(in_order=False))
            rows = self._source.in_order(rows) if in_order else rows
        else:
            rows = self._step(table, self._parent._evaluate(in_order=True))
        self._seen[in_order] = table, rows
        return rows

    @property
    def _is_choice(self) -> bool:
        """Whether these are some of all runs, in the order of those."""
        return self._parent is None or (self._is_filter and self._parent._is_choice)

    # -- which of them ---------------------------------------------------------------------------------------------

    def filter(self, text: str) -> Runs:
        """Return those that fulfil a filter, such as ``params.learning_rate > 0.01 and 'baseline' in tags``.

        The language is described in ``docs/reference/query-language.md``.

        Raises:
            UsageError: it is no filter. The message shows the text and where it is wrong.
        """
        from pystematic.store._query import parse_query  # a list of all runs needs none of it

        query = parse_query(text)

        def step(table: Table, rows: list[int]) -> list[int]:
            return list(filter(query.compile_columns(table.columns(query.fields)), rows))

        return self._with(step, is_filter=True)

    def sort(self, text: str) -> Runs:
        """Return them in the order of one or more fields, such as ``-metrics['val/accuracy'].max, started_at``.

        A ``-`` reverses its field. What is missing, None or NaN stands last.

        Raises:
            UsageError: it is no sort key. The message shows the text and where it is wrong.
        """
        from pystematic.store._query import parse_sort

        key = parse_sort(text)
        return self._with(lambda table, rows: key.order(table.columns(key.fields), rows))

    def group_by(self, *fields: str) -> list[Group]:
        """Return groups of runs that are equal in these fields, in the order in which they begin.

            for group in runs.group_by("params.learning_rate"):
                print(group.key, group.spread("metrics['val/accuracy'].max"))

        Raises:
            UsageError: one is no field, or none is given.
        """
        from pystematic.store._frame import group_rows
        from pystematic.store._query_tree import MISSING

        if not fields:
            raise UsageError("group_by needs a field, such as 'params.learning_rate'.")
        keys = [parse_field(field) for field in fields]
        rows = self._rows()
        columns = self._table.columns(keys)
        values = [columns[key] for key in keys]
        groups = []
        for members in group_rows(values, rows):
            first = [column[members[0]] for column in values]
            key = {field: None if value is MISSING else value for field, value in zip(fields, first, strict=True)}
            groups.append(Group(key, self._subset(members)))
        return groups

    def _subset(self, rows: Sequence[int]) -> Runs:
        names = frozenset(self._table.names[row] for row in rows)
        return self._with(lambda table, found: [row for row in found if table.names[row] in names], is_filter=True)

    def best(self, metric: str | None = None) -> Run | None:
        """Return the run with the best value ever of ``metric``, as ``TAG:max`` or ``TAG:min``; NaN never wins.

        Args:
            metric: may be left out when the experiments of these runs declare one and the same.

        Returns:
            The earlier one of equals; None when no run has recorded it.

        Raises:
            UsageError: the metric lacks its direction, or none is given or declared.
        """
        if metric is None:
            if not len(self):
                return None
            metric = self._declared_metric()
        try:
            tag, direction = parse_metric(metric)
        except ValueError as error:
            raise UsageError(str(error)) from None
        rows = self._rows()
        column = self._table.column(("metrics", tag, direction))
        rated = [row for row in rows if isinstance(column[row], int | float)]
        if not rated:
            return None
        choose = max if direction == "max" else min
        return self._source.run(choose(rated, key=column.__getitem__))

    def _declared_metric(self) -> str:
        declared = self.declared_metrics()
        if len(declared) != 1:
            found = f"the experiments declare {', '.join(declared)}" if declared else "no experiment here declares one"
            raise UsageError(f"no metric is given, and {found}. Write TAG:max or TAG:min.")
        return declared[0]

    def declared_metrics(self) -> list[str]:
        """Return the metrics that the experiments of these runs declare, in the order of their names."""
        return sorted({metric for metric in self.columns([("metric",)])[("metric",)] if metric})

    # -- what is known of them -------------------------------------------------------------------------------------

    def values(self, field: str) -> list[Any]:
        """Return the value of a field of each run, such as ``params.learning_rate``; None where there is none.

        Times are seconds since 1970.

        Raises:
            UsageError: it is no field.
        """
        from pystematic.store._query_tree import MISSING

        key = parse_field(field)
        return [None if value is MISSING else value for value in self.columns([key])[key]]

    def columns(self, keys: Iterable[Key]) -> dict[Key, list[Any]]:
        """Return the values of each run by the keys of columns, see `Query.fields`; `MISSING` where it has none."""
        rows = self._rows()
        columns = self._table.columns(keys)
        return {key: list(map(column.__getitem__, rows)) for key, column in columns.items()}

    def known_names(self) -> tuple[list[str], list[str]]:
        """Return the names of all parameters and metrics that runs of the folder have."""
        table = self._source.table if self._found is None else self._table
        return table.known_names()

    def recorded_tags(self) -> list[str]:
        """Return the tags of all metrics that one of these runs has recorded."""
        keys = {tag: ("metrics", tag, "count") for tag in self.known_names()[1]}
        columns = self.columns(keys.values())
        return [tag for tag, key in keys.items() if any(isinstance(count, int) for count in columns[key])]

    def to_pandas(self, statistics: Sequence[str] = ("last", "min", "max")) -> Any:
        """Return a pandas DataFrame, one row a run.

        Columns are ``id``, ``status``, ``started_at`` and so on, ``params.NAME`` and ``metrics.TAG.last``.

        Args:
            statistics: which of a metric's become columns.

        Raises:
            UsageError: pandas is not installed, or there is no such statistic.
        """
        from pystematic.store._frame import to_pandas

        return to_pandas(self, statistics)

    def to_polars(self, statistics: Sequence[str] = ("last", "min", "max")) -> Any:
        """Return a polars DataFrame, one row a run; the columns are those of `to_pandas`.

        A parameter whose values are of several types becomes text, as JSON.

        Raises:
            UsageError: polars is not installed, or there is no such statistic.
        """
        from pystematic.store._frame import to_polars

        return to_polars(self, statistics)


class Group:
    """Runs that are equal in some fields, such as the seeds of one setting.

    Attributes:
        key: what they are equal in, by the text of the field; None where they have no value.
        runs: they themselves.
    """

    def __init__(self, key: Mapping[str, Any], runs: Runs) -> None:
        self.key = dict(key)
        self.runs = runs

    @property
    def n(self) -> int:
        """How many runs there are."""
        return len(self.runs)

    def spread(self, field: str) -> Spread:
        """Return mean, sample standard deviation and number of a field, such as ``metrics['val/accuracy'].max``.

        Raises:
            UsageError: it is no field.
        """
        from pystematic.store._frame import spread_of

        return spread_of(self.runs.values(field))

    def metrics(self, statistic: str = "last") -> dict[str, Spread]:
        """Return the same of one statistic of every metric, by tag.

        Raises:
            UsageError: there is no such statistic.
        """
        from pystematic.store._frame import check_statistic, spread_of

        check_statistic(statistic)
        tags = self.runs.known_names()[1]
        columns = self.runs.columns([("metrics", tag, statistic) for tag in tags])
        spreads = {tag: spread_of(columns[("metrics", tag, statistic)]) for tag in tags}
        return {tag: spread for tag, spread in spreads.items() if spread.n}

    def __repr__(self) -> str:
        return f"<Group {', '.join(f'{name}={value!r}' for name, value in self.key.items())}: {self.n} runs>"


def parse_field(text: str) -> Key:
    """Return the key of the column that a field such as ``params.learning_rate`` names.

    Raises:
        UsageError: it is no field, or more than one.
    """
    from pystematic.store._query import parse_sort

    try:
        fields = parse_sort(text).fields
    except UsageError as error:
        raise UsageError(str(error).replace("the sort key is", "the field is", 1)) from None
    if len(fields) != 1 or text.lstrip().startswith("-"):
        raise UsageError(f"{text!r} is not one field. Write one, such as params.learning_rate.")
    (key,) = fields
    return key


def quoted(text: str) -> str:
    """Return a text as it stands in a filter, in quotes."""
    return "'" + "".join(f"\\U{ord(letter):08x}" if letter in "'\\\n\r" else letter for letter in text) + "'"


# -- where runs come from --------------------------------------------------------------------------------------------


class _Source(abc.ABC):
    """Where some runs come from: a table of them, and how each becomes a `Run`.

    Attributes:
        damaged: how many directories hold a damaged ``run.json``.
    """

    damaged = 0

    @property
    @abc.abstractmethod
    def table(self) -> Table:
        """The table that has their rows."""

    def rows(self) -> list[int]:
        """Return the rows of all runs, in order."""
        return self.in_order(self.unordered_rows())

    @abc.abstractmethod
    def unordered_rows(self) -> list[int]:
        """Return the rows of all runs."""

    @abc.abstractmethod
    def in_order(self, rows: list[int]) -> list[int]:
        """Return rows in the order of these runs."""

    @abc.abstractmethod
    def run(self, row: int) -> Run:
        """Return the run of a row."""

    def look_again(self, rows: Sequence[int]) -> bool:
        """Tell whether the files of some runs have changed since; `table` is a new one then."""
        return False


class _GivenRuns(_Source):
    """Runs that somebody has put together; what is known of them is read when it is asked for."""

    def __init__(self, runs: Iterable[Run], damaged: int) -> None:
        self._runs = tuple(runs)
        self._table: Table | None = None
        self.damaged = damaged

    @property
    def table(self) -> Table:
        if self._table is None:
            from pystematic.store._index import table_of

            self._table = table_of(str(run.path) for run in self._runs)
        return self._table

    def unordered_rows(self) -> list[int]:
        return list(range(len(self._runs)))

    def in_order(self, rows: list[int]) -> list[int]:
        return rows

    def run(self, row: int) -> Run:
        return self._runs[row]


class _Folder(_Source):
    """The runs below a folder, as they were when it was looked at."""

    def __init__(self, folder: str, table: Table | None = None) -> None:
        from pystematic.store._index import open_table

        self._folder = folder
        self._table = open_table(folder) if table is None else table
        self._runs: dict[str, Run] = {}
        self.damaged = self._table.damaged

    @property
    def table(self) -> Table:
        return self._table

    def unordered_rows(self) -> list[int]:
        return self._table.unordered_rows

    def in_order(self, rows: list[int]) -> list[int]:
        return self._table.in_order(rows)

    def run(self, row: int) -> Run:
        name = self._table.names[row]
        if name not in self._runs:
            self._runs[name] = Run(self._table.path(row))
        return self._runs[name]

    def look_again(self, rows: Sequence[int]) -> bool:
        from pystematic.store._index import open_table

        changed = self._table.changed_names(rows)
        if changed:
            self._table = open_table(self._folder, reread=changed)
        return bool(changed)


def runs(path: str | os.PathLike[str] = "output") -> Runs:
    """Return the runs below an output folder, the newest last. The folder of one experiment may be given too.

    Directories without a ``run.json`` are no runs yet; those with a damaged one are left out and counted.

    Raises:
        NotFoundError: there is no such folder.
    """
    folder = os.fspath(path)
    if not os.path.isdir(folder):
        raise NotFoundError(f"there is no folder {folder!r} with runs. Give the folder that the runs were written to.")
    if _is_run(folder):
        run = Run(folder)
        return Runs([run]) if run.status != DAMAGED else Runs(damaged=1)
    return Runs._of(_Folder(folder))


def runs_of_table(folder: str, table: Table) -> Runs:
    """Return the runs of a folder as a table knows them that was made of it."""
    return Runs._of(_Folder(folder, table))


def run_directories(folder: str) -> Iterator[str]:
    """Yield the paths of all directories with a ``run.json``, readable or not, at most two levels down.

    The coordinators' folders of sweeps are left out: the runs of a sweep lie with those of their experiment.
    """
    if _is_run(folder):
        yield folder
        return
    for experiment in _folders(folder):
        if os.path.basename(experiment) == rundir.SWEEPS_NAME:
            continue
        if _is_run(experiment):
            yield experiment
            continue
        for directory in _folders(experiment):
            if _is_run(directory):
                yield directory


def _is_run(directory: str) -> bool:
    return os.path.exists(rundir.RunDir(directory).run_file)


def _folders(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if not entry.name.startswith(".") and _is_dir(entry))
    except OSError:  # may not be read, or is gone by now
        return []


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
