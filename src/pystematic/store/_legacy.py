"""Output folders of pystematic 1.x: `import_runs` copies their runs into run directories of today. Moves nothing.

Such a run is ``<folder>/<experiment>/<YYYY-MM-DD_HH-MM-SS>_<6 letters>/`` with ``parameters.yaml`` and ``log.txt``;
pystematic-torch added ``scalars.csv`` (lines of ``step, tag, value``), ``checkpoint-ID.pt`` and files of TensorBoard.
"""

from __future__ import annotations

import os
import time

from pystematic import rundir
from pystematic._record import record
from pystematic.declare import SECRET_ENDINGS
from pystematic.errors import NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

STAMP = "%Y-%m-%d_%H-%M-%S"
STAMP_LENGTH = len("YYYY-MM-DD_HH-MM-SS")
SCALARS_NAME = "scalars.csv"
OLD_PARAMETERS_NAME = "parameters.1x.yaml"


@record
class Imported:
    """A run that was copied, or why it was not.

    Attributes:
        source: the old directory.
        target: the new one; None where there is none.
        problem: why not, or what of it could not be taken over; empty when all was.
    """

    source: str
    target: str | None
    problem: str


def import_runs(folder: str, output_dir: str) -> Iterator[Imported]:
    """Copy all runs of an old output folder; those that were copied before are passed over, and said.

    Raises:
        NotFoundError: there is no such folder, or no old run in it.
        UsageError: it is the output folder itself.
    """
    if not os.path.isdir(folder):
        raise NotFoundError(f"there is no folder {folder!r} to import from.")
    found = list(_old_runs(folder))
    if not found:
        raise NotFoundError(
            f"{folder!r} holds no run of pystematic 1.x, such as train/2024-01-31_12-00-00_abc123/parameters.yaml."
        )
    if os.path.realpath(folder) == os.path.realpath(output_dir):
        raise UsageError(f"{folder!r} is the output folder itself. Name another one to copy to: --output-dir.")
    for experiment, source in found:
        yield _import(experiment, source, output_dir)


def _old_runs(folder: str) -> Iterator[tuple[str, str]]:
    for experiment in sorted(os.listdir(folder)):
        path = os.path.join(folder, experiment)
        if not os.path.isdir(path) or experiment.startswith("."):
            continue
        for name in sorted(os.listdir(path)):
            directory = os.path.join(path, name)
            has_parameters = os.path.isfile(rundir.RunDir(directory).parameters_file)
            is_new = os.path.lexists(rundir.RunDir(directory).run_file)
            if has_parameters and not is_new and _started_at(name) is not None:
                yield experiment, directory


def _started_at(name: str) -> float | None:
    """Return what the name of a directory says; it is local time."""
    try:
        return time.mktime(time.strptime(name[:STAMP_LENGTH], STAMP)) if name[STAMP_LENGTH:][:1] == "_" else None
    except (ValueError, OverflowError):
        return None


def _import(experiment: str, source: str, output_dir: str) -> Imported:
    import shutil

    target = rundir.RunDir(os.path.join(os.path.abspath(output_dir), experiment, os.path.basename(source)))
    if os.path.lexists(target.path):
        return Imported(source, None, "it is there already")
    aside = target.path.with_name(f".importing-{target.id}-{os.urandom(3).hex()}")
    problems: list[str] = []
    try:
        os.makedirs(target.path.parent, exist_ok=True)
        shutil.copytree(source, aside, symlinks=True)
        _convert(rundir.RunDir(aside), target.id, experiment, source, problems)
        os.rename(aside, target.path)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        return Imported(source, None, f"it cannot be copied: {error.strerror} ({error.filename})")
    return Imported(source, str(target.path), "; ".join(problems))


def _convert(run_dir: rundir.RunDir, run_id: str, experiment: str, source: str, problems: list[str]) -> None:
    """Write what a run of today has, beside the files that were copied."""
    started_at = _started_at(run_id) or 0.0
    status, ended_at = _ending(run_dir, started_at)
    params = _parameters(run_dir, problems)
    with open(run_dir.parameters_file, "w", encoding="utf-8", newline="\n") as file:
        file.write(rundir.format_parameters(params))
    left_out = _scalars(run_dir, started_at)
    if left_out:
        problems.append(f"{left_out} lines of {SCALARS_NAME} could not be read")
    if run_dir.metrics_files():
        rundir.write_document(run_dir.summary_file, rundir.summarize(run_dir))
    document = {
        "schema": 1,
        "id": run_id,
        "experiment": experiment,
        "status": status,
        "started_at": rundir.format_time(started_at),
        "ended_at": rundir.format_time(ended_at),
        "exit_code": None,
        "error": None,
        "host": None,
        "pid": None,
        "argv": [],
        "program": {},
        "metric": None,
        "sources": dict.fromkeys(params, "import of pystematic 1.x"),
        "parent": None,
        "code": None,
        "notes": [f"imported from {os.path.abspath(source)}"],
        "attempts": [],
    }
    rundir.write_document(run_dir.run_file, document)


def _ending(run_dir: rundir.RunDir, started_at: float) -> tuple[str, float]:
    """Return how a run ended, by the last line that 1.x logged, and when its log was written last."""
    status, ended_at = "interrupted", started_at
    try:
        with open(run_dir.log_file(), encoding="utf-8", errors="replace") as file:
            # Long lines are wrapped in the log.
            text = " ".join(file.read().split())
        ended_at = max(started_at, os.stat(run_dir.log_file()).st_mtime)
    except OSError:
        return status, ended_at
    _, found, rest = text.rpartition("Experiment ended at ")
    if found:
        status = "failed" if " with an error" in rest[: len("YYYY-MM-DD HH:MM:SS with an error")] else "completed"
    return status, ended_at


def _parameters(run_dir: rundir.RunDir, problems: list[str]) -> dict[str, Any]:
    old = run_dir.path / OLD_PARAMETERS_NAME
    os.rename(run_dir.parameters_file, old)
    try:
        with open(old, encoding="utf-8") as file:
            tree, _ = rundir.parse_yaml(file.read(), str(old))
    except ValueError as error:
        problems.append(f"its parameters could not be read: {error}")
        return {}
    if not isinstance(tree, dict):
        return {}
    secrets = [str(name) for name, value in tree.items() if isinstance(value, str) and _is_secret(str(name))]
    if secrets:
        os.unlink(old)  # it holds them, and stays where it was copied from
        problems.append(f"{', '.join(secrets)} is masked, and {OLD_PARAMETERS_NAME} left out")
    return {str(name): rundir.encode(rundir.MASKED if str(name) in secrets else value) for name, value in tree.items()}


def _is_secret(name: str) -> bool:
    return name.lower().endswith(SECRET_ENDINGS)


def _scalars(run_dir: rundir.RunDir, started_at: float) -> int:
    """Write the numbers of ``scalars.csv`` as a series; return how many lines could not be read.

    That file knows no times: the points get that of the start, a microsecond apart, so that they stay in order.
    """
    columns: tuple[list[str], list[int | float], list[float], list[int | float]] = ([], [], [], [])
    left_out = 0
    try:
        with open(run_dir.path / SCALARS_NAME, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file):
                if number == 0 and line.replace(" ", "").strip() == "step,tag,value":
                    continue
                try:
                    step, tag, value = _parse_scalar(line.rstrip("\n"))
                except ValueError:
                    left_out += bool(line.strip())
                    continue
                for column, item in zip(columns, (tag, step, started_at + number * 1e-6, value), strict=True):
                    column.append(item)  # type: ignore[attr-defined]
    except OSError:
        return 0
    if columns[0]:
        with open(run_dir.metrics_file(), "wb") as out:
            out.write(rundir.ScalarFormatter().format(columns))
    return left_out


def _parse_scalar(line: str) -> tuple[int | float, str, int | float]:
    """Read ``step, tag, value``; the tag may hold commas.

    Raises:
        ValueError: it is damaged.
    """
    step_text, _, rest = line.partition(", ")
    tag, _, value_text = rest.rpartition(", ")
    if not tag:
        raise ValueError("there are no three fields")
    step, value = _number(step_text), _number(value_text)
    if step - step != 0:
        raise ValueError("a step that is no number")
    return step, tag, value


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return {"True": 1, "False": 0}[text] if text in ("True", "False") else float(text)
