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
    from typing import TypeVar

    T = TypeVar("T")

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
    def checkpoints_dir(self) -> pathlib.Path:
        return self.path / "checkpoints"

    @property
    def manifest_file(self) -> pathlib.Path:
        return self.checkpoints_dir / "manifest.json"

    def attempt_file(self, number: int) -> pathlib.Path:
        """The claim of whoever starts this attempt, from 2 on: created by exactly one process."""
        return self.path / f"attempt-{number}"

    @property
    def artifacts_dir(self) -> pathlib.Path:
        return self.path / "artifacts"

    @property
    def csv_file(self) -> pathlib.Path:
        """What the backend ``csv`` writes."""
        return self.path / "scalars.csv"

    @property
    def tensorboard_dir(self) -> pathlib.Path:
        """Where the backend ``tensorboard`` writes."""
        return self.path / "tensorboard"

    def log_file(self, rank: int = 0) -> pathlib.Path:
        """The log of one process."""
        return self.path / ("log.txt" if rank == 0 else f"log.rank-{rank}.txt")

    def metrics_file(self, rank: int = 0, pid: int | None = None) -> pathlib.Path:
        """The series that one process records; ``pid`` is given for a forked child."""
        if pid is not None:
            return self.path / f"metrics.pid-{pid}.jsonl"
        return self.path / ("metrics.jsonl" if rank == 0 else f"metrics.rank-{rank}.jsonl")

    def cut_file(self, number: int, rank: int = 0, pid: int | None = None) -> pathlib.Path:
        """What attempt ``number`` has cut off from the series of one process."""
        return self.cut_file_of(self.metrics_file(rank, pid), number)

    def cut_file_of(self, path: pathlib.Path, number: int) -> pathlib.Path:
        """The same, by the file of series."""
        return path.with_name(f"{path.name.removesuffix('.jsonl')}.cut-{number}.jsonl")

    def metrics_files(self) -> list[pathlib.Path]:
        """Every file of series that exists, in a fixed order.

        Parts that a resume has cut off are no part of them, nor are copies that somebody has made under other names.
        """
        try:
            names = sorted(os.listdir(self.path))
        except OSError:
            return []
        return [self.path / name for name in names if is_metrics_name(name)]

    def __repr__(self) -> str:
        return f"RunDir({str(self.path)!r})"

    def __fspath__(self) -> str:
        return str(self.path)


class SweepDir:
    """The paths of one sweep's files. Making the object touches nothing."""

    def __init__(self, output_dir: str | os.PathLike[str], name: str) -> None:
        self.output_dir = pathlib.Path(output_dir)
        self.name = name
        self.path = self.output_dir / SWEEPS_NAME / name

    @property
    def plan_file(self) -> pathlib.Path:
        """What is to be run and what has become of it: one JSON object a line, the newest last."""
        return self.path / "plan.jsonl"

    @property
    def stop_file(self) -> pathlib.Path:
        """Asks the coordinator to end."""
        return self.path / "stop.json"

    @property
    def stops_dir(self) -> pathlib.Path:
        """Holds a file for each run that is asked to end early, as pruned; its name is the run's id."""
        return self.path / "stops"

    @property
    def jobs_dir(self) -> pathlib.Path:
        """Holds a `JobDir` for each run that was given to a queue, and the queue's own files."""
        return self.path / "jobs"

    @property
    def code_dir(self) -> pathlib.Path:
        """Holds copies of the program, for runs that begin when it may have been edited."""
        return self.path / "code"

    def job_dir(self, number: int) -> JobDir:
        """The files of the job that makes a start of this number."""
        return JobDir(self.jobs_dir / str(number))

    def claim_file(self, number: int) -> pathlib.Path:
        """Says who coordinates the sweep; the one with the highest number counts."""
        return self.path / f"claim-{number}"

    def claim_numbers(self) -> list[int]:
        """Return the numbers of the claims that are there, in ascending order."""
        try:
            names = os.listdir(self.path)
        except OSError:
            return []
        numbers = [name.removeprefix("claim-") for name in names if name.startswith("claim-")]
        return sorted(int(number) for number in numbers if number.isdecimal())

    def __repr__(self) -> str:
        return f"SweepDir({str(self.path)!r})"


class JobDir:
    """The paths of what a coordinator and a job on another machine tell each other. Making the object touches nothing.

    Both sides open files that are there already, as a network file system shows what is new in those at once.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)

    @property
    def parcel_file(self) -> pathlib.Path:
        """What is to be run; for its owner's eyes only, and removed by the job."""
        return self.path / "parcel"

    @property
    def control_file(self) -> pathlib.Path:
        """What the coordinator wants: empty, ``stop`` or ``kill``."""
        return self.path / "control"

    @property
    def events_file(self) -> pathlib.Path:
        """What the job tells: one JSON object a line. Touched while the job lives."""
        return self.path / "events.jsonl"

    @property
    def claim_file(self) -> pathlib.Path:
        """Who decides about the run: the job that makes it, or the coordinator that has taken it back."""
        return self.path / "claim.json"

    def __repr__(self) -> str:
        return f"JobDir({str(self.path)!r})"


def jobs_folder(output_dir: str | os.PathLike[str]) -> pathlib.Path:
    """Return the folder of what single runs on other machines are told and tell; hidden, as no experiment's is."""
    return pathlib.Path(output_dir, ".jobs")


def stop_request_file(run_dir: RunDir, sweep: str) -> pathlib.Path:
    """Return the file whose existence asks a run of a sweep to end early."""
    return SweepDir(run_dir.path.parent.parent, sweep).stops_dir / run_dir.id


def sweep_names(output_dir: str | os.PathLike[str]) -> list[str]:
    """Return the names of the sweeps in a folder of runs."""
    folder = pathlib.Path(output_dir, SWEEPS_NAME)
    try:
        return sorted(name for name in os.listdir(folder) if (folder / name / "plan.jsonl").is_file())
    except OSError:
        return []


def is_metrics_name(name: str) -> bool:
    """Tell whether a file of a run's directory holds series, by its name; see `RunDir.metrics_files`."""
    if name == "metrics.jsonl":
        return True
    kind, _, number = name.removeprefix("metrics.").removesuffix(".jsonl").partition("-")
    return kind in ("rank", "pid") and number.isdecimal() and name == f"metrics.{kind}-{number}.jsonl"


def rank_of_metrics_file(name: str) -> int | None:
    """Return the rank that writes a file of series, None for a forked child's."""
    if name == "metrics.jsonl":
        return 0
    number = name.removeprefix("metrics.rank-").removesuffix(".jsonl")
    return int(number) if number.isdecimal() else None


# Folders of what is recorded beside numbers, by kind.
_ITEM_DIRS = {"image": "images", "figure": "figures", "text": "texts", "table": "tables", "artifact": "artifacts"}
LONGEST_ITEM_NAME = 100  # bytes; file systems take 255, and more is added
# Names that Windows keeps for devices, whatever comes behind a dot.
_DEVICES = frozenset(("CON", "PRN", "AUX", "NUL", *(f"{port}{i}" for port in ("COM", "LPT") for i in range(1, 10))))
# Above it a free name is drawn instead of looked for.
_NUMBERED_NAMES = 100


def item_name(tag: str, step: int | float) -> str:
    """Return the name of a file for something recorded under any tag: readable, and safe on every file system.

    Several tags may have one name; `create_item_file` makes files that are nobody's.
    """
    return f"{_safe_name(tag)}_{step}"


def _safe_name(text: str) -> str:
    kept = "".join(
        letter if letter.isalnum() or letter in "._-+=@" else "." if letter == "/" else "_" for letter in text
    )
    short_enough = kept.encode("utf-8", "replace")[:LONGEST_ITEM_NAME].decode("utf-8", "ignore")
    return short_enough.lstrip(".") or "_"  # neither hidden nor ".."


def create_item_file(
    folder: str | os.PathLike[str], kind: str, tag: str, step: int | float, suffix: str
) -> tuple[int, pathlib.Path]:
    """Make an empty file in the folder of a kind, exclusively, and return its descriptor and path.

    Raises:
        OSError: it cannot be made.
    """
    parent = pathlib.Path(folder, _ITEM_DIRS[kind])
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return _first_free(parent, item_name(tag, step), suffix, lambda path: os.open(path, flags, 0o666))


def create_artifact(folder: str | os.PathLike[str], name: str, *, is_folder: bool) -> pathlib.Path:
    """Make an empty file or folder among the artifacts, exclusively, and return its path.

    Raises:
        OSError: it cannot be made.
    """
    stem, suffix = os.path.splitext(name)
    stem, suffix = _safe_name(stem), f".{_safe_name(suffix)}" if len(suffix) > 1 else ""
    if stem.split(".")[0].upper() in _DEVICES:
        stem += "_"
    parent = pathlib.Path(folder, _ITEM_DIRS["artifact"])

    def make(path: pathlib.Path) -> None:
        if is_folder:
            os.mkdir(path)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))

    return _first_free(parent, stem, suffix, make)[1]


def _first_free(
    parent: pathlib.Path, stem: str, suffix: str, make: Callable[[pathlib.Path], T]
) -> tuple[T, pathlib.Path]:
    os.makedirs(parent, exist_ok=True)
    number = 1
    while True:
        more = "" if number == 1 else f"-{number}" if number <= _NUMBERED_NAMES else f"-{os.urandom(6).hex()}"
        path = parent / f"{stem}{more}{suffix}"
        try:
            return make(path), path
        except FileExistsError:
            number += 1


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
        errno.ENOTDIR: "A part of its path is a file: rename that",
        errno.EEXIST: "A part of its path is a file: rename that",
    }.get(error.errno or 0, "Check the path")
    reason = error.strerror or type(error).__name__
    return RunDirectoryError(
        f"the output folder {shown} cannot be written: {reason}. {advice}, or give another one: --output-dir."
    )


def _experiment_dir(output_dir: str | os.PathLike[str], experiment: str) -> str:
    if not _is_folder_name(experiment):
        raise RunDirectoryError(
            f"{short(experiment)} cannot be the folder of an experiment inside the output folder. Give it another name."
        )
    if "\0" in os.fspath(output_dir):
        raise RunDirectoryError(f"the output folder {short(os.fspath(output_dir))} holds a NUL character.")
    return os.path.join(os.path.abspath(os.fspath(output_dir)), experiment)


def _is_folder_name(experiment: str) -> bool:
    try:
        os.fsencode(experiment)
    except UnicodeEncodeError:
        return False
    return not (
        experiment.lower() in ("", SWEEPS_NAME)  # in any case: some file systems know none
        or experiment.startswith((".", "-"))
        or any(letter in experiment for letter in ("/", "\\", "\0"))
        or os.path.splitdrive(experiment)[0]
    )


def _refuse_link_out(output_dir: str | os.PathLike[str], parent: str) -> None:
    root, real = os.path.realpath(os.fspath(output_dir)), os.path.realpath(parent)
    if os.path.dirname(real) != root:
        raise RunDirectoryError(
            f"{parent!r} is a link that leads out of the output folder, to {real!r}. Remove the link."
        )
    if os.path.basename(real) == SWEEPS_NAME:
        raise RunDirectoryError(f"{parent!r} is a link to {real!r}, which is kept for sweeps. Remove the link.")


def _draw_suffix() -> str:
    return "".join(SUFFIX_LETTERS[byte % len(SUFFIX_LETTERS)] for byte in os.urandom(SUFFIX_LENGTH))
