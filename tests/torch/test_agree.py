"""All processes stop at the end of the same step. Each is a thread here, with a store of one process between them."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch._C._distributed_c10d import HashStore, Store, TCPStore

from pystematic.run import StopReason
from pystematic.torch._agree import StoreAgreement
from tests.builders import wait_until

LIMIT_S = 20.0


class Loop:
    """A process: ends steps until the agreement says stop, or it has ended all."""

    def __init__(self, store: Store, rank: int, world_size: int, steps: int) -> None:
        self.agreement = StoreAgreement(store, rank, world_size)
        self.steps = steps
        self.step = 0
        self.reason: StopReason | None = None

    def run(self, meet: Callable[[], object]) -> int | None:
        """Return the step at which it stopped, None when it came to its end."""
        try:
            while self.step < self.steps:
                meet()
                self.step += 1
                self.reason = self.agreement.agreed(self.step)
                if self.reason is not None:
                    return self.step
            return None
        finally:
            self.agreement.close()


def run_all(loops: list[Loop], meet: Callable[[], object]) -> list[int | None]:
    with ThreadPoolExecutor(len(loops)) as pool:
        futures = [pool.submit(loop.run, meet) for loop in loops]
        return [future.result(LIMIT_S) for future in futures]


def reason(signum: int = signal.SIGUSR1) -> StopReason:
    return StopReason(signum, 128 + signum, saves=True)


@pytest.mark.parametrize("seed", range(5))
def test_processes_that_meet_in_each_step_stop_at_the_same_one(seed: int) -> None:
    world_size, store = 3, HashStore()
    loops = [Loop(store, rank, world_size, 10**7) for rank in range(world_size)]
    barrier = threading.Barrier(world_size)  # what the collectives of a step are
    generator = random.Random(seed)
    asked_at, asker = generator.randrange(1, 500), generator.randrange(world_size)

    def meet() -> None:
        barrier.wait(LIMIT_S)
        if loops[asker].step >= asked_at:
            loops[asker].agreement.ask(reason())

    stopped = run_all(loops, meet)
    assert len(set(stopped)) == 1
    assert stopped[0] is not None
    assert stopped[0] > asked_at


def test_the_first_question_counts_and_all_get_its_reason() -> None:
    store = HashStore()
    loops = [Loop(store, rank, 2, 10**7) for rank in range(2)]
    barrier = threading.Barrier(2)
    loops[0].agreement.ask(reason(signal.SIGUSR1))
    loops[0].agreement.ask(reason(signal.SIGTERM))
    run_all(loops, lambda: barrier.wait(LIMIT_S))
    assert [loop.reason.signum for loop in loops if loop.reason] == [signal.SIGUSR1, signal.SIGUSR1]


def test_without_a_question_nobody_stops() -> None:
    store = HashStore()
    loops = [Loop(store, rank, 2, 1000) for rank in range(2)]
    assert run_all(loops, lambda: None) == [None, None]


def test_nobody_waits_for_a_process_that_has_ended_its_loop() -> None:
    store = HashStore()
    ended, going_on = Loop(store, 0, 2, 3), Loop(store, 1, 2, 200)
    assert ended.run(lambda: None) is None
    going_on.agreement.ask(reason())
    wait_until(lambda: going_on.agreement._promise is not None, LIMIT_S)
    assert going_on.run(lambda: None) is None
    assert going_on.step == 200


def test_processes_with_a_real_store_agree() -> None:
    master = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def connect() -> Store:
        return TCPStore("127.0.0.1", master.port, is_master=False, wait_for_workers=False)

    loops = [Loop(connect(), rank, 2, 10**7) for rank in range(2)]
    barrier = threading.Barrier(2)
    loops[1].agreement.ask(reason())
    stopped = run_all(loops, lambda: barrier.wait(LIMIT_S))
    assert stopped[0] == stopped[1] is not None
