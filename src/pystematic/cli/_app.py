"""The command `pystematic`: its words, their options and positional arguments, and where each is carried out."""

from __future__ import annotations

import sys

from pystematic._record import record
from pystematic._words import did_you_mean
from pystematic.cli._help import WIDEST_TEXT, options_help, terminal_width, wrap
from pystematic.declare import Choice, Parameter, ParameterSet, Spec
from pystematic.errors import Error, UsageError
from pystematic.resolve import OptionReader, Parameters, Word, resolve, tokenize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    # Gets the options and the positional arguments; returns the exit code.
    Handler = Callable[[Parameters, list[str]], int]


@record
class Command:
    """One word of `pystematic`.

    ``home`` is the module (of this package) and function that carries it out, loaded only then. With ``rest`` all
    words after the positional ones belong to somebody else's command line.
    """

    name: str
    help: str
    positionals: str
    minimum: int
    maximum: int
    home: tuple[str, str]
    options: tuple[str, ...] = ("output_dir", "output")
    rest: bool = False
    hidden: bool = False


MANY = 1000
COMMANDS = (
    Command("ls", "List the runs: what varies between them, beside their metrics.", "", 0, 0, ("_runs", "list_runs"),
            ("all", "output_dir", "output")),
    Command("show", "Show all that is known of a run.", "RUN", 1, 1, ("_runs", "show_run")),
    Command("diff", "Show how runs differ: parameters, code, packages, metrics.", "RUN RUN [RUN ...]", 2, MANY,
            ("_runs", "diff_runs")),
    Command("best", "Show the best run, by its experiment's metric or by TAG:max or TAG:min.", "[TAG:max|min]", 0, 1,
            ("_runs", "best_run"), ("experiment", "output_dir", "output")),
    Command("rerun", "Run again what a recorded run was, and say what differs now.", "RUN", 1, 1, ("_rerun", "rerun"),
            ("set", "exact", "verify", "rtol", "output_dir", "output")),
    Command("run", "Run a program: the same as 'python FILE ...'.", "FILE [EXPERIMENT] ...", 1, MANY,
            ("_program", "run_file"), (), rest=True),
    Command("schema", "Print the JSON Schema of an experiment's params file, for editors.", "FILE EXPERIMENT", 1, 2,
            ("_schema", "print_schema"), ()),
    Command("completion", "Print the completion script of a shell: bash, zsh or fish.", "SHELL", 1, 1,
            ("_completion", "print_script"), ()),
    Command("__complete", "Print completions, one a line.", "SHELL INDEX WORD ...", 2, MANY,
            ("_completion", "print_completions"), (), rest=True, hidden=True),
)  # fmt: skip


def _option(name: str, type: Any, default: Any, help: str, **more: Any) -> Parameter:
    return Parameter(name, type, default, help=help, where="pystematic", **more)


def _options() -> dict[str, Parameter]:
    made = [
        _option("output_dir", str, "./output", "The folder of the runs.", envvar="PYSTEMATIC_OUTPUT_DIR"),
        _option("output", Choice(["text", "json", "csv"]), "text", "How to print."),
        _option("all", bool, False, "Also the runs of sweeps.", hidden=True),
        _option("experiment", str, None, "Only runs of this experiment."),
        _option("set", str, None, "NAME=VALUE: another value for a parameter. Repeatable.", multiple=True),
        _option("exact", bool, False, "Use the recorded commit with its patch, from a temporary worktree."),
        _option("verify", bool, False, "Compare the recorded series with the new ones; exit with 1 where they differ."),
        _option("rtol", float, 0.0, "The relative difference that --verify allows."),
    ]
    return {parameter.name: parameter for parameter in made}


def main(argv: Sequence[str] | None = None) -> None:
    """Be the command `pystematic`; always ends by raising `SystemExit`."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        raise SystemExit(_run(words))
    except UsageError as error:
        name = f"pystematic {words[0]}" if words and not words[0].startswith("-") else "pystematic"
        known = any(command.name == (words or [""])[0] for command in COMMANDS)
        for problem in error.problems:
            print(f"{name if known else 'pystematic'}: error: {problem}", file=sys.stderr)
        print(f"See '{name if known else 'pystematic'} --help'.", file=sys.stderr)
        raise SystemExit(2) from None
    except Error as error:
        print(f"pystematic: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        sys.stdout = None  # type: ignore[assignment] # else the interpreter would complain when it flushes
        raise SystemExit(0) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from pystematic._version import __version__

        print(f"pystematic {__version__}")
        return 0
    command = next((command for command in COMMANDS if command.name == words[0]), None)
    if command is None:
        names = [command.name for command in COMMANDS if not command.hidden]
        hint = did_you_mean(words[0], names) or f" There are {', '.join(names)}."
        raise UsageError(f"there is no command {words[0]!r}.{hint}")
    options, positionals = _read(command, words[1:])
    if options is None:
        print(_command_help(command))
        return 0
    import importlib

    module, function = command.home
    handler: Handler = getattr(importlib.import_module(f"pystematic.cli.{module}"), function)
    return handler(options, positionals)


def _read(command: Command, words: list[str]) -> tuple[Parameters | None, list[str]]:
    """Return the options and positional arguments of a command; None for its options where help is wanted."""
    if command.rest:
        if words and words[0] in ("-h", "--help"):
            return None, []
        if len(words) < command.minimum:
            raise UsageError(
                f"{command.positionals.split()[0]} is missing: pystematic {command.name} {command.positionals}"
            )
        return Parameters({}), words
    tokens = tokenize(words)
    if any(not isinstance(token, Word) and token.name in ("-h", "--help") for token in tokens):
        return None, []
    spec = _spec(command)
    reader = OptionReader()
    reader.read(tokens, spec, greedy=False)
    positionals = [word.text for word in reader.words]
    problems = list(reader.problems)
    if len(positionals) < command.minimum:
        missing = command.positionals.split()[len(positionals)].strip("[]")
        problems.append(f"{missing} is missing: pystematic {command.name} {command.positionals}")
    elif len(positionals) > command.maximum:
        extra = " ".join(repr(word) for word in positionals[command.maximum :])
        problems.append(f"{extra} is too much: pystematic {command.name} {command.positionals}".rstrip())
    resolution = resolve(spec, reader.given, problems=problems, lenient=True)
    if resolution.problems:
        raise UsageError(resolution.problems)
    return resolution.parameters, positionals


def command_options(name: str) -> list[str]:
    """Return the options of a command, for completion."""
    command = next((command for command in COMMANDS if command.name == name), None)
    return ["--help"] if command is None else [*_spec(command).options, "--help"]


def _spec(command: Command) -> Spec:
    parameters = ParameterSet(f"command '{command.name}'")
    options = _options()
    for name in command.options:
        parameters.add(options[name])
    return Spec(parameters, framework=False)


def _overview() -> str:
    width = min(terminal_width(), WIDEST_TEXT)
    lines = ["Usage: pystematic COMMAND [OPTIONS]", ""]
    lines += [*wrap("Looks at runs, repeats them, and runs programs that define experiments.", width), "", "Commands:"]
    for command in COMMANDS:
        if not command.hidden:
            first, *more = wrap(command.help, width - 14)
            lines.append(f"  {command.name:<12}{first}")
            lines += [f"{'':14}{line}" for line in more]
    lines += ["", *wrap("A RUN is a path, an id, the beginning or end of one, a tag, 'last' or 'last~2'.", width)]
    lines += ["'pystematic COMMAND --help' shows the options of a command."]
    return "\n".join(lines)


def _command_help(command: Command) -> str:
    width = min(terminal_width(), WIDEST_TEXT)
    usage = " ".join(part for part in ("pystematic", command.name, command.positionals) if part)
    lines = [f"Usage: {usage}{' [OPTIONS]' if command.options else ''}", "", *wrap(command.help, width), ""]
    if command.options:
        lines += [line.replace("Parameters:", "Options:") for line in options_help(_spec(command), width, {})]
    return "\n".join(lines).rstrip()
