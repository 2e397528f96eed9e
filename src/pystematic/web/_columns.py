"""Which columns the table can have: the fields of the query language, parameters, metrics."""

from __future__ import annotations

import json

from pystematic.rundir import SYSTEM_PREFIX
from pystematic.store import MISSING, field_text, parse_field, parse_metric, varying_columns
from pystematic.web._errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.store import Snapshot
    from pystematic.web._schema import Column, ColumnType, Statistic

    Key = tuple[str, ...]

# Name, label, type, and whether it is shown when nobody has chosen.
_FIELDS: tuple[tuple[str, str, ColumnType, bool], ...] = (
    ("id", "run", "text", True),
    ("experiment", "experiment", "text", True),
    ("status", "status", "text", True),
    ("started_at", "started", "time", True),
    ("duration", "duration", "duration", True),
    ("tags", "tags", "list", True),
    ("note", "note", "text", False),
    ("ended_at", "ended", "time", False),
    ("sweep", "sweep", "text", False),
    ("host", "host", "text", False),
    ("commit", "commit", "text", False),
    ("code", "code", "text", False),
    ("exit_code", "exit code", "number", False),
    ("error.type", "error", "text", False),
    ("error.message", "message", "text", False),
    ("parent", "parent", "text", False),
    ("path", "path", "text", False),
)
_STATISTICS: tuple[Statistic, ...] = ("last", "min", "max")
# So many metrics are shown unasked.
MOST_METRICS = 12
_TYPES: dict[type, ColumnType] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "text",
    list: "list",
    dict: "list",
}


def list_columns(snapshot: Snapshot) -> list[Column]:
    """Return all columns; those of parameters in the order of their declaration, of metrics in that of recording."""
    runs = snapshot.runs
    params, tags = runs.known_names()
    columns = [_field(*field) for field in _FIELDS]
    values = runs.columns([("params", name) for name in params])
    varying = set(varying_columns({name: values[("params", name)] for name in params if _may_vary(name)}))
    for name in params:
        found = _parameter(name, values[("params", name)], is_shown=name in varying)
        if found is not None:
            columns.append(found)
    declared = {metric for metric in runs.declared_metrics() if _is_metric(metric)}
    shown = [tag for tag in tags if not tag.startswith(SYSTEM_PREFIX)][:MOST_METRICS]
    for tag in tags:
        for statistic in _STATISTICS:
            made = metric_column(tag, statistic)
            made["shown"] = (statistic == "last" and tag in shown) or f"{tag}:{statistic}" in declared
            if f"{tag}:{statistic}" in declared:
                made["direction"] = "max" if statistic == "max" else "min"
            columns.append(made)
    return columns


def _field(name: str, label: str, kind: ColumnType, shown: bool) -> Column:
    return {
        "name": name,
        "label": label,
        "kind": "field",
        "type": kind,
        "varies": True,
        "n_values": None,
        "shown": shown,
    }


def _may_vary(name: str) -> bool:
    return name not in ("tags", "note")  # those have columns of their own, with what was said later


def _parameter(name: str, values: Sequence[Any], *, is_shown: bool) -> Column | None:
    """Return the column of a parameter; None where none of these runs has it."""
    types = set(map(type, values))
    is_missing = type(MISSING) in types
    types.discard(type(MISSING))
    if not types:
        return None
    kinds = {_TYPES.get(kind, "text") for kind in types if kind is not type(None)}
    n_values = _count_distinct(values, types)
    return {
        "name": field_text(("params", name)),
        "label": name,
        "kind": "parameter",
        "type": kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "text",
        "varies": n_values > 1 or is_missing,
        "n_values": n_values,
        "shown": is_shown,
    }


def _count_distinct(values: Sequence[Any], types: set[type]) -> int:
    """Return how many different values there are; 1, 1.0 and True are three. Of 10,000 runs, so at the speed of C."""
    count = 0
    for kind in types:
        own = values if len(types) == 1 else [value for value in values if type(value) is kind]
        own = [value for value in own if value is not MISSING]
        hashable = kind not in (list, dict)
        count += len(set(own)) if hashable else len({json.dumps(value, default=repr) for value in own})
    return count


def _is_metric(text: str) -> bool:
    try:
        parse_metric(text)
    except ValueError:
        return False
    return True


def metric_column(tag: str, statistic: Statistic) -> Column:
    """Return the column of one number of a metric."""
    return {
        "name": field_text(("metrics", tag, statistic)),
        "label": tag if statistic == "last" else f"{tag} {statistic}",
        "kind": "metric",
        "type": "number",
        "varies": True,
        "n_values": None,
        "shown": False,
        "tag": tag,
        "statistic": statistic,
    }


def columns_named(names: Sequence[str], known: Sequence[Column]) -> list[tuple[Column, Key]]:
    """Return the columns of some names, and their keys in the store.

    Raises:
        RequestError: one is no field.
    """
    from pystematic.errors import UsageError

    by_name = {column["name"]: column for column in known}
    found = []
    for name in names:
        try:
            key = parse_field(name)
        except UsageError as error:
            raise RequestError(400, str(error), field="columns") from None
        column = by_name.get(name) or by_name.get(field_text(key)) or _unknown(key)
        found.append((column, key))
    return found


def _unknown(key: Key) -> Column:
    """Return the column of a field that no run has, or that is not offered."""
    if key[0] == "metrics":
        statistic: Any = key[2]
        return metric_column(key[1], statistic)
    return {
        "name": field_text(key),
        "label": key[-1],
        "kind": "parameter" if key[0] == "params" else "field",
        "type": "text",
        "varies": False,
        "n_values": 0,
        "shown": False,
    }
