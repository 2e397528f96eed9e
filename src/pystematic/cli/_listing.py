"""``pystematic ls`` and ``best``: which runs there are, how they rank, and how they do together."""

from __future__ import annotations

import math
import os
import sys

from pystematic._words import did_you_mean, format_duration
from pystematic.cli._output import print_records, print_text
from pystematic.cli._records import facts_line, local_time, record_of, runs_in, shown_path, table_width
from pystematic.errors import NotFoundError, UsageError
from pystematic.rundir import SYSTEM_PREFIX, format_time
from pystematic.store import (
    MISSING,
    Runs,
    check_names,
    parse_field,
    parse_metric,
    parse_query,
    parse_sort,
    quoted,
    varying_columns,
)
from pystematic.terminal import format_cell, format_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from pystematic.resolve import Parameters
    from pystematic.store import Group, Spread
    from pystematic.sweep import Objective

    Key = tuple[str, ...]
    Rows = list[dict[str, object]]

LISTED_BEST = 10
# So many runs are read again rather than the columns of all others with them.
FEW = 500
WATCH_S = 2.0
# Words of the tables for fields of the query language.
WORDS = {"run": "id", "started": "started_at", "ended": "ended_at", "time": "duration"}
# What a narrow terminal does without: the name of a run begins with the time of its start.
DISPENSABLE = ("started", "time")
FACTS = ("run", "experiment", "status", "started", "time")


# -- ls --------------------------------------------------------------------------------------------------------------


def list_runs(options: Parameters, words: list[str]) -> int:
    """``ls``: one row a run, oldest first, with what varies beside the last value of each metric."""
    if options["watch"]:
        return _watch(options)
    _list_once(options)
    return 0


def _list_once(options: Parameters) -> None:
    everything = runs_in(options)
    chosen, points = choose_runs(options, everything)
    if options["group_by"] is not None:
        _list_groups(options, chosen)
    else:
        listed = _limited(options, chosen)
        if options["columns"] is not None:
            rows, columns = chosen_columns(listed, options["columns"], as_text=options["output"] == "text")
            print_rows(options, rows, columns, rows)
        elif options["output"] == "json":
            print_records("json", [record_of(run) for run in listed], [], [])
        else:
            rows, columns = run_rows(listed)
            print_rows(options, rows, columns, rows)
    _say_what_is_left_out(options, everything, points)


def print_rows(options: Parameters, rows: Rows, columns: list[str], record: object) -> None:
    """Print a table in the form that is wanted."""
    if options["output"] != "text":
        print_records(options["output"], record, rows, columns)
    elif rows:
        print_text(format_table(rows, columns, width=table_width(), dispensable=DISPENSABLE))
    elif options["where"] is not None or options["experiment"] is not None or options["sweep"] is not None:
        print_text(f"No run in {options['output_dir']} fits.")
    else:
        print_text(f"There are no runs in {options['output_dir']}.")


def choose_runs(options: Parameters, everything: Runs) -> tuple[Runs, int]:
    """Return the runs that the options of a command ask for, and how many points of sweeps are left out for being that.

    Raises:
        UsageError: a filter or sort key is not understood, or there is no such sweep.
        NotFoundError: there is no run of that experiment.
    """
    chosen = everything
    left_out = 0
    if options["experiment"] is not None:
        chosen = of_experiment(options, chosen)
    if options["sweep"] is not None:
        chosen = _of_sweep(options, chosen)
    elif "all" in options and not options["all"]:
        kept = chosen.filter("sweep is none")
        left_out = len(chosen) - len(kept)
        chosen = kept
    for name, parse in (("where", parse_query), ("sort", parse_sort)):
        if name in options and options[name] is not None:
            text = options[name]
            chosen = chosen.filter(text) if name == "where" else chosen.sort(text)
            hint = check_names(parse(text), *everything.known_names())
            if hint:
                print(hint, file=sys.stderr)
    return chosen, left_out


def of_experiment(options: Parameters, chosen: Runs) -> Runs:
    """Return the runs of the experiment that the options name.

    Raises:
        NotFoundError: there are none.
    """
    name = options["experiment"]
    found = chosen.filter(f"experiment == {quoted(name)}")
    if not len(found):
        names = sorted(set(chosen.values("experiment")))
        hint = did_you_mean(name, names) or (f" There are runs of {', '.join(names)}." if names else "")
        raise NotFoundError(f"there is no run of experiment {name!r} in {options['output_dir']!r}.{hint}")
    return found


def _of_sweep(options: Parameters, chosen: Runs) -> Runs:
    name = options["sweep"]
    found = chosen.filter(f"sweep == {quoted(name)}")
    if not len(found):
        names = sorted({sweep for sweep in chosen.values("sweep") if sweep})
        hint = did_you_mean(name, names) or (f" There are {', '.join(names)}." if names else " There is none.")
        raise NotFoundError(f"there is no run of a sweep {name!r} in {options['output_dir']!r}.{hint}")
    return found


def _limited(options: Parameters, chosen: Runs) -> Runs:
    """Return the first ones by the order that was asked for, else the newest."""
    limit = options["limit"]
    if limit is None:
        return chosen
    if limit < 1:
        raise UsageError(f"--limit {limit} shows nothing. Give 1 or more.")
    return chosen[:limit] if options["sort"] is not None else chosen[-limit:]


def say_damaged(everything: Runs) -> None:
    """Say on stderr that runs are left out as their record cannot be read."""
    if everything.damaged:
        folders = "1 folder holds" if everything.damaged == 1 else f"{everything.damaged} folders hold"
        print(f"{folders} a damaged run.json, left out here.", file=sys.stderr)


def _say_what_is_left_out(options: Parameters, everything: Runs, points: int) -> None:
    say_damaged(everything)
    if points and options["output"] == "text":
        runs = "1 run of a sweep is" if points == 1 else f"{points} runs of sweeps are"
        print(f"{runs} left out: --all, or --sweep NAME.", file=sys.stderr)


def run_rows(found: Runs) -> tuple[Rows, list[str]]:
    """Return the rows of a table of runs, and its columns."""
    found = Runs(found) if len(found) <= FEW else found
    params, _ = found.known_names()
    metric_columns = _metric_columns(found)
    keys: list[Key] = [("id",), ("experiment",), ("status",), ("started_at",), ("duration",), ("tags",)]
    keys += [("params", name) for name in params]
    keys += [("metrics", tag, statistic) for tag, statistic, _ in metric_columns]
    columns = found.columns(keys)
    varying = varying_columns({name: columns[("params", name)] for name in params})
    shown: dict[str, list[Any]] = {
        "run": columns[("id",)],
        "experiment": columns[("experiment",)],
        "status": columns[("status",)],
        "started": [local_time(time) for time in columns[("started_at",)]],
        "time": ["" if time is None else format_duration(time) for time in columns[("duration",)]],
    }
    # A parameter or a metric may have the name of another column; its own then says what it is.
    facts = {*FACTS, "tags"}
    taken = {*facts, *(name for _, _, name in metric_columns)}
    for name in varying:
        shown[f"params.{name}" if name in taken else name] = columns[("params", name)]
    for tag, statistic, name in metric_columns:
        values = columns[("metrics", tag, statistic)]
        if any(value is not MISSING for value in values):
            shown[f"metrics.{name}" if name in facts else name] = values
    if any(columns[("tags",)]):
        shown["tags"] = [",".join(tags) for tags in columns[("tags",)]]
    if len(set(shown["experiment"])) == 1:
        del shown["experiment"]
    return _rows(shown), list(shown)


def _metric_columns(found: Runs) -> list[tuple[str, str, str]]:
    """Return tag, statistic and name of the columns of a table: the last value of each tag, and declared metrics."""
    _, tags = found.known_names()
    columns = [(tag, "last", tag) for tag in tags if not tag.startswith(SYSTEM_PREFIX)]
    return columns + [(*parse_metric(metric), metric) for metric in found.declared_metrics() if is_metric(metric)]


def _rows(columns: dict[str, list[Any]]) -> Rows:
    names = list(columns)
    return [
        {name: None if value is MISSING else value for name, value in zip(names, values, strict=True)}
        for values in zip(*columns.values(), strict=True)
    ]


def is_metric(text: str) -> bool:
    """Tell whether a text that a record declares as its metric is one."""
    return text.endswith((":max", ":min")) and len(text) > len(":max")


# -- chosen columns --------------------------------------------------------------------------------------------------


def chosen_columns(found: Runs, text: str, *, as_text: bool) -> tuple[Rows, list[str]]:
    """Return the rows of a table whose columns are named in ``text``, with commas between them.

    Times are local ones for people (``as_text``), else of UTC; durations likewise 1h 2m, else seconds.

    Raises:
        UsageError: one is no field, parameter or metric.
    """
    found = Runs(found) if len(found) <= FEW else found
    names = _split(text)
    keys = {name: _key_of(name, found) for name in names}
    columns = found.columns(keys.values())
    return _rows({name: _readable(key[0], columns[key], as_text=as_text) for name, key in keys.items()}), names


def _readable(field: str, values: Sequence[Any], *, as_text: bool) -> list[Any]:
    """Return the values of a column, those of a time or a duration as they are to be read."""
    if field in ("started_at", "ended_at"):
        spell = local_time if as_text else format_time
    elif field == "duration" and as_text:
        spell = format_duration
    else:
        return list(values)
    return [None if value is None or value is MISSING else spell(value) for value in values]


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets or quotes.

    Raises:
        UsageError: there is nothing between two of them.
    """
    parts, depth, quote = [""], 0, ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "[]":
            depth += 1 if letter == "[" else -1
        elif letter == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += letter
    parts = [part.strip() for part in parts]
    if not all(parts):
        raise UsageError(f"a column is empty in {text!r}. Write names with one comma between them.")
    return parts


def _key_of(name: str, found: Runs) -> Key:
    """Return what a column of a table shows: a field, or only the name of a parameter or metric."""
    params, tags = found.known_names()
    if name in WORDS:
        return (WORDS[name],)
    if name in params and name not in ("tags", "note"):
        return ("params", name)
    if name in tags:
        return ("metrics", name, "last")
    if is_metric(name) and name[: -len(":max")] in tags:
        return ("metrics", *parse_metric(name))
    return parse_field(name)


# -- groups ----------------------------------------------------------------------------------------------------------


def _list_groups(options: Parameters, chosen: Runs) -> None:
    fields = {name: _field_text(name, chosen) for name in _split(options["group_by"])}
    groups = chosen.group_by(*fields.values())
    if options["sort"] is not None:
        groups = _sorted_groups(groups, options["sort"])
    limit = options["limit"]
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit} shows nothing. Give 1 or more.")
    groups = groups[:limit]
    metrics = _metric_columns(chosen)
    spreads = {name: [group.spread(_metric_text(tag, part)) for group in groups] for tag, part, name in metrics}
    spreads = {name: values for name, values in spreads.items() if any(value.n for value in values)}
    # The number of runs is "n", and a metric has no name of a key, so that none takes the place of another.
    keys = {name if name != "n" else field: field for name, field in fields.items()}
    spreads = {f"metrics.{name}" if name in {*keys, "n"} else name: values for name, values in spreads.items()}
    as_text = options["output"] == "text"
    columns_of_keys = {
        name: _readable(field, [group.key[field] for group in groups], as_text=as_text) for name, field in keys.items()
    }
    heads = [
        {name: values[i] for name, values in columns_of_keys.items()} | {"n": group.n} for i, group in enumerate(groups)
    ]
    if options["output"] == "json":
        record = [
            {**head, "metrics": {name: _spread_record(values[i]) for name, values in spreads.items()}}
            for i, head in enumerate(heads)
        ]
        print_records("json", record, [], [])
        return
    columns = [*keys, "n"]
    rows: Rows = [dict(head) for head in heads]
    for name, values in spreads.items():
        parts = [name] if options["output"] == "text" else [f"{name} mean", f"{name} std", f"{name} n"]
        columns += parts
        for row, spread in zip(rows, values, strict=True):
            cells = [_spread_text(spread)] if options["output"] == "text" else [spread.mean, spread.std, spread.n]
            row.update(zip(parts, cells, strict=True))
    print_rows(options, rows, columns, rows)


def _field_text(name: str, found: Runs) -> str:
    key = _key_of(name, found)
    if key[0] == "params":
        return f"params[{quoted(key[1])}]"
    return _metric_text(key[1], key[2]) if key[0] == "metrics" else WORDS.get(name, name)


def _metric_text(tag: str, statistic: str) -> str:
    return f"metrics[{quoted(tag)}].{statistic}"


def _sorted_groups(groups: Sequence[Group], text: str) -> list[Group]:
    """Order groups by the mean of a number, by anything else as the first run has it."""
    key = parse_sort(text)
    columns: dict[Key, list[Any]] = {field: [] for field in key.fields}
    for group in groups:
        for field, values in group.runs.columns(key.fields).items():
            numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
            columns[field].append(sum(numbers) / len(numbers) if numbers else values[0])
    return [groups[row] for row in key.order(columns, range(len(groups)))]


def _spread_record(spread: Spread) -> dict[str, object]:
    return {"mean": spread.mean, "std": spread.std, "n": spread.n}


def _spread_text(spread: Spread) -> str:
    """Write a mean with the digits that its deviation leaves certain: ``0.913 ± 0.021``."""
    mean, std = spread.mean, spread.std
    if mean is None:
        return ""
    if std is None:
        return format_cell(mean)
    if not 1e-6 < std < 1e6 or abs(mean) >= 1e9:  # 0, huge, tiny or no number
        return f"{format_cell(mean)} ± {std:.2g}"
    decimals = max(0, 1 - math.floor(math.log10(std)))
    return f"{mean:.{decimals}f} ± {std:.{decimals}f}"


# -- watching --------------------------------------------------------------------------------------------------------


def _watch(options: Parameters) -> int:
    """Draw the list anew every two seconds, until Ctrl-C."""
    import contextlib
    import io
    import time

    if not sys.stdout.isatty() or options["output"] != "text":
        raise UsageError("--watch draws on a terminal. Leave it out to print the list once.")
    try:
        while True:
            lines = io.StringIO()
            with contextlib.redirect_stdout(_Screen(lines, sys.stdout)), contextlib.redirect_stderr(lines):
                _list_once(options)
            rows = os.get_terminal_size(sys.stdout.fileno()).lines
            shown = lines.getvalue().rstrip("\n").split("\n")
            if len(shown) > rows - 1:
                shown = [*shown[:1], f"… {len(shown) - rows + 2} more", *shown[len(shown) - rows + 3 :]]
            # Over the old lines, each up to its end, so that nothing flickers.
            print("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in shown) + "\x1b[J", end="", flush=True)
            time.sleep(WATCH_S)
    except KeyboardInterrupt:
        return 0


class _Screen:
    """Takes what is printed, and says that it is the terminal."""

    def __init__(self, text: Any, terminal: Any) -> None:
        self.write = text.write
        self.flush = text.flush
        self.isatty = terminal.isatty
        self.fileno = terminal.fileno
        self.encoding = terminal.encoding


# -- best ------------------------------------------------------------------------------------------------------------


def best_run(options: Parameters, words: list[str]) -> int:
    """``best``: the run whose best value of a metric is best."""
    everything = runs_in(options)
    found, _ = choose_runs(options, everything)
    if not len(found):
        what = " that fits" if options["where"] is not None else ""
        raise NotFoundError(
            f"there is no run{what} in {options['output_dir']!r}."
            if what
            else f"there are no runs in {options['output_dir']!r}."
        )
    objective = None if words else _objective_of_sweep(options)
    if objective is None:
        tag, direction = _metric_of(words[0] if words else None, found)
        statistic, column = direction, f"{tag}:{direction}"
    else:  # a sweep says what it judges by
        tag, direction, column = objective.tag, objective.direction, objective.text
        statistic = direction if objective.takes_best else "last"
    field = _metric_text(tag, statistic)
    rated = found.filter(f"{field} is not none").sort(f"{'-' if direction == 'max' else ''}{field}")
    if objective is not None:  # the index does not know whether NaN came after the last number
        rated = Runs([run for run in rated if objective.value_of(run) is not None])
    if not len(rated):
        tags = sorted(found.recorded_tags())
        if tag in tags and objective is not None and not objective.takes_best:
            raise NotFoundError(f"the last {tag!r} is NaN or infinite in all runs, which is never best.")
        if tag in tags:
            raise NotFoundError(f"{tag!r} is NaN in all runs, and NaN is never best.")
        hint = did_you_mean(tag, tags) or (f" There are {', '.join(tags)}." if tags else " None has recorded anything.")
        raise NotFoundError(f"no run has recorded {tag!r}.{hint}")
    best = rated[0]
    shown = Runs(rated) if len(rated) <= FEW else rated
    params = shown.known_names()[0]
    columns = shown.columns([("id",), ("metrics", tag, statistic), *(("params", name) for name in params)])
    varying = varying_columns({name: columns[("params", name)] for name in params})
    value = columns[("metrics", tag, statistic)][0]
    table = {"run": columns[("id",)], column: columns[("metrics", tag, statistic)]}
    table.update((f"params.{name}" if name in table else name, columns[("params", name)]) for name in varying)
    rows = _rows({name: values[:LISTED_BEST] for name, values in table.items()})
    if options["output"] != "text":
        record = {**record_of(best), "metric": column, "value": value}
        print_records(options["output"], record, rows[:1], list(table))
        return 0
    lines = [f"Best of {len(rated)} by {column}: {best.experiment} {best.id} with {format_cell(value)}"]
    facts = {"folder": shown_path(best), **{name: best.params.get(name) for name in varying}}
    width = max(9, *map(len, facts))
    lines += [facts_line(name, value, width) for name, value in facts.items()]
    if len(rated) > 1:
        lines += ["", format_table(rows, list(table), width=table_width())]
    if len(rated) > LISTED_BEST:
        lines.append(f"and {len(rated) - LISTED_BEST} more")
    print_text("\n".join(lines))
    return 0


def _objective_of_sweep(options: Parameters) -> Objective | None:
    """Return what the sweep is judged by that the options name; None where there is none, or its plan is gone."""
    if options["sweep"] is None:
        return None
    from pystematic.rundir import SweepDir
    from pystematic.sweep import Plan, SweepResult  # only where a sweep is asked for

    plan = Plan(SweepDir(str(options["output_dir"]), str(options["sweep"]))).read()
    return SweepResult(plan).objective if plan.exists else None


def _metric_of(text: str | None, found: Runs) -> tuple[str, str]:
    declared = [metric for metric in found.declared_metrics() if is_metric(metric)]
    if text is not None:
        try:
            return parse_metric(text)
        except ValueError:
            for metric in declared:
                if metric.rpartition(":")[0] == text:
                    return parse_metric(metric)
            raise UsageError(f"{text!r} has no direction. Write {text}:max or {text}:min.") from None
    if len(declared) == 1:
        return parse_metric(declared[0])
    if not declared:
        raise UsageError("no experiment here declares its metric. Say by what: pystematic best TAG:max or TAG:min.")
    listed = ", ".join(declared)
    raise UsageError(f"the experiments have different metrics ({listed}). Say which one, or use --experiment NAME.")
