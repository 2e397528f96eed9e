"""From an annotation to a type, and classes with fields as one value."""

from __future__ import annotations

import dataclasses
from typing import Any

import attrs
import pydantic
import pytest

from pystematic.declare import type_of
from tests.declare.builders import Layer, Node, read, refusal


@attrs.define
class Slice:
    _start: int
    stop: int = attrs.field(default=9, validator=attrs.validators.lt(10))


class Model(pydantic.BaseModel):
    rate: float = pydantic.Field(0.1, gt=0)
    depth: int = pydantic.Field(2, alias="deep")


class TestInstances:
    @pytest.mark.parametrize(
        ("value", "made"),
        [
            pytest.param({"units": 3}, Layer(3), id="a table of a file"),
            pytest.param({"units": "3", "activation": "gelu"}, Layer(3, "gelu"), id="text in a table"),
            pytest.param('{"units": 3}', Layer(3), id="JSON"),
            pytest.param("3", Layer(3), id="the one field that must be given"),
            pytest.param(Layer(3), Layer(3), id="an instance"),
        ],
    )
    def test_an_instance_is_made_from(self, value: object, made: object) -> None:
        assert type_of(Layer).check(value) == made

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            pytest.param({"unit": 3}, "a field of Layer. Did you mean 'units'?", id="unknown field"),
            pytest.param({"units": 3.5}, "a whole number", id="wrong type"),
            pytest.param({"units": True}, "a whole number", id="true is no int here either"),
            pytest.param({}, "a Layer, as it lacks 'units'", id="a field is missing"),
            pytest.param([3], "a Layer, with the fields units and activation", id="a list"),
            pytest.param('{"units"', "a Layer, with the fields units and activation (this begins like JSON, but "
                         "Expecting ':' delimiter at 8; to mean the text itself, write = before it)", id="broken JSON"),
        ],
    )  # fmt: skip
    def test_an_instance_is_refused(self, value: object, expected: str) -> None:
        assert refusal(Layer, value) == expected

    def test_a_class_that_needs_several_fields_is_no_single_word(self) -> None:
        @dataclasses.dataclass
        class Pair:
            a: int
            b: int

        assert refusal(Pair, "3") == "a Pair, with the fields a and b"
        assert type_of(Pair).check('{"a": 1, "b": 2}') == Pair(1, 2)

    def test_instances_are_items_of_lists(self) -> None:
        made = [Layer(3), Layer(4, "gelu")]
        assert type_of(list[Layer]).check([{"units": 3}, {"units": 4, "activation": "gelu"}]) == made
        assert read(list[Layer], "3", '{"units": 4, "activation": "gelu"}') == made
        assert read(list[Layer], '[{"units": 3}, {"units": 4, "activation": "gelu"}]') == made

    def test_a_class_may_hold_itself(self) -> None:
        kind = type_of(Node)
        tree = kind.check({"name": "a", "children": [{"name": "b"}]})
        assert tree == Node("a", [Node("b")])
        assert kind.check(kind.plain(tree)) == tree
        assert kind.schema()["type"] == "object"

    def test_an_attrs_class_is_made_by_the_names_of_its_constructor(self) -> None:
        kind = type_of(Slice)
        assert kind.check({"start": 1}) == Slice(1)
        assert kind.plain(Slice(1, 5)) == {"start": 1, "stop": 5}
        assert refusal(Slice, {"start": 1, "stop": 10}) == "what Slice accepts (ValueError: 'stop' must be < 10: 10)"

    def test_a_pydantic_model_is_made_by_the_names_of_its_fields(self) -> None:
        kind = type_of(Model)
        made = kind.check({"rate": 0.2, "depth": 3})
        assert (made.rate, made.depth) == (0.2, 3)
        assert kind.check(kind.plain(made)) == made
        assert refusal(Model, {"rate": -1}) == "a number > 0"

    def test_an_annotation_that_cannot_be_read_is_an_error(self) -> None:
        @dataclasses.dataclass
        class Broken:
            x: Missing  # type: ignore[name-defined]  # noqa: F821

        with pytest.raises(TypeError, match=r"^an annotation of Broken cannot be read: name 'Missing' is not defined$"):
            type_of(Broken)


class TestUnusableAnnotations:
    @pytest.mark.parametrize(
        ("annotation", "message"),
        [
            (3, "3 is neither a type nor a callable that takes a text"),
            ("int", "'int' is neither a type nor a callable that takes a text"),
            (list["int"], "'int' is neither a type nor a callable that takes a text"),
        ],
    )  # fmt: skip
    def test_they_are_refused(self, annotation: Any, message: str) -> None:
        with pytest.raises(TypeError) as caught:
            type_of(annotation)
        assert str(caught.value) == message
