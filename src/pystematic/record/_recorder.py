"""`Recorder`: what the program calls. Appends to a buffer and returns; never waits, never raises for a bad value."""

from __future__ import annotations

import functools
import math
import os
import sys
import time
import weakref

from pystematic import rundir
from pystematic._words import english_list, short
from pystematic.errors import ExperimentError, RunDirectoryError

from ._numbers import UNCHANGING, WeightChange, read_number, read_step, read_tag, snapshot
from ._rundir import RunDirBackend
from ._thread import FIELDS, RecorderThread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ._backend import Backend, RunFacts
    from ._feed import Feed
    from ._items import Snapshot


_BACKEND_NAMES = ("name", "dropped", "start", "write", "write_item", "flush", "close", "add_dropped", "for_child")

# Scalars in the buffer above which recording is slowed down until the thread has caught up.
BUFFER_LIMIT = 100_000
_now = time.time
_recorders: weakref.WeakSet[Recorder] = weakref.WeakSet()


class Recorder:
    """Records numbers over the steps of a run into ``output_dir/metrics.jsonl``, pictures and files beside it.

    A call appends to a buffer in memory, and a thread writes at least every half second: recording never waits for a
    disk or a device, and never ends the program. What cannot be recorded is said once. May be used from several
    threads, and in forked children, each of which writes a file of its own.

        recorder = pystematic.Recorder("output/mine")
        recorder.scalar("train/loss", loss)
        recorder.step()

    Args:
        output_dir: the folder; made if it is missing. Inside a run it may be left out: what is recorded then goes where
            that of ``context.recorder`` goes, with a step of its own.
        tensorboard: add the backend tensorboard, as in pystematic-torch 1.x.
        file: add the backend csv.
        console: add the backend console.
        rank: of this process among those that record into the folder; each rank has its own file.
        world_size: how many ranks record into the folder.
        run: what further backends are told; made from the folder's name when None.
        mask: takes secrets out of the texts, tables and parameters that are recorded.

    Raises:
        RunDirectoryError: the folder cannot be made.
        ExperimentError: no folder is given, and no experiment is running.
    """

    def __init__(
        self,
        output_dir: str | os.PathLike[str] | None = None,
        tensorboard: bool = False,
        file: bool = False,
        console: bool = False,
        *,
        rank: int = 0,
        world_size: int = 1,
        run: RunFacts | None = None,
        mask: Callable[[Any], Any] | None = None,
    ) -> None:
        self._count = 0  # `count` without the cost of a property
        # Negative: the next call takes the slow way. So the fast one needs no check of its own for the first call, a
        # fork, the end, and silence.
        self._limit = -1
        self._is_silent = False
        self._weight: float | None = None
        self._is_repeated = False
        self._marked_weight: float | None = None  # what the last mark in the buffer says
        self._owner: Recorder | None = None  # whose thread and files this one uses
        self._sharers: list[Recorder] = []  # the other way round
        if output_dir is None:
            self._share(_recorder_of_run())
        else:
            self._open(output_dir, rank, world_size, run, mask)
        _recorders.add(self)
        for name, is_wanted in (("tensorboard", tensorboard), ("csv", file), ("console", console)):
            if is_wanted and name not in (self._owner or self)._added:
                self.add_backend(name)

    def _open(
        self,
        output_dir: str | os.PathLike[str],
        rank: int,
        world_size: int,
        run: RunFacts | None,
        mask: Callable[[Any], Any] | None,
    ) -> None:
        folder = os.path.abspath(os.fspath(output_dir))  # the program may change its working directory
        try:
            os.makedirs(folder, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise RunDirectoryError(
                f"{os.fspath(output_dir)!r} cannot be used to record into: {reason}. Choose another folder."
            ) from None
        self._reduces: dict[str, str] = {}
        self._buffer: list[Any] = []
        self._extend = self._buffer.extend
        self._folder = folder
        self._rank = rank
        self._world_size = world_size
        self._run = run
        self._feed: Feed | None = None
        self._added: set[str] = set()  # names of further backends
        backends: list[Backend] = [RunDirBackend(folder, rank=rank, world_size=world_size, reduces=self._reduces)]
        self._thread = RecorderThread(self._buffer, backends, folder, mask)
        # Closes at the interpreter's end, and when the program forgets a recorder. It must not hold the recorder.
        weakref.finalize(self, self._thread.close)

    def _share(self, owner: Recorder) -> None:
        """Use the thread of another recorder: two that write into one file would not know of each other's numbers."""
        self._owner = owner
        self._reduces = owner._reduces
        self._buffer = owner._buffer
        self._extend = owner._extend
        self._thread = owner._thread
        owner._sharers.append(self)

    def scalar(self, tag: str, value: Any, step: int | None = None, reduce: str = "mean") -> None:
        """Record one number.

        Args:
            tag: any text; its parts are best separated by ``/``.
            value: a number of Python, numpy or torch, or a tensor of one element. It is read later; what changes
                it after the call does not change the record.
            step: the number of the step, ``count`` if not given. Steps may come in any order.
            reduce: how the values of several ranks become one: mean, sum, min, max, none.
        """
        if value.__class__ not in UNCHANGING:
            value = snapshot(value)
        if step is None:
            step = self._count
        if step.__class__ is not int:
            step = snapshot(step)
        if reduce != "mean":
            self._keep_reduce(tag, reduce)
        if len(self._buffer) > self._limit and not self._make_room(1):
            return
        # One call for all four: the thread must never find half of them.
        self._extend((tag, step, _now(), value))

    def scalars(self, values: Mapping[str, Any], step: int | None = None, reduce: str = "mean") -> None:
        """Record several numbers of one step, ``{tag: value}``."""
        if not hasattr(values, "items"):
            self._thread.say_once(
                "scalars",
                f"recorder.scalars({short(values)}): expected a dict, {{tag: value}}. It is left out; the run goes on.",
            )
            return
        if step is None:
            step = self._count
        if step.__class__ is not int:
            step = snapshot(step)
        if reduce != "mean":
            for tag in values:
                self._keep_reduce(tag, reduce)
        if len(self._buffer) > self._limit and not self._make_room(len(values)):
            return
        now = _now()
        flat: list[Any] = []
        for tag, value in values.items():
            flat += (tag, step, now, value if value.__class__ in UNCHANGING else snapshot(value))
        self._extend(flat)

    @property
    def count(self) -> int:
        """The step of what is recorded without ``step=``; may be set."""
        return self._count

    @count.setter
    def count(self, value: int) -> None:
        try:
            count: Any = read_step(value)
        except Exception:  # of the caller's object too, whatever it raises
            raise ValueError(f"recorder.count = {short(value)}: expected the number of a step") from None
        self._count = count

    @property
    def weight(self) -> float | None:
        """How many samples the current step has on this rank: what is recorded counts so much among other ranks.

        None, where all ranks count alike; 0 while `is_repeated`, whatever it was set to.
        """
        if self._owner is not None:
            return self._owner.weight
        return 0 if self._is_repeated else self._weight

    @weight.setter
    def weight(self, value: float | None) -> None:
        if self._owner is not None:
            self._owner.weight = value
            return
        if value is not None and hasattr(value, "item"):  # of numpy and torch
            value = read_number(value)
        if value is not None:
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"recorder.weight = {value!r}: expected a number of samples, or None")
            value = int(value) if isinstance(value, int) else float(value)
        self._weight = value
        self._follow_weight()

    @property
    def is_repeated(self) -> bool:
        """Whether what is recorded now is of samples that another rank records too; set by a loader of ours."""
        return self._is_repeated if self._owner is None else self._owner.is_repeated

    @is_repeated.setter
    def is_repeated(self, value: bool) -> None:
        if self._owner is not None:
            self._owner.is_repeated = value
            return
        self._is_repeated = value
        self._follow_weight()

    def _follow_weight(self) -> None:
        if self.weight == self._marked_weight:
            return
        if len(self._buffer) <= self._limit:
            self._mark_weight()
        else:  # a mark in a full buffer could make it grow without end: the next number is preceded by one
            for recorder in (self, *self._sharers):
                recorder._limit = -1

    def _mark_weight(self) -> None:
        self._marked_weight = self.weight
        self._extend((WeightChange(self._marked_weight), 0, 0.0, 0))

    def step(self) -> None:
        """Go on to the next step."""
        self._count += 1

    def image(self, tag: str, image: Any, step: int | None = None) -> None:
        """Record an image of PIL, an array or a tensor: height x width, with up to four channels first or last.

        Integers are 0 to 255, floats 0 to 1. It is copied now and encoded later, as is all that follows here.
        """
        from ._pictures import Image  # as most programs record numbers only, and start without the rest

        self._put_item("image", tag, step, lambda: Image(image))

    def figure(self, tag: str, figure: Any, step: int | None = None) -> None:
        """Record a figure of matplotlib or plotly, which may be changed and closed afterwards."""
        from ._pictures import Figure

        self._put_item("figure", tag, step, lambda: Figure(figure))

    def histogram(self, tag: str, values: Any, step: int | None = None, bins: int = 64) -> None:
        """Record how often values lie where; those that are not finite are counted apart."""
        from ._items import Histogram

        self._put_item("histogram", tag, step, lambda: Histogram(values, bins))

    def text(self, tag: str, text: str, step: int | None = None) -> None:
        """Record a text."""
        from ._items import Text

        self._put_item("text", tag, step, lambda: Text(text))

    def table(self, tag: str, rows: Any, step: int | None = None) -> None:
        """Record a table: a list of dicts, a dict of columns, or a frame of pandas or polars."""
        from ._items import Table

        self._put_item("table", tag, step, lambda: Table(rows))

    def artifact(self, path: str | os.PathLike[str], name: str | None = None, link: bool = False) -> None:
        """Make a file or folder a part of the run: it is hashed, and copied into ``artifacts/``, or linked.

        The copy is made after the call; `flush` waits for it. What lies in the run directory stays where it is.
        """
        from ._files import Artifact

        self._put_item("artifact", name or _base_name(path), None, lambda: Artifact(path, link))

    def dataset(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        """Record the hash of a file or folder that the run uses. Nothing is copied."""
        from ._files import Dataset

        self._put_item("dataset", name or _base_name(path), None, lambda: Dataset(path))

    def params(self, params: Mapping[str, Any]) -> None:
        """Record parameters that are not those of the run."""
        from ._items import Params

        self._put_item("params", "", None, lambda: Params(params))

    def add_backend(self, backend: str | Backend) -> None:
        """Have what is recorded from now on go to a further place, which has a thread of its own.

        Args:
            backend: console, csv, mlflow, tensorboard, wandb, or one of your own.

        Raises:
            UsageError: there is none of this name, or its package is not installed.
            TypeError: the object is no backend.
        """
        if self._owner is not None:
            self._owner.add_backend(backend)
            return
        from ._backend_thread import BackendThread
        from ._feed import Feed, RankFeed
        from ._registry import check_backends, make_backend

        if isinstance(backend, str):
            name = backend
            check_backends([name], "add_backend")
            made: Callable[[], Backend] = functools.partial(make_backend, name)
        else:
            given = backend
            lacking = [name for name in _BACKEND_NAMES if not hasattr(given, name)]
            if lacking:
                raise TypeError(
                    f"{short(given)} is no backend: it has no {english_list(lacking, 'and')}. "
                    "Make it a subclass of pystematic.record.Backend."
                )
            name, made = given.name, lambda: given
        if self._rank != 0 or self._thread.is_closed:  # rank 0 feeds them with what all ranks record
            return
        thread = BackendThread(name, made, self._run or _facts_of(self._folder))
        if not thread.begin():
            return
        self._added.add(name)
        if self._feed is None:
            several = self._world_size > 1
            self._feed = RankFeed(self._folder, self._world_size, self._reduces) if several else Feed()
        self._thread.add_backend(thread, self._feed)

    def flush(self, *, numbers_only: bool = False, sync: bool = False) -> None:
        """Return when all that was recorded before is in the run directory, at the latest after ten seconds.

        Args:
            numbers_only: do not wait for pictures and files that are still being encoded or copied.
            sync: wait until the disk has the series, too, so that they outlast a loss of power. Otherwise it has them
                after half a minute.
        """
        self._thread.flush(numbers_only=numbers_only, sync=sync)

    def close(self, status: str | None = None) -> None:
        """Write the rest and end. May be called twice.

        Args:
            status: how the run ended, for further backends: completed, failed, interrupted or pruned.

        A disk that hangs is given up after two seconds, further backends after two more. Pictures and files are waited
        for as long as there is progress. What is recorded later is dropped, which is said once. One without a folder
        of its own only writes the rest: the run closes it.
        """
        if self._owner is not None:
            self.flush()
            return
        for recorder in (self, *self._sharers):
            recorder._limit = -1
        self._thread.close(status)

    def silence(self) -> None:
        """Ignore all that is recorded from now on."""
        self._is_silent = True
        self._limit = -1

    def state_dict(self) -> dict[str, int]:
        """Return what a checkpoint keeps: the step."""
        return {"count": int(self._count)}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on at the step of a checkpoint.

        Raises:
            ValueError: it is not what `state_dict` returns.
        """
        try:
            self._count = int(read_step(state["count"]))
        except Exception:
            raise ValueError(
                f"recorder.load_state_dict({short(state)}): expected what state_dict returns, {{'count': STEP}}"
            ) from None

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.close(_status_after(error))

    def _keep_reduce(self, tag: str, reduce: str) -> None:
        if reduce not in rundir.REDUCTIONS:
            raise ValueError(
                f"reduce={reduce!r} of the recorded {tag!r}: expected one of {', '.join(rundir.REDUCTIONS)}"
            )
        try:
            self._reduces[read_tag(tag)] = reduce
        except Exception:  # no text can be made of it: said when it is read
            return

    def _make_room(self, count: int) -> bool:
        """Do what the fast way leaves out; tell whether ``count`` numbers may be appended."""
        thread = self._thread
        owner = self._owner or self
        if self._is_silent:
            return False
        if thread.is_closed:
            thread.drop(count)
            self._say_closed()
            return False
        if self._limit < 0:
            if not thread.start():
                if self._buffer:  # the interpreter ends: there is no thread any more, so this one writes
                    thread.drain()
                return True
            self._limit = BUFFER_LIMIT * FIELDS
        if len(self._buffer) > self._limit:
            thread.wake()
            if thread.is_stuck:
                thread.drop(count)
                thread.say_once(
                    "stuck",
                    f"The recorder has not been able to write for a second and holds {BUFFER_LIMIT} numbers; "
                    "further ones are dropped until the disk answers. The run goes on.",
                )
                if owner._marked_weight != owner.weight:
                    self._limit = -1  # so that the next one comes here again, to be marked
                return False
            time.sleep(0.001)  # hands the interpreter over to the thread
        if owner._marked_weight != owner.weight:
            owner._mark_weight()
        return True

    def _say_closed(self) -> None:
        self._thread.say_once("closed", "The recorder is closed; what is recorded now is dropped.")

    def _put_item(self, kind: str, tag: str, step: int | None, take: Callable[[], Snapshot]) -> None:
        if self._is_silent:
            return
        thread = self._thread
        if thread.is_closed:
            self._say_closed()
            return
        try:
            tag = read_tag(tag)
            number = read_step(self._count if step is None else step)
            snapshot = take()
        except Exception as error:  # of the caller's objects and their libraries: it costs this one only
            thread.items.say_failure(kind, tag, error)
            return
        thread.put_item(tag, number, snapshot)

    def _reset_in_child(self) -> None:
        self._limit = -1
        self._marked_weight = self.weight
        if self._owner is None:
            self._thread.reset_in_child(self._marked_weight)


def _recorder_of_run() -> Recorder:
    """Return the recorder of the active run.

    Raises:
        ExperimentError: none is active.
    """
    # Not imported: runs are made of recorders, not the other way round. Where it is not loaded there is no run.
    runs = sys.modules.get("pystematic.run._current")
    run = None if runs is None else runs.current()
    if run is None:
        raise ExperimentError(
            "Recorder() records into the run that is active, and none is. Give it a folder: Recorder('output/mine')."
        )
    recorder: Recorder = run.recorder
    return recorder


def _status_after(error: BaseException | None) -> str:
    """Return how a block ended that was left with an exception, or without."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "completed"
    return "failed" if isinstance(error, Exception | SystemExit) else "interrupted"


def _base_name(path: str | os.PathLike[str]) -> str:
    try:
        return os.path.basename(os.path.abspath(os.fspath(path)))
    except Exception:  # no path: said when it is looked for
        return repr(path)


def _facts_of(folder: str) -> RunFacts:
    """Return what can be told of a folder that belongs to no run."""
    from ._backend import RunFacts

    experiment = os.path.dirname(folder)
    return RunFacts(folder, os.path.basename(folder), os.path.basename(experiment) or "recordings", experiment, {})


def _reset_in_child() -> None:
    for recorder in _recorders:
        recorder._reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
