"""The description of a program that shell completion reads instead of importing the program.

A JSON file in the user's cache folder, written when a program runs and the description is older than its files.
"""

from __future__ import annotations

import os
import sys

from pystematic._cache_dir import cached_file, read_cache, write_cache
from pystematic._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.cli._node import Node


def description_file(program: str) -> str:
    """Return the cache file that describes the program at this path."""
    return cached_file("program", os.path.abspath(program), ".json")


def refresh_description(root: Node, program_dir: str) -> None:
    """Write the description of the running program unless the one that exists is newer than the program's file."""
    program = _main_file()
    if program is None:
        return
    path = description_file(program)
    try:
        if os.stat(path).st_mtime_ns > os.stat(program).st_mtime_ns:
            return
    except OSError:
        pass
    write_description(root, program)


def write_description(root: Node, program: str) -> None:
    """Write what completion needs: the tree of experiments with their options, and the files that it depends on."""
    import json

    document = {
        "program": os.path.abspath(program),
        "version": __version__,
        "files": _own_files(program),
        "root": _describe(root),
    }
    write_cache(description_file(program), json.dumps(document))


def read_description(program: str) -> dict[str, Any] | None:
    """Return the root of a program's description, or None when there is none or a file of the program has changed."""
    text = read_cache(description_file(program))
    if text is None:
        return None
    import json

    try:
        document = json.loads(text)
        if document["version"] != __version__ or document["program"] != os.path.abspath(program):
            return None
        for path, stamp in document["files"].items():
            if _stamp(path) != stamp:
                return None
        root = document["root"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return root if isinstance(root, dict) else None


def _describe(node: Node) -> dict[str, Any]:
    options = []
    for parameter in node.spec.parameters:
        if parameter.hidden:
            continue
        for option in parameter.options:
            kind = parameter.type
            takes_path = any(word in kind.label.lower() for word in ("path", "text", "value"))
            flag = kind.is_flag or option == parameter.negation
            options.append([option, parameter.help or "", list(kind.choices), flag, takes_path])
    members = None if node.members is None else [_describe(member) for member in node.members.values()]
    return {"name": node.name, "help": node.description, "options": options, "members": members}


def _main_file() -> str | None:
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return path if path and path.endswith(".py") and os.path.exists(path) else None


def _own_files(program: str) -> dict[str, list[int]]:
    """Return the program's files and their stamps: what lies beside the program and was imported from there."""
    folder = os.path.dirname(os.path.abspath(program)) + os.sep
    files = {os.path.abspath(program)}
    for module in list(sys.modules.values()):
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and path.startswith(folder) and "site-packages" not in path:
            files.add(path)
    return {path: stamp for path in sorted(files) if (stamp := _stamp(path))}


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size]
