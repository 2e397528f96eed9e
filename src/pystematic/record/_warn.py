"""What the recorder's threads say to the user."""

from __future__ import annotations


def warn(message: str) -> None:
    """Say something to the user; never raises."""
    try:
        import logging  # only when something went wrong: it costs more than the recorder itself

        logging.getLogger("pystematic").warning(message)
    except Exception:
        return


def counted(count: int, one: str, many: str) -> str:
    """Return a number with what it counts: ``1 number``, ``2 numbers``."""
    return f"{count} {one if count == 1 else many}"


def counted_numbers(count: int, kind: str = "") -> str:
    return counted(count, f"{kind}number", f"{kind}numbers")


def counted_items(count: int) -> str:
    return counted(count, "recorded picture, table or file", "recorded pictures, tables or files")


def spell(error: BaseException) -> str:
    """Return the type and the text of an exception, whatever another package's exception raises when asked."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
