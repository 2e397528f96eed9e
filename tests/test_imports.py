"""What is loaded and changed by `import pystematic` and by a help page, seen from fresh interpreters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import run_python, write_program

# Modules that cost a noticeable part of a small program's start, or that a user may not have.
HEAVY_MODULES = frozenset(
    {
        "asyncio",
        "attr",
        "concurrent",
        "dataclasses",
        "email",
        "importlib.metadata",
        "inspect",
        "logging",
        "mlflow",
        "multiprocessing",
        "numpy",
        "orjson",
        "optuna",
        "pandas",
        "psutil",
        "pydantic",
        "ray",
        "rich",
        "sklearn",
        "socket",
        "sqlite3",
        "starlette",
        "subprocess",
        "tempfile",
        "tensorboard",
        "tomllib",
        "torch",
        "tqdm",
        "typing",
        "unittest",
        "wandb",
        "wrapt",
        "yaml",
    }
)


def modules_loaded_by(*args: str | Path) -> frozenset[str]:
    """Return what the interpreter loads for ``args`` beyond what it loads, with its .pth files, for nothing."""
    return _modules(*args) - _modules("-c", "pass")


def _modules(*args: str | Path) -> frozenset[str]:
    done = run_python("-X", "importtime", *args)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert lines, done.stderr
    return frozenset(line.rsplit("|", 1)[1].strip() for line in lines)


def test_importing_pystematic_loads_nothing_heavy() -> None:
    loaded = modules_loaded_by("-c", "import pystematic")

    assert "pystematic" in loaded
    assert sorted(HEAVY_MODULES & loaded) == []


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param(["train", "--help"], id="help of an experiment"),
        pytest.param(["--help"], id="help of a program"),
        pytest.param([], id="list of experiments"),
        pytest.param(["train", "--learning-rat", "0.1"], id="usage error"),
    ],
)
def test_a_program_that_runs_nothing_loads_nothing_heavy(argv: list[str], working_dir: Path) -> None:
    program = write_program(working_dir)

    run_python(program)  # looks for plugins in the environment's metadata, once until a package is installed

    loaded = modules_loaded_by(program, *argv)

    assert "pystematic.cli" in loaded
    assert sorted(HEAVY_MODULES & loaded) == []


# Everything that an import could change for others, as text that compares equal when nothing did.
STATE = """
import faulthandler, logging, os, signal, sys, threading, warnings
def state():
    root = logging.getLogger()
    return repr([
        sorted(os.environ.items()), os.getcwd(), sys.argv, sys.path,
        root.handlers, root.level, logging.root.manager.disable, logging.raiseExceptions,
        [(n, signal.getsignal(n)) for n in sorted(signal.valid_signals())],
        id(sys.stdin), id(sys.stdout), id(sys.stderr), id(sys.excepthook), id(sys.displayhook),
        id(sys.unraisablehook), id(threading.excepthook), sys.meta_path, sys.path_hooks,
        threading.enumerate(), warnings.filters, faulthandler.is_enabled(), sys.getrecursionlimit(),
        sys.getswitchinterval(), sys.gettrace(), sys.getprofile(), sorted(os.listdir(".")),
    ])
before = state()
{code}
after = state()
assert before == after, before + "\\n" + after
"""


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import pystematic", id="import"),
        pytest.param(
            "import pystematic\n@pystematic.parameter(name='lr', type=float)\n@pystematic.experiment\n"
            "def train(parameters, context): pass",
            id="declaration",
        ),
    ],
)
def test_nothing_of_the_process_changes_by(code: str, working_dir: Path) -> None:
    done = run_python("-c", STATE.replace("{code}", code), cwd=working_dir)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_of_the_package_can_be_had(working_dir: Path) -> None:
    done = run_python(
        "-W",
        "error",
        "-c",
        "import pystematic\n"
        "for name in pystematic.__all__:\n"
        "    getattr(pystematic, name)\n"
        "assert set(pystematic.__all__) <= set(dir(pystematic))\n"
        "print(len(pystematic.__all__) > 0)",
        cwd=working_dir,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
