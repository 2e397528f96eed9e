"""`ActiveRun`: the run that is going on, as its context and the rest of this package see it."""

from __future__ import annotations

import os
import threading

from pystematic.run._seeds import SeedStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.process import BaseProcess
    from pathlib import Path
    from typing import Any

    from pystematic import rundir
    from pystematic.record import Recorder
    from pystematic.resolve import Parameters


class ActiveRun:
    """The run that is going on. It is made, ended and put away by `execute`.

    Attributes:
        run_dir: the paths of its files.
        parameters: its parameters.
        experiment: the object that was run.
        seeds: the streams of its random seed.
        launched: processes that `launch_subprocess` started.
        world_size: how many processes work on it together.
        plain_params: its parameters as its record has them, secrets masked.
        mask: takes secrets out of texts, and of lists and dicts with texts.
    """

    world_size = 1

    def __init__(self, run_dir: rundir.RunDir, parameters: Parameters, experiment: Any) -> None:
        self.run_dir = run_dir
        self.parameters = parameters
        self.experiment = experiment
        self.is_subprocess = bool(parameters.get("subprocess"))
        self.local_rank = int(parameters.get("local_rank") or 0) if self.is_subprocess else 0
        self.rank = self.local_rank
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
        with self._recorder_lock:
            if self._recorder is None:
                self._recorder = self._make_recorder()
            return self._recorder

    def _make_recorder(self) -> Recorder:
        from pystematic.record import Recorder, RunFacts

        path = self.run_dir.path
        facts = RunFacts(
            folder=os.path.abspath(path),
            run_id=self.run_dir.id,
            experiment=path.parent.name,
            output_dir=os.path.abspath(path.parent.parent),
            params=self.plain_params,
        )
        recorder = Recorder(path, rank=self.rank, world_size=self.world_size, run=facts, mask=self.mask)
        if not self.is_subprocess:
            for name in dict.fromkeys(self.parameters.get("recorders") or ()):
                recorder.add_backend(name)
        return recorder

    def begin_recorder(self) -> None:
        """Make the recorder now."""
        _ = self.recorder

    def reset_in_child(self) -> None:
        """Make a new lock in a forked child: another thread of the parent may hold the old one."""
        self._recorder_lock = threading.Lock()

    def close_recorder(self, status: str | None = None) -> None:
        """Write what is recorded; ``status`` says how the run ended."""
        if self._recorder is not None:
            self._recorder.close(status)
