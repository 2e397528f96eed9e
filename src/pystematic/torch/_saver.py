"""`Saver`: checkpoints of a run, written aside by a thread, whole or absent at any moment.

The loop is blocked for the copy of the state, and by a checkpoint before that is still being written. A file is
synced, renamed, and then listed in the manifest with its size and hash; only after that are older ones removed.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from pystematic import rundir
from pystematic.errors import ExperimentError
from pystematic.torch._checkpoint import is_run_state
from pystematic.torch._formats import PlainFormat, make_format, read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Saver:
    """Writes the checkpoints of one run, on its main rank.

    Args:
        run_dir: of the run.
        keep_last: how many of the newest stay.
        keep_best: how many of the best stay beside them.
        metric: tag and direction by which they are compared, None: they are not.
        warn: says something to the user.
        sync_series: called by the thread before a checkpoint is listed: what was recorded before it must be on disk,
            or a loss of power could leave a checkpoint that is ahead of the series.
    """

    def __init__(
        self,
        run_dir: rundir.RunDir,
        *,
        keep_last: int,
        keep_best: int,
        metric: tuple[str, str] | None,
        warn: Callable[[str], None],
        sync_series: Callable[[], None] | None = None,
    ) -> None:
        self._sync_series = sync_series
        self._run_dir = run_dir
        self._keep_last = max(1, keep_last)
        self._keep_best = keep_best
        self._metric = metric
        self._warn = warn
        self._format = make_format()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None
        os.makedirs(run_dir.checkpoints_dir, exist_ok=True)
        rundir.remove_leftovers(run_dir)

    def save(self, state: dict[str, Any], entry: dict[str, Any]) -> None:
        """Copy ``state`` and write it in the background.

        Args:
            state: plain values and tensors.
            entry: for the manifest: ``id``, ``step``, ``epoch`` and ``metric_value``.
        """
        self.wait()
        if isinstance(self._format, PlainFormat) and "torch" in sys.modules:  # the program has loaded it since
            self._format = make_format()
        try:
            copied = self._format.copy(state)
        except Exception as error:  # no memory for a copy, a state that cannot be saved: the training goes on
            self._say_failed(entry, error)
            return
        self._thread = threading.Thread(
            target=self._write, args=(copied, entry), name="pystematic-checkpoint", daemon=False
        )
        self._thread.start()

    def wait(self) -> None:
        """Wait until the checkpoint that was saved last is on disk or has failed."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def _write(self, state: dict[str, Any], entry: dict[str, Any]) -> None:
        left: list[str] = []
        try:
            name = self._new_name(entry["id"])
            path = os.path.join(self._run_dir.checkpoints_dir, name)
            temporary = f"{path}.{os.getpid()}.tmp"
            left = [temporary, path]
            with open(temporary, "wb") as file:
                hashing = _HashingFile(file)
                self._format.write(state, hashing)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(os.path.dirname(path))
            if self._sync_series is not None:
                self._sync_series()
            self._list({**entry, "file": name, "size": hashing.size, "sha256": hashing.hexdigest()})
            self._failure = None
        except Exception as error:  # a full disk, a state that torch refuses: the training goes on
            self._remove_unlisted(left)
            self._say_failed(entry, error)

    def _remove_unlisted(self, paths: list[str]) -> None:
        """Take away what a save that has failed has left; a full disk needs the room."""
        listed = {entry.get("file") for entry in rundir.read_manifest(self._run_dir)}
        for path in paths:
            if os.path.basename(path) not in listed:
                try:
                    os.unlink(path)
                except OSError:
                    continue

    def _new_name(self, id: str) -> str:
        """Return a name that no file has, nor had: an older one of this id stays until the new one is listed."""
        taken = set(os.listdir(self._run_dir.checkpoints_dir))
        taken.update(str(entry.get("file")) for entry in rundir.read_manifest(self._run_dir))
        names = itertools.chain([f"checkpoint-{id}"], (f"checkpoint-{id}.{count}" for count in itertools.count(2)))
        return next(name for stem in names if (name := stem + self._format.suffix) not in taken)

    def _say_failed(self, entry: dict[str, Any], error: Exception) -> None:
        """Say it once for all that fail of the same in a row: a full disk stays full."""
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        if reason != self._failure:
            self._failure = reason
            self._warn(
                f"the checkpoint {entry['id']} could not be saved: {reason}. The run goes on, and so do older "
                "checkpoints; further ones that fail of the same are not told of."
            )

    def _list(self, entry: dict[str, Any]) -> None:
        entries = rundir.read_manifest(self._run_dir)
        entries.append({**entry, "saved_at": rundir.format_time(time.time())})
        kept = self._kept([old for old in entries[:-1] if old.get("id") != entry["id"]] + entries[-1:])
        rundir.write_manifest(self._run_dir, kept)
        for old in entries:
            path = rundir.checkpoint_path(self._run_dir, old)
            if path is not None and not any(old is one for one in kept):
                try:
                    os.unlink(path)
                except OSError:
                    continue

    def _kept(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        keep = {id(entry) for entry in entries[-self._keep_last :]}
        if self._metric is not None and self._keep_best > 0:
            direction = self._metric[1]
            # NaN and infinity stand in the manifest as marks, and are worth nothing.
            rated = [entry for entry in entries if isinstance(entry.get("metric_value"), int | float)]
            rated = [entry for entry in rated if entry["metric_value"] - entry["metric_value"] == 0]
            rated.sort(key=lambda entry: entry["metric_value"], reverse=direction == "max")  # the earlier of equals
            keep.update(id(entry) for entry in rated[: self._keep_best])
        return [entry for entry in entries if id(entry) in keep]


class _HashingFile(io.RawIOBase):
    """A file that hashes and counts what is written through it."""

    def __init__(self, file: Any) -> None:
        import hashlib

        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._file.write(view)
        self._digest.update(view)
        self.size += view.nbytes
        return view.nbytes

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def sync_folder(path: str) -> None:
    """Put the names in a folder on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_state(path: str) -> dict[str, Any] | None:
    """Read a checkpoint of a run; None for a state that a program has saved, and loads, itself.

    What is returned says under ``file`` where it was read. Never executes code from the file.

    Raises:
        ExperimentError: there is no such file, or it is damaged.
    """
    try:
        state = read_state(path)
    except OSError as error:
        raise ExperimentError(f"the checkpoint {path!r} cannot be read: {error.strerror}.") from None
    return {**state, "file": os.path.abspath(path)} if is_run_state(state) else None


def newest_whole(run_dir: rundir.RunDir, warn: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return manifest entry and state of the newest checkpoint that is whole; says which ones are passed over."""
    unlisted = rundir.unlisted_checkpoints(run_dir)
    if unlisted:
        warn(f"the manifest of the checkpoints of {run_dir.id} is damaged; the newest file that can be read is taken.")
    for entry in reversed(unlisted or rundir.read_manifest(run_dir)):
        path = rundir.checkpoint_path(run_dir, entry)
        if path is None or not (unlisted or rundir.is_whole(run_dir, entry)):
            warn(f"the checkpoint {entry.get('file')!r} of {run_dir.id} is damaged or gone, and is passed over.")
            continue
        try:
            state = load_state(path)
        except ExperimentError as error:
            warn(f"{error} It is passed over.")
            continue
        if state is not None:
            return {"step": state.get("step"), **entry}, state
    return None


def newest_state(path: str, first: str | None = None) -> dict[str, Any] | None:
    """Return the state that the run in this directory goes on from, and say which; None: it begins anew.

    Args:
        path: of the run.
        first: the checkpoint that the run itself was started from.

    Raises:
        ExperimentError: the run has no whole checkpoint, and the first one cannot be read.
    """
    run_dir = rundir.RunDir(path)
    found = newest_whole(run_dir, lambda text: print(f"pystematic: {text}", file=sys.stderr))
    if found is None:
        which = "whole checkpoint" if run_dir.manifest_file.exists() else "checkpoint"
        print(f"Resuming {run_dir.id} from its beginning: it has no {which}.", file=sys.stderr)
        return None if first is None else load_state(first)
    entry, state = found
    print(f"Resuming {run_dir.id} from checkpoint {entry.get('id')}, step {entry.get('step')}.", file=sys.stderr)
    return state


def generator_states() -> Mapping[str, Any]:
    """Return the states of the global generators of random, NumPy and torch, as plain values and tensors."""
    import random

    version, internal, gauss = random.getstate()
    states: dict[str, Any] = {"random": [version, list(internal), gauss]}
    torch = sys.modules.get("torch")
    if torch is not None:
        states["torch"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        name, keys, position, has_gauss, cached = numpy.random.get_state()
        states["numpy"] = [name, keys.tolist(), int(position), int(has_gauss), float(cached)]
    return states


def restore_generators(states: Mapping[str, Any]) -> None:
    """Put the global generators back into the states that `generator_states` returned."""
    import random

    version, internal, gauss = states["random"]
    random.setstate((version, tuple(internal), gauss))
    if "torch" in states:
        import torch  # the program had it loaded

        torch.set_rng_state(states["torch"])
        if "cuda" in states and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"])
    if "numpy" in states:
        import numpy

        name, keys, position, has_gauss, cached = states["numpy"]
        numpy.random.set_state((name, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
