"""``plot``: series of runs over each other, in the terminal and as pictures."""

from __future__ import annotations

import json
from pathlib import Path

# Before the tests: what matplotlib does at its first import is not the tests'.
import matplotlib.figure  # noqa: F401
import pytest

from tests.builders import make_run
from tests.cli.builders import Ended, pystematic, run_on_terminal
from tests.store.builders import make_recorded, moment

Capsys = pytest.CaptureFixture[str]
OUTPUT = Path("output")


def error(text: str) -> Ended:
    return Ended(2, "", f"pystematic plot: error: {text}\nSee 'pystematic plot --help'.\n")


def make_runs(count: int) -> list[str]:
    return [
        make_recorded(OUTPUT, {"train/loss": [4.0, 2.0, 1.0 + i], "acc": [i / 10]}, i, params={"lr": i / 10}).id
        for i in range(count)
    ]


def suffix(run_id: str) -> str:
    return run_id.rpartition("_")[2]


def test_all_runs_are_drawn_over_each_other(capsys: Capsys) -> None:
    made = make_runs(2)
    ended = pystematic(capsys, "plot", "train/loss")

    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "train/loss"
    assert lines[-1] == f"  A {suffix(made[0])}  B {suffix(made[1])}"
    assert len(lines) == 1 + 16 + 3 + 1


def test_each_tag_has_a_chart_with_the_same_letters(capsys: Capsys) -> None:
    made = make_runs(1)
    other = make_recorded(OUTPUT, {"acc": [0.5]}, 5).id
    first, second = pystematic(capsys, "plot", "train/loss", "acc").out.split("\n\n")

    assert f"  A {suffix(made[0])}" in first
    assert f"B {suffix(other)} (no points)" in first
    assert second.splitlines()[-1] == f"  A {suffix(made[0])}  B {suffix(other)}"


def test_some_runs_by_name_and_by_filter(capsys: Capsys) -> None:
    made = make_runs(4)

    by_name = pystematic(capsys, "plot", "acc", "--runs", made[3], made[0]).out.splitlines()[-1]
    assert by_name == f"  A {suffix(made[3])}  B {suffix(made[0])}"
    by_filter = pystematic(capsys, "plot", "acc", "--where", "params.lr > 0.1").out.splitlines()[-1]
    assert by_filter == f"  A {suffix(made[2])}  B {suffix(made[3])}"


def test_of_many_runs_the_newest_are_drawn_unless_asked(capsys: Capsys) -> None:
    made = make_runs(12)
    ended = pystematic(capsys, "plot", "acc")

    assert ended.err == "The newest 10 of 12 runs: others with --runs or --where.\n"
    assert suffix(made[1]) not in ended.out
    assert suffix(made[2]) in ended.out
    asked = pystematic(capsys, "plot", "acc", "--where", "params.lr >= 0")
    assert (asked.err, suffix(made[0]) in asked.out) == ("", True)


def test_how_it_is_drawn(capsys: Capsys) -> None:
    make_runs(1)
    lines = pystematic(capsys, "plot", "train/loss", "--smoothing", "0.5", "--log-y", "--x", "time").out.splitlines()

    assert lines[0] == "train/loss (log y, smoothing 0.5)"
    assert lines[-2].strip() == "seconds since the start"


def test_time_counts_from_the_start(capsys: Capsys) -> None:
    start = moment(0).replace(year=2023, month=11, day=14, hour=22, minute=13, second=10)  # ten seconds before
    run = make_run(OUTPUT, started_at=start)
    run.metrics_file().write_text('{"tag":"a","step":5,"time":1700000000.0,"value":1}\n')
    make_svg = pystematic(capsys, "plot", "a", "--x", "time", "--output", "csv")

    assert make_svg.out == f"run,tag,step,time,value\n{run.id},a,5,1700000000.0,1\n"
    assert " 10" in pystematic(capsys, "plot", "a", "--x", "time").out


@pytest.mark.parametrize(("name", "begin"), [("p.png", b"\x89PNG"), ("p.svg", b"<?xml")])
def test_a_picture_is_written(name: str, begin: bytes, capsys: Capsys) -> None:
    made = make_runs(2)

    assert pystematic(capsys, "plot", "acc", "train/loss", "--file", name) == Ended(0, "", f"Wrote {name}.\n")
    content = Path(name).read_bytes()
    assert content.startswith(begin)
    if name.endswith(".svg"):
        assert all(suffix(run).encode() in content for run in made)


def test_points_as_json(capsys: Capsys) -> None:
    made = make_runs(1)

    assert json.loads(pystematic(capsys, "plot", "acc", "--output", "json").out) == [
        {"run": made[0], "tag": "acc", "step": 0, "time": 1.7e9, "value": 0.0}
    ]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "TAG is missing: pystematic plot TAG [TAG ...]"),
        (["los"], "no run has recorded 'los'. There are acc, train/loss."),
        (["train/los"], "no run has recorded 'train/los'. Did you mean 'train/loss'?"),
        (["acc", "--where", "params.lr > 9"], "no run in './output' fits."),
        (["acc", "--smoothing", "2"], "the smoothing must be between 0 (none) and 1 (the mean so far), got 2.0."),
        (["acc", "--x", "epoch"], "--x, from the command line: 'epoch' is not one of step or time."),
        (
            ["acc", "--file", "p.gif"],
            "'p.gif' is no picture that can be written. Name a file that ends in .png or .svg.",
        ),
        (["acc", "--runs", "nothing"], None),
    ],
)
def test_wrong_usage(capsys: Capsys, words: list[str], text: str | None) -> None:
    (run,) = make_runs(1)
    assert pystematic(capsys, "plot", *words) == error(
        text or f"there is no run 'nothing' in './output'. There are {run}."
    )


def test_nothing_to_draw_is_wrong_usage(capsys: Capsys) -> None:
    OUTPUT.mkdir()
    assert pystematic(capsys, "plot", "acc") == error("there are no runs in './output'.")
    make_run(OUTPUT)
    assert pystematic(capsys, "plot", "acc") == error("no run has recorded 'acc'. None has recorded anything.")


def test_on_a_terminal_it_has_its_width_and_colours(working_dir: Path) -> None:
    make_runs(2)
    code, screen = run_on_terminal(60, "-m", "pystematic", "plot", "acc")

    assert code == 0
    assert "\x1b[36m" in screen
