"""``ui`` and ``report``: their words; what they do is tested with the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pystematic.web import _report
from tests.builders import make_run
from tests.cli.builders import Ended, pystematic
from tests.store.builders import make_recorded, moment

Capsys = pytest.CaptureFixture[str]
OUTPUT = Path("output")


def error(command: str, text: str) -> Ended:
    return Ended(2, "", f"pystematic {command}: error: {text}\nSee 'pystematic {command} --help'.\n")


@pytest.fixture
def _built(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a front end, whatever it is."""
    static = working_dir / "static"
    static.mkdir()
    (static / "report.js").write_text("run()")
    (static / "report.css").write_text("body {}")
    monkeypatch.setattr(_report, "STATIC_DIR", str(static))


@pytest.mark.usefixtures("_built")
def test_a_report_of_all_runs_of_some_and_of_those_that_fit(capsys: Capsys) -> None:
    made = [make_recorded(OUTPUT, {"loss": [1.0]}, i, params={"lr": i / 10}) for i in range(3)]

    def reported(*words: str) -> list[str]:
        ended = pystematic(capsys, "report", *words, "--file", "report.html")
        assert (ended.code, ended.out) == (0, "")
        content = Path("report.html").read_text()
        ids = [run.id for run in made if run.id in content]
        count = f"{len(ids)} run{'' if len(ids) == 1 else 's'}"
        assert ended.err == f"Wrote {count} to report.html.\n"
        return ids

    assert reported() == [run.id for run in made]
    assert reported(made[1].id) == [made[1].id]
    assert reported("--where", "params.lr > 0.05") == [run.id for run in made[1:]]


@pytest.mark.usefixtures("_built")
def test_a_report_says_which_runs_it_leaves_out(capsys: Capsys) -> None:
    make_run(OUTPUT, started_at=moment(0))
    make_run(OUTPUT, started_at=moment(1)).run_file.write_text("{")
    assert pystematic(capsys, "report", "--file", "report.html").err == (
        "1 folder holds a damaged run.json, left out here.\nWrote 1 run to report.html.\n"
    )


def test_wrong_usage_of_report(capsys: Capsys) -> None:
    assert pystematic(capsys, "report") == error("report", "--file is missing: the file to write, such as report.html.")
    assert pystematic(capsys, "report", "--file", "report.pdf") == error(
        "report", "'report.pdf' is no file that a browser opens. Name one that ends in .html."
    )
    make_run(OUTPUT)
    assert pystematic(capsys, "report", "--where", "status == 'failed'", "--file", "r.html") == error(
        "report", "no run in './output' fits: there is nothing to report."
    )


@pytest.mark.usefixtures("_built")
def test_a_report_that_cannot_be_written(capsys: Capsys) -> None:
    make_run(OUTPUT, started_at=moment(0))
    assert pystematic(capsys, "report", "--file", "nowhere/r.html") == error(
        "report", "'nowhere/r.html' cannot be written: No such file or directory."
    )


def test_wrong_usage_of_ui(capsys: Capsys) -> None:
    assert pystematic(capsys, "ui", "nowhere") == error(
        "ui", "there is no folder 'nowhere' with runs. Give the folder that the runs were written to."
    )
    assert pystematic(capsys, "ui") == error(
        "ui",
        "there is no folder './output' with runs (default). Runs are recorded in ./output unless --output-dir says "
        "otherwise.",
    )
    OUTPUT.mkdir()
    assert pystematic(capsys, "ui", "output", "--output-dir", "other") == error(
        "ui", "'output' and --output-dir 'other' are both given. Give one of them."
    )
    assert pystematic(capsys, "ui", "--port", "99999") == error(
        "ui", "--port 99999 is no port. Give a number from 1 to 65535, or leave it out."
    )
    assert pystematic(capsys, "ui", "--port", "many") == error(
        "ui", "--port, from the command line: 'many' is not a whole number."
    )


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "numpy"])
def test_a_library_that_is_missing_is_named(capsys: Capsys, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    make_run(OUTPUT)
    monkeypatch.setitem(sys.modules, library, None)

    assert pystematic(capsys, "ui", "output") == error(
        "ui", f"the page needs {library}, which is not installed: pip install 'pystematic[ui]'"
    )
