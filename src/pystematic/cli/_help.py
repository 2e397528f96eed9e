"""Help pages and listings, as plain text at the terminal's width. Brackets and other marks in help texts stay."""

from __future__ import annotations

import os
import sys

from pystematic._words import kebab, short
from pystematic.declare import OMITTED, Parameter, Spec, bare_type
from pystematic.resolve import PRECEDENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pystematic.cli._node import Node
    from pystematic.resolve import Resolution

MINIMUM_WIDTH = 40
WIDEST_TEXT = 120  # longer lines are hard to read, however wide the terminal is


def terminal_width(stream_fd: int = 1) -> int:
    """Return the number of columns to fill: COLUMNS, the terminal's, or 80 where there is none."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) > 0:
        return max(MINIMUM_WIDTH, int(columns))
    try:
        return max(MINIMUM_WIDTH, os.get_terminal_size(stream_fd).columns)
    except OSError:
        return 80


def page_width() -> int:
    """Return the width of help pages: the terminal's, as far as lines stay readable."""
    return min(terminal_width(), WIDEST_TEXT)


def hanging(head: str, text: str, width: int) -> list[str]:
    """Write ``text`` behind ``head``, further lines below its beginning if there is room for them."""
    if len(head) > width // 2:
        return _fill(f"{head} {text}", width, hang="    ")
    first, *more = wrap(text, width - len(head)) or [""]
    return [(head + first).rstrip(), *(" " * len(head) + line for line in more)]


def wrap(text: str, width: int) -> list[str]:
    """Break text into lines of at most ``width`` characters at spaces.

    Empty lines separate paragraphs. An indented line, and one that begins like an item of a list, stays a line.
    """
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*_without_indent(text), ""]:
        bare = line.strip()
        if bare and line[0] != " " and not bare.startswith(_ITEMS):
            paragraph.append(bare)
            continue
        lines += _fill(" ".join(paragraph), width) if paragraph else []
        paragraph = []
        if bare:
            indent = line[: len(line) - len(line.lstrip())]
            hang = indent + ("  " if bare.startswith(_ITEMS) else "")
            lines += _fill(bare, width, indent, hang)
        elif lines and lines[-1]:
            lines.append("")
    while lines and not lines[-1]:
        lines.pop()
    return lines


_ITEMS = ("- ", "* ", "+ ", ">>> ")


def _fill(text: str, width: int, indent: str = "", hang: str = "") -> list[str]:
    lines = []
    line = indent
    empty = True
    for word in text.split():
        if not empty and len(line) + 1 + len(word) > width:
            lines.append(line)
            line, empty = hang, True
        line += word if empty else f" {word}"
        empty = False
    return [*lines, line]


def _without_indent(text: str) -> list[str]:
    """Return the lines of a docstring without the indentation of the code, as `inspect.cleandoc` does."""
    first, *rest = text.strip().expandtabs().splitlines() or [""]
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return [first.strip(), *(line[margin:].rstrip() for line in rest)]


def experiment_help(node: Node, prog: str) -> str:
    """Return the help page of one experiment."""
    width = page_width()
    lines = [*hanging(f"Usage: {prog} ", "[OPTIONS]", width), ""]
    if node.documentation:
        lines += [*wrap(node.documentation, width), ""]
    lines += options_help(node.spec, width, node.documents)
    lines += ["Other:", *_entry("-h, --help", "Show this page.", width), ""]
    lines += wrap(f"A value is taken from the first of: {' > '.join(PRECEDENCE)}.", width)
    return "\n".join(lines)


def options_help(spec: Spec, width: int, documents: dict[str, str]) -> list[str]:
    """Return the sections of a help page that list parameters."""
    lines: list[str] = []
    for heading, help_text, parameters in spec.sections:
        shown = [parameter for parameter in parameters if not parameter.hidden]
        if not shown:
            continue
        lines.append(f"{heading or 'Parameters'}:")
        if help_text:
            lines += [f"  {line}" for line in wrap(help_text, width - 2)]
        for parameter in shown:
            lines += _entry(_usage(parameter), _describe(parameter, spec, documents), width)
        lines.append("")
    return lines


def _usage(parameter: Parameter) -> str:
    names = ", ".join([*parameter.flags, parameter.option])
    if parameter.negation:
        return f"{names} / {parameter.negation}"
    if parameter.type.is_flag:
        return f"{names}[={parameter.type.label}]"
    return f"{names} {_metavar(parameter)}"


def _metavar(parameter: Parameter) -> str:
    kind = bare_type(parameter.type)
    label = kind.label
    if kind.choices and not kind.is_container:
        return label if len(label) <= 40 else "CHOICE"
    return label.upper()


def _describe(parameter: Parameter, spec: Spec, documents: dict[str, str]) -> str:
    sentences = []
    text = (parameter.help or documents.get(parameter.name) or "").strip()
    if text:
        sentences.append(text if text[-1] in ".!?:)]" else text + ".")
    details = []
    if parameter.when is not None:
        details.append(f"for {kebab(parameter.when[0])} {parameter.when[1]}")
    note = getattr(parameter.type, "note", None) or getattr(getattr(parameter.type, "inner", None), "note", None)
    if note:
        details.append(note)
    kind = bare_type(parameter.type)
    if kind.choices and (kind.is_container or len(kind.label) > 40):
        details.append(f"one of {', '.join(kind.choices)}")
    default = _default_text(parameter, spec)
    if default:
        details.append(default)
    if parameter.envvar:
        details.append(f"environment: {parameter.envvar}")
    if details:
        sentences.append(f"({'; '.join(details)})")
    return " ".join(sentences)


def _default_text(parameter: Parameter, spec: Spec) -> str:
    default = spec.defaults.get(parameter.name, OMITTED)
    if default is OMITTED:
        if parameter.default_help is not None:
            return f"default: {parameter.default_help}"
        default = parameter.default
    if default is None:
        return "required" if parameter.required else ""
    if parameter.secret:
        return "default: <masked>"
    if callable(default) and not isinstance(default, type) and not hasattr(default, "value"):
        return f"default: made by {getattr(default, '__name__', 'a callable')}"
    text = parameter.type.format(default)
    return (
        f"default: {text if text and text.strip() == text else repr(text)}"
        if len(text) < 200
        else f"default: {short(text, 60)}"
    )


def _entry(head: str, text: str, width: int) -> list[str]:
    """Lay out one option: its name in a column of its own, or above its text where it is too long."""
    column = min(34, width * 2 // 5)
    wrapped = wrap(text, width - column) if text else []
    if len(head) + 4 > column:
        return [f"  {head}", *(" " * column + line for line in wrapped)]
    first = f"  {head}".ljust(column) + (wrapped[0] if wrapped else "")
    return [first.rstrip(), *(" " * column + line for line in wrapped[1:])]


def group_help(node: Node, prog: str) -> str:
    """Return the listing of a group or of a whole program: nested groups indented, one line for each experiment."""
    width = page_width()
    words = f"{'[GROUP OPTIONS] ' if _has_options(node) else ''}EXPERIMENT [OPTIONS]"
    lines = [*hanging(f"Usage: {prog} ", words, width), ""]
    if node.documentation:
        lines += [*wrap(node.documentation, width), ""]
    members = list((node.members or {}).values())
    if members:
        lines.append("Experiments:")
        lines += list(_listing(members, 1, width))
    else:
        lines += wrap(_no_experiment(node), width)
    lines.append("")
    if _has_options(node):
        lines += options_help(node.spec, width, {})
    if members:
        lines += wrap(f"'{prog} EXPERIMENT --help' shows the parameters of an experiment.", width)
    return "\n".join(lines).rstrip()


def _no_experiment(node: Node) -> str:
    if not node.name:
        return "This program defines no experiment. Put @pystematic.experiment above its main function."
    return "This group holds no experiment. Put the decorator 'experiment' of the group above a main function."


def _has_options(node: Node) -> bool:
    return any(parameter for parameter in node.spec.parameters if not parameter.hidden)


def _listing(members: Iterable[Node], depth: int, width: int) -> Iterable[str]:
    column = min(28, width // 2)
    for member in members:
        head = "  " * depth + member.name
        text = member.description
        gap = max(2, column - len(head))
        room = width - len(head) - gap
        yield (head + " " * gap + (text if len(text) <= room else text[: room - 1] + "…")).rstrip()
        if member.members is not None:
            yield from _listing(member.members.values(), depth + 1, width)


def dry_run_table(resolution: Resolution) -> str:
    """Return the resolved parameters, one a line, each with its source."""
    from pystematic.resolve import secret_names_of

    parameters = resolution.parameters
    secrets = secret_names_of(parameters)
    rows: list[tuple[str, str, str]] = []
    for name, value in parameters.items():
        parameter = next((one for one in resolution.spec.named(name) if one.counts(parameters)), None)
        if parameter is None or parameter.hidden:
            continue
        shown = "<masked>" if name in secrets and value is not None else parameter.type.format(value)
        shown = shown if shown.isprintable() else repr(shown)
        rows.append((name, shown if len(shown) <= 200 else short(shown, 200), parameters.source_of(name)))
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns, two spaces apart."""
    if not rows:
        return ""
    widths = [min(60, max(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def program_name() -> str:
    """Return how this program was started, to be repeated in usage lines: ``python digits.py``."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    script = sys.argv[0] if sys.argv and sys.argv[0] not in ("", "-c") else ""
    if spec is not None and spec.name not in ("__main__", "__mp_main__"):
        return f"python -m {spec.name.removesuffix('.__main__')}"
    if script.endswith(".py"):
        return f"python {_quoted(_from_here(script))}"
    return _quoted(os.path.basename(script)) or "python"


def _from_here(path: str) -> str:
    """Return the shorter way to a path: from the working directory, if it lies below that."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith("..") else relative


def _quoted(word: str) -> str:
    """Quote what a shell would take apart."""
    if not any(letter in " \t\n'\"\\$`&|;<>()*?[]#~!{}" for letter in word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"
