"""This process among all processes of a run, as torch's process group knows it; one process if there is no group.

Does not import torch: as long as it is not loaded there is no group.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import torch


def is_distributed() -> bool:
    """Tell whether a process group of torch is initialized."""
    torch = sys.modules.get("torch")
    # `distributed` is a part of torch that some builds lack, and that is not there while torch is being imported.
    distributed = getattr(torch, "distributed", None)
    return distributed is not None and distributed.is_available() and bool(distributed.is_initialized())


def get_rank() -> int:
    """Return the number of this process among all, from 0."""
    if not is_distributed():
        return 0
    import torch.distributed

    return int(torch.distributed.get_rank())


def get_local_rank() -> int:
    """Return the number of this process among those of this machine, from 0.

    The launcher tells it in ``LOCAL_RANK``; without that all processes are taken to be on one machine.
    """
    if not is_distributed():
        return 0
    import torch.distributed

    return int(torch.distributed.get_node_local_rank(fallback_rank=get_rank()))


def get_num_processes() -> int:
    """Return how many processes there are."""
    if not is_distributed():
        return 1
    import torch.distributed

    return int(torch.distributed.get_world_size())


def is_master() -> bool:
    """Tell whether this process is the one that speaks for all: rank 0."""
    return get_rank() == 0


def broadcast_from_master(value: Any) -> torch.Tensor:
    """Return the value that rank 0 gave, as a new tensor. All ranks call it, with values of one shape and type."""
    import torch

    tensor = torch.as_tensor(value).detach().clone()
    if not is_distributed():
        return tensor
    import torch.distributed

    # NCCL only sends what lies on a GPU.
    on_gpu = tensor.cuda() if torch.distributed.get_backend() == "nccl" else tensor
    torch.distributed.broadcast(on_gpu, 0)
    return on_gpu.to(tensor.device)


def distributed_barrier() -> None:
    """Wait until all processes have come here."""
    if is_distributed():
        import torch.distributed

        torch.distributed.barrier()
