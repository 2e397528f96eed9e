"""``sweep`` of a program: reads its options and the experiment's parameters with many values, and runs the session."""

from __future__ import annotations

import sys

from pystematic._words import did_you_mean
from pystematic.cli._help import hanging, options_help, page_width, table, wrap
from pystematic.cli._output import USAGE_EXIT_CODE, print_json, print_records, print_text, print_usage_problems
from pystematic.cli._program import experiments_there
from pystematic.declare import Choice, FilePath, FlagOrChoice, Parameter, ParameterSet, Spec
from pystematic.errors import Error, UsageError
from pystematic.resolve import Option, OptionReader, Parameters, Word, resolve, tokenize
from pystematic.sweep import REPEATS, RETRY_CLASSES, SEARCHES, STOPPERS, RunLimits, Session, SpaceReader, SweepOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from pystematic.cli._node import Node
    from pystematic.resolve import Given, Resolution
    from pystematic.sweep import Space

    ResolvePoint = Callable[[dict[str, Given]], Resolution]
    ResolveFor = Callable[[Node, dict[str, Given]], Resolution]

SWEEP_WORD = "sweep"


def size(text: str) -> int:
    """Read a size: ``8G``, ``500M``, ``2T``, or bytes; powers of 1024.

    Raises:
        ValueError: it is none.
    """
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    bare = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = bare[-1:] if bare[-1:] in "KMGT" else ""
    try:
        number = float(bare.removesuffix(unit))
    except ValueError:
        number = 0.0
    if not 0 < number < 2**60:
        raise ValueError("expected a size such as 500M or 8G")
    return int(number * units[unit])


def _option(name: str, type: Any, default: Any, help: str, **more: Any) -> Parameter:
    return Parameter(name, type, default, help=help, where="pystematic", **more)


def sweep_spec() -> Spec:
    """Return the options that stand before the name of the experiment."""
    from pystematic.declare import Duration

    made = ParameterSet("command 'sweep'")
    for parameter in (
        _option("name", str, None, "The sweep's name.", default_help="found by experiment and space"),
        _option("jobs", int, None, "How many runs at once, or in the queue of a cluster.",
                default_help="1; past this machine 100"),
        _option("on", str, None, "Where runs are made: local, slurm[:PROFILE] or ray[:ADDRESS].",
                default_help="local, or the experiment's --on"),
        _option("seeds", int, None, "Run every point with this many seeds, the same for all points."),
        _option("search", Choice(SEARCHES), None, "Let a sampler propose points, in place of the grid."),
        _option("trials", int, None, "How many points the sampler proposes.", default_help="20"),
        _option("search_seed", int, None, "Seed of the sampler.", default_help="drawn"),
        _option("metric", str, None, "TAG:max or TAG:min, judged by its last value; with @best by the best one.",
                default_help="that of the experiment"),
        _option("stop", Choice(tuple(STOPPERS)), None, "End runs early that do worse than others at the same step."),
        _option("zip", str, None, "X,Y: these parameters advance together. Repeatable.", multiple=True),
        _option("space", FilePath(str), None, "A file of parameter to value or values (YAML, JSON or TOML)."),
        _option("points", FilePath(str), None, "A CSV file with one point in each row."),
        _option("gpus", int, 0, "GPUs for each run."),
        _option("threads", int, None, "CPU threads of each run.", default_help="cores / jobs"),
        _option("timeout", Duration(), None, "End a run after this time, as failed."),
        _option("memory", size, None, "End a run that uses more memory, as failed: 8G."),
        _option("retries", int, 0, "How often a run that fails is tried again."),
        _option("retry_oom", bool, False, "Try runs that ran out of memory again too."),
        _option("fail_fast", bool, False, "Start no more when a run has failed."),
        _option("reuse", bool, False, "Finished runs from outside the sweep count."),
        _option("repeat", Choice(REPEATS), None, "Run those again that are finished, but were made by other code."),
        _option("retry", Choice(RETRY_CLASSES), None, "Run those again that ended so.", hidden=True),
        _option("add", bool, False, "Add the points to the sweep of this name.", hidden=True),
        _option("yes", bool, False, "Do not ask, whatever the number of points."),
        _option("dry_run", FlagOrChoice("text", "json", "yaml"), None, "Print the points, and run nothing."),
        _option("output", Choice(["text", "json", "csv"]), "text", "How to print the table at the end."),
    ):  # fmt: skip
        made.add(parameter)
    return Spec(made, framework=False)


def run_sweep(root: Node, words: Sequence[str], prog: str, exit_on_error: bool, resolve_for: ResolveFor) -> None:
    """Do what a command line with ``sweep`` says.

    Args:
        root: the group of all experiments of a program, or one experiment.
        words: behind ``sweep``.
        prog: how the program was started, with ``sweep``.
        exit_on_error: print usage errors and exit; without it they are raised.
        resolve_for: resolves the parameters of a single run of an experiment.

    Raises:
        SystemExit: the exit code is not 0.
        UsageError: wrong usage, with ``exit_on_error=False``.
    """
    try:
        code = _Command(root, words, prog, resolve_for).run()
    except UsageError as error:
        if not exit_on_error:
            raise
        print_usage_problems(error.problems, prog)
        raise SystemExit(USAGE_EXIT_CODE) from None
    except Error as error:
        if not exit_on_error:
            raise
        print(f"pystematic: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if code:
        raise SystemExit(code)


class _Command:
    def __init__(self, root: Node, words: Sequence[str], prog: str, resolve_for: ResolveFor) -> None:
        self._resolve_for = resolve_for
        self._root = root
        self._words = list(words)
        self._prog = prog
        self._spec = sweep_spec()

    def run(self) -> int:
        tokens = tokenize(self._words)
        wants_help = any(isinstance(token, Option) and token.name in ("-h", "--help") for token in tokens)
        tokens = [token for token in tokens if isinstance(token, Word) or token.name not in ("-h", "--help")]
        reader = OptionReader()
        position = reader.read(
            tokens, self._spec, greedy=False, stop_at_word=True, on_unknown=self._say_where_parameters_stand
        )
        if wants_help:
            print_text(_help(self._spec, self._prog))
            return 0
        node, position = self._find(tokens, position, reader.problems)
        resolution = resolve(self._spec, reader.given, problems=reader.problems, lenient=True)
        options = resolution.parameters
        values = OptionReader()
        values.read(tokens[position:], node.spec, greedy=True, on_unknown=self._unknown_behind(node))
        values.problems += [f"{word.text!r} belongs to no option." for word in values.words]
        dry_run = options.get("dry_run") or _dry_run_of(values)
        problems = [*resolution.problems, *values.problems]
        # By their uses: as values of one list, the commas would be gone that say what belongs together.
        zipped = [text for use in reader.uses.get("zip", ()) for text, _ in use]
        space = _read_space(node, values, options, zipped, problems)
        session = _make_session(
            node,
            space,
            options,
            self._recorded_words(node),
            lambda given: self._resolve_for(node, given),
            is_dry=bool(dry_run),
        )
        if dry_run:
            _print_dry_run(session, str(options["output"]) if dry_run == "text" else str(dry_run))
            return 0
        return _run(session, options)

    def _find(self, tokens: Sequence[Option | Word], position: int, problems: Sequence[str]) -> tuple[Node, int]:
        node = self._root
        if node.members is None:  # the command line of one experiment: its name may stand there
            token = tokens[position] if position < len(tokens) else None
            return node, position + (isinstance(token, Word) and token.text == node.name)
        while node.members is not None:
            if position >= len(tokens):
                raise UsageError([*problems, f"the name of an experiment is missing.{experiments_there(node)}"])
            token = tokens[position]
            if not isinstance(token, Word) or token.text not in node.members:
                # A word behind an option that is not known is most likely its value.
                raise UsageError(list(problems) or [_no_experiment(node, token)])
            node = node.members[token.text]
            position += 1
        return node, position

    def _say_where_parameters_stand(self, option: Option) -> str:
        owner = _owner_of(self._root, option.name)
        if owner is None:
            return f"there is no option {option.name}.{_near(option, self._spec)}"
        return f"{option.name} is a parameter of {owner.name!r}: write it behind the name of the experiment."

    def _unknown_behind(self, node: Node) -> Callable[[Option], str]:
        def say(option: Option) -> str:
            if self._spec.with_option(option.name) is not None:
                return f"{option.name} is an option of the sweep: write it before the name of the experiment."
            return f"there is no option {option.name}.{_near(option, node.spec)}"

        return say

    def _recorded_words(self, node: Node) -> list[str] | None:
        """Return the command line for the plan, unless secrets stand in it: declared ones, or of a known shape."""
        secret = {option for one in node.spec.parameters if one.secret for option in one.options}
        if any(word.partition("=")[0] in secret for word in self._words):
            return None
        from pystematic.run import mask_known_shapes

        return self._words if mask_known_shapes(self._words) == self._words else None


def _near(option: Option, spec: Spec) -> str:
    names = [name[2:] for name in spec.options if name.startswith("--")]
    # A flag of one letter would be near to every short name.
    return did_you_mean(option.name.lstrip("-"), names, "--{}") if len(option.name) > 2 else ""


def _owner_of(node: Node, option: str) -> Node | None:
    """Return an experiment that has the option."""
    if node.members is None:
        return None if node.spec.with_option(option) is None else node
    owners = (_owner_of(member, option) for member in node.members.values())
    return next((owner for owner in owners if owner is not None), None)


def _no_experiment(node: Node, token: Option | Word) -> str:
    shown = token.text if isinstance(token, Word) else token.name
    return f"there is no experiment {shown!r}.{did_you_mean(shown, node.members or ()) or experiments_there(node)}"


def _read_space(
    node: Node, values: OptionReader, options: Parameters, zipped: Sequence[str], problems: Sequence[str]
) -> Space:
    reader = SpaceReader(node.spec, problems)
    if options.get("points"):
        reader.add_points(str(options["points"]))
    reader.add_words(values.given, values.uses)
    if options.get("space"):
        reader.add_file(str(options["space"]))
    return reader.finish(reader.zip(zipped))


def _make_session(
    node: Node,
    space: Space,
    options: Parameters,
    words: list[str] | None,
    resolve_point: Callable[[dict[str, Given]], Resolution],
    *,
    is_dry: bool,
) -> Session:
    limits = RunLimits(
        timeout_s=options["timeout"],
        memory_bytes=options["memory"],
        gpus=options["gpus"],
        threads=options["threads"],
        retries=options["retries"],
        retries_oom=options["retry_oom"],
        fail_fast=options["fail_fast"],
    )
    asked = SweepOptions(
        name=options["name"],
        seeds=options["seeds"],
        search=options["search"],
        search_seed=options["search_seed"],
        trials=options["trials"],
        metric=options["metric"],
        stop=options["stop"],
        reuse=options["reuse"],
        yes=options["yes"],
        again=options["retry"],
        repeat=options["repeat"],
        add=options["add"],
        on=options["on"],
        is_dry=is_dry,
        limits=limits,
    )
    experiment: Any = node
    return Session(experiment, space, asked, resolve_point, words)


def _run(session: Session, options: Parameters) -> int:
    from pystematic.cli._sweep_display import make_display
    from pystematic.cli._sweep_table import print_result

    display = make_display(session)
    code = session.run(lambda: session.make_executor(options["jobs"]), display)
    print_result(session.result(), str(options["output"]))
    return code


def _dry_run_of(values: OptionReader) -> Any:
    """Take the ``--dry-run`` that stands behind the experiment's name: it means that of the sweep, too."""
    given = values.given.pop("dry_run", None)
    if given is None:
        return None
    resolution = resolve(Spec(ParameterSet("command 'sweep'")), {"dry_run": given}, lenient=True)
    values.problems += resolution.problems
    return resolution.parameters.get("dry_run") or "text"


def _print_dry_run(session: Session, form: str) -> None:
    # Those that are planned already, too: what is shown is the sweep, not what an earlier command has left of it.
    superseded = {point.key for point in session.superseded}
    planned = [point for point in session.plan.state.points.values() if point.key not in superseded]
    points = [point.values for point in (*planned, *(point for point, _ in session.new_points))]
    names = list(dict.fromkeys(name for values in points for name in values))
    record = {"name": session.plan.name, "points": points or None, "runs": session.count * session.seed_count}
    if form == "json":
        print_json(record)
    elif form == "yaml":
        from pystematic.rundir import format_parameters  # only where it is asked for

        _, _, text = format_parameters(record).partition("\n")  # without the comment, which speaks of a run's
        print_text(text.removesuffix("\n"))
    elif form == "csv":
        print_records("csv", None, points, names)
    else:
        lines = [table([("parameter", "values", ""), *session.space.describe()]), "", *describe_size(session)]
        if session.are_points_counted_only:
            lines += ["", "Its points are listed with --yes."]
        elif points:
            secret = {parameter.name for parameter in session.experiment.spec.parameters if parameter.secret}
            rows = [["<masked>" if name in secret else _cell(values.get(name)) for name in names] for values in points]
            lines += ["", table([names, *rows])]
        print_text("\n".join(lines))


def _cell(plain: object) -> str:
    from pystematic.terminal import format_cell

    return format_cell(plain)


def describe_size(session: Session) -> list[str]:
    """Return how much there is to run, and what counts no more, in sentences."""
    points = "1 point" if session.count == 1 else f"{session.count} points"
    seeds = f", {session.seed_count} seeds each" if session.seed_count > 1 else ""
    total = session.count * session.seed_count
    lines = [f"Sweep {session.plan.name}: {points}{seeds}, {'1 run' if total == 1 else f'{total} runs'} in all."]
    if session.repeated:
        stand = "1 point stands" if session.repeated == 1 else f"{session.repeated} points stand"
        lines.append(f"{stand} in the space twice, to be run once.")
    left_out = session.describe_superseded()
    if left_out is not None:
        lines.append(left_out)
    return lines


def _help(spec: Spec, prog: str) -> str:
    width = page_width()
    lines = [*hanging(f"Usage: {prog} ", "[SWEEP OPTIONS] EXPERIMENT [PARAMETERS]", width), ""]
    lines += wrap("Run an experiment many times: every combination of the values that its parameters are given.", width)
    lines += ["", *(line.replace("Parameters:", "Sweep options:") for line in options_help(spec, width, {}))]
    lines += ["Values of a parameter:"]
    for head, text in _VALUES:
        lines += hanging(f"  {head:<32}", text, width)
    lines += [
        "",
        *wrap(f"The same command again goes on where it was. See also 'pystematic {SWEEP_WORD} --help'.", width),
    ]
    return "\n".join(lines)


_VALUES = (
    ("a,b,c", "each of them; for lists each use of the option is one value"),
    ("2..6, 0..100:step=10", "whole numbers, both ends included"),
    ("0..1:n=5, 1e-4..1e-1:log:n=4", "that many numbers of a range"),
    ("0..1, 1e-4..1e-1:log", "a range for --search"),
    ("=a,b", "the text itself"),
)
