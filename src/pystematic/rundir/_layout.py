"""Where everything of a run lies: every file name of a run directory is spelled here and nowhere else."""

from __future__ import annotations

import errno
import os
import pathlib
import time

from pystematic._words import short
from pystematic.errors import RunDirectoryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SUFFIX_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
SUFFIX_LENGTH = 6
ATTEMPTS = 1000
# The folder of sweeps stands beside those of experiments, which therefore cannot have its name.
SWEEPS_NAME = "sweeps"


class RunDir:
    """The paths of one run's files. Making the object touches nothing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)

    @property
    def id(self) -> str:
        """The run id: the name of the directory."""
        return self.path.name

    @property
    def run_file(self) -> pathlib.Path:
        return self.path / "run.json"

    @property
    def parameters_file(self) -> pathlib.Path:
        return self.path / "parameters.yaml"

    @property
    def summary_file(self) -> pathlib.Path:
        return self.path / "summary.json"

    @property
    def labels_file(self) -> pathlib.Path:
        return self.path / "labels.json"

    @property
    def heartbeat_file(self) -> pathlib.Path:
        return self.path / "heartbeat"

    @property
    def environment_file(self) -> pathlib.Path:
        return self.path / "environment.json"

    @property
    def patch_file(self) -> pathlib.Path:
        return self.path / "source.patch"

    @property
    def artifacts_dir(self) -> pathlib.Path:
        return self.path / "artifacts"

    def log_file(self, rank: int = 0) -> pathlib.Path:
        """The log of one process."""
        return self.path / ("log.txt" if rank == 0 else f"log.rank-{rank}.txt")

    def metrics_file(self, rank: int = 0, pid: int | None = None) -> pathlib.Path:
        """The series that one process records; ``pid`` is given for a forked child."""
        if pid is not None:
            return self.path / f"metrics.pid-{pid}.jsonl"
        return self.path / ("metrics.jsonl" if rank == 0 else f"metrics.rank-{rank}.jsonl")

    def metrics_files(self) -> list[pathlib.Path]:
        """Every file of series that exists, in a fixed order; parts that a resume has cut off are no part of them."""
        try:
            names = sorted(os.listdir(self.path))
        except OSError:
            return []
        return [
            self.path / name
            for name in names
            if name.startswith("metrics.") and name.endswith(".jsonl") and ".cut-" not in name
        ]

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def __fspath__(self) -> str:
        return str(self.path)


def create_run_dir(
    output_dir: str | os.PathLike[str],
    experiment: str,
    *,
    now: float | None = None,
    draw_suffix: Callable[[], str] | None = None,
) -> RunDir:
    """Make the directory of a new run, exclusively: of any number of starts at once each gets its own.

    Args:
        output_dir: the folder of all runs; made if need be.
        experiment: the full name of the experiment, which becomes a folder.
        now: seconds since the epoch; the clock when None.
        draw_suffix: draws the random end of the name; the operating system's generator when None.

    Raises:
        RunDirectoryError: the folder cannot be written, or the name would leave it.
    """
    parent = _experiment_dir(output_dir, experiment)
    draw = draw_suffix or _draw_suffix
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))
    seen: set[str] = set()
    try:
        os.makedirs(parent, exist_ok=True)
        _refuse_link_out(output_dir, parent)
        for _ in range(ATTEMPTS):
            suffix = draw()
            if suffix in seen:  # a generator that repeats itself: go on by ourselves
                suffix = _draw_suffix()
            seen.add(suffix)
            path = os.path.join(parent, f"{stamp}_{suffix}")
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            return RunDir(path)
    except (OSError, ValueError) as error:
        raise unusable(output_dir, error) from None
    raise RunDirectoryError(f"no free name for a run in {parent!r} after {ATTEMPTS} attempts.")


def unusable(output_dir: str | os.PathLike[str], error: Exception) -> RunDirectoryError:
    """Return the one message for an output folder that cannot be written, with what to do about it."""
    shown = short(os.fspath(output_dir))
    if not isinstance(error, OSError):
        return RunDirectoryError(f"the output folder {shown} cannot be used: {error}. Give another one: --output-dir.")
    advice = {
        errno.ENOSPC: "Free some space",
        errno.EDQUOT: "Free some space of your quota",
        errno.EROFS: "The file system is read-only",
        errno.EACCES: "You may not write there",
        errno.EPERM: "You may not write there",
        errno.ENOTDIR: "A part of the path is a file",
        errno.EEXIST: "A part of the path is a file",
    }.get(error.errno or 0, "Check the path")
    reason = error.strerror or type(error).__name__
    return RunDirectoryError(
        f"the output folder {shown} cannot be written: {reason}. {advice}, or give another one: --output-dir."
    )


def _experiment_dir(output_dir: str | os.PathLike[str], experiment: str) -> str:
    bad = (
        not experiment
        or experiment in (".", "..", SWEEPS_NAME)
        or experiment.startswith((".", "-"))
        or any(letter in experiment for letter in ("/", "\\", "\0"))
    )
    if bad:
        raise RunDirectoryError(
            f"{short(experiment)} cannot be the folder of an experiment inside the output folder. Give it another name."
        )
    if "\0" in os.fspath(output_dir):
        raise RunDirectoryError(f"the output folder {short(os.fspath(output_dir))} holds a NUL character.")
    return os.path.join(os.path.abspath(os.fspath(output_dir)), experiment)


def _refuse_link_out(output_dir: str | os.PathLike[str], parent: str) -> None:
    root = os.path.realpath(os.fspath(output_dir))
    if os.path.dirname(os.path.realpath(parent)) != root:
        raise RunDirectoryError(
            f"{parent!r} is a link that leads out of the output folder, to {os.path.realpath(parent)!r}. "
            "Remove the link."
        )


def _draw_suffix() -> str:
    return "".join(SUFFIX_LETTERS[byte % len(SUFFIX_LETTERS)] for byte in os.urandom(SUFFIX_LENGTH))
