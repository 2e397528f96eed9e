"""Which run a person means: path, exact id, `last`, `last~N`, the end or beginning of an id, a tag, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pystematic import rundir
from pystematic.errors import NotFoundError
from pystematic.store import find_run
from tests.builders import make_run
from tests.store.builders import moment

STAMP = "2026-01-02_03-04-05"


def make_named(name: str, experiment: str = "train", second: int = 0, **fields: Any) -> str:
    """Make a run of that id in the folder ``output``, and return its path."""
    run_dir = make_run(Path("output"), experiment, started_at=moment(second), id=name, **fields)
    path = run_dir.path.with_name(name)
    run_dir.path.rename(path)
    return str(path.resolve())


def found(text: str, **options: str) -> str:
    return str(find_run(text, "output", **options).path)


def refusal(text: str, **options: str) -> str:
    with pytest.raises(NotFoundError) as caught:
        find_run(text, "output", **options)
    assert caught.value.problems == (str(caught.value),)
    return str(caught.value)


# -- paths -------------------------------------------------------------------------------------------------------


def test_a_path_is_meant_wherever_it_lies(working_dir: Path) -> None:
    run_dir = make_run(working_dir / "elsewhere")

    assert found(str(run_dir.path)) == str(run_dir.path)
    assert found(f"elsewhere/train/{run_dir.id}/") == str(run_dir.path)


def test_a_path_below_the_output_folder_is_meant_too() -> None:
    path = make_named("a_1")

    assert found("train/a_1") == path


def test_the_working_directory_may_be_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_named("a_1")
    monkeypatch.chdir(path)

    assert str(find_run(".").path) == path


def test_a_path_of_a_damaged_run_is_that_run() -> None:
    path = make_named("a_1")
    (Path(path) / "run.json").write_text("damaged")

    assert find_run(path).status == "damaged"


def test_a_path_wins_over_all_else(working_dir: Path) -> None:
    make_named("a_last")
    make_run(working_dir).path.rename(working_dir / "last")

    assert found("last") == str(working_dir / "last")


# -- exact ids ---------------------------------------------------------------------------------------------------


def test_an_exact_id_is_meant() -> None:
    path = make_named(f"{STAMP}_abcdef")
    make_named(f"{STAMP}_abcdeg")

    assert found(f"{STAMP}_abcdef") == path


def test_an_exact_id_wins_over_one_that_begins_or_ends_so() -> None:
    make_named("abc_1", second=1)
    path = make_named("abc")
    make_named("1_abc", second=2)

    assert found("abc") == path


def test_an_exact_id_wins_over_last() -> None:
    path = make_named("last", second=0)
    make_named("newest", second=9)

    assert found("last") == path


def test_an_id_of_two_experiments_is_ambiguous() -> None:
    make_named("abc", "test")
    make_named("abc", "train")

    assert refusal("abc") == "'abc' means 2 runs: test/abc, train/abc. Give its path."


# -- last --------------------------------------------------------------------------------------------------------


def test_last_is_the_one_most_recently_started() -> None:
    paths = [make_named(name, second=second) for name, second in (("c", 1), ("a", 2), ("b", 3))]

    assert [found(text) for text in ("last", "last~0", "last~1", "last~2")] == [paths[2], paths[2], paths[1], paths[0]]
    assert found("last~0000000000000000000001") == paths[1]


def test_last_of_an_experiment_counts_its_runs_only() -> None:
    first = make_named("a", "train", 1)
    make_named("b", "test", 2)
    second = make_named("c", "train", 3)
    make_named("d", "test", 4)

    assert found("last", experiment="train") == second
    assert found("last~1", experiment="train") == first


def test_last_passes_over_the_points_of_sweeps() -> None:
    path = make_named("a", second=1)
    make_named("b", second=2, parent="sweep lr-study")
    child = make_named("c", second=0, parent="2026-01-02_03-04-05_abcdef")

    assert found("last") == path
    assert found("last~1") == child


def test_last_passes_over_damaged_runs_and_those_that_are_none_yet() -> None:
    path = make_named("a", second=1)
    (Path(make_named("b", second=2)) / "run.json").write_text("")
    rundir.create_run_dir("output", "train")

    assert found("last") == path


@pytest.mark.parametrize(
    ("text", "experiment", "message"),
    [
        ("last~2", None, "there is no run 'last~2': 'output' holds only 2 runs."),
        (
            "last~999999999999999999999",
            None,
            "there is no run 'last~999999999999999999999': 'output' holds only 2 runs.",
        ),
        ("last~1", "train", "there is no run 'last~1': 'output' holds only 1 run of train."),
        ("last", "other", "there is no run 'last': 'output' holds no run of other."),
    ],
)
def test_fewer_runs_than_asked_for_are_counted(text: str, experiment: str | None, message: str) -> None:
    make_named("a", "train")
    make_named("b", "test")

    assert refusal(text, **({} if experiment is None else {"experiment": experiment})) == message


@pytest.mark.parametrize("text", ["last~", "last~x", "last~-1", "last~1.5", "last~²", "LAST", "lasting"])
def test_other_words_are_not_last(text: str) -> None:
    make_named("a_xyz")

    assert refusal(text).startswith(f"there is no run {text!r} in 'output'.")


# -- parts of ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["abcdef", "def", "f", "2026-01-02_03-04-05_a", "2026-01-02_03-04-05_abcde"])
def test_an_end_or_beginning_of_one_id_only_is_meant(text: str) -> None:
    path = make_named(f"{STAMP}_abcdef")
    make_named(f"{STAMP}_xyz123")

    assert found(text) == path


def test_a_part_of_several_ids_is_ambiguous_and_the_newest_are_named() -> None:
    for second in range(7):
        make_named(f"2026-01-02_03-04-0{second}_aaaaaa")

    listed = ", ".join(f"train/2026-01-02_03-04-0{second}_aaaaaa" for second in (6, 5, 4, 3, 2))
    assert refusal("aaaaaa") == f"'aaaaaa' means 7 runs: {listed} and 2 more. Write more of the id."


def test_a_part_in_the_middle_of_an_id_is_not_meant() -> None:
    make_named(f"{STAMP}_abcdef")

    assert refusal("03-04").startswith("there is no run '03-04' in 'output'.")


# -- tags --------------------------------------------------------------------------------------------------------


def test_a_tag_that_one_run_has_is_meant() -> None:
    path = make_named("a", params={"tags": ["paper", "best"]})
    make_named("b", params={"tags": ["paper"]})

    assert found("best") == path


def test_a_tag_given_later_is_meant_too() -> None:
    path = make_named("a")
    rundir.write_document(rundir.RunDir(path).labels_file, {"tags": ["paper"]})

    assert found("paper") == path


def test_a_part_of_one_id_wins_over_a_tag() -> None:
    path = make_named("x_paper")
    make_named("b", params={"tags": ["paper"]})

    assert found("paper") == path


def test_a_tag_of_one_run_wins_over_a_part_of_several_ids() -> None:
    make_named("x_paper")
    make_named("y_paper")
    path = make_named("b", params={"tags": ["paper"]})

    assert found("paper") == path


def test_a_tag_of_several_runs_is_ambiguous() -> None:
    for name in "ab":
        make_named(name, params={"tags": ["paper"]})

    assert refusal("paper") == "'paper' is a tag of 2 runs: train/b, train/a. Give an id."


# -- unknown names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("abcdfe", "there is no run 'abcdfe' in 'output'. Did you mean 'abcdef'?"),
        (f"{STAMP}_abcdfe", f"there is no run '{STAMP}_abcdfe' in 'output'. Did you mean '{STAMP}_abcdef'?"),
        ("lats", "there is no run 'lats' in 'output'. Did you mean 'last'?"),
        ("nothing alike", f"there is no run 'nothing alike' in 'output'. There are {STAMP}_abcdef."),
        ("", f"there is no run '' in 'output'. There are {STAMP}_abcdef."),
        ("a\0b", f"there is no run 'a\\x00b' in 'output'. There are {STAMP}_abcdef."),
        ("../output", f"there is no run '../output' in 'output'. There are {STAMP}_abcdef."),
    ],
    ids=ascii,
)
def test_an_unknown_name_is_an_error_with_the_nearest_one(text: str, message: str) -> None:
    make_named(f"{STAMP}_abcdef")

    assert refusal(text) == message


def test_an_empty_folder_says_so(working_dir: Path) -> None:
    (working_dir / "output").mkdir()

    assert refusal("abc") == "there is no run 'abc': 'output' holds none."
    assert refusal("last") == "there is no run 'last': 'output' holds no run."


def test_a_missing_folder_says_so() -> None:
    assert refusal("last") == (
        "there is no run 'last': there is no folder 'output' to look for it. "
        "Give the run's path, or its folder: --output-dir."
    )
