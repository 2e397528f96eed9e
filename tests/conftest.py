"""Keeps each test to itself: a folder, caches and variables of its own before it, and a look for leaks after it.

Knows nothing of pystematic, so that it holds for every package's tests alike.
"""

from __future__ import annotations

import logging
import multiprocessing.resource_tracker
import os
import signal
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent

# A fixed set of examples would hide bugs from CI, a deadline would make a busy machine fail; found examples are not
# kept, as nothing is written outside the tests' own folders.
hypothesis.settings.register_profile("project", deadline=None, database=None)
hypothesis.settings.load_profile("project")

# How long threads and children that are already on their way out may take.
GRACE_S = 2.0

# pytest's own, and what libraries set at their import.
IGNORED_VARIABLE_PREFIXES = ("PYTEST_", "COV_CORE_", "KMP_", "TORCHINDUCTOR_", "TORCH_")

# Variables of the developer's shell, of CI, or of a launcher that the tests must not depend on.
REMOVED_VARIABLES = (
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLUMNS",
    "FORCE_COLOR",
    "LINES",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "NNODES",
    "NODE_RANK",
    "NO_COLOR",
    "NPROC_PER_NODE",
    "RANK",
    "WORLD_SIZE",
)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(IGNORED_VARIABLE_PREFIXES)}


def _signal_handlers() -> dict[str, Any]:
    # SIGALRM belongs to pytest-timeout.
    return {
        signal.Signals(number).name: signal.getsignal(number)
        for number in sorted(signal.valid_signals() & set(signal.Signals))
        if number != getattr(signal, "SIGALRM", None)
    }


def _children() -> set[int]:
    own = {getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)}  # lives until we end
    return {child.pid for child in psutil.Process().children()} - own


def _process_state() -> dict[str, object]:
    """Return what a test must leave as it found it, each under the words of the failure's message."""
    root = logging.getLogger()
    return {
        "environment variables": _variables(),
        "working directory": str(Path.cwd()),
        "handlers of the root logger": [h for h in root.handlers if not type(h).__module__.startswith("_pytest")],
        "level of the root logger": root.level,
        "logging.disable": logging.root.manager.disable,
        "signal handlers": _signal_handlers(),
        "sys.excepthook": sys.excepthook,
        "sys.displayhook": sys.displayhook,
        "threading.excepthook": threading.excepthook,
        "sys.argv": list(sys.argv),
        "sys.path": list(sys.path),
        "sys.meta_path": list(sys.meta_path),
        "files of the project's folder": sorted(name for name in os.listdir(ROOT) if not name.startswith((".", "__"))),
    }


def _difference(before: object, after: object) -> str:
    if isinstance(before, dict) and isinstance(after, dict):
        names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        return "; ".join(f"{name}: {before.get(name)!r} -> {after.get(name)!r}" for name in sorted(names))
    if isinstance(before, list) and isinstance(after, list):
        gone, new = [x for x in before if x not in after], [x for x in after if x not in before]
        return f"gone: {gone!r}, new: {new!r}" if gone or new else f"{before!r} -> {after!r}"
    return f"{before!r} -> {after!r}"


@pytest.fixture(autouse=True)
def working_dir(tmp_path: Path) -> Iterator[Path]:
    """Start the test in an empty folder, with empty caches and without the shell's settings; return the folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    # Not the fixture monkeypatch: that one is undone before the look for leaks, and would hide some.
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in [name for name in os.environ if name.startswith(("PYSTEMATIC_", "SLURM_"))]:
            patch.delenv(name)
        for name in REMOVED_VARIABLES:
            patch.delenv(name, raising=False)
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path / name.lower()))
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield folder


@pytest.fixture(autouse=True)
def _fails_on_leaks(working_dir: Path) -> Iterator[None]:
    before, threads, children = _process_state(), set(threading.enumerate()), _children()
    yield
    leaks = []
    after = _process_state()
    for what, value in before.items():
        if after[what] != value:
            leaks.append(f"{what}: {_difference(value, after[what])}")

    deadline = time.monotonic() + GRACE_S
    for thread in set(threading.enumerate()) - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            leaks.append(f"thread {thread.name!r} is still alive")
    # An ended child that nobody has waited for is a leak too, and stays in the process table.
    gone, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in _children() - children if psutil.pid_exists(pid)],
        timeout=max(0.0, deadline - time.monotonic()),
    )
    leaks.extend(f"child process {child.pid} was never waited for" for child in gone)
    for child in alive:
        leaks.append(f"child process {child.pid} is still alive")
        child.kill()
        child.wait(GRACE_S)
    if leaks:
        pytest.fail("the test leaked:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Fail on a replaced stream; seen only here, as pytest sets its own streams anew between the phases of a test."""
    before = (sys.stdin, sys.stdout, sys.stderr)
    result = yield
    for name, stream in zip(("stdin", "stdout", "stderr"), before, strict=True):
        left = getattr(sys, name)
        setattr(sys, name, stream)
        if left is not stream:
            pytest.fail(f"the test leaked:\n  sys.{name}: {stream!r} -> {left!r}", pytrace=False)
    return result
