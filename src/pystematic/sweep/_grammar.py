"""The grammar of a parameter with many values: ``a,b,c``, ``2..6``, ``0..100:step=10``, ``1e-4..0.1:log:n=5``, ``=x``.

The declared type decides what a text means. Knows neither command lines nor what is done with the values.
"""

from __future__ import annotations

import math

from pystematic._record import record
from pystematic._words import short
from pystematic.declare import (
    BadValueError,
    ComplexNumber,
    Integer,
    Number,
    OneOf,
    Parameter,
    Text,
    TimeSpan,
    bare_type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from pystematic.declare import ParamType

# A list of values that is longer is a mistake: nobody runs so many.
MOST_VALUES = 1_000_000
_WORDS = ("log", "n", "step")


@record
class Range:
    """A range that has no list of values; a sampler takes values from it.

    ``low`` and ``high`` are both inside. With ``integer`` only whole numbers are meant; with ``log`` equal factors are
    equally likely.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def at(self, share: float) -> float | int:
        """Return the value at a share of the range, from 0 to 1."""
        if self.integer:
            return self._whole_at(share)
        if self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(value, self.low), self.high)

    def _whole_at(self, share: float) -> int:
        low, high = int(self.low), int(self.high)
        if self.log:  # each whole number has the room from half below it to half above it
            begin, end = math.log(low - 0.5), math.log(high + 0.5)
            return min(max(round(math.exp(begin + share * (end - begin))), low), high)
        return min(low + int(share * (high - low + 1)), high)


@record
class Axis:
    """The values of one parameter: a list of them, or a range to take them from.

    ``values`` is empty where there is a ``range``. ``source`` tells where they were given.
    """

    parameter: Parameter
    values: Sequence[Any]
    range: Range | None = None
    source: str = "sweep"

    @property
    def name(self) -> str:
        return self.parameter.name


class BadAxisError(ValueError):
    """A text that the grammar or the type refuses; the message names the piece and what was expected."""


def parse_axis(parameter: Parameter, words: Iterable[Sequence[tuple[str, bool]]], source: str) -> Axis:
    """Read the values of a parameter.

    Args:
        parameter: whose type decides.
        words: for each use of the option its words, each with the mark that it is meant literally.
        source: where they were given.

    Raises:
        BadAxisError: they do not fit.
    """
    if is_container(parameter):
        return Axis(parameter, [_read(parameter, use) for use in words], source=source)
    values: list[Any] = []
    for use in words:
        for text, literal in use:
            if literal:
                values.append(_read(parameter, [(text, True)]))
                continue
            pieces = text.split(",")
            for piece in pieces:
                found = _read_piece(parameter, piece, alone=len(pieces) == 1)
                if isinstance(found, Range):
                    if len(pieces) > 1 or values:
                        raise BadAxisError(
                            f"{piece!r} stands beside other values, but is a range without a list of values. "
                            "Give it alone, or say how many values it has (:n=5)"
                        )
                    return Axis(parameter, (), found, source)
                values.extend(found)
                if len(values) > MOST_VALUES:
                    raise BadAxisError(f"{piece!r} has more than a million values. Give it a step: {piece}:step=100")
    return Axis(parameter, values, source=source)


def axis_of(parameter: Parameter, given: object, source: str, *, reads_texts: bool = True) -> Axis:
    """Return the values that a file or code gives to a parameter: a list of them, a text of the grammar, or one value.

    Args:
        parameter: whose type decides.
        given: what stands there. For parameters that hold lists a list of lists is many values.
        source: where it stands.
        reads_texts: whether a text is read by the grammar, for types of which it could be a value as it is.

    Raises:
        BadAxisError: it does not fit.
    """
    if isinstance(given, str) and (reads_texts or range_type(parameter.type, given) is not None):
        literal = given.startswith("=")
        return parse_axis(parameter, [[(given[1:] if literal else given, literal)]], source)
    listed = _listed(parameter, given)
    return Axis(parameter, [given_value(parameter, item) for item in listed], source=source)


def given_value(parameter: Parameter, given: object) -> Any:
    """Return a value of a file or of code as a value of the parameter's type.

    Raises:
        BadAxisError: it does not fit.
    """
    try:
        return parameter.check(given)
    except BadValueError as error:
        raise _refused(parameter, given if error.piece is None else error.piece, error) from None


def format_axis(axis: Axis) -> str:
    """Write the values as one would type them; what `parse_axis` reads as the same values, where a text can."""
    if axis.range is not None:
        number = int if axis.range.integer else float
        text = f"{number(axis.range.low)!r}..{number(axis.range.high)!r}"
        return f"{text}:log" if axis.range.log else text
    if axis.parameter.secret:
        return ",".join("<masked>" for _ in axis.values)
    texts = [axis.parameter.type.format(value) for value in axis.values]
    if is_container(axis.parameter):
        return "  ".join(texts)
    if len(texts) == 1 and not texts[0].startswith("=") and _is_special(axis.parameter, texts[0]):
        return f"={texts[0]}"
    return ",".join(texts)


def is_container(parameter: Parameter) -> bool:
    """Tell whether commas belong to the values of a parameter, so that each use of its option is one value."""
    return parameter.type.is_container or bare_type(parameter.type).is_container


def range_type(kind: ParamType, text: str) -> ParamType | None:
    """Return the type by which a text is a range: a type of numbers, None where it is none."""
    if ".." not in text:
        return None
    bare = bare_type(kind)
    if isinstance(bare, ComplexNumber | TimeSpan):
        return None
    if isinstance(bare, Integer | Number):
        return bare
    if isinstance(bare, OneOf) and not any(isinstance(member, Text) for member in bare.members):
        numbers = [one for one in bare.members if range_type(one, text) is not None]
        fitting = [one for one in numbers if _accepts_ends(one, text)]
        return next(iter(fitting or numbers), None)
    return None


def _accepts_ends(kind: ParamType, text: str) -> bool:
    low, _, high = text.partition(":")[0].partition("..")
    try:
        kind.parse(low)
        kind.parse(high)
    except BadValueError:
        return False
    return True


def _is_special(parameter: Parameter, text: str) -> bool:
    return "," in text or not text or (range_type(parameter.type, text) is not None)


def _read_piece(parameter: Parameter, piece: str, *, alone: bool) -> Sequence[Any] | Range:
    kind = range_type(parameter.type, piece)
    if kind is not None:
        found = _read_range(parameter, kind, piece)
        return found if isinstance(found, Range) else [_checked(parameter, value, piece) for value in found]
    if not piece and not alone:
        raise BadAxisError("nothing stands between two commas. To mean the whole text write = before it")
    literal = piece.startswith("=") and not alone
    return [_read(parameter, [(piece[literal:], literal)])]


def _read(parameter: Parameter, words: Sequence[tuple[str, bool]]) -> Any:
    try:
        return parameter.type.parse_words(words)
    except BadValueError as error:
        text = " ".join(text for text, _ in words)
        raise _refused(parameter, text if error.piece is None else error.piece, error) from None


def _checked(parameter: Parameter, value: object, piece: str) -> Any:
    """Return a value of a range, where the type has conditions beside that it is a number."""
    try:
        return parameter.type.check(value)
    except BadValueError as error:
        shown = "the masked value" if parameter.secret else f"{short(value)}, of {piece!r},"
        raise BadAxisError(f"{shown} is not {error}") from None


def _refused(parameter: Parameter, value: object, error: BadValueError) -> BadAxisError:
    if parameter.secret:
        return BadAxisError(f"the masked value is not {parameter.type.label}")
    hint = ""
    if isinstance(value, str) and ".." in value and range_type(parameter.type, value) is None:
        hint = ". Only numbers have ranges"
    return BadAxisError(f"{short(value)} is not {error}{hint}")


# -- ranges ----------------------------------------------------------------------------------------------------------


def _read_range(parameter: Parameter, kind: ParamType, text: str) -> Sequence[Any] | Range:
    ends, *words = text.split(":")
    low_text, _, high_text = ends.partition("..")
    try:
        low, high = kind.parse(low_text), kind.parse(high_text)
    except BadValueError:
        raise BadAxisError(f"{text!r} is no range: expected {_example(kind)}, each end {kind.expected}") from None
    options = _range_options(text, words, kind)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadAxisError(f"{text!r} is no range: both ends are finite numbers")
    if low >= high:
        raise BadAxisError(f"{text!r} is no range: it begins with the smaller number, and ends with the larger one")
    if "log" in options and low <= 0:
        raise BadAxisError(f"{text!r} is no range: with :log both ends are above 0")
    if isinstance(kind, Integer):
        if "log" in options:
            return _range(parameter, text, Range(low, high, log=True, integer=True))
        return _whole_numbers(text, low, high, int(options.get("step", 1)))
    if "n" in options:
        return _spread(low, high, int(options["n"]), log="log" in options)
    return _range(parameter, text, Range(low, high, log="log" in options))


def _range(parameter: Parameter, text: str, found: Range) -> Range:
    for end in (found.low, found.high):
        _checked(parameter, end, text)
    return found


def _range_options(text: str, words: Sequence[str], kind: ParamType) -> dict[str, str | int]:
    options: dict[str, str | int] = {}
    whole = isinstance(kind, Integer)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in _WORDS or (name == "log") == bool(equals) or name in options:
            raise BadAxisError(f"{text!r}: :{word} is unknown here. Expected {_example(kind)}")
        if name == "n" and whole:
            raise BadAxisError(f"{text!r}: whole numbers have a step: {_ends_of(text)}:step={value or 2}")
        if name == "step" and not whole:
            raise BadAxisError(f"{text!r}: say how many values the range has: {_ends_of(text)}:n=5")
        if not equals:
            options[name] = ""
            continue
        least = 2 if name == "n" else 1
        if not value.isdecimal() or int(value) < least:
            raise BadAxisError(f"{text!r}: {name} is a whole number of at least {least}, unlike {value!r}")
        options[name] = int(value)
    if whole and len(options) > 1:
        raise BadAxisError(f"{text!r}: log and step contradict each other")
    if options.get("n", 0) and int(options["n"]) > MOST_VALUES:
        raise BadAxisError(f"{text!r} has more than a million values")
    return options


def _ends_of(text: str) -> str:
    """Return the ends of a range, without what stands behind them."""
    return text.partition(":")[0]


def _whole_numbers(text: str, low: int, high: int, step: int) -> Sequence[int]:
    found = range(low, high + 1, step)
    if len(found) > MOST_VALUES:
        raise BadAxisError(f"{text!r} has more than a million values. Give it a step: {_ends_of(text)}:step=1000")
    return found


def _spread(low: float, high: float, count: int, *, log: bool) -> list[float]:
    """Return ``count`` numbers from ``low`` to ``high``: each the float that is nearest to the exact one.

    Computed in decimals, from the ends as they are written, so that 0..1:n=11 has 0.3 in it.
    """
    import decimal

    context = decimal.Context(prec=40)
    first, last = decimal.Decimal(repr(low)), decimal.Decimal(repr(high))
    values = []
    for i in range(count):
        share = context.divide(decimal.Decimal(i), decimal.Decimal(count - 1))
        if log:
            exponent = context.multiply(share, context.ln(context.divide(last, first)))
            value = context.multiply(first, context.exp(exponent))
        else:
            value = context.add(first, context.multiply(share, context.subtract(last, first)))
        # The last digits are those of the rounding of the computation.
        values.append(float(decimal.Context(prec=30).plus(value)))
    return [low, *values[1:-1], high]


def _example(kind: ParamType) -> str:
    if isinstance(kind, Integer):
        return "LOW..HIGH, LOW..HIGH:step=2 or LOW..HIGH:log"
    return "LOW..HIGH, with :log, with :n=5"


# -- lists of files and code -----------------------------------------------------------------------------------------


def _listed(parameter: Parameter, given: object) -> Sequence[object]:
    if isinstance(given, str | bytes | dict):
        return [given]
    if isinstance(given, list | tuple | range | set | frozenset) or hasattr(given, "tolist"):
        sequence: Any = given
        items = sequence.tolist() if hasattr(sequence, "tolist") else list(sequence)
        if not isinstance(items, list):  # a scalar of NumPy
            return [given]
        if is_container(parameter) and not _is_list_of_values(parameter, items):
            return [given]
        if not items:
            raise BadAxisError("the list of values is empty")
        return items
    return [given]


def _is_list_of_values(parameter: Parameter, items: Sequence[object]) -> bool:
    """Tell whether a list holds values of a parameter that are lists themselves, or is such a value."""
    if not items or not all(isinstance(item, list | tuple | set | frozenset | dict) for item in items):
        return False
    try:
        for item in items:
            parameter.check(item)
    except BadValueError:
        return False
    return True
