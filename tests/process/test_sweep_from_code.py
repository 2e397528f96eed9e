"""`Experiment.sweep`: all runs come back, failed ones included; the same call again runs nothing."""

from __future__ import annotations

from pathlib import Path

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
