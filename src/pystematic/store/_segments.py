"""Reads many runs into segments, packed columns that an index can keep as they are; by two processes if it pays."""

from __future__ import annotations

import gc
import json
import os

from pystematic.store._facts import FIXED, Facts, columns_of
from pystematic.store._packing import pack, unpack
from pystematic.store._query_tree import MISSING
from pystematic.store._reading import Reader, may_fork
from pystematic.store._table import UNSETTLED, Segment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from pystematic.store._facts import Key

SIZE = 2000
# Runs that one process reads while a second one is being made and hands over what it has read.
MOST_ALONE = 2000
# The columns of a segment that say what its rows are, by the names of the attributes.
HEADS = ("names", "changed_ns", "signatures", "kinds")
_NO_FACTS = Facts((None,) * len(FIXED), {}, {}, {})


class PackedSegment(Segment):
    """A segment with its columns as bytes.

    Attributes:
        packed: by the name of a column, see `column_name`; the `HEADS` too.
        is_whole: whether all columns are in ``packed``; else only the heads.
    """

    def __init__(self, number: int, packed: dict[str, bytes], *, is_whole: bool = False) -> None:
        """Read what the rows are.

        Raises:
            ValueError: the bytes are damaged, or belong to another segment.
        """
        try:
            heads = [unpack(packed[name], f"{number} {name}") for name in HEADS]
        except KeyError as error:
            raise ValueError(f"a segment without {error}") from None
        if len({len(head) for head in heads}) != 1:
            raise ValueError("a segment whose columns are of different lengths")
        super().__init__(number, *heads)
        self.packed = packed
        self.is_whole = is_whole

    def column(self, key: Key, packed: dict[str, bytes] | None = None) -> list[Any]:
        """Return the values of a column of ``packed``; `MISSING` where there is none.

        Raises:
            ValueError: the bytes are damaged.
        """
        name = column_name(key)
        data = (self.packed if packed is None else packed).get(name)
        if data is None:
            return [MISSING] * len(self.names)
        values = unpack(data, f"{self.number} {name}")
        if len(values) != len(self.names):
            raise ValueError(f"the column {name} is of another length")
        return values


def column_name(key: Key) -> str:
    """Return a name for the key of a column."""
    return json.dumps(key)


def column_key(name: str) -> Key:
    """Return the key of a column of this name."""
    return tuple(json.loads(name))


def make_segment(heads: Sequence[list[Any]], columns: dict[Key, list[Any]]) -> PackedSegment:
    """Pack columns, of which the first are those of `HEADS`."""
    number = int.from_bytes(os.urandom(8), "little") >> 2  # SQLite holds 63 bits
    packed = {name: pack(values, f"{number} {name}") for name, values in zip(HEADS, heads, strict=True)}
    for key, values in columns.items():
        name = column_name(key)
        packed[name] = pack(values, f"{number} {name}")
    return PackedSegment(number, packed, is_whole=True)


def join_segments(segments: Sequence[PackedSegment]) -> list[PackedSegment]:
    """Return the live rows of segments in fewer ones.

    Raises:
        ValueError: the bytes of one are damaged.
    """
    heads: list[list[Any]] = [[] for _ in HEADS]
    columns: dict[Key, list[Any]] = {}
    count = 0
    for segment in segments:
        rows = segment.live_rows()
        for head, name in zip(heads, HEADS, strict=True):
            values = getattr(segment, name)
            head += [values[row] for row in rows]
        for name in segment.packed:
            if name in HEADS:
                continue
            key = column_key(name)
            column = columns.setdefault(key, [])
            column += [MISSING] * (count - len(column))
            values = segment.column(key)
            column += [values[row] for row in rows]
        count += len(rows)
    for column in columns.values():
        column += [MISSING] * (count - len(column))
    joined = []
    for start in range(0, count, SIZE):
        part = slice(start, start + SIZE)
        joined.append(
            make_segment([head[part] for head in heads], {key: values[part] for key, values in columns.items()})
        )
    return joined


# -- reading ---------------------------------------------------------------------------------------------------------


def read_segments(folder: str, found: Sequence[tuple[str, int]]) -> list[PackedSegment]:
    """Read runs.

    Args:
        folder: absolute.
        found: the relative path and the last change of each directory.
    """
    # By the times of their start, as they are in their names: to put them in order later costs next to nothing then.
    ordered = sorted(found, key=lambda pair: pair[0].rpartition("/")[2])
    by_two = len(ordered) > MOST_ALONE and may_fork()
    count = -(-len(ordered) // SIZE)
    count += by_two and count % 2  # as many for each
    size = -(-len(ordered) // count)
    parts = [ordered[start : start + size] for start in range(0, len(ordered), size)]
    was_enabled = gc.isenabled()
    gc.disable()  # millions of objects, and no cycles
    try:
        if by_two:
            return _read_by_two(folder, parts)
        reader = Reader()
        return [_read_part(reader, folder, part) for part in parts]
    finally:
        if was_enabled:
            gc.enable()


def read_in_order(folder: str, found: Sequence[tuple[str, int]]) -> PackedSegment:
    """Read runs into one segment, the rows in the order of ``found``."""
    return _read_part(Reader(), folder, found)


def read_again(folder: str, segment: PackedSegment) -> None:
    """Read the runs of a segment whose columns are lost; its rows stay what they are."""
    again = read_in_order(folder, list(zip(segment.names, segment.changed_ns, strict=True)))
    segment.packed, segment.number, segment.is_whole = again.packed, again.number, True


def _read_part(reader: Reader, folder: str, part: Sequence[tuple[str, int]]) -> PackedSegment:
    readings = [reader.read(os.path.join(folder, name), changed) for name, changed in part]
    heads: list[list[Any]] = [
        [name for name, _ in part],
        [changed for _, changed in part],
        [reading.signature for reading in readings],
        [reading.kind if reading.is_settled else reading.kind | UNSETTLED for reading in readings],
    ]
    return make_segment(heads, columns_of([reading.facts or _NO_FACTS for reading in readings], MISSING))


def _read_by_two(folder: str, parts: Sequence[Sequence[tuple[str, int]]]) -> list[PackedSegment]:
    """Let a child read every other part; read those by ourselves that it does not hand over whole."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(receiving)
        _hand_over(folder, parts[1::2], sending)
    os.close(sending)
    reader = Reader()
    try:
        ours = [_read_part(reader, folder, part) for part in parts[::2]]
        with open(receiving, "rb") as stream:
            theirs = list(_received(stream))
    finally:
        os.waitpid(pid, 0)
    theirs += [_read_part(reader, folder, part) for part in parts[1::2][len(theirs) :]]
    return [segment for pair in zip(ours, [*theirs, None], strict=False) for segment in pair if segment is not None]


def _hand_over(folder: str, parts: Sequence[Sequence[tuple[str, int]]], sending: int) -> None:
    """Be the child: never returns, and runs nothing of the parent's own ending."""
    import marshal

    code = 1
    try:
        # All is read before the first is sent: the parent, which reads too, empties the pipe only later.
        reader = Reader()
        segments = [_read_part(reader, folder, part) for part in parts]
        with open(sending, "wb") as stream:
            for segment in segments:
                marshal.dump((segment.number, segment.packed), stream)
        code = 0
    finally:
        os._exit(code)


def _received(stream: Any) -> Iterator[PackedSegment]:
    import marshal

    while True:
        try:
            number, packed = marshal.load(stream)
            yield PackedSegment(number, packed, is_whole=True)
        except (EOFError, ValueError, TypeError):  # there are no more, or the child was killed
            return
