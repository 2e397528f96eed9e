"""Plugins: entry points of other packages, their hooks, and the containment of their failures.

A plugin is an entry point in the group ``pystematic.plugins``: a callable that gets the `PystematicApp`. Finding them
costs a scan of all installed packages, so the result is kept in the user's cache until an install changes a folder.
"""

from __future__ import annotations

import os
import sys

from pystematic._cache_dir import cached_file, read_cache, write_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

GROUP = "pystematic.plugins"
# Their work is built in; loaded beside ours they would declare every parameter twice.
REPLACED_MODULES = ("pystematic_torch", "pystematic.standard_plugin")


class PystematicApp:
    """What a plugin gets: the public names, and hooks around experiments.

    A hook that raises is reported on stderr and passed over; it never breaks a run.

    Example:
        >>> def plugin(app):
        ...     app.on_after_experiment(lambda error: print("done", error))
    """

    def __init__(self) -> None:
        self._loaded = False
        self._hooks: dict[str, list[tuple[int, Callable[..., Any]]]] = {"created": [], "before": [], "after": []}

    def get_api_object(self) -> ModuleType:
        """Return the module `pystematic`; a plugin may add names to it."""
        return sys.modules[__name__.partition(".")[0]]

    def on_experiment_created(self, callback: Callable[[Any], Any], priority: int = 50) -> None:
        """Call ``callback(experiment)`` for each new experiment; what it returns, unless None, takes its place."""
        self._add("created", callback, priority)

    def on_before_experiment(self, callback: Callable[[Any, Any], Any], priority: int = 50) -> None:
        """Call ``callback(experiment, parameters)`` before the main function; lower priorities first."""
        self._add("before", callback, priority)

    def on_after_experiment(self, callback: Callable[[Any], Any], priority: int = 50) -> None:
        """Call ``callback(error)`` after the main function; ``error`` is None when it returned."""
        self._add("after", callback, priority)

    def experiment_created(self, experiment: Any) -> Any:
        """Run the hooks for a new experiment; return the experiment that counts."""
        self.load_all_plugins()
        for _, callback in self._hooks["created"]:
            made = _contained(callback, experiment)
            experiment = experiment if made is None else made
        return experiment

    def before_experiment(self, experiment: Any, parameters: Any) -> None:
        """Run the hooks before a run."""
        for _, callback in self._hooks["before"]:
            _contained(callback, experiment, parameters)

    def after_experiment(self, error: BaseException | None) -> None:
        """Run the hooks after a run."""
        for _, callback in self._hooks["after"]:
            _contained(callback, error)

    def load_all_plugins(self) -> None:
        """Load the plugins of this environment, once."""
        if self._loaded:
            return
        self._loaded = True
        for name, value in find_plugins():
            if value.partition(":")[0].startswith(REPLACED_MODULES):
                continue
            try:
                import importlib

                module, _, attribute = value.partition(":")
                plugin: Any = importlib.import_module(module)
                for part in attribute.split(".") if attribute else ():
                    plugin = getattr(plugin, part)
                plugin(self)
            except Exception as error:  # another package's code: contained, whatever it raises
                _report(f"the plugin '{name}' ({value}) cannot be loaded", error)

    def _add(self, event: str, callback: Callable[..., Any], priority: int) -> None:
        self._hooks[event].append((priority, callback))
        self._hooks[event].sort(key=lambda hook: hook[0])


app = PystematicApp()


def find_plugins() -> list[tuple[str, str]]:
    """Return ``(name, "module:attribute")`` of each plugin of this environment."""
    fingerprint = _fingerprint()
    path = cached_file("plugins", "\n".join(sys.path[1:]), ".txt")
    cached = read_cache(path)
    if cached is not None:
        known, _, rows = cached.partition("\n\n")
        if known == fingerprint:
            return [(name, value) for name, _, value in (row.partition("\t") for row in rows.splitlines())]
    from importlib.metadata import entry_points  # slow; only when something was installed since the last time

    found = sorted({(point.name, point.value) for point in entry_points(group=GROUP)})
    write_cache(path, fingerprint + "\n\n" + "".join(f"{name}\t{value}\n" for name, value in found))
    return found


def _fingerprint() -> str:
    """Describe the folders that packages are installed in, so that an install or removal changes it."""
    lines = [sys.version.split()[0]]
    for i, folder in enumerate(sys.path):
        try:
            if i == 0:  # the program's own folder changes all the time; only packages in it count
                names = [name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info"))]
                lines += [f"{folder} {name}" for name in sorted(names)]
            else:
                lines.append(f"{folder} {os.stat(folder).st_mtime_ns}")
        except OSError:
            continue
    return "\n".join(lines)


def _contained(callback: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return callback(*arguments)
    except Exception as error:  # another package's code: contained, whatever it raises
        name = f"{getattr(callback, '__module__', '?')}.{getattr(callback, '__qualname__', callback)}"
        _report(f"the plugin hook {name} failed", error)
        return None


def _report(what: str, error: Exception) -> None:
    print(f"pystematic: {what}: {type(error).__name__}: {error}. The run goes on without it.", file=sys.stderr)
