"""`find_run`: which run a person means by a path, an id or a part of one, `last`, or a tag."""

from __future__ import annotations

import os

from pystematic import rundir
from pystematic._words import did_you_mean
from pystematic.errors import NotFoundError
from pystematic.store._run import Run
from pystematic.store._runs import quoted, runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

# How many candidates a message names.
LISTED = 5


def find_run(text: str, output_dir: str | os.PathLike[str] = "output", experiment: str | None = None) -> Run:
    """Return the run that ``text`` names.

    Tried in this order: the path of a run directory; an exact id; ``last`` and ``last~N`` (most recently started, not
    a point of a sweep); the end or beginning of one id only; a tag that one run only has.

    Args:
        text: as a person wrote it.
        output_dir: where to look.
        experiment: whose runs ``last`` counts; those of all experiments when None.

    Raises:
        NotFoundError: no run is meant, or more than one.
    """
    folder = os.fspath(output_dir)
    for path in (text, os.path.join(folder, text)):
        if text and os.path.isfile(rundir.RunDir(path).run_file):
            return Run(path)
    if not os.path.isdir(folder):
        raise NotFoundError(
            f"there is no run {text!r}: there is no folder {folder!r} to look for it. "
            "Give the run's path, or its folder: --output-dir."
        )
    directories = _directories(folder)
    exact = [directory for directory in directories if os.path.basename(directory) == text]
    if exact:
        return _only(exact, text, folder, "means", "Give its path")
    back = _parse_last(text)
    if back is not None:
        return _last(back, text, folder, experiment)
    alike = [path for path in directories if text and _is_end_or_beginning(text, os.path.basename(path))]
    if len(alike) == 1:
        return Run(alike[0])
    tagged = [str(run.path) for run in runs(folder).filter(f"{quoted(text)} in tags")]
    if tagged:
        return _only(tagged, text, folder, "is a tag of", "Give an id")
    if alike:
        return _only(alike, text, folder, "means", "Write more of the id")
    raise NotFoundError(_nothing_of_that_name(text, folder, directories))


def _directories(folder: str) -> list[str]:
    """Return the paths of all directories with a ``run.json``, readable or not."""
    from pystematic.store._index import open_table  # a run that is named by its path needs none of it

    if os.path.exists(rundir.RunDir(folder).run_file):
        return [folder]
    return sorted(os.path.join(folder, name) for name in open_table(folder).run_names())


def _is_end_or_beginning(text: str, run_id: str) -> bool:
    return run_id.endswith(text) or run_id.startswith(text)


def _parse_last(text: str) -> int | None:
    """Return how many runs back from the newest ``last`` or ``last~N`` means, None for any other text."""
    word, tilde, number = text.partition("~")
    if word != "last" or (tilde and not (number.isascii() and number.isdigit())):
        return None
    return int(number.lstrip("0")[:18] or 0) if tilde else 0


def _last(back: int, text: str, folder: str, experiment: str | None) -> Run:
    found = runs(folder).filter("sweep is none")
    if experiment is not None:
        found = found.filter(f"experiment == {quoted(experiment)}")
    if back < len(found):
        return found[-1 - back]
    of = f" of {experiment}" if experiment else ""
    many = f"only {len(found)} run{'s' if len(found) > 1 else ''}" if found else "no run"
    raise NotFoundError(f"there is no run {text!r}: {folder!r} holds {many}{of}.")


def _only(directories: Sequence[str], text: str, folder: str, does: str, advice: str) -> Run:
    if len(directories) == 1:
        return Run(directories[0])
    listed = _listed([os.path.relpath(path, folder) for path in directories])
    raise NotFoundError(f"{text!r} {does} {len(directories)} runs: {listed}. {advice}.")


def _nothing_of_that_name(text: str, folder: str, directories: Sequence[str]) -> str:
    ids = [os.path.basename(directory) for directory in directories]
    if not ids:
        return f"there is no run {text!r}: {folder!r} holds none."
    hint = did_you_mean(text, [*ids, *(run_id.rpartition("_")[2] for run_id in ids), "last"])
    return f"there is no run {text!r} in {folder!r}.{hint or f' There are {_listed(ids)}.'}"


def _listed(names: Sequence[str]) -> str:
    """List names, the newest first."""
    newest = sorted(names, key=os.path.basename, reverse=True)
    more = f" and {len(newest) - LISTED} more" if len(newest) > LISTED else ""
    return ", ".join(newest[:LISTED]) + more
