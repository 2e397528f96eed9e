"""Whose meters are recorded: those of each machine once, under its number where there are several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pystematic.run import Place
from pystematic.run._system import SystemSampler


class ListRecorder:
    def __init__(self) -> None:
        self.tags: set[str] = set()

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        self.tags.update(values)


def tags_of(place: Place, folder: Path) -> set[str]:
    recorder = ListRecorder()
    run: Any = SimpleNamespace(place=place, output_dir=folder, recorder=recorder)
    sampler = SystemSampler(run)
    sampler.sample()
    sampler.close()
    return recorder.tags


@pytest.mark.parametrize("place", [Place(), Place(world_size=2, local_world_size=2)])
def test_the_meters_of_one_machine_have_no_number(place: Place, tmp_path: Path) -> None:
    assert "system/memory_used_bytes" in tags_of(place, tmp_path)


def test_the_meters_of_several_machines_stand_under_their_numbers(tmp_path: Path) -> None:
    tags = tags_of(Place(2, 0, world_size=4, local_world_size=2, node_rank=1), tmp_path)
    assert "system/node1/memory_used_bytes" in tags
    assert all(tag.startswith("system/node1/") for tag in tags)
