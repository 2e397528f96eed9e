"""Console: what was recorded last, in one line a step, at most once a second."""

from __future__ import annotations

import sys
import time

from pystematic.rundir import SYSTEM_PREFIX

from ._backend import Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from ._backend import RunFacts, ScalarBatch

PERIOD_S = 1.0
# A step is over when nothing more was recorded for so long.
QUIET_S = 0.3


class ConsoleBackend(Backend):
    """Prints to the real standard output: what goes through `sys.stdout` would stand in the run's log as well.

    Args:
        stream: where to print instead.
        period_s: how far lines are apart at least.
        digits: of a number.
    """

    name = "console"

    def __init__(self, stream: TextIO | None = None, *, period_s: float = PERIOD_S, digits: int = 5) -> None:
        self.dropped = 0
        self._stream = stream
        self._period_s = period_s
        self._digits = digits
        self._printed_at = -period_s
        self._written_at = 0.0
        self._step: int | float | None = None
        self._values: dict[str, int | float] = {}

    def start(self, run: RunFacts) -> None:
        if self._stream is None:
            self._stream = sys.__stdout__

    def write(self, batch: ScalarBatch) -> None:
        self._written_at = time.monotonic()
        for tag, step, value in zip(batch.tags, batch.steps, batch.values, strict=True):
            if tag.startswith(SYSTEM_PREFIX):
                continue
            if step != self._step:
                self._print_when_due()
                self._step = step
                self._values = {}
            self._values[tag] = value

    def flush(self) -> None:
        # A step that is still being recorded is left alone, else it would be printed in pieces.
        if time.monotonic() - self._written_at >= min(QUIET_S, self._period_s):
            self._print_when_due()

    def close(self) -> None:
        self._print()

    def _print_when_due(self) -> None:
        if time.monotonic() - self._printed_at >= self._period_s:
            self._print()

    def _print(self) -> None:
        if not self._values or self._stream is None:
            return
        self._printed_at = time.monotonic()
        numbers = "".join(f"  {_spell_tag(tag)} {self._spell(value)}" for tag, value in self._values.items())
        line = f"step {self._step}{numbers}\n"
        self._values = {}
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        # Of a terminal that has few letters.
        self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()

    def _spell(self, value: int | float) -> str:
        if isinstance(value, int):
            return str(value) if value.bit_length() < 100 else hex(value)
        return f"{value:.{self._digits}g}"


def _spell_tag(tag: str) -> str:
    """Return a tag; in quotes where it could be taken for something else, or move the cursor of a terminal."""
    is_plain = tag and all(letter.isalnum() or letter in "/_-.:@+" for letter in tag)
    return tag if is_plain else repr(tag)


def make_backend() -> Backend:
    return ConsoleBackend()
