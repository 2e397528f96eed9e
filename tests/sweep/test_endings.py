"""What is shown of a run that has failed: the last line of its output that says something."""

from __future__ import annotations

from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.sweep._endings import last_line

STAMP = "2026-01-31 12:00:00.001 "


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (["train {id}: prog.py train", "epoch 3", "", "failed, exit code 1"], "epoch 3"),
        (["train {id}: prog.py train", "failed, exit code 3"], ""),
        (["train {id}: prog.py train"], ""),
    ],
)
def test_neither_the_opening_nor_the_closing_of_a_log_says_why(tmp_path: Path, lines: list[str], shown: str) -> None:
    run = rundir.create_run_dir(tmp_path, "train")
    run.log_file(0).write_text("".join(f"{STAMP}{line.format(id=run.id)}\n" for line in lines))
    assert last_line(str(run.path), "") == shown


def test_what_was_printed_outside_of_a_log_is_shown_where_the_log_says_nothing(tmp_path: Path) -> None:
    run = rundir.create_run_dir(tmp_path, "train")
    run.log_file(0).write_text(f"{STAMP}train {run.id}: prog.py train\n")
    assert last_line(str(run.path), "Segmentation fault\n\n") == "Segmentation fault"
