"""What proposes the points of a sweep. `Sampler` is the contract; grids are no samplers, as their points are known.

Knows nothing of runs; is told how good a proposal was.
"""

from __future__ import annotations

import abc
import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    import random
    from collections.abc import Mapping
    from typing import Any

    from pystematic.sweep._space import Space


class Sampler(abc.ABC):
    """Proposes points of a space, and learns from what came of them.

    A sampler keeps nothing on disk. When a sweep goes on, a new one is made with the same seed, and told with `tell`
    about the trials that were asked for before; then it is asked for the next number. With equal seeds and equal
    history it proposes the same.
    """

    @abc.abstractmethod
    def ask(self, trial: int, attempt: int = 0) -> dict[str, Any]:
        """Propose a point.

        Args:
            trial: its number, from 0.
            attempt: how often this trial was asked for before, and refused since it had been tried already.

        Returns:
            Name to value for every parameter of the space.
        """

    def tell(self, trial: int, values: Mapping[str, Any], loss: float | None, status: str) -> None:
        """Take note of what came of a trial, also of one of an earlier session that this sampler never proposed.

        Args:
            trial: its number.
            values: of the parameters.
            loss: the smaller the better; None where there is no number.
            status: ``completed``, ``pruned`` or ``failed``.
        """
        return


class RandomSampler(Sampler):
    """Independent draws; trial ``n`` depends on the seed and on ``n`` only."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed

    def ask(self, trial: int, attempt: int = 0) -> dict[str, Any]:
        draw = _generator(f"{self._seed}-{trial}-{attempt}")
        return _point_at(self._space, [draw.random() for _ in range(_dimensions(self._space))])


class SobolSampler(Sampler):
    """A scrambled Sobol sequence: fills the space more evenly than independent draws.

    The direction numbers are those of S. Joe and F. Y. Kuo, https://web.maths.unsw.edu.au/~fkuo/sobol/, of the first
    dimensions; further ones are drawn. Scrambled by a random shift of the bits (digital shift), so that trial ``n``
    depends on the seed and on ``n`` only.
    """

    def __init__(self, space: Space, seed: int) -> None:
        self._space = space
        self._seed = seed
        dimensions = _dimensions(space)
        draw = _generator(f"{seed}-shift")
        self._shifts = [draw.getrandbits(_BITS) for _ in range(dimensions)]
        self._directions = [_direction_numbers(index) for index in range(min(dimensions, len(_JOE_KUO) + 1))]

    def ask(self, trial: int, attempt: int = 0) -> dict[str, Any]:
        if attempt:
            return RandomSampler(self._space, self._seed).ask(trial, attempt)
        shares = []
        for index, shift in enumerate(self._shifts):
            if index < len(self._directions):
                shares.append((_sobol(trial, self._directions[index]) ^ shift) / (1 << _BITS))
            else:
                shares.append(_generator(f"{self._seed}-{trial}-{index}").random())
        return _point_at(self._space, shares)


def _generator(seed: str) -> random.Random:
    import random  # a grid needs none

    return random.Random(seed)


def _dimensions(space: Space) -> int:
    return len(space.blocks) + len(space.ranges)


def _point_at(space: Space, shares: list[float]) -> dict[str, Any]:
    """Return the point at these shares, from 0 to 1, of the blocks and ranges of a space."""
    point: dict[str, Any] = {}
    for block, share in zip(space.blocks, shares, strict=False):
        point.update(block.row(min(int(share * len(block)), len(block) - 1)))
    for axis, share in zip(space.ranges, shares[len(space.blocks) :], strict=True):
        assert axis.range is not None
        point[axis.name] = axis.range.at(share)
    return point


# -- the Sobol sequence ----------------------------------------------------------------------------------------------

_BITS = 32
# Of the dimensions from the second on: degree and coefficients of the primitive polynomial, and initial numbers;
# the first lines of new-joe-kuo-6.21201.
_JOE_KUO: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (1, 0, (1,)),
    (2, 1, (1, 3)),
    (3, 1, (1, 3, 1)),
    (3, 2, (1, 1, 1)),
    (4, 1, (1, 1, 3, 3)),
    (4, 4, (1, 3, 5, 13)),
    (5, 2, (1, 1, 5, 5, 17)),
    (5, 4, (1, 1, 5, 5, 5)),
    (5, 7, (1, 1, 7, 11, 19)),
    (5, 11, (1, 1, 5, 1, 1)),
    (5, 13, (1, 1, 1, 3, 11)),
    (5, 14, (1, 3, 5, 5, 31)),
    (6, 1, (1, 3, 3, 9, 7, 49)),
    (6, 13, (1, 1, 1, 15, 21, 21)),
    (6, 16, (1, 3, 1, 13, 27, 49)),
    (6, 19, (1, 1, 1, 15, 7, 5)),
    (6, 22, (1, 3, 1, 15, 13, 25)),
    (6, 25, (1, 1, 5, 5, 19, 61)),
    (7, 1, (1, 3, 7, 11, 23, 15, 103)),
    (7, 4, (1, 3, 7, 13, 13, 15, 69)),
)


def _direction_numbers(dimension: int) -> list[int]:
    """Return the direction numbers of a dimension, from 0, as whole numbers of 32 bits."""
    if dimension == 0:
        return [1 << (_BITS - 1 - i) for i in range(_BITS)]
    degree, coefficients, initial = _JOE_KUO[dimension - 1]
    numbers = [initial[i] << (_BITS - 1 - i) for i in range(degree)]
    for i in range(degree, _BITS):
        number = numbers[i - degree] ^ (numbers[i - degree] >> degree)
        for k in range(1, degree):
            if coefficients >> (degree - 1 - k) & 1:
                number ^= numbers[i - k]
        numbers.append(number)
    return numbers


def _sobol(index: int, directions: list[int]) -> int:
    """Return the ``index``-th number of the sequence in one dimension, in the order of the Gray code."""
    gray = index ^ (index >> 1)
    number = 0
    for bit in range(int(math.log2(gray)) + 1 if gray else 0):
        if gray >> bit & 1:
            number ^= directions[bit]
    return number
