"""What differs between a recorded run and what a rerun of it would use now, one line each."""

from __future__ import annotations

import os

from pystematic._words import short

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pystematic.cli._node import Node
    from pystematic.store import Run

MOST_PACKAGES = 20
# Variables that say in which job a run was, not what it computes.
_OF_THE_JOB = frozenset(
    (
        *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"),
        *("PBS_JOBID", "LSB_JOBID", "MASTER_ADDR", "MASTER_PORT", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV"),
    )
)


def differences(old: Run, node: Node, code_file: str, output_dir: str, *, exact: bool = False) -> list[str]:
    """Return what differs now from what the record says, one line each.

    Args:
        old: the recorded run.
        node: its experiment, as it is now.
        code_file: the file that defined it.
        output_dir: the folder of the runs, whose files are no sources.
        exact: whether this is the recorded commit, which has no branch in its worktree.
    """
    from pystematic.run import describe_environment

    before = old.environment
    lines = ["environment: not recorded, so code, packages and Python cannot be compared"]
    if before:
        now = describe_environment(code_file, output_dir)
        lines = _code_differences(old, before.get("git") or {}, now, exact)
        lines += _definition_differences(old, node)
        lines += _fact_differences(before, now)
        lines += _package_differences(before.get("packages") or {}, now.get("packages") or {})
    return lines + _parameter_differences(old, node)


def _code_differences(old: Run, before: Mapping[str, Any], now: Mapping[str, Any], exact: bool) -> list[str]:
    today = now.get("git") or {}
    lines = []
    for name in ("commit",) if exact else ("commit", "branch"):
        if before.get(name) != today.get(name):
            lines.append(f"{name}: {str(before.get(name))[:12]} -> {str(today.get(name))[:12]}")
    had, has = bool(old.patch), bool(now.get("patch"))
    if had != has:
        lines.append(f"uncommitted changes: {'some' if had else 'none'} -> {'some' if has else 'none'}")
    elif old.document.get("code") != now.get("code"):  # the hash of the commit and the patch, or of the files
        if had:
            lines.append("uncommitted changes: others, see source.patch of the record")
        elif before.get("commit") == today.get("commit"):
            lines.append("code: the program's files have changed")
    return lines


def _definition_differences(old: Run, node: Node) -> list[str]:
    """Tell when another file defines the experiment now: two modules of a program may have one of the name."""
    recorded = (old.document.get("program") or {}).get("code_file")
    then, now = (os.path.basename(path) for path in (recorded or "", node.where.rpartition(":")[0]))
    return [f"experiment {old.experiment}: defined in {then} -> {now}"] if then and then != now else []


def _fact_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    facts = [("Python", _version(before.get("python")), _version(now.get("python")))]
    facts.append(("working directory", before.get("working_dir"), now.get("working_dir")))
    lines = [f"{name}: {then or 'unknown'} -> {today}" for name, then, today in facts if then != today]
    then, now_set = before.get("variables") or {}, now.get("variables") or {}
    for name in sorted(then.keys() | now_set.keys()):  # such as OMP_NUM_THREADS, which changes sums
        if name not in _OF_THE_JOB and then.get(name) != now_set.get(name):
            lines.append(f"variable {name}: {then.get(name, 'unset')} -> {now_set.get(name, 'unset')}")
    return lines


def _version(python: object) -> object:
    return python.get("version") if isinstance(python, dict) else python


def _package_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    lines = []
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            lines.append(f"package {name}: {before.get(name) or 'absent'} -> {now.get(name) or 'absent'}")
    if len(lines) <= MOST_PACKAGES:
        return lines
    return [*lines[: MOST_PACKAGES - 1], f"and {len(lines) - MOST_PACKAGES + 1} more packages"]


def _parameter_differences(old: Run, node: Node) -> list[str]:
    from pystematic.declare import RESERVED_NAMES

    recorded = set(old.params)
    own = [parameter for parameter in node.spec.parameters if not parameter.framework]
    new = dict.fromkeys(one.name for one in own if one.name not in recorded and one.when is None)
    gone = sorted(recorded - set(node.spec.names) - RESERVED_NAMES)
    return [
        *(f"parameter {name}: new, so it has its default" for name in new),
        *(f"parameter {name}: no longer declared, so its {short(old.params[name])} is left out" for name in gone),
    ]
