"""A copy of the program for runs that begin later, when it may have been edited. Knows nothing of git and of sweeps.

Files of code are copied; all else is a link to where it lies, so that data beside the program is found as before.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys

from pystematic.sweep._code import Code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

_CODE_SUFFIXES = (".py", ".pyi", ".pyx", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".sh", ".cu", ".cpp")
_LARGEST_BYTES = 1 << 20
# What shows the top folder of a project.
_TOPS = (".git", ".hg", "pyproject.toml", "setup.py")
# Neither copied nor linked: bytecode of files at other places.
_LEFT_OUT = "__pycache__"
# A folder that has one of these is an environment or a run, and no code of the program.
_MARKS = frozenset({"pyvenv.cfg", "run.json"})
# A folder with more entries holds data, and so does what lies deeper, or behind so many others.
_MOST_ENTRIES = 2000
_MOST_FOLDERS = 2000
_DEEPEST = 12


def copy_code(code: Code, folder: Path, ignored: Sequence[str] = ()) -> Code:
    """Copy a program, and return how the copy is loaded.

    Args:
        code: the program as this process has loaded it.
        folder: takes the copies, each under a name that its content gives.
        ignored: folders that hold no code: of runs.

    Raises:
        OSError: it cannot be written.
    """
    main = code.preparation.get("init_main_from_path")
    start = os.path.dirname(os.path.abspath(main)) if main else os.getcwd()
    root = find_root(start)
    others = {os.path.abspath(path) for path in ignored}
    files = list(_code_files(root, others))
    target = os.path.abspath(folder / _digest(root, files))
    if not os.path.isdir(target):
        temporary = f"{target}.{os.urandom(4).hex()}.tmp"
        try:
            _write(root, files, temporary, others)
            os.rename(temporary, target)
        except FileExistsError:  # another process was quicker
            pass
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Code(_moved(code.preparation, root, target), code.home, code.provenance, (target, root))


def find_root(folder: str) -> str:
    """Return the top folder of the project that a folder belongs to: itself, where nothing shows another one."""
    at = folder
    while True:
        if any(os.path.exists(os.path.join(at, name)) for name in _TOPS):
            return at
        above = os.path.dirname(at)
        if above in (at, os.path.expanduser("~")):
            return folder
        at = above


def _code_files(root: str, ignored: set[str]) -> Iterator[str]:
    """Yield the files of code below ``root``, relative to it, those near to it first."""
    level = [root]
    left = _MOST_FOLDERS
    for _ in range(_DEEPEST):
        below: list[str] = []
        for folder in level[:left]:
            for entry in _entries(folder):
                if _is_code(entry):
                    yield os.path.relpath(entry.path, root)
                elif _may_hold_code(entry) and entry.path not in ignored:
                    below.append(entry.path)
        left -= len(level)
        level = below
        if left <= 0:
            return


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return []
    holds_code = len(entries) <= _MOST_ENTRIES and _MARKS.isdisjoint(entry.name for entry in entries)
    return entries if holds_code else []


def _may_hold_code(entry: os.DirEntry[str]) -> bool:
    return not entry.name.startswith((".", "__pycache__")) and entry.is_dir(follow_symlinks=False)


def _is_code(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.name.endswith(_CODE_SUFFIXES) and entry.is_file() and entry.stat().st_size <= _LARGEST_BYTES
    except OSError:
        return False


def _digest(root: str, files: Sequence[str]) -> str:
    found = hashlib.sha256(root.encode("utf-8", "surrogateescape"))
    for name in files:
        with open(os.path.join(root, name), "rb") as file:
            content = file.read()
        found.update(f"\0{name}\0{len(content)}\0".encode("utf-8", "surrogateescape") + content)
    return found.hexdigest()[:16]


def _write(root: str, files: Sequence[str], target: str, ignored: set[str]) -> None:
    """Copy files, and link what stands beside them."""
    folders = {""}
    for name in files:
        folder = os.path.dirname(name)
        while folder not in folders:
            folders.add(folder)
            folder = os.path.dirname(folder)
    for folder in sorted(folders):
        os.makedirs(os.path.join(target, folder), exist_ok=True)
    for name in files:
        shutil.copyfile(os.path.join(root, name), os.path.join(target, name))
    for folder in folders:
        for entry in os.listdir(os.path.join(root, folder)):
            path, original = os.path.join(target, folder, entry), os.path.join(root, folder, entry)
            if entry != _LEFT_OUT and original not in ignored and not os.path.lexists(path):
                os.symlink(original, path)


def _moved(preparation: Any, root: str, target: str) -> dict[str, Any]:
    """Return how a program is loaded, its own paths leading into the copy; the working directory stays."""
    installed = tuple(os.path.abspath(path) + os.sep for path in (sys.prefix, sys.base_prefix))

    def moved(path: str) -> str:
        absolute = os.path.abspath(path)
        if (absolute + os.sep).startswith(installed) or not (absolute + os.sep).startswith(root + os.sep):
            return path
        return target + absolute[len(root) :]

    found = dict(preparation)
    found["sys_path"] = [moved(path) for path in preparation.get("sys_path") or ()]
    if preparation.get("init_main_from_path"):
        found["init_main_from_path"] = moved(preparation["init_main_from_path"])
    return found
