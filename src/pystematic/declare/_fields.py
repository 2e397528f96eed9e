"""Fields of classes, told alike for dataclasses, attrs classes and pydantic models. Knows no parameters and no types.

Tells the kinds of class apart by their attributes, so that none of these libraries is imported here.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


class Field:
    """One field of a class.

    Attributes:
        name: as a person writes it; a private field of an attrs class lacks its underscore here.
        attribute: where an instance keeps it.
        argument: the name that the constructor knows.
        annotation: the annotation, without what ``metadata`` holds.
        default: a callable without arguments, or None where the field must be given.
        computed: the class makes the default from its other fields, so the argument may be left out.
        help: what the class says of it in its metadata.
        metadata: further items of the kind that `typing.Annotated` carries.
    """

    def __init__(
        self,
        name: str,
        annotation: Any,
        default: Callable[[], Any] | None,
        *,
        attribute: str | None = None,
        argument: str | None = None,
        computed: bool = False,
        help: str | None = None,
        metadata: Iterable[Any] = (),
    ) -> None:
        self.name = name
        self.attribute = attribute or name
        self.argument = argument or name
        self.annotation = annotation
        self.default = default
        self.computed = computed
        self.help = help or doc_in((*getattr(annotation, "__metadata__", ()), *metadata))
        self.metadata = tuple(metadata)


class Constant:
    """A callable that returns one value; told apart from a factory, which makes a new one."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value


def fields_of(cls: Any) -> list[Field]:
    """Return the fields that the constructor of ``cls`` takes, in their order.

    Raises:
        TypeError: an annotation cannot be read; the text names it.
    """
    # A pydantic model, or a dataclass made by pydantic.
    described = getattr(cls, "model_fields", None) or getattr(cls, "__pydantic_fields__", None)
    if isinstance(described, dict):
        return [_pydantic_field(name, field) for name, field in described.items() if field.init is not False]
    import typing  # dataclasses and attrs, one of which is there, have imported it

    try:
        hints = typing.get_type_hints(cls, include_extras=True, localns=_locals_around(cls))
    except Exception as error:  # evaluating the user's annotations may raise anything
        raise TypeError(f"an annotation of {cls.__name__} cannot be read: {error}") from None
    if hasattr(cls, "__attrs_attrs__"):
        return [_attrs_field(attribute, hints) for attribute in cls.__attrs_attrs__ if attribute.init]
    fields = cls.__dataclass_fields__.values()
    return [_dataclass_field(field, hints[field.name]) for field in fields if _is_argument(field)]


def _is_argument(field: Any) -> bool:
    return bool(field.init) and field._field_type.name in ("_FIELD", "_FIELD_INITVAR")


def _dataclass_field(field: Any, annotation: Any) -> Field:
    missing = sys.modules["dataclasses"].MISSING
    default: Callable[[], Any] | None = None
    if field.default is not missing:
        default = Constant(field.default)
    elif field.default_factory is not missing:
        default = field.default_factory
    if field._field_type.name == "_FIELD_INITVAR":
        annotation = annotation.type
    return Field(field.name, annotation, default, help=_help_in(field.metadata))


def _attrs_field(attribute: Any, hints: dict[str, Any]) -> Field:
    default: Callable[[], Any] | None = None
    computed = False
    if type(attribute.default).__name__ == "Factory":
        computed = bool(attribute.default.takes_self)
        default = attribute.default.factory
    elif repr(attribute.default) != "NOTHING":
        default = Constant(attribute.default)
    argument = attribute.alias or attribute.name.lstrip("_")
    return Field(
        argument if attribute.name.startswith("_") else attribute.name,
        hints.get(attribute.name, attribute.type),
        None if computed else default,
        attribute=attribute.name,
        argument=argument,
        computed=computed,
        help=_help_in(attribute.metadata),
    )


def _pydantic_field(name: str, field: Any) -> Field:
    default: Callable[[], Any] | None = None
    computed = False
    if field.default_factory is not None:
        computed = bool(getattr(field, "default_factory_takes_validated_data", False))
        default = field.default_factory
    elif not field.is_required():
        default = Constant(field.default)
    alias = field.validation_alias
    choices = getattr(alias, "choices", None)  # AliasChoices: any of them will do
    if choices:
        alias = choices[0]
    return Field(
        name,
        field.annotation,
        None if computed else default,
        argument=alias if isinstance(alias, str) else name,
        computed=computed,
        help=field.description,
        metadata=field.metadata,
    )


def _locals_around(cls: Any) -> dict[str, Any]:
    """Return the names of the functions that ``cls`` is defined in, as far as they are still running."""
    names: dict[str, Any] = {}
    inside = str(cls.__qualname__).split(".<locals>.")[:-1]
    functions = [".<locals>.".join(inside[: i + 1]) for i in range(len(inside))]
    frames = []
    frame = sys._getframe(1) if functions else None
    while frame is not None:
        if frame.f_code.co_qualname in functions and frame.f_globals.get("__name__") == cls.__module__:
            frames.append(frame)
        frame = frame.f_back
    for around in reversed(frames):  # the innermost function has the last word
        names.update(around.f_locals)
    return names


def _help_in(metadata: Any) -> str | None:
    for key in ("help", "doc", "description"):
        if key in metadata:
            return str(metadata[key])
    return None


def doc_in(metadata: Iterable[Any]) -> str | None:
    """Return the help text among what `typing.Annotated` carries: a text, or an object with one, such as ``Doc``."""
    for item in metadata:
        if isinstance(item, str):
            return item
        for name in ("documentation", "description"):
            if isinstance(getattr(item, name, None), str):
                return str(getattr(item, name))
    return None
