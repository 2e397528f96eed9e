"""JSON and TOML files of people, each with the lines of its keys, so that messages can name them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # The line (from 1) of each key by its path, in which the items of a list stand by their numbers.
    Lines = dict[tuple[str, ...], int]


def parse_json_with_lines(text: str, where: str = "") -> tuple[Any, Lines]:
    """Parse a JSON document; ``NaN`` and ``Infinity`` are read as Python writes them.

    Raises:
        ValueError: it is no JSON, or a key stands twice in one object; the text names the line.
    """
    import json

    try:
        tree = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: this is no JSON: {error.msg}.") from None
    except RecursionError:
        raise ValueError("this JSON is nested too deeply.") from None
    except ValueError:  # Python reads some thousand digits, and no more
        raise ValueError("this JSON holds a number of too many digits.") from None
    return tree, _json_lines(text)


def _json_lines(text: str) -> Lines:
    """Find the keys of a text that is known to be JSON.

    Raises:
        ValueError: a key stands twice in one object.
    """
    import json

    decoder = json.JSONDecoder()
    lines: Lines = {}
    path: list[str] = []  # one part for each open list or object: where in it we are
    is_object: list[bool] = []
    expects_key = False
    line = 1
    i = 0
    while i < len(text):
        letter = text[i]
        i += 1
        if letter == "\n":
            line += 1
        elif letter == '"':
            word, i = decoder.raw_decode(text, i - 1)
            if expects_key:
                path[-1] = word
                key = tuple(path)
                if key in lines:
                    raise ValueError(f"line {line}: {word!r} stands here again, after line {lines[key]}.")
                lines[key] = line
        elif letter in "{[":
            path.append("0")
            is_object.append(letter == "{")
            expects_key = is_object[-1]
        elif letter in "}]":
            path.pop()
            is_object.pop()
            expects_key = False
        elif letter == ":":
            expects_key = False
        elif letter == ",":
            expects_key = is_object[-1]
            if not expects_key:
                path[-1] = str(int(path[-1]) + 1)
    return lines


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
    except RecursionError:
        raise ValueError("this TOML is nested too deeply.") from None
    except ValueError:  # Python reads some thousand digits, and no more
        raise ValueError("this TOML holds a number of too many digits.") from None
    return tree, _TomlScanner(text).scan()


class _TomlScanner:
    """Finds the keys of a text that is known to be TOML. Of the tables in a list only the first one counts."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._lines: Lines = {}

    def scan(self) -> Lines:
        table: tuple[str, ...] = ()
        while letter := self._skip_blank():
            if letter == "[":
                self._at += 2 if self._text.startswith("[[", self._at) else 1
                line = self._line
                table = self._read_key()
                self._lines.setdefault(table, line)
                self._skip_while(lambda letter: letter == "]")
            else:
                self._read_pair(table)
        return self._lines

    def _read_pair(self, table: tuple[str, ...]) -> None:
        line = self._line
        key = (*table, *self._read_key())
        self._lines.setdefault(key, line)
        self._at += 1  # the equals sign
        self._read_value(key)

    def _read_key(self) -> tuple[str, ...]:
        import tomllib

        parts = []
        while True:
            self._skip_blank()
            start = self._at
            if self._text[start] in "\"'":
                self._skip_string()
                parts.append(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])
            else:
                self._skip_while(lambda letter: letter not in " \t.=]")
                parts.append(self._text[start : self._at])
            if self._skip_blank() != ".":
                return tuple(parts)
            self._at += 1

    def _read_value(self, key: tuple[str, ...]) -> None:
        letter = self._skip_blank()
        if letter in "\"'":
            self._skip_string()
        elif letter in "[{":
            self._at += 1
            while (inner := self._skip_blank()) not in "]}":
                if inner == ",":
                    self._at += 1
                elif letter == "{":
                    self._read_pair(key)
                else:
                    self._read_value(key)
            self._at += 1
        else:
            self._skip_while(lambda letter: letter not in ",]}#\n")

    def _skip_blank(self) -> str:
        """Go to the next letter that is no space, line end or comment, and return it; an empty text at the end."""
        while self._at < len(self._text):
            letter = self._text[self._at]
            if letter == "#":
                self._skip_while(lambda letter: letter != "\n")
            elif letter in " \t\r\n":
                self._line += letter == "\n"
                self._at += 1
            else:
                return letter
        return ""

    def _skip_string(self) -> None:
        start = self._at
        quote = self._text[start]
        mark = quote * 3 if self._text.startswith(quote * 3, start) else quote
        self._at += len(mark)
        while not self._text.startswith(mark, self._at):
            self._at += 2 if quote == '"' and self._text[self._at] == "\\" else 1
        self._at += len(mark)
        if len(mark) == 3:  # the text itself may end with one or two quotes
            self._skip_while(lambda letter: letter == quote)
        self._line += self._text.count("\n", start, self._at)

    def _skip_while(self, is_skipped: Callable[[str], bool]) -> None:
        while self._at < len(self._text) and is_skipped(self._text[self._at]):
            self._at += 1
