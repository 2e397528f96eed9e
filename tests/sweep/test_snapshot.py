"""A copy of a program holds its code as it is now, and leads to everything else where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from pystematic.sweep._code import Code
from pystematic.sweep._snapshot import copy_code, find_root


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def copied(root: Path, main: str = "prog.py", ignored: tuple[str, ...] = ()) -> tuple[Code, Path]:
    preparation = {"sys_path": [str(root), os.path.dirname(os.__file__)], "init_main_from_path": str(root / main)}
    made = copy_code(Code(preparation, ("m", "train")), Path("copies"), ignored)
    assert made.copy is not None
    return made, Path(made.copy[0])


def test_code_is_copied_and_data_is_linked(working_dir: Path) -> None:
    root = working_dir / "project"
    write(root, prog_py="x = 1", package__part_py="y = 1", data__numbers="1 2 3")
    _, folder = copied(root)
    (root / "prog.py").write_text("x = 2")
    assert (folder / "prog.py").read_text() == "x = 1"
    assert (folder / "package" / "part.py").read_text() == "y = 1"
    assert (folder / "data").is_symlink()
    assert (folder / "data" / "numbers").read_text() == "1 2 3"


def test_own_paths_lead_into_the_copy_and_those_of_python_stay(working_dir: Path) -> None:
    root = working_dir / "project"
    write(root, prog_py="")
    made, folder = copied(root)
    assert made.preparation["sys_path"] == [str(folder), os.path.dirname(os.__file__)]
    assert made.preparation["init_main_from_path"] == str(folder / "prog.py")
    assert made.copy == (str(folder), str(root))


def test_the_same_code_is_copied_once(working_dir: Path) -> None:
    root = working_dir / "project"
    write(root, prog_py="x = 1")
    first = copied(root)[1]
    assert copied(root)[1] == first
    (root / "prog.py").write_text("x = 2")
    assert copied(root)[1] != first


def test_runs_environments_and_ignored_folders_are_no_code(working_dir: Path) -> None:
    root = working_dir / "project"
    write(root, prog_py="", run__a_py="", env__b_py="", output__c_py="")
    (root / "run" / "run.json").write_text("{}")
    (root / "env" / "pyvenv.cfg").write_text("")
    _, folder = copied(root, ignored=(str(root / "output"),))
    assert sorted(path.name for path in folder.iterdir() if not path.is_symlink()) == ["prog.py"]
    assert not (folder / "output").exists()


def test_the_project_is_found_above_the_program(working_dir: Path) -> None:
    write(working_dir, top__examples__prog_py="")
    (working_dir / "top" / "pyproject.toml").write_text("")
    assert find_root(str(working_dir / "top" / "examples")) == str(working_dir / "top")
