"""Moving batches of any nesting: types are kept, what need not move is the same object."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import attrs
import pytest
import torch

from pystematic.torch import move_to_device


class Pair(NamedTuple):
    images: torch.Tensor
    labels: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    images: torch.Tensor
    name: str = "a"
    size: int = dataclasses.field(init=False, default=3)


@dataclasses.dataclass(slots=True)
class Slots:
    images: list[torch.Tensor]


@attrs.frozen
class Attrs:
    images: torch.Tensor


class Sentences(list[torch.Tensor]):
    language = "en"


class Movable:
    place = "cpu"

    def to(self, device: str) -> Movable:
        moved = Movable()
        moved.place = device
        return moved


def leaves(obj: Any) -> list[torch.Tensor]:
    if isinstance(obj, torch.Tensor):
        return [obj]
    if isinstance(obj, dict):
        return [leaf for item in obj.values() for leaf in leaves(item)]
    if isinstance(obj, (list, tuple)):
        return [leaf for item in obj for leaf in leaves(item)]
    return leaves(obj.images)


@pytest.mark.parametrize(
    "batch",
    [
        torch.ones(2),
        [torch.ones(2), "text", 3, None],
        (torch.ones(2), [torch.ones(1)]),
        Pair(torch.ones(2), {"deep": torch.ones(1)}),
        Frozen(torch.ones(2)),
        Slots([torch.ones(2)]),
        Attrs(torch.ones(2)),
        Sentences([torch.ones(2)]),
        collections.OrderedDict(a=torch.ones(2)),
        collections.defaultdict(list, a=[torch.ones(2)]),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_batches_keep_their_types(batch: Any) -> None:
    if isinstance(batch, list) and "text" in batch:
        tensors = [item for item in move_to_device("meta", batch) if isinstance(item, torch.Tensor)]
        assert move_to_device("meta", batch)[1:] == ["text", 3, None]
    else:
        tensors = leaves(move_to_device("meta", batch))
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert type(move_to_device("meta", batch)) is type(batch)
    assert move_to_device("cpu", batch) is batch


def test_fields_and_attributes_beside_tensors_stay() -> None:
    moved = move_to_device("meta", Frozen(torch.ones(2), name="b"))
    assert (moved.name, moved.size) == ("b", 3)
    assert move_to_device("meta", Sentences([torch.ones(1)])).language == "en"


def test_the_original_is_left_as_it_was() -> None:
    batch = {"a": [torch.ones(2)]}
    move_to_device("meta", batch)
    assert batch["a"][0].device.type == "cpu"


def test_what_can_move_by_itself_is_asked() -> None:
    assert move_to_device("meta", [Movable()])[0].place == "meta"
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(2), torch.ones(1)])
    assert move_to_device("meta", packed).data.device.type == "meta"


def test_classes_are_left_alone() -> None:
    assert move_to_device("meta", [torch.nn.Linear, Frozen])[1] is Frozen


def test_several_arguments_come_back_as_a_tuple() -> None:
    images, labels = move_to_device("meta", torch.ones(2), torch.ones(1))
    assert (images.device.type, labels.device.type) == ("meta", "meta")
