"""`Code`: how another process, on whatever machine, loads the program of a sweep: as `multiprocessing` does."""

from __future__ import annotations

import os

from pystematic._record import record
from pystematic.run import Origin, ProvenanceQuery, find_experiment, find_home

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pystematic.run import Provenance


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
    import sys
    import time

    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    code = getattr(experiment.main_function, "__code__", None)
    deadline = time.monotonic() + limit_s
    query = ProvenanceQuery(main_file if code is None else code.co_filename, os.path.abspath(output_dir))
    found = query.collect(lambda: time.monotonic() > deadline)
    query.close()
    return None if time.monotonic() > deadline else found
