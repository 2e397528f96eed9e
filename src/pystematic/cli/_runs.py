"""``pystematic show`` and ``diff``: all of one run, and what runs do not have in common."""

from __future__ import annotations

import os

from pystematic._words import format_duration, format_size
from pystematic.cli._output import print_records, print_text
from pystematic.cli._records import facts_line, labels_of, local_time, record_of, shown_path, table_width
from pystematic.rundir import ENDS_IN_NAN
from pystematic.store import Run, find_run
from pystematic.store import diff_runs as compare_runs
from pystematic.terminal import format_cell, format_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pystematic.resolve import Parameters


def show_run(options: Parameters, words: list[str]) -> int:
    """``show``: everything of one run, in sections."""
    run = find_run(words[0], str(options["output_dir"]))
    parameters: list[dict[str, object]] = [
        {"name": name, "value": value, "source": run.sources.get(name)} for name, value in run.params.items()
    ]
    columns = ["name", "value", "source"]
    if options["output"] != "text":
        record = {**record_of(run), "record": run.document, "environment": run.environment}
        print_records(options["output"], record, parameters, columns)
        return 0
    lines = [f"{run.experiment} {run.id}: {_status_text(run)}"]
    lines += [facts_line(name, value) for name, value in _facts_of(run).items() if value]
    lines += _section("Parameters", _table_lines(parameters, columns))
    numbers = [{"tag": tag, **summary} for tag, summary in run.summary.items()]
    columns = ["tag", "last", "min", "max", "mean", "count", "min_step", "max_step"]
    if any(ENDS_IN_NAN in one for one in numbers):
        columns.append(ENDS_IN_NAN)
    lines += _section("Metrics", _table_lines(numbers, columns))
    error = run.document.get("error")
    if isinstance(error, dict):
        text = str(error.get("traceback") or error.get("message") or "")
        lines += _section("Error", [format_cell(line) for line in text.rstrip().splitlines()])
    lines += _section("Files", _table_lines(_files_of(run), ["file", "size"]))
    print_text("\n".join(lines))
    return 0


def diff_runs(options: Parameters, words: list[str]) -> int:
    """``diff``: only what differs, one column a run."""
    found = [find_run(word, str(options["output_dir"])) for word in words]
    difference = compare_runs(found)
    names = labels_of(found)
    rows: list[dict[str, object]] = [
        {"what": section, "name": name, **dict(zip(names, cells, strict=True))}
        for section, values in difference.items()
        for name, cells in values.items()
    ]
    columns = ["what", "name", *names]
    if options["output"] != "text":
        record = {"runs": [run.id for run in found], **difference}
        print_records(options["output"], record, rows, columns)
    elif rows:
        print_text(format_table(rows, columns, width=table_width()))
    else:
        print_text("Nothing differs that is recorded.")
    return 0


def _facts_of(run: Run) -> dict[str, object]:
    host = run.document.get("host")
    argv = run.document.get("argv")
    return {
        "folder": shown_path(run),
        "started": local_time(None if run.started_at is None else run.started_at.timestamp()),
        "time": "" if run.duration is None else format_duration(run.duration),
        "host": host if isinstance(host, str) else "",
        "command": " ".join(map(str, argv)) if isinstance(argv, list) else "",
        "commit": _commit_text(run),
        "tags": ", ".join(run.tags),
        "note": run.note,
    }


def _status_text(run: Run) -> str:
    error = run.document.get("error")
    if isinstance(error, dict):
        first_line = str(error.get("message") or "").strip().partition("\n")[0]
        return f"{run.status} ({error.get('type')}{': ' if first_line else ''}{format_cell(first_line)})"
    code = run.document.get("exit_code")
    return f"{run.status}, exit code {code}" if code not in (None, 0) else str(run.status)


def _commit_text(run: Run) -> str:
    git = run.environment.get("git")
    commit = git.get("commit") if isinstance(git, dict) else None
    if not isinstance(git, dict) or not commit:
        return ""
    branch = f" ({git['branch']})" if git.get("branch") else ""
    return f"{str(commit)[:12]}{branch}{' with uncommitted changes, see source.patch' if run.patch else ''}"


def _files_of(run: Run) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for folder, _, names in sorted(os.walk(run.path)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            try:
                size = format_size(os.stat(path).st_size)
            except OSError:  # gone by now, or a link that leads nowhere
                continue
            rows.append({"file": os.path.relpath(path, run.path), "size": size})
    return rows


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {line}".rstrip() for line in lines)] if lines else []


def _table_lines(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> list[str]:
    if not rows:
        return []
    width = table_width()
    return format_table(rows, columns, width=None if width is None else width - 2).splitlines()
