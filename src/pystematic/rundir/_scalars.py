"""Recorded numbers as lines of `metrics*.jsonl`, one line for each: the writer of the lines beside their reader.

Whatever is wrong with a line costs that line only. Knows no file.
"""

from __future__ import annotations

import json
import math
import re

from ._tags import exact_tag, is_unicode, parse_exact_tag, shown_tag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

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
        if value in _INT64:
            return None
        # Python reads no more than 4300 decimal digits, for their cost.
        return str(value) if value.bit_length() < 14_000 else hex(value)
    if math.isfinite(value):
        return None
    return "nan" if value != value else "inf" if value > 0 else "-inf"


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

    def extend(self, other: ParsedLines) -> None:
        count, more = len(self.columns[0]), len(other.columns[0])
        if self.weights is not None or other.weights is not None:
            self.weights = (self.weights or [None] * count) + (other.weights or [None] * more)
        self.columns[0].extend(other.columns[0])
        self.columns[1].extend(other.columns[1])
        self.columns[2].extend(other.columns[2])
        self.columns[3].extend(other.columns[3])
        self.damaged += other.damaged


class LineParser:
    """Reads lines of one file. Lines as `ScalarFormatter` writes them go through in bulk, odd ones one by one.

    Attributes:
        reduces: by tag how it is merged, where the lines so far say so.
    """

    # Of so many tags in one part of a file each is looked for by itself; of more, all by one pattern.
    TAG_LIMIT = 20
    # So many lines pay for one odd line among them.
    LINES_AT_ONCE = 150

    def __init__(self) -> None:
        self.reduces: dict[str, str] = {}
        self._tags: dict[bytes, str] = {}

    def parse(self, data: bytes) -> ParsedLines:
        """Return what the lines of ``data`` hold, and how many of them are damaged."""
        parsed = self._parse_in_bulk(data)
        if parsed is not None:
            return parsed
        lines = data.split(b"\n")
        if len(lines) <= self.LINES_AT_ONCE:
            return self._parse_singly(data)
        whole = ParsedLines(([], [], [], []))
        for i in range(0, len(lines), self.LINES_AT_ONCE):
            part = b"\n".join(lines[i : i + self.LINES_AT_ONCE]) + b"\n"
            whole.extend(self._parse_in_bulk(part) or self._parse_singly(part))
        return whole

    def _parse_in_bulk(self, data: bytes) -> ParsedLines | None:
        """Parse lines of ordinary numbers by turning them into one list of numbers; None when there are others.

        What is left of the lines when all numbers are taken out is compared, so that no damaged one passes. The
        control characters stand in no line that is whole, as JSON has none.
        """
        if not data.endswith(b"}\n") or any(byte in data for byte in b"\1\2\3\4"):
            return None
        count = data.count(b"\n")
        try:
            if len(set(_HEAD.findall(data, 0, _SAMPLE_BYTES))) > self.TAG_LIMIT:
                return self._parse_by_pattern(data, count)
            tags, text = self._take_tags(b"}\n" + data[:-2])
            text = text.replace(b',"time":', b"\2").replace(b',"value":', b"\3")
            has_weights = b',"weight":' in text
            if has_weights:
                text = text.replace(b',"weight":', b"\4")
            line = b"\1,\2\3" if len(tags) > 1 else b"\1\2\3"
            if text.translate(None, b"0123456789+-.eE") != (line + b"\4" if has_weights else line) * count:
                return None
            numbers = json.loads(f"[{text[1:].translate(_TO_COMMAS).decode()}]")
            if not math.isfinite(sum(numbers)) and not all(map(math.isfinite, numbers)):
                return None
        except (ValueError, OverflowError, KeyError, TypeError):
            return None
        width = 3 + (len(tags) > 1) + has_weights
        named = [tags[0]] * count if len(tags) == 1 else list(map(tags.__getitem__, numbers[0::width]))
        steps, times, values = (numbers[i + (len(tags) > 1) :: width] for i in range(3))
        if set(map(type, times)) != {float}:
            times = list(map(float, times))
        weights = numbers[width - 1 :: width] if has_weights else None
        if weights and min(weights) < 0:
            return None
        return ParsedLines((named, steps, times, values), weights)

    def _take_tags(self, text: bytes) -> tuple[list[str], bytes]:
        """Return the tags of lines, and the lines with the number of the tag in its place, if there are several.

        Raises:
            ValueError, KeyError, TypeError: a line begins in another way, or there are too many tags.
        """
        tags: list[str] = []
        while (begin := text.find(b'}\n{"tag":')) >= 0:
            head = text[begin : text.index(b',"step":', begin) + 8]
            tags.append(self._read_head(head[2:]))
            if len(tags) > 2 * self.TAG_LIMIT:
                raise ValueError("too many tags")
            if len(tags) == 2:
                text = text.replace(b"\1", b"\x010,")
            text = text.replace(head, b"\1" if len(tags) == 1 else b"\1%d," % (len(tags) - 1))
        return tags, text

    def _read_head(self, head: bytes) -> str:
        """Return the tag with which a line begins.

        Raises:
            ValueError, KeyError, TypeError: it begins in another way.
        """
        tag = self._tags.get(head)
        if tag is None:
            plain = json.loads(head.decode() + "0}")
            if not plain.keys() <= {"tag", "exact_tag", "reduce", "step"}:
                raise ValueError("more than the head of a line")
            tag = self._tags[head] = self._read_tag(plain)
        return tag

    def _read_tag(self, plain: Mapping[str, object]) -> str:
        tag = plain["tag"]
        if "exact_tag" in plain:
            tag = parse_exact_tag(plain["exact_tag"])
        if not isinstance(tag, str):
            raise TypeError("a tag that is no text")
        if plain.get("reduce") in REDUCTIONS:
            self.reduces[tag] = str(plain["reduce"])
        return tag

    def _parse_by_pattern(self, data: bytes, count: int) -> ParsedLines | None:
        found = _ORDINARY.findall(data)
        if len(found) != count:
            return None
        raw_tags, steps, times, values, weights = zip(*found, strict=True)
        try:
            tags = {raw: self._read_head(raw) for raw in set(raw_tags)}
            columns: Columns = (
                [tags[raw] for raw in raw_tags],
                list(map(int, steps)),
                list(map(float, times)),
                json.loads(b"[%b]" % b",".join(values)),
            )
            if not all(map(math.isfinite, columns[3])):
                return None
            read = [json.loads(weight) if weight else None for weight in weights] if any(weights) else None
        except (ValueError, OverflowError, KeyError, TypeError):
            return None
        return ParsedLines(columns, read)

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


_TO_COMMAS = bytes(44 if byte in (1, 2, 3, 4) else byte for byte in range(256))

# How a line begins, and how much of a part is searched to see how many tags there are.
_HEAD = re.compile(rb'\{"tag":"[^"]*"')
_SAMPLE_BYTES = 4000

# A line as `ScalarFormatter` writes it for an ordinary number.
_ORDINARY = re.compile(
    rb'^(\{"tag":"(?:[^"\\\n]|\\[^\n])*"(?:,"[a-z_]+":"[a-z0-9]+")*,"step":)(0|-?[1-9][0-9]{,17}),'
    rb'"time":([1-9][0-9]*\.[0-9]+),"value":(-?[0-9][-+.0-9e]*)(?:,"weight":([0-9][-+.0-9e]*))?\}$',
    re.MULTILINE,
)
