"""The command lines: that of a user's program, and the command `pystematic`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.cli._app import main as main
    from pystematic.cli._experiment import resolve_for as resolve_for
    from pystematic.cli._experiment import run_program as run_program
    from pystematic.cli._program import refuse_while_loading as refuse_while_loading

_HOMES = {
    "main": "_app",
    "refuse_while_loading": "_program",
    "resolve_for": "_experiment",
    "run_program": "_experiment",
}


def __getattr__(name: str) -> object:
    # A program needs no command `pystematic`, and that command often no program.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
