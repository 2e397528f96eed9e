"""Builders of the tests about the store: runs that recorded something, or that say that they still run."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pystematic import rundir
from tests.builders import make_run


def moment(second: int) -> datetime.datetime:
    """Return a time at which a run may have been started."""
    return datetime.datetime(2026, 1, 2, 3, 4, 0, tzinfo=datetime.UTC) + datetime.timedelta(seconds=second)


def record(
    run_dir: rundir.RunDir, values: Mapping[str, Sequence[float]], *, rank: int = 0, with_summary: bool = True
) -> None:
    """Add a series of each tag to a run, with steps from 0, as one of its processes would have."""
    formatter = rundir.ScalarFormatter()
    with open(run_dir.metrics_file(rank), "ab") as file:
        for tag, numbers in values.items():
            count = len(numbers)
            times = [1.7e9 + step + rank / 10 for step in range(count)]
            file.write(formatter.format(([tag] * count, list(range(count)), times, list(numbers))))
    if with_summary:
        rundir.write_document(run_dir.summary_file, rundir.summarize(run_dir))


def make_recorded(
    output_dir: Path, values: Mapping[str, Sequence[float]], second: int = 0, **fields: Any
) -> rundir.RunDir:
    """Make an ended run that recorded ``values``."""
    run_dir = make_run(output_dir, started_at=moment(second), **fields)
    record(run_dir, values)
    return run_dir
