"""Secrets out of everything that is written: declared values, and texts of a shape that only secrets have."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

MASK = "<masked>"
SHORTEST = 4  # a shorter secret is masked where it stands alone on a command line; in texts it could be anything
SHORTEST_PART = 6  # the same for a line of a secret that has several
DEEPEST = 20

# OpenAI and similar, GitHub, Hugging Face, AWS, Slack, Google; and the password in a URL.
_SHAPES = (
    r"\bsk-[A-Za-z0-9_-]{16,}"
    r"|\b(?:ghp|gho|ghu|ghs|ghr)_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"
    r"|\bhf_[A-Za-z0-9]{20,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"
    r"|\bAIza[A-Za-z0-9_-]{35}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.|\n)*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_URL_PASSWORD = r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/:@]*):(?P<password>[^\s/@]+)@"
# What every secret of the shapes above holds: most lines need no regular expression.
_HINTS = (
    *("sk-", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_", "AKIA", "ASIA", "xox", "AIza"),
    *("PRIVATE KEY", "://"),
)


class Masker:
    """Masks the secrets of one run in texts.

    Args:
        secrets: the values of secret parameters: texts, and any text in lists, sets and dicts.
        others: values of other parameters; those that hold a secret of a known shape are masked as a whole wherever
            they stand, since a key of several lines is no longer known by its shape when a log takes it apart.
    """

    def __init__(self, secrets: Iterable[object] = (), others: Iterable[object] = ()) -> None:
        self._patterns: Any = None
        self._values: list[str] = []
        self._long: list[str] = []
        self._key = _KeyLines()
        self._add(_texts_in(secrets, odd=True))
        self._add([text for text in _texts_in(others) if "\n" in text and self.mask(text) != text])

    def _add(self, secrets: Iterable[str]) -> None:
        whole = {text for text in secrets if text}
        self._values = sorted({*self._values, *whole}, key=len, reverse=True)
        found: set[str] = set()
        for text in self._values:
            lines = [line.strip() for line in text.splitlines()] if "\n" in text else []
            parts = [text, *(line for line in lines if len(line) >= SHORTEST_PART and not line.startswith("-----"))]
            for part in parts:
                if len(part) >= SHORTEST:
                    # As repr and JSON write it: in tracebacks, in printed dicts.
                    found.update((part, repr(part)[1:-1], *_as_json(part)))
        self._long = sorted(found, key=len, reverse=True)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that are masked wherever they stand; for another process that masks."""
        return tuple(self._values)

    def mask(self, text: str) -> str:
        """Return ``text`` with every secret replaced."""
        for value in self._long:
            if value in text:
                text = text.replace(value, MASK)
        if not _has_hint(text):
            return text
        if self._patterns is None:
            import re

            self._patterns = (re.compile(_SHAPES), re.compile(_URL_PASSWORD))
        shapes, urls = self._patterns
        text = shapes.sub(MASK, text)
        masked: str = urls.sub(lambda match: f"{match['scheme']}:{MASK}@", text)
        return masked

    def mask_lines(self, lines: Sequence[str]) -> Sequence[str]:
        """Mask the next lines of a log; a key in several lines is masked from its first line to its last."""
        if not self._key.is_inside:
            text = "\n".join(lines)  # most hold nothing, and are looked at all at once
            if not _has_hint(text) and not any(value in text for value in self._long):
                return lines
        return [MASK if self._key.holds(line) else self.mask(line) for line in lines]

    def mask_patch(self, patch: bytes) -> bytes:
        """Mask a patch line by line, such that it is still a patch: no line is lost, each keeps its first letter."""
        key = _KeyLines()
        # Bytes that are no UTF-8 become single surrogates and the same bytes again.
        lines = patch.decode("utf-8", "surrogateescape").split("\n")
        masked = [line[:1] + (MASK if key.holds(line[1:]) else self.mask(line[1:])) for line in lines]
        return "\n".join(masked).encode("utf-8", "surrogateescape")

    def mask_words(self, words: Sequence[str], secret_options: Iterable[str] = ()) -> list[str]:
        """Mask a command line, where a secret of any length stands alone or behind ``=``.

        Args:
            words: of the command line.
            secret_options: what follows them, up to the next option, is masked however it is spelled.
        """
        options = frozenset(secret_options)
        masked = []
        is_secret = False
        for word in words:
            name, equals, value = word.partition("=")
            if word.startswith("-") and len(word) > 1 and not word[1].isdigit():
                is_secret = name in options and not equals
                if equals and (name in options or value in self._values):
                    word = f"{name}={MASK}"
            elif is_secret or word in self._values:
                word = MASK
            elif equals and value in self._values:
                word = f"{name}={MASK}"
            masked.append(self.mask(word))
        return masked

    def mask_tree(self, tree: Any) -> Any:
        """Mask every text in lists and dicts."""
        if isinstance(tree, str):
            return self.mask(tree)
        if isinstance(tree, dict):
            return {
                self.mask(key) if isinstance(key, str) else key: self.mask_tree(value) for key, value in tree.items()
            }
        if isinstance(tree, list):
            return [self.mask_tree(item) for item in tree]
        return tree


class _KeyLines:
    """Follows a private key through the lines of a text: from the line after its first one to its last."""

    def __init__(self) -> None:
        self.is_inside = False

    def holds(self, line: str) -> bool:
        """Tell whether the next line is part of a key and nothing else."""
        if self.is_inside:
            body = line.strip()
            if "-----END" in body:
                self.is_inside = False
                return True
            if not body or all(letter.isascii() and (letter.isalnum() or letter in "+/=:-, ") for letter in body):
                return True
            self.is_inside = False  # no key any more: whatever began there has no end
        begin = line.rfind("-----BEGIN")
        if begin >= 0:
            self.is_inside = "PRIVATE KEY-----" in line[begin:] and "-----END" not in line[begin:]
        return False


def _has_hint(text: str) -> bool:
    for hint in _HINTS:  # noqa: SIM110 - asked for every line that is printed, and faster so
        if hint in text:
            return True
    return False


def _as_json(text: str) -> tuple[str, ...]:
    """Return how JSON spells a text, in UTF-8 and in ASCII; without the module `json` where that is the same."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    if text.isascii():
        return (escaped,)
    import json

    return escaped, json.dumps(text)[1:-1]


def _texts_in(values: Iterable[object], depth: int = 0, *, odd: bool = False) -> Iterator[str]:
    """Yield the texts in lists, sets and dicts; with ``odd`` also what other values look like as texts."""
    if depth > DEEPEST:  # a structure that holds itself has no end
        return
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple | set | frozenset):
            yield from _texts_in(value, depth + 1, odd=odd)
        elif isinstance(value, dict):
            yield from _texts_in(value.values(), depth + 1, odd=odd)
        elif isinstance(value, bytes):
            yield value.decode("utf-8", "backslashreplace")
        elif odd and value is not None and not isinstance(value, bool):
            try:
                yield str(value)
            except Exception:  # of an object that raises whatever it is asked
                continue


def mask_known_shapes(tree: Any) -> Any:
    """Mask what has the shape of a secret, in a text or in lists and dicts of texts."""
    return Masker().mask_tree(tree)
