"""The numbers of a run that is still running: its last summary, and what it has recorded since."""

from __future__ import annotations

from pystematic.rundir import ENDS_IN_NAN, RunDir, SeriesFile, Tally, parse_metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from typing import Any

    Summary = dict[str, dict[str, Any]]


def live_summary(
    folder: str | os.PathLike[str], document: Mapping[str, Any], sizes: Mapping[str, int]
) -> Summary | None:
    """Return the summary of a live run without reading again what its ``summary.json`` counts in.

    The file of series is read on from where it was counted, at most ten seconds ago. Where several processes record,
    whose points belong together, it is the summary as it was then. The mean weighs a NaN of before like a number, until
    the run writes its next summary.

    Args:
        folder: of the run.
        document: of ``summary.json``.
        sizes: of the files of series now, by name.

    Returns:
        What `Run.summary` does, or None where the document does not allow that: it must be computed from the series.
    """
    counted = document.get("files")
    if not isinstance(counted, dict) or not counted:
        return None
    if not all(type(size) is int and 0 <= size <= sizes.get(name, -1) for name, size in counted.items()):
        return None  # a file has shrunk or is gone
    try:
        known = parse_metrics(document.get("metrics"))
    except ValueError:
        return None
    main = RunDir(folder).metrics_file()
    if sizes.keys() != {main.name}:
        return known
    tally = Tally()
    try:
        for columns in SeriesFile(main, counted[main.name]).read(to_end=True):
            tally.add(columns)
    except (OSError, KeyError):
        return None
    for tag, added in parse_metrics(tally.to_plain()).items():
        known[tag] = _joined(known[tag], added) if tag in known else added
    return known


def _joined(before: dict[str, Any], added: dict[str, Any]) -> dict[str, Any]:
    count = before["count"] + added["count"]
    if before["last"] is None:  # nothing but NaN
        return {**added, "count": count}
    joined = {**before, "count": count}
    joined.pop(ENDS_IN_NAN, None)
    if ENDS_IN_NAN in added:
        joined[ENDS_IN_NAN] = True
    if added["last"] is None:
        return joined
    joined["last"] = added["last"]
    if added["min"] < before["min"]:
        joined.update(min=added["min"], min_step=added["min_step"])
    if added["max"] > before["max"]:
        joined.update(max=added["max"], max_step=added["max_step"])
    share = added["count"] / count
    # Not the sums: they may be infinite where the mean is not.
    joined["mean"] = before["mean"] * (1 - share) + added["mean"] * share
    return joined
