"""`Parameter` and `ParameterGroup`: what an author declared, checked where it stands. Values come later."""

from __future__ import annotations

import sys

from pystematic._words import kebab, short
from pystematic.declare._annotations import Instance, type_of
from pystematic.declare._compound import OrNone, Sequence_
from pystematic.declare._types import BadValueError, Boolean, Choice, Converted, ParamType, Text, is_enum
from pystematic.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import FrameType
    from typing import Any

# Name endings of texts that are secrets even when nobody said so; the list is part of the contract.
SECRET_ENDINGS = (
    "password",
    "passwd",
    "secret",
    "api_key",
    "access_key",
    "auth_token",
    "access_token",
    "credential",
    "credentials",
)

_counter = 0


def _next_order() -> int:
    """Number declarations in the order in which they are written."""
    global _counter
    _counter += 1
    return _counter


class _Omitted:
    def __repr__(self) -> str:
        return "<omitted>"


OMITTED: Any = _Omitted()


class Parameter:
    """One declared parameter. Made by `pystematic.parameter`; authors of plugins may make it themselves.

    Args:
        name: a Python identifier, ``learning_rate``; on the command line ``--learning-rate``. Fields of a dataclass
            have dotted names.
        type: an annotation, or any callable from text. Without it, the type of the default, else text.
        default: the value when no source gives one, or a callable without arguments that makes it.
        required: a value must come from somewhere; a default that is not None is one.
        allowed_values: the only values, in place of ``type``.
        is_flag: ``--name`` and ``--no-name`` instead of ``--name VALUE``.
        multiple: a list of values of ``type``.
        allow_from_file: whether a params file may set it.
        envvar: the environment variable that sets it; none is read unless named here.
        help: one or more sentences for the help page.
        default_help: what the help page shows in place of the default.
        hidden: not on the help page.
        flags: short forms, such as ``["-l"]``.
        secret: masked in everything that is recorded or printed.
        identity: part of what a run is: two runs that differ in it are different points of a sweep.
        where: the place of the declaration; the caller's when None.
        replayed: taken over from a recorded run.
        framework: one of those that every experiment has.
        conditions: ``(name, choice)`` of the parameters that must have these values for this one to count; those of
            the classes that a union may be, from the outermost inwards.

    Raises:
        DeclarationError: the declaration contradicts itself, or the default does not fit the type.
    """

    def __init__(
        self,
        name: str,
        type: Any = OMITTED,
        default: Any = None,
        required: bool = False,
        allowed_values: Iterable[Any] | None = None,
        is_flag: bool = False,
        multiple: bool = False,
        allow_from_file: bool = True,
        envvar: str | None = None,
        help: str | None = None,
        default_help: str | None = None,
        hidden: bool = False,
        flags: Sequence[str] | None = None,
        secret: bool = False,
        identity: bool = True,
        *,
        where: str | None = None,
        replayed: bool = True,
        framework: bool = False,
        conditions: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.order = _next_order()
        self.where = where or caller_place()
        self.name = name
        self.default = default
        self.required = required
        self.allow_from_file = allow_from_file
        self.envvar = envvar or None  # False meant "never" in 1.x
        self.help = help or _help_in(type)
        self.default_help = default_help
        self.hidden = hidden
        self.identity = identity
        self.replayed = replayed
        self.framework = framework
        self.conditions = conditions
        self.flags = self._check_names(flags or ())
        self.type = self._build_type(type, allowed_values, is_flag, multiple)
        self.secret = secret or self._looks_secret()
        try:
            self.default = self.check_default(self.default)
        except BadValueError as error:
            shown = "the masked default" if self.secret else f"the default {short(self.default)}"
            raise DeclarationError(f"{self.where}: parameter '{self.name}': {shown} is not {error}.") from None
        self._allow_none_if_default()

    @property
    def option(self) -> str:
        """The long option: ``--learning-rate``."""
        return "--" + kebab(self.name)

    @property
    def negation(self) -> str | None:
        """The option that sets a flag to false: ``--no-amp``; None for other types."""
        return f"--no-{kebab(self.name)}" if isinstance(_bare(self.type), Boolean) else None

    @property
    def options(self) -> tuple[str, ...]:
        """Every spelling on the command line."""
        return (self.option, *((self.negation,) if self.negation else ()), *self.flags)

    @property
    def when(self) -> tuple[str, str] | None:
        """The innermost of the conditions."""
        return self.conditions[-1] if self.conditions else None

    def counts(self, values: Mapping[str, Any]) -> bool:
        """Tell whether the classes that ``values`` choose have this parameter."""
        return all(values.get(name) == choice for name, choice in self.conditions)

    def check_default(self, default: Any) -> Any:
        """Return the default as a value of the type; a callable stays one until a value is needed.

        Raises:
            BadValueError: it does not fit.
        """
        if default is None or self._is_maker(default):
            return default
        if isinstance(_bare(self.type), Converted) and not isinstance(default, str):
            return default  # the author knows what the own callable makes
        return self.type.check(default)

    def with_default(self, default: Any) -> Parameter:
        """Return a copy with another default; where that is None, None is a value of the copy.

        Raises:
            BadValueError: the default does not fit.
        """
        twin = self.copy(default=self.check_default(default))
        twin._allow_none_if_default()
        return twin

    def make_default(self) -> Any:
        """Return the default value, calling the callable that makes it; whatever that raises is raised.

        Raises:
            BadValueError: what the callable returned does not fit the type; ``piece`` is that.
        """
        if not self._is_maker(self.default):
            # No run may change the default of the next one.
            changeable = isinstance(self.default, list | set | dict) or isinstance(_bare(self.type), Instance)
            return _copied(self.default) if changeable else self.default
        made = self.default()
        try:
            return self.check(made)
        except BadValueError as error:
            raise BadValueError(str(error), made) from None

    def check(self, value: object) -> Any:
        """Return a value of a file or of code as a value of the type.

        Raises:
            BadValueError: it does not fit.
        """
        # A callable may have made None, which then stands in the record of the run.
        makes_none = value is None and not self.required and self._is_maker(self.default)
        return None if makes_none else self.type.check(value)

    def copy(self, **changes: Any) -> Parameter:
        """Return an equal parameter, with some attributes changed."""
        twin = object.__new__(Parameter)
        twin.__dict__.update(self.__dict__)
        twin.__dict__.update(changes)
        return twin

    def __repr__(self) -> str:
        return f"Parameter(name={self.name!r}, type={self.type.label!r}, default={short(self.default)})"

    def _allow_none_if_default(self) -> None:
        if self.default is None and not self.required and not self.type.allows_none:
            self.type = OrNone(self.type)

    def _is_maker(self, default: Any) -> bool:
        """Tell whether a default makes values, and is none itself as an enum member that can be called would be."""
        return callable(default) and not _bare(self.type).is_made(default)

    def _check_names(self, flags: Sequence[str]) -> tuple[str, ...]:
        name: object = self.name
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise DeclarationError(
                f"{self.where}: {short(name)} is no name for a parameter. Write a Python name, such as 'learning_rate'."
            )
        if any(part.startswith("_") for part in name.split(".")):
            raise DeclarationError(f"{self.where}: a parameter's name begins with a letter, unlike {name!r}.")
        checked = (flags,) if isinstance(flags, str) else tuple(flags)
        for flag in checked:
            dashed = isinstance(flag, str) and flag.startswith("-")
            letters = flag[2 if flag.startswith("--") else 1 :] if dashed else ""
            if not letters[:1].isalpha() or "=" in letters or letters.split() != [letters]:
                raise DeclarationError(
                    f"{self.where}: parameter '{name}': {short(flag)} is no flag. Write '-l' or '--rate'."
                )
            if not flag.startswith("--") and len(flag) != 2:
                raise DeclarationError(
                    f"{self.where}: parameter '{name}': a flag with one dash has one letter, unlike {flag!r}."
                )
        return tuple(flag for flag in checked if flag != "--" + kebab(name))

    def _build_type(
        self, declared: Any, allowed_values: Iterable[Any] | None, is_flag: bool, multiple: bool
    ) -> ParamType:
        if is_flag and (allowed_values is not None or multiple):
            other = "allowed_values" if allowed_values is not None else "multiple"
            raise DeclarationError(f"{self.where}: parameter '{self.name}': is_flag and {other} contradict each other.")
        try:
            if is_flag:
                if self.default is None:
                    self.default = False
                if declared is not OMITTED and declared not in (bool, str) and not isinstance(declared, ParamType):
                    raise DeclarationError(
                        f"{self.where}: parameter '{self.name}': a flag's type is bool, not {short(declared)}."
                    )
                return declared if isinstance(declared, ParamType) else Boolean()
            if allowed_values is not None:
                item: ParamType = self._choice_of(allowed_values)
            elif declared is OMITTED:
                item = self._type_of_default(multiple)
            else:
                item = type_of(declared)
        except TypeError as error:
            raise DeclarationError(f"{self.where}: parameter '{self.name}': the type {error}.") from None
        return Sequence_(item, list) if multiple else item

    def _choice_of(self, allowed_values: Iterable[Any]) -> Choice:
        listed = [] if isinstance(allowed_values, str) else list(allowed_values)
        if not listed:
            raise DeclarationError(
                f"{self.where}: parameter '{self.name}': allowed_values is a list of values, unlike "
                f"{short(allowed_values)}."
            )
        return Choice(listed)

    def _type_of_default(self, multiple: bool) -> ParamType:
        """Infer the type where none is declared: a default of 3 means int; with ``multiple``, one of [3] does."""
        cls = type(self.default)
        if is_enum(cls):
            return type_of(cls)
        if self.default is None or isinstance(self.default, str) or callable(self.default):
            return Text()
        if cls in (list, tuple, set, frozenset):
            kinds = {type(item) for item in self.default}
            item = type_of(kinds.pop()) if len(kinds) == 1 else Text() if multiple else type_of(object)
            return item if multiple else Sequence_(item, cls)
        return Text() if multiple else type_of(cls)

    def _looks_secret(self) -> bool:
        text = isinstance(_bare(self.type), Text)
        return text and not self.framework and self.name.lower().endswith(SECRET_ENDINGS)


class ParameterGroup:
    """Parameters under one heading of the help page. Changes nothing else."""

    def __init__(self, name: str, help: str | None, parameters: Iterable[Parameter], where: str | None = None) -> None:
        self.order = _next_order()
        self.name = name
        self.help = help
        self.where = where or caller_place()
        self.parameters = tuple(found for item in parameters for found in _declared_by(item))

    def get_parameters(self) -> list[Parameter]:
        """Return the parameters of the group."""
        return list(self.parameters)

    def __repr__(self) -> str:
        return f"ParameterGroup({self.name!r}, {[parameter.name for parameter in self.parameters]})"


def _declared_by(item: Any) -> Iterable[Parameter]:
    """Return what is declared by a parameter, or by ``pystematic.parameter(...)``, which pystematic 1.x took here."""
    if isinstance(item, Parameter):
        return (item,)

    def collector() -> None: ...

    item(collector)
    declared: list[Parameter] = vars(collector)["__params_memo__"]
    return declared


def bare_type(of: ParamType) -> ParamType:
    """Return the type inside ``OrNone`` and ``Constrained``."""
    inner = getattr(of, "inner", None)
    return bare_type(inner) if isinstance(inner, ParamType) else of


_bare = bare_type


def _help_in(annotation: Any) -> str | None:
    metadata = getattr(annotation, "__metadata__", None)
    if not metadata:
        return None
    from pystematic.declare._fields import doc_in  # only where typing.Annotated is used

    return doc_in(metadata)


def caller_place() -> str:
    """Return ``file:line`` of the nearest caller outside this package: where the user wrote the declaration."""
    package = __name__.partition(".")[0] + "."
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_globals.get("__name__", "") + ".").startswith(package):
        frame = frame.f_back
    return "<unknown>" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _copied(value: Any) -> Any:
    import copy  # only for a default that can change

    return copy.deepcopy(value)
