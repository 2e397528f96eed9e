"""Loading a user's program without running it, and running it as Python would."""

from __future__ import annotations

import os
import sys

from pystematic._words import did_you_mean
from pystematic.errors import DeclarationError, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from pystematic.cli._node import Node
    from pystematic.resolve import Parameters

# The name under which a program is loaded when its main guard must not fire; multiprocessing uses the same.
LOADED_NAME = "__mp_main__"
NO_EXPERIMENT = "This program defines no experiment. Put @pystematic.experiment above its main function."


def run_command(options: Parameters, words: list[str]) -> int:
    """``run``: be ``python FILE ...`` in this process.

    Raises:
        NotFoundError: there is no such file.
        SystemExit: the program says so, or has failed.
    """
    path = os.path.abspath(checked_file(words[0]))
    sys.argv = [path, *words[1:]]
    _set_import_root(os.path.dirname(path))
    try:
        _execute(path, "__main__")
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        _print_failure(error)
        raise SystemExit(1) from None
    return 0


def _print_failure(error: BaseException) -> None:
    """Print what a program raised as the interpreter would, without the frames that lead to the program."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code.co_filename == __file__:
        traceback = traceback.tb_next
    error.__traceback__ = traceback
    sys.excepthook(type(error), error, traceback)


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

    A program without a guard is loaded as far as the call of its command line, which does nothing.

    Args:
        path: the program's file.
        module: its name, where it was started with ``python -m``.

    Raises:
        DeclarationError: an experiment or parameter is declared wrongly.
        SystemExit: the program fails; its traceback is printed.
    """
    path = os.path.abspath(path)
    sys.argv = [path]
    _set_import_root(import_root(path, module))
    try:
        return _execute(path, LOADED_NAME, module)
    except SystemExit:  # sys.exit(train.cli()) without a guard
        return sys.modules[LOADED_NAME]
    except DeclarationError:
        raise
    except Exception as error:
        _print_failure(error)
        raise SystemExit(1) from None


def import_root(path: str, module: str | None) -> str:
    """Return the folder from which a program imports: its own, or the one that holds its outermost package."""
    folder = os.path.dirname(os.path.abspath(path))
    for _ in range(module.count(".") if module else 0):
        folder = os.path.dirname(folder)
    return folder


def refuse_while_loading(what: str) -> None:
    """End the loading of a program that is not being run, where its body would do ``what``.

    Raises:
        SystemExit: the program lacks a main guard.
    """
    if is_being_loaded():
        raise SystemExit(
            f"pystematic: {what} while the program is only imported. Write the call below if __name__ == '__main__'."
        )


def is_being_loaded() -> bool:
    """Tell whether the code that calls us is the body of a program that is being loaded, not run.

    `multiprocessing` loads the program too, in every new process.
    """
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == LOADED_NAME:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def _set_import_root(folder: str) -> None:
    """Import from where the program would: Python has put our own folder first, unless it was told not to."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _execute(path: str, name: str, module: str | None = None) -> ModuleType:
    """Execute a program as the main module. Not by `runpy`, which takes the module away again at the end."""
    import io
    import types

    main = types.ModuleType(name)
    main.__file__ = path
    if module is not None and "." in module:
        import importlib

        main.__package__ = module.rpartition(".")[0]
        importlib.import_module(main.__package__)
    if module is not None:
        import importlib.machinery

        # By this name multiprocessing imports the program in a new process.
        main.__spec__ = importlib.machinery.ModuleSpec(module, None, origin=path)
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec", dont_inherit=True)
    # What a pickle calls __main__ is this program, and what a child of multiprocessing calls it too.
    sys.modules["__main__"] = sys.modules[name] = main
    exec(code, main.__dict__)
    return main


def program_root() -> Node:
    """Return the group of all experiments that loaded programs have defined.

    Raises:
        NotFoundError: they have defined none.
    """
    experiments = sys.modules.get("pystematic._experiment")  # loaded by the program; this layer does not import it
    if experiments is None or not experiments.program.members:
        raise NotFoundError(NO_EXPERIMENT)
    root: Node = experiments.program
    return root


def find_node(root: Node, words: list[str]) -> Node:
    """Return the experiment or group that ``words`` name: ``train``, ``group train`` or ``group.train``.

    Raises:
        NotFoundError: there is none of that name.
    """
    node = root
    for word in words:
        rest = word
        while rest:
            members = node.members or {}
            # A name may hold dots itself.
            fitting = [name for name in members if rest == name or rest.startswith(name + ".")]
            if not fitting:
                raise NotFoundError(f"there is no experiment {rest!r}{_in_group(node)}.{_hint(rest, node)}")
            name = max(fitting, key=len)
            node = members[name]
            rest = rest[len(name) + 1 :]
    return node


def _in_group(node: Node) -> str:
    return f" in the group '{node.full_name}'" if node.name and node.members is not None else ""


def _hint(word: str, node: Node) -> str:
    if node.members is None:
        return f" '{node.full_name}' is an experiment itself."
    return did_you_mean(word, node.members) or experiments_there(node)


def experiments_there(node: Node) -> str:
    """Return a sentence that names the members of a group."""
    if not node.members:
        return " None is defined yet."
    return f" There {'is only' if len(node.members) == 1 else 'are'} {', '.join(node.members)}."
