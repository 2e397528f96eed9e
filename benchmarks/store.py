"""What looking at many runs costs: one filter, one order, 20 rows, as whole processes; MLflow beside it.

See README.md in this folder. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from benchmarks.startup import CACHE_DIR, Library, make_environment  # noqa: E402

SIZES = (1_000, 10_000, 100_000)
# MLflow takes hours to record more.
MLFLOW_SIZES = (1_000, 10_000)
WARM_S = {10_000: 0.1, 100_000: 0.5}
COLD_US_PER_RUN = 60.0
MOST_MIB = 200.0
POINTS = 1_000_000
COLUMNS_COLD_S, COLUMNS_WARM_S = 0.6, 0.02
WHERE = "params.learning_rate > 0.01 and metrics['val/accuracy'].max > 0.9"
SORT = "-metrics['val/accuracy'].max"

MLFLOW = Library("MLflow", "mlflow", "mlflow", "", {})
# A parameter of MLflow is text and has no order: the learning rate is a metric there.
MLFLOW_QUERY = """
import sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
found = mlflow.search_runs(experiment_names=["train"], filter_string="metrics.lr > 0.01 and metrics.accuracy > 0.9",
                           order_by=["metrics.accuracy DESC"], max_results=20, output_format="list")
print(len(found))
"""
MLFLOW_MAKE = """
import random, sys, mlflow
from mlflow.entities import Metric, Param
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
experiment = client.create_experiment("train")
draw = random.Random(1)
for i in range(int(sys.argv[2])):
    lr, accuracy = 10 ** draw.uniform(-5, 0), draw.random()
    run = client.create_run(experiment)
    metrics = [Metric("lr", lr, 0, 0), Metric("accuracy", accuracy, 0, 99), Metric("loss", 1 - accuracy, 0, 99)]
    params = [Param(name, str(i)) for name in ("batch_size", "epochs", "model", "random_seed")]
    client.log_batch(run.info.run_id, metrics=metrics, params=params)
    client.set_terminated(run.info.run_id)
"""
COLUMNS_READ = """
import sys, time
import numpy
from pystematic.store import Run
began = time.perf_counter()
series = Run(sys.argv[1]).metrics("train/loss")
print(time.perf_counter() - began, len(series))
"""


@dataclass
class Cost:
    """What one process took."""

    wall_s: float
    peak_mib: float
    out: str


def run(argv: list[str | Path], **env: str) -> Cost:
    """Run a process to its end.

    Raises:
        SystemExit: it failed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(word) for word in argv],
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}, **env},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, argv))} ended with {process.returncode}")
    return Cost(wall_s, usage.ru_maxrss / 1024, out)


# -- what is looked at -----------------------------------------------------------------------------------------------


def make_runs(count: int) -> Path:
    """Make runs as a small training leaves them: 21 parameters, 4 metrics, an environment with 300 packages."""
    from pystematic import rundir

    folder = CACHE_DIR / f"runs-{count}"
    done = folder / "done"
    if done.exists():
        return folder / "output"
    shutil.rmtree(folder, ignore_errors=True)
    draw = random.Random(1)
    packages = {f"package-{i}": f"1.{i}.0" for i in range(300)}
    environment = {
        "schema": 1,
        "python": {"version": "3.11.7"},
        "packages": packages,
        "git": {"commit": "0" * 40, "branch": "main"},
    }
    for i in range(count):
        started = 1.75e9 + 60 * i
        stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime(started))
        run_dir = rundir.RunDir(folder / "output" / "train" / f"{stamp}_{i:06}")
        run_dir.path.mkdir(parents=True)
        params = {"learning_rate": 10 ** draw.uniform(-5, 0), "random_seed": i, "batch_size": 64, "model": "resnet18"}
        params.update((f"option_{number}", number) for number in range(17))
        run_dir.parameters_file.write_text(rundir.format_parameters(params))
        line = '{"tag":"train/loss","step":0,"time":1.0,"value":0.5}\n'
        run_dir.metrics_file().write_text(line)
        metrics = {tag: _summary_of(draw) for tag in ("train/loss", "val/loss", "val/accuracy", "system/cpu")}
        document = rundir.make_summary(
            metrics, sizes={run_dir.metrics_file().name: len(line)}, dropped=0, damaged_lines=0
        )
        rundir.write_document(run_dir.summary_file, document)
        rundir.write_document(run_dir.environment_file, environment)
        rundir.write_document(run_dir.run_file, _document_of(run_dir, started, params))
    done.touch()
    return folder / "output"


def _summary_of(draw: random.Random) -> dict[str, object]:
    low, high = sorted((draw.random(), draw.random()))
    return {
        "first": low,
        "last": high,
        "min": low,
        "max": high,
        "mean": (low + high) / 2,
        "count": 100,
        "min_step": 0,
        "max_step": 99,
    }


def _document_of(run_dir: object, started: float, params: Mapping[str, object]) -> dict[str, object]:
    from pystematic import rundir

    began, ended = rundir.format_time(started), rundir.format_time(started + 600)
    return {
        "schema": 1,
        "id": run_dir.id,  # type: ignore[attr-defined]
        "experiment": "train",
        "status": "completed",
        "started_at": began,
        "ended_at": ended,
        "exit_code": 0,
        "error": None,
        "host": "host",
        "pid": {"pid": 1, "start_time": "1", "boot_id": "none"},
        "argv": ["prog.py", "train"],
        "program": {"file": "/prog.py", "module": None, "code_file": "/prog.py"},
        "metric": "val/accuracy:max",
        "sources": dict.fromkeys(params, "default"),
        "parent": None,
        "code": "0" * 64,
        "notes": [],
        "attempts": [
            {"started_at": began, "ended_at": ended, "host": "host", "argv": ["prog.py"], "status": "completed"}
        ],
    }


def make_series() -> Path:
    """Make a run with 1,000,000 points of one tag."""
    from pystematic import rundir

    run_dir = CACHE_DIR / "series" / "output" / "train" / "2026-01-01_00-00-00_series"
    done = CACHE_DIR / "series" / "done"
    if not done.exists():
        shutil.rmtree(CACHE_DIR / "series", ignore_errors=True)
        run_dir.mkdir(parents=True)
        draw = random.Random(1)
        formatter = rundir.ScalarFormatter()
        with open(rundir.RunDir(run_dir).metrics_file(), "wb") as file:
            for start in range(0, POINTS, 10_000):
                steps = list(range(start, start + 10_000))
                times = [1.7e9 + step * 1e-3 for step in steps]
                file.write(formatter.format((["train/loss"] * 10_000, steps, times, [draw.random() for _ in steps])))
        done.touch()
    return run_dir


# -- measuring -------------------------------------------------------------------------------------------------------


def query(output_dir: Path) -> list[str | Path]:
    return [
        *(sys.executable, "-m", "pystematic", "ls", "--output-dir", output_dir, "--where", WHERE, f"--sort={SORT}"),
        *("--limit", "20", "--output", "json"),
    ]


def measure_runs(count: int, rounds: int, mlflow: Callable[[], Cost] | None, figures: dict[str, float]) -> list[str]:
    """Measure one size, warm and cold and MLflow in turns; return the targets that were missed."""
    output_dir = make_runs(count)
    cache = CACHE_DIR / f"runs-{count}" / "cache"
    env = {"XDG_CACHE_HOME": str(cache)}
    run(query(output_dir), **env)  # the files of the runs are in the system's own cache then
    taken: dict[str, list[Cost]] = {"pass": [], "cold": [], "warm": [], "mlflow": []}
    for number in range(rounds):
        taken["pass"].append(run([sys.executable, "-c", "pass"]))
        if number < 3:
            shutil.rmtree(cache)
            taken["cold"].append(run(query(output_dir), **env))
        taken["warm"].append(run(query(output_dir), **env))
        if mlflow is not None and number < 3:
            taken["mlflow"].append(mlflow())
    assert len(json.loads(taken["warm"][0].out)) == 20
    wall = {name: statistics.median(cost.wall_s for cost in costs) for name, costs in taken.items() if costs}
    peak = max(cost.peak_mib for cost in [*taken["cold"], *taken["warm"]])
    per_run_us = (wall["cold"] - wall["warm"]) / count * 1e6
    line = f"{count:>7,} runs: warm {wall['warm']:.3f} s ({wall['warm'] / wall['pass']:.1f} times python -c pass)"
    line += f", cold {wall['cold']:.2f} s ({per_run_us:.0f} us a run), at most {peak:.0f} MiB"
    if "mlflow" in wall:
        line += f"; MLflow {wall['mlflow']:.2f} s ({wall['mlflow'] / wall['warm']:.0f} times as long)"
    print(line, flush=True)
    figures.update({f"{count} {name} s": value for name, value in wall.items()})
    figures.update({f"{count} cold us a run": per_run_us, f"{count} peak MiB": peak})
    missed = []
    if wall["warm"] > WARM_S.get(count, 1.0):
        missed.append(f"{count:,} runs warm: {wall['warm']:.3f} s, at most {WARM_S[count]} s")
    if count >= 10_000 and per_run_us > COLD_US_PER_RUN:
        missed.append(f"{count:,} runs cold: {per_run_us:.0f} us a run, at most {COLD_US_PER_RUN:.0f} us")
    if peak > MOST_MIB:
        missed.append(f"{count:,} runs: {peak:.0f} MiB, at most {MOST_MIB:.0f} MiB")
    return missed


def measure_series(rounds: int, figures: dict[str, float]) -> list[str]:
    """Measure 1,000,000 points in new processes, numpy imported before; return the targets that were missed."""
    run_dir = make_series()
    cache = CACHE_DIR / "series" / "cache"
    env = {"XDG_CACHE_HOME": str(cache)}
    taken: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        shutil.rmtree(cache, ignore_errors=True)
        for name in ("cold", "warm"):
            seconds, points = run([sys.executable, "-c", COLUMNS_READ, run_dir], **env).out.split()
            assert int(points) == POINTS
            taken[name].append(float(seconds))
    cold, warm = statistics.median(taken["cold"]), statistics.median(taken["warm"])
    print(f"{POINTS:,} points: first look {cold:.2f} s, second {warm:.3f} s")
    figures.update({"points cold s": cold, "points warm s": warm})
    missed = []
    if cold > COLUMNS_COLD_S:
        missed.append(f"{POINTS:,} points: first look {cold:.2f} s, at most {COLUMNS_COLD_S} s")
    if warm > COLUMNS_WARM_S:
        missed.append(f"{POINTS:,} points: second look {warm:.3f} s, at most {COLUMNS_WARM_S} s")
    return missed


def make_mlflow(count: int) -> Callable[[], Cost]:
    """Record as many runs with MLflow, in its default SQLite database; return what queries them."""
    python = make_environment(MLFLOW)
    folder = CACHE_DIR / f"mlflow-{count}"
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    env = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    done = folder / "done"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        run([python, "-c", MLFLOW_MAKE, uri, str(count)], **env)
        done.touch()
    return lambda: run([python, "-c", MLFLOW_QUERY, uri], **env)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of each measurement (default: 7)")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="numbers of runs")
    parser.add_argument("--only", choices=["pystematic"], help="leave MLflow out")
    parser.add_argument("--json", type=Path, help="write the figures there")
    args = parser.parse_args()
    figures: dict[str, float] = {}
    missed = []
    for count in args.sizes:
        mlflow = make_mlflow(count) if args.only is None and count in MLFLOW_SIZES else None
        missed += measure_runs(count, args.rounds, mlflow, figures)
    missed += measure_series(args.rounds, figures)
    if args.json is not None:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n".join(f"missed: {line}" for line in missed) or "all targets met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
