"""What is wrong with an output folder, and what can be done about it. Changes nothing unless a finding is repaired."""

from __future__ import annotations

import os

from pystematic import rundir
from pystematic._record import record
from pystematic.store._facts import DAMAGED
from pystematic.store._index import discard_index, index_file, open_table, table_of
from pystematic.store._reading import ENDED
from pystematic.store._run import Run
from pystematic.store._runs import run_directories
from pystematic.store._tidy import find_leftovers, remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


@record
class Finding:
    """Something that is wrong.

    Attributes:
        where: the path of the run, file or folder.
        what: in a sentence.
        advice: what repairing it does, or what a person can do.
        repair: mends it; None where we cannot. Raises OSError when it fails.
    """

    where: str
    what: str
    advice: str
    repair: Callable[[], None] | None = None


def examine(folder: str) -> Iterator[Finding]:
    """Yield all that is wrong below an output folder, the runs in the order of their paths, then the index."""
    folder = os.path.abspath(folder)
    yield from _leftovers(folder)
    if os.path.exists(rundir.RunDir(folder).run_file):
        yield from _examine_run(folder)
        return
    with os.scandir(folder) as entries:
        inner = sorted(entry.path for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for path in inner:
        if not os.path.exists(rundir.RunDir(path).run_file):
            yield from _leftovers(path)
    for directory in run_directories(folder):
        yield from _examine_run(directory)
    yield from _examine_index(folder)


def _leftovers(folder: str) -> Iterator[Finding]:
    for path in find_leftovers(folder):
        what = "was left behind by a process that was killed"
        yield Finding(path, what, "it is removed", lambda path=path: _remove(path))  # type: ignore[misc]


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        remove_tree(path)
    else:
        os.unlink(path)


def _examine_run(directory: str) -> Iterator[Finding]:
    run = Run(directory)
    status = run.status
    if status != "running":
        yield from _leftovers(directory)
    if status == DAMAGED:
        advice = "nothing can be done from here: its other files are as they were; remove it by hand if it is of no use"
        yield Finding(directory, f"{run.dir.run_file.name} cannot be read, so it is no run for any command", advice)
        return
    if status == "lost":
        advice = f"go on with it: --resume {run.id}, or remove it: pystematic rm {run.id}"
        yield Finding(directory, "it says that it runs, but its process is gone", advice)
    yield from _damaged_documents(run)
    if status == "running":
        return
    yield from _examine_checkpoints(run.dir)
    series = rundir.read_series(directory)
    if series.damaged_lines:
        lines = "1 line" if series.damaged_lines == 1 else f"{series.damaged_lines} lines"
        yield Finding(directory, f"{lines} of its series cannot be read", "all others are read; nothing is to be done")
    for name in series.unreadable_files:
        yield Finding(
            os.path.join(directory, name), "it cannot be read to its end", "check the disk, and who may read it"
        )
    summary = rundir.read_document(run.dir.summary_file)
    is_needed = bool(series.sizes) or run.dir.summary_file.exists()
    if is_needed and not (summary and rundir.is_current_summary(summary, directory) and _is_readable(summary)):
        what = f"{run.dir.summary_file.name} does not count all that the series hold"
        yield Finding(directory, what, "it is computed anew", lambda: rundir.rewrite_summary(directory))


def _examine_checkpoints(run_dir: rundir.RunDir) -> Iterator[Finding]:
    for left in rundir.find_leftover_checkpoints(run_dir):
        what = "is half a checkpoint, or one that is not listed: its writer was killed"
        yield Finding(left, what, "it is removed", lambda left=left: os.unlink(left))  # type: ignore[misc]
    if rundir.unlisted_checkpoints(run_dir):
        advice = "--resume takes the newest file that can be read; the next checkpoint makes it anew"
        yield Finding(str(run_dir.manifest_file), "the list of the checkpoints cannot be read", advice)
    for entry in rundir.read_manifest(run_dir):
        path = rundir.checkpoint_path(run_dir, entry)
        if rundir.is_whole(run_dir, entry):
            continue
        where, what = str(run_dir.manifest_file), f"it lists {entry.get('file')!r}, which is gone"
        advice = "it is taken off the list"
        if path is not None and os.path.exists(path):
            where, what = path, "its content is not what was written"
            advice += f", and put aside as {os.path.basename(path)}.damaged"
        yield Finding(where, what, advice, lambda entry=entry: _unlist(run_dir, entry))  # type: ignore[misc]


def _unlist(run_dir: rundir.RunDir, entry: dict[str, Any]) -> None:
    """Take a checkpoint that is not whole off the list, so that no resume needs to look at it."""
    rundir.write_manifest(run_dir, [other for other in rundir.read_manifest(run_dir) if other != entry])
    path = rundir.checkpoint_path(run_dir, entry)
    if path is not None and os.path.exists(path):
        os.replace(path, f"{path}.damaged")


def _is_readable(summary: dict[str, Any]) -> bool:
    try:
        rundir.parse_metrics(summary.get("metrics"))
    except ValueError:
        return False
    return True


def _damaged_documents(run: Run) -> Iterator[Finding]:
    for path in (run.dir.labels_file, run.dir.environment_file):
        if path.exists() and rundir.read_document(path) is None:
            is_labels = path == run.dir.labels_file
            advice = (
                f"it is put aside as {path.name}.damaged" if is_labels else "nothing can be done: it was captured then"
            )
            repair = (lambda path=path: os.replace(path, f"{path}.damaged")) if is_labels else None
            yield Finding(str(path), "it cannot be read", advice, repair)
    path = run.dir.parameters_file
    if not path.exists():
        yield Finding(str(path), "it is missing: the run has no parameters for any command", "restore it from a copy")
    elif not run.plain_params and path.stat().st_size > 0 and not _is_empty(path):
        yield Finding(str(path), "it cannot be read: the run has no parameters for any command", "mend it by hand")


def _is_empty(path: os.PathLike[str]) -> bool:
    """Tell whether a parameters.yaml holds no parameter, as that of an experiment without any."""
    with open(path, "rb") as file:
        return all(line.startswith(b"#") or not line.strip() or line.strip() == b"{}" for line in file)


def _examine_index(folder: str) -> Iterator[Finding]:
    path = index_file(folder)
    if not os.path.exists(path):
        return
    table = open_table(folder)
    ended = [row for row in table.rows if table.kind(row) == ENDED]
    truth = table_of(table.path(row) for row in ended)
    known, true = table.read_values(ended), truth.read_values(range(len(ended)))
    wrong = sum(one != other for one, other in zip(known, true, strict=True))
    if wrong:
        runs = "1 run was" if wrong == 1 else f"{wrong} runs were"
        what = f"{runs} edited in place, which the index has not seen yet"
        yield Finding(path, what, "it is removed; the next command makes it anew", lambda: discard_index(folder))
