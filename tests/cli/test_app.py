"""The command ``pystematic``: its pages, its usage errors, and where its output goes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pystematic as package
from pystematic.cli import main
from tests.builders import PROCESS_LIMIT_S, make_run, run_python
from tests.cli.builders import Ended, pystematic

Capsys = pytest.CaptureFixture[str]


def error(text: str, command: str = "") -> Ended:
    """Return how a command must end that is used wrongly."""
    name = f"pystematic {command}".strip()
    return Ended(2, "", f"{name}: error: {text}\nSee '{name} --help'.\n")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_overview(capsys: Capsys, words: list[str]) -> None:
    assert pystematic(capsys, *words) == Ended(
        0,
        """\
Usage: pystematic COMMAND [OPTIONS]

Looks at runs, repeats them, and runs programs that define experiments.

Commands:
  ls                 List the runs: what varies between them, beside their metrics.
  show               Show all that is known of a run.
  diff               Show how runs differ: parameters, code, packages, metrics.
  best               Show the best run, by its experiment's metric or by TAG:max or TAG:min.
  plot               Draw series of runs over each other, in the terminal or into a file.
  export             Write runs, or the points of their series, as CSV, JSON or Parquet.
  ui                 Show the runs in the browser, until Ctrl-C.
  report             Write table, curves and comparison of runs into one file that opens in a
                     browser.
  tag                Give a run tags, or take them away; without any, show them.
  note               Write a note to a run ('' removes it), or show it.
  rm                 Remove runs with all of their files, after a question.
  doctor             Say what is wrong with the folder of runs; exit with 1 when something is.
  import             Copy the runs of a folder of pystematic 1.x; nothing is moved.
  rerun              Run again what a recorded run was, and say what differs now.
  run                Run a program: the same as 'python FILE ...'.
  sweep              Run an experiment many times, and look at sweeps.
  check-distributed  Compare an experiment's steps in one process with those in several.
  schema             Print the JSON Schema of an experiment's params file, for editors.
  completion         Print the completion script of a shell: bash, zsh or fish.

A RUN is a path, an id, the beginning or end of one, a tag, 'last' or 'last~2'.
'pystematic COMMAND --help' shows the options of a command.
""",
        "",
    )


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("command", ["", "ls", "diff", "rerun", "run", "schema", "completion"])
def test_no_page_is_wider_than_the_terminal(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch, width: int, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    page = pystematic(capsys, *command.split(), "--help").out
    assert max(map(len, page.splitlines())) <= width


def test_the_page_of_a_command(capsys: Capsys) -> None:
    assert (
        pystematic(capsys, "best", "--help").out
        == """\
Usage: pystematic best [TAG:max|min] [OPTIONS]

Show the best run, by its experiment's metric or by TAG:max or TAG:min.

Options:
  --where TEXT                    Only runs that fulfil a filter: "params.lr > 0.01 and 'good' in
                                  tags".
  --experiment TEXT               Only runs of this experiment.
  --sweep TEXT                    Only the runs of this sweep.
  --output-dir PATH               The folder of the runs. (default: ./output; environment:
                                  PYSTEMATIC_OUTPUT_DIR)
  --output text|json|csv          How to print. (default: text)
"""
    )


def test_the_page_of_run(capsys: Capsys) -> None:
    assert pystematic(capsys, "run", "--help").out == (
        "Usage: pystematic run FILE [EXPERIMENT] ...\n\nRun a program: the same as 'python FILE ...'.\n"
    )


def test_version(capsys: Capsys) -> None:
    assert pystematic(capsys, "--version") == Ended(0, f"pystematic {package.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["sho"], error("there is no command 'sho'. Did you mean 'show'?")),
        (
            ["frobnicate"],
            error(
                "there is no command 'frobnicate'. There are ls, show, diff, best, plot, export, ui, report, tag, "
                "note, rm, doctor, import, rerun, run, sweep, check-distributed, schema, completion."
            ),
        ),
        (["--versoin"], error("there is no option --versoin. Did you mean --version?")),
        (["show"], error("RUN is missing: pystematic show RUN", "show")),
        (["show", "a", "b"], error("'b' is too much: pystematic show RUN", "show")),
        (["diff", "a"], error("RUN is missing: pystematic diff RUN RUN [RUN ...]", "diff")),
        (["ls", "all"], error("'all' is too much: pystematic ls", "ls")),
        (["ls", "--outptu", "json"], error("there is no option --outptu. Did you mean --output?", "ls")),
        (["ls", "--output"], error("--output needs a value: text|json|csv.", "ls")),
        (["run"], error("FILE is missing: pystematic run FILE [EXPERIMENT] ...", "run")),
        (["run", "--fast", "x.py"], error("there is no option --fast: pystematic run FILE [EXPERIMENT] ...", "run")),
        (["run", "nothing.py"], error("there is no program 'nothing.py'.", "run")),
        (["schema"], error("FILE is missing: pystematic schema FILE EXPERIMENT", "schema")),
        (["schema", "nothing.py", "x"], error("there is no program 'nothing.py'.", "schema")),
        (["completion", "tcsh"], error("there is no completion for 'tcsh'. There are bash, zsh, fish.", "completion")),
        (
            ["ls", "--output", "xml"],
            error("--output, from the command line: 'xml' is not one of text, json or csv.", "ls"),
        ),
    ],
)
def test_wrong_usage(capsys: Capsys, words: list[str], expected: Ended) -> None:
    assert pystematic(capsys, *words) == expected


def test_all_problems_are_reported_at_once(capsys: Capsys) -> None:
    ended = pystematic(capsys, "show", "--output", "xml", "--outptu")
    assert ended.code == 2
    assert ended.err.splitlines() == [
        "pystematic show: error: there is no option --outptu. Did you mean --output?",
        "pystematic show: error: RUN is missing: pystematic show RUN",
        "pystematic show: error: --output, from the command line: 'xml' is not one of text, json or csv.",
        "See 'pystematic show --help'.",
    ]


def test_the_folder_of_the_runs_has_the_sources_of_the_parameter(
    capsys: Capsys, monkeypatch: pytest.MonkeyPatch, working_dir: Path
) -> None:
    for name in ("project", "variable", "words"):
        make_run(working_dir / name, params={"where": name})
    Path("pyproject.toml").write_text('[tool.pystematic]\noutput_dir = "project"\nanything_else = 1\n')

    def shown(*words: str) -> str:
        return next(
            line.split()[1]
            for line in pystematic(capsys, "show", "last", *words).out.splitlines()
            if line.startswith("  where")
        )

    assert shown() == "project"
    monkeypatch.setenv("PYSTEMATIC_OUTPUT_DIR", "variable")
    assert shown() == "variable"
    assert shown("--output-dir", "words") == "words"


def test_an_interruption_ends_with_130(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pystematic.cli._listing.list_runs", interrupted)
    assert pystematic(capsys, "ls") == Ended(130, "", "")


def test_the_words_of_the_process_are_the_default(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["pystematic", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"pystematic {package.__version__}\n"


# -- in real processes -------------------------------------------------------------------------------------------


def test_the_package_can_be_called_as_a_module() -> None:
    done = run_python("-m", "pystematic", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"pystematic {package.__version__}\n", "")


def test_nothing_is_cut_in_a_pipe(working_dir: Path) -> None:
    make_run(working_dir / "output", params={"text": "v" * 500})
    make_run(working_dir / "output", params={"text": "w" * 500})
    done = run_python("-m", "pystematic", "ls", env={"COLUMNS": "40"})
    assert "v" * 500 in done.stdout
    assert "w" * 500 in done.stdout


def call_with_stdout(stdout: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pystematic", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
    )


@pytest.mark.parametrize("count", [1, 400])
def test_a_reader_that_has_seen_enough_is_no_error(working_dir: Path, count: int) -> None:
    make_run(working_dir / "output", params={"text": "v" * 200 * count})
    make_run(working_dir / "output", params={"text": "w"})
    reading, writing = os.pipe()
    os.close(reading)
    done = call_with_stdout(writing, "ls")
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_one_message(working_dir: Path) -> None:
    make_run(working_dir / "output")
    with open("/dev/full", "w") as full:
        done = call_with_stdout(full.fileno(), "ls", "--output", "json")
    assert done.stderr == "pystematic: standard output cannot be written: No space left on device.\n"
    assert done.returncode == 1


@pytest.mark.parametrize("words", ["ls", "show last", "best x:max", "--help"])
def test_closed_streams_are_no_error(working_dir: Path, words: str) -> None:
    make_run(working_dir / "output")
    command = ["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", sys.executable, "-m", "pystematic", *words.split()]
    code = subprocess.run(command, timeout=PROCESS_LIMIT_S, check=False).returncode
    assert code == (2 if words.startswith("best") else 0)


@pytest.mark.parametrize("variables", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
@pytest.mark.parametrize("words", ["ls", "show last", "show last --output json", "diff last last~1 --output csv"])
def test_no_locale_makes_a_command_fail(working_dir: Path, variables: dict[str, str], words: str) -> None:
    make_run(working_dir / "output", params={"größe": "ü", "half": "\udcff"})
    make_run(working_dir / "output", params={"größe": "…", "half": "x"})
    done = run_python("-m", "pystematic", *words.split(), env=variables)
    assert (done.returncode, done.stderr) == (0, "")
