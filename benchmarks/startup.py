"""What start-up costs: CPU time of whole processes in ratio to `python -c pass`, beside other libraries.

See README.md in this folder. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE_DIR = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pystematic-benchmarks"

REPOSITORY_FILES = 1000
INSTALLED_PACKAGES = 300
TARGETS = {"import": 4.0, "help": 5.0, "error": 5.0, "completion": 5.0, "run": 10.0}
COMMANDS = tuple(TARGETS)

# Loaded on the help path, any of these would be a mistake.
HEAVY_MODULES = frozenset(
    {"asyncio", "dataclasses", "importlib.metadata", "inspect", "logging", "numpy", "pandas", "pydantic", "ray", "rich"}
    | {"sklearn", "subprocess", "tempfile", "tomllib", "torch", "tqdm", "typing", "wrapt", "yaml"}
)


@dataclass(frozen=True)
class Library:
    """A library in its own environment, with the hello program written for it and how each command is called."""

    name: str
    requirement: str
    module: str
    program: str
    arguments: Mapping[str, tuple[str, ...]]  # of the program, for each command; a command left out does not exist
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    exit_codes: Mapping[str, int] = field(default_factory=lambda: {"error": 2})
    completion_argv: tuple[str, ...] = ()  # where completion is no call of the program; PYTHON and PROGRAM are replaced


PYSTEMATIC = """
    import pystematic

    @pystematic.parameter(name="learning_rate", type=float, default=1e-3, help="Step size.")
    @pystematic.parameter(name="epochs", type=int, default=10, help="Passes over the data.")
    @pystematic.parameter(name="name", type=str, default="hello", help="Name of the model.")
    @pystematic.experiment
    def train(parameters, context):
        \"\"\"Train a model.\"\"\"
        print("hello", parameters["learning_rate"], parameters["epochs"], parameters["name"])

    if __name__ == "__main__":
        pystematic.global_entrypoint()
"""

PYSTEMATIC_1 = """
    import pystematic

    @pystematic.group
    def main(params):
        pass

    @pystematic.parameter(name="learning_rate", type=float, default=1e-3, help="Step size.")
    @pystematic.parameter(name="epochs", type=int, default=10, help="Passes over the data.")
    @pystematic.parameter(name="name", type=str, default="hello", help="Name of the model.")
    @main.experiment
    def train(params):
        \"\"\"Train a model.\"\"\"
        print("hello", params["learning_rate"], params["epochs"], params["name"])

    if __name__ == "__main__":
        main.cli()
"""

ARGPARSE = """
    import argparse

    def train(args):
        print("hello", args.learning_rate, args.epochs, args.name)

    if __name__ == "__main__":
        parser = argparse.ArgumentParser()
        train_parser = parser.add_subparsers(required=True).add_parser("train", help="Train a model.")
        train_parser.add_argument("--learning-rate", type=float, default=1e-3, help="Step size.")
        train_parser.add_argument("--epochs", type=int, default=10, help="Passes over the data.")
        train_parser.add_argument("--name", default="hello", help="Name of the model.")
        train_parser.set_defaults(main=train)
        args = parser.parse_args()
        args.main(args)
"""

CLICK = """
    import click

    @click.group()
    def main():
        pass

    @main.command()
    @click.option("--learning-rate", type=float, default=1e-3, help="Step size.")
    @click.option("--epochs", type=int, default=10, help="Passes over the data.")
    @click.option("--name", default="hello", help="Name of the model.")
    def train(learning_rate, epochs, name):
        \"\"\"Train a model.\"\"\"
        print("hello", learning_rate, epochs, name)

    if __name__ == "__main__":
        main(prog_name="prog")
"""

TYRO = """
    import tyro

    def train(learning_rate: float = 1e-3, epochs: int = 10, name: str = "hello"):
        \"\"\"Train a model.

        Args:
            learning_rate: Step size.
            epochs: Passes over the data.
            name: Name of the model.
        \"\"\"
        print("hello", learning_rate, epochs, name)

    def evaluate():
        \"\"\"Evaluate a model.\"\"\"

    if __name__ == "__main__":
        tyro.extras.subcommand_cli_from_dict({"train": train, "evaluate": evaluate})
"""

HYDRA = """
    import hydra
    from dataclasses import dataclass
    from hydra.core.config_store import ConfigStore

    @dataclass
    class Config:
        learning_rate: float = 1e-3
        epochs: int = 10
        name: str = "hello"

    ConfigStore.instance().store(name="config", node=Config)

    @hydra.main(version_base=None, config_name="config")
    def train(config):
        print("hello", config.learning_rate, config.epochs, config.name)

    if __name__ == "__main__":
        train()
"""

SACRED = """
    from sacred import Experiment
    from sacred.observers import FileStorageObserver

    experiment = Experiment("hello")
    experiment.observers.append(FileStorageObserver("output-sacred"))

    @experiment.config
    def config():
        learning_rate = 1e-3  # Step size.
        epochs = 10  # Passes over the data.
        name = "hello"  # Name of the model.

    @experiment.automain
    def train(learning_rate, epochs, name):
        \"\"\"Train a model.\"\"\"
        print("hello", learning_rate, epochs, name)
"""

HELP_AND_RUN = {"help": ("train", "--help"), "error": ("train", "--learning-rte", "1"), "run": ("train",)}

LIBRARIES = (
    Library(
        "pystematic",
        "",
        "pystematic",
        PYSTEMATIC,
        HELP_AND_RUN,
        completion_argv=(
            *("PYTHON", "-m", "pystematic", "__complete", "zsh"),
            *("pystematic", "run", "PROGRAM", "train", "--l"),
        ),
    ),
    Library("argparse", "", "argparse", ARGPARSE, HELP_AND_RUN),
    Library(
        "click",
        "click==8.5.1",
        "click",
        CLICK,
        {**HELP_AND_RUN, "completion": ()},
        {"completion": {"_PROG_COMPLETE": "bash_complete", "COMP_WORDS": "prog train --l", "COMP_CWORD": "2"}},
    ),
    Library("tyro", "tyro==1.0.17", "tyro", TYRO, HELP_AND_RUN),
    Library(
        "Hydra",
        "hydra-core==1.3.8",
        "hydra",
        HYDRA,
        {"help": ("--help",), "error": ("learning_rte=1",), "run": (), "completion": ("-sc", "query=bash")},
        {"completion": {"COMP_LINE": "prog.py l", "COMP_POINT": "9"}},
        {"error": 1},
    ),
    Library(
        "Sacred",
        "sacred==0.8.7",
        "sacred",
        SACRED,
        {"help": ("--help",), "error": ("with", "learning_rte=1"), "run": ()},
        exit_codes={"error": 1},
    ),
    Library("pystematic 1.7", "pystematic==1.7.0", "pystematic", PYSTEMATIC_1, HELP_AND_RUN, exit_codes={"error": 1}),
)


@dataclass
class Measured:
    """One command of one library, with the CPU seconds of each turn."""

    library: str
    command: str
    argv: list[str]
    env: dict[str, str]
    exit_code: int
    cpu_s: list[float] = field(default_factory=list)

    def turn(self, folder: Path, *, check: bool = False) -> None:
        cpu_s, code, output = run_for_cpu_s(self.argv, folder, self.env)
        if code != self.exit_code or (check and self.command == "run" and "hello" not in output):
            raise SystemExit(f"{self.library}, {self.command}: exit code {code}, not {self.exit_code}:\n{output}")
        if check and self.command == "completion" and "learning" not in output:
            raise SystemExit(f"{self.library}, completion: no option in {output!r}")
        self.cpu_s.append(cpu_s)


def run_for_cpu_s(argv: list[str], folder: Path, env: Mapping[str, str]) -> tuple[float, int, str]:
    """Run a command; return its CPU seconds with those of all its descendants, its exit code, what it printed."""
    output = folder.parent / "printed.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            argv, cwd=folder, env=dict(env), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    while True:  # what the process left behind has become our child
        try:
            _, _, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        cpu_s += usage.ru_utime + usage.ru_stime
    return cpu_s, process.returncode, output.read_text(encoding="utf-8", errors="replace")


def adopt_orphans() -> None:
    """Become the parent of what our descendants leave behind, so that its cost is counted (Linux)."""
    if sys.platform == "linux":
        pr_set_child_subreaper = 36
        ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0)


def make_environment(library: Library) -> Path:
    """Make the library's virtual environment with its 300 packages, or find it in the cache; return its Python."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = CACHE_DIR / f"{(library.requirement or library.name).replace('==', '-')}-python{version}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"installing {library.requirement or library.name} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        if library.requirement:
            _pip(python, library.requirement)
        ready.touch()
    if library.name == "pystematic":  # as a user has it: from a wheel, not editable
        _pip(python, "--constraint", str(ROOT / "constraints.txt"), str(ROOT))
        _pip(python, "--force-reinstall", "--no-deps", str(ROOT))
    [site_packages] = (folder / "lib").glob("python*/site-packages")
    for i in range(INSTALLED_PACKAGES - len(list(site_packages.glob("*.dist-info")))):
        info = site_packages / f"made_up_{i}-1.{i}.0.dist-info"
        if not info.exists():
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: made-up-{i}\nVersion: 1.{i}.0\n\n" + "x\n" * 200
            )
            (info / "RECORD").write_text("")
            (info / "INSTALLER").write_text("pip\n")
            if i % 3 == 0:
                (info / "entry_points.txt").write_text(f"[console_scripts]\nmade-up-{i} = made_up_{i}:main\n")
    return python


def _pip(python: Path, *args: str) -> None:
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *args]
    subprocess.run(command, check=True, stdout=sys.stderr)


def make_repository() -> Path:
    """Make the repository of 1,000 files with each library's program in it; return its folder."""
    folder = CACHE_DIR / "repository"
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    if not (folder / ".git").exists():
        for i in range(REPOSITORY_FILES):
            path = folder / f"package{i % 40}" / f"module{i}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"VALUE = {i}\n" * 40)
        (folder / ".gitignore").write_text("output*/\n")
        subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    for output in folder.glob("output*"):
        shutil.rmtree(output)
    for library in LIBRARIES:
        program_of(library, folder).write_text(textwrap.dedent(library.program).lstrip("\n"))
    subprocess.run([*git, "add", "--all"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "programs"], check=True)
    changed = folder / "package0" / "module0.py"
    changed.write_text(changed.read_text().splitlines()[0] + "\n" + "# changed, and not committed\n" * 10)
    return folder


def program_of(library: Library, folder: Path) -> Path:
    return folder / f"prog_{library.name.lower().replace(' ', '_').replace('.', '_')}.py"


def commands_of(library: Library, python: Path, folder: Path) -> list[Measured]:
    program = program_of(library, folder)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    base = {**kept, "XDG_CACHE_HOME": str(CACHE_DIR / "caches"), "COLUMNS": "100"}
    measured = []
    for command in COMMANDS:
        if command == "import":
            argv = [str(python), "-c", f"import {library.module}"]
        elif command == "completion" and library.completion_argv:
            names = {"PYTHON": str(python), "PROGRAM": program.name}
            argv = [names.get(word, word) for word in library.completion_argv]
        elif command in library.arguments:
            argv = [str(python), program.name, *library.arguments[command]]
        else:
            continue
        env = {**base, **library.environment.get(command, {})}
        measured.append(Measured(library.name, command, argv, env, library.exit_codes.get(command, 0)))
    return measured


def heavy_modules_of_help(help_command: Measured, folder: Path) -> list[str]:
    """Return what of HEAVY_MODULES the help page of pystematic loads."""
    python, *rest = help_command.argv
    done = subprocess.run(
        [python, "-X", "importtime", *rest],
        cwd=folder,
        env=help_command.env,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return sorted(HEAVY_MODULES & loaded)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21, help="turns of each command (default: 21)")
    parser.add_argument("--only", action="append", metavar="LIBRARY", help="measure only this library (repeatable)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    args = parser.parse_args()
    chosen = [library for library in LIBRARIES if not args.only or library.name in args.only]
    if not chosen:
        parser.error(f"--only takes {', '.join(library.name for library in LIBRARIES)}")

    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    folder = make_repository()
    pythons = {library.name: make_environment(library) for library in chosen}
    adopt_orphans()
    measured = [one for library in chosen for one in commands_of(library, pythons[library.name], folder)]
    nothing = Measured("python", "pass", [str(pythons[chosen[0].name]), "-c", "pass"], measured[0].env, 0)
    for one in [nothing, *measured]:
        one.turn(folder)  # compiles modules, fills caches
        one.turn(folder, check=True)
        one.cpu_s.clear()
    gc.disable()
    for number in range(args.rounds):
        for one in [nothing, *measured]:
            one.turn(folder)
        print(f"\rround {number + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)

    base_s = statistics.median(nothing.cpu_s)
    ratios = {(one.library, one.command): statistics.median(one.cpu_s) / base_s for one in measured}
    print(f"`python -c pass`: {base_s * 1000:.1f} ms of CPU; the rest in ratio to it, medians of {args.rounds}\n")
    print("| library | " + " | ".join(COMMANDS) + " |")
    print("| --- |" + " ---: |" * len(COMMANDS))
    for library in chosen:
        cells = [f"{ratios[library.name, c]:.1f}" if (library.name, c) in ratios else "-" for c in COMMANDS]
        print(f"| {library.name} | " + " | ".join(cells) + " |")
    print()
    if args.json:
        figures = [{"library": lib, "command": command, "ratio": ratio} for (lib, command), ratio in ratios.items()]
        args.json.write_text(json.dumps({"pass_s": base_s, "rounds": args.rounds, "figures": figures}, indent=1) + "\n")
    return report_targets(ratios, measured, folder)


def report_targets(ratios: dict[tuple[str, str], float], measured: list[Measured], folder: Path) -> int:
    """Print whether pystematic meets each target; return the exit code."""
    missed = 0
    for command, target in TARGETS.items():
        ratio = ratios.get(("pystematic", command))
        if ratio is not None:
            missed += ratio > target
            print(f"{'PASS' if ratio <= target else 'FAIL'}  {command}: {ratio:.1f} (at most {target:g})")
    for one in measured:
        if (one.library, one.command) == ("pystematic", "help"):
            heavy = heavy_modules_of_help(one, folder)
            missed += bool(heavy)
            print(f"{'FAIL' if heavy else 'PASS'}  heavy modules on the help path: {', '.join(heavy) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
