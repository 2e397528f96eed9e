"""``pystematic plot``: series of runs over each other, in the terminal or as a picture."""

from __future__ import annotations

import sys

from pystematic._words import did_you_mean
from pystematic.cli._listing import choose_runs
from pystematic.cli._output import print_records, print_text
from pystematic.cli._records import labels_of, runs_in, runs_named
from pystematic.errors import NotFoundError
from pystematic.store import Runs, series_table
from pystematic.terminal import Line, detect_chart_style, render_chart, save_figure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.resolve import Parameters
    from pystematic.store import Run

# Rows of a chart; more tags make them lower, so that two are seen at once.
HEIGHT, LOWER_HEIGHT = 16, 10
# Without a choice by the person the newest runs are drawn: more could not be told apart.
MOST_UNASKED = 10


def plot_series(options: Parameters, words: list[str]) -> int:
    """``plot``: one chart a tag, with all runs in each."""
    found = _chosen_runs(options)
    recorded = {tag for run in found for tag in run.summary}
    for tag in words:
        if tag not in recorded:
            hint = did_you_mean(tag, sorted(recorded))
            hint = hint or (
                f" There are {', '.join(sorted(recorded))}." if recorded else " None has recorded anything."
            )
            raise NotFoundError(f"no run has recorded {tag!r}.{hint}")
    if options["output"] != "text":
        columns = series_table(Runs(found), words)
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        print_records(options["output"], rows, rows, list(columns))
        return 0
    labels = labels_of(found)
    charts = {
        tag: [_line(run, label, tag, options["x"]) for run, label in zip(found, labels, strict=True)] for tag in words
    }
    looks: dict[str, Any] = {
        "log_x": options["log_x"],
        "log_y": options["log_y"],
        "smoothing": options["smoothing"],
        "x_label": "seconds since the start" if options["x"] == "time" else "step",
    }
    if options["file"] is not None:
        save_figure(options["file"], charts, **looks)
        print(f"Wrote {options['file']}.", file=sys.stderr)
        return 0
    style = detect_chart_style()
    height = HEIGHT if len(charts) == 1 else LOWER_HEIGHT
    drawn = [
        render_chart(
            lines, title=tag, width=style.width, height=height, color=style.color, unicode=style.unicode, **looks
        )
        for tag, lines in charts.items()
    ]
    print_text("\n\n".join(drawn))
    return 0


def _chosen_runs(options: Parameters) -> list[Run]:
    if options["runs"]:
        return runs_named(options, options["runs"])
    chosen, _ = choose_runs(options, runs_in(options))
    if not len(chosen):
        raise NotFoundError(
            f"no run in {options['output_dir']!r} fits."
            if options["where"] is not None
            else f"there are no runs in {options['output_dir']!r}."
        )
    is_asked = any(options[name] is not None for name in ("where", "experiment", "sweep"))
    if not is_asked and len(chosen) > MOST_UNASKED:
        print(f"The newest {MOST_UNASKED} of {len(chosen)} runs: others with --runs or --where.", file=sys.stderr)
        chosen = chosen[-MOST_UNASKED:]
    return list(chosen)


def _line(run: Run, label: str, tag: str, x: str) -> Line:
    series = run.metrics(tag)
    if x == "step":
        return Line(label, series.step, series.value)
    started = run.started_at
    start = started.timestamp() if started is not None else min(series.time, default=0.0)
    return Line(label, [float(time) - start for time in series.time], series.value)
