"""From tokens to assignments: which words belong to which parameter of a `Spec`. Converts nothing."""

from __future__ import annotations

from pystematic._words import did_you_mean
from pystematic.declare import OMITTED, BadValueError, Parameter, Spec, bare_type
from pystematic.resolve._given import Given
from pystematic.resolve._tokens import Option, Word, word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COMMAND_LINE = "command line"
_BOOLEAN_WORDS = frozenset({"true", "false", "yes", "no", "on", "off"})


class OptionReader:
    """Collects the values that a command line gives to the parameters of one or more specifications.

    Attributes:
        given: parameter name to what was given.
        uses: by the name of a parameter that holds a list the words of each use of its option, also all in ``given``.
        words: words that no option took.
        problems: one text for each thing that is wrong.
    """

    def __init__(self) -> None:
        self.given: dict[str, Given] = {}
        self.uses: dict[str, list[list[tuple[str, bool]]]] = {}
        self.words: list[Word] = []
        self.problems: list[str] = []

    def read(
        self,
        tokens: Sequence[Option | Word],
        spec: Spec,
        *,
        greedy: bool = True,
        stop_at_word: bool = False,
        on_unknown: Callable[[Option], str] | None = None,
    ) -> int:
        """Read tokens; return how many were used.

        Args:
            tokens: what `tokenize` made.
            spec: the parameters.
            greedy: a list takes every word that follows it; without it, exactly one.
            stop_at_word: end before the first word that no option takes (the name of an experiment).
            on_unknown: makes the message for an unknown option.
        """
        i = 0
        while i < len(tokens):
            token = tokens[i]
            if isinstance(token, Word):
                if stop_at_word:
                    return i
                self.words.append(token)
                i += 1
                continue
            end = i + 1
            while end < len(tokens) and isinstance(tokens[end], Word):
                end += 1
            following = [word for word in tokens[i + 1 : end] if isinstance(word, Word)]
            parameter = spec.with_option(token.name, self._chosen(spec) if "." in token.name else None)
            if parameter is None:
                # A flag of one letter would be near to every short name.
                names = (name[2:] for name in (*spec.options, "--help") if name.startswith("--"))
                hint = did_you_mean(token.name.lstrip("-"), names, "--{}")
                if len(token.name) == 2:
                    hint = ""
                message = on_unknown(token) if on_unknown else f"there is no option {token.name}.{hint}"
                self.problems.append(message)
                i = end if greedy and token.value is None else i + 1  # what follows was meant for it
                continue
            i += 1 + self._take(parameter, token, following, tokens, end, greedy)
        return i

    def _chosen(self, spec: Spec) -> dict[str, object]:
        """Return the classes that are chosen so far: fields of one name may be a flag in one and a list in another."""
        chosen: dict[str, object] = {}
        for name in {owner for parameter in spec.parameters for owner, _ in parameter.conditions}:
            parameter, given = spec.named(name)[0], self.given.get(name)
            try:
                words = given.words if given is not None else None
                chosen[name] = parameter.default if words is None else parameter.type.parse_words(words)
            except BadValueError:  # reported when all are converted
                continue
        return chosen

    def _take(
        self,
        parameter: Parameter,
        token: Option,
        following: list[Word],
        tokens: Sequence[Option | Word],
        end: int,
        greedy: bool,
    ) -> int:
        """Give ``parameter`` its words; return how many of ``following`` it took."""
        kind = parameter.type
        if token.name == parameter.negation:
            if token.value is not None:
                self.problems.append(f"{token.name}={token.value}: {token.name} takes no value.")
            else:
                self._set(parameter, False, token)
            return 0
        if token.value is not None:
            self._set(parameter, [word(token.value).pair], token)
            return 0
        if kind.is_flag:
            if greedy and following and not kind.choices and _is_boolean(following[0].text):
                self._set(parameter, [following[0].pair], token)
                return 1
            self._set(parameter, True, token)
            return 0
        if not following:
            self.problems.append(f"{token.name} needs a value{_instead(tokens, end, token, parameter)}.")
            return 0
        count = len(following) if greedy and (kind.is_container or bare_type(kind).is_container) else 1
        self._set(parameter, [item.pair for item in following[:count]], token)
        return count

    def _set(self, parameter: Parameter, value: object, token: Option) -> None:
        before = self.given.get(parameter.name)
        if isinstance(value, list) and parameter.type.is_container:
            self.uses.setdefault(parameter.name, []).append(value)
        if before is None:
            words = value if isinstance(value, list) else None
            plain = OMITTED if words is not None else value
            self.given[parameter.name] = Given(COMMAND_LINE, words, plain, token.name)
        elif parameter.type.is_container and before.words is not None and isinstance(value, list):
            self.given[parameter.name] = Given(COMMAND_LINE, [*before.words, *value], OMITTED, token.name)
        else:
            first, second = (_spelled(item) for item in (before.raw, value))
            both = before.spelled != token.name
            values = "" if parameter.secret or (both and parameter.type.is_flag) else f": {first}, then {second}"
            told = f"{before.spelled} and {token.name} are both given" if both else f"{token.name} is given twice"
            self.problems.append(f"{told}{values}. Give {'one of them' if both else 'it once'}.")


def _is_boolean(text: str) -> bool:
    """Tell whether a word can only be meant for the flag before it; a sweep takes several, with commas."""
    return all(piece in _BOOLEAN_WORDS for piece in text.lower().split(","))


def _instead(tokens: Sequence[Option | Word], end: int, token: Option, parameter: Parameter) -> str:
    if end < len(tokens):
        follower = tokens[end]
        assert isinstance(follower, Option)
        text = follower.name if follower.value is None else f"{follower.name}={follower.value}"
        return f", but the option {text} follows it. If that is the value, write {token.name}={text}"
    empty = " (for an empty list write '[]')" if parameter.type.is_container else ""
    return f": {parameter.type.label}{empty}"


def _spelled(value: object) -> str:
    if isinstance(value, list):
        return repr(" ".join(text for text, _ in value))
    return repr(value)
