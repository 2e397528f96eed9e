"""Acting on libraries when they are imported, without importing them."""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

from pystematic.run._imports import ImportWatch


@pytest.fixture(autouse=True)
def modules(working_dir: Path) -> Iterator[Path]:
    """A folder on the module path; what is imported from it is forgotten afterwards."""
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(working_dir))
        yield working_dir
    for name in set(sys.modules) - known:
        del sys.modules[name]


@contextlib.contextmanager
def watching() -> Iterator[tuple[ImportWatch, list[str]]]:
    """Yield a watch and what it reports."""
    reports: list[str] = []
    watch = ImportWatch(lambda name, error: reports.append(f"{name}: {error!r}"))
    try:
        yield watch, reports
    finally:
        watch.close()


def write_module(folder: Path, name: str, text: str = "VALUE = 1\n") -> None:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()


def test_a_module_that_is_loaded_is_called_back_for_at_once() -> None:
    seen: list[ModuleType] = []
    with watching() as (watch, _):
        watch.when_imported("contextlib", seen.append)
        assert watch not in sys.meta_path
    assert seen == [contextlib]


def test_a_module_that_is_imported_later_is_called_back_for_when_it_is_complete(modules: Path) -> None:
    write_module(modules, "lib_a")
    seen: list[int] = []
    with watching() as (watch, _):
        watch.when_imported("lib_a", lambda module: seen.append(module.VALUE))
        assert seen == []
        importlib.import_module("lib_a")
        importlib.reload(sys.modules["lib_a"])
    assert seen == [1]


def test_several_callbacks_are_called_in_their_order(modules: Path) -> None:
    write_module(modules, "lib_a")
    seen: list[str] = []
    with watching() as (watch, _):
        for name in "ab":
            watch.when_imported("lib_a", lambda module, name=name: seen.append(name))  # type: ignore[misc]
        importlib.import_module("lib_a")
    assert seen == ["a", "b"]


def test_asking_whether_a_library_is_there_does_not_forget_it(modules: Path) -> None:
    write_module(modules, "lib_a")
    seen: list[ModuleType] = []
    with watching() as (watch, _):
        watch.when_imported("lib_a", seen.append)
        assert importlib.util.find_spec("lib_a") is not None
        assert importlib.util.find_spec("lib_a") is not None
        importlib.import_module("lib_a")
    assert [module.__name__ for module in seen] == ["lib_a"]


def test_a_library_that_is_not_there_stays_so() -> None:
    with watching() as (watch, _):
        watch.when_imported("lib_of_nobody", lambda module: None)
        assert importlib.util.find_spec("lib_of_nobody") is None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("lib_of_nobody")


def test_an_import_that_fails_is_called_back_for_when_it_succeeds(modules: Path) -> None:
    write_module(modules, "lib_a", "raise ImportError('not yet')\n")
    seen: list[ModuleType] = []
    with watching() as (watch, _):
        watch.when_imported("lib_a", seen.append)
        with pytest.raises(ImportError, match="not yet"):
            importlib.import_module("lib_a")
        assert seen == []
        write_module(modules, "lib_a", "VALUE = 22222\n")
        importlib.import_module("lib_a")
    assert len(seen) == 1


def test_module_loader_and_spec_are_those_that_python_makes(modules: Path) -> None:
    write_module(modules, "lib_a")
    with watching() as (watch, _):
        watch.when_imported("lib_a", lambda module: None)
        module = importlib.import_module("lib_a")
    assert type(module.__loader__) is importlib.machinery.SourceFileLoader
    assert "exec_module" not in vars(module.__loader__)
    assert module.__spec__ is not None
    assert module.__spec__.loader is module.__loader__
    assert inspect.getsource(module) == "VALUE = 1\n"


def test_a_callback_that_fails_is_reported_and_the_import_works(modules: Path) -> None:
    def fail(module: ModuleType) -> None:
        raise LookupError(f"no seed in {module.__name__}")

    write_module(modules, "lib_a")
    with watching() as (watch, reports):
        watch.when_imported("lib_a", fail)
        watch.when_imported("contextlib", fail)
        module = importlib.import_module("lib_a")
    assert module.VALUE == 1
    assert reports == ["contextlib: LookupError('no seed in contextlib')", "lib_a: LookupError('no seed in lib_a')"]


def test_after_its_end_a_watch_does_nothing(modules: Path) -> None:
    write_module(modules, "lib_a")
    seen: list[ModuleType] = []
    with watching() as (watch, _):
        watch.when_imported("lib_a", seen.append)
        spec = importlib.util.find_spec("lib_a")
    assert watch not in sys.meta_path
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    importlib.import_module("lib_a")
    assert seen == []


class FrozenLike:
    """A loader that is a class, as that of built-in modules is: what is set on it is set for all of them."""

    @staticmethod
    def create_module(spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        module.VALUE = 7  # type: ignore[attr-defined]

    @staticmethod
    def is_package(name: str) -> bool:
        return False


def test_a_loader_that_all_modules_share_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, path: Sequence[str] | None, target: object = None) -> object:
            return importlib.machinery.ModuleSpec(name, FrozenLike) if name == "lib_frozen" else None  # type: ignore[arg-type]

    before = dict(vars(FrozenLike))
    seen: list[int] = []
    with watching() as (watch, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
        watch.when_imported("lib_frozen", lambda module: seen.append(module.VALUE))
        module = importlib.import_module("lib_frozen")
        assert seen == [7]
        assert module.__spec__ is not None
        assert module.__spec__.loader.is_package("lib_frozen") is False  # type: ignore[union-attr]
    assert dict(vars(FrozenLike)) == before


def test_a_folder_of_the_name_of_a_library_is_imported_as_ever(modules: Path) -> None:
    (modules / "lib_folder").mkdir()
    importlib.invalidate_caches()
    with watching() as (watch, reports):
        watch.when_imported("lib_folder", lambda module: module.seed(1))
        assert importlib.import_module("lib_folder").__path__
    assert reports == []


def test_an_import_hook_of_somebody_else_works_beside_us(modules: Path) -> None:
    write_module(modules, "lib_a")
    hooked: list[str] = []

    class Hook(importlib.abc.MetaPathFinder):
        busy = False

        def find_spec(
            self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
        ) -> importlib.machinery.ModuleSpec | None:
            if name != "lib_a" or self.busy:
                return None
            self.busy = True
            try:
                hooked.append(name)
                return importlib.util.find_spec(name)  # as wrapt, typeguard and others do
            finally:
                self.busy = False

    seen: list[ModuleType] = []
    with watching() as (watch, _), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "meta_path", [Hook(), *sys.meta_path])
        watch.when_imported("lib_a", seen.append)
        importlib.import_module("lib_a")
    assert hooked == ["lib_a"]
    assert len(seen) == 1


def test_a_module_that_another_thread_is_importing_is_waited_for(modules: Path) -> None:
    write_module(modules, "lib_slow", "import sys\nsys.begun.set()\nsys.go_on.wait(30)\nVALUE = 1\n")
    begun, go_on = threading.Event(), threading.Event()
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch, watching() as (watch, reports):
        patch.setattr(sys, "begun", begun, raising=False)
        patch.setattr(sys, "go_on", go_on, raising=False)
        thread = threading.Thread(target=importlib.import_module, args=("lib_slow",))
        thread.start()
        assert begun.wait(30)
        watcher = threading.Thread(
            target=watch.when_imported, args=("lib_slow", lambda module: seen.append(module.VALUE))
        )
        watcher.start()
        go_on.set()
        thread.join()
        watcher.join()
    assert (seen, reports) == ([1], [])
