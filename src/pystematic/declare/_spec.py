"""`Spec`: all parameters of one experiment, group or command, in the order of the help page, without clashes."""

from __future__ import annotations

from pystematic._words import did_you_mean, short
from pystematic.declare._framework import check_against_framework, framework_groups, stand_in
from pystematic.declare._parameter import Parameter, ParameterGroup
from pystematic.declare._types import BadValueError
from pystematic.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

RESERVED_OPTIONS = frozenset({"--help", "-h"})


class ParameterSet:
    """The parameters of one experiment or group as they are added, checked against each other at once.

    Args:
        owner: whose parameters they are, for messages: ``experiment 'train'``.
        defaults: other defaults for some of them, checked as soon as the parameter is there.
        where: the place where ``defaults`` were given.
    """

    def __init__(self, owner: str, defaults: Mapping[str, Any] | None = None, where: str = "") -> None:
        self.owner = owner
        self.defaults = dict(defaults or {})
        self.where = where
        self.own: list[Parameter] = []
        self.inherited: list[Parameter] = []
        self._own_groups: list[ParameterGroup] = []
        self._inherited_groups: list[ParameterGroup] = []
        self._named: dict[tuple[str, tuple[tuple[str, str], ...]], Parameter] = {}
        self._options: dict[str, Parameter] = {}

    def add(self, parameter: Parameter, *, inherited: bool = False) -> None:
        """Add a parameter.

        Raises:
            DeclarationError: its name or one of its options is taken; both places are named. Or a default does not
                fit it.
        """
        key = (parameter.name, parameter.conditions)
        taken = self._named.get(key)
        if inherited and taken is not None:
            return
        if taken is not None:
            raise DeclarationError(
                f"{parameter.where}: {self.owner} has a parameter '{parameter.name}' already, "
                f"declared at {taken.where}. Remove one of them or give it another name."
            )
        for option in parameter.options:
            other = self._options.get(option)
            if option in RESERVED_OPTIONS or (other is not None and other.name != parameter.name):
                whose = f"parameter '{other.name}', declared at {other.where}" if other else "the help page"
                raise DeclarationError(
                    f"{parameter.where}: parameter '{parameter.name}': the option {option} belongs to {whose}."
                )
        check_against_framework(parameter)
        if parameter.name in self.defaults and not parameter.conditions:
            self.check_default(parameter)
        self._named[key] = parameter
        self._options.update(dict.fromkeys(parameter.options, parameter))
        (self.inherited if inherited else self.own).append(parameter)

    def add_group(self, group: ParameterGroup, *, inherited: bool = False) -> None:
        """Add a group of parameters.

        Raises:
            DeclarationError: the group's name, or a name or option of its parameters is taken.
        """
        if not inherited:
            for existing in self._own_groups:
                if existing.name == group.name:
                    raise DeclarationError(
                        f"{group.where}: {self.owner} has a parameter group '{group.name}' already, "
                        f"declared at {existing.where}. Give one of them another name."
                    )
        for parameter in group.parameters:
            self.add(parameter, inherited=inherited)
        (self._inherited_groups if inherited else self._own_groups).append(group)

    def inherit(self, other: ParameterSet) -> None:
        """Take over what ``other`` has; where a name exists already, the first one stays."""
        for group in other.groups:
            if not any(existing is group for existing in self.groups):
                self.add_group(group, inherited=True)
        for parameter in other.all():
            self.add(parameter, inherited=True)

    @property
    def groups(self) -> list[ParameterGroup]:
        """The groups in the order in which they were written, inherited ones last."""
        return [*sorted(self._own_groups, key=lambda group: group.order), *self._inherited_groups]

    def check_default(self, parameter: Parameter) -> Parameter:
        """Return a parameter with the default that ``defaults`` gives it.

        Raises:
            DeclarationError: it does not fit.
        """
        value = self.defaults[parameter.name]
        try:
            return parameter.with_default(value)
        except BadValueError as error:
            shown = "the masked value" if parameter.secret else short(value)
            raise DeclarationError(f"{self.where}: defaults: {parameter.name}: {shown} is not {error}.") from None

    def all(self) -> list[Parameter]:
        """Return own parameters in the order in which they were written, then inherited ones."""
        return [*sorted(self.own, key=lambda parameter: parameter.order), *self.inherited]

    def sections(self) -> list[tuple[str | None, str | None, list[Parameter]]]:
        """Return ``(heading, help, parameters)``: those without a heading first, then the groups.

        Groups of one name, such as an own and an inherited one, are one section.
        """
        rest = {id(parameter): parameter for parameter in self.all()}
        headed: dict[str, tuple[str, str | None, list[Parameter]]] = {}
        for group in self.groups:
            _, _, members = headed.setdefault(group.name, (group.name, group.help, []))
            # Of a group that was inherited, some names may have existed already.
            members += [parameter for parameter in group.parameters if rest.pop(id(parameter), None) is not None]
        return [(None, None, list(rest.values())), *headed.values()]


class Spec:
    """All parameters that a command line may set.

    Attributes:
        parameters: own ones first, inherited ones, then those that every experiment has. Where `defaults` has a value
            for one, that is its default.
        sections: ``(heading, help, parameters)`` for the help page; the first one has no heading.
        defaults: the values of ``defaults=``, checked.
    """

    def __init__(self, parameters: ParameterSet, *, framework: bool = True) -> None:
        sections = [(name, text, [stand_in(one) for one in found]) for name, text, found in parameters.sections()]
        if framework:
            taken = {parameter.name for parameter in parameters.all()}
            for group in framework_groups():
                ours = [parameter for parameter in group.parameters if parameter.name not in taken]
                sections.append((group.name, group.help, ours))
        self.defaults: dict[str, Any] = {}
        self._refused: dict[str, DeclarationError] = {}
        self.sections = [
            (name, text, tuple(self._with_default(one, parameters) for one in found)) for name, text, found in sections
        ]
        self.parameters = tuple(parameter for _, _, section in self.sections for parameter in section)
        self._by_name: dict[str, list[Parameter]] = {}
        self._by_option: dict[str, list[Parameter]] = {}
        for parameter in self.parameters:
            self._by_name.setdefault(parameter.name, []).append(parameter)
            for option in parameter.options:
                self._by_option.setdefault(option, []).append(parameter)
        for name in parameters.defaults:
            if name not in self.defaults and name in self._refused:
                raise self._refused[name]
            if name not in self._by_name:
                hint = did_you_mean(name, self.names)
                raise DeclarationError(f"{parameters.where}: defaults: there is no parameter '{name}'.{hint}")

    def _with_default(self, parameter: Parameter, given: ParameterSet) -> Parameter:
        if parameter.name not in given.defaults:
            return parameter
        try:
            twin = given.check_default(parameter)
        except DeclarationError as error:
            self._refused[parameter.name] = error  # of several classes with a field of the name, one may take it
            return parameter
        self.defaults[parameter.name] = twin.default
        return twin

    def named(self, name: str) -> list[Parameter]:
        """Return the parameters of a name: none, one, or one for each class that a union may be."""
        return self._by_name.get(name, [])

    def with_option(self, option: str, values: Mapping[str, Any] | None = None) -> Parameter | None:
        """Return the parameter that ``option`` sets; of several classes' fields that of the class in ``values``."""
        found = self._by_option.get(option, [])
        return next((parameter for parameter in found if parameter.counts(values or {})), found[0] if found else None)

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    @property
    def options(self) -> list[str]:
        """Every option that a person may type, hidden ones excepted."""
        return [option for option, found in self._by_option.items() if not found[0].hidden]
