"""The runs below a folder: found by their documents, in the order of their start, and which of them is best."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

import pystematic
from pystematic import rundir
from pystematic.errors import NotFoundError, UsageError
from pystematic.store import Run, Runs, runs
from tests.builders import make_run
from tests.store.builders import make_recorded, moment


def test_it_is_a_public_name() -> None:
    assert pystematic.runs is runs
    assert pystematic.Runs is Runs


def test_runs_stand_in_the_order_of_their_start(working_dir: Path) -> None:
    made = {second: make_run(working_dir, f"train-{second}", started_at=moment(second)) for second in (3, 1, 2)}

    assert [run.id for run in runs(working_dir)] == [made[second].id for second in (1, 2, 3)]


def test_runs_of_one_moment_stand_in_the_order_of_their_ids(working_dir: Path) -> None:
    made = [make_run(working_dir).id for _ in range(20)]

    assert [run.id for run in runs(working_dir)] == sorted(made)


def test_the_order_is_that_of_time_whatever_its_zone(working_dir: Path) -> None:
    later = make_run(working_dir, started_at=moment(60))
    earlier = make_run(working_dir)
    document = rundir.read_document(earlier.run_file)
    assert document is not None
    rundir.write_document(earlier.run_file, {**document, "started_at": "2026-01-02T05:04:00+02:00"})

    assert [run.id for run in runs(working_dir)] == [earlier.id, later.id]


def test_a_run_without_a_time_is_not_the_newest(working_dir: Path) -> None:
    run_dir, odd = make_run(working_dir), make_run(working_dir)
    rundir.write_document(odd.run_file, {"status": "completed"})

    assert [run.id for run in runs(working_dir)] == [odd.id, run_dir.id]


def test_the_default_is_the_folder_output(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")

    assert [run.path for run in runs()] == [run_dir.path]


def test_the_folder_of_an_experiment_or_of_a_run_may_be_given(working_dir: Path) -> None:
    run_dir = make_run(working_dir, "train")
    make_run(working_dir, "test")

    assert [run.path for run in runs(working_dir / "train")] == [run_dir.path]
    assert [run.path for run in runs(run_dir.path)] == [run_dir.path]


def test_a_missing_folder_is_a_usage_error(working_dir: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        runs("outptu")
    assert str(caught.value) == (
        "there is no folder 'outptu' with runs. Give the folder that the runs were written to."
    )


def test_an_empty_folder_has_no_runs(working_dir: Path) -> None:
    assert list(runs(working_dir)) == []


def test_a_directory_without_a_document_is_no_run_yet(working_dir: Path) -> None:
    rundir.create_run_dir(working_dir, "train")

    assert (len(runs(working_dir)), runs(working_dir).damaged) == (0, 0)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"status": null}', "\0"], ids=repr)
def test_a_directory_with_a_damaged_document_is_left_out_and_counted(content: str, working_dir: Path) -> None:
    run_dir = make_run(working_dir)
    make_run(working_dir).run_file.write_text(content)

    found = runs(working_dir)
    assert [run.id for run in found] == [run_dir.id]
    assert found.damaged == 1
    assert repr(found) == f"<Runs: 1, newest {run_dir.id}, 1 damaged>"


def test_other_files_and_folders_are_passed_over(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    make_run(working_dir / "output" / "sweeps" / "lr-study")
    make_run(working_dir / "output" / "deep" / "deeper")
    make_run(working_dir / "output", "train").path.rename(working_dir / "output" / "train" / ".hidden")
    (working_dir / "output" / "file").touch()
    (working_dir / "output" / "link").symlink_to("nowhere")

    assert [run.id for run in runs("output")] == [run_dir.id]


def test_a_folder_that_links_to_itself_is_no_problem(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    (working_dir / "output" / "again").symlink_to(".")

    assert [run.id for run in runs("output")] == [run_dir.id]


def test_a_document_that_is_a_folder_is_damaged(working_dir: Path) -> None:
    (working_dir / "train" / "x" / "run.json").mkdir(parents=True)

    assert runs(working_dir).damaged == 1


def test_runs_are_a_sequence(working_dir: Path) -> None:
    made = [make_run(working_dir, started_at=moment(second)).id for second in range(3)]
    found = runs(working_dir)

    assert len(found) == 3
    assert found[0].id == made[0]
    assert found[-1].id == made[-1]
    assert isinstance(found[1:], Runs)
    assert [run.id for run in found[1:]] == made[1:]
    assert found[0] in found
    assert repr(found) == f"<Runs: 3, newest {made[-1]}>"
    assert repr(Runs([])) == "<Runs: 0>"
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize(("metric", "second"), [("acc:max", 2), ("acc:min", 1), ("a:b:max", 0)])
def test_the_best_run_has_the_best_value_ever(metric: str, second: int, working_dir: Path) -> None:
    made = [
        make_recorded(working_dir, {"acc": [0.5, 0.1], "a:b": [9]}, 0),
        make_recorded(working_dir, {"acc": [0.0, 0.7]}, 1),
        make_recorded(working_dir, {"acc": [0.2, 0.9, 0.1], "a:b": [1]}, 2),
    ]

    best = runs(working_dir).best(metric)
    assert best is not None
    assert best.id == made[second].id


def test_the_earlier_one_of_equals_is_best(working_dir: Path) -> None:
    made = [make_recorded(working_dir, {"acc": [1]}, second) for second in (2, 0, 1)]

    assert runs(working_dir).best("acc:max") == Run(made[1].path)
    assert runs(working_dir).best("acc:min") == Run(made[1].path)


@pytest.mark.parametrize("direction", ["max", "min"])
def test_nan_never_wins(direction: str, working_dir: Path) -> None:
    make_recorded(working_dir, {"acc": [math.nan]}, 0)
    number = make_recorded(working_dir, {"acc": [math.nan, 0.5, math.nan]}, 1)
    make_recorded(working_dir, {"other": [1]}, 2)

    assert runs(working_dir).best(f"acc:{direction}") == Run(number.path)


def test_nan_in_the_summary_of_another_program_never_wins(working_dir: Path) -> None:
    foreign = make_run(working_dir, started_at=moment(0))
    foreign.summary_file.write_text('{"metrics": {"acc": {"max": NaN}}, "files": {}}')
    number = make_recorded(working_dir, {"acc": [0.5]}, 1)

    assert runs(working_dir).best("acc:max") == Run(number.path)


def test_infinities_and_big_ints_are_compared_as_numbers(working_dir: Path) -> None:
    made = [make_recorded(working_dir, {"a": [value]}, i) for i, value in enumerate([10**400, math.inf, -math.inf, 5])]

    assert runs(working_dir).best("a:max") == Run(made[1].path)
    assert runs(working_dir)[:1].best("a:max") == Run(made[0].path)
    assert runs(working_dir).best("a:min") == Run(made[2].path)


def test_when_nothing_was_recorded_no_run_is_best(working_dir: Path) -> None:
    make_recorded(working_dir, {"a": [1]})

    assert runs(working_dir).best("b:max") is None
    assert Runs([]).best("b:max") is None


def test_the_metric_that_the_experiments_declare_is_the_default(working_dir: Path) -> None:
    make_recorded(working_dir, {"loss": [1]}, 0, metric="loss:min")
    best = make_recorded(working_dir, {"loss": [0.5]}, 1, metric="loss:min")
    make_recorded(working_dir, {"loss": [2]}, 2, metric=None)

    assert runs(working_dir).best() == Run(best.path)


@pytest.mark.parametrize(
    ("metrics", "found"),
    [
        ([None], "no experiment here declares one"),
        (["a:max", "b:min", "a:max"], "the experiments declare a:max, b:min"),
    ],
)
def test_without_one_declared_metric_it_has_to_be_given(
    metrics: list[str | None], found: str, working_dir: Path
) -> None:
    for metric in metrics:
        make_run(working_dir, metric=metric)

    with pytest.raises(UsageError) as caught:
        runs(working_dir).best()
    assert str(caught.value) == f"no metric is given, and {found}. Write TAG:max or TAG:min."


@pytest.mark.parametrize("metric", ["acc", "acc:maximum", ":max", ""])
def test_a_metric_without_a_direction_is_a_usage_error(metric: str, working_dir: Path) -> None:
    with pytest.raises(UsageError) as caught:
        runs(working_dir).best(metric)
    assert str(caught.value) == f"{metric!r} is no metric with a direction. Write TAG:max or TAG:min."


def test_looking_for_runs_writes_nothing(working_dir: Path) -> None:
    make_recorded(working_dir / "output", {"a": [1]}).summary_file.unlink()
    before = sorted((folder, sorted(files)) for folder, _, files in os.walk(working_dir))
    runs("output").best("a:max")

    assert sorted((folder, sorted(files)) for folder, _, files in os.walk(working_dir)) == before
