"""`run_elsewhere`: one run on another machine, its log followed here until it has ended."""

from __future__ import annotations

import os
import shutil
import sys
import time

from pystematic import rundir
from pystematic.errors import ExperimentError, RunStopped, UsageError
from pystematic.store import Run
from pystematic.sweep._coordinator import RunLimits, SignalStages
from pystematic.sweep._endings import without_time
from pystematic.sweep._executor import Task
from pystematic.sweep._places import make_executor_elsewhere, place_of
from pystematic.sweep._points import is_passed_on

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from pystematic.resolve import Parameters, Resolution
    from pystematic.sweep._executor import Event, Executor

PERIOD_S = 0.3
# How much of a log is read at once.
_PART_BYTES = 1 << 16


def run_elsewhere(experiment: Any, resolution: Resolution) -> Run:
    """Make a run where its parameter ``on`` says, and return it when it has ended.

    Args:
        experiment: what is run.
        resolution: its parameters.

    Raises:
        ExperimentError: it could not be made there, or has failed.
        RunStopped, KeyboardInterrupt, SystemExit: as the run itself has ended.
    """
    parameters = resolution.parameters
    place = place_of(parameters)
    if int(parameters.get("nnodes") or 1) > 1:
        raise UsageError(
            f"--nnodes and --on {place.kind}: a job has one machine. Submit a script that starts a process on each "
            "machine; see 'Slurm' in the documentation of distributed runs."
        )
    output_dir = str(parameters.get("output_dir") or "output")
    name = f"{experiment.full_name}-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.urandom(3).hex()}"
    folder = rundir.jobs_folder(output_dir) / name
    limits = _limits_of(parameters)
    executor = make_executor_elsewhere(
        experiment,
        place,
        jobs=1,
        limits=limits,
        folder=folder,
        label=f"pystematic-{experiment.full_name}",
        output_dir=output_dir,
    )
    try:
        event = _Follower(executor, place.kind).follow(_task_of(experiment, resolution, limits))
    finally:
        executor.close()
    run = _end(event)
    shutil.rmtree(folder, ignore_errors=True)  # of one that has failed it may say why
    return run


def _limits_of(parameters: Parameters) -> RunLimits:
    """Return what a run asks of the machine by its own parameters."""
    processes = parameters.get("nproc_per_node")
    if not parameters.get("distributed") or not isinstance(processes, int):
        return RunLimits()
    return RunLimits(threads=processes)


def _task_of(experiment: Any, resolution: Resolution, limits: RunLimits) -> Task:
    parameters, spec = resolution.parameters, resolution.spec
    values = {name: parameters[name] for name in parameters if is_passed_on(spec, name, parameters)}
    resume = parameters.get("resume")
    return Task(
        number=0,
        experiment=experiment.full_name,
        values=values,
        sources={name: parameters.source_of(name) for name in values},
        parent=None,
        point=None,
        resume=None if resume is None else os.path.abspath(str(resume)),
        threads=None if limits.threads is None else 1,
    )


class _Follower:
    """Waits for a run, and shows its log as it grows."""

    def __init__(self, executor: Executor, kind: str) -> None:
        self._executor = executor
        self._kind = kind
        self._log: Path | None = None
        self._shown_bytes = 0
        self._stage = 0

    def follow(self, task: Task) -> Event:
        with SignalStages(self._raise_stage):
            self._executor.start(task)
            _say(f"The run waits for its turn in the queue of {self._kind}.")
            done = 0
            while True:
                for event in self._executor.wait(PERIOD_S):
                    if event.kind == "ended":
                        self._show()
                        return event
                    self._begin(str(event.run_dir))
                self._show()
                if self._stage > done:
                    done = self._stage
                    self._executor.stop(task.number, kill=done > 1)

    def _raise_stage(self, signum: int) -> None:
        self._stage += 1

    def _begin(self, run_dir: str) -> None:
        place = rundir.RunDir(run_dir)
        document = rundir.read_document(place.run_file) or {}
        _say(f"Run {place.id} has begun on {document.get('host')}.")
        self._log = place.log_file(0)

    def _show(self) -> None:
        if self._log is None:
            return
        try:
            with open(self._log, "rb") as file:
                file.seek(self._shown_bytes)
                content = file.read(_PART_BYTES)
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1] or (content if len(content) == _PART_BYTES else b"")
        self._shown_bytes += len(whole)
        for line in whole.decode("utf-8", "replace").splitlines():
            print(without_time(line), flush=True)
        if len(content) == _PART_BYTES:
            self._show()


def _end(event: Event) -> Run:
    """Return the run, or raise what tells how it ended."""
    code = event.exit_code
    if event.run_dir is not None and code == 0:
        return Run(event.run_dir)
    if code is not None and code > 128 and event.reason is None:
        if code == 130:
            raise KeyboardInterrupt
        raise RunStopped(code - 128)
    if code not in (1, 2, None) and event.reason is None:
        raise SystemExit(code)
    why = f"{event.reason}: {event.log}" if event.reason else event.log
    if event.run_dir is None:
        raise (UsageError if code == 2 else ExperimentError)(f"the run could not be made: {why}")
    raise ExperimentError(f"the run {rundir.RunDir(event.run_dir).id} has failed: {why}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
