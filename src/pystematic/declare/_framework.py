"""The parameters that every experiment has, and which of a user's own may take their place.

One list, so that the table of the documentation, the help page and the checks cannot differ. What each of them does
is the business of the packages above.
"""

from __future__ import annotations

import os

from pystematic.declare._compound import OneOf, Sequence_
from pystematic.declare._parameter import Parameter, ParameterGroup, bare_type
from pystematic.declare._types import (
    Anything,
    BadValueError,
    Boolean,
    Choice,
    Converted,
    Duration,
    FilePath,
    FlagOrChoice,
    Integer,
    ParamType,
    Text,
)
from pystematic.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Every name of the contract, also those that this version does not have: an old or a newer record may hold them,
# and they are then passed over instead of being unknown.
# fmt: off
RESERVED_NAMES = frozenset((
    "random_seed", "precision", "deterministic", "seed_libraries", "checkpoint", "limit_batches", "output_dir",
    "params_file", "preset", "resume", "dry_run", "debug", "pdb", "capture", "device", "cuda", "compile",
    "sync_batchnorm", "distributed", "nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port",
    "max_restarts", "collective_timeout", "on", "recorders", "tags", "note", "keep_last", "keep_best", "grace",
    "max_time", "local_rank", "subprocess", "system_metrics",
))
# fmt: on


def draw_seed() -> int:
    """Draw a seed of 32 bits from the operating system, which costs less than importing `random`."""
    return int.from_bytes(os.urandom(4), "big")


def _own(name: str, type: Any, default: Any, help: str, **more: Any) -> Parameter:
    more = {"identity": False, "replayed": False, **more}
    return Parameter(name, type, default, help=help, where="pystematic", framework=True, **more)


_both = {"identity": True, "replayed": True}
_groups: tuple[ParameterGroup, ...] = ()


def framework_groups() -> tuple[ParameterGroup, ...]:
    """Return the groups of default parameters, in the order of the help page."""
    global _groups
    if not _groups:
        _groups = (
            ParameterGroup(
                "Reproducibility",
                None,
                [
                    _own("random_seed", int, draw_seed, "Seeds every random generator.", default_help="drawn", **_both),
                    _own("seed_libraries", bool, True, "Seed the generators of random, NumPy and torch.", **_both),
                    _own("deterministic", bool, False, "Ask the libraries for deterministic algorithms.", **_both),
                    _own("precision", Choice(["fp32", "bf16", "fp16"]), "fp32", "Of registered modules.", **_both),
                ],
                "pystematic",
            ),
            ParameterGroup(
                "Checkpoints",
                None,
                [
                    _own(
                        "resume",
                        str,
                        None,
                        "Go on with a run (id, directory, last) in its directory, or auto: with the newest one of the "
                        "same parameters, or of the same batch job, that is not completed.",
                        allow_from_file=False,
                    ),
                    _own("checkpoint", FilePath(str), None, "Start a new run from a saved state.", **_both),
                    _own("keep_last", int, 2, "How many of the newest checkpoints stay."),
                    _own("keep_best", int, 1, "How many of the best ones stay, by the experiment's metric."),
                    _own("max_time", Duration(), None, "Save and end, with exit code 75, after this time."),
                    _own("grace", Duration(), 25.0, "How long a run may take to end when it is asked to."),
                ],
                "pystematic",
            ),
            ParameterGroup(
                "Processes",
                None,
                [
                    _own(
                        "distributed",
                        bool,
                        None,
                        "Train in several processes together; unset: joins torchrun where that has started this one.",
                    ),
                    _own(
                        "nproc_per_node",
                        OneOf([Choice(["auto"]), Integer()]),
                        "auto",
                        "Processes on each machine; auto: one for each GPU.",
                        envvar="NPROC_PER_NODE",
                    ),
                    _own("nnodes", int, 1, "Machines.", envvar="NNODES"),
                    _own("node_rank", int, 0, "Which of the machines this is, from 0.", envvar="NODE_RANK"),
                    _own("master_addr", str, None, "Name or address of machine 0.", envvar="MASTER_ADDR"),
                    _own("master_port", int, None, "A port that is free there.", envvar="MASTER_PORT"),
                    _own("max_restarts", int, 0, "How often failed processes are started again."),
                    _own("collective_timeout", Duration(), 600.0, "How long a collective may wait for all."),
                    _own("sync_batchnorm", bool, False, "Compute batch statistics over all processes."),
                    _own("compile", bool, False, "Compile registered modules."),
                ],
                "pystematic",
            ),
            ParameterGroup(
                "Parameters from files",
                None,
                [
                    _own(
                        "params_file",
                        Sequence_(FilePath(str), list),
                        None,
                        "Read parameters from a YAML, JSON or TOML file, or from a run (id, directory, last). "
                        "Repeatable; later ones win.",
                        allow_from_file=False,
                    ),
                    _own("preset", str, None, "Read presets/PRESET.yaml beside the program.", allow_from_file=False),
                    _own(
                        "dry_run",
                        FlagOrChoice("text", "json", "yaml"),
                        None,
                        "Print each value with its source, and run nothing.",
                        allow_from_file=False,
                    ),
                ],
                "pystematic",
            ),
            ParameterGroup(
                "Run",
                None,
                [
                    _own(
                        "output_dir",
                        FilePath(str),
                        "./output",
                        "The folder of all runs; made if need be.",
                        envvar="PYSTEMATIC_OUTPUT_DIR",
                    ),
                    _own("on", str, "local", "Where it is made: local, slurm[:PROFILE] or ray[:ADDRESS]."),
                    _own("tags", Sequence_(Text(), list), None, "Words to find the run by."),
                    _own("note", str, None, "A sentence to remember the run by."),
                    _own("device", str, "auto", "Where the context puts things: auto, cpu, cuda, cuda:1, mps..."),
                    _own("cuda", bool, True, "Use a GPU if there is one."),
                    _own("limit_batches", int, None, "End every epoch after this many batches.", **_both),
                    _own(
                        "capture",
                        Choice(["sys", "fd", "off"]),
                        "sys",
                        "What goes into the log: Python's output, that of C code and children too (fd), or none.",
                    ),
                    _own(
                        "recorders",
                        Sequence_(Text(), list),
                        None,
                        "Record into these too: console, csv, mlflow, tensorboard, wandb.",
                    ),
                    _own("system_metrics", bool, True, "Record CPU, memory, disk and GPUs every ten seconds."),
                    _own("debug", bool, False, "Log at level DEBUG, and show whole tracebacks."),
                    _own("pdb", bool, False, "Open the debugger where the experiment fails.", allow_from_file=False),
                    _own("local_rank", int, 0, "Set by launch_subprocess.", hidden=True, allow_from_file=False),
                    _own("subprocess", str, None, "Set by launch_subprocess.", hidden=True, allow_from_file=False),
                ],
                "pystematic",
            ),
        )
    return _groups


_by_name: dict[str, Parameter] = {}
_by_option: dict[str, Parameter] = {}


def framework_parameter(name: str) -> Parameter | None:
    """Return the default parameter of this name, if there is one."""
    _index()
    return _by_name.get(name)


def _index() -> None:
    if not _by_name:
        for group in framework_groups():
            for parameter in group.parameters:
                _by_name[parameter.name] = parameter
                _by_option.update(dict.fromkeys(parameter.options, parameter))


def check_against_framework(own: Parameter) -> None:
    """Check a user's parameter against the default ones.

    Raises:
        DeclarationError: it has the name of one of them, but a type that cannot carry its meaning; or the name of
            another one's option.
    """
    ours = framework_parameter(own.name)
    if ours is not None and not _can_carry(bare_type(own.type), bare_type(ours.type)):
        needed = _python_type(bare_type(ours.type))
        raise DeclarationError(
            f"{own.where}: parameter '{own.name}' takes the place of pystematic's own, whose type is {needed}; "
            f"with the type {_python_type(bare_type(own.type))} it cannot do its work. "
            f"Give it another name, or the type {needed}."
        )
    for option in own.options:
        other = _by_option.get(option)
        if other is not None and other.name != own.name:
            raise DeclarationError(
                f"{own.where}: parameter '{own.name}': the option {option} belongs to pystematic's own parameter "
                f"'{other.name}'. Give it another name, or declare '{other.name}' instead."
            )


def stand_in(own: Parameter) -> Parameter:
    """Return a user's parameter as it counts: one that takes the place of ours keeps what that place is for."""
    ours = framework_parameter(own.name)
    if ours is None:
        return own
    twin = own.copy(
        replayed=ours.replayed,
        identity=own.identity and ours.identity,
        allow_from_file=own.allow_from_file and ours.allow_from_file,
        envvar=own.envvar or ours.envvar,
    )
    if own.default is None and not own.required and ours.default is not None:
        try:  # a run needs a seed and a folder, whoever declared them
            twin = twin.with_default(ours.default).copy(default_help=own.default_help or ours.default_help)
        except BadValueError:  # of a narrower type than ours
            pass
    return twin


def _can_carry(own: ParamType, ours: ParamType) -> bool:
    if isinstance(ours, Sequence_):
        return isinstance(own, Sequence_) and _can_carry(bare_type(own.item), ours.item)
    if isinstance(own, Choice):
        words = [value for value in own.values if value is not None]
        textual = isinstance(ours, Text | FilePath) or all(word in ours.choices for word in words)
        return textual and all(isinstance(word, str) for word in words)
    if isinstance(ours, Text | FilePath):
        return isinstance(own, Text | FilePath | Anything | Converted)
    return type(own) is type(ours) or (isinstance(ours, Integer) and isinstance(own, Converted))


def _python_type(kind: ParamType) -> str:
    """Spell a type as an author would write it."""
    if kind.choices:
        return f"Literal[{', '.join(map(repr, kind.choices))}]"
    if isinstance(kind, Sequence_):
        return f"list[{_python_type(kind.item)}]"
    return {Text: "str", FilePath: "str", Boolean: "bool"}.get(type(kind), kind.label)
