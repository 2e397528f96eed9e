"""Which samplers there are, by the name that ``--search`` gives them."""

from __future__ import annotations

from pystematic.errors import UsageError
from pystematic.sweep._samplers import RandomSampler, Sampler, SobolSampler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.sweep._space import Space

SEARCHES = ("random", "sobol", "tpe")


def make_sampler(name: str, space: Space, seed: int) -> Sampler:
    """Return the sampler of a name.

    Raises:
        UsageError: there is none, or what it needs is not installed.
    """
    if name == "tpe":
        from pystematic.sweep._optuna import TpeSampler  # imports Optuna

        return TpeSampler(space, seed)
    if name == "random":
        return RandomSampler(space, seed)
    if name == "sobol":
        return SobolSampler(space, seed)
    raise UsageError(f"--search {name!r}: there are {', '.join(SEARCHES)}.")
