"""A local page over the store, and reports as one file. Reads the store only; nothing of the package needs it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.web._report import write_report as write_report
    from pystematic.web._server import serve as serve

# The libraries of the server take a while to load.
_HOMES = {"serve": "_server", "write_report": "_report"}

__all__ = ["serve", "write_report"]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
