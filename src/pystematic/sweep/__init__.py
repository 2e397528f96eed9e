"""Many runs of one experiment: their space, plan, coordinator and executors. Knows nothing of command lines."""

from __future__ import annotations

from pystematic.sweep._executor import Event, Executor, Task
from pystematic.sweep._parameter_sweep import param_matrix, run_each, run_parameter_sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.sweep._coordinator import Coordinator, Job, Listener, RunLimits
    from pystematic.sweep._local import make_local_executor
    from pystematic.sweep._objective import Objective
    from pystematic.sweep._places import Place, make_executor_elsewhere, parse_place, place_of
    from pystematic.sweep._plan import Attempt, Plan, read_head
    from pystematic.sweep._results import PointResult, SweepResult
    from pystematic.sweep._samplers import Sampler
    from pystematic.sweep._search import SEARCHES, make_sampler
    from pystematic.sweep._session import REPEATS, RETRY_CLASSES, Session, SweepOptions
    from pystematic.sweep._single import run_elsewhere
    from pystematic.sweep._space import Space, SpaceReader
    from pystematic.sweep._watch import STOPPERS

__all__ = [
    "REPEATS",
    "RETRY_CLASSES",
    "SEARCHES",
    "STOPPERS",
    "Attempt",
    "Coordinator",
    "Event",
    "Executor",
    "Job",
    "Listener",
    "Objective",
    "Place",
    "Plan",
    "PointResult",
    "RunLimits",
    "Sampler",
    "Session",
    "Space",
    "SpaceReader",
    "SweepOptions",
    "SweepResult",
    "Task",
    "make_executor_elsewhere",
    "make_local_executor",
    "make_sampler",
    "param_matrix",
    "parse_place",
    "place_of",
    "read_head",
    "run_each",
    "run_elsewhere",
    "run_parameter_sweep",
]

# Loaded by module when first asked for: `param_matrix` costs nothing.
_HOMES = {
    "_coordinator": ("Coordinator", "Job", "Listener", "RunLimits"),
    "_objective": ("Objective",),
    "_places": ("Place", "make_executor_elsewhere", "parse_place", "place_of"),
    "_plan": ("Attempt", "Plan", "read_head"),
    "_results": ("PointResult", "SweepResult"),
    "_samplers": ("Sampler",),
    "_search": ("SEARCHES", "make_sampler"),
    "_session": ("REPEATS", "RETRY_CLASSES", "Session", "SweepOptions"),
    "_single": ("run_elsewhere",),
    "_space": ("Space", "SpaceReader"),
    "_watch": ("STOPPERS",),
    "_local": ("make_local_executor",),
}


def __getattr__(name: str) -> object:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
