"""`Parameters`: a read-only mapping with attributes and sources, which survives json, pickle and copy."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic.resolve import Parameters, secret_names_of, sources_of


def make(**more: Any) -> Parameters:
    values = {"learning_rate": 0.1, "sizes": [1, 2], "api_key": "s3cret", **more}
    return Parameters(values, {"learning_rate": "command line", "sizes": "file p.yaml:3"}, ["api_key"])


class TestReading:
    def test_it_is_a_mapping(self) -> None:
        parameters = make()
        assert parameters["learning_rate"] == 0.1
        assert "sizes" in parameters
        assert "size" not in parameters
        assert list(parameters) == ["learning_rate", "sizes", "api_key"]
        assert dict(parameters) == {"learning_rate": 0.1, "sizes": [1, 2], "api_key": "s3cret"}
        assert {**parameters} == dict(parameters) == parameters
        assert len(parameters) == 3
        assert parameters.get("nothing", 5) == 5

    def test_names_are_attributes(self) -> None:
        assert make().learning_rate == 0.1
        assert getattr(make(), "size", None) is None
        assert hasattr(make(), "sizes")

    def test_a_method_of_mappings_wins_over_a_parameter_of_its_name(self) -> None:
        parameters = make(items=3, source_of=4)
        assert next(iter(parameters.items())) == ("learning_rate", 0.1)
        assert parameters.source_of("items") == "code"
        assert parameters["items"] == 3

    @pytest.mark.parametrize("name", ["sources", "secret_names", "secrets", "names", "flag"])
    def test_any_other_name_is_free_for_a_parameter(self, name: str) -> None:
        assert getattr(make(**{name: 5}), name) == 5

    def test_names_are_completed(self) -> None:
        assert {"learning_rate", "source_of", "keys"} <= set(dir(make()))
        assert "optimizer.lr" not in dir(make(**{"optimizer.lr": 1}))

    def test_secrets_are_not_shown(self) -> None:
        assert repr(make()) == "Parameters({'learning_rate': 0.1, 'sizes': [1, 2], 'api_key': '<masked>'})"
        assert "s3cret" not in f"{make()} {make()!r}"
        assert secret_names_of(make()) == {"api_key"}


class TestUnknownNames:
    def test_a_typo_gets_the_nearest_name(self) -> None:
        message = "there is no parameter 'learning_rat'. Did you mean 'learning_rate'?"
        with pytest.raises(KeyError) as as_item:
            make()["learning_rat"]
        with pytest.raises(AttributeError) as as_attribute:
            make().learning_rat  # noqa: B018
        with pytest.raises(KeyError) as as_source:
            make().source_of("learning_rat")
        assert as_item.value.args == as_attribute.value.args == as_source.value.args == (message,)

    def test_without_a_near_name_all_are_told(self) -> None:
        with pytest.raises(KeyError) as caught:
            make()["batch"]
        assert caught.value.args == (
            "there is no parameter 'batch'. There are 'learning_rate', 'sizes' and 'api_key'.",
        )

    def test_a_key_that_is_no_text_is_unknown(self) -> None:
        with pytest.raises(KeyError, match=r"there is no parameter 3\."):
            make()[3]  # type: ignore[index]

    def test_what_python_itself_asks_for_is_no_parameter(self) -> None:
        with pytest.raises(AttributeError, match=r"^__array__$"):
            make().__array__  # noqa: B018


class TestReadOnly:
    @pytest.mark.parametrize(
        "change",
        [
            lambda parameters: parameters.__setitem__("sizes", 1),
            lambda parameters: parameters.__delitem__("sizes"),
            lambda parameters: parameters.update(sizes=1),
            lambda parameters: parameters.pop("sizes"),
            lambda parameters: parameters.popitem(),
            lambda parameters: parameters.clear(),
            lambda parameters: parameters.setdefault("new", 1),
            lambda parameters: parameters.__ior__({"sizes": 1}),
        ],
    )
    def test_no_item_can_be_changed(self, change: Callable[[Any], object]) -> None:
        parameters = make()
        with pytest.raises(TypeError) as caught:
            change(parameters)
        assert str(caught.value) == (
            "the parameters of a run are read-only; dict(parameters) is a copy that can be changed"
        )
        assert parameters == make()

    @pytest.mark.parametrize(
        "change", [lambda parameters: setattr(parameters, "sizes", 1), lambda parameters: delattr(parameters, "sizes")]
    )
    def test_no_attribute_can_be_changed(self, change: Callable[[Any], object]) -> None:
        parameters = make()
        with pytest.raises(AttributeError) as caught:
            change(parameters)
        assert str(caught.value) == (
            "parameters.sizes: the parameters of a run are read-only; dict(parameters) is a copy that can be changed"
        )
        assert parameters == make()

    def test_a_dict_of_it_can_be_changed(self) -> None:
        for changeable in (dict(make()), make().copy(), make() | {}):
            changeable["sizes"] = 3
            assert type(changeable) is dict


class TestSources:
    def test_each_value_has_a_source(self) -> None:
        assert make().source_of("sizes") == "file p.yaml:3"
        assert make().source_of("api_key") == "code"
        assert sources_of(make()) == {"learning_rate": "command line", "sizes": "file p.yaml:3"}

    def test_changing_the_sources_that_were_asked_for_changes_nothing(self) -> None:
        parameters = make()
        sources_of(parameters)["sizes"] = "elsewhere"
        assert parameters.source_of("sizes") == "file p.yaml:3"


class TestCopies:
    @pytest.mark.parametrize(
        "clone",
        [copy.copy, copy.deepcopy, *(lambda p, n=n: pickle.loads(pickle.dumps(p, n)) for n in range(6))],
    )
    def test_a_copy_is_equal_and_read_only_and_keeps_its_sources(self, clone: Callable[[Any], Any]) -> None:
        copied = clone(make())
        assert type(copied) is Parameters
        assert copied == make()
        assert sources_of(copied) == sources_of(make())
        assert secret_names_of(copied) == {"api_key"}
        with pytest.raises(TypeError, match="read-only"):
            copied["sizes"] = 1

    def test_a_deep_copy_shares_nothing_that_can_change(self) -> None:
        parameters = make()
        copy.deepcopy(parameters)["sizes"].append(3)
        assert parameters["sizes"] == [1, 2]

    @pytest.mark.parametrize("indent", [None, 2])
    def test_it_is_written_to_json_as_a_dict(self, indent: int | None) -> None:
        assert json.loads(json.dumps(make(), indent=indent)) == dict(make())


@given(st.dictionaries(st.text(min_size=1), st.integers() | st.text() | st.lists(st.integers()), max_size=5))
def test_whatever_it_holds_survives_pickle_and_json(values: dict[str, Any]) -> None:
    parameters = Parameters(values)
    assert pickle.loads(pickle.dumps(parameters)) == parameters == values
    assert json.loads(json.dumps(parameters)) == values
    for name in values:
        assert parameters[name] == values[name]
        if not hasattr(Parameters, name) and not name.startswith("_"):
            assert getattr(parameters, name) == values[name]
