"""`Coordinator`: decides which run of a sweep is started next, takes note of how each ended, and when to stop.

It computes nothing and touches no run: an `Executor` makes them, their directories say what came of them, and the
`Plan` is written before anything is done.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time

from pystematic import rundir
from pystematic._record import record
from pystematic.store import Run
from pystematic.sweep._executor import Event, Executor, Task
from pystematic.sweep._objective import Objective, mean_of
from pystematic.sweep._plan import Attempt, Plan, PlannedPoint, point_lines, relative_run_dir
from pystematic.sweep._points import PlannedRun, PointMaker
from pystematic.sweep._recovery import can_resume, recover
from pystematic.sweep._results import DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import Any

    from pystematic.sweep._code import EditWatch
    from pystematic.sweep._plan import Slot
    from pystematic.sweep._samplers import Sampler
    from pystematic.sweep._watch import MetricWatch

# How long is waited for an event before signals and requests are looked at.
PERIOD_S = 0.2
# A sweep whose first runs fail alike has a defect that more runs will not mend.
ALIKE = 3
# How often a sampler may propose what was tried before, for one trial.
MOST_REPETITIONS = 100
KILLED, OOM, TIMEOUT, EXITED = "killed", "oom", "timeout", "exited"


@record
class RunLimits:
    """What each run gets, and what happens to those that fail."""

    timeout_s: float | None = None
    memory_bytes: int | None = None
    gpus: int = 0
    threads: int | None = None
    retries: int = 0
    retries_oom: bool = False
    fail_fast: bool = False


class Job:
    """A run of this session: of a point, with one seed.

    Attributes:
        run: what is given to it.
        resume: absolute directory of a run that it goes on with, or None.
        number: of its start; None until then.
        run_dir: absolute, once it is known.
        started_at: by the monotonic clock.
        failures: how often it has failed in this session.
        is_pruned: whether it was asked to end early.
        was_stopped: whether the sweep has asked it to end.
    """

    def __init__(self, run: PlannedRun, resume: str | None = None) -> None:
        self.run = run
        self.resume = resume
        self.number: int | None = None
        self.run_dir: str | None = resume
        self.started_at = 0.0
        self.failures = 0
        self.is_pruned = False
        self.was_stopped = False

    @property
    def slot(self) -> Slot:
        return self.run.point.key, self.run.seed


class Listener:
    """Is told what happens, for whoever looks on. All methods do nothing here."""

    def begin(self, coordinator: Coordinator) -> None:
        """The first run is about to start."""

    def started(self, job: Job) -> None:
        """A run was started."""

    def ended(self, job: Job, attempt: Attempt) -> None:
        """A run has ended; ``attempt`` says how."""

    def note(self, text: str) -> None:
        """Something is to be said."""

    def tick(self) -> None:
        """Some time has passed."""

    def finish(self) -> None:
        """The last run has ended."""


class Coordinator:
    """Runs one sweep, or what is left of it.

    Args:
        plan: claimed; its points are those of a grid, or those that a sampler was asked for before.
        maker: makes runs of points.
        executor: makes runs real. Not closed here.
        limits: of each run.
        objective: judges runs, or None.
        listener: looks on.
        sampler: proposes points; None for a grid.
        trials: how many points of the sampler there are at the end.
        watch: stops runs early, or None.
        edits: looks for edits of the program, or None.
        on_recovered: called when it is known how the runs of earlier sessions have ended, before new ones are planned.
        typed: values of points by their key, where they are known beside the plan.

    Attributes:
        running: the jobs by the numbers of their starts.
        waiting: the jobs that are next.
    """

    def __init__(
        self,
        plan: Plan,
        maker: PointMaker,
        executor: Executor,
        limits: RunLimits,
        objective: Objective | None,
        listener: Listener,
        *,
        sampler: Sampler | None = None,
        trials: int = 0,
        watch: MetricWatch | None = None,
        edits: EditWatch | None = None,
        on_recovered: Callable[[], None] = lambda: None,
        typed: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.plan = plan
        self.maker = maker
        self.executor = executor
        self.objective = objective
        self.running: dict[int, Job] = {}
        self.waiting: list[Job] = []
        self.stage = 0
        self._limits = limits
        self._listener = listener
        self._sampler = sampler
        self._trials = trials
        self._watch = watch
        self._edits = edits
        self._on_recovered = on_recovered
        self._typed = dict(typed or {})
        self._exit_code = 0
        self._stage_done = 0
        self._signum: int | None = None
        self._is_exhausted = False
        self._ends: list[tuple[str, str]] = []  # kind and cause of runs that have failed for good; empty ones of others
        self._told: set[int] = set()
        self._gave_up = False
        self._took_s: list[float] = []

    @property
    def is_searching(self) -> bool:
        """Whether a sampler proposes the points."""
        return self._sampler is not None

    def time_left_s(self) -> float | None:
        """Return how long the rest will take if it goes on as so far; None while that cannot be said.

        By how long runs of this session took that have ended, and how many there are at once.
        """
        if not self._took_s or self._sampler is not None:
            return None
        mean_s = sum(self._took_s) / len(self._took_s)
        now = time.monotonic()
        begun_s = sum(max(0.0, mean_s - (now - job.started_at)) for job in self.running.values())
        left_s = begun_s + mean_s * len(self.waiting)
        return left_s / max(1, min(self.executor.slots, len(self.running) + len(self.waiting)))

    # -- the whole -----------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Run until nothing is left to do, or it is asked to end; return the exit code.

        Raises:
            ExperimentError: a run of an earlier session is still alive.
            RunDirectoryError: the plan cannot be written.
        """
        _remove(self.plan.dir.stop_file)  # a request to an earlier coordinator
        with SignalStages(self._raise_stage):
            self._adopt()
            recover(self.plan, self.maker.experiment, self.objective, self.running, self._listener.note)
            self._on_recovered()
            self._plan_jobs()
            self._tell_history()
            self._listener.begin(self)
            try:
                self._loop()
            finally:
                self._end_all()
                self._listener.finish()
        return self._final_code()

    def _loop(self) -> None:
        while True:
            self._act_on_stage()
            self._fill()
            if not self.running:
                return
            for event in self.executor.wait(PERIOD_S):
                self._take(event)
            for text in self.executor.take_notes():
                self._listener.note(text)
            self._look_for_edits()
            self._look_for_requests()
            if self._watch is not None and self.stage == 0:
                self._stop_early(self._watch)
            self.plan.touch()
            self._listener.tick()

    def _final_code(self) -> int:
        if self._exit_code:
            return self._exit_code
        left = [point for point in self.plan.state.points.values() if not self._is_done(point)]
        return 1 if left or self._gave_up else 0

    def _is_done(self, point: PlannedPoint) -> bool:
        attempts = [self.plan.state.newest((point.key, seed)) for seed in self._seeds()]
        if any(attempt is not None and attempt.status == "pruned" for attempt in attempts):
            return all(attempt is None or attempt.status in DONE for attempt in attempts)
        return all(attempt is not None and attempt.status in DONE for attempt in attempts)

    def _seeds(self) -> Sequence[int | None]:
        return [None] if self.maker.own_seed else self.maker.seeds

    # -- what is to be done --------------------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Go on with runs of an earlier coordinator that have outlived it: those in the queue of a cluster."""
        attempts = [one for attempts in self.plan.state.attempts.values() for one in attempts if one.status is None]
        adopted = self.executor.adopt([attempt.number for attempt in attempts]) if attempts else set()
        for attempt in attempts:
            if attempt.number not in adopted:
                continue
            job = Job(self._run_of(attempt))
            job.number = attempt.number
            job.started_at = time.monotonic()
            if attempt.run_dir is not None:
                job.run_dir = os.path.abspath(self.plan.dir.output_dir / attempt.run_dir)
            self.running[attempt.number] = job
        if adopted:
            runs = "1 run" if len(adopted) == 1 else f"{len(adopted)} runs"
            self._listener.note(f"{runs} of the earlier command {'is' if len(adopted) == 1 else 'are'} gone on with.")

    def _run_of(self, attempt: Attempt) -> PlannedRun:
        """Return the run that an attempt was made at; one that this command does not ask for is never repeated."""
        point = self.plan.state.points.get(attempt.point)
        if point is None:
            return PlannedRun(attempt.key, self.plan.state.superseded[attempt.point], attempt.seed, {}, {})
        for run in self.maker.runs(point, self._typed.get(point.key)):
            if run.seed == attempt.seed:
                return run
        return PlannedRun(attempt.key, point, attempt.seed, {}, {})

    def _plan_jobs(self) -> None:
        for point in list(self.plan.state.points.values()):
            self.waiting += self._jobs_of(point)

    def _jobs_of(self, point: PlannedPoint) -> list[Job]:
        """Return the runs of a point that are to be made."""
        state = self.plan.state
        running = {job.slot for job in self.running.values()}
        slots = [slot for seed in self._seeds() if (slot := (point.key, seed)) not in running]
        newest = {slot: state.newest(slot) for slot in slots}
        is_pruned = any(one is not None and one.status == "pruned" for one in newest.values())
        wanted = [slot for slot in slots if self._is_wanted(newest[slot], slot, is_pruned)]
        if not wanted:
            return []
        runs = {(run.point.key, run.seed): run for run in self.maker.runs(point, self._typed.get(point.key))}
        return [Job(runs[slot], self._resumable(newest[slot], slot)) for slot in wanted]

    def _is_wanted(self, attempt: Attempt | None, slot: Slot, is_pruned: bool) -> bool:
        if slot in self.plan.state.again:
            return True
        if attempt is None:
            return not is_pruned  # the other seeds of a setting that was given up
        if attempt.status in DONE:
            return not self._has_record(attempt)
        return attempt.status != "failed"

    def _has_record(self, attempt: Attempt) -> bool:
        path = attempt.run_dir
        return path is not None and os.path.isfile(rundir.RunDir(self.plan.dir.output_dir / path).run_file)

    def _resumable(self, attempt: Attempt | None, slot: Slot) -> str | None:
        """Return the directory to go on in: of an interrupted or lost run with a whole checkpoint."""
        if attempt is None or attempt.run_dir is None or slot in self.plan.state.again:
            return None
        path = os.path.abspath(self.plan.dir.output_dir / attempt.run_dir)
        return path if attempt.status in ("interrupted", "lost") and can_resume(path) else None

    def _next_job(self) -> Job | None:
        while not self.waiting and self._sampler is not None and not self._is_exhausted:
            if not self._ask(self._sampler):
                break
        return self.waiting.pop(0) if self.waiting else None

    def _ask(self, sampler: Sampler) -> bool:
        """Plan one more trial; tell whether there is one."""
        done = [point.trial for point in self.plan.state.points.values() if point.trial is not None]
        trial = max(done, default=-1) + 1
        if trial >= self._trials:
            self._is_exhausted = True
            return False
        number = self.plan.state.next_point
        for attempt in range(MOST_REPETITIONS):
            values = sampler.ask(trial, attempt)
            point, _ = self.maker.plan(values, number, trial)
            known = self.plan.state.points.get(point.key)
            if known is None:
                self.plan.write(*point_lines([point]))
                self._typed[point.key] = values
                self.waiting += self._jobs_of(point)
                return True
            loss, status = self._outcome(known)
            sampler.tell(trial, values, loss, status or "failed")
        self._is_exhausted = True
        self._listener.note(
            f"the sampler proposes nothing new: {len(done)} points are all that it finds in this space."
        )
        return False

    def _fill(self) -> None:
        """Start as many runs as there is room for."""
        while self.stage == 0 and not self._gave_up and len(self.running) < self.executor.slots:
            job = self._next_job()
            if job is None:
                return
            if self._is_given_up(job):
                continue
            self._start(job)

    def _is_given_up(self, job: Job) -> bool:
        """Tell whether another seed of the point was pruned meanwhile, so that this one is not worth a run."""
        attempts = [self.plan.state.newest((job.run.point.key, seed)) for seed in self._seeds()]
        return any(attempt is not None and attempt.status == "pruned" for attempt in attempts)

    def _start(self, job: Job) -> None:
        number = self.plan.state.next_number
        resume = None if job.resume is None else relative_run_dir(job.resume, self.plan.dir.output_dir)
        self.plan.write(
            {
                "kind": "start",
                "number": number,
                "key": job.run.key,
                "point": job.run.point.key,
                "seed": job.run.seed,
                "resume": resume,
                "at": time.time(),
            }
        )
        job.number = number
        job.started_at = time.monotonic()
        self.running[number] = job
        self.executor.start(
            Task(
                number=number,
                experiment=self.maker.experiment,
                values=job.run.values,
                sources=job.run.sources,
                parent=f"sweep {self.plan.name}",
                point=job.run.key,
                resume=job.resume,
                timeout_s=self._limits.timeout_s,
                memory_bytes=self._limits.memory_bytes,
                gpus=self._limits.gpus,
                threads=self._limits.threads,
            )
        )
        self._listener.started(job)

    # -- what has become of it -----------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        job = self.running.get(event.number)
        if job is None:
            return
        if event.run_dir is not None:
            job.run_dir = event.run_dir
        if event.kind == "run":
            assert event.run_dir is not None
            run_dir = relative_run_dir(event.run_dir, self.plan.dir.output_dir)
            self.plan.write({"kind": "run", "number": event.number, "run_dir": run_dir})
            return
        del self.running[event.number]
        attempt, cause = self._write_end(job, event)
        if attempt.status == "completed":
            self._took_s.append(time.monotonic() - job.started_at)
        if job.is_pruned and job.run_dir is not None:
            _remove(rundir.stop_request_file(rundir.RunDir(job.run_dir), self.plan.name))
        self._listener.ended(job, attempt)
        if attempt.status == "failed":
            self._take_failure(job, attempt, cause)
        elif attempt.status in DONE:
            self._ends.append(("", ""))
        self._tell(job.run.point)

    def _write_end(self, job: Job, event: Event) -> tuple[Attempt, str]:
        """Write what has come of a run; return it, and the cause in words where it has failed."""
        status, error = _status_of(job, event)
        value = None
        if job.run_dir is not None and status in DONE and self.objective is not None:
            run = Run(job.run_dir)
            value = self.objective.value_of(run)
            if value is None and status == "completed":
                self._listener.note(self.objective.explain_none(run))
        run_dir = None if job.run_dir is None else relative_run_dir(job.run_dir, self.plan.dir.output_dir)
        self.plan.write(
            {
                "kind": "end",
                "number": event.number,
                "run_dir": run_dir,
                "status": status,
                "exit_code": event.exit_code,
                "error": None if error is None else error[0],
                "objective": value,
                "metric": None if self.objective is None else self.objective.text,
                "log": event.log or (error[1] if error is not None else ""),
                "code": None if job.run_dir is None else Run(job.run_dir).document.get("code"),
                "at": time.time(),
            }
        )
        attempt = self.plan.state.newest(job.slot)
        assert attempt is not None
        return attempt, "" if error is None else error[1]

    def _take_failure(self, job: Job, attempt: Attempt, cause: str) -> None:
        job.failures += 1
        may_retry = (attempt.error != OOM or self._limits.retries_oom) and not self._gave_up
        if may_retry and job.run.values and job.failures <= self._limits.retries and self.stage == 0:
            again = Job(job.run)
            again.failures = job.failures
            self.waiting.insert(0, again)
            return
        self._ends.append((attempt.error or "", cause))
        if self._first_fail_alike():
            self._give_up(
                f"the first {ALIKE} runs have failed alike ({attempt.error}: {cause[:200]}); "
                "no more are started. Mend the cause, and go on with: " + self._retry_command()
            )
        elif self._limits.fail_fast:
            self._give_up("a run has failed, and --fail-fast is given; no more are started.")

    def _retry_command(self) -> str:
        return f"pystematic sweep retry {self.plan.name}"

    def _first_fail_alike(self) -> bool:
        first = self._ends[:ALIKE]
        if len(self._ends) != ALIKE:
            return False
        return len({(kind, _without_numbers(cause)) for kind, cause in first}) == 1 and first[0][0] != ""

    def _give_up(self, text: str) -> None:
        if self._gave_up:
            return
        self._gave_up = True
        self.waiting.clear()
        self._listener.note(text)
        self._stop_running()

    def _stop_running(self, *, kill: bool = False) -> None:
        for number, job in self.running.items():
            job.was_stopped = True
            self.executor.stop(number, kill=kill)

    def _end_all(self) -> None:
        """Kill what still runs when the loop was left by an exception, and write what became of it."""
        if not self.running:
            return
        self._stop_running(kill=True)
        deadline = time.monotonic() + 10.0
        while self.running and time.monotonic() < deadline:
            for event in self.executor.wait(PERIOD_S):
                self._take(event)

    # -- samplers and stopping -----------------------------------------------------------------------------------

    def _outcome(self, point: PlannedPoint) -> tuple[float | None, str | None]:
        """Return the loss of a point, and its status; None while some of its runs are to come."""
        attempts = [self.plan.state.newest((point.key, seed)) for seed in self._seeds()]
        statuses = [None if attempt is None else attempt.status for attempt in attempts]
        values = [one.objective for one in attempts if one is not None and one.objective is not None]
        mean = mean_of([self.objective.loss(value) for value in values]) if self.objective is not None else None
        if "pruned" in statuses:
            return mean, "pruned"
        if "failed" in statuses:
            return None, "failed"
        return (mean, "completed") if all(status == "completed" for status in statuses) else (None, None)

    def _tell(self, point: PlannedPoint) -> None:
        if self._sampler is None or point.trial is None or point.trial in self._told:
            return
        loss, status = self._outcome(point)
        waits = any(job.run.point.key == point.key for job in (*self.waiting, *self.running.values()))
        if status is None or (status == "failed" and waits):
            return
        self._told.add(point.trial)
        values = self._typed.get(point.key) or self.maker.typed(point)
        self._sampler.tell(point.trial, values, loss, status)

    def _tell_history(self) -> None:
        for point in self.plan.state.points.values():
            self._tell(point)

    def _stop_early(self, watch: MetricWatch) -> None:
        living = {number: job for number, job in self.running.items() if job.run_dir and not job.is_pruned}
        for number in watch.find_hopeless(
            {number: (job.run_dir or "", job.run.seed) for number, job in living.items()}
        ):
            job = living[number]
            job.is_pruned = True
            file = rundir.stop_request_file(rundir.RunDir(job.run_dir or ""), self.plan.name)
            try:
                with open(file, "xb"):
                    pass
            except OSError as error:
                self._listener.note(f"{os.path.basename(job.run_dir or '')} cannot be asked to end: {error.strerror}.")

    # -- being stopped -------------------------------------------------------------------------------------------

    def _raise_stage(self, signum: int) -> None:
        """Take note of a signal: Ctrl-C goes one stage further, SIGTERM at least to the second one."""
        self.stage = min(3, self.stage + 1) if signum == signal.SIGINT else max(2, min(3, self.stage + 1))
        self._exit_code = 128 + signum

    def _act_on_stage(self) -> None:
        if self.stage <= self._stage_done:
            return
        self._stage_done = self.stage
        self.waiting.clear()
        withdrawn = self.executor.withdraw()
        for number in withdrawn:
            self.running[number].was_stopped = True
        count = len(self.running) - len(withdrawn)
        runs = "1 running run" if count == 1 else f"{count} running runs"
        if not count:
            return
        if self.stage == 1:
            self._listener.note(f"no more runs are started; {runs} may finish. Ctrl-C again asks them to end.")
        else:
            self._listener.note(f"{runs} {'must end now' if self.stage == 2 else 'killed'}.")
            self._stop_running(kill=self.stage == 3)

    def _look_for_edits(self) -> None:
        edited = None if self._edits is None else self._edits.look()
        if edited is None:
            return
        self._edits = None  # once is enough
        kept = "the sweep goes on with the code that it began with"
        fresh = "runs that begin from now on use what stands there then"
        self._listener.note(f"{edited} has changed; {kept if self.executor.keeps_code else fresh}.")

    def _look_for_requests(self) -> None:
        request = rundir.read_document(self.plan.dir.stop_file)
        if request is None:
            return
        _remove(self.plan.dir.stop_file)
        is_now = bool(request.get("now"))
        self.stage = max(self.stage, 2 if is_now else 1)
        self._exit_code = 143 if is_now else 130


def _status_of(job: Job, event: Event) -> tuple[str, tuple[str, str] | None]:
    """Return the status of a run that has ended, and the type and message of its error."""
    if job.run_dir is None:
        if job.was_stopped and event.reason is None:
            return "interrupted", None
        code = "without an exit code" if event.exit_code is None else f"with exit code {event.exit_code}"
        return "failed", (event.reason or "not started", event.log or f"ended {code} before its record began")
    run = Run(job.run_dir)
    status = str(run.document.get("status") or "damaged")
    if status in ("completed", "pruned", "interrupted") and event.reason is None:
        return status, None
    if status == "completed":
        return status, None
    if status == "damaged" and event.reason is None:
        return "failed", ("damaged", f"its record in {job.run_dir} cannot be read")
    found = run.document.get("error")
    error = found if isinstance(found, dict) else {}
    # The record of a run that has called `sys.exit` knows its exit code, and of no error.
    without_error = EXITED if status == "failed" else KILLED
    kind = event.reason or error.get("type") or without_error
    return "failed", (str(kind), str(error.get("message") or event.log or f"exit code {event.exit_code}"))


def _without_numbers(text: str) -> str:
    """Return a message without what differs between failures of one cause."""
    return re.sub(r"\d+|0x[0-9a-f]+|[\w.-]*_[0-9a-z]{6}\b", "#", text)


class SignalStages:
    """Hands signals over while it is entered, in the main thread; elsewhere there are none to hand over."""

    def __init__(self, raise_stage: Callable[[int], None]) -> None:
        self._raise_stage = raise_stage
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                self._before[number] = signal.signal(number, self._handle)

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._raise_stage(signum)


def _remove(path: os.PathLike[str]) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
