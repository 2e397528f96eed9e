"""Types made of other types: None, unions, lists, tuples, mappings, and conditions on values."""

from __future__ import annotations

from pystematic._words import english_list, short
from pystematic.declare._types import (
    Anything,
    BadValueError,
    Boolean,
    Bytes,
    Converted,
    FilePath,
    Integer,
    Number,
    ParamType,
    Text,
    TrueOrFalse,
    format_value,
    is_equal,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


NONE_WORDS = frozenset({"none", "null"})


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
        self.has_commas = inner.has_commas
        self.repeatable = inner.repeatable

    def parse(self, text: str) -> Any:
        return None if text.lower() in NONE_WORDS else self.inner.parse(text)

    def parse_literal(self, text: str) -> Any:
        return self.inner.parse_literal(text)

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        if len(words) == 1 and not words[0][1] and words[0][0].lower() in NONE_WORDS:
            return None
        return self.inner.parse_words(words)

    def check(self, value: object) -> Any:
        return None if value is None else self.inner.check(value)

    def plain(self, value: Any) -> object:
        return None if value is None else self.inner.plain(value)

    def schema(self) -> dict[str, object]:
        return {"anyOf": [self.inner.schema(), {"type": "null"}]}

    def format(self, value: Any) -> str:
        text = "none" if value is None else self.inner.format(value)
        if value is None or text.lower() not in NONE_WORDS:
            return text
        return format_json(self.inner, value) if self.inner.is_container else f"={text}"


class OneOf(ParamType):
    """A union. Text goes to the first member that can read it, plain text last; a value keeps the type that it has."""

    def __init__(self, members: Sequence[ParamType]) -> None:
        order = {Integer: 1, Number: 2, TrueOrFalse: 3, Converted: 6, FilePath: 7, Bytes: 8, Text: 9, Anything: 10}
        narrowed = [TrueOrFalse() if type(member) is Boolean else member for member in members]
        self.members = tuple(sorted(narrowed, key=lambda member: order.get(type(member), 4)))
        self.label = "|".join(member.label for member in members)
        self.expected = english_list([member.expected for member in members], "or")
        self.is_container = any(member.is_container for member in members)
        self.has_commas = any(member.has_commas for member in members)
        self.repeatable = all(member.repeatable for member in members)

    def parse(self, text: str) -> Any:
        return self.parse_words([(text, False)])

    def parse_literal(self, text: str) -> Any:
        return self.parse_words([(text, True)])

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        (text, literal) = words[0]
        single = len(words) == 1 and (literal or ("," not in text and text[:1] not in ("[", "{")))
        # One word is one value where a member can read it so, several are a list; what is meant literally is text.
        ordered = sorted(self.members, key=lambda member: member.is_container == single)
        if literal:
            ordered.sort(key=lambda member: not isinstance(member, Text))
        return self._first(ordered, lambda member: member.parse_words(words))

    def check(self, value: object) -> Any:
        for member in self.members:  # a value of exactly this type is left alone: "3" stays text in int | str
            try:
                if type(member.check(value)) is type(value):
                    return member.check(value)
            except BadValueError:
                continue
        if isinstance(value, str):
            return self.parse(value)
        return self._first(self.members, lambda member: member.check(value))

    def plain(self, value: Any) -> object:
        member = self._member_of(value)
        return value if member is None else member.plain(value)

    def schema(self) -> dict[str, object]:
        return {"anyOf": [member.schema() for member in self.members]}

    def format(self, value: Any) -> str:
        member = self._member_of(value)
        text = format_value(value) if member is None else member.format(value)
        return f"={text}" if isinstance(value, str) and not self._reads(text, value) else text

    def _member_of(self, value: object) -> ParamType | None:
        for member in self.members:
            try:
                checked = member.check(value)
                if type(checked) is type(value) and is_equal(checked, value):
                    return member
            except BadValueError:
                continue
        return None

    def _reads(self, text: str, value: object) -> bool:
        try:
            return bool(text[:1] == "=" or self.parse(text) == value)
        except BadValueError:
            return False

    def _first(self, members: Iterable[ParamType], read: Callable[[ParamType], Any]) -> Any:
        for member in members:
            try:
                return read(member)
            except BadValueError:
                continue
        return self._refuse()


class Container(ParamType):
    """What lists, tuples, sets and mappings share: words, commas, and JSON.

    A comma separates items, unless the text of one item may hold commas itself; then each word is one item.
    """

    is_container = True
    has_commas = True

    def parse(self, text: str) -> Any:
        return self.parse_words([(text, False)])

    def parse_literal(self, text: str) -> Any:
        return self.parse_words([(text, True)])

    def format(self, value: Any) -> str:
        text = self._format_with_commas(value)
        try:
            if text[:1] not in ("", "=") and self.parse(text) == value:
                return text
        except BadValueError:
            pass
        return format_json(self, value)

    def _format_with_commas(self, value: Any) -> str:
        return format_value(value)


class Sequence_(Container):  # noqa: N801 - `Sequence` is the name of the annotation
    """list, set, frozenset or a tuple of any length, of items of one type."""

    def __init__(self, item: ParamType, cls: Callable[[Iterable[Any]], Any]) -> None:
        self.item = item
        self._cls = cls
        self.label = f"{item.label} ..."
        self.choices = item.choices
        self.repeatable = item.repeatable
        self.expected = f"a list, each item {item.expected}"

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        items: list[Any] = []
        for word in words:
            # Where items have commas, several words that begin with a bracket are as many items.
            if _is_json(word, "[") and (len(words) == 1 or not self.item.has_commas):
                items += self._check_items(read_json(word[0], self.expected))
            else:
                items += [read_piece(self.item, piece) for piece in _pieces([word], self.item.has_commas)]
        return self._build(items)

    def check(self, value: object) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if hasattr(value, "__fspath__"):  # one path is a list of one, as one text is
            value = [value]
        elif hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0:  # an array of NumPy or torch
            value = value.tolist()
        return self._build(self._check_items(value))

    def plain(self, value: Any) -> object:
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [self.item.plain(item) for item in items]

    def schema(self) -> dict[str, object]:
        return {"type": "array", "items": self.item.schema()}

    def _check_items(self, value: object) -> list[Any]:
        if not isinstance(value, list | tuple | set | frozenset | range):
            raise BadValueError(self.expected)
        return [check_piece(self.item, item) for item in value]

    def _build(self, items: list[Any]) -> Any:
        try:
            return self._cls(items)
        except TypeError:
            return self._refuse()

    def _format_with_commas(self, value: Any) -> str:
        items = [self.item.format(item) for item in value]
        return ",".join(sorted(items) if isinstance(value, set | frozenset) else items)


class FixedTuple(Container):
    """A tuple with a type for each place."""

    def __init__(self, items: Sequence[ParamType]) -> None:
        self.items = tuple(items)
        self.repeatable = all(item.repeatable for item in items)
        self.label = " ".join(item.label for item in items)
        self.expected = f"{len(self.items)} values ({', '.join(item.label for item in items)})"

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        if len(words) == 1 and _is_json(words[0], "["):
            return self.check(read_json(words[0][0], self.expected))
        pieces = _pieces(words, any(item.has_commas for item in self.items))
        if len(pieces) != len(self.items):
            raise BadValueError(f"{self.expected}, but {len(pieces)}")
        return tuple(read_piece(item, piece) for item, piece in zip(self.items, pieces, strict=True))

    def check(self, value: object) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, list | tuple):
            return self._refuse()
        if len(value) != len(self.items):
            raise BadValueError(f"{self.expected}, but {len(value)}")
        return tuple(check_piece(item, part) for item, part in zip(self.items, value, strict=True))

    def plain(self, value: Any) -> object:
        return [item.plain(part) for item, part in zip(self.items, value, strict=True)]

    def schema(self) -> dict[str, object]:
        places: list[object] = [item.schema() for item in self.items]
        return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}

    def _format_with_commas(self, value: Any) -> str:
        return ",".join(item.format(part) for item, part in zip(self.items, value, strict=True))


class Mapping_(Container):  # noqa: N801 - `Mapping` is the name of the annotation
    """A dict; as text ``key=value`` words, or JSON."""

    def __init__(self, key: ParamType, value: ParamType) -> None:
        self.key = key
        self.value = value
        self.repeatable = key.repeatable and value.repeatable
        self.label = f"{key.label}={value.label} ..."
        self.expected = f"key=value pairs (key: {key.label}, value: {value.label})"

    def parse_words(self, words: Sequence[tuple[str, bool]]) -> Any:
        pairs: list[tuple[Any, Any]] = []
        for word in words:
            if _is_json(word, "{"):
                pairs += self.check(read_json(word[0], self.expected)).items()
            else:
                pairs += [self._read_pair(*piece) for piece in _pieces([word], self.value.has_commas)]
        return self._build(pairs)

    def check(self, value: object) -> Any:
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, dict):
            return self._refuse()
        return self._build([(check_piece(self.key, key), check_piece(self.value, value[key])) for key in value])

    def plain(self, value: Any) -> object:
        return {self.key.plain(key): self.value.plain(item) for key, item in value.items()}

    def schema(self) -> dict[str, object]:
        return {"type": "object", "additionalProperties": self.value.schema()}

    def _read_pair(self, text: str, literal: bool) -> tuple[Any, Any]:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadValueError(self.expected, text)
        return read_piece(self.key, (key, False)), read_piece(self.value, (value, literal))

    def _build(self, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
        mapping = {}
        for key, value in pairs:
            if key in mapping:
                raise BadValueError(f"{self.expected}: the key {short(key)} stands in it twice")
            mapping[key] = value
        return mapping

    def _format_with_commas(self, value: Any) -> str:
        return ",".join(f"{self.key.format(key)}={self.value.format(item)}" for key, item in value.items())


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
        self.has_commas = inner.has_commas
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
            for keyword, bound in keywords.items():
                schema[keyword.replace("Length", "Items") if self.is_container else keyword] = bound
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


def _pieces(words: Sequence[tuple[str, bool]], whole: bool) -> list[tuple[str, bool]]:
    """Return the texts of the items; with ``whole`` each word is one, else commas separate them."""
    pieces: list[tuple[str, bool]] = []
    for text, literal in words:
        pieces.extend([(text, literal)] if literal or whole else [(piece, False) for piece in text.split(",")])
    return pieces


def read_piece(item: ParamType, piece: tuple[str, bool]) -> Any:
    text, literal = piece
    try:
        return item.parse_literal(text) if literal else item.parse(text)
    except BadValueError as error:
        raise BadValueError(str(error), text if error.piece is None else error.piece) from None


def check_piece(item: ParamType, piece: object) -> Any:
    try:
        return item.check(piece)
    except BadValueError as error:
        raise BadValueError(str(error), piece if error.piece is None else error.piece) from None


def _is_json(word: tuple[str, bool], begin: str) -> bool:
    text, literal = word
    return not literal and text[:1] == begin


def read_json(text: str, expected: str) -> Any:
    import json

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(items)
        if len(mapping) < len(items):
            raise ValueError("a key stands in it twice")
        return mapping

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at {error.pos}"
    except RecursionError:
        reason = "it is nested too deeply"
    except ValueError as error:  # a key that stands twice, or a number of thousands of digits
        reason = str(error)
    raise BadValueError(f"{expected} (this begins like JSON, but {reason}; to mean the text itself, write = before it)")


def format_json(kind: ParamType, value: Any) -> str:
    import json

    try:
        return json.dumps(kind.plain(value), ensure_ascii=False)
    except (TypeError, ValueError):  # items that JSON lacks
        return format_value(value)
