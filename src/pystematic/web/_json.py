"""Values of a record as strict JSON: numbers that JSON has none for become `Special`."""

from __future__ import annotations

import json
import math

import orjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PLAIN = frozenset((str, bool, type(None)))
# What a float of JavaScript holds exactly.
MOST_EXACT = 2**53
DEEPEST = 40


def to_json(value: Any, depth: int = 0) -> Any:
    """Return any value as strict JSON; what is neither number, text, list nor table becomes its text."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        return value if math.isfinite(value) else {"special": str(value)}
    if kind is int:
        return value if -MOST_EXACT <= value <= MOST_EXACT else {"special": _digits(value)}
    if depth >= DEEPEST:
        return "…"
    if isinstance(value, list | tuple):
        return [to_json(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((to_json(item, depth + 1) for item in value), key=str)
    if isinstance(value, bool | int | float | str) or hasattr(value, "tolist"):  # a subclass; numpy's
        return to_json(_base(value), depth + 1)
    return str(value)


def _base(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _digits(value: int) -> str:
    """Write an integer; in base 16 where Python refuses to write it in base 10."""
    return str(value) if value.bit_length() < 10_000 else hex(value)


def dump_json(value: object) -> bytes:
    """Return a value that `to_json` has made, or that is made of its parts, as bytes."""
    try:
        return orjson.dumps(value)
    except TypeError:  # half characters, which UTF-8 has none for
        return dump_ascii(value)


def dump_ascii(value: object) -> bytes:
    """Return the same in ASCII."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode("ascii")
