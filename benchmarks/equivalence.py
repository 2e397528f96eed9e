"""How far the numbers of several processes are from those of one: pystematic, beside raw DDP, Accelerate and Fabric.

See README.md in this folder. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import make_environment
from equal_numbers.task import BATCH_SIZE, CASES, EPOCHS, SAMPLES, SETTINGS, Case

PROGRAMS = Path(__file__).resolve().parent / "equal_numbers"
CACHE_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystematic-benchmarks"

COUNTS = (2, 3, 4)
BY_ENTRY = "by entry"
LIMIT_S = 300.0

# Of the difference from one process: absolute for losses and weights; of gradients the relative error of a step's whole
# gradient, as a vector. By entry float32 itself rounds more than that: that figure has no target.
TARGETS = {"float64": 1e-9, "float32": 1e-5, "gradients": 1e-6}


@dataclass(frozen=True)
class Peer:
    """Another library: its program, and what it needs beside the project's environment."""

    name: str
    program: str
    requirements: tuple[str, ...] = ()


PEERS = (
    Peer("DDP", "with_ddp.py"),
    # Without what they ask for: another torch must not come along.
    Peer(
        "Accelerate",
        "with_accelerate.py",
        ("--no-deps", "accelerate==1.15.0", "huggingface_hub==0.36.0", "safetensors==0.8.0"),
    ),
    Peer("Fabric", "with_fabric.py", ("--no-deps", "lightning-fabric==2.6.6", "lightning-utilities==0.15.3")),
)


@dataclass(frozen=True)
class Outcome:
    """What a training leaves: losses by batch, final weights by parameter, gradients by step and parameter."""

    losses: Sequence[float]
    weights: Sequence[Any]
    gradients: Sequence[Sequence[Any]] = ()


# -- pystematic ---------------------------------------------------------------------------------------------------


def run_pystematic(count: int, cases: str, folder: Path, alone: Path | None) -> Any:
    """Run the program by its command line, and return its run.

    Args:
        count: of processes.
        cases: what is part of the names of those that are trained.
        folder: where the run goes to; a new one.
        alone: the directory of the run of one process.
    """
    import pystematic

    options = ["--cases", cases, "--random-seed", "1", "--device", "cpu", "--output-dir", str(folder)]
    if count > 1:
        options += ["--distributed", "--nproc-per-node", str(count), "--alone", str(alone)]
    run_program([sys.executable, str(PROGRAMS / "with_pystematic.py"), "train", *options])
    (run,) = pystematic.runs(str(folder))
    if run.status != "completed":
        raise SystemExit(f"{run.path} is {run.status}")
    return run


def measure_pystematic(cases: str, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return the largest differences from one process, by case, number of processes, and what differs."""
    alone = run_pystematic(1, cases, folder / "1", None)
    tick()
    found: dict[str, dict[str, dict[str, float]]] = {case.name: {} for case in CASES if cases in case.name}
    for count in COUNTS:
        together = run_pystematic(count, cases, folder / str(count), alone.path)
        for index, case in enumerate(CASES):
            if case.name not in found:
                continue
            one, other = read_outcome(alone, case, index), read_outcome(together, case, index)
            if case.kind == "gradients":
                found[case.name][str(count)] = {
                    "gradients": relative_error(one.gradients, other.gradients),
                    BY_ENTRY: difference_by_entry(one.gradients, other.gradients),
                }
            else:
                found[case.name][str(count)] = differences(one, other)
        tick()
    return found


def read_outcome(run: Any, case: Case, index: int) -> Outcome:
    """Read what a run has left of a case; ends the comparison where a step is missing or doubled."""
    from pystematic.torch import load_checkpoint

    series = run.metrics(f"{case.name}: loss")
    steps = [int(step) for step in series.step]
    batches = EPOCHS * -(-SAMPLES // BATCH_SIZE)
    if steps != list(range(steps[0], steps[0] + batches)):
        raise SystemExit(f"{run.path}: {case.name} has not recorded {batches} steps: {steps}")
    state = load_checkpoint(run.path / f"checkpoint-{index}.pt")
    return Outcome([float(value) for value in series.value], state["weights"][-1], state["gradients"])


# -- the peers ----------------------------------------------------------------------------------------------------


def measure_peer(peer: Peer, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield how far 2 x 32 are from 1 x 64 for each setting, in float64 with the MLP and SGD."""
    import torch

    extra = make_environment(CACHE_DIR, f"equivalence-{peer.name}", peer.requirements)
    found = []
    for count in (1, 2):
        kept = folder / f"{peer.name}-{count}.pt"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
        run_program([*command, str(PROGRAMS / peer.program), str(kept)], extra)
        found.append(torch.load(kept, weights_only=True))
        tick()
    for accumulate, shuffle in SETTINGS:
        one, other = (Outcome(**outcomes[f"{accumulate} {shuffle}"]) for outcomes in found)
        order = "random" if shuffle else "of the data"
        yield {"library": peer.name, "order": order, "accumulate": accumulate, **differences(one, other)}


def run_program(command: Sequence[str], extra: Path | None = None) -> None:
    """Run a program to its end, with one thread in each process."""
    path = os.pathsep.join(filter(None, (None if extra is None else str(extra), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stderr[-3000:]}")


# -- differences --------------------------------------------------------------------------------------------------


def differences(one: Outcome, other: Outcome) -> dict[str, float]:
    """Return the largest absolute difference of losses and of weights; a number of losses that differs is an error."""
    losses = zip(one.losses, other.losses, strict=True)
    return {
        "loss": worst(abs(a - b) for a, b in losses),
        "weights": worst(float((a - b).abs().max()) for a, b in zip(one.weights, other.weights, strict=True)),
    }


def relative_error(one: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> float:
    """Return the largest |g' - g| / |g| of all steps, g being the gradients of all parameters as one vector."""
    return worst(
        float(sum((a - b).double().square().sum() for a, b in zip(of_one, of_other, strict=True)) ** 0.5)
        / float(sum(a.double().square().sum() for a in of_one) ** 0.5)
        for of_one, of_other in zip(one, other, strict=True)
    )


def difference_by_entry(one: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> float:
    """Return the largest difference of an entry, relative to the largest one of its parameter in that step."""
    return worst(
        float((a - b).abs().max() / a.abs().max())
        for of_one, of_other in zip(one, other, strict=True)
        for a, b in zip(of_one, of_other, strict=True)
    )


def worst(values: Iterable[float]) -> float:
    """Return the largest value; infinity where one is NaN, or none was there to be compared."""
    found = list(values)
    return max(found) if found and all(value == value for value in found) else float("inf")


# -- the comparison -----------------------------------------------------------------------------------------------


def print_cases(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    columns = [(what, str(count)) for what in ("loss", "weights", "gradients", BY_ENTRY) for count in COUNTS]
    print("| pystematic | " + " | ".join(f"{what}, {count}" for what, count in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name, by_count in found.items():
        print(f"| {name} | " + " | ".join(spell(by_count[count].get(what)) for what, count in columns) + " |")
    print()


def print_peers(found: Sequence[Mapping[str, Any]]) -> None:
    print("| 2 x 32 against 1 x 64, float64 | order | batches a step | loss | weights |")
    print("| --- | --- | ---: | ---: | ---: |")
    for row in found:
        figures = f"{spell(row['loss'])} | {spell(row['weights'])}"
        print(f"| {row['library']} | {row['order']} | {row['accumulate']} | {figures} |")
    print()


def spell(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.0e}"


def tick() -> None:
    print(".", end="", file=sys.stderr, flush=True)


def report_targets(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> int:
    """Print whether each target is met; return the exit code."""
    missed = 0
    for target, limit in TARGETS.items():
        values = [
            value
            for name, by_count in found.items()
            if name.startswith(f"{target}:")
            for figures in by_count.values()
            for what, value in figures.items()
            if what != BY_ENTRY
        ]
        if values:
            missed += max(values) >= limit
            print(f"{'PASS' if max(values) < limit else 'FAIL'}  {target}: {max(values):.1e} (below {limit:g})")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=["pystematic", "peers"], help="leave the other out")
    parser.add_argument("--case", metavar="TEXT", default="", help="only cases with this in their name: 'mlp, sgd'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    if not any(args.case in case.name for case in CASES):
        parser.error(f"--case {args.case!r} is part of no name; there are: {'; '.join(case.name for case in CASES)}")
    found: dict[str, dict[str, dict[str, float]]] = {}
    peers: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="equivalence-") as folder:
        if args.only != "peers":
            found = measure_pystematic(args.case, Path(folder))
        if args.only != "pystematic":
            peers = [row for peer in PEERS for row in measure_peer(peer, Path(folder))]
    print(file=sys.stderr)
    if found:
        print_cases(found)
    if peers:
        print_peers(peers)
    if args.json:
        figures = {"pystematic": found, "peers": peers}
        args.json.write_text(json.dumps({"targets": TARGETS, **figures}, indent=1) + "\n")
    return report_targets(found)


if __name__ == "__main__":
    sys.exit(main())
