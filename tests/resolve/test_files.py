"""Values from files: params files of three formats, recorded runs, presets, and the project's pyproject.toml."""

from __future__ import annotations

import dataclasses
import datetime
import pathlib
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pystematic.declare import Parameter, ParameterSet, Spec, Structure
from pystematic.errors import NotFoundError
from pystematic.resolve import Given, Parameters, Resolution, resolve, sources_of
from tests.builders import make_run, run_python


@dataclasses.dataclass
class Adam:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclasses.dataclass
class SGD:
    lr: float = 0.1
    momentum: float = 0.0


@dataclasses.dataclass
class Config:
    optimizer: Adam | SGD = dataclasses.field(default_factory=Adam)
    inner: SGD = dataclasses.field(default_factory=SGD)


def make_spec(**more: Any) -> Spec:
    parameters = ParameterSet("experiment 'train'", **more)
    for parameter in (
        Parameter("lr", float, 0.1),
        Parameter("epochs", int, 10),
        Parameter("name", str | None),
        Parameter("amp", bool, False),
        Parameter("sizes", list[int], []),
        Parameter("weights", dict[str, float], {}),
        Parameter("data_dir", pathlib.Path, "data"),
        Parameter("extra_dirs", list[pathlib.Path], []),
        Parameter("day", datetime.date | None),
        Parameter("private", str, "none given", allow_from_file=False),
        Parameter("api_key", str | None),
    ):
        parameters.add(parameter)
    return Spec(parameters)


def make_structure_spec() -> Spec:
    parameters = ParameterSet("experiment 'train'")
    for parameter in Structure(Config, "prog.py:1").parameters:
        parameters.add(parameter)
    return Spec(parameters)


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"), encoding=encoding)
    return path


def outcome(*files: str | Path, spec: Spec | None = None, **more: Any) -> Resolution:
    given = {"params_file": Given("code", plain=[str(file) for file in files])} if files else {}
    return resolve(spec or make_spec(), given, environ={}, **more)


def values(*files: str | Path, **more: Any) -> Parameters:
    resolution = outcome(*files, **more)
    assert resolution.problems == ()
    return resolution.parameters


def problems(*files: str | Path, **more: Any) -> list[str]:
    return list(outcome(*files, **more).problems)


YAML = """
    # The best so far.
    lr: 1e-3

    name: no
    sizes: [1, 2]
    weights:
      a: 1
"""
JSON = """
    {
      "lr": 1e-3,

      "name": "no",
      "sizes": [1, 2],
      "weights": {"a": 1}
    }
"""
TOML = """
    lr = 1e-3


    name = "no"
    sizes = [1, 2]
    [weights]
    a = 1
"""


class TestFormats:
    @pytest.mark.parametrize(("file_name", "text"), [("p.yaml", YAML), ("p.json", JSON), ("p.toml", TOML)])
    def test_every_format_gives_the_same_values_with_their_lines(self, file_name: str, text: str) -> None:
        write(Path(file_name), text)
        parameters = values(file_name)
        assert parameters["lr"] == 0.001
        assert parameters["name"] == "no"
        assert parameters["sizes"] == [1, 2]
        assert parameters["weights"] == {"a": 1.0}
        first_line = {"p.yaml": 2, "p.json": 2, "p.toml": 1}[file_name]
        assert parameters.source_of("lr") == f"file {file_name}:{first_line}"
        assert parameters.source_of("weights") == f"file {file_name}:6"
        assert parameters.source_of("epochs") == "default"

    @pytest.mark.parametrize(
        ("text", "name", "value"),
        [
            ("lr: 1e-3", "lr", 0.001),
            ("lr: .inf", "lr", float("inf")),
            ("name: no", "name", "no"),
            ("name: 12:30", "name", "12:30"),
            ("name: null", "name", None),
            ("name: none", "name", "none"),
            ("name: 'null'", "name", "null"),
            ("amp: true", "amp", True),
            ("epochs: '3'", "epochs", 3),
            ("epochs: 0x10", "epochs", 16),
            ("sizes: 1,2", "sizes", [1, 2]),
            ("day: 2026-01-31", "day", datetime.date(2026, 1, 31)),
            ("data_dir: some/where", "data_dir", pathlib.Path("some/where")),
        ],
    )
    def test_yaml_is_read_by_the_rules_of_1_2(self, text: str, name: str, value: object) -> None:
        write(Path("p.yaml"), text)
        assert values("p.yaml")[name] == value

    def test_toml_has_dates(self) -> None:
        write(Path("p.toml"), "day = 2026-01-31")
        assert values("p.toml")["day"] == datetime.date(2026, 1, 31)

    @pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
    def test_an_empty_file_says_nothing(self, text: str) -> None:
        write(Path("p.yaml"), text)
        assert values("p.yaml")["lr"] == 0.1

    @pytest.mark.parametrize("file_name", ["p.yaml", "p.json", "p.toml"])
    def test_a_byte_order_mark_is_passed_over(self, file_name: str) -> None:
        text = {"p.yaml": "lr: 3", "p.json": '{"lr": 3}', "p.toml": "lr = 3"}[file_name]
        write(Path(file_name), text, encoding="utf-8-sig")
        assert values(file_name)["lr"] == 3.0

    def test_any_other_name_is_read_as_yaml(self) -> None:
        write(Path("params"), '{"lr": 3}')
        assert values("params")["lr"] == 3.0

    def test_the_source_names_the_file_as_it_was_given(self, tmp_path: Path) -> None:
        path = write(tmp_path / "elsewhere" / "p.yaml", "lr: 3")
        assert values(path).source_of("lr") == f"file {path}:1"
        assert values("../elsewhere/p.yaml").source_of("lr") == "file ../elsewhere/p.yaml:1"


class TestNames:
    def test_an_unknown_name_gets_the_nearest_one_and_its_line(self) -> None:
        write(Path("p.yaml"), "lr: 3\nepoch: 3\ndata-dir: a\nother: 1\n")
        assert problems("p.yaml") == [
            "file p.yaml:2: there is no parameter 'epoch'. Did you mean 'epochs'?",
            "file p.yaml:3: there is no parameter 'data-dir'. Did you mean 'data_dir'?",
            "file p.yaml:4: there is no parameter 'other'.",
        ]

    def test_what_no_file_may_set_is_passed_over(self) -> None:
        write(Path("p.yaml"), "private: from the file\nparams_file: [other.yaml]\npreset: big\ndry_run: true\n")
        parameters = values("p.yaml")
        assert parameters["private"] == "none given"
        assert parameters.source_of("preset") == "default"

    @pytest.mark.parametrize(
        "text",
        ["inner:\n  lr: 3\n", "inner.lr: 3\n"],
    )
    def test_nested_fields_are_tables_or_dotted_names(self, text: str) -> None:
        write(Path("p.yaml"), text)
        line = text.count("\n")
        parameters = values("p.yaml", spec=make_structure_spec())
        assert parameters["inner.lr"] == 3.0
        assert parameters.source_of("inner.lr") == f"file p.yaml:{line}"

    def test_an_unknown_nested_name_gets_the_nearest_one(self) -> None:
        write(Path("p.yaml"), "inner:\n  momentun: 3\n")
        assert problems("p.yaml", spec=make_structure_spec()) == [
            "file p.yaml:2: there is no parameter 'inner.momentun'. Did you mean 'inner.momentum'?"
        ]

    def test_a_name_that_stands_twice_in_two_spellings_is_an_error(self) -> None:
        write(Path("p.yaml"), "inner.lr: 1\ninner:\n  lr: 2\n")
        assert problems("p.yaml", spec=make_structure_spec()) == [
            "file p.yaml:3: 'inner.lr' stands here again, after file p.yaml:1."
        ]

    def test_a_key_that_is_no_text_is_unknown(self) -> None:
        write(Path("p.yaml"), "3: 4\n")
        assert problems("p.yaml") == ["file p.yaml:1: there is no parameter '3'."]


class TestBadFiles:
    @pytest.mark.parametrize(
        ("file_name", "text", "problem"),
        [
            pytest.param("p.yaml", "lr: {]", "file p.yaml: line 1: this is no YAML: ", id="broken YAML"),
            pytest.param("p.json", '{"lr": }', "file p.json: line 1: this is no JSON: ", id="broken JSON"),
            pytest.param("p.toml", "lr = = 3", "file p.toml: line 1: this is no TOML: ", id="broken TOML"),
            pytest.param("p.yaml", "lr: 1\nlr: 2", "file p.yaml: line 2: 'lr' stands here again, after line 1.",
                         id="a key twice"),
            pytest.param("p.yaml", "- 1", "file p.yaml: expected names and values, got [1].", id="a list"),
            pytest.param("p.json", "3", "file p.json: expected names and values, got 3.", id="a number"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_told(self, file_name: str, text: str, problem: str) -> None:
        write(Path(file_name), text)
        (told,) = problems(file_name)
        assert told.startswith(problem)

    def test_a_file_that_is_no_text_is_told(self) -> None:
        Path("p.yaml").write_bytes(b"lr: \xff\xfe")
        assert problems("p.yaml") == ["file p.yaml cannot be read: it is no UTF-8 text."]

    @pytest.mark.parametrize("tag", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!own x"])
    def test_no_file_executes_code(self, tag: str) -> None:
        write(Path("p.yaml"), f"name: {tag}\n")
        (told,) = problems("p.yaml")
        assert told.startswith("file p.yaml: line 1: the tag ")
        assert told.endswith(" is refused: a file holds data only, and executes nothing.")

    def test_a_missing_file_is_told(self) -> None:
        assert problems("missing.yaml") == ["--params-file: there is no file 'missing.yaml'."]

    def test_all_problems_of_all_files_are_told_at_once(self) -> None:
        write(Path("a.yaml"), "epoch: 3\nepochs: 3.7\n")
        write(Path("b.yaml"), "amp: maybe\n")
        assert problems("a.yaml", "missing.yaml", "b.yaml") == [
            "file a.yaml:1: there is no parameter 'epoch'. Did you mean 'epochs'?",
            "--params-file: there is no file 'missing.yaml'.",
            "epochs, from file a.yaml:2: 3.7 is not a whole number.",
            "amp, from file b.yaml:1: 'maybe' is not true or false.",
        ]


class TestRecordedRuns:
    def test_the_parameters_of_a_run_come_from_its_record(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": 0.5, "sizes": [3], "data_dir": pathlib.Path("d")})
        parameters = values(run_dir.parameters_file)
        assert (parameters["lr"], parameters["sizes"], parameters["data_dir"]) == (0.5, [3], pathlib.Path("d"))
        assert parameters.source_of("lr") == f"run {run_dir.id}"

    def test_a_run_that_is_no_file_is_looked_for(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": 0.5})
        asked: list[str] = []

        def find(text: str) -> tuple[str, str]:
            asked.append(text)
            return run_dir.id, str(run_dir.parameters_file)

        parameters = values("last", find_run=find)
        assert asked == ["last"]
        assert (parameters["lr"], parameters.source_of("lr")) == (0.5, f"run {run_dir.id}")

    def test_an_existing_file_of_the_name_wins(self) -> None:
        def find(text: str) -> tuple[str, str]:
            raise AssertionError(text)

        write(Path("last"), "lr: 7\n")
        assert values("last", find_run=find)["lr"] == 7.0

    def test_what_is_neither_a_file_nor_a_run_is_told(self) -> None:
        def find(text: str) -> tuple[str, str]:
            raise NotFoundError(f"there is no run {text!r}.")

        assert problems("nothing", find_run=find) == [
            "--params-file: there is no file 'nothing', and no run: there is no run 'nothing'."
        ]

    def test_what_is_not_replayed_is_left_out(self) -> None:
        recorded = {"lr": 0.5, "output_dir": "elsewhere", "device": "cuda", "debug": True, "random_seed": 5}
        run_dir = make_run(Path("output"), params=recorded)
        parameters = values(run_dir.parameters_file)
        assert sources_of(parameters)["random_seed"] == f"run {run_dir.id}"
        assert {sources_of(parameters)[name] for name in ("output_dir", "device", "debug")} == {"default"}

    def test_a_name_of_another_version_is_passed_over(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": 0.5, "max_restarts": 3, "grace": "25s"})
        assert values(run_dir.parameters_file, spec=make_spec())["lr"] == 0.5

    def test_a_parameter_that_the_program_has_no_longer_is_told(self) -> None:
        run_dir = make_run(Path("output"), params={"epoch": 3})
        assert problems(run_dir.parameters_file) == [
            f"run {run_dir.id}: there is no parameter 'epoch'. Did you mean 'epochs'?"
        ]

    def test_a_masked_value_counts_as_given_nowhere(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": 0.5})
        write(Path(run_dir.parameters_file), 'api_key: {"$type": "masked"}\n')
        assert problems(run_dir.parameters_file) == [
            f"api_key, from run {run_dir.id}: it is masked in the record. Give it again: --api-key."
        ]
        given = {
            "params_file": Given("code", plain=[str(run_dir.parameters_file)]),
            "api_key": Given("code", plain="new"),
        }
        assert resolve(make_spec(), given, environ={}).parameters["api_key"] == "new"

    def test_a_default_that_was_recorded_as_text_only_gives_way_to_the_declared_one(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": object()}, sources={"lr": "default of experiment"})
        assert values(run_dir.parameters_file)["lr"] == 0.1

    def test_a_value_that_was_recorded_as_text_only_is_told(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": object()}, sources={"lr": "code"})
        (told,) = problems(run_dir.parameters_file)
        assert told.startswith(f"lr, from run {run_dir.id}: it was recorded as text only ('<object object at ")
        assert told.endswith(". Give it again: --lr.")

    @pytest.mark.parametrize(
        ("plain", "shown"), [('{"$type": "exact", "value": true}', "True"), ('{"$type": "exact", "value": 3.7}', "3.7")]
    )
    def test_a_record_is_checked_as_strictly_as_any_source(self, plain: str, shown: str) -> None:
        write(Path("p.yaml"), f"epochs: {plain}\n")
        assert problems("p.yaml") == [f"epochs, from file p.yaml:1: {shown} is not a whole number."]

    def test_a_copy_of_the_record_is_an_ordinary_file(self) -> None:
        run_dir = make_run(Path("output"), params={"lr": 0.5, "output_dir": "elsewhere"})
        copied = write(Path("copied.yaml"), Path(run_dir.parameters_file).read_text(encoding="utf-8"))
        assert sources_of(values(copied))["output_dir"] == "file copied.yaml:3"


class TestPresets:
    def test_a_preset_stands_in_a_folder_beside_the_program(self, tmp_path: Path) -> None:
        write(tmp_path / "program" / "presets" / "big.yaml", "lr: 3\n")
        resolution = resolve(
            make_spec(), {"preset": Given("code", plain="big")}, environ={}, program_dir=str(tmp_path / "program")
        )
        assert resolution.parameters["lr"] == 3.0
        assert resolution.parameters.source_of("lr") == "file presets/big.yaml:1"

    def test_yaml_comes_before_the_other_formats(self) -> None:
        write(Path("presets/big.json"), '{"lr": 4}')
        write(Path("presets/big.yaml"), "lr: 3\n")
        write(Path("presets/small.json"), '{"lr": 5}')
        assert resolve(make_spec(), {"preset": Given("code", plain="big")}, environ={}).parameters["lr"] == 3.0
        assert resolve(make_spec(), {"preset": Given("code", plain="small")}, environ={}).parameters["lr"] == 5.0

    def test_an_unknown_preset_gets_the_nearest_one(self, working_dir: Path) -> None:
        write(Path("presets/big.yaml"), "lr: 3\n")
        write(Path("presets/small.yaml"), "lr: 3\n")
        resolution = resolve(make_spec(), {"preset": Given("code", plain="smal")}, environ={})
        assert resolution.problems == (
            f"--preset: there is no preset 'smal'. Did you mean 'small'? There are big, small in "
            f"{working_dir / 'presets'}.",
        )

    def test_without_the_folder_there_is_none(self, working_dir: Path) -> None:
        resolution = resolve(make_spec(), {"preset": Given("code", plain="big")}, environ={})
        assert resolution.problems == (
            f"--preset: there is no preset 'big'. There is none in {working_dir / 'presets'}.",
        )

    @pytest.mark.parametrize("name", ["../secret", "/etc/passwd"])
    def test_a_preset_is_no_path(self, name: str) -> None:
        write(Path("secret.yaml"), "lr: 3\n")
        (told,) = resolve(make_spec(), {"preset": Given("code", plain=name)}, environ={}).problems
        assert told.startswith(f"--preset: there is no preset {name!r}.")

    def test_a_preset_may_be_a_default_of_the_experiment(self) -> None:
        write(Path("presets/big.yaml"), "lr: 3\n")
        parameters = values(spec=make_spec(defaults={"preset": "big"}))
        assert (parameters["lr"], parameters["preset"]) == (3.0, "big")
        assert parameters.source_of("preset") == "default of experiment"

    def test_a_params_file_may_be_a_default_of_the_experiment(self) -> None:
        write(Path("p.yaml"), "lr: 3\n")
        assert values(spec=make_spec(defaults={"params_file": ["p.yaml"]}))["lr"] == 3.0


PROJECT = """
    [project]
    name = "example"

    [tool.pystematic]
    output_dir = "runs"
    epochs = 5
    data_dir = "big/data"
    extra_dirs = ["a", "/b"]
"""


class TestProjectFile:
    def test_its_table_holds_what_is_always_set(self) -> None:
        write(Path("pyproject.toml"), PROJECT)
        parameters = values()
        assert parameters["epochs"] == 5
        assert parameters.source_of("epochs") == "project pyproject.toml:6"

    def test_its_paths_are_relative_to_it(self, working_dir: Path) -> None:
        write(Path("pyproject.toml"), PROJECT)
        (working_dir / "sub").mkdir()
        parameters = values(directory=str(working_dir / "sub"))
        assert parameters["output_dir"] == str(working_dir / "runs")
        assert parameters["data_dir"] == working_dir / "big" / "data"
        assert parameters["extra_dirs"] == [working_dir / "a", pathlib.Path("/b")]
        assert parameters.source_of("output_dir") == "project ../pyproject.toml:5"

    def test_a_tilde_is_the_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/somebody")
        write(Path("pyproject.toml"), '[tool.pystematic]\noutput_dir = "~/runs"\n')
        assert values()["output_dir"] == "/home/somebody/runs"

    def test_a_wrong_value_is_told_like_any_other(self) -> None:
        write(Path("pyproject.toml"), "[tool.pystematic]\noutput_dir = 3\nepochs = true\nextra_dirs = [3]\n")
        assert problems() == [
            "epochs, from project pyproject.toml:3: True is not a whole number.",
            "extra_dirs, from project pyproject.toml:4: 3 is not a path.",
            "output_dir, from project pyproject.toml:2: 3 is not a path.",
        ]

    def test_the_nearest_one_counts(self, working_dir: Path) -> None:
        write(Path("pyproject.toml"), "[tool.pystematic]\nepochs = 5\n")
        write(Path("sub/pyproject.toml"), "[project]\nname = 'other'\n")
        assert values(directory=str(working_dir / "sub"))["epochs"] == 10

    def test_an_unknown_name_is_an_error(self) -> None:
        write(Path("pyproject.toml"), "[tool.pystematic]\nepoch = 5\n")
        assert problems() == ["project pyproject.toml:2: there is no parameter 'epoch'. Did you mean 'epochs'?"]

    def test_a_command_passes_over_names_that_it_does_not_know(self) -> None:
        write(Path("pyproject.toml"), "[tool.pystematic]\nepoch = 5\nepochs = 6\n")
        assert values(lenient=True)["epochs"] == 6

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[tool.pystematic\n", "project pyproject.toml: line 1: this is no TOML: "),
            ("[tool]\npystematic = 3\n", "project pyproject.toml: [tool.pystematic] is no table."),
        ],
    )
    def test_a_broken_one_is_told(self, text: str, problem: str) -> None:
        write(Path("pyproject.toml"), text)
        (told,) = problems()
        assert told.startswith(problem)

    def test_one_that_is_no_text_is_told(self) -> None:
        Path("pyproject.toml").write_bytes(b"[tool.pystematic]\nname = '\xff'\n")
        assert problems() == ["project pyproject.toml cannot be read: it is no UTF-8 text."]

    @pytest.mark.parametrize(
        "text",
        [
            "[tool.pystematic]\nepochs = 5\n",
            "[ tool . 'pystematic' ]\nepochs = 5\n",
            '["tool"."pystematic"]\nepochs = 5\n',
            "[tool]\npystematic.epochs = 5\n",
            "[project]\n[tool] # ours, and others\nrows = [\n['a'],\n]\npystematic.epochs = 5\n",
            "[tool]\npystematic = {epochs = 5}\n",
            "[tool]\n'pystematic' = {epochs = 5}\n",
            "tool.pystematic.epochs = 5\n",
            "tool = {pystematic = {epochs = 5}}\n",
        ],
    )
    def test_every_way_to_write_the_table_is_found(self, text: str) -> None:
        write(Path("pyproject.toml"), text)
        assert values()["epochs"] == 5

    def test_a_project_that_only_depends_on_pystematic_is_not_parsed(self) -> None:
        write(
            Path("pyproject.toml"),
            """
            [project]
            dependencies = [
                "pystematic>=2",
                'pystematic[torch]',
            ]
            [project.entry-points.'pystematic']
            [project.scripts]
            pystematic = "pystematic.cli:main"
            [tool.other]
            pystematic = true
            """,
        )
        done = run_python(
            "-c",
            "import sys\nimport pystematic\n@pystematic.experiment\ndef train(): pass\n"
            "train.resolve({})\nassert 'tomllib' not in sys.modules",
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_choice_of_the_command_line_overrules_the_class_that_a_file_chose() -> None:
    write(Path("p.yaml"), "optimizer: adam\noptimizer.lr: 5\noptimizer.betas: [0.5, 0.5]\n")
    given: Mapping[str, Given] = {
        "params_file": Given("code", plain=["p.yaml"]),
        "optimizer": Given("code", plain="sgd"),
    }
    resolution = resolve(make_structure_spec(), given, environ={})
    assert resolution.problems == ()
    assert resolution.parameters["optimizer.lr"] == 0.1
    assert "optimizer.betas" not in resolution.parameters
