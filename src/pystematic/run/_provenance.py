"""What a run was made of: Python, packages, machine, code. Captured in the background; never fails a run."""

from __future__ import annotations

import os
import sys

from pystematic._record import record
from pystematic.run._git import GitQuery, GitState

# Not by `hashlib`, whose import loads all of OpenSSL.
try:
    from _sha256 import sha256  # type: ignore[import-not-found] # Python 3.11
except ImportError:
    try:
        from _sha2 import sha256  # type: ignore[import-not-found] # Python 3.12 and later
    except ImportError:
        from hashlib import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

# Variables that change what a run computes or where it runs; no other one is recorded.
_VARIABLES = frozenset(
    (
        *("PYTHONHASHSEED", "PYTHONPATH", "PYTHONOPTIMIZE", "VIRTUAL_ENV", "CONDA_DEFAULT_ENV", "LANG", "LC_ALL", "TZ"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "NUMEXPR_NUM_THREADS"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE"),
        *("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"),
        *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
        *("SLURM_JOB_ID", "SLURM_JOB_NAME", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_PROCID"),
        *(
            "SLURM_NTASKS",
            "SLURM_JOB_NUM_NODES",
            "SLURM_JOB_PARTITION",
            "SLURM_RESTART_COUNT",
            "PBS_JOBID",
            "LSB_JOBID",
        ),
    )
)
_VARIABLE_BEGINNINGS = ("NCCL_", "GLOO_", "TORCH_NCCL_")


@record
class Provenance:
    """``environment`` is the document of ``environment.json``; ``code`` is the hash of what was run."""

    environment: dict[str, Any]
    patch: bytes
    code: str | None

    def on_this_machine(self) -> Provenance:
        """Return the provenance of the same code, run on this machine by this process."""
        here = {"platform": _platform(), "variables": _recorded_variables()}
        return Provenance({**self.environment, **here}, self.patch, self.code)


def _recorded_variables() -> dict[str, str]:
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name in _VARIABLES or name.startswith(_VARIABLE_BEGINNINGS)
    }


class ProvenanceQuery:
    """Provenance that is asked for at once and collected later, such that git works beside the rest of a start.

    What the program itself may change is read at once: its working directory, its variables.

    Args:
        code_file: the file that defines the experiment; None in a notebook.
        ignored_dir: whose files are no sources: the folder of the runs.
    """

    def __init__(self, code_file: str | None, ignored_dir: str | None = None) -> None:
        self._code_file = code_file if code_file and os.path.isfile(code_file) else None
        try:
            self._working_dir: str | None = os.getcwd()
        except OSError:  # it was removed
            self._working_dir = None
        self._variables = _recorded_variables()
        self._module_path = list(sys.path)
        code_dir = os.path.dirname(os.path.abspath(self._code_file)) if self._code_file else self._working_dir
        self._folder = code_dir or os.path.abspath(os.sep)
        self._git = GitQuery(self._folder, ignored_dir)

    def collect(self, is_late: Callable[[], bool] = lambda: False) -> Provenance:
        """Return what is known; ``is_late`` tells when to stop waiting for git."""
        git: GitState | None = self._git.answer(is_late)
        patch = b"" if git is None else git.patch
        environment: dict[str, Any] = {
            "schema": 1,
            "python": {
                "version": sys.version.split()[0],
                "implementation": sys.implementation.name,
                "build": sys.version,
                "executable": sys.executable,
            },
            "platform": _platform(),
            "packages": installed_packages(self._module_path),
            "git": None if git is None else git.facts,
            "variables": self._variables,
            "working_dir": self._working_dir,
        }
        commit = None if git is None else git.facts.get("commit")
        if git is not None and git.is_complete and isinstance(commit, str):
            code: str | None = _digest(commit.encode() + b"\n" + patch)
        else:
            code = self._digest_of_files()
        return Provenance(environment, patch, code)

    def close(self) -> None:
        """Give up."""
        self._git.close()

    def _digest_of_files(self) -> str | None:
        """Hash the program's own files: what it has imported from its folder, and the file that defines it."""
        if self._code_file is None:
            return None
        inside = self._folder + os.sep
        installed = os.path.realpath(sys.prefix) + os.sep
        files = {os.path.abspath(self._code_file)}
        for module in list(sys.modules.values()):
            path = getattr(module, "__file__", None)
            if not isinstance(path, str) or not path.endswith(".py") or "site-packages" in path:
                continue
            if os.path.abspath(path).startswith(inside) and not path.startswith(installed):
                files.add(os.path.abspath(path))
        parts: list[bytes] = []
        for path in sorted(files):
            try:
                with open(path, "rb") as file:
                    parts.append(os.fsencode(os.path.relpath(path, self._folder)) + b"\0" + file.read() + b"\0")
            except OSError:
                continue
        return _digest(b"".join(parts))


class KnownProvenance:
    """Stands in for a `ProvenanceQuery` whose answer another process has handed on."""

    def __init__(self, provenance: Provenance) -> None:
        self._provenance = provenance

    def collect(self, is_late: Callable[[], bool] = lambda: False) -> Provenance:
        """Return what is known."""
        return self._provenance

    def close(self) -> None:
        """Do nothing: nobody was asked."""


def describe_environment(code_file: str, ignored_dir: str | None = None) -> dict[str, Any]:
    """Return what `environment.json` of a run of this program would hold now, with ``code`` and ``patch`` beside it."""
    found = ProvenanceQuery(code_file, ignored_dir).collect()
    return {**found.environment, "code": found.code, "patch": found.patch}


def installed_packages(module_path: Iterable[str]) -> dict[str, str]:
    """Return name to version, from the names of the folders that installers leave on ``module_path``.

    Names are normalised as in https://packaging.python.org/en/latest/specifications/name-normalization. Reading each
    package's metadata instead would cost ten times as much.
    """
    packages: dict[str, str] = {}
    for folder in module_path:
        try:
            names = os.listdir(str(folder) or ".")
        except (OSError, ValueError):
            continue
        for entry in names:
            stem, dot, ending = entry.rpartition(".")
            if dot and ending in ("dist-info", "egg-info"):
                name, dash, version = stem.partition("-")
                if dash:  # the first on the path is the one that is imported
                    packages.setdefault(_normalized(name), version.partition("-py")[0])
    return dict(sorted(packages.items()))


def _normalized(name: str) -> str:
    return "-".join(part for part in name.lower().replace("_", "-").replace(".", "-").split("-") if part)


def _platform() -> dict[str, Any]:
    if not hasattr(os, "uname"):
        import platform

        return {"system": platform.system(), "release": platform.release(), "machine": platform.machine()}
    uname = os.uname()
    found: dict[str, Any] = {
        "system": uname.sysname,
        "release": uname.release,
        "machine": uname.machine,
        "cpu_count": os.cpu_count(),
        "cpu": _first_value("/proc/cpuinfo", "model name"),
        "memory_bytes": _memory_bytes(),
    }
    if hasattr(os, "sched_getaffinity"):
        found["cpu_available"] = len(os.sched_getaffinity(0))
    gpus = _gpus()
    if gpus:
        found["gpus"] = gpus
        found["gpu_driver"] = _read("/sys/module/nvidia/version").strip() or None
    return found


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _gpus() -> list[str]:
    """Return the names of NVIDIA GPUs as the driver lists them: no library, no CUDA context."""
    folder = "/proc/driver/nvidia/gpus"
    try:
        entries = sorted(os.listdir(folder))
    except OSError:
        return []
    return [_first_value(os.path.join(folder, entry, "information"), "Model") or entry for entry in entries]


def _first_value(path: str, key: str) -> str | None:
    for line in _read(path).splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            return value.strip()
    return None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(1 << 16)
    except OSError:
        return ""


def _digest(content: bytes) -> str:
    return str(sha256(content).hexdigest())
