"""`Code`: how another process, on whatever machine, loads the program of a sweep: as `multiprocessing` does."""

from __future__ import annotations

import os
import sys
import time

from pystematic._record import record
from pystematic.run import Origin, ProvenanceQuery, find_experiment, find_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pystematic.run import Provenance

# How often it is looked for edits.
EDIT_PERIOD_S = 5.0


@record
class Code:
    """What is loaded, and from where.

    Attributes:
        preparation: folder, paths, command line and main module, as `multiprocessing.spawn` takes them.
        home: module and name of the experiment.
        provenance: what it is made of, where that was found out before; None: each run does.
        copy: the folder that holds a copy of the program, and the folder of which it is one; None: it is no copy.
    """

    preparation: Mapping[str, Any]
    home: tuple[str, str]
    provenance: Provenance | None = None
    copy: tuple[str, str] | None = None

    def load(self) -> Any:
        """Become a process that has the program loaded, and return the experiment.

        Raises:
            ExperimentError: it is not there. And whatever the program raises when it is imported.
        """
        from multiprocessing import spawn

        spawn.prepare(dict(self.preparation))
        return find_experiment(*self.home)

    def origin(self, parent: str | None, point: str | None) -> Origin:
        """Return the origin of a run of this program, for `pystematic.run.set_origin`."""
        found = None if self.provenance is None else self.provenance.on_this_machine()
        return Origin(parent, point, False, found, copy=self.copy)


def describe_code(experiment: Any) -> Code:
    """Return how another process loads what this one has loaded.

    Raises:
        ExperimentError: it cannot.
    """
    from multiprocessing import spawn

    found: dict[str, Any] = spawn.get_preparation_data("pystematic-sweep")
    found.pop("authkey", None)  # a key that cannot travel, and that nobody needs
    return Code(found, find_home(experiment))


def find_provenance(experiment: Any, output_dir: str, limit_s: float) -> Provenance | None:
    """Return what an experiment is made of; None where that takes longer.

    Args:
        experiment: of a program that is loaded.
        output_dir: whose files are no sources.
        limit_s: how long to wait for git.
    """
    deadline = time.monotonic() + limit_s
    query = ProvenanceQuery(_file_of(experiment), os.path.abspath(output_dir))
    found = query.collect(lambda: time.monotonic() > deadline)
    query.close()
    return None if time.monotonic() > deadline else found


class EditWatch:
    """Tells which file of a program was edited since this was made, of those that are loaded from its folder.

    Args:
        experiment: of a program that is loaded.
    """

    def __init__(self, experiment: Any) -> None:
        folder = os.path.dirname(os.path.abspath(_file_of(experiment) or ""))
        files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        own = {path for path in files if isinstance(path, str) and path.startswith(folder + os.sep)}
        self._stamps = {path: _stamp(path) for path in own if "site-packages" not in path}
        self._looked_at = time.monotonic()

    def look(self) -> str | None:
        """Return an edited file, relative to the working directory; None most of the time, as this looks rarely."""
        if time.monotonic() - self._looked_at < EDIT_PERIOD_S:
            return None
        self._looked_at = time.monotonic()
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                return os.path.relpath(path)
        return None


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _file_of(experiment: Any) -> str | None:
    code = getattr(experiment.main_function, "__code__", None)
    return getattr(sys.modules.get("__main__"), "__file__", None) if code is None else str(code.co_filename)
