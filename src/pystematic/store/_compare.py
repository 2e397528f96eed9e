"""How runs differ: the parameters that vary, and all that the records know. Shows nothing."""

from __future__ import annotations

import json

from pystematic.rundir import SYSTEM_PREFIX, spell_int
from pystematic.store._query_tree import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from pystematic.store._run import Run

DIRECTIONS = ("max", "min")
_COMPARED_NUMBERS = ("last", "min", "max", "count")


def parse_metric(text: str) -> tuple[str, str]:
    """Read ``TAG:max`` or ``TAG:min``; the tag may hold colons of its own.

    Raises:
        ValueError: there is no tag or no direction.
    """
    tag, _, direction = text.rpartition(":")
    if not tag or direction not in DIRECTIONS:
        raise ValueError(f"{text!r} is no metric with a direction. Write TAG:max or TAG:min.")
    return tag, direction


def varying_parameters(runs: Iterable[Run]) -> list[str]:
    """Return the names of the parameters in which runs differ, in the order of their declaration.

    A parameter that only some of the runs have varies; a run without any, as its record of them is damaged, says
    nothing of that. Those of ours that say how a run is started, not what it is (``output_dir``, ``tags``, ``device``
    and so on), are left out.
    """
    left_out = _starting_parameters()
    known = [params for run in runs if (params := run.plain_params)]
    return [name for name in _differing(known) if name not in left_out]


# Two of them that are equal are spelled alike, unlike 0.0 and -0.0.
_COMPARE_EXACTLY = frozenset((str, int, bool, type(None), type(MISSING)))


def varying_columns(columns: Mapping[str, Sequence[Any]]) -> list[str]:
    """Return the same of parameters that stand in columns by their names, ``MISSING`` where a run has none."""
    left_out = _starting_parameters()
    known = _without_empty_rows(columns)
    return [name for name, values in known.items() if name not in left_out and _is_varying(values)]


def _without_empty_rows(columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Leave out runs without any parameter. Most often there is none, and one look at one column shows that."""
    empty: list[int] | None = None
    for values in columns.values():
        rows = range(len(values)) if empty is None else empty
        empty = [row for row in rows if values[row] is MISSING]
        if not empty:
            return columns
    left_out = set(empty or ())
    return {
        name: [value for row, value in enumerate(values) if row not in left_out] for name, values in columns.items()
    }


def _is_varying(values: Sequence[Any]) -> bool:
    """Tell whether a column holds two values that `_text` tells apart. Of 10,000 runs it spells as few as it can."""
    if not values:
        return False
    first = values[0]
    kind = type(first)
    if kind in _COMPARE_EXACTLY and set(map(type, values)) == {kind} and values.count(first) == len(values):
        return False
    text = None if first is MISSING else _text(first)
    return any((None if value is MISSING else _text(value)) != text for value in values)


def _starting_parameters() -> frozenset[str]:
    """Return the names of those of our parameters that say how a run is started, and not what it is."""
    from pystematic.declare import RESERVED_NAMES, framework_groups

    parameters = [parameter for group in framework_groups() for parameter in group.parameters]
    return frozenset(RESERVED_NAMES - {parameter.name for parameter in parameters if parameter.identity})


def diff_runs(runs: Sequence[Run]) -> dict[str, dict[str, list[Any]]]:
    """Return all in which the records of runs differ, and nothing else.

    Returns:
        For each section, ``parameters``, ``code``, ``packages`` and ``metrics``, what differs by name: a list of the
        runs' values in the order of ``runs``, None where a run has none.
    """
    sections: dict[str, list[Mapping[str, Any]]] = {
        "parameters": [run.plain_params for run in runs],
        "code": [_code(run) for run in runs],
        "packages": [_mapping(run.environment.get("packages")) for run in runs],
        "metrics": [_metrics(run) for run in runs],
    }
    decoded = [run.params for run in runs]
    difference: dict[str, dict[str, list[Any]]] = {}
    for section, columns in sections.items():
        shown = decoded if section == "parameters" else columns
        names = _differing(columns)
        if section == "packages":
            names.sort()
        if names:
            difference[section] = {name: [column.get(name) for column in shown] for name in names}
    return difference


def _differing(columns: Sequence[Mapping[str, Any]]) -> list[str]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [name for name in names if len({_text(column[name]) if name in column else None for column in columns}) > 1]


def _text(plain: Any) -> str:
    """Spell a value so that it equals another only if both are the same: ``1`` is not ``1.0``, NaN is NaN."""
    try:
        return json.dumps(plain, sort_keys=True, default=repr)
    except (TypeError, ValueError):  # keys of several types, which a file of a person may have; an endless number
        return spell_int(plain) if isinstance(plain, int) else repr(plain)


def _code(run: Run) -> dict[str, Any]:
    environment = run.environment
    git = _mapping(environment.get("git"))
    python = environment.get("python")
    program = _mapping(run.document.get("program"))
    facts = {
        "commit": git.get("commit"),
        "branch": git.get("branch"),
        "code": run.document.get("code"),
        "program": program.get("module") or program.get("file"),
        "python": _mapping(python).get("version") if isinstance(python, dict) else python,
        "uncommitted changes": _digest(run.patch),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _digest(patch: str) -> str | None:
    if not patch:
        return None
    import hashlib

    digest: Callable[[bytes], Any] = hashlib.sha256
    return f"source.patch {digest(patch.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def _metrics(run: Run) -> dict[str, Any]:
    return {
        f"{tag}:{name}": numbers[name]
        for tag, numbers in run.summary.items()
        for name in _COMPARED_NUMBERS
        if numbers[name] is not None and not tag.startswith(SYSTEM_PREFIX)
    }


def _mapping(plain: object) -> dict[str, Any]:
    return plain if isinstance(plain, dict) else {}
