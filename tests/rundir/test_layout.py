"""The names of a run's files, and the making of its directory: exclusive, and never outside of the output folder."""

from __future__ import annotations

import errno
import itertools
import os
import re
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.errors import RunDirectoryError
from pystematic.rundir import RunDir, create_run_dir, unusable
from tests.rundir.odd_values import texts

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_directory_is_named_by_experiment_local_time_and_six_random_characters(tmp_path: Path) -> None:
    run_dir = create_run_dir(tmp_path / "output", "train", now=NOON)

    assert run_dir.path.parent == tmp_path / "output" / "train"
    assert re.fullmatch(r"2026-01-02_12-00-00_[0-9a-z]{6}", run_dir.path.name)
    assert run_dir.path.is_dir()


def test_the_id_is_the_name_of_the_directory(tmp_path: Path) -> None:
    run_dir = create_run_dir(tmp_path, "group.train")

    assert run_dir.id == run_dir.path.name
    assert run_dir.path.parent.name == "group.train"


def test_the_clock_is_asked_when_no_time_is_given(tmp_path: Path) -> None:
    before = time.strftime("%Y-%m-%d_%H-%M-%S")
    name = create_run_dir(tmp_path, "train").id

    assert before <= name[:19] <= time.strftime("%Y-%m-%d_%H-%M-%S")


def test_the_path_is_absolute(working_dir: Path) -> None:
    assert create_run_dir("output", "train").path.parent == working_dir / "output" / "train"


def test_fifty_runs_of_one_second_get_a_directory_each(tmp_path: Path) -> None:
    names = {create_run_dir(tmp_path, "train", now=NOON).id for _ in range(50)}

    assert len(names) == 50
    assert {name[:19] for name in names} == {"2026-01-02_12-00-00"}


def test_fifty_runs_that_draw_the_same_suffix_get_a_directory_each(working_dir: Path) -> None:
    names = {create_run_dir(working_dir, "train", now=NOON, draw_suffix=lambda: "aaaaaa").id for _ in range(50)}

    assert len(names) == 50
    assert "2026-01-02_12-00-00_aaaaaa" in names
    assert files_below(working_dir) == sorted(["train", *(f"train/{name}" for name in names)])


def test_a_suffix_that_is_taken_is_drawn_again(tmp_path: Path) -> None:
    suffixes = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    first = create_run_dir(tmp_path, "train", now=NOON, draw_suffix=lambda: next(suffixes))
    taken = iter(["aaaaaa", "bbbbbb"])
    second = create_run_dir(tmp_path, "train", now=NOON, draw_suffix=lambda: next(taken))

    assert (first.id[-6:], second.id[-6:]) == ("aaaaaa", "bbbbbb")


def test_starts_at_once_in_many_threads_get_a_directory_each(tmp_path: Path) -> None:
    made: list[str] = []
    together = threading.Barrier(50)

    def start() -> None:
        together.wait()
        made.append(create_run_dir(tmp_path, "train", now=NOON, draw_suffix=lambda: "aaaaaa").id)

    threads = [threading.Thread(target=start) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(made)) == 50
    assert sorted(os.listdir(tmp_path / "train")) == sorted(made)


def test_without_a_free_name_it_gives_up(tmp_path: Path) -> None:
    draws = (f"{i:06}" for i in itertools.count())
    for i in range(1000):
        (tmp_path / "train" / f"2026-01-02_12-00-00_{i:06}").mkdir(parents=True)

    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir(tmp_path, "train", now=NOON, draw_suffix=lambda: next(draws))
    assert str(caught.value) == f"no free name for a run in {str(tmp_path / 'train')!r} after 1000 attempts."


NO_FOLDERS = (
    *("", ".", "..", "../x", "a/../../x", "/x", "a/b", "..\\x", "a\\b", "a\0b"),
    *(".hidden", "-option", "sweeps", "Sweeps", "\ud800"),
)


@pytest.mark.parametrize("name", NO_FOLDERS, ids=ascii)
def test_a_name_that_is_no_folder_of_its_own_is_refused(name: str, working_dir: Path) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir("output", name)
    assert str(caught.value) == (
        f"{name!r} cannot be the folder of an experiment inside the output folder. Give it another name."
    )
    assert files_below(working_dir) == []


def test_an_absolute_name_is_refused(working_dir: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"^'/\S+ cannot be the folder of an experiment"):
        create_run_dir("output", str(working_dir / "elsewhere"))
    assert files_below(working_dir) == []


@given(st.text(max_size=12) | st.text(alphabet="./\\.-a\0", max_size=6))
def test_whatever_the_name_the_directory_lies_inside_or_is_refused(name: str) -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root = Path(folder).resolve()
        try:
            run_dir = create_run_dir(root / "output", name)
        except RunDirectoryError:
            assert files_below(root) in ([], ["output"])
        else:
            assert run_dir.path.resolve().parent.parent == root / "output"
            assert len(files_below(root)) == 3


def test_a_link_that_leads_out_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "output").mkdir()
    link = tmp_path / "output" / "train"
    link.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir(tmp_path / "output", "train")
    assert str(caught.value) == (
        f"{str(link)!r} is a link that leads out of the output folder, to {str(tmp_path / 'elsewhere')!r}. "
        "Remove the link."
    )
    assert files_below(tmp_path / "elsewhere") == []


def test_a_link_to_the_sweeps_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "train").symlink_to("sweeps")

    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir(tmp_path, "train")
    assert str(caught.value) == (
        f"{str(tmp_path / 'train')!r} is a link to {str(tmp_path / 'sweeps')!r}, which is kept for sweeps. "
        "Remove the link."
    )
    assert files_below(tmp_path / "sweeps") == []


def test_a_link_to_nowhere_is_refused_and_its_target_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "train").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RunDirectoryError, match="cannot be written: File exists"):
        create_run_dir(tmp_path / "output", "train")
    assert not (tmp_path / "elsewhere").exists()


def test_the_output_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "output").symlink_to("disk")

    run_dir = create_run_dir(tmp_path / "output", "train")

    assert (tmp_path / "disk" / "train" / run_dir.id).is_dir()


def test_an_output_folder_with_a_nul_is_refused(working_dir: Path) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir("out\0put", "train")
    assert str(caught.value) == "the output folder 'out\\x00put' holds a NUL character."


def test_a_file_in_the_place_of_the_output_folder_is_named(working_dir: Path) -> None:
    (working_dir / "output").write_text("a file")

    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir("output", "train")
    assert str(caught.value) == (
        "the output folder 'output' cannot be written: Not a directory. A part of its path is a file: rename that, "
        "or give another one: --output-dir."
    )


def test_a_name_that_is_too_long_for_the_file_system_is_one_message(working_dir: Path) -> None:
    with pytest.raises(RunDirectoryError) as caught:
        create_run_dir("output", "n" * 300)
    assert str(caught.value) == (
        "the output folder 'output' cannot be written: File name too long. Check the path, "
        "or give another one: --output-dir."
    )


@pytest.mark.parametrize(
    ("number", "reason", "advice"),
    [
        (errno.ENOSPC, "No space left on device", "Free some space"),
        (errno.EDQUOT, "Disk quota exceeded", "Free some space of your quota"),
        (errno.EROFS, "Read-only file system", "The file system is read-only"),
        (errno.EACCES, "Permission denied", "You may not write there"),
        (errno.EPERM, "Operation not permitted", "You may not write there"),
        (errno.EIO, "Input/output error", "Check the path"),
    ],
)
def test_each_reason_has_its_advice(number: int, reason: str, advice: str) -> None:
    assert str(unusable("output", OSError(number, os.strerror(number)))) == (
        f"the output folder 'output' cannot be written: {reason}. {advice}, or give another one: --output-dir."
    )


def test_a_long_output_folder_is_cut_in_the_message() -> None:
    assert len(str(unusable("x" * 5000, OSError(errno.EIO, "Input/output error")))) < 300


def test_the_files_of_a_run_have_the_names_of_the_contract() -> None:
    run_dir = RunDir("output/train/a")

    paths = [
        *(run_dir.parameters_file, run_dir.run_file, run_dir.summary_file, run_dir.labels_file),
        *(run_dir.heartbeat_file, run_dir.environment_file, run_dir.patch_file, run_dir.artifacts_dir),
        *(run_dir.log_file(), run_dir.log_file(2)),
        *(run_dir.metrics_file(), run_dir.metrics_file(2), run_dir.metrics_file(2, pid=77)),
    ]

    assert {path.parent for path in paths} == {Path("output/train/a")}
    assert [path.name for path in paths] == [
        *("parameters.yaml", "run.json", "summary.json", "labels.json"),
        *("heartbeat", "environment.json", "source.patch", "artifacts"),
        *("log.txt", "log.rank-2.txt"),
        *("metrics.jsonl", "metrics.rank-2.jsonl", "metrics.pid-77.jsonl"),
    ]


def test_a_run_dir_is_a_path_and_touches_nothing(working_dir: Path) -> None:
    run_dir = RunDir("output/train/a")

    assert os.fspath(run_dir) == os.path.join("output", "train", "a")
    assert repr(run_dir) == f"RunDir({os.fspath(run_dir)!r})"
    assert run_dir.metrics_files() == []
    assert files_below(working_dir) == []


def test_the_series_of_every_process_are_listed_in_a_fixed_order(tmp_path: Path) -> None:
    names = ["metrics.jsonl", "metrics.pid-10.jsonl", "metrics.rank-1.jsonl", "metrics.rank-12.jsonl"]
    for name in reversed(names):
        (tmp_path / name).touch()

    assert RunDir(tmp_path).metrics_files() == [tmp_path / name for name in names]


NO_SERIES = (
    *("metrics.cut-1.jsonl", "metrics.rank-1.cut-2.jsonl", "metrics.copy.jsonl", "metrics.pid-.jsonl"),
    *("metrics.rank-1 (copy).jsonl", "metrics.jsonl.bak", "metrics.jsonl.1a2b.tmp", "summary.json"),
)


@pytest.mark.parametrize("name", NO_SERIES)
def test_other_files_are_no_series(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()

    assert RunDir(tmp_path).metrics_files() == []


# -- files of what is recorded beside numbers --------------------------------------------------------------------


@given(texts(), st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False))
@example("../../up", 0)
@example('a/b\\c:d*e?"<>|\0\n', -1)
@example("x" * 1000, 0)
@example("😀" * 200, 0)
@example("...", 0)
@example("", 0)
def test_a_file_can_be_made_for_any_tag_in_the_folder_of_its_kind(tag: str, step: float) -> None:
    descriptor, path = rundir.create_item_file("run", "image", tag, step, ".png")
    os.close(descriptor)

    assert path.parent == Path("run/images")
    assert path.is_file()
    assert len(os.fsencode(path.name)) < 200
    assert not path.name.startswith(".")
    assert not set(path.name) & set('/\\:*?"<>|\0\n')
    path.unlink()


@pytest.mark.parametrize(
    ("kind", "folder"), [("image", "images"), ("figure", "figures"), ("text", "texts"), ("table", "tables")]
)
def test_the_name_of_a_file_tells_tag_and_step(kind: str, folder: str) -> None:
    descriptor, path = rundir.create_item_file("run", kind, "val/worst case", 12, ".png")
    os.close(descriptor)

    assert path == Path("run") / folder / "val.worst_case_12.png"


def test_no_two_files_get_one_name() -> None:
    paths = []
    for tag in ["a/b", "a.b", "a/b"] * 60:
        descriptor, path = rundir.create_item_file("run", "text", tag, 0, ".txt")
        os.close(descriptor)
        paths.append(path)

    assert len(set(paths)) == 180
    assert [path.name for path in paths[:3]] == ["a.b_0.txt", "a.b_0-2.txt", "a.b_0-3.txt"]


@pytest.mark.parametrize(
    ("name", "made"),
    [
        *(("model.pt", "model.pt"), ("runs/best model.tar.gz", "runs.best_model.tar.gz"), ("../up", "up")),
        *((".env", "env"), ("con.txt", "con_.txt"), ("", "_"), ("a.", "a"), ("..", "_")),
        ("x" * 300 + ".safetensors", "x" * 100 + ".safetensors"),
    ],
)
def test_an_artifact_keeps_its_name_where_that_is_safe(name: str, made: str) -> None:
    assert rundir.create_artifact("run", name, is_folder=False) == Path("run/artifacts", made)
    assert rundir.create_artifact("run", name, is_folder=True).is_dir()


def test_a_second_artifact_of_a_name_gets_another_one() -> None:
    made = [rundir.create_artifact("run", "model.pt", is_folder=False).name for _ in range(3)]

    assert made == ["model.pt", "model-2.pt", "model-3.pt"]


@pytest.mark.parametrize(
    ("name", "rank"),
    [("metrics.jsonl", 0), ("metrics.rank-3.jsonl", 3), ("metrics.pid-3.jsonl", None), ("metrics.cut-1.jsonl", None)],
)
def test_the_rank_that_writes_a_file_of_series(name: str, rank: int | None) -> None:
    assert rundir.rank_of_metrics_file(name) == rank
