"""One execution of an experiment: from resolved parameters to a finished record. Knows nothing of command lines."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pathlib

    from pystematic.resolve import Parameters
    from pystematic.run._active import ActiveRun as ActiveRun
    from pystematic.run._active import Place as Place
    from pystematic.run._context import Context as Context
    from pystematic.run._context import ContextRun as ContextRun
    from pystematic.run._context import check_device as check_device
    from pystematic.run._current import current as current
    from pystematic.run._current import is_subprocess as is_subprocess
    from pystematic.run._current import local_rank as local_rank
    from pystematic.run._current import new_seed as new_seed
    from pystematic.run._fork_safety import why_not_fork as why_not_fork
    from pystematic.run._lifecycle import Program as Program
    from pystematic.run._lifecycle import RunHooks as RunHooks
    from pystematic.run._lifecycle import RunRequest as RunRequest
    from pystematic.run._lifecycle import execute as execute
    from pystematic.run._lifecycle import outcome_of as outcome_of
    from pystematic.run._masking import mask_known_shapes as mask_known_shapes
    from pystematic.run._origin import Origin as Origin
    from pystematic.run._origin import origin as origin
    from pystematic.run._origin import set_origin as set_origin
    from pystematic.run._orphans import adopt_orphans as adopt_orphans
    from pystematic.run._orphans import die_with as die_with
    from pystematic.run._provenance import Provenance as Provenance
    from pystematic.run._provenance import ProvenanceQuery as ProvenanceQuery
    from pystematic.run._provenance import describe_environment as describe_environment
    from pystematic.run._resume import batch_job as batch_job
    from pystematic.run._spawn import end_processes as end_processes
    from pystematic.run._spawn import exit_code_of as exit_code_of
    from pystematic.run._spawn import find_experiment as find_experiment
    from pystematic.run._spawn import find_home as find_home
    from pystematic.run._spawn import launch_subprocess as launch_subprocess
    from pystematic.run._spawn import start_process as start_process
    from pystematic.run._stop import StopControl as StopControl
    from pystematic.run._stop import StopReason as StopReason
    from pystematic.run._traceback import format_traceback as format_traceback
    from pystematic.run._traceback import is_users_own as is_users_own
    from pystematic.run._traceback import run_dir_of as run_dir_of
    from pystematic.run._traceback import say_how_it_ended as say_how_it_ended
    from pystematic.run._traceback import set_traceback as set_traceback

    output_dir: pathlib.Path
    params: Parameters

# Loaded by module when first asked for: a help page needs none of them, most runs a few.
_HOMES = {
    "_active": ("ActiveRun", "Place"),
    "_context": ("Context", "ContextRun", "check_device"),
    "_current": ("current", "is_subprocess", "local_rank", "new_seed"),
    "_lifecycle": ("Program", "RunHooks", "RunRequest", "execute", "outcome_of"),
    "_masking": ("mask_known_shapes",),
    "_fork_safety": ("why_not_fork",),
    "_orphans": ("adopt_orphans", "die_with"),
    "_origin": ("Origin", "origin", "set_origin"),
    "_provenance": ("Provenance", "ProvenanceQuery", "describe_environment"),
    "_proxies": ("output_dir", "params"),
    "_resume": ("batch_job",),
    "_spawn": ("end_processes", "exit_code_of", "find_experiment", "find_home", "launch_subprocess", "start_process"),
    "_stop": ("StopControl", "StopReason"),
    "_traceback": ("format_traceback", "is_users_own", "run_dir_of", "say_how_it_ended", "set_traceback"),
}


def __getattr__(name: str) -> object:
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
