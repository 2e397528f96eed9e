"""A sweep from its space to its end, and again: what is started, served, resumed, retried, and with which exit code."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pystematic import rundir
from pystematic.cli._sweep import describe_size
from pystematic.declare import Parameter
from pystematic.errors import ExperimentError, UsageError
from pystematic.store import runs
from pystematic.sweep import Coordinator, Event, Job, Plan, RunLimits, SweepResult
from pystematic.sweep._identity import key_of
from tests.sweep.builders import Notes, Outcome, RecordingExecutor, Target, session_of, spec_of


def target(metric: str | None = "loss:min") -> Target:
    return Target(spec_of(Parameter("lr", float, 0.1), Parameter("layers", int, 2)), metric)


Ends = Callable[[Mapping[str, Any]], Outcome | None]


def completes(values: Mapping[str, Any]) -> Outcome:
    return Outcome(loss=float(values.get("lr", 0.0)) + values["random_seed"] % 100)


def fails(values: Mapping[str, Any]) -> Outcome:
    return Outcome("failed", error=("ValueError", f"no way to use {values.get('lr')}"))


class Done:
    """How a session ended."""

    def __init__(
        self, line: str, outcome: Ends = completes, slots: int = 1, experiment: Target | None = None, **options: Any
    ) -> None:
        self.session = session_of(experiment or target(), line, "out", **options)
        self.executor = RecordingExecutor("out", outcome, slots)
        self.notes = Notes()
        self.code = self.session.run(lambda: self.executor, self.notes)
        self.started = [task.values.get("lr") for task in self.executor.tasks]
        self.result = self.session.result()


def test_every_point_of_a_grid_is_run_in_its_order() -> None:
    done = Done("--lr 0.1,0.2 --layers 1..2")
    assert done.code == 0
    assert done.executor.is_closed
    assert [(task.values["lr"], task.values["layers"]) for task in done.executor.tasks] == [
        (0.1, 1),
        (0.1, 2),
        (0.2, 1),
        (0.2, 2),
    ]
    assert done.result.counts == {"completed": 4}
    assert len({task.values["random_seed"] for task in done.executor.tasks}) == 1


def test_as_many_run_at_once_as_there_are_slots() -> None:
    assert Done("--lr 0..1:n=7", slots=3).executor.most == 3


def test_the_same_command_again_serves_what_is_finished() -> None:
    first = Done("--lr 0.1,0.2")
    again = Done("--lr 0.1,0.2")
    assert again.started == []
    assert again.code == 0
    assert again.session.plan.name == first.session.plan.name
    assert again.result.counts == {"completed": 2}


def test_a_finished_run_whose_directory_is_gone_is_run_again() -> None:
    import shutil

    first = Done("--lr 0.1,0.2")
    shutil.rmtree(first.result.runs()[1].path)
    assert Done("--lr 0.1,0.2").started == [0.2]


def test_every_point_is_run_with_the_same_seeds_and_judged_by_their_mean() -> None:
    done = Done("--lr 0.1,0.2", seeds=3)
    assert [task.values["random_seed"] for task in done.executor.tasks] == [1, 2, 3, 1, 2, 3]
    best = done.result.best
    assert best is not None
    assert best.values == {"lr": 0.1}
    assert len(best.objectives) == 3
    assert [best.mean, best.std] == pytest.approx([2.1, 1.0])


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("metric", "losses", "note"),
    [
        ("loss:min", (), "{run} has recorded no 'loss'."),
        ("loss:min", (NAN, NAN), "{run} has recorded nothing but NaN as 'loss'."),
        ("loss:min@best", (NAN,), "{run} has recorded nothing but NaN as 'loss'."),
        ("loss:min", (0.5, 0.01, NAN), "the last 'loss' of {run} is nan."),
        ("loss:min", (0.5, -INF), "the last 'loss' of {run} is -inf."),
        ("loss:min@best", (-INF, 0.01), "the best 'loss' of {run} is -inf."),
        ("loss:min", (0.5, -(10**400)), "the last 'loss' of {run} is -inf."),
        ("loss:min@best", (0.01, NAN), None),
        ("loss:min", (NAN, 0.01), None),
    ],
)
def test_a_run_whose_number_is_nan_or_infinite_never_wins(
    metric: str, losses: tuple[float, ...], note: str | None
) -> None:
    done = Done("--lr 0.1,0.2", lambda values: Outcome(losses=(1.0,) if values["lr"] == 0.1 else losses), metric=metric)

    best = done.result.best
    assert best is not None
    assert best.values == {"lr": 0.1 if note is not None else 0.2}
    run = done.result.runs()[1].id
    assert [text for text in done.notes.texts if run in text] == ([] if note is None else [note.format(run=run)])


def test_more_seeds_add_runs_to_the_points_that_are_there() -> None:
    Done("--lr 0.1,0.2", seeds=1)
    assert [task.values["random_seed"] for task in Done("--lr 0.1,0.2", seeds=2).executor.tasks] == [2, 2]


def test_a_failed_run_makes_the_exit_code_1_until_it_is_retried() -> None:
    def outcome(values: Mapping[str, Any]) -> Outcome:
        return fails(values) if values["lr"] == 0.2 else completes(values)

    first = Done("--lr 0.1,0.2,0.3", outcome)
    assert (first.code, first.result.counts) == (1, {"completed": 2, "failed": 1})
    again = Done("--lr 0.1,0.2,0.3", outcome)
    assert (again.code, again.started) == (1, [])
    retried = Done("--lr 0.1,0.2,0.3", again="failed")
    assert (retried.code, retried.started) == (0, [0.2])
    assert len(os.listdir("out/train")) == 4  # the failed one is kept


def test_a_run_that_has_exited_by_itself_was_not_killed() -> None:
    """Such as by ``sys.exit(3)``: its record knows of no error."""
    done = Done("--lr 0.1,0.2", lambda values: Outcome("failed"))
    attempts = [one for many in done.session.plan.state.attempts.values() for one in many]
    assert [(one.status, one.error) for one in attempts] == [("failed", "exited")] * 2


def test_a_run_whose_record_is_gone_has_failed_for_that() -> None:
    class Forgetful(RecordingExecutor):
        def end(self, number: int, outcome: Outcome) -> Event:
            event = super().end(number, outcome)
            shutil.rmtree(str(event.run_dir))
            return event

    session = session_of(target(), "--lr 0.1", "out")
    session.run(lambda: Forgetful("out", completes), Notes())
    ((attempt,),) = session.plan.state.attempts.values()
    assert (attempt.status, attempt.error) == ("failed", "damaged")


def test_a_retry_takes_only_its_class() -> None:
    def outcome(values: Mapping[str, Any]) -> Outcome:
        kinds = {0.1: "oom", 0.2: "ValueError", 0.3: "timeout"}
        return Outcome("failed", error=(kinds[values["lr"]], str(values["lr"])))

    Done("--lr 0.1,0.2,0.3", outcome)
    assert Done("--lr 0.1,0.2,0.3", again="oom").started == [0.1]
    assert Done("--lr 0.1,0.2,0.3", again="timeout").started == [0.3]
    assert Done("--lr 0.1,0.2,0.3", again="all").started == [0.2]


def test_retries_are_made_at_once_but_not_of_runs_without_memory() -> None:
    tried: list[float] = []

    def outcome(values: Mapping[str, Any]) -> Outcome:
        tried.append(values["lr"])
        kind = "oom" if values["lr"] == 0.2 else "ValueError"
        return completes(values) if tried.count(values["lr"]) == 2 else Outcome("failed", error=(kind, str(tried)))

    done = Done("--lr 0.1,0.2,0.3", outcome, limits=RunLimits(retries=1))
    assert tried == [0.1, 0.1, 0.2, 0.3, 0.3]
    assert done.result.counts == {"completed": 2, "failed": 1}


def test_the_sweep_stops_when_its_first_three_runs_fail_alike() -> None:
    done = Done("--lr 0..1:n=9", fails)
    assert (done.code, len(done.started)) == (1, 3)
    (note,) = done.notes.texts
    assert note.startswith("the first 3 runs have failed alike (ValueError: no way to use 0.25); no more are started.")


def test_the_attempts_of_one_run_are_not_three_runs_that_fail_alike() -> None:
    def outcome(values: Mapping[str, Any]) -> Outcome:
        return fails(values) if values["lr"] == 0.1 else completes(values)

    done = Done("--lr 0.1,0.2", outcome, limits=RunLimits(retries=3))
    assert done.started == [0.1, 0.1, 0.1, 0.1, 0.2]
    assert done.result.counts == {"completed": 1, "failed": 1}


def test_first_runs_that_fail_alike_are_tried_again_before_they_count() -> None:
    done = Done("--lr 0..1:n=9", fails, limits=RunLimits(retries=1))
    assert done.started == [0.0, 0.0, 0.125, 0.125, 0.25, 0.25]
    assert done.code == 1


def test_three_failures_behind_a_success_do_not_stop_it() -> None:
    def outcome(values: Mapping[str, Any]) -> Outcome:
        return completes(values) if values["lr"] == 0.0 else fails(values)

    assert len(Done("--lr 0..1:n=9", outcome).started) == 9


def test_fail_fast_starts_no_more_and_ends_what_runs() -> None:
    def outcome(values: Mapping[str, Any]) -> Outcome | None:
        return fails(values) if values["lr"] == 0.1 else None

    done = Done("--lr 0.2,0.1,0.3", outcome, slots=2, limits=RunLimits(fail_fast=True))
    assert (done.code, done.started) == (1, [0.2, 0.1])
    assert done.result.counts == {"interrupted": 1, "failed": 1, "planned": 1}


def test_interrupted_runs_are_run_again_in_a_new_directory_without_a_checkpoint() -> None:
    Done("--lr 0.1,0.2", lambda values: Outcome("interrupted") if values["lr"] == 0.1 else completes(values))
    again = Done("--lr 0.1,0.2")
    assert [(task.values["lr"], task.resume) for task in again.executor.tasks] == [(0.1, None)]


def test_interrupted_runs_with_a_whole_checkpoint_go_on_in_their_directory() -> None:
    first = Done("--lr 0.1", lambda values: Outcome("interrupted"))
    run = first.result.runs()[0]
    write_checkpoint(run.path)
    again = Done("--lr 0.1")
    assert [task.resume for task in again.executor.tasks] == [str(run.path)]
    assert again.code == 0


def write_checkpoint(path: Path) -> None:
    run_dir = rundir.RunDir(path)
    run_dir.checkpoints_dir.mkdir()
    file = run_dir.checkpoints_dir / "checkpoint-1.json"
    file.write_text("{}", encoding="utf-8")
    entry = {"id": "1", "file": file.name, "size": 2, "sha256": rundir.file_sha256(str(file)), "step": 1}
    rundir.write_manifest(run_dir, [entry])


@pytest.mark.parametrize("has_run_line", [True, False])
def test_runs_of_a_killed_coordinator_are_found_by_the_plan_or_by_their_records(has_run_line: bool) -> None:
    first = Done("--lr 0.1,0.2")
    plan = first.session.plan.dir.plan_file
    lines = [json.loads(line) for line in plan.read_text(encoding="utf-8").splitlines()]
    kept = [line for line in lines if line["kind"] != "end" and (has_run_line or line["kind"] != "run")]
    plan.write_text("".join(json.dumps(line) + "\n" for line in kept) + '{"kind":"en', encoding="utf-8")
    again = Done("--lr 0.1,0.2")
    assert (again.code, again.started) == (0, [])
    assert again.result.counts == {"completed": 2}
    assert [run.id for run in again.result.runs()] == [run.id for run in first.result.runs()]


def test_a_start_without_a_record_is_made_up_for() -> None:
    first = Done("--lr 0.1,0.2")
    first.session.plan.dir.plan_file.write_text(
        "".join(
            line
            for line in first.session.plan.dir.plan_file.read_text(encoding="utf-8").splitlines(keepends=True)
            if '"kind":"end"' not in line and '"kind":"run"' not in line
        ),
        encoding="utf-8",
    )
    for run in first.result.runs():
        run.dir.run_file.unlink()
    assert Done("--lr 0.1,0.2").started == [0.1, 0.2]


def test_a_second_coordinator_is_refused_by_the_name_of_the_first() -> None:
    done = Done("--lr 0.1")
    plan = Plan(done.session.plan.dir)
    plan.claim()
    try:
        with pytest.raises(ExperimentError, match=f"^the sweep '{plan.name}' is being run by process {os.getpid()} on"):
            Done("--lr 0.1")
    finally:
        plan.close()


def test_the_claim_of_a_dead_process_is_taken_over() -> None:
    done = Done("--lr 0.1")
    identity = {**rundir.process_identity(), "start_time": "0"}
    claim = done.session.plan.dir.claim_file(1)
    claim.write_text(json.dumps({"host": rundir.host_name(), "pid": identity}), encoding="utf-8")
    assert Done("--lr 0.1").code == 0
    assert done.session.plan.dir.claim_numbers() == []


def test_a_name_with_another_space_is_refused_and_points_to_add() -> None:
    Done("--lr 0.1", name="study")
    with pytest.raises(UsageError) as caught:
        Done("--lr 0.2", name="study")
    assert str(caught.value) == (
        "--name study: the sweep 'study' is another one: its space has other values of lr. Give this one another name, "
        "or add points to that one: pystematic sweep add study PARAMETERS"
    )
    added = Done("--lr 0.1,0.2", name="study", add=True)
    assert added.started == [0.2]
    assert added.result.counts == {"completed": 2}
    assert Done("--lr 0.1", name="study").started == []


@pytest.mark.parametrize(
    ("line", "options", "difference"),
    [
        ("--lr 0.1,0.2 --layers 2", {}, "its space is of lr, this one of layers, lr"),
        ("--lr 0.1,0.2", {"search": "random"}, "its --search is not given, here random"),
        ("--lr 0.1,0.2", {"seeds": 2}, "its --seeds or --random-seed are others"),
        ("--lr 0.1,0.2 --random-seed 3", {}, "its --seeds or --random-seed are others"),
    ],
)
def test_in_what_a_sweep_of_that_name_differs_is_said(line: str, options: dict[str, Any], difference: str) -> None:
    Done("--lr 0.1,0.2", name="study")
    with pytest.raises(UsageError, match=f"^--name study: the sweep 'study' is another one: {difference}. Give"):
        Done(line, name="study", **options)


def test_the_order_of_the_parameters_makes_no_other_sweep_and_is_that_of_the_result() -> None:
    def points(done: Done) -> list[tuple[float, int]]:
        return [(point.values["lr"], point.values["layers"]) for point in done.result.points]

    first = Done("--lr 0.1,0.2 --layers 1..2")
    assert points(first) == [(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)]
    again = Done("--layers 1..2 --lr 0.1,0.2")
    assert (again.session.plan.name, again.started) == (first.session.plan.name, [])
    assert points(again) == [(0.1, 1), (0.2, 1), (0.1, 2), (0.2, 2)]
    assert Done("--layers 1..2 --lr 0.1,0.2", name=first.session.plan.name).started == []


def test_a_plan_whose_key_holds_the_order_of_the_parameters_is_found() -> None:
    first = Done("--lr 0.1,0.2 --layers 1..2")
    path = first.session.plan.dir.plan_file
    head, rest = path.read_text().split("\n", 1)
    sweep = json.loads(head)
    sweep["space_key"] = key_of(
        {"experiment": "train", "space": sweep["space"], "search": None, "seeds": False, "seed": None}
    )
    path.write_text(f"{json.dumps(sweep)}\n{rest}")
    for line in ("--lr 0.1,0.2 --layers 1..2", "--layers 1..2 --lr 0.1,0.2"):
        assert Done(line).started == []
        assert Done(line, name=first.session.plan.name).started == []


# -- a default is another one ----------------------------------------------------------------------------------------


def with_decay(default: float) -> Target:
    return Target(spec_of(Parameter("lr", float, 0.1), Parameter("layers", int, 2), Parameter("decay", float, default)))


def test_points_of_another_default_take_the_place_of_those_with_the_same_values() -> None:
    first = Done("--lr 0.1,0.2", name="s")
    second = Done("--lr 0.1,0.2", experiment=with_decay(0.0), name="s")
    assert second.started == [0.1, 0.2]
    assert second.notes.texts == ["2 earlier runs do not count any more: decay was not there, and is 0.0 now."]
    assert (second.code, second.result.counts) == (0, {"completed": 2})
    assert [point.point.number for point in second.result.points] == [0, 1]
    assert not {run.path for run in second.result.runs()} & {run.path for run in first.result.runs()}
    third = Done("--lr 0.1,0.2", experiment=with_decay(0.5), name="s")
    assert third.notes.texts == ["2 earlier runs do not count any more: decay was 0.0, and is 0.5 now."]
    assert (
        third.result.describe_superseded()
        == "4 earlier runs do not count any more: decay was not there or 0.0, and is 0.5 now."
    )
    back = Done("--lr 0.1,0.2", experiment=with_decay(0.0), name="s")
    assert (back.started, back.result.counts) == ([], {"completed": 2})
    assert [run.path for run in back.result.runs()] == [run.path for run in second.result.runs()]
    assert len(list(runs("out"))) == 6


def test_a_failed_run_of_another_default_is_neither_left_to_do_nor_run_again() -> None:
    assert Done("--lr 0.1", fails, name="s").code == 1
    done = Done("--lr 0.1", experiment=with_decay(0.0), name="s")
    assert (done.code, done.result.counts) == (0, {"completed": 1})
    again = Done("--lr 0.1", experiment=with_decay(0.0), name="s", again="all")
    assert (again.code, again.started) == (0, [])


def test_before_a_default_counts_it_is_seen_what_it_replaces() -> None:
    Done("--lr 0.1,0.2", name="s")
    session = session_of(with_decay(0.0), "--lr 0.1,0.2", "out", name="s", is_dry=True)
    assert session.count == 2
    assert describe_size(session) == [
        "Sweep s: 2 points, 2 runs in all.",
        "2 earlier runs do not count any more: decay was not there, and is 0.0 now.",
    ]


def test_points_that_were_added_stay_when_a_default_changes() -> None:
    Done("--lr 0.1", name="s")
    Done("--lr 0.3", name="s", add=True)
    done = Done("--lr 0.1", experiment=with_decay(0.0), name="s")
    assert done.started == [0.1]
    assert [point.values["lr"] for point in done.result.points] == [0.1, 0.3]


def test_a_plan_that_holds_points_twice_counts_the_newest() -> None:
    done = Done("--lr 0.1,0.2")
    path = done.session.plan.dir.plan_file
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    session = next(line for line in lines if line["kind"] == "session")
    del session["base"]
    twice = [{**line, "key": f"other {line['key']}"} for line in lines if line["kind"] == "point"]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, session, *twice]))
    result = SweepResult(Plan(done.session.plan.dir).read())
    assert result.counts == {"planned": 2}
    assert (
        result.describe_superseded()
        == "2 earlier runs do not count any more: parameters outside of the space have changed."
    )
    assert Done("--lr 0.1,0.2").started == []


def test_without_a_name_a_sweep_of_another_program_or_metric_is_another_one() -> None:
    def main_of(path: str) -> Callable[[], None]:
        Path(path).write_text("def main(): pass", encoding="utf-8")
        namespace: dict[str, Any] = {}
        exec(compile(Path(path).read_text(encoding="utf-8"), path, "exec"), namespace)
        made: Callable[[], None] = namespace["main"]
        return made

    def run(path: str, metric: str) -> Done:
        experiment = target(metric)
        experiment.main_function = main_of(path)  # type: ignore[method-assign]
        return Done("--lr 0.1", experiment=experiment)

    first, other, judged = run("a.py", "loss:min"), run("b.py", "loss:min"), run("a.py", "loss:max")
    names = [done.session.plan.name for done in (first, other, judged)]
    assert len(set(names)) == 3
    assert other.notes.texts == [
        f"the sweep '{names[0]}' has the same space, but is of another program or metric: this one is '{names[1]}'."
    ]
    for path, metric, name in (("a.py", "loss:min", 0), ("b.py", "loss:min", 1), ("a.py", "loss:max", 2)):
        again = run(path, metric)
        assert (again.session.plan.name, again.started, again.notes.texts) == (names[name], [], [])


def test_a_sweep_whose_program_was_moved_is_found() -> None:
    first = Done("--lr 0.1")
    path = first.session.plan.dir.plan_file
    path.write_text(path.read_text().replace('"file":', '"file":"/nowhere/prog.py","was":'))
    again = Done("--lr 0.1")
    assert (again.session.plan.name, again.started) == (first.session.plan.name, [])


def test_a_sweep_is_asked_to_end_by_a_file() -> None:
    def outcome(values: Mapping[str, Any]) -> Outcome | None:
        if values["lr"] == 0.1:
            session = session_of(target(), "--lr 0.1,0.2,0.3", "out")
            session.plan.dir.stop_file.write_text('{"now": false}', encoding="utf-8")
        return completes(values)

    done = Done("--lr 0.1,0.2,0.3", outcome)
    assert (done.code, done.started) == (130, [0.1])
    assert Done("--lr 0.1,0.2,0.3").started == [0.2, 0.3]


def test_finished_runs_from_outside_count_with_reuse() -> None:
    Done("--lr 0.1,0.2", name="first", seeds=1)
    folder = rundir.RunDir(Path("out/train") / sorted(os.listdir("out/train"))[0])
    for name in os.listdir("out/train"):
        run_dir = rundir.RunDir(Path("out/train") / name)
        content = rundir.format_parameters(plain(0.1 if run_dir.path == folder.path else 0.2, 1))
        run_dir.parameters_file.write_text(content, encoding="utf-8")
    done = Done("--lr 0.1,0.2,0.3", name="second", seeds=1, reuse=True)
    assert done.started == [0.3]


def plain(lr: float, seed: int) -> dict[str, Any]:
    from pystematic.sweep._identity import plain_identity

    made = target()
    resolution = made.resolve({})
    return {**plain_identity(made.spec, resolution.parameters), "lr": lr, "random_seed": seed}


@pytest.mark.parametrize(
    ("line", "options", "problem"),
    [
        (
            "--lr 0..1",
            {},
            "--lr: a range without a number of values needs --search random, sobol or tpe; or say how many values it "
            "has (:n=5).",
        ),
        ("--lr 0..1:n=1001", {}, "the grid has 1001 points. If that is meant, say --yes; --dry-run shows the space."),
        (
            "--random-seed 1,2",
            {"seeds": 2},
            "--random-seed has several values, and --seeds is given. Give one of them.",
        ),
        ("--lr 1", {"trials": 3}, "--trials and --search-seed belong to --search."),
        ("--lr 1", {"name": "a/b"}, "--name 'a/b': it becomes a folder. Use letters, digits, '-', '_' and '.'."),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_run(line: str, options: dict[str, Any], problem: str) -> None:
    with pytest.raises(UsageError) as refused:
        session_of(target(), line, "out", **options)
    assert refused.value.problems == (problem,)
    assert not os.path.exists("out")


def test_an_objective_without_a_direction_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--metric 'loss': expected a metric with its direction"):
        session_of(target(), "--lr 1", "out", metric="loss")


@pytest.mark.parametrize("search", ["random", "sobol"])
def test_a_sampler_proposes_as_many_points_as_there_are_trials(search: str) -> None:
    first = Done("--lr 0..1 --layers 1..3", search=search, trials=5, search_seed=1)
    assert len({task.values["lr"] for task in first.executor.tasks}) == 5
    more = Done("--lr 0..1 --layers 1..3", search=search, trials=8, search_seed=1)
    assert len(more.started) == 3
    import shutil

    shutil.rmtree("out")
    assert (
        Done("--lr 0..1 --layers 1..3", search=search, trials=8, search_seed=1).started == first.started + more.started
    )


def test_a_sampler_ends_when_a_finite_space_is_used_up() -> None:
    done = Done("--layers 1..4", search="random", trials=50, search_seed=1)
    assert sorted(task.values["layers"] for task in done.executor.tasks) == [1, 2, 3, 4]
    assert done.notes.texts == ["the sampler proposes nothing new: 4 points are all that it finds in this space."]


def test_a_plan_that_is_cut_at_any_byte_can_be_gone_on_with() -> None:
    first = Done("--lr 0.1,0.2")
    path = first.session.plan.dir.plan_file
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        SweepResult(Plan(first.session.plan.dir).read())
    path.write_bytes(whole[: len(whole) // 2])
    assert Done("--lr 0.1,0.2").result.counts == {"completed": 2}


def test_a_retry_repeats_no_run_that_is_completed_though_the_plan_does_not_say_so() -> None:
    first = Done("--lr 0.1,0.2", name="s")
    plan = rundir.SweepDir("out", "s").plan_file
    lines = plan.read_text().splitlines(keepends=True)
    plan.write_text("".join(line for line in lines if '"kind":"end","number":1' not in line))
    again = Done("--lr 0.1,0.2", name="s", again="all")
    assert (first.started, again.started, again.code) == ([0.1, 0.2], [], 0)


def test_the_time_left_is_that_of_the_runs_so_far() -> None:
    seen: list[float | None] = []

    class Watching(Notes):
        def begin(self, coordinator: Coordinator) -> None:
            self.coordinator = coordinator

        def started(self, job: Job) -> None:
            seen.append(self.coordinator.time_left_s())

    executor = RecordingExecutor("out", completes)
    session_of(target(), "--lr 0.1,0.2,0.3", "out").run(lambda: executor, Watching())
    assert seen[0] is None
    assert [left_s is not None and left_s >= 0 for left_s in seen[1:]] == [True, True]
