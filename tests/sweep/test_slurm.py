"""The queue of Slurm where none answers. With a real one: tests/process/test_queues.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pystematic.errors import ExperimentError
from pystematic.sweep import RunLimits

pytest.importorskip("submitit")


def test_a_slurm_that_does_not_answer_is_one_error_before_anything_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pystematic.sweep._slurm import make_slurm_queue

    scontrol = "echo first >&2; echo nobody there >&2; exit 1"
    for name, body in {"srun": "exit 0", "sbatch": "touch submitted", "scontrol": scontrol}.items():
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{body}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    message = "--on slurm: Slurm does not answer (nobody there). See what sinfo says."
    with pytest.raises(ExperimentError, match=f"^{re.escape(message)}$"):
        make_slurm_queue(tmp_path, "label", {}, "profile", RunLimits())
    assert not list(tmp_path.rglob("submitted"))
