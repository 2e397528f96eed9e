"""The table of runs: filtered, sorted, grouped, a window of it; and all of it as CSV."""

from __future__ import annotations

from collections import OrderedDict

from pystematic._record import record
from pystematic.errors import UsageError
from pystematic.store import (
    MISSING,
    QueryError,
    check_names,
    format_columns,
    group_rows,
    parse_field,
    parse_query,
    parse_sort,
    spread_of,
)
from pystematic.web._columns import columns_named, list_columns
from pystematic.web._errors import RequestError
from pystematic.web._json import to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pystematic.store import Runs, Snapshot
    from pystematic.web._schema import Column, Row, Table

    Key = tuple[str, ...]

# What every row has besides its values.
_OWN: tuple[Key, ...] = (("path",), ("status",), ("tags",), ("note",))
# Questions whose runs are kept while nothing changes: one scrolls through the answer.
KEPT = 8
MIXED = "mixed"


@record
class TableQuestion:
    """What is asked of the table; ``columns`` are shown if there are any, else those that are shown unasked."""

    where: str = ""
    sort: str = ""
    group_by: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    offset: int = 0
    limit: int = 200


class TableMaker:
    """Answers questions about one snapshot. Not for several threads at once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._columns: list[Column] | None = None
        self._found: OrderedDict[tuple[str, str], Runs] = OrderedDict()
        self._groups: OrderedDict[tuple[str, str, tuple[str, ...]], list[_Group]] = OrderedDict()

    @property
    def columns(self) -> list[Column]:
        """All columns that there are."""
        if self._columns is None:
            self._columns = list_columns(self.snapshot)
        return self._columns

    def table(self, question: TableQuestion) -> Table:
        """Return a window of the table.

        Raises:
            RequestError: the filter, sort key or a column is not understood.
        """
        # A group is in no order of its own until it is sorted.
        found = self._choose(question.where, "" if question.group_by else question.sort)
        groups = self._group(question, found) if question.group_by else []
        shown = self._shown(question)
        window = slice(question.offset, question.offset + question.limit)
        if question.group_by:
            matching, rows = len(groups), self._group_rows(found, groups[window], shown)
        else:
            matching, rows = len(found), self._run_rows(found[window], shown)
        return {
            "columns": [column for column, _ in shown],
            "total": len(self.snapshot.runs),
            "matching": matching,
            "offset": question.offset,
            "rows": rows,
            "warning": self._warning(question),
        }

    def csv(self, question: TableQuestion) -> bytes:
        """Return all rows as CSV; of groups mean, deviation and number of each metric.

        Raises:
            RequestError: as `table`.
        """
        table = self.table(TableQuestion(question.where, question.sort, question.group_by, question.columns, 0, 10**9))
        out: dict[str, list[Any]] = {}
        labels = _distinct([column["label"] for column in table["columns"]])
        for i, label in enumerate(labels):
            cells = [row["values"][i] for row in table["rows"]]
            if any(_is_spread(cell) for cell in cells):
                for part in ("mean", "std", "n"):
                    out[f"{label} {part}"] = [
                        _csv_cell(cell[part] if _is_spread(cell) else None if part != "mean" else cell)
                        for cell in cells
                    ]
            else:
                out[label] = [_csv_cell(cell) for cell in cells]
        if question.group_by:
            out["n"] = [row.get("n") for row in table["rows"]]
        return format_columns(out, "csv")

    # -- which runs ----------------------------------------------------------------------------------------------

    def _choose(self, where: str, sort: str) -> Runs:
        key = (where, sort)
        if key not in self._found:
            found = self.snapshot.runs
            if where.strip():
                found = _understood("where", found.filter, where)
            if sort.strip():
                found = _understood("sort", found.sort, sort)
            self._found[key] = found
            while len(self._found) > KEPT:
                self._found.popitem(last=False)
        self._found.move_to_end(key)
        return self._found[key]

    def _warning(self, question: TableQuestion) -> str:
        known = self.snapshot.runs.known_names()
        hints = []
        if question.where.strip():
            hints.append(check_names(parse_query(question.where), *known))
        if question.sort.strip():
            hints.append(check_names(parse_sort(question.sort), *known))
        return "\n".join(hint for hint in hints if hint)

    def _shown(self, question: TableQuestion) -> list[tuple[Column, Key]]:
        if question.columns:
            return columns_named(question.columns, self.columns)
        unasked = [column["name"] for column in self.columns if column["shown"]]
        grouped = [name for name in question.group_by if name not in unasked]
        return columns_named([*grouped, *unasked], self.columns)

    # -- runs ----------------------------------------------------------------------------------------------------

    def _run_rows(self, page: Runs, shown: Sequence[tuple[Column, Key]]) -> list[Row]:
        columns = page.columns([*_OWN, *(key for _, key in shown)])
        values = zip(*(map(_cell, columns[key]) for _, key in shown), strict=True) if shown else [()] * len(page)
        paths, statuses, tags, notes = (columns[key] for key in _OWN)
        names = self._names(paths)
        return [
            {"id": name, "status": status, "values": list(cells), "tags": list(labels or ()), "note": note or ""}
            for name, status, cells, labels, note in zip(names, statuses, values, tags, notes, strict=True)
        ]

    def _names(self, paths: Sequence[str]) -> list[str]:
        return [self.snapshot.name_of(path) for path in paths]

    # -- groups --------------------------------------------------------------------------------------------------

    def _group(self, question: TableQuestion, found: Runs) -> list[_Group]:
        key = (question.where, question.sort, question.group_by)
        if key not in self._groups:
            fields = [_understood("group_by", parse_field, name) for name in question.group_by]
            columns = found.columns(fields)
            groups = [_Group(rows) for rows in group_rows([columns[field] for field in fields], range(len(found)))]
            self._groups[key] = _sorted_groups(groups, found, question.sort) if question.sort.strip() else groups
            while len(self._groups) > KEPT:
                self._groups.popitem(last=False)
        return self._groups[key]

    def _group_rows(self, found: Runs, groups: Sequence[_Group], shown: Sequence[tuple[Column, Key]]) -> list[Row]:
        columns = found.columns([*_OWN, *(key for _, key in shown)])
        paths, statuses, tags, _ = (columns[key] for key in _OWN)
        rows: list[Row] = []
        for group in groups:
            states = {statuses[row] for row in group.rows}
            common = set.intersection(*(set(tags[row] or ()) for row in group.rows))
            rows.append(
                {
                    "id": None,
                    "status": states.pop() if len(states) == 1 else MIXED,
                    "values": [_group_cell(column, [columns[key][row] for row in group.rows]) for column, key in shown],
                    "tags": [tag for tag in tags[group.rows[0]] or () if tag in common],
                    "note": "",
                    "n": len(group.rows),
                    "members": self._names([paths[row] for row in group.rows]),
                }
            )
        return rows


@record
class _Group:
    """Row numbers of runs that are one group."""

    rows: list[int]


def _sorted_groups(groups: Sequence[_Group], found: Runs, text: str) -> list[_Group]:
    """Order groups by the mean of a number, by anything else as the first run has it."""
    key = _understood("sort", parse_sort, text)
    columns = found.columns(key.fields)
    of_groups: dict[Key, list[Any]] = {}
    for field, column in columns.items():
        of_groups[field] = []
        for group in groups:
            spread = spread_of(column[row] for row in group.rows)
            of_groups[field].append(column[group.rows[0]] if spread.mean is None else spread.mean)
    return [groups[row] for row in key.order(of_groups, range(len(groups)))]


def _group_cell(column: Column, values: Sequence[Any]) -> Any:
    """Return what runs have in common: the value of all, else the spread of numbers, the latest time, or nothing."""
    has = [value for value in values if value is not MISSING and value is not None]
    if not has:
        return None
    if column["kind"] == "metric" or column["type"] == "duration":
        return _spread(has)
    if len(has) == len(values) and all(type(value) is type(has[0]) and value == has[0] for value in has):
        return to_json(has[0])
    if column["type"] == "time":
        return to_json(max(has))
    return _spread(has) if column["type"] == "number" else None


def _spread(values: Sequence[Any]) -> Any:
    spread = spread_of(values)
    return {"mean": to_json(spread.mean), "std": to_json(spread.std), "n": spread.n}


def _is_spread(cell: Any) -> bool:
    return isinstance(cell, dict) and cell.keys() == {"mean", "std", "n"}


def _cell(value: Any) -> Any:
    return None if value is MISSING else to_json(value)


def _csv_cell(cell: Any) -> Any:
    return cell["special"] if isinstance(cell, dict) and cell.keys() == {"special"} else cell


def _distinct(labels: Sequence[str]) -> list[str]:
    """Return labels such that no two are alike: two columns of one name would be one."""
    found: dict[str, None] = {}
    for label in labels:
        name, number = label, 2
        while name in found:
            name, number = f"{label} ({number})", number + 1
        found[name] = None
    return list(found)


def _understood(field: str, read: Callable[[str], Any], text: str) -> Any:
    """Return what a reader of the query language makes of a text.

    Raises:
        RequestError: it is not understood; says where.
    """
    try:
        return read(text)
    except QueryError as error:
        raise RequestError(400, error.problem, field=field, position=error.position) from None
    except UsageError as error:
        cause = error.__context__
        position = cause.position if isinstance(cause, QueryError) else None
        raise RequestError(400, str(error), field=field, position=position) from None
