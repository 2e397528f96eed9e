"""From settings to runs: resolves each point as a single run would be, and gives it its keys."""

from __future__ import annotations

from pystematic._record import record
from pystematic.declare import OMITTED, Spec
from pystematic.errors import UsageError
from pystematic.resolve import Given, Parameters, Resolution, plain_parameters
from pystematic.rundir import MASKED, Exact, StoredText, decode
from pystematic.sweep._identity import SEED_NAME, plain_identity, point_key, run_key
from pystematic.sweep._plan import PlannedPoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Resolve = Callable[[dict[str, Given]], Resolution]

SWEEP_SOURCE = "sweep"
# Read once for all runs: what they said is in the values of the others.
_NOT_PASSED_ON = frozenset({"params_file", "preset", "dry_run", "resume"})


@record
class PlannedRun:
    """A run that is to be made: a point with a seed, what `Experiment.run` gets, and where each value came from."""

    key: str
    point: PlannedPoint
    seed: int | None
    values: dict[str, Any]
    sources: dict[str, str]


class PointMaker:
    """Makes points and runs of one experiment.

    Args:
        experiment: full name.
        spec: its parameters.
        resolve: resolves values as for a single run.
        settings: what is the same for all runs, and given to each.
        sources: where the values of the sweep's parameters were given.
        seeds: of every point.
        own_seed: whether the points have seeds of their own: ``random_seed`` is one of the sweep's parameters.
    """

    def __init__(
        self,
        experiment: str,
        spec: Spec,
        resolve: Resolve,
        settings: Mapping[str, Given],
        sources: Mapping[str, str],
        seeds: Sequence[int],
        own_seed: bool,
    ) -> None:
        self.experiment = experiment
        self.spec = spec
        self.seeds = list(seeds)
        self.own_seed = own_seed
        self._resolve = resolve
        self._settings = dict(settings)
        self._sources = dict(sources)
        self._conditions = any(parameter.conditions for parameter in spec.parameters)

    def base(self) -> dict[str, object] | None:
        """Return all that the points have in common, plain: it changes when a default does. None: it does not fit."""
        resolution = self._checked({}, lenient=True)
        return None if resolution is None else plain_identity(self.spec, resolution.parameters)

    def plan(self, values: Mapping[str, Any], number: int, trial: int | None = None) -> tuple[PlannedPoint, list[str]]:
        """Check a point, and return it with the keys of its runs.

        Args:
            values: of the sweep's parameters, of their types.
            number: the point's.
            trial: which a sampler gave it.

        Raises:
            UsageError: its values do not fit together.
        """
        resolution = self._checked(self._given(values))
        assert resolution is not None
        identity = plain_identity(self.spec, resolution.parameters)
        kept = {name: value for name, value in values.items() if name in resolution.parameters}
        plain = plain_parameters(self.spec, _with_owners(kept, resolution.parameters, self._conditions))
        plain = {name: value for name, value in plain.items() if name in kept}
        key = run_key(self.experiment, identity) if self.own_seed else point_key(self.experiment, identity)
        return PlannedPoint(number, key, plain, trial), self._keys(identity)

    def keys(self, point: PlannedPoint) -> list[str]:
        """Return the keys of a planned point's runs."""
        resolution = self._checked(self._restored(point))
        assert resolution is not None
        return self._keys(plain_identity(self.spec, resolution.parameters))

    def typed(self, point: PlannedPoint) -> dict[str, Any]:
        """Return the values of a planned point, of their types."""
        resolution = self._checked(self._restored(point))
        assert resolution is not None
        return {name: resolution.parameters[name] for name in point.values if name in resolution.parameters}

    def runs(self, point: PlannedPoint, values: Mapping[str, Any] | None = None) -> list[PlannedRun]:
        """Return the runs of a point, one for each seed.

        Args:
            point: it.
            values: its values, where they are known; the plan lacks those that are secret.

        Raises:
            UsageError: its values do not fit any more.
        """
        resolution = self._checked(self._restored(point) if values is None else self._given(values))
        assert resolution is not None
        parameters = resolution.parameters
        identity = plain_identity(self.spec, parameters)
        passed = {name: parameters[name] for name in parameters if is_passed_on(self.spec, name, parameters)}
        sources = {name: parameters.source_of(name) for name in passed}
        made = []
        for seed, key in zip(self._run_seeds(), self._keys(identity), strict=True):
            own = {} if seed is None else {SEED_NAME: seed}
            own_source = {} if seed is None else {SEED_NAME: SWEEP_SOURCE}
            made.append(PlannedRun(key, point, seed, {**passed, **own}, {**sources, **own_source}))
        return made

    def _run_seeds(self) -> list[int | None]:
        return [None] if self.own_seed else list(self.seeds)

    def _keys(self, identity: Mapping[str, object]) -> list[str]:
        if self.own_seed:
            return [run_key(self.experiment, identity)]
        return [run_key(self.experiment, {**identity, SEED_NAME: seed}) for seed in self.seeds]

    def _given(self, values: Mapping[str, Any]) -> dict[str, Given]:
        """Return values of their types as they are given to the resolution, which does not convert them again."""
        return {
            name: Given(self._sources.get(name, SWEEP_SOURCE), plain=value, exact=True)
            for name, value in values.items()
            if value is not OMITTED
        }

    def _restored(self, point: PlannedPoint) -> dict[str, Given]:
        given: dict[str, Given] = {}
        for name, plain in point.values.items():
            value = decode(plain)
            source = self._sources.get(name, SWEEP_SOURCE)
            if value is MASKED or isinstance(value, StoredText):
                raise UsageError(
                    f"point {point.number} cannot be run again: its {name} is not in the plan in full. "
                    "Start it by the command that has planned it."
                )
            exact = isinstance(value, Exact)
            given[name] = Given(source, plain=value.value if isinstance(value, Exact) else value, exact=exact)
        return given

    def _checked(self, given: dict[str, Given], *, lenient: bool = False) -> Resolution | None:
        all_given = {**self._settings, **given}
        if not self.own_seed:
            all_given[SEED_NAME] = Given(SWEEP_SOURCE, plain=self.seeds[0] if self.seeds else 0)
        if self._conditions:
            all_given = self._without_unchosen(all_given)
        resolution = self._resolve(all_given)
        if resolution.problems:
            if lenient:
                return None
            raise UsageError(resolution.problems)
        return resolution

    def _without_unchosen(self, given: dict[str, Given]) -> dict[str, Given]:
        """Leave out the fields of classes that a point has not chosen: an axis of one is none of the other's points."""
        chosen = {
            parameter.name: given[parameter.name].plain if parameter.name in given else parameter.default
            for parameter in self.spec.parameters
        }
        return {
            name: one
            for name, one in given.items()
            if not self.spec.named(name) or any(parameter.counts(chosen) for parameter in self.spec.named(name))
        }


def is_passed_on(spec: Spec, name: str, parameters: Parameters) -> bool:
    """Tell whether a run must be told a value: its own defaults are the same, unless they are drawn anew."""
    if name in _NOT_PASSED_ON:
        return False
    if not parameters.source_of(name).startswith("default"):
        return True
    drawn = [one for one in spec.named(name) if callable(one.default)]
    return bool(drawn) and parameters[name] is not None


def _with_owners(values: Mapping[str, Any], parameters: Parameters, conditions: bool) -> Parameters:
    """Return values together with those that decide whether they count."""
    return Parameters(dict(parameters) if conditions else values)
