"""``pystematic rerun``: run again what a record describes, say first what differs now, and compare the numbers."""

from __future__ import annotations

import os
import sys

from pystematic._words import short
from pystematic.cli._experiment import resolve_for, run_node
from pystematic.cli._program import find_node, load_program, program_root
from pystematic.errors import ExperimentError, UsageError
from pystematic.resolve import COMMAND_LINE, Given
from pystematic.store import Run, find_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pystematic.cli._node import Node
    from pystematic.resolve import Parameters

# Tells the interpreter of an exact rerun which run it repeats, and which folder it must not import from.
EXACT_VARIABLE = "PYSTEMATIC_EXACT_RERUN"


def rerun(options: Parameters, words: list[str]) -> int:
    """Run an experiment again with its recorded parameters and seed.

    Returns:
        The exit code: 0 when the run completed (and, with ``--verify``, its series are the same), else 1.
    """
    old = find_run(words[0], str(options["output_dir"]))
    changes = _read_changes(options["set"] or [])
    file, module = _program_of(old)
    exact = None
    try:
        if options["exact"] and EXACT_VARIABLE not in os.environ:
            from pystematic.cli._worktree import Worktree

            exact = Worktree(old, file)
            return exact.run_again(sys.argv[1:], EXACT_VARIABLE)
        new = _run_again(old, file, module, changes, options)
    finally:
        if exact is not None:
            exact.remove()
    if new is None:
        return 1
    return _verify(old, new, float(options["rtol"])) if options["verify"] else 0


def _run_again(old: Run, file: str, module: str | None, changes: dict[str, Given], options: Parameters) -> Run | None:
    live = os.environ.pop(EXACT_VARIABLE, None)
    if live is not None:
        file = _in_worktree(file, live)
    load_program(file, module)
    if live is not None:
        _refuse_live_modules(live)
    node = find_node(program_root(), [old.experiment])
    given = dict(changes)
    given["params_file"] = Given("rerun", plain=[str(old.path)])
    if options.source_of("output_dir") != "default":
        given["output_dir"] = Given(options.source_of("output_dir"), plain=str(options["output_dir"]))
    else:
        given["output_dir"] = Given(f"run {old.id}", plain=str(_output_dir_of(old)))
    _ask_for_masked(old, node, given)
    resolution = resolve_for(node, given)
    if resolution.problems:
        raise UsageError(resolution.problems)
    for line in differences(old, node, file):
        print(line, file=sys.stderr)
    for name, entry in changes.items():
        print(
            f"{name}: {short(old.params.get(name))} -> {short(resolution.parameters.get(name))} ({entry.source})",
            file=sys.stderr,
        )
    new: Run | None = run_node(node, resolution, sys.argv[1:], True, [f"A rerun of {old.id}."])
    if live is not None:
        _refuse_live_modules(live)
    return new


def _read_changes(texts: list[str]) -> dict[str, Given]:
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text!r}: write --set NAME=VALUE.")
        from pystematic.resolve import tokenize

        (word,) = tokenize(["--", value]) or [None]  # type: ignore[list-item]
        changes[name.replace("-", "_")] = Given(COMMAND_LINE, [word.pair], spelled=f"--set {name}")  # type: ignore[union-attr]
    return changes


def _program_of(old: Run) -> tuple[str, str | None]:
    program = old.document.get("program")
    program = program if isinstance(program, dict) else {}
    file = program.get("file") or program.get("code_file")
    if not file:
        raise ExperimentError(
            f"the record of {old.id} names no program: it was run in a notebook or on standard input."
        )
    if not os.path.isfile(file):
        raise ExperimentError(
            f"the program of {old.id} is gone: {file!r}. Check it out again, or run it from its new place with "
            f"--params-file {old.id}."
        )
    return str(file), program.get("module")


def _output_dir_of(old: Run) -> str:
    return os.path.dirname(os.path.dirname(os.path.abspath(old.path)))


def _ask_for_masked(old: Run, node: Node, given: dict[str, Given]) -> None:
    """Ask for parameters whose recorded value is masked, where there is a person to ask."""
    for name, value in old.params.items():
        known = node.spec.named(name)
        if str(value) != "<masked>" or name in given or not known:
            continue
        if not sys.stdin.isatty():
            raise UsageError(f"{name} is masked in the record of {old.id}. Give it: --set {name}=VALUE.")
        import getpass

        given[name] = Given(COMMAND_LINE, [(getpass.getpass(f"{name} (masked in the record): "), True)])


def differences(old: Run, node: Node, file: str) -> list[str]:
    """Return what differs now from what the record says, one line each."""
    from pystematic.run import describe_environment

    lines = []
    now = describe_environment(file)
    before = old.environment or {}
    if not before:
        return [f"The record of {old.id} holds no environment to compare with."]
    git_before, git_now = before.get("git") or {}, now.get("git") or {}
    for name, title in (("commit", "commit"), ("branch", "branch")):
        if git_before.get(name) != git_now.get(name):
            lines.append(f"{title}: {git_before.get(name)} -> {git_now.get(name)}")
    if _code_of(old) != now.get("code"):
        lines.append("code: the program's files differ from what was run" + _patch_note(old, now))
    python_before, python_now = before.get("python"), now.get("python")
    if _version(python_before) != _version(python_now):
        lines.append(f"Python: {_version(python_before)} -> {_version(python_now)}")
    lines += _package_differences(before.get("packages") or {}, now.get("packages") or {})
    lines += _parameter_differences(old, node)
    head = f"Compared with {old.id}, these differ now:"
    return [head, *(f"  {line}" for line in lines)] if lines else [f"Nothing differs from {old.id}."]


def _patch_note(old: Run, now: Mapping[str, Any]) -> str:
    had, has = bool(old.patch), bool(now.get("patch"))
    if had != has:
        return f" (uncommitted changes then: {'yes' if had else 'no'}, now: {'yes' if has else 'no'})"
    return ""


def _code_of(old: Run) -> object:
    return old.document.get("code")


def _version(python: object) -> object:
    return python.get("version") if isinstance(python, dict) else python


def _package_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            lines.append(f"package {name}: {before.get(name) or 'absent'} -> {now.get(name) or 'absent'}")
    return lines if len(lines) <= 20 else [*lines[:19], f"... and {len(lines) - 19} more packages"]


def _parameter_differences(old: Run, node: Node) -> list[str]:
    own = {parameter.name for parameter in node.spec.parameters if not parameter.framework}
    recorded = set(old.params)
    lines = [f"parameter {name}: new, with its default" for name in sorted(own - recorded)]
    from pystematic.declare import RESERVED_NAMES

    gone = recorded - set(node.spec.names) - RESERVED_NAMES
    return lines + [f"parameter {name}: no longer declared" for name in sorted(gone)]


def _verify(old: Run, new: Run, rtol: float) -> int:
    """Compare two runs' series; print where they first differ; return the exit code."""
    problems = []
    tags = list(dict.fromkeys([*old.summary, *new.summary]))
    tags = [tag for tag in tags if not tag.startswith("system/")]
    points = 0
    for tag in tags:
        a, b = old.metrics(tag), new.metrics(tag)
        points += len(a.value)
        problem = _first_difference(a, b, rtol)
        if problem:
            problems.append(f"{tag}: {problem}")
    if problems:
        print(f"{old.id} and {new.id} differ:", file=sys.stderr)
        for problem in problems:
            print(f"  {problem}", file=sys.stderr)
        return 1
    how = "equal" if rtol == 0 else f"equal within rtol={rtol:g}"
    print(f"Verified: {len(tags)} series with {points} values are {how}.", file=sys.stderr)
    return 0


def _first_difference(a: Any, b: Any, rtol: float) -> str | None:
    for i, (step, x, other_step, y) in enumerate(zip(a.step, a.value, b.step, b.value, strict=False)):
        if step != other_step:
            return f"value {i + 1} was at step {step}, now at step {other_step}"
        if not (x == y or (x != x and y != y) or abs(x - y) <= rtol * max(abs(x), abs(y))):
            return f"step {step}: was {x!s}, now {y!s}"
    if len(a.value) != len(b.value):
        return f"had {len(a.value)} values, now {len(b.value)}"
    return None


def _in_worktree(file: str, live: str) -> str:
    """Map the program's file into the worktree that this process was started in; ``live`` is ``ROOT:WORKTREE``."""
    root, _, worktree = live.partition(os.pathsep)
    return os.path.join(worktree, os.path.relpath(os.path.realpath(file), os.path.realpath(root)))


def _refuse_live_modules(live: str) -> None:
    """Refuse to go on when a module came from the live tree: the run would not be what was recorded.

    Raises:
        ExperimentError: naming the module.
    """
    root, _, worktree = live.partition(os.pathsep)
    root = os.path.realpath(root) + os.sep
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if not isinstance(path, str) or "site-packages" in path:
            continue
        real = os.path.realpath(path)
        own = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep
        if real.startswith(root) and not real.startswith((os.path.realpath(worktree) + os.sep, own)):
            if real.startswith(os.path.realpath(sys.prefix) + os.sep):
                continue
            raise ExperimentError(
                f"--exact: the module {name!r} is imported from the live tree ({path}), not from the recorded commit. "
                "An editable install or PYTHONPATH points there; take it out of the way, or rerun without --exact."
            )
