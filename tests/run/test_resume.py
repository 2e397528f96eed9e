"""Who may go on with a run, and what its record says about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pystematic import rundir
from pystematic.errors import ExperimentError
from pystematic.run import _resume
from pystematic.run._resume import Claim, batch_job, changed_parameters, claim, sources_of_attempt
from tests.builders import make_run

HERE = rundir.host_name()


class Watch:
    """A clock that goes on only when somebody sleeps, and calls ``on_sleep`` with the seconds so far."""

    def __init__(self, on_sleep: Callable[[float], None] = lambda now: None) -> None:
        self.now = 0.0
        self._on_sleep = on_sleep

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._on_sleep(self.now)


def claim_of(run_dir: rundir.RunDir, watch: Watch | None = None, said: list[str] | None = None) -> Claim:
    watch = watch or Watch()
    say = (said if said is not None else []).append
    return claim(run_dir, say, clock=watch.clock, sleep=watch.sleep)


def dead_identity() -> dict[str, Any]:
    popen = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = rundir.process_identity(popen.pid)
    popen.communicate(b"\n")
    return identity


def make_interrupted(folder: Path) -> rundir.RunDir:
    return make_run(folder, status="interrupted", host=HERE, pid=dead_identity(), attempts=[{"status": "interrupted"}])


def make_elsewhere(folder: Path, *, beat_age_s: float, status: str = "running", job: object = None) -> rundir.RunDir:
    """Make a run that says it runs on another machine, whose files were written so long ago."""
    run_dir = make_run(folder, status=status, host="elsewhere", attempts=[{"status": status}], job=job)
    run_dir.heartbeat_file.touch()
    for path in run_dir.path.iterdir():
        set_age(path, beat_age_s)
    return run_dir


def set_age(path: Path, age_s: float) -> None:
    os.utime(path, (time.time() - age_s, time.time() - age_s))


def write_claim(run_dir: rundir.RunDir, number: int, **fields: object) -> Path:
    path = run_dir.attempt_file(number)
    path.write_text(json.dumps({"host": HERE, "pid": rundir.process_identity(), "job": None, **fields}))
    return path


def test_a_claim_is_a_file_that_says_who_has_it(tmp_path: Path) -> None:
    run_dir = make_interrupted(tmp_path)
    got = claim_of(run_dir)
    assert (got.number, got.path) == (2, run_dir.attempt_file(2))
    assert got.document["status"] == "interrupted"
    assert json.loads(got.path.read_text()) == {"host": HERE, "pid": rundir.process_identity(), "job": None}
    assert not list(run_dir.path.glob("*.tmp"))


def test_a_claim_that_is_given_back_is_free(tmp_path: Path) -> None:
    run_dir = make_interrupted(tmp_path)
    claim_of(run_dir).release()
    assert claim_of(run_dir).number == 2


def test_a_live_run_is_refused(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, status="running", host=HERE, pid=rundir.process_identity())
    with pytest.raises(ExperimentError) as caught:
        claim_of(run_dir)
    assert str(caught.value) == (
        f"the run {run_dir.id} is alive: process {os.getpid()} on this machine. "
        "Wait for its end, or stop it, or start a new run."
    )
    assert not run_dir.attempt_file(2).exists()


def test_a_run_whose_process_is_gone_is_taken_over_at_once(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, status="running", host=HERE, pid=dead_identity())
    watch = Watch()
    claim_of(run_dir, watch)
    assert watch.now == 0


def test_a_run_that_another_process_has_completed_meanwhile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="is completed: another process has gone on with it to its end"):
        claim_of(make_run(tmp_path, status="completed"))


def test_on_another_machine_the_heartbeat_must_have_stood_still_for_a_minute(tmp_path: Path) -> None:
    run_dir = make_elsewhere(tmp_path, beat_age_s=10)
    watch, said = Watch(), list[str]()
    claim_of(run_dir, watch, said)
    assert watch.now == _resume.STILL_FOR_S == 60
    assert said == [f"The run {run_dir.id} was started on elsewhere; waiting up to 60 s for its heartbeat."]


def test_one_that_beats_while_we_wait_is_alive(tmp_path: Path) -> None:
    run_dir = make_elsewhere(tmp_path, beat_age_s=10)
    watch = Watch(lambda now: set_age(run_dir.heartbeat_file, 0) if now == 59 else None)
    with pytest.raises(ExperimentError) as caught:
        claim_of(run_dir, watch)
    assert str(caught.value) == (
        f"the run {run_dir.id} is alive on elsewhere: its heartbeat goes on. "
        "Wait for its end, or stop it there, or start a new run."
    )
    assert not run_dir.attempt_file(2).exists()


def test_a_heartbeat_that_has_stood_still_for_long_is_not_waited_for(tmp_path: Path) -> None:
    watch = Watch()
    claim_of(make_elsewhere(tmp_path, beat_age_s=_resume.DEAD_AFTER_S + 20), watch)
    assert watch.now == 0


def test_another_boot_of_this_name_may_be_another_machine(tmp_path: Path) -> None:
    identity = {**rundir.process_identity(), "boot_id": "another"}
    run_dir = make_run(tmp_path, status="running", host=HERE, pid=identity)
    watch = Watch()
    claim_of(run_dir, watch)
    assert watch.now == 60


@pytest.mark.parametrize(
    ("job", "waits"),
    [
        ({"id": "7", "task": None, "restarts": 0}, False),
        ({"id": "7", "task": None, "restarts": 1}, True),
        ({"id": "8", "task": None, "restarts": 0}, True),
        ({"id": "7", "task": "3", "restarts": 0}, True),
        (None, True),
    ],
)
def test_a_job_that_was_started_again_takes_its_run_over_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: object, waits: bool
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    watch = Watch()
    claim_of(make_elsewhere(tmp_path, beat_age_s=10, job=job), watch)
    assert watch.now == (60 if waits else 0)


def test_a_claim_of_a_living_process_is_respected(tmp_path: Path) -> None:
    run_dir = make_interrupted(tmp_path)
    write_claim(run_dir, 2)
    with pytest.raises(ExperimentError) as caught:
        claim_of(run_dir)
    assert str(caught.value) == (
        f"the run {run_dir.id} is being resumed by process {os.getpid()} on this machine. "
        "Wait for its end, or stop it, or start a new run."
    )


def test_the_claim_of_a_process_that_died_while_it_started_is_passed_over(tmp_path: Path) -> None:
    run_dir = make_interrupted(tmp_path)
    write_claim(run_dir, 2, pid=dead_identity())
    assert claim_of(run_dir).number == 3


def test_a_fresh_claim_from_another_machine_is_waited_for(tmp_path: Path) -> None:
    run_dir = make_elsewhere(tmp_path, beat_age_s=9000, status="interrupted")
    write_claim(run_dir, 2, host="third")
    watch, said = Watch(), list[str]()
    assert claim_of(run_dir, watch, said).number == 3
    assert watch.now == 60
    assert "was started on third" in said[0]


def test_who_claims_first_while_both_wait_wins(tmp_path: Path) -> None:
    run_dir = make_elsewhere(tmp_path, beat_age_s=10)
    watch = Watch(lambda now: set_age(write_claim(run_dir, 2, host="third"), 9000) if now == 60 else None)
    with pytest.raises(ExperimentError, match=r"is being resumed by process \d+ on third\. "):
        claim_of(run_dir, watch)


def test_of_many_that_claim_at_once_one_wins_and_the_others_say_who(tmp_path: Path) -> None:
    for _ in range(20):
        run_dir = make_interrupted(tmp_path)
        start = threading.Barrier(8)
        ends: list[object] = []

        def compete(run_dir: rundir.RunDir = run_dir, start: Any = start, ends: list[object] = ends) -> None:
            start.wait(30)
            try:
                ends.append(claim_of(run_dir).number)
            except ExperimentError as error:
                ends.append(str(error))

        threads = [threading.Thread(target=compete) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        refused = [end for end in ends if end != 2]
        assert len(refused) == 7
        assert all(f"is being resumed by process {os.getpid()} on this machine" in str(end) for end in refused)


def test_without_hard_links_a_claim_is_exclusive_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    run_dir = make_interrupted(tmp_path)
    assert json.loads(claim_of(run_dir).path.read_text())["host"] == HERE
    with pytest.raises(FileExistsError):
        rundir.create_document(run_dir.attempt_file(2), {})


def test_the_task_of_an_array_is_part_of_the_job() -> None:
    environ = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "2", "SLURM_RESTART_COUNT": "x"}
    assert batch_job(environ) == {"id": "10", "task": "2", "restarts": 0}
    assert batch_job({}) is None


def test_changes_are_those_of_the_experiment_not_of_the_resume() -> None:
    before = {"lr": 0.1, "resume": None, "size": 3}
    assert changed_parameters(before, {"lr": 0.2, "resume": "run", "size": 3, "new": 1}) == {
        "lr": [0.1, 0.2],
        "new": [None, 1],
    }


def test_what_an_attempt_takes_over_keeps_the_source_that_it_had() -> None:
    sources = {"lr": "run R", "size": "command line", "other": "run X"}
    assert sources_of_attempt(sources, {"sources": {"lr": "environment LR", "size": "default"}}, "R") == {
        "lr": "environment LR",
        "size": "command line",
        "other": "run X",
    }
