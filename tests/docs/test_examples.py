"""The example works as its users run it: as a program, in real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

import pystematic
from tests.builders import run_python
from tests.docs.pages import ROOT

DIGITS = ROOT / "examples" / "digits.py"


# A busy machine takes a multiple of the time.
LIMIT_S = 240.0


def digits(*words: str) -> str:
    """Run the example, and return what it prints."""
    # One thread: several would wait for each other where another test keeps a core busy.
    done = run_python(DIGITS, *words, env={"OMP_NUM_THREADS": "1"}, timeout_s=LIMIT_S)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_model_is_trained_recorded_and_evaluated(working_dir: Path) -> None:
    printed = digits("train", "--epochs", "2", "--random-seed", "1").splitlines()
    evaluated = digits("evaluate")

    [trained] = [run for run in pystematic.runs("output") if run.experiment == "train"]
    accuracy = trained.summary["val/accuracy"]["max"]
    assert [line.partition(":")[0] for line in printed] == ["epoch 0", "epoch 1"]
    assert len(trained.metrics("train/loss")) == 2 * 23
    assert trained.path.joinpath("checkpoint-best.pt").is_file()
    assert evaluated == f"{trained.path}/checkpoint-best.pt: accuracy {accuracy:.4f} on 360 images\n"


def test_a_run_to_evaluate_may_be_named(working_dir: Path) -> None:
    digits("train", "--epochs", "1", "--limit-batches", "1")
    [trained] = pystematic.runs("output")

    assert digits("evaluate", "--model", str(trained.path)).startswith(f"{trained.path}/checkpoint-best.pt: accuracy ")


def test_the_images_are_counted(working_dir: Path) -> None:
    printed = digits("data", "summary", "--validation-share", "0.5")

    assert [line.partition(";")[0] for line in printed.splitlines()] == [
        "training: 898 images",
        "validation: 899 images",
    ]


def test_an_image_is_drawn(working_dir: Path) -> None:
    head, *rows = digits("data", "show", "--index", "3").splitlines()

    assert head.startswith("This is a ")
    assert [len(row) for row in rows] == [16] * 8
    assert set("".join(rows)) <= set(" .:-=+*#%@")


@pytest.mark.timeout(LIMIT_S)
def test_the_default_parameters_reach_an_accuracy_of_97_percent(working_dir: Path) -> None:
    digits("train", "--random-seed", "1")

    [run] = pystematic.runs("output")
    assert run.summary["val/accuracy"]["max"] >= 0.97


@pytest.mark.timeout(LIMIT_S)
def test_a_sweep_over_optimizers_and_seeds_has_its_report(working_dir: Path) -> None:
    words = ["sweep", "--name", "study", "--seeds", "2", "train", "--learning-rate", "1e-2", "--optimizer", "adamw,sgd"]
    done = run_python(
        DIGITS, *words, "--epochs", "1", "--limit-batches", "2", env={"OMP_NUM_THREADS": "1"}, timeout_s=LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    report = run_python("-m", "pystematic", "sweep", "show", "study")
    assert report.returncode == 0
    assert report.stdout == done.stdout
    assert report.stdout.splitlines()[0].split() == ["point", "optimizer", "status", "val/accuracy", "n", "run"]
    assert len(pystematic.runs("output")) == 4
