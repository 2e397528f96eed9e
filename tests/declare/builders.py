"""What the tests of types share: classes to declare, and how a value is read or refused."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any

import pytest

from pystematic.declare import BadValueError, type_of
from pystematic.resolve._tokens import word


class Color(enum.Enum):
    RED = 1
    GREEN = "g"
    CRIMSON = 1  # noqa: PIE796 - another name of RED


class Level(enum.IntEnum):
    LOW = 16
    HIGH = 32


@dataclasses.dataclass
class Layer:
    units: int
    activation: str = "relu"


@dataclasses.dataclass
class Node:
    name: str
    children: list[Node] = dataclasses.field(default_factory=list)


def positive(text: str) -> int:
    number = int(text)
    if number <= 0:
        raise ValueError(f"{number} is not positive")
    return number


def read(annotation: Any, *texts: str) -> Any:
    """Read words of a command line, ``=`` before a word marking it as literal."""
    return type_of(annotation).parse_words([word(text).pair for text in texts])


def refusal(annotation: Any, value: object) -> str:
    """Return what the type says to a value of a file or code, which it refuses."""
    with pytest.raises(BadValueError) as caught:
        type_of(annotation).check(value)
    return str(caught.value)


def refusal_of_words(annotation: Any, *texts: str) -> str:
    with pytest.raises(BadValueError) as caught:
        read(annotation, *texts)
    return str(caught.value)
