"""`type_of`: from an annotation, or any callable, to a `ParamType`; and classes with fields as one value.

Other libraries' annotations are known by their attributes, so that nothing is imported to ask.
"""

from __future__ import annotations

import sys

from pystematic._words import did_you_mean, english_list, short
from pystematic.declare._compound import (
    Constrained,
    FixedTuple,
    Mapping_,
    OneOf,
    OrNone,
    Sequence_,
    check_piece,
    format_json,
    read_json,
    read_piece,
)
from pystematic.declare._types import (
    Anything,
    BadValueError,
    Boolean,
    Bytes,
    Choice,
    ComplexNumber,
    Converted,
    EnumMember,
    FilePath,
    Integer,
    Iso,
    Number,
    ParamType,
    Text,
    TimeSpan,
    is_enum,
    is_subclass,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any


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
    # `typing.Any` is a class since Python 3.11; it exists only where typing is imported.
    if annotation is None or annotation is object or annotation is getattr(sys.modules.get("typing"), "Any", None):
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
    if isinstance(getattr(annotation, "__origin__", None), type):  # typing.List without its items
        return type_of(annotation.__origin__)
    if callable(annotation):
        return Converted(annotation)
    raise TypeError(f"{short(annotation)} is neither a type nor a callable that takes a text")


def type_of_field(annotation: Any, metadata: Iterable[Any]) -> ParamType:
    """Return the type of a field of a class, whose metadata pydantic keeps beside the annotation.

    Raises:
        TypeError: the annotation is no type.
    """
    return _constrained(type_of(annotation), metadata)


def is_structure(cls: object) -> bool:
    """Tell whether ``cls`` is a dataclass, an attrs class or a pydantic model."""
    return isinstance(cls, type) and any(
        hasattr(cls, name) for name in ("__dataclass_fields__", "__attrs_attrs__", "model_fields")
    )


class Instance(ParamType):
    """A dataclass, attrs class or pydantic model as one value, such as an item of a list.

    In files a table with its fields, as text the same in JSON. The fields are checked one by one, as strictly as
    parameters are, then the class has its say. A class with one field only, or one that must be given, is written
    as the text of that field.
    """

    has_commas = True

    def __init__(self, cls: Any) -> None:
        from pystematic.declare._fields import fields_of  # only where a class with fields is declared

        self._cls = cls
        self._fields = {field.name: field for field in fields_of(cls)}
        self._needed = [name for name, field in self._fields.items() if field.default is None and not field.computed]
        self._kinds: dict[str, ParamType] = {}
        self.label = cls.__name__
        self.expected = f"a {cls.__name__}, with the fields {english_list(list(self._fields))}"

    def parse(self, text: str) -> Any:
        if text.lstrip()[:1] == "{":
            return self.check(read_json(text, self.expected))
        sole = self._needed or list(self._fields)
        if len(sole) != 1:
            return self._refuse()
        return self._build({sole[0]: read_piece(self._kind(sole[0]), (text, False))})

    def check(self, value: object) -> Any:
        if self.is_made(value):
            return value
        if not isinstance(value, dict):
            return super().check(value)
        checked = {}
        for name, plain in value.items():
            if name not in self._fields:
                hint = did_you_mean(str(name), self._fields)
                raise BadValueError(f"a field of {self.label}.{hint}".removesuffix("."), name)
            checked[name] = check_piece(self._kind(name), plain)
        return self._build(checked)

    def is_made(self, value: object) -> bool:
        return isinstance(value, self._cls)

    def plain(self, value: Any) -> object:
        return {
            name: self._kind(name).plain(getattr(value, field.attribute))
            for name, field in self._fields.items()
            if hasattr(value, field.attribute)
        }

    def schema(self) -> dict[str, object]:
        # Without the fields' own schemas: a class may hold itself.
        return {"type": "object", "properties": {name: {} for name in self._fields}, "additionalProperties": False}

    def format(self, value: Any) -> str:
        return format_json(self, value)

    def _kind(self, name: str) -> ParamType:
        # Made when first needed: a class may hold itself.
        if name not in self._kinds:
            field = self._fields[name]
            self._kinds[name] = type_of_field(field.annotation, field.metadata)
        return self._kinds[name]

    def _build(self, values: dict[str, Any]) -> Any:
        missing = [repr(name) for name in self._needed if name not in values]
        if missing:
            raise BadValueError(f"a {self.label}, as it lacks {english_list(missing)}")
        try:
            return self._cls(**{self._fields[name].argument: value for name, value in values.items()})
        except Exception as error:  # whatever a user's class raises means: not these values
            reason = " ".join(str(error).split())
            raise BadValueError(f"what {self.label} accepts ({type(error).__name__}: {reason})") from error


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
    if is_subclass(cls, "pathlib", "PurePath"):
        return FilePath(cls)
    if is_enum(cls):
        return EnumMember(cls)
    for name in ("datetime", "date", "time"):
        if is_subclass(cls, "datetime", name):
            return Iso(cls)
    if is_subclass(cls, "datetime", "timedelta"):
        return TimeSpan(cls)
    if cls is type(None):
        return Choice([None])
    if cls.__module__ == "collections.abc":
        return _type_of_abstract(cls.__name__) or Converted(cls)
    return Instance(cls) if is_structure(cls) else Converted(cls)


def _type_of_abstract(name: str, key: ParamType | None = None, item: ParamType | None = None) -> ParamType | None:
    """Return the type of an abstract class of `collections.abc`; of two arguments ``key`` is the first."""
    item = item or Anything()
    if name in ("Mapping", "MutableMapping"):
        return Mapping_(key or Anything(), item)
    if name in ("Set", "MutableSet"):
        return Sequence_(item, set)
    if name in ("Sequence", "MutableSequence", "Iterable", "Collection"):
        return Sequence_(item, list)
    return Anything() if name == "Callable" else None


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
    if origin is dict:
        return Mapping_(type_of(arguments[0]), type_of(arguments[1]))
    if origin in (list, set, frozenset):
        return Sequence_(type_of(arguments[0]), origin)
    if getattr(origin, "__module__", "") == "collections.abc":
        name: str = origin.__name__  # type: ignore[union-attr]
        kinds = [] if name == "Callable" else [type_of(argument) for argument in arguments]
        abstract = _type_of_abstract(name, *kinds) if len(kinds) == 2 else _type_of_abstract(name, None, *kinds)
        if abstract is not None:
            return abstract
    if callable(origin):
        return Converted(origin)
    raise TypeError(f"{annotation!r} is not a type that a parameter can have")


def union_of(members: list[ParamType], arguments: Sequence[object]) -> ParamType:
    """Join the types of a union's members; ``arguments`` are its annotations, None's type among them or not."""
    joined = members[0] if len(members) == 1 else OneOf(members)
    return OrNone(joined) if type(None) in arguments else joined


def _constrained(inner: ParamType, metadata: Iterable[Any]) -> ParamType:
    conditions = list(_conditions_of(metadata))
    return Constrained(inner, conditions) if conditions else inner


def _conditions_of(metadata: Iterable[Any]) -> Iterable[tuple[Callable[[Any], bool], str, dict[str, object]]]:
    """Yield test, wording and JSON Schema keywords of each constraint, told by its attributes.

    So annotated-types, pydantic and msgspec are understood without being imported:
    https://github.com/annotated-types/annotated-types
    """
    for item in metadata:
        inside = getattr(item, "metadata", None)  # pydantic's Field(gt=0) carries annotated-types
        if isinstance(inside, list | tuple):
            yield from _conditions_of(inside)
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
