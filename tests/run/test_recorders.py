"""What a run gives its recorder: the backends that were chosen, its own facts without secrets, and system metrics."""

from __future__ import annotations

import csv
import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from pystematic import record, rundir
from pystematic.record import Backend, RunFacts, ScalarBatch
from pystematic.run import ActiveRun, _keeper
from tests.builders import run_python, wait_until, write_program
from tests.run.builders import only_run, run_main


class Listener(Backend):
    """A backend that keeps what it is told."""

    name = "listener"

    def __init__(self) -> None:
        self.dropped = 0
        self.facts: list[RunFacts] = []
        self.tags: list[str] = []

    def start(self, run: RunFacts) -> None:
        self.facts.append(run)

    def write(self, batch: ScalarBatch) -> None:
        self.tags += batch.tags


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """Return the backend that every name stands for."""
    listener = Listener()
    monkeypatch.setattr("pystematic.record._registry.make_backend", lambda name: listener)
    return listener


def test_the_chosen_backends_get_what_is_recorded(tmp_path: Path) -> None:
    run = run_main(tmp_path, lambda active: active.recorder.scalar("loss", 0.5, 3), recorders=["csv", "csv"])

    with open(run.dir.csv_file, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["tag"], row["step"], row["value"]) for row in rows] == [("loss", "3", "0.5")]


def test_backends_begin_although_nothing_is_recorded(tmp_path: Path, listener: Listener) -> None:
    run_main(tmp_path, recorders=["csv"])

    assert len(listener.facts) == 1


def test_backends_are_told_of_the_run_without_its_secrets(tmp_path: Path, listener: Listener) -> None:
    run = run_main(
        tmp_path,
        recorders=["csv"],
        learning_rate=0.1,
        url="https://me:hunter2@example.org",
        secrets={"password": "opensesame"},
    )

    [facts] = listener.facts
    assert (facts.folder, facts.run_id, facts.experiment, facts.output_dir) == (
        str(run.path),
        run.id,
        "train",
        str(tmp_path),
    )
    assert facts.params["learning_rate"] == 0.1
    assert "hunter2" not in str(facts.params)
    assert "opensesame" not in str(facts.params)


def test_secrets_stay_out_of_recorded_texts_tables_and_parameters(tmp_path: Path) -> None:
    def main(active: ActiveRun) -> None:
        active.recorder.text("note", "the password is opensesame")
        active.recorder.text("long", "opensesame " * 10_000)
        active.recorder.table("table", [{"a": "opensesame"}])
        active.recorder.params({"b": ["opensesame"]})

    run = run_main(tmp_path, main, secrets={"password": "opensesame"})

    assert len(rundir.read_items(run.path)) == 4
    for path in Path(run.path).rglob("*"):
        assert path.is_dir() or b"opensesame" not in path.read_bytes(), path


def test_a_run_without_numbers_leaves_no_file_of_them(tmp_path: Path) -> None:
    run = run_main(tmp_path, system_metrics=True)

    assert not Path(run.dir.metrics_file()).exists()


@pytest.mark.parametrize("is_on", [True, False])
def test_system_metrics_are_recorded_where_they_are_on(
    is_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_keeper, "SAMPLE_PERIOD_S", 0.01)

    def main(active: ActiveRun) -> None:
        if is_on:
            wait_until(lambda: active._recorder is not None and Path(active.run_dir.metrics_file()).exists())
        active.recorder.scalar("loss", 0.5)

    run = run_main(tmp_path, main, system_metrics=is_on)
    tags = set(rundir.read_series(run.path).points)

    assert ("system/memory_used_bytes" in tags) is is_on
    assert "loss" in tags


def test_system_metrics_have_the_second_of_the_run_as_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "SAMPLE_PERIOD_S", 0.01)

    def main(active: ActiveRun) -> None:
        active.recorder.count = 1000
        wait_until(lambda: Path(active.run_dir.metrics_file()).exists())

    run = run_main(tmp_path, main, system_metrics=True)

    assert set(rundir.read_series(run.path).points["system/disk_free_bytes"].steps) <= set(range(60))


def test_no_sample_comes_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is being taken is finished first, and a later one is none."""
    monkeypatch.setattr(_keeper, "SAMPLE_PERIOD_S", 0.001)
    sampling = threading.Event()
    read = record.SystemMetrics.read

    def note(self: Any) -> Any:
        sampling.set()
        return read(self)

    monkeypatch.setattr(record.SystemMetrics, "read", note)
    with caplog.at_level(logging.WARNING):
        run = run_main(tmp_path, lambda active: sampling.wait(30), system_metrics=True)

    assert caplog.messages == []
    assert run.dropped == 0


def test_a_meter_that_breaks_ends_the_samples_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "SAMPLE_PERIOD_S", 0.001)
    tried = threading.Event()

    def refuse(self: object) -> dict[str, float]:
        tried.set()
        raise RuntimeError("no meter")

    monkeypatch.setattr(record.SystemMetrics, "read", refuse)
    run = run_main(tmp_path, lambda active: tried.wait(30), system_metrics=True)

    assert run.status == "completed"


def test_an_unknown_recorder_is_a_usage_error_before_anything_is_made(working_dir: Path) -> None:
    program = write_program(working_dir)
    done = run_python(program, "train", "--recorders", "csv,tensorbord", cwd=working_dir)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python prog.py train: error: unknown recorder 'tensorbord' (command line): "
        "expected console, csv, mlflow, tensorboard or wandb. Did you mean 'tensorboard'?\n"
        "See 'python prog.py train --help'.\n"
    )
    assert not Path("output").exists()


def test_recorders_of_the_command_line_reach_the_run(working_dir: Path) -> None:
    program = write_program(
        working_dir,
        """
        import pystematic

        @pystematic.experiment
        def train(parameters, context):
            context.recorder.scalar("loss", 0.5, 3)

        pystematic.global_entrypoint()
        """,
    )
    done = run_python(program, "train", "--recorders", "console,csv", "--no-system-metrics", cwd=working_dir)

    assert (done.returncode, done.stdout, done.stderr) == (0, "step 3  loss 0.5\n", "")
    run = only_run(working_dir / "output")
    assert Path(run.dir.csv_file).exists()
    # What was chosen is no part of what a run is, and is not taken over by another one.
    assert json.loads(Path(run.dir.run_file).read_text())["sources"]["recorders"] == "command line"
