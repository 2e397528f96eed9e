"""Libraries to compare with, installed beside the project's environment into cached folders."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def make_environment(cache_dir: Path, name: str, requirements: Sequence[str]) -> Path | None:
    """Install what a library needs into a folder of ``cache_dir``, once, and return it; None where it needs nothing.

    Args:
        cache_dir: the folder of all of them.
        name: that of the folder, before the version of Python.
        requirements: arguments for ``pip install``.
    """
    if not requirements:
        return None
    folder = cache_dir / f"{name}-python{sys.version_info[0]}.{sys.version_info[1]}"
    if not (folder / ".ready").exists():
        print(f"installing {name} into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-qq", "install", "--target", str(folder)]
        subprocess.run([*pip, *requirements], check=True, stdout=sys.stderr)
        (folder / ".ready").touch()
    return folder
