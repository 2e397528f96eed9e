"""Plugins of other packages: found by their metadata, kept in a cache, called in order, contained whatever they do."""

from __future__ import annotations

import importlib
import os
import pathlib
import sys
import textwrap
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from pystematic import plugins
from pystematic.plugins import PystematicApp, find_plugins
from tests.builders import run_python, write_program

LONG_AGO_NS = 1_600_000_000 * 10**9


def install(folder: Path, package: str, entry_points: str, modules: dict[str, str] | None = None) -> Path:
    """Put an installed package into ``folder``, as an installer would, and return its metadata's folder."""
    folder.mkdir(exist_ok=True)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for name, text in (modules or {}).items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return info


def entry(name: str, value: str) -> str:
    return f"[pystematic.plugins]\n{name} = {value}\n"


def settle(folder: Path, seconds: int = 0) -> None:
    """Let the folder look as if it was changed long ago."""
    os.utime(folder, ns=(LONG_AGO_NS, LONG_AGO_NS + seconds * 10**9))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder of installed packages, the only one of the environment that has any."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    program = tmp_path / "program"
    program.mkdir()
    before = set(sys.modules)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(program), str(folder)])
        importlib.invalidate_caches()
        yield folder
        for name in set(sys.modules) - before:
            del sys.modules[name]
    importlib.invalidate_caches()


def load() -> PystematicApp:
    app = PystematicApp()
    app.load_all_plugins()
    return app


def scanned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows with every scan of the metadata."""
    scans: list[str] = []
    entry_points = metadata.entry_points

    def note(**params: Any) -> Any:
        scans.append("scan")
        return entry_points(**params)

    monkeypatch.setattr(metadata, "entry_points", note)
    return scans


# -- finding them ------------------------------------------------------------------------------------------------


def test_without_plugins_nothing_is_found(site: Path) -> None:
    install(site, "other", "[console_scripts]\nx = y:z\n")

    assert find_plugins() == []


def test_the_plugins_of_all_packages_are_found_in_the_order_of_their_names(site: Path) -> None:
    install(site, "two", entry("b", "two:plugin") + "c = two.inner:Class.plugin\n")
    install(site, "one", entry("a", "one"))

    assert find_plugins() == [("a", "one"), ("b", "two:plugin"), ("c", "two.inner:Class.plugin")]


def test_a_second_search_scans_no_metadata(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "one", entry("a", "one:plugin"))
    settle(site)
    scans = scanned(monkeypatch)
    found = [find_plugins() for _ in range(3)]

    assert found == [[("a", "one:plugin")]] * 3
    assert scans == ["scan"]


def test_an_installation_and_a_removal_refresh_the_cache(site: Path) -> None:
    settle(site)
    assert find_plugins() == []
    info = install(site, "one", entry("a", "one:plugin"))
    settle(site, 1)
    assert find_plugins() == [("a", "one:plugin")]
    (info / "entry_points.txt").unlink()
    (info / "METADATA").unlink()
    info.rmdir()
    settle(site, 2)
    assert find_plugins() == []


def test_an_installation_within_one_tick_of_the_clock_is_seen(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    find = ("-c", "from pystematic.plugins import find_plugins; print(find_plugins())")
    now = time.time_ns()
    os.utime(folder, ns=(now, now))
    before = run_python(*find, env={"PYTHONPATH": str(folder)})
    install(folder, "one", entry("a", "one:plugin"))
    os.utime(folder, ns=(now, now))
    after = run_python(*find, env={"PYTHONPATH": str(folder)})

    assert (before.stdout, after.stdout) == ("[]\n", "[('a', 'one:plugin')]\n")


def test_a_package_beside_the_program_is_seen_and_other_files_there_change_nothing(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = Path(sys.path[0])
    settle(site)
    scans = scanned(monkeypatch)
    assert find_plugins() == []
    (program / "data.txt").touch()
    assert find_plugins() == []
    assert scans == ["scan"]
    install(program, "own", entry("o", "own:plugin"))
    assert find_plugins() == [("o", "own:plugin")]


def test_an_installation_seen_from_fresh_interpreters(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    settle(folder)
    program = write_program(tmp_path)
    env = {"PYTHONPATH": str(folder)}
    before = run_python(program, "--help", env=env)
    install(
        folder,
        "mine",
        entry("m", "mine:plugin"),
        {"mine": "def plugin(app):\n    print('plugin', type(app).__name__)\n"},
    )
    settle(folder, 1)
    after = [run_python(program, "--help", env=env) for _ in range(2)]

    assert "plugin" not in before.stdout
    assert [done.stdout.splitlines()[0] for done in after] == ["plugin PystematicApp"] * 2


def test_a_damaged_cache_is_made_anew(site: Path) -> None:
    install(site, "one", entry("a", "one:plugin"))
    settle(site)
    find_plugins()
    [cache] = (Path(os.environ["XDG_CACHE_HOME"]) / "pystematic").iterdir()
    for content in (b"", b"\xff\xfe", b"x\n\ny\tz\n"):
        cache.write_bytes(content)
        assert find_plugins() == [("a", "one:plugin")]


def test_without_a_cache_folder_plugins_are_found_all_the_same(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "one", entry("a", "one:plugin"))
    settle(site)
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", "/dev/null")
        assert find_plugins() == [("a", "one:plugin")]


def test_environments_have_caches_of_their_own(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "one", entry("a", "one:plugin"))
    install(tmp_path / "other", "two", entry("b", "two:plugin"))
    for folder in (site, tmp_path / "other"):
        settle(folder)
    for _ in range(2):
        assert find_plugins() == [("a", "one:plugin")]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", ["", str(tmp_path / "other")])
            assert find_plugins() == [("b", "two:plugin")]


def test_a_path_of_import_that_is_no_text_is_passed_over(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(site, "one", entry("a", "one:plugin"))
    monkeypatch.setattr(sys, "path", [*sys.path, pathlib.Path("x"), "/missing"])

    assert find_plugins() == [("a", "one:plugin")]
    monkeypatch.undo()


def test_a_package_with_damaged_metadata_costs_itself_only(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, "one", entry("a", "one:plugin"))
    broken = install(site, "broken", "[pystematic.plugins]\nno equals sign\n")
    install(site, "two", entry("b", "two:plugin"))

    assert find_plugins() == [("a", "one:plugin"), ("b", "two:plugin")]
    assert f"pystematic: the metadata of a package cannot be read ({broken}): TypeError: " in capsys.readouterr().err


# -- loading them ------------------------------------------------------------------------------------------------

GOOD = """
    def plugin(app):
        app.get_api_object().__dict__.setdefault("_plugged", []).append("good")

    class Class:
        plugin = staticmethod(plugin)
"""


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return what plugins leave at the module `pystematic`."""
    import pystematic

    found: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(pystematic, "_plugged", found, raising=False)
        yield found


@pytest.mark.parametrize("value", ["good:plugin", "good:Class.plugin", "good:plugin [extra]", "good : plugin"])
def test_a_plugin_gets_the_app_and_the_public_names(value: str, site: Path, plugged: list[str]) -> None:
    install(site, "good", entry("g", value), {"good": GOOD})
    load()

    assert plugged == ["good"]


def test_plugins_are_loaded_once(site: Path, plugged: list[str]) -> None:
    install(site, "good", entry("g", "good:plugin"), {"good": GOOD})
    app = load()
    app.load_all_plugins()
    app.experiment_created("an experiment")

    assert plugged == ["good"]


def test_a_module_may_be_a_plugin(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(
        site,
        "callable",
        entry("c", "callable_module"),
        {
            "callable_module": """
                import sys, types
                class Module(types.ModuleType):
                    def __call__(self, app):
                        print("called")
                sys.modules[__name__].__class__ = Module
            """
        },
    )
    load()

    assert capsys.readouterr().out == "called\n"


BROKEN = {
    "no module": ("missing:plugin", "ModuleNotFoundError: No module named 'missing'"),
    "no attribute": ("bad:missing", "AttributeError: module 'bad' has no attribute 'missing'"),
    "not callable": ("bad:number", "TypeError: 'int' object is not callable"),
    "an import that fails": ("bad_import:plugin", "ZeroDivisionError: division by zero"),
    "a syntax error": ("bad_syntax:plugin", "SyntaxError: invalid syntax (bad_syntax.py, line 1)"),
    "a failing plugin": ("bad:plugin", "ValueError: no plugin"),
    "one that ends the program": ("bad:exit_all", "SystemExit: 3"),
    "an error without a text": ("bad:unspeakable", "UnspeakableError"),
}


@pytest.mark.parametrize(("value", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_a_plugin_that_fails_is_reported_and_the_others_are_loaded(
    value: str, reason: str, site: Path, plugged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "good", entry("z-good", "good:plugin"), {"good": GOOD})
    install(
        site,
        "bad",
        entry("a-bad", value),
        {
            "bad": """
                import sys
                number = 5
                class UnspeakableError(Exception):
                    def __str__(self):
                        raise RuntimeError
                def plugin(app):
                    app.on_before_experiment(lambda experiment, parameters: print("a hook of a broken plugin"))
                    raise ValueError("no plugin")
                def exit_all(app):
                    sys.exit(3)
                def unspeakable(app):
                    raise UnspeakableError
            """,
            "bad_import": "1 / 0\n",
            "bad_syntax": "def\n",
        },
    )
    app = load()
    app.before_experiment(None, None)

    shown = capsys.readouterr()
    assert (
        shown.err
        == f"pystematic: the plugin 'a-bad' ({value}) cannot be loaded: {reason}. The run goes on without it.\n"
    )
    assert shown.out == ""
    assert plugged == ["good"]


@pytest.mark.parametrize(
    "value", ["pystematic_torch:plugin", "pystematic_torch.plugin:Plugin", "pystematic.standard_plugin:StandardPlugin"]
)
def test_the_plugins_that_are_built_in_now_are_passed_over(
    value: str, site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "old", entry("old", value))
    load()

    assert capsys.readouterr().err == ""


def test_a_package_whose_name_only_begins_like_theirs_is_loaded(site: Path, plugged: list[str]) -> None:
    install(site, "extras", entry("e", "pystematic_torch_extras:plugin"), {"pystematic_torch_extras": GOOD})
    load()

    assert plugged == ["good"]


def test_a_plugin_may_declare_an_experiment_while_it_is_loaded(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(
        site,
        "declares",
        entry("d", "declares:plugin"),
        {"declares": "def plugin(app):\n    print(app.experiment_created('inner'))\n"},
    )
    load()

    assert capsys.readouterr().out == "inner\n"


# -- hooks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> PystematicApp:
    """Return an app without the plugins of this environment."""
    app = PystematicApp()
    app._loaded = True
    return app


def test_hooks_are_called_in_the_order_of_their_priorities_and_of_their_adding(app: PystematicApp) -> None:
    called: list[str] = []
    for name, priority in (("b", 50), ("d", 90), ("a", -1), ("c", 50)):
        app.on_before_experiment(lambda experiment, parameters, name=name: called.append(name), priority)  # type: ignore[misc]
    app.on_before_experiment(lambda experiment, parameters: called.append("default"))
    app.before_experiment("experiment", {})

    assert called == ["a", "b", "c", "default", "d"]


def test_hooks_get_what_they_are_about(app: PystematicApp) -> None:
    called: list[Any] = []
    app.on_before_experiment(lambda *arguments: called.append(arguments))
    app.on_after_experiment(lambda *arguments: called.append(arguments))
    error = ValueError()
    app.before_experiment("experiment", {"lr": 1})
    app.after_experiment(None)
    app.after_experiment(error)

    assert called == [("experiment", {"lr": 1}), (None,), (error,)]


def test_what_a_hook_returns_takes_the_place_of_the_experiment(app: PystematicApp) -> None:
    app.on_experiment_created(lambda experiment: experiment + 1)
    app.on_experiment_created(lambda experiment: None)
    app.on_experiment_created(lambda experiment: experiment * 10, priority=60)

    assert app.experiment_created(1) == 20


def fails(*arguments: Any) -> Any:
    raise ValueError("no hook")


def ends_all(*arguments: Any) -> Any:
    sys.exit(3)


class Callback:
    def __call__(self, *arguments: Any) -> Any:
        raise ValueError("no object")

    def __repr__(self) -> str:
        return "a callback"


@pytest.mark.parametrize(
    ("hook", "shown"),
    [
        (fails, "tests.test_plugins.fails failed: ValueError: no hook"),
        (ends_all, "tests.test_plugins.ends_all failed: SystemExit: 3"),
        (Callback(), "tests.test_plugins.a callback failed: ValueError: no object"),
    ],
)
def test_a_failing_hook_is_reported_and_the_others_are_called(
    hook: Any, shown: str, app: PystematicApp, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[str] = []
    for add in (app.on_experiment_created, app.on_before_experiment, app.on_after_experiment):
        add(hook)
        add(lambda *arguments: called.append("called"))
    assert app.experiment_created("experiment") == "experiment"
    app.before_experiment("experiment", {})
    app.after_experiment(None)

    assert called == ["called"] * 3
    assert capsys.readouterr().err == f"pystematic: the plugin hook {shown}. The run goes on without it.\n" * 3


def test_an_interrupt_in_a_hook_is_no_failure_of_the_plugin(app: PystematicApp) -> None:
    def interrupt(error: BaseException | None) -> None:
        raise KeyboardInterrupt

    app.on_after_experiment(interrupt)
    with pytest.raises(KeyboardInterrupt):
        app.after_experiment(None)


def test_where_nobody_listens_a_failure_is_contained_all_the_same(
    app: PystematicApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    app.on_after_experiment(fails)
    with open(os.devnull) as closed:
        pass
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", closed)
        app.after_experiment(None)


def test_the_app_of_the_package_is_one() -> None:
    from pystematic import core

    assert core.app is plugins.app
    assert core.app.get_api_object() is sys.modules["pystematic"]
