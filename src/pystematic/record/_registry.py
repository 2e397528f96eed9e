"""The backends that can be chosen by name. A further one is a module of its own and one line here."""

from __future__ import annotations

from pystematic._words import did_you_mean, english_list
from pystematic.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._backend import Backend

# By name the module, and the package that it needs, which is also the extra that installs it.
BACKENDS: dict[str, tuple[str, str | None]] = {
    "console": ("_console", None),
    "csv": ("_csv", None),
    "mlflow": ("_mlflow", "mlflow"),
    "tensorboard": ("_tensorboard", "tensorboard"),
    "wandb": ("_wandb", "wandb"),
}


def check_backends(names: Iterable[str], source: str) -> None:
    """Check that backends are known and their packages installed. Imports none of them.

    Args:
        names: of backends.
        source: who has chosen them, for the message.

    Raises:
        UsageError: one is not; all problems at once.
    """
    problems = []
    for name in names:
        if name not in BACKENDS:
            problems.append(
                f"unknown recorder {name!r} ({source}): expected {english_list(sorted(BACKENDS), 'or')}."
                f"{did_you_mean(name, BACKENDS)}"
            )
            continue
        package = BACKENDS[name][1]
        if package is not None and not _is_installed(package):
            problems.append(
                f"recorder {name!r} ({source}) needs the package {package}, which is not installed: "
                f"pip install 'pystematic[{package}]'"
            )
    if problems:
        raise UsageError(problems)


def _is_installed(package: str) -> bool:
    import importlib.util

    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # ValueError: it was put into sys.modules by hand
        return False
    # A folder of this name, as W&B makes one in the working directory, passes for a package without a file.
    return spec is not None and spec.origin is not None


def make_backend(name: str) -> Backend:
    """Return a new backend, whose package may be imported for it: to be called in the backend's thread."""
    import importlib

    backend: Backend = importlib.import_module(f"{__package__}.{BACKENDS[name][0]}").make_backend()
    return backend
