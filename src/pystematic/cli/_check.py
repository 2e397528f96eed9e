"""``check-distributed``: an experiment's first steps in one and in several processes, compared number by number.

Works on the records of real runs; knows nothing of how processes train together.
"""

from __future__ import annotations

import os
import sys

from pystematic.cli._program import checked_file
from pystematic.errors import UsageError
from pystematic.store import Run, runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.resolve import Parameters

# Rounding in sums of another order; beyond it something is computed otherwise.
ALLOWED = {"float64": 1e-9, "float32": 1e-4}
# Runs the program with another type for new tensors and parameters, and for the data that a loader hands out.
_LAUNCHER = """
import sys, runpy, torch
import pystematic.torch._data as data
dtype = getattr(torch, sys.argv[1])
torch.set_default_dtype(dtype)
move = data.move
from pystematic.torch._placement import change_tensors
data.move = lambda obj, device: change_tensors(move(obj, device), lambda t: t.to(dtype) if t.is_floating_point() else t)
from pystematic.torch import Context
place = Context._place
def placed(self, name, obj):
    return place(self, name, obj.to(dtype) if isinstance(obj, torch.nn.Module) else obj)
Context._place = placed
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def check_distributed(options: Parameters, words: list[str]) -> int:
    """Run some steps in one and in several processes, and say where they first differ; 1 if they do.

    Raises:
        UsageError: an argument of the program cannot be meant, or a run has recorded nothing.
    """
    path = os.path.abspath(checked_file(words[0]))
    processes, steps = int(options["processes"]), int(options["steps"])
    if processes < 2:
        raise UsageError(f"--processes {processes}: there are at least 2 to compare with one")
    differs = False
    for dtype in ALLOWED:
        alone = _series(path, words[1:], dtype, 1, steps)
        together = _series(path, words[1:], dtype, processes, steps)
        found = _first_difference(alone, together, ALLOWED[dtype])
        if found is None:
            print(f"{dtype}: {len(alone)} numbers of {steps} steps are the same in 1 and {processes} processes.")
            continue
        differs = True
        step, tag, one, other = found
        print(f"{dtype}: step {step} differs: {tag} is {one!r} in 1 process and {other!r} in {processes}.")
        print(f"  {_reason(dtype, step, one, other)}")
        break  # in float32 it differs too
    return int(differs)


def _series(path: str, words: list[str], dtype: str, processes: int, steps: int) -> dict[tuple[int, str], float]:
    """Run the program and return what it has recorded: step and tag to the value, merged over the processes."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        launcher = os.path.join(folder, "launch.py")
        with open(launcher, "w", encoding="utf-8") as file:
            file.write(_LAUNCHER)
        among = ["--distributed", "--nproc-per-node", str(processes)] if processes > 1 else ["--no-distributed"]
        fixed = ["--output-dir", folder, "--limit-batches", str(steps), "--random-seed", "1", "--device", "cpu"]
        command = [sys.executable, launcher, dtype, path, *words, *fixed, *among]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            text = "\n".join(ended.stderr.splitlines()[-15:])
            raise UsageError(f"the program failed in {processes} process(es), with {dtype}:\n{text}")
        found = runs(folder)
        if not found:
            raise UsageError(f"the program has made no run: {' '.join([path, *words])}")
        return _numbers(found[-1])


def _numbers(run: Run) -> dict[tuple[int, str], float]:
    numbers: dict[tuple[int, str], list[float]] = {}
    for tag in run.summary:
        series = run.metrics(tag)
        for step, value in zip(series.step, series.value, strict=True):
            numbers.setdefault((int(step), tag), []).append(float(value))
    return {place: sum(values) / len(values) for place, values in numbers.items()}


def _first_difference(
    one: dict[tuple[int, str], float], other: dict[tuple[int, str], float], allowed: float
) -> tuple[int, str, float | None, float | None] | None:
    for step, tag in sorted(one.keys() | other.keys()):
        a, b = one.get((step, tag)), other.get((step, tag))
        if (
            a is None
            or b is None
            or not (a == b or abs(a - b) <= allowed * max(1.0, abs(a), abs(b)) or (a != a and b != b))
        ):
            return step, tag, a, b
    return None


def _reason(dtype: str, step: int, one: float | None, other: float | None) -> str:
    if one is None or other is None:
        return (
            "One of them has not recorded it: does a rank record less, or does an epoch have another number of batches?"
        )
    if step == 0:
        return (
            "They differ before the first step of the optimizer: the data or the forward pass do. Look for batch norm "
            "(--sync-batchnorm), dropout, a loss that is a sum, or a mean over something else than samples "
            "(context.backward(loss, count=N))."
        )
    if dtype == "float32":
        return "In float64 they are the same, so this is rounding: kinks (ReLU, max pooling) and Adam amplify it."
    return (
        "The first step was the same, so the gradients are not: look for a loss.backward() of a model that is not "
        "registered, two loaders in one step, or a loss that is no mean over the samples of its batch."
    )
