"""The command line of a program: finds the experiment, resolves its parameters, runs it, and ends as a shell expects.

Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n ended by signal n; what ``sys.exit`` said stays.
"""

from __future__ import annotations

import gc
import os
import sys

from pystematic._words import did_you_mean, kebab
from pystematic.cli._help import dry_run_table, experiment_help, group_help, program_name
from pystematic.cli._output import USAGE_EXIT_CODE, print_json, print_text, print_usage_problems
from pystematic.cli._program import experiments_there, is_being_loaded
from pystematic.errors import Error, RunStopped, UsageError
from pystematic.resolve import Given, Option, OptionReader, Resolution, Word, resolve, tokenize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.cli._node import Node


def run_program(root: Node, argv: Sequence[str] | None = None, exit_on_error: bool = True) -> Any:
    """Do what a command line says; return the finished run, or None where nothing was run.

    Args:
        root: an experiment, a group, or the group of all experiments of a program.
        argv: the words after the program's name; those of this process when None.
        exit_on_error: print usage errors and exit; without it they are raised.

    Raises:
        UsageError: wrong usage, with ``exit_on_error=False``.
        SystemExit: wrong usage or a signal, with ``exit_on_error=True``.

    Does nothing in a program that is only being loaded and has no main guard.
    """
    if is_being_loaded():
        return None
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["sweep"] and "sweep" not in (root.members or ()):
        from pystematic.cli._sweep import run_sweep  # many runs, which take longer than what is loaded for them

        run_sweep(root, words[1:], f"{program_name()} sweep", exit_on_error, resolve_for)
        return None
    try:
        return _Command(root, words, program_name()).run(exit_on_error)
    except _Usage as usage:
        if not exit_on_error:
            raise UsageError(usage.problems) from None
        print_usage_problems(usage.problems, usage.prog)
        raise SystemExit(USAGE_EXIT_CODE) from None


class _Usage(Exception):  # noqa: N818 - a finished message on its way to the one place that prints it
    def __init__(self, problems: Sequence[str], prog: str) -> None:
        self.problems = tuple(problems)
        self.prog = prog
        super().__init__("\n".join(problems))


class _Command:
    def __init__(self, root: Node, words: list[str], prog: str) -> None:
        self.root = root
        self.prog = prog
        self.words = words
        self.reader = OptionReader()
        tokens = tokenize(words)
        self.wants_help = any(isinstance(token, Option) and token.name in ("-h", "--help") for token in tokens)
        self.wants_version = (
            bool(tokens)
            and isinstance(tokens[0], Option)
            and tokens[0].name == "--version"
            and root.spec.with_option("--version") is None
        )
        self.tokens = [token for token in tokens if isinstance(token, Word) or token.name not in ("-h", "--help")]

    def run(self, exit_on_error: bool) -> Any:
        if self.wants_version:
            from pystematic._version import __version__

            print_text(f"pystematic {__version__}")
            return None
        node, position = self._find_node()
        if self.wants_help or node.members is not None:
            self._describe()
            page = experiment_help(node, self.prog) if node.members is None else group_help(node, self.prog)
            if "://" in page:
                from pystematic.run import mask_known_shapes  # passwords in addresses that are defaults

                page = mask_known_shapes(page)
            print_text(page)
            return None
        self.reader.read(self.tokens[position:], node.spec, greedy=True)
        problems = [*self.reader.problems, *(self._stray(word, node) for word in self.reader.words)]
        resolution = resolve_for(node, self.reader.given, problems)
        if resolution.problems:
            raise _Usage(resolution.problems, self.prog)
        if resolution.parameters.get("dry_run"):
            _print_dry_run(resolution)
            return None
        self._describe()
        return run_node(node, resolution, (sys.argv[0], *self.words), exit_on_error)

    def _find_node(self) -> tuple[Node, int]:
        """Follow the names of groups down to an experiment; read the options of the groups on the way."""
        node = self.root
        position = 0
        while node.members is not None:
            position += self.reader.read(
                self.tokens[position:], node.spec, greedy=False, stop_at_word=True, on_unknown=self._misplaced(node)
            )
            if position >= len(self.tokens):
                if self.reader.problems and not self.wants_help:
                    raise _Usage(self.reader.problems, self.prog)
                if self.reader.given and not self.wants_help:
                    raise _Usage([f"the name of an experiment is missing.{experiments_there(node)}"], self.prog)
                return node, position
            token = self.tokens[position]
            position += 1
            member = node.members.get(token.text) if isinstance(token, Word) else None
            if member is not None:
                node = member
                self.prog = f"{self.prog} {node.name}"
            elif not self._is_value_of_unknown(position - 1, node):
                assert isinstance(token, Word)  # `read` has stopped at it
                hint = did_you_mean(token.text, node.members or ()) or experiments_there(node)
                place = f" in the group '{node.name}'" if node.name else ""
                raise _Usage([*self.reader.problems, f"there is no experiment {token.text!r}{place}.{hint}"], self.prog)
        return node, position

    def _is_value_of_unknown(self, position: int, node: Node) -> bool:
        """Tell whether a word was meant as the value of an option that is reported already."""
        before = self.tokens[position - 1] if position else None
        if not isinstance(before, Option) or before.value is not None or node.spec.with_option(before.name) is not None:
            return False
        known = _parameter_of_members(node, before.name)
        return known is None or not known.type.is_flag

    def _misplaced(self, node: Node) -> Any:
        """Make the message for an option that stands before the name of its experiment."""

        def message(token: Option) -> str:
            if _parameter_of_members(node, token.name) is not None:
                return (
                    f"{token.name} stands before the name of the experiment. "
                    f"Write it behind: EXPERIMENT {token.name} ..."
                )
            return f"there is no option {token.name}.{did_you_mean(token.name, node.spec.options)}"

        return message

    def _stray(self, word: Word, node: Node) -> str:
        """Return the message for a word that no option has taken."""
        before = next((token for token in self.tokens if token.position == word.position - 1), None)
        flag = node.spec.with_option(before.name) if isinstance(before, Option) and before.value is None else None
        name, equals, _ = word.text.partition("=")
        hint = ""
        if flag is not None and flag.type.is_flag and word.text in flag.type.choices:
            hint = f" Write {flag.option}={word.text}."
        elif equals and node.spec.with_option(f"--{kebab(name)}") is not None:
            hint = f" Write --{kebab(name)}{word.text[len(name) :]}."
        return f"{word.text!r} belongs to no option.{hint}"

    def _describe(self) -> None:
        """Keep the description that shell completion reads, where it is older than the program."""
        from pystematic.cli._description import refresh_description

        refresh_description(self.root)


def _parameter_of_members(node: Node, option: str) -> Any:
    """Return the parameter of this option that some experiment below a group has, or None."""
    for member in (node.members or {}).values():
        found = member.spec.with_option(option) or _parameter_of_members(member, option)
        if found is not None:
            return found
    return None


def resolve_for(node: Node, given: dict[str, Given], problems: Sequence[str] = ()) -> Resolution:
    """Resolve the parameters of an experiment, with runs found in its output folder."""
    resolution = resolve(
        node.spec, given, problems=problems, program_dir=node.program_dir, find_run=_run_finder(node, given)
    )
    resolution = _with_recorded(node, given, resolution)
    wrong = [] if resolution.problems else node.check_values(resolution)
    return Resolution(resolution.parameters, wrong, node.spec) if wrong else resolution


def _with_recorded(node: Node, given: dict[str, Given], resolution: Resolution) -> Resolution:
    """Resolve anew with the parameters of the run that is resumed, or whose state is taken, where there is one."""
    parameters = resolution.parameters
    if resolution.problems:
        return resolution
    if "PYSTEMATIC_RUN_FILE" in os.environ:
        from pystematic.torch import run_of_earlier_try  # a process that an elastic agent has started

        earlier = run_of_earlier_try()
        if earlier is not None:
            given = {**given, "resume": Given("an earlier try", plain=earlier)}
            resolution = resolve(node.spec, given, program_dir=node.program_dir, find_run=_run_finder(node, given))
            parameters = resolution.parameters
    if resolution.problems or not (parameters.get("resume") or parameters.get("checkpoint")):
        return resolution
    from pystematic.cli._resume import find_resumed, run_of_state  # few command lines ask for it

    given = dict(given)
    try:
        if parameters.get("resume"):
            run = find_resumed(node, resolution)
            path = None if run is None else str(run.path)
            given["resume"] = Given(parameters.source_of("resume"), plain=path)
        else:
            run = run_of_state(str(parameters["checkpoint"]))
    except UsageError as error:
        return Resolution(parameters, error.problems, node.spec)
    if run is not None and run.experiment != node.full_name:
        run = None  # a state of another experiment, taken over by this one: its parameters are others
    recorded = None if run is None else (run.id, str(run.dir.parameters_file))
    return resolve(node.spec, given, program_dir=node.program_dir, find_run=_run_finder(node, given), recorded=recorded)


def _run_finder(node: Node, given: dict[str, Given]) -> Any:
    def find(text: str) -> tuple[str, str]:
        from pystematic.store import find_run  # only when a params file is no file

        where = {name: value for name, value in given.items() if name == "output_dir"}
        output_dir = resolve(node.spec, where).parameters.get("output_dir", "output")
        run = find_run(text, str(output_dir), node.full_name)
        return run.id, str(run.dir.parameters_file)

    return find


def run_node(
    node: Node, resolution: Resolution, command: Sequence[str], exit_on_error: bool, notes: Sequence[str] = ()
) -> Any:
    """Run an experiment and turn its end into what a shell expects.

    Args:
        node: the experiment.
        resolution: its parameters.
        command: the whole command line, for the record.
        exit_on_error: exit for signals and refusals; without it their exceptions are raised.
        notes: what is to be said about the run in its record.
    """
    from pystematic import run as running

    if exit_on_error and "torch" in sys.modules:
        # Torch has made 300,000 objects that stay: in this process, which is the run's own, the garbage collector need
        # not look at them again and again, 0.1 s each time, nor copy the pages of those that a forked process shares.
        gc.freeze()
    try:
        return node.execute(resolution, command, notes)
    except (KeyboardInterrupt, RunStopped) as stopped:
        if not exit_on_error:
            raise
        running.say_how_it_ended(stopped)
        raise SystemExit(stopped.exit_code if isinstance(stopped, RunStopped) else 130) from None
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, Error) and not running.is_users_own(error):
            if not exit_on_error:
                raise
            # Refused before the main function began: a message for a person, not a traceback.
            print(f"pystematic: {error}", file=sys.stderr)
            raise SystemExit(USAGE_EXIT_CODE if isinstance(error, UsageError) else 1) from None
        running.say_how_it_ended(error, debug=bool(resolution.parameters.get("debug")))
        raise


def _print_dry_run(resolution: Resolution) -> None:
    parameters = resolution.parameters
    form = parameters["dry_run"]
    from pystematic.run import mask_known_shapes

    if form == "text":
        print_text(mask_known_shapes(dry_run_table(resolution)))
        return
    from pystematic.resolve import plain_parameters
    from pystematic.rundir import format_parameters

    plain = mask_known_shapes(plain_parameters(resolution.spec, parameters))
    shown = {name: value for name, value in plain.items() if not resolution.spec.named(name)[0].hidden}
    sources = {name: parameters.source_of(name) for name in shown}
    if form == "json":
        print_json({"parameters": shown, "sources": sources})
        return
    lines = format_parameters(shown).splitlines()
    comments = iter(f"  # {source}" for source in sources.values())
    print_text("\n".join(line if line.startswith("#") else line + next(comments, "") for line in lines))
