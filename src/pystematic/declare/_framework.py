"""The parameters that every experiment has, and which of a user's own may take their place.

One list, so that the table of the documentation, the help page and the checks cannot differ. What each of them does
is the business of the packages above.
"""

from __future__ import annotations

import os

from pystematic.declare._parameter import Parameter, ParameterGroup, bare_type
from pystematic.declare._types import (
    Anything,
    Boolean,
    Choice,
    Converted,
    FilePath,
    FlagOrChoice,
    Integer,
    ParamType,
    Sequence_,
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
    "max_time", "local_rank", "subprocess",
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
                ],
                "pystematic",
            ),
            ParameterGroup(
                "Parameters from files",
                None,
                [
                    _own(
                        "params_file",
                        Sequence_(Text(), list),
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
                        str,
                        "./output",
                        "The folder of all runs; made if need be.",
                        envvar="PYSTEMATIC_OUTPUT_DIR",
                    ),
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
                    _own("debug", bool, False, "Log at level DEBUG, and show whole tracebacks."),
                    _own("pdb", bool, False, "Open the debugger where the experiment fails.", allow_from_file=False),
                    _own("local_rank", int, 0, "Set by launch_subprocess.", hidden=True, allow_from_file=False),
                    _own("subprocess", str, None, "Set by launch_subprocess.", hidden=True, allow_from_file=False),
                ],
                "pystematic",
            ),
        )
    return _groups


_TEXTUAL = (Text, FilePath, Choice, Anything, Converted)
_CARRIERS: dict[type[ParamType], tuple[type[ParamType], ...]] = {
    Integer: (Integer, Converted),
    Boolean: (Boolean,),
    Text: _TEXTUAL,
    Choice: _TEXTUAL,
    Sequence_: (Sequence_, *_TEXTUAL),
}


def check_replacement(own: Parameter) -> None:
    """Check that a user's parameter with the name of one of ours can carry the meaning of ours.

    Raises:
        DeclarationError: its type cannot.
    """
    for group in framework_groups():
        for ours in group.parameters:
            if ours.name == own.name:
                allowed = _CARRIERS.get(type(bare_type(ours.type)), ())
                if not isinstance(bare_type(own.type), allowed):
                    raise DeclarationError(
                        f"{own.where}: parameter '{own.name}' takes the place of pystematic's own, whose type is "
                        f"{ours.type.label}; with the type {own.type.label} it cannot do its work. "
                        f"Give it another name, or the type {ours.type.label}."
                    )
