"""Columns of values as bytes, small and fast to read: `pack` and `unpack`. Whatever is damaged raises ValueError.

Numbers of one type are an array as the processor holds them, other values JSON; a column of one value is that value.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array

from pystematic.store._query_tree import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# How the values of a column are held.
_FLOATS, _INTS, _JSON, _ONE, _REPEATED = b"d", b"q", b"j", b"1", b"r"
_CRC_SIZE = 4
# Arrays are only read by machines of the same kind; others find the index of another name.
MACHINE = f"{sys.byteorder}-{array('q').itemsize}"


def pack(values: Sequence[Any], name: str) -> bytes:
    """Return a column as bytes.

    Args:
        values: None, booleans, numbers, texts, lists and tables of these, and MISSING.
        name: is asked for again when it is unpacked, so that no column is taken for another one.
    """
    count = len(values)
    mask = b""
    types = set(map(type, values))
    if type(MISSING) in types:
        mask = bytes([value is not MISSING for value in values])
        values = [value for value in values if value is not MISSING]
        types.discard(type(MISSING))
    kind, body = _pack_values(values, types)
    head = kind + count.to_bytes(4, "little") + len(mask).to_bytes(4, "little")
    content = head + mask + body
    return zlib.crc32(content, zlib.crc32(name.encode())).to_bytes(_CRC_SIZE, "little") + content


def _pack_values(values: Sequence[Any], types: set[type]) -> tuple[bytes, bytes]:
    if len(types) == 1:
        (only,) = types
        first = values[0]
        # Not tables, whose values may be of different types; and 0.0 equals -0.0.
        if only not in (list, dict) and values.count(first) == len(values) and (only is not float or first != 0):
            return _pack_json(_ONE, [first])
        if only is float:
            return _FLOATS, array("d", values).tobytes()
        if only is int:
            try:
                return _INTS, array("q", values).tobytes()
            except OverflowError:
                pass
        # Of texts only: tables with 1 and with True are equal.
        if only is dict and all(set(map(type, value.values())) <= {str} for value in values):
            return _pack_repeated(values)
    return _pack_json(_JSON, values)


def _pack_repeated(values: Sequence[Any]) -> tuple[bytes, bytes]:
    """Pack tables of which the next is often like the last: each once, and how often."""
    runs: list[tuple[Any, int]] = []
    for value in values:
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1] + 1)
        else:
            runs.append((value, 1))
    return _pack_json(_REPEATED, runs)


def _pack_json(kind: bytes, values: Sequence[Any]) -> tuple[bytes, bytes]:
    return kind, json.dumps(values, separators=(",", ":")).encode("ascii")


def unpack(data: bytes, name: str) -> list[Any]:
    """Return the values of a column.

    Raises:
        ValueError: these are not the bytes of a column of that name.
    """
    content = data[_CRC_SIZE:]
    if zlib.crc32(content, zlib.crc32(name.encode())).to_bytes(_CRC_SIZE, "little") != data[:_CRC_SIZE]:
        raise ValueError(f"the column {name} is damaged")
    kind = content[:1]
    count, masked = int.from_bytes(content[1:5], "little"), int.from_bytes(content[5:9], "little")
    mask, body = content[9 : 9 + masked], content[9 + masked :]
    present = mask.count(1) if masked else count
    values = _unpack_values(kind, body, present)
    if len(values) != present:
        raise ValueError(f"the column {name} is damaged")
    if not masked:
        return values
    following = iter(values)
    return [next(following) if there else MISSING for there in mask]


def _unpack_values(kind: bytes, body: bytes, count: int) -> list[Any]:
    if kind in (_FLOATS, _INTS):
        numbers = array(kind.decode())
        numbers.frombytes(body)
        return numbers.tolist()
    values: list[Any] = json.loads(body)
    if kind == _ONE:
        return values * count
    if kind == _REPEATED:
        return [value for value, times in values for _ in range(times)]
    return values
