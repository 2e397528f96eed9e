"""Precedence and problems: which source counts for each parameter, and everything that is wrong at once."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st

from pystematic.declare import Parameter, ParameterSet, Spec
from pystematic.resolve import PRECEDENCE, Given, OptionReader, Resolution, resolve, tokenize


def make_spec(*parameters: Parameter, **more: Any) -> Spec:
    made = ParameterSet("experiment 'train'", where="prog.py:1", **more)
    for parameter in parameters:
        made.add(parameter)
    return Spec(made)


def parameter(name: str, *args: Any, **more: Any) -> Parameter:
    return Parameter(name, *args, where="prog.py:3", **more)


def in_code(**values: object) -> dict[str, Given]:
    return {name: Given("code", plain=value) for name, value in values.items()}


def outcome(
    spec: Spec, *argv: str, code: Mapping[str, Given] | None = None, env: Mapping[str, str] | None = None
) -> Resolution:
    reader = OptionReader()
    reader.read(tokenize(argv), spec)
    return resolve(spec, {**reader.given, **(code or {})}, problems=reader.problems, environ=env or {})


def value(spec: Spec, name: str, *argv: str, **more: Any) -> object:
    resolution = outcome(spec, *argv, **more)
    assert resolution.problems == ()
    return resolution.parameters[name]


def problems(spec: Spec, *argv: str, **more: Any) -> list[str]:
    return list(outcome(spec, *argv, **more).problems)


# Each source gives the parameter a value of its own, so that the value tells which one counted.
SOURCES = ("command line", "environment LR", "file two.yaml:1", "file one.yaml:1", "file presets/big.yaml:1",
           "project pyproject.toml:2", "default of experiment")  # fmt: skip


@for_all(st.sets(st.sampled_from(SOURCES)), st.permutations([0, 1, 2]))
def test_the_strongest_source_counts_whatever_others_there_are(present: set[str], order: list[int]) -> None:
    for path in (Path("one.yaml"), Path("two.yaml"), Path("presets/big.yaml"), Path("pyproject.toml")):
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
    values = {source: float(i) for i, source in enumerate(SOURCES, 1)}
    for source in present:
        if source.startswith("file "):
            Path(source[5:-2]).write_text(f"lr: {values[source]}\n", encoding="utf-8")
        elif source.startswith("project "):
            Path("pyproject.toml").write_text(f"[tool.pystematic]\nlr = {values[source]}\n", encoding="utf-8")
    options = [
        ["--params-file", *(name for name in ("one.yaml", "two.yaml") if f"file {name}:1" in present)],
        ["--preset", "big"] if SOURCES[4] in present else [],
        ["--lr", str(values["command line"])] if "command line" in present else [],
    ]
    argv = [text for i in order for text in options[i] if len(options[i]) > 1]
    spec = make_spec(
        parameter("lr", float, 0.5, envvar="LR"),
        defaults={"lr": values["default of experiment"]} if "default of experiment" in present else None,
    )
    resolution = outcome(spec, *argv, env={"LR": str(values[SOURCES[1]])} if SOURCES[1] in present else {})

    expected = next((source for source in SOURCES if source in present), "default")
    assert resolution.problems == ()
    assert resolution.parameters.source_of("lr") == expected
    assert resolution.parameters["lr"] == values.get(expected, 0.5)


def test_the_precedence_that_is_printed_has_a_name_for_each_of_these_sources() -> None:
    assert PRECEDENCE == (
        "command line (or code)",
        "environment",
        "params file (later ones first)",
        "preset",
        "project file (pyproject.toml)",
        "defaults= of the experiment",
        "declared default",
    )


class TestEnvironment:
    def test_only_a_named_variable_is_read(self) -> None:
        names = ("path", "debug", "name", "local_rank", "home", "user", "lr")
        spec = make_spec(*(parameter(name) for name in names if name not in ("debug", "local_rank")))
        env = {name.upper(): "from the shell" for name in names} | dict.fromkeys(names, "from the shell")
        parameters = outcome(spec, env=env).parameters
        assert {name: parameters.source_of(name) for name in names} == dict.fromkeys(names, "default")

    def test_the_variables_of_the_process_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYSTEMATIC_OUTPUT_DIR", "elsewhere")
        parameters = resolve(make_spec(), {}).parameters
        assert (parameters["output_dir"], parameters.source_of("output_dir")) == (
            "elsewhere",
            "environment PYSTEMATIC_OUTPUT_DIR",
        )

    @pytest.mark.parametrize(
        ("type", "text", "expected"),
        [
            (list[int], "1,2", [1, 2]),
            (list[str], '["a,b"]', ["a,b"]),
            (bool, "1", True),
            (int | None, "none", None),
            (str, "=x", "=x"),
            (Literal["a", "b"], "B", "b"),
        ],
    )
    def test_a_variable_is_read_like_one_word(self, type: Any, text: str, expected: object) -> None:
        assert value(make_spec(parameter("x", type, envvar="X")), "x", env={"X": text}) == expected

    def test_an_empty_variable_is_not_set(self) -> None:
        assert value(make_spec(parameter("x", int, 3, envvar="X")), "x", env={"X": ""}) == 3

    def test_a_wrong_value_names_its_variable(self) -> None:
        assert problems(make_spec(parameter("x", int, 3, envvar="X_COUNT")), env={"X_COUNT": "many"}) == [
            "x, from environment X_COUNT: 'many' is not a whole number."
        ]


class TestStrictness:
    @pytest.mark.parametrize(
        ("type", "text", "reason"),
        [
            (int, "3.7", "a whole number"),
            (int, "true", "a whole number"),
            (float, "true", "a number"),
            (bool, '"maybe"', "true or false"),
            (Literal["a", "b"], '"c"', "one of a or b"),
            (list[int], "[1, 2.5]", "a whole number"),
        ],
    )
    def test_a_value_is_refused_alike_from_every_source(self, type: Any, text: str, reason: str) -> None:
        spec = make_spec(parameter("x", type, envvar="X"))
        plain = json.loads(text)
        words = str(plain) if isinstance(plain, str) else text
        shown = repr(2.5 if isinstance(plain, list) else plain)
        shown_word = repr("2.5") if isinstance(plain, list) else repr(words)
        if isinstance(plain, list):
            words = "1,2.5"
        Path("p.yaml").write_text(f"x: {text}\n", encoding="utf-8")
        Path("p.json").write_text(f'{{"x": {text}}}\n', encoding="utf-8")
        Path("p.toml").write_text(f"x = {text}\n", encoding="utf-8")
        told = [
            problems(spec, f"--x={words}"),
            problems(spec, env={"X": words}),
            problems(spec, code=in_code(x=plain)),
            *(problems(spec, "--params-file", name) for name in ("p.yaml", "p.json", "p.toml")),
        ]
        assert told == [
            [f"--x, from the command line: {shown_word} is not {reason}."],
            [f"x, from environment X: {shown_word} is not {reason}."],
            [f"x, from code: {shown} is not {reason}."],
            *([f"x, from file {name}:1: {shown} is not {reason}."] for name in ("p.yaml", "p.json", "p.toml")),
        ]

    def test_a_value_that_does_not_count_is_not_looked_at(self) -> None:
        Path("p.yaml").write_text("x: wrong\n", encoding="utf-8")
        assert value(make_spec(parameter("x", int, 1)), "x", "--x", "3", "--params-file", "p.yaml") == 3


class TestLists:
    @pytest.mark.parametrize(
        "argv",
        [["--sizes", "1", "2", "3"], ["--sizes", "1", "--sizes", "2", "--sizes=3"], ["--sizes", "1,2,3"],
         ["--sizes=1,2", "--sizes", "3"], ["--sizes", "[1, 2, 3]"]],
    )  # fmt: skip
    def test_one_list_has_many_spellings(self, argv: list[str]) -> None:
        assert value(make_spec(parameter("sizes", list[int])), "sizes", *argv) == [1, 2, 3]

    @pytest.mark.parametrize(("text", "expected"), [("-1,-inf", [-1.0, float("-inf")]), ("-.5", [-0.5])])
    def test_a_list_may_begin_with_a_dash(self, text: str, expected: list[float]) -> None:
        assert value(make_spec(parameter("x", list[float])), "x", "--x", text) == expected


class TestFlags:
    @pytest.mark.parametrize(
        ("argv", "expected"),
        [(["--amp"], True), (["--no-amp"], False), (["--amp=false"], False), (["--amp", "true"], True), ([], None)],
    )
    def test_a_flag_is_on_or_off_or_unset(self, argv: list[str], expected: object) -> None:
        assert value(make_spec(parameter("amp", bool | None)), "amp", *argv) is expected


class TestNone:
    @pytest.mark.parametrize(("text", "expected"), [("none", None), ("=none", "none"), ("==none", "=none")])
    def test_none_is_a_value_where_the_type_allows_it(self, text: str, expected: object) -> None:
        assert value(make_spec(parameter("note", str | None, "x")), "note", "--note", text) == expected

    def test_none_is_text_where_it_does_not(self) -> None:
        assert value(make_spec(parameter("word", str, "x")), "word", "--word", "none") == "none"
        assert problems(make_spec(parameter("epochs", int, 3)), "--epochs", "none") == [
            "--epochs, from the command line: 'none' is not a whole number."
        ]


class TestRequired:
    def test_a_missing_value_is_told_with_the_places_to_give_it(self) -> None:
        assert problems(make_spec(parameter("data_dir", pathlib.Path, required=True))) == [
            "--data-dir is required. Give it on the command line (--data-dir PATH) or in a params file."
        ]
        spec = make_spec(parameter("x", int, required=True, envvar="X", allow_from_file=False))
        assert problems(spec) == ["--x is required. Give it on the command line (--x INT), in the environment (X)."]

    def test_a_default_of_the_experiment_is_a_value(self) -> None:
        assert value(make_spec(parameter("x", int, required=True), defaults={"x": 3}), "x") == 3

    def test_a_declared_default_is_a_value(self) -> None:
        assert value(make_spec(parameter("x", int, 3, required=True)), "x") == 3

    def test_none_is_no_value(self) -> None:
        spec = make_spec(parameter("x", int | None, required=True))
        assert problems(spec, "--x", "none") == ["--x is required, and cannot be none (command line)."]


class TestDefaults:
    def test_a_callable_is_asked_once_for_each_run_that_needs_it(self) -> None:
        calls: list[int] = []

        def count() -> int:
            calls.append(1)
            return len(calls)

        spec = make_spec(parameter("x", int, count))
        assert [value(spec, "x"), value(spec, "x"), value(spec, "x", "--x", "9")] == [1, 2, 9]
        assert len(calls) == 2

    def test_what_a_callable_makes_is_checked(self) -> None:
        assert problems(make_spec(parameter("x", int, lambda: 3.7))) == [
            "x, from its default (prog.py:3): 3.7 is not a whole number."
        ]

    def test_a_callable_that_raises_is_a_problem(self) -> None:
        assert problems(make_spec(parameter("x", int, lambda: os.environ["RATE"]))) == [
            "x: its default (prog.py:3) cannot be made: KeyError: 'RATE'."
        ]

    def test_a_mutable_default_is_new_for_each_run(self) -> None:
        spec = make_spec(parameter("sizes", list[int], [1]))
        first = outcome(spec).parameters
        first["sizes"].append(2)
        assert value(spec, "sizes") == [1]


class TestUnions:
    @pytest.fixture
    def spec(self) -> Spec:
        return make_spec(
            parameter("optimizer", Literal["adam", "sgd"], "adam"),
            parameter("optimizer.lr", float, 1e-3, conditions=(("optimizer", "adam"),)),
            parameter("optimizer.betas", list[float], [0.9], conditions=(("optimizer", "adam"),)),
            parameter("optimizer.lr", float, 0.1, conditions=(("optimizer", "sgd"),)),
            parameter("optimizer.momentum", float, 0.0, conditions=(("optimizer", "sgd"),)),
        )

    def test_only_the_fields_of_the_chosen_class_count(self, spec: Spec) -> None:
        parameters = outcome(spec, "--optimizer", "sgd").parameters
        assert {name: parameters[name] for name in parameters if name.startswith("optimizer")} == {
            "optimizer": "sgd",
            "optimizer.lr": 0.1,
            "optimizer.momentum": 0.0,
        }

    def test_a_field_of_another_class_is_told(self, spec: Spec) -> None:
        assert problems(spec, "--optimizer.momentum", "0.9") == [
            "--optimizer.momentum, from the command line: it belongs to optimizer sgd, but optimizer is adam."
        ]

    def test_a_field_of_another_class_in_the_file_that_chose_is_told(self, spec: Spec) -> None:
        Path("p.yaml").write_text("optimizer: sgd\noptimizer.betas: [1]\n", encoding="utf-8")
        assert problems(spec, "--params-file", "p.yaml") == [
            "optimizer.betas, from file p.yaml:2: it belongs to optimizer adam, but optimizer is sgd."
        ]

    def test_a_stronger_choice_passes_over_what_weaker_sources_say_of_other_classes(self, spec: Spec) -> None:
        Path("p.yaml").write_text("optimizer: adam\noptimizer.lr: 5\noptimizer.betas: [1]\n", encoding="utf-8")
        argv = ("--params-file", "p.yaml", "--optimizer", "sgd")
        assert value(spec, "optimizer.lr", *argv) == 0.1
        assert "optimizer.betas" not in outcome(spec, *argv).parameters

    def test_a_choice_that_is_wrong_and_does_not_count_is_passed_over_with_its_fields(self, spec: Spec) -> None:
        Path("p.yaml").write_text("optimizer: adan\noptimizer.lr: 5\n", encoding="utf-8")
        assert value(spec, "optimizer.lr", "--params-file", "p.yaml", "--optimizer", "sgd") == 0.1

    def test_a_value_for_whatever_class_is_chosen_counts(self, spec: Spec) -> None:
        Path("p.yaml").write_text("optimizer.lr: 5\n", encoding="utf-8")
        assert value(spec, "optimizer.lr", "--params-file", "p.yaml", "--optimizer", "sgd") == 5.0

    def test_later_files_may_choose_another_class(self, spec: Spec) -> None:
        Path("one.yaml").write_text("optimizer: adam\noptimizer.betas: [1]\n", encoding="utf-8")
        Path("two.yaml").write_text("optimizer: sgd\n", encoding="utf-8")
        assert value(spec, "optimizer", "--params-file", "one.yaml", "two.yaml") == "sgd"

    def test_a_wrong_choice_is_told_alone(self, spec: Spec) -> None:
        assert problems(spec, "--optimizer", "adan", "--optimizer.momentum", "1") == [
            "--optimizer, from the command line: 'adan' is not one of adam or sgd. Did you mean 'adam'?"
        ]


class TestProblems:
    def test_all_are_told_at_once(self) -> None:
        Path("p.yaml").write_text("epochz: 1\nname: 3\n", encoding="utf-8")
        spec = make_spec(
            parameter("epochs", int, 3, envvar="EPOCHS"),
            parameter("lr", float, 0.1),
            parameter("name", str, "x"),
            parameter("data_dir", required=True),
        )
        assert problems(
            spec, "--lr", "fast", "--rl", "1", "--params-file", "p.yaml", env={"EPOCHS": "3.7"}, code=in_code(nam=1)
        ) == [
            "there is no option --rl. Did you mean --lr?",
            "file p.yaml:1: there is no parameter 'epochz'. Did you mean 'epochs'?",
            "there is no parameter 'nam' (code). Did you mean 'name'?",
            "epochs, from environment EPOCHS: '3.7' is not a whole number.",
            "--lr, from the command line: 'fast' is not a number.",
            "name, from file p.yaml:2: 3 is not text.",
            "--data-dir is required. Give it on the command line (--data-dir TEXT) or in a params file.",
        ]

    def test_a_command_without_our_parameters_is_resolved_too(self) -> None:
        parameters = ParameterSet("command 'ls'")
        parameters.add(parameter("x", int, 1))
        assert dict(resolve(Spec(parameters, framework=False), {}, environ={}).parameters) == {"x": 1}

    def test_parameters_with_a_problem_are_missing_and_the_others_are_there(self) -> None:
        spec = make_spec(parameter("lr", float, 0.1), parameter("epochs", int, 3))
        parameters = outcome(spec, "--lr", "fast").parameters
        assert "lr" not in parameters
        assert parameters["epochs"] == 3

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            pytest.param({"type": int, "default": 1}, in_code(pin="s3cret"), id="given"),
            pytest.param({"type": int, "default": lambda: "s3cret"}, {}, id="made"),
            pytest.param({"type": lambda text: int(text), "default": 1}, in_code(pin="s3cret"), id="converted"),
        ],
    )
    def test_the_value_of_a_secret_is_not_told(self, more: dict[str, Any], code: dict[str, Given]) -> None:
        (told,) = problems(make_spec(parameter("pin", secret=True, **more)), code=code)
        assert "s3cret" not in told
        assert "the masked value is not " in told

    def test_a_preset_or_params_file_of_the_wrong_type_is_told_once(self) -> None:
        assert problems(make_spec(), code=in_code(preset=3, params_file=4)) == [
            "params_file, from code: 4 is not a list, each item a path.",
            "preset, from code: 3 is not text.",
        ]

    @pytest.mark.parametrize("given", ["p.yaml", Path("p.yaml"), ["p.yaml"], (Path("p.yaml"),)])
    def test_code_may_give_params_files_as_text_or_paths(self, given: object) -> None:
        Path("p.yaml").write_text("x: 5\n", encoding="utf-8")
        assert value(make_spec(parameter("x", int, 1)), "x", code=in_code(params_file=given)) == 5

    def test_code_may_give_the_output_folder_as_a_path(self) -> None:
        assert value(make_spec(), "output_dir", code=in_code(output_dir=Path("a") / "b")) == os.path.join("a", "b")
