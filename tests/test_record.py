"""`record`: what a frozen dataclass does, without the import of `dataclasses`."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from pystematic._record import record
from tests.builders import run_python


@record
class Point:
    x: int
    y: int = 0


@record
class Checked:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError(f"{self.value} is negative")


@dataclasses.dataclass(frozen=True)
class RealPoint:
    x: int
    y: int = 0


make: Any = Point  # the tests also call it as no type checker allows


@pytest.mark.parametrize("cls", [Point, RealPoint])
def test_fields_are_given_by_position_or_name_and_have_defaults(cls: Any) -> None:
    assert (cls(1).x, cls(1).y) == (1, 0)
    assert cls(1, 2) == cls(1, y=2) == cls(y=2, x=1)


@pytest.mark.parametrize("cls", [Point, RealPoint])
def test_records_are_equal_by_their_fields_and_class(cls: Any) -> None:
    assert cls(1, 2) != cls(2, 1)
    assert cls(1, 2) != (1, 2)
    assert hash(cls(1, 2)) == hash(cls(1, 2))


def test_records_of_different_classes_are_not_equal() -> None:
    others: list[object] = [RealPoint(1, 2), Checked(1)]
    assert Point(1, 2) not in others


@pytest.mark.parametrize("cls", [Point, RealPoint])
def test_a_record_can_be_matched_by_position(cls: Any) -> None:
    match cls(1, 2):
        case cls(x, y):
            assert (x, y) == (1, 2)


def test_a_record_shows_its_fields() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


@pytest.mark.parametrize("change", [lambda point: setattr(point, "x", 3), lambda point: delattr(point, "x")])
def test_a_record_cannot_be_changed(change: Any) -> None:
    point = Point(1, 2)
    with pytest.raises(AttributeError, match=r"^Point\.x is read-only$"):
        change(point)
    assert point == Point(1, 2)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        pytest.param((), {}, "Point: missing ['x'], unknown [], twice [], 0 by position", id="missing"),
        pytest.param((1,), {"z": 3}, "Point: missing [], unknown ['z'], twice [], 1 by position", id="unknown"),
        pytest.param((1, 2, 3), {}, "Point: missing [], unknown [], twice [], 3 by position", id="too many"),
        pytest.param((1,), {"x": 2}, "Point: missing [], unknown [], twice ['x'], 1 by position", id="given twice"),
    ],
)
def test_wrong_arguments_are_refused(args: tuple[int, ...], kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        make(*args, **kwargs)
    assert str(caught.value) == message


def test_a_record_may_check_itself_when_it_is_made() -> None:
    with pytest.raises(ValueError, match=r"^-1 is negative$"):
        Checked(-1)


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda point: pickle.loads(pickle.dumps(point))])
def test_a_copy_of_a_record_is_equal_and_read_only(clone: Any) -> None:
    copied = clone(Point(1, 2))
    assert copied == Point(1, 2)
    with pytest.raises(AttributeError):
        copied.x = 3


def test_making_records_imports_no_dataclasses() -> None:
    done = run_python(
        "-c",
        "import sys; before = 'dataclasses' in sys.modules\n"
        "from pystematic._record import record\n"
        "@record\nclass A:\n    x: int\n"
        "A(1)\nassert before or 'dataclasses' not in sys.modules",
    )
    assert (done.returncode, done.stderr) == (0, "")
