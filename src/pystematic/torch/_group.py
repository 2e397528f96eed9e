"""torch's process group of a run: made once a process, over a store that somebody outlives the processes with."""

from __future__ import annotations

import datetime
import itertools
import os
import sys
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, TCPStore

from pystematic._record import record
from pystematic.errors import ExperimentError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_TIMEOUT_S = 600.0
_stores_given = itertools.count()
STORE_TIMEOUT_S = 120.0


@record
class Meeting:
    """Where the processes of a run find each other: a store, in which they use names that begin with ``prefix``."""

    host: str
    port: int
    world_size: int
    prefix: str = "pystematic"

    def connect(self, *, opens: bool = False) -> Any:
        """Return a connection to the store, for one thread.

        Args:
            opens: whether this process holds the store.
        """
        store = TCPStore(
            self.host,
            self.port,
            self.world_size,
            is_master=opens,
            wait_for_workers=False,
            timeout=datetime.timedelta(seconds=STORE_TIMEOUT_S),
        )
        return PrefixStore(self.prefix, store)


def open_store(world_size: int) -> Any:
    """Open the store of a run on a free port of this machine; it lives as long as the object."""
    return TCPStore(
        "127.0.0.1",
        0,
        world_size,
        is_master=True,
        wait_for_workers=False,
        timeout=datetime.timedelta(seconds=STORE_TIMEOUT_S),
    )


def open_group(meeting: Meeting, rank: int, local_rank: int, parameters: Mapping[str, Any], *, opens: bool) -> Any:
    """Join the process group of a run, and return a connection to its store.

    Args:
        meeting: where the others are.
        rank: of this process.
        local_rank: which of this machine's GPUs is this process's.
        parameters: ``device``, ``cuda`` and ``collective_timeout`` of the run.
        opens: whether this process holds the store.

    Raises:
        ExperimentError: the others cannot be reached.
    """
    on_gpu = parameters.get("device") != "cpu" and parameters.get("cuda") is not False and torch.cuda.is_available()
    timeout_s = float(parameters.get("collective_timeout") or DEFAULT_TIMEOUT_S)
    try:
        store = meeting.connect(opens=opens)
        if on_gpu:
            torch.cuda.set_device(local_rank)
        hook = sys.excepthook
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=PrefixStore("group", store),
            rank=rank,
            world_size=meeting.world_size,
            timeout=datetime.timedelta(seconds=timeout_s),
        )
        sys.excepthook = hook  # torch has put one in its place that shows our frames
    except (RuntimeError, ValueError) as error:
        raise ExperimentError(
            f"rank {rank} of {meeting.world_size} cannot reach the others at {meeting.host}:{meeting.port}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    return store


def group_store() -> Any:
    """Return the store over which this process's group was made, whoever has made it.

    Each call gives one with names of its own, so all processes make the same calls.
    """
    return PrefixStore(f"pystematic-{next(_stores_given)}", dist.distributed_c10d._get_default_store())


def named_store(name: str) -> Any:
    """Return the store of this process's group with names of its own under ``name``, each time the same."""
    return PrefixStore(f"pystematic-{name}", dist.distributed_c10d._get_default_store())


def share_cores(processes: int) -> None:
    """Give this process its part of the machine's cores, unless the environment has decided already."""
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // processes))
