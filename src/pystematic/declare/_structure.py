"""Classes as parameters: the fields of a dataclass, an attrs class or a pydantic model, nested ones by dotted names.

Knows the three kinds of class only through `Field`; neither imports their libraries.
"""

from __future__ import annotations

from pystematic._words import english_list, short
from pystematic.declare._annotations import is_structure, type_of_field
from pystematic.declare._compound import OrNone
from pystematic.declare._fields import Constant, Field, fields_of
from pystematic.declare._parameter import OMITTED, Parameter
from pystematic.declare._types import BadValueError, Choice
from pystematic.errors import DeclarationError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Conditions = tuple[tuple[str, str], ...]

# An argument that the class makes itself.
_LEFT_OUT: Any = object()


class _Part:
    """How one argument of the constructor is made from values, and values from an instance."""

    def __init__(
        self, field: Field, make: Callable[[Mapping[str, Any]], Any], split: Callable[[Any], dict[str, Any]]
    ) -> None:
        self.field = field
        self.make = make
        self.split = split


class Structure:
    """The parameters of one class, and how an instance is built from their values.

    Args:
        cls: the class.
        where: the place of the declaration.
        prefix: what stands before the names of the fields: ``optimizer.``.
        defaults: an instance whose values are the defaults.
        conditions: the choices under which this class counts; see `Parameter`.
        around: the classes that this one is a part of.

    Attributes:
        parameters: in the order of the fields; those of a chosen class carry their conditions.

    Raises:
        DeclarationError: an annotation is no type, or a default does not fit.
    """

    def __init__(
        self,
        cls: Any,
        where: str,
        prefix: str = "",
        defaults: object = OMITTED,
        conditions: Conditions = (),
        around: tuple[Any, ...] = (),
    ) -> None:
        self.cls = cls
        self.where = where
        self.prefix = prefix
        self.parameters: list[Parameter] = []
        self._conditions = conditions
        self._around = (*around, cls)
        self._parts: list[_Part] = []
        self._inner: list[Structure] = []
        try:
            fields = fields_of(cls)
        except TypeError as error:
            raise DeclarationError(f"{where}: {error}.") from None
        for field in fields:
            default = field.default
            if defaults is not OMITTED and hasattr(defaults, field.attribute):
                default = Constant(getattr(defaults, field.attribute))
            members, optional = _members(field.annotation)
            # A class inside itself has no end, and what the class itself makes has no fields yet: both are one value.
            apart = all(is_structure(member) and member not in self._around for member in members)
            if apart and not (field.computed and default is None):
                if len(members) == 1 and not optional and not _is_none(default):
                    self._add_nested(field, members[0], default)
                else:
                    self._add_choice(field, members, optional, default)
            else:
                self._add_plain(field, default)

    def flatten(self, instance: Any) -> dict[str, Any]:
        """Return the parameters that an instance holds, by dotted names: the inverse of `build`.

        Raises:
            UsageError: it is, or holds, an instance of another class, which `build` would not make again.
        """
        if type(instance) is not self.cls:
            raise UsageError(f"{self._spelled}: {short(instance)} is no {self.cls.__name__}.")
        values: dict[str, Any] = {}
        for part in self._parts:
            if hasattr(instance, part.field.attribute):  # but for what only the constructor of a dataclass knows
                values.update(part.split(getattr(instance, part.field.attribute)))
        return values

    def build(self, values: Mapping[str, Any]) -> Any:
        """Make the instance.

        Args:
            values: by dotted names; where they tell their sources (``source_of``), the text of an error names them.

        Raises:
            ValueError: the class refuses the values; one line for each problem.
        """
        arguments: dict[str, Any] = {}
        for part in self._parts:
            made = part.make(values)
            if made is not _LEFT_OUT:
                arguments[part.field.argument] = made
        try:
            return self.cls(**arguments)
        except Exception as error:  # whatever a user's class raises means: not these values
            raise ValueError("\n".join(self._refusals(error, values))) from error

    def documents(self) -> dict[str, str]:
        """Return what the classes say of their fields, by dotted names; reads source files, for the help page only."""
        found = {f"{self.prefix}{name}": text for name, text in field_docs(self.cls).items()}
        for inner in self._inner:
            found.update(inner.documents())
        return found

    def _add(self, field: Field, type: Any, default: Any, **more: Any) -> Parameter:
        parameter = Parameter(
            f"{self.prefix}{field.name}",
            type,
            default,
            help=field.help,
            where=self.where,
            conditions=self._conditions,
            **more,
        )
        self.parameters.append(parameter)
        return parameter

    def _add_plain(self, field: Field, default: Callable[[], Any] | None) -> None:
        try:
            kind = type_of_field(field.annotation, field.metadata)
        except TypeError as error:
            raise DeclarationError(f"{self.where}: field '{field.name}' of {self.cls.__name__}: {error}.") from None
        more: dict[str, Any] = {}
        made: Any = None
        if field.computed and default is None:
            kind = OrNone(kind)
            more["default_help"] = "made from the other fields"
        elif default is None:
            more["required"] = not kind.allows_none
        else:
            made, kind, more["default_help"] = self._default_of(field, kind, default)
        name = self._add(field, kind, made, **more).name

        def make(values: Mapping[str, Any]) -> Any:
            return _LEFT_OUT if field.computed and values[name] is None else values[name]

        self._parts.append(_Part(field, make, lambda value: {name: value}))

    def _default_of(self, field: Field, kind: Any, default: Callable[[], Any]) -> tuple[Any, Any, str | None]:
        """Return the default as `Parameter` takes it, the type that can hold it, and how the help page shows it."""
        try:
            value = default()
        except Exception:  # a factory that works only in a run, and is asked there
            return default, kind, None
        if value is None:
            return (
                (None if isinstance(default, Constant) else default),
                kind if kind.allows_none else OrNone(kind),
                None,
            )
        if isinstance(default, Constant):
            # Behind a callable where it is one itself, else it would be taken for a factory.
            return (Constant(value), kind, short(value, 60)) if callable(value) else (value, kind, None)
        try:
            kind.check(value)
        except BadValueError as error:
            raise DeclarationError(
                f"{self.where}: field '{field.name}' of {self.cls.__name__}: the default {short(value)} is not {error}."
            ) from None
        return default, kind, short(value, 60)  # a factory is asked again for every run

    def _add_nested(self, field: Field, cls: Any, default: Callable[[], Any] | None) -> None:
        instance = self._default_instance(field, default)
        if isinstance(instance, cls):
            cls = type(instance)  # a default may be of a class that knows more
        inner = Structure(cls, self.where, f"{self.prefix}{field.name}.", instance, self._conditions, self._around)
        self.parameters += inner.parameters
        self._inner.append(inner)
        self._parts.append(_Part(field, inner.build, inner.flatten))

    def _add_choice(self, field: Field, members: list[Any], optional: bool, default: Callable[[], Any] | None) -> None:
        names = [choice_name(member) for member in members]
        if len(set(names)) != len(names):
            raise DeclarationError(
                f"{self.where}: field '{field.name}' of {self.cls.__name__}: two of its classes have one name: "
                f"{english_list(names)}."
            )
        instance = self._default_instance(field, default)
        chosen = None if instance is None or instance is OMITTED else choice_name(type(instance))
        choice = Choice(names)
        name = self._add(
            field, OrNone(choice) if optional else choice, chosen, required=default is None and not optional
        ).name
        inner = {}
        for own, member in zip(names, members, strict=True):
            defaults = instance if own == chosen else OMITTED
            conditions = (*self._conditions, (name, own))
            inner[own] = Structure(member, self.where, f"{name}.", defaults, conditions, self._around)
            self.parameters += inner[own].parameters
            self._inner.append(inner[own])

        def make(values: Mapping[str, Any]) -> Any:
            return None if values[name] is None else inner[values[name]].build(values)

        def split(value: Any) -> dict[str, Any]:
            own = None if value is None else choice_name(type(value))
            return {name: own, **(inner[own].flatten(value) if own in inner else {})}

        self._parts.append(_Part(field, make, split))

    def _default_instance(self, field: Field, default: Callable[[], Any] | None) -> Any:
        try:
            return OMITTED if default is None else default()
        except Exception as error:  # whatever a user's class raises: its defaults do not make an instance
            raise DeclarationError(
                f"{self.where}: field '{field.name}' of {self.cls.__name__}: its default cannot be made: "
                f"{type(error).__name__}: {' '.join(str(error).split())}."
            ) from error

    def _refusals(self, error: Exception, values: Mapping[str, Any]) -> list[str]:
        """Return the problems that a class has with its values, each with the name, the value and the source."""
        errors = getattr(error, "errors", None)
        if not callable(errors):
            reason = " ".join(str(error).split()) or type(error).__name__
            return [f"{self._spelled}: these values do not go together: {reason}."]
        lines = []  # of pydantic's ValidationError
        names = {part.field.argument: f"{self.prefix}{part.field.name}" for part in self._parts}
        for item in errors():
            place = [str(part) for part in item.get("loc", ())]
            reason = " ".join(str(item.get("msg")).split())
            name = names.get(place[0]) if place else None
            parameter = next((own for own in self.parameters if own.name == name), None)
            if name is None or parameter is None or name not in values:
                where = ".".join(place)
                lines.append(f"{self._spelled}{'.' if where else ''}{where}: {reason}.")
                continue
            source_of = getattr(values, "source_of", None)
            source = f", from {_the(source_of(name))}" if source_of is not None else ""
            value = "the masked value" if parameter.secret else short(item.get("input"))
            spelled = ".".join([name, *place[1:]])
            lines.append(f"{spelled}{source}: {value} is refused by {self.cls.__name__}: {reason}.")
        return lines

    @property
    def _spelled(self) -> str:
        return self.prefix.removesuffix(".") or str(self.cls.__name__)


def _is_none(default: Callable[[], Any] | None) -> bool:
    return isinstance(default, Constant) and default.value is None


def _the(source: str) -> str:
    return f"the {source}" if source == "command line" else source


def choice_name(cls: type) -> str:
    """Spell a class for ``--optimizer NAME``: ``CosineSchedule`` is ``cosine-schedule``."""
    letters = []
    for i, letter in enumerate(cls.__name__):
        begins = (
            i > 0 and letter.isupper() and (not cls.__name__[i - 1].isupper() or cls.__name__[i + 1 : i + 2].islower())
        )
        letters.append("-" + letter.lower() if begins else letter.lower())
    return "".join(letters).replace("_", "-")


def _members(annotation: Any) -> tuple[list[Any], bool]:
    """Return the classes of a union (or the one class) and whether None is among them."""
    bare = annotation
    while hasattr(bare, "__metadata__") or type(bare).__name__ == "TypeAliasType":
        bare = bare.__origin__ if hasattr(bare, "__metadata__") else bare.__value__
    if type(bare).__name__ in ("UnionType", "Union", "_UnionGenericAlias"):
        members = [member for member in bare.__args__ if member is not type(None)]
        return members, len(members) < len(bare.__args__)
    return [bare], False


def field_docs(cls: type) -> dict[str, str]:
    """Return what a class says of its fields: texts below them, or an ``Attributes:`` section of its docstring.

    Base classes are asked too. Reads source files, so it is for the help page only.
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if is_structure(base) and base.__module__.partition(".")[0] != "pydantic":
            docs.update(section_docs(base.__dict__.get("__doc__") or "", ("Attributes:", "Args:", "Parameters:")))
            docs.update(_docs_in_source(base))
    return docs


def _docs_in_source(cls: type) -> dict[str, str]:
    import ast
    import inspect  # reads the source of a class; help pages only
    import itertools
    import textwrap

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for field, text in itertools.pairwise(body):
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
