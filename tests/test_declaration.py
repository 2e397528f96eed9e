"""Experiments, groups and parameters as an author declares them: what they end up with, and what is refused where."""

from __future__ import annotations

import dataclasses
import pathlib
import runpy
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import pydantic
import pytest

import pystematic
from pystematic import _experiment
from pystematic.errors import DeclarationError, UsageError
from pystematic.resolve import Parameters
from tests.builders import make_run, run_python, write_program


@pytest.fixture(autouse=True)
def _own_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the experiments of a test out of the program of the next one."""
    monkeypatch.setattr(_experiment.program, "members", {})


@dataclasses.dataclass
class Adam:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclasses.dataclass
class SGD:
    lr: float = 0.1


@dataclasses.dataclass
class Config:
    epochs: int
    optimizer: Adam | SGD = dataclasses.field(default_factory=Adam)
    inner: SGD = dataclasses.field(default_factory=SGD)


@attrs.define
class AttrsConfig:
    rate: float = attrs.field(default=0.1, validator=attrs.validators.gt(0))


class ModelConfig(pydantic.BaseModel):
    rate: float = pydantic.Field(default=0.1, gt=0)
    steps: int = 3

    @pydantic.field_validator("steps")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("steps must be even")
        return value


def own_names(experiment: Any) -> list[str]:
    """Return the names of an experiment's parameters without those that every experiment has."""
    return [parameter.name for parameter in experiment.get_parameters() if not parameter.framework]


def values(experiment: Any, **given: object) -> Parameters:
    resolved: Parameters = experiment.resolve(given).parameters
    return resolved


def problems(experiment: Any, **given: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        experiment.resolve(given)
    return list(caught.value.problems)


def define(text: str) -> dict[str, Any]:
    """Define what a program file ``prog.py`` in the working directory defines; return its names."""
    path = write_program(Path.cwd(), text)
    return runpy.run_path(str(path), run_name="prog")


def definition_error(text: str) -> str:
    """Return why a program cannot be defined, its path shortened to its name."""
    with pytest.raises(DeclarationError) as caught:
        define(text)
    return str(caught.value).replace(f"{Path.cwd()}/", "")


class TestParameters:
    def test_they_stand_in_the_order_in_which_they_are_written(self) -> None:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.param_group("Data", pystematic.parameter("size", default=3), pystematic.parameter("path"))
        @pystematic.parameter("epochs", type=int, default=10)
        @pystematic.experiment
        def train(parameters: Parameters) -> None: ...

        assert own_names(train) == ["lr", "epochs", "size", "path"]

    def test_they_may_stand_below_the_experiment_too(self) -> None:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.experiment
        @pystematic.parameter("epochs", type=int, default=10)
        def train(parameters: Parameters) -> None: ...

        assert own_names(train) == ["lr", "epochs"]

    def test_a_parameter_may_be_declared_once_and_used_in_several_experiments(self) -> None:
        rate = pystematic.parameter("lr", type=float, default=0.1)

        @rate
        @pystematic.experiment
        def train() -> None: ...

        @rate
        @pystematic.experiment(defaults={"lr": 5})
        def evaluate() -> None: ...

        assert (values(train)["lr"], values(evaluate)["lr"]) == (0.1, 5.0)

    def test_all_arguments_of_the_decorator_reach_the_parameter(self) -> None:
        @pystematic.parameter(
            name="rates",
            type=float,
            default=[0.1],
            required=True,
            multiple=True,
            allow_from_file=False,
            envvar="RATES",
            help="The rates.",
            default_help="a tenth",
            hidden=True,
            flags=["-r"],
            secret=True,
            identity=False,
        )
        @pystematic.experiment
        def train() -> None: ...

        (rates,) = (parameter for parameter in train.get_parameters() if parameter.name == "rates")
        assert rates.options == ("--rates", "-r")
        assert (rates.default, rates.required, rates.allow_from_file, rates.envvar) == ([0.1], True, False, "RATES")
        assert (rates.help, rates.default_help, rates.hidden) == ("The rates.", "a tenth", True)
        assert (rates.secret, rates.identity) == (True, False)

    @pytest.mark.parametrize(
        ("more", "given", "value"),
        [
            ({"is_flag": True}, {}, False),
            ({"is_flag": True}, {"x": True}, True),
            ({"multiple": True, "type": int}, {"x": [1, 2]}, [1, 2]),
            ({"allowed_values": ["a", "b"], "default": "b"}, {}, "b"),
            ({"allowed_values": [1, 2]}, {"x": "2"}, 2),
            ({"default": lambda: 7, "type": int}, {}, 7),
            ({"type": pathlib.Path, "default": "data"}, {}, pathlib.Path("data")),
            ({"type": Literal["sgd", "adam"]}, {"x": "ADAM"}, "adam"),
            ({"type": dict[str, float]}, {"x": {"a": 1}}, {"a": 1.0}),
            ({"type": int | None, "default": 3}, {"x": None}, None),
            ({"type": Annotated[float, pydantic.Field(gt=0)], "default": 1}, {}, 1.0),
        ],
    )
    def test_values_are_checked_and_converted(self, more: dict[str, Any], given: dict[str, Any], value: object) -> None:
        @pystematic.parameter("x", **more)
        @pystematic.experiment
        def train() -> None: ...

        assert values(train, **given)["x"] == value

    def test_all_problems_are_raised_at_once(self) -> None:
        @pystematic.parameter("learning_rate", type=float, default=0.1)
        @pystematic.parameter("optimizer", type=Literal["sgd", "adam"], default="sgd")
        @pystematic.parameter("epochs", type=int, required=True)
        @pystematic.experiment
        def train() -> None: ...

        assert problems(train, learning_rat=1, learning_rate="fast", optimizer="adan") == [
            "there is no parameter 'learning_rat' (code). Did you mean 'learning_rate'?",
            "learning_rate, from code: 'fast' is not a number.",
            "optimizer, from code: 'adan' is not one of sgd or adam. Did you mean 'adam'?",
            "--epochs is required. Give it on the command line (--epochs INT) or in a params file.",
        ]

    def test_each_value_has_its_source(self) -> None:
        Path("pyproject.toml").write_text("[tool.pystematic]\nsize = 3\n", encoding="utf-8")
        Path("p.yaml").write_text("\nname: a\n", encoding="utf-8")

        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.parameter("size", type=int, default=1)
        @pystematic.parameter("name", default="x")
        @pystematic.parameter("epochs", type=int, default=1)
        @pystematic.parameter("rest", type=int, default=1)
        @pystematic.experiment(defaults={"epochs": 5})
        def train() -> None: ...

        parameters = values(train, lr=0.5, params_file="p.yaml")
        assert {name: parameters.source_of(name) for name in own_names(train)} == {
            "lr": "code",
            "size": "project pyproject.toml:2",
            "name": "file p.yaml:2",
            "epochs": "default of experiment",
            "rest": "default",
        }


class TestRecordedRuns:
    @pytest.fixture
    def train(self) -> Any:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.experiment
        def train() -> None: ...

        return train

    def test_a_run_is_named_by_last_by_its_id_or_by_its_folder(self, train: Any) -> None:
        run_dir = make_run(Path("output"), params={"lr": 0.5, "device": "cuda"})
        for name in ("last", run_dir.id, run_dir.id[-6:], str(run_dir.path), f"{run_dir.path}/parameters.yaml"):
            parameters = values(train, params_file=name)
            assert (parameters["lr"], parameters.source_of("lr")) == (0.5, f"run {run_dir.id}")
            assert parameters.source_of("device") == "default"

    def test_it_is_looked_for_in_the_output_folder(self, train: Any) -> None:
        make_run(Path("elsewhere"), params={"lr": 0.5})
        assert values(train, params_file="last", output_dir="elsewhere")["lr"] == 0.5
        (problem,) = problems(train, params_file="last")
        assert problem.startswith("--params-file: there is no file 'last', and no run: there is no run 'last': ")

    def test_code_is_stronger_than_a_record(self, train: Any) -> None:
        make_run(Path("output"), params={"lr": 0.5})
        assert values(train, params_file="last", lr=1)["lr"] == 1.0


class TestParameterGroups:
    def test_a_group_has_a_name_a_help_text_and_parameters(self) -> None:
        @pystematic.param_group(
            "Optimizer",
            "How to step.",
            pystematic.parameter("lr", type=float, default=0.1),
            pystematic.parameter("momentum", type=float, default=0.9),
        )
        @pystematic.experiment
        def train() -> None: ...

        (group,) = train.get_param_groups()
        assert (group.name, group.help) == ("Optimizer", "How to step.")
        assert [parameter.name for parameter in group.get_parameters()] == ["lr", "momentum"]
        assert own_names(train) == ["lr", "momentum"]

    def test_groups_stand_in_the_order_in_which_they_are_written(self) -> None:
        @pystematic.param_group("First", pystematic.parameter("a"))
        @pystematic.param_group("Second", pystematic.parameter("b"))
        @pystematic.experiment
        def train() -> None: ...

        assert [group.name for group in train.get_param_groups()] == ["First", "Second"]
        assert own_names(train) == ["a", "b"]

    def test_it_takes_nothing_but_parameters(self) -> None:
        declare: Any = pystematic.param_group
        with pytest.raises(DeclarationError, match=r"takes pystematic\.parameter\(\.\.\.\), got 3\.$"):
            declare("Optimizer", "help", 3)


class TestInheritance:
    def test_from_an_experiment(self) -> None:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.param_group("Data", pystematic.parameter("size", default=3))
        @pystematic.experiment
        def train() -> None: ...

        @pystematic.parameter("split", default="test")
        @pystematic.experiment(inherit_params=train, defaults={"lr": 0.5})
        def evaluate() -> None: ...

        assert own_names(evaluate) == ["split", "lr", "size"]
        assert [group.name for group in evaluate.get_param_groups()] == ["Data"]
        assert (values(evaluate)["lr"], values(train)["lr"]) == (0.5, 0.1)

    def test_from_a_group(self) -> None:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.group
        def digits() -> None: ...

        @pystematic.experiment(inherit_params=digits)
        def train() -> None: ...

        assert own_names(train) == ["lr"]

    def test_from_a_function(self) -> None:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.param_group("Data", pystematic.parameter("size", default=3))
        def common() -> None: ...

        @pystematic.experiment(inherit_params=common)
        def train() -> None: ...

        assert own_names(train) == ["lr", "size"]

    def test_from_several_at_once(self) -> None:
        @pystematic.parameter("lr", type=float, default=0.1)
        @pystematic.experiment
        def train() -> None: ...

        @pystematic.parameter("lr", type=float, default=0.2)
        @pystematic.parameter("split", default="test")
        def common() -> None: ...

        @pystematic.experiment(inherit_params=[train, common])
        def evaluate() -> None: ...

        assert own_names(evaluate) == ["lr", "split"]
        assert values(evaluate)["lr"] == 0.1

    def test_from_anything_else_is_an_error(self) -> None:
        with pytest.raises(DeclarationError) as caught:

            @pystematic.experiment(inherit_params=3)
            def train() -> None: ...

        assert str(caught.value).endswith(
            ": inherit_params takes experiments, groups and functions with parameters, got 3."
        )

    def test_what_is_in_a_group_has_its_parameters(self) -> None:
        @pystematic.parameter("data_dir", default="data")
        @pystematic.group
        def digits() -> None: ...

        @pystematic.parameter("classes", default=10)
        @digits.group
        def small() -> None: ...

        @pystematic.parameter("lr", type=float, default=0.1)
        @small.experiment
        def train() -> None: ...

        assert own_names(train) == ["lr", "classes", "data_dir"]
        assert train.full_name == "digits.small.train"

    def test_unless_it_does_not_want_them(self) -> None:
        @pystematic.parameter("data_dir", default="data")
        @pystematic.group
        def digits() -> None: ...

        @pystematic.parameter("classes", default=10)
        @digits.group(inherit_params_from_group=False)
        def small() -> None: ...

        @small.experiment(inherit_params_from_group=False)
        def train() -> None: ...

        @small.experiment(inherit_params=digits)
        def evaluate() -> None: ...

        assert own_names(small) == ["classes"]
        assert own_names(train) == []
        assert own_names(evaluate) == ["classes", "data_dir"]

    def test_a_parameter_that_is_added_to_a_group_later_is_inherited_too(self) -> None:
        @pystematic.group
        def digits() -> None: ...

        @digits.group
        def small() -> None: ...

        @small.experiment
        def train() -> None: ...

        @small.experiment(inherit_params_from_group=False)
        def alone() -> None: ...

        pystematic.parameter("data_dir", default="data")(digits)
        pystematic.param_group("Data", pystematic.parameter("size", default=3))(digits)
        assert own_names(train) == ["data_dir", "size"]
        assert own_names(alone) == []


class TestSignatures:
    def test_keyword_only_arguments_are_parameters(self) -> None:
        @pystematic.experiment
        def train(  # type: ignore[no-untyped-def]
            parameters: Parameters,
            context: Any,
            *,
            learning_rate: float = 1e-3,
            sizes: list[int] | None = None,
            amp: bool = False,
            optimizer: Literal["sgd", "adam"] = "sgd",
            name: Annotated[str, "What to call it."],
            guess=3,
        ) -> None:
            """Train.

            Args:
                learning_rate: The step size.
            """

        assert own_names(train) == ["learning_rate", "sizes", "amp", "optimizer", "name", "guess"]
        by_name = {parameter.name: parameter for parameter in train.get_parameters()}
        assert (by_name["name"].required, by_name["name"].help) == (True, "What to call it.")
        assert by_name["guess"].type.label == "int"
        assert train.documents == {"learning_rate": "The step size."}
        assert train.documentation == "Train."
        assert values(train, name="a", learning_rate=1)["learning_rate"] == 1.0
        assert problems(train, name="a", sizes=["x"], optimizer="adan") == [
            "sizes, from code: 'x' is not a whole number.",
            "optimizer, from code: 'adan' is not one of sgd or adam. Did you mean 'adam'?",
        ]

    def test_a_callable_default_of_an_argument_is_the_value(self) -> None:
        @pystematic.experiment
        def train(*, activation: Any = abs) -> None: ...

        assert values(train)["activation"] is abs

    def test_annotations_may_name_classes_of_the_function_around(self) -> None:
        @dataclasses.dataclass
        class Local:
            rate: float = 0.1
            inner: SGD = dataclasses.field(default_factory=SGD)

        @pystematic.experiment
        def train(config: Local) -> None: ...

        assert own_names(train) == ["rate", "inner.lr"]

    @pytest.mark.parametrize("annotation", ["Parameters", "dict[str, Any]", "Any", "'OnlyForTypeCheckers'"])
    def test_any_other_annotation_of_the_first_argument_changes_nothing(self, annotation: str) -> None:
        def train(parameters: Any) -> None: ...

        train.__annotations__["parameters"] = annotation
        assert own_names(pystematic.experiment(train)) == []

    def test_the_fields_of_a_class_are_the_parameters(self) -> None:
        @pystematic.experiment
        def train(config: Config) -> None: ...

        parameters = values(train, epochs=3, optimizer="sgd", **{"optimizer.lr": 0.5})
        assert {name: parameters[name] for name in parameters if "." in name or name in ("epochs", "optimizer")} == {
            "epochs": 3,
            "optimizer": "sgd",
            "optimizer.lr": 0.5,
            "inner.lr": 0.1,
        }
        assert problems(train, optimizer="sgd", **{"optimizer.beta": 1, "inner.lr": "x"}) == [
            "there is no parameter 'optimizer.beta' (code). Did you mean 'optimizer.betas'?",
            "--epochs is required. Give it on the command line (--epochs INT) or in a params file.",
            "inner.lr, from code: 'x' is not a number.",
        ]

    def test_what_an_attrs_class_refuses_is_a_problem(self) -> None:
        @pystematic.experiment
        def train(config: AttrsConfig) -> None: ...

        assert values(train, rate="0.5")["rate"] == 0.5
        assert problems(train, rate=-1) == ["AttrsConfig: these values do not go together: 'rate' must be > 0: -1.0."]

    def test_what_a_pydantic_model_refuses_is_a_problem(self) -> None:
        @pystematic.experiment
        def train(config: ModelConfig) -> None: ...

        assert problems(train, rate=0) == ["rate, from code: 0 is not a number > 0."]
        assert problems(train, steps=3) == [
            "steps, from code: 3 is refused by ModelConfig: Value error, steps must be even."
        ]

    def test_the_fields_of_a_class_have_help_from_the_class(self) -> None:
        @dataclasses.dataclass
        class Documented:
            """A class.

            Attributes:
                rate: The rate.
            """

            rate: float = 0.1
            inner: SGD = dataclasses.field(default_factory=SGD)

        @pystematic.experiment
        def train(config: Documented) -> None: ...

        assert train.documents == {"rate": "The rate."}

    def test_more_than_two_arguments_are_an_error(self) -> None:
        assert definition_error("""
            import pystematic

            @pystematic.experiment
            def train(parameters, context, more): ...
        """) == (
            "prog.py:3: the main function of experiment 'train' takes parameters, context, more; it can take "
            "(parameters, context), (parameters) or nothing. Write further parameters behind a '*'."
        )

    def test_an_annotation_of_an_argument_that_cannot_be_read_is_an_error(self) -> None:
        assert (
            definition_error("""
            from __future__ import annotations
            import pystematic

            @pystematic.experiment
            def train(*, rate: Missing = 3): ...
        """)
            == "prog.py:4: the annotation 'Missing' of 'rate' cannot be read."
        )


class TestDefinitionErrors:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param(
                """
                import pystematic

                @pystematic.parameter("lr")
                @pystematic.parameter("epochs")
                @pystematic.parameter("lr")
                @pystematic.experiment
                def train(): ...
                """,
                "prog.py:3: experiment 'train' has a parameter 'lr' already, declared at prog.py:5. "
                "Remove one of them or give it another name.",
                id="two parameters of one name",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.parameter("lr", flags=["-l"])
                @pystematic.parameter("limit", flags=["-l"])
                @pystematic.experiment
                def train(): ...
                """,
                "prog.py:3: parameter 'lr': the option -l belongs to parameter 'limit', declared at prog.py:4.",
                id="two parameters of one flag",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.parameter("lr")
                @pystematic.group
                def digits(): ...

                @pystematic.parameter("lr")
                @digits.experiment
                def train(): ...
                """,
                "prog.py:7: experiment 'train' has a parameter 'lr' already, declared at prog.py:3. "
                "Remove one of them or give it another name.",
                id="a parameter of the group around it",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.parameter("lr")
                @pystematic.experiment
                def train(*, lr=3): ...
                """,
                "prog.py:3: experiment 'train' has a parameter 'lr' already, declared at prog.py:4. "
                "Remove one of them or give it another name.",
                id="a keyword-only argument of the name of a parameter",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.param_group("Data", pystematic.parameter("a"))
                @pystematic.param_group("Data", pystematic.parameter("b"))
                @pystematic.experiment
                def train(): ...
                """,
                "prog.py:3: experiment 'train' has a parameter group 'Data' already, declared at prog.py:4. "
                "Give one of them another name.",
                id="two groups of parameters of one name",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.experiment
                def train(): ...

                @pystematic.experiment(name="train")
                def other(): ...
                """,
                "prog.py:6: this program has an experiment 'train' already, defined at prog.py:3. "
                "Give one of them another name: name='...'.",
                id="two experiments of one name",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.group
                def digits(): ...

                @digits.group
                def train(): ...

                @digits.experiment(name="train")
                def other(): ...
                """,
                "prog.py:9: the group 'digits' has a group 'train' already, defined at prog.py:6. "
                "Give one of them another name: name='...'.",
                id="an experiment of the name of a group",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.parameter(
                    "lr",
                    type=float,
                    default="fast",
                )
                @pystematic.experiment
                def train(): ...
                """,
                "prog.py:3: parameter 'lr': the default 'fast' is not a number.",
                id="a default of the wrong type",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.experiment
                def train(*, lr: float = "fast"): ...
                """,
                "prog.py:3: parameter 'lr': the default 'fast' is not a number.",
                id="a default of an argument",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.parameter("lr", type=float)
                @pystematic.experiment(defaults={"lr": "fast"})
                def train(): ...
                """,
                "prog.py:4: defaults: lr: 'fast' is not a number.",
                id="another default",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.parameter("random_seed", type=str)
                @pystematic.experiment
                def train(): ...
                """,
                "prog.py:3: parameter 'random_seed' takes the place of pystematic's own, whose type is int; with the "
                "type str it cannot do its work. Give it another name, or the type int.",
                id="one of our names with a type that cannot carry its meaning",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.experiment(metric="accuracy")
                def train(): ...
                """,
                "prog.py:3: metric='accuracy' is no tag with a direction, such as 'val/loss:min'.",
                id="a metric without a direction",
            ),
            pytest.param(
                """
                import pystematic

                @pystematic.experiment(name="a b")
                def train(): ...
                """,
                "prog.py:3: 'a b' is no name for an experiment or group: it becomes a word of the command line and a "
                "folder. Use letters, digits, '-' and '_'.",
                id="a name that no folder can have",
            ),
            pytest.param(
                """
                import pystematic
                pystematic.parameter("lr")(3)
                """,
                "prog.py:2: a parameter is declared on a function, an experiment or a group, not on 3.",
                id="a parameter of a number",
            ),
        ],
    )
    def test_they_name_the_places(self, text: str, message: str) -> None:
        assert definition_error(text) == message

    def test_two_modules_of_a_program_name_both_places(self, working_dir: Path) -> None:
        text = "import pystematic\n\n@pystematic.experiment\ndef train(): ...\n"
        write_program(working_dir, text, "other.py")
        write_program(working_dir, f"import other\n{text}")
        last = run_python("prog.py").stderr.splitlines()[-1]
        assert last == (
            f"pystematic.errors.DeclarationError: {working_dir}/prog.py:4: this program has an experiment 'train' "
            f"already, defined at {working_dir}/other.py:3. Give one of them another name: name='...'."
        )

    def test_a_default_for_an_unknown_parameter_is_told_when_all_are_known(self) -> None:
        experiment = define("""
            import pystematic

            @pystematic.parameter("learning_rate", type=float)
            @pystematic.experiment(defaults={"learning_rat": 1})
            def train(): ...
        """)["train"]
        with pytest.raises(DeclarationError) as caught:
            experiment.get_parameters()
        assert str(caught.value) == (
            f"{Path.cwd()}/prog.py:4: defaults: there is no parameter 'learning_rat'. Did you mean 'learning_rate'?"
        )

    def test_after_an_error_the_experiment_is_not_there(self) -> None:
        definition_error("""
            import pystematic

            @pystematic.experiment
            def train(*, lr: float = "fast"): ...
        """)
        assert _experiment.program.members == {}


class TestReplacement:
    def test_an_own_parameter_takes_the_place_of_ours(self) -> None:
        @pystematic.parameter("output_dir", type=pathlib.Path, default="runs")
        @pystematic.parameter("tags", type=str, multiple=True, default=["mine"])
        @pystematic.experiment
        def train() -> None: ...

        parameters = values(train)
        assert (parameters["output_dir"], parameters["tags"]) == (pathlib.Path("runs"), ["mine"])
        assert [parameter.name for parameter in train.get_parameters()].count("tags") == 1

    def test_an_own_output_folder_is_read_from_our_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYSTEMATIC_OUTPUT_DIR", "elsewhere")

        @pystematic.parameter("output_dir", type=pathlib.Path, default="runs")
        @pystematic.experiment
        def train() -> None: ...

        assert values(train)["output_dir"] == pathlib.Path("elsewhere")


class TestSecrets:
    def test_they_are_not_shown(self) -> None:
        @pystematic.parameter("api_key")
        @pystematic.parameter("pin", type=int, secret=True, default=1)
        @pystematic.experiment
        def train() -> None: ...

        assert "s3cret" not in repr(values(train, api_key="s3cret"))
        assert problems(train, pin="s3cret") == ["pin, from code: the masked value is not int."]


class TestNames:
    def test_the_default_name_is_that_of_the_function_in_kebab_case(self) -> None:
        @pystematic.experiment
        def train_all() -> None: ...

        @pystematic.group
        def all_digits() -> None: ...

        @pystematic.experiment(name="other")
        def named() -> None: ...

        assert (train_all.name, all_digits.name, named.name) == ("train-all", "all-digits", "other")

    def test_an_experiment_that_is_defined_again_takes_the_place_of_the_first(self) -> None:
        def make() -> Any:
            @pystematic.experiment
            def train() -> None: ...

            return train

        first, second = make(), make()
        assert _experiment.program.members["train"] is second is not first
