"""``tag``, ``note``, ``rm``, ``doctor`` and ``import``: what is changed, and what is asked before."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.store import Run
from tests.builders import make_run, run_python
from tests.cli.builders import Ended, pystematic, run_on_terminal
from tests.store.builders import make_recorded

Capsys = pytest.CaptureFixture[str]
OUTPUT = Path("output")


def error(command: str, text: str) -> Ended:
    return Ended(2, "", f"pystematic {command}: error: {text}\nSee 'pystematic {command} --help'.\n")


# -- tag and note ----------------------------------------------------------------------------------------------------


def test_tags_are_given_shown_and_taken(capsys: Capsys) -> None:
    run = make_run(OUTPUT)

    assert pystematic(capsys, "tag", "last") == Ended(0, f"{run.id}: no tags\n", "")
    assert pystematic(capsys, "tag", "last", "good", "v2") == Ended(0, f"{run.id}: good, v2\n", "")
    assert pystematic(capsys, "tag", "good", "--remove", "v2") == Ended(0, f"{run.id}: good\n", "")
    assert json.loads(pystematic(capsys, "tag", "good", "--output", "json").out) == {"id": run.id, "tags": ["good"]}
    assert pystematic(capsys, "tag", "good", "--output", "csv").out == "tag\ngood\n"
    assert Run(run.path).tags == ("good",)


def test_damaged_labels_are_not_written_over(capsys: Capsys) -> None:
    run = make_run(OUTPUT)
    assert pystematic(capsys, "tag", "last", "good").code == 0
    content = run.labels_file.read_bytes()[:20]
    run.labels_file.write_bytes(content)

    assert "the labels of" in pystematic(capsys, "tag", "last", "v2").err
    assert pystematic(capsys, "note", "last", "x").code == 2
    assert run.labels_file.read_bytes() == content


def test_a_note_is_written_and_shown(capsys: Capsys) -> None:
    run = make_run(OUTPUT)

    assert pystematic(capsys, "note", "last") == Ended(0, f"{run.id}: no note\n", "")
    assert pystematic(capsys, "note", "last", "too", "small") == Ended(0, f"{run.id}: too small\n", "")
    assert json.loads(pystematic(capsys, "note", "last", "--output", "json").out)["note"] == "too small"
    assert pystematic(capsys, "note", "last", "--output", "csv").out == "note\ntoo small\n"
    assert pystematic(capsys, "note", "last", "") == Ended(0, f"{run.id}: no note\n", "")


@pytest.mark.parametrize(
    ("words", "command", "text"),
    [
        (["tag"], "tag", "RUN is missing: pystematic tag RUN [TAG ...]"),
        (["tag", "last", "--remove"], "tag", "TAG is missing: pystematic tag RUN --remove TAG ..."),
        (["tag", "last", " "], "tag", "' ' is no tag. A tag is a word or a line of text."),
        (["note"], "note", "RUN is missing: pystematic note RUN [TEXT ...]"),
        (["rm"], "rm", "RUN is missing: pystematic rm RUN [RUN ...]"),
        (["import"], "import", "DIR is missing: pystematic import DIR"),
        (["import", "nowhere"], "import", "there is no folder 'nowhere' to import from."),
        (["doctor", "last"], "doctor", "'last' is too much: pystematic doctor"),
        (
            ["doctor", "--output-dir", "nowhere"],
            "doctor",
            "there is no folder 'nowhere' with runs (command line).",
        ),
        (
            ["rm", "last", "--output-dir", "nowhere"],
            "rm",
            "there is no folder 'nowhere' with runs (command line).",
        ),
        (
            ["rm", "last"],
            "rm",
            "rm asks before it removes anything, and there is no terminal to ask. Say --yes.",
        ),
    ],
)
def test_wrong_usage(capsys: Capsys, words: list[str], command: str, text: str) -> None:
    run = make_run(OUTPUT)

    assert pystematic(capsys, *words) == error(command, text)
    assert run.run_file.exists()


@pytest.mark.parametrize("command", ["tag", "note", "rm"])
def test_an_unknown_run_is_wrong_usage(capsys: Capsys, command: str) -> None:
    run = make_run(OUTPUT)

    assert pystematic(capsys, command, "nothing") == error(
        command, f"there is no run 'nothing' in './output'. There are {run.id}."
    )


def test_a_tag_that_is_not_there_is_wrong_usage(capsys: Capsys) -> None:
    run = make_run(OUTPUT)

    assert pystematic(capsys, "tag", "last", "--remove", "x") == error("tag", f"{run.id} has no tag 'x'. It has none.")


# -- rm --------------------------------------------------------------------------------------------------------------


def test_runs_are_removed_without_a_question(capsys: Capsys) -> None:
    kept, *removed = [make_run(OUTPUT) for _ in range(3)]

    ended = pystematic(capsys, "rm", *(run.id for run in removed), removed[0].id, "--yes")
    assert ended == Ended(0, "".join(f"Removed {run.id}.\n" for run in removed), "")
    assert os.listdir(OUTPUT / "train") == [kept.id]


def test_removed_runs_as_json_and_csv(capsys: Capsys) -> None:
    runs = [make_run(OUTPUT) for _ in range(2)]

    assert json.loads(pystematic(capsys, "rm", runs[0].id, "--yes", "--output", "json").out) == {
        "removed": [runs[0].id]
    }
    assert pystematic(capsys, "rm", runs[1].id, "--yes", "--output", "csv").out == f"removed\n{runs[1].id}\n"


def test_when_one_cannot_be_removed_none_is(capsys: Capsys) -> None:
    run = make_run(OUTPUT)
    live = make_run(OUTPUT, status="running", host=rundir.host_name(), pid=rundir.process_identity())

    assert pystematic(capsys, "rm", run.id, live.id, "--yes") == error(
        "rm", f"{live.id} is still running on {rundir.host_name()}. Stop it first."
    )
    assert run.run_file.exists()


@pytest.mark.parametrize(("answer", "code", "is_there"), [("y", 0, False), ("n", 1, True), ("", 1, True)])
def test_on_a_terminal_it_asks(answer: str, code: int, is_there: bool, working_dir: Path) -> None:
    run = make_run(OUTPUT)
    code_of_exit, screen = run_on_terminal(
        100, "-c", f"import builtins; builtins.input = lambda text: print(text) or {answer!r}\n"
        "from pystematic.cli import main; main(['rm', 'last'])"
    )  # fmt: skip

    assert code_of_exit == code
    assert f"  output/train/{run.id}  completed\nRemove this run with all files? [y/N] \n" in screen
    assert run.path.exists() is is_there


# -- doctor ----------------------------------------------------------------------------------------------------------


def test_a_healthy_folder(capsys: Capsys) -> None:
    make_recorded(OUTPUT, {"loss": [1.0]})

    assert pystematic(capsys, "doctor") == Ended(0, "Nothing is wrong with ./output.\n", "")
    assert json.loads(pystematic(capsys, "doctor", "--output", "json").out) == {"findings": [], "left": 0}


def test_what_is_wrong_is_told_and_nothing_is_changed(capsys: Capsys) -> None:
    run = make_recorded(OUTPUT, {"loss": [1.0]})
    run.summary_file.unlink()
    left = run.path / "run.json.0123456789ab.tmp"
    left.touch()
    os.utime(left, (time.time() - 3600, time.time() - 3600))

    for _ in range(2):
        assert pystematic(capsys, "doctor") == Ended(
            1,
            f"train/{run.id}/run.json.0123456789ab.tmp: was left behind by a process that was killed.\n"
            "  with --repair it is removed.\n"
            f"train/{run.id}: summary.json does not count all that the series hold.\n"
            "  with --repair it is computed anew.\n",
            "",
        )


def test_what_can_be_repaired_is(capsys: Capsys) -> None:
    run = make_recorded(OUTPUT, {"loss": [1.0]})
    run.summary_file.unlink()

    assert pystematic(capsys, "doctor", "--repair") == Ended(
        0,
        f"train/{run.id}: summary.json does not count all that the series hold.\n  repaired: it is computed anew.\n",
        "",
    )
    assert pystematic(capsys, "doctor").code == 0


def test_what_cannot_be_repaired_stays_wrong(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_recorded(OUTPUT, {"loss": [1.0]})
    run.summary_file.unlink()
    damaged = make_run(OUTPUT)
    damaged.run_file.write_text("{")

    def refuse(folder: object) -> None:
        raise OSError(28, "No space left on device", "summary.json")

    monkeypatch.setattr(rundir, "rewrite_summary", refuse, raising=False)
    ended = pystematic(capsys, "doctor", "--repair", "--output", "json")
    assert ended.code == 1
    report = json.loads(ended.out)
    assert report["left"] == 2
    assert {finding["then"] for finding in report["findings"]} == {
        "cannot be repaired: No space left on device (summary.json)",
        "nothing can be done from here: its other files are as they were; remove it by hand if it is of no use",
    }


def test_findings_as_csv(capsys: Capsys) -> None:
    run = make_recorded(OUTPUT, {"loss": [1.0]})
    run.summary_file.unlink()

    assert pystematic(capsys, "doctor", "--output", "csv") == Ended(
        1,
        f"where,what,then\ntrain/{run.id},summary.json does not count all that the series hold,"
        "with --repair it is computed anew\n",
        "",
    )


# -- import ----------------------------------------------------------------------------------------------------------


def make_old_run(number: int) -> Path:
    run = Path("old", "train", f"2024-03-0{number}_12-00-00_8u0sfr")
    run.mkdir(parents=True)
    (run / "parameters.yaml").write_text("lr: 0.5\n")
    (run / "log.txt").write_text("Experiment ended at 2024-03-01 12:00:09.")
    return run


def test_old_runs_are_copied_and_listed(capsys: Capsys) -> None:
    for number in (1, 2):
        make_old_run(number)

    assert pystematic(capsys, "import", "old") == Ended(0, "Copied 2 of 2 runs into ./output.\n", "")
    assert pystematic(capsys, "ls", "--columns", "run,lr,status", "--output", "csv").out == (
        "run,lr,status\n2024-03-01_12-00-00_8u0sfr,0.5,completed\n2024-03-02_12-00-00_8u0sfr,0.5,completed\n"
    )


def test_what_is_there_already_is_said(capsys: Capsys) -> None:
    old = make_old_run(1)
    pystematic(capsys, "import", "old")

    assert pystematic(capsys, "import", "old") == Ended(
        0,
        f"from{' ' * (len(str(old)) - 4)}  problem\n{old}  it is there already\nCopied 0 of 1 runs into ./output.\n",
        "",
    )


def test_the_import_as_json_and_csv(capsys: Capsys) -> None:
    old = make_old_run(1)

    assert json.loads(pystematic(capsys, "import", "old", "--output", "json").out) == [
        {"from": str(old), "run": old.name, "problem": None}
    ]
    assert pystematic(capsys, "import", "old", "--output", "csv").out == (
        f"from,run,problem\n{old},,it is there already\n"
    )


def test_a_run_that_cannot_be_copied_is_a_failure(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old_run(1)

    def refuse(source: str, target: str) -> None:
        raise OSError(28, "No space left on device", target)

    monkeypatch.setattr("pystematic.store._legacy.os.rename", refuse)
    assert pystematic(capsys, "import", "old").code == 1


def test_in_a_real_process(working_dir: Path) -> None:
    make_run(OUTPUT)

    ended = run_python("-m", "pystematic", "rm", "last", "--yes")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert os.listdir(OUTPUT / "train") == []
