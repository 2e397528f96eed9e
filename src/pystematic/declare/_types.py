"""What a declared type means: how its values are read from text, checked, written down and described.

Knows nothing of parameters, sources or command lines. `type_of` turns an annotation or a callable into a `ParamType`.
"""

from __future__ import annotations

import sys

from pystematic._words import did_you_mean, english_list, kebab, short, snake

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
    allows_none = False
    repeatable = True  # whether `check` gives a value back unchanged that it has made before

    def parse(self, text: str) -> Any:
        raise BadValueError(self.expected)

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        """Read the words of one or more uses of an option; the flag of a word tells that it is meant literally."""
        (text, literal) = words[0]
        return self.parse_literal(text) if literal else self.parse(text)

    def parse_literal(self, text: str) -> Any:
        """Read a text that stands behind ``=``: it is never None, a list or JSON."""
        return self.parse(text)

    def check(self, value: object) -> Any:
        return self.parse(value) if isinstance(value, str) else self._refuse()

    def plain(self, value: Any) -> object:
        return value

    def schema(self) -> dict[str, object]:
        return {}

    def format(self, value: Any) -> str:
        """Write a value as one would type it, for help pages and tables."""
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
    if _is_instance(value, "enum", "Enum"):
        return str(value.name)  # type: ignore[attr-defined]
    return str(value)


class Text(ParamType):
    label = "text"
    expected = "text"

    def parse(self, text: str) -> str:
        return text

    def schema(self) -> dict[str, object]:
        return {"type": "string"}


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
            return value
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
            return value
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

    def schema(self) -> dict[str, object]:
        return {"type": ["number", "string"]}


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
        return self._cls(str(value)) if hasattr(value, "__fspath__") else super().check(value)

    def plain(self, value: Any) -> object:
        return str(value)

    def schema(self) -> dict[str, object]:
        return {"type": "string", "format": "path"}


class Choice(ParamType):
    """One of a few given values of any kind; text is compared with how each value is written, case only if need be."""

    def __init__(self, values: Iterable[object], spelled: Iterable[str] | None = None) -> None:
        self.values = tuple(values)
        self.choices = tuple(format_value(value) for value in self.values) if spelled is None else tuple(spelled)
        self.label = "|".join(self.choices)
        self.expected = f"{'' if len(self.choices) < 2 else 'one of '}{english_list(self.choices, 'or')}"
        self.allows_none = any(value is None for value in self.values)

    def parse(self, text: str) -> Any:
        for spell in (str, str.lower, _loose):
            found = [i for i, choice in enumerate(self.choices) if spell(choice) == spell(text)]
            if len(found) == 1:
                return self.values[found[0]]
        raise BadValueError(f"{self.expected}.{did_you_mean(text, self.choices)}".removesuffix("."))

    def check(self, value: object) -> Any:
        for own in self.values:
            if type(own) is type(value) and own == value:
                return own
        for own in self.values:
            if not isinstance(value, bool) and not isinstance(own, bool) and _equal(own, value):
                return own
        if isinstance(value, str):
            return self.parse(value)
        return self._refuse()

    def plain(self, value: Any) -> object:
        return value if isinstance(value, str | int | float | bool | None) else self._spelled(value)

    def schema(self) -> dict[str, object]:
        return {"enum": [self.plain(value) for value in self.values]}

    def format(self, value: Any) -> str:
        return self._spelled(value)

    def _spelled(self, value: object) -> str:
        for own, choice in zip(self.values, self.choices, strict=True):
            if own is value or _equal(own, value):
                return choice
        return format_value(value)


class EnumMember(Choice):
    """A member of an `enum.Enum`, by its name or by its value."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls
        super().__init__(tuple(cls), (member.name for member in cls))

    def parse(self, text: str) -> Any:
        for member in self._cls:
            if format_value(member.value) == text and text not in self.choices:
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


class OrNone(ParamType):
    """Another type, or None; as text ``none``."""

    allows_none = True

    def __init__(self, inner: ParamType) -> None:
        self.inner = inner
        self.label = inner.label
        self.expected = f"{inner.expected}, or none"
        self.choices = inner.choices
        self.is_flag = inner.is_flag
        self.is_container = inner.is_container
        self.repeatable = inner.repeatable

    def parse(self, text: str) -> Any:
        return None if text.lower() in ("none", "null") else self.inner.parse(text)

    def parse_literal(self, text: str) -> Any:
        return self.inner.parse_literal(text)

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        if len(words) == 1 and not words[0][1] and words[0][0].lower() in ("none", "null"):
            return None
        return self.inner.parse_words(words)

    def check(self, value: object) -> Any:
        return None if value is None else self.inner.check(value)

    def plain(self, value: Any) -> object:
        return None if value is None else self.inner.plain(value)

    def schema(self) -> dict[str, object]:
        return {"anyOf": [self.inner.schema(), {"type": "null"}]}

    def format(self, value: Any) -> str:
        return "none" if value is None else self.inner.format(value)


class OneOf(ParamType):
    """A union. Text goes to the first member that can read it, plain text last; a value keeps the type that it has."""

    def __init__(self, members: Sequence[ParamType]) -> None:
        order = {Boolean: 1, Integer: 2, Number: 3, Text: 9, Anything: 10}
        self.members = tuple(sorted(members, key=lambda member: order.get(type(member), 4)))
        self.label = "|".join(member.label for member in members)
        self.expected = english_list([member.expected for member in members], "or")
        self.is_container = any(member.is_container for member in members)
        self.repeatable = all(member.repeatable for member in members)

    def parse(self, text: str) -> Any:
        return self._first(lambda member: member.parse(text))

    def parse_literal(self, text: str) -> Any:
        return self._first(lambda member: member.parse_literal(text))

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        def read(member: ParamType) -> Any:
            if len(words) > 1 and not member.is_container:
                raise BadValueError(self.expected)
            return member.parse_words(words)

        return self._first(read)

    def check(self, value: object) -> Any:
        for member in self.members:  # a value of exactly this type is left alone: "3" stays text in int | str
            try:
                if type(member.check(value)) is type(value):
                    return member.check(value)
            except BadValueError:
                continue
        return self._first(lambda member: member.check(value))

    def plain(self, value: Any) -> object:
        for member in self.members:
            try:
                if _equal(member.check(value), value):
                    return member.plain(value)
            except BadValueError:
                continue
        return value

    def schema(self) -> dict[str, object]:
        return {"anyOf": [member.schema() for member in self.members]}

    def _first(self, read: Callable[[ParamType], Any]) -> Any:
        for member in self.members:
            try:
                return read(member)
            except BadValueError:
                continue
        return self._refuse()


class Container(ParamType):
    """What lists, tuples, sets and mappings share: words, commas, and JSON."""

    is_container = True

    def parse(self, text: str) -> Any:
        return self.parse_words([(text, False)])

    def parse_literal(self, text: str) -> Any:
        return self.parse_words([(text, True)])

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        if len(words) == 1 and not words[0][1] and words[0][0][:1] in ("[", "{"):
            import json

            try:
                return self.check(json.loads(words[0][0]))
            except json.JSONDecodeError as error:
                raise BadValueError(
                    f"{self.expected} (this begins like JSON, but {error.msg} at {error.pos})"
                ) from None
        pieces: list[tuple[str, bool]] = []
        for text, literal in words:
            pieces.extend([(text, True)] if literal else [(piece, False) for piece in text.split(",")])
        return self.from_pieces(pieces)

    def from_pieces(self, pieces: Sequence[tuple[str, bool]]) -> Any:
        return self._refuse()


def _read_piece(item: ParamType, piece: tuple[str, bool]) -> Any:
    text, literal = piece
    try:
        return item.parse_literal(text) if literal else item.parse(text)
    except BadValueError as error:
        raise BadValueError(str(error), text) from None


def _check_piece(item: ParamType, piece: object) -> Any:
    try:
        return item.check(piece)
    except BadValueError as error:
        raise BadValueError(str(error), piece) from None


class Sequence_(Container):  # noqa: N801 - `Sequence` is the name of the annotation
    """list, set, frozenset or a tuple of any length, of items of one type."""

    def __init__(self, item: ParamType, cls: Callable[[Iterable[Any]], Any]) -> None:
        self.item = item
        self._cls = cls
        self.label = f"{item.label} ..."
        self.choices = item.choices
        self.repeatable = item.repeatable
        self.expected = f"a list, each item {item.expected}"

    def from_pieces(self, pieces: Sequence[tuple[str, bool]]) -> Any:
        return self._build([_read_piece(self.item, piece) for piece in pieces])

    def check(self, value: object) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, list | tuple | set | frozenset | range):
            return self._refuse()
        return self._build([_check_piece(self.item, item) for item in value])

    def plain(self, value: Any) -> object:
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [self.item.plain(item) for item in items]

    def schema(self) -> dict[str, object]:
        return {"type": "array", "items": self.item.schema()}

    def _build(self, items: list[Any]) -> Any:
        try:
            return self._cls(items)
        except TypeError:
            return self._refuse()


class FixedTuple(Container):
    """A tuple with a type for each place."""

    def __init__(self, items: Sequence[ParamType]) -> None:
        self.items = tuple(items)
        self.repeatable = all(item.repeatable for item in items)
        self.label = " ".join(item.label for item in items)
        self.expected = f"{len(self.items)} values ({', '.join(item.label for item in items)})"

    def from_pieces(self, pieces: Sequence[tuple[str, bool]]) -> Any:
        if len(pieces) != len(self.items):
            raise BadValueError(f"{self.expected}, not {len(pieces)}")
        return tuple(_read_piece(item, piece) for item, piece in zip(self.items, pieces, strict=True))

    def check(self, value: object) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, list | tuple):
            return self._refuse()
        if len(value) != len(self.items):
            raise BadValueError(f"{self.expected}, not {len(value)}")
        return tuple(_check_piece(item, part) for item, part in zip(self.items, value, strict=True))

    def plain(self, value: Any) -> object:
        return [item.plain(part) for item, part in zip(self.items, value, strict=True)]

    def schema(self) -> dict[str, object]:
        places: list[object] = [item.schema() for item in self.items]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}


class Mapping_(Container):  # noqa: N801 - `Mapping` is the name of the annotation
    """A dict; as text ``key=value`` words, or JSON."""

    def __init__(self, key: ParamType, value: ParamType) -> None:
        self.key = key
        self.value = value
        self.repeatable = key.repeatable and value.repeatable
        self.label = f"{key.label}={value.label} ..."
        self.expected = f"key=value pairs (key: {key.label}, value: {value.label})"

    def from_pieces(self, pieces: Sequence[tuple[str, bool]]) -> Any:
        pairs: dict[Any, Any] = {}
        for text, literal in pieces:
            key, equals, value = text.partition("=")
            if not equals:
                raise BadValueError(self.expected)
            pairs[_read_piece(self.key, (key, False))] = _read_piece(self.value, (value, literal))
        return pairs

    def check(self, value: object) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, dict):
            return self._refuse()
        return {_check_piece(self.key, key): _check_piece(self.value, item) for key, item in value.items()}

    def plain(self, value: Any) -> object:
        return {self.key.plain(key): self.value.plain(item) for key, item in value.items()}

    def schema(self) -> dict[str, object]:
        return {"type": "object", "additionalProperties": self.value.schema()}


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
        return self._cls(seconds=super().parse(text))

    def check(self, value: object) -> Any:
        if isinstance(value, self._cls):
            return value
        checked = super().check(value) if not isinstance(value, str) else self.parse(value)
        return checked if isinstance(checked, self._cls) else self._cls(seconds=checked)

    def plain(self, value: Any) -> object:
        return value.total_seconds()


class Bytes(ParamType):
    label = "bytes"
    expected = "text or bytes"

    def parse(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogateescape")

    def check(self, value: object) -> bytes:
        return value if isinstance(value, bytes) else self.parse(value) if isinstance(value, str) else self._refuse()


class Converted(ParamType):
    """Any callable from text. What is not text is taken as it is: only the callable knows what it makes."""

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
        if isinstance(self.convert, type) and isinstance(value, self.convert):
            return value
        return self.parse(value) if isinstance(value, str) else value


class Constrained(ParamType):
    """Another type with conditions from `typing.Annotated`."""

    def __init__(self, inner: ParamType, conditions: Sequence[tuple[Callable[[Any], bool], str, dict[str, object]]]):
        self.inner = inner
        self.conditions = tuple(conditions)
        bounds = english_list([text for _, text, _ in self.conditions])
        self.label = inner.label
        self.expected = f"{inner.expected} {bounds}".strip()
        self.note = bounds
        self.choices = inner.choices
        self.is_flag = inner.is_flag
        self.is_container = inner.is_container
        self.allows_none = inner.allows_none
        self.repeatable = inner.repeatable

    def parse(self, text: str) -> Any:
        return self._test(self.inner.parse(text))

    def parse_literal(self, text: str) -> Any:
        return self._test(self.inner.parse_literal(text))

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        return self._test(self.inner.parse_words(words))

    def check(self, value: object) -> Any:
        return self._test(self.inner.check(value))

    def plain(self, value: Any) -> object:
        return self.inner.plain(value)

    def schema(self) -> dict[str, object]:
        schema = dict(self.inner.schema())
        for _, _, keywords in self.conditions:
            schema.update(keywords)
        return schema

    def format(self, value: Any) -> str:
        return self.inner.format(value)

    def _test(self, value: Any) -> Any:
        for holds, _, _ in self.conditions:
            try:
                good = value is None or holds(value)
            except Exception:  # a condition that cannot be asked of the value does not hold
                good = False
            if not good:
                raise BadValueError(self.expected)
        return value


def type_of(annotation: Any) -> ParamType:
    """Return the `ParamType` of an annotation, or of any callable from text.

    Raises:
        TypeError: the annotation is neither; its text says so.
    """
    if isinstance(annotation, ParamType):
        return annotation
    simple = _SIMPLE.get(annotation) if isinstance(annotation, type) else None
    if simple is not None:
        return simple()
    if annotation is None or annotation is object:
        return Anything()
    if isinstance(annotation, type) and not hasattr(annotation, "__origin__"):
        return _type_of_class(annotation)
    if hasattr(annotation, "__supertype__"):  # typing.NewType
        return type_of(annotation.__supertype__)
    if hasattr(annotation, "__value__") and type(annotation).__name__ == "TypeAliasType":
        return type_of(annotation.__value__)
    if hasattr(annotation, "__metadata__"):  # typing.Annotated
        return _constrained(type_of(annotation.__origin__), annotation.__metadata__)
    if hasattr(annotation, "__args__"):
        return _type_of_generic(annotation)
    typing = sys.modules.get("typing")
    if typing is not None and annotation is typing.Any:
        return Anything()
    if callable(annotation):
        return Converted(annotation)
    raise TypeError(f"{short(annotation)} is neither a type nor a callable that takes a text")


_SIMPLE: dict[type, Callable[[], ParamType]] = {
    str: Text,
    int: Integer,
    float: Number,
    bool: Boolean,
    complex: ComplexNumber,
    bytes: Bytes,
    list: lambda: Sequence_(Anything(), list),
    tuple: lambda: Sequence_(Anything(), tuple),
    set: lambda: Sequence_(Anything(), set),
    frozenset: lambda: Sequence_(Anything(), frozenset),
    dict: lambda: Mapping_(Anything(), Anything()),
}


def _type_of_class(cls: type) -> ParamType:
    # A class of these modules exists only where they are imported, so nothing is imported to ask.
    if _is_subclass(cls, "pathlib", "PurePath"):
        return FilePath(cls)
    if _is_subclass(cls, "enum", "Enum"):
        return EnumMember(cls)
    for name in ("datetime", "date", "time"):
        if _is_subclass(cls, "datetime", name):
            return Iso(cls)
    if _is_subclass(cls, "datetime", "timedelta"):
        return TimeSpan(cls)
    if cls is type(None):
        return Choice([None])
    return Converted(cls)


def _type_of_generic(annotation: Any) -> ParamType:
    # An annotation of typing exists only where typing is imported; `list[int]` and `int | None` do without it.
    typing = sys.modules.get("typing")
    origin = getattr(annotation, "__origin__", None)
    arguments = annotation.__args__
    if typing is not None and origin is typing.Literal:
        return Choice(arguments)
    if type(annotation).__name__ in ("UnionType", "Union", "_UnionGenericAlias"):
        return union_of([type_of(argument) for argument in arguments if argument is not type(None)], arguments)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return Sequence_(type_of(arguments[0]), tuple)
        return FixedTuple([type_of(argument) for argument in arguments])
    if origin is type:
        return Anything()
    name = getattr(origin, "__name__", "")
    if origin is dict or name in ("Mapping", "MutableMapping"):
        return Mapping_(type_of(arguments[0]), type_of(arguments[1]))
    if origin in (set, frozenset) or name in ("Set", "MutableSet"):
        return Sequence_(type_of(arguments[0]), frozenset if origin is frozenset else set)
    if origin is list or name in ("Sequence", "MutableSequence", "Iterable", "Collection"):
        return Sequence_(type_of(arguments[0]), list)
    if name == "Callable":
        return Anything()
    if callable(origin):
        return Converted(origin)
    raise TypeError(f"{annotation!r} is not a type that a parameter can have")


def union_of(members: list[ParamType], arguments: Sequence[object]) -> ParamType:
    """Join the types of a union's members; ``arguments`` are its annotations, None's type among them or not."""
    joined = members[0] if len(members) == 1 else OneOf(members)
    return OrNone(joined) if type(None) in arguments else joined


def _constrained(inner: ParamType, metadata: Iterable[Any]) -> ParamType:
    conditions = list(conditions_of(metadata))
    return Constrained(inner, conditions) if conditions else inner


def conditions_of(metadata: Iterable[Any]) -> Iterable[tuple[Callable[[Any], bool], str, dict[str, object]]]:
    """Yield test, wording and JSON Schema keywords of each constraint, told by its attributes.

    So annotated-types, pydantic and msgspec are understood without being imported:
    https://github.com/annotated-types/annotated-types
    """
    for item in metadata:
        inside = getattr(item, "metadata", None)  # pydantic's Field(gt=0) carries annotated-types
        if isinstance(inside, list | tuple):
            yield from conditions_of(inside)
            continue
        for name, (symbol, keyword, test) in _BOUNDS.items():
            bound = getattr(item, name, None)
            if bound is not None and not callable(bound):
                yield _bind(test, bound), f"{symbol} {bound}", {keyword: bound}
        function = getattr(item, "func", None)
        if callable(function):
            yield function, f"for which {getattr(function, '__name__', 'its predicate')} holds", {}


_BOUNDS: dict[str, tuple[str, str, Callable[[Any, Any], bool]]] = {
    "gt": (">", "exclusiveMinimum", lambda value, bound: value > bound),
    "ge": (">=", "minimum", lambda value, bound: value >= bound),
    "lt": ("<", "exclusiveMaximum", lambda value, bound: value < bound),
    "le": ("<=", "maximum", lambda value, bound: value <= bound),
    "multiple_of": ("a multiple of", "multipleOf", lambda value, bound: value % bound == 0),
    "min_length": ("of length >=", "minLength", lambda value, bound: len(value) >= bound),
    "max_length": ("of length <=", "maxLength", lambda value, bound: len(value) <= bound),
}


def _bind(test: Callable[[Any, Any], bool], bound: Any) -> Callable[[Any], bool]:
    return lambda value: test(value, bound)


def _loose(text: str) -> str:
    return snake(kebab(text.lower()))


def _equal(a: object, b: object) -> bool:
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


def _is_subclass(cls: type, module: str, name: str) -> bool:
    loaded = sys.modules.get(module)
    base = getattr(loaded, name, None)
    return isinstance(base, type) and issubclass(cls, base)


def _is_instance(value: object, module: str, name: str) -> bool:
    return _is_subclass(type(value), module, name)
