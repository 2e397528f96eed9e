"""``pystematic ui`` and ``report``: runs in the browser, and as one file to send."""

from __future__ import annotations

import os
import sys

from pystematic.cli._listing import choose_runs, say_damaged
from pystematic.cli._records import folder_of, runs_in, runs_named
from pystematic.errors import NotFoundError, UsageError
from pystematic.rundir import RunDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pystematic.resolve import Parameters

# Of what `pystematic[ui]` installs.
LIBRARIES = ("starlette", "uvicorn", "numpy")
ENDINGS = (".html", ".htm")


def show_page(options: Parameters, words: list[str]) -> int:
    """``ui``: serve the page until Ctrl-C."""
    folder = _folder(options, words)
    serve = _load("serve")
    serve(folder, port=options["port"], with_browser=options["browser"])
    return 0


def _folder(options: Parameters, words: list[str]) -> str:
    if not words:
        return folder_of(options)
    path = words[0]
    if options.source_of("output_dir").startswith("command line"):
        raise UsageError(f"{path!r} and --output-dir {options['output_dir']!r} are both given. Give one of them.")
    if not os.path.isdir(path):
        raise NotFoundError(f"there is no folder {path!r} with runs. Give the folder that the runs were written to.")
    if not os.access(path, os.R_OK | os.X_OK):
        raise UsageError(f"the folder {path!r} may not be read by you.")
    # The page is of a folder with runs: that of one run lies in one.
    return os.path.dirname(os.path.abspath(path)) if RunDir(path).run_file.is_file() else path


def write_report(options: Parameters, words: list[str]) -> int:
    """``report``: one file with table, curves and comparison of runs."""
    path = options["file"]
    if path is None:
        raise UsageError("--file is missing: the file to write, such as report.html.")
    if not path.lower().endswith(ENDINGS):
        raise UsageError(f"{path!r} is no file that a browser opens. Name one that ends in .html.")
    if words:
        found = runs_named(options, words)
    else:
        everything = runs_in(options)
        chosen, _ = choose_runs(options, everything)
        say_damaged(everything)
        found = list(chosen)
    if not found:
        raise NotFoundError(f"no run in {options['output_dir']!r} fits: there is nothing to report.")
    write = _load("write_report")
    write(path, str(options["output_dir"]), found)
    count = len(found)
    print(f"Wrote {count} run{'' if count == 1 else 's'} to {path}.", file=sys.stderr)
    return 0


def _load(name: str) -> Any:
    """Return a function of the page.

    Raises:
        UsageError: what it needs is not installed.
    """
    from importlib.util import find_spec  # most commands need none of this

    if find_spec("pystematic.web") is None:
        raise UsageError("this installation of pystematic has no page: the folder pystematic/web is not there.")
    # Looked for and not imported: the address is printed before the libraries are loaded.
    missing = [library for library in LIBRARIES if find_spec(library) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        names = ", ".join(missing)
        raise UsageError(f"the page needs {names}, which {are} not installed: pip install 'pystematic[ui]'")
    import pystematic.web as web

    return getattr(web, name)
