"""Wording of messages and texts that people type: nearest names, lists, durations, sizes. Knows nothing else."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def kebab(name: str) -> str:
    """Spell a Python name as it stands on the command line: ``learning_rate`` becomes ``learning-rate``."""
    return name.replace("_", "-")


def snake(name: str) -> str:
    """Spell a name of the command line as in Python: ``learning-rate`` becomes ``learning_rate``."""
    return name.replace("-", "_")


def _distance(a: str, b: str, limit: int) -> int:
    """Optimal string alignment distance, with swaps of neighbours as one edit; above ``limit`` any larger number."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    above = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, above = above, row
    return above[-1]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """Return the one of ``names`` that ``name`` was most likely meant to be, or None.

    Tolerates a third of the letters wrong, any case, ``-`` for ``_``, an unfinished word that begins just one name, and
    the initials of just one name: ``lr`` is ``learning_rate``.
    """
    folded = snake(name.lower())
    if not folded:
        return None
    limit = max(1, len(folded) // 3)
    best: tuple[int, str] | None = None
    beginning: list[str] = []
    for candidate in names:
        other = snake(candidate.lower())
        distance = _distance(folded, other, limit)
        # Of one letter, one is all: any other letter would be as near.
        if distance <= limit and distance < len(folded) and (best is None or distance < best[0]):
            best = (distance, candidate)
        initials = "".join(part[:1] for part in other.split("_"))
        if len(folded) > 1 and (other.startswith(folded) or other.endswith("." + folded) or initials == folded):
            beginning.append(candidate)
    if best is not None:
        return best[1]
    return beginning[0] if len(beginning) == 1 else None


def did_you_mean(name: str, names: Iterable[str], spell: str = "'{}'") -> str:
    """Return a sentence to append to a message, ``" Did you mean 'x'?"``, or an empty text when nothing is near."""
    found = nearest(name, names)
    return "" if found is None else f" Did you mean {spell.format(found)}?"


def english_list(items: Sequence[str], last: str = "and") -> str:
    """Join as in a sentence: ``a, b and c``."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def short(value: object, limit: int = 80) -> str:
    """Return ``repr(value)`` cut to ``limit`` characters, so that a message stays readable whatever the value is."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Read ``30s``, ``10m``, ``2h``, ``1d``, ``1h30m``, or a bare number of seconds.

    Returns:
        Seconds.

    Raises:
        ValueError: the text is no duration, or negative.
    """
    total = 0.0
    number = ""
    parts = 0
    try:
        for letter in text.strip():
            if letter in _UNITS_S:
                total += _amount(number) * _UNITS_S[letter]
                number = ""
                parts += 1
            else:
                number += letter
        if number or not parts:
            if parts:
                raise ValueError
            total = _amount(number)
        if total == float("inf"):
            raise ValueError
    except ValueError:
        raise ValueError(f"expected a duration such as 30s, 10m or 2h, got {text!r}") from None
    return total


def _amount(number: str) -> float:
    value = float(number)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def format_duration(seconds: float) -> str:
    """Write a time span for people: ``0.4s``, ``12s``, ``3m05s``, ``2h10m``, ``4d02h``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def format_size(size_bytes: float) -> str:
    """Write a size for people, in powers of 1024: ``512 B``, ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < (1024 if unit == "B" else 1023.95):  # a little less would be written as 1024.0
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"
