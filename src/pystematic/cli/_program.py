"""Loading a user's program without running it, and running it as Python would."""

from __future__ import annotations

import os
import sys

from pystematic._words import did_you_mean
from pystematic.errors import NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from pystematic.cli._node import Node
    from pystematic.resolve import Parameters

# The name under which a program is loaded when its main guard must not fire; multiprocessing uses the same.
LOADED_NAME = "__mp_main__"


def run_file(options: Parameters, words: list[str]) -> int:
    """Be ``python FILE ...`` in this process."""
    path = checked_file(words[0])
    import runpy  # what `python FILE` is made of

    sys.argv = [path, *words[1:]]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    runpy.run_path(path, run_name="__main__")
    return 0


def checked_file(path: str) -> str:
    """Return ``path`` if it is a file.

    Raises:
        NotFoundError: it is none.
    """
    if os.path.isfile(path):
        return path
    folder = os.path.dirname(path) or "."
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".py")]
    except OSError:
        names = []
    hint = did_you_mean(os.path.basename(path), names)
    raise NotFoundError(f"there is no program {path!r}.{hint}")


def load_program(path: str, module: str | None = None) -> ModuleType:
    """Load the program at ``path`` so that its experiments are defined; its main guard does not fire.

    Args:
        path: the program's file.
        module: its name, where it was started with ``python -m``.
    """
    import runpy
    import types

    program = types.ModuleType(LOADED_NAME)
    program.__file__ = os.path.abspath(path)
    sys.argv = [path]
    if not sys.flags.safe_path:
        sys.path[0] = os.getcwd() if module else os.path.dirname(os.path.abspath(path))
    names = (
        runpy.run_module(module, run_name=LOADED_NAME, alter_sys=False)
        if module and module not in ("__main__", LOADED_NAME)
        else runpy.run_path(path, run_name=LOADED_NAME)
    )
    program.__dict__.update(names)
    # As multiprocessing does in its children: what a pickle calls __main__ is this program.
    sys.modules["__main__"] = sys.modules[LOADED_NAME] = program
    return program


def program_root() -> Node:
    """Return the group of all experiments that loaded programs have defined."""
    experiments = sys.modules["pystematic._experiment"]  # loaded by the program; this layer does not import it
    root: Node = experiments.program
    return root


def find_node(root: Node, words: list[str]) -> Node:
    """Return the experiment that ``words`` name: ``train``, ``group train`` or ``group.train``.

    Raises:
        NotFoundError: there is none of that name.
    """
    node = root
    parts = [part for word in words for part in _parts(root, word)]
    for word in parts:
        members = node.members or {}
        if word not in members:
            hint = did_you_mean(word, members) or f" There are {', '.join(members)}." if members else ""
            raise NotFoundError(f"there is no experiment {word!r}.{hint}")
        node = members[word]
    return node


def _parts(root: Node, word: str) -> list[str]:
    return [word] if root.members and word in root.members else word.split(".")
