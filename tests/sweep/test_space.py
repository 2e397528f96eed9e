"""The space of a sweep: the grid, what advances together, files of values and points, and all problems at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pystematic.declare import Parameter, Spec
from pystematic.errors import UsageError
from tests.sweep.builders import space_of, spec_of


def spec() -> Spec:
    return spec_of(
        Parameter("lr", float, 0.1),
        Parameter("layers", int, 2),
        Parameter("sizes", list[int], None),
        Parameter("name", str, "net"),
        Parameter("amp", bool, False),
        Parameter("workers", int, 0, identity=False),
    )


def points(line: str = "", **more: Any) -> list[dict[str, Any]]:
    return list(space_of(spec(), line, **more).grid())


def test_the_grid_is_in_the_order_written_and_the_last_varies_fastest() -> None:
    assert points("--layers 1..2 --lr 0.1,0.2") == [
        {"layers": 1, "lr": 0.1},
        {"layers": 1, "lr": 0.2},
        {"layers": 2, "lr": 0.1},
        {"layers": 2, "lr": 0.2},
    ]


def test_no_values_at_all_are_one_point() -> None:
    assert points() == [{}]


def test_each_use_of_a_list_option_is_one_value() -> None:
    assert points("--sizes 1 2 --sizes 3") == [{"sizes": [1, 2]}, {"sizes": [3]}]


def test_a_flag_takes_several_values_behind_it_or_after_an_equals_sign() -> None:
    assert points("--amp=true,false") == points("--amp true,false") == [{"amp": True}, {"amp": False}]
    assert points("--amp") == [{"amp": True}]


def test_zipped_parameters_advance_together() -> None:
    found = points("--lr 0.1,0.2 --name a --layers 1,2", zips=["layers,lr"])
    assert found == [{"lr": 0.1, "layers": 1, "name": "a"}, {"lr": 0.2, "layers": 2, "name": "a"}]


def test_a_range_without_values_has_no_count() -> None:
    space = space_of(spec(), "--lr 0..1 --layers 1,2")
    assert space.count is None
    assert space.varying == ["layers", "lr"]


def test_a_million_points_are_counted_and_not_made() -> None:
    assert space_of(spec(), "--layers 1..1000 --lr 0..1:n=1000 --name a,b").count == 2_000_000


def test_what_is_no_part_of_what_a_run_is_becomes_a_setting() -> None:
    space = space_of(spec(), "--workers 3 --output-dir out --note a,b --layers 1,2")
    assert sorted(space.settings) == ["note", "output_dir", "workers"]
    assert space.varying == ["layers"]


def test_a_file_gives_values_and_the_command_line_beats_it(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text("lr: 1e-4..1e-1:log:n=4\nlayers: [1, 2]\nname: a,b\nsizes: [[1, 2], [3]]\n", encoding="utf-8")
    space = space_of(spec(), "--layers 5", file=str(path))
    assert space.count == 1 * 4 * 2 * 2
    assert space.sources()["lr"] == f"file {path}:1"
    assert space.sources()["layers"] == "command line"


@pytest.mark.parametrize(
    ("name", "text"),
    [("space.json", '{"lr": [0.1, 0.2], "layers": 3}'), ("space.toml", "lr = [0.1, 0.2]\nlayers = 3\n")],
)
def test_a_file_may_be_json_or_toml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert points(file=str(tmp_path / name)) == [{"lr": 0.1, "layers": 3}, {"lr": 0.2, "layers": 3}]


def test_a_csv_file_gives_points_and_the_rest_multiplies_them(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text('lr,name\n0.1,"a,b"\n0.2,\n', encoding="utf-8")
    assert points("--layers 1,2", points=str(path)) == [
        {"lr": 0.1, "name": "a,b", "layers": 1},
        {"lr": 0.1, "name": "a,b", "layers": 2},
        {"lr": 0.2, "layers": 1},
        {"lr": 0.2, "layers": 2},
    ]


def test_a_table_of_points_whose_columns_do_not_fit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("layers,lr,layers\n\n1,0.1,2\n1,0,1\n1,0.1,3,4\n", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        space_of(spec(), points=str(path))
    assert refused.value.problems == (
        f"file {path}:5 has more values than there are names in line 1.",
        f"layers is the name of two columns (file {path}:1). Give it once.",
    )


def test_lines_of_a_table_of_points_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("layers\n\n1\nx\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r":4: 'x' is not a whole number\.$"):
        space_of(spec(), points=str(path))


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("layers,nane\nx,1\n", encoding="utf-8")
    with pytest.raises(UsageError) as refused:
        space_of(
            spec(),
            "--lr 0.1,fast --workers 1,2 --resume last --unknown 3 --amp true,false",
            points=str(path),
            zips=["lr,layres", "name"],
        )
    assert refused.value.problems == (
        "there is no option --unknown.",
        f"layers, from file {path}:2: 'x' is not a whole number.",
        f"there is no parameter 'nane' (file {path}:1). Did you mean 'name'?",
        "--lr, from the command line: 'fast' is not a number.",
        "--workers has several values (command line), but is no part of what a run is: runs that differ in it only are "
        "the same. Give it one value.",
        "--resume belongs to a single run, not to a sweep (command line).",
        "--zip lr,layres: 'lr' is given no values here.",
        "--zip lr,layres: 'layres' is given no values here.",
        "--zip name: name two parameters or more, with commas between them.",
    )


def test_zipped_parameters_need_equally_many_values() -> None:
    with pytest.raises(UsageError, match=r"^--zip lr,layers: they need equally many values, but lr has 2 and layers"):
        space_of(spec(), "--lr 0.1,0.2 --layers 1,2,3", zips=["lr,layers"])


@pytest.mark.parametrize("words", [["--device", "cpu,cuda"], ["--output-dir", "a,b"]])
def test_what_says_how_a_run_is_started_has_one_value_too(words: list[str]) -> None:
    with pytest.raises(UsageError, match=rf"^{words[0]} has several values \(command line\)"):
        space_of(spec(), words)


@pytest.mark.parametrize("words", [["--note", "slow, but sure"], ["--output-dir==a,b"], ["--tags", "a,b"]])
def test_a_comma_may_be_part_of_such_a_value(words: list[str]) -> None:
    assert list(space_of(spec(), words).grid()) == [{}]


def test_a_parameter_of_the_points_is_not_given_again(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("lr\n0.1\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"^lr is given by --points and by the command line. Give it once.$"):
        space_of(spec(), "--lr 0.2", points=str(path))
