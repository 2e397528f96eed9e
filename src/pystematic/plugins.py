"""Plugins: entry points of other packages, their hooks, and the containment of their failures.

A plugin is an entry point in the group ``pystematic.plugins``: a callable that gets the `PystematicApp`. Finding them
costs a scan of all installed packages, so the result is kept in the user's cache until an install changes a folder.
"""

from __future__ import annotations

import os
import sys
import time

from pystematic._cache_dir import cached_file, read_cache, write_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

GROUP = "pystematic.plugins"
# Their work is built in; loaded beside ours they would declare every parameter twice.
REPLACED_MODULES = ("pystematic_torch", "pystematic.standard_plugin")
# A folder that changed so shortly ago may change again within one tick of the file system's clock.
SETTLED_AFTER_NS = 2_000_000_000


class PystematicApp:
    """What a plugin gets: the public names, and hooks around experiments.

    A hook that raises is reported on stderr and passed over; it never breaks a run. Of a plugin that fails to load no
    hook is kept.

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
            module, _, attribute = (part.strip() for part in value.partition("[")[0].partition(":"))
            if any(module == replaced or module.startswith(f"{replaced}.") for replaced in REPLACED_MODULES):
                continue
            before = {event: list(hooks) for event, hooks in self._hooks.items()}
            try:
                import importlib

                plugin: Any = importlib.import_module(module)
                for part in attribute.split(".") if attribute else ():
                    plugin = getattr(plugin, part)
                plugin(self)
            except (Exception, SystemExit) as error:  # another package's code: contained, whatever it raises
                self._hooks = before
                _report(f"the plugin '{name}' ({value}) cannot be loaded", error)

    def _add(self, event: str, callback: Callable[..., Any], priority: int) -> None:
        self._hooks[event].append((priority, callback))
        self._hooks[event].sort(key=lambda hook: hook[0])


app = PystematicApp()


def find_plugins() -> list[tuple[str, str]]:
    """Return ``(name, "module:attribute")`` of each plugin of this environment."""
    folders = [folder for folder in sys.path if isinstance(folder, str)]  # as the import system, leave out others
    fingerprint, changed_at_ns = _fingerprint(folders)
    path = cached_file("plugins", "\n".join(folders[1:]), ".txt")
    cached = read_cache(path)
    if cached is not None:
        known, _, rows = cached.partition("\n\n")
        if known == fingerprint:
            return [(name, value) for name, _, value in (row.partition("\t") for row in rows.splitlines())]
    found = sorted(set(_scan()))
    if time.time_ns() - changed_at_ns > SETTLED_AFTER_NS:
        write_cache(path, fingerprint + "\n\n" + "".join(f"{name}\t{value}\n" for name, value in found))
    return found


def _scan() -> list[tuple[str, str]]:
    from importlib import metadata  # slow; only when something was installed since the last time

    try:
        return [(point.name, point.value) for point in metadata.entry_points(group=GROUP)]
    except Exception:  # one package's metadata is damaged: look at each package by itself
        pass
    found = []
    seen = set()
    for distribution in metadata.distributions():
        try:
            name = distribution.name
            points = [] if name in seen else distribution.entry_points.select(group=GROUP)
        except Exception as error:
            _report(f"the metadata of a package cannot be read ({getattr(distribution, '_path', '?')})", error)
            continue
        seen.add(name)  # the first one of a name counts, as for imports
        found += [(point.name, point.value) for point in points]
    return found


def _fingerprint(folders: list[str]) -> tuple[str, int]:
    """Describe the folders that packages are installed in, so that an install or removal changes it.

    Returns:
        The description; when the last one of the folders was changed, in nanoseconds since 1970.
    """
    lines = [sys.version.split()[0]]
    changed_at_ns = 0
    for i, folder in enumerate(folders):
        try:
            if i == 0:  # the program's own folder changes all the time; only packages in it count
                names = [name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info"))]
                lines += [f"{folder} {n} {os.stat(os.path.join(folder, n)).st_mtime_ns}" for n in sorted(names)]
            else:
                changed = os.stat(folder).st_mtime_ns
                lines.append(f"{folder} {changed}")
                changed_at_ns = max(changed_at_ns, changed)
        except OSError:
            continue
    return "\n".join(lines), changed_at_ns


def _contained(callback: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return callback(*arguments)
    except (Exception, SystemExit) as error:  # another package's code: contained, whatever it raises
        name = f"{getattr(callback, '__module__', '?')}.{getattr(callback, '__qualname__', callback)}"
        _report(f"the plugin hook {name} failed", error)
        return None


def _report(what: str, error: BaseException) -> None:
    try:
        reason = f"{type(error).__name__}: {error}"
    except Exception:  # its text is their code too
        reason = type(error).__name__
    try:
        print(f"pystematic: {what}: {reason}. The run goes on without it.", file=sys.stderr)
    except (OSError, ValueError):  # nobody listens any more
        pass
