"""Builders for the tests of the command lines: how a call ended, a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pystematic import global_entrypoint
from pystematic.cli import main
from tests.builders import PROCESS_LIMIT_S


@dataclass(frozen=True)
class Ended:
    """How a command line ended: its exit code, what it printed, what it returned."""

    code: object
    out: str
    err: str
    value: Any = None


def end_of(capsys: pytest.CaptureFixture[str], call: Callable[..., Any], *args: Any, **kwargs: Any) -> Ended:
    """Call something that may exit, and tell how it ended."""
    capsys.readouterr()
    try:
        value = call(*args, **kwargs)
        code: object = 0
    except SystemExit as ended:
        value, code = None, ended.code
    printed = capsys.readouterr()
    return Ended(code, printed.out, printed.err, value)


def pystematic(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Ended:
    """Call the command ``pystematic`` in this process."""
    return end_of(capsys, main, [str(word) for word in words])


def program(capsys: pytest.CaptureFixture[str], *words: str | Path) -> Ended:
    """Call the command line of all experiments that the test has defined, as `global_entrypoint` does."""
    return end_of(capsys, global_entrypoint, [str(word) for word in words])


def run_on_terminal(
    columns: int, *args: str | Path, cwd: Path | None = None, env: Mapping[str, str | None] | None = None
) -> tuple[int, str]:
    """Run this interpreter with ``args`` on a terminal of this width; return the exit code and the screen's text.

    A variable of ``env`` that is None is removed.
    """
    changed = {**os.environ, **(env or {})}
    variables = {name: value for name, value in changed.items() if value is not None}
    master, slave = pty.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, *map(str, args)], cwd=cwd, env=variables, stdin=slave, stdout=slave, stderr=slave
        )
    finally:
        os.close(slave)
    parts = []
    with open(master, "rb", buffering=0) as screen:
        while True:
            try:
                part = screen.read(1 << 16)
            except OSError:  # how Linux says that nobody has the other end open any more
                break
            if not part:
                break
            parts.append(part)
    return process.wait(PROCESS_LIMIT_S), b"".join(parts).decode("utf-8").replace("\r\n", "\n")
