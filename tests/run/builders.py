"""Builders for tests of one run: logs, requests, runs in this process, processes that are watched."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pystematic.resolve import Parameters
from pystematic.run import ActiveRun, Program, RunHooks, RunRequest, execute
from pystematic.run._log import LogFile
from pystematic.store import Run
from tests.builders import PROCESS_LIMIT_S

# What stands before the text of a line: "2026-01-02 03:04:05.678 ".
STAMP_LENGTH = 24


@contextlib.contextmanager
def open_log(path: Path, mask: Callable[[Sequence[str]], Sequence[str]] | None = None) -> Iterator[LogFile]:
    """Open a log, and close it at the end."""
    log = LogFile(path, mask)
    try:
        yield log
    finally:
        log.close()


def logged(path: Path) -> list[str]:
    """Return the lines of a log without their times."""
    return [line[STAMP_LENGTH:] for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def make_request(
    output_dir: Path,
    *,
    experiment: str = "train",
    argv: tuple[str, ...] = ("prog.py", "train"),
    code_file: str | None = None,
    notes: tuple[str, ...] = (),
    secrets: Mapping[str, object] | None = None,
    **parameters: object,
) -> RunRequest:
    """Make the request for a run; ``parameters`` stand beside those that every run has."""
    values: dict[str, Any] = {
        "output_dir": str(output_dir),
        "random_seed": 1,
        "seed_libraries": True,
        "deterministic": False,
        "capture": "sys",
        "debug": False,
        "pdb": False,
        **parameters,
        **(secrets or {}),
    }
    return RunRequest(
        experiment=experiment,
        parameters=Parameters(values, dict.fromkeys(values, "default"), secrets or ()),
        plain={name: value for name, value in values.items() if name not in (secrets or {})},
        secret_options=tuple(f"--{name.replace('_', '-')}" for name in secrets or ()),
        argv=argv,
        program=Program(file="prog.py", module=None, code_file=code_file),
        metric=None,
        parent=None,
        notes=notes,
    )


def make_hooks(
    before: Callable[[Parameters], None] = lambda parameters: None,
    after: Callable[[BaseException | None], None] = lambda error: None,
) -> RunHooks:
    return RunHooks(before=before, after=after)


def run_main(
    output_dir: Path,
    main: Callable[[ActiveRun], Any] = lambda active: None,
    *,
    hooks: RunHooks | None = None,
    **request: Any,
) -> Run:
    """Run a main function in this process; ``request`` is given to `make_request`."""
    return execute(make_request(output_dir, **request), main, hooks or make_hooks())


def only_run(output_dir: Path) -> Run:
    """Return the one run of a folder."""
    [path] = [path for path in output_dir.glob("*/*") if path.is_dir()]
    return Run(path)


class Started:
    """A Python process that is watched while it runs. What it prints is read line by line."""

    def __init__(self, *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, **options: Any) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *map(str, args)],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,
            **options,
        )

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.communicate()

    def wait_for(self, line: str) -> None:
        """Read its output up to a line; fails when it ends before. The time limit is that of the test."""
        assert self.popen.stdout is not None
        for found in self.popen.stdout:
            if found.rstrip("\n") == line:
                return
        raise AssertionError(f"it ended without {line!r}: {self.finish()}")

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def finish(self) -> tuple[int, str, str]:
        """Wait for its end; return the exit code as a shell sees it, and the rest of what it printed."""
        out, err = self.popen.communicate(timeout=PROCESS_LIMIT_S)
        code = self.popen.returncode
        return (128 - code if code < 0 else code), out, err
