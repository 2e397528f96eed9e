"""``pystematic ls``, ``show``, ``diff`` and ``best``: from the store's objects to rows, and to the screen."""

from __future__ import annotations

import os
import sys

from pystematic._words import format_duration, format_size
from pystematic.errors import NotFoundError, UsageError
from pystematic.store import Run, find_run, parse_metric, runs, varying_parameters
from pystematic.store import diff_runs as compare_runs
from pystematic.terminal import format_cell, format_csv, format_table, output_width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pystematic.resolve import Parameters


def list_runs(options: Parameters, words: list[str]) -> int:
    """``ls``: one row a run, oldest first, with what varies beside the last value of each metric."""
    found = runs(_output_dir(options))
    rows, columns = run_rows(list(found))
    if options["output"] == "json":
        _print_json([_json_of(run) for run in found])
    elif options["output"] == "csv":
        print(format_csv(rows, columns))
    elif not rows:
        print(f"There are no runs in {options['output_dir']}.")
    else:
        print(format_table(rows, columns, width=output_width()))
    if found.damaged:
        print(f"{found.damaged} folders hold a damaged run.json and are left out.", file=sys.stderr)
    return 0


def run_rows(found: Sequence[Run]) -> tuple[list[dict[str, object]], list[str]]:
    """Return the rows of a table of runs, and its columns."""
    varying = varying_parameters(found)
    tags = list(dict.fromkeys(tag for run in found for tag in run.summary))
    bests = {str(run.document["metric"]) for run in found if run.document.get("metric")}
    columns = ["run", "experiment", "status", "started", "time", *varying]
    metric_columns = [(tag, "last", tag) for tag in tags]
    for metric in sorted(bests):
        tag, direction = parse_metric(metric)
        metric_columns.append((tag, direction, f"{tag}:{direction}"))
    columns += [column for _, _, column in metric_columns]
    rows: list[dict[str, object]] = []
    for run in found:
        row: dict[str, object] = {
            "run": run.id,
            "experiment": run.experiment,
            "status": run.status,
            "started": "" if run.started_at is None else f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
            "time": "" if run.duration is None else format_duration(run.duration),
        }
        row.update({name: run.params.get(name) for name in varying})
        for tag, field, column in metric_columns:
            row[column] = run.summary.get(tag, {}).get(field)
        if run.tags:
            row["tags"] = ",".join(run.tags)
        rows.append(row)
    if any("tags" in row for row in rows):
        columns.append("tags")
    if len({run.experiment for run in found}) == 1:
        columns.remove("experiment")
    return rows, columns


def show_run(options: Parameters, words: list[str]) -> int:
    """``show``: everything of one run, in sections."""
    run = find_run(words[0], _output_dir(options))
    document = run.document
    if options["output"] == "json":
        _print_json({**_json_of(run), "record": document, "environment": run.environment})
        return 0
    if options["output"] == "csv":
        rows = [{"name": name, "value": value, "source": run.sources.get(name)} for name, value in run.params.items()]
        print(format_csv(rows, ["name", "value", "source"]))
        return 0
    print(f"{run.experiment} {run.id}: {_status_text(run)}")
    git = (run.environment or {}).get("git") or {}
    facts: dict[str, object] = {
        "folder": os.path.relpath(run.path),
        "started": "" if run.started_at is None else f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
        "time": "" if run.duration is None else format_duration(run.duration),
        "host": document.get("host"),
        "command": " ".join(str(word) for word in document.get("argv") or ()),
        "commit": _commit_text(git, run),
        "tags": ", ".join(run.tags),
        "note": run.note,
    }
    for name, value in facts.items():
        if value:
            print(f"  {name:<9} {value}")
    _section("Parameters")
    _print_rows(
        [{"name": name, "value": value, "source": run.sources.get(name)} for name, value in run.params.items()],
        ["name", "value", "source"],
    )
    if run.summary:
        _section("Metrics")
        fields = ["last", "min", "max", "mean", "count", "max_step"]
        _print_rows([{"tag": tag, **numbers} for tag, numbers in run.summary.items()], ["tag", *fields])
    error = document.get("error")
    if isinstance(error, dict):
        _section("Error")
        print(
            "\n".join(f"  {line}" for line in str(error.get("traceback") or error.get("message")).rstrip().splitlines())
        )
    files = _files_of(run)
    if files:
        _section("Files")
        _print_rows(files, ["file", "size"])
    return 0


def diff_runs(options: Parameters, words: list[str]) -> int:
    """``diff``: only what differs, one column a run."""
    found = [find_run(word, _output_dir(options)) for word in words]
    difference = compare_runs(found)
    if options["output"] == "json":
        _print_json(difference)
        return 0
    names = _short_ids(found)
    rows: list[dict[str, object]] = []
    for section, values in difference.items():
        for name, cells in values.items():
            rows.append({"what": section, "name": name, **dict(zip(names, cells, strict=True))})
    if options["output"] == "csv":
        print(format_csv(rows, ["what", "name", *names]))
    elif not rows:
        print("Nothing differs that is recorded.")
    else:
        print(format_table(rows, ["what", "name", *names], width=output_width()))
    return 0


def best_run(options: Parameters, words: list[str]) -> int:
    """``best``: the run whose best value of a metric is best."""
    found = [run for run in runs(_output_dir(options)) if options["experiment"] in (None, run.experiment)]
    if not found:
        raise NotFoundError(f"there are no runs in {options['output_dir']!r}.")
    tag, direction = _metric_of(words[0] if words else None, found)
    rated = [run for run in found if isinstance(run.summary.get(tag, {}).get(direction), int | float)]
    if not rated:
        tags = sorted({tag for run in found for tag in run.summary})
        from pystematic._words import did_you_mean

        hint = did_you_mean(tag, tags) or (f" There are {', '.join(tags)}." if tags else " None has recorded anything.")
        raise NotFoundError(f"no run has recorded {tag!r}.{hint}")
    rated.sort(key=lambda run: run.summary[tag][direction], reverse=direction == "max")
    best = rated[0]
    column = f"{tag}:{direction}"
    value = best.summary[tag][direction]
    if options["output"] == "json":
        _print_json({**_json_of(best), "metric": column, "value": value})
        return 0
    varying = varying_parameters(rated)
    rows = [
        {"run": run.id, column: run.summary[tag][direction], **{n: run.params.get(n) for n in varying}} for run in rated
    ]
    columns = ["run", column, *varying]
    if options["output"] == "csv":
        print(format_csv(rows[:1], columns))
        return 0
    print(f"Best of {len(rated)} by {column}: {best.experiment} {best.id} with {format_cell(value)}")
    print(f"  folder    {os.path.relpath(best.path)}")
    for name in varying:
        print(f"  {name:<9} {format_cell(best.params.get(name))}")
    if len(rated) > 1:
        print()
        print(format_table(rows[:10], columns, width=output_width()))
    return 0


def _metric_of(text: str | None, found: Sequence[Run]) -> tuple[str, str]:
    if text is not None:
        try:
            return parse_metric(text)
        except ValueError:
            declared = {str(run.document.get("metric")) for run in found if run.document.get("metric")}
            for metric in declared:
                if metric.rpartition(":")[0] == text:
                    return parse_metric(metric)
            raise UsageError(f"{text!r} has no direction. Write {text}:max or {text}:min.") from None
    declared = {str(run.document["metric"]) for run in found if run.document.get("metric")}
    if len(declared) == 1:
        return parse_metric(declared.pop())
    if not declared:
        raise UsageError("no experiment here declares its metric. Say by what: pystematic best TAG:max or TAG:min.")
    listed = ", ".join(sorted(declared))
    raise UsageError(f"the experiments have different metrics ({listed}). Say which one, or use --experiment NAME.")


def _output_dir(options: Parameters) -> str:
    """Return the folder to look in.

    Raises:
        NotFoundError: there is no such folder, and it was named explicitly.
    """
    path = str(options["output_dir"])
    if not os.path.isdir(path):
        from_default = options.source_of("output_dir") == "default"
        hint = " Runs are recorded in ./output unless --output-dir says otherwise." if from_default else ""
        raise NotFoundError(f"there is no folder {path!r} with runs ({options.source_of('output_dir')}).{hint}")
    return path


def _json_of(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "experiment": run.experiment,
        "status": run.status,
        "path": str(run.path),
        "started_at": None if run.started_at is None else run.started_at.isoformat(),
        "duration_s": run.duration,
        "params": run.params,
        "sources": run.sources,
        "metrics": run.summary,
        "tags": list(run.tags),
        "note": run.note,
        "metric": run.document.get("metric"),
    }


def _print_json(value: object) -> None:
    import json

    from pystematic.rundir import encode

    print(json.dumps(encode_tree(value, encode), indent=2, ensure_ascii=True))


def encode_tree(value: object, encode: Any) -> object:
    """Make a value strict JSON: odd values carry the marks of the run directory, infinities too."""
    if isinstance(value, dict):
        return {str(key): encode_tree(item, encode) for key, item in value.items()}
    if isinstance(value, list):
        return [encode_tree(item, encode) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"special": str(value)}
    return value if isinstance(value, str | int | float | None) else encode(value)


def _status_text(run: Run) -> str:
    error = run.document.get("error")
    if isinstance(error, dict):
        return f"{run.status} ({error.get('type')}: {str(error.get('message')).splitlines()[:1] or ['']})".replace(
            "['", ""
        ).replace("'])", ")")
    code = run.document.get("exit_code")
    return f"{run.status}, exit code {code}" if code not in (None, 0) else str(run.status)


def _commit_text(git: Mapping[str, Any], run: Run) -> str:
    commit = git.get("commit")
    if not commit:
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
            except OSError:
                continue
            rows.append({"file": os.path.relpath(path, run.path), "size": size})
    return rows


def _section(title: str) -> None:
    print(f"\n{title}")


def _print_rows(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> None:
    width = output_width()
    table = format_table(rows, columns, width=None if width is None else width - 2)
    print("\n".join(f"  {line}" for line in table.splitlines()))


def _short_ids(found: Sequence[Run]) -> list[str]:
    ids = [run.id for run in found]
    tails = [run_id.rpartition("_")[2] for run_id in ids]
    return tails if len(set(tails)) == len(tails) else ids
