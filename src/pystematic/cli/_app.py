"""The command `pystematic`: its words, their options and positional arguments, and where each is carried out."""

from __future__ import annotations

import sys

from pystematic._record import record
from pystematic._words import did_you_mean
from pystematic.cli._help import hanging, options_help, page_width, wrap
from pystematic.cli._output import print_text
from pystematic.declare import Choice, FilePath, Parameter, ParameterSet, Spec
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
    words behind the command are positional: they belong to somebody else's command line. With ``greedy`` an option that
    takes several values takes all words up to the next option.
    """

    name: str
    help: str
    positionals: str
    minimum: int
    maximum: int
    home: tuple[str, str]
    options: tuple[str, ...] = ("output_dir", "output")
    rest: bool = False
    greedy: bool = False
    hidden: bool = False


MANY = 1000
_EVERYWHERE = ("output_dir", "output")
COMMANDS = (
    Command("ls", "List the runs: what varies between them, beside their metrics.", "", 0, 0,
            ("_listing", "list_runs"),
            ("where", "sort", "limit", "columns", "group_by", "experiment", "sweep", "all", "watch", *_EVERYWHERE)),
    Command("show", "Show all that is known of a run.", "RUN", 1, 1, ("_runs", "show_run")),
    Command("diff", "Show how runs differ: parameters, code, packages, metrics.", "RUN RUN [RUN ...]", 2, MANY,
            ("_runs", "diff_runs")),
    Command("best", "Show the best run, by its experiment's metric or by TAG:max or TAG:min.", "[TAG:max|min]", 0, 1,
            ("_listing", "best_run"), ("where", "experiment", "sweep", *_EVERYWHERE)),
    Command("plot", "Draw series of runs over each other, in the terminal or into a file.", "TAG [TAG ...]", 1, MANY,
            ("_plot", "plot_series"),
            ("runs", "where", "experiment", "sweep", "smoothing", "log_x", "log_y", "x", "file", *_EVERYWHERE),
            greedy=True),
    Command("export", "Write runs, or the points of their series, as CSV, JSON or Parquet.", "[RUN ...]", 0, MANY,
            ("_export", "export_runs"),
            ("series", "tag", "where", "sort", "experiment", "sweep", "file", *_EVERYWHERE)),
    Command("ui", "Show the runs in the browser, until Ctrl-C.", "[DIR]", 0, 1,
            ("_web", "show_page"), ("port", "browser", "output_dir")),
    Command("report", "Write table, curves and comparison of runs into one file that opens in a browser.",
            "[RUN ...]", 0, MANY,
            ("_web", "write_report"), ("where", "sort", "experiment", "sweep", "file", "output_dir")),
    Command("tag", "Give a run tags, or take them away; without any, show them.", "RUN [TAG ...]", 1, MANY,
            ("_tidy", "tag_run"), ("remove", *_EVERYWHERE)),
    Command("note", "Write a note to a run ('' removes it), or show it.", "RUN [TEXT ...]", 1, MANY,
            ("_tidy", "note_run")),
    Command("rm", "Remove runs with all of their files, after a question.", "RUN [RUN ...]", 1, MANY,
            ("_tidy", "remove_runs"), ("yes", *_EVERYWHERE)),
    Command("doctor", "Say what is wrong with the folder of runs; exit with 1 when something is.", "", 0, 0,
            ("_tidy", "examine_folder"), ("repair", *_EVERYWHERE)),
    Command("import", "Copy the runs of a folder of pystematic 1.x; nothing is moved.", "DIR", 1, 1,
            ("_tidy", "import_folder")),
    Command("rerun", "Run again what a recorded run was, and say what differs now.", "RUN", 1, 1, ("_rerun", "rerun"),
            ("set", "exact", "verify", "rtol", "output_dir", "output")),
    Command("run", "Run a program: the same as 'python FILE ...'.", "FILE [EXPERIMENT] ...", 1, MANY,
            ("_program", "run_command"), (), rest=True),
    Command("sweep", "Run an experiment many times, and look at sweeps.",
            "FILE [SWEEP OPTIONS] EXPERIMENT ... | ls | show | add | retry | stop", 0, MANY,
            ("_sweeps", "sweep_command"), (), rest=True),
    Command("check-distributed", "Compare an experiment's steps in one process with those in several.",
            "FILE EXPERIMENT [-- ARGUMENTS]", 1, MANY, ("_check", "check_distributed"), ("processes", "steps")),
    Command("schema", "Print the JSON Schema of an experiment's params file, for editors.", "FILE EXPERIMENT", 1, MANY,
            ("_schema", "print_schema"), ("output",)),
    Command("completion", "Print the completion script of a shell: bash, zsh or fish.", "SHELL", 1, 1,
            ("_completion", "print_script"), ("output",)),
    Command("__complete", "Print the words that may stand at a place of a command line.", "SHELL ...", 1, MANY,
            ("_completion", "print_completions"), (), rest=True, hidden=True),
)  # fmt: skip


def _option(name: str, type: Any, default: Any, help: str, **more: Any) -> Parameter:
    return Parameter(name, type, default, help=help, where="pystematic", **more)


def _options() -> dict[str, Parameter]:
    made = [
        _option("set", str, None, "NAME=VALUE: another value for a parameter. Repeatable.", multiple=True),
        _option("exact", bool, False, "Use the recorded commit with its patch, from a temporary worktree."),
        _option("verify", bool, False, "Compare the recorded series with the new ones; exit with 1 where they differ."),
        _option("rtol", float, None, "The relative difference that --verify allows.", default_help="0"),
        _option("where", str, None, "Only runs that fulfil a filter: \"params.lr > 0.01 and 'good' in tags\"."),
        _option("sort", str, None, "The fields to sort by, first to last; --sort=-FIELD reverses."),
        _option("limit", int, None, "Only so many: the newest, or the first by --sort."),
        _option("columns", str, None, "What to show: fields, parameters and metrics, with commas between them."),
        _option("group_by", str, None, "One row for runs that are equal in these fields: mean, deviation, number."),
        _option("experiment", str, None, "Only runs of this experiment."),
        _option("sweep", str, None, "Only the runs of this sweep."),
        _option("all", bool, False, "The runs of sweeps too."),
        _option("watch", bool, False, "Show the list until Ctrl-C, as it changes."),
        _option("runs", str, None, "Which runs to draw.", multiple=True, default_help="the newest 10"),
        _option("smoothing", float, 0.0, "The weight of what came before, from 0 to 1."),
        _option("log_x", bool, False, "A logarithmic x axis."),
        _option("log_y", bool, False, "A logarithmic y axis."),
        _option("x", Choice(["step", "time"]), "step", "What x is: the step, or seconds since the start."),
        _option("file", FilePath(str), None, "The file to write; its ending says in which format."),
        _option("port", int, None, "The port to listen at.", default_help="6070, else one that is free"),
        _option("browser", bool, True, "Open a browser, where there is a display; --no-browser does not."),
        _option("series", bool, False, "One row for each recorded point, instead of one a run."),
        _option("tag", str, None, "Only the points of this metric. Repeatable.", multiple=True),
        _option("remove", bool, False, "Take the tags away."),
        _option("yes", bool, False, "Do not ask."),
        _option("repair", bool, False, "Mend what can be mended."),
        _option("processes", int, 2, "How many processes are compared with one."),
        _option("steps", int, 10, "How many steps of the optimizer are compared."),
        _option("output_dir", FilePath(str), "./output", "The folder of the runs.", envvar="PYSTEMATIC_OUTPUT_DIR"),
        _option("output", Choice(["text", "json", "csv"]), "text", "How to print."),
    ]
    return {parameter.name: parameter for parameter in made}


def main(argv: Sequence[str] | None = None) -> None:
    """Be the command `pystematic`; always ends by raising `SystemExit`, or what an experiment of the user raises."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        raise SystemExit(_run(words))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Error as error:
        from pystematic import run as running  # failures only

        if running.is_users_own(error):  # raised by an experiment; the interpreter prints it
            raise
        if not isinstance(error, UsageError):
            print(f"pystematic: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        name = "pystematic"
        if any(command.name == (words or [""])[0] for command in COMMANDS):
            name = f"pystematic {words[0]}"
        for problem in error.problems:
            print(f"{name}: error: {problem}", file=sys.stderr)
        print(f"See '{name} --help'.", file=sys.stderr)
        raise SystemExit(2) from None


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print_text(_overview())
        return 0
    if words[0] == "--version":
        from pystematic._version import __version__

        print_text(f"pystematic {__version__}")
        return 0
    command = next((command for command in COMMANDS if command.name == words[0]), None)
    if command is None:
        names = [command.name for command in COMMANDS if not command.hidden]
        if words[0].startswith("-"):
            raise UsageError(f"there is no option {words[0]}.{did_you_mean(words[0], ['--help', '--version'], '{}')}")
        hint = did_you_mean(words[0], names) or f" There are {', '.join(names)}."
        raise UsageError(f"there is no command {words[0]!r}.{hint}")
    options, positionals = _read(command, words[1:])
    if options is None:
        print_text(_command_help(command))
        return 0
    import importlib

    module, function = command.home
    handler: Handler = getattr(importlib.import_module(f"pystematic.cli.{module}"), function)
    return handler(options, positionals)


def _read(command: Command, words: list[str]) -> tuple[Parameters | None, list[str]]:
    """Return the options and positional arguments of a command; None for its options where help is wanted."""
    if command.rest:
        return _read_rest(command, words)
    tokens = tokenize(words)
    if any(not isinstance(token, Word) and token.name in ("-h", "--help") for token in tokens):
        return None, []
    spec = _spec(command)
    reader = OptionReader()
    reader.read(tokens, spec, greedy=command.greedy)
    positionals = [word.text for word in reader.words]
    problems = list(reader.problems)
    if len(positionals) < command.minimum:
        missing = command.positionals.split()[len(positionals)].strip("[]")
        problems.append(f"{missing} is missing: pystematic {command.name} {command.positionals}")
    elif len(positionals) > command.maximum and not reader.problems:  # else it may belong to an unknown option
        extra = " ".join(repr(word) for word in positionals[command.maximum :])
        problems.append(f"{extra} is too much: pystematic {command.name} {command.positionals}".rstrip())
    resolution = resolve(spec, reader.given, problems=problems, lenient=True)
    if resolution.problems:
        raise UsageError(resolution.problems)
    return resolution.parameters, positionals


def _read_rest(command: Command, words: list[str]) -> tuple[Parameters | None, list[str]]:
    if words and words[0] in ("-h", "--help") and command.minimum:
        return None, []
    usage = f"pystematic {command.name} {command.positionals}"
    if len(words) < command.minimum:
        raise UsageError(f"{command.positionals.split()[0]} is missing: {usage}")
    if words and words[0].startswith("-") and command.minimum:
        raise UsageError(f"there is no option {words[0]}: {usage}")
    return Parameters({}), words


def command_options(name: str) -> tuple[Parameter, ...]:
    """Return the options of a command, for completion."""
    command = next((command for command in COMMANDS if command.name == name), None)
    return () if command is None else _spec(command).parameters


def resolve_output_dir(given: str | None) -> str:
    """Return the folder of the runs as the commands find it, for completion."""
    parameters = ParameterSet("completion")
    parameters.add(_options()["output_dir"])
    from pystematic.resolve import COMMAND_LINE, Given

    words = {} if given is None else {"output_dir": Given(COMMAND_LINE, [(given, True)])}
    return str(resolve(Spec(parameters, framework=False), words, lenient=True).parameters["output_dir"])


def _spec(command: Command) -> Spec:
    parameters = ParameterSet(f"command '{command.name}'")
    options = _options()
    for name in command.options:
        parameters.add(options[name])
    return Spec(parameters, framework=False)


def _overview() -> str:
    width = page_width()
    lines = ["Usage: pystematic COMMAND [OPTIONS]", ""]
    lines += [*wrap("Looks at runs, repeats them, and runs programs that define experiments.", width), "", "Commands:"]
    shown = [command for command in COMMANDS if not command.hidden]
    column = max(len(command.name) for command in shown) + 2
    for command in shown:
        lines += hanging(f"  {command.name:<{column}}", command.help, width)
    lines += ["", *wrap("A RUN is a path, an id, the beginning or end of one, a tag, 'last' or 'last~2'.", width)]
    lines += wrap("'pystematic COMMAND --help' shows the options of a command.", width)
    return "\n".join(lines)


def _command_help(command: Command) -> str:
    width = page_width()
    words = [command.positionals, "[OPTIONS]" if command.options else ""]
    lines = hanging(f"Usage: pystematic {command.name} ", " ".join(filter(None, words)), width)
    lines += ["", *wrap(command.help, width), ""]
    if command.options:
        lines += [line.replace("Parameters:", "Options:") for line in options_help(_spec(command), width, {})]
    return "\n".join(lines).rstrip()
