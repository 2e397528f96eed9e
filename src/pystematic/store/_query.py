"""The language of filters and sort keys: `Query`, `SortKey`, and what makes them from a text.

Described in `docs/reference/query-language.md`. `_query_parser` knows the grammar, `_query_tree` what a filter means.
"""

from __future__ import annotations

import time

from pystematic._words import did_you_mean
from pystematic.store._query_parser import Parser
from pystematic.store._query_tree import MISSING, Field, order_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pystematic.store._query_tree import Condition, Field, Key

__all__ = ["MISSING", "Query", "SortKey", "check_names", "parse_query", "parse_sort"]

# How many unknown names a hint tells.
HINTED = 5


class Query:
    """A filter of runs.

        query = parse_query("params.learning_rate > 0.01 and 'baseline' in tags")
        query.matches({("params", "learning_rate"): 0.1, ("tags",): ["baseline"]}.__getitem__)

    The values of columns are plain: None, bool, int, float, str, and lists or tuples of these. Whatever else a value
    is, each comparison with it is false. Times are seconds since 1970. A run without tags has an empty list of them.

    Its text is the canonical one: it parses to an equal query, if it is no longer than a filter may be.

    Attributes:
        fields: the keys of the columns that it reads, such as ``("status",)``, ``("error", "type")``,
            ``("params", "optimizer.lr")``, ``("sources", "lr")`` and ``("metrics", "val/accuracy", "max")``.
    """

    def __init__(self, tree: Condition, now: float) -> None:
        fields = set()

        def bind(key: Key) -> Callable[[Callable[[Key], object]], object]:
            fields.add(key)
            return lambda get: get(key)

        self._tree = tree
        self._now = now
        self._test = tree.compile(bind, now)
        self.fields = frozenset(fields)

    def matches(self, get: Callable[[Key], object]) -> bool:
        """Tell whether a run fulfils it; ``get`` returns the run's value in a column, or `MISSING`."""
        return self._test(get)

    def compile_columns(self, columns: Mapping[Key, Sequence[object]]) -> Callable[[int], bool]:
        """Return a function that tells whether the run of a row number fulfils it.

        Args:
            columns: the values of all runs by column, with `MISSING` where a run has none. A column that is not there
                is missing in every run.
        """

        def bind(key: Key) -> Callable[[int], object]:
            column = columns.get(key)
            return (lambda row: MISSING) if column is None else column.__getitem__

        return self._tree.compile(bind, self._now)

    def __str__(self) -> str:
        return str(self._tree)

    def __repr__(self) -> str:
        return f"<Query: {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Query) and other._tree == self._tree

    def __hash__(self) -> int:
        return hash(self._tree)


class SortKey:
    """An order of runs, by one column or several. Its text is the canonical one: it parses to an equal key.

    Attributes:
        fields: the keys of the columns that it reads, as those of a `Query`.
    """

    def __init__(self, terms: Sequence[tuple[Field, bool]]) -> None:
        self._terms = tuple(terms)
        self.fields = frozenset(field.key for field, _ in terms)

    def order(self, columns: Mapping[Key, Sequence[object]], rows: Iterable[int]) -> list[int]:
        """Return the row numbers ``rows`` in this order; equal ones stay as they were.

        Booleans, numbers, texts and lists follow each other; in a reversed order they precede each other. What is
        missing, None or NaN stands last in both.

        Args:
            columns: the values of all runs by column, as for `Query.compile_columns`.
            rows: those to order.
        """
        ordered = list(rows)
        for field, descending in reversed(self._terms):
            column = columns.get(field.key)
            if column is not None:
                ordered = order_rows(ordered, column, descending)
        return ordered

    def __str__(self) -> str:
        return ", ".join(f"{'-' if descending else ''}{field}" for field, descending in self._terms)

    def __repr__(self) -> str:
        return f"<SortKey: {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SortKey) and other._terms == self._terms

    def __hash__(self) -> int:
        return hash(self._terms)


def parse_query(text: str, *, now: float | None = None) -> Query:
    """Read a filter such as ``params.learning_rate > 0.01 and metrics['val/accuracy'].max > 0.9``.

    Args:
        text: as a person wrote it.
        now: what relative times count from, in seconds since 1970; the time of the call when None.

    Raises:
        QueryError: it is no filter. The message shows the text and where it is wrong.
    """
    if now is None:
        now = time.time()
    return Query(Parser("filter", text, now).parse_filter(), now)


def parse_sort(text: str) -> SortKey:
    """Read the fields to sort by, such as ``-metrics['val/accuracy'].max, started_at``; a ``-`` reverses its field.

    Raises:
        QueryError: it is no sort key. The message shows the text and where it is wrong.
    """
    return SortKey(Parser("sort key", text).parse_sort_key())


def field_text(key: Key) -> str:
    """Return how a field is written in a filter or sort key, by the key of its column."""
    return str(Field(key))


def check_names(query: Query | SortKey, known_params: Collection[str], known_tags: Collection[str]) -> str:
    """Return a hint at parameters and metrics that no run has, one a line; an empty text when there are none.

    ``no run has a parameter 'learning_rte'. Did you mean 'learning_rate'?``
    """
    hints: dict[str, None] = {}
    for head, *rest in sorted(query.fields):
        what, known = ("metric", known_tags) if head == "metrics" else ("parameter", known_params)
        if head in ("metrics", "params", "sources") and rest[0] not in known:
            hints[f"no run has a {what} {rest[0]!r}.{did_you_mean(rest[0], known)}"] = None
            if len(hints) == HINTED:
                break
    return "\n".join(hints)
