"""Acting on a library when it is imported, now or later, without importing it."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any


class ImportWatch:
    """Calls back once for each watched module: at once where it is loaded, else right after its import.

    `close` takes the watch out of the import system again.

    Args:
        report: told about a callback that failed, with the module's name and the exception. Another library's
            quirk must fail neither the run nor the import.
    """

    def __init__(self, report: Callable[[str, Exception], None]) -> None:
        self._report = report
        self._callbacks: dict[str, list[Callable[[ModuleType], None]]] = {}

    def when_imported(self, name: str, callback: Callable[[ModuleType], None]) -> None:
        """Call ``callback(module)`` when the top-level module ``name`` has been imported."""
        self._callbacks.setdefault(name, []).append(callback)
        module = sys.modules.get(name)
        if module is None:
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)
            return
        if getattr(getattr(module, "__spec__", None), "_initializing", False):
            __import__(name)  # another thread is at it; this waits until it has finished
        self._call_back(name, module)

    def close(self) -> None:
        """Stop watching."""
        self._callbacks.clear()
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a watched module as other finders would, and have its loader call back; called by the import system.

        A program may ask this way whether a library is there and never import it, so nothing is forgotten here.
        """
        if name not in self._callbacks:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._have_call_back(name, spec)
                return spec
        return None

    def _have_call_back(self, name: str, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        if not hasattr(loader, "exec_module"):
            return
        execute = loader.exec_module
        if isinstance(loader, type) or not hasattr(loader, "__dict__"):  # of built-in and frozen modules: shared by all
            spec.loader = _Loader(loader, lambda module: self._call_back(name, module))  # type: ignore[assignment]
            return

        def exec_module(module: ModuleType) -> None:
            vars(loader).pop("exec_module", None)  # the loader is left as it was
            execute(module)
            self._call_back(name, module)

        loader.exec_module = exec_module

    def _call_back(self, name: str, module: ModuleType) -> None:
        for callback in self._callbacks.pop(name, ()):
            try:
                callback(module)
            except Exception as error:  # of any version of another library, or of what has its name
                self._report(name, error)


class _Loader:
    """Stands in for a loader that cannot be changed."""

    def __init__(self, loader: Any, call_back: Callable[[ModuleType], None]) -> None:
        self._loader = loader
        self._call_back = call_back

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._call_back(module)

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # while a copy is being put together
            raise AttributeError(name)
        return getattr(self._loader, name)
