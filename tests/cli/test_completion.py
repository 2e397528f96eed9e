"""Shell completion: the candidates for each place of a command line, and the scripts in real shells."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from pystematic.cli._completion import SCRIPTS
from tests.builders import PROCESS_LIMIT_S, make_run, run_python, write_program
from tests.cli.builders import Ended, pystematic
from tests.test_imports import HEAVY_MODULES, modules_loaded_by

Capsys = pytest.CaptureFixture[str]

PROGRAM = """
    import os
    import pathlib
    from typing import Literal
    import pystematic

    pathlib.Path("imported").touch()

    @pystematic.parameter("lr", type=float, default=0.1, help="Step size.", flags=["-l"])
    @pystematic.parameter("optimizer", type=Literal["sgd", "adam", "ada grad"], default="adam")
    @pystematic.parameter("layers", type=list[Literal["conv", "pool"]], default=[])
    @pystematic.parameter("amp", is_flag=True)
    @pystematic.parameter("data", type=pathlib.Path, default=None)
    @pystematic.experiment
    def train():
        \"\"\"Train a model.\"\"\"

    @pystematic.parameter("root", default="x")
    @pystematic.group
    def tools():
        \"\"\"Tools.\"\"\"

    @tools.experiment
    def clean():
        \"\"\"Clean up.\"\"\"

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""


@pytest.fixture(autouse=True)
def _modules_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take away what a completion loads."""
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    yield
    for name in ("__mp_main__", "package", "package.module", "package.__main__"):
        sys.modules.pop(name, None)


def complete(capsys: Capsys, *words: str) -> list[str]:
    """Return the candidates for the last word, without their descriptions."""
    ended = pystematic(capsys, "__complete", "zsh", *words)
    assert (ended.code, ended.err) == (0, "")
    return [line.partition("\t")[0] for line in ended.out.splitlines()]


def complete_bash(capsys: Capsys, line: str) -> list[str]:
    """Return what bash gets for a line."""
    return pystematic(capsys, "__complete", "bash", line, " \t\n\"'><=;|&(:").out.splitlines()


def described(working_dir: Path, text: str = PROGRAM, name: str = "prog.py") -> Path:
    """Write a program and its description, as a run of it would."""
    path = write_program(working_dir, text, name)
    assert run_python(name, "--help", cwd=working_dir).returncode == 0
    Path("imported").unlink(missing_ok=True)
    return path


# -- the command line of a program -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tr"], ["train"]),
        ([""], ["train", "tools"]),
        (["tools", ""], ["clean"]),
        (["tools", "--root", "train", "c"], ["clean"]),
        (["tools", "--root=x", "clean", "--ro"], ["--root"]),
        (["train", "--l"], ["--lr", "--layers", "--limit-batches"]),
        (["train", "-l"], ["-l"]),
        (["train", "--no-a"], ["--no-amp"]),
        (["train", "--he"], ["--help"]),
        (["train", "--optimizer", ""], ["sgd", "adam", "ada grad"]),
        (["train", "--optimizer", "ad"], ["adam", "ada grad"]),
        (["train", "--optimizer=a"], ["--optimizer=adam", "--optimizer=ada grad"]),
        (["train", "--dry-run="], ["--dry-run=text", "--dry-run=json", "--dry-run=yaml"]),
        (["train", "--layers", "conv", "p"], ["pool"]),
        (["train", "--layers", "conv,p"], ["conv,pool"]),
        (["train", "--amp", ""], []),
        (["train", "--lr", ""], []),
        (["train", "--data", ""], []),
        (["train", "--unknown", "x"], []),
        (["nothing", ""], ["train", "tools"]),
    ],
)
@pytest.mark.parametrize(
    "start",
    [["python", "prog.py"], ["/usr/bin/python3", "-u", "-X", "dev", "prog.py"], ["pystematic", "run", "prog.py"]],
)
def test_what_may_stand_in_the_command_line_of_a_program(
    capsys: Capsys, working_dir: Path, start: list[str], words: list[str], expected: list[str]
) -> None:
    described(working_dir)
    assert complete(capsys, *start, *words) == expected


def test_what_is_said_of_a_candidate(capsys: Capsys, working_dir: Path) -> None:
    described(working_dir)
    out = pystematic(capsys, "__complete", "fish", "python", "prog.py", "train", "--l").out
    assert out.splitlines()[:2] == ["--lr\tStep size.", "--layers"]


def test_a_program_with_a_current_description_is_not_imported(capsys: Capsys, working_dir: Path) -> None:
    described(working_dir)
    assert complete(capsys, "python", "prog.py", "train", "--lr") == ["--lr"]
    assert not Path("imported").exists()


def test_a_program_without_one_is_imported_once(capsys: Capsys, working_dir: Path) -> None:
    write_program(working_dir, PROGRAM)
    assert complete(capsys, "python", "prog.py", "train", "--lr") == ["--lr"]
    Path("imported").unlink()
    assert complete(capsys, "python", "prog.py", "train", "--lr") == ["--lr"]
    assert not Path("imported").exists()


def test_a_program_that_has_changed_is_imported_again(capsys: Capsys, working_dir: Path) -> None:
    path = described(working_dir)
    path.write_text(path.read_text().replace('"lr"', '"lrx"'))
    assert complete(capsys, "python", "prog.py", "train", "--lr") == ["--lrx"]


def test_what_a_program_prints_at_its_import_is_no_candidate(capsys: Capsys, working_dir: Path) -> None:
    write_program(working_dir, PROGRAM + "\n    print('train-me')\n")
    ended = pystematic(capsys, "__complete", "zsh", "python", "prog.py", "t")
    assert ended.out.splitlines() == ["train\tTrain a model.", "tools\tTools."]
    assert ended.err == "train-me\n"


def test_a_program_without_a_guard_is_not_run(capsys: Capsys, working_dir: Path) -> None:
    write_program(
        working_dir,
        """
        import pystematic

        @pystematic.experiment
        def train():
            raise AssertionError("it was run")

        train.cli()
        """,
    )
    assert complete(capsys, "python", "prog.py", "t") == ["train"]


@pytest.mark.parametrize("text", ["1 +", "raise ValueError", "import sys; sys.exit(3)", "import pystematic", "x = 1"])
def test_an_unfinished_program_has_no_completions(capsys: Capsys, working_dir: Path, text: str) -> None:
    write_program(working_dir, text)
    assert pystematic(capsys, "__complete", "zsh", "python", "prog.py", "t").out == ""


def test_a_module_is_a_program_too(capsys: Capsys, working_dir: Path) -> None:
    package = working_dir / "package"
    package.mkdir()
    (package / "__init__.py").write_text("X = 1\n")
    write_program(package, "from . import X\n" + PROGRAM.replace("\n    ", "\n"), "module.py")
    write_program(package, "from .module import train\n", "__main__.py")
    assert complete(capsys, "python", "-m", "package.module", "tr") == ["train"]
    assert complete(capsys, "python", "-m", "package", "tr") == ["train"]


@pytest.mark.parametrize(
    "line",
    [["python", ""], ["python", "pro"], ["python", "-c", "x", "t"], ["python", "gone.py", "t"], ["ls", "prog.py", ""]],
)
def test_the_rest_is_left_to_the_shell(capsys: Capsys, working_dir: Path, line: list[str]) -> None:
    described(working_dir)
    assert complete(capsys, *line) == []


def test_a_params_file_is_a_run_or_a_file(capsys: Capsys, working_dir: Path) -> None:
    described(working_dir)
    run = make_run(working_dir / "output")
    for name in ("p.yaml", "q.toml", "r.json", "notes.txt", ".hidden.yaml"):
        Path(name).touch()
    Path("more").mkdir()
    Path("more/s.yml").touch()
    start = ("python", "prog.py", "train", "--params-file")
    assert complete(capsys, *start, "") == ["last", run.id, "more/", "output/", "p.yaml", "q.toml", "r.json"]
    assert complete(capsys, *start, "more/") == ["more/s.yml"]
    assert complete(capsys, "python", "prog.py", "train", "--params-file=p") == ["--params-file=p.yaml"]


def test_presets_are_those_beside_the_program(capsys: Capsys, working_dir: Path) -> None:
    folder = working_dir / "folder"
    (folder / "presets").mkdir(parents=True)
    (folder / "presets" / "big.yaml").touch()
    (folder / "presets" / "README.md").touch()
    described(folder)
    assert complete(capsys, "python", "folder/prog.py", "train", "--preset", "") == ["big"]


# -- the command pystematic --------------------------------------------------------------------------------------


def test_commands_and_options(capsys: Capsys, working_dir: Path) -> None:
    assert complete(capsys, "pystematic", "s") == ["show", "sweep", "schema"]
    assert complete(capsys, "pystematic", "--") == ["--help", "--version"]
    assert complete(capsys, "pystematic", "rerun", "--e") == ["--exact"]
    assert complete(capsys, "pystematic", "ls", "--output", "") == ["text", "json", "csv"]
    assert complete(capsys, "pystematic", "ls", "--output=c") == ["--output=csv"]
    assert complete(capsys, "pystematic", "completion", "") == ["bash", "zsh", "fish"]
    assert complete(capsys, "pystematic", "nothing", "") == []
    assert "__complete" not in complete(capsys, "pystematic", "")


@pytest.mark.parametrize("command", ["show", "diff", "rerun"])
def test_runs_are_completed_newest_first(capsys: Capsys, working_dir: Path, command: str) -> None:
    ids = sorted(
        (make_run(working_dir / "output", name).id for name in ("train", "train", "tools.clean")), reverse=True
    )
    (working_dir / "output" / "train" / "no run").mkdir()
    assert complete(capsys, "pystematic", command, "") == ["last", *ids]
    assert complete(capsys, "pystematic", command, ids[0]) == [ids[0]]
    assert complete(capsys, "pystematic", command, "--output-dir", "elsewhere", "") == []
    assert complete(capsys, "pystematic", command, "--output-dir=output", "la") == ["last"]


def test_runs_are_those_of_the_project_file(capsys: Capsys, working_dir: Path) -> None:
    run = make_run(working_dir / "own")
    Path("pyproject.toml").write_text('[tool.pystematic]\noutput_dir = "own"\n')
    assert complete(capsys, "pystematic", "show", "") == ["last", run.id]


def test_settings_of_a_rerun_are_those_of_the_run(capsys: Capsys, working_dir: Path) -> None:
    make_run(working_dir / "output", params={"lr": 0.1, "local_rank": 0, "random_seed": 1, "params_file": None})
    assert complete(capsys, "pystematic", "rerun", "last", "--set", "") == ["lr=", "random_seed="]
    assert complete(capsys, "pystematic", "rerun", "last", "--set=l") == ["--set=lr="]
    assert complete(capsys, "pystematic", "rerun", "gone", "--set", "") == []


def test_experiments_of_best_and_schema(capsys: Capsys, working_dir: Path) -> None:
    described(working_dir)
    make_run(working_dir / "output", "train")
    assert complete(capsys, "pystematic", "best", "--experiment", "") == ["train"]
    assert complete(capsys, "pystematic", "schema", "prog.py", "") == ["train", "tools"]
    assert complete(capsys, "pystematic", "schema", "prog.py", "tools", "") == ["clean"]


@pytest.mark.parametrize("words", [["bash"], ["zsh"], ["zsh", "pystematic"], ["fish"], ["bash", "", ""]])
def test_lines_without_a_word_to_complete_have_no_candidates(capsys: Capsys, words: list[str]) -> None:
    assert pystematic(capsys, "__complete", *words) == Ended(0, "", "")


# -- quoting in bash ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("python prog.py tr", ["train"]),
        ("python prog.py train --optimizer ad", ["adam", r"ada\ grad"]),
        ("python prog.py train --optimizer=ad", ["adam", r"ada\ grad"]),
        ("python prog.py train --optimizer=", ["sgd", "adam", r"ada\ grad"]),
        ("python prog.py train --optimizer 'ada ", ["ada grad"]),
        (r"python prog.py train --optimizer ada\ ", [r"ada\ grad"]),
        (r"python my\ prög.py tr", ["train"]),
        ("python 'my prög.py' tr", ["train"]),
        ('python "my prög.py" tr', ["train"]),
        ("python prog.py  train   --l", ["--lr", "--layers", "--limit-batches"]),
    ],
)
def test_bash_takes_words_apart_and_quotes(capsys: Capsys, working_dir: Path, line: str, expected: list[str]) -> None:
    described(working_dir)
    described(working_dir, name="my prög.py")
    assert complete_bash(capsys, line) == expected


# -- the scripts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell(capsys: Capsys, shell: str) -> None:
    assert pystematic(capsys, "completion", shell).out == SCRIPTS[shell]
    shown = json.loads(pystematic(capsys, "completion", shell, "--output", "json").out)
    assert shown == {"shell": shell, "script": SCRIPTS[shell]}
    (row,) = csv.DictReader(io.StringIO(pystematic(capsys, "completion", shell, "--output", "csv").out))
    assert row["script"] == SCRIPTS[shell]


@pytest.fixture
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the command of this environment first on the path."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


def need(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    return path


class Terminal:
    """A shell in a terminal, with our script loaded."""

    def __init__(self, shell: str, *options: str, source: str) -> None:
        environment = {**os.environ, "PS1": "READY> ", "TERM": "dumb", "LC_ALL": "C.UTF-8", "ZDOTDIR": os.getcwd()}
        self._shell = pexpect.spawn(
            need(shell),
            list(options),
            env=environment,
            encoding="utf-8",
            timeout=PROCESS_LIMIT_S,
            dimensions=(50, 200),
        )
        self._shell.delaybeforesend = None
        self._shell.expect_exact("READY> ")
        self._count = 0
        self._run(source)

    def completed(self, line: str, expected: str) -> None:
        """Type a line and a tab; wait until it reads as expected."""
        self._shell.send(f"{line}\t")
        # Escape sequences of the line editor may stand anywhere.
        self._shell.expect("".join(f"{re.escape(letter)}(?:\x1b\\[[0-9;?]*[a-zA-Z]|\r)*" for letter in expected))
        self._run("\x15:")  # the line is deleted first

    def _run(self, command: str) -> None:
        self._count += 1
        self._shell.send(f"{command}; echo END''{self._count}\r")
        self._shell.expect_exact(f"END{self._count}")
        self._shell.expect_exact("READY> ")

    def close(self) -> None:
        self._shell.close(force=True)


LINES = [
    ("python prog.py tr", "python prog.py train "),
    ("python prog.py tools cl", "python prog.py tools clean "),
    ("python prog.py train --lr", "python prog.py train --lr "),
    ("python prog.py train --optimizer=s", "python prog.py train --optimizer=sgd "),
    ("python prog.py train --optimizer s", "python prog.py train --optimizer sgd "),
    (r"python my\ prög.py tr", r"python my\ prög.py train "),
    ("python 'my prög.py' tr", "python 'my prög.py' train "),
    ("python prog.py train --data no", "python prog.py train --data notes.txt "),
    ("python no", "python notes.txt "),
    ("pystematic reru", "pystematic rerun "),
    ("pystematic show la", "pystematic show last "),
    ("pystematic rerun last --set le", "pystematic rerun last --set learning_rate="),
]


@pytest.mark.usefixtures("own_path")
@pytest.mark.parametrize(
    ("shell", "options", "source"),
    [
        (
            "bash",
            ["--norc", "--noprofile", "-i"],
            "bind 'set enable-bracketed-paste off'; source <(pystematic completion bash)",
        ),
        ("zsh", ["-f", "-i"], "unsetopt zle_bracketed_paste; source <(pystematic completion zsh)"),
    ],
)
def test_a_shell_completes_with_our_script(working_dir: Path, shell: str, options: list[str], source: str) -> None:
    need(shell)
    described(working_dir)
    described(working_dir, name="my prög.py")
    make_run(working_dir / "output", params={"learning_rate": 1})
    Path("notes.txt").touch()
    terminal = Terminal(shell, *options, source=source)
    try:
        for line, expected in LINES:
            terminal.completed(line, expected)
    finally:
        terminal.close()
    assert not Path("imported").exists()


@pytest.mark.usefixtures("own_path")
def test_fish_completes_with_our_script(working_dir: Path) -> None:
    fish = need("fish")
    described(working_dir)
    described(working_dir, name="my prög.py")
    make_run(working_dir / "output", params={"learning_rate": 1})
    Path("notes.txt").touch()
    script = "pystematic completion fish | source\n" + "".join(
        f"echo '>'; complete -C {line!r}\n".replace("\\\\", "\\")
        if "'" not in line
        else f'echo ">"; complete -C "{line}"\n'
        for line, _ in LINES
    )
    done = subprocess.run(
        [fish, "--no-config", "-c", script],
        capture_output=True,
        text=True,
        timeout=PROCESS_LIMIT_S,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "HOME": str(working_dir)},
    )
    assert done.stderr == ""
    found = [part.strip().splitlines() for part in done.stdout.split(">\n")[1:]]
    words = [[line.partition("\t")[0] for line in lines] for lines in found]
    expected = [shown.split(" ")[-2] if shown.endswith(" ") else shown.split(" ")[-1] for _, shown in LINES]
    assert [word[0] for word in words] == expected
    assert found[0] == ["train\tTrain a model."]
    assert not Path("imported").exists()


def test_completion_loads_little(working_dir: Path) -> None:
    described(working_dir)
    loaded = modules_loaded_by("-m", "pystematic", "__complete", "zsh", "python", "prog.py", "train", "--l")
    heavy = HEAVY_MODULES | {"shlex", "pystematic.store", "pystematic.run", "pystematic.terminal"}
    assert loaded & heavy == frozenset()
