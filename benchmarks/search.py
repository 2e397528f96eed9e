"""A real search: TPE with ASHA against random trials on the digits example, by best accuracy and by samples trained on.

See README.md in this folder. Exit code 1 when a target is missed: the median of the best accuracies no worse, in at
most three quarters of the compute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pystematic

ROOT = Path(__file__).resolve().parent.parent
# The best epoch is what the example keeps. No batch size: runs are compared at equal steps, here equal epochs.
METRIC = "val/accuracy:max@best"
SPACE = ("--learning-rate", "1e-5..1:log", "--optimizer", "adamw,sgd", "--epochs", "9")
WAYS = {"random": ("--search", "random"), "TPE, ASHA": ("--search", "tpe", "--stop", "asha")}
COMPUTE_TARGET = 0.75


def search(way: tuple[str, ...], seed: int, trials: int, folder: Path) -> dict[str, Any]:
    """Run one search, and return the best accuracy, what it was trained with, and the samples trained on."""
    words = [
        "sweep",
        "--jobs",
        "2",
        "--trials",
        str(trials),
        "--search-seed",
        str(seed),
        "--metric",
        METRIC,
        *way,
        "--yes",
        "train",
        *SPACE,
    ]
    words += ["--random-seed", str(seed), "--output-dir", str(folder)]
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "digits.py"), *words],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    runs = list(pystematic.runs(folder))
    if len(runs) != trials:
        raise SystemExit(f"{len(runs)} runs instead of {trials}")
    best = max(
        (run for run in runs if "val/accuracy" in run.summary), key=lambda run: run.summary["val/accuracy"]["max"]
    )
    samples = sum(run.summary["train/loss"]["count"] * run.params["batch_size"] for run in runs if run.summary)
    return {
        "accuracy": best.summary["val/accuracy"]["max"],
        "learning_rate": best.params["learning_rate"],
        "optimizer": best.params["optimizer"],
        "samples": samples,
        "pruned": sum(run.status == "pruned" for run in runs),
        "seconds": time.perf_counter() - begun,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="searches of each kind (default: 5)")
    parser.add_argument("--trials", type=int, default=40, help="runs of each search (default: 40)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    print(
        f"{'search':12}{'seed':>5}{'accuracy':>10}{'learning rate':>15}{'optimizer':>11}{'samples':>10}{'pruned':>8}"
        f"{'s':>7}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            for name, way in WAYS.items():
                one = search(way, seed, args.trials, Path(folder) / f"{name.split(',')[0]}-{seed}")
                found[name].append(one)
                print(
                    f"{name:12}{seed:5}{one['accuracy']:10.4f}{one['learning_rate']:15.2g}{one['optimizer']:>11}"
                    f"{one['samples']:10}{one['pruned']:8}{one['seconds']:7.1f}",
                    flush=True,
                )
    accuracy = {name: statistics.median(one["accuracy"] for one in some) for name, some in found.items()}
    compute = {name: sum(one["samples"] for one in some) for name, some in found.items()}
    ratio = compute["TPE, ASHA"] / compute["random"]
    is_met = accuracy["TPE, ASHA"] >= accuracy["random"] and ratio <= COMPUTE_TARGET
    print(f"median of the best accuracies: {accuracy['TPE, ASHA']:.4f}, random {accuracy['random']:.4f}")
    print(f"compute: {ratio:.2f} of that of random trials   target {COMPUTE_TARGET}   {'ok' if is_met else 'MISSED'}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())
