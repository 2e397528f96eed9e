"""Builders that the tests share: programs, real processes, git repositories, recorded runs.

Each takes what the test is about as an argument and has a default for the rest.
"""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pystematic.rundir import RunDir

# No process of a test may take longer; a machine under load needs much less.
PROCESS_LIMIT_S = 60.0

HELLO_PROGRAM = """
    import pystematic

    @pystematic.parameter(name="learning_rate", type=float, default=1e-3, help="Step size.")
    @pystematic.parameter(name="epochs", type=int, default=10, help="Passes over the data.")
    @pystematic.experiment
    def train(parameters, context):
        \"\"\"Say hello.\"\"\"
        print("hello", parameters["learning_rate"])

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def write_program(folder: Path, text: str = HELLO_PROGRAM, name: str = "prog.py") -> Path:
    """Write a program (its common indentation removed) and return its path."""
    path = folder / name
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return path


def run_python(
    *args: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    timeout_s: float = PROCESS_LIMIT_S,
) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with ``args`` in a real process; ``env`` is added to the variables of the test."""
    return subprocess.run(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )


def wait_until(condition: Callable[[], object], limit_s: float = PROCESS_LIMIT_S) -> None:
    """Return as soon as ``condition`` holds; fail when it still does not after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s"
        pause.wait(0.005)


def mount_command() -> list[str] | None:
    """Return what lets a command mount a file system that only it sees: as root, or as root of a user namespace.

    None where neither is allowed.
    """
    for command in (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"]):
        if shutil.which(command[0]):
            probe = subprocess.run([*command, "sh", "-c", "mount -t tmpfs none /tmp"], capture_output=True, check=False)
            if probe.returncode == 0:
                return command
    return None


def make_repository(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """Make ``folder`` a git repository with one commit of ``files`` (default: a README), and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (files or {"README.md": "A repository.\n"}).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    run_git(folder, "init", "--quiet", "--initial-branch", "main")
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--message", "first")
    return folder


def run_git(folder: Path, *args: str) -> str:
    """Run git in ``folder`` as a fixed author and return what it printed."""
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *author, *args], cwd=folder, capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=True
    ).stdout


def make_run(
    output_dir: Path,
    experiment: str = "train",
    *,
    status: str = "completed",
    params: Mapping[str, object] | None = None,
    started_at: datetime.datetime | None = None,
    **fields: object,
) -> RunDir:
    """Make a recorded run as an ended process of this machine would have left it; ``fields`` go into ``run.json``."""
    from pystematic import rundir

    began = started_at or datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    run_dir = rundir.create_run_dir(output_dir, experiment)
    plain = {name: rundir.encode(value) for name, value in (params or {}).items()}
    Path(run_dir.parameters_file).write_text(rundir.format_parameters(plain), encoding="utf-8")
    document: dict[str, object] = {
        "schema": 1,
        "id": run_dir.id,
        "experiment": experiment,
        "status": status,
        "started_at": began.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "ended_at": (began + datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "exit_code": 0 if status == "completed" else 1,
        "error": None,
        "host": "elsewhere",
        "pid": {"pid": 1, "start_time": 0, "boot_id": "none"},
        "argv": [],
        "sources": dict.fromkeys(plain, "default"),
        "parent": None,
        "code": None,
        "attempts": [],
    }
    rundir.write_document(run_dir.run_file, {**document, **fields})
    return run_dir
