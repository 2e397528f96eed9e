"""pystematic turns a function into an experiment: a command line, checked parameters, a record of every run.

This module holds the public names only, and loads each when it is first asked for.
"""

from __future__ import annotations

from pystematic._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import pathlib
    from typing import Any

    from pystematic import core as core
    from pystematic import torch as torch
    from pystematic._experiment import Experiment as Experiment
    from pystematic._experiment import Group as Group
    from pystematic._experiment import experiment as experiment
    from pystematic._experiment import global_entrypoint as global_entrypoint
    from pystematic._experiment import group as group
    from pystematic._experiment import param_group as param_group
    from pystematic._experiment import parameter as parameter
    from pystematic.errors import DeclarationError as DeclarationError
    from pystematic.errors import Error as Error
    from pystematic.errors import ExperimentError as ExperimentError
    from pystematic.errors import NotFoundError as NotFoundError
    from pystematic.errors import RunDirectoryError as RunDirectoryError
    from pystematic.errors import RunStopped as RunStopped
    from pystematic.errors import UsageError as UsageError
    from pystematic.record import Recorder as Recorder
    from pystematic.resolve import Parameters as Parameters
    from pystematic.run import is_subprocess as is_subprocess
    from pystematic.run import launch_subprocess as launch_subprocess
    from pystematic.run import local_rank as local_rank
    from pystematic.run import new_seed as new_seed
    from pystematic.store import Run as Run
    from pystematic.store import Runs as Runs
    from pystematic.store import runs as runs
    from pystematic.sweep import param_matrix as param_matrix
    from pystematic.sweep import run_parameter_sweep as run_parameter_sweep
    from pystematic.torch import Context as Context

    output_dir: pathlib.Path
    params: Parameters

# Where each public name lives. Plugins may add names to this module; they are then ordinary attributes.
_HOMES = {
    "_experiment": ("Experiment", "Group", "experiment", "global_entrypoint", "group", "param_group", "parameter"),
    "errors": (
        "DeclarationError",
        "Error",
        "ExperimentError",
        "NotFoundError",
        "RunDirectoryError",
        "RunStopped",
        "UsageError",
    ),
    "record": ("Recorder",),
    "resolve": ("Parameters",),
    "run": ("is_subprocess", "launch_subprocess", "local_rank", "new_seed", "output_dir", "params"),
    "store": ("Run", "Runs", "runs"),
    "sweep": ("param_matrix", "run_parameter_sweep"),
    "torch": ("Context",),
}
_MODULES = ("core", "errors", "plugins", "torch")

__all__ = [
    "__version__",
    "core",
    "torch",
    *(name for names in _HOMES.values() for name in names),
]


if not TYPE_CHECKING:  # which knows the names above, and must see any other as a mistake

    def __getattr__(name: str) -> Any:
        import importlib

        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        for module, names in _HOMES.items():
            if name in names:
                value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
