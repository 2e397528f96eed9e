"""The folder `checkpoints/` of a run: its manifest, which lists whole files only, and the parts that a resume cuts off.

A checkpoint is written aside, synced, renamed, and then listed; a file that is not listed is not there.
"""

from __future__ import annotations

import os

from pystematic.rundir._files import read_document, replace_file, strict_json, sync_dir, write_document
from pystematic.rundir._layout import RunDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

SCHEMA = 1
TEMPORARY = ".tmp"


def read_manifest(run_dir: RunDir) -> list[dict[str, Any]]:
    """Return the entries of the manifest, oldest first: ``id``, ``file``, ``size``, ``sha256``, ``step`` and so on."""
    return _listed(run_dir) or []


def _listed(run_dir: RunDir) -> list[dict[str, Any]] | None:
    """Return the entries, None where the manifest is absent or is none any more."""
    entries = (read_document(run_dir.manifest_file) or {}).get("checkpoints")
    if not isinstance(entries, list):
        return None
    known = [entry for entry in entries if isinstance(entry, dict) and "file" in entry]
    return known if len(known) == len(entries) else None


def write_manifest(run_dir: RunDir, entries: Iterable[Mapping[str, Any]]) -> None:
    """Replace the manifest, and wait until it is on disk.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    document = {"schema": SCHEMA, "checkpoints": [strict_json(dict(entry)) for entry in entries]}
    write_document(run_dir.manifest_file, document, fsync=True)


def unlisted_checkpoints(run_dir: RunDir) -> list[dict[str, Any]]:
    """Return entries for the files of a folder whose manifest is damaged, oldest first; empty where it is not."""
    if not run_dir.manifest_file.exists() or _listed(run_dir) is not None:
        return []
    entries = []
    for path in sorted(run_dir.checkpoints_dir.iterdir(), key=lambda path: (path.stat().st_mtime_ns, path.name)):
        if _is_ours(path.name) and not path.name.endswith(TEMPORARY):
            entries.append({"id": path.stem.removeprefix("checkpoint-"), "file": path.name})
    return entries


def is_whole(run_dir: RunDir, entry: Mapping[str, Any]) -> bool:
    """Tell whether the file of a manifest entry has the size and the hash that were written."""
    path = checkpoint_path(run_dir, entry)
    try:
        if path is None or os.stat(path).st_size != entry.get("size"):
            return False
        return file_sha256(path) == entry.get("sha256")
    except OSError:
        return False


def checkpoint_path(run_dir: RunDir, entry: Mapping[str, Any]) -> str | None:
    """Return the file of a manifest entry, None for a name that leads out of the folder."""
    name = entry.get("file")
    if not isinstance(name, str) or os.path.basename(name) != name or name in ("", ".", ".."):
        return None
    return os.path.join(run_dir.checkpoints_dir, name)


def run_of_checkpoint(path: str | os.PathLike[str]) -> RunDir | None:
    """Return the run in whose folder a checkpoint lies, as ours do and as those of pystematic-torch 1.x did."""
    folder = os.path.dirname(os.path.abspath(path))
    for candidate in (os.path.dirname(folder), folder):
        run_dir = RunDir(candidate)
        if run_dir.run_file.is_file():
            return run_dir
    return None


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file's content."""
    import hashlib

    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def remove_leftovers(run_dir: RunDir) -> None:
    """Remove what writers that have died left in the folder; none may be alive."""
    for path in find_leftover_checkpoints(run_dir):
        try:
            os.unlink(path)
        except OSError:
            continue


def find_leftover_checkpoints(run_dir: RunDir) -> list[str]:
    """Return the files of the folder that are ours and not whole, or that no manifest lists, in order."""
    # What a damaged manifest has listed is all that is left of the run; only half-written files are surely none of it.
    is_known = _listed(run_dir) is not None or not run_dir.manifest_file.exists()
    listed = {entry.get("file") for entry in read_manifest(run_dir)}
    folder = run_dir.checkpoints_dir
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    found = []
    for name in sorted(names):
        is_half = name.endswith(TEMPORARY)
        is_unlisted = is_known and name.endswith((".pt", ".json")) and name not in listed and _is_ours(name)
        if is_half or is_unlisted:
            found.append(os.path.join(folder, name))
    return found


def _is_ours(name: str) -> bool:
    return name.startswith("checkpoint-")


def cut_series(run_dir: RunDir, offsets: Mapping[str, int], attempt: int) -> int:
    """Move what was recorded after a checkpoint into files of its own; return how many bytes that were.

    Args:
        run_dir: of the run; none of its processes is alive.
        offsets: bytes of each metrics file that the checkpoint knows.
        attempt: the number of the attempt that goes on, part of the names of the new files.
    """
    moved = 0
    for path in run_dir.metrics_files():
        keep = int(offsets.get(path.name, 0))
        size = path.stat().st_size
        if size <= keep:
            continue
        aside = run_dir.cut_file_of(path, attempt)
        moved += size - keep
        if keep == 0:
            os.replace(path, aside)
            continue
        with open(path, "rb+") as file:
            file.seek(keep)
            # Written and synced before anything is taken away: killed in between, the part is there twice, not lost.
            replace_file(aside, file.read(), fsync=True)
            file.truncate(keep)
            os.fsync(file.fileno())
    sync_dir(os.fspath(run_dir.path))
    return moved
