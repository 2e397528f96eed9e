"""`Node`: what the command line needs to know of an experiment or a group, whoever implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pystematic.declare import Spec
    from pystematic.resolve import Resolution


class Node(Protocol):
    """An experiment (``members`` is None) or a group of nodes."""

    name: str
    where: str  # file:line of the declaration

    @property
    def full_name(self) -> str: ...

    @property
    def description(self) -> str:
        """The first line of the documentation."""

    @property
    def documentation(self) -> str:
        """What stands above the options on the help page."""

    @property
    def documents(self) -> dict[str, str]:
        """Help texts of parameters from docstrings; asked for by help pages only, since it may read source files."""

    @property
    def spec(self) -> Spec: ...

    @property
    def members(self) -> Mapping[str, Node] | None: ...

    @property
    def program_dir(self) -> str: ...

    def check_values(self, resolution: Resolution) -> list[str]:
        """Return what is wrong with the values together."""

    def execute(self, resolution: Resolution, command: Sequence[str], notes: Sequence[str] = ()) -> Any:
        """Run the experiment; raises what its main function raises. ``command`` is recorded as its command line."""
