"""What is shown while a sweep runs: lines, or on a terminal a table that is drawn again and again. All on stderr."""

from __future__ import annotations

import math
import sys
import time

from pystematic._words import format_duration
from pystematic.rundir import ENDS_IN_NAN, RunDir, read_document
from pystematic.sweep import Listener
from pystematic.terminal import format_cell, format_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TextIO

    from pystematic.sweep import Attempt, Coordinator, Job, Session

_DRAW_PERIOD_S = 0.5


def make_display(session: Session) -> Listener:
    """Return the display for where standard error leads to."""
    stream = sys.stderr
    if stream is None:
        return Listener()
    return TableDisplay(session, stream) if stream.isatty() else LineDisplay(session, stream)


class LineDisplay(Listener):
    """One line for each start and end, and for each failure what its log ends with."""

    def __init__(self, session: Session, stream: TextIO) -> None:
        self._session = session
        self._stream = stream
        self._coordinator: Coordinator | None = None
        self._best: tuple[float, str] | None = None
        self._counts: dict[str, int] = {}
        # What is added differs from the points that are there, if in one value only.
        varying = None if session.options.add else set(session.space.varying)
        self._varying = [axis.name for axis in session.space.axes if varying is None or axis.name in varying]
        self._secret = {parameter.name for parameter in session.experiment.spec.parameters if parameter.secret}

    def begin(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._best = self._best_so_far(coordinator)
        waiting, served = len(coordinator.waiting), self._served(coordinator)
        todo = "1 run" if waiting == 1 else f"{waiting} runs"
        if coordinator.is_searching:
            todo = f"up to {self._session.count} points of the sampler"
        line = f"Sweep {coordinator.plan.name}: {todo} to do"
        if served:
            line += f", {served} are done"
        failed = self._failed(coordinator)
        if failed:
            line += f", {failed} have failed (pystematic sweep retry {coordinator.plan.name})"
        self._say(line + ".")

    def started(self, job: Job) -> None:
        self._say(f"started    {self.describe(job)}{' (resumed)' if job.resume else ''}")

    def ended(self, job: Job, attempt: Attempt) -> None:
        status = attempt.status or "lost"
        self._counts[status] = self._counts.get(status, 0) + 1
        took = format_duration(time.monotonic() - job.started_at)
        number = "" if attempt.objective is None else f"  {self._objective_name()} {format_cell(attempt.objective)}"
        where = "" if job.run_dir is None else f"  {RunDir(job.run_dir).id}"
        self._say(f"{status:<10} {self.describe(job)}{number}  {took}{where}")
        if status == "failed":
            line = _one_line(attempt.log)
            kind = str(attempt.error)
            self._say(f"           {line if line.startswith(kind) else f'{kind}: {line}'}")
        objective = self._session.objective
        if objective is not None and attempt.objective is not None and status == "completed":
            before = None if self._best is None else self._best[0]
            if objective.is_better(attempt.objective, before):
                self._best = (attempt.objective, self.describe(job))
                if before is not None:
                    self._say(f"best       {self._best[1]}  {self._objective_name()} {format_cell(attempt.objective)}")

    def note(self, text: str) -> None:
        self._say(text)

    def describe(self, job: Job) -> str:
        """Return what tells a run from the others."""
        return self._described(job.run.values, job.run.seed) or f"point {job.run.point.number}"

    def _described(self, values: Mapping[str, Any], seed: int | None) -> str:
        parts = [
            f"{name}={'<masked>' if name in self._secret else format_cell(values.get(name))}" for name in self._varying
        ]
        if self._session.seed_count > 1:
            parts.append(f"seed={seed}")
        return " ".join(parts)

    def _objective_name(self) -> str:
        objective = self._session.objective
        return "" if objective is None else objective.tag

    def _best_so_far(self, coordinator: Coordinator) -> tuple[float, str] | None:
        """Return the best of what earlier commands have run: only what beats it is worth a line."""
        objective, state = self._session.objective, coordinator.plan.state
        best: tuple[float, str] | None = None
        for newest in state.newest_attempts().values():
            value, point = newest.objective, state.points[newest.point]
            is_judged_alike = objective is not None and newest.metric == objective.text
            if objective is None or value is None or not is_judged_alike or newest.status != "completed":
                continue
            if objective.is_better(value, None if best is None else best[0]):
                best = (value, self._described(point.values, newest.seed) or f"point {point.number}")
        return best

    def _served(self, coordinator: Coordinator) -> int:
        newest = coordinator.plan.state.newest_attempts().values()
        return sum(attempt.status in ("completed", "pruned") for attempt in newest)

    def _failed(self, coordinator: Coordinator) -> int:
        newest = coordinator.plan.state.newest_attempts()
        waiting = {job.slot for job in coordinator.waiting}
        return sum(attempt.status == "failed" and slot not in waiting for slot, attempt in newest.items())

    def _say(self, text: str) -> None:
        try:
            print(text, file=self._stream, flush=True)
        except (OSError, ValueError):  # nobody looks on any more: no reason to end the sweep
            return


class TableDisplay(LineDisplay):
    """Lines for what is over, and below them a table of what runs, drawn again and again."""

    def __init__(self, session: Session, stream: TextIO) -> None:
        super().__init__(session, stream)
        self._drawn = 0
        self._drawn_at = 0.0

    def started(self, job: Job) -> None:
        self._draw()

    def tick(self) -> None:
        if time.monotonic() - self._drawn_at >= _DRAW_PERIOD_S:
            self._draw()

    def finish(self) -> None:
        self._erase()

    def _say(self, text: str) -> None:
        self._erase()
        super()._say(text)
        self._draw()

    def _erase(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}F\x1b[J")
            self._drawn = 0

    def _draw(self) -> None:
        coordinator = self._coordinator
        self._drawn_at = time.monotonic()
        if coordinator is None or not coordinator.running:
            self._erase()
            return
        rows = [self._row(job) for job in coordinator.running.values()]
        width = self._width()
        columns = list(dict.fromkeys(name for row in rows for name in row))
        lines = format_table(rows, columns, width=width).splitlines()
        lines.append(self._summary(coordinator)[:width])
        self._erase()
        self._write("\n".join(lines) + "\n")
        self._drawn = len(lines)

    def _row(self, job: Job) -> dict[str, object]:
        row: dict[str, object] = {"run": "" if job.run_dir is None else RunDir(job.run_dir).id.rpartition("_")[2]}
        for name in self._varying:
            row[name] = "<masked>" if name in self._secret else job.run.values.get(name)
        if self._session.seed_count > 1:
            row["seed"] = job.run.seed
        objective = self._session.objective
        if objective is not None:
            row[objective.tag] = None if job.run_dir is None else _last(job.run_dir, objective.tag)
        row["time"] = format_duration(time.monotonic() - job.started_at)
        return row

    def _summary(self, coordinator: Coordinator) -> str:
        counts = [f"{len(coordinator.running)} running", f"{len(coordinator.waiting)} waiting"]
        counts += [f"{count} {status}" for status, count in self._counts.items()]
        left_s = coordinator.time_left_s()
        if left_s is not None:
            counts.append(f"about {format_duration(left_s)} left")
        best = "" if self._best is None else f"; best {format_cell(self._best[0])} ({self._best[1]})"
        return ", ".join(counts) + best

    def _width(self) -> int:
        import os

        try:
            # Some terminals say that they have no columns.
            return max(40, os.get_terminal_size(self._stream.fileno()).columns or 80)
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return


def _last(run_dir: str, tag: str) -> Any:
    """Return the last number of a metric, NaN too, as the run's own summary has it; it is at most some seconds old."""
    summary = read_document(RunDir(run_dir).summary_file) or {}
    metrics = summary.get("metrics")
    numbers = metrics.get(tag) if isinstance(metrics, dict) else None
    if not isinstance(numbers, dict):
        return None
    return math.nan if numbers.get(ENDS_IN_NAN) else numbers.get("last")


def _one_line(text: str) -> str:
    line = format_cell(text.strip().rpartition("\n")[2])
    return line if len(line) <= 300 else line[:299] + "…"
