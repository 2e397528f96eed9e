"""`Comparison`: refuses what one process registers and another does not, before a collective could mix the two up.

Compared over the store, not by a collective: where the processes are at different places, a collective of the one
would meet another collective of the other, and both would hang or get each other's numbers.
"""

from __future__ import annotations

import hashlib
import json
import time

from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# Short beside the work that a registration is; not a blocking call, which signals could not interrupt.
LOOK_PERIOD_S = 0.002


def check_sequence(name: str, indices: Sequence[Any], rank: int, world_size: int) -> None:
    """Check that a sampler gives this process the indices that it gives the others.

    Nobody waits: whoever comes later sees what the others got. So a process may also iterate alone.

    Args:
        name: the loader's, unique for each iteration, the same on all processes; up to the first ``/`` for people.
        indices: what the sampler gives here.
        rank: of this process.
        world_size: of the run.

    Raises:
        ExperimentError: another process got other indices.
    """
    from pystematic.torch._group import named_store  # imports torch

    store = named_store("samplers")
    digest = hashlib.blake2b(repr(indices).encode(), digest_size=16).hexdigest()
    store.set(f"{name}/{rank}", digest)
    for other in range(world_size):
        key = f"{name}/{other}"
        if other != rank and store.check([key]) and store.get(key).decode() != digest:
            raise ExperimentError(
                f"{name.partition('/')[0]}: its sampler gives other indices on rank {rank} than on rank {other}. Each "
                "process gets its part of one sequence, which must be the same on all of them: let the sampler give "
                "all indices (no DistributedSampler), and draw from the global generators only, which are seeded for "
                "it."
            )


class Comparison:
    """One process's part.

    Args:
        store: of the run; used by the thread that registers.
        rank: of this process.
        world_size: of the run.
        limit_s: how long this process waits for the others.
    """

    def __init__(self, store: Any, rank: int, world_size: int, limit_s: float) -> None:
        self._store = store
        self._rank = rank
        self._world_size = world_size
        self._limit_s = limit_s
        self._number = 0

    def check(self, what: str, lines: Sequence[str]) -> None:
        """Wait until all processes have come to their comparison of this number, and compare.

        Args:
            what: what this process is about to do, as an error names it.
            lines: what it is to do that with.

        Raises:
            ExperimentError: another process is about to do something else, or has not come within the time limit.
        """
        self._number += 1
        mine = [what, *lines]
        self._store.set(self._key(self._rank), json.dumps(mine))
        others = [rank for rank in range(self._world_size) if rank != self._rank]
        self._wait_for(others, what)
        for rank in others:
            theirs = json.loads(self._store.get(self._key(rank)))
            if theirs != mine:
                raise ExperimentError(self._difference(rank, mine, theirs))

    def _key(self, rank: int) -> str:
        return f"comparison/{self._number}/{rank}"

    def _wait_for(self, others: list[int], what: str) -> None:
        deadline = time.monotonic() + self._limit_s
        while not self._store.check([self._key(rank) for rank in others]):
            if time.monotonic() >= deadline:
                missing = [str(rank) for rank in others if not self._store.check([self._key(rank)])]
                raise ExperimentError(
                    f"rank {self._rank} has waited {self._limit_s:g} s with {what} for rank {', '.join(missing)}. All "
                    "processes register the same, in the same order."
                )
            time.sleep(LOOK_PERIOD_S)

    def _difference(self, rank: int, mine: list[str], theirs: list[str]) -> str:
        here, there = next(
            ((a, b) for a, b in zip(mine, theirs, strict=False) if a != b),
            (f"{len(mine) - 1} of them", f"{len(theirs) - 1} of them"),
        )
        return (
            f"{mine[0]}: {here} on rank {self._rank}, {there} on rank {rank}. All processes register the same, in the "
            "same order; what only one of them needs is a local variable."
        )
