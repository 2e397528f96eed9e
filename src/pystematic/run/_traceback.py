"""Tracebacks as their author wants them: the program's own frames, none of ours, no values of variables."""

from __future__ import annotations

import os
import sys

from pystematic.errors import RunStopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_PACKAGE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MARK = "_pystematic_run_dir"
_TEXT = "_pystematic_traceback"


def mark_as_users(error: BaseException, run_dir: str) -> None:
    """Note on an exception that the main function of the run in this directory raised it."""
    try:
        setattr(error, _MARK, run_dir)
    except Exception:  # a class that allows no attributes; it is shown like any other exception
        return


def set_traceback(error: BaseException, text: str) -> None:
    """Give an exception that comes from another process the traceback that it had there."""
    try:
        setattr(error, _TEXT, text)
    except AttributeError:
        return


def is_users_own(error: BaseException) -> bool:
    """Tell whether the main function raised it, rather than we before it began."""
    return hasattr(error, _MARK)


def run_dir_of(error: BaseException) -> str | None:
    """Return the directory of the run whose main function raised it."""
    run_dir: str | None = getattr(error, _MARK, None)
    return run_dir


def format_traceback(error: BaseException, *, debug: bool = False) -> str:
    """Return the traceback of what the main function raised, without our frames unless ``debug``."""
    there = getattr(error, _TEXT, None)
    if isinstance(there, str):
        return there
    import traceback  # costs as much as all else that a start imports; only failures need it

    described = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    if not debug:
        _strip(described, set())
    return "".join(described.format())


def say_how_it_ended(error: BaseException, *, debug: bool = False) -> None:
    """Tell the person at the console about the end of a run by an exception that is about to leave the program.

    An exception is printed later, when it reaches the interpreter; for an interruption a line is printed now.
    """
    if isinstance(error, KeyboardInterrupt | RunStopped):
        run_dir = run_dir_of(error)
        if run_dir is not None:
            _print(f"Interrupted. The record is in {_shown(run_dir)}")
        return
    before = sys.excepthook
    if hasattr(before, _MARK):  # from an exception before, that the program has caught
        return

    # It holds no exception, whose frames would live on with it.
    def show(kind: type[BaseException], value: BaseException, traceback: TracebackType | None) -> None:
        sys.excepthook = before
        if is_users_own(value) and before is sys.__excepthook__:
            _print(format_traceback(value, debug=debug).rstrip("\n"))
        else:  # not of a run; or the program has a hook of its own
            before(kind, value, traceback)
        say_where(value)

    setattr(show, _MARK, None)
    sys.excepthook = show


def say_where(error: BaseException) -> None:
    """Print where the record of the run is that this exception has ended."""
    run_dir = run_dir_of(error)
    if run_dir is not None:
        _print(f"\nThe run failed. Its record is in {_shown(run_dir)}")


def _print(text: str) -> None:
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def _shown(path: str) -> str:
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the working directory was removed; another drive
        return path
    return path if relative.startswith("..") else relative


def _strip(described: Any, seen: set[int]) -> None:
    if described is None or id(described) in seen:
        return
    seen.add(id(described))
    frames = list(described.stack)
    ours = [i for i, frame in enumerate(frames) if frame.filename.startswith(_PACKAGE_DIR)]
    # What stands above the last of our frames that leads to the main function is how it was started.
    begin = next((i for i in reversed(ours) if frames[i].name == "_call_main_function"), -1) + 1
    kept = [frame for frame in frames[begin:] if not frame.filename.startswith(_PACKAGE_DIR)]
    if kept:
        described.stack[:] = kept
    _strip(described.__cause__, seen)
    _strip(described.__context__, seen)
    for inner in getattr(described, "exceptions", None) or ():
        _strip(inner, seen)
