"""``check-distributed``: an experiment's first steps in one and in several processes, compared number by number.

Works on what real runs have recorded, and on the notes that `pystematic.torch._trace` takes of each optimizer step;
knows nothing of how processes train together.
"""

from __future__ import annotations

import os
import sys

from pystematic._record import record
from pystematic.cli._program import checked_file
from pystematic.errors import UsageError
from pystematic.store import Run, runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from pystematic.resolve import Parameters

# Rounding in sums of another order; beyond it something is computed otherwise.
ALLOWED = {"float64": 1e-9, "float32": 1e-4}
ONE = "1 process"


@record
class Steps:
    """What one run has done: for each process its notes of each step, and what was recorded, merged over them."""

    traces: list[list[dict[str, Any]]]
    recorded: dict[tuple[int, str], float]


@record
class Difference:
    """Where two runs differ first, counted from 0, in what, and what is likely to be the cause."""

    step: int
    what: str
    reason: str


def check_distributed(options: Parameters, words: list[str]) -> int:
    """Run some steps in one and in several processes, and say where they first differ; 1 if they do.

    Raises:
        UsageError: an argument of the program cannot be meant, or there is nothing to compare.
    """
    path = os.path.abspath(checked_file(words[0]))
    processes, steps = int(options["processes"]), int(options["steps"])
    if processes < 2:
        raise UsageError(f"--processes {processes}: there are at least 2 to compare with one")
    if steps < 1:
        raise UsageError(f"--steps {steps}: there is at least 1 to compare")
    for dtype, allowed in ALLOWED.items():
        alone = _steps_of(path, words[1:], dtype, 1, steps)
        together = _steps_of(path, words[1:], dtype, processes, steps)
        found = first_difference(alone, together, allowed)
        if found is not None:
            reason = found.reason if dtype == "float64" else _ROUNDING
            print(f"{dtype}: step {found.step} (the first one is 0) differs: {found.what}\n  {reason}")
            return 1  # in float32 it differs too
        print(
            f"{dtype}: {_size(alone)} are the same in 1 and {processes} processes, to {allowed:g}: losses, gradients, "
            "weights, and what was recorded."
        )
    return 0


def _steps_of(path: str, words: list[str], dtype: str, processes: int, steps: int) -> Steps:
    """Run the program for some steps, and return what it has done."""
    import glob
    import json
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        among = ["--distributed", "--nproc-per-node", str(processes)] if processes > 1 else ["--no-distributed"]
        fixed = ["--output-dir", folder, "--random-seed", "1", "--device", "cpu", "--precision", "fp32"]
        traced = [sys.executable, "-m", "pystematic.torch._trace", dtype, str(steps), folder, path]
        ended = subprocess.run(
            [*traced, *words, *fixed, "--limit-batches", str(steps), *among],
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            text = "\n".join(ended.stderr.splitlines()[-15:])
            raise UsageError(f"the program failed in {processes} process(es), with {dtype}:\n{text}")
        found = runs(folder)
        if not found:
            raise UsageError(f"the program has made no run: {' '.join([path, *words])}")
        traces = []
        for name in sorted(glob.glob(f"{folder}/trace-*.jsonl"), key=lambda name: int(name[:-6].rpartition("-")[2])):
            with open(name, encoding="utf-8") as file:
                traces.append([json.loads(line) for line in file])
        recorded = _numbers(found[-1])
        if not traces and not recorded:
            raise UsageError(f"nothing to compare: {' '.join([path, *words])} has taken no step and recorded nothing")
        return Steps(traces, recorded)


def _numbers(run: Run) -> dict[tuple[int, str], float]:
    """Return what was recorded, by step and tag; system metrics are those of the machine."""
    numbers: dict[tuple[int, str], float] = {}
    for tag in run.summary:
        if not tag.startswith("system/"):
            series = run.metrics(tag)
            numbers |= {(int(step), tag): float(value) for step, value in zip(series.step, series.value, strict=True)}
    return numbers


def _size(steps: Steps) -> str:
    count = len(steps.traces[0]) if steps.traces else len({step for step, _ in steps.recorded})
    return f"{count} step{'s' * (count != 1)}"


def first_difference(alone: Steps, together: Steps, allowed: float) -> Difference | None:
    """Return where two runs differ first, None if they do not."""
    found = None
    if alone.traces and together.traces:
        found = _difference_of_traces(alone.traces[0], together.traces, allowed)
    return found or _difference_of_records(alone.recorded, together.recorded, allowed)


def _difference_of_traces(
    alone: list[dict[str, Any]], together: list[list[dict[str, Any]]], allowed: float
) -> Difference | None:
    among = f"{len(together)} processes"
    for step, one in enumerate(alone):
        others = [trace[step] for trace in together if step < len(trace)]
        if len(others) < len(together):
            return Difference(step, f"{ONE} takes it, and not all of {among} do.", _FEWER_STEPS)
        if not _is_close(a := _loss(one), b := _loss(*others), allowed):
            return Difference(
                step, f"the loss is {a!r} in {ONE} and {b!r} in {among}.", _reason_of_loss(step, one["kinds"])
            )
        if (name := _first_unlike(others, "gradients", allowed)) is not None:
            return Difference(step, f"ranks have different gradients of {name}.", _UNSYNCHRONISED)
        if (name := _first_unlike([one, others[0]], "gradients", allowed)) is not None:
            return Difference(step, f"{ONE} and {among} have different gradients of {name}.", _WEIGHED_OTHERWISE)
        rates = [entry["rates"] for entry in (one, *others)]
        if any(rate != rates[0] for rate in rates):
            told = ", ".join(str(rate[0] if len(rate) == 1 else rate) for rate in rates[1:])
            what = f"the learning rate is {rates[0][0]} in {ONE}, and {told} on the ranks of {among}."
            return Difference(step, what, _OTHER_RATES)
        if (name := _first_unlike([one, *others], "weights", allowed)) is not None:
            return Difference(step, f"the weights of {name} differ after it.", _OTHER_UPDATE)
    if any(len(trace) > len(alone) for trace in together):
        return Difference(len(alone), f"{among} take it, and {ONE} does not.", _FEWER_STEPS)
    return None


def _loss(*entries: Mapping[str, Any]) -> float | None:
    """Return the mean of the losses of a step over all processes and micro-batches, weighed by their samples."""
    losses = [pair for entry in entries for pair in entry["losses"]]
    count = sum(samples for _, samples in losses)
    return sum(value * samples for value, samples in losses) / count if count else None


def _first_unlike(entries: list[dict[str, Any]], part: str, allowed: float) -> str | None:
    """Return the first parameter of which one of ``entries`` has something else than the first of them."""
    first = entries[0][part]
    for other in entries[1:]:
        for name in first.keys() | other[part].keys():
            here, there = first.get(name), other[part].get(name)
            if here is None or there is None or not all(map(_is_close, here, there, [allowed] * len(here))):
                return str(name)
    return None


def _difference_of_records(
    one: dict[tuple[int, str], float], other: dict[tuple[int, str], float], allowed: float
) -> Difference | None:
    for step, tag in sorted(one.keys() | other.keys()):
        a, b = one.get((step, tag)), other.get((step, tag))
        if a is None or b is None:
            return Difference(step, f"{tag} was recorded by one of them only.", _NOT_RECORDED)
        if not _is_close(a, b, allowed):
            return Difference(step, f"the recorded {tag} is {a!r} in {ONE} and {b!r} in several.", _RECORDED_OTHERWISE)
    return None


def _is_close(one: float | None, other: float | None, allowed: float) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or (one != one and other != other) or abs(one - other) <= allowed * max(1.0, abs(one))


def _reason_of_loss(step: int, kinds: list[str]) -> str:
    suspects = []
    if any("BatchNorm" in kind and "Sync" not in kind for kind in kinds):
        suspects.append("batch norm computes its statistics in each process (--sync-batchnorm: over all)")
    if any("Dropout" in kind for kind in kinds):
        suspects.append("dropout draws in each process")
    if suspects:
        return f"Weights were the same before it, so the forward pass differs: {', and '.join(suspects)}."
    return (
        f"{'Nothing was trained before it' if step == 0 else 'Weights were the same before it'}, so the data or the "
        "forward pass differ: look for a loss that is a sum, or a mean over something else than samples "
        "(context.backward(loss, count=N)), random numbers that each rank draws, and data that are no loader's of ours."
    )


_FEWER_STEPS = "Does an epoch have another number of batches, or a rank leave the loop early?"
_UNSYNCHRONISED = (
    "The loss was the same, so gradients are not synchronised: look for a module that is not registered "
    "(context.model = model), or that is called by another way than model(...)."
)
_WEIGHED_OTHERWISE = (
    "The loss was the same, so its parts are weighed otherwise: look for a loss that is no mean over the samples of "
    "its batch (context.backward(loss, count=N)), two loaders in one step, or a module that is called by another way "
    "than model(...)."
)
_OTHER_RATES = "Gradients were the same: look for a learning rate or a scheduler that depends on the rank or its steps."
_OTHER_UPDATE = (
    "Gradients and learning rates were the same: look for an update of the weights that depends on the rank, or for "
    "another state of the optimizer."
)
_NOT_RECORDED = "The training was the same: does one rank record less, or under another step?"
_RECORDED_OTHERWISE = (
    "The training was the same, so this is what is recorded: a mean over samples is merged right, other numbers need "
    "reduce='sum', 'min' or 'max', or the same value on each rank."
)
_ROUNDING = "In float64 it is the same, so this is rounding: kinks (ReLU, max pooling) and Adam amplify it."
