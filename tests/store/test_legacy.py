"""Runs of pystematic 1.x, as that left them, copied into run directories of today."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest

from pystematic.errors import NotFoundError, UsageError
from pystematic.store import Run, import_runs, runs
from tests.builders import make_run

# What pystematic 1.7.0 and pystematic-torch 1.3.4 write.
PARAMETERS = """\
debug: false
learning_rate: 0.5
local_rank: 0
name: it's
output_dir: ./output
random_seed: 1221604884
sizes:
- 1
- 2
subprocess: null
"""
LOG = """\
[2024-03-01 12:00:00] [WARNING] [x] hello
[2024-03-01 12:00:09] [INFO] [pystematic.standard] Experiment ended at
2024-03-01 12:00:09.
"""
SCALARS = """\
step, tag, value
0, train/loss, 1.5
1, train/loss, 0.25
1, a, b, 3
2, train/loss, nan
"""


def make_old_run(
    folder: Path, *, parameters: str = PARAMETERS, log: str | None = LOG, scalars: str | None = SCALARS
) -> Path:
    run = folder / "my-train" / "2024-03-01_12-00-00_8u0sfr"
    run.mkdir(parents=True)
    (run / "parameters.yaml").write_text(parameters)
    (run / "checkpoint-3.pt").write_bytes(b"state")
    if log is not None:
        (run / "log.txt").write_text(log)
        os.utime(run / "log.txt", (1.8e9, 1.8e9))
    if scalars is not None:
        (run / "scalars.csv").write_text(scalars)
    return run


def imported(folder: Path) -> Run:
    (one,) = import_runs(str(folder), "output")
    assert one.target is not None
    return Run(one.target)


def test_a_run_is_copied_with_all_that_it_has(working_dir: Path) -> None:
    old = make_old_run(working_dir / "old")
    run = imported(working_dir / "old")

    assert (run.experiment, run.id, run.status) == ("my-train", "2024-03-01_12-00-00_8u0sfr", "completed")
    assert run.params["learning_rate"] == 0.5
    assert (run.params["name"], run.params["sizes"], run.params["subprocess"]) == ("it's", [1, 2], None)
    assert run.sources["learning_rate"] == "import of pystematic 1.x"
    assert run.metrics("train/loss").step.tolist() == [0, 1, 2]
    assert run.metrics("train/loss").value.tolist()[:2] == [1.5, 0.25]
    assert run.metrics("a, b").value.tolist() == [3]
    assert run.summary["train/loss"]["last"] == 0.25
    assert run.log_text() == LOG
    assert (run.path / "checkpoint-3.pt").read_bytes() == b"state"
    assert (run.path / "parameters.1x.yaml").read_text() == PARAMETERS
    assert old.exists()
    assert sorted(os.listdir(old)) == ["checkpoint-3.pt", "log.txt", "parameters.yaml", "scalars.csv"]


def test_secrets_are_masked(working_dir: Path) -> None:
    old = make_old_run(working_dir / "old")
    with open(old / "parameters.yaml", "a", encoding="utf-8") as file:
        file.write("db_password: hunter2\nmax_secret: 3\n")
    (one,) = import_runs(str(working_dir / "old"), "output")

    assert one.target is not None
    assert "db_password is masked" in one.problem
    assert all(b"hunter2" not in path.read_bytes() for path in Path(one.target).rglob("*") if path.is_file())
    assert Run(one.target).params["max_secret"] == 3
    assert b"hunter2" in (old / "parameters.yaml").read_bytes()


def test_times_are_those_of_the_name_and_the_log(working_dir: Path) -> None:
    make_old_run(working_dir / "old")
    run = imported(working_dir / "old")

    assert run.started_at is not None
    assert run.started_at.astimezone().replace(tzinfo=None) == datetime.datetime(2024, 3, 1, 12)
    assert run.ended_at == datetime.datetime.fromtimestamp(1.8e9, datetime.UTC)


@pytest.mark.parametrize(
    ("log", "status"),
    [
        (None, "interrupted"),
        ("[2024-03-01 12:00:00] hello\n", "interrupted"),
        ("Experiment ended at 2024-03-01 12:00:09.", "completed"),
        ("Experiment ended at 2024-03-01 \n12:00:09 with an error: boom\nTraceback", "failed"),
    ],
)
def test_the_log_tells_how_it_ended(log: str | None, status: str, working_dir: Path) -> None:
    make_old_run(working_dir / "old", log=log)

    assert imported(working_dir / "old").status == status


def test_a_run_without_scalars_has_no_metrics(working_dir: Path) -> None:
    make_old_run(working_dir / "old", scalars=None)

    assert imported(working_dir / "old").summary == {}


def test_what_cannot_be_read_is_said(working_dir: Path) -> None:
    make_old_run(
        working_dir / "old",
        parameters="x: !!python/object:os.system {}\n",
        scalars="step, tag, value\n1, a\nx, a, 3\n1, a, 2\n",
    )
    (one,) = import_runs("old", "output")

    assert one.problem == (
        "its parameters could not be read: line 1: the tag '!!python/object:os.system' is refused: a file holds data "
        "only, and executes nothing.; 2 lines of scalars.csv could not be read"
    )
    assert runs("output").values("metrics.a.last") == [2]


def test_what_was_imported_before_is_passed_over(working_dir: Path) -> None:
    make_old_run(working_dir / "old")
    imported(working_dir / "old")
    (one,) = import_runs("old", "output")

    assert (one.target, one.problem) == (None, "it is there already")
    assert len(runs("output")) == 1


def test_a_copy_that_fails_leaves_nothing(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old_run(working_dir / "old")

    def refuse(source: str, target: str) -> None:
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr("pystematic.store._legacy.os.rename", refuse)
    (one,) = import_runs("old", "output")

    assert one.target is None
    assert one.problem.startswith("it cannot be copied: No space left on device (")
    assert os.listdir(working_dir / "output" / "my-train") == []


@pytest.mark.parametrize("name", ["empty", "nowhere", "new"])
def test_a_folder_without_old_runs_is_wrong_usage(name: str, working_dir: Path) -> None:
    (working_dir / "empty").mkdir()
    make_run(working_dir / "new")
    with pytest.raises(NotFoundError) as caught:
        list(import_runs(name, "output"))
    expected = f"{name!r} holds no run of pystematic 1.x, such as train/2024-01-31_12-00-00_abc123/parameters.yaml."
    assert str(caught.value) == ("there is no folder 'nowhere' to import from." if name == "nowhere" else expected)


def test_the_output_folder_is_not_imported_into_itself(working_dir: Path) -> None:
    make_old_run(working_dir / "old")
    with pytest.raises(UsageError) as caught:
        list(import_runs("old", "./old"))
    assert str(caught.value) == "'old' is the output folder itself. Name another one to copy to: --output-dir."
