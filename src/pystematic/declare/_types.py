"""What a declared type means: how its values are read from text, checked, written down and described.

The contract, and the types of one value. Knows nothing of parameters, sources or command lines.
"""

from __future__ import annotations

import sys

from pystematic._words import did_you_mean, english_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


class BadValueError(ValueError):
    """A value that its type refuses. The text says what was expected, without the value and its source.

    Attributes:
        piece: the part of the value that is wrong, where only a part is; else None.
    """

    def __init__(self, expected: str, piece: object = None) -> None:
        self.piece = piece
        super().__init__(expected)


class ParamType:
    """The contract of a type.

    `parse` reads one text of a person (command line, environment). `check` takes a value from a file or from code:
    text is read as `parse` does, anything else must already fit; nothing is converted that could lose something
    (``3.7`` is no int, ``True`` is no number). Both raise `BadValueError`. `plain` returns what `check` takes back from
    YAML or JSON; it may return values that these formats lack, which the run directory then marks.
    """

    label = "value"
    expected = "a value"
    choices: tuple[str, ...] = ()
    is_flag = False
    is_container = False
    has_commas = False  # whether the text of one value may hold commas of its own
    allows_none = False
    repeatable = True  # whether `check` gives a value back unchanged that it has made before

    def parse(self, text: str) -> Any:
        raise BadValueError(self.expected)

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        """Read the words of one or more uses of an option; the flag of a word tells that it is meant literally."""
        (text, literal) = words[0]
        if len(words) > 1:
            return self._refuse()
        return self.parse_literal(text) if literal else self.parse(text)

    def parse_literal(self, text: str) -> Any:
        """Read a text that stands behind ``=``: it is never None, a list or JSON."""
        return self.parse(text)

    def check(self, value: object) -> Any:
        return self.parse(value) if isinstance(value, str) else self._refuse()

    def is_made(self, value: object) -> bool:
        """Tell whether a value is surely one of this type already; asked of values that can be called."""
        return False

    def plain(self, value: Any) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {}

    def format(self, value: Any) -> str:
        """Write a value as one would type it behind ``--name=``, for help pages and tables."""
        return format_value(value)

    def _refuse(self) -> Any:
        raise BadValueError(self.expected)


def format_value(value: object) -> str:
    """Write a value as a person would type it on the command line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return ",".join(format_value(item) for item in value) if value else "[]"
    if isinstance(value, set | frozenset):
        return ",".join(sorted(format_value(item) for item in value)) if value else "[]"
    if isinstance(value, dict):
        return ",".join(f"{key}={format_value(item)}" for key, item in value.items()) if value else "{}"
    if is_enum(type(value)):
        return str(value.name)  # type: ignore[attr-defined]
    # A function or class among allowed values is called by its name.
    return str(getattr(value, "__name__", value) if callable(value) else value)


def _literal(text: str) -> str:
    return f"={text}" if text.startswith("=") else text


class Text(ParamType):
    label = "text"
    expected = "text"

    def parse(self, text: str) -> str:
        return text if type(text) is str else str.__str__(text)  # a StrEnum or a NumPy text is recorded as text

    def schema(self) -> dict[str, object]:
        return {"type": "string"}

    def format(self, value: Any) -> str:
        return _literal(value)


class Anything(ParamType):
    """No conversion at all: text stays text, other values stay what they are."""

    expected = "anything"

    def parse(self, text: str) -> Any:
        return text

    def check(self, value: object) -> Any:
        return value


class Integer(ParamType):
    label = "int"
    expected = "a whole number"

    def parse(self, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            return int(self._refuse())

    def check(self, value: object) -> int:
        value = _python_number(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value)
        return int(super().check(value))

    def schema(self) -> dict[str, object]:
        return {"type": "integer"}


class Number(ParamType):
    label = "float"
    expected = "a number"

    def parse(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return float(self._refuse())

    def check(self, value: object) -> float:
        value = _python_number(value)
        if isinstance(value, float):
            return float(value)
        if isinstance(value, int) and not isinstance(value, bool):
            try:
                return float(value)
            except OverflowError:
                raise BadValueError("a number that a float can hold") from None
        return float(super().check(value))

    def schema(self) -> dict[str, object]:
        return {"type": "number"}


class ComplexNumber(Number):
    label = "complex"
    expected = "a complex number such as 1+2j"

    def parse(self, text: str) -> complex:  # type: ignore[override]
        try:
            return complex(text.replace(" ", ""))
        except ValueError:
            return complex(self._refuse())

    def check(self, value: object) -> complex:  # type: ignore[override]
        value = _python_number(value)
        if isinstance(value, complex | float | int) and not isinstance(value, bool):
            return complex(value)
        return self.parse(value) if isinstance(value, str) else complex(self._refuse())

    def schema(self) -> dict[str, object]:
        return {"type": "string"}


TRUE_WORDS = frozenset({"true", "yes", "on", "1", "t", "y"})
FALSE_WORDS = frozenset({"false", "no", "off", "0", "f", "n"})


class Boolean(ParamType):
    label = "flag"
    expected = "true or false"
    is_flag = True

    def parse(self, text: str) -> bool:
        word = text.lower()
        if word in TRUE_WORDS:
            return True
        return False if word in FALSE_WORDS else bool(self._refuse())

    def check(self, value: object) -> bool:
        value = _python_number(value)
        return value if isinstance(value, bool) else bool(super().check(value))

    def schema(self) -> dict[str, object]:
        return {"type": "boolean"}


class TrueOrFalse(Boolean):
    """A boolean beside other types in a union, where ``1`` and ``n`` are more likely a number and a text."""

    def parse(self, text: str) -> bool:
        return super().parse(text) if text.lower() in ("true", "false") else bool(self._refuse())


class FlagOrChoice(ParamType):
    """An option that may stand alone or carry one of some words: ``--dry-run``, ``--dry-run=json``."""

    is_flag = True

    def __init__(self, *choices: str) -> None:
        self.choices = choices
        self.label = "|".join(choices)
        self.expected = f"nothing, or {english_list(choices, 'or')}"

    def parse(self, text: str) -> str | None:
        word = text.lower()
        if word in self.choices:
            return word
        if word in TRUE_WORDS:
            return self.choices[0]
        return None if word in FALSE_WORDS else str(self._refuse())

    def check(self, value: object) -> str | None:
        if value is None or value is False:
            return None
        return self.choices[0] if value is True else super().check(value)

    def schema(self) -> dict[str, object]:
        return {"enum": [*self.choices, None]}


class Duration(Number):
    """A time span in seconds; text may carry units."""

    label = "duration"
    expected = "a duration such as 30s, 10m or 2h"

    def parse(self, text: str) -> float:
        from pystematic._words import parse_duration

        try:
            return parse_duration(text)
        except ValueError:
            return float(self._refuse())

    def check(self, value: object) -> float:
        seconds = super().check(value)
        return seconds if 0 <= seconds < float("inf") else float(self._refuse())

    def schema(self) -> dict[str, object]:
        return {"type": ["number", "string"]}

    def format(self, value: Any) -> str:
        return _format_seconds(value)


class FilePath(ParamType):
    label = "path"
    expected = "a path"

    def __init__(self, cls: Callable[[str], Any]) -> None:
        self._cls = cls

    def parse(self, text: str) -> Any:
        if "\0" in text:
            raise BadValueError("a path, which cannot hold the character NUL")
        return self._cls(text)

    def check(self, value: object) -> Any:
        return self.parse(str(value)) if hasattr(value, "__fspath__") else super().check(value)

    def plain(self, value: Any) -> object:
        return str(value)

    def schema(self) -> dict[str, object]:
        return {"type": "string", "format": "path"}

    def format(self, value: Any) -> str:
        return _literal(str(value))


class Choice(ParamType):
    """One of a few given values of any kind; text is compared with how each value is written, case only if need be."""

    def __init__(self, values: Iterable[object], spelled: Iterable[str] | None = None) -> None:
        self.values = _without_repetitions(values)
        self.choices = tuple(format_value(value) for value in self.values) if spelled is None else tuple(spelled)
        self.label = "|".join(self.choices)
        self.expected = f"{'' if len(self.choices) < 2 else 'one of '}{english_list(self.choices, 'or')}"
        self.allows_none = any(value is None for value in self.values)

    def parse(self, text: str) -> Any:
        for spell in (str, str.lower, _loose):
            found = [i for i, choice in enumerate(self.choices) if spell(choice) == spell(text)]
            if len(found) == 1:
                return self.values[found[0]]
        try:
            number = float(text)
        except ValueError:
            number = None
        for own in self.values:  # 1e-3 is 0.001
            if isinstance(own, int | float) and not isinstance(own, bool) and own == number:
                return own
        raise BadValueError(f"{self.expected}.{did_you_mean(text, self.choices)}".removesuffix("."))

    def check(self, value: object) -> Any:
        for own in self.values:
            if type(own) is type(value) and own == value:
                return own
        for own in self.values:
            if not isinstance(value, bool) and not isinstance(own, bool) and is_equal(own, value):
                return own
        if isinstance(value, str):
            return self.parse(value)
        return self._refuse()

    def is_made(self, value: object) -> bool:
        return any(value is own for own in self.values)

    def plain(self, value: Any) -> object:
        return value if isinstance(value, str | int | float | bool | None) else self._spelled(value)

    def schema(self) -> dict[str, object]:
        return {"enum": [self.plain(value) for value in self.values]}

    def format(self, value: Any) -> str:
        return self._spelled(value)

    def _spelled(self, value: object) -> str:
        for own, choice in zip(self.values, self.choices, strict=True):
            if own is value or is_equal(own, value):
                return choice
        return format_value(value)


class EnumMember(Choice):
    """A member of an `enum.Enum`, by its name or by its value."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        super().__init__(tuple(cls), (member.name for member in cls))

    def parse(self, text: str) -> Any:
        if text in self._cls.__members__:  # other names of a member too
            return self._cls[text]
        for member in self._cls:
            if format_value(member.value) == text:
                return member
        return super().parse(text)

    def check(self, value: object) -> Any:
        if isinstance(value, self._cls):
            return value
        if not isinstance(value, str):
            for member in self._cls:
                if type(member.value) is type(value) and member.value == value:
                    return member
        return super().check(value)

    def plain(self, value: Any) -> object:
        return str(value.name) if isinstance(value, self._cls) else value


class Iso(ParamType):
    """datetime, date or time, written as in ISO 8601."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        self.label = cls.__name__
        example = {"datetime": "2026-01-31T12:00:00", "date": "2026-01-31", "time": "12:00:00"}.get(cls.__name__, "")
        self.expected = f"a {cls.__name__} such as {example}"

    def parse(self, text: str) -> Any:
        try:
            return self._cls.fromisoformat(text)
        except ValueError:
            return self._refuse()

    def check(self, value: object) -> Any:
        return value if type(value) is self._cls else super().check(value)

    def plain(self, value: Any) -> object:
        return value.isoformat()

    def schema(self) -> dict[str, object]:
        return {"type": "string", "format": {"datetime": "date-time"}.get(self.label, self.label)}

    def format(self, value: Any) -> str:
        return str(value.isoformat())


class TimeSpan(Duration):
    """`datetime.timedelta`; as text a duration, in files a duration or seconds."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def parse(self, text: str) -> Any:
        return self._span(super().parse(text))

    def check(self, value: object) -> Any:
        if isinstance(value, self._cls):
            return value
        return self.parse(value) if isinstance(value, str) else self._span(super().check(value))

    def plain(self, value: Any) -> object:
        return value.total_seconds()

    def _span(self, seconds: float) -> Any:
        try:
            return self._cls(seconds=seconds)
        except OverflowError:
            raise BadValueError("a duration of less than three million years") from None

    def format(self, value: Any) -> str:
        return _format_seconds(value.total_seconds())


class Bytes(ParamType):
    label = "bytes"
    expected = "text or bytes"

    def parse(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogateescape")

    def check(self, value: object) -> bytes:
        return value if isinstance(value, bytes) else self.parse(value) if isinstance(value, str) else self._refuse()

    def format(self, value: Any) -> str:
        return _literal(value.decode("utf-8", "surrogateescape"))


class Converted(ParamType):
    """Any callable from text.

    Numbers of a file are given to it as they are written, so that it may refuse them as it would refuse the words of
    a command line. Other values are taken as they are, since only the callable knows what it makes; a class makes
    instances of itself.
    """

    repeatable = False

    def __init__(self, convert: Callable[[str], Any]) -> None:
        self.convert = convert
        name = getattr(convert, "__name__", type(convert).__name__)
        self.label = "value" if name == "<lambda>" else name
        self.expected = f"what {self.label} accepts" if name != "<lambda>" else "a value that its type accepts"

    def parse(self, text: str) -> Any:
        try:
            return self.convert(text)
        except Exception as error:  # whatever a user's converter raises means: not this value
            raise BadValueError(f"{self.expected} ({type(error).__name__}: {error})") from error

    def check(self, value: object) -> Any:
        if self.is_made(value):
            return value
        number = _python_number(value)
        if isinstance(number, str):
            return self.parse(number)
        if isinstance(number, int | float):
            made = self.parse(str(number))
            # A function that leaves text alone has nothing to say of numbers.
            return value if isinstance(made, str) and not isinstance(self.convert, type) else made
        return self._refuse() if value is None or isinstance(self.convert, type) else value

    def is_made(self, value: object) -> bool:
        return isinstance(self.convert, type) and isinstance(value, self.convert)


def _loose(text: str) -> str:
    return text.lower().replace("-", "").replace("_", "")


def _without_repetitions(values: Iterable[object]) -> tuple[object, ...]:
    kept: list[object] = []
    for value in values:
        if not any(own is value or (type(own) is type(value) and is_equal(own, value)) for own in kept):
            kept.append(value)
    return tuple(kept)


def _format_seconds(seconds: float) -> str:
    return f"{int(seconds) if seconds == int(seconds) else seconds}s"


def is_equal(a: object, b: object) -> bool:
    try:
        return bool(a == b)
    except Exception:  # arrays and odd objects: not comparable means not equal
        return False


def _python_number(value: object) -> object:
    """Return NumPy and torch scalars as Python's own numbers; anything else unchanged."""
    if isinstance(value, float | int):
        return value if type(value) in (float, int, bool) or not hasattr(value, "item") else value.item()
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def is_subclass(cls: type, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    base = getattr(loaded, name, None)
    return isinstance(base, type) and issubclass(cls, base)


def is_enum(cls: type) -> bool:
    """Tell whether ``cls`` is an `enum.Enum`, which is not imported to ask."""
    return is_subclass(cls, "enum", "Enum")
