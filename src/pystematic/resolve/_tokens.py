"""The grammar of a command line: which words are options, which are values. Knows no names and no types.

A token is an option if it is ``--`` + letter, or ``-`` + letter, except for the numbers ``-inf`` and ``-nan``; a lone
``--`` ends the options. ``=`` before a value means "literally this text".
"""

from __future__ import annotations

from pystematic._record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@record
class Option:
    """``--name`` or ``--name=value``; ``value`` is what stands behind the first ``=``."""

    name: str
    value: str | None
    position: int


@record
class Word:
    """Anything else. ``literal`` tells that an ``=`` stood before it, which ``text`` lacks."""

    text: str
    literal: bool
    position: int

    @property
    def pair(self) -> tuple[str, bool]:
        return self.text, self.literal


def tokenize(argv: Sequence[str]) -> list[Option | Word]:
    """Split ``argv`` into options and words; ``position`` is the index in ``argv``."""
    tokens: list[Option | Word] = []
    options_ended = False
    for position, text in enumerate(argv):
        if options_ended:
            tokens.append(word(text, position))
        elif text == "--":
            options_ended = True
        elif is_option(text):
            name, equals, value = text.partition("=")
            tokens.append(Option(name, value if equals else None, position))
        else:
            tokens.append(word(text, position))
    return tokens


def word(text: str, position: int = -1) -> Word:
    """Read one word: ``=text`` is the text itself, whatever it looks like."""
    return Word(text[1:], True, position) if text.startswith("=") else Word(text, False, position)


def is_option(text: str) -> bool:
    """Tell whether a token is an option by its spelling alone."""
    if text.startswith("--"):
        return text[2:3].isalpha()
    return text.startswith("-") and text[1:2].isalpha() and not _is_negative_special(text[1:].lower())


def _is_negative_special(text: str) -> bool:
    for name in ("infinity", "inf", "nan"):
        if text.startswith(name):
            rest = text[len(name) :]
            return not rest or rest.startswith((",", ".."))
    return False
