"""The two file formats of checkpoints: torch's, and JSON where the program has not loaded torch.

Neither executes code when it is read.
"""

from __future__ import annotations

import os
import sys

from pystematic import rundir
from pystematic.errors import ExperimentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Protocol

    class Format(Protocol):
        """How a state becomes a file."""

        suffix: str

        def copy(self, state: dict[str, Any]) -> dict[str, Any]:
            """Return a copy that the program does not change any more. It is good until the next one is asked for."""

        def write(self, state: dict[str, Any], file: Any) -> None:
            """Write a copy; called by a thread."""


def make_format() -> Format:
    """Return the format for what the program has loaded."""
    if "torch" not in sys.modules:
        return PlainFormat()
    from pystematic.torch._staging import TorchFormat  # imports torch

    return TorchFormat()


class PlainFormat:
    """JSON of `pystematic.rundir.encode`."""

    suffix = ".json"

    def copy(self, state: dict[str, Any]) -> dict[str, Any]:
        encoded = rundir.encode(state)
        if "pystematic" not in encoded:
            raise ValueError(
                "it has more than a million values, which only arrays of numpy and tensors hold in a checkpoint"
            )
        copied: dict[str, Any] = encoded
        return copied

    def write(self, state: dict[str, Any], file: Any) -> None:
        import json

        file.write(json.dumps(state, ensure_ascii=True).encode("ascii"))


def read_state(path: str) -> Mapping[str, Any]:
    """Return all that a checkpoint file holds.

    Raises:
        OSError: it cannot be read.
        ExperimentError: it is damaged, or holds objects that only code from the file could make.
    """
    if not os.fspath(path).endswith(PlainFormat.suffix):
        from pystematic.torch._checkpoint import read_file

        return read_file(path)
    import json

    with open(path, "rb") as file:
        content = file.read()
    try:
        state = rundir.decode(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"checkpoint {path!r} is damaged and cannot be read: {error}") from None
    if not isinstance(state, dict):
        raise ExperimentError(f"checkpoint {path!r} is damaged and cannot be read: it holds no state")
    return state
