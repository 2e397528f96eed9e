"""Seeds: the run's own stream, named seeds, and the generators of the libraries."""

from __future__ import annotations

import linecache
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import pystematic
from pystematic.errors import ExperimentError
from pystematic.run._imports import ImportWatch
from pystematic.run._seeds import SeedStream, make_deterministic, seed_libraries
from tests.builders import run_python, write_program
from tests.run.builders import run_main


@pytest.fixture(autouse=True)
def _generators() -> Iterator[None]:
    states = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    numpy.random.set_state(states[1])
    torch.set_rng_state(states[2])


def make_watch() -> ImportWatch:
    def fail(name: str, error: Exception) -> None:
        raise error

    return ImportWatch(fail)


def test_the_stream_is_that_of_pystematic_1() -> None:
    stream, generator = SeedStream(12345), random.Random(12345)
    assert [stream.new_seed(), stream.new_seed(16), stream.new_seed(nbits=64)] == [
        generator.getrandbits(32),
        generator.getrandbits(16),
        generator.getrandbits(64),
    ]


def test_a_named_seed_does_not_depend_on_what_was_drawn_before() -> None:
    first, second = SeedStream(1), SeedStream(1)
    second.new_seed()
    assert first.new_seed("split") == second.new_seed("split")
    assert first.new_seed() != second.new_seed()


def test_a_named_seed_depends_on_name_and_random_seed() -> None:
    seeds = {SeedStream(seed).new_seed(name) for seed in (1, 2, -1) for name in ("a", "b", "", "ü\udc80")}
    assert len(seeds) == 12


def test_drawing_a_named_seed_leaves_the_stream_alone() -> None:
    first, second = SeedStream(1), SeedStream(1)
    first.new_seed("split")
    assert first.new_seed() == second.new_seed()


@pytest.mark.parametrize("name", [None, "split"])
def test_ranks_get_the_same_seed_unless_they_ask_for_their_own(name: str | None) -> None:
    ranks = range(3)
    assert len({SeedStream(1, rank).new_seed(name) for rank in ranks}) == 1
    assert len({SeedStream(1, rank).new_seed(name, per_rank=True) for rank in ranks}) == 3


@given(st.integers(), st.integers(1, 200), st.one_of(st.none(), st.text()), st.booleans())
def test_a_seed_has_no_more_bits_than_asked_for(seed: int, nbits: int, name: str | None, per_rank: bool) -> None:
    assert 0 <= SeedStream(seed, 1).new_seed(name, nbits, per_rank=per_rank) < 2**nbits


@pytest.mark.parametrize("name", [None, "split"])
@pytest.mark.parametrize("nbits", [0, -1])
def test_a_seed_has_at_least_one_bit(name: str | None, nbits: int) -> None:
    with pytest.raises(ValueError, match=f"^nbits={nbits}: a seed has at least one bit$"):
        SeedStream(1).new_seed(name, nbits)


def test_the_libraries_are_seeded_where_they_are_loaded() -> None:
    watch = make_watch()
    seed_libraries(watch, 2**40 + 5)
    drawn = random.random(), numpy.random.random(), torch.rand(1).item()
    random.seed(2**40 + 5)
    numpy.random.seed(5)
    torch.manual_seed(2**40 + 5)
    assert drawn == (random.random(), numpy.random.random(), torch.rand(1).item())


@pytest.mark.parametrize("limit", [None, 7])
def test_seeding_torch_reads_no_source_for_stacks_that_nobody_sees(
    monkeypatch: pytest.MonkeyPatch, limit: int | None
) -> None:
    def refuse(*args: object) -> list[str]:
        raise AssertionError("a source file is read")

    if limit is not None:
        monkeypatch.setattr(sys, "tracebacklimit", limit, raising=False)
    monkeypatch.setattr(linecache, "getlines", refuse)
    seed_libraries(make_watch(), 3)
    assert torch.initial_seed() == 3
    assert getattr(sys, "tracebacklimit", None) == limit


def test_libraries_are_seeded_when_the_main_function_imports_them(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import sys
        import pystematic

        @pystematic.experiment
        def train(parameters):
            assert "numpy" not in sys.modules and "torch" not in sys.modules
            import random, numpy, torch
            print(random.random(), numpy.random.random(), torch.rand(1).item())

        train.cli()
        """,
    )
    done = [run_python(program, "--random-seed", "7", cwd=working_dir) for _ in range(2)]
    assert done[0].stdout == done[1].stdout
    random.seed(7)
    numpy.random.seed(7)
    torch.manual_seed(7)
    assert done[0].stdout == f"{random.random()} {numpy.random.random()} {torch.rand(1).item()}\n"


def test_a_run_seeds_the_libraries_unless_told_not_to(tmp_path: Path) -> None:
    def draw(**parameters: Any) -> Any:
        return run_main(tmp_path, lambda active: (random.random(), numpy.random.random()), **parameters).result

    assert draw(random_seed=3) == draw(random_seed=3) != draw(random_seed=4)
    random.seed(1)
    expected = random.random()
    random.seed(1)
    assert draw(random_seed=3, seed_libraries=False)[0] == expected


def test_seeds_of_a_run_come_from_its_random_seed(tmp_path: Path) -> None:
    def draw(active: object) -> tuple[int, int, int, int]:
        return (
            pystematic.new_seed(),
            pystematic.new_seed(16),
            pystematic.new_seed("split"),
            pystematic.new_seed("split", nbits=64, per_rank=True),
        )

    stream = SeedStream(5)
    expected = stream.new_seed(), stream.new_seed(16), stream.new_seed("split"), stream.new_seed("split", 64)
    assert run_main(tmp_path, draw, random_seed=5).result == expected


def test_without_a_run_there_is_no_seed() -> None:
    with pytest.raises(ExperimentError) as caught:
        pystematic.new_seed()
    assert str(caught.value) == (
        "new_seed() is known only while an experiment runs, and none is running in this process."
    )


def test_deterministic_asks_torch_and_takes_it_back(tmp_path: Path) -> None:
    def look(active: object) -> tuple[bool, bool, str | None]:
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        )

    torch.backends.cudnn.benchmark = True
    try:
        before = look(None)
        assert run_main(tmp_path, look, deterministic=True).result == (True, False, ":4096:8")
        assert look(None) == before
    finally:
        torch.backends.cudnn.benchmark = False


def test_what_the_program_had_set_comes_back() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        make_deterministic(make_watch())()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_setting_of_the_programs_own_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    make_deterministic(make_watch())()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    take_back = make_deterministic(make_watch())
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    take_back()
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
