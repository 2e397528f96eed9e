"""What processes register is compared over a store, and refused where it differs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from torch._C._distributed_c10d import HashStore

from pystematic.errors import ExperimentError
from pystematic.torch._comparison import Comparison


def compare(*sides: tuple[str, list[str]], limit_s: float = 20.0) -> list[str | None]:
    """Have each of several processes, which are threads here, check its side; return what each has raised."""
    store = HashStore()

    def check(rank: int) -> str | None:
        try:
            Comparison(store, rank, len(sides), limit_s).check(*sides[rank])
        except ExperimentError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(len(sides)) as threads:
        return list(threads.map(check, range(len(sides))))


def test_the_same_on_all_processes_is_accepted() -> None:
    side = ("registering context.model", ["Linear", "trainable weight (2, 3)"])
    assert compare(side, side, side) == [None, None, None]


def test_another_module_is_refused_by_all_processes() -> None:
    one = ("registering context.model", ["Linear", "trainable weight (2, 3)"])
    other = ("registering context.model", ["Linear", "trainable weight (2, 4)"])
    assert compare(one, other) == [
        "registering context.model: trainable weight (2, 3) on rank 0, trainable weight (2, 4) on rank 1. All "
        "processes register the same, in the same order; what only one of them needs is a local variable.",
        "registering context.model: trainable weight (2, 4) on rank 1, trainable weight (2, 3) on rank 0. All "
        "processes register the same, in the same order; what only one of them needs is a local variable.",
    ]


def test_another_order_is_refused() -> None:
    first, second = compare(("registering context.a", ["Linear"]), ("registering context.b", ["Linear"]))
    assert first is not None
    assert first.startswith("registering context.a: registering context.a on rank 0, registering context.b on rank 1.")
    assert second is not None


def test_a_missing_part_is_counted() -> None:
    first, _ = compare(("registering context.a", ["Linear"]), ("registering context.a", ["Linear", "buffer mean (3,)"]))
    assert first is not None
    assert "1 of them on rank 0, 2 of them on rank 1" in first


def test_a_process_that_does_not_come_is_named() -> None:
    comparison = Comparison(HashStore(), 0, 3, limit_s=0.05)
    with pytest.raises(ExperimentError, match=r"rank 0 has waited 0\.05 s with registering context\.a for rank 1, 2"):
        comparison.check("registering context.a", [])
