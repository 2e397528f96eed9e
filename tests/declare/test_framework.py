"""The parameters of every experiment, and a user's own in their place."""

from __future__ import annotations

import enum
import pathlib
from typing import Any, Literal

import pytest

from pystematic.declare import OMITTED, RESERVED_NAMES, Parameter, ParameterSet, Spec, framework_groups
from pystematic.errors import DeclarationError


class Capture(enum.StrEnum):
    SYS = "sys"
    OFF = "off"


class Device(enum.Enum):
    CPU = "cpu"


def make_spec(name: str, type: Any = OMITTED, default: Any = None, **more: Any) -> Spec:
    parameters = ParameterSet("experiment 'train'")
    parameters.add(Parameter(name, type, default, where="prog.py:3", **more))
    return Spec(parameters)


def only(spec: Spec, name: str) -> Parameter:
    (parameter,) = spec.named(name)
    return parameter


@pytest.mark.parametrize(
    ("name", "default", "envvar", "identity", "replayed"),
    [
        ("seed_libraries", True, None, True, True),
        ("deterministic", False, None, True, True),
        ("params_file", None, None, False, False),
        ("preset", None, None, False, False),
        ("dry_run", None, None, False, False),
        ("output_dir", "./output", "PYSTEMATIC_OUTPUT_DIR", False, False),
        ("tags", None, None, False, False),
        ("note", None, None, False, False),
        ("device", "auto", None, False, False),
        ("cuda", True, None, False, False),
        ("limit_batches", None, None, True, True),
        ("capture", "sys", None, False, False),
        ("debug", False, None, False, False),
        ("pdb", False, None, False, False),
        ("local_rank", 0, None, False, False),
        ("subprocess", None, None, False, False),
    ],
)
def test_every_experiment_has(name: str, default: object, envvar: str | None, identity: bool, replayed: bool) -> None:
    parameter = only(Spec(ParameterSet("experiment 'train'")), name)
    assert parameter.default == default
    assert (parameter.envvar, parameter.identity, parameter.replayed) == (envvar, identity, replayed)


def test_every_experiment_has_a_drawn_seed() -> None:
    seed = only(Spec(ParameterSet("experiment 'train'")), "random_seed")
    drawn = {seed.make_default() for _ in range(8)}
    assert len(drawn) > 1
    assert all(0 <= value < 2**32 for value in drawn)
    assert (seed.identity, seed.replayed, seed.default_help) == (True, True, "drawn")


def test_every_default_parameter_is_one_of_the_reserved_names_and_has_a_help_text() -> None:
    parameters = [parameter for group in framework_groups() for parameter in group.parameters]
    assert {parameter.name for parameter in parameters} <= RESERVED_NAMES
    assert [parameter.name for parameter in parameters if not parameter.help] == []


def test_a_parameter_of_a_user_is_replayed_and_identity() -> None:
    assert (only(make_spec("lr"), "lr").replayed, only(make_spec("lr"), "lr").identity) == (True, True)
    assert only(make_spec("workers", identity=False), "workers").identity is False


class TestReplacement:
    def test_an_own_declaration_takes_the_place_of_ours(self) -> None:
        spec = make_spec("output_dir", str, "runs")
        parameter = only(spec, "output_dir")
        assert (parameter.default, parameter.where) == ("runs", "prog.py:3")
        assert spec.sections[0][2] == (parameter,)

    def test_it_keeps_what_our_place_is_for(self) -> None:
        parameter = only(make_spec("output_dir", str, "runs"), "output_dir")
        assert (parameter.identity, parameter.replayed) == (False, False)
        assert parameter.envvar == "PYSTEMATIC_OUTPUT_DIR"
        assert only(make_spec("preset", str), "preset").allow_from_file is False
        assert only(make_spec("output_dir", str, envvar="OUT"), "output_dir").envvar == "OUT"

    def test_the_declared_object_itself_is_not_changed(self) -> None:
        own = Parameter("output_dir", str, "runs")
        parameters = ParameterSet("experiment 'train'")
        parameters.add(own)
        Spec(parameters)
        assert (own.identity, own.replayed, own.envvar) == (True, True, None)

    def test_without_a_default_of_its_own_it_has_ours(self) -> None:
        seed = only(make_spec("random_seed", int), "random_seed")
        assert isinstance(seed.make_default(), int)
        assert seed.default_help == "drawn"
        assert only(make_spec("output_dir", pathlib.Path), "output_dir").default == pathlib.Path("output")
        assert only(make_spec("random_seed", int, required=True), "random_seed").default is None
        assert only(make_spec("device", Literal["cpu", "cuda"]), "device").default is None

    @pytest.mark.parametrize(
        ("name", "type"),
        [
            ("random_seed", int),
            ("random_seed", int | None),
            ("random_seed", lambda text: int(text, 16)),
            ("debug", bool),
            ("output_dir", pathlib.Path),
            ("output_dir", Literal["a", "b"]),
            ("note", str),
            ("device", Literal["cpu", "cuda"]),
            ("device", Literal["cpu"] | None),
            ("capture", Literal["sys", "off"]),
            ("capture", Capture),
            ("dry_run", Literal["json"]),
            ("tags", list[str]),
            ("tags", tuple[str, ...]),
            ("tags", list[Literal["a", "b"]]),
            ("params_file", list[pathlib.Path]),
        ],
    )
    def test_a_type_that_carries_our_meaning_is_taken(self, name: str, type: Any) -> None:
        assert only(make_spec(name, type), name).where == "prog.py:3"

    @pytest.mark.parametrize(
        ("name", "type", "own", "needed"),
        [
            ("random_seed", str, "str", "int"),
            ("random_seed", float, "float", "int"),
            ("debug", int, "int", "bool"),
            ("output_dir", int, "int", "str"),
            ("note", list[str], "list[str]", "str"),
            ("device", Device, "Literal['CPU']", "str"),
            ("capture", str, "str", "Literal['sys', 'fd', 'off']"),
            ("capture", Literal["image"], "Literal['image']", "Literal['sys', 'fd', 'off']"),
            ("dry_run", bool, "bool", "Literal['text', 'json', 'yaml']"),
            ("tags", str, "str", "list[str]"),
            ("tags", list[int], "list[int]", "list[str]"),
        ],
    )
    def test_a_type_that_cannot_carry_our_meaning_is_refused(self, name: str, type: Any, own: str, needed: str) -> None:
        with pytest.raises(DeclarationError) as caught:
            make_spec(name, type)
        assert str(caught.value) == (
            f"prog.py:3: parameter '{name}' takes the place of pystematic's own, whose type is {needed}; with the type "
            f"{own} it cannot do its work. Give it another name, or the type {needed}."
        )

    @pytest.mark.parametrize(
        ("name", "more", "option", "owner"),
        [
            ("no_cuda", {"type": bool, "default": False}, "--no-cuda", "cuda"),
            ("verbose", {"type": bool, "default": False, "flags": ["--debug"]}, "--debug", "debug"),
        ],
    )
    def test_an_option_of_ours_under_another_name_is_refused(
        self, name: str, more: dict[str, Any], option: str, owner: str
    ) -> None:
        with pytest.raises(DeclarationError) as caught:
            make_spec(name, **more)
        assert str(caught.value) == (
            f"prog.py:3: parameter '{name}': the option {option} belongs to pystematic's own parameter '{owner}'. "
            f"Give it another name, or declare '{owner}' instead."
        )
