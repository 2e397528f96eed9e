"""`run_on_ranks`, which other tests stand on: results, the words of the rank that fails, and an end that fails."""

from __future__ import annotations

import atexit
import os

import pytest

from pystematic.testing import run_on_ranks
from pystematic.torch import get_rank

pytestmark = pytest.mark.timeout(180)


def own_rank() -> int:
    return get_rank()


def abort_at_the_end() -> int:
    """Return a result, and abort where the process ends, as torch does now and then."""
    if get_rank() == 1:
        atexit.register(os.abort)
    return get_rank()


def leave_in_the_middle() -> None:
    os._exit(3)


def fail_on_one() -> None:
    if get_rank() == 1:
        raise ValueError("the words of rank 1")


def test_results_come_by_rank() -> None:
    assert run_on_ranks(own_rank, 2) == [0, 1]


def test_a_process_that_aborts_behind_its_result_has_told_it() -> None:
    assert run_on_ranks(abort_at_the_end, 2) == [0, 1]


def test_the_first_rank_that_raises_is_quoted() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)^rank 1: .*ValueError: the words of rank 1"):
        run_on_ranks(fail_on_one, 2)


def test_a_process_that_ends_without_a_result_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="exit code 3"):
        run_on_ranks(leave_in_the_middle, 1)
