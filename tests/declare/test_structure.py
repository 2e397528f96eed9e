"""Classes as parameters: dataclasses, attrs classes and pydantic models, nested ones and unions of them."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any

import annotated_types
import attrs
import pydantic
import pydantic.dataclasses
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.declare import Parameter, Structure, section_docs
from pystematic.declare._structure import choice_name, field_docs
from pystematic.errors import DeclarationError, UsageError
from pystematic.resolve import Parameters


@dataclass
class Adam:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass
class SGD:
    lr: float = 0.1
    momentum: float | None = None


@dataclass
class Constant:
    """A class without fields."""


@dataclass
class MyAdam(Adam):
    warmup: int = 5


@dataclass
class Config:
    """What a run is.

    Attributes:
        epochs: Passes over the data.
    """

    data: pathlib.Path
    epochs: int = 10
    optimizer: Adam | SGD = field(default_factory=Adam)
    schedule: Constant | Adam = field(default_factory=Constant)
    fallback: SGD | None = None
    inner: SGD = field(default_factory=lambda: SGD(momentum=0.5))
    sizes: list[int] = field(default_factory=lambda: [1, 2])
    """Widths of the layers."""


@attrs.define
class Attrs:
    rate: float = attrs.field(default=0.1, validator=attrs.validators.gt(0), metadata={"help": "The rate."})
    _size: int = 3
    names: list[str] = attrs.Factory(list)
    doubled: int = attrs.Factory(lambda self: self._size * 2, takes_self=True)
    cache: dict[str, int] = attrs.field(init=False, factory=dict)


class Inner(pydantic.BaseModel):
    depth: int = pydantic.Field(default=2, ge=1, description="How deep.")


class Model(pydantic.BaseModel):
    rate: float = pydantic.Field(default=0.1, gt=0)
    inner: Inner = Inner()
    steps: int = pydantic.Field(alias="nSteps", default=3)
    api_key: str = "key"

    @pydantic.field_validator("api_key")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value:
            raise ValueError("an empty key")
        return value

    @pydantic.model_validator(mode="after")
    def _together(self) -> Model:
        if self.steps < self.inner.depth:
            raise ValueError("fewer steps than depth")
        return self


def make(cls: Any, **more: Any) -> Structure:
    return Structure(cls, "prog.py:3", **more)


def named(structure: Structure, name: str) -> Parameter:
    return next(parameter for parameter in structure.parameters if parameter.name == name)


def defaults(structure: Structure) -> dict[str, Any]:
    """Return the defaults of the parameters that count."""
    values: dict[str, Any] = {}
    for parameter in structure.parameters:
        if parameter.counts(values):
            values[parameter.name] = parameter.make_default()
    return values


def refusal(structure: Structure, values: Any) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        structure.build(values)
    return str(caught.value)


def declaration_error(cls: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        make(cls)
    return str(caught.value)


class TestDataclasses:
    def test_fields_are_parameters_in_their_order_nested_ones_by_dotted_names(self) -> None:
        assert [(parameter.name, parameter.when) for parameter in make(Config).parameters] == [
            ("data", None),
            ("epochs", None),
            ("optimizer", None),
            ("optimizer.lr", ("optimizer", "adam")),
            ("optimizer.betas", ("optimizer", "adam")),
            ("optimizer.lr", ("optimizer", "sgd")),
            ("optimizer.momentum", ("optimizer", "sgd")),
            ("schedule", None),
            ("schedule.lr", ("schedule", "adam")),
            ("schedule.betas", ("schedule", "adam")),
            ("fallback", None),
            ("fallback.lr", ("fallback", "sgd")),
            ("fallback.momentum", ("fallback", "sgd")),
            ("inner.lr", None),
            ("inner.momentum", None),
            ("sizes", None),
        ]

    def test_a_field_without_a_default_is_required(self) -> None:
        structure = make(Config)
        assert named(structure, "data").required
        assert not named(structure, "epochs").required

    def test_the_default_of_a_nested_field_is_that_of_the_instance_around_it(self) -> None:
        assert named(make(Config), "inner.momentum").default == 0.5

    def test_a_factory_makes_a_new_default_for_every_run(self) -> None:
        parameter = named(make(Config), "sizes")
        parameter.make_default().append(3)
        assert parameter.make_default() == [1, 2]
        assert parameter.default_help == "[1, 2]"

    def test_the_defaults_make_the_instance_that_the_class_itself_makes(self) -> None:
        structure = make(Config)
        values = {**defaults(structure), "data": pathlib.Path("d")}
        assert structure.build(values) == Config(pathlib.Path("d"))

    def test_a_chosen_class_is_made_from_its_fields(self) -> None:
        structure = make(Config)
        values = {
            **defaults(structure),
            "data": pathlib.Path("d"),
            "optimizer": "sgd",
            "optimizer.lr": 0.2,
            "optimizer.momentum": 0.9,
            "fallback": "sgd",
            "fallback.lr": 0.3,
            "fallback.momentum": None,
        }
        expected = Config(pathlib.Path("d"), optimizer=SGD(0.2, 0.9), fallback=SGD(0.3))
        assert structure.build(values) == expected

    def test_a_default_of_a_subclass_keeps_its_class(self) -> None:
        @dataclass
        class Outer:
            optimizer: Adam = field(default_factory=lambda: MyAdam(warmup=7))

        structure = make(Outer)
        assert named(structure, "optimizer.warmup").default == 7
        assert structure.build(defaults(structure)) == Outer(MyAdam(warmup=7))

    def test_a_nested_class_whose_default_is_none_may_be_left_out(self) -> None:
        @dataclass
        class Outer:
            optimizer: Adam = None  # type: ignore[assignment]

        structure = make(Outer)
        assert structure.build(defaults(structure)) == Outer()
        assert structure.build({"optimizer": "adam", "optimizer.lr": 0.1, "optimizer.betas": (1.0, 1.0)}) == Outer(
            Adam(0.1, (1.0, 1.0))
        )

    def test_an_optional_class_is_chosen_by_its_default(self) -> None:
        @dataclass
        class Outer:
            optimizer: SGD | None = field(default_factory=lambda: SGD(0.5))

        structure = make(Outer)
        assert defaults(structure) == {"optimizer": "sgd", "optimizer.lr": 0.5, "optimizer.momentum": None}
        assert structure.build({"optimizer": None}) == Outer(None)

    def test_choices_inside_of_choices_are_told_apart(self) -> None:
        @dataclass
        class Cnn:
            optimizer: Adam | SGD = field(default_factory=Adam)

        @dataclass
        class Mlp:
            optimizer: Adam | SGD = field(default_factory=SGD)

        @dataclass
        class Outer:
            model: Cnn | Mlp = field(default_factory=Cnn)

        structure = make(Outer)
        assert structure.build(defaults(structure)) == Outer()
        values = {"model": "mlp", "model.optimizer": "sgd", "model.optimizer.lr": 0.5, "model.optimizer.momentum": 0.1}
        assert structure.build(values) == Outer(Mlp(SGD(0.5, 0.1)))
        assert structure.flatten(Outer(Mlp(SGD(0.5, 0.1)))) == values

    def test_a_class_inside_itself_is_one_value(self) -> None:
        structure = make(Tree)
        assert [parameter.name for parameter in structure.parameters] == ["name", "left"]
        tree = named(structure, "left").type.check({"name": "b", "left": {"name": "c"}})
        assert structure.build({"name": "a", "left": tree}) == Tree("a", Tree("b", Tree("c")))

    def test_a_list_of_classes_is_one_parameter(self) -> None:
        @dataclass
        class Net:
            layers: list[SGD] = field(default_factory=list)

        kind = named(make(Net), "layers").type
        assert kind.check([{"lr": 1}, {}]) == [SGD(1.0), SGD()]

    def test_an_argument_that_no_field_keeps_is_a_parameter(self) -> None:
        @dataclass
        class WithInit:
            start: InitVar[int]
            stop: int = 3

        structure = make(WithInit)
        assert named(structure, "start").type.label == "int"
        assert structure.build({"start": 1, "stop": 2}) == WithInit(1, 2)
        assert structure.flatten(WithInit(1, 2)) == {"stop": 2}

    def test_a_field_that_the_constructor_does_not_take_is_none(self) -> None:
        @dataclass
        class Computed:
            x: int = 1
            y: int = field(init=False, default=2)

        assert [parameter.name for parameter in make(Computed).parameters] == ["x"]

    def test_a_callable_as_default_is_the_value(self) -> None:
        @dataclass
        class WithCallable:
            activation: Any = math.tanh

        structure = make(WithCallable)
        assert structure.build(defaults(structure)).activation is math.tanh

    def test_a_factory_that_fails_outside_of_a_run_is_asked_in_the_run(self) -> None:
        calls: list[int] = []

        def make_rate() -> float:
            calls.append(1)
            if len(calls) == 1:
                raise RuntimeError("no run yet")
            return 0.5

        @dataclass
        class Lazy:
            rate: float = field(default_factory=make_rate)

        assert named(make(Lazy), "rate").make_default() == 0.5

    def test_what_metadata_says_is_help_and_condition(self) -> None:
        @dataclass
        class Described:
            rate: Annotated[float, annotated_types.Gt(0), "From the annotation."] = 0.1
            depth: int = field(default=1, metadata={"help": "From the metadata."})

        structure = make(Described)
        assert named(structure, "rate").help == "From the annotation."
        assert named(structure, "rate").type.expected == "a number > 0"
        assert named(structure, "depth").help == "From the metadata."


@dataclass
class Tree:
    name: str
    left: Tree | None = None


class TestAttrs:
    def test_private_fields_are_named_as_the_constructor_names_them(self) -> None:
        structure = make(Attrs)
        assert [parameter.name for parameter in structure.parameters] == ["rate", "size", "names", "doubled"]
        assert structure.flatten(Attrs(size=5)) == {"rate": 0.1, "size": 5, "names": [], "doubled": 10}

    def test_a_default_that_the_class_computes_is_left_to_it(self) -> None:
        structure = make(Attrs)
        assert named(structure, "doubled").default_help == "made from the other fields"
        assert structure.build({**defaults(structure), "size": 4}) == Attrs(size=4, doubled=8)
        assert structure.build({**defaults(structure), "doubled": 1}) == Attrs(doubled=1)

    def test_metadata_is_help(self) -> None:
        assert named(make(Attrs), "rate").help == "The rate."

    def test_a_validator_that_refuses_is_a_problem(self) -> None:
        structure = make(Attrs)
        assert refusal(structure, {**defaults(structure), "rate": -1.0}) == (
            "Attrs: these values do not go together: 'rate' must be > 0: -1.0."
        )


class TestPydantic:
    def test_fields_are_parameters_with_descriptions_and_conditions(self) -> None:
        structure = make(Model)
        assert [parameter.name for parameter in structure.parameters] == ["rate", "inner.depth", "steps", "api_key"]
        assert named(structure, "inner.depth").help == "How deep."
        assert named(structure, "rate").type.expected == "a number > 0"
        assert named(structure, "api_key").secret

    def test_the_defaults_make_the_instance_that_the_class_itself_makes(self) -> None:
        structure = make(Model)
        assert structure.build(defaults(structure)) == Model()
        assert structure.flatten(Model()) == defaults(structure)

    def test_what_the_model_refuses_is_told_with_value_and_source(self) -> None:
        structure = make(Inner)
        values = Parameters({"depth": 0}, {"depth": "command line"})
        assert refusal(structure, values) == (
            "depth, from the command line: 0 is refused by Inner: Input should be greater than or equal to 1."
        )

    def test_what_a_nested_model_refuses_is_told_by_its_dotted_name(self) -> None:
        structure = make(Model)
        values = Parameters({**defaults(structure), "inner.depth": 0}, {"inner.depth": "file p.yaml:3"})
        assert refusal(structure, values) == (
            "inner.depth, from file p.yaml:3: 0 is refused by Inner: Input should be greater than or equal to 1."
        )

    def test_the_value_of_a_secret_is_not_told(self) -> None:
        structure = make(Model)
        assert refusal(structure, {**defaults(structure), "api_key": ""}) == (
            "api_key: the masked value is refused by Model: Value error, an empty key."
        )

    def test_all_refused_fields_are_told_at_once(self) -> None:
        structure = make(Model)
        problems = refusal(structure, {**defaults(structure), "api_key": "", "rate": 0.0}).splitlines()
        assert problems == [
            "rate: 0.0 is refused by Model: Input should be greater than 0.",
            "api_key: the masked value is refused by Model: Value error, an empty key.",
        ]

    def test_values_that_do_not_go_together_are_told_by_the_class(self) -> None:
        structure = make(Model)
        assert refusal(structure, {**defaults(structure), "inner.depth": 9}) == (
            "Model: Value error, fewer steps than depth."
        )

    def test_a_default_made_from_other_fields_is_left_to_the_class(self) -> None:
        class Derived(pydantic.BaseModel):
            size: int = 2
            double: int = pydantic.Field(default_factory=lambda data: data["size"] * 2)

        structure = make(Derived)
        assert structure.build({**defaults(structure), "size": 3}) == Derived(size=3, double=6)

    def test_any_of_several_aliases_will_do(self) -> None:
        class Aliased(pydantic.BaseModel):
            size: int = pydantic.Field(2, validation_alias=pydantic.AliasChoices("Size", "SIZE"))

        assert make(Aliased).build({"size": 3}).size == 3

    def test_a_dataclass_of_pydantic_has_its_conditions(self) -> None:
        @pydantic.dataclasses.dataclass
        class Checked:
            depth: int = pydantic.Field(default=2, ge=1)

        structure = make(Checked)
        assert named(structure, "depth").type.expected == "a whole number >= 1"
        assert structure.build(defaults(structure)) == Checked()


class TestDeclarationErrors:
    def test_a_default_of_the_wrong_type(self) -> None:
        @dataclass
        class Wrong:
            epochs: int = 3.7  # type: ignore[assignment]

        assert declaration_error(Wrong) == ("prog.py:3: parameter 'epochs': the default 3.7 is not a whole number.")

    def test_a_factory_that_makes_the_wrong_type(self) -> None:
        @dataclass
        class Wrong:
            sizes: list[int] = field(default_factory=lambda: ["a"])  # type: ignore[list-item]

        assert declaration_error(Wrong) == (
            "prog.py:3: field 'sizes' of Wrong: the default ['a'] is not a whole number."
        )

    def test_an_annotation_that_is_no_type(self) -> None:
        @dataclass
        class Wrong:
            size: 3  # type: ignore[valid-type]

        assert declaration_error(Wrong) == (
            "prog.py:3: field 'size' of Wrong: 3 is neither a type nor a callable that takes a text."
        )

    def test_an_annotation_of_an_unknown_name(self) -> None:
        @dataclass
        class Wrong:
            size: Missing  # type: ignore[name-defined]  # noqa: F821

        assert declaration_error(Wrong) == (
            "prog.py:3: an annotation of Wrong cannot be read: name 'Missing' is not defined."
        )

    def test_two_classes_of_one_name_in_a_union(self) -> None:
        other = dataclasses.make_dataclass("Adam", [("x", int, 1)])

        @dataclass
        class Wrong:
            optimizer: Adam | other = field(default_factory=Adam)  # type: ignore[valid-type]

        assert declaration_error(Wrong) == (
            "prog.py:3: field 'optimizer' of Wrong: two of its classes have one name: adam and adam."
        )

    def test_a_default_that_is_none_of_the_classes(self) -> None:
        @dataclass
        class Wrong:
            optimizer: SGD | Constant = field(default_factory=Adam)  # type: ignore[assignment]

        assert declaration_error(Wrong) == (
            "prog.py:3: parameter 'optimizer': the default 'adam' is not one of sgd or constant."
        )

    def test_a_nested_default_that_cannot_be_made(self) -> None:
        @dataclass
        class Wrong:
            config: Config = field(default_factory=lambda: Config())  # type: ignore[call-arg]

        assert declaration_error(Wrong) == (
            "prog.py:3: field 'config' of Wrong: its default cannot be made: TypeError: Config.__init__() missing 1 "
            "required positional argument: 'data'."
        )

    def test_a_private_field_of_a_dataclass(self) -> None:
        @dataclass
        class Wrong:
            _x: int = 1

        assert declaration_error(Wrong) == "prog.py:3: a parameter's name begins with a letter, unlike '_x'."


class TestInstances:
    def test_an_instance_of_another_class_is_refused(self) -> None:
        with pytest.raises(UsageError) as caught:
            make(Config).flatten(Config(pathlib.Path("d"), inner=Adam()))  # type: ignore[arg-type]
        assert str(caught.value) == "inner: Adam(lr=0.001, betas=(0.9, 0.999)) is no SGD."

    def test_an_exception_of_the_class_is_a_problem(self) -> None:
        @dataclass
        class Strict:
            low: int = 0
            high: int = 1

            def __post_init__(self) -> None:
                if self.low > self.high:
                    raise ValueError(f"low={self.low}\nis above high={self.high}")

        assert refusal(make(Strict), {"low": 2, "high": 1}) == (
            "Strict: these values do not go together: low=2 is above high=1."
        )
        assert refusal(make(Strict, prefix="range."), {"range.low": 2, "range.high": 1}) == (
            "range: these values do not go together: low=2 is above high=1."
        )


rates = st.floats(allow_nan=False)
sgds = st.builds(SGD, rates, st.none() | rates)
adams = st.builds(Adam, rates, st.tuples(rates, rates))
configs = st.builds(
    Config,
    st.sampled_from([pathlib.Path("a"), pathlib.Path("b/c")]),
    st.integers(),
    adams | sgds,
    st.just(Constant()) | adams,
    st.none() | sgds,
    sgds,
    st.lists(st.integers(), max_size=3),
)


@given(configs)
def test_an_instance_survives_its_way_through_parameters(config: Config) -> None:
    structure = make(Config)
    assert structure.build(structure.flatten(config)) == config


@given(configs)
def test_the_parameters_of_an_instance_are_those_that_count(config: Config) -> None:
    structure = make(Config)
    values = structure.flatten(config)
    counting = [parameter.name for parameter in structure.parameters if parameter.counts(values)]
    assert sorted(values) == sorted(counting)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("Adam", "adam"),
        ("AdamW", "adam-w"),
        ("SGD", "sgd"),
        ("CosineSchedule", "cosine-schedule"),
        ("HTTPServer", "http-server"),
        ("my_class", "my-class"),
        ("Net2D", "net2-d"),
    ],
)
def test_a_class_is_chosen_by_its_name_in_kebab_case(name: str, spelled: str) -> None:
    assert choice_name(type(name, (), {})) == spelled


class TestDocs:
    def test_texts_below_fields_and_sections_of_the_docstring_are_help(self) -> None:
        assert field_docs(Config) == {"epochs": "Passes over the data.", "sizes": "Widths of the layers."}

    def test_base_classes_are_asked_too(self) -> None:
        @dataclass
        class Derived(Config):
            epochs: int = 3
            """Fewer passes."""

        assert field_docs(Derived) == {"epochs": "Fewer passes.", "sizes": "Widths of the layers."}

    def test_nested_fields_have_docs_by_dotted_names(self) -> None:
        @dataclass
        class Outer:
            config: Config

        assert make(Outer).documents()["config.epochs"] == "Passes over the data."

    def test_a_class_without_a_source_file_has_none(self) -> None:
        assert field_docs(dataclasses.make_dataclass("Made", [("x", int, 1)])) == {}

    def test_a_section_of_arguments_is_read_in_the_style_of_google(self) -> None:
        assert section_docs(
            """Train.

            Args:
                lr (float): The step size,
                    which matters.
                epochs: Passes.

            Returns:
                loss: not an argument.
            """
        ) == {"lr": "The step size, which matters.", "epochs": "Passes."}
