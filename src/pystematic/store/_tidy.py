"""Labelling and removing runs. The one part of the store that writes into run directories, and only when it is told."""

from __future__ import annotations

import os
import time

from pystematic import rundir
from pystematic.errors import UsageError
from pystematic.store._run import Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

# How a run's directory is called while it is removed, so that no reader takes a half of it for a run.
REMOVED_PREFIX = ".removed-"


def add_tags(run: Run, tags: Sequence[str]) -> None:
    """Give a run labels; those that it has stay once.

    Raises:
        UsageError: one is no label, or the run's folder cannot be written.
    """
    _check_tags(tags)
    given = run.tags
    later = _later_tags(run)
    _write(run, tags=[*later, *dict.fromkeys(tag for tag in tags if tag not in given)])


def replace_tags(run: Run, tags: Sequence[str]) -> None:
    """Give a run these labels in the place of all that it has; those given at its start stay.

    Raises:
        UsageError: one is no label, or the run's folder cannot be written.
    """
    _check_tags(tags)
    given = run.given_tags
    _write(run, tags=list(dict.fromkeys(tag for tag in tags if tag not in given)))


def _check_tags(tags: Sequence[str]) -> None:
    for tag in tags:
        if not tag.strip() or not tag.isprintable():
            raise UsageError(f"{tag!r} is no tag. A tag is a word or a line of text.")


def remove_tags(run: Run, tags: Sequence[str]) -> None:
    """Take labels from a run.

    Raises:
        UsageError: the run has no such label, or was given it when it was started, or its folder cannot be written.
    """
    later = _later_tags(run)
    for tag in tags:
        if tag in later:
            continue
        if tag in run.tags:
            raise UsageError(f"{tag!r} was given to {run.id} when it was started, and stays: it is a parameter.")
        has = f"It has {', '.join(map(repr, run.tags))}." if run.tags else "It has none."
        raise UsageError(f"{run.id} has no tag {tag!r}. {has}")
    _write(run, tags=[tag for tag in later if tag not in tags])


def set_note(run: Run, text: str) -> None:
    """Write a note to a run, in the place of the one before; an empty text removes it. One given at the start stays.

    Raises:
        UsageError: the run's folder cannot be written.
    """
    _write(run, note=text)


def _labels(run: Run) -> dict[str, Any]:
    return rundir.read_document(run.dir.labels_file) or {}


def _later_tags(run: Run) -> list[str]:
    tags = _labels(run).get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _write(run: Run, **fields: object) -> None:
    try:
        if run.dir.labels_file.exists() and rundir.read_document(run.dir.labels_file) is None:
            raise UsageError(
                f"the labels of {run.id} are damaged ({run.dir.labels_file}). Mend the file by hand, or put it aside: "
                "pystematic doctor --repair."
            )
        rundir.write_document(run.dir.labels_file, {"schema": 1, **_labels(run), **fields})
    except OSError as error:
        raise UsageError(
            f"the labels of {run.id} cannot be written: {error.strerror} ({run.dir.labels_file})."
        ) from None


def check_removable(run: Run, output_dir: str) -> None:
    """Refuse to remove what is no ended run of this folder.

    Raises:
        UsageError: it still runs, lies elsewhere, or is a link that leads elsewhere.
    """
    if run.status == "running":
        raise UsageError(f"{run.id} is still running on {run.document.get('host')}. Stop it first.")
    real, root = os.path.realpath(run.path), os.path.realpath(output_dir)
    depth = len(os.path.relpath(real, root).split(os.sep))
    is_inside = real != root and real.startswith(root.rstrip(os.sep) + os.sep) and depth <= 2
    if not is_inside or os.path.islink(run.path) or not os.path.lexists(run.dir.run_file):
        raise UsageError(
            f"{str(run.path)!r} is no run inside {output_dir!r}, and nothing else is removed. "
            "Name its folder: --output-dir."
        )


def remove_run(run: Run, output_dir: str) -> None:
    """Remove a run with all of its files.

    It is renamed first: whoever looks meanwhile finds the whole run or none, and `find_leftovers` finds the rest if
    that is interrupted.

    Raises:
        UsageError: see `check_removable`; or it cannot be removed.
    """
    check_removable(run, output_dir)
    aside = run.path.with_name(f"{REMOVED_PREFIX}{run.id}-{os.urandom(3).hex()}")
    try:
        os.rename(run.path, aside)
        remove_tree(str(aside))
    except OSError as error:
        raise UsageError(f"{run.id} cannot be removed: {error.strerror} ({error.filename}).") from None


def remove_tree(path: str) -> None:
    """Remove a folder and all in it; links are removed, and not followed.

    Raises:
        OSError: something cannot be removed.
    """
    import shutil

    shutil.rmtree(path)


# -- leftovers -------------------------------------------------------------------------------------------------------

# What is younger may still be in use.
LEFT_AFTER_S = 60.0


def find_leftovers(folder: str) -> list[str]:
    """Return what writers that were killed have left in a folder or run directory: unfinished files, half-removed runs.

    Args:
        folder: its own entries are looked at, and nothing below.
    """
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                is_left = entry.name.startswith(REMOVED_PREFIX) or _is_temporary(entry.name)
                if is_left and time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_AFTER_S:
                    found.append(entry.path)
    except OSError:
        pass
    return sorted(found)


def _is_temporary(name: str) -> bool:
    """Tell whether a name is one that `replace_file` makes."""
    stem, _, drawn = name.removesuffix(".tmp").rpartition(".")
    return name.endswith(".tmp") and bool(stem) and len(drawn) == 12 and set(drawn) <= set("0123456789abcdef")
