"""The thread beside a run: captures what it was made of, and shows that it lives."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pystematic.record
from pystematic import rundir
from pystematic.resolve import Parameters
from pystematic.run import ActiveRun, _keeper
from pystematic.run._keeper import Keeper
from pystematic.run._masking import Masker
from pystematic.run._provenance import Provenance, ProvenanceQuery
from pystematic.run._system import SystemSampler
from tests.builders import make_repository, wait_until


class Query:
    """A query whose answer the test decides; ``answer`` may wait for something, or raise."""

    def __init__(self, answer: Callable[[Callable[[], bool]], Provenance]) -> None:
        self._answer = answer
        self.closed = 0

    def collect(self, is_late: Callable[[], bool] = lambda: False) -> Provenance:
        return self._answer(is_late)

    def close(self) -> None:
        self.closed += 1


def found(patch: bytes = b"", **environment: Any) -> Provenance:
    return Provenance({"schema": 1, "git": {}, **environment}, patch, "the code")


@contextlib.contextmanager
def keep(
    run_dir: rundir.RunDir, query: Any, secrets: tuple[str, ...] = (), sample: Callable[[], None] | None = None
) -> Iterator[tuple[Keeper, list[str | None]]]:
    codes: list[str | None] = []
    keeper = Keeper(run_dir, query, Masker(secrets), codes.append, sample)
    keeper.start()
    try:
        yield keeper, codes
    finally:
        keeper.stop(0.0)


@pytest.fixture
def run_dir(tmp_path: Path) -> rundir.RunDir:
    return rundir.create_run_dir(tmp_path / "output", "train")


def read(run_dir: rundir.RunDir) -> Any:
    return json.loads(Path(run_dir.environment_file).read_text(encoding="utf-8"))


def test_environment_patch_and_code_are_captured(run_dir: rundir.RunDir) -> None:
    query = Query(lambda is_late: found(b"+x\n", python="3"))
    with keep(run_dir, query) as (keeper, codes):
        keeper.wait(30)
        assert codes == ["the code"]
        assert Path(run_dir.patch_file).read_bytes() == b"+x\n"
    assert read(run_dir) == {"schema": 1, "git": {}, "python": "3"}
    assert query.closed == 1


def test_without_changes_there_is_no_patch(run_dir: rundir.RunDir) -> None:
    with keep(run_dir, Query(lambda is_late: found())) as (keeper, _):
        keeper.wait(30)
    assert not Path(run_dir.patch_file).exists()


def test_both_documents_are_masked_and_a_masked_patch_is_said(run_dir: rundir.RunDir) -> None:
    query = Query(lambda is_late: found(b"+pw = 'hunter2'\n", variables={"NCCL_X": "hunter2"}))
    with keep(run_dir, query, ("hunter2",)) as (keeper, _):
        keeper.wait(30)
    assert Path(run_dir.patch_file).read_bytes() == b"+pw = '<masked>'\n"
    assert read(run_dir) == {"schema": 1, "git": {"masked": True}, "variables": {"NCCL_X": "<masked>"}}


def test_a_capture_that_fails_is_said_in_its_place(run_dir: rundir.RunDir) -> None:
    def fail(is_late: Callable[[], bool]) -> Provenance:
        raise RuntimeError("a machine of its own kind")

    query = Query(fail)
    with keep(run_dir, query) as (keeper, codes):
        keeper.wait(30)
    assert read(run_dir) == {"schema": 1, "error": "RuntimeError: a machine of its own kind"}
    assert (codes, query.closed) == ([], 1)


def test_a_patch_that_cannot_be_written_is_said(run_dir: rundir.RunDir) -> None:
    Path(run_dir.patch_file).mkdir()
    with keep(run_dir, Query(lambda is_late: found(b"+x\n"))) as (keeper, _):
        keeper.wait(30)
    assert read(run_dir)["patch_error"] == "source.patch could not be written: Is a directory"


def test_a_folder_that_is_gone_fails_nothing(run_dir: rundir.RunDir) -> None:
    Path(run_dir.path).rmdir()
    with keep(run_dir, Query(lambda is_late: found(b"+x\n"))) as (keeper, codes):
        keeper.wait(30)
    assert codes == ["the code"]


def test_waiting_ends_with_its_limit(run_dir: rundir.RunDir) -> None:
    go_on = threading.Event()

    def answer(is_late: Callable[[], bool]) -> Provenance:
        go_on.wait(30)
        return found()

    with keep(run_dir, Query(answer)) as (keeper, codes):
        keeper.wait(0.01)
        keeper.wait(-1.0)
        assert codes == []
        go_on.set()
    assert codes == ["the code"]


def test_a_capture_that_is_too_slow_is_told_to_give_up(run_dir: rundir.RunDir) -> None:
    def answer(is_late: Callable[[], bool]) -> Provenance:
        wait_until(is_late)
        return found(error="too late")

    with keep(run_dir, Query(answer)):
        pass
    assert read(run_dir)["error"] == "too late"


def test_the_heartbeat_is_touched_again_and_again(run_dir: rundir.RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "HEARTBEAT_PERIOD_S", 0.01)
    heartbeat = Path(run_dir.heartbeat_file)
    with keep(run_dir, Query(lambda is_late: found())):
        wait_until(heartbeat.exists)
        os.utime(heartbeat, (1, 1))
        wait_until(lambda: heartbeat.stat().st_mtime > 1)
    assert heartbeat.read_bytes() == b""


def test_a_short_run_has_no_heartbeat(run_dir: rundir.RunDir) -> None:
    with keep(run_dir, Query(lambda is_late: found())) as (keeper, _):
        keeper.wait(30)
    assert not Path(run_dir.heartbeat_file).exists()


def test_samples_are_taken_beside_the_heartbeat(run_dir: rundir.RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_keeper, "SAMPLE_PERIOD_S", 0.01)
    taken = threading.Event()
    with keep(run_dir, Query(lambda is_late: found()), sample=taken.set):
        assert taken.wait(30)


def test_where_there_can_be_no_thread_the_run_goes_on(run_dir: rundir.RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    query = Query(lambda is_late: found())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with keep(run_dir, query) as (keeper, codes):
            keeper.wait(30)
    assert (codes, query.closed) == ([], 1)


def test_a_real_query_ends_in_its_files(run_dir: rundir.RunDir, working_dir: Path) -> None:
    repository = make_repository(working_dir / "repository", {"prog.py": "x = 1\n"})
    (repository / "prog.py").write_text("x = 2\n", encoding="utf-8")
    with keep(run_dir, ProvenanceQuery(str(repository / "prog.py"))) as (keeper, codes):
        keeper.wait(30)
    assert b"+x = 2\n" in Path(run_dir.patch_file).read_bytes()
    assert read(run_dir)["git"]["dirty"] is True
    assert len(codes[0] or "") == 64


def test_no_child_is_forked_while_the_machines_meters_are_being_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = threading.get_ident()
    loading = threading.Event()
    loaded: list[str] = []

    def is_waiting() -> bool:
        frame = sys._current_frames()[main]
        return frame.f_code.co_name == "_hold_imports"

    class SlowMetrics:
        def __init__(self, folder: object, node: str | None = None) -> None:
            loading.set()
            wait_until(is_waiting)
            loaded.append("yes")

        def read(self) -> dict[str, float]:
            return {}

        def close(self) -> None: ...

    monkeypatch.setattr(pystematic.record, "SystemMetrics", SlowMetrics)
    run = ActiveRun(rundir.create_run_dir(tmp_path, "train"), Parameters({}), None)
    sampler = SystemSampler(run)
    thread = threading.Thread(target=sampler.sample)
    thread.start()
    loading.wait(30)
    pid = os.fork()
    if pid == 0:
        os._exit(len(loaded))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    thread.join()
    sampler.close()
    run.close_recorder()
