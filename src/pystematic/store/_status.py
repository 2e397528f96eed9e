"""Whether a run that says `running` still is: by the process table on its own machine, elsewhere by its heartbeat."""

from __future__ import annotations

from pystematic import rundir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LOST_AFTER_S = 120.0


def is_lost(run_dir: rundir.RunDir, document: Mapping[str, Any]) -> bool:
    """Tell whether the process of a run that says ``running`` is gone."""
    identity = document.get("pid")
    alive = rundir.is_alive(identity, document.get("host"))
    # Two machines or containers of one name have two boots; what ours does not know may live in the other.
    if alive is False and identity is not None and identity.get("boot_id") != rundir.process_identity()["boot_id"]:
        alive = None
    if alive is not None:
        return not alive
    beat = rundir.last_touched([run_dir.heartbeat_file, run_dir.run_file])
    return beat is None or rundir.server_time(run_dir.path) - beat > LOST_AFTER_S
