"""Builders for tests of whole programs: on a terminal, in a mount of their own, and their one run."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import PROCESS_LIMIT_S

# Where a mount is possible without touching the machine: as root, or as the root of a user namespace of our own.
NAMESPACES = (["unshare", "--mount"], ["unshare", "--user", "--map-root-user", "--mount"])


def run_on_terminal(
    *args: str | Path, cwd: Path, env: Mapping[str, str] | None = None, columns: int = 77
) -> tuple[int, bytes]:
    """Run this interpreter on a terminal of its own; return its exit code and what the terminal got."""
    controller, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 25, columns, 0, 0))
    with subprocess.Popen(
        [sys.executable, *map(str, args)],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        parts = []
        while True:
            try:
                part = os.read(controller, 65536)
            except OSError:  # how Linux says that nobody holds the other end any more
                break
            if not part:
                break
            parts.append(part)
        code = process.wait(PROCESS_LIMIT_S)
    os.close(controller)
    return code, b"".join(parts)


def run_on_small_disk(script: str, *, cwd: Path, size_kib: int) -> subprocess.CompletedProcess[str]:
    """Run a shell script with a disk of its own, of that size, mounted at ``disk``; skips where nobody may mount."""
    (cwd / "disk").mkdir()
    for command in NAMESPACES:
        if shutil.which(command[0]) is None:
            break
        probe = [*command, "sh", "-c", "mount -t tmpfs none disk"]
        if subprocess.run(probe, cwd=cwd, capture_output=True, timeout=PROCESS_LIMIT_S, check=False).returncode == 0:
            return subprocess.run(
                [*command, "sh", "-c", f"mount -t tmpfs -o size={size_kib}k none disk; {script}"],
                cwd=cwd,
                capture_output=True,
                text=True,
                timeout=PROCESS_LIMIT_S,
                check=False,
            )
    pytest.skip("a mount of one's own needs root or user namespaces")
