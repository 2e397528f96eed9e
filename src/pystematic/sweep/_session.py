"""`Session`: one call of a sweep. Finds or begins the plan, checks all points, and lets a coordinator run them."""

from __future__ import annotations

import os
import sys
import time

from pystematic import rundir
from pystematic._record import record
from pystematic._words import kebab
from pystematic.declare import OMITTED, Spec
from pystematic.errors import NotFoundError, UsageError
from pystematic.resolve import Given, Parameters, plain_parameters
from pystematic.rundir import SweepDir
from pystematic.store import runs
from pystematic.sweep._code import EditWatch, find_provenance
from pystematic.sweep._coordinator import Coordinator, Listener, RunLimits
from pystematic.sweep._identity import SEED_NAME, key_of, run_key
from pystematic.sweep._objective import Objective, parse_objective
from pystematic.sweep._places import make_executor_elsewhere, parse_place, place_of
from pystematic.sweep._plan import Plan, PlannedPoint, checked_sweep_name, find_plans, point_lines, relative_run_dir
from pystematic.sweep._points import PointMaker
from pystematic.sweep._results import DONE, SweepResult, superseded_sentence
from pystematic.sweep._samplers import Sampler
from pystematic.sweep._search import make_sampler
from pystematic.sweep._space import Block, Space
from pystematic.sweep._watch import MetricWatch, make_stopper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Protocol

    from pystematic.sweep._executor import Executor
    from pystematic.sweep._points import Resolve

    class SweepTarget(Protocol):
        """The experiment of a sweep."""

        metric: str | None

        @property
        def full_name(self) -> str: ...

        @property
        def main_function(self) -> Callable[..., Any]: ...

        @property
        def spec(self) -> Spec: ...


MOST_WITHOUT_QUESTION = 1000
DEFAULT_TRIALS = 20
# How long is waited for git, to say which runs other code has made.
PROVENANCE_LIMIT_S = 2.0
REPEATS = ("changed",)
RETRY_CLASSES = ("all", "failed", "lost", "oom", "timeout")


@record
class SweepOptions:
    """What is asked of a sweep beside its space; the names are those of the command line.

    ``again`` names the runs that are to be run once more, ``repeat`` those of them that are done (``changed``: by other
    code), ``add`` says that the points are added to the sweep ``name``.
    ``on`` is where runs are made, by the parameter of this name when None. ``is_dry``: nothing will be run, so that the
    points of a grid that needs ``yes`` are counted only.
    """

    name: str | None = None
    seeds: int | None = None
    search: str | None = None
    search_seed: int | None = None
    trials: int | None = None
    metric: str | None = None
    stop: str | None = None
    reuse: bool = False
    yes: bool = False
    again: str | None = None
    repeat: str | None = None
    add: bool = False
    on: str | None = None
    is_dry: bool = False
    limits: RunLimits = RunLimits()


def _too_small(options: SweepOptions) -> list[str]:
    """Return what is wrong with the options that count something."""
    limits = options.limits
    least = {"seeds": 1, "trials": 1, "threads": 1, "gpus": 0, "retries": 0}
    given = {
        "seeds": options.seeds,
        "trials": options.trials,
        "threads": limits.threads,
        "gpus": limits.gpus,
        "retries": limits.retries,
    }
    problems = [problem for name, value in given.items() if (problem := _count_problem(name, value, least[name]))]
    if limits.timeout_s is not None and not isinstance(limits.timeout_s, int | float):  # from code
        problems.append(f"--timeout {limits.timeout_s!r}: give seconds, or a text such as 2h.")
    elif limits.timeout_s is not None and limits.timeout_s <= 0:
        problems.append(f"--timeout {limits.timeout_s:g}: give more than 0 seconds.")
    return problems


def _count_problem(name: str, value: Any, least: int) -> str | None:
    """Return what is wrong with an option that counts something; from code it may be anything."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        return f"--{name} {value!r}: give a whole number."
    return f"--{name} {value}: give at least {least}." if value < least else None


class Session:
    """One call of a sweep. Making it checks everything that can be checked before the first run.

    Args:
        experiment: what is run.
        space: what is tried.
        options: what is asked beside it.
        resolve: resolves the parameters of a single run.
        words: the command line behind ``sweep``, for `retry` and `add`; None where it holds secrets, or from code.

    Raises:
        UsageError: whatever does not fit.

    Attributes:
        plan: of the sweep; claimed by `run` only.
        output_dir: the folder of the runs.
        objective: judges the runs, or None.
        new_points: points that the plan lacks, with their values.
        superseded: points of the plan whose place new ones take.
    """

    def __init__(
        self,
        experiment: SweepTarget,
        space: Space,
        options: SweepOptions,
        resolve: Resolve,
        words: Sequence[str] | None = None,
    ) -> None:
        self.experiment = experiment
        self.options = options
        self._words = None if words is None else list(words)
        self.space, self._first_seed = _without_single_seed(space, options)
        self._resolve = resolve
        self._own_seed = any(axis.name == SEED_NAME for axis in self.space.axes)
        self._check_options()
        self.objective = self._find_objective()
        settings = self._find_settings("output_dir", "on")
        self.output_dir = str(settings.get("output_dir") or "output")
        self.place = parse_place(options.on) if options.on else place_of(settings)
        self._space_plain = _plain_space(experiment.spec, self.space)
        self._space_key = self._key_of_space(_in_any_order(self._space_plain))
        self.plan, self._others = self._find_plan()
        self._seeds = self._find_seeds()
        self._maker = PointMaker(
            experiment.full_name,
            experiment.spec,
            resolve,
            self.space.settings,
            self._sources(),
            self._seeds,
            self._own_seed,
        )
        self._base = self._maker.base()
        self._base_key = "" if self._base is None else key_of(self._base)
        self._order: list[str] = []
        self.new_points: list[tuple[PlannedPoint, Mapping[str, Any]]] = []
        self.superseded: list[PlannedPoint] = []
        self.repeated = 0
        self._plan_points()

    # -- what is asked -------------------------------------------------------------------------------------------

    def _check_options(self) -> None:
        options = self.options
        problems = []
        if self.space.ranges and options.search is None:
            names = ", ".join(f"--{kebab(axis.name)}" for axis in self.space.ranges)
            problems.append(
                f"{names}: a range without a number of values needs --search random, sobol or tpe; "
                "or say how many values it has (:n=5)."
            )
        if options.search is None and (options.trials is not None or options.search_seed is not None):
            problems.append("--trials and --search-seed belong to --search.")
        problems += _too_small(options)
        if options.stop is not None:
            try:
                make_stopper(options.stop)
            except UsageError as error:
                problems += error.problems
        if options.seeds is not None and self._own_seed:
            problems.append("--random-seed has several values, and --seeds is given. Give one of them.")
        if self.are_points_counted_only and not options.is_dry:
            count = self.space.count
            problems.append(f"the grid has {count} points. If that is meant, say --yes; --dry-run shows the space.")
        if options.add and options.name is None:
            problems.append("--add needs the --name of a sweep.")
        if problems:
            raise UsageError(problems)

    @property
    def are_points_counted_only(self) -> bool:
        """Whether there are too many points to be made without ``yes``."""
        count = self.space.count
        is_many = self.options.search is None and count is not None and count > MOST_WITHOUT_QUESTION
        return is_many and not self.options.yes

    def _find_objective(self) -> Objective | None:
        if self.options.metric is not None:
            return parse_objective(self.options.metric)
        if self.experiment.metric is not None:
            return parse_objective(self.experiment.metric, "metric")
        if self.options.search == "tpe" or self.options.stop is not None:
            what = "--search tpe" if self.options.search == "tpe" else "--stop"
            raise UsageError(
                f"{what} needs to know what is good: --metric TAG:max or TAG:min, or metric= of the experiment."
            )
        return None

    def _find_settings(self, *names: str) -> Parameters:
        """Resolve parameters that all runs have in common, whatever else is wrong."""
        first = next(self.space.grid()) if self.space.count != 0 else {}
        given = dict(self.space.settings)
        given.update({name: Given("sweep", plain=value, exact=True) for name, value in first.items()})
        resolution = self._resolve({name: one for name, one in given.items() if name in names})
        return resolution.parameters

    def _find_plan(self) -> tuple[Plan, list[Plan]]:
        """Return the plan, and those of the same space that are not taken for it."""
        name = self.options.name
        if name is not None:
            plan = Plan(SweepDir(self.output_dir, checked_sweep_name(name))).read()
            if self.options.add:
                self._check_addable(plan)
            elif plan.exists and not self._is_of_space(plan.state.sweep):
                what = self._differences(plan.state.sweep)
                raise UsageError(
                    f"--name {name}: the sweep '{name}' is another one: {what}. Give this one another name, or add "
                    f"points to that one: pystematic sweep add {name} PARAMETERS"
                )
            return plan, []
        alike = find_plans(self.output_dir, self._is_of_space)
        found = [plan for plan in alike if self._is_own(plan)]
        if found:
            return found[0], []
        made = Plan(SweepDir(self.output_dir, f"{self.experiment.full_name}-{self._space_key[:6]}")).read()
        if made.exists:
            metric = None if self.objective is None else self.objective.text
            key = key_of({"space": self._space_key, "file": self._file, "metric": metric})
            made = Plan(SweepDir(self.output_dir, f"{self.experiment.full_name}-{key[:6]}")).read()
        return made, alike

    def _key_of_space(self, space: Sequence[Any]) -> str:
        return key_of(
            {
                "experiment": self.experiment.full_name,
                "space": space,
                "search": self.options.search,
                "seeds": self.options.seeds is not None,
                "seed": self._first_seed,
            }
        )

    def _is_of_space(self, head: Mapping[str, Any]) -> bool:
        """Tell by the first line of a plan whether it is one of this experiment, space, search and seeds."""
        space = head.get("space")
        if not isinstance(space, list) or head.get("experiment") != self.experiment.full_name:
            return False
        if _in_any_order(space) != _in_any_order(self._space_plain):
            return False
        # The key of an older plan was made of the space as it was written.
        return head.get("space_key") in (self._space_key, self._key_of_space(space))

    def _differences(self, head: Mapping[str, Any]) -> str:
        """Say in which way a plan is one of something else."""
        if head.get("experiment") != self.experiment.full_name:
            return f"of the experiment {head.get('experiment')!r}"
        space = head.get("space")
        if not isinstance(space, list) or _in_any_order(space) != _in_any_order(self._space_plain):
            theirs, ours = _names_of(space), _names_of(self._space_plain)
            if theirs != ours:
                return f"its space is of {', '.join(theirs) or 'no parameter'}, this one of {', '.join(ours) or 'none'}"
            plain = [key_of(block) for block in space or []]
            names = _names_of([block for block in self._space_plain if key_of(block) not in plain])
            return f"its space has other values of {', '.join(names) or ', '.join(ours)}"
        if head.get("search") != self.options.search:
            return f"its --search is {head.get('search') or 'not given'}, here {self.options.search or 'not given'}"
        return "its --seeds or --random-seed are others"

    def _is_own(self, plan: Plan) -> bool:
        """Tell whether a sweep of this space was begun by this program, and is judged by the same metric."""
        metric = None if self.objective is None else self.objective.text
        if plan.state.session and plan.state.session.get("objective") != metric:
            return False
        recorded = plan.state.sweep.get("file") or plan.state.sweep.get("program")
        path = os.path.join(self.output_dir, recorded) if isinstance(recorded, str) else ""
        if not os.path.exists(path):  # moved meanwhile, or a notebook
            return True
        main = getattr(sys.modules.get("__main__"), "__file__", None)
        return any(os.path.exists(own) and os.path.samefile(path, own) for own in (self._code_file, main) if own)

    @property
    def _code_file(self) -> str:
        code = getattr(self.experiment.main_function, "__code__", None)
        return "" if code is None else str(code.co_filename)

    @property
    def _file(self) -> str | None:
        """The file of the experiment as the plan holds it: both may be moved together."""
        return relative_run_dir(self._code_file, self.output_dir) if os.path.exists(self._code_file) else None

    def _check_addable(self, plan: Plan) -> None:
        if not plan.exists:
            raise NotFoundError(f"there is no sweep {plan.name!r} in {self.output_dir!r}.")
        if plan.state.sweep.get("experiment") != self.experiment.full_name:
            raise UsageError(f"the sweep '{plan.name}' is one of {plan.state.sweep.get('experiment')!r}.")
        if self.space.ranges:
            raise UsageError("points are added as lists of values, not as a range. Give --trials more to search on.")

    def _find_seeds(self) -> list[int]:
        if self._own_seed:
            return []
        recorded = self.plan.state.sweep.get("random_seed")
        if self.options.add:
            return list(self.plan.state.session.get("seeds") or [])
        if self.options.seeds is not None:
            first = 1 if self._first_seed is None else self._first_seed
            return [first + i for i in range(self.options.seeds)]
        if self._first_seed is not None:
            return [self._first_seed]
        if isinstance(recorded, int):
            return [recorded]
        return [int.from_bytes(os.urandom(4), "big")]

    def _sources(self) -> dict[str, str]:
        varying = set(self.space.varying)
        return {name: source for name, source in self.space.sources().items() if name not in varying}

    # -- the points ----------------------------------------------------------------------------------------------

    @property
    def is_planned(self) -> bool:
        """Whether the plan holds all points already, so that none has to be checked again."""
        state = self.plan.state
        is_same_space = key_of(state.sweep.get("space")) == key_of(self._space_plain)
        is_known = is_same_space and state.session.get("base_key") == self._base_key
        # Where some are superseded, those that count may be of a base that is not that of the newest command.
        is_whole = len(state.points) >= (self.space.count or 0)  # the last ones may be torn
        return self.plan.exists and is_known and is_whole and bool(state.points) and not state.superseded

    def _plan_points(self) -> None:
        if self.options.search is not None:
            self._check_corners()
            return
        if self.are_points_counted_only:
            self._maker.plan(next(self.space.grid()), 0)  # says what is wrong with all of them
            return
        if self.is_planned and not self.options.add:
            return
        state = self.plan.state
        keys: dict[str, None] = {}
        problems: list[str] = []
        number = state.next_point
        for values in self.space.grid():
            try:
                point, _ = self._maker.plan(values, number)
            except UsageError as error:
                problems += [problem for problem in error.problems if problem not in problems]
                if len(problems) > 10:
                    break
                continue
            if point.key in keys or (self.options.add and point.key in state.points):
                self.repeated += 1
                continue
            keys[point.key] = None
            if point.key in state.points:
                continue
            twin = state.twin(point.values)
            if twin is None:
                number += 1
            else:
                point = PlannedPoint(twin.number, point.key, point.values)
                self.superseded.append(twin)
            self.new_points.append((point, values))
        if problems:
            raise UsageError(problems)
        if not self.options.add:
            self._order = list(keys)

    def _check_corners(self) -> None:
        """Check one point of a space whose points are not known yet."""
        assert self.options.search is not None
        make_sampler(self.options.search, self.space, 0)  # says what is missing for it
        values = make_sampler("random", self.space, 0).ask(0)
        self._maker.plan(values, 0)

    @property
    def count(self) -> int:
        """How many points there are, or will be."""
        if self.options.search is not None:
            return self._trials
        if self.are_points_counted_only:
            return self.space.count or 0
        return len(self.plan.state.points) + len(self.new_points) - len(self.superseded)

    @property
    def seed_count(self) -> int:
        """How many runs there are of each point."""
        return 1 if self._own_seed else len(self._seeds)

    @property
    def _trials(self) -> int:
        recorded = self.plan.state.session.get("trials")
        return self.options.trials or (recorded if isinstance(recorded, int) else DEFAULT_TRIALS)

    # -- running -------------------------------------------------------------------------------------------------

    def make_executor(self, jobs: int | None) -> Executor:
        """Return what makes the runs, where it was asked for.

        Args:
            jobs: how many at once; None: one on this machine, as many as is usual elsewhere.

        Raises:
            ExperimentError: runs cannot be made there.
            UsageError: there is no such profile, or ``jobs`` is no number of them.
        """
        problem = _count_problem("jobs", jobs, 1)
        if problem:
            raise UsageError(problem)
        limits = self.options.limits
        if self.place.is_local:
            from pystematic.sweep._local import make_local_executor  # processes: only where something is run

            return make_local_executor(self.experiment, jobs=1 if jobs is None else jobs, gpus=limits.gpus)
        return make_executor_elsewhere(
            self.experiment,
            self.place,
            jobs=jobs,
            limits=limits,
            folder=self.plan.dir.path,
            label=f"pystematic-{self.plan.name}",
            output_dir=self.output_dir,
        )

    def run(self, make_executor: Callable[[], Executor], listener: Listener) -> int:
        """Run what is to be run; return the exit code.

        Args:
            make_executor: makes what makes the runs; called when something is to be run.
            listener: looks on.

        Raises:
            ExperimentError: another process runs this sweep.
            RunDirectoryError: the output folder cannot be written.
        """
        executor = make_executor()  # before anything is opened, since it may fork
        try:
            self.plan.claim()
            left_out = self.describe_superseded()
            self._write_first_lines()
            if left_out is not None:
                listener.note(left_out)
            if self._others and not self.plan.state.attempts:
                listener.note(
                    f"the sweep '{self._others[0].name}' has the same space, but is of another program or metric: "
                    f"this one is '{self.plan.name}'."
                )
            if executor.notice:
                listener.note(executor.notice)
            sampler = self._make_sampler()
            coordinator = Coordinator(
                self.plan,
                self._maker,
                executor,
                self.options.limits,
                self.objective,
                listener,
                sampler=sampler,
                trials=self._trials,
                watch=self._make_watch(),
                edits=EditWatch(self.experiment),
                on_recovered=lambda: self._choose_again(listener),
                typed={point.key: values for point, values in self.new_points},
            )
            return coordinator.run()
        finally:
            executor.close()
            self.plan.close()

    def result(self) -> SweepResult:
        """Return what has come of the sweep so far."""
        return SweepResult(Plan(self.plan.dir).read(), self.objective, self._order)

    def describe_superseded(self) -> str | None:
        """Say how many runs count no more as soon as the new points are planned; None: no run does."""
        state = self.plan.state
        keys = {point.key for point in self.superseded}
        runs = sum(slot[0] in keys for slot in state.attempts)
        changes = [(state.base(twin.key), self._base, twin.values) for twin in self.superseded]
        return superseded_sentence(runs, changes) if runs else None

    def _write_first_lines(self) -> None:
        lines: list[dict[str, Any]] = []
        state = self.plan.state  # read anew by the claim
        main = sys.modules.get("__main__")
        if not self.plan.exists:
            search_seed = self.options.search_seed
            lines.append(
                {
                    "kind": "sweep",
                    "schema": 1,
                    "name": self.plan.name,
                    "experiment": self.experiment.full_name,
                    "created_at": rundir.format_time(time.time()),
                    "space": self._space_plain,
                    "space_key": self._space_key,
                    "own_seed": self._own_seed,
                    "random_seed": self._seeds[0] if self._seeds and self.options.seeds is None else None,
                    "search": self.options.search,
                    "search_seed": int.from_bytes(os.urandom(4), "big") if search_seed is None else search_seed,
                    "program": getattr(main, "__file__", None),
                    "file": self._file,
                }
            )
        elif self.options.add:
            lines.append({"kind": "space", "space": self._space_plain})
        lines.append(self._session_line())
        lines += point_lines(point for point, _ in self.new_points if point.key not in state.points)
        self.plan.write(*lines, fsync=True)
        if self.options.reuse:
            self._reuse()

    def _session_line(self) -> dict[str, Any]:
        former = self.plan.state.session
        seeds = self._seeds
        return {
            "kind": "session",
            "at": time.time(),
            "objective": None if self.objective is None else self.objective.text,
            "seeds": seeds,
            "trials": self._trials if self.options.search is not None else former.get("trials"),
            "base": self._base,
            # Of points that were added the base is not that of the sweep's own command.
            "base_key": former.get("base_key") if self.options.add else self._base_key,
            "words": former.get("words") if self.options.add or self.options.again else self._words,
            "host": rundir.host_name(),
            "pid": os.getpid(),
        }

    def _make_sampler(self) -> Sampler | None:
        if self.options.search is None:
            return None
        seed = self.options.search_seed
        recorded = self.plan.state.sweep.get("search_seed")
        return make_sampler(self.options.search, self.space, int(recorded or 0) if seed is None else seed)

    def _make_watch(self) -> MetricWatch | None:
        if self.options.stop is None or self.objective is None:
            return None
        earlier = [
            (os.path.abspath(self.plan.dir.output_dir / one.run_dir), one.seed)
            for slot, attempts in self.plan.state.attempts.items()
            if slot[0] in self.plan.state.points
            for one in attempts
            if one.run_dir is not None and one.status in DONE
        ]
        return MetricWatch(make_stopper(self.options.stop), self.objective, earlier)

    def _runs_again(self, which: str) -> list[list[Any]]:
        """Return the points and seeds of the runs of a class; of all that did not complete, pruned ones excepted."""
        found: list[list[Any]] = []
        for slot, newest in self.plan.state.newest_attempts().items():
            status = newest.status
            if status is None:  # it still runs, in the queue of a cluster
                continue
            fits = {
                "all": status not in DONE,
                "failed": status == "failed",
                "lost": status == "lost",
                "oom": status == "failed" and newest.error == "oom",
                "timeout": status == "failed" and newest.error == "timeout",
            }
            if fits[which]:
                found.append(list(slot))
        return found

    def _choose_again(self, listener: Listener) -> None:
        """Have runs made again that have ended; what has ended is known only now."""
        if self.options.again is not None:
            self.plan.write({"kind": "again", "runs": self._runs_again(self.options.again)})
        self._find_changed(listener)

    def _find_changed(self, listener: Listener) -> None:
        """Count the runs that other code has made, or have them run again."""
        newest = self.plan.state.newest_attempts()
        done = {slot: one.code for slot, one in newest.items() if one.status in DONE and one.code is not None}
        found = find_provenance(self.experiment, self.output_dir, PROVENANCE_LIMIT_S) if done else None
        if found is None or found.code is None:
            return
        changed = [list(slot) for slot, code in done.items() if code != found.code]
        if not changed:
            return
        runs = "1 finished run was" if len(changed) == 1 else f"{len(changed)} finished runs were"
        if self.options.repeat == "changed":
            self.plan.write({"kind": "again", "runs": changed})
            listener.note(f"{runs} made by other code, to be run again.")
        else:
            listener.note(f"{runs} made by other code; --repeat changed runs them again.")

    def _reuse(self) -> None:
        """Take completed runs from outside the sweep for those of the plan that they are equal to."""
        wanted: dict[str, tuple[str, int | None]] = {}
        for point in self.plan.state.points.values():
            slots = [(point.key, seed) for seed in ([None] if self._own_seed else self._seeds)]
            if all(self.plan.state.newest(slot) is not None for slot in slots):
                continue
            wanted.update(zip(self._maker.keys(point), slots, strict=True))
        names = {parameter.name for parameter in self.experiment.spec.parameters if parameter.identity}
        lines: list[dict[str, Any]] = []
        number = self.plan.state.next_number
        for run in runs(self.output_dir):
            if run.experiment != self.experiment.full_name or run.status != "completed":
                continue
            plain = {name: value for name, value in run.plain_params.items() if name in names}
            key = run_key(run.experiment, plain)
            slot = wanted.pop(key, None)
            if slot is None or self.plan.state.newest(slot) is not None:
                continue
            value = None if self.objective is None else self.objective.value_of(run)
            path = os.path.relpath(run.path, self.output_dir).replace(os.sep, "/")
            begin = {"kind": "start", "number": number, "key": key, "point": slot[0], "seed": slot[1], "resume": None}
            end = {"kind": "end", "number": number, "run_dir": path, "status": "completed", "objective": value}
            end["code"] = run.document.get("code")
            metric = None if self.objective is None else self.objective.text
            lines += [begin, {**end, "metric": metric, "reused": True}]
            number += 1
        self.plan.write(*lines)


def _without_single_seed(space: Space, options: SweepOptions) -> tuple[Space, int | None]:
    """Take the one seed that is given for all points out of the space: it is what seeds are counted from."""
    for block in space.blocks:
        axis = block.axes[0]
        if len(block.axes) == 1 and axis.name == SEED_NAME and len(axis.values) == 1 and axis.values[0] is not OMITTED:
            blocks = [other for other in space.blocks if other is not block]
            return Space(blocks, space.ranges, space.settings), int(axis.values[0])
    return space, None


def _in_any_order(space: Sequence[Any]) -> list[str]:
    """Return what is the same for a space whatever the order in which its parameters are written."""
    return sorted(key_of(block) for block in space)


def _names_of(space: object) -> list[str]:
    """Return the names of the parameters of a space as JSON holds it."""
    blocks = space if isinstance(space, list) else []
    return sorted({str(name) for block in blocks if isinstance(block, dict) for name in block})


def _plain_space(spec: Spec, space: Space) -> list[Any]:
    """Return a space as JSON holds it."""
    return [_plain_block(spec, block) for block in space.blocks] + [
        {axis.name: {"low": axis.range.low, "high": axis.range.high, "log": axis.range.log}}
        for axis in space.ranges
        if axis.range is not None
    ]


def _plain_block(spec: Spec, block: Block) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for axis in block.axes:
        if isinstance(axis.values, range):
            plain[axis.name] = {"from": axis.values.start, "to": axis.values.stop - 1, "step": axis.values.step}
            continue
        values = []
        for value in axis.values:
            found = {} if value is OMITTED else plain_parameters(spec, Parameters({axis.name: value}))
            # A field of a class of a union counts only beside the choice of that class.
            values.append(found.get(axis.name, None if value is OMITTED else repr(value)))
        plain[axis.name] = values
    return plain
