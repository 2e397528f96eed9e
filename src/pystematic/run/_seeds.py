"""Seeds: the run's own stream, named seeds, and the global generators of random, NumPy and torch."""

from __future__ import annotations

import os
import sys

from pystematic.run._imports import ImportWatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


class SeedStream:
    """Numbers that depend on the run's ``random_seed`` only.

    Args:
        random_seed: the seed of the run, the same on all ranks.
        rank: of this process.
    """

    def __init__(self, random_seed: int, rank: int = 0) -> None:
        self.random_seed = random_seed
        self.rank = rank
        self._generator: Any = None
        self._drawn = 0

    def new_seed(self, name: str | int | None = None, nbits: int = 32, *, per_rank: bool = False) -> int:
        """Return the next number of the stream, or with a name the number that belongs to it.

        Args:
            name: any text: the result depends on it and the run's seed alone, not on what was drawn before.
                A number here is ``nbits``, as in pystematic 1.x.
            nbits: how many bits the number has.
            per_rank: whether ranks get different numbers.

        Raises:
            ValueError: there is no number of so few bits.
        """
        if name is not None and not isinstance(name, str):
            nbits = int(name)
            name = None
        if nbits < 1:
            raise ValueError(f"nbits={nbits!r}: a seed has at least one bit")
        if name is not None:
            return self._hashed(name, nbits, per_rank)
        if self._generator is None:
            import random

            self._generator = random.Random(self.random_seed)
        drawn = int(self._generator.getrandbits(nbits))
        self._drawn += 1
        return self._hashed(f"#{drawn}", nbits, True) if per_rank and self.rank else drawn

    def state_dict(self) -> dict[str, int]:
        """Return how many numbers of the stream were drawn."""
        return {"drawn": self._drawn}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on behind as many numbers as were drawn before a checkpoint."""
        while self._drawn < int(state.get("drawn", 0)):
            self.new_seed()

    def _hashed(self, name: str, nbits: int, per_rank: bool) -> int:
        import hashlib

        rank = self.rank if per_rank else 0
        text = f"{self.random_seed}\0{rank}\0{name}".encode("utf-8", "surrogatepass")
        count = (nbits + 7) // 8
        return int.from_bytes(hashlib.shake_256(text).digest(count), "big") >> (count * 8 - nbits)


def seed_libraries(watch: ImportWatch, random_seed: int) -> None:
    """Seed the global generators of random, NumPy and torch, now or when the program imports them."""
    watch.when_imported("random", lambda module: module.seed(random_seed))
    # NumPy's global generator takes 32 bits, torch's 64.
    watch.when_imported("numpy", lambda module: module.random.seed(random_seed % 2**32))
    watch.when_imported("torch", lambda module: _seed_torch(module, random_seed % 2**63))


def _seed_torch(torch: Any, seed: int) -> None:
    """Seed torch on all devices.

    For each kind of device that is not in use yet torch keeps the stack of the call as a text, to be shown if the
    seeding fails later. The source files that it reads for it took most of the time, so it gets no frames.
    """
    limit = getattr(sys, "tracebacklimit", None)
    sys.tracebacklimit = 0
    try:
        torch.manual_seed(seed)
    finally:
        if limit is None:
            del sys.tracebacklimit
        else:
            sys.tracebacklimit = limit


def make_deterministic(watch: ImportWatch) -> Callable[[], None]:
    """Ask the libraries for deterministic algorithms; return what takes that back."""
    undo: list[Callable[[], None]] = []
    if os.environ.get(_CUBLAS) is None:
        os.environ[_CUBLAS] = _CUBLAS_SETTING
        undo.append(_forget_cublas_setting)

    def ask_torch(torch: Any) -> None:
        enabled = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        benchmark = torch.backends.cudnn.benchmark
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False

        def restore() -> None:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark

        undo.append(restore)

    watch.when_imported("torch", ask_torch)

    def take_back() -> None:
        while undo:
            undo.pop()()

    return take_back


# Read by cuBLAS when it is initialised: https://docs.nvidia.com/cuda/cublas/#results-reproducibility
_CUBLAS, _CUBLAS_SETTING = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"


def _forget_cublas_setting() -> None:
    if os.environ.get(_CUBLAS) == _CUBLAS_SETTING:
        del os.environ[_CUBLAS]
