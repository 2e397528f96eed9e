"""`Snapshot`: the runs of a folder at one moment, and what has changed since another one. For those who watch it."""

from __future__ import annotations

import os

from pystematic.store._index import open_table
from pystematic.store._reading import RUNNING
from pystematic.store._runs import runs_of_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pystematic.store._runs import Runs
    from pystematic.store._table import Table


class Snapshot:
    """The runs of a folder as they were when it was looked at.

    A run is named by its directory's path relative to the folder, with ``/``.

    Attributes:
        folder: its absolute path.
        runs: those that are there, the newest last.
        states: by the name of a run, what changes when its documents do, or its status; damaged ones too.
        damaged: the names of those whose ``run.json`` cannot be read.
        running: the names of those that run.
    """

    def __init__(self, folder: str, table: Table) -> None:
        self.folder = folder
        self.runs: Runs = runs_of_table(folder, table)
        statuses = table.column(("status",))
        self.states: Mapping[str, tuple[int, str]] = {
            table.names[row]: (table.signatures[row], str(statuses[row])) for row in table.unordered_rows
        }
        self.running: Sequence[str] = [
            table.names[row]
            for row in table.unordered_rows
            if table.kind(row) == RUNNING and statuses[row] == "running"
        ]
        broken = table.run_names() if table.damaged else ()
        self.damaged: Sequence[str] = [name for name in broken if name not in self.states]

    def changed_since(self, before: Snapshot) -> tuple[list[str], list[str]]:
        """Return the names of the runs that are new or different, and of those that are gone."""
        if self.states == before.states:
            return [], []
        changed = [name for name, state in self.states.items() if before.states.get(name) != state]
        removed = [name for name in before.states if name not in self.states]
        return changed, removed

    def name_of(self, path: str | os.PathLike[str]) -> str:
        """Return the name of a run by the path of its directory."""
        return os.path.relpath(path, self.folder).replace(os.sep, "/")


def take_snapshot(folder: str | os.PathLike[str]) -> Snapshot:
    """Look at a folder of runs. One that is gone is empty."""
    path = os.path.abspath(folder)
    return Snapshot(path, open_table(path))
