"""`run_on_ranks`: a function in several processes that form a group, for tests of what only several can show."""

from __future__ import annotations

import glob
import pickle
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_S = 60.0


def run_on_ranks(function: Callable[..., Any], world_size: int, *args: Any) -> list[Any]:
    """Call ``function(*args)`` in ``world_size`` new processes with a process group over gloo; return all results.

    Args:
        function: of a module that can be imported; its result and ``args`` can be pickled.
        world_size: how many processes.
        args: given to all of them.

    Raises:
        RuntimeError: one of them has raised; the text is its traceback, and the others are ended.

    Example:
        >>> def total():
        ...     return pystematic.torch.Context().all_reduce(pystematic.torch.get_rank())
        >>> assert run_on_ranks(total, 2) == [1, 1]
    """
    # Whoever has no torch has no ranks.
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

    with tempfile.TemporaryDirectory() as folder:
        try:
            spawn(_be_rank, (world_size, folder, function, args), nprocs=world_size)  # type: ignore[no-untyped-call]
        except (ProcessRaisedException, ProcessExitedException) as error:
            # The first one: what the others raise is mostly that they have lost it.
            texts = [Path(path).read_text(encoding="utf-8") for path in sorted(glob.glob(f"{folder}/error-*"))]
            # torch aborts now and then where a process that had a group ends; all have told their results by then.
            if texts or not Path(folder, "done").exists():
                raise RuntimeError(texts[0] if texts else str(error)) from None
        results = []
        for rank in range(world_size):
            with open(f"{folder}/{rank}", "rb") as file:
                results.append(pickle.load(file))  # written by our own process
        return results


def _be_rank(rank: int, world_size: int, folder: str, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    import datetime

    import torch

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=world_size,
        timeout=datetime.timedelta(seconds=TIMEOUT_S),
    )
    try:
        try:
            result = function(*args)
        except BaseException:
            with open(f"{folder}/error-{time.monotonic_ns():020}-{rank}", "w", encoding="utf-8") as file:
                file.write(f"rank {rank}: {traceback.format_exc()}")
            raise
        with open(f"{folder}/{rank}", "wb") as output:
            pickle.dump(result, output)
        torch.distributed.barrier()
        Path(folder, "done").touch()
    finally:
        torch.distributed.destroy_process_group()
