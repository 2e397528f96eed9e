"""The grammar of filters and sort keys: from text to a tree, and what is wrong with a text and where.

A tokenizer and a recursive descent of our own: with Python's parser its errors would be Python's, and an `eval` of what
it returns would be one slip away from running what somebody typed into a page.
"""

from __future__ import annotations

from itertools import pairwise

from pystematic._record import record
from pystematic._words import did_you_mean, english_list, parse_duration, short
from pystematic.errors import UsageError
from pystematic.store._query_tree import (
    BOOLEAN,
    DURATION,
    ERROR_PARTS,
    FIELDS,
    KINDS,
    LIST,
    NOTHING,
    NUMBER,
    ORDERINGS,
    STATISTICS,
    TEXT,
    TIME,
    And,
    Comparison,
    Condition,
    Contains,
    Field,
    IsNone,
    Items,
    Literal,
    Match,
    Not,
    Or,
    parse_time,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from pystematic.store._query_tree import Operand

    T = TypeVar("T")

# Characters. A list of some thousand run ids fits.
LONGEST = 100_000
# Parentheses and `not` around each other; each takes a few frames of Python's stack.
DEEPEST = 50

STATUSES = ("running", "completed", "failed", "interrupted", "pruned", "lost", "damaged")


class QueryError(UsageError):
    """A filter or sort key that is not understood.

    Attributes:
        problem: what is wrong, without the text.
        position: the number of the character at which it goes wrong.
    """

    def __init__(self, what: str, problem: str, text: str, position: int) -> None:
        self.problem = problem
        self.position = position
        shown = [f"\n  {line}" for line in _point_at(text, position)] if text.strip() else []
        super().__init__(f"the {what} is not understood: {problem}{''.join(shown)}")


# -- tokens ----------------------------------------------------------------------------------------------------------

_NAME, _NUMBER, _TEXT, _SIGN, _END = "name", "number", "text", "sign", "end"
_DIGITS = frozenset("0123456789")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")
_LONG_SIGNS = ("==", "!=", "<=", ">=", "&&", "||")
_ESCAPES = {"\\": "\\", "'": "'", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_CODE_LENGTHS = {"x": 2, "u": 4, "U": 8}


class _Token:
    """A piece of the text: ``value`` is what it stands for, ``start`` the number of its first character."""

    __slots__ = ("kind", "start", "text", "value")

    def __init__(self, kind: str, text: str, start: int, value: Any = None) -> None:
        self.kind = kind
        self.text = text
        self.start = start
        self.value = value


class _TextError(Exception):
    """What is wrong with the text, and at which character."""

    def __init__(self, problem: str, start: int) -> None:
        self.problem = problem
        self.start = start
        super().__init__(problem)


def _read_token(text: str, start: int) -> _Token:
    """Return the token that begins at ``start`` or behind the white space there.

    A character that begins none is a sign: the parser says what it expected instead.
    """
    while start < len(text) and text[start].isspace():
        start += 1
    first = text[start : start + 1]
    if not first:
        return _Token(_END, "", start)
    if first in _DIGITS or (first == "." and text[start + 1 : start + 2] in _DIGITS):
        return _read_number(text, start)
    if first in "'\"":
        return _read_text(text, start)
    if first.isidentifier():
        end = start + 1
        while end < len(text) and f"_{text[end]}".isidentifier():
            end += 1
        return _Token(_NAME, text[start:end], start)
    sign = text[start : start + 2]
    return _Token(_SIGN, sign if sign in _LONG_SIGNS else first, start)


def _read_number(text: str, start: int) -> _Token:
    end = start
    while end < len(text) and (
        text[end].isalnum() or text[end] in "._" or (text[end] in "+-" and text[end - 1] in "eE")
    ):
        end += 1
    word = text[start:end]
    is_whole = all(letter in _DIGITS or letter == "_" for letter in word)
    try:
        # As bytes: in a text Python takes the digits of every script.
        return _Token(_NUMBER, word, start, int(word) if is_whole else float(word.encode()))
    except ValueError:  # also of more digits than Python reads
        advice = f"A date, a duration or any other text stands in quotes: '{cut(word)}'."
        raise _TextError(f"{cut(word)} is no number. {advice}", start) from None


def _read_text(text: str, start: int) -> _Token:
    quote = text[start]
    pieces = []
    at = start + 1
    while at < len(text) and text[at] != quote:
        piece, at = _read_escape(text, at) if text[at] == "\\" else (text[at], at + 1)
        pieces.append(piece)
    if at >= len(text):
        raise _TextError(f"the text that begins here has no end: another {quote} is missing.", start)
    return _Token(_TEXT, text[start : at + 1], start, "".join(pieces))


def _read_escape(text: str, start: int) -> tuple[str, int]:
    letter = text[start + 1 : start + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], start + 2
    length = _CODE_LENGTHS.get(letter, 0)
    digits = text[start + 2 : start + 2 + length]
    if length and len(digits) == length and _HEX_DIGITS.issuperset(digits) and int(digits, 16) <= 0x10FFFF:
        return chr(int(digits, 16)), start + 2 + length
    raise _TextError("a backslash here begins nothing that is known. Write \\\\ for the backslash itself.", start)


# -- grammar ---------------------------------------------------------------------------------------------------------

_VALUES: dict[str, Any] = {
    "true": True,
    "True": True,
    "false": False,
    "False": False,
    "none": None,
    "None": None,
    "inf": float("inf"),
}
_KEYWORDS = ("and", "or", "not", "in", "is")
_CHAINED = (*ORDERINGS, "==", "!=")

_A_VALUE = "a field, a number, a text in quotes or a list"
_IN_BRACKETS = "A name with such a character stands in brackets and quotes: metrics['val/accuracy']."
_DATES = "Write 'YYYY-MM-DD', 'YYYY-MM-DD HH:MM', 'YYYY-MM-DD HH:MM:SS', 'today', 'yesterday' or '2h ago'."
_HINTS = {
    "=": "Write == for 'equals'.",
    "!": "Write 'not', or != for 'differs'.",
    "&": "Write 'and'.",
    "&&": "Write 'and'.",
    "|": "Write 'or'.",
    "||": "Write 'or'.",
    "~": "Write match(FIELD, 'PATTERN') for texts that fit a pattern.",
    "/": _IN_BRACKETS,
    ":": _IN_BRACKETS,
    "-": f"There is no arithmetic. {_IN_BRACKETS}",
    **dict.fromkeys("+*%", "There is no arithmetic."),
    **dict.fromkeys("\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u00b4`", "Quotes are ' and \"."),
}
_HINTS_AT_NAMES = {
    "null": "Write none.",
    **dict.fromkeys(("nan", "NaN"), "Nothing equals NaN; a metric that never was a number is none."),
}


@record
class _Placed:
    """What was read, and the number of its first character; of a list also those of its values."""

    node: Condition | Operand
    start: int
    value_starts: tuple[int, ...] = ()


class Parser:
    """Reads one text.

    ``token`` is the next piece that is not used yet. A method that is named after a piece of the grammar reads that and
    moves on behind it.

    Args:
        what: what the text is called in messages.
        text: as a person wrote it.
        now: what relative times count from, in seconds since 1970.

    Raises:
        UsageError: it is no text, or too long.
    """

    def __init__(self, what: str, text: str, now: float = 0.0) -> None:
        if not isinstance(text, str):
            raise UsageError(f"a {what} is a text, got {short(text)}.")
        if len(text) > LONGEST:
            raise UsageError(f"the {what} is {len(text)} characters long; at most {LONGEST} are read.")
        self.what = what
        self.text = text
        self.now = now
        self.depth = 0
        self.token = self.last = _Token(_SIGN, "", 0)

    def parse_filter(self) -> Condition:
        """Return the tree of a filter.

        Raises:
            QueryError: it is none. The message shows the text and where it is wrong.
        """
        return self._parse(self._whole_filter)

    def parse_sort_key(self) -> list[tuple[Field, bool]]:
        """Return the fields to sort by, and whether in descending order.

        Raises:
            QueryError: it is no sort key. The message shows the text and where it is wrong.
        """
        return self._parse(self._whole_sort_key)

    def _parse(self, read: Callable[[], T]) -> T:
        try:
            self._advance()
            return read()
        except _TextError as error:
            raise QueryError(self.what, error.problem, self.text, error.start) from None

    def _whole_filter(self) -> Condition:
        if self.token.kind == _END:
            raise _TextError("it is empty. Write a condition such as params.learning_rate > 0.01.", 0)
        condition = self._condition(self._either())
        if self.token.kind != _END:
            raise self._unexpected("'and', 'or' or the end")
        return condition

    def _whole_sort_key(self) -> list[tuple[Field, bool]]:
        terms = []
        is_next = True
        while is_next:
            is_descending = self._take("-")
            term = self._primary("a field")
            if not isinstance(term.node, Field):
                raise _TextError("only fields sort, such as started_at or metrics['val/accuracy'].max.", term.start)
            terms.append((term.node, is_descending))
            is_next = self._take(",")
        if self.token.kind != _END:
            raise self._unexpected("a comma or the end", "A - before a field reverses its order.")
        return terms

    # -- moving on -------------------------------------------------------------------------------------------------

    def _advance(self) -> _Token:
        self.last = self.token
        self.token = _read_token(self.text, self.last.start + len(self.last.text))
        return self.last

    def _is_at(self, *texts: str) -> bool:
        return self.token.text in texts and self.token.kind in (_NAME, _SIGN)

    def _take(self, text: str) -> bool:
        if not self._is_at(text):
            return False
        self._advance()
        return True

    def _demand(self, text: str, expected: str) -> None:
        if not self._take(text):
            raise self._unexpected(expected)

    def _demand_text(self, expected: str) -> str:
        if self.token.kind != _TEXT:
            raise self._unexpected(expected)
        text: str = self._advance().value
        return text

    def _unexpected(self, expected: str, hint: str = "") -> _TextError:
        """Return what to raise because the next token is another one than expected."""
        token = self.token
        if token.kind == _END:
            return _TextError(f"expected {expected}, but it ends here.", token.start)
        if token.text == "-" and self.last.kind == _NUMBER:
            hint = "A date stands in quotes: '2026-01-02'."
        elif token.text.lower() in _KEYWORDS and token.text not in _KEYWORDS:
            hint = f"Write {token.text.lower()!r}."
        elif token.kind == _SIGN:
            hint = _HINTS.get(token.text, hint)
        found = cut(token.text) if token.kind in (_TEXT, _NUMBER) else repr(cut(token.text))
        return _TextError(f"expected {expected}, got {found}.{' ' if hint else ''}{hint}", token.start)

    def _go_deeper(self) -> None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise _TextError(f"there are more than {DEEPEST} parentheses or 'not' around each other.", self.token.start)

    # -- conditions ------------------------------------------------------------------------------------------------

    def _either(self) -> _Placed:
        return self._joined("or", self._both, Or)

    def _both(self) -> _Placed:
        return self._joined("and", self._negation, And)

    def _joined(self, word: str, read: Callable[[], _Placed], join: Callable[..., Condition]) -> _Placed:
        first = read()
        if not self._is_at(word):
            return first
        conditions = [self._condition(first)]
        while self._take(word):
            conditions.append(self._condition(read()))
        return _Placed(join(tuple(conditions)), first.start)

    def _negation(self) -> _Placed:
        start = self.token.start
        if not self._is_at("not"):
            return self._comparison()
        self._go_deeper()
        self._advance()
        condition = self._condition(self._negation())
        self.depth -= 1
        return _Placed(Not(condition), start)

    def _condition(self, read: _Placed) -> Condition:
        """Return what was read as a condition; a parameter alone is one, for those that are true or false."""
        node = read.node
        if isinstance(node, Condition):
            return node
        if self.token.kind != _END and not self._is_at("and", "or", ")"):
            raise self._unexpected("a comparison such as == or <")
        if isinstance(node, Field) and node.kind == NOTHING:
            return Comparison((node, Literal(True)), ("==",))
        raise _TextError(f"{cut(node)} alone is no condition. Compare it, with == or < for example.", read.start)

    def _comparison(self) -> _Placed:
        first = self._primary(_A_VALUE)
        operands = [first]
        signs: list[str] = []
        while sign := self._comparing_sign():
            if signs and not {sign, *signs} <= set(_CHAINED):
                raise _TextError(
                    f"{sign!r} cannot stand in a chain of comparisons. Join them with 'and'.", self.last.start
                )
            signs.append(sign)
            operands.append(self._primary(_A_VALUE, is_compared=isinstance(operands[-1].node, Field)))
        if not signs:
            return first
        for operand in operands:
            if isinstance(operand.node, Condition):
                raise _TextError("a condition is not compared. Join it with 'and', 'or' or 'not'.", operand.start)
        return _Placed(self._compared(operands, signs), first.start)

    def _comparing_sign(self) -> str:
        if self._is_at(*_CHAINED, "in"):
            return self._advance().text
        if self._take("is"):
            return "is not" if self._take("not") else "is"
        if self._take("not"):
            self._demand("in", "'in' after 'not'")
            return "not in"
        return ""

    def _compared(self, operands: Sequence[_Placed], signs: Sequence[str]) -> Condition:
        first, second = operands[:2]
        sign = signs[0]
        none = next((operand for operand in operands if operand.node == Literal(None)), None)
        pairs = list(pairwise(operands))
        for left, right in pairs:
            if not isinstance(left.node, Field) and not isinstance(right.node, Field):
                raise _TextError("two values are compared. One of them must be a field.", left.start)
        if sign in ("is", "is not") and none is None:
            raise _TextError(f"{sign!r} is for none only. Write {'==' if sign == 'is' else '!='}.", second.start)
        if none is not None:
            if len(signs) > 1 or sign in (*ORDERINGS, "in", "not in"):
                raise _TextError("none only equals. Write FIELD is none, or FIELD is not none.", none.start)
            field = second.node if first is none else first.node
            assert isinstance(field, Field)
            return IsNone(field, sign in ("!=", "is not"))
        if sign in ("in", "not in"):
            return self._contains(first, sign, second)
        for each, (left, right) in zip(signs, pairs, strict=True):
            self._check_comparison(left, each, right)
            self._check_comparison(right, each, left)
        return Comparison(tuple(operand.node for operand in operands), tuple(signs))  # type: ignore[misc]

    def _contains(self, item: _Placed, sign: str, container: _Placed) -> Condition:
        inside: Any = item.node
        around: Any = container.node
        if isinstance(inside, Items):
            raise _TextError(f"only single values are looked for. Write 'a' {sign} {cut(around)}.", item.start)
        if isinstance(inside, Field) and inside.kind == LIST:
            raise _TextError(f"{inside} is a list. Write 'a' {sign} {inside}.", item.start)
        if isinstance(around, Items):
            for literal, start in zip(around.literals, container.value_starts, strict=True):
                self._check_value(inside, literal, start)
        elif _kind_of(around) not in (NOTHING, TEXT, LIST):
            raise _TextError(f"{cut(around)} is {_kind_of(around)}, which holds nothing.", container.start)
        elif _kind_of(around) == TEXT and _kind_of(inside) not in (NOTHING, TEXT):
            raise _TextError(f"{cut(inside)} is {_kind_of(inside)}, and a text holds only texts.", item.start)
        return Contains(inside, around, sign == "not in")

    # -- whether what is compared fits -----------------------------------------------------------------------------

    def _check_comparison(self, left: _Placed, sign: str, right: _Placed) -> None:
        field, value = left.node, right.node
        if not isinstance(field, Field) or not isinstance(value, Literal | Items):
            return
        self._check_value(field, value, right.start)
        if sign in ORDERINGS and _kind_of(value) in (BOOLEAN, LIST):
            raise _TextError(f"{cut(value)} has no order. Write == or !=.", right.start)

    def _check_value(self, field: Field, value: Literal | Items, start: int) -> None:
        """Refuse a value that the field never has."""
        given, given_kind, kind = value.value, _kind_of(value), field.kind
        problem = ""
        if given is None or kind == NOTHING:
            return
        if kind in (TIME, DURATION) and given_kind == TEXT:
            try:
                parse_time(given, self.now) if kind == TIME else parse_duration(given)
            except ValueError:
                forms = _DATES if kind == TIME else "Write a number of seconds, '30s', '10m' or '1h30m'."
                problem = f"{cut(value)} is no {kind.split()[1]}. {forms}"
        elif given_kind != (NUMBER if kind == DURATION else kind):
            advice = {TIME: f" {_DATES}", LIST: f" Write {cut(value)} in {field}."}.get(kind, "")
            problem = f"{cut(field)} is {kind}, {cut(value)} is {given_kind}.{advice}"
        elif field.key == ("status",) and given not in STATUSES:
            advice = did_you_mean(given, STATUSES) or f" There are {english_list(STATUSES)}."
            problem = f"there is no status {cut(value)}.{advice}"
        if problem:
            raise _TextError(problem, start)

    # -- operands --------------------------------------------------------------------------------------------------

    def _primary(self, expected: str, is_compared: bool = False) -> _Placed:
        """Read a value, a field, a call or what stands in parentheses.

        Args:
            expected: what to say when there is something else.
            is_compared: whether a field stands before it; a word is then rather a text without quotes.
        """
        token = self.token
        if token.kind in (_TEXT, _NUMBER) or self._is_at("-", "+", *_VALUES):
            return _Placed(self._literal(), token.start)
        if self._is_at("("):
            return self._parenthesized()
        if self._take("["):
            return self._items(token.start, [], "]")
        if self._take("{"):
            return self._items(token.start, [], "}")
        if token.kind != _NAME or token.text in _KEYWORDS:
            raise self._unexpected(expected)
        self._advance()
        return _Placed(self._call(token) if self._is_at("(") else self._field(token, is_compared), token.start)

    def _parenthesized(self) -> _Placed:
        start = self.token.start
        self._go_deeper()
        self._advance()
        if self._is_at(")"):
            read = self._items(start, [], ")")
        else:
            inner = self._either()
            if self._is_at(","):
                if not isinstance(inner.node, Literal):
                    raise _TextError("a list holds numbers, texts, true, false and none only.", inner.start)
                self._advance()
                read = self._items(start, [inner], ")")
            else:
                is_condition = isinstance(inner.node, Condition)
                self._demand(")", "'and', 'or' or ')'" if is_condition else "a comparison or ')'")
                read = _Placed(inner.node, start, inner.value_starts)
        self.depth -= 1
        return read

    def _items(self, start: int, values: list[_Placed], end: str) -> _Placed:
        """Read a list from behind its bracket, or behind the comma after those ``values`` that were read."""
        while not self._take(end):
            at = self.token.start
            values.append(_Placed(self._literal(), at))
            if not self._is_at(end):
                self._demand(",", f"a comma or {end!r}")
        literals: Any = tuple(value.node for value in values)
        return _Placed(Items(literals), start, tuple(value.start for value in values))

    def _literal(self) -> Literal:
        """Read a value that may stand in a list."""
        is_signed = self._is_at("-", "+")
        factor = -1 if is_signed and self._advance().text == "-" else 1
        if self.token.kind == _NUMBER or self._is_at("inf"):
            token = self._advance()
            return Literal(factor * (_VALUES["inf"] if token.kind == _NAME else token.value))
        if is_signed:
            raise self._unexpected("a number after the sign")
        if self._is_at(*_VALUES):
            return Literal(_VALUES[self._advance().text])
        return Literal(self._demand_text("a number, a text in quotes, true, false or none"))

    def _call(self, name: _Token) -> Condition:
        if name.text != "match":
            raise _TextError(f"there is no function {cut(name.text)!r}. There is match(FIELD, 'PATTERN').", name.start)
        self._advance()
        matched = self._primary("a field")
        if not isinstance(matched.node, Field):
            raise _TextError("only a field is matched: match(FIELD, 'PATTERN').", matched.start)
        if matched.node.kind not in (NOTHING, TEXT, LIST):
            problem = f"{cut(matched.node)} is {matched.node.kind}, and only texts are matched."
            raise _TextError(problem, matched.start)
        self._demand(",", "a comma and a pattern in quotes")
        pattern = self._demand_text("a pattern in quotes")
        self._demand(")", "')'")
        return Match(matched.node, pattern)

    def _field(self, name: _Token, is_compared: bool) -> Field:
        head = name.text
        if head in FIELDS:
            return Field((head,))
        if head == "error":
            self._demand(".", "error.type or error.message")
            if not self._is_at(*ERROR_PARTS):
                raise self._unexpected("error.type or error.message")
            return Field((head, self._advance().text))
        if head in ("params", "sources"):
            parts = [self._part(head, "NAME")]
            while self._is_at(".", "["):
                parts.append(self._part(head, "NAME"))
            return Field((head, ".".join(parts)))
        if head == "metrics":
            return Field((head, self._part(head, "TAG"), self._statistic() if self._take(".") else "last"))
        hint = _HINTS_AT_NAMES.get(head, f"A text stands in quotes: '{cut(head)}'." if is_compared else "")
        hint = f" {hint}" if hint else did_you_mean(head, [*FIELDS, "error", "params", "metrics", "sources"])
        hint = hint or f" A parameter is written params.{cut(head)}, a metric metrics['{cut(head)}']."
        raise _TextError(f"there is no field {cut(head)!r}.{hint}", name.start)

    def _part(self, head: str, what: str) -> str:
        """Read ``.name`` or ``['name']`` behind ``head``."""
        if self._take("."):
            if self.token.kind != _NAME:
                raise self._unexpected("a name after the dot")
            return self._advance().text
        self._demand("[", f"{head}.{what} or {head}['{what}']")
        name = self._demand_text("a text in quotes inside the brackets")
        self._demand("]", "']'")
        return name

    def _statistic(self) -> str:
        if not self._is_at(*STATISTICS):
            names = english_list(STATISTICS, "or")
            if self.token.kind != _NAME:
                raise self._unexpected(names)
            hint = did_you_mean(self.token.text, STATISTICS) or " A tag with dots is written metrics['a.b']."
            raise _TextError(f"a metric has no {cut(self.token.text)!r}, only {names}.{hint}", self.token.start)
        return self._advance().text


def _kind_of(operand: Operand) -> str:
    return operand.kind if isinstance(operand, Field) else KINDS[type(operand.value)]


# -- messages --------------------------------------------------------------------------------------------------------

# Characters of a long text that are shown: so many before what is wrong, and so many in all.
_SHOWN_BEFORE, _SHOWN = 50, 74


def cut(shown: object, limit: int = 40) -> str:
    """Return the text of what a person wrote, cut so that a message stays readable."""
    text = str(shown)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _point_at(text: str, start: int) -> tuple[str, str]:
    """Return the text, or what is around ``start`` in a long one, and a line with a caret below that character."""
    import unicodedata  # errors only

    begin = max(0, start - _SHOWN_BEFORE) if len(text) > _SHOWN else 0
    shown = text[begin : begin + _SHOWN]
    before = "…" if begin else ""
    after = "…" if begin + len(shown) < len(text) else ""
    width = len(before)
    for letter in text[begin:start]:
        if not unicodedata.combining(letter):
            width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    line = "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in shown)
    return f"{before}{line}{after}".rstrip(), f"{' ' * width}^"
