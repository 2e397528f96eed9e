"""`execute`: one run from its first file to its last. The order of things here is what makes a record trustworthy.

The directory and ``run.json`` come first, so that a run killed at any later moment is there and known to be lost; the
streams, the log and the handlers of signals are put back before the last word on the run's status is written.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from pystematic import rundir
from pystematic._record import record
from pystematic.errors import ExperimentError, RunStopped
from pystematic.resolve import secret_names_of, sources_of
from pystematic.run import _current, _origin
from pystematic.run._active import ActiveRun, Place
from pystematic.run._capture import Capture
from pystematic.run._imports import ImportWatch
from pystematic.run._keeper import Keeper
from pystematic.run._log import LogFile
from pystematic.run._masking import Masker
from pystematic.run._provenance import KnownProvenance, ProvenanceQuery
from pystematic.run._resume import Claim, batch_job, changed_parameters, claim, describe_changes, sources_of_attempt
from pystematic.run._say import say
from pystematic.run._seeds import make_deterministic, seed_libraries
from pystematic.run._signals import SignalWatch
from pystematic.run._stop import StopReason
from pystematic.run._system import SystemSampler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pystematic.resolve import Parameters
    from pystematic.store import Run

# How long the capture of the code may keep a run from beginning.
START_LIMIT_S = 0.1
# How the parent of a run begins that belongs to a sweep; the sweep's name follows.
_SWEEP = "sweep "

_starting = threading.Lock()


@record
class Program:
    """How to find the program of a run again.

    ``file`` is the main script, ``module`` its name if it was started with ``python -m``, ``code_file`` the file that
    defines the experiment.
    """

    file: str | None
    module: str | None
    code_file: str | None


@record
class RunRequest:
    """What is to be run; all of it was decided before.

    ``plain`` is what ``parameters.yaml`` will hold, ``secret_options`` the options of ``argv`` behind which secrets
    stand, ``notes`` what is to be said about the run in its record. ``place`` tells which of the run's processes this
    is. ``resumed`` is the directory of a run to go on with, and ``find_state`` returns the checkpoint that it goes on
    from, or None, when the run cannot change any more. ``restored`` is the checkpoint that any other run begins from.
    ``replayed`` are the names of the parameters of which a person wants to know that a resume changes them.
    """

    experiment: str
    parameters: Parameters
    plain: dict[str, object]
    secret_options: tuple[str, ...]
    argv: tuple[str, ...]
    program: Program
    metric: str | None
    parent: str | None
    notes: tuple[str, ...]
    place: Place = Place()
    resumed: str | None = None
    find_state: Callable[[], Mapping[str, Any] | None] | None = None
    restored: Mapping[str, Any] | None = None
    replayed: tuple[str, ...] = ()


@record
class RunHooks:
    """Called before and after the main function: with the parameters, and with its exception or None."""

    before: Callable[[Parameters], None]
    after: Callable[[BaseException | None], None]


def execute(request: RunRequest, call: Callable[[ActiveRun], Any], hooks: RunHooks, *, experiment: Any = None) -> Run:
    """Run a main function with a record of it, and return the finished run.

    Args:
        request: what to run.
        call: calls the main function.
        hooks: called around it.
        experiment: the object that is run, for processes that the run launches.

    Raises:
        ExperimentError: a run is active in this process already, or what ``capture`` asks for cannot be had.
        RunDirectoryError: the output folder cannot be written. Nothing is left there.

    Whatever the main function raises is raised here, when its record is finished.
    """
    from pystematic.store import Run

    global _execution
    __tracebackhide__ = True  # what IPython and pytest leave out of tracebacks
    with _starting:
        _refuse_second(request.experiment)
        execution = _execution = _Execution(request, hooks, experiment)
        _current.set_current(execution.run)
    result = execution.perform(call)
    return Run(execution.run.run_dir.path, result=result)


def _refuse_second(name: str) -> None:
    run = _current.current()
    if run is None:
        return
    if run.pid != os.getpid():  # a forked child of a run may run experiments of its own
        _abandon_inherited()
        return
    raise ExperimentError(
        f"experiment '{name}' cannot start: the run {run.run_dir.id} is active in this process, and there is room for "
        "one at a time. Start it in a process of its own: experiment.run_in_new_process(params)."
    )


class _Execution:
    """One run with everything that it changes in this process, which is put back in the reverse order."""

    def __init__(self, request: RunRequest, hooks: RunHooks, experiment: Any) -> None:
        self._hooks = hooks
        self._pid = os.getpid()
        self._begun_at = time.monotonic()
        parameters = request.parameters
        self._debug = bool(parameters.get("debug"))
        grace_s = float(parameters.get("grace") or 25.0)
        self._signals = SignalWatch(_call_foreign.__code__, execute.__code__, grace_s, self._end_hard)
        self._undo: list[tuple[str, Callable[[], None]]] = []
        self._document: rundir.RunDocument | None = None
        self._document_lock = threading.Lock()
        self._keeper: Keeper | None = None
        self._sampler: SystemSampler | None = None
        self.log: LogFile | None = None
        self._has_run = False
        self._made_dir: rundir.RunDir | None = None
        self._claim: Claim | None = None
        self._signals.install()
        _fill_standard_descriptors()
        try:
            secrets = [parameters.get(name) for name in secret_names_of(parameters)]
            self._masker = Masker(secrets, parameters.values())
            place = request.place
            # A further process of a run adds its own log and series to the directory, and leaves the documents alone.
            self._is_member = place.run_dir is not None
            restored = request.restored
            if place.run_dir is not None:
                run_dir = rundir.RunDir(place.run_dir)
            elif request.resumed is not None:
                run_dir = rundir.RunDir(request.resumed)
                self._claim = _call_foreign(claim, run_dir, say)  # may wait long, and be interrupted
                restored = None if request.find_state is None else _call_foreign(request.find_state)
            else:
                output_dir = str(parameters.get("output_dir") or "output")
                run_dir = self._made_dir = rundir.create_run_dir(output_dir, request.experiment)
            self.run = ActiveRun(run_dir, parameters, experiment, place, request.metric, restored)
            self._has_run = True
            self.run.mask = self._masker.mask_tree
            self.run.plain_params = self._masker.mask_tree(request.plain)
            self._signals.control = self.run.stop
            if parameters.get("max_time") is not None and place.rank == 0 and not place.is_starter:
                self._signals.limit_time(float(parameters["max_time"]))
            if restored is not None:
                self.run.seeds.load_state_dict(restored.get("seeds") or {})
                self.run.stop.has_saved = self._is_own(restored)
            self._write_first_files(request)
            if not self._is_member:
                _origin.origin().on_run_dir(os.path.abspath(run_dir.path))
            self._start_keeper(request)
            self._prepare(parameters)
            if parameters.get("recorders") and place.rank == 0 and not place.is_starter:
                # Its backends begin now, whether or not anything is recorded; other people's code, slow to load.
                _call_foreign(self.run.begin_recorder)
        except BaseException:
            self._give_up()
            raise

    # -- start ---------------------------------------------------------------------------------------------------

    def _write_first_files(self, request: RunRequest) -> None:
        """Write all without which there is no run."""
        run_dir = self.run.run_dir
        origin = _origin.origin()
        argv = self._masker.mask_words(request.argv, request.secret_options)
        try:
            if not self._is_member:
                plain = self.run.plain_params
                changes = self._changes(request, plain)
                content = rundir.format_parameters(plain).encode("utf-8", "backslashreplace")
                rundir.replace_file(run_dir.parameters_file, content)
                self._document = rundir.RunDocument(
                    run_dir,
                    experiment=request.experiment,
                    argv=argv,
                    sources=self._masker.mask_tree(self._sources(request)),
                    program={name: origin.original_of(path) for name, path in vars(request.program).items()},
                    metric=request.metric,
                    parent=request.parent or origin.parent,
                    point=origin.point,
                    code=None if origin.provenance is None else origin.provenance.code,
                    notes=[self._masker.mask(note) for note in request.notes],
                    world_size=request.place.world_size,
                    job=batch_job(),
                )
                restored = self.run.restored
                file = None if restored is None else str(restored["file"])
                is_own = restored is not None and self._is_own(restored)
                self._document.describe_start(os.path.basename(file) if file and is_own else file, changes)
                if self._claim is not None:
                    offsets = restored["series"] if restored is not None and is_own else {}
                    rundir.cut_series(run_dir, offsets, self._claim.number)
                    self._document.go_on(self._claim.document)
                self._document.write()
                self._claim = None  # it is begun
            log = self.log = LogFile(run_dir.log_file(self.run.rank), self._masker.mask_lines)
            self._undo.append(("log", log.close))
            log.write_first(f"{request.experiment} {run_dir.id}: {' '.join(argv)}")
        except OSError as error:
            raise rundir.unusable(str(request.parameters.get("output_dir") or "output"), error) from None
        log.write_lines(request.notes)

    def _is_own(self, restored: Mapping[str, Any]) -> bool:
        """Tell whether a checkpoint is one of this run, whatever its directory was called when it was written."""
        return os.path.dirname(str(restored["file"])) == os.path.abspath(self.run.run_dir.checkpoints_dir)

    def _changes(self, request: RunRequest, plain: dict[str, Any]) -> dict[str, list[Any]]:
        """Return, and say, which parameters are others than in the run that is gone on with or whose state is taken."""
        before = self.run.run_dir if self._claim is not None else None
        if before is None and request.restored is not None:
            before = rundir.run_of_checkpoint(str(request.restored.get("file")))
            document = {} if before is None else rundir.read_document(before.run_file) or {}
            if document.get("experiment") != request.experiment:
                return {}
        if before is None:
            return {}
        changes = changed_parameters(rundir.read_parameters(before.parameters_file), plain)
        said = describe_changes({name: change for name, change in changes.items() if name in request.replayed})
        if said:
            say(f"other parameters than in {before.id}: {'; '.join(said)}")
        return changes

    def _sources(self, request: RunRequest) -> dict[str, str]:
        sources: dict[str, str] = sources_of(request.parameters)
        if self._claim is None:
            return sources
        return sources_of_attempt(sources, self._claim.document, self.run.run_dir.id)

    def _start_keeper(self, request: RunRequest) -> None:
        if request.parameters.get("system_metrics") and not request.place.is_starter and request.place.local_rank == 0:
            self._sampler = SystemSampler(self.run)
        if self._is_member:
            if self._sampler is not None:
                self._sampler.start_thread()
            return
        program = request.program
        known = _origin.origin().provenance
        query = (
            KnownProvenance(known)
            if known is not None
            else ProvenanceQuery(
                program.code_file or program.file, os.path.dirname(os.path.dirname(self.run.output_dir))
            )
        )
        sample = self._sampler.sample if self._sampler is not None else None
        self._keeper = Keeper(self.run.run_dir, query, self._masker, self._set_code, sample, self._make_poll())
        self._keeper.start()
        self.run.settle = self._keeper.settle

    def _make_poll(self) -> Callable[[], bool] | None:
        """Return what looks whether the sweep that this is a run of asks it to end; None for other runs."""
        parent = None if self._document is None else self._document.fields.get("parent")
        if not isinstance(parent, str) or not parent.startswith(_SWEEP):
            return None
        file = rundir.stop_request_file(self.run.run_dir, parent[len(_SWEEP) :])

        def poll() -> bool:
            if not os.path.exists(file):
                return False
            self.run.stop.ask(StopReason(None, 0, saves=True, status="pruned"))
            return True

        return poll

    def _set_code(self, code: str | None) -> None:
        with self._document_lock:
            if self._document is not None and self._document.fields["code"] != code:
                self._document.fields["code"] = code
                if self._document.fields["status"] == "running":
                    try:
                        self._document.write()
                    except OSError:  # a full disk; the end of the run tries again
                        return

    def _prepare(self, parameters: Parameters) -> None:
        """Seed the libraries and capture the output."""
        assert self.log is not None
        watch = ImportWatch(_say_unprepared)
        self._undo.append(("import system", watch.close))
        if parameters.get("seed_libraries"):
            seed_libraries(watch, self.run.seeds.random_seed)
        if parameters.get("deterministic"):
            self._undo.append(("deterministic algorithms", make_deterministic(watch)))
        capture = Capture(
            str(parameters.get("capture") or "sys"),
            log=self.log,
            log_file=os.fspath(self.run.run_dir.log_file(self.run.rank)),
            masker=self._masker,
            watch=watch,
            debug=self._debug,
            only_log=not (self.run.place.shows_output and _origin.origin().has_console),
        )
        capture.install()
        self._undo.append(("output", capture.restore))

    def _give_up(self) -> None:
        """Leave nothing of a run that cannot start."""
        if self._has_run:
            self._contained("closing the recorder", self.run.close_recorder)
        self._put_back()
        if self._keeper is not None:
            self._keeper.stop(0.0)
        if self._claim is not None:
            self._claim.release()
        if self._made_dir is not None:
            import shutil  # costs more than all else here

            shutil.rmtree(self._made_dir.path, ignore_errors=True)
        self._signals.restore()
        self._signals.deliver_waiting()

    # -- main and end --------------------------------------------------------------------------------------------

    def perform(self, call: Callable[[ActiveRun], Any]) -> Any:
        """Call the main function, finish the record, and return or raise what it did."""
        __tracebackhide__ = True
        result: Any = None
        error: BaseException | None = None
        try:
            _call_foreign(self._hooks.before, self.run.parameters)
            if self._keeper is not None:
                self._keeper.wait(START_LIMIT_S - (time.monotonic() - self._begun_at))
            result = _call_foreign(_call_main_function, call, self.run, self._signals)
        except BaseException as raised:
            error = raised
        if os.getpid() != self._pid:
            # A child that the main function has forked, on its way out: the record is its parent's.
            _abandon_inherited()
            if error is not None:
                raise error
            return result
        try:
            error = self._finish(error)
        finally:
            _forget()
            self._signals.restore()
        self._signals.deliver_waiting()
        if error is not None:
            raise error
        return result

    def reset_in_child(self) -> None:
        """Begin anew what another thread of the parent may have held when this child was forked."""
        self.run.reset_in_child()
        if self.log is not None:
            self.log.reset_in_child()

    def _end_hard(self, exit_code: int) -> None:
        """End the process when its main thread does not come back. Runs in a thread of its own."""
        try:
            self.run.close_recorder()
            if self.log is not None:
                self.log.write_lines([f"interrupted, exit code {exit_code}: the main thread did not come back in time"])
            self._write_end("interrupted", exit_code, None)
            self.run.at_hard_end(exit_code)
        finally:
            os._exit(exit_code)

    def abandon(self) -> None:
        """Let go, in a forked child, of what belongs to the parent's run."""
        self._keeper = self._document = None
        self._put_back()
        self._signals.restore()

    def _finish(self, error: BaseException | None) -> BaseException | None:
        """Write how the run ended, whatever else fails on the way; return what is to be raised."""
        failures = self._contained("ending the launched processes", self._end_launched) or ()
        for finish in self.run.before_end:
            self._contained("saving", finish)
        if failures and error is None:
            count = f"{len(failures)} of {len(self.run.launched)} subprocesses failed"
            error = ExperimentError(f"{count}: {'; '.join(failures)}")
        status, exit_code = outcome_of(error)
        described: dict[str, str] | None = None
        if error is not None:
            described = self._contained("describing the error", self._describe, error, status)
            if self.run.parameters.get("pdb") and status == "failed" and isinstance(error, Exception):
                self._contained("the debugger", _call_foreign, _open_debugger, error)
        seen_by_hooks = None if status == "completed" else error
        self._contained("a hook", _call_foreign, self._hooks.after, seen_by_hooks)
        if self._sampler is not None:
            self._contained("ending the system metrics", self._sampler.close)
        self._contained("closing the recorder", self.run.close_recorder, status)
        self._put_back(before_log=lambda: self._write_last_lines(status, exit_code, described))
        if self._keeper is not None:
            self._contained("ending the keeper", self._keeper.stop)
        self._write_end(status, exit_code, described)
        return error

    def _contained(self, what: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call a step of the end; nothing that it raises keeps the record from being finished."""
        try:
            return function(*args)
        except (KeyboardInterrupt, RunStopped) as stopped:
            self._signals.postpone(stopped)
        except BaseException as error:
            say(f"{what} failed at the end of the run: {type(error).__name__}: {error}")
        return None

    def _end_launched(self) -> list[str]:
        if not self.run.launched:
            return []
        from pystematic.run._spawn import end_launched

        return end_launched(self.run.launched, lambda: self._signals.has_waiting)

    def _describe(self, error: BaseException, status: str) -> dict[str, str] | None:
        from pystematic.run._traceback import format_traceback, mark_as_users

        mark_as_users(error, os.fspath(self.run.output_dir))
        if status != "failed" or (isinstance(error, SystemExit) and not isinstance(error.code, str)):
            return None
        found = {"type": type(error).__name__}
        try:
            found["message"] = str(error)
        except Exception as another:
            found["message"] = f"(its __str__ raises {type(another).__name__})"
        if not isinstance(error, SystemExit):
            found["traceback"] = format_traceback(error, debug=self._debug)
        return {name: self._masker.mask(text) for name, text in found.items()}

    def _write_last_lines(self, status: str, exit_code: int, described: dict[str, str] | None) -> None:
        if self.log is not None:
            traceback = (described or {}).get("traceback", "")
            self.log.write_lines([*traceback.splitlines(), f"{status}, exit code {exit_code}"])

    def _put_back(self, before_log: Callable[[], None] | None = None) -> None:
        """Undo what was done to the process, whatever of it fails."""
        while self._undo:
            what, undo = self._undo.pop()
            if what == "log" and before_log is not None:
                before_log()
            try:
                undo()
            except Exception as error:  # the rest is put back all the same
                say(f"the {what} cannot be put back: {type(error).__name__}: {error}")

    def _write_end(self, status: str, exit_code: int, described: dict[str, str] | None) -> None:
        with self._document_lock:
            if self._document is None:
                return
            try:
                self._document.finish(status, exit_code, described)
            except OSError as error:
                say(
                    f"how the run ended ({status}) cannot be written to {self.run.run_dir.run_file}: "
                    f"{error.strerror}. It will be shown as lost."
                )


def _fill_standard_descriptors() -> None:
    """Put the null device where a descriptor of the standard streams is closed (`>&-`).

    Otherwise whatever file is opened next gets the number, one of another thread too: what is written to the stream
    would go into that file, or be lost when it is closed.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _call_foreign(function: Callable[..., Any], *args: Any) -> Any:
    """Stand on the stack as long as a signal may raise: while code is at work that is not ours."""
    __tracebackhide__ = True
    return function(*args)


def _call_main_function(call: Callable[[ActiveRun], Any], run: ActiveRun, signals: SignalWatch) -> Any:
    """Mark where the user's own frames begin."""
    __tracebackhide__ = True
    signals.raise_waiting()
    result = call(run)
    run.stop.end_main()
    return result


def outcome_of(error: BaseException | None) -> tuple[str, int]:
    """Return the status and the exit code that an end by this exception means."""
    if error is None:
        return "completed", 0
    if isinstance(error, RunStopped):
        return error.status, error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130
    if isinstance(error, SystemExit):
        code = error.code
        number = 0 if code is None else code if isinstance(code, int) else 1
        return ("completed" if number == 0 else "failed"), number & 0xFF
    return "failed", 1


def _open_debugger(error: Exception) -> None:
    import pdb
    import traceback

    print("".join(traceback.format_exception_only(error)), end="", file=sys.stderr)
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and frames.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        frames = frames.tb_next
    pdb.post_mortem(frames)


_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def _say_unprepared(name: str, error: Exception) -> None:
    say(f"{name} could not be prepared for the run: {type(error).__name__}: {error}. The run goes on.")


# The execution of the active run, for forked children of this process.
_execution: _Execution | None = None


def _abandon_inherited() -> None:
    """Let go, in a forked child, of the run that belongs to its parent."""
    execution = _execution
    _forget()
    if execution is not None:
        execution.abandon()


def _forget() -> None:
    global _execution
    _execution = None
    _current.set_current(None)


def _reset_in_child() -> None:
    global _starting
    _starting = threading.Lock()  # another thread of the parent may hold it
    if _execution is not None:
        _execution.reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
