"""Writing files so that a reader finds the old content or the new one, never half of it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEEPEST = 100  # levels; deeper or endless structures become text


def replace_file(path: str | os.PathLike[str], content: bytes, *, fsync: bool = False) -> None:
    """Put ``content`` in the place of ``path`` by a rename, which other machines see whole over NFS too.

    Args:
        path: the file; its folder exists.
        content: all of it.
        fsync: wait until it is on disk, file and name.

    Raises:
        OSError: it cannot be written; the old file stays and nothing is left behind.
    """
    # Drawn: threads, other machines and what a killed process of the same number has left must not be in the way.
    temporary = f"{os.fspath(path)}.{os.urandom(6).hex()}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            if fsync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    if fsync:
        sync_dir(os.path.dirname(os.fspath(path)) or ".")


def sync_dir(path: str) -> None:
    """Put the names of a folder on disk, where the platform can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot
        pass
    finally:
        os.close(descriptor)


def write_document(path: str | os.PathLike[str], document: Any, *, fsync: bool = False) -> None:
    """Write a JSON document atomically, as strict JSON; see `strict_json`.

    Raises:
        OSError: it cannot be written; the old document stays.
    """
    import json

    text = json.dumps(strict_json(document), indent=1, allow_nan=False, ensure_ascii=True)
    replace_file(path, text.encode("ascii") + b"\n", fsync=fsync)


def create_document(path: str | os.PathLike[str], document: Any) -> None:
    """Write a JSON document that nobody has written before; of several processes, on any machines, one succeeds.

    A reader finds all of it or nothing, where the file system has hard links.

    Raises:
        FileExistsError: the file is there.
        OSError: it cannot be written.
    """
    import json

    content = json.dumps(strict_json(document), indent=1, allow_nan=False).encode("ascii") + b"\n"
    temporary = f"{os.fspath(path)}.{os.urandom(6).hex()}.tmp"
    replace_file(temporary, content, fsync=True)
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except (OSError, AttributeError):  # no hard links there: for a moment a reader may find the file empty
        with open(path, "xb") as file:
            file.write(content)
    finally:
        os.unlink(temporary)


def read_document(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return a JSON document, or None when it is absent or damaged."""
    import json

    try:
        with open(path, "rb") as file:
            document = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def strict_json(value: Any, _depth: int = 0) -> Any:
    """Return ``value`` as what strict JSON can hold: texts as keys, numbers that are finite, text for anything odd."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 2000 else {"special": hex(value)}  # Python spells no longer ones
    if isinstance(value, float):
        return value if value - value == 0 else {"special": str(value)}
    if _depth < DEEPEST and isinstance(value, dict):
        return {_text(key): strict_json(item, _depth + 1) for key, item in value.items()}
    if _depth < DEEPEST and isinstance(value, list | tuple):
        return [strict_json(item, _depth + 1) for item in value]
    return _text(value)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # of another's object, whatever it raises; of one that is nested too deeply
        return f"<{type(value).__name__}>"
