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
# Levels of lists and tables in what is written; some parsers of YAML and JSON follow only a few hundred.
DEEPEST = 100
# A list that holds another one twice, and so on, is short in memory and endless when it is written out.
MOST_VALUES = 1_000_000
LONGEST_KEY = 100  # characters; one in YAML ends after 1024, and each may need ten
MOST_INT_BITS = 2000  # Python spells and reads longer ones in decimal only where it is told to


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


class _EndlessError(Exception):
    """There are more than `MOST_VALUES`."""


def encode(value: object) -> Any:
    """Return ``value`` made of None, bool, int, float, str, list and dict with text keys only.

    What cannot be restored becomes its text, marked so: ``{"$type": "text", "value": ..., "restorable": false}``. In a
    list or table that is so for each item; one that is too large to be written out becomes text as a whole.
    """
    try:
        return _Encoder().encode(value, 0)
    except _EndlessError:
        return _as_text(value)


def decode(plain: Any) -> Any:
    """Return what `encode` was given; `StoredText` and `MASKED` for what it could not or must not keep.

    A mark that is not understood, or that does not fit its value, stays as it is.
    """
    try:
        return _decode(plain)
    except RecursionError:  # `encode` writes nothing as deep
        return plain


def _decode(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_decode(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    kind = plain.get(MARK)
    if not isinstance(kind, str):
        return {key: _decode(item) for key, item in plain.items()}
    try:
        return _DECODERS[kind](plain)
    except Exception:  # a record that was edited by hand
        return plain


def _mark(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {MARK: kind, "value": value, **more}


class _Encoder:
    def __init__(self) -> None:
        self._left = MOST_VALUES
        self._around: set[int] = set()

    def encode(self, value: Any, depth: int) -> Any:
        """Encode what stands ``depth`` levels deep in what is written."""
        self._left -= 1
        if self._left < 0:
            raise _EndlessError
        cls = type(value)
        if value is None or cls is bool or cls is float:
            return value
        if cls is int:
            return value if value.bit_length() <= MOST_INT_BITS else _mark("int", hex(value))
        if cls is str:
            return _encode_text(value)
        if value is MASKED:
            return {MARK: "masked"}
        if depth >= DEEPEST or id(value) in self._around:
            self._left -= 1000  # about what the text costs
            return _as_text(value)
        self._around.add(id(value))
        try:
            return self._encode_container(value, cls, depth)
        except _EndlessError:
            raise
        except Exception:  # an object that raises whatever is asked of it
            return _as_text(value)
        finally:
            self._around.discard(id(value))

    def _each(self, items: Any, depth: int) -> list[Any]:
        return [self.encode(item, depth) for item in items]

    def _encode_container(self, value: Any, cls: type, depth: int) -> Any:
        if cls is list:
            return self._each(value, depth + 1)
        if cls is dict:
            if MARK not in value and all(map(_is_plain_key, value)):
                return {key: self.encode(item, depth + 1) for key, item in value.items()}
            return _mark("dict", [self._each(pair, depth + 3) for pair in value.items()])
        if cls is tuple:
            return _mark("tuple", self._each(value, depth + 2))
        if cls is set or cls is frozenset:
            return _mark(cls.__name__, sorted(self._each(value, depth + 2), key=repr))
        if cls is Exact:
            return _mark("exact", self.encode(value.value, depth + 1))
        encoded = _encode_library(value, cls)
        return _as_text(value) if encoded is None else encoded


def _encode_library(value: Any, cls: type) -> dict[str, Any] | None:
    module = cls.__module__
    if cls is bytes or cls is bytearray:
        import binascii

        return _mark(cls.__name__, binascii.b2a_base64(value, newline=False).decode("ascii"))
    if cls is complex:
        return _mark("complex", [value.real, value.imag])
    if cls is range:
        return _mark("range", [value.start, value.stop, value.step])
    if module.partition(".")[0] == "pathlib" and hasattr(value, "__fspath__"):
        text = _encode_text(str(value))
        return _mark("purepath", text, flavour=cls.__name__) if "Pure" in cls.__name__ else _mark("path", text)
    if module == "datetime" and cls.__name__ in ("datetime", "date", "time", "timedelta"):
        parts = (value.days, value.seconds, value.microseconds) if cls.__name__ == "timedelta" else None
        marked = _mark(cls.__name__, value.isoformat() if parts is None else list(parts))
        # One in the hour that a zone has twice equals none of another zone.
        return marked if _decode(marked) == value else None
    if module == "decimal" and cls.__name__ == "Decimal":
        return _mark("decimal", str(value))
    if "numpy" in sys.modules:
        from pystematic.rundir._numpy import encode_numpy

        encoded = encode_numpy(value)
        return None if encoded is None else _mark(*encoded)
    return None


def _is_plain_key(key: object) -> bool:
    return type(key) is str and len(key) <= LONGEST_KEY and _is_plain(key)


def _is_plain(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _encode_text(text: str) -> Any:
    if _is_plain(text):
        return text
    return _mark("surrogates", text.encode("utf-8", "surrogatepass").hex())


def _as_text(value: object) -> dict[str, Any]:
    try:
        if type(value) in (list, tuple, dict, set, frozenset):
            import reprlib  # a whole repr of what is too deep or endless would be so too

            text = reprlib.repr(value)
        else:
            text = repr(value)
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    except Exception:  # a repr that raises, or is no text
        text = f"<{type(value).__name__}>".encode("utf-8", "backslashreplace").decode("utf-8")
    return {MARK: "text", "value": text, "restorable": False}


def _text_in(plain: dict[str, Any]) -> str:
    value = plain["value"]
    if not isinstance(value, str):
        raise TypeError("it is written as a text")
    return value


def _list_in(plain: dict[str, Any]) -> list[Any]:
    value = plain["value"]
    if not isinstance(value, list):
        raise TypeError("it is written as a list")
    return value


def _decode_dict(plain: dict[str, Any]) -> dict[Any, Any]:
    pairs = _list_in(plain)
    if not all(isinstance(pair, list) for pair in pairs):
        raise TypeError("it is written as a list of pairs")
    return {_decode(key): _decode(item) for key, item in pairs}


def _decode_base64(plain: dict[str, Any]) -> bytes:
    import binascii

    return binascii.a2b_base64(_text_in(plain), strict_mode=True)


def _decode_path(plain: dict[str, Any]) -> Any:
    import pathlib

    text = _decode(plain["value"])
    if plain[MARK] == "purepath":
        classes = {"PurePosixPath": pathlib.PurePosixPath, "PureWindowsPath": pathlib.PureWindowsPath}
        return classes[plain["flavour"]](text)
    return pathlib.Path(text)


def _decode_time(plain: dict[str, Any]) -> Any:
    import datetime

    if plain[MARK] == "timedelta":
        days, seconds, microseconds = _list_in(plain)
        return datetime.timedelta(days, seconds, microseconds)
    classes: dict[str, Any] = {"datetime": datetime.datetime, "date": datetime.date, "time": datetime.time}
    return classes[plain[MARK]].fromisoformat(_text_in(plain))


def _decode_decimal(plain: dict[str, Any]) -> Any:
    import decimal

    return decimal.Decimal(_text_in(plain))


def _decode_numpy(plain: dict[str, Any]) -> Any:
    from pystematic.rundir._numpy import decode_numpy

    return decode_numpy(plain[MARK], plain["value"])


_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "masked": lambda plain: MASKED,
    "text": lambda plain: StoredText(_text_in(plain)),
    "exact": lambda plain: Exact(_decode(plain["value"])),
    "int": lambda plain: int(_text_in(plain), 16),
    "surrogates": lambda plain: bytes.fromhex(_text_in(plain)).decode("utf-8", "surrogatepass"),
    "tuple": lambda plain: tuple(_decode(_list_in(plain))),
    "set": lambda plain: set(_decode(_list_in(plain))),
    "frozenset": lambda plain: frozenset(_decode(_list_in(plain))),
    "dict": _decode_dict,
    "bytes": _decode_base64,
    "bytearray": lambda plain: bytearray(_decode_base64(plain)),
    "complex": lambda plain: complex(*_list_in(plain)),
    "path": _decode_path,
    "purepath": _decode_path,
    "datetime": _decode_time,
    "date": _decode_time,
    "time": _decode_time,
    "timedelta": _decode_time,
    "decimal": _decode_decimal,
    "range": lambda plain: range(*_list_in(plain)),
    "numpy.scalar": _decode_numpy,
    "numpy.array": _decode_numpy,
}
