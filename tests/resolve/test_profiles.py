"""Profiles of the project file: settings of a batch system, which are no parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystematic.declare import ParameterSet, Spec
from pystematic.errors import UsageError
from pystematic.resolve import read_profile, resolve

PROJECT = """
[tool.pystematic]
output_dir = "runs"

[tool.pystematic.slurm]
account = "lab"
time = 60
additional_parameters = {reservation = "r"}

[tool.pystematic.slurm.gpu]
partition = "gpu"
time = 240
"""


@pytest.fixture(autouse=True)
def project(working_dir: Path) -> None:
    (working_dir / "pyproject.toml").write_text(PROJECT)


def test_a_profile_beats_what_all_have_in_common(working_dir: Path) -> None:
    settings, source = read_profile("slurm", "gpu", str(working_dir))
    assert settings == {
        "account": "lab",
        "time": 240,
        "partition": "gpu",
        "additional_parameters": {"reservation": "r"},
    }
    assert source == "project pyproject.toml"


def test_without_a_profile_there_is_what_all_have_in_common(working_dir: Path) -> None:
    settings, _ = read_profile("slurm", None, str(working_dir))
    assert settings == {"account": "lab", "time": 60, "additional_parameters": {"reservation": "r"}}


def test_an_unknown_profile_names_those_that_there_are(working_dir: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_profile("slurm", "gpus", str(working_dir))
    assert str(caught.value) == (
        "there is no profile 'gpus' for slurm in project pyproject.toml. Did you mean 'gpu'? There are gpu. "
        "A profile is a table [tool.pystematic.slurm.gpus]."
    )


def test_profiles_are_no_parameters() -> None:
    resolution = resolve(Spec(ParameterSet("experiment 'train'")), {})
    assert not resolution.problems
    assert str(resolution.parameters["output_dir"]).endswith("runs")
