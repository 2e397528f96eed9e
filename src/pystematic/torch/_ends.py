"""How processes that a launcher has started tell rank 0 of their end, so that the run's status is that of all.

A launcher may notice nothing, or may only say that some process has failed; the record is rank 0's.
"""

from __future__ import annotations

import pickle
import threading
import time
from typing import TYPE_CHECKING, Any

from pystematic.errors import ExperimentError, RunStopped
from pystematic.torch._report import HEAR_OTHERS_S, Report, exception_of, first_cause, report_of

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_PERIOD_S = 0.05


def call_among_others(
    call: Callable[[], Any],
    store: Any,
    rank: int,
    world_size: int,
    limit_s: float,
    asked: Callable[[], BaseException | None] = lambda: None,
) -> Any:
    """Call the main function, tell the others how it ended, and return or raise what it did.

    Rank 0 returns when all others have ended, at most ``limit_s`` later.

    Args:
        call: calls it.
        store: of the run.
        rank: of this process.
        world_size: of the run.
        limit_s: how long rank 0 waits for the others.
        asked: returns the exception by which the run was asked to end, None where nobody did.

    Raises:
        ExperimentError: in rank 0: another process has not ended. Whatever the main function raised in the first one
            that failed is raised in rank 0 too, where that only noticed that the other has gone.
    """
    try:
        result = call()
    except BaseException as error:
        own = report_of(error, rank)
        _tell(store, own)
        if rank == 0 and own.is_symptom:
            behind = _cause_of_symptom(store, world_size, asked())
            if behind is not None:
                raise behind from None
        raise
    _tell(store, Report("done", 0, time.time(), rank))
    if rank != 0:
        return result
    ends = _wait_for_others(store, world_size, limit_s)
    cause = _failure_in(ends)
    if cause is not None:
        raise exception_of(cause, world_size)
    missing = [other for other in range(1, world_size) if other not in ends]
    if missing:
        raise ExperimentError(
            f"rank 0 has ended, and {limit_s:g} s later there is still no word of rank {', '.join(map(str, missing))}. "
            f"See log.rank-{missing[0]}.txt; --collective-timeout bounds this."
        )
    return result


def _cause_of_symptom(store: Any, world_size: int, asked: BaseException | None) -> BaseException | None:
    """Return what is behind the loss of another process: its failure, or the end that was asked for."""
    try:
        cause = _failure_in(_wait_for_others(store, world_size, HEAR_OTHERS_S))
    except (KeyboardInterrupt, RunStopped):  # the launcher ends all, for one has gone: that is no interruption
        cause = None
    return asked if cause is None else exception_of(cause, world_size)


def _tell(store: Any, end: Report) -> None:
    try:
        store.set(f"end/{end.rank}", pickle.dumps(end))
    except RuntimeError:  # the store is gone, and with it whoever could read
        return


def _wait_for_others(store: Any, world_size: int, limit_s: float) -> dict[int, Report]:
    """Return the ends of the others by rank, as soon as one has failed or all have ended."""
    deadline = time.monotonic() + limit_s
    pause = threading.Event()  # a signal interrupts it
    ends: dict[int, Report] = {}
    while len(ends) < world_size - 1 and _failure_in(ends) is None and time.monotonic() < deadline:
        for rank in range(1, world_size):
            if rank not in ends and store.check([f"end/{rank}"]):
                ends[rank] = pickle.loads(store.get(f"end/{rank}"))
        pause.wait(LOOK_PERIOD_S)
    return ends


def _failure_in(ends: dict[int, Report]) -> Report | None:
    return first_cause([end for end in ends.values() if end.kind in ("failed", "exited") and not end.is_symptom])
