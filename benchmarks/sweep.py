"""What many runs of a program cost that imports torch: whole commands, side by side, and memory per extra run.

See README.md in this folder. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
CACHE_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystematic-benchmarks"
LIMIT_S = 900.0
JOBS = 2
FEW, MANY = 50, 200
# What memory is measured at: so many runs at once, and so many.
SOME_AT_ONCE, MORE_AT_ONCE = 2, 5

TARGETS = {
    "few": (3.0, f"s for {FEW} runs"),
    "ratio": (2.5, f"times the floor for {FEW} runs"),
    "many": (6.0, f"s for {MANY} runs"),
    "marginal": (0.020, "s for each further run"),
    "memory": (50.0, "MB for each further run at once (PSS)"),
    "resume": (0.5, "s for the command again when all of its 1,000 points are done, without torch"),
}

# What each run does, whoever starts it: `done` shows that it was made.
BODY = """
import os
import sys
import torch


def work(number):
    torch.zeros(2).sum()
    with open(os.path.join("done", str(number)), "w"):
        pass
"""

PYSTEMATIC = """
import pystematic

@pystematic.parameter(name="number", type=int, default=0)
@pystematic.parameter(name="wait", type=bool, default=False)
@pystematic.experiment
def train(parameters, context):
    work(parameters["number"])
    while parameters["wait"]:
        import time
        time.sleep(1)

if __name__ == "__main__":
    pystematic.global_entrypoint()
"""

FLOOR = """
import multiprocessing

if __name__ == "__main__":
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["work_module"])  # CPython before 3.13 does not preload __main__
    waiting = list(range(int(sys.argv[1])))
    running = []
    while waiting or running:
        while waiting and len(running) < int(sys.argv[2]):
            process = context.Process(target=work, args=(waiting.pop(0),))
            process.start()
            running.append(process)
        ended = multiprocessing.connection.wait([process.sentinel for process in running])
        for process in [process for process in running if process.sentinel in ended]:
            process.join()
            running.remove(process)
"""

SUBPROCESS = """
import subprocess

if __name__ == "__main__" and len(sys.argv) == 2:
    work(int(sys.argv[1]))
elif __name__ == "__main__":
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(int(sys.argv[2])) as pool:
        for code in pool.map(lambda n: subprocess.call([sys.executable, __file__, str(n)]), range(int(sys.argv[1]))):
            assert code == 0
"""

JOBLIB = """
import joblib

if __name__ == "__main__":
    joblib.Parallel(n_jobs=int(sys.argv[2]))(joblib.delayed(work)(n) for n in range(int(sys.argv[1])))
"""

OLD_PYSTEMATIC = """
import pystematic

@pystematic.parameter(name="number", type=int, default=0)
@pystematic.experiment
def train(params):
    work(params["number"])

if __name__ == "__main__":
    settings = pystematic.param_matrix(number=list(range(int(sys.argv[1]))))
    pystematic.run_parameter_sweep(train, settings, max_num_processes=int(sys.argv[2]))
"""

HYDRA = """
import hydra
from omegaconf import OmegaConf
from hydra.core.config_store import ConfigStore

ConfigStore.instance().store(name="config", node=OmegaConf.create({"number": 0}))

@hydra.main(version_base=None, config_name="config", config_path=None)
def train(cfg):
    work(cfg.number)

if __name__ == "__main__":
    train()
"""

RAY = """
import ray

if __name__ == "__main__":
    ray.init(num_cpus=int(sys.argv[2]), include_dashboard=False, log_to_driver=False)
    task = ray.remote(max_calls=1)(work)
    folder = os.getcwd()

    @ray.remote(max_calls=1)
    def run(number):
        os.chdir(folder)
        work(number)

    ray.get([run.remote(n) for n in range(int(sys.argv[1]))])
"""

SUBMITIT = """
import submitit

if __name__ == "__main__":
    executor = submitit.LocalExecutor("submitit")
    waiting, running = list(range(int(sys.argv[1]))), []
    import time
    while waiting or running:
        while waiting and len(running) < int(sys.argv[2]):
            running.append(executor.submit(work, waiting.pop(0)))
        for job in [job for job in running if job.done()]:
            job.result()
            running.remove(job)
        time.sleep(0.01)
"""


@dataclass(frozen=True)
class Contender:
    """One way to make many runs.

    ``words`` are those of the command behind the program's file; ``requirements`` are installed into a folder of the
    cache; ``most`` is how many runs it is asked for where more would take minutes.
    """

    name: str
    program: str
    words: tuple[str, ...] = ("{count}", "{jobs}")
    requirements: tuple[str, ...] = ()
    most: int = MANY
    is_ours: bool = False


CONTENDERS = (
    Contender("pystematic", PYSTEMATIC, ("sweep", "--jobs", "{jobs}", "train", "--number", "0..{last}"), is_ours=True),
    Contender("forkserver (floor)", FLOOR),
    Contender("subprocess", SUBPROCESS, most=FEW),
    Contender("joblib (no process of its own)", JOBLIB),
    Contender(
        "pystematic 1.7.0",
        OLD_PYSTEMATIC,
        requirements=("--no-deps", "pystematic==1.7.0", "click==8.1.7", "rich==13.7.1", "wrapt==1.17.3"),
        most=FEW,
    ),
    Contender(
        "Hydra basic (no process of its own)",
        HYDRA,
        ("--multirun", "number=range(0,{count})"),
        ("hydra-core==1.3.2",),
    ),
    Contender(
        "Hydra joblib (no process of its own)",
        HYDRA,
        ("--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs={jobs}", "number=range(0,{count})"),
        ("hydra-core==1.3.2", "hydra-joblib-launcher==1.2.0"),
    ),
    Contender("Ray tasks", RAY, most=FEW),
    Contender("submitit local", SUBMITIT, most=FEW),
)


def install(contender: Contender) -> str | None:
    """Return the folder with what the contender needs beside the project's environment; None: it cannot be had."""
    if not contender.requirements:
        return ""
    folder = CACHE_DIR / f"sweep-{contender.name.split(' (')[0].replace(' ', '-')}"
    if (folder / "complete").exists():
        return str(folder)
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *contender.requirements]
    if subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        return None
    (folder / "complete").touch()
    return str(folder)


def make_command(contender: Contender, folder: Path, count: int, jobs: int = JOBS) -> list[str]:
    """Write the program, and return the command line for so many runs."""
    (folder / "done").mkdir()
    (folder / "work_module.py").write_text(BODY)
    (folder / "program.py").write_text(BODY + contender.program)
    facts = {"count": count, "last": count - 1, "jobs": jobs}
    return [sys.executable, str(folder / "program.py"), *(word.format(**facts) for word in contender.words)]


def environment(path: str) -> dict[str, str]:
    """Return the variables of a command: compiled files are kept, as for any user."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    found["PYTHONPATH"] = os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH", "")]))
    return found


def measure(contender: Contender, path: str, count: int) -> float | None:
    """Return how many seconds the whole command takes for ``count`` runs; None when not all of them were made."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = make_command(contender, folder, count)
        began = time.perf_counter()
        ended = subprocess.run(
            command, cwd=folder, env=environment(path), capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
        took = time.perf_counter() - began
        made = len(list((folder / "done").iterdir()))
        records = len(list((folder / "output" / "train").glob("*/run.json"))) if contender.is_ours else count
        if ended.returncode or made != count or records != count:
            words = (ended.stderr or ended.stdout).strip().splitlines()[-1:]
            print(f"{contender.name}: exit code {ended.returncode}, {made} runs, {records} records: {words}")
            return None
        return took


def measure_memory(jobs: int) -> float:
    """Return how many MB (PSS) a sweep of ours uses with so many runs at work."""
    contender = CONTENDERS[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*make_command(contender, folder, jobs, jobs), "--wait"]
        with subprocess.Popen(
            command, cwd=folder, env=environment(""), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                deadline = time.monotonic() + 120.0
                while len(list((folder / "done").iterdir())) < jobs and time.monotonic() < deadline:
                    time.sleep(0.05)
                if len(list((folder / "done").iterdir())) < jobs:
                    raise SystemExit(f"not all of {jobs} runs have begun")
                whole = psutil.Process(process.pid)
                return float(sum(one.memory_full_info().pss for one in [whole, *whole.children(recursive=True)]) / 1e6)
            finally:
                process.send_signal(signal.SIGKILL)


def measure_resume(points: int = 1000) -> float:
    """Return how many seconds the command of a sweep takes when it finds that all of its points are done."""
    contender = CONTENDERS[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [*make_command(contender, folder, points), "--yes"]
        command.insert(command.index("train"), command.pop())
        program = folder / "program.py"
        program.write_text(program.read_text().replace("import torch\n", "").replace("    torch.zeros(2).sum()\n", ""))
        took = []
        for _ in range(4):  # the first one makes the runs
            began = time.perf_counter()
            subprocess.run(command, cwd=folder, env=environment(""), capture_output=True, check=True, timeout=LIMIT_S)
            took.append(time.perf_counter() - began)
            made = len(list((folder / "done").iterdir()))
            if made != points:
                raise SystemExit(f"{made} runs instead of {points}")
            shutil.rmtree(folder / "done")  # what is made once more is seen
            (folder / "done").mkdir()
            points = 0
        return statistics.median(took[1:])


def main() -> int:
    """Measure, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="names, or beginnings of names")
    options = parser.parse_args()
    chosen = [c for c in CONTENDERS if not options.only or c.name.startswith(tuple(options.only))]
    paths = {contender.name: install(contender) for contender in chosen}
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(options.rounds + 1):  # the first one fills caches
        for contender in chosen:
            if contender.most < MANY and turn < options.rounds:
                continue  # these take a minute each: in the last turn only
            path = paths[contender.name]
            for count in (FEW, MANY) if contender.most >= MANY else (FEW,):
                took = None if path is None else measure(contender, path, count)
                if took is None:
                    paths[contender.name] = None
                elif turn:
                    seconds.setdefault((contender.name, count), []).append(took)
    middle = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"{'':40} {FEW} runs  {MANY} runs  marginal")
    for contender in chosen:
        few, many = middle.get((contender.name, FEW)), middle.get((contender.name, MANY))
        marginal = None if few is None or many is None else (many - few) / (MANY - FEW)
        print(f"{contender.name:40} {shown(few)}  {shown(many)}  {shown(marginal, 1e3, 'ms')}")
    return check(middle)


def shown(value: float | None, factor: float = 1.0, unit: str = "s") -> str:
    """Return a cell of the table."""
    return f"{'-':>8}" if value is None else f"{value * factor:6.2f} {unit}"


def check(middle: dict[tuple[str, int], float]) -> int:
    """Print what is measured against the targets; return 1 when one is missed."""
    ours = CONTENDERS[0].name, CONTENDERS[1].name
    if (ours[0], FEW) not in middle:
        return 1
    found = {"few": middle[ours[0], FEW], "many": middle[ours[0], MANY]}
    found["marginal"] = (found["many"] - found["few"]) / (MANY - FEW)
    if (ours[1], FEW) in middle:
        found["ratio"] = found["few"] / middle[ours[1], FEW]
    found["memory"] = (measure_memory(MORE_AT_ONCE) - measure_memory(SOME_AT_ONCE)) / (MORE_AT_ONCE - SOME_AT_ONCE)
    found["resume"] = measure_resume()
    missed = 0
    for name, value in found.items():
        limit, words = TARGETS[name]
        missed += value > limit
        print(f"{'missed' if value > limit else 'met':6} {value:8.3f} {words}, at most {limit}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
