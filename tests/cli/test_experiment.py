"""The command line of a program: usage errors by their whole text, dry runs, exit codes in a real interpreter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

import pystematic
from pystematic.errors import UsageError
from tests.builders import PROCESS_LIMIT_S, make_run, run_python, write_program
from tests.cli.builders import Ended, program

Capsys = pytest.CaptureFixture[str]


def define_train() -> pystematic.Experiment:
    """Define an experiment that prints its own parameters."""

    @pystematic.parameter("learning_rate", type=float, default=1e-3)
    @pystematic.parameter("epochs", type=int, default=10)
    @pystematic.parameter("optimizer", type=Literal["sgd", "adam"], default="adam")
    @pystematic.parameter("sizes", type=list[int], default=[1, 2])
    @pystematic.parameter("amp", is_flag=True)
    @pystematic.parameter("note_text", default=None)
    @pystematic.parameter("api_key", default=None)
    @pystematic.experiment
    def train(parameters: pystematic.Parameters) -> dict[str, object]:
        """Train a model."""
        own = ("learning_rate", "epochs", "optimizer", "sizes", "amp", "note_text")
        return {name: parameters[name] for name in own}

    return train


def define_tools() -> pystematic.Group:
    """Define a group with a parameter, an experiment, and a group inside."""

    @pystematic.parameter("root", default="here")
    @pystematic.group
    def tools() -> None:
        """Tools of all kinds."""

    @pystematic.parameter("depth", type=int, default=1)
    @tools.experiment
    def clean(parameters: pystematic.Parameters) -> tuple[object, object]:
        """Clean up."""
        return parameters["root"], parameters["depth"]

    @tools.group
    def deep() -> None:
        """Deeper."""

    @deep.experiment
    def sweep(parameters: pystematic.Parameters) -> object:
        """Sweep the floor."""
        return parameters["root"]

    return tools


def usage_error(*problems: str, prog: str = "python prog.py train") -> Ended:
    """Return how a command line with these problems must end."""
    if len(problems) == 1:
        text = f"{prog}: error: {problems[0]}\n"
    else:
        text = "".join([f"{prog}: {len(problems)} errors:\n", *(f"  {problem}\n" for problem in problems)])
    return Ended(2, "", f"{text}See '{prog} --help'.\n")


# -- usage errors ------------------------------------------------------------------------------------------------


def test_all_problems_are_reported_at_once(capsys: Capsys) -> None:
    define_train()
    ended = program(
        capsys, "train", "--epoch", "3", "--learning-rate", "fast", "--optimizer", "adm", "--sizes", "1", "b"
    )
    assert ended == usage_error(
        "there is no option --epoch. Did you mean --epochs?",
        "--learning-rate, from the command line: 'fast' is not a number.",
        "--optimizer, from the command line: 'adm' is not one of sgd or adam. Did you mean 'adam'?",
        "--sizes, from the command line: 'b' is not a whole number.",
    )


def test_an_unknown_experiment_gets_the_nearest_name(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "tran", "--epochs", "3") == usage_error(
        "there is no experiment 'tran'. Did you mean 'train'?", prog="python prog.py"
    )


def test_where_no_name_is_near_all_are_listed(capsys: Capsys) -> None:
    define_train()
    define_tools()
    assert program(capsys, "evaluate") == usage_error(
        "there is no experiment 'evaluate'. There are train, tools.", prog="python prog.py"
    )


def test_an_unknown_experiment_of_a_group_names_the_group(capsys: Capsys) -> None:
    define_tools()
    assert program(capsys, "tools", "clear") == usage_error(
        "there is no experiment 'clear' in the group 'tools'. Did you mean 'clean'?", prog="python prog.py tools"
    )


def test_a_program_without_experiments_says_so(capsys: Capsys) -> None:
    assert program(capsys, "train") == usage_error(
        "there is no experiment 'train'. None is defined yet.", prog="python prog.py"
    )


def test_an_option_before_the_experiment_is_told_its_place(capsys: Capsys) -> None:
    define_train()
    # The word behind it is its value, not the name of an experiment.
    assert program(capsys, "--epochs", "3", "train", "--sizes", "x") == usage_error(
        "--epochs stands before the name of the experiment. Write it behind: EXPERIMENT --epochs ...",
        "--sizes, from the command line: 'x' is not a whole number.",
    )


def test_the_value_of_an_unknown_option_is_no_experiment(capsys: Capsys) -> None:
    define_tools()
    assert program(capsys, "tools", "--rot", "there", "clean") == usage_error(
        "there is no option --rot. Did you mean '--root'?", prog="python prog.py tools clean"
    )


def test_a_flag_before_the_experiment_takes_no_word(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "--amp", "train") == usage_error(
        "--amp stands before the name of the experiment. Write it behind: EXPERIMENT --amp ..."
    )


def test_options_without_an_experiment_ask_for_its_name(capsys: Capsys) -> None:
    define_tools()
    assert program(capsys, "tools", "--root", "there") == usage_error(
        "the name of an experiment is missing. There are clean, deep.", prog="python prog.py tools"
    )


def test_an_option_is_never_a_value(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "train", "--note-text", "--epochs", "3") == usage_error(
        "--note-text needs a value, but the option --epochs follows it. "
        "If that is the value, write --note-text=--epochs."
    )


def test_a_scalar_given_twice_is_refused(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "train", "--epochs", "3", "--epochs", "4") == usage_error(
        "--epochs is given twice: '3', then '4'. Give it once."
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["fast"], "'fast' belongs to no option."),
        (["epochs=3"], "'epochs=3' belongs to no option. Write --epochs=3."),
        (["learning_rate=3"], "'learning_rate=3' belongs to no option. Write --learning-rate=3."),
        (["--dry-run", "json"], "'json' belongs to no option. Write --dry-run=json."),
        (["--", "--epochs"], "'--epochs' belongs to no option."),
    ],
)
def test_a_stray_word_is_told_how_to_be_written(capsys: Capsys, words: list[str], problem: str) -> None:
    define_train()
    assert program(capsys, "train", *words) == usage_error(problem)


def test_a_required_parameter_is_asked_for_with_its_option(capsys: Capsys) -> None:
    @pystematic.parameter("data", required=True)
    @pystematic.experiment
    def evaluate(parameters: pystematic.Parameters) -> None: ...

    assert program(capsys, "evaluate") == usage_error(
        "--data is required. Give it on the command line (--data TEXT) or in a params file.",
        prog="python prog.py evaluate",
    )


def test_a_wrong_value_in_a_file_is_told_its_line(capsys: Capsys, working_dir: Path) -> None:
    define_train()
    Path("p.yaml").write_text("epochs: 3\nsizes: [1, two]\nlearning_rat: 1\n")
    assert program(capsys, "train", "--params-file", "p.yaml") == usage_error(
        "file p.yaml:3: there is no parameter 'learning_rat'. Did you mean 'learning_rate'?",
        "sizes, from file p.yaml:2: 'two' is not a whole number.",
    )


def test_the_value_of_a_secret_is_in_no_message(capsys: Capsys) -> None:
    @pystematic.parameter("pin", type=int, default=None, secret=True)
    @pystematic.experiment
    def train(parameters: pystematic.Parameters) -> None: ...

    assert program(capsys, "train", "--pin", "hunter2") == usage_error(
        "--pin, from the command line: the masked value is not int."
    )


def test_a_device_that_is_switched_off_is_refused(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "train", "--device", "cuda:1", "--no-cuda") == usage_error(
        "device is 'cuda:1' (command line), but cuda is off (command line): give either --device cuda:1 or --no-cuda"
    )


def test_no_batch_at_all_is_refused(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "train", "--limit-batches", "0") == usage_error(
        "limit_batches is 0 (command line): give at least 1"
    )


def test_no_checkpoint_at_all_is_refused(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "train", "--keep-last", "0") == usage_error("keep_last is 0 (command line): give at least 1")


def test_without_exit_on_error_all_problems_are_raised(capsys: Capsys) -> None:
    train = define_train()
    with pytest.raises(pystematic.core.Error) as caught:
        train.cli(["--epochs", "x", "--amp=maybe"], exit_on_error=False)
    assert isinstance(caught.value, UsageError)
    assert caught.value.problems == (
        "--epochs, from the command line: 'x' is not a whole number.",
        "--amp, from the command line: 'maybe' is not true or false.",
    )
    assert capsys.readouterr().err == ""


def test_an_unknown_place_for_a_run_names_those_that_there_are(capsys: Capsys) -> None:
    define_train()
    ended = program(capsys, "train", "--on=slrum:gpu")
    assert ended.code == 2
    assert ended.err.startswith(
        "python prog.py train: error: on (command line) 'slrum:gpu': there is no such place. Did you mean 'slurm'? "
        "Known: local, slurm[:PROFILE], ray[:ADDRESS].\n"
    )


# -- what is run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sweep", "ls", "run", "help"])
def test_an_experiment_may_have_any_name(capsys: Capsys, name: str) -> None:
    @pystematic.experiment(name=name)
    def train() -> str:
        return name

    assert program(capsys, name).value.result == name


def test_values_come_from_the_command_line(capsys: Capsys) -> None:
    define_train()
    words = ["--learning-rate", "1e-2", "--epochs=3", "--optimizer", "SGD", "--sizes", "3", "4", "--amp"]
    assert program(capsys, "train", *words).value.result == {
        "learning_rate": 0.01,
        "epochs": 3,
        "optimizer": "sgd",
        "sizes": [3, 4],
        "amp": True,
        "note_text": None,
    }


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--sizes", "1", "2", "3"], "sizes", [1, 2, 3]),
        (["--sizes", "1", "--sizes", "2", "--sizes", "3"], "sizes", [1, 2, 3]),
        (["--sizes", "1,2,3"], "sizes", [1, 2, 3]),
        (["--sizes", "[1, 2, 3]"], "sizes", [1, 2, 3]),
        (["--sizes", "-1", "-2"], "sizes", [-1, -2]),
        (["--amp=false"], "amp", False),
        (["--no-amp"], "amp", False),
        (["--amp"], "amp", True),
        (["--learning-rate", "-1"], "learning_rate", -1.0),
        (["--learning-rate", "-.5"], "learning_rate", -0.5),
        (["--learning-rate", "-inf"], "learning_rate", float("-inf")),
        (["--note-text", "none"], "note_text", None),
        (["--note-text", "=none"], "note_text", "none"),
        (["--note-text==--epochs"], "note_text", "--epochs"),
    ],
)
def test_the_grammar_of_values(capsys: Capsys, words: list[str], name: str, value: object) -> None:
    define_train()
    assert program(capsys, "train", *words).value.result[name] == value


@pytest.mark.parametrize(
    "words",
    [
        ["tools", "--root", "there", "clean", "--depth", "2"],
        ["tools", "clean", "--depth", "2", "--root", "there"],
        ["tools", "--root=there", "clean", "--depth=2"],
    ],
)
def test_parameters_of_a_group_stand_before_or_after_the_name(capsys: Capsys, words: list[str]) -> None:
    define_tools()
    assert program(capsys, *words).value.result == ("there", 2)


def test_a_parameter_of_an_outer_group_may_be_given_at_every_place(capsys: Capsys) -> None:
    define_tools()
    assert program(capsys, "tools", "deep", "--root", "there", "sweep").value.result == "there"


def test_a_group_has_a_command_line_of_its_own(capsys: Capsys) -> None:
    run = define_tools().cli(["deep", "sweep"])
    assert run is not None
    assert run.result == "here"
    assert run.experiment == "tools.deep.sweep"


def test_no_variable_is_read_by_accident(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    define_train()
    for name in ("EPOCHS", "epochs", "LEARNING_RATE", "RANDOM_SEED", "DEBUG", "NOTE", "DEVICE", "TAGS", "AMP"):
        monkeypatch.setenv(name, "7")
    run = program(capsys, "train").value
    assert set(run.sources.values()) == {"default"}


def test_a_named_variable_beats_the_file_and_the_command_line_beats_both(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    @pystematic.parameter("a", default="default", envvar="OWN_A")
    @pystematic.parameter("b", default="default", envvar="OWN_B")
    @pystematic.parameter("c", default="default")
    @pystematic.parameter("d", default="default")
    @pystematic.experiment(defaults={"d": "of experiment"})
    def train(parameters: pystematic.Parameters) -> dict[str, object]:
        return {name: (parameters[name], parameters.source_of(name)) for name in "abcd"}

    Path("p.json").write_text('{"a": "file", "b": "file", "c": "file"}')
    monkeypatch.setenv("OWN_A", "variable")
    monkeypatch.setenv("OWN_B", "variable")
    assert program(capsys, "train", "--a", "words", "--params-file", "p.json").value.result == {
        "a": ("words", "command line"),
        "b": ("variable", "environment OWN_B"),
        "c": ("file", "file p.json:1"),
        "d": ("of experiment", "default of experiment"),
    }


def test_a_recorded_run_is_a_params_file(capsys: Capsys) -> None:
    define_train()
    first = program(capsys, "train", "--epochs", "5", "--random-seed", "1").value
    second = program(capsys, "train", "--params-file", "last").value
    assert second.params["epochs"] == 5
    assert second.params["random_seed"] == 1
    assert second.sources["epochs"] == f"run {first.id}"


def test_last_is_the_last_run_of_the_experiment_itself(capsys: Capsys, working_dir: Path) -> None:
    define_train()
    own = program(capsys, "train", "--epochs", "5").value
    make_run(working_dir / "output", "other", params={"epochs": 7})
    assert program(capsys, "train", "--params-file", "last").value.sources["epochs"] == f"run {own.id}"


def test_the_whole_command_is_in_the_record(capsys: Capsys) -> None:
    define_train()
    run = program(capsys, "train", "--epochs", "3", "--api-key", "hunter2").value
    assert run.document["argv"] == ["prog.py", "train", "--epochs", "3", "--api-key", "<masked>"]


# -- help and version --------------------------------------------------------------------------------------------


def test_version(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "--version") == Ended(0, f"pystematic {pystematic.__version__}\n", "")


def test_an_experiment_may_have_a_version_of_its_own(capsys: Capsys) -> None:
    @pystematic.parameter("version", type=int, default=1)
    @pystematic.experiment
    def train(parameters: pystematic.Parameters) -> object:
        return parameters["version"]

    run = train.cli(["--version", "2"])
    assert run is not None
    assert run.result == 2


@pytest.mark.parametrize("words", [["train", "--help"], ["--help", "train"], ["train", "--epochs", "x", "-h"]])
def test_help_is_given_wherever_it_is_asked_for(capsys: Capsys, words: list[str]) -> None:
    define_train()
    ended = program(capsys, *words)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("Usage: python prog.py train [OPTIONS]\n\nTrain a model.\n")


def test_behind_two_dashes_help_is_a_word(capsys: Capsys) -> None:
    define_train()
    assert program(capsys, "train", "--", "--help") == usage_error("'--help' belongs to no option.")


# -- dry runs ----------------------------------------------------------------------------------------------------


def define_small() -> None:
    @pystematic.parameter("lr", type=float, default=0.1)
    @pystematic.parameter("api_key", default=None)
    @pystematic.experiment
    def train() -> None:
        raise AssertionError("a dry run runs nothing")


def test_a_dry_run_prints_each_value_with_its_source(capsys: Capsys) -> None:
    define_small()
    ended = program(capsys, "train", "--api-key", "hunter2", "--random-seed", "1", "--dry-run")
    assert ended == Ended(
        0,
        """\
lr                  0.1       default
api_key             <masked>  command line
random_seed         1         command line
seed_libraries      true      default
deterministic       false     default
precision           fp32      default
resume              none      default
checkpoint          none      default
keep_last           2         default
keep_best           1         default
max_time            none      default
grace               25s       default
distributed         none      default
nproc_per_node      auto      default
nnodes              1         default
node_rank           0         default
master_addr         none      default
master_port         none      default
max_restarts        0         default
collective_timeout  600s      default
sync_batchnorm      false     default
compile             false     default
params_file         none      default
preset              none      default
dry_run             text      command line
output_dir          ./output  default
on                  local     default
tags                none      default
note                none      default
device              auto      default
cuda                true      default
limit_batches       none      default
capture             sys       default
recorders           none      default
system_metrics      true      default
debug               false     default
pdb                 false     default
""",
        "",
    )
    assert not Path("output").exists()


def test_a_dry_run_as_json(capsys: Capsys) -> None:
    define_small()
    shown = json.loads(program(capsys, "train", "--lr", "nan", "--api-key", "hunter2", "--dry-run=json").out)
    assert shown["parameters"]["lr"] == {"special": "nan"}
    assert shown["parameters"]["api_key"] == {"$type": "masked"}
    assert shown["sources"]["lr"] == "command line"
    assert shown["sources"]["note"] == "default"
    assert list(shown["parameters"]) == list(shown["sources"])
    assert "local_rank" not in shown["parameters"]


def test_a_dry_run_as_yaml_is_a_params_file(capsys: Capsys) -> None:
    @pystematic.parameter("lr", type=float, default=0.1)
    @pystematic.parameter("text", default="")
    @pystematic.experiment
    def train(parameters: pystematic.Parameters) -> tuple[object, object]:
        return parameters["lr"], parameters["text"]

    text = "# no\ncomment: \N{LINE SEPARATOR} 'ä' "
    ended = program(capsys, "train", "--lr", "1e-7", "--text", f"={text}", "--dry-run=yaml")
    assert "lr: 1.0e-07  # command line\n" in ended.out
    Path("p.yaml").write_text(ended.out, encoding="utf-8")
    assert program(capsys, "train", "--params-file", "p.yaml").value.result == (1e-7, text)


def test_a_dry_run_shows_what_cannot_be_printed_as_an_escape(capsys: Capsys) -> None:
    define_small()
    out = program(capsys, "train", "--note", "\x1b[31mred\n", "--dry-run").out
    assert r"note                '\x1b[31mred\n'  command line" in out


@pytest.mark.parametrize("words", [["--help"], ["--dry-run"], ["--dry-run=json"], ["--dry-run=yaml"]])
def test_the_password_of_an_address_is_shown_nowhere(capsys: Capsys, words: list[str]) -> None:
    @pystematic.parameter("url", default="https://someone:hunter2@example.org/data")
    @pystematic.experiment
    def train() -> None:
        raise AssertionError("nothing runs")

    out = program(capsys, "train", *words).out
    assert "https://someone:<masked>@example.org/data" in out
    assert "hunter2" not in out


def test_a_dry_run_with_problems_is_a_usage_error(capsys: Capsys) -> None:
    define_small()
    assert program(capsys, "train", "--lr", "x", "--dry-run") == usage_error(
        "--lr, from the command line: 'x' is not a number."
    )


# -- ends, in a real interpreter ---------------------------------------------------------------------------------

ENDING_PROGRAM = """
    import os, signal, sys, threading
    import pystematic

    def deeper(how):
        if how == "fail":
            raise ValueError("the words of the program")
        if how == "usage":
            raise pystematic.UsageError("the program's own")
        if how == "text":
            sys.exit("the last words")
        if how.isdecimal():
            sys.exit(int(how))
        os.kill(os.getpid(), getattr(signal, how))
        threading.Event().wait()  # for the signal

    @pystematic.parameter("how")
    @pystematic.experiment
    def train(parameters):
        if parameters.how:
            deeper(parameters.how)

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def recorded_status() -> object:
    (run,) = pystematic.runs("output")
    return run.status


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        ([], 0, "completed"),
        (["--how", "0"], 0, "completed"),
        (["--how", "3"], 3, "failed"),
        (["--how", "fail"], 1, "failed"),
        (["--how", "text"], 1, "failed"),
        (["--how", "SIGINT"], 130, "interrupted"),
        (["--how", "SIGTERM"], 143, "interrupted"),
        (["--how", "SIGHUP"], 129, "interrupted"),
    ],
)
def test_exit_codes(working_dir: Path, words: list[str], code: int, status: str) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    assert run_python("prog.py", "train", *words).returncode == code
    assert recorded_status() == status


def test_wrong_usage_exits_with_2_and_leaves_no_record(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    done = run_python("prog.py", "train", "--hows")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python prog.py train: error: there is no option --hows. Did you mean --how?\n"
        "See 'python prog.py train --help'.\n"
    )
    assert not Path("output").exists()


def test_the_traceback_is_that_of_the_program_and_names_the_record(working_dir: Path) -> None:
    path = write_program(working_dir, ENDING_PROGRAM)
    done = run_python("prog.py", "train", "--how", "fail")
    (run,) = pystematic.runs("output")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        done.stderr
        == f"""\
Traceback (most recent call last):
  File "{path}", line 20, in train
    deeper(parameters.how)
  File "{path}", line 6, in deeper
    raise ValueError("the words of the program")
ValueError: the words of the program

The run failed. Its record is in output/train/{run.id}
"""
    )


def test_with_debug_the_traceback_is_whole(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    done = run_python("prog.py", "train", "--how", "fail", "--debug")
    assert "_lifecycle.py" in done.stderr
    assert done.stderr.splitlines()[-3] == "ValueError: the words of the program"


def test_an_error_of_ours_that_the_program_raises_is_its_own(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    done = run_python("prog.py", "train", "--how", "usage")
    assert done.returncode == 1
    assert "pystematic.errors.UsageError: the program's own\n" in done.stderr
    assert "The run failed." in done.stderr


def test_an_interruption_is_said_in_one_line(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    done = run_python("prog.py", "train", "--how", "SIGTERM")
    (run,) = pystematic.runs("output")
    assert (done.stdout, done.stderr) == ("", f"Interrupted. The record is in output/train/{run.id}\n")


def test_what_sys_exit_says_is_printed(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    assert run_python("prog.py", "train", "--how", "text").stderr == "the last words\n"


def test_an_output_folder_that_cannot_be_written_is_one_message(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    Path("file").touch()
    done = run_python("prog.py", "train", "--output-dir", "file")
    assert done.returncode == 1
    assert done.stderr.startswith("pystematic: the output folder 'file' cannot be written: Not a directory.")
    assert done.stderr.count("\n") == 1


def test_the_record_is_named_from_where_one_stands(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    (working_dir / "elsewhere").mkdir()
    done = run_python("../prog.py", "train", "--how", "fail", cwd=working_dir / "elsewhere")
    (run,) = pystematic.runs("elsewhere/output")
    assert done.stderr.endswith(f"\nThe run failed. Its record is in output/train/{run.id}\n")


# -- surroundings ------------------------------------------------------------------------------------------------

UNICODE_PROGRAM = """
    import pystematic

    @pystematic.parameter("größe", type=int, default=1, help="Wie groß… [es] ist.")
    @pystematic.experiment
    def trän(parameters):
        \"\"\"Übt.\"\"\"

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


def test_a_path_with_spaces_is_quoted_in_messages(working_dir: Path) -> None:
    folder = working_dir / "süße ordner"
    folder.mkdir()
    write_program(folder, UNICODE_PROGRAM, "mein prög.py")
    done = run_python("mein prög.py", "trän", "--große", "x", cwd=folder)
    assert done.stderr == (
        "python 'mein prög.py' trän: error: there is no option --große. Did you mean --größe?\n"
        "See 'python 'mein prög.py' trän --help'.\n"
    )
    assert run_python("mein prög.py", "trän", "--größe", "3", cwd=folder).returncode == 0
    (run,) = pystematic.runs(folder / "output")
    assert run.params["größe"] == 3


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
@pytest.mark.parametrize("words", [["trän", "--help"], ["trän", "--note", "ü", "--dry-run"], ["trän", "--x"]])
def test_no_locale_makes_a_page_or_message_fail(working_dir: Path, variables: dict[str, str], words: list[str]) -> None:
    write_program(working_dir, UNICODE_PROGRAM)
    done = run_python("prog.py", *words, env=variables)
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if words == ["trän", "--x"] else 0), done.stderr


def test_a_module_is_called_by_its_name(working_dir: Path) -> None:
    package = working_dir / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    write_program(package, ENDING_PROGRAM, "module.py")
    done = run_python("-m", "package.module", "tran")
    assert done.stderr.startswith("python -m package.module: error: there is no experiment 'tran'.")
    assert run_python("-m", "package.module", "train").returncode == 0


def test_the_page_of_a_program_without_experiments(working_dir: Path) -> None:
    write_program(working_dir, "import pystematic\npystematic.global_entrypoint()\n")
    done = run_python("prog.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "Usage: python prog.py EXPERIMENT [OPTIONS]\n\n"
        "This program defines no experiment. Put @pystematic.experiment above its main function.\n"
    )


def run_with_stdout(stdout: int, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=PROCESS_LIMIT_S, check=False
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["train", "--dry-run"], ["train", "--dry-run=json"]]
)
def test_a_reader_that_has_seen_enough_is_no_error(working_dir: Path, words: list[str]) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    reading, writing = os.pipe()
    os.close(reading)
    done = run_with_stdout(writing, "prog.py", *words)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_one_message(working_dir: Path) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    with open("/dev/full", "w") as full:
        done = run_with_stdout(full.fileno(), "prog.py", "--help")
    assert done.stderr == "pystematic: standard output cannot be written: No space left on device.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("words", [["--help"], ["train", "--dry-run"], ["train"]])
def test_closed_streams_are_no_error(working_dir: Path, words: list[str]) -> None:
    write_program(working_dir, ENDING_PROGRAM)
    command = ["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", sys.executable, "prog.py", *words]
    assert subprocess.run(command, timeout=PROCESS_LIMIT_S, check=False).returncode == 0


def test_an_ignored_interruption_stays_ignored(working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import os, signal
        import pystematic

        @pystematic.experiment
        def train():
            os.kill(os.getpid(), signal.SIGHUP)

        if __name__ == "__main__":
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
            pystematic.global_entrypoint()
        """,
    )
    done = run_python("prog.py", "train")
    assert (done.returncode, recorded_status()) == (0, "completed")
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
