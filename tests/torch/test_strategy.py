"""What every strategy promises of the modules that it replicates, for those that one process can show."""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed

from pystematic.testing import StrategyCases
from pystematic.torch._ddp import DdpStrategy
from pystematic.torch._share import Share
from pystematic.torch._strategy import SingleStrategy, Strategy, tensors_in
from tests.torch.builders import make_model


@pytest.fixture(scope="module", autouse=True)
def _group() -> Iterator[None]:
    """A process group of one: what DistributedDataParallel needs to be made."""
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    before = sys.excepthook  # torch puts one in its place, and leaves it
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()
    sys.excepthook = before


@pytest.fixture(params=[SingleStrategy, DdpStrategy])
def strategy(request: pytest.FixtureRequest) -> Strategy:
    made: Strategy = request.param(Share(2))
    return made


class Named(torch.nn.Module):
    """A module with an attribute, a method and parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = make_model()
        self.temperature = 2.0

    def forward(self, x: torch.Tensor, *, twice: bool = False) -> torch.Tensor:
        scores: torch.Tensor = self.inner(x) / self.temperature
        return scores * 2 if twice else scores

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        labels: torch.Tensor = self(x).argmax(1)
        return labels


def share_of(strategy: Any) -> Share:
    share: Share = strategy._share
    return share


def test_a_module_stays_the_object_that_it_is(strategy: Strategy) -> None:
    module = Named()
    names, keys = [name for name, _ in module.named_parameters()], list(module.state_dict())
    strategy.replicate(module, {})
    assert type(module) is Named
    assert [name for name, _ in module.named_parameters()] == names
    assert list(module.state_dict()) == keys
    module.temperature = 4.0
    assert module.temperature == 4.0
    del module.temperature
    assert not hasattr(module, "temperature")


def test_a_call_gives_what_it_gave(strategy: Strategy) -> None:
    module, x = Named().eval(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    before = module(x, twice=True)
    strategy.replicate(module, {})
    assert torch.equal(module(x, twice=True), before)
    assert torch.equal(module.predict(x), before.argmax(1))
    assert torch.equal(module.train().eval()(x, twice=True), before)


def test_gradients_are_those_of_the_share(strategy: Strategy) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3)
    plain, module = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    module.load_state_dict(plain.state_dict())
    strategy.replicate(module, {})
    share_of(strategy).hand_out("context.loader", 1, 4)
    plain(x).sum().backward()
    module(x).sum().backward()
    assert module.weight.grad is not None
    assert plain.weight.grad is not None
    assert torch.allclose(module.weight.grad, plain.weight.grad * 0.5)


@dataclasses.dataclass
class Output:
    scores: torch.Tensor
    label: str


class Structured(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> Any:
        return {"output": Output(self.linear(x), "text"), "list": [(x, 1)]}


def test_any_structure_of_outputs_is_scaled(strategy: Strategy) -> None:
    module = Structured()
    strategy.replicate(module, {})
    share_of(strategy).hand_out("context.loader", 0, 4)
    module(torch.ones(2, 3))["output"].scores.sum().backward()
    assert module.linear.weight.grad is not None
    assert not module.linear.weight.grad.any()


def test_a_copy_is_a_plain_module(strategy: Strategy) -> None:
    module = Named()
    strategy.replicate(module, {})
    copied = copy.deepcopy(module)
    assert type(copied) is Named
    assert list(copied.state_dict()) == list(module.state_dict())
    share_of(strategy).hand_out("context.loader", 0, 4)
    copied(torch.ones(2, 3)).sum().backward()
    gradients = [parameter.grad for parameter in copied.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients[-1:])
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_module_without_trainable_parameters_is_left_alone(strategy: Strategy) -> None:
    module = make_model().requires_grad_(False)
    strategy.replicate(module, {})
    assert not module._forward_hooks
    assert not module._forward_pre_hooks


def test_without_gradients_nothing_is_synchronised(strategy: Strategy) -> None:
    module = Named()
    strategy.replicate(module, {})
    with torch.no_grad():
        module(torch.ones(2, 3))
        module(torch.ones(2, 3))
    module(torch.ones(2, 3)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_tensors_are_found_in_any_structure() -> None:
    a, b, c = torch.ones(1), torch.ones(2), torch.ones(3)
    assert [len(t) for t in tensors_in({"x": [a, (b,)], "y": Output(c, "text"), "z": 1})] == [1, 2, 3]
    assert tensors_in(None) == []
    assert os.environ.get("RANK") is None


class TestSingleStrategy(StrategyCases):
    def make_strategy(self, share: Share) -> Strategy:
        return SingleStrategy(share)


class TestDdpStrategy(StrategyCases):
    def make_strategy(self, share: Share) -> Strategy:
        return DdpStrategy(share)
