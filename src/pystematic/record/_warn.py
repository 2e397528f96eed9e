"""What the recorder's threads say to the user."""

from __future__ import annotations


def warn(message: str) -> None:
    """Say something to the user; never raises."""
    try:
        import logging  # only when something went wrong: it costs more than the recorder itself

        logging.getLogger("pystematic").warning(message)
    except Exception:
        return


def spell(error: Exception) -> str:
    """Return the type and the text of an exception, whatever another package's exception raises when asked."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
