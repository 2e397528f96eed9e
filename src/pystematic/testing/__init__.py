"""For tests: cases that a backend, executor, sampler or strategy must pass, and functions run in several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._backends import BackendCases
    from ._executors import ExecutorCases
    from ._ranks import run_on_ranks
    from ._samplers import SamplerCases
    from ._strategies import StrategyCases

__all__ = ["BackendCases", "ExecutorCases", "SamplerCases", "StrategyCases", "run_on_ranks"]

# Loaded one by one: who tests a backend has no need of what a strategy needs.
_HOMES = {
    "BackendCases": "_backends",
    "ExecutorCases": "_executors",
    "SamplerCases": "_samplers",
    "StrategyCases": "_strategies",
    "run_on_ranks": "_ranks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
