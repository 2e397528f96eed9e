"""Classes as parameters: the fields of a dataclass, an attrs class or a pydantic model, nested ones by dotted names.

Tells the kinds of class apart by their attributes, so that none of these libraries is imported here.
"""

from __future__ import annotations

import sys

from pystematic._words import english_list, short
from pystematic.declare._parameter import OMITTED, Parameter
from pystematic.declare._types import BadValueError, Choice, Constrained, OrNone, conditions_of, type_of
from pystematic.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def is_structure(cls: object) -> bool:
    """Tell whether ``cls`` is a dataclass, an attrs class or a pydantic model."""
    return isinstance(cls, type) and any(
        hasattr(cls, name) for name in ("__dataclass_fields__", "__attrs_attrs__", "model_fields")
    )


class _Field:
    """One field, told alike for the three kinds of class."""

    def __init__(self, name: str, annotation: Any, default: Any, help: str | None, argument: str, metadata: Any = ()):
        self.name = name
        self.annotation = annotation
        self.default = default  # OMITTED, or a callable without arguments
        self.help = help
        self.argument = argument  # the name that the constructor knows
        self.metadata = metadata


class Structure:
    """The parameters of one class, and how an instance is built from their values.

    Attributes:
        parameters: in the order of the fields; those of a chosen class carry ``when``.
    """

    def __init__(
        self,
        cls: Any,
        where: str,
        prefix: str = "",
        defaults: object = OMITTED,
        when: tuple[str, str] | None = None,
    ) -> None:
        self.cls = cls
        self.where = where
        self.prefix = prefix
        self.parameters: list[Parameter] = []
        self._builders: list[tuple[str, Callable[[Mapping[str, Any]], Any]]] = []
        for field in _fields_of(cls, where):
            name = f"{prefix}{field.name}"
            default = field.default
            if defaults is not OMITTED:
                value = getattr(defaults, field.name)
                default = _constant(value)
            members, optional = _members(field.annotation)
            if members and all(is_structure(member) for member in members):
                if len(members) == 1 and not optional:
                    self._add_nested(field, name, members[0], default, when)
                else:
                    self._add_choice(field, name, members, optional, default, when)
            else:
                self._add_plain(field, name, default, when)

    def flatten(self, instance: Any) -> dict[str, Any]:
        """Return the parameters that an instance holds, by dotted names: the inverse of `build`."""
        values: dict[str, Any] = {}
        for parameter in self.parameters:
            if parameter.when is None or values.get(parameter.when[0]) == parameter.when[1]:
                value = instance
                for part in parameter.name.removeprefix(self.prefix).split("."):
                    value = getattr(value, part)
                is_choice = any(other.when and other.when[0] == parameter.name for other in self.parameters)
                values[parameter.name] = choice_name(type(value)) if is_choice and value is not None else value
        return values

    def build(self, values: Mapping[str, Any]) -> Any:
        """Make the instance.

        Raises:
            ValueError: the class refuses the values; its text names the fields that a pydantic model blames.
        """
        arguments = {argument: make(values) for argument, make in self._builders}
        try:
            return self.cls(**arguments)
        except Exception as error:
            raise ValueError(_refusal(self.cls, error)) from error

    def _add_plain(self, field: _Field, name: str, default: Any, when: tuple[str, str] | None) -> None:
        metadata = list(getattr(field.annotation, "__metadata__", ())) + list(field.metadata)
        try:
            kind = type_of(field.annotation)
            if field.metadata:
                conditions = list(conditions_of(field.metadata))
                kind = Constrained(kind, conditions) if conditions else kind
        except TypeError as error:
            raise DeclarationError(f"{self.where}: field '{name}' of {self.cls.__name__}: {error}.") from None
        value = None if default is OMITTED else default()
        if value is not None and not isinstance(default, _Constant):
            made: Any = default  # a factory is asked again for every run
            _checked(kind, value, name, self.where)
        elif callable(value):
            made = _Constant(value)
        else:
            made = value
        parameter = Parameter(
            name,
            kind,
            made,
            required=default is OMITTED and not kind.allows_none,
            help=field.help or _doc_in(metadata),
            default_help=None if made is value else short(value, 60),
            where=self.where,
            when=when,
        )
        if default is not OMITTED and value is None and not kind.allows_none:
            parameter.type = OrNone(kind)
        self.parameters.append(parameter)
        self._builders.append((field.argument, lambda values: values[name]))

    def _add_nested(self, field: _Field, name: str, cls: Any, default: Any, when: tuple[str, str] | None) -> None:
        inner = Structure(cls, self.where, f"{name}.", OMITTED if default is OMITTED else default(), when)
        self.parameters += inner.parameters
        self._builders.append((field.argument, inner.build))

    def _add_choice(
        self,
        field: _Field,
        name: str,
        members: list[Any],
        optional: bool,
        default: Any,
        when: tuple[str, str] | None,
    ) -> None:
        names = [choice_name(member) for member in members]
        if len(set(names)) != len(names):
            raise DeclarationError(f"{self.where}: field '{name}': two classes of one name: {english_list(names)}.")
        instance = OMITTED if default is OMITTED else default()
        chosen = None if instance is OMITTED or instance is None else choice_name(type(instance))
        choice: Choice | OrNone = Choice(names)
        self.parameters.append(
            Parameter(
                name,
                OrNone(choice) if optional else choice,
                chosen,
                required=instance is OMITTED,
                help=field.help or _doc_in(field.metadata),
                where=self.where,
                when=when,
            )
        )
        inner = {
            own: Structure(member, self.where, f"{name}.", instance if own == chosen else OMITTED, (name, own))
            for own, member in zip(names, members, strict=True)
        }
        for structure in inner.values():
            self.parameters += structure.parameters

        def build(values: Mapping[str, Any]) -> Any:
            return None if values[name] is None else inner[values[name]].build(values)

        self._builders.append((field.argument, build))


def choice_name(cls: type) -> str:
    """Spell a class for ``--optimizer NAME``: ``CosineSchedule`` is ``cosine-schedule``."""
    letters = []
    for i, letter in enumerate(cls.__name__):
        begins = (
            i > 0 and letter.isupper() and (not cls.__name__[i - 1].isupper() or cls.__name__[i + 1 : i + 2].islower())
        )
        letters.append("-" + letter.lower() if begins else letter.lower())
    return "".join(letters).replace("_", "-")


class _Constant:
    """A callable that returns one value; told apart from a factory, which makes a new one."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> Any:
        return self.value


def _constant(value: Any) -> _Constant:
    return _Constant(value)


def _checked(kind: Any, value: Any, name: str, where: str) -> None:
    try:
        kind.check(value)
    except BadValueError as error:
        raise DeclarationError(f"{where}: field '{name}': the default {short(value)} is not {error}.") from None


def _members(annotation: Any) -> tuple[list[Any], bool]:
    """Return the classes of a union (or the one class) and whether None is among them."""
    bare = annotation.__origin__ if hasattr(annotation, "__metadata__") else annotation
    if type(bare).__name__ in ("UnionType", "Union", "_UnionGenericAlias"):
        members = [member for member in bare.__args__ if member is not type(None)]
        return members, len(members) < len(bare.__args__)
    return [bare], False


def _fields_of(cls: Any, where: str) -> list[_Field]:
    if hasattr(cls, "model_fields"):
        return [_pydantic_field(name, field) for name, field in cls.model_fields.items()]
    import typing  # dataclasses and attrs, one of which is there, have imported it

    try:
        hints = typing.get_type_hints(cls, include_extras=True, localns=_locals_of_user())
    except NameError as error:
        raise DeclarationError(f"{where}: an annotation of {cls.__name__} cannot be read: {error}.") from None
    fields = []
    if hasattr(cls, "__attrs_attrs__"):
        for attribute in cls.__attrs_attrs__:
            if attribute.init:
                default: Any = OMITTED
                if type(attribute.default).__name__ == "Factory":
                    default = attribute.default.factory
                elif type(attribute.default).__name__ != "_Nothing" and repr(attribute.default) != "NOTHING":
                    default = _constant(attribute.default)
                annotation = hints.get(attribute.name, attribute.type)
                alias = attribute.alias or attribute.name.lstrip("_")
                fields.append(_Field(attribute.name, annotation, default, _help_in(attribute.metadata), alias))
        return fields
    missing = sys.modules["dataclasses"].MISSING
    for field in cls.__dataclass_fields__.values():
        if field._field_type.name != "_FIELD" or not field.init:
            continue
        default = OMITTED
        if field.default is not missing:
            default = _constant(field.default)
        elif field.default_factory is not missing:
            default = field.default_factory
        fields.append(_Field(field.name, hints[field.name], default, _help_in(field.metadata), field.name))
    return fields


def _pydantic_field(name: str, field: Any) -> _Field:
    default: Any = OMITTED
    if not field.is_required():
        default = field.default_factory if field.default_factory is not None else _constant(field.default)
    alias = field.validation_alias if isinstance(field.validation_alias, str) else name
    return _Field(name, field.annotation, default, field.description, alias, tuple(field.metadata))


def _locals_of_user() -> dict[str, Any]:
    """Return the names at the place of the declaration, for classes that are defined inside a function."""
    frame = sys._getframe(1)
    package = __name__.partition(".")[0] + "."
    while frame is not None and (frame.f_globals.get("__name__", "") + ".").startswith(package):
        frame = frame.f_back  # type: ignore[assignment]
    return {} if frame is None else dict(frame.f_locals)


def _help_in(metadata: Any) -> str | None:
    for key in ("help", "doc", "description"):
        if key in metadata:
            return str(metadata[key])
    return None


def _doc_in(metadata: Any) -> str | None:
    for item in metadata:
        if isinstance(item, str):
            return item
        for name in ("documentation", "description"):
            if isinstance(getattr(item, name, None), str):
                return str(getattr(item, name))
    return None


def _refusal(cls: type, error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if callable(errors):  # pydantic's ValidationError
        lines = []
        for item in errors():
            place = ".".join(str(part) for part in item.get("loc", ())) or cls.__name__
            lines.append(f"{place}: {item.get('msg')}, got {short(item.get('input'))}")
        return "\n".join(lines)
    return f"{cls.__name__}: {error}"


def field_docs(cls: type) -> dict[str, str]:
    """Return what a class says of its fields: texts below them, or an ``Attributes:`` section of its docstring.

    Reads the source file, so it is asked for by the help page only.
    """
    docs = section_docs(cls.__doc__ or "", ("Attributes:", "Args:", "Parameters:"))
    import ast
    import inspect  # reads the source of a class; help pages only
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError, IndentationError):
        return docs
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    for i, field in enumerate(body[:-1]):
        text = body[i + 1]
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        ):
            docs[field.target.id] = " ".join(text.value.value.split())
    return docs


def section_docs(
    docstring: str, headings: tuple[str, ...] = ("Args:", "Arguments:", "Keyword Args:", "Parameters:")
) -> dict[str, str]:
    """Read ``name: text`` entries from a section of a docstring in Google's style."""
    docs: dict[str, str] = {}
    name = ""
    indent = -1
    inside = False
    for line in docstring.splitlines():
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        if stripped in headings:
            inside, indent, name = True, -1, ""
        elif inside and stripped:
            if indent < 0:
                indent = depth
            head, colon, text = stripped.partition(":")
            if depth < indent:
                inside = False
            elif depth == indent and colon:
                name = head.split(" ")[0].split("(")[0]
                docs[name] = text.strip()
            elif name:
                docs[name] = f"{docs[name]} {stripped}".strip()
    return docs
