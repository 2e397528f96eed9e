"""parameters.yaml, and reading YAML by the rules of version 1.2.

Written files hold one ``name: value`` a line, each value JSON, so that they are read fast without a YAML parser and by
anybody's parser too. Files of people are parsed by PyYAML into nodes, which are read here by the core schema of YAML
1.2 (https://yaml.org/spec/1.2.2/#103-core-schema); no constructor of PyYAML runs, so no file executes code.
"""

from __future__ import annotations

from pystematic._words import short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Lines = dict[tuple[str, ...], int]

HEADER = "# Parameters of a run. Every value is JSON, which is YAML too; give this file to --params-file."
MOST_NODES = 1_000_000  # aliases of aliases can make a short file endless
TAG_PREFIX = "tag:yaml.org,2002:"
PLAIN_TAG = f"{TAG_PREFIX}plain"  # ours, for words without quotes and tag, whose type is told by `read_plain_scalar`


def format_parameters(plain: Mapping[str, Any]) -> str:
    """Write encoded parameters as text, one a line."""
    return "".join([HEADER, "\n", *(f"{_key(name)}: {_value(value)}\n" for name, value in plain.items())])


class ParameterLines(dict[str, tuple[str, "Any"]]):
    """What the lines of parameters.yaml say, for reading many: those of one experiment have most lines in common.

    Args:
        convert: what to make of each value once.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        super().__init__()
        self.convert = convert

    def __missing__(self, line: str) -> tuple[str, Any]:
        import json

        name, _, value = line.partition(": ")
        read = self[line] = (json.loads(name) if name[:1] == '"' else name, self.convert(json.loads(value)))
        return read


def read_parameters(path: Any) -> dict[str, Any]:
    """Return the encoded parameters of a parameters.yaml; nothing of a damaged or missing one."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return {}
    return parse_parameters(content, ParameterLines(lambda value: value), str(path))


def parse_parameters(content: bytes, lines: ParameterLines, where: str = "") -> dict[str, Any]:
    """Return the parameters that a parameters.yaml holds; nothing of a damaged one.

    Args:
        content: of the file.
        lines: of other files, to which those of this one are added; they convert the values.
        where: for messages.
    """
    text = content.decode("utf-8", "surrogateescape")
    header, _, body = text.partition("\n")
    if header == HEADER:
        try:
            return dict(map(lines.__getitem__, filter(None, body.split("\n"))))
        except (ValueError, RecursionError):  # .nan and .inf, which JSON lacks, or a line that somebody has edited
            pass
    try:
        tree, _ = parse_yaml(text, where)
    except ValueError:
        return {}
    return {str(name): lines.convert(value) for name, value in tree.items()} if isinstance(tree, dict) else {}


def _key(name: str) -> str:
    plain = name.replace(".", "").replace("_", "").replace("-", "")
    return name if plain.isascii() and plain.isalnum() and name[0].isalpha() and name not in _WORDS else _value(name)


def _value(value: Any) -> str:
    import json

    if isinstance(value, float) and value - value != 0:
        return ".nan" if value != value else ".inf" if value > 0 else "-.inf"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_value(str(key))}: {_value(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):
        # Letters beyond ASCII stay readable; what YAML cannot hold raw is escaped, above U+FFFF never as a pair.
        text = json.dumps(value, ensure_ascii=False)
        return text if text.isprintable() else "".join(map(_escaped, text))
    if isinstance(value, float):
        text = repr(value)
        # YAML 1.1 parsers want a dot in a number with an exponent.
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    return json.dumps(value)


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    code = ord(letter)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Words that a parser of YAML 1.1 would not take as text.
_WORDS = frozenset(
    [
        "y",
        "n",
        "yes",
        "no",
        "on",
        "off",
        "true",
        "false",
        "null",
        "Y",
        "N",
        "Yes",
        "No",
        "On",
        "Off",
        "True",
        "False",
        "Null",
        "YES",
        "NO",
        "ON",
        "OFF",
        "TRUE",
        "FALSE",
        "NULL",
    ]
)


def parse_yaml(text: str, where: str = "") -> tuple[Any, Lines]:
    """Parse one YAML document.

    Returns:
        The value, of None, bool, int, float, str, list and dict; and the line (from 1) of each key, by its path.

    Raises:
        ValueError: it is no YAML, a key stands twice, or a tag asks for more than data; the text names the line.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if "\\ud" in text.lower():  # libyaml refuses escaped surrogates, which JSON writers make
        base = yaml.SafeLoader

    class Loader(base):  # type: ignore[misc]
        def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
            if kind is yaml.ScalarNode:
                return PLAIN_TAG if implicit[0] else f"{TAG_PREFIX}str"
            return f"{TAG_PREFIX}seq" if kind is yaml.SequenceNode else f"{TAG_PREFIX}map"

    try:
        node = yaml.compose(text, Loader=Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        line = f"line {mark.line + 1}: " if mark is not None else ""
        raise ValueError(f"{line}this is no YAML: {problem}.") from None
    except RecursionError:
        raise ValueError("this YAML is nested too deeply.") from None
    except UnicodeError:
        raise ValueError("this is no YAML: it is no UTF-8 text.") from None
    reader = _NodeReader()
    try:
        return (None, {}) if node is None else (reader.read(node, (), ()), reader.lines)
    except RecursionError:
        raise ValueError("this YAML is nested too deeply.") from None


class _NodeReader:
    def __init__(self) -> None:
        self.lines: Lines = {}
        self.count = 0

    def read(self, node: Any, path: tuple[str, ...], around: tuple[int, ...]) -> Any:
        self.count += 1
        line = node.start_mark.line + 1
        if self.count > MOST_NODES or id(node) in around:
            raise ValueError(f"line {line}: the aliases of this file make it endless.")
        kind = type(node).__name__
        if kind == "ScalarNode":
            return _read_scalar(node, line)
        if node.tag != TAG_PREFIX + ("seq" if kind == "SequenceNode" else "map"):
            raise _refused_tag(node.tag, line)
        if kind == "SequenceNode":
            return [self.read(item, (*path, str(i)), (*around, id(node))) for i, item in enumerate(node.value)]
        mapping: dict[Any, Any] = {}
        first: dict[Any, int] = {}
        for key_node, value_node in node.value:
            key = self.read(key_node, path, (*around, id(node)))
            key_line = key_node.start_mark.line + 1
            if isinstance(key, list | dict):
                raise ValueError(f"line {key_line}: a key must be one word, not a list or table.")
            if key in first:
                raise ValueError(f"line {key_line}: {key!r} stands here again, after line {first[key]}.")
            first[key] = key_line
            inner = (*path, str(key))
            self.lines[inner] = key_line
            mapping[key] = self.read(value_node, inner, (*around, id(node)))
        return mapping


def _refused_tag(tag: str, line: int) -> ValueError:
    spelled = f"!!{tag[len(TAG_PREFIX) :]}" if tag.startswith(TAG_PREFIX) else tag
    return ValueError(f"line {line}: the tag {spelled!r} is refused: a file holds data only, and executes nothing.")


def _read_scalar(node: Any, line: int) -> Any:
    text: str = node.value
    if node.tag == PLAIN_TAG:
        try:
            return read_plain_scalar(text)
        except ValueError:  # Python reads some thousand digits, and no more
            raise ValueError(f"line {line}: a number of {len(text)} digits is not read.") from None
    # PyYAML reads the two halves of an escaped character above U+FFFF one by one; JSON writers make such pairs.
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return text if node.tag == f"{TAG_PREFIX}str" else _read_tagged(node, text, line)


def _read_tagged(node: Any, text: str, line: int) -> Any:
    kind = node.tag[len(TAG_PREFIX) :]
    classes: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}
    expected = classes.get(kind)
    if expected is None or not node.tag.startswith(TAG_PREFIX):
        raise _refused_tag(node.tag, line)
    try:
        value = read_plain_scalar(text)
        if isinstance(value, expected) and (kind == "bool" or not isinstance(value, bool)):
            return float(value) if kind == "float" else value
    except (OverflowError, ValueError):
        pass
    raise ValueError(f"line {line}: {short(text)} is no {kind}.")


def read_plain_scalar(text: str) -> Any:
    """Read an unquoted word by the core schema of YAML 1.2: ``1e-3`` is a number, ``no`` and ``12:30`` are text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    body = text[1:] if text[0] in "+-" else text
    if body.isascii() and body.isdecimal():
        return int(text)
    for prefix, digits, base in (("0o", "01234567", 8), ("0x", "0123456789abcdefABCDEF", 16)):
        if text.startswith(prefix) and len(text) > 2 and all(digit in digits for digit in text[2:]):
            return int(text[2:], base)
    if body in (".inf", ".Inf", ".INF"):
        return float("-inf") if text[0] == "-" else float("inf")
    if text in (".nan", ".NaN", ".NAN"):
        return float("nan")
    return float(text) if _is_float(body) else text


def _is_float(body: str) -> bool:
    mantissa, exponent, power = body.replace("E", "e").partition("e")
    if exponent and not (power[1:] if power[:1] in ("+", "-") else power).isdecimal():
        return False
    whole, _, fraction = mantissa.partition(".")
    return body.isascii() and (whole + fraction).isdecimal()
