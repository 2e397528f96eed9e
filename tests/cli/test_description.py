"""The description of a program for shell completion: what it holds, and when it is current."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Literal

import pytest

import pystematic
from pystematic import _experiment
from pystematic.cli._description import (
    description_file,
    read_description,
    refresh_description,
    write_description,
    write_guessed_description,
)
from tests.builders import run_python, write_program


def define_train() -> None:
    @pystematic.parameter("lr", type=float, default=0.1, help="Step size.\nMore.", flags=["-l"])
    @pystematic.parameter("optimizer", type=Literal["sgd", "adam"], default="adam")
    @pystematic.parameter("amp", is_flag=True, help="Mixed precision.")
    @pystematic.parameter("sizes", type=list[int], default=[])
    @pystematic.parameter("hidden_one", default=1, hidden=True)
    @pystematic.experiment
    def train() -> None:
        """Train a model."""


def test_it_holds_what_completion_asks_for(working_dir: Path) -> None:
    define_train()
    path = str(write_program(working_dir))
    write_description(_experiment.program, path)
    root = read_description(path)
    assert root is not None
    assert root["options"] == {}
    (train,) = root["members"]
    assert (train["name"], train["help"], train["members"]) == ("train", "Train a model.", None)
    options = train["options"]
    assert options["--lr"] == options["-l"] == {"help": "Step size.", "choices": [], "follows": "value"}
    assert options["--optimizer"] == {"help": "", "choices": ["sgd", "adam"], "follows": "value"}
    assert options["--amp"] == {"help": "Mixed precision.", "choices": [], "follows": "flag"}
    assert options["--no-amp"] == {"help": "Not: Mixed precision.", "choices": [], "follows": "flag"}
    assert options["--sizes"]["follows"] == "list"
    assert options["--dry-run"] == {
        "help": "Print each value with its source, and run nothing.",
        "choices": ["text", "json", "yaml"],
        "follows": "flag",
    }
    assert "--hidden-one" not in options


def test_it_is_read_by_any_path_to_the_program(working_dir: Path) -> None:
    write_description(_experiment.program, str(write_program(working_dir)))
    assert read_description("prog.py") is not None
    assert read_description("./prog.py") is not None


def test_there_is_none_of_another_program(working_dir: Path) -> None:
    write_description(_experiment.program, str(write_program(working_dir)))
    assert read_description("other.py") is None


def test_a_program_that_has_changed_has_none(working_dir: Path) -> None:
    path = write_program(working_dir)
    write_description(_experiment.program, str(path))
    path.write_text(path.read_text() + "\n")
    assert read_description(str(path)) is None


def test_a_module_beside_the_program_that_has_changed_counts_too(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_program(working_dir)
    helper = write_program(working_dir, "X = 1\n", "helper.py")
    monkeypatch.setitem(sys.modules, "helper", type(sys)("helper"))
    sys.modules["helper"].__file__ = str(helper)
    write_description(_experiment.program, str(path))
    assert read_description(str(path)) is not None
    helper.unlink()
    assert read_description(str(path)) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": [2, "x"]}', '{"program": 1, "files": [], "root": {}}']
)
def test_what_is_no_description_is_none(working_dir: Path, text: str) -> None:
    path = str(write_program(working_dir))
    write_description(_experiment.program, path)
    Path(description_file(path)).write_text(text)
    assert read_description(path) is None


def test_another_version_has_none(working_dir: Path) -> None:
    path = str(write_program(working_dir))
    write_description(_experiment.program, path)
    document = json.loads(Path(description_file(path)).read_text())
    Path(description_file(path)).write_text(json.dumps({**document, "version": [1, pystematic.__version__]}))
    assert read_description(path) is None


def as_main(monkeypatch: pytest.MonkeyPatch, path: str | None) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "__file__", path, raising=False)


def test_a_run_writes_it_once(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_program(working_dir))
    os.utime(path, (1, 1))
    as_main(monkeypatch, path)
    refresh_description(_experiment.program)
    written = os.stat(description_file(path))
    define_train()
    refresh_description(_experiment.program)
    assert os.stat(description_file(path)).st_mtime_ns == written.st_mtime_ns
    assert read_description(path) == {"name": "", "help": "", "options": {}, "members": []}


def test_a_run_of_a_newer_program_writes_it_again(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_program(working_dir))
    as_main(monkeypatch, path)
    refresh_description(_experiment.program)
    define_train()
    later = os.stat(description_file(path)).st_mtime_ns + 1
    os.utime(path, ns=(later, later))
    refresh_description(_experiment.program)
    root = read_description(path)
    assert root is not None
    assert [member["name"] for member in root["members"]] == ["train"]


def test_a_run_replaces_what_was_guessed(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_program(working_dir))
    define_train()
    write_guessed_description(_experiment.program, path)
    guessed = read_description(path)
    assert guessed is not None
    assert guessed["name"] == ""
    as_main(monkeypatch, path)
    refresh_description(_experiment.program.members["train"])
    root = read_description(path)
    assert root is not None
    assert (root["name"], root["members"]) == ("train", None)


@pytest.mark.parametrize("path", [None, "<stdin>", "gone.py", "notebook.ipynb"])
def test_what_is_no_program_file_gets_none(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    Path("notebook.ipynb").touch()
    as_main(monkeypatch, path)
    refresh_description(_experiment.program)
    assert not list(Path(os.environ["XDG_CACHE_HOME"]).rglob("program-*"))


@pytest.mark.parametrize("words", [[], ["--help"], ["train", "--help"], ["train"]])
def test_pages_and_runs_write_it(working_dir: Path, words: list[str]) -> None:
    write_program(working_dir)
    assert run_python("prog.py", *words).returncode == 0
    root = read_description("prog.py")
    assert root is not None
    assert [member["name"] for member in root["members"]] == ["train"]


def test_without_a_cache_folder_nothing_fails(working_dir: Path) -> None:
    write_program(working_dir)
    Path("file").touch()
    done = run_python("prog.py", "train", env={"XDG_CACHE_HOME": str(working_dir / "file")})
    assert (done.returncode, done.stderr) == (0, "")
