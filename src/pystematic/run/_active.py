"""`ActiveRun`: the run that is going on, as its context and the rest of this package see it."""

from __future__ import annotations

import os
import threading

from pystematic._record import record
from pystematic.run._seeds import SeedStream
from pystematic.run._stop import StopControl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.process import BaseProcess
    from pathlib import Path
    from typing import Any

    from pystematic import rundir
    from pystematic.record import Recorder
    from pystematic.resolve import Parameters


@record
class Place:
    """Which of the processes of a run this is.

    ``run_dir`` is None in the process that makes the directory. ``shows_output`` tells whether what is printed comes
    to the console. ``is_starter`` is the process that starts all others and is none of them.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    local_world_size: int = 1
    node_rank: int = 0
    run_dir: str | None = None
    shows_output: bool = True
    is_starter: bool = False


class ActiveRun:
    """The run that is going on. It is made, ended and put away by `execute`.

    Attributes:
        run_dir: the paths of its files.
        parameters: its parameters.
        experiment: the object that was run.
        seeds: the streams of its random seed.
        launched: processes that `launch_subprocess` started.
        place: which of the run's processes this is; ``rank``, ``local_rank`` and ``world_size`` are its.
        metric: the experiment's, with its direction, or None.
        restored: the checkpoint that the run goes on from, or None.
        stop: asks the run to end, and is told of the end of each step.
        settle: waits until none of our threads is at work that a forked child would miss.
        watch: told of each collective that the main function calls; None in a run of one process.
        uses_loader: whether a training loader tells when steps end; then the recorder does not.
        at_hard_end: called with the exit code, in a thread, when the process is about to be ended since its main thread
            does not come back.
        before_end: called when the main function has ended, before the record is finished.
        plain_params: its parameters as its record has them, secrets masked.
        mask: takes secrets out of texts, and of lists and dicts with texts.
    """

    def __init__(
        self,
        run_dir: rundir.RunDir,
        parameters: Parameters,
        experiment: Any,
        place: Place = Place(),  # noqa: B008 - nobody changes it
        metric: str | None = None,
        restored: Mapping[str, Any] | None = None,
    ) -> None:
        self.run_dir = run_dir
        self.parameters = parameters
        self.experiment = experiment
        self.is_subprocess = bool(parameters.get("subprocess"))
        self.metric = metric
        self.restored = restored
        self.place = place
        max_time_s = parameters.get("max_time")
        self.stop = StopControl(max_time_s, is_time_keeper=place.rank == 0)
        self.uses_loader = False
        self.at_hard_end: Callable[[int], None] = _ignore
        self.before_end: list[Callable[[], None]] = []
        self.rank = place.rank
        self.local_rank = place.local_rank
        self.world_size = place.world_size
        # Lets a forked child go of what was done to the process for this run.
        self.abandon: Callable[[], None] = _nothing
        self.settle: Callable[[], None] = _nothing
        self.watch: Any = None
        self.seeds = SeedStream(int(parameters.get("random_seed") or 0), self.rank)
        self.launched: list[BaseProcess] = []
        self.pid = os.getpid()
        self.plain_params: dict[str, Any] = {}
        self.mask: Callable[[Any], Any] | None = None
        self._recorder: Recorder | None = None
        self._recorder_lock = threading.Lock()

    @property
    def output_dir(self) -> Path:
        """The run's directory."""
        return self.run_dir.path

    @property
    def recorder(self) -> Recorder:
        """The run's recorder, made when it is first asked for: many runs record no numbers."""
        recorder = self._recorder
        if recorder is None:
            with self._recorder_lock:
                recorder = self._recorder = self._recorder or self._make_recorder()
        return recorder

    def _make_recorder(self) -> Recorder:
        from pystematic.record import RunFacts  # many runs record no numbers
        from pystematic.run._recorder import RunRecorder

        path = self.run_dir.path
        facts = RunFacts(
            folder=os.path.abspath(path),
            run_id=self.run_dir.id,
            experiment=path.parent.name,
            output_dir=os.path.abspath(path.parent.parent),
            params=self.plain_params,
        )
        recorder = RunRecorder(
            path,
            rank=self.rank,
            world_size=self.world_size,
            run=facts,
            mask=self.mask,
            on_step=self._end_recorded_step,
        )
        state = {} if self.restored is None else self.restored["state"]
        if "recorder" in state:
            recorder.load_state_dict(state["recorder"])
        if self.rank == 0:
            for name in dict.fromkeys(self.parameters.get("recorders") or ()):
                recorder.add_backend(name)
        return recorder

    def _end_recorded_step(self) -> None:
        if not self.uses_loader:
            self.stop.end_step()

    def begin_recorder(self) -> None:
        """Make the recorder now."""
        _ = self.recorder

    def reset_in_child(self) -> None:
        """Make a new lock in a forked child: another thread of the parent may hold the old one."""
        self._recorder_lock = threading.Lock()

    def flush_recorder(self) -> None:
        """Have all that was recorded so far in the files, where others read it."""
        if self._recorder is not None:
            self._recorder.flush()

    def close_recorder(self, status: str | None = None) -> None:
        """Write what is recorded; ``status`` says how the run ended."""
        if self._recorder is not None:
            self._recorder.close(status)


def _nothing() -> None:
    return


def _ignore(exit_code: int) -> None:
    return
