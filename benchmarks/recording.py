"""What recording numbers costs: the loop, the process, the disk, the end; beside other libraries, and `list.append`.

See README.md in this folder. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import make_environment

ROOT = Path(__file__).resolve().parent.parent
CACHE_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystematic-benchmarks"

TAG = "train/loss"
SCALARS = 100_000
POINTS_READ = 1_000_000

# A loop with pauses: bursts of scalars, and between them what a step of a training costs the interpreter.
STEPS = 4000
SCALARS_A_STEP = 10
STEP_S = 0.0005

# What is checked: by name the column, the largest allowed value, and its unit.
TARGETS = {
    "loop": (0.5, "µs a scalar"),
    "worst": (2000.0, "µs for the worst call"),
    "collections": (0.0, "garbage collections caused by 100,000 scalars"),
    "tensor": (2.0, "µs a tensor"),
    "cpu": (1.5, "µs of CPU a scalar, all threads"),
    "disk": (80.0 + len(TAG), "bytes a scalar"),
    "close": (0.2, "s to close after 100,000 scalars"),
    "read": (0.6, "s to read 1,000,000 points in a new process"),
}


@dataclass(frozen=True)
class Library:
    """A library: what it needs beside the project's environment, and how often it is called where that takes long."""

    name: str
    requirements: tuple[str, ...] = ()
    scalars: int = SCALARS


LIBRARIES = (
    Library("pystematic"),
    Library("list.append"),
    Library("torch.utils.tensorboard", scalars=20_000),
    Library("tensorboardX", ("tensorboardX==2.6.5",), scalars=20_000),
    Library("MLflow", scalars=300),
    Library("wandb offline", scalars=10_000),
    Library("trackio", ("trackio==0.43.0",), scalars=20_000),
    Library("DVCLive", ("dvclive==3.49.1", "-c", str(ROOT / "constraints.txt")), scalars=5000),
    Library(
        "pystematic-torch 1.3",
        # Without what they ask for: the torch of that time does not exist for this Python.
        (
            *("--no-deps", "pystematic-torch==1.3.4", "pystematic==1.7.0", "tensorboardX==2.6.5"),
            *("wrapt==1.17.3", "importlib_metadata==4.13.0"),
        ),
        scalars=20_000,
    ),
)


@dataclass(frozen=True)
class Opened:
    """A library at work: what records a value of a tag at a step, and what ends it."""

    record: Callable[[str, Any, int], object]
    close: Callable[[], object]


def open_pystematic(folder: Path) -> Opened:
    from pystematic import Recorder

    recorder = Recorder(folder)
    return Opened(recorder.scalar, recorder.close)


def open_list(folder: Path) -> Opened:
    kept: list[tuple[str, int, float, Any]] = []
    append, now = kept.append, time.time
    return Opened(lambda tag, value, step: append((tag, step, now(), value)), kept.clear)


def open_torch_tensorboard(folder: Path) -> Opened:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder))  # type: ignore[no-untyped-call]
    return Opened(writer.add_scalar, writer.close)


def open_tensorboardx(folder: Path) -> Opened:
    writer = importlib.import_module("tensorboardX").SummaryWriter(str(folder))
    return Opened(writer.add_scalar, writer.close)


def open_mlflow(folder: Path) -> Opened:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.start_run()
    return Opened(lambda tag, value, step: mlflow.log_metric(tag, float(value), step=step), mlflow.end_run)


def open_wandb(folder: Path) -> Opened:
    import wandb

    run = wandb.init(mode="offline", dir=str(folder), settings=wandb.Settings(silent=True, console="off"))

    def close() -> None:
        run.finish()
        wandb.teardown()

    return Opened(lambda tag, value, step: run.log({tag: value}, step=step), close)


def open_trackio(folder: Path) -> Opened:
    os.environ.setdefault("TRACKIO_DIR", str(folder))  # read when it is imported
    trackio = importlib.import_module("trackio")
    trackio.init(project="benchmark", name=folder.name, embed=False, auto_log_cpu=False, auto_log_gpu=False)
    return Opened(lambda tag, value, step: trackio.log({tag: value}, step=step), trackio.finish)


def open_dvclive(folder: Path) -> Opened:
    live = importlib.import_module("dvclive").Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)

    def record(tag: str, value: Any, step: int) -> None:
        live.step = step
        live.log_metric(tag, float(value))

    return Opened(record, live.end)


def open_pystematic_torch_1(folder: Path) -> Opened:
    importlib.import_module("pystematic")  # loads its plugins, which import it again
    module = importlib.import_module("pystematic_torch.recording")
    recorder = module.Recorder(str(folder))

    def record(tag: str, value: Any, step: int) -> None:
        recorder.count = step
        recorder.scalar(tag, value)

    def close() -> None:
        module.TensorboardBackend.shared_tensorboard_logger.close()
        module.TensorboardBackend.shared_tensorboard_logger = None

    return Opened(record, close)


OPENERS: Mapping[str, Callable[[Path], Opened]] = {
    "pystematic": open_pystematic,
    "list.append": open_list,
    "torch.utils.tensorboard": open_torch_tensorboard,
    "tensorboardX": open_tensorboardx,
    "MLflow": open_mlflow,
    "wandb offline": open_wandb,
    "trackio": open_trackio,
    "DVCLive": open_dvclive,
    "pystematic-torch 1.3": open_pystematic_torch_1,
}


# -- in the measured process -------------------------------------------------------------------------------------


def cpu_s() -> float:
    """Return the CPU time of this process with its threads and ended children."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def measure(library: Library, folder: Path) -> dict[str, float]:
    """Measure one library, with torch imported as in a training."""
    import torch

    figures = measure_loop(library, folder / "loop")
    figures["worst"] = measure_worst(library, folder / "worst")
    figures["tensor"] = measure_tensor(library, folder / "tensor", torch.tensor(0.25))
    return figures


def open_library(library: Library, folder: Path) -> Opened:
    folder.mkdir(parents=True)
    opened = OPENERS[library.name](folder)
    for step in range(10):  # whatever is set up at the first calls
        opened.record(TAG, 0.5, -step)
    return opened


def measure_loop(library: Library, folder: Path) -> dict[str, float]:
    opened = open_library(library, folder)
    record, count = opened.record, library.scalars
    collections: list[int] = []
    gc.collect()
    gc.callbacks.append(lambda phase, info: collections.append(1) if phase == "start" else None)
    size_before = size_of(folder)
    cpu_before, began = cpu_s(), time.perf_counter()
    for step in range(count):
        record(TAG, step * 0.5, step)
    loop_s = time.perf_counter() - began
    caused = len(collections)
    gc.callbacks.pop()
    ended = time.perf_counter()
    opened.close()
    return {
        "loop": loop_s / count * 1e6,
        "collections": caused * SCALARS / count,
        "close": (time.perf_counter() - ended) * SCALARS / count,
        "cpu": (cpu_s() - cpu_before) / count * 1e6,
        "disk": (size_of(folder) - size_before) / count,
    }


def measure_worst(library: Library, folder: Path) -> float:
    opened = open_library(library, folder)
    record, clock, worst = opened.record, time.perf_counter, 0.0
    steps = min(STEPS, max(50, library.scalars * STEPS // SCALARS))
    for step in range(steps):
        until = clock() + STEP_S
        for _ in range(SCALARS_A_STEP):
            before = clock()
            record(TAG, 0.5, step)
            worst = max(worst, clock() - before)
        while clock() < until:
            pass
    opened.close()
    return worst * 1e6


def measure_tensor(library: Library, folder: Path, tensor: Any) -> float:
    opened = open_library(library, folder)
    record, count = opened.record, min(library.scalars, 20_000)
    began = time.perf_counter()
    for step in range(count):
        record(TAG, tensor, step)
    passed_s = time.perf_counter() - began
    opened.close()
    return passed_s / count * 1e6


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# -- reading -----------------------------------------------------------------------------------------------------

READER = """
import sys, time
began = time.perf_counter()
from pystematic import rundir
points = rundir.read_series(sys.argv[1]).points
assert [len(one.values) for one in points.values()] == [int(sys.argv[2])]
print(time.perf_counter() - began)
"""


def measure_reading(folder: Path) -> float:
    """Return the seconds that a new process takes to read a million points of one tag."""
    if not folder.exists():
        from pystematic import Recorder

        with Recorder(folder) as recorder:
            for step in range(POINTS_READ):
                recorder.scalar(TAG, 1.0 / (step + 1), step)
    done = subprocess.run(
        [sys.executable, "-c", READER, folder, str(POINTS_READ)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


# -- the comparison ----------------------------------------------------------------------------------------------


def measure_in_process(library: Library, extra: Path | None) -> dict[str, float]:
    """Measure a library in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="recording-"))
    env = {**os.environ, "WANDB_ERROR_REPORTING": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "DVC_NO_ANALYTICS": "1"}
    if extra is not None:
        env["PYTHONPATH"] = str(extra)
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--child", library.name, str(folder)],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{library.name} failed:\n{done.stderr[-3000:]}")
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def spell(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each library (default: 5)")
    parser.add_argument("--only", action="append", metavar="LIBRARY", help="measure only this library (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--child", nargs=2, metavar=("LIBRARY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    by_name = {library.name: library for library in LIBRARIES}
    if args.child:
        print(json.dumps(measure(by_name[args.child[0]], Path(args.child[1]))))
        return 0
    chosen = [library for library in LIBRARIES if not args.only or library.name in args.only]
    if not chosen:
        parser.error(f"--only takes {', '.join(by_name)}")

    names = {library.name: f"recording-{library.name.replace(' ', '-')}" for library in chosen}
    extras = {
        library.name: make_environment(CACHE_DIR, names[library.name], library.requirements) for library in chosen
    }
    turns: dict[str, list[dict[str, float]]] = {library.name: [] for library in chosen}
    reading: list[float] = []
    with tempfile.TemporaryDirectory(prefix="recording-") as folder:
        for number in range(args.rounds):
            for library in chosen:
                turns[library.name].append(measure_in_process(library, extras[library.name]))
            if "pystematic" in turns:
                reading.append(measure_reading(Path(folder) / "read"))
            print(f"\rround {number + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    medians = {
        name: {column: statistics.median(turn[column] for turn in found) for column in found[0]}
        for name, found in turns.items()
    }
    if reading:
        medians["pystematic"]["read"] = statistics.median(reading)
    print_table(medians)
    if args.json:
        args.json.write_text(json.dumps({"rounds": args.rounds, "medians": medians, "turns": turns}, indent=1) + "\n")
    return report_targets(medians)


def print_table(medians: Mapping[str, Mapping[str, float]]) -> None:
    columns = ["loop", "worst", "tensor", "cpu", "collections", "disk", "close"]
    floor = medians.get("list.append", {}).get("loop")
    print("| library | times the floor | " + " | ".join(columns) + " |")
    print("| --- |" + " ---: |" * (len(columns) + 1))
    for name, found in medians.items():
        ratio = "-" if floor is None else spell(found["loop"] / floor)
        print(f"| {name} | {ratio} | " + " | ".join(spell(found[column]) for column in columns) + " |")
    print()


def report_targets(medians: Mapping[str, Mapping[str, float]]) -> int:
    """Print whether pystematic meets each target; return the exit code."""
    missed = 0
    for column, (limit, what) in TARGETS.items():
        value = medians.get("pystematic", {}).get(column)
        if value is not None:
            missed += value > limit
            print(f"{'PASS' if value <= limit else 'FAIL'}  {column}: {spell(value)} {what} (at most {limit:g})")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
