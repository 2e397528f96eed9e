"""`Experiment.sweep`: all runs come back, failed ones included; the same call again runs nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pystematic
from tests.builders import run_python, write_program

PROGRAM = """
    import pystematic

    @pystematic.parameter(name="lr", type=float, default=0.1)
    @pystematic.parameter(name="sizes", type=list[int], default=[1])
    @pystematic.experiment(metric="loss:min")
    def train(parameters, context):
        if parameters["lr"] == 0.5:
            raise ValueError("too large")
        context.recorder.scalar("loss", parameters["lr"] * len(parameters["sizes"]), step=0)

    if __name__ == "__main__":
        for _ in range(2):
            found = train.sweep(lr=[0.1, 0.5], sizes=[[1], [2, 3]], random_seed=range(2), jobs=2)
            print([(run.status, run.params["lr"], run.params["sizes"], run.params["random_seed"]) for run in found])
            print(len(list(found)), len(pystematic.runs("output")), found.best("loss:min").params["lr"])
"""


def test_all_runs_of_a_sweep_come_back_and_the_same_call_runs_nothing(tmp_path: Path) -> None:
    write_program(tmp_path, PROGRAM)
    ended = run_python("prog.py", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    first, counts, again, counts_again = ended.stdout.splitlines()
    expected = [
        ("failed" if lr == 0.5 else "completed", lr, sizes, seed)
        for lr in (0.1, 0.5)
        for sizes in ([1], [2, 3])
        for seed in (0, 1)
    ]
    assert (first, counts) == (str(expected), "8 8 0.1")
    assert (again, counts_again) == (first, counts)


def test_a_parameter_of_the_mapping_and_of_a_keyword_is_refused(working_dir: Path) -> None:
    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.experiment
    def train(parameters: Any) -> None:
        pass

    with pytest.raises(pystematic.UsageError, match=r"^x is given by the mapping and by a keyword. Give it once.$"):
        train.sweep({"x": [1]}, x=[2])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"jobs": "2"}, "--jobs '2': give a whole number."),
        ({"jobs": 0}, "--jobs 0: give at least 1."),
        ({"seeds": True}, "--seeds True: give a whole number."),
        ({"retries": 1.5}, "--retries 1.5: give a whole number."),
        ({"timeout": "soon"}, "--timeout: expected a duration such as 30s, 10m or 2h, got 'soon'."),
        ({"timeout": [1]}, "--timeout [1]: give seconds, or a text such as 2h."),
        ({"stop": "xx"}, "--stop 'xx': there are median and asha."),
        ({"dry_run": True}, "dry_run (code) is for the command line: --dry-run shows the points."),
        ({"on": 3}, "--on '3': there is no such place. Known: local, slurm[:PROFILE], ray[:ADDRESS]."),
    ],
    ids=str,
)
def test_an_option_that_fits_nothing_is_one_error_and_nothing_is_made(
    working_dir: Path, option: dict[str, Any], message: str
) -> None:
    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.experiment
    def train(parameters: Any) -> None:
        pass

    with pytest.raises(pystematic.UsageError) as caught:
        train.sweep(x=[1, 2], **option)
    assert str(caught.value) == message
    assert not Path("output").exists()


def test_more_devices_than_there_are_is_one_error_and_nothing_is_made(working_dir: Path) -> None:
    @pystematic.parameter(name="x", type=int, default=0)
    @pystematic.experiment
    def train(parameters: Any) -> None:
        pass

    with pytest.raises(pystematic.core.Error, match=r"^gpus=1000: each run would need more devices than this machine"):
        train.sweep(x=[1, 2], gpus=1000)
    assert not Path("output").exists()
