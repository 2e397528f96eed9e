"""``pystematic tag``, ``note``, ``rm``, ``doctor`` and ``import``: what changes the folder of runs."""

from __future__ import annotations

import os
import sys

from pystematic.cli._output import print_records, print_text
from pystematic.cli._records import folder_of, runs_named, shown_path, table_width
from pystematic.errors import UsageError
from pystematic.store import (
    add_tags,
    check_removable,
    examine,
    find_run,
    import_runs,
    remove_run,
    remove_tags,
    set_note,
)
from pystematic.terminal import format_cell, format_table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.resolve import Parameters


def tag_run(options: Parameters, words: list[str]) -> int:
    """``tag``: give a run labels, or take them from it."""
    word, *tags = words
    run = find_run(word, str(options["output_dir"]))
    if options["remove"] and not tags:
        raise UsageError("TAG is missing: pystematic tag RUN --remove TAG ...")
    if options["remove"]:
        remove_tags(run, tags)
    elif tags:
        add_tags(run, tags)
    if options["output"] != "text":
        print_records(
            options["output"], {"id": run.id, "tags": list(run.tags)}, [{"tag": tag} for tag in run.tags], ["tag"]
        )
    else:
        print_text(f"{run.id}: {', '.join(map(format_cell, run.tags)) or 'no tags'}")
    return 0


def note_run(options: Parameters, words: list[str]) -> int:
    """``note``: write a note to a run, or show it."""
    word, *texts = words
    run = find_run(word, str(options["output_dir"]))
    if texts:
        set_note(run, " ".join(texts))
    if options["output"] != "text":
        print_records(options["output"], {"id": run.id, "note": run.note}, [{"note": run.note}], ["note"])
    else:
        print_text(f"{run.id}: {format_cell(run.note) or 'no note'}")
    return 0


def remove_runs(options: Parameters, words: list[str]) -> int:
    """``rm``: remove runs with all of their files, after a question."""
    folder = folder_of(options)
    found = runs_named(options, words)
    for run in found:
        check_removable(run, folder)
    if not options["yes"]:
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError("rm asks before it removes anything, and there is no terminal to ask. Say --yes.")
        for run in found:
            print_text(f"  {shown_path(run)}  {run.status}")
        runs = "this run" if len(found) == 1 else f"these {len(found)} runs"
        if _answer(f"Remove {runs} with all files? [y/N] ") not in ("y", "yes"):
            print_text("Nothing was removed.")
            return 1
    for run in found:
        remove_run(run, folder)
    if options["output"] != "text":
        rows: list[dict[str, object]] = [{"removed": run.id} for run in found]
        print_records(options["output"], {"removed": [run.id for run in found]}, rows, ["removed"])
    else:
        print_text("\n".join(f"Removed {run.id}." for run in found))
    return 0


def _answer(question: str) -> str:
    try:
        return input(question).strip().lower()
    except EOFError:  # Ctrl-D
        print()
        return ""


def examine_folder(options: Parameters, words: list[str]) -> int:
    """``doctor``: say what is wrong with the folder of runs; mend what can be mended with ``--repair``.

    Returns:
        1 when something is wrong and was not repaired.
    """
    folder = folder_of(options)
    rows: list[dict[str, object]] = []
    left = 0
    for finding in examine(folder):
        outcome = finding.advice
        if finding.repair is None:
            left += 1
        elif not options["repair"]:
            left += 1
            outcome = f"with --repair {finding.advice}"
        else:
            try:
                finding.repair()
                outcome = f"repaired: {finding.advice}"
            except OSError as error:
                left += 1
                outcome = f"cannot be repaired: {error.strerror} ({error.filename})"
        rows.append({"where": os.path.relpath(finding.where, folder), "what": finding.what, "then": outcome})
    if options["output"] != "text":
        print_records(options["output"], {"findings": rows, "left": left}, rows, ["where", "what", "then"])
    elif rows:
        for row in rows:
            print_text(f"{format_cell(row['where'])}: {format_cell(row['what'])}.\n  {format_cell(row['then'])}.")
    else:
        print_text(f"Nothing is wrong with {folder}.")
    return 1 if left else 0


def import_folder(options: Parameters, words: list[str]) -> int:
    """``import``: copy the runs of pystematic 1.x into the folder of runs."""
    rows: list[dict[str, object]] = []
    failed = 0
    for imported in import_runs(words[0], str(options["output_dir"])):
        failed += imported.target is None and "already" not in imported.problem
        run = None if imported.target is None else os.path.basename(imported.target)
        rows.append({"from": imported.source, "run": run, "problem": imported.problem or None})
    if options["output"] != "text":
        print_records(options["output"], rows, rows, ["from", "run", "problem"])
    else:
        copied = sum(row["run"] is not None for row in rows)
        if any(row["problem"] for row in rows):
            print_text(format_table([row for row in rows if row["problem"]], ["from", "problem"], width=table_width()))
        print_text(f"Copied {copied} of {len(rows)} runs into {options['output_dir']}.")
    return 1 if failed else 0
