"""Our samplers pass the cases that every sampler has to pass."""

from __future__ import annotations

import importlib.util

import pytest

from pystematic.sweep import Sampler, Space, make_sampler
from pystematic.testing import SamplerCases


class TestRandom(SamplerCases):
    def make_sampler(self, space: Space, seed: int) -> Sampler:
        return make_sampler("random", space, seed)


class TestSobol(SamplerCases):
    def make_sampler(self, space: Space, seed: int) -> Sampler:
        return make_sampler("sobol", space, seed)


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed")
class TestTpe(SamplerCases):
    def make_sampler(self, space: Space, seed: int) -> Sampler:
        return make_sampler("tpe", space, seed)
