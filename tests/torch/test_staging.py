"""Staging: copies that do not change with the program, in buffers that are used again."""

from __future__ import annotations

from collections import OrderedDict

import torch

from pystematic.torch._staging import Staging


def test_a_copy_does_not_change_with_the_original() -> None:
    tensor = torch.ones(3)
    copied = Staging().copy({"x": [tensor, (1, "a")], "y": {1, 2}})
    tensor.zero_()
    assert torch.equal(copied["x"][0], torch.ones(3))
    assert copied["x"][1] == (1, "a")
    assert copied["y"] == {1, 2}


def test_the_next_copy_uses_the_same_memory() -> None:
    staging = Staging()
    first = staging.copy([torch.ones(3)])[0].data_ptr()
    assert staging.copy([torch.zeros(3)])[0].data_ptr() == first


def test_tensors_of_one_memory_share_it_in_the_copy() -> None:
    tensor = torch.ones(3)
    copied = Staging().copy([tensor, tensor, torch.ones(3)])
    assert copied[0] is copied[1]
    assert copied[2] is not copied[0]


def test_the_versions_in_a_module_state_are_kept() -> None:
    state = torch.nn.BatchNorm1d(2).state_dict()
    copied = Staging().copy(state)
    assert type(copied) is OrderedDict
    assert copied._metadata == state._metadata  # type: ignore[attr-defined]
