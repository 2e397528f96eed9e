"""``pystematic sweep ls|show|add|retry|stop``, and the table of a sweep's points."""

from __future__ import annotations

import json
import os
import sys

from pystematic._words import did_you_mean
from pystematic.cli._help import hanging, options_help, page_width, wrap
from pystematic.cli._output import print_records, print_text
from pystematic.cli._records import folder_of, local_time, table_width
from pystematic.cli._sweep_table import print_result
from pystematic.declare import Choice, FilePath, Parameter, ParameterSet, Spec
from pystematic.errors import NotFoundError, UsageError
from pystematic.resolve import OptionReader, Parameters, resolve, tokenize
from pystematic.rundir import SweepDir, replace_file, sweep_names
from pystematic.sweep import RETRY_CLASSES, Plan, SweepResult, read_head
from pystematic.terminal import format_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_WORDS = {
    "ls": ("", "List the sweeps of a folder."),
    "show": ("NAME", "Show the points of a sweep, the best first."),
    "add": ("NAME PARAMETERS ...", "Add points to a sweep, and run them."),
    "retry": ("NAME", "Run again what did not complete, with the options of the sweep's last command."),
    "stop": ("NAME", "Let the running runs of a sweep finish, and start no more."),
}


def sweep_command(options: Parameters, words: list[str]) -> int:
    """``sweep``: a word of `_WORDS`, or be ``python FILE sweep ...``."""
    if not words or words[0] in ("-h", "--help"):
        print_text(_overview())
        return 0
    if words[0] in _WORDS:
        return _do(words[0], words[1:])
    if words[0].startswith("-"):
        raise UsageError(f"there is no option {words[0]}. Write: pystematic sweep FILE [OPTIONS] EXPERIMENT")
    if not words[0].endswith(".py") and not os.path.isfile(words[0]):
        raise UsageError(f"there is no program {words[0]!r}.{did_you_mean(words[0], _WORDS)}")
    return _run_program([words[0], "sweep", *words[1:]])


def _run_program(words: list[str]) -> int:
    from pystematic.cli._program import run_command  # most of these commands run nothing

    return run_command(Parameters({}), words)


def _spec(word: str) -> Spec:
    made = ParameterSet(f"command 'sweep {word}'")
    shared: dict[str, Any] = {"where": "pystematic"}
    if word == "retry":
        for name in RETRY_CLASSES[1:]:
            made.add(Parameter(name, bool, False, help=f"Only those that ended as {name}.", **shared))
    if word == "stop":
        made.add(Parameter("now", bool, False, help="Ask the running runs to end, too.", **shared))
    folder = "The folder of the runs."
    made.add(Parameter("output_dir", FilePath(str), "./output", help=folder, envvar="PYSTEMATIC_OUTPUT_DIR", **shared))
    if word in ("ls", "show"):
        made.add(Parameter("output", Choice(["text", "json", "csv"]), "text", help="How to print.", **shared))
    return Spec(made, framework=False)


def _do(word: str, words: list[str]) -> int:
    spec = _spec(word)
    tokens = tokenize(words)
    positionals, text = _WORDS[word]
    wants_help = any(getattr(token, "name", None) in ("-h", "--help") for token in tokens)
    if word == "add" and len(words) > 1 and not words[0].startswith("-") and not wants_help:
        return _add(words[0], words[1:])
    if wants_help:
        width = page_width()
        lines = [
            f"Usage: pystematic sweep {word} {positionals} [OPTIONS]".replace("  ", " "),
            "",
            *wrap(text, width),
            "",
        ]
        lines += [line.replace("Parameters:", "Options:") for line in options_help(spec, width, {})]
        print_text("\n".join(lines).rstrip())
        return 0
    reader = OptionReader()
    reader.read(tokens, spec, greedy=False)
    names = [one.text for one in reader.words]
    problems = list(reader.problems)
    if word == "add" or len(names) != (1 if positionals else 0):
        problems.append(f"expected: pystematic sweep {word} {positionals}".rstrip())
    resolution = resolve(spec, reader.given, problems=problems, lenient=True)
    if resolution.problems:
        raise UsageError(resolution.problems)
    options = resolution.parameters
    folder_of(options)  # one that is not there is a mistake, not a folder without sweeps
    if word == "ls":
        return _list(options)
    plan = _find(names[0] if names else "", str(options["output_dir"]))
    if word == "show":
        print_result(SweepResult(plan), str(options["output"]))
        return 0
    return _stop(plan, now=bool(options["now"])) if word == "stop" else _retry(plan, options)


def _find(name: str, output_dir: str) -> Plan:
    plan = Plan(SweepDir(output_dir, name))
    if os.sep in name or not plan.read().exists:
        names = sweep_names(output_dir)
        if name in names:
            raise UsageError(
                f"the plan of the sweep {name!r} cannot be read ({os.fspath(plan.dir.plan_file)}). "
                "The command that has begun it begins it anew; finished runs count with --reuse."
            )
        hint = did_you_mean(name, names) or (f" There are {', '.join(names)}." if names else " There is none.")
        raise NotFoundError(f"there is no sweep {name!r} in {output_dir!r}.{hint}")
    return plan


# -- looking at sweeps -----------------------------------------------------------------------------------------------


def _list(options: Parameters) -> int:
    output_dir = str(options["output_dir"])
    rows: list[dict[str, object]] = []
    for name in sweep_names(output_dir):
        result = SweepResult(Plan(SweepDir(output_dir, name)).read())
        head = read_head(SweepDir(output_dir, name))
        best = result.best
        rows.append(
            {
                "sweep": name,
                "experiment": result.experiment,
                "started": _local(head.get("created_at")),
                "state": "running" if result.is_running else "",
                "points": len(result.points),
                "runs": ", ".join(f"{count} {status}" for status, count in result.counts.items()),
                "metric": None if result.objective is None else result.objective.text,
                "best": None if best is None else best.mean,
            }
        )
    columns = ["sweep", "experiment", "started", "state", "points", "runs", "metric", "best"]
    if options["output"] != "text":
        print_records(str(options["output"]), rows, rows, columns)
    elif rows:
        print_text(format_table(rows, columns, width=table_width()))
    else:
        print_text(f"There are no sweeps in {output_dir}.")
    return 0


def _local(text: object) -> str:
    import datetime

    try:
        return local_time(datetime.datetime.fromisoformat(str(text)).timestamp())
    except ValueError:
        return ""


# -- acting on sweeps ------------------------------------------------------------------------------------------------


def _stop(plan: Plan, *, now: bool) -> int:
    if plan.coordinator() is None:
        raise UsageError(f"the sweep '{plan.name}' is not running.")
    replace_file(plan.dir.stop_file, json.dumps({"now": now}).encode("ascii"))
    what = "its running runs are asked to end" if now else "its running runs may finish"
    print(f"The sweep {plan.name} starts no more runs; {what}.", file=sys.stderr)
    return 0


def _retry(plan: Plan, options: Parameters) -> int:
    classes = [name for name in RETRY_CLASSES[1:] if options[name]]
    if len(classes) > 1:
        raise UsageError(f"--{classes[0]} and --{classes[1]} are both given. Give one of them.")
    file, words = _command_of(plan)
    if options.source_of("output_dir").startswith("command line"):
        words = _with_output_dir(words, str(options["output_dir"]))
    # By its name: found by its space, it would be another one as soon as its program declares another metric.
    named = [] if _has_name(words) else [f"--name={plan.name}"]
    return _run_program([file, "sweep", "--retry", classes[0] if classes else "all", *named, *words])


def _has_name(words: list[str]) -> bool:
    from pystematic.cli._sweep import sweep_spec  # only where runs are made

    reader = OptionReader()
    reader.read(tokenize(words), sweep_spec(), greedy=False, stop_at_word=True)
    return "name" in reader.given


def _with_output_dir(words: list[str], output_dir: str) -> list[str]:
    """Return a recorded command for the folder that is given now: its own may be relative to somewhere else."""
    kept: list[str] = []
    end = words.index("--") if "--" in words else len(words)
    rest = iter(words[:end])
    for word in rest:
        if word == "--output-dir":
            next(rest, None)
        elif not word.startswith("--output-dir="):
            kept.append(word)
    return [*kept, f"--output-dir={os.path.abspath(output_dir)}", *words[end:]]


def _add(name: str, words: list[str]) -> int:
    output_dir = _given_output_dir(words)
    plan = _find(name, output_dir)
    file, old = _command_of(plan)
    experiment = str(plan.state.sweep.get("experiment")).split(".")
    kept = _before_experiment(old, experiment[0])
    return _run_program([file, "sweep", "--add", *_with_name(kept, name), *experiment, *words])


def _before_experiment(words: list[str], experiment: str) -> list[str]:
    """Return the options of a recorded command, without those that describe its space."""
    from pystematic.cli._sweep import sweep_spec  # only where points are added

    spec = sweep_spec()
    reader = OptionReader()
    tokens = tokenize(words)
    end = reader.read(tokens, spec, greedy=False, stop_at_word=True)
    kept: list[str] = []
    for name, given in reader.given.items():
        if name in ("space", "points", "zip", "search", "trials", "search_seed", "name", "retry", "add", "dry_run"):
            continue
        option = spec.named(name)[0].option
        kept += [option] if given.words is None else [f"{option}={given.words[0][0]}"]
    assert end <= len(tokens)
    return kept


def _with_name(words: list[str], name: str) -> list[str]:
    return [*words, f"--name={name}"]


def _given_output_dir(words: list[str]) -> str:
    from pystematic.cli._app import resolve_output_dir

    for i, word in enumerate(words):
        if word.startswith("--output-dir="):
            return word.partition("=")[2]
        if word == "--output-dir" and i + 1 < len(words):
            return words[i + 1]
    return resolve_output_dir(None)


def _command_of(plan: Plan) -> tuple[str, list[str]]:
    """Return the program of a sweep and the words of its last command.

    Raises:
        UsageError: they are not recorded.
    """
    file, words = plan.state.sweep.get("program"), plan.state.session.get("words")
    if not isinstance(file, str) or not isinstance(words, list):
        raise UsageError(
            f"how the sweep '{plan.name}' was started is not in its plan: it was started from code, or secrets stand "
            "in its command. Give that again, with --retry all behind 'sweep'."
        )
    return file, [str(word) for word in words]


def _overview() -> str:
    width = page_width()
    lines = ["Usage: pystematic sweep FILE [SWEEP OPTIONS] EXPERIMENT [PARAMETERS]", ""]
    lines += [*wrap("Runs an experiment of a program many times: the same as 'python FILE sweep ...'.", width), ""]
    lines.append("Or one of these:")
    for word, (positionals, text) in _WORDS.items():
        lines += hanging(f"  {f'{word} {positionals}':<26}", text, width)
    lines += ["", *wrap("'pystematic sweep FILE --help' shows the sweep options.", width)]
    return "\n".join(lines)
