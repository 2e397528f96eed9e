"""Which run ``--resume`` means, what counts of its parameters, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import pystematic
from pystematic import rundir
from pystematic.errors import UsageError
from tests.builders import make_run


@pystematic.parameter(name="lr", type=float, default=0.1)
@pystematic.parameter(name="fails", type=bool, default=True, is_flag=True)
@pystematic.experiment
def train(parameters: Any) -> float:
    if parameters["fails"]:
        raise ValueError
    value: float = parameters["lr"]
    return value


def fail(*words: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        train.cli([*words, "--capture", "off"], exit_on_error=False)


def go_on(*words: str) -> Any:
    return train.cli([*words, "--no-fails", "--capture", "off"], exit_on_error=False)


def documents(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("output/train/*/run.json"))]


def test_recorded_parameters_count_and_the_command_line_wins(
    working_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fail("--lr", "0.5")
    run = go_on("--resume", "last")
    assert run.result == 0.5
    (document,) = documents(working_dir)
    assert [attempt["status"] for attempt in document["attempts"]] == ["failed", "completed"]
    assert document["attempts"][1]["changed"] == {"fails": [True, False]}
    assert document["sources"]["lr"] == "command line"
    assert f"pystematic: other parameters than in {run.id}: fails: True -> False" in capsys.readouterr().err


def test_auto_goes_on_with_the_newest_of_the_same_parameters_again_and_again(working_dir: Path) -> None:
    fail("--lr", "0.5", "--resume", "auto")
    fail("--lr", "0.7", "--resume", "auto")
    fail("--lr", "0.5", "--resume", "auto")
    fail("--lr", "0.5", "--resume", "auto")
    found = {document["id"]: document for document in documents(working_dir)}
    assert sorted(len(document["attempts"]) for document in found.values()) == [1, 3]


def test_auto_starts_a_new_run_when_all_are_completed(working_dir: Path) -> None:
    first = go_on("--resume", "auto")
    assert go_on("--resume", "auto").id != first.id


def test_auto_inside_a_job_takes_the_run_of_the_same_job_and_task(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    for task in "12":
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        fail("--lr", f"0.{task}")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    assert go_on("--resume", "auto").result == 0.1
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert go_on("--resume", "auto", "--lr", "0.3").result == 0.3
    assert len(documents(working_dir)) == 3


def test_a_run_that_is_not_there_is_a_usage_error(working_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"^--resume: "):
        go_on("--resume", "nothing")


def test_a_run_of_another_experiment_is_refused(working_dir: Path) -> None:
    other = make_run(working_dir / "output", "other", status="failed")
    with pytest.raises(UsageError) as caught:
        go_on("--resume", str(other.path))
    assert str(caught.value) == f"--resume {other.path}: {other.id} is a run of other, not of train."


def test_a_completed_run_is_refused(working_dir: Path) -> None:
    run = go_on()
    with pytest.raises(UsageError, match=f"^--resume last: {run.id} is completed. Start a new run from one of its"):
        go_on("--resume", "last")


def test_a_live_run_is_refused(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output", status="running", host=rundir.host_name(), pid=rundir.process_identity())
    with pytest.raises(pystematic.ExperimentError, match=f"^the run {run_dir.id} is alive: process"):
        go_on("--resume", run_dir.id)
    assert json.loads(run_dir.run_file.read_text())["status"] == "running"
