"""Recorded numbers as lines of `metrics*.jsonl`, one line for each: the writer of the lines beside their reader.

Whatever is wrong with a line costs that line only. Knows no file.
"""

from __future__ import annotations

import json
import math
from operator import itemgetter

from ._tags import exact_tag, is_unicode, parse_exact_tag, shown_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, TypeAlias, TypeGuard

    Number: TypeAlias = int | float
    # Columns of equal length: tags, steps, times (seconds since 1970), values.
    Columns: TypeAlias = tuple[list[str], list[Number], list[float], list[Number]]
    # The number of samples that each point stands for, None where nothing is said.
    Weights: TypeAlias = list[float | None]

REDUCTIONS = ("mean", "sum", "min", "max", "none")
_INT64 = range(-(2**63), 2**63)


def special_name(value: Number) -> str | None:
    """Return the name of what is no finite float64 or int64, or None for an ordinary number."""
    if isinstance(value, int):
        return None if value in _INT64 else spell_int(value)
    if math.isfinite(value):
        return None
    return "nan" if value != value else "inf" if value > 0 else "-inf"


def spell_int(value: int) -> str:
    """Return an int in decimal digits, or as ``0x...`` where they are too many."""
    # Python spells and reads no more than 4300 of them, for their cost.
    return str(value) if value.bit_length() < 14_000 else hex(value)


def parse_special(text: object) -> Number:
    if not isinstance(text, str):
        raise ValueError(f"no special number: {text!r}")
    if text in ("nan", "inf", "-inf"):
        return float(text)
    return int(text, 16 if "0x" in text else 10)


class ScalarFormatter:
    """Writes scalars as lines. ``reduces`` holds, for tags where it is not the mean, how ranks are to be merged."""

    def __init__(self, reduces: Mapping[str, str] | None = None) -> None:
        self._reduces = reduces if reduces is not None else {}
        self._heads = _Heads(self._reduces)

    def format(self, columns: Columns, weights: Weights | None = None) -> bytes:
        """Return one line for each scalar."""
        tags, steps, times, values = columns
        heads = self._heads
        heads.refresh()
        try:
            is_ordinary = all(map(math.isfinite, values))
        except OverflowError:
            is_ordinary = False
        if is_ordinary and int in set(map(type, values)):
            is_ordinary = min(values) > -(2.0**63) and max(values) < 2.0**63
        if not is_ordinary or (weights is not None and None in weights):
            lines = list(map(self._line, tags, steps, times, values, weights or [None] * len(tags)))
        elif weights is None:
            lines = [
                f'{heads[tag]}{step},"time":{time},"value":{value!r}}}\n'
                for tag, step, time, value in zip(tags, steps, _spell_all(times), values, strict=True)
            ]
        else:
            lines = [
                f'{heads[tag]}{step},"time":{time},"value":{value!r},"weight":{weight!r}}}\n'
                for tag, step, time, value, weight in zip(tags, steps, _spell_all(times), values, weights, strict=True)
            ]
        return "".join(lines).encode("ascii")

    def _line(self, tag: str, step: Number, time: float, value: Number, weight: float | None) -> str:
        special = special_name(value)
        shown = repr(value) if special is None else f'null,"special":"{special}"'
        more = "" if weight is None else f',"weight":{weight!r}'
        return f'{self._heads[tag]}{step},"time":{time!r},"value":{shown}{more}}}\n'


def _spell_all(times: list[float]) -> Iterable[str]:
    """Return the times as texts. Scalars come in bursts, and spelling a float costs more than finding it again."""
    different = set(times)
    if 2 * len(different) > len(times):
        return map(repr, times)
    return map({time: repr(time) for time in different}.__getitem__, times)


class _Heads(dict[str, str]):
    """The beginning of a tag's lines, made when the tag is first met."""

    def __init__(self, reduces: Mapping[str, str]) -> None:
        super().__init__()
        self._reduces = reduces
        self._known: dict[str, str] = {}

    def refresh(self) -> None:
        """Forget all when another way to merge was chosen."""
        if self._known != self._reduces:
            self._known = dict(self._reduces)
            self.clear()

    def __missing__(self, tag: str) -> str:
        head = f'{{"tag":{json.dumps(tag)}'
        if not is_unicode(tag):
            head = f'{{"tag":{json.dumps(shown_tag(tag))},"exact_tag":"{exact_tag(tag)}"'
        if tag in self._known:
            head += f',"reduce":{json.dumps(self._known[tag])}'
        head += ',"step":'
        self[tag] = head
        return head


class ParsedLines:
    """What lines hold, in their order."""

    __slots__ = ("columns", "damaged", "weights")

    def __init__(self, columns: Columns, weights: Weights | None = None, damaged: int = 0) -> None:
        self.columns = columns
        self.weights = weights
        self.damaged = damaged

    def extend(self, added: ParsedLines) -> None:
        if self.weights is not None or added.weights is not None:
            count = len(self.columns[0])
            self.weights = (self.weights or [None] * count) + (added.weights or [None] * len(added.columns[0]))
        self.columns[0].extend(added.columns[0])
        self.columns[1].extend(added.columns[1])
        self.columns[2].extend(added.columns[2])
        self.columns[3].extend(added.columns[3])
        self.damaged += added.damaged


class LineParser:
    """Reads lines of one file: many at once where all are ordinary, each by itself where an odd one is among them.

    Attributes:
        reduces: by tag how it is merged, where the lines so far say so.
    """

    # So much is read at once: it stays in the processor's cache, and so many lines pay for an odd one among them.
    PIECE_BYTES = 64 * 1024

    def __init__(self) -> None:
        self.reduces: dict[str, str] = {}

    def parse(self, data: bytes) -> ParsedLines:
        """Return what the lines of ``data`` hold, and how many of them are damaged."""
        if len(data) <= self.PIECE_BYTES:
            return self._parse_piece(data)
        whole = ParsedLines(([], [], [], []))
        begin = 0
        while begin < len(data):
            end = data.rfind(b"\n", begin, begin + self.PIECE_BYTES) + 1
            if not end:
                end = data.find(b"\n", begin) + 1 or len(data)
            whole.extend(self._parse_piece(data[begin:end]))
            begin = end
        return whole

    def _parse_piece(self, piece: bytes) -> ParsedLines:
        return self._parse_ordinary(piece) or self._parse_singly(piece)

    def _parse_ordinary(self, piece: bytes) -> ParsedLines | None:
        """Parse lines of ordinary numbers as one JSON list; None when there are others among them."""
        import orjson

        if not piece.endswith(b"\n"):
            return None
        try:
            lines = orjson.loads(b"[%b]" % piece[:-1].replace(b"\n", b","))
            # Field by field: a tuple for each line is half a second of garbage collection in ten million.
            tags, steps, times, values = (list(map(field, lines)) for field in _FIELDS)
            if len(lines) != piece.count(b"\n") or not _are_ordinary(steps) or not _are_ordinary(values):
                return None
            if set(map(type, times)) != {float} or not _are_texts(tags):
                return None
            weights: Weights | None = None
            if set(map(len, lines)) != {4}:
                more = set().union(*lines) - {"tag", "step", "time", "value"}
                if not more <= {"weight", "reduce", "exact_tag"}:
                    return None
                if "weight" in more:
                    weights = [line.get("weight") for line in lines]
                if more - {"weight"}:
                    tags = list(map(self._read_tag, lines))
        except (ValueError, KeyError, TypeError):
            return None
        if weights and not _are_weights(weights):
            return None
        return ParsedLines((tags, steps, times, values), weights)

    def _parse_singly(self, data: bytes) -> ParsedLines:
        columns: Columns = ([], [], [], [])
        weights: Weights = []
        damaged = 0
        for line in data.split(b"\n"):
            if not line.strip():  # a writer that goes on after trouble starts on a fresh line
                continue
            try:
                scalar = self._read_scalar(json.loads(line.decode()))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                damaged += 1
                continue
            if scalar is not None:
                columns[0].append(scalar[0])
                columns[1].append(scalar[1])
                columns[2].append(scalar[2])
                columns[3].append(scalar[3])
                weights.append(scalar[4])
        return ParsedLines(columns, weights if any(weight is not None for weight in weights) else None, damaged)

    def _read_scalar(self, plain: object) -> tuple[str, Number, float, Number, float | None] | None:
        """Return tag, step, time, value and weight of a line, or None for a record of another kind.

        Raises:
            ValueError, KeyError, TypeError, OverflowError: the line is damaged.
        """
        if not isinstance(plain, dict):
            raise ValueError("no record")
        if "kind" in plain:
            return None
        step, time, value, weight = plain["step"], plain["time"], plain["value"], plain.get("weight")
        if value is None:
            value = parse_special(plain["special"])
        numbers = (step, time, value, 0 if weight is None else weight)
        if not all(isinstance(number, int | float) for number in numbers):
            raise ValueError("a field is of the wrong type")
        if not all(map(math.isfinite, (step, time, numbers[3]))) or numbers[3] < 0:
            raise ValueError("a step, time or weight that is none")
        return self._read_tag(plain), step, float(time), int(value) if isinstance(value, bool) else value, weight

    def _read_tag(self, plain: Mapping[str, object]) -> str:
        tag = plain["tag"]
        if "exact_tag" in plain:
            tag = parse_exact_tag(plain["exact_tag"])
        if not isinstance(tag, str):
            raise TypeError("a tag that is no text")
        if plain.get("reduce") in REDUCTIONS:
            self.reduces[tag] = str(plain["reduce"])
        return tag


_FIELDS = tuple(map(itemgetter, ("tag", "step", "time", "value")))


def _are_texts(tags: Sequence[object]) -> bool:
    # Most often one tag has many lines in a row, and finding that out is half the work.
    return isinstance(tags[0], str) and (tags.count(tags[0]) == len(tags) or set(map(type, tags)) == {str})


def _are_ordinary(numbers: list[Any]) -> TypeGuard[list[Number]]:
    """Return whether these are numbers, and no float among them may be an integer that was too big for orjson."""
    types = set(map(type, numbers))
    return types == {int} or (types <= {int, float} and min(numbers) > -(2**63) and max(numbers) < 2**63)


def _are_weights(weights: Weights) -> bool:
    known = [weight for weight in weights if weight is not None]
    return not known or (_are_ordinary(known) and min(known) >= 0)
