"""``sweep`` on a command line: what is refused, what a dry run shows, how sweeps are looked at, what is completed."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

import pystematic as ps
from pystematic.cli._completion import candidates
from pystematic.cli._sweep_display import LineDisplay, _last
from pystematic.declare import Parameter
from pystematic.rundir import parse_yaml
from pystematic.terminal import format_cell
from tests.builders import run_python, write_program
from tests.cli.builders import program, pystematic
from tests.store.builders import make_recorded
from tests.sweep.builders import Notes, Outcome, RecordingExecutor, Target, session_of, spec_of

Capsys = pytest.CaptureFixture[str]


def define() -> ps.core.Experiment:
    @ps.parameter("lr", type=float, default=0.1)
    @ps.parameter("layers", type=int, default=2)
    @ps.experiment(metric="loss:min")
    def train(parameters: object) -> None:
        """Train."""

    return train


def test_a_dry_run_shows_the_points_and_runs_nothing(capsys: Capsys, working_dir: Path) -> None:
    define()
    ended = program(
        capsys, "sweep", "--dry-run", "--name", "s", "--seeds", "2", "train", "--lr", "0.1,0.2", "--layers", "3"
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "parameter  values\n"
        "lr         2       0.1,0.2\n"
        "layers     1       3\n\n"
        "Sweep s: 2 points, 2 seeds each, 4 runs in all.\n\n"
        "lr   layers\n0.1  3\n0.2  3\n"
    )
    assert list(working_dir.iterdir()) == []


def test_a_dry_run_may_be_json(capsys: Capsys) -> None:
    define()
    ended = program(capsys, "sweep", "--dry-run=json", "--name", "s", "train", "--lr", "0.1,0.2")
    assert json.loads(ended.out) == {"name": "s", "points": [{"lr": 0.1}, {"lr": 0.2}], "runs": 2}


def test_a_grid_that_needs_a_yes_is_shown_without_it(capsys: Capsys) -> None:
    define()
    words = ("--name", "s", "train", "--layers", "1..2000", "--lr", "0..1:n=5000")
    ended = program(capsys, "sweep", "--dry-run", *words)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("Sweep s: 10000000 points, 10000000 runs in all.\n\nIts points are listed with --yes.\n")
    assert "the grid has 10000000 points. If that is meant, say --yes" in program(capsys, "sweep", *words).err


@pytest.mark.parametrize("form", ["--dry-run=yaml", "--dry-run=json"])
def test_a_dry_run_of_a_planned_sweep_shows_its_points_too(capsys: Capsys, form: str) -> None:
    record("first")
    words = ("--name", "first", "--seeds", "2", "train", "--lr", "0.1,0.2", form)  # its place makes no difference
    ended = program(capsys, "sweep", *words)
    shown, _ = parse_yaml(ended.out)
    assert shown == {"name": "first", "points": [{"lr": 0.1}, {"lr": 0.2}], "runs": 4}


def test_a_dry_run_in_an_unknown_form_is_refused(capsys: Capsys) -> None:
    define()
    ended = program(capsys, "sweep", "train", "--lr", "0.1,0.2", "--dry-run=toml")
    assert ended.code == 2
    assert "--dry-run, from the command line: 'toml'" in ended.err


def test_all_problems_are_told_at_once(capsys: Capsys) -> None:
    define()
    ended = program(capsys, "sweep", "--seeds", "x", "--zip", "lr", "train", "--lr", "a", "--lyers", "3")
    assert ended.code == 2
    assert ended.err == (
        "python prog.py sweep: 4 errors:\n"
        "  --seeds, from the command line: 'x' is not a whole number.\n"
        "  there is no option --lyers. Did you mean --layers?\n"
        "  --lr, from the command line: 'a' is not a number.\n"
        "  --zip lr: name two parameters or more, with commas between them.\n"
        "See 'python prog.py sweep --help'.\n"
    )


def test_parameters_advance_together_by_zip(capsys: Capsys) -> None:
    define()
    words = ("--dry-run=json", "--name", "s", "train", "--lr", "0.1,0.2", "--layers", "3,4")
    ended = program(capsys, "sweep", "--zip", "lr,layers", *words)
    assert json.loads(ended.out)["points"] == [{"lr": 0.1, "layers": 3}, {"lr": 0.2, "layers": 4}]


def test_a_misspelt_option_is_told_though_its_value_stands_where_the_experiment_should(capsys: Capsys) -> None:
    define()
    ended = program(capsys, "sweep", "--jbos", "2", "train")
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        "python prog.py sweep: error: there is no option --jbos. Did you mean --jobs?",
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["train", "--seeds", "3"], "--seeds is an option of the sweep: write it before the name of the experiment."),
        (["--lr", "3", "train"], "--lr is a parameter of 'train': write it behind the name of the experiment."),
        (
            ["--output-dir", "o", "train"],
            "--output-dir is a parameter of 'train': write it behind the name of the experi",
        ),
        (["train", "--jbos", "3"], "there is no option --jbos."),
        (["train", "--lyers", "3"], "there is no option --lyers. Did you mean --layers?"),
    ],
)
def test_an_option_on_the_wrong_side_of_the_name_is_told_the_right_one(
    capsys: Capsys, words: list[str], problem: str
) -> None:
    define()
    ended = program(capsys, "sweep", *words)
    assert ended.code == 2
    assert ended.err.startswith(f"python prog.py sweep: error: {problem}")


def test_an_experiment_of_a_group_is_missed_by_the_names_of_the_group(capsys: Capsys) -> None:
    @ps.group
    def digits() -> None: ...

    @digits.experiment
    def fit(parameters: object) -> None: ...

    message = "the name of an experiment is missing. There is only fit."
    assert program(capsys, "sweep", "digits").err.startswith(f"python prog.py sweep: error: {message}")


def test_a_secret_has_one_value_and_is_not_shown(capsys: Capsys) -> None:
    @ps.parameter("key", type=str, secret=True)
    @ps.experiment
    def fit(parameters: object) -> None: ...

    assert (
        "--key has several values (command line), but is secret"
        in program(capsys, "sweep", "--dry-run", "fit", "--key", "one,two").err
    )
    shown = program(capsys, "sweep", "--dry-run", "fit", "--key", "one").out
    assert shown.endswith("key\n<masked>\n")
    assert "one" not in shown


def test_numbers_that_are_too_small_are_refused_before_anything_is_run(capsys: Capsys, working_dir: Path) -> None:
    define()
    words = ("--seeds", "0", "--threads", "0", "--gpus", "-1", "--retries", "-1", "--timeout", "0", "train")
    ended = program(capsys, "sweep", *words)
    assert (ended.code, ended.err.splitlines()[1:-1]) == (
        2,
        [
            "  --seeds 0: give at least 1.",
            "  --threads 0: give at least 1.",
            "  --gpus -1: give at least 0.",
            "  --retries -1: give at least 0.",
            "  --timeout 0: give more than 0 seconds.",
        ],
    )
    assert list(working_dir.iterdir()) == []


def test_a_misspelt_experiment_is_refused(capsys: Capsys) -> None:
    define()
    assert "there is no experiment 'tran'. Did you mean 'train'?" in program(capsys, "sweep", "tran").err


def test_an_experiment_named_sweep_wins(capsys: Capsys) -> None:
    @ps.experiment
    def sweep(parameters: object) -> None:
        print("mine")

    assert program(capsys, "sweep").out == "mine\n"


def test_a_group_leads_to_its_experiments(capsys: Capsys) -> None:
    @ps.group
    def digits() -> None: ...

    @ps.parameter("lr", type=float, default=0.1)
    @digits.experiment
    def fit(parameters: object) -> None: ...

    ended = program(capsys, "sweep", "--dry-run", "--name", "s", "digits", "fit", "--lr", "1,2")
    assert "Sweep s: 2 points, 2 runs in all." in ended.out


def test_usage_errors_are_raised_where_that_is_asked_for() -> None:
    train = define()
    with pytest.raises(ps.core.Error, match="'a' is not a number"):
        train.cli(["sweep", "train", "--lr", "a"], exit_on_error=False)


def record(name: str) -> None:
    """Run a sweep without processes."""
    target = Target(define().spec)
    session = session_of(target, "--lr 0.1,0.2", "output", name=name, seeds=2)
    executor = RecordingExecutor("output", lambda values: Outcome(loss=values["lr"] + values["random_seed"]))
    session.run(lambda: executor, Notes())


def test_sweeps_are_listed_and_shown(capsys: Capsys) -> None:
    record("first")
    assert pystematic(capsys, "sweep", "ls", "--output", "csv").out.splitlines()[1].startswith("first,train,")
    shown = json.loads(pystematic(capsys, "sweep", "show", "first", "--output=json").out)
    assert shown["counts"] == {"completed": 4}
    assert [(point["values"], point["mean"], point["n"]) for point in shown["points"]] == [
        ({"lr": 0.1}, 1.6, 2),
        ({"lr": 0.2}, pytest.approx(1.7), 2),
    ]
    assert "Best loss:min: 1.6 ± 0.71 (n=2)  lr=0.1" in pystematic(capsys, "sweep", "show", "first").out


def test_only_what_beats_all_earlier_runs_is_called_the_best(capsys: Capsys) -> None:
    record("first")

    def add(value: float) -> str:
        session = session_of(Target(define().spec), f"--lr {value}", "output", name="first", add=True)
        executor = RecordingExecutor("output", lambda values: Outcome(loss=values["lr"] + 3 - values["random_seed"]))
        session.run(lambda: executor, LineDisplay(session, sys.stderr))
        return capsys.readouterr().err

    assert "best " not in add(0.15)
    assert "best       lr=0.05 seed=2  loss 1.05\n" in add(0.05)


def test_best_of_a_sweep_is_judged_as_the_sweep_is(capsys: Capsys) -> None:
    record("first")
    found = json.loads(pystematic(capsys, "best", "--sweep", "first", "--output=json").out)
    assert (found["metric"], found["value"], found["n"], len(found["runs"])) == ("loss:min", 1.6, 2, 2)
    lines = pystematic(capsys, "best", "--sweep", "first").out.splitlines()
    assert lines[0] == "Best of 2 by loss:min: 2 runs of train with 1.60 ± 0.71"
    assert [line.split() for line in lines[-3:]] == [
        ["run", "loss:min", "lr"],
        ["2", "runs", "1.60", "±", "0.71", "0.1"],
        ["2", "runs", "1.70", "±", "0.71", "0.2"],
    ]
    shown = pystematic(capsys, "best", "loss:min", "--sweep", "first", "--output=json").out
    assert json.loads(shown)["value"] == 1.1


def test_best_of_a_sweep_leaves_out_what_does_not_count_there(capsys: Capsys) -> None:
    def run(target: Target, loss: float) -> None:
        session = session_of(target, "--lr 0.1", "output", name="s")
        session.run(lambda: RecordingExecutor("output", lambda values: Outcome(loss=loss)), Notes())

    run(Target(define().spec), 0.1)
    run(Target(spec_of(Parameter("lr", float, 0.1), Parameter("decay", float, 0.5))), 0.2)
    for words in ((), ("loss:min",)):
        found = json.loads(pystematic(capsys, "best", *words, "--sweep", "s", "--output=json").out)
        assert found["value"] == 0.2
    assert "1 earlier run does not count any more: " in pystematic(capsys, "sweep", "show", "s").out


def test_best_of_a_sweep_of_which_no_point_is_complete(capsys: Capsys) -> None:
    session = session_of(Target(define().spec), "--lr 0.1", "output", name="s")
    session.run(lambda: RecordingExecutor("output", lambda values: Outcome("failed", loss=1.0)), Notes())
    ended = pystematic(capsys, "best", "--sweep", "s")
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        "pystematic best: error: no point of the sweep 's' has completed with a number for 'loss'.",
    )


def test_best_of_a_sweep_leaves_out_runs_whose_last_number_is_nan(capsys: Capsys) -> None:
    def run(name: str, diverging: float) -> None:
        executor = RecordingExecutor(
            "output", lambda values: Outcome(losses=(values["lr"], math.nan)[: 1 + (values["lr"] <= diverging)])
        )
        session_of(Target(define().spec), "--lr 0.1,0.2", "output", name=name).run(lambda: executor, Notes())

    run("some", diverging=0.1)
    run("all", diverging=0.2)
    found = json.loads(pystematic(capsys, "best", "--sweep", "some", "--output=json").out)
    assert found["value"] == 0.2
    assert (
        pystematic(capsys, "best", "--sweep", "all").err.splitlines()[0]
        == "pystematic best: error: no point of the sweep 'all' has completed with a number for 'loss'."
    )


def test_the_table_of_a_running_sweep_shows_that_a_number_is_nan_now(working_dir: Path) -> None:
    for losses, shown in (([0.5, math.nan], "nan"), ([math.nan, 0.5], "0.5")):
        run_dir = make_recorded(working_dir / "output", {"loss": losses})
        assert format_cell(_last(str(run_dir.path), "loss")) == shown


def test_an_unknown_sweep_is_refused_with_the_nearest_name(capsys: Capsys) -> None:
    record("first")
    ended = pystematic(capsys, "sweep", "show", "frist")
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        "pystematic sweep: error: there is no sweep 'frist' in './output'. Did you mean 'first'?",
    )


def test_a_plan_that_cannot_be_read_is_told_from_one_that_is_not_there(capsys: Capsys) -> None:
    record("first")
    Path("output/sweeps/first/plan.jsonl").write_text("{")
    ended = pystematic(capsys, "sweep", "show", "first")
    assert ended.code == 2
    assert "the plan of the sweep 'first' cannot be read (output/sweeps/first/plan.jsonl)." in ended.err


def test_a_folder_that_is_not_there_is_none_without_sweeps(capsys: Capsys) -> None:
    for words in (["ls"], ["show", "first"]):
        ended = pystematic(capsys, "sweep", *words, "--output-dir", "nowhere")
        assert (ended.code, ended.err.splitlines()[0]) == (
            2,
            "pystematic sweep: error: there is no folder 'nowhere' with runs (command line).",
        )


def test_add_without_points_is_refused(capsys: Capsys) -> None:
    record("first")
    ended = pystematic(capsys, "sweep", "add", "first")
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        "pystematic sweep: error: expected: pystematic sweep add NAME PARAMETERS ...",
    )


def test_only_a_running_sweep_is_stopped(capsys: Capsys) -> None:
    record("first")
    assert pystematic(capsys, "sweep", "stop", "first").code == 2


def test_options_experiments_and_parameters_of_a_sweep_are_completed(working_dir: Path) -> None:
    run_python(write_program(working_dir))  # which leaves the description that is read here
    assert "--seeds" in candidates(["python", "prog.py", "sweep", "--se"])
    assert list(candidates(["python", "prog.py", "sweep", "--search", ""])) == ["random", "sobol", "tpe"]
    assert list(candidates(["python", "prog.py", "sweep", "--jobs", "2", ""])) == ["train"]
    assert "--learning-rate" in candidates(["python", "prog.py", "sweep", "--jobs", "2", "train", "--l"])
    assert list(candidates(["python", "prog.py", "sw"])) == ["sweep"]


def test_words_and_names_of_sweeps_are_completed() -> None:
    record("first")
    assert list(candidates(["pystematic", "sweep", ""])) == ["ls", "show", "add", "retry", "stop"]
    assert list(candidates(["pystematic", "sweep", "show", ""])) == ["first"]


def test_the_help_page_lists_the_options(capsys: Capsys) -> None:
    define()
    page = program(capsys, "sweep", "--help").out
    assert page.startswith("Usage: python prog.py sweep [SWEEP OPTIONS] EXPERIMENT [PARAMETERS]\n")
    assert "--memory SIZE" in page
