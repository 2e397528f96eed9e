"""The command line of a program: finds the experiment, resolves its parameters, runs it, and ends as a shell expects.

Exit codes: 0 done, 1 failed, 2 wrong usage, 128 + n ended by signal n; what ``sys.exit`` said stays.
"""

from __future__ import annotations

import os
import sys

from pystematic._words import did_you_mean
from pystematic.cli._help import (
    dry_run_table,
    experiment_help,
    group_help,
    program_name,
)
from pystematic.declare import Spec
from pystematic.errors import Error, RunStopped, UsageError
from pystematic.resolve import OptionReader, Resolution, Word, resolve, tokenize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.cli._node import Node
    from pystematic.resolve import Given, Option

USAGE_EXIT_CODE = 2


def run_program(
    root: Node, argv: Sequence[str] | None = None, exit_on_error: bool = True, prog: str | None = None
) -> Any:
    """Do what a command line says; return the finished run, or None where nothing was run.

    Args:
        root: an experiment, a group, or the group of all experiments of a program.
        argv: the words after the program's name; those of this process when None.
        exit_on_error: print usage errors and exit; without it they are raised.
        prog: how the program was called, for usage lines.

    Raises:
        UsageError: wrong usage, with ``exit_on_error=False``.
        SystemExit: wrong usage or a signal, with ``exit_on_error=True``.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        command = _Command(root, words, prog or program_name())
        return command.run(exit_on_error)
    except _Usage as usage:
        if not exit_on_error:
            raise UsageError(usage.problems) from None
        _print_usage_error(usage)
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
        self.wants_help = any(not isinstance(token, Word) and token.name in ("-h", "--help") for token in tokens)
        self.wants_version = bool(tokens) and not isinstance(tokens[0], Word) and tokens[0].name == "--version"
        self.tokens = [token for token in tokens if isinstance(token, Word) or token.name not in ("-h", "--help")]

    def run(self, exit_on_error: bool) -> Any:
        if self.root.members is not None and self.wants_version:
            from pystematic._version import __version__

            print(f"pystematic {__version__}")
            return None
        node, position = self._find_node()
        if self.wants_help or node.members is not None:
            self._describe(node)
            print(experiment_help(node, self.prog) if node.members is None else group_help(node, self.prog))
            return None
        self.reader.read(self.tokens[position:], node.spec, greedy=True)
        problems = list(self.reader.problems)
        problems += [f"{word.text!r} belongs to no option." for word in self.reader.words]
        resolution = resolve_for(node, self.reader.given, problems)
        if resolution.problems:
            raise _Usage(resolution.problems, self.prog)
        if resolution.parameters.get("dry_run"):
            _print_dry_run(resolution)
            return None
        self._describe(node)
        return run_node(node, resolution, self.words, exit_on_error)

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
                    raise _Usage([f"the name of an experiment is missing: {_names(node)}."], self.prog)
                return node, position
            token = self.tokens[position]
            assert isinstance(token, Word)
            member = node.members.get(token.text)
            if member is None:
                hint = did_you_mean(token.text, node.members) or f" There are {_names(node)}."
                place = f" in the group '{node.name}'" if node.name else ""
                raise _Usage([*self.reader.problems, f"there is no experiment {token.text!r}{place}.{hint}"], self.prog)
            node = member
            self.prog = f"{self.prog} {node.name}"
            position += 1
        return node, position

    def _misplaced(self, node: Node) -> Any:
        """Make the message for an option that stands before the name of its experiment."""

        def message(token: Option) -> str:
            for member in (node.members or {}).values():
                if member.spec.with_option(token.name) is not None:
                    return (
                        f"{token.name} stands before the name of the experiment. "
                        f"Write it behind: EXPERIMENT {token.name} ..."
                    )
            return f"there is no option {token.name}.{did_you_mean(token.name, node.spec.options)}"

        return message

    def _describe(self, node: Node) -> None:
        """Keep the description that shell completion reads, where it is older than the program."""
        from pystematic.cli._description import refresh_description

        refresh_description(self.root, node.program_dir)


def resolve_for(node: Node, given: dict[str, Given], problems: Sequence[str] = ()) -> Resolution:
    """Resolve the parameters of an experiment, with runs found in its output folder."""
    resolution = resolve(
        node.spec, given, problems=problems, program_dir=node.program_dir, find_run=_run_finder(node.spec, given, node)
    )
    wrong = [] if resolution.problems else node.check_values(resolution)
    return Resolution(resolution.parameters, wrong, node.spec) if wrong else resolution


def _run_finder(spec: Spec, given: dict[str, Given], node: Node) -> Any:
    def find(text: str) -> tuple[str, str]:
        from pystematic.store import find_run  # only when a params file is no file

        where = {name: value for name, value in given.items() if name == "output_dir"}
        output_dir = resolve(spec, where).parameters.get("output_dir", "output")
        run = find_run(text, str(output_dir), node.full_name)
        return run.id, str(run.dir.parameters_file)

    return find


def run_node(
    node: Node, resolution: Resolution, argv: Sequence[str], exit_on_error: bool, notes: Sequence[str] = ()
) -> Any:
    """Run an experiment and turn its end into what a shell expects."""
    from pystematic import run as running

    try:
        return node.execute(resolution, argv, notes)
    except KeyboardInterrupt:
        if not exit_on_error:
            raise
        raise SystemExit(130) from None
    except RunStopped as stopped:
        if not exit_on_error:
            raise
        raise SystemExit(stopped.exit_code) from None
    except SystemExit:
        raise
    except Error as error:
        if exit_on_error and not running.is_users_own(error):
            # Refused before the main function began: a message for a person, not a traceback.
            print(f"pystematic: {error}", file=sys.stderr)
            raise SystemExit(USAGE_EXIT_CODE if isinstance(error, UsageError) else 1) from None
        running.show_users_traceback(error, debug=bool(resolution.parameters.get("debug")))
        raise
    except BaseException as error:
        running.show_users_traceback(error, debug=bool(resolution.parameters.get("debug")))
        raise


def _print_usage_error(usage: _Usage) -> None:
    lines = []
    if len(usage.problems) == 1:
        lines.append(f"{usage.prog}: error: {usage.problems[0]}")
    else:
        lines.append(f"{usage.prog}: {len(usage.problems)} errors:")
        lines += [f"  {line}" for problem in usage.problems for line in problem.splitlines()]
    lines.append(f"See '{usage.prog} --help'.")
    print("\n".join(lines), file=sys.stderr)
    return


def _print_dry_run(resolution: Resolution) -> None:
    parameters = resolution.parameters
    form = parameters["dry_run"]
    if form == "text":
        print(dry_run_table(parameters, resolution.spec))
        return
    from pystematic.resolve import plain_parameters
    from pystematic.rundir import format_parameters

    plain = plain_parameters(resolution.spec, parameters)
    shown = {name: value for name, value in plain.items() if not resolution.spec.named(name)[0].hidden}
    if form == "yaml":
        lines = format_parameters(shown).splitlines()
        comments = iter(f"  # {parameters.source_of(name)}" for name in shown)
        print("\n".join(line if line.startswith("#") else line + next(comments, "") for line in lines))
        return
    import json

    from pystematic.rundir import strict_json

    sources = {name: parameters.source_of(name) for name in shown}
    print(json.dumps(strict_json({"parameters": shown, "sources": sources}), indent=2))


def _names(node: Node) -> str:
    return ", ".join(node.members or ())


def program_dir_of(path: str | None) -> str:
    """Return the folder of a program's file, or the working directory where it has none."""
    return os.path.dirname(os.path.abspath(path)) if path and os.path.exists(path) else os.getcwd()
