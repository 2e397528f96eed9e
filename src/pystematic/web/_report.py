"""`write_report`: a page with some runs as one file, that opens without a server.

Data stands in it as JSON in an element that no browser executes; script and style are named by their hashes in the
policy of the page, so that nothing else is run.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import time

from pystematic._version import __version__
from pystematic.errors import UsageError
from pystematic.rundir import SYSTEM_PREFIX, replace_file
from pystematic.store import Run, take_snapshot
from pystematic.web._json import dump_ascii
from pystematic.web._run_page import compare, run_page, scalar_tags
from pystematic.web._series import SeriesReader
from pystematic.web._table import TableMaker, TableQuestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from pystematic.store import Snapshot
    from pystematic.web._schema import Report, RunPage, SeriesAnswer, SeriesRequest, XAxis

STATIC_DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
# Pixels of a chart; fewer where there are many runs and tags, so that the file stays one that can be sent.
BUCKETS, FEWEST_BUCKETS = 800, 60
MOST_POINTS = 1_500_000
# Of so many runs the whole record is there, of others only their row.
MOST_PAGES = 100
MOST_COMPARED = 50


def write_report(path: str, folder: str, runs: Sequence[Run], *, title: str = "") -> None:
    """Write a report of some runs of a folder.

    Raises:
        UsageError: the page was not built into this installation, or the file cannot be written.
    """
    report = make_report(folder, runs, title or f"{len(runs)} run{'' if len(runs) == 1 else 's'}")
    content = format_report(report, _static("report.js"), _static("report.css"))
    try:
        replace_file(path, content)
    except OSError as error:
        raise UsageError(f"{path!r} cannot be written: {error.strerror}.") from None


def _static(name: str) -> str:
    try:
        with open(os.path.join(STATIC_DIR, name), encoding="utf-8", newline="") as file:
            return file.read()
    except OSError:
        raise UsageError(
            f"a report needs {name}, which was not built into this installation of pystematic. "
            "Install a release, or build the front end: npm ci && npm run build in frontend/."
        ) from None


def make_report(folder: str, runs: Sequence[Run], title: str) -> Report:
    """Return what a report holds."""
    snapshot = take_snapshot(folder)
    names = [snapshot.name_of(run.path) for run in runs]
    by_name = dict(zip(names, runs, strict=True))
    maker = TableMaker(_only(snapshot, names))
    tags = [tag for tag in scalar_tags(runs) if not tag["tag"].startswith(SYSTEM_PREFIX)]
    texts = [tag["tag"] for tag in tags]
    reader = SeriesReader(by_name.__getitem__)
    series, relative = (_series(reader, names, texts, axis) for axis in _AXES)
    return {
        "version": __version__,
        "created_at": time.time(),
        "root": os.path.basename(os.path.abspath(folder)),
        "title": title,
        "columns": maker.columns,
        "table": maker.table(TableQuestion(columns=tuple(column["name"] for column in maker.columns), limit=len(runs))),
        "tags": tags,
        "series": series,
        "relative": relative,
        "comparison": compare(names[:MOST_COMPARED], runs[:MOST_COMPARED]),
        "runs": [_page(name, run) for name, run in list(by_name.items())[:MOST_PAGES]],
    }


_AXES: tuple[XAxis, XAxis] = ("step", "relative")


def _only(snapshot: Snapshot, names: Sequence[str]) -> Snapshot:
    """Return a snapshot in which there are only some runs."""
    from pystematic.store import Runs

    wanted = frozenset(names)
    snapshot.runs = Runs([run for run in snapshot.runs if snapshot.name_of(run.path) in wanted])
    return snapshot


def _series(reader: SeriesReader, names: list[str], tags: Sequence[str], axis: XAxis) -> list[SeriesAnswer]:
    lines = max(1, len(names) * len(tags) * len(_AXES))
    buckets = max(FEWEST_BUCKETS, min(BUCKETS, MOST_POINTS // (2 * lines)))
    requests: list[SeriesRequest] = [{"runs": names, "tag": tag, "x": axis, "buckets": buckets} for tag in tags]
    return [reader.series(request) for request in requests]


def _page(name: str, run: Run) -> RunPage:
    """Return the record of a run without what a colleague has no use for: links to files, and all packages."""
    page = run_page(name, run, [])
    page["files"], page["logs"], page["checkpoints"] = [], [], []
    page["environment"] = {key: value for key, value in page["environment"].items() if key != "packages"}
    return page


# -- the file --------------------------------------------------------------------------------------------------------


def format_report(report: Report, script: str, style: str) -> bytes:
    """Return the file."""
    # The parser of a browser makes \n of \r\n before the hash is taken.
    script = _safe_script(script.replace("\r\n", "\n"))
    style = style.replace("\r\n", "\n").replace("</style", "<\\/style")
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    page = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{html.escape(policy, quote=True).replace("&#x27;", "'")}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{html.escape(report["title"])} - pystematic</title>
<style>{style}</style>
</head>
<body>
<div id="app"></div>
<script type="application/json" id="pystematic-report">{embed_json(report)}</script>
<script>{script}</script>
</body>
</html>
"""
    return page.encode("utf-8", "backslashreplace")


def embed_json(value: object) -> str:
    """Return JSON in which no letter means anything to a parser of HTML: such stand in texts only, as escapes."""
    text = dump_ascii(value).decode("ascii")
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _safe_script(script: str) -> str:
    """Return a script that does not end the element it stands in, and opens no comment of HTML."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
