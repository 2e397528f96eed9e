"""What training costs beside the raw loop of torch: launch, steps per second, and checkpoints.

`python benchmarks/distributed.py [launch] [steps] [programs] [checkpoint]`; each figure is the median of several, in
ratio to what torch needs for the same on this machine. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from environments import make_environment

Figures = Iterator[tuple[str, float, str]]

TARGETS = {
    "launch, forked": 0.5,
    "launch, fresh": 1.0,
    "steps, cnn, 1": 0.98,
    "steps, cnn, 2": 0.98,
    "steps, mlp, 1": 0.90,
    "steps, mlp, 2": 0.90,
    "checkpoint, loop blocked first": 0.6,
    "checkpoint, loop blocked later": 0.35,
    "checkpoint, safe on disk": 3.0,
}
PARTS = ("launch", "steps", "programs", "checkpoint")

PROGRAMS = Path(__file__).resolve().parent / "training_speed"
CACHE_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystematic-benchmarks"
TURNS = 5
LIMIT_S = 120.0
TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
# Without what the libraries ask for: another torch must not come along.
REQUIREMENTS = {
    "Accelerate": ("--no-deps", "accelerate==1.15.0", "huggingface_hub==0.36.0", "safetensors==0.8.0"),
    "Fabric": ("--no-deps", "lightning-fabric==2.6.6", "lightning-utilities==0.15.3"),
    "Ignite": ("--no-deps", "pytorch-ignite==0.5.3"),
}


@dataclass(frozen=True)
class Contender:
    """How the program of a library is started on ``count`` processes."""

    name: str
    words: Callable[[int], tuple[str, ...]]
    library: str | None = None

    def command(self, count: int) -> list[str]:
        return [sys.executable, *self.words(count)]


def _program(name: str) -> str:
    return str(PROGRAMS / name)


def _ours(*more: str) -> Callable[[int], tuple[str, ...]]:
    """Return words that start our program, which takes a fork where it may."""

    def words(count: int) -> tuple[str, ...]:
        among = ("--no-distributed",) if count == 1 else ("--distributed", "--nproc-per-node", str(count))
        return (_program("with_pystematic.py"), *among, "--device", "cpu", *more)

    return words


def _with_torch(count: int) -> tuple[str, ...]:
    start = () if count == 1 else (*TORCHRUN, f"--nproc-per-node={count}")
    return (*start, _program("with_torch.py"))


def _with_accelerate(count: int) -> tuple[str, ...]:
    # By torchrun, as its documentation has it for processes on the CPU; its own launcher needs MPI for these.
    start = () if count == 1 else (*TORCHRUN, f"--nproc-per-node={count}")
    return (*start, _program("with_accelerate.py"))


TORCH = Contender("torch", _with_torch)
OURS = Contender("pystematic", _ours())
CONTENDERS = (
    TORCH,
    OURS,
    Contender("Accelerate", _with_accelerate, "Accelerate"),
    Contender("Fabric", lambda count: (_program("with_fabric.py"), str(count)), "Fabric"),
    Contender("Ignite", lambda count: (_program("with_ignite.py"), str(count)), "Ignite"),
)
# Leaves threads, which forbid a fork.
BUSY = "import torch; torch.rand(400, 400) @ torch.rand(400, 400)"


@dataclass
class Told:
    """What a program has told: the seconds until its first collective, and steps a second by model."""

    joined_s: float
    rates: dict[str, float]


def run_program(contender: Contender, count: int, folder: Path, *, busy: bool = False) -> Told:
    """Run the program of a library to its end, with one thread in each process."""
    extra = None
    if contender.library is not None:
        # Installed once for both comparisons that use it.
        name = "equivalence" if contender.library in ("Accelerate", "Fabric") else "distributed"
        extra = make_environment(CACHE_DIR, f"{name}-{contender.library}", REQUIREMENTS[contender.library])
    path = os.pathsep.join(filter(None, (None if extra is None else str(extra), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = contender.command(count)
    if busy:
        text = (PROGRAMS / "with_pystematic.py").read_text().replace("import torch\n", f"{BUSY}\n", 1)
        command[1] = str(folder / "with_pystematic.py")
        Path(command[1]).write_text(text)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PROGRAMS), path)))
        env.pop("OMP_NUM_THREADS")
    begun = time.perf_counter()
    with (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=errors, text=True)
        stop = threading.Timer(LIMIT_S, process.kill)
        stop.start()
        joined_s, rates = None, {}
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if "JOINED" in line and joined_s is None:
                joined_s = time.perf_counter() - begun
                if f"JOINED {count}" not in line:  # it may hold the words of several processes
                    raise SystemExit(f"{' '.join(command)}: {line.strip()}, instead of {count} processes")
            elif words[:1] == ["STEPS"]:
                rates[words[1]] = float(words[2])
        code = process.wait()
        stop.cancel()
        errors.seek(0)
        said = errors.read()
        # torch aborts now and then when a process with a group ends, after everything was told.
        has_failed = code and "terminate called without an active exception" not in said
        if has_failed or len(rates) < 2 or (joined_s is None and contender is not TORCH):
            raise SystemExit(f"{' '.join(command)} failed with {code}:\n{said[-3000:]}")
    return Told(joined_s or 0.0, rates)


def measure_launch(folder: Path) -> Figures:
    """From the command to the first collective of two processes, in ratio to torchrun's."""
    chosen: dict[str, tuple[Contender, bool]] = {"torch": (TORCH, False), "launch, forked": (OURS, False)}
    chosen["launch, fresh"] = (OURS, True)
    chosen |= {f"launch, {one.name}": (one, False) for one in CONTENDERS if one.library is not None}
    times: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(TURNS):  # in turns: what else the machine does meets all of them
        for name, (contender, busy) in chosen.items():
            times[name].append(run_program(contender, 2, folder, busy=busy).joined_s)
    medians = {name: statistics.median(values) for name, values in times.items()}
    yield "launch, torchrun takes", medians["torch"], "s"
    for name in chosen:
        if name != "torch":
            yield name, medians[name] / medians["torch"], ""


def run_in_turns(count: int, folder: Path) -> Iterator[list[str]]:
    """Run the raw loop and ours in turns in ``count`` processes, before a terminal; yield what they tell."""
    among = ("--no-distributed",) if count == 1 else ("--distributed", "--nproc-per-node", str(count))
    command = [sys.executable, _program("in_turns.py"), *among, "--device", "cpu"]
    ours, theirs = os.openpty()  # a progress bar is shown on a terminal only, and takes its width
    termios.tcsetwinsize(theirs, (24, 100))
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    shown: list[bytes] = []
    reader = threading.Thread(target=lambda: shown.extend(_all_of(ours)))
    reader.start()
    output, _ = process.communicate(timeout=5 * LIMIT_S)
    reader.join()
    os.close(ours)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{b''.join(shown).decode(errors='replace')[-3000:]}")
    if b"it/s" not in b"".join(shown):
        raise SystemExit(f"{' '.join(command)} has shown no progress bar, which the comparison is to count in")
    for line in output.splitlines():
        kind, _, words = line.partition(" ")
        if kind in ("TOOK", "RATIO"):
            yield words.split("|")


def _all_of(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # all that had it open have ended
            return
        if not part:
            return
        yield part


def measure_steps(folder: Path) -> Figures:
    """Steps a second, in ratio to those of the raw loop of torch (with DDP) in the same processes."""
    for count in (1, 2):
        for model, *way, figure in run_in_turns(count, folder):
            name = f"steps, {model}, {count}"
            if not way:
                yield f"{name}: torch takes", float(figure), "ms"
            else:
                yield name if way == ["pystematic"] else f"{name}, {way[0]}", float(figure), ""


def measure_programs(folder: Path) -> Figures:
    """Steps a second of whole programs, in ratio to torch's; with DDP under torchrun for two processes."""
    for count in (1, 2):
        rates: dict[str, dict[str, list[float]]] = {one.name: {} for one in CONTENDERS}
        for _ in range(TURNS):
            for one in CONTENDERS:
                for model, rate in run_program(one, count, folder).rates.items():
                    rates[one.name].setdefault(model, []).append(rate)
        for model in ("cnn", "mlp"):
            medians = {name: statistics.median(found[model]) for name, found in rates.items()}
            yield f"programs, {model}, {count}: torch takes", 1000 / medians["torch"], "ms"
            for one in CONTENDERS:
                if one is not TORCH:
                    yield f"programs, {model}, {count}, {one.name}", medians[one.name] / medians["torch"], ""


def measure_checkpoint(folder: Path) -> Figures:
    """What a checkpoint of 400 MB costs, in ratio to torch.save."""
    import torch

    from pystematic import rundir
    from pystematic.torch._saver import Saver

    state = {"pystematic": 1, "state": {f"weight {i}": torch.rand(5_000_000) for i in range(20)}}  # 400 MB

    def seconds(call: Callable[[], object]) -> float:
        begun = time.perf_counter()
        call()
        return time.perf_counter() - begun

    def plain(index: int) -> None:
        with open(folder / f"plain-{index}.pt", "wb") as file:
            torch.save(state, file)

    theirs = statistics.median(seconds(lambda index=index: plain(index)) for index in range(3))  # type: ignore[misc]
    saver = Saver(rundir.RunDir(folder), keep_last=2, keep_best=0, metric=None, warn=print)
    blocked, safe = [], []
    for index in range(4):
        begun = time.perf_counter()
        saver.save(state, {"id": str(index), "step": index, "metric_value": None})
        blocked.append(time.perf_counter() - begun)
        saver.wait()
        safe.append(time.perf_counter() - begun)
    yield "checkpoint, torch.save takes", theirs, "s"
    yield "checkpoint, loop blocked first", blocked[0] / theirs, ""
    yield "checkpoint, loop blocked later", statistics.median(blocked[1:]) / theirs, ""
    yield "checkpoint, safe on disk", statistics.median(safe) / theirs, ""


def main() -> int:
    parts = sys.argv[1:] or PARTS
    missed = 0
    for part in parts:
        with tempfile.TemporaryDirectory() as folder:
            os.sync()  # what others have left to write is not ours to pay
            for name, figure, unit in globals()[f"measure_{part}"](Path(folder)):
                target = TARGETS.get(name)
                told = ""
                if target is not None:
                    is_met = figure >= target if name.startswith("steps") else figure <= target
                    missed += not is_met
                    told = f"target {target:.2f}   {'ok' if is_met else 'MISSED'}"
                print(f"{name:48}{figure:8.2f} {unit:3} {told}".rstrip(), flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
