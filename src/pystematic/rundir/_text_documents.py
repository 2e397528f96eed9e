"""JSON and TOML files of people, each with the lines of its keys, so that messages can name them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Lines = dict[tuple[str, ...], int]


def parse_json_with_lines(text: str, where: str = "") -> tuple[Any, Lines]:
    """Parse a JSON document; ``NaN`` and ``Infinity`` are read as Python writes them.

    Raises:
        ValueError: it is no JSON, or a key stands twice in one object; the text names the line.
    """
    import json

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in items:
            if key in mapping:
                raise ValueError(f"the key {key!r} stands twice in one object.")
            mapping[key] = value
        return mapping

    try:
        tree = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: this is no JSON: {error.msg}.") from None
    except RecursionError:
        raise ValueError("this JSON is nested too deeply.") from None
    return tree, _json_lines(text)


def _json_lines(text: str) -> Lines:
    """Find the line of each key by following braces, outside of strings."""
    lines: Lines = {}
    path: list[str] = []
    pending = ""
    line = 1
    i = 0
    while i < len(text):
        letter = text[i]
        if letter == "\n":
            line += 1
        elif letter == '"':
            end = i + 1
            while end < len(text) and text[end] != '"':
                end += 2 if text[end] == "\\" else 1
            word = text[i + 1 : end]
            after = text[end + 1 :].lstrip()[:1]
            if after == ":":
                pending = word
                lines.setdefault((*path, word), line)
            i = end
        elif letter in "{[":
            path.append(pending)
            pending = ""
            if len(path) == 1:
                path[0] = ""
        elif letter in "}]" and path:
            path.pop()
        i += 1
    return {tuple(part for part in key if part): number for key, number in lines.items()}


def parse_toml_with_lines(text: str, where: str = "") -> tuple[Any, Lines]:
    """Parse a TOML document.

    Raises:
        ValueError: it is no TOML; the text names the line.
    """
    import tomllib

    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = message.partition("(at line ")[2].partition(",")[0]
        reason = message.partition(" (at ")[0]
        raise ValueError(f"{f'line {place}: ' if place else ''}this is no TOML: {reason}.") from None
    lines: Lines = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped.startswith("["):
            table = _dotted(stripped.strip("[] \t").partition("]")[0])
            lines.setdefault(table, number)
        elif "=" in stripped and not stripped.startswith("#"):
            lines.setdefault((*table, *_dotted(stripped.partition("=")[0])), number)
    return tree, lines


def _dotted(name: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in name.split("."))
