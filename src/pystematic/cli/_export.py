"""``pystematic export``: runs or their series for other programs."""

from __future__ import annotations

import sys

from pystematic.cli._listing import choose_runs, say_damaged
from pystematic.cli._output import print_text
from pystematic.cli._records import runs_in, runs_named
from pystematic.errors import UsageError
from pystematic.store import Runs, format_columns, format_of, run_table, series_table, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pystematic.resolve import Parameters

STATISTICS = ("first", "last", "min", "max", "mean", "count")


def export_runs(options: Parameters, words: list[str]) -> int:
    """``export``: one row a run, or one a point of a series; into a file, else to standard output."""
    form = "csv" if options["output"] == "text" else options["output"]
    if options["file"] is not None:
        form = format_of(options["file"])
        if options["output"] not in ("text", form):
            raise UsageError(f"{options['file']!r} and --output {options['output']} ask for different formats.")
    if words:
        found = Runs(runs_named(options, words))
    else:
        everything = runs_in(options)
        found, _ = choose_runs(options, everything)
        say_damaged(everything)
    if options["series"] or options["tag"]:
        columns = series_table(found, options["tag"] or ())
        what = "point"
    else:
        columns = run_table(found, STATISTICS)
        what = "run"
    content = format_columns(columns, form)
    if options["file"] is None:
        print_text(content.decode("utf-8").removesuffix("\n"))
        return 0
    write_file(options["file"], content)
    count = len(next(iter(columns.values())))
    print(f"Wrote {count} {what}{'' if count == 1 else 's'} to {options['file']}.", file=sys.stderr)
    return 0
