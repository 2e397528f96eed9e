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
    from pystematic.declare import Parameter

FORMAT = 2


def description_file(program: str) -> str:
    """Return the cache file that describes the program at this path."""
    return cached_file("program", os.path.abspath(program), ".json")


def refresh_description(root: Node) -> None:
    """Write the description of the running program unless the one that exists is newer than the program's file."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    if not program or not program.endswith(".py"):
        return
    own, current = _stamp(program), _stamp(description_file(program))
    if own is not None and (current is None or current <= own):
        write_description(root, program)


def write_description(root: Node, program: str) -> None:
    """Write what completion needs: the tree of experiments with their options, and the files that it depends on."""
    import json

    document = {
        "program": os.path.abspath(program),
        "version": [FORMAT, __version__],
        "files": _own_files(program),
        "root": _describe(root),
    }
    write_cache(description_file(program), json.dumps(document))


def write_guessed_description(root: Node, program: str) -> None:
    """Write the description of a program that was only loaded, whose command line may be that of a part of it.

    It is dated back, so that the next run of the program replaces it.
    """
    write_description(root, program)
    try:
        os.utime(description_file(program), (0, 0))
    except OSError:  # there is no cache
        return


def read_description(program: str) -> dict[str, Any] | None:
    """Return the root of a program's description, or None when there is none or a file of the program has changed."""
    text = read_cache(description_file(program))
    if text is None:
        return None
    import json

    try:
        document = json.loads(text)
        if document["version"] != [FORMAT, __version__] or document["program"] != os.path.abspath(program):
            return None
        for path, stamp in document["files"].items():
            if _stamp(path) != stamp:
                return None
        root = document["root"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return root if isinstance(root, dict) else None


def _describe(node: Node) -> dict[str, Any]:
    options: dict[str, dict[str, Any]] = {}
    for parameter in node.spec.parameters:
        if not parameter.hidden:
            for option in parameter.options:
                options.setdefault(option, describe_option(parameter, option))
    members = None if node.members is None else [_describe(member) for member in node.members.values()]
    return {"name": node.name, "help": node.description, "options": options, "members": members}


def describe_option(parameter: Parameter, option: str) -> dict[str, Any]:
    """Return what completion needs to know of an option: its help, its choices, and what follows it."""
    kind = parameter.type
    negation = option == parameter.negation
    follows = "flag" if kind.is_flag or negation else "list" if kind.is_container else "value"
    help = (parameter.help or "").strip().partition("\n")[0]
    return {
        "help": f"Not: {help}" if negation and help else help,
        "choices": [] if negation else list(kind.choices),
        "follows": follows,
    }


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
