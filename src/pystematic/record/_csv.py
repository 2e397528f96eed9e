"""CSV: one file of all scalars, a line for each. Why not a column for each tag: docs/decisions."""

from __future__ import annotations

import csv
import io
import os

from pystematic import rundir

from ._backend import Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._backend import RunFacts, ScalarBatch

HEADER = ("tag", "step", "time", "value")
# Text that is kept while the disk refuses it.
PENDING_LIMIT_BYTES = 32 << 20


class CsvBackend(Backend):
    """Appends to ``scalars.csv`` of the run directory."""

    name = "csv"

    def __init__(self) -> None:
        self.dropped = 0
        self._pending = bytearray()

    def start(self, run: RunFacts) -> None:
        self._writer = rundir.SeriesWriter(rundir.RunDir(run.folder).csv_file)
        try:
            is_new = os.stat(self._writer.path).st_size == 0
        except OSError:
            is_new = True
        if is_new:
            self._pending += _format([HEADER])

    def write(self, batch: ScalarBatch) -> None:
        if len(self._pending) > PENDING_LIMIT_BYTES:
            self.dropped += len(batch.tags)
            return
        rows = [
            (tag if rundir.is_unicode(tag) else rundir.shown_tag(tag), step, f"{time:.3f}", _spell(value))
            for tag, step, time, value in zip(batch.tags, batch.steps, batch.times, batch.values, strict=True)
        ]
        self._pending += _format(rows)

    def flush(self) -> None:
        if self._pending:
            self._writer.write(self._pending)

    def close(self) -> None:
        self.dropped += self._pending.count(b"\n")
        self._writer.close()


def _format(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _spell(value: int | float) -> str:
    return rundir.spell_int(value) if isinstance(value, int) else repr(value)


def make_backend() -> Backend:
    return CsvBackend()
