"""Files and folders of a run: hashed, and copied or linked into its directory, or only hashed where they lie."""

from __future__ import annotations

import errno
import os
import pathlib
import shutil
import stat

from pystematic import rundir

from ._items import remove_quietly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from ._items import Place

_BLOCK = 1 << 20
# Files of a folder whose own hashes stand in the line.
LISTED_LIMIT = 100


class Artifact:
    """A file or folder that becomes part of the run: copied into it, or linked with ``link``.

    What lies in the run directory already stays where it is.
    """

    kind = "artifact"
    size_bytes = 1000

    def __init__(self, path: str | os.PathLike[str], link: bool) -> None:
        self._path = _found(path)
        self._link = link
        self._state = _state(self._path)

    def store(self, place: Place) -> dict[str, Any]:
        path = self._path
        own = os.path.realpath(place.folder)
        if _is_in(own, path):
            raise ValueError(f"{path} holds the run directory itself")
        if _is_in(path, own):
            place.file = pathlib.Path(place.folder, os.path.relpath(path, own))
            fields = describe(path, place.on_progress)
        else:
            fields = self._take(place, os.path.isdir(path))
        if _state(path) != self._state:
            fields["changed"] = True  # while it was waiting or copied; the hash is that of what was kept
        return {**fields, "original": path}

    def _take(self, place: Place, is_folder: bool) -> dict[str, Any]:
        target = os.fspath(rundir.create_artifact(place.folder, place.tag, is_folder=is_folder))
        try:
            how = _link(self._path, target, is_folder) if self._link else None
            if how is not None:
                fields = {**describe(self._path, place.on_progress), "link": how}
            elif is_folder:
                fields = _copy_folder(self._path, target, place.on_progress)
            else:
                fields = _copy_file(self._path, target, place.on_progress)
        except BaseException:
            _remove_tree(target)
            raise
        place.file = pathlib.Path(target)
        return fields


class Dataset:
    """A file or folder that the run has used: its hash is recorded, nothing is copied."""

    kind = "dataset"
    size_bytes = 1000

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = _found(path)

    def store(self, place: Place) -> dict[str, Any]:
        return {**describe(self._path, place.on_progress), "original": self._path}


def _found(path: str | os.PathLike[str]) -> str:
    found = os.path.realpath(os.fspath(path))  # the program may change its working directory
    os.stat(found)  # one that is not there is said at once
    return found


def _state(path: str) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, None if stat.S_ISDIR(found.st_mode) else found.st_size)


def _is_in(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or lies in it; both are real paths."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _link(path: str, target: str, is_folder: bool) -> str | None:
    """Put a link in the place of ``target``; return its kind, None where no link can be made."""
    if is_folder:
        os.rmdir(target)
    else:
        os.unlink(target)
        try:
            os.link(path, target)
            return "hard"
        except OSError:  # another file system, or one without links
            pass
    try:
        os.symlink(path, target, target_is_directory=is_folder)
        return "symbolic"
    except OSError:
        if is_folder:
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        return None


def describe(path: str, on_progress: Callable[[], None]) -> dict[str, Any]:
    """Return hash and size of a file or folder.

    Raises:
        OSError: it cannot be read.
    """
    if not os.path.isdir(path):
        sha256, size = _hash_file(path, on_progress)
        return {"sha256": sha256, "size_bytes": size}
    hashed = [(name, *_hash_file(os.path.join(path, name), on_progress)) for name in _files_of(path)]
    return _describe_folder(hashed)


def _describe_folder(hashed: list[tuple[str, str, int]]) -> dict[str, Any]:
    import hashlib

    # As `sha256sum` prints it for the files in the order of their names, so that it can be checked by hand.
    listing = "".join(f"{sha256}  {name}\n" for name, sha256, _ in hashed)
    fields: dict[str, Any] = {
        "sha256": hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest(),
        "size_bytes": sum(size for _, _, size in hashed),
        "files": len(hashed),
    }
    if len(hashed) <= LISTED_LIMIT:
        fields["listing"] = [
            {"name": name.encode("utf-8", "backslashreplace").decode(), "sha256": sha256, "size_bytes": size}
            for name, sha256, size in hashed
        ]
    return fields


def _files_of(folder: str) -> Iterator[str]:
    """Yield the files of a folder, in the order of their names with ``/``; links to folders are not followed."""
    found: list[str] = []
    for root, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = os.path.join(root, name)
            if os.path.isfile(path):  # neither a pipe nor a device, that could be read for ever
                found.append(os.path.relpath(path, folder).replace(os.sep, "/"))
    yield from sorted(found, key=os.fsencode)


def _raise(error: OSError) -> None:
    raise error


def _hash_file(path: str, on_progress: Callable[[], None], target: Any = None) -> tuple[str, int]:
    """Return hash and size of a file, and copy what is hashed into ``target`` where one is given."""
    import hashlib

    if not os.path.isfile(path):
        raise OSError(errno.EINVAL, "it is neither a file nor a folder", path)
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            size += len(block)
            if target is not None:
                target.write(block)
            on_progress()
    return digest.hexdigest(), size


def _copy_file(path: str, target: str, on_progress: Callable[[], None]) -> dict[str, Any]:
    with open(target, "wb") as copy:
        sha256, size = _hash_file(path, on_progress, copy)
        copy.flush()
        os.fsync(copy.fileno())
    shutil.copymode(path, target)
    return {"sha256": sha256, "size_bytes": size}


def _copy_folder(path: str, target: str, on_progress: Callable[[], None]) -> dict[str, Any]:
    hashed = []
    for name in _files_of(path):
        copy = os.path.join(target, *name.split("/"))
        os.makedirs(os.path.dirname(copy), exist_ok=True)
        fields = _copy_file(os.path.join(path, *name.split("/")), copy, on_progress)
        hashed.append((name, fields["sha256"], fields["size_bytes"]))
    return _describe_folder(hashed)


def _remove_tree(target: str) -> None:
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target, ignore_errors=True)
    else:
        remove_quietly(target)
