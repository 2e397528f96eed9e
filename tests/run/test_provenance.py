"""What a run was made of: Python, packages, machine, variables, code."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pystematic.run import describe_environment
from pystematic.run._provenance import Provenance, ProvenanceQuery, installed_packages
from tests.builders import make_repository, run_git


def collect(code_file: str | Path | None, ignored_dir: Path | None = None) -> Provenance:
    query = ProvenanceQuery(
        None if code_file is None else str(code_file), None if ignored_dir is None else str(ignored_dir)
    )
    try:
        return query.collect()
    finally:
        query.close()


@pytest.fixture
def program(working_dir: Path) -> Path:
    path = working_dir / "prog.py"
    path.write_text("x = 1\n", encoding="utf-8")
    return path


def make_package(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)


def test_python_platform_and_folder_are_recorded(program: Path) -> None:
    environment = collect(program).environment
    assert environment["schema"] == 1
    assert environment["python"] == {
        "version": sys.version.split()[0],
        "implementation": "cpython",
        "build": sys.version,
        "executable": sys.executable,
    }
    assert environment["platform"]["system"] == os.uname().sysname
    assert environment["platform"]["cpu_count"] == os.cpu_count()
    assert environment["platform"]["memory_bytes"] > 0
    assert environment["working_dir"] == str(program.parent)
    assert environment["git"] is None


def test_only_variables_of_a_list_are_recorded(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    monkeypatch.setenv("SOME_API_KEY", "never recorded")
    variables = collect(program).environment["variables"]
    assert variables["OMP_NUM_THREADS"] == "3"
    assert variables["NCCL_DEBUG"] == "INFO"
    assert "SOME_API_KEY" not in variables
    assert "PATH" not in variables


def test_folder_variables_and_module_path_are_those_of_the_start(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    make_package(tmp_path / "packages", "found-1.0.dist-info")
    query = ProvenanceQuery(str(program))
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    environment = query.collect().environment
    query.close()
    assert environment["variables"]["OMP_NUM_THREADS"] == "3"
    assert environment["working_dir"] == str(program.parent)
    assert environment["packages"]["found"] == "1.0"


def test_a_working_directory_that_is_gone_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        folder.rmdir()
        found = collect(None)
        os.chdir(tmp_path)
    assert (found.environment["working_dir"], found.code) == (None, None)


def test_packages_are_known_by_the_folders_that_installers_leave(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    make_package(first, "Foo_Bar.baz-1.2.3.dist-info", "old-0.1-py3.11.egg-info", "noversion.egg-info", "module")
    make_package(second, "foo_bar_baz-9.9.dist-info", "other-2.0+cpu.dist-info")
    found = installed_packages([str(first), str(tmp_path / "nowhere"), str(second), "bad\0path"])
    assert found == {"foo-bar-baz": "1.2.3", "old": "0.1", "other": "2.0+cpu"}


def test_the_packages_of_this_interpreter_are_found() -> None:
    found = installed_packages(sys.path)
    assert found["pytest"] == pytest.__version__
    assert len(found) > 10


# -- the hash of the code --------------------------------------------------------------------------------------------


def test_in_a_repository_code_is_the_hash_of_commit_and_patch(working_dir: Path) -> None:
    repository = make_repository(working_dir / "repository", {"prog.py": "x = 1\n"})
    commit = run_git(repository, "rev-parse", "HEAD").strip()
    clean = collect(repository / "prog.py")
    assert clean.code == hashlib.sha256(commit.encode() + b"\n").hexdigest()
    (repository / "prog.py").write_text("x = 2\n", encoding="utf-8")
    changed = collect(repository / "prog.py")
    assert changed.code == hashlib.sha256(commit.encode() + b"\n" + changed.patch).hexdigest()
    assert b"+x = 2\n" in changed.patch


def test_what_runs_leave_behind_does_not_change_the_code(working_dir: Path) -> None:
    repository = make_repository(working_dir / "repository", {"prog.py": "x = 1\n"})
    before = collect(repository / "prog.py", repository / "output").code
    (repository / "output").mkdir()
    (repository / "output" / "parameters.yaml").write_text("x: 1\n", encoding="utf-8")
    assert collect(repository / "prog.py", repository / "output").code == before


def test_where_git_gives_no_answer_code_is_the_hash_of_the_files(
    working_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = make_repository(working_dir / "repository", {"prog.py": "x = 1\n"})
    monkeypatch.setenv("PATH", "/nowhere")
    before = collect(repository / "prog.py").code
    (repository / "prog.py").write_text("x = 2\n", encoding="utf-8")
    assert before is not None
    assert collect(repository / "prog.py").code not in (None, before)


@pytest.fixture
def imported(working_dir: Path) -> Iterator[Path]:
    """A module beside the program, imported."""
    path = working_dir / "beside_the_program.py"
    path.write_text("y = 1\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(working_dir))
        importlib.invalidate_caches()
        importlib.import_module("beside_the_program")
        yield path
    del sys.modules["beside_the_program"]


def test_outside_of_git_code_is_the_hash_of_the_programs_own_files(program: Path, imported: Path) -> None:
    first = collect(program).code
    assert collect(program).code == first
    imported.write_text("y = 2\n", encoding="utf-8")
    second = collect(program).code
    program.write_text("x = 2\n", encoding="utf-8")
    assert len({first, second, collect(program).code}) == 3


def test_a_file_that_is_not_imported_is_no_code_of_the_program(program: Path) -> None:
    before = collect(program).code
    (program.parent / "unused.py").write_text("z = 1\n", encoding="utf-8")
    assert collect(program).code == before


@pytest.mark.parametrize("code_file", [None, "<stdin>", "/nowhere/prog.py"])
def test_without_a_file_the_code_is_unknown(working_dir: Path, code_file: str | None) -> None:
    assert collect(code_file).code is None


def test_the_environment_of_now_is_that_which_a_run_would_record(program: Path) -> None:
    found = collect(program)
    assert describe_environment(str(program)) == {**found.environment, "code": found.code, "patch": b""}
