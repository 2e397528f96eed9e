"""What is found wrong with a folder of runs, and what repairing it does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pystematic import rundir
from pystematic.store import Finding, Run, examine, runs
from tests.builders import make_run
from tests.store.builders import make_recorded, moment, record


def findings(folder: str = "output") -> list[Finding]:
    return list(examine(folder))


def only(folder: str = "output") -> Finding:
    (finding,) = findings(folder)
    return finding


def make_old(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, (time.time() - 3600, time.time() - 3600))
    return path


def test_nothing_is_wrong_with_whole_runs(working_dir: Path) -> None:
    make_recorded(working_dir / "output", {"loss": [1.0]})
    make_run(working_dir / "output", params={"lr": 0.1})
    running = make_run(working_dir / "output", status="running", host=rundir.host_name(), pid=rundir.process_identity())
    record(running, {"loss": [1.0]}, with_summary=False)
    make_old(running.path / "summary.json.0123456789ab.tmp")
    runs("output")

    assert findings() == []
    assert findings("output/train") == []


def test_looking_changes_nothing(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir / "output", {"loss": [1.0]})
    run_dir.summary_file.unlink()
    run_dir.labels_file.write_text("{")
    make_old(working_dir / "output" / "train" / ".removed-x")
    before = sorted((path, path.stat().st_mtime_ns) for path in working_dir.rglob("*"))

    assert len(findings()) == 3
    assert sorted((path, path.stat().st_mtime_ns) for path in working_dir.rglob("*")) == before


def test_a_damaged_run_document_is_told(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    run_dir.run_file.write_text("{")

    found = only()
    assert (found.where, found.repair) == (str(run_dir.path), None)
    assert found.what == "run.json cannot be read, so it is no run for any command"


def test_a_lost_run_is_told(working_dir: Path) -> None:
    dead = {**rundir.process_identity(), "pid": 2**22 + 1}
    run_dir = make_run(working_dir / "output", status="running", host=rundir.host_name(), pid=dead)

    found = only()
    assert found.what == "it says that it runs, but its process is gone"
    assert found.advice == f"go on with it: --resume {run_dir.id}, or remove it: pystematic rm {run_dir.id}"


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: run.summary_file.unlink(),
        lambda run: run.summary_file.write_text("{"),
        lambda run: record(run, {"loss": [2.0]}, with_summary=False),
        lambda run: run.summary_file.write_text(
            run.summary_file.read_text().replace('"metrics": {', '"metrics": {"x": 3, ')
        ),
    ],
    ids=["missing", "damaged", "behind", "of another form"],
)
def test_a_stale_summary_is_computed_anew(damage: Callable[[rundir.RunDir], object], working_dir: Path) -> None:
    run_dir = make_recorded(working_dir / "output", {"loss": [1.0]})
    damage(run_dir)
    right = Run(run_dir.path).summary

    found = only()
    assert (found.what, found.advice) == ("summary.json does not count all that the series hold", "it is computed anew")
    assert found.repair is not None
    found.repair()
    assert findings() == []
    assert Run(run_dir.path).summary == right


def test_what_was_lost_stays_counted_in_a_summary_that_is_computed_anew(working_dir: Path) -> None:
    run_dir = make_recorded(working_dir / "output", {"loss": [1.0]})
    summary = {**rundir.summarize(run_dir), "dropped": 3, "dropped_items": 2, "files": {}}
    rundir.write_document(run_dir.summary_file, summary)

    repair = only().repair
    assert repair is not None
    repair()
    written = rundir.read_document(run_dir.summary_file)
    assert written is not None
    assert (written["dropped"], written["dropped_items"]) == (3, 2)


def test_torn_lines_are_told(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    run_dir.metrics_file().write_text('{"tag":"a"\n{"tag":"a","st')
    rundir.write_document(run_dir.summary_file, rundir.summarize(run_dir))

    assert only().what == "2 lines of its series cannot be read"


@pytest.mark.parametrize("document", ["labels_file", "environment_file"])
def test_damaged_documents_are_told(document: str, working_dir: Path) -> None:
    path: Path = getattr(make_run(working_dir / "output"), document)
    path.write_text("{")

    found = only()
    assert (found.where, found.what) == (str(path), "it cannot be read")
    assert (found.repair is None) == (document == "environment_file")


def test_damaged_labels_are_put_aside(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    run_dir.labels_file.write_text("{")
    repair = only().repair
    assert repair is not None
    repair()

    assert findings() == []
    assert run_dir.labels_file.with_name("labels.json.damaged").read_text() == "{"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "it is missing: the run has no parameters for any command"),
        ("a: [", "it cannot be read: the run has no parameters for any command"),
    ],
)
def test_lost_parameters_are_told(content: str | None, what: str, working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    run_dir.parameters_file.unlink()
    if content is not None:
        run_dir.parameters_file.write_text(content)

    assert only().what == what


def test_leftovers_are_removed(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output")
    left = [
        make_old(run_dir.path / "run.json.0123456789ab.tmp"),
        make_old(working_dir / "output" / "train" / ".removed-x"),
        make_old(working_dir / "output" / "train" / ".removed-y" / "run.json").parent,
        make_old(working_dir / "output" / "x.0123456789ab.tmp"),
    ]
    os.utime(left[2], (time.time() - 3600, time.time() - 3600))

    found = findings()
    assert {finding.where for finding in found} == set(map(str, left))
    assert {finding.what for finding in found} == {"was left behind by a process that was killed"}
    for finding in found:
        assert finding.repair is not None
        finding.repair()
    assert findings() == []
    assert run_dir.run_file.exists()


def test_a_stale_index_is_told_and_removed(working_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pystematic.store._reading.SETTLED_AFTER_NS", -(10**18))
    monkeypatch.setattr("pystematic.store._index.ALL_LOOKED_AT", 1)
    monkeypatch.setattr("pystematic.store._index.LOOKED_AT", 1)
    made = [make_run(working_dir / "output", started_at=moment(i)) for i in range(9)]
    for run_dir in made:
        run_dir.labels_file.touch()
    runs("output")
    for run_dir in made:
        run_dir.labels_file.write_text('{"note": "edited"}')

    found = only()
    assert found.what in [f"{count} runs were edited in place, which the index has not seen yet" for count in (7, 8)]
    assert found.repair is not None
    found.repair()
    assert findings() == []
    assert runs("output").values("note") == ["edited"] * 9


# -- checkpoints -------------------------------------------------------------------------------------------------


def make_checkpointed(working_dir: Path) -> rundir.RunDir:
    """Make a run with two listed checkpoints of any content."""
    run_dir = make_run(working_dir / "output", status="interrupted")
    run_dir.checkpoints_dir.mkdir()
    entries = []
    for id in ("1", "2"):
        path = run_dir.checkpoints_dir / f"checkpoint-{id}.pt"
        path.write_bytes(b"state " + id.encode())
        entries.append({"id": id, "file": path.name, "size": 7, "sha256": rundir.file_sha256(str(path))})
    rundir.write_manifest(run_dir, entries)
    return run_dir


def test_nothing_is_wrong_with_whole_checkpoints(working_dir: Path) -> None:
    make_checkpointed(working_dir)
    assert findings() == []


@pytest.mark.parametrize("content", [b"stat", b"stbte 2"], ids=["cut", "flipped"])
def test_a_damaged_checkpoint_is_taken_off_the_list_and_put_aside(content: bytes, working_dir: Path) -> None:
    run_dir = make_checkpointed(working_dir)
    path = run_dir.checkpoints_dir / "checkpoint-2.pt"
    path.write_bytes(content)

    found = only()
    assert (found.where, found.what) == (str(path), "its content is not what was written")
    assert found.advice == "it is taken off the list, and put aside as checkpoint-2.pt.damaged"
    assert found.repair is not None
    found.repair()
    assert findings() == []
    assert [entry["id"] for entry in rundir.read_manifest(run_dir)] == ["1"]
    assert path.with_name("checkpoint-2.pt.damaged").read_bytes() == content


def test_a_checkpoint_that_is_gone_is_taken_off_the_list(working_dir: Path) -> None:
    run_dir = make_checkpointed(working_dir)
    (run_dir.checkpoints_dir / "checkpoint-1.pt").unlink()

    found = only()
    assert (found.where, found.what) == (str(run_dir.manifest_file), "it lists 'checkpoint-1.pt', which is gone")
    assert found.repair is not None
    found.repair()
    assert findings() == []
    assert [entry["id"] for entry in rundir.read_manifest(run_dir)] == ["2"]


def test_a_name_that_leads_out_of_the_folder_is_only_taken_off_the_list(working_dir: Path) -> None:
    run_dir = make_checkpointed(working_dir)
    outside = working_dir / "mine"
    outside.write_text("mine")
    rundir.write_manifest(run_dir, [*rundir.read_manifest(run_dir), {"id": "x", "file": "../../../../mine"}])

    found = only()
    assert found.what == "it lists '../../../../mine', which is gone"
    assert found.repair is not None
    found.repair()
    assert findings() == []
    assert outside.read_text() == "mine"


def test_leftovers_of_killed_savers_are_removed(working_dir: Path) -> None:
    run_dir = make_checkpointed(working_dir)
    half = run_dir.checkpoints_dir / "checkpoint-3.pt.99.tmp"
    half.write_bytes(b"half")
    unlisted = run_dir.checkpoints_dir / "checkpoint-3.pt"
    unlisted.write_bytes(b"whole")
    (run_dir.checkpoints_dir / "mine.pt").write_bytes(b"of the user")

    found = findings()
    assert [finding.where for finding in found] == [str(unlisted), str(half)]
    for finding in found:
        assert finding.repair is not None
        finding.repair()
    assert findings() == []
    assert (run_dir.checkpoints_dir / "mine.pt").exists()


def test_a_damaged_list_of_checkpoints_costs_none(working_dir: Path) -> None:
    run_dir = make_checkpointed(working_dir)
    run_dir.manifest_file.write_text("{")

    found = only()
    assert (found.where, found.repair) == (str(run_dir.manifest_file), None)
    assert found.what == "the list of the checkpoints cannot be read"


def test_checkpoints_of_a_living_run_are_left_alone(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "output", status="running", host=rundir.host_name(), pid=rundir.process_identity())
    run_dir.checkpoints_dir.mkdir()
    (run_dir.checkpoints_dir / "checkpoint-3.pt.99.tmp").write_bytes(b"half")
    assert findings() == []
