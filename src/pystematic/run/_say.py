"""`say`: a line for the person at the console, from places where nothing may fail."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    """Write ``pystematic: text`` to stderr; where there is no stderr, or it is broken, nobody is told."""
    if sys.stderr is None:  # `print` would take stdout instead
        return
    try:
        print(f"pystematic: {text}", file=sys.stderr)
    except (OSError, ValueError):
        return
