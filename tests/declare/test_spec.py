"""`ParameterSet` and `Spec`: parameters together, without clashes, in the order of the help page."""

from __future__ import annotations

from typing import Any

import pytest

from pystematic.declare import OMITTED, Parameter, ParameterGroup, ParameterSet, Spec
from pystematic.errors import DeclarationError


def make(name: str, type: Any = OMITTED, default: Any = None, where: str = "prog.py:1", **more: Any) -> Parameter:
    return Parameter(name, type, default, where=where, **more)


def make_set(*parameters: Parameter, owner: str = "experiment 'train'", **more: Any) -> ParameterSet:
    made = ParameterSet(owner, where="prog.py:9", **more)
    for parameter in parameters:
        made.add(parameter)
    return made


def make_group(name: str, *parameters: Parameter, where: str = "prog.py:5") -> ParameterGroup:
    return ParameterGroup(name, f"About {name}.", parameters, where)


def names(parameters: Any) -> list[str]:
    return [parameter.name for parameter in parameters]


def headings(spec: Spec) -> list[tuple[str | None, list[str]]]:
    return [(heading, names(parameters)) for heading, _, parameters in spec.sections if parameters]


def refusal(add: Any, *args: Any, **more: Any) -> str:
    with pytest.raises(DeclarationError) as caught:
        add(*args, **more)
    return str(caught.value)


class TestClashes:
    def test_two_parameters_of_one_name_name_both_places(self) -> None:
        parameters = make_set(make("lr", where="prog.py:3"))
        assert refusal(parameters.add, make("lr", where="prog.py:7")) == (
            "prog.py:7: experiment 'train' has a parameter 'lr' already, declared at prog.py:3. "
            "Remove one of them or give it another name."
        )

    def test_two_parameters_of_one_flag_name_both_places(self) -> None:
        parameters = make_set(make("lr", flags=["-l"], where="prog.py:3"))
        assert refusal(parameters.add, make("limit", flags=["-l"], where="prog.py:7")) == (
            "prog.py:7: parameter 'limit': the option -l belongs to parameter 'lr', declared at prog.py:3."
        )

    def test_the_negation_of_a_flag_is_an_option_too(self) -> None:
        parameters = make_set(make("amp", bool, where="prog.py:3"))
        assert refusal(parameters.add, make("no_amp", where="prog.py:7")) == (
            "prog.py:7: parameter 'no_amp': the option --no-amp belongs to parameter 'amp', declared at prog.py:3."
        )

    @pytest.mark.parametrize(("parameter", "option"), [(make("help"), "--help"), (make("x", flags=["-h"]), "-h")])
    def test_the_options_of_the_help_page_are_taken(self, parameter: Parameter, option: str) -> None:
        assert refusal(make_set().add, parameter) == (
            f"prog.py:1: parameter '{parameter.name}': the option {option} belongs to the help page."
        )

    def test_two_groups_of_one_name_name_both_places(self) -> None:
        parameters = make_set()
        parameters.add_group(make_group("Optimizer", where="prog.py:3"))
        assert refusal(parameters.add_group, make_group("Optimizer", where="prog.py:7")) == (
            "prog.py:7: experiment 'train' has a parameter group 'Optimizer' already, declared at prog.py:3. "
            "Give one of them another name."
        )

    def test_a_parameter_of_a_group_clashes_like_any_other(self) -> None:
        parameters = make_set(make("lr", where="prog.py:3"))
        assert refusal(parameters.add_group, make_group("Optimizer", make("lr", where="prog.py:7"))).startswith(
            "prog.py:7: experiment 'train' has a parameter 'lr' already, declared at prog.py:3."
        )

    def test_fields_of_several_classes_may_share_a_name(self) -> None:
        parameters = make_set(
            make("optimizer.lr", conditions=(("optimizer", "adam"),)),
            make("optimizer.lr", conditions=(("optimizer", "sgd"),)),
        )
        assert len(Spec(parameters).named("optimizer.lr")) == 2


class TestInheritance:
    def test_inherited_parameters_stand_behind_own_ones(self) -> None:
        parent = make_set(make("data_dir"))
        child = make_set()
        child.inherit(parent)
        child.add(make("lr"))
        assert names(child.all()) == ["lr", "data_dir"]

    def test_of_two_inherited_parameters_of_one_name_the_first_stays(self) -> None:
        first, second = make_set(make("lr", default=1)), make_set(make("lr", default=2), make("epochs"))
        child = make_set()
        child.inherit(first)
        child.inherit(second)
        assert [(parameter.name, parameter.default) for parameter in child.all()] == [("lr", 1), ("epochs", None)]

    def test_an_own_parameter_of_an_inherited_name_is_an_error(self) -> None:
        child = make_set()
        child.inherit(make_set(make("lr", where="prog.py:3")))
        assert refusal(child.add, make("lr", where="prog.py:7")).startswith(
            "prog.py:7: experiment 'train' has a parameter 'lr' already, declared at prog.py:3."
        )

    def test_a_parameter_that_exists_is_left_out_of_an_inherited_group(self) -> None:
        first, second = make_set(make("lr", default=1)), make_set()
        second.add_group(make_group("Optimizer", make("lr", default=2), make("momentum")))
        child = make_set()
        child.inherit(first)
        child.inherit(second)
        spec = Spec(child, framework=False)
        assert headings(spec) == [(None, ["lr"]), ("Optimizer", ["momentum"])]
        assert [parameter.default for parameter in spec.named("lr")] == [1]

    def test_a_group_inherited_twice_is_one(self) -> None:
        parent = make_set()
        parent.add_group(make_group("Optimizer", make("lr")))
        left, right, child = make_set(), make_set(), make_set()
        left.inherit(parent)
        right.inherit(parent)
        child.inherit(left)
        child.inherit(right)
        assert headings(Spec(child, framework=False)) == [("Optimizer", ["lr"])]
        assert names(child.groups) == ["Optimizer"]

    def test_an_own_group_joins_an_inherited_one_of_its_name(self) -> None:
        parent, child = make_set(), make_set()
        parent.add_group(make_group("Optimizer", make("lr")))
        child.inherit(parent)
        child.add_group(make_group("Optimizer", make("momentum")))
        assert headings(Spec(child, framework=False)) == [("Optimizer", ["momentum", "lr"])]


class TestOrder:
    def test_parameters_stand_in_the_order_in_which_they_were_written(self) -> None:
        first, second = make("first"), make("second")
        assert names(Spec(make_set(second, first), framework=False).parameters) == ["first", "second"]

    def test_groups_stand_in_the_order_in_which_they_were_written(self) -> None:
        first, second = make_group("First", make("a")), make_group("Second", make("b"))
        parameters = make_set(make("c"))
        parameters.add_group(second)
        parameters.add_group(first)
        assert headings(Spec(parameters, framework=False)) == [(None, ["c"]), ("First", ["a"]), ("Second", ["b"])]

    def test_the_parameters_of_every_experiment_come_last(self) -> None:
        spec = Spec(make_set(make("lr")))
        assert names(spec.parameters)[0] == "lr"
        assert headings(spec)[1][0] == "Reproducibility"


class TestDefaults:
    def test_defaults_take_the_place_of_declared_ones(self) -> None:
        spec = Spec(make_set(make("lr", float, 0.1), defaults={"lr": 1}))
        assert spec.named("lr")[0].default == 1.0
        assert spec.defaults == {"lr": 1.0}

    def test_the_parameter_itself_keeps_its_default(self) -> None:
        parameter = make("lr", float, 0.1)
        Spec(make_set(parameter, defaults={"lr": 1}))
        assert parameter.default == 0.1

    def test_defaults_are_for_the_parameters_of_every_experiment_too(self) -> None:
        assert Spec(make_set(defaults={"output_dir": "runs"})).named("output_dir")[0].default == "runs"

    def test_a_wrong_default_is_told_as_soon_as_its_parameter_is_there(self) -> None:
        assert refusal(make_set, make("lr", float), defaults={"lr": "fast"}) == (
            "prog.py:9: defaults: lr: 'fast' is not a number."
        )

    def test_a_wrong_default_of_a_secret_is_not_shown(self) -> None:
        assert refusal(make_set, make("pin", int, secret=True), defaults={"pin": "s3cret"}) == (
            "prog.py:9: defaults: pin: the masked value is not a whole number."
        )

    def test_an_unknown_name_gets_the_nearest_one(self) -> None:
        assert refusal(Spec, make_set(make("learning_rate"), defaults={"learning_rat": 1})) == (
            "prog.py:9: defaults: there is no parameter 'learning_rat'. Did you mean 'learning_rate'?"
        )

    def test_a_default_is_for_each_class_that_takes_it(self) -> None:
        parameters = make_set(
            make("m.x", int, 1, conditions=(("m", "a"),)),
            make("m.x", bool, True, conditions=(("m", "b"),)),
            defaults={"m.x": 5},
        )
        assert [parameter.default for parameter in Spec(parameters).named("m.x")] == [5, True]

    def test_a_default_that_no_class_takes_is_an_error(self) -> None:
        parameters = make_set(make("m.x", int, 1, conditions=(("m", "a"),)), defaults={"m.x": "y"})
        assert refusal(Spec, parameters) == "prog.py:9: defaults: m.x: 'y' is not a whole number."


class TestLookUp:
    def test_a_parameter_is_found_by_name_and_by_each_of_its_options(self) -> None:
        spec = Spec(make_set(make("use_amp", bool, flags=["-a"])))
        assert names(spec.named("use_amp")) == ["use_amp"]
        for option in ("--use-amp", "--no-use-amp", "-a"):
            parameter = spec.with_option(option)
            assert parameter is not None
            assert parameter.name == "use_amp"

    def test_what_is_not_there_is_not_found(self) -> None:
        spec = Spec(make_set())
        assert spec.named("lr") == []
        assert spec.with_option("--lr") is None

    def test_of_several_classes_fields_that_of_the_chosen_class_is_found(self) -> None:
        first = make("m.x", int, 1, conditions=(("m", "a"),))
        second = make("m.x", bool, True, conditions=(("m", "b"),))
        spec = Spec(make_set(make("m"), first, second))
        assert spec.with_option("--m.x", {"m": "b"}) is second
        assert spec.with_option("--m.x") is first

    def test_hidden_options_are_not_listed(self) -> None:
        spec = Spec(make_set(make("shown"), make("hidden", hidden=True)), framework=False)
        assert spec.options == ["--shown"]
        assert spec.names == ["shown", "hidden"]
