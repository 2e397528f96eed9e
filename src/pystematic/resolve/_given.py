"""`Given`: one value of one parameter from one source, before it is known whether it fits or counts."""

from __future__ import annotations

from pystematic.declare import OMITTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Given:
    """A value and where it came from.

    Args:
        source: as `Parameters.source_of` tells it.
        words: texts of a person, each with the mark that it is meant literally; or None.
        plain: a value from a file or from code.
        spelled: how the parameter was named there; its name when None.
        exact: the value was checked in an earlier run, so text is not converted a second time.
        unusable: why the value cannot be used, if it cannot; reported only where it would count.
    """

    __slots__ = ("exact", "plain", "source", "spelled", "unusable", "words")

    def __init__(
        self,
        source: str,
        words: Sequence[tuple[str, bool]] | None = None,
        plain: object = OMITTED,
        spelled: str | None = None,
        exact: bool = False,
        unusable: str | None = None,
    ) -> None:
        self.source = source
        self.words = words
        self.plain = plain
        self.spelled = spelled
        self.exact = exact
        self.unusable = unusable

    @property
    def raw(self) -> object:
        """The value as it was given, for messages."""
        return self.plain if self.words is None else list(self.words)
