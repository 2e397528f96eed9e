"""From a `Plan` to a run: the starter's part, and the part of each process that is started or joins.

Joins what `_launch` knows of processes, `_group` of torch's process group, and `pystematic.run` of one process's run.
"""

from __future__ import annotations

import os
import pickle
import sys

from pystematic import rundir
from pystematic.errors import ExperimentError
from pystematic.run import Place, RunHooks, RunRequest, die_with, execute, why_not_fork
from pystematic.torch._launch import OVERTIME_S, RankGroup, RankProcess, fork_ranks
from pystematic.torch._plan import Plan, describe
from pystematic.torch._rank_end import RankEnd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pystematic.resolve import Parameters
    from pystematic.run import ActiveRun
    from pystematic.store import Run
    from pystematic.torch._group import Meeting

# Tells a fresh process of a run which one it is; taken out of the environment as soon as it is read.
HANDOVER = "PYSTEMATIC_RANK"
# Series of all ranks that are read anew at the end; about 300,000 numbers.
RECOUNT_LIMIT_BYTES = 24 << 20
_NO_HOOKS = RunHooks(before=lambda parameters: None, after=lambda error: None)


def run_here(
    request: RunRequest, plan: Plan, call: Callable[[ActiveRun], Any], hooks: RunHooks, experiment: Any
) -> Run:
    """Run an experiment in several processes of this machine, and return the finished run."""

    def start_all(active: ActiveRun) -> Any:
        return _start_all(active, request, plan, call, experiment)

    starter = Place(world_size=plan.world_size, local_world_size=plan.nproc, is_starter=True)
    return execute(_changed(request, place=starter), start_all, hooks, experiment=experiment)


def _start_all(
    active: ActiveRun, request: RunRequest, plan: Plan, call: Callable[[ActiveRun], Any], experiment: Any
) -> Any:
    from pystematic.torch._group import open_store  # imports torch, which forked processes then have already

    request = _changed(request, restored=active.restored)  # what was found when the run was claimed
    active.settle()
    why = why_not_fork()
    run_dir = os.fspath(active.run_dir.path)
    command = [] if why is None else _command_to_repeat(why)
    how = "processes, forked from this one" if why is None else f"fresh processes: no fork, as {why}"
    print(f"Running on {plan.nproc} {how}.", file=sys.stderr)
    group = RankGroup(float(request.parameters.get("grace") or 25.0), active.run_dir.manifest_file.exists)

    def main(rank: int, end: RankEnd) -> Any:
        return be_rank(rank, plan, end, request, call, experiment, run_dir)

    try:
        active.stop.delegate(group.ask, extra_grace_s=OVERTIME_S + 4.0)
        if why is None:
            fork_ranks(group, plan.nproc, main)
        else:
            _start_fresh(group, command, plan, request, run_dir)
        if group.asked is not None:  # meanwhile, when not all were there to be told
            raise group.asked
        store = open_store(plan.world_size)
        for process in group.processes:
            process.send(f"port={store.port}\n".encode())
        try:
            return group.wait()
        finally:
            _count_in_late_numbers(run_dir)
    except BaseException:
        group.kill()
        raise


def _count_in_late_numbers(run_dir: str) -> None:
    """Bring the summary up to date where other processes have recorded on when rank 0 wrote it; all have ended now."""
    summary = rundir.read_document(rundir.RunDir(run_dir).summary_file)
    if summary is None or rundir.is_current_summary(summary, run_dir):
        return
    if sum(path.stat().st_size for path in rundir.RunDir(run_dir).metrics_files()) > RECOUNT_LIMIT_BYTES:
        return  # readers see that it is behind, and count for themselves
    try:
        rundir.rewrite_summary(run_dir)
    except OSError:  # a full disk: as above
        return


def be_rank(
    rank: int,
    plan: Plan,
    end: RankEnd,
    request: RunRequest,
    call: Callable[[ActiveRun], Any],
    experiment: Any,
    run_dir: str,
) -> Any:
    """Be one process of a run that was started here; return what the main function returns."""
    from pystematic.torch._group import Meeting, open_group, share_cores

    meeting = Meeting("127.0.0.1", int(end.read_orders()["port"]), plan.world_size)
    share_cores(plan.local_world_size)
    open_group(meeting, rank, rank, request.parameters, opens=False)
    place = Place(rank, rank, plan.world_size, plan.local_world_size, 0, run_dir, shows_output=rank == 0)
    mine = _changed(request, place=place, resumed=None)
    end.say_ready()

    def start(active: ActiveRun) -> Any:
        active.stop.hears_twice = True  # what is sent to all processes, and once more by the starter
        active.at_hard_end = end.stop_hard
        return _in_agreement(call, meeting)(active)

    return execute(mine, start, _NO_HOOKS, experiment=experiment).result


def _in_agreement(call: Callable[[ActiveRun], Any], meeting: Meeting) -> Callable[[ActiveRun], Any]:
    """Let all processes stop at the same step while ``call`` is at work."""

    def agreeing(active: ActiveRun) -> Any:
        from pystematic.torch._agree import StoreAgreement  # these import torch
        from pystematic.torch._group import DEFAULT_TIMEOUT_S
        from pystematic.torch._watch import MISSING_AFTER_S, CollectiveWatch

        limit_s = float(active.parameters.get("collective_timeout") or DEFAULT_TIMEOUT_S)
        missing_after_s = min(MISSING_AFTER_S, limit_s / 2)
        agreement = StoreAgreement(meeting.connect(), active.rank, active.world_size)
        watch = CollectiveWatch(meeting.connect(), active.rank, active.world_size, missing_after_s, _warn)
        active.stop.use_agreement(agreement)
        active.watch = watch
        try:
            return call(active)
        finally:
            watch.close()
            agreement.close()

    return agreeing


def _command_to_repeat(why: str) -> list[str]:
    """Return the command line that has started this process.

    Raises:
        ExperimentError: there is no file that a fresh process could run again.
    """
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    if not file or not os.path.exists(file) or "ipykernel" in sys.modules:
        raise ExperimentError(
            f"the processes of this run cannot be forked, as {why}, and there is no program file that fresh ones could "
            "run. Restart the kernel or interpreter and run the experiment first, or put it into a file."
        )
    return [sys.executable, *sys.orig_argv[1:]]


def _start_fresh(group: RankGroup, command: list[str], plan: Plan, request: RunRequest, run_dir: str) -> None:
    handed = pickle.dumps((_file_of(request.restored), *_picklable(request.parameters)))
    for rank in range(plan.nproc):
        group.processes.append(_start_one(rank, command, plan, request, run_dir, handed))


def _start_one(
    rank: int, command: list[str], plan: Plan, request: RunRequest, run_dir: str, handed: bytes
) -> RankProcess:
    import subprocess  # fresh interpreters cost a hundred times its import

    from_read, from_write = os.pipe()
    to_read, to_write = os.pipe()
    values_read, values_write = os.pipe()
    theirs = (from_write, to_read, values_read)
    words = (rank, plan.nproc, *theirs, os.getpid(), request.experiment, run_dir)
    try:
        popen = subprocess.Popen(
            command,
            env={**os.environ, HANDOVER: ":".join(map(str, words))},
            stdin=subprocess.DEVNULL,
            pass_fds=theirs,
            process_group=0,
        )
    finally:
        for fd in theirs:
            os.close(fd)
    popen.returncode = 0  # we reap it ourselves
    try:
        with os.fdopen(values_write, "wb") as values:
            values.write(handed)
    except BrokenPipeError:  # it has died; its end is noticed where it is waited for
        pass
    return RankProcess(rank, popen.pid, from_read, to_write)


def _picklable(parameters: Parameters) -> tuple[dict[str, Any], dict[str, str]]:
    """Return values and sources of the parameters that can be pickled; a fresh process finds the others by itself."""
    kept = {}
    for name, value in parameters.items():
        try:
            pickle.dumps(value)
        except Exception:
            continue
        kept[name] = value
    return kept, {name: parameters.source_of(name) for name in kept}


def start_run(
    request: RunRequest, plan: Plan, call: Callable[[ActiveRun], Any], hooks: RunHooks, experiment: Any
) -> Run:
    """Run an experiment in several processes as planned, and return the finished run."""
    if plan.kind == "join":
        return join(request, plan, call, hooks, experiment)
    if plan.kind == "elastic":
        from pystematic.torch._elastic import run_elastic

        command = _command_to_repeat("machines and restarts need fresh processes")
        grace_s = float(request.parameters.get("grace") or 25.0)
        return run_elastic(plan, command, int(request.parameters.get("max_restarts") or 0), grace_s)
    return run_here(request, plan, call, hooks, experiment)


class Handover:
    """What a fresh process of a run was given by the process that started it."""

    def __init__(self, text: str) -> None:
        rank, nproc, report_fd, order_fd, values_fd, starter, self.experiment, self.run_dir = text.split(":", 7)
        self.rank, self.nproc = int(rank), int(nproc)
        self._fds = (int(report_fd), int(order_fd), int(starter))
        with os.fdopen(int(values_fd), "rb") as values:
            self.checkpoint, self.values, self.sources = pickle.loads(values.read())

    def perform(self, request: RunRequest, call: Callable[[ActiveRun], Any], experiment: Any) -> None:
        """Be the process; never returns."""
        end = RankEnd(*self._fds)
        from pystematic.resolve import Parameters, secret_names_of, sources_of

        own = request.parameters
        parameters = Parameters({**own, **self.values}, {**sources_of(own), **self.sources}, secret_names_of(own))
        request = _changed(request, parameters=parameters, restored=_state_of(self.checkpoint))
        plan = Plan("launch", nproc=self.nproc, world_size=self.nproc, local_world_size=self.nproc)

        def main() -> Any:
            if request.experiment != self.experiment:
                raise ExperimentError(
                    f"this process was started as rank {self.rank} of a run of '{self.experiment}', but the program "
                    f"runs '{request.experiment}' first. Give each experiment a command of its own."
                )
            return be_rank(self.rank, plan, end, request, call, experiment, self.run_dir)

        code = 1
        try:
            code = end.run(main, self.rank)
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
            os._exit(code)


def take_handover() -> Handover | None:
    """Return what this process was given if it was started as one of a run, once."""
    text = os.environ.pop(HANDOVER, None)
    return None if text is None else Handover(text)


def join(request: RunRequest, plan: Plan, call: Callable[[ActiveRun], Any], hooks: RunHooks, experiment: Any) -> Run:
    """Be one process of a run whose processes a launcher has started."""
    from pystematic.torch._elastic import reporting

    with reporting(plan.rank):
        return _join(request, plan, call, hooks, experiment)


def _join(request: RunRequest, plan: Plan, call: Callable[[ActiveRun], Any], hooks: RunHooks, experiment: Any) -> Run:
    from pystematic.torch._elastic import note_run
    from pystematic.torch._ends import call_among_others
    from pystematic.torch._group import DEFAULT_TIMEOUT_S, Meeting, open_group

    assert plan.address is not None
    assert plan.port is not None
    if plan.launcher == "torchrun":  # others may end before their processes do
        die_with(os.getppid())
    if plan.rank == 0:
        print(describe(plan), file=sys.stderr)
    meeting = Meeting(plan.address, plan.port, plan.world_size, f"pystematic-{plan.restarts}")
    # torchrun's agent holds a store itself; with other launchers rank 0 does.
    opens = plan.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    store = open_group(meeting, plan.rank, plan.local_rank, request.parameters, opens=opens)
    place = Place(plan.rank, plan.local_rank, plan.world_size, plan.local_world_size, plan.node_rank)
    limit_s = float(request.parameters.get("collective_timeout") or DEFAULT_TIMEOUT_S)

    def in_step(active: ActiveRun) -> Any:
        def asked() -> BaseException | None:
            return None if active.stop.asked is None else active.stop.asked.exception(is_agreed=False)

        def call_and_write() -> Any:
            result = call(active)
            if plan.rank:
                # Rank 0 sums up what all have recorded as soon as it hears that all have ended.
                active.flush_recorder()
            return result

        return call_among_others(call_and_write, store, plan.rank, plan.world_size, limit_s, asked)

    agreeing = _in_agreement(in_step, meeting)
    if plan.rank == 0:

        def publish_and_call(active: ActiveRun) -> Any:
            run_dir = os.fspath(active.run_dir.path)
            note_run(run_dir)
            store.set("run", _published(request, run_dir, active.restored))
            return agreeing(active)

        return execute(_changed(request, place=place), publish_and_call, hooks, experiment=experiment)
    run_dir, values, given, checkpoint = pickle.loads(store.get("run"))
    mine = _changed(
        request,
        place=Place(**{**vars(place), "run_dir": run_dir, "shows_output": False}),
        parameters=_with_values_of_first(request.parameters, values, given),
        resumed=None,
        restored=_state_of(checkpoint),
    )
    return execute(mine, agreeing, _NO_HOOKS, experiment=experiment)


def _warn(text: str) -> None:
    print(f"pystematic: {text}", file=sys.stderr, flush=True)


def _changed(request: RunRequest, **changes: Any) -> RunRequest:
    return RunRequest(**{**vars(request), **changes})


def _file_of(state: Mapping[str, Any] | None) -> str | None:
    return None if state is None else str(state["file"])


def _state_of(checkpoint: str | None) -> Any:
    """Return the state that rank 0 goes on from, which every process reads from the shared folder itself."""
    if checkpoint is None:
        return None
    from pystematic.torch._saver import load_state

    return load_state(checkpoint)


def _published(request: RunRequest, run_dir: str, restored: Mapping[str, Any] | None) -> bytes:
    """Write what the others need of rank 0: the directory, its values, the names of those given, what it restored."""
    parameters = request.parameters
    given = {name for name in parameters if parameters.source_of(name) in ("command line", "code")}
    return pickle.dumps((run_dir, dict(parameters), given, _file_of(restored)))


def _with_values_of_first(own: Parameters, first: dict[str, Any], given: set[str]) -> Parameters:
    """Return the parameters of rank 0, which all ranks share.

    Args:
        own: of this process.
        first: of rank 0.
        given: the names of those that rank 0 was given on its command line.

    Raises:
        ExperimentError: this process was given other values, or not those.
    """
    from pystematic.resolve import Parameters, secret_names_of, sources_of

    different = []
    for name, value in first.items():
        if name in ("local_rank", "node_rank") or (own.source_of(name).startswith("default") and name not in given):
            continue
        if repr(own[name]) != repr(value):
            different.append(f"{name} is {own[name]!r} here ({own.source_of(name)}), {value!r} on rank 0")
    if different:
        raise ExperimentError(
            "the processes of this run were given different parameters: "
            + "; ".join(different)
            + ". Give all of them the same command line."
        )
    return Parameters(first, sources_of(own), secret_names_of(own))
