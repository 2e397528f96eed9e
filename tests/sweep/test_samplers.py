"""Samplers: what they propose lies in the space, depends on seed and number only, and fills the space."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import pytest

from pystematic.declare import Parameter
from pystematic.errors import UsageError
from pystematic.sweep._samplers import _direction_numbers, _sobol
from pystematic.sweep._search import make_sampler
from tests.sweep.builders import space_of, spec_of

SAMPLERS = [
    "random",
    "sobol",
    pytest.param(
        "tpe", marks=pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="Optuna is not installed")
    ),
]


def space(
    line: str = "--lr 1e-4..1e-1:log --x -1..1 --layers 2..6 --opt adam,sgd --width 8..512:log", **more: Any
) -> Any:
    made = spec_of(
        Parameter("lr", float, 0.1),
        Parameter("x", float, 0.0),
        Parameter("layers", int, 2),
        Parameter("width", int, 8),
        Parameter("opt", str, "adam"),
    )
    return space_of(made, line, **more)


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_proposal_lies_in_the_space(name: str) -> None:
    sampler = make_sampler(name, space(), 1)
    for trial in range(30):
        values = sampler.ask(trial)
        assert 1e-4 <= values["lr"] <= 1e-1
        assert -1 <= values["x"] <= 1
        assert values["layers"] in range(2, 7)
        assert values["opt"] in ("adam", "sgd")
        assert values["width"] in range(8, 513)
        assert [type(values[one]) for one in ("layers", "width", "lr")] == [int, int, float]
        sampler.tell(trial, values, values["x"] ** 2, "completed")


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_that_is_told_the_history_goes_on_as_the_first_would(name: str) -> None:
    first = make_sampler(name, space(), 7)
    history = []
    for trial in range(12):
        values = first.ask(trial)
        first.tell(trial, values, values["x"] ** 2, "completed")
        history.append(values)
    second = make_sampler(name, space(), 7)
    for trial, values in enumerate(history):
        second.tell(trial, values, values["x"] ** 2, "completed")
    assert second.ask(12) == first.ask(12)


@pytest.mark.parametrize("name", SAMPLERS)
def test_parameters_that_advance_together_stay_together(name: str) -> None:
    sampler = make_sampler(name, space("--lr 0.1,0.2,0.3 --layers 1,2,3", zips=["lr,layers"]), 1)
    for trial in range(10):
        values = sampler.ask(trial)
        assert round(values["lr"] * 10) == values["layers"]


def test_a_sobol_sequence_has_one_point_in_each_part_of_every_dimension() -> None:
    for dimension in range(21):
        directions = _direction_numbers(dimension)
        parts = {_sobol(i, directions) >> (32 - 6) for i in range(64)}
        assert parts == set(range(64))


def test_a_sobol_sequence_is_that_of_joe_and_kuo() -> None:
    qmc = pytest.importorskip("scipy.stats.qmc")
    expected = qmc.Sobol(21, scramble=False).random(128)
    for dimension in range(21):
        directions = _direction_numbers(dimension)
        assert [_sobol(i, directions) / 2**32 for i in range(128)] == list(expected[:, dimension])


def test_an_unknown_sampler_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--search 'cma': there are random, sobol, tpe\.$"):
        make_sampler("cma", space(), 1)


def test_tpe_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "pystematic.sweep._optuna", raising=False)
    with pytest.raises(UsageError, match=r"^--search tpe needs Optuna: pip install 'pystematic\[optuna\]'\.$"):
        make_sampler("tpe", space(), 1)
