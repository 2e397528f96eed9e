"""The user's cache folder: what stands there can be thrown away at any time, and nothing fails without it."""

from __future__ import annotations

import os
import sys


def cache_dir() -> str:
    """Return the folder of pystematic's caches, by the customs of the platform. It need not exist.

    Where the user has no home (in some containers) the path is not absolute, and nothing is read or written there.
    """
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # https://specifications.freedesktop.org/basedir-spec says to ignore such a one
            base = os.path.expanduser("~/.cache")
    return os.path.join(base, "pystematic")


def cached_file(kind: str, key: str, suffix: str) -> str:
    """Return the path of the cache file for ``key``, such as ``plugins-1a2b3c4d.txt``."""
    import zlib  # a checksum that costs nothing to import; the content names its key, so a collision only costs time

    return os.path.join(cache_dir(), f"{kind}-{zlib.crc32(os.fsencode(key)):08x}{suffix}")


def read_cache(path: str) -> str | None:
    """Return the text of a cache file, or None when there is none or it cannot be read."""
    if not os.path.isabs(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return None


def write_cache(path: str, text: str) -> None:
    """Replace a cache file; a cache that cannot be written is not written."""
    if not os.path.isabs(path):  # never a folder named "~" in the working directory
        return
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except (OSError, ValueError):
        try:
            os.unlink(temporary)
        except OSError:
            pass
