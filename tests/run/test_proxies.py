"""`pystematic.output_dir` and `pystematic.params`, imported before the run that they speak of."""

from __future__ import annotations

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystematic import output_dir, params
from pystematic.errors import ExperimentError
from tests.run.builders import run_main


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda: params["lr"], "params"),
        (lambda: params.lr, "params"),
        (lambda: "lr" in params, "params"),
        (lambda: list(params), "params"),
        (lambda: len(params), "params"),
        (lambda: output_dir / "x", "output_dir"),
        (lambda: os.fspath(output_dir), "output_dir"),
        (lambda: output_dir.name, "output_dir"),
        (lambda: open(output_dir), "output_dir"),
        (lambda: f"{output_dir}", "output_dir"),
    ],
)
def test_before_a_run_they_say_that_there_is_none(use: Callable[[], object], name: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        use()
    assert str(caught.value) == (
        f"pystematic.{name} is known only while an experiment runs, and none is running in this process."
    )


def test_before_a_run_they_are_false_and_can_be_shown() -> None:
    assert not params
    assert not output_dir
    assert repr(params) == "<pystematic.params: no experiment is running>"
    assert repr(output_dir) == "<pystematic.output_dir: no experiment is running>"
    assert not hasattr(output_dir, "__array__")


def in_run(tmp_path: Path, look: Callable[[], Any]) -> Any:
    return run_main(tmp_path, lambda active: look(), lr=0.1).result


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        (lambda: params["lr"], 0.1),
        (lambda: params.lr, 0.1),
        (lambda: "lr" in params, True),
        (lambda: params.get("nothing", 7), 7),
        (lambda: dict(params)["lr"], 0.1),
        (lambda: {**params}["lr"], 0.1),
        (lambda: params.source_of("lr"), "default"),
        (lambda: bool(params), True),
        (lambda: copy.copy(params)["lr"], 0.1),
        (lambda: copy.deepcopy(params)["lr"], 0.1),
        (lambda: pickle.loads(pickle.dumps(params))["lr"], 0.1),
        (lambda: json.loads(json.dumps(dict(params)))["lr"], 0.1),
        (lambda: (params["local_rank"], params["subprocess"]), (0, None)),
    ],
)
def test_during_a_run_params_are_its_parameters(tmp_path: Path, look: Callable[[], object], expected: object) -> None:
    assert run_main(tmp_path, lambda active: look(), lr=0.1, local_rank=0, subprocess=None).result == expected


def test_during_a_run_output_dir_is_its_directory(tmp_path: Path) -> None:
    def look() -> Any:
        (output_dir / "notes.txt").write_text("x", encoding="utf-8")
        with open(output_dir.joinpath("more.txt"), "w", encoding="utf-8") as file:
            file.write("y")
        assert isinstance(output_dir, Path)
        assert Path(output_dir) == output_dir
        assert pickle.loads(pickle.dumps(output_dir)) == copy.deepcopy(output_dir) == output_dir
        return str(output_dir), os.path.join(output_dir, "a"), repr(output_dir)

    run = run_main(tmp_path, lambda active: look())
    assert run.result == (str(run.path), str(run.path / "a"), repr(run.path))
    assert {"notes.txt", "more.txt"} <= set(os.listdir(run.path))


def test_after_a_run_they_are_as_before(tmp_path: Path) -> None:
    in_run(tmp_path, lambda: params["lr"])
    with pytest.raises(ExperimentError):
        params["lr"]


def test_they_follow_one_run_after_another(tmp_path: Path) -> None:
    first, second = (in_run(tmp_path, lambda: str(output_dir)) for _ in range(2))
    assert first != second
