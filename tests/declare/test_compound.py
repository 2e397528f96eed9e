"""Types made of other types: None, unions, lists, tuples, mappings, and conditions."""

from __future__ import annotations

import collections
import collections.abc
import datetime
import math
import pathlib
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import annotated_types
import pydantic
import pytest

from pystematic.declare import type_of
from pystematic.declare._types import Integer
from tests.declare.builders import read, refusal, refusal_of_words


class TestLists:
    @pytest.mark.parametrize(
        "words",
        [
            pytest.param(["1", "2", "3"], id="words"),
            pytest.param(["1,2,3"], id="commas"),
            pytest.param(["1,2", "3"], id="both"),
            pytest.param(["[1, 2, 3]"], id="JSON"),
            pytest.param(["[1, 2]", "3"], id="JSON and a word"),
        ],
    )
    def test_one_list_has_many_spellings(self, words: list[str]) -> None:
        assert read(list[int], *words) == [1, 2, 3]

    def test_negative_and_special_numbers_stand_in_lists(self) -> None:
        assert read(list[float], "-1,-inf,1e-3") == [-1.0, -math.inf, 0.001]

    def test_json_allows_items_with_commas(self) -> None:
        assert read(list[str], '["a,b", "c"]') == ["a,b", "c"]

    def test_a_literal_word_is_one_item(self) -> None:
        assert read(list[str], "=a,b", "=[c", "d,e") == ["a,b", "[c", "d", "e"]

    def test_the_empty_list_is_written_as_json(self) -> None:
        assert read(list[int], "[]") == []

    def test_none_stands_for_the_list_or_for_an_item(self) -> None:
        assert read(list[int] | None, "none") is None
        assert read(list[int | None], "none,1") == [None, 1]
        assert read(list[str] | None, "none", "a") == ["none", "a"]

    def test_lists_inside_of_a_list_are_one_word_each(self) -> None:
        assert read(list[list[int]], "1,2", "3") == [[1, 2], [3]]
        assert read(list[tuple[int, int]], "1,2", "[3, 4]") == [(1, 2), (3, 4)]
        assert read(list[list[int]], "[[1, 2], [3]]") == [[1, 2], [3]]

    def test_a_tuple_has_a_type_for_each_place(self) -> None:
        assert read(tuple[int, str], "1", "a") == (1, "a")
        assert read(tuple[int, str], "1,a") == (1, "a")
        assert read(tuple[int, str], '[1, "a,b"]') == (1, "a,b")
        assert refusal_of_words(tuple[int, str], "1") == "2 values (int, text), but 1"

    def test_a_mapping_is_pairs_or_json(self) -> None:
        expected = {"a": 1.0, "b": 2.0}
        assert read(dict[str, float], "a=1", "b=2") == expected
        assert read(dict[str, float], "a=1,b=2") == expected
        assert read(dict[str, float], '{"a": 1}', "b=2") == expected
        assert read(dict[str, str], "a=x=y") == {"a": "x=y"}

    def test_lists_are_values_of_a_mapping(self) -> None:
        assert read(dict[str, list[int]], "a=1,2", "b=3") == {"a": [1, 2], "b": [3]}

    def test_a_key_is_given_once(self) -> None:
        message = "key=value pairs (key: text, value: int): the key 'a' stands in it twice"
        assert refusal_of_words(dict[str, int], "a=1", "a=2") == message
        assert refusal_of_words(dict[str, int], '{"a": 1, "a": 2}') == (
            "key=value pairs (key: text, value: int) (this begins like JSON, but a key stands in it twice; to mean the "
            "text itself, write = before it)"
        )

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[1 2]", "Expecting ',' delimiter at 3"),
            ("[" * 100_000, "it is nested too deeply"),
        ],
    )
    def test_broken_json_is_told_apart_from_a_wrong_item(self, text: str, reason: str) -> None:
        assert refusal_of_words(list[int], text) == (
            f"a list, each item a whole number (this begins like JSON, but {reason}; to mean the text itself, write = "
            "before it)"
        )

    def test_a_number_of_thousands_of_digits_is_refused(self) -> None:
        assert "this begins like JSON, but Exceeds the limit" in refusal_of_words(list[int], f"[{'9' * 5000}]")

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (list, ["1", "2"]),
            (tuple, ("1", "2")),
            (typing.List, ["1", "2"]),  # noqa: UP006
            (list[int], [1, 2]),
            (typing.List[int], [1, 2]),  # noqa: UP006
            (typing.Sequence[int], [1, 2]),
            (Sequence[int], [1, 2]),
            (collections.abc.Iterable, ["1", "2"]),
            (collections.abc.Set[int], {1, 2}),
            (set[int], {1, 2}),
            (tuple[int, ...], (1, 2)),
        ],
    )
    def test_every_spelling_of_a_list_type_is_known(self, annotation: Any, value: object) -> None:
        assert read(annotation, "1,2") == value

    @pytest.mark.parametrize(
        ("annotation", "value"),
        [
            (dict, {"a": "1"}),
            (typing.Dict, {"a": "1"}),  # noqa: UP006
            (dict[str, int], {"a": 1}),
            (Mapping[str, int], {"a": 1}),
            (collections.abc.Mapping, {"a": "1"}),
        ],
    )
    def test_every_spelling_of_a_mapping_type_is_known(self, annotation: Any, value: object) -> None:
        assert read(annotation, "a=1") == value


class TestUnions:
    @pytest.mark.parametrize(
        ("annotation", "text", "value"),
        [
            pytest.param(int | str, "3", 3, id="a number before text"),
            pytest.param(str | int, "3", 3, id="in any order"),
            pytest.param(int | str, "=3", "3", id="literally text"),
            pytest.param(float | int, "3", 3, id="int before float"),
            pytest.param(int | bool, "1", 1, id="1 is a number rather than true"),
            pytest.param(bool | str, "n", "n", id="n is a text rather than false"),
            pytest.param(bool | str, "false", False, id="false is no text"),
            pytest.param(pathlib.Path | Literal["auto"], "auto", "auto", id="a choice before a path"),
            pytest.param(pathlib.Path | int, "a", pathlib.Path("a"), id="a path is nearly any text"),
            pytest.param(str | list[str], "a", "a", id="one word is one text"),
            pytest.param(str | list[str], "a,b", ["a", "b"], id="commas make a list"),
            pytest.param(int | list[int], "[1]", [1], id="JSON makes a list"),
            pytest.param(datetime.date | datetime.datetime, "2026-01-02", datetime.date(2026, 1, 2), id="a date"),
        ],
    )
    def test_a_word_goes_to_the_member_that_fits_best(self, annotation: Any, text: str, value: object) -> None:
        made = read(annotation, text)
        assert made == value
        assert type(made) is type(value)

    def test_several_words_are_a_list(self) -> None:
        assert read(int | list[int], "1", "2") == [1, 2]
        assert refusal_of_words(int | str, "1", "2") == "a whole number or text"

    @pytest.mark.parametrize("value", ["3", 3, 3.5, [1]])
    def test_a_value_of_a_file_keeps_its_type(self, value: object) -> None:
        checked = type_of(int | float | str | list[int]).check(value)
        assert checked == value
        assert type(checked) is type(value)

    @pytest.mark.parametrize(
        ("annotation", "value", "expected"),
        [
            (int | str, 3.5, "a whole number or text"),
            (int | str, True, "a whole number or text"),
            (int | float | None, "x", "a whole number or a number"),
        ],
    )
    def test_what_fits_no_member_is_refused(self, annotation: Any, value: object, expected: str) -> None:
        assert refusal(annotation, value) == expected


class TestConstraints:
    @pytest.mark.parametrize(
        ("annotation", "good", "bad", "expected"),
        [
            (Annotated[float, annotated_types.Gt(0)], 0.1, 0, "a number > 0"),
            (Annotated[int, annotated_types.Interval(ge=1, le=3)], 3, 4, "a whole number >= 1 and <= 3"),
            (Annotated[int, annotated_types.MultipleOf(8)], 16, 4, "a whole number a multiple of 8"),
            (Annotated[list[int], annotated_types.MinLen(1)], [1], [], "a list, each item a whole number of length "
                                                                       ">= 1"),
            (Annotated[int, annotated_types.Predicate(lambda n: n % 2 == 0)], 2, 1,
             "a whole number for which <lambda> holds"),
            (Annotated[float, pydantic.Field(lt=1)], 0.5, 1, "a number < 1"),
            (Annotated[int | None, annotated_types.Gt(0)], None, 0, "a whole number, or none > 0"),
        ],
    )  # fmt: skip
    def test_a_condition_is_checked_and_told(self, annotation: Any, good: object, bad: object, expected: str) -> None:
        assert type_of(annotation).check(good) == good
        assert refusal(annotation, bad) == expected

    def test_a_condition_holds_on_the_command_line_too(self) -> None:
        assert read(Annotated[float, annotated_types.Gt(0)], "1e-3") == 0.001
        assert refusal_of_words(Annotated[float, annotated_types.Gt(0)], "-1") == "a number > 0"

    def test_conditions_of_items_are_checked(self) -> None:
        annotation = list[Annotated[int, annotated_types.Gt(0)]]
        assert read(annotation, "1,2") == [1, 2]
        assert refusal_of_words(annotation, "1,0") == "a whole number > 0"

    def test_a_condition_that_cannot_be_asked_does_not_hold(self) -> None:
        assert refusal(Annotated[str, annotated_types.Gt(0)], "a") == "text > 0"

    def test_other_metadata_changes_nothing(self) -> None:
        assert isinstance(type_of(Annotated[int, "a help text", object()]), Integer)
