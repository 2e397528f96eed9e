"""How processes that a launcher has started tell rank 0 of their end, so that the run's status is that of all.

A launcher may notice nothing, or may only say that some process has failed; the record is rank 0's.
"""

from __future__ import annotations

import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

from pystematic.errors import ExperimentError, RunStopped
from pystematic.torch._launch import HEAR_OTHERS_S, Report

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_PERIOD_S = 0.05


def call_among_others(call: Callable[[], Any], store: Any, rank: int, world_size: int, limit_s: float) -> Any:
    """Call the main function, tell the others how it ended, and return or raise what it did.

    Rank 0 returns when all others have ended, at most ``limit_s`` later.

    Raises:
        ExperimentError: in rank 0: another process has failed, or has not ended.
    """
    try:
        result = call()
    except (KeyboardInterrupt, RunStopped, SystemExit):
        _tell(store, rank, Report("stopped", 1, time.time()))
        raise
    except BaseException as error:
        from pystematic.run import format_traceback

        own = Report("failed", rank, time.time(), type(error).__name__, str(error), format_traceback(error))
        _tell(store, rank, own)
        if rank == 0 and own.is_secondary:
            cause = _first_failure(_wait_for_others(store, world_size, HEAR_OTHERS_S))
            if cause is not None:
                raise _exception_of(cause, world_size) from None
        raise
    _tell(store, rank, Report("done", 0, time.time()))
    if rank != 0:
        return result
    ends = _wait_for_others(store, world_size, limit_s)
    cause = _first_failure(ends)
    if cause is not None:
        raise _exception_of(cause, world_size)
    missing = [other for other in range(1, world_size) if other not in ends]
    if missing:
        raise ExperimentError(
            f"rank 0 has ended, and {limit_s:g} s later there is still no word of rank {', '.join(map(str, missing))}. "
            f"See log.rank-{missing[0]}.txt; --collective-timeout bounds this."
        )
    return result


def _tell(store: Any, rank: int, end: Report) -> None:
    try:
        store.set(f"end/{rank}", pickle.dumps(vars(end)))
    except RuntimeError:  # the store is gone, and with it whoever could read
        return


def _wait_for_others(store: Any, world_size: int, limit_s: float) -> dict[int, Report]:
    """Return the ends of the others by rank, as soon as one has failed or all have ended."""
    deadline = time.monotonic() + limit_s
    pause = threading.Event()  # a signal interrupts it
    ends: dict[int, Report] = {}
    while len(ends) < world_size - 1 and _first_failure(ends) is None and time.monotonic() < deadline:
        for rank in range(1, world_size):
            if rank not in ends and store.check([f"end/{rank}"]):
                ends[rank] = Report(**pickle.loads(store.get(f"end/{rank}")))
        pause.wait(LOOK_PERIOD_S)
    return ends


def _first_failure(ends: dict[int, Report]) -> Report | None:
    failed = [end for end in ends.values() if end.kind == "failed" and not end.is_secondary]
    return min(failed, key=lambda end: end.at, default=None)


def _exception_of(end: Report, world_size: int) -> ExperimentError:
    from pystematic.run import set_traceback

    who = f"rank {end.code} of {world_size}"
    failed = ExperimentError(f"{who} failed: {end.type}: {end.message}")
    set_traceback(failed, f"{who} failed:\n{end.traceback}")
    return failed
