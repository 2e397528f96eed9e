"""`SamplerCases`: what every sampler of sweeps promises, each sentence of its contract as a test."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from pystematic.declare import Parameter, ParameterSet, Spec
from pystematic.resolve import OptionReader, tokenize
from pystematic.sweep import SpaceReader

if TYPE_CHECKING:
    from pystematic.sweep import Sampler, Space

TRIALS = 24


class SamplerCases(abc.ABC):
    """Subclass it as ``TestMySampler`` and override `make_sampler`. Needs pytest."""

    words = "--rate 1e-4..1e-1:log --shift -1..1 --layers 2..6 --kind a,b --width 8..512:log"
    """The space, as a command line gives it: every kind of axis. Override it where a sampler takes fewer."""

    @abc.abstractmethod
    def make_sampler(self, space: Space, seed: int) -> Sampler:
        """Return a new sampler of ``space``."""

    def space(self) -> Space:
        """Return the space of the cases."""
        made = ParameterSet("experiment 'case'")
        for name, kind, default in (
            *(("rate", float, 0.1), ("shift", float, 0.0), ("layers", int, 2)),
            *(("width", int, 8), ("kind", str, "a")),
        ):
            made.add(Parameter(name, kind, default))
        spec = Spec(made)
        options = OptionReader()
        options.read(tokenize(self.words.split()), spec)
        reader = SpaceReader(spec, options.problems)
        reader.add_words(options.given, options.uses)
        return reader.finish(reader.zip(()))

    def play(self, sampler: Sampler, trials: range, told: list[tuple[int, dict[str, Any]]] | None = None) -> list[Any]:
        """Ask for trials and tell how good each was; return what was proposed."""
        proposed = []
        for trial in trials:
            values = sampler.ask(trial)
            proposed.append(values)
            sampler.tell(trial, values, _loss(values), "completed")
            if told is not None:
                told.append((trial, values))
        return proposed

    def test_a_proposal_has_a_value_of_its_type_for_every_parameter(self) -> None:
        for values in self.play(self.make_sampler(self.space(), 1), range(TRIALS)):
            kinds = {name: type(value) for name, value in values.items()}
            known = {"rate": float, "shift": float, "layers": int, "width": int, "kind": str}
            assert kinds == {axis.name: known[axis.name] for axis in self.space().axes}

    def test_every_value_lies_in_its_range_or_list(self) -> None:
        for values in self.play(self.make_sampler(self.space(), 2), range(TRIALS)):
            for axis in self.space().axes:
                value = values[axis.name]
                if axis.range is None:
                    assert value in list(axis.values)
                else:
                    assert axis.range.low <= value <= axis.range.high

    def test_equal_seeds_and_equal_history_propose_the_same(self) -> None:
        first, second = (self.play(self.make_sampler(self.space(), 3), range(TRIALS)) for _ in range(2))
        assert first == second

    def test_other_seeds_propose_something_else(self) -> None:
        assert self.make_sampler(self.space(), 4).ask(0) != self.make_sampler(self.space(), 5).ask(0)

    def test_a_new_sampler_goes_on_from_what_it_is_told(self) -> None:
        told: list[tuple[int, dict[str, Any]]] = []
        self.play(self.make_sampler(self.space(), 6), range(TRIALS // 2), told)
        proposed = []
        for _ in range(2):
            sampler = self.make_sampler(self.space(), 6)
            for trial, values in told:
                sampler.tell(trial, values, _loss(values), "completed")
            proposed.append(self.play(sampler, range(TRIALS // 2, TRIALS)))
        assert proposed[0] == proposed[1]
        assert len(proposed[0]) == TRIALS - TRIALS // 2

    def test_a_trial_that_was_refused_gets_another_proposal(self) -> None:
        sampler = self.make_sampler(self.space(), 7)
        assert sampler.ask(0, 0) != sampler.ask(0, 1)

    def test_trials_may_run_at_the_same_time(self) -> None:
        sampler = self.make_sampler(self.space(), 8)
        asked = {trial: sampler.ask(trial) for trial in range(4)}
        for trial in (2, 0, 3, 1):
            sampler.tell(trial, asked[trial], _loss(asked[trial]), "completed")
        assert sampler.ask(4)

    def test_failed_and_pruned_trials_are_taken(self) -> None:
        sampler = self.make_sampler(self.space(), 9)
        for trial, (loss, status) in enumerate([(None, "failed"), (3.0, "pruned"), (None, "pruned")]):
            sampler.tell(trial, sampler.ask(trial), loss, status)
        assert sampler.ask(3)

    def test_a_trial_of_another_space_is_passed_over(self) -> None:
        sampler = self.make_sampler(self.space(), 10)
        sampler.tell(0, {"unknown": 1}, 0.5, "completed")
        assert sampler.ask(1)


def _loss(values: dict[str, Any]) -> float:
    """Return a number that a point decides."""
    return float(sum(value for value in values.values() if isinstance(value, int | float)))
