"""`Spec`: all parameters of one experiment, group or command, in the order of the help page, without clashes."""

from __future__ import annotations

from pystematic._words import did_you_mean, short
from pystematic.declare._framework import check_replacement, framework_groups
from pystematic.declare._parameter import Parameter, ParameterGroup
from pystematic.declare._types import BadValueError
from pystematic.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

RESERVED_OPTIONS = frozenset({"--help", "-h"})


class ParameterSet:
    """The parameters of one experiment or group as they are added, checked against each other at once."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.own: list[Parameter] = []
        self.inherited: list[Parameter] = []
        self.groups: list[ParameterGroup] = []
        self._named: dict[tuple[str, tuple[str, str] | None], Parameter] = {}
        self._options: dict[str, Parameter] = {}

    def add(self, parameter: Parameter, *, inherited: bool = False) -> None:
        """Add a parameter.

        Raises:
            DeclarationError: its name or one of its options is taken; both places are named.
        """
        key = (parameter.name, parameter.when)
        if inherited and key in self._named:
            return
        taken = self._named.get(key)
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
        check_replacement(parameter)
        self._named[key] = parameter
        self._options.update(dict.fromkeys(parameter.options, parameter))
        (self.inherited if inherited else self.own).append(parameter)

    def add_group(self, group: ParameterGroup, *, inherited: bool = False) -> None:
        """Add a group of parameters.

        Raises:
            DeclarationError: the group's name, or a name or option of its parameters is taken.
        """
        for existing in self.groups:
            if existing.name == group.name:
                if inherited:
                    return
                raise DeclarationError(
                    f"{group.where}: {self.owner} has a parameter group '{group.name}' already, "
                    f"declared at {existing.where}."
                )
        for parameter in group.parameters:
            self.add(parameter, inherited=inherited)
        self.groups.append(group)

    def inherit(self, other: ParameterSet) -> None:
        """Take over what ``other`` has; where a name exists already, the first one stays."""
        for group in other.groups:
            self.add_group(group, inherited=True)
        for parameter in other.all():
            self.add(parameter, inherited=True)

    def all(self) -> list[Parameter]:
        """Return own parameters in the order in which they were written, then inherited ones."""
        return [*sorted(self.own, key=lambda parameter: parameter.order), *self.inherited]


class Spec:
    """All parameters that a command line may set.

    Attributes:
        parameters: own ones first, inherited ones, then those that every experiment has.
        sections: ``(heading, help, parameters)`` for the help page; the first one has no heading.
        defaults: values of ``defaults=``, checked.
    """

    def __init__(
        self,
        parameters: ParameterSet,
        *,
        defaults: Mapping[str, Any] | None = None,
        where: str = "",
        framework: bool = True,
    ) -> None:
        declared = parameters.all()
        taken = {parameter.name for parameter in declared}
        headed = {id(parameter) for group in parameters.groups for parameter in group.parameters}
        self.sections: list[tuple[str | None, str | None, tuple[Parameter, ...]]] = [
            (None, None, tuple(parameter for parameter in declared if id(parameter) not in headed))
        ]
        self.sections += [(group.name, group.help, group.parameters) for group in parameters.groups]
        replaced: list[Parameter] = []
        if framework:
            for group in framework_groups():
                own = tuple(parameter for parameter in group.parameters if parameter.name not in taken)
                replaced += [parameter for parameter in group.parameters if parameter.name in taken]
                self.sections.append((group.name, group.help, own))
        self.parameters = tuple(parameter for _, _, section in self.sections for parameter in section)
        self._by_name: dict[str, list[Parameter]] = {}
        self._by_option: dict[str, Parameter] = {}
        for parameter in self.parameters:
            self._by_name.setdefault(parameter.name, []).append(parameter)
            for option in parameter.options:
                self._by_option.setdefault(option, parameter)
        for ours in replaced:  # what stands in for ours keeps our place among identity and replayed parameters
            for parameter in self._by_name[ours.name]:
                parameter.replayed, parameter.identity = ours.replayed, parameter.identity and ours.identity
                parameter.envvar = parameter.envvar or ours.envvar
        self.defaults = self._check_defaults(defaults or {}, where)

    def named(self, name: str) -> list[Parameter]:
        """Return the parameters of a name: none, one, or one for each class that a union may be."""
        return self._by_name.get(name, [])

    def with_option(self, option: str) -> Parameter | None:
        """Return the parameter that ``option`` sets; of several classes' fields any one."""
        return self._by_option.get(option)

    @property
    def names(self) -> list[str]:
        return list(self._by_name)

    @property
    def options(self) -> list[str]:
        """Every option that a person may type, hidden ones excepted."""
        return [option for option, parameter in self._by_option.items() if not parameter.hidden]

    def _check_defaults(self, defaults: Mapping[str, Any], where: str) -> dict[str, Any]:
        checked = {}
        for name, value in defaults.items():
            found = self.named(name)
            if not found:
                hint = did_you_mean(name, self.names)
                raise DeclarationError(f"{where}: defaults: there is no parameter '{name}'.{hint}")
            try:
                checked[name] = found[0].check_default(value)
            except BadValueError as error:
                raise DeclarationError(f"{where}: defaults: {name}={short(value)} is not {error}.") from None
        return checked


def active(parameters: Iterable[Parameter], values: Mapping[str, Any]) -> list[Parameter]:
    """Return the parameters that count, given the classes that ``values`` choose."""
    chosen = []
    for parameter in parameters:
        if parameter.when is None or values.get(parameter.when[0]) == parameter.when[1]:
            chosen.append(parameter)
    return chosen
