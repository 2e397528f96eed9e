"""Backends by name: what can be chosen, and what is said when one is not there."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from pystematic import Recorder
from pystematic.errors import UsageError
from pystematic.record import Backend, check_backends
from pystematic.record._registry import BACKENDS, make_backend
from tests.builders import run_python


@pytest.mark.parametrize("name", BACKENDS)
def test_every_name_makes_a_backend_of_this_name(name: str) -> None:
    backend = make_backend(name)

    assert Backend in type(backend).__mro__
    assert (backend.name, backend.dropped) == (name, 0)


def test_making_and_checking_backends_imports_none_of_their_packages() -> None:
    done = run_python(
        "-c",
        "import sys\n"
        "from pystematic.record import check_backends\n"
        "from pystematic.record._registry import BACKENDS, make_backend\n"
        "check_backends(BACKENDS, 'test')\n"
        "[make_backend(name) for name in BACKENDS]\n"
        "print(sorted({'mlflow', 'numpy', 'tensorboard', 'wandb'} & set(sys.modules)))",
    )

    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_unknown_name_is_an_error_with_the_nearest_one() -> None:
    with pytest.raises(UsageError) as caught:
        check_backends(["csv", "tensorbord", "x"], "command line")
    assert str(caught.value) == (
        "unknown recorder 'tensorbord' (command line): expected console, csv, mlflow, tensorboard or wandb. "
        "Did you mean 'tensorboard'?\n"
        "unknown recorder 'x' (command line): expected console, csv, mlflow, tensorboard or wandb."
    )


def test_a_folder_of_its_name_is_no_package(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (working_dir / "no_package_but_a_folder").mkdir()
    monkeypatch.syspath_prepend(working_dir)
    monkeypatch.setitem(BACKENDS, "x", ("_csv", "no_package_but_a_folder"))
    with pytest.raises(UsageError, match="needs the package no_package_but_a_folder, which is not installed"):
        check_backends(["x"], "code")


@pytest.mark.parametrize("name", ["mlflow", "tensorboard", "wandb"])
def test_a_missing_package_is_an_error_that_names_the_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(UsageError) as caught:
        check_backends([name, "csv"], "project pyproject.toml:3")
    assert str(caught.value) == (
        f"recorder {name!r} (project pyproject.toml:3) needs the package {name}, which is not installed: "
        f"pip install 'pystematic[{name}]'"
    )


def test_a_package_that_stands_in_sys_modules_only_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="needs the package wandb, which is not installed"):
        check_backends(["wandb"], "code")


def test_a_recorder_refuses_an_unknown_name_at_once() -> None:
    with Recorder("output") as recorder, pytest.raises(UsageError) as caught:
        recorder.add_backend("cvs")
    assert str(caught.value) == (
        "unknown recorder 'cvs' (add_backend): expected console, csv, mlflow, tensorboard or wandb. Did you mean 'csv'?"
    )
