"""Odd values as JSON-like ones and back: ``{"$type": ..., "value": ...}`` marks what JSON lacks.

`encode` never raises, whatever it is given; `decode` never executes code of a record.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MARK = "$type"
DEEPEST = 100


class StoredText(str):
    """The text of a value that could not be recorded in a way that brings it back."""

    __slots__ = ()


class Exact:
    """A value that was checked already: read back, it is taken as it is, text too."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exact) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(Exact)

    def __repr__(self) -> str:
        return f"Exact({self.value!r})"


class _Masked:
    def __str__(self) -> str:
        return "<masked>"

    __repr__ = __str__

    def __reduce__(self) -> str:
        return "MASKED"


MASKED = _Masked()


def encode(value: object) -> Any:
    """Return ``value`` made of None, bool, int, float, str, list and dict with text keys only.

    What cannot be restored becomes its text, marked so: ``{"$type": "text", "value": ..., "restorable": false}``.
    """
    try:
        return _encode(value, 0, ())
    except Exception:  # an object that raises whatever is asked of it
        return _as_text(value)


def decode(plain: Any) -> Any:
    """Return what `encode` was given; `StoredText` and `MASKED` for what it could not or must not keep.

    A mark that is not understood, or that does not fit its value, stays as it is.
    """
    if isinstance(plain, list):
        return [decode(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    kind = plain.get(MARK)
    if not isinstance(kind, str):
        return {key: decode(item) for key, item in plain.items()}
    try:
        return _DECODERS[kind](plain)
    except Exception:  # a record that was edited by hand
        return plain


def _mark(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {MARK: kind, "value": value, **more}


def _encode(value: Any, depth: int, around: tuple[int, ...]) -> Any:
    cls = type(value)
    if value is None or cls is bool or cls is int:
        return value
    if cls is float:
        return value
    if cls is str:
        return _encode_text(value)
    if value is MASKED:
        return {MARK: "masked"}
    if depth > DEEPEST or id(value) in around:
        return _as_text(value)
    inside = (*around, id(value))

    def each(items: Any) -> list[Any]:
        return [_encode(item, depth + 1, inside) for item in items]

    if cls is list:
        return each(value)
    if cls is dict:
        if all(type(key) is str and _is_plain(key) for key in value) and MARK not in value:
            return {key: _encode(item, depth + 1, inside) for key, item in value.items()}
        return _mark(
            "dict", [[_encode(key, depth + 1, inside), _encode(item, depth + 1, inside)] for key, item in value.items()]
        )
    if cls is tuple:
        return _mark("tuple", each(value))
    if cls is set or cls is frozenset:
        return _mark(cls.__name__, sorted(each(value), key=repr))
    if cls is Exact:
        return _mark("exact", _encode(value.value, depth + 1, inside))
    return _encode_library(value, cls)


def _encode_library(value: Any, cls: type) -> Any:
    if cls is bytes or cls is bytearray:
        import binascii

        return _mark(cls.__name__, binascii.b2a_base64(value, newline=False).decode("ascii"))
    if cls is complex:
        return _mark("complex", [value.real, value.imag])
    if hasattr(value, "__fspath__") and cls.__module__.partition(".")[0] == "pathlib":
        text = str(value)
        return (
            _mark("path", _encode_text(text))
            if "Pure" not in cls.__name__
            else _mark("purepath", _encode_text(text), flavour=cls.__name__)
        )
    if cls.__module__ == "datetime":
        if cls.__name__ == "timedelta":
            return _mark("timedelta", [value.days, value.seconds, value.microseconds])
        if cls.__name__ in ("datetime", "date", "time"):
            return _mark(cls.__name__, value.isoformat())
    if cls.__module__ == "decimal" and cls.__name__ == "Decimal":
        return _mark("decimal", str(value))
    if cls.__module__ == "builtins" and cls.__name__ == "range":
        return _mark("range", [value.start, value.stop, value.step])
    if "numpy" in sys.modules:
        from pystematic.rundir._numpy import encode_numpy

        encoded = encode_numpy(value)
        if encoded is not None:
            return _mark(*encoded)
    return _as_text(value)


def _is_plain(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _encode_text(text: str) -> Any:
    if _is_plain(text):
        return text
    return _mark(
        "surrogates",
        [ord(letter) for letter in text] if len(text) < 10_000 else text.encode("utf-16-be", "surrogatepass").hex(),
    )


def _as_text(value: object) -> dict[str, Any]:
    try:
        text = repr(value)
        text.encode("utf-8")
    except Exception:  # a repr that raises, or is no text that can be written
        text = f"<{type(value).__module__}.{type(value).__qualname__}>"
    return {MARK: "text", "value": text, "restorable": False}


def _decode_surrogates(plain: dict[str, Any]) -> str:
    value = plain["value"]
    if isinstance(value, str):
        return bytes.fromhex(value).decode("utf-16-be", "surrogatepass")
    return "".join(chr(code) for code in value)


def _decode_base64(plain: dict[str, Any]) -> bytes:
    import binascii

    return binascii.a2b_base64(plain["value"])


def _decode_path(plain: dict[str, Any]) -> Any:
    import pathlib

    text = decode(plain["value"])
    if plain[MARK] == "purepath" and plain.get("flavour") in ("PurePosixPath", "PureWindowsPath"):
        return getattr(pathlib, plain["flavour"])(text)
    return pathlib.Path(text)


def _decode_time(plain: dict[str, Any]) -> Any:
    import datetime

    if plain[MARK] == "timedelta":
        days, seconds, microseconds = plain["value"]
        return datetime.timedelta(days, seconds, microseconds)
    classes: dict[str, Any] = {"datetime": datetime.datetime, "date": datetime.date, "time": datetime.time}
    return classes[plain[MARK]].fromisoformat(plain["value"])


def _decode_decimal(plain: dict[str, Any]) -> Any:
    import decimal

    return decimal.Decimal(plain["value"])


def _decode_numpy(plain: dict[str, Any]) -> Any:
    from pystematic.rundir._numpy import decode_numpy

    return decode_numpy(plain[MARK], plain["value"])


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "masked": lambda plain: MASKED,
    "text": lambda plain: StoredText(plain["value"]),
    "exact": lambda plain: Exact(decode(plain["value"])),
    "surrogates": _decode_surrogates,
    "tuple": lambda plain: tuple(decode(item) for item in plain["value"]),
    "set": lambda plain: {decode(item) for item in plain["value"]},
    "frozenset": lambda plain: frozenset(decode(item) for item in plain["value"]),
    "dict": lambda plain: {decode(key): decode(item) for key, item in plain["value"]},
    "bytes": _decode_base64,
    "bytearray": lambda plain: bytearray(_decode_base64(plain)),
    "complex": lambda plain: complex(*plain["value"]),
    "path": _decode_path,
    "purepath": _decode_path,
    "datetime": _decode_time,
    "date": _decode_time,
    "time": _decode_time,
    "timedelta": _decode_time,
    "decimal": _decode_decimal,
    "range": lambda plain: range(*plain["value"]),
    "numpy.scalar": _decode_numpy,
    "numpy.array": _decode_numpy,
}
