"""What the query language knows of a run, taken out of its documents; the same whether the index asks or one `Run`.

Knows neither where facts are kept nor the language itself.
"""

from __future__ import annotations

import datetime
import json

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    # Names a column, as in `_query_tree`.
    Key = tuple[str, ...]
    # By tag, in the order of `STATISTICS`.
    Metrics = dict[str, Sequence[Any]]

STATISTICS = ("first", "last", "min", "max", "mean", "count", "min_step", "max_step")
# The fields of one name that are the same whenever one looks. ``state`` is what the document says of the status: a
# run that says ``running`` may be lost by now. ``pid`` is kept of those only. ``metric`` is the one declared.
FIXED = (
    *("experiment", "state", "note", "host", "parent", "code", "commit", "started_at", "ended_at", "exit_code"),
    *("error.type", "error.message", "tags", "metric", "pid"),
)
DAMAGED = "damaged"
# Levels of lists in a parameter; what is nested more deeply is of no use to a comparison.
DEEPEST = 50
# Bits of the whole numbers that are spelled as numbers; Python refuses to read much longer ones.
MOST_BITS = 10_000
_GIT = b'\n "git": {'
_DECODER = json.JSONDecoder()


class Facts:
    """What is known of one run.

    Attributes:
        fixed: values in the order of `FIXED`.
        params: by name, plain.
        sources: by name, as texts.
        metrics: by tag.
    """

    __slots__ = ("fixed", "metrics", "params", "sources")

    def __init__(
        self, fixed: Sequence[Any], params: Mapping[str, Any], sources: Mapping[str, Any], metrics: Metrics
    ) -> None:
        self.fixed = fixed
        self.params = params
        self.sources = sources
        self.metrics = metrics


def make_facts(
    document: Mapping[str, Any],
    params: Mapping[str, Any],
    labels: Mapping[str, Any],
    metrics: Metrics,
    commit: str | None,
    folder: str,
) -> Facts:
    """Return the facts of a run.

    Args:
        document: of ``run.json``.
        params: plain values, as `plain_params` returns them.
        labels: of ``labels.json``.
        metrics: of `metrics_of`.
        commit: of `commit_of`.
        folder: the name of the folder in which the run's directory lies.
    """
    get = document.get
    experiment, state, error, sources = get("experiment"), get("status"), get("error"), get("sources")
    failure = error if isinstance(error, dict) else {}
    parent, code, metric = get("parent"), get("code"), get("metric")
    fixed = (
        experiment if isinstance(experiment, str) else folder,
        state if isinstance(state, str) else DAMAGED,
        note_of(params, labels),
        _text_or_none(get("host")),
        _text_or_none(parent),
        _text_or_none(code),
        commit,
        parse_time(get("started_at")),
        parse_time(get("ended_at")),
        _number_or_none(get("exit_code")),
        _text_or_none(failure.get("type")),
        _text_or_none(failure.get("message")),
        tags_of(params, labels),
        _text_or_none(metric),
        get("pid") if state == "running" else None,
    )
    return Facts(fixed, params, sources if isinstance(sources, dict) else {}, metrics)


def tags_of(params: Mapping[str, Any], labels: Mapping[str, Any]) -> list[str]:
    """Return the labels given at the start and later, each once."""
    given, later = params.get("tags"), labels.get("tags")
    if given is None and later is None:  # nearly all
        return []
    found: dict[str, None] = {}
    for tags in ((given,) if isinstance(given, str) else given, later):
        if isinstance(tags, list | tuple):
            found.update((tag, None) for tag in tags if isinstance(tag, str))
    return list(found)


def note_of(params: Mapping[str, Any], labels: Mapping[str, Any]) -> str:
    """Return the notes given at the start and later, joined by line ends."""
    notes = (params.get("note"), labels.get("note"))
    if notes == (None, None):  # nearly all
        return ""
    return "\n".join(note for note in notes if isinstance(note, str) and note)


def parse_time(text: object) -> float | None:
    """Return a time of a document in seconds since 1970, None when there is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.datetime.fromisoformat(text)
        return (time.replace(tzinfo=datetime.UTC) if time.tzinfo is None else time).timestamp()
    except (ValueError, OverflowError):
        return None


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number_or_none(value: object) -> int | float | None:
    return value if isinstance(value, int | float) else None


# -- parameters ------------------------------------------------------------------------------------------------------


def plain_params(encoded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a parameters.yaml as None, booleans, numbers, texts and lists; tables stay as they are."""
    return {name: value if type(value) in _PLAIN else _fold(value) for name, value in encoded.items()}


_PLAIN = frozenset((str, float, bool, type(None)))


def plain_value(encoded: Any) -> Any:
    """Return one value of a parameters.yaml as None, a boolean, number, text, list or table."""
    return encoded if type(encoded) in _PLAIN else _fold(encoded)


def _fold(encoded: Any, depth: int = 0) -> Any:
    """Return an encoded value as something that compares: a path is its text, a tuple or set a list."""
    if isinstance(encoded, int) and not isinstance(encoded, bool):
        return encoded if encoded.bit_length() <= MOST_BITS else hex(encoded)
    if depth == DEEPEST:
        return "…"
    if isinstance(encoded, list):
        return [_fold(item, depth + 1) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    kind, value = encoded.get("$type"), encoded.get("value")
    if not isinstance(kind, str):
        return {str(key): _fold(item, depth + 1) for key, item in encoded.items()}
    if kind in ("path", "purepath", "exact", "text"):
        return _fold(value, depth + 1)
    if kind in ("tuple", "set", "frozenset") and isinstance(value, list):
        return [_fold(item, depth + 1) for item in value]
    return _decoded(encoded, depth)


def _decoded(encoded: dict[str, Any], depth: int) -> Any:
    value = rundir.decode(encoded)
    if value is encoded:  # not understood
        return {str(key): _fold(item, depth + 1) for key, item in encoded.items()}
    if hasattr(value, "tolist"):  # numpy's scalars too
        value = value.tolist()
    if value is None or isinstance(value, bool | str | int | float | list):
        return _fold(value, depth + 1)
    return str(value)


# -- metrics ---------------------------------------------------------------------------------------------------------

_NUMBERS = frozenset((int, float, type(None)))


def metrics_of(summary: Mapping[str, Mapping[str, Any]]) -> Metrics:
    """Return what `Run.summary` holds in the order of `STATISTICS`."""
    return {tag: [_bounded(numbers[name]) for name in STATISTICS] for tag, numbers in summary.items()}


def _bounded(number: Any) -> Any:
    if isinstance(number, int) and number.bit_length() > MOST_BITS:
        return float("inf") if number > 0 else float("-inf")
    return number


def metrics_of_document(plain: object) -> Metrics:
    """Return the same from the ``metrics`` of a ``summary.json`` as it is in the file; no NaN may stand there.

    Raises:
        ValueError: it is damaged.
    """
    if not isinstance(plain, dict):
        raise ValueError("no metrics")
    metrics: Metrics = {}
    for tag, fields in plain.items():
        if type(fields) is not dict or "exact_tag" in fields:
            return metrics_of(rundir.parse_metrics(plain))
        numbers = list(map(fields.get, STATISTICS))
        # All that is rare is read by the one who knows the format.
        if not _NUMBERS.issuperset(map(type, numbers)):
            return metrics_of(rundir.parse_metrics(plain))
        metrics[tag] = numbers
    return metrics


# -- code ------------------------------------------------------------------------------------------------------------


def commit_of(environment: bytes) -> str | None:
    """Return the commit that an ``environment.json`` names; None when it names none.

    Written by us, its top-level names stand behind one space on lines of their own, where no text can stand: the
    packages, which are most of it, need not be parsed.
    """
    start = environment.find(_GIT)
    try:
        if start >= 0:
            text = environment[start + len(_GIT) - 1 :].decode()
            git, _ = _DECODER.raw_decode(text)
        elif environment.startswith(b'{\n "schema"'):
            return None
        else:
            document = json.loads(environment)
            git = document.get("git") if isinstance(document, dict) else None
    except (ValueError, RecursionError):
        return None
    commit = git.get("commit") if isinstance(git, dict) else None
    return commit if isinstance(commit, str) else None


# -- columns ---------------------------------------------------------------------------------------------------------


def columns_of(facts: Sequence[Facts], missing: object) -> dict[Key, list[Any]]:
    """Turn facts of runs into columns; a run without a value has ``missing``. All sources together are one column."""
    columns: dict[Key, list[Any]] = {}
    if not facts:
        return columns
    for name, values in zip(FIXED, zip(*[fact.fixed for fact in facts], strict=True), strict=True):
        columns[("fixed", name)] = list(values)
    columns[("sources",)] = [fact.sources for fact in facts]
    rows = [fact.params for fact in facts]
    for name in _names(rows):
        columns[("params", name)] = [row.get(name, missing) for row in rows]
    tallies = [fact.metrics for fact in facts]
    absent = [missing] * len(STATISTICS)
    for tag in _names(tallies):
        numbers = [tally.get(tag, absent) for tally in tallies]
        for statistic, column in zip(STATISTICS, zip(*numbers, strict=True), strict=True):
            columns[("metrics", tag, statistic)] = list(column)
    return columns


def _names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    known = -1
    last: Mapping[str, Any] = {}
    for row in rows:
        # Most runs have the names of the one before them.
        if len(row) != known or row.keys() != last.keys():
            names.update(dict.fromkeys(row))
            known, last = len(row), row
    return list(names)
