"""`StrategyCases`: what every strategy promises of the modules that it replicates, as far as one process shows it."""

from __future__ import annotations

import abc
import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pystematic.torch._share import Share
    from pystematic.torch._strategy import Strategy


class StrategyCases(abc.ABC):
    """Subclass it as ``TestMyStrategy`` and override `make_strategy`.

    ``world_size`` is 2 for the arithmetic, while the process group of the test has one process.
    """

    @abc.abstractmethod
    def make_strategy(self, share: Share) -> Strategy:
        """Return a new strategy that asks ``share`` for the factor of gradients."""

    def _replicated(self, module: Any) -> tuple[Any, Share]:
        from pystematic.torch._share import Share  # the tests of other plug points need no torch

        share = Share(2)
        self.strategy = self.make_strategy(share)
        self.strategy.replicate(module, {})
        return module, share

    @staticmethod
    def _model() -> Any:
        import torch

        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.GELU(), torch.nn.Linear(4, 2)).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.uniform_(-1, 1, generator=generator)
        return model

    @staticmethod
    def _gradients(module: Any, inputs: Any) -> list[Any]:
        module.zero_grad()
        module(inputs).mean().backward()
        return [parameter.grad.clone() for parameter in module.parameters()]

    def test_a_strategy_has_a_name(self) -> None:
        self._replicated(self._model())
        assert isinstance(self.strategy.name, str)

    def test_a_module_stays_the_object_that_it_is(self) -> None:
        module = self._model()
        kind, names, keys = type(module), [name for name, _ in module.named_parameters()], list(module.state_dict())
        self._replicated(module)
        assert type(module) is kind
        assert [name for name, _ in module.named_parameters()] == names
        assert list(module.state_dict()) == keys

    def test_gradients_are_scaled_by_the_share_of_the_batch(self) -> None:
        import torch

        inputs = torch.ones(2, 3, dtype=torch.float64)
        whole = self._gradients(self._model(), inputs)
        module, share = self._replicated(self._model())
        share.hand_out("context.loader", 1, 4)
        for gradient, expected in zip(self._gradients(module, inputs), whole, strict=True):
            assert torch.allclose(gradient, expected * 0.5, rtol=1e-12, atol=0)

    def test_gradients_of_modules_one_behind_the_other_are_scaled_once(self) -> None:
        import torch

        inputs = torch.ones(2, 3, dtype=torch.float64)
        whole = self._gradients(self._model(), inputs)
        module = self._model()
        first, last = module[0], module[2]
        _, share = self._replicated(first)
        self.strategy.replicate(last, {})
        share.hand_out("context.loader", 1, 4)
        for gradient, expected in zip(self._gradients(module, inputs), whole, strict=True):
            assert torch.allclose(gradient, expected * 0.5, rtol=1e-12, atol=0)

    def test_gradients_of_a_module_inside_of_another_are_scaled_once(self) -> None:
        import torch

        inputs = torch.ones(2, 3, dtype=torch.float64)
        whole = self._gradients(self._model(), inputs)
        module = self._model()
        _, share = self._replicated(module[2])
        self.strategy.replicate(module, {})
        share.hand_out("context.loader", 1, 4)
        for gradient, expected in zip(self._gradients(module, inputs), whole, strict=True):
            assert torch.allclose(gradient, expected * 0.5, rtol=1e-12, atol=0)

    def test_a_module_that_has_raised_works_afterwards(self) -> None:
        import torch

        module, share = self._replicated(self._model())
        share.hand_out("context.loader", 1, 4)
        try:
            module(torch.ones(2, 7, dtype=torch.float64))
        except RuntimeError:
            pass
        inputs = torch.ones(2, 3, dtype=torch.float64)
        whole = self._gradients(self._model(), inputs)
        for gradient, expected in zip(self._gradients(module, inputs), whole, strict=True):
            assert torch.allclose(gradient, expected * 0.5, rtol=1e-12, atol=0)

    def test_a_copy_is_not_replicated(self) -> None:
        import torch

        inputs = torch.ones(2, 3, dtype=torch.float64)
        whole = self._gradients(self._model(), inputs)
        module, share = self._replicated(self._model())
        share.hand_out("context.loader", 1, 4)
        for gradient, expected in zip(self._gradients(copy.deepcopy(module), inputs), whole, strict=True):
            assert torch.equal(gradient, expected)

    def test_nothing_is_done_without_gradients(self) -> None:
        import torch

        module, _ = self._replicated(self._model())
        with torch.no_grad():
            assert not module(torch.ones(2, 3, dtype=torch.float64)).requires_grad

    def test_a_module_without_trainable_parameters_is_left_alone(self) -> None:
        module = self._model().requires_grad_(False)
        self._replicated(module)
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
