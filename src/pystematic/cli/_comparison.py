"""Comparing the series of two runs, value by value."""

from __future__ import annotations

from pystematic.rundir import SYSTEM_PREFIX, spell_int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.store import Run


class Comparison:
    """The series of two runs, except for those that measure the machine.

    Args:
        old: the one run.
        new: the other.
        rtol: the relative difference that is allowed; 0 asks for equal values.

    Attributes:
        problems: for each series that differs, where it first does.
    """

    def __init__(self, old: Run, new: Run, rtol: float = 0.0) -> None:
        tags = [tag for tag in dict.fromkeys([*old.summary, *new.summary]) if not tag.startswith(SYSTEM_PREFIX)]
        self._ids = (old.id, new.id)
        self._rtol = rtol
        self._series = len(tags)
        self._values = 0
        self.problems: dict[str, str] = {}
        for tag in tags:
            before, now = old.metrics(tag), new.metrics(tag)
            self._values += len(before)
            problem = first_difference(before, now, rtol)
            if problem is not None:
                self.problems[tag] = problem

    def report(self) -> str:
        """Return the outcome in words."""
        old, new = self._ids
        if self.problems:
            return "\n".join([f"{old} and {new} differ:", *(f"  {tag}: {text}" for tag, text in self.problems.items())])
        if not self._series:
            return f"Neither {old} nor {new} has recorded a series, so there is nothing to compare."
        values = f"{self._values} value{'' if self._values == 1 else 's'} in {self._series} series"
        return f"Verified: {values}, all equal{f' within rtol={self._rtol:g}' if self._rtol else ''}."


def first_difference(old: Any, new: Any, rtol: float) -> str | None:
    """Tell where two series first differ; None where they do not."""
    pairs = zip(old.step, old.value, new.step, new.value, strict=False)
    for i, (step, value, step_now, value_now) in enumerate(pairs, 1):
        if step != step_now:
            return f"value {i} was recorded at step {step}, now at step {step_now}"
        if not _is_same(value, value_now, rtol):
            return f"at step {step} it was {_spell(value)}, now {_spell(value_now)}"
    if len(old) != len(new):
        return f"it had {len(old)} values, now {len(new)}"
    return None


def _is_same(a: Any, b: Any, rtol: float) -> bool:
    if a == b or (a != a and b != b):
        return True
    try:
        return bool(rtol and abs(a - b) <= rtol * max(abs(a), abs(b)) < float("inf"))
    except OverflowError:  # an int that no float holds
        return False


def _spell(value: Any) -> str:
    return spell_int(value) if isinstance(value, int) else str(value)
