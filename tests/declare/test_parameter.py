"""`Parameter`: what an author may declare, checked where it stands."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import sys
from typing import Annotated, Any, Literal

import pytest

from pystematic.declare import OMITTED, BadValueError, Parameter, ParameterGroup, caller_place
from pystematic.errors import DeclarationError


class Activation(enum.Enum):
    """Members that are callable are values all the same, and no makers of a default."""

    RELU = "relu"

    def __call__(self) -> str:
        return "called"


class Mode(enum.StrEnum):
    FAST = "fast"
    SLOW = "slow"


@dataclasses.dataclass
class Sizes:
    values: list[int]


class Doc:
    """Like `typing_extensions.Doc`."""

    documentation = "From an object."


def declare(name: str = "lr", type: Any = OMITTED, default: Any = None, **more: Any) -> Parameter:
    return Parameter(name, type, default, where="prog.py:3", **more)


def refusal(*args: Any, **more: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        declare(*args, **more)
    return str(caught.value)


class TestNames:
    def test_a_name_in_snake_case_is_an_option_in_kebab_case(self) -> None:
        assert declare("learning_rate").options == ("--learning-rate",)
        assert declare("optimizer.learning_rate").option == "--optimizer.learning-rate"

    def test_a_flag_has_an_option_for_false_too(self) -> None:
        assert declare("use_amp", bool).options == ("--use-amp", "--no-use-amp")
        assert declare("use_amp", bool | None).negation == "--no-use-amp"
        assert declare("rate", float).negation is None

    def test_short_flags_stand_beside_the_long_option(self) -> None:
        assert declare(flags=["-l", "--rate"]).options == ("--lr", "-l", "--rate")
        assert declare(flags="-l").flags == ("-l",)
        assert declare(flags=["--lr", "-l"]).flags == ("-l",)

    @pytest.mark.parametrize("name", ["learning-rate", "", "1st", "a b", "a..b", 3, None])
    def test_what_is_no_python_name_is_refused(self, name: Any) -> None:
        assert refusal(name) == (
            f"prog.py:3: {name!r} is no name for a parameter. Write a Python name, such as 'learning_rate'."
        )

    @pytest.mark.parametrize("name", ["_private", "optimizer._private"])
    def test_a_private_name_is_refused(self, name: str) -> None:
        assert refusal(name) == f"prog.py:3: a parameter's name begins with a letter, unlike {name!r}."

    @pytest.mark.parametrize("flag", ["l", "-", "--", "-1", "---x", "--a=b", "-l m", "--a b", 3])
    def test_what_is_no_flag_is_refused(self, flag: Any) -> None:
        assert refusal(flags=[flag]) == (f"prog.py:3: parameter 'lr': {flag!r} is no flag. Write '-l' or '--rate'.")

    def test_one_dash_stands_before_one_letter(self) -> None:
        assert refusal(flags=["-lr"]) == (
            "prog.py:3: parameter 'lr': a flag with one dash has one letter, unlike '-lr'."
        )


class TestTypes:
    @pytest.mark.parametrize(
        ("default", "label"),
        [
            (None, "text"),
            ("adam", "text"),
            (3, "int"),
            (0.1, "float"),
            (True, "flag"),
            ([1, 2], "int ..."),
            ((0.1, 0.2), "float ..."),
            ([], "value ..."),
            ([1, "a"], "value ..."),
            ({"a": 1}, "value=value ..."),
            (pathlib.Path("a"), "path"),
            (Activation.RELU, "RELU"),
            (Mode.FAST, "FAST|SLOW"),
            (lambda: 3, "text"),
        ],
    )
    def test_without_a_type_the_default_tells_it(self, default: Any, label: str) -> None:
        assert declare(default=default).type.label == label

    def test_a_declared_type_is_not_that_of_the_default(self) -> None:
        assert declare(type=float, default=1).default == 1.0
        assert declare(type=pathlib.Path, default="data").default == pathlib.Path("data")
        assert declare(type=None, default=3).default == 3

    def test_a_default_of_none_makes_none_a_value(self) -> None:
        assert declare(type=int).type.allows_none
        assert not declare(type=int, default=3).type.allows_none
        assert not declare(type=int, required=True).type.allows_none

    def test_multiple_is_a_list_of_the_type(self) -> None:
        parameter = declare(type=int, multiple=True, default=(1, 2))
        assert parameter.default == [1, 2]
        assert declare(multiple=True, allowed_values=["a", "b"], default=["a"]).type.choices == ("a", "b")
        assert declare(multiple=True, default=[1, 2]).type.label == "int ..."
        assert declare(multiple=True).type.label == "text ..."

    def test_is_flag_makes_a_flag_that_is_off(self) -> None:
        parameter = declare("amp", is_flag=True)
        assert parameter.default is False
        assert parameter.negation == "--no-amp"
        assert declare("amp", str, is_flag=True, default=True).default is True

    def test_allowed_values_take_the_place_of_the_type(self) -> None:
        parameter = declare(type=str, allowed_values=[1, 2], default=2)
        assert parameter.type.parse("1") == 1
        assert parameter.type.choices == ("1", "2")

    @pytest.mark.parametrize(
        ("more", "message"),
        [
            pytest.param(
                {"type": 3}, "the type 3 is neither a type nor a callable that takes a text.", id="a type that is none"
            ),
            pytest.param(
                {"is_flag": True, "allowed_values": [1]},
                "is_flag and allowed_values contradict each other.",
                id="is_flag and allowed_values",
            ),
            pytest.param(
                {"is_flag": True, "multiple": True},
                "is_flag and multiple contradict each other.",
                id="is_flag and multiple",
            ),
            pytest.param(
                {"is_flag": True, "type": int}, "a flag's type is bool, not <class 'int'>.", id="is_flag and int"
            ),
            pytest.param(
                {"allowed_values": []}, "allowed_values is a list of values, unlike [].", id="no allowed value"
            ),
            pytest.param(
                {"allowed_values": "adam"},
                "allowed_values is a list of values, unlike 'adam'.",
                id="a text as allowed values",
            ),
        ],
    )
    def test_a_declaration_that_contradicts_itself_is_refused(self, more: dict[str, Any], message: str) -> None:
        assert refusal(**more) == f"prog.py:3: parameter 'lr': {message}"


class TestDefaults:
    @pytest.mark.parametrize(
        ("more", "message"),
        [
            ({"type": int, "default": 3.7}, "the default 3.7 is not a whole number."),
            ({"type": int, "default": True}, "the default True is not a whole number."),
            ({"type": Literal["a", "b"], "default": "c"}, "the default 'c' is not one of a or b."),
            ({"allowed_values": [1, 2], "default": 3}, "the default 3 is not one of 1 or 2."),
            ({"type": int, "multiple": True, "default": 3}, "the default 3 is not a list, each item a whole number."),
            ({"is_flag": True, "default": "maybe"}, "the default 'maybe' is not true or false."),
            ({"type": int, "secret": True, "default": "s3cret"}, "the masked default is not a whole number."),
        ],
    )
    def test_a_default_is_checked_where_it_is_declared(self, more: dict[str, Any], message: str) -> None:
        assert refusal(**more) == f"prog.py:3: parameter 'lr': {message}"

    def test_a_callable_makes_the_default_when_it_is_needed(self) -> None:
        calls: list[int] = []

        def make() -> str:
            calls.append(1)
            return "3"

        parameter = declare(type=int, default=make)
        assert calls == []
        assert parameter.make_default() == 3
        assert calls == [1]

    def test_what_a_callable_makes_is_checked_like_any_value(self) -> None:
        with pytest.raises(BadValueError, match=r"^a whole number$") as caught:
            declare(type=int, default=lambda: 3.7).make_default()
        assert caught.value.piece == 3.7

    def test_a_member_that_can_be_called_is_a_value(self) -> None:
        assert declare(type=Activation, default=Activation.RELU).make_default() is Activation.RELU

    def test_an_instance_that_can_be_called_is_a_value_of_its_class(self) -> None:
        class Schedule:
            def __init__(self, text: str) -> None:
                self.text = text

            def __call__(self) -> str:
                return "called"

        schedule = Schedule("a")
        assert declare(type=Schedule, default=schedule).make_default() is schedule

    def test_a_callable_may_make_none_and_then_none_is_a_value(self) -> None:
        parameter = declare(type=int, default=lambda: None)
        assert parameter.make_default() is None
        assert parameter.check(None) is None
        with pytest.raises(BadValueError, match=r"^a whole number$"):
            declare(type=int, default=lambda: None, required=True).check(None)
        with pytest.raises(BadValueError, match=r"^a whole number$"):
            declare(type=int, default=3).check(None)

    def test_a_text_is_given_to_the_converter_and_anything_else_is_not(self) -> None:
        assert declare(type=lambda text: int(text) * 2, default="3").default == 6
        assert declare(type=lambda text: int(text) * 2, default=3).default == 3

    def test_changing_a_default_in_a_run_leaves_the_next_run_alone(self) -> None:
        parameter = declare(type=list[int], default=[1])
        parameter.make_default().append(2)
        assert parameter.make_default() == [1]

    def test_an_instance_as_default_is_new_for_each_run_too(self) -> None:
        parameter = declare(type=Sizes, default=Sizes([1]))
        parameter.make_default().values.append(2)
        assert parameter.make_default() == Sizes([1])

    def test_another_default_is_that_of_a_copy(self) -> None:
        parameter = declare(type=float, default=0.1)
        other = parameter.with_default("0.5")
        assert (other.default, parameter.default) == (0.5, 0.1)
        with pytest.raises(BadValueError, match=r"^a number$"):
            parameter.with_default("x")

    def test_another_default_of_none_makes_none_a_value_of_the_copy(self) -> None:
        parameter = declare(type=float, default=0.1)
        assert parameter.with_default(None).type.check(None) is None
        assert not parameter.type.allows_none


class TestSecrets:
    @pytest.mark.parametrize(
        "name",
        ["password", "db_password", "passwd", "client_secret", "api_key", "my_api_key", "access_key", "auth_token",
         "access_token", "credential", "credentials", "DB_PASSWORD", "login.password"],
    )  # fmt: skip
    def test_a_text_of_such_a_name_is_masked(self, name: str) -> None:
        assert declare(name).secret
        assert declare(name, str | None).secret

    @pytest.mark.parametrize(
        ("name", "type"),
        [
            pytest.param("max_tokens", int, id="another name"),
            pytest.param("token", str, id="token alone"),
            pytest.param("secrets", str, id="another ending"),
            pytest.param("password", int, id="a number"),
            pytest.param("api_key", Literal["a", "b"], id="a choice"),
            pytest.param("secret", bool, id="a flag"),
        ],
    )
    def test_other_names_and_types_are_not_masked(self, name: str, type: Any) -> None:
        assert not declare(name, type).secret

    def test_what_is_declared_secret_is_masked_whatever_it_is(self) -> None:
        assert declare("pin", int, secret=True).secret


class TestHelp:
    @pytest.mark.parametrize(
        ("type", "help", "shown"),
        [
            (Annotated[float, "From a text."], None, "From a text."),
            (Annotated[float, Doc()], None, "From an object."),
            (Annotated[float, "From a text."], "From the declaration.", "From the declaration."),
            (float, None, None),
        ],
    )
    def test_help_may_stand_in_the_annotation(self, type: Any, help: str | None, shown: str | None) -> None:
        assert declare(type=type, help=help).help == shown


class TestPlaces:
    def test_a_parameter_knows_the_line_that_declared_it(self) -> None:
        line = sys._getframe().f_lineno + 1
        parameter = Parameter("lr")
        assert parameter.where == f"{__file__}:{line}"
        assert caller_place() == f"{__file__}:{line + 2}"

    def test_a_group_knows_the_line_that_declared_it(self) -> None:
        line = sys._getframe().f_lineno + 1
        group = ParameterGroup("Optimizer", None, [declare()])
        assert group.where == f"{__file__}:{line}"
        assert [parameter.name for parameter in group.get_parameters()] == ["lr"]
        assert repr(group) == "ParameterGroup('Optimizer', ['lr'])"

    def test_false_as_environment_variable_means_none(self) -> None:
        assert declare(envvar=False).envvar is None


def test_a_parameter_is_shown_by_name_type_and_default() -> None:
    assert repr(declare(type=float, default=0.1)) == "Parameter(name='lr', type='float', default=0.1)"


def test_conditions_say_when_a_parameter_counts() -> None:
    parameter = declare("model.optimizer.lr", conditions=(("model", "cnn"), ("model.optimizer", "adam")))
    assert parameter.when == ("model.optimizer", "adam")
    assert parameter.counts({"model": "cnn", "model.optimizer": "adam"})
    assert not parameter.counts({"model": "mlp", "model.optimizer": "adam"})
    assert declare().when is None
    assert declare().counts({})
