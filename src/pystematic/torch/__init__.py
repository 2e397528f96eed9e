"""Training with torch: the context, the data loader, checkpoints and collectives. Loads without importing torch.

Whatever needs torch imports it when it is first used.
"""

from __future__ import annotations

from pystematic.torch._context import Context
from pystematic.torch._world import (
    broadcast_from_master,
    distributed_barrier,
    get_num_processes,
    get_rank,
    is_distributed,
    is_master,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.record import Recorder
    from pystematic.torch._checkpoint import load_checkpoint, save_checkpoint
    from pystematic.torch._data import BetterDataLoader, DataLoader, SmartDataLoader
    from pystematic.torch._placement import move_to_device
    from pystematic.torch._sweep import run_parameter_sweep

__all__ = [
    "BetterDataLoader",
    "Context",
    "DataLoader",
    "Recorder",
    "SmartDataLoader",
    "broadcast_from_master",
    "distributed_barrier",
    "get_num_processes",
    "get_rank",
    "is_distributed",
    "is_master",
    "load_checkpoint",
    "move_to_device",
    "run_parameter_sweep",
    "save_checkpoint",
]

# The names whose modules import torch, and those of other packages that stand here for pystematic-torch 1.x.
_LATER = {
    "BetterDataLoader": "pystematic.torch._data",
    "DataLoader": "pystematic.torch._data",
    "Recorder": "pystematic.record",
    "SmartDataLoader": "pystematic.torch._data",
    "load_checkpoint": "pystematic.torch._checkpoint",
    "run_of_earlier_try": "pystematic.torch._elastic",
    "load_state": "pystematic.torch._saver",
    "newest_state": "pystematic.torch._saver",
    "make_plan": "pystematic.torch._plan",
    "start_run": "pystematic.torch._start",
    "take_handover": "pystematic.torch._start",
    "move_to_device": "pystematic.torch._placement",
    "run_parameter_sweep": "pystematic.torch._sweep",
    "save_checkpoint": "pystematic.torch._checkpoint",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    try:
        value = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ModuleNotFoundError(
            f"pystematic.torch.{name} needs torch, which is not installed: pip install 'pystematic[torch]'",
            name="torch",
        ) from error
    globals()[name] = value
    return value
