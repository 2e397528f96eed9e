"""Clusters, started when the first test of a session asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.process.clusters import run_ray, run_slurm


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of two nodes."""
    yield from run_slurm(tmp_path_factory.getbasetemp().parent)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    """The address of a Ray cluster of two nodes."""
    yield from run_ray()
