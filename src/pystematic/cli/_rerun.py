"""``pystematic rerun``: run again what a record describes, say first what differs now, and compare the numbers."""

from __future__ import annotations

import os
import sys

from pystematic._words import kebab, short, snake
from pystematic.cli._comparison import Comparison
from pystematic.cli._differences import differences
from pystematic.cli._experiment import resolve_for, run_node
from pystematic.cli._output import print_records
from pystematic.cli._program import find_node, load_program, program_root
from pystematic.errors import ExperimentError, NotFoundError, UsageError
from pystematic.resolve import COMMAND_LINE, Given, tokenize
from pystematic.rundir import MASKED, Exact, StoredText, decode
from pystematic.store import Run, find_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pystematic.cli._node import Node
    from pystematic.declare import Spec
    from pystematic.resolve import Parameters, Resolution

MASK = "<masked>"
# Tells the interpreter of an exact rerun, as JSON, which tree it must not import from, and which it runs in.
EXACT_VARIABLE = "PYSTEMATIC_EXACT_RERUN"


def rerun(options: Parameters, words: list[str]) -> int:
    """``rerun``: run an experiment again with its recorded parameters and seed.

    Returns:
        The exit code: 0 when the run completed (and, with ``--verify``, its series are the same), else 1.
    """
    old = find_run(words[0], str(options["output_dir"]))
    settings = _read_settings(options["set"] or [])
    rtol = _read_rtol(options)
    program = _Program(old)
    if options["exact"] and EXACT_VARIABLE not in os.environ:
        from pystematic.cli._worktree import Worktree

        exact = Worktree(old, program.code_file)
        try:
            if program.file is not None:
                exact.inside(program.file)
            return exact.run_again(_command_line(str(old.path), options), EXACT_VARIABLE)
        finally:
            exact.remove()
    if options["output"] == "text":
        new, differing = _run_again(old, program, settings, options)
    else:
        with _StdoutOnStderr():  # what the experiment prints is no part of our answer
            new, differing = _run_again(old, program, settings, options)
    comparison = Comparison(old, new, rtol) if options["verify"] else None
    problems = {} if comparison is None else comparison.problems
    if comparison is not None:
        print(comparison.report(), file=sys.stderr)
    if options["output"] != "text":
        row: dict[str, object] = {"run": new.id, "rerun_of": old.id, "status": new.status, "path": str(new.path)}
        row["verified"] = None if comparison is None else not problems
        record = {**row, "differences": differing, "series_that_differ": problems}
        print_records(options["output"], record, [row], list(row))
    return 1 if problems else 0


def _run_again(
    old: Run, program: _Program, settings: Mapping[str, list[str]], options: Parameters
) -> tuple[Run, list[str]]:
    """Run again; return the new run, and what differs from the old one."""
    import json

    trees = json.loads(os.environ.pop(EXACT_VARIABLE, "null"))
    node = program.load(old, trees)
    if trees is not None:
        _refuse_live_modules(**trees)
    changed = _changed(settings, node.spec)
    given = {**_recorded(old, node.spec, settings), **changed}
    own_folder = options.source_of("output_dir") == "default"
    folder = str(old.path.parent.parent) if own_folder else str(options["output_dir"])
    given.setdefault(
        "output_dir", Given(f"run {old.id}" if own_folder else options.source_of("output_dir"), plain=folder)
    )
    resolution = resolve_for(node, given)
    if resolution.problems:
        raise UsageError(resolution.problems)
    code_file = _in_worktree(program.code_file, trees)
    differing = differences(old, node, code_file, folder, exact=trees is not None)
    head = f"Compared with {old.id}, these differ now:" if differing else f"Nothing differs from {old.id}."
    for line in [head, *(f"  {line}" for line in differing), *_changes(old, changed, resolution)]:
        print(line, file=sys.stderr)
    command = ["pystematic", *_command_line(old.id, options)]
    new = _run(node, resolution, command, old)
    if trees is not None:
        _refuse_live_modules(**trees)  # those that the main function has imported
    return new, differing


def _run(node: Node, resolution: Resolution, command: list[str], old: Run) -> Run:
    try:
        new: Run = run_node(node, resolution, command, True, [f"A rerun of {old.id}."])
        return new
    except SystemExit as ended:
        from pystematic.run import run_dir_of

        path = run_dir_of(ended)
        if ended.code or path is None:
            raise
        return Run(path)  # it said sys.exit(0), which is a way to complete


def _recorded(old: Run, spec: Spec, settings: Mapping[str, list[str]]) -> dict[str, Given]:
    """Return what the record gives to the parameters, those of ``settings`` excepted.

    It counts more than the environment or a preset, which the recorded run may not have seen.

    Raises:
        UsageError: some values are not in the record, and there is nobody to ask.
    """
    # What --set chooses decides which fields of the classes of a union there are.
    chosen = {**old.params, **{name: texts[-1] for name, texts in settings.items()}}
    given: dict[str, Given] = {}
    missing = []
    for name, plain in old.plain_params.items():
        known = spec.named(name)
        if not known or not known[0].replayed or name in settings:
            continue
        if not any(parameter.counts(chosen) for parameter in known):
            continue
        value = decode(plain)
        exact = isinstance(value, Exact)
        value = value.value if isinstance(value, Exact) else value
        if isinstance(value, StoredText):
            if not old.sources.get(name, "").startswith("default"):  # else the declared default will do
                missing.append(f"{name} was recorded as text only: {short(str(value))}. {_advice(name)}")
        elif not _is_masked(value):
            given[name] = Given(f"run {old.id}", plain=value, exact=exact)
        elif sys.stdin is not None and sys.stdin.isatty():
            import getpass

            text = getpass.getpass(f"{name} (masked in the record): ")
            given[name] = Given(COMMAND_LINE, [(text, True)], spelled=name)
        else:
            missing.append(f"{name} is masked in the record of {old.id}. {_advice(name)}")
    if missing:
        raise UsageError(missing)
    return given


def _advice(name: str) -> str:
    return f"Give it: --set {kebab(name)}=VALUE."


def _is_masked(value: object) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return any(_is_masked(item) for item in value)
    if isinstance(value, dict):
        return any(_is_masked(item) for item in value.values())
    return value is MASKED or (isinstance(value, str) and MASK in value)


def _changes(old: Run, names: Iterable[str], resolution: Resolution) -> list[str]:
    lines = []
    for name in names:
        values = [old.params.get(name), resolution.parameters.get(name)]
        secret = any(parameter.secret for parameter in resolution.spec.named(name))
        before, after = (MASK, MASK) if secret else map(short, values)
        lines.append(f"{name}: {before} -> {after} ({resolution.parameters.source_of(name)})")
    return lines


def _command_line(run: str, options: Parameters) -> list[str]:
    """Return the words that ask for this rerun."""
    words = ["rerun", run, *(f"--set={text}" for text in options["set"] or ())]
    words += [f"--{name}" for name in ("exact", "verify") if options[name]]
    if options["rtol"] is not None:
        words.append(f"--rtol={options['rtol']!r}")
    if options.source_of("output_dir") != "default":
        words.append(f"--output-dir=={options['output_dir']}")
    return words if options["output"] == "text" else [*words, f"--output={options['output']}"]


def _read_settings(texts: list[str]) -> dict[str, list[str]]:
    """Return the texts that ``--set`` gives to each parameter."""
    settings: dict[str, list[str]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text!r}: write --set NAME=VALUE.")
        settings.setdefault(snake(name), []).append(value)
    return settings


def _changed(settings: Mapping[str, list[str]], spec: Spec) -> dict[str, Given]:
    given = {}
    for name, texts in settings.items():
        if len(texts) > 1 and not any(parameter.type.is_container for parameter in spec.named(name)):
            raise UsageError(f"--set {name} is given twice: {short(texts[0])}, then {short(texts[1])}. Give it once.")
        words = [token.pair for token in tokenize(["--", *texts])]  # type: ignore[union-attr] # words only
        given[name] = Given(COMMAND_LINE, words, spelled=f"--set {name}")
    return given


def _read_rtol(options: Parameters) -> float:
    rtol = options["rtol"]
    if rtol is None:
        return 0.0
    if not options["verify"]:
        raise UsageError("--rtol says how --verify compares. Give --verify too.")
    if not 0 <= rtol < float("inf"):
        raise UsageError(f"--rtol {rtol}: give a number that is 0 or more.")
    return float(rtol)


class _Program:
    """Where the program of a recorded run is now.

    Attributes:
        file: the script that was started; None where it is gone, or was none.
        module: its name, if it was started with ``python -m``.
        code_file: the file that defines the experiment.

    Raises:
        ExperimentError: there is no file to load.
    """

    def __init__(self, old: Run) -> None:
        recorded = old.document.get("program")
        program: dict[str, Any] = recorded if isinstance(recorded, dict) else {}
        named = [path for path in (program.get("file"), program.get("code_file")) if path and not path.startswith("<")]
        if not named:
            raise ExperimentError(
                f"the record of {old.id} names no program file: it was run in a notebook or on standard input. "
                f"Repeat it there: run(params_file='{old.id}'), or --params-file {old.id}."
            )
        there = [str(path) for path in named if os.path.isfile(path)]
        if not there:
            raise ExperimentError(
                f"the program of {old.id} is gone: {named[0]!r}. Put it back, or run it from its new place with "
                f"--params-file {old.id}."
            )
        self.file = there[0] if there[0] == program.get("file") else None
        self.code_file = there[-1]
        self.module: str | None = program.get("module")

    def load(self, old: Run, trees: Mapping[str, str] | None) -> Node:
        """Load the program, in the worktree of an exact rerun, and return the experiment."""
        paths = dict.fromkeys(path for path in (self.file, self.code_file) if path is not None)
        problem: NotFoundError | None = None
        for path in paths:
            here = _in_worktree(path, trees)
            if not _is_loaded(here):
                load_program(here, self.module if path == self.file else None)
            try:
                return find_node(program_root(), [old.experiment])
            except NotFoundError as error:
                problem = problem or error
        assert problem is not None
        raise problem


def _is_loaded(path: str) -> bool:
    path = os.path.realpath(path)
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return any(isinstance(file, str) and os.path.realpath(file) == path for file in files)


class _StdoutOnStderr:
    """Leads standard output to standard error, that of C code and of children too."""

    def __enter__(self) -> None:
        self._stdout = sys.stdout
        self._flush()
        self._saved = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr

    def __exit__(self, *_: object) -> None:
        self._flush()
        sys.stdout = self._stdout
        os.dup2(self._saved, 1)
        os.close(self._saved)

    def _flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()


def _in_worktree(file: str, trees: Mapping[str, str] | None) -> str:
    """Return where a file of the live tree is in the worktree of an exact rerun."""
    if trees is None:
        return file
    return os.path.join(trees["worktree"], os.path.relpath(os.path.realpath(file), os.path.realpath(trees["root"])))


def _refuse_live_modules(root: str, worktree: str) -> None:
    """Refuse to go on when a module came from the live tree: the run would not be what was recorded.

    Raises:
        ExperimentError: naming the module.
    """
    live = os.path.realpath(root) + os.sep
    exempt = [worktree, sys.prefix, os.path.dirname(os.path.dirname(__file__))]  # this package may live there itself
    allowed = tuple(os.path.realpath(folder) + os.sep for folder in exempt)
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or "site-packages" in path:
            continue
        real = os.path.realpath(path)
        if real.startswith(live) and not real.startswith(allowed):
            raise ExperimentError(
                f"--exact: the module {name!r} is imported from the live tree ({path}), not from the recorded commit. "
                "PYTHONPATH or an editable install leads there; take it out of the way, or rerun without --exact."
            )
