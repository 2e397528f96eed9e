"""The sampler ``tpe``: Optuna's, asked and told in memory. The one module that imports Optuna.

Nothing is stored by Optuna: when a sweep goes on, the study is made anew from what our records say.
"""

from __future__ import annotations

from pystematic.errors import UsageError
from pystematic.sweep._samplers import Sampler

try:
    import optuna
except ImportError:
    raise UsageError("--search tpe needs Optuna: pip install 'pystematic[optuna]'.") from None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pystematic.sweep._space import Space

# The first trials are drawn at random; Optuna's own default.
STARTUP_TRIALS = 10


class TpeSampler(Sampler):
    """Tree-structured Parzen estimator (Bergstra et al., 2011) over fixed distributions.

    Lists of values are categories; parameters that advance together are one category, the number of their row.
    Trial ``n`` is drawn with a seed of its own, so that equal seeds and equal history propose the same.
    """

    def __init__(self, space: Space, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._seed = seed
        self._distributions = _distributions(space)
        self._study = self._make_study()
        self._asked: dict[int, Any] = {}

    def _make_study(self) -> Any:
        return optuna.create_study(direction="minimize", sampler=self._sampler(0))

    def _sampler(self, trial: int, attempt: int = 0) -> Any:
        number = (self._seed * 1_000_003 + trial * 101 + attempt) % (1 << 32)
        # What runs at the moment is taken for bad, so that parallel trials do not all go to the same place.
        return optuna.samplers.TPESampler(
            n_startup_trials=STARTUP_TRIALS,
            seed=number,
            constant_liar=True,
            multivariate=True,
        )

    def ask(self, trial: int, attempt: int = 0) -> dict[str, Any]:
        if attempt:  # what it learns from is what it had proposed: something else is needed now
            former = self._asked.pop(trial, None)
            if former is not None:
                self._study.tell(former, state=optuna.trial.TrialState.FAIL)
        self._study.sampler = self._sampler(trial, attempt)
        asked = self._study.ask(self._distributions)
        self._asked[trial] = asked
        point: dict[str, Any] = {}
        for i, block in enumerate(self._space.blocks):
            point.update(block.row(asked.params[_block_name(i)]))
        for axis in self._space.ranges:
            point[axis.name] = asked.params[axis.name]
        return point

    def tell(self, trial: int, values: Mapping[str, Any], loss: float | None, status: str) -> None:
        states = optuna.trial.TrialState
        state = states.FAIL if loss is None else states.COMPLETE
        asked = self._asked.pop(trial, None)
        if asked is not None:
            # A pruned one has a number too: it was bad enough to be given up, which is worth knowing.
            self._study.tell(asked, loss, state=state)
            return
        params = self._params_of(values)
        if params is not None and loss is not None:
            told = optuna.trial.create_trial(params=params, distributions=self._distributions, value=loss, state=state)
            self._study.add_trial(told)

    def _params_of(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return a point as Optuna has it; None where it is none of this space."""
        params: dict[str, Any] = {}
        for i, block in enumerate(self._space.blocks):
            rows = [number for number in range(len(block)) if _has(values, block.row(number))]
            if not rows:
                return None
            params[_block_name(i)] = rows[0]
        for axis in self._space.ranges:
            if axis.name not in values or axis.range is None:
                return None
            if not axis.range.low <= values[axis.name] <= axis.range.high:
                return None
            params[axis.name] = values[axis.name]
        return params


def _distributions(space: Space) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for i, block in enumerate(space.blocks):
        axis = block.axes[0]
        numbers = [value for value in axis.values if type(value) is int]
        is_range = len(block.axes) == 1 and len(numbers) == len(block) and numbers == sorted(numbers)
        if is_range and len(numbers) > 1:  # rows in the order of the numbers: neighbours are alike
            found[_block_name(i)] = optuna.distributions.IntDistribution(0, len(block) - 1)
        else:
            found[_block_name(i)] = optuna.distributions.CategoricalDistribution(list(range(len(block))))
    for axis in space.ranges:
        assert axis.range is not None
        if axis.range.integer:
            made: Any = optuna.distributions.IntDistribution(
                int(axis.range.low), int(axis.range.high), log=axis.range.log
            )
        else:
            made = optuna.distributions.FloatDistribution(axis.range.low, axis.range.high, log=axis.range.log)
        found[axis.name] = made
    return found


def _block_name(index: int) -> str:
    return f"row of {index}"  # with blanks: no parameter has such a name


def _has(values: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    return all(name in values and values[name] == value for name, value in row.items())
