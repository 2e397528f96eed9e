"""The JSON Schema of a params file: what it accepts is what the experiment accepts."""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import json
import pathlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import annotated_types
import pytest

import pystematic
from pystematic import _experiment
from pystematic.cli._schema import schema_of
from tests.builders import write_program
from tests.cli.builders import program
from tests.cli.builders import pystematic as command

Capsys = pytest.CaptureFixture[str]


class Color(enum.Enum):
    RED = 1
    GREEN = 2


@dataclasses.dataclass
class Adam:
    lr: float = 0.1
    "Step size."


@dataclasses.dataclass
class Sgd:
    lr: float = 0.5
    momentum: float = 0.0


@dataclasses.dataclass
class Config:
    optimizer: Adam | Sgd = dataclasses.field(default_factory=Adam)
    inner: Adam = dataclasses.field(default_factory=Adam)


def define_train() -> pystematic.Experiment:
    @pystematic.parameter("count", type=int, default=3, help="How many.")
    @pystematic.parameter("lr", type=Annotated[float, annotated_types.Gt(0)], default=0.1)
    @pystematic.parameter("optimizer", type=Literal["sgd", "adam"], default="adam")
    @pystematic.parameter("color", type=Color, default=Color.RED)
    @pystematic.parameter("sizes", type=list[int], default=[1])
    @pystematic.parameter("pair", type=tuple[int, float], default=(1, 0.5))
    @pystematic.parameter("weights", type=dict[str, float], default={})
    @pystematic.parameter("maybe", type=int, default=None)
    @pystematic.parameter("either", type=int | str, default=1)
    @pystematic.parameter("amp", is_flag=True)
    @pystematic.parameter("data", type=pathlib.Path, default=pathlib.Path("data"))
    @pystematic.parameter("token", default="hunter2", secret=True)
    @pystematic.parameter("needed", required=True)
    @pystematic.parameter("unseen", default=1, hidden=True)
    @pystematic.parameter("by_hand", default="x", allow_from_file=False)
    @pystematic.experiment
    def train() -> None:
        """Train a model.

        Args:
            sizes: The sizes of the layers.
        """

    return train


def accepts(schema: Mapping[str, Any], value: Any) -> bool:
    """Tell whether a value is valid by the keywords that we use, as draft 2020-12 defines them."""
    checks: dict[str, Callable[[Any], bool]] = {
        "type": lambda names: any(_is_of_type(value, name) for name in ([names] if isinstance(names, str) else names)),
        "enum": lambda values: any(type(own) is type(value) and own == value for own in values),
        "anyOf": lambda schemas: any(accepts(one, value) for one in schemas),
        "exclusiveMinimum": lambda bound: not _is_of_type(value, "number") or value > bound,
        "minItems": lambda least: not isinstance(value, list) or len(value) >= least,
        "maxItems": lambda most: not isinstance(value, list) or len(value) <= most,
        "prefixItems": lambda schemas: not isinstance(value, list) or all(map(accepts, schemas, value)),
        "items": lambda item: not isinstance(value, list) or all(accepts(item, part) for part in value),
        "properties": lambda named: (
            not isinstance(value, dict) or all(accepts(named[key], value[key]) for key in value if key in named)
        ),
        "additionalProperties": lambda rest: (
            not isinstance(value, dict)
            or all(
                rest is not False and (rest is True or accepts(rest, value[key]))
                for key in value
                if key not in schema.get("properties", {})
            )
        ),
    }
    ignored = {"$schema", "$comment", "title", "description", "default", "format"}
    assert schema.keys() <= checks.keys() | ignored, schema.keys() - checks.keys() - ignored
    return all(check(schema[keyword]) for keyword, check in checks.items() if keyword in schema)


def _is_of_type(value: Any, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    if name == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    kinds = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    return isinstance(value, kinds[name])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"count": 3, "lr": 1, "optimizer": "sgd", "color": "GREEN", "sizes": [1, 2], "pair": [1, 2.5]},
        {"weights": {"a": 0.5}, "maybe": None, "either": "x", "amp": True, "data": "x/y", "needed": "here"},
        {"maybe": 3, "either": 3, "random_seed": 1, "tags": ["a"], "note": None, "capture": "off", "device": "cpu"},
    ],
)
def test_what_it_accepts_the_experiment_accepts(capsys: Capsys, values: dict[str, Any]) -> None:
    assert accepts(schema_of(define_train()), values)
    pathlib.Path("p.json").write_text(json.dumps({"needed": "x", **values}))
    assert program(capsys, "train", "--params-file", "p.json", "--dry-run").code == 0


@pytest.mark.parametrize(
    "values",
    [
        {"count": 3.5},
        {"count": True},
        {"lr": 0},
        {"lr": "much"},
        {"optimizer": "rmsprop"},
        {"color": "BLUE"},
        {"sizes": ["a"]},
        {"pair": [1]},
        {"pair": [1, 2, 3]},
        {"weights": {"a": "b"}},
        {"either": None},
        {"amp": "perhaps"},
        {"capture": "some"},
        {"coun": 3},
    ],
)
def test_what_it_refuses_the_experiment_refuses(capsys: Capsys, values: dict[str, Any]) -> None:
    assert not accepts(schema_of(define_train()), values)
    pathlib.Path("p.json").write_text(json.dumps({"needed": "x", **values}))
    assert program(capsys, "train", "--params-file", "p.json", "--dry-run").code == 2


def test_it_says_what_the_help_page_says() -> None:
    schema = schema_of(define_train())
    properties: Any = schema["properties"]
    assert schema["title"] == "Parameters of train"
    assert schema["description"] == "Train a model."
    assert properties["count"] == {"type": "integer", "description": "How many.", "default": 3}
    assert properties["sizes"]["description"] == "The sizes of the layers."
    assert properties["color"] == {"enum": ["RED", "GREEN"], "default": "RED"}
    assert properties["pair"]["default"] == [1, 0.5]
    assert properties["data"]["default"] == "data"


def test_it_is_plain_json() -> None:
    schema = schema_of(define_train())
    assert json.loads(json.dumps(schema, allow_nan=False)) == schema


def test_what_no_file_may_set_is_not_in_it() -> None:
    properties: Any = schema_of(define_train())["properties"]
    assert not {"by_hand", "unseen", "params_file", "preset", "dry_run", "pdb", "local_rank"} & properties.keys()


def test_secrets_have_no_default_in_it() -> None:
    assert "hunter2" not in json.dumps(schema_of(define_train()))


def test_required_parameters_may_come_from_elsewhere() -> None:
    schema = schema_of(define_train())
    assert "required" not in schema
    assert schema["$comment"] == "required from somewhere: needed"


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "sgd", "optimizer.momentum": 0.9, "inner.lr": 0.5},
        {"optimizer": {"lr": 0.5}, "inner": {"lr": 0.5}},
    ],
)
def test_fields_may_be_written_flat_or_nested(capsys: Capsys, values: dict[str, Any]) -> None:
    @pystematic.experiment
    def train(config: Config) -> None: ...

    assert accepts(schema_of(train), values)
    pathlib.Path("p.json").write_text(json.dumps(values))
    assert program(capsys, "train", "--params-file", "p.json", "--dry-run").code == 0


@pytest.mark.parametrize(
    "values", [{"optimizer": "rmsprop"}, {"optimizer": {"size": 1}}, {"inner": {"lr": "x"}}, {"inner": 3}]
)
def test_wrong_fields_are_refused(capsys: Capsys, values: dict[str, Any]) -> None:
    @pystematic.experiment
    def train(config: Config) -> None: ...

    assert not accepts(schema_of(train), values)
    pathlib.Path("p.json").write_text(json.dumps(values))
    assert program(capsys, "train", "--params-file", "p.json", "--dry-run").code == 2


# -- the command -------------------------------------------------------------------------------------------------

PROGRAM = """
    import pystematic

    @pystematic.parameter("lr", type=float, default=0.1, help="Step size.")
    @pystematic.experiment
    def train(): ...

    @pystematic.group
    def tools(): ...

    @tools.experiment
    def clean(): ...
"""


@pytest.fixture(autouse=True)
def _own_import_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.delitem(sys.modules, "__mp_main__", raising=False)
    monkeypatch.setitem(sys.modules, "__mp_main__", sys.modules["__main__"])


@pytest.mark.parametrize("words", [["train"], ["train", "--output", "json"], ["tools", "clean"], ["tools.clean"]])
def test_the_command_prints_it(capsys: Capsys, working_dir: pathlib.Path, words: list[str]) -> None:
    write_program(working_dir, PROGRAM)
    ended = command(capsys, "schema", "prog.py", *words)
    assert (ended.code, ended.err) == (0, "")
    shown = json.loads(ended.out)
    experiment: Any = _experiment.program.members[words[0].partition(".")[0]]
    if experiment.members is not None:
        experiment = experiment.members["clean"]
    assert shown == json.loads(json.dumps(schema_of(experiment)))


def test_the_command_prints_a_table(capsys: Capsys, working_dir: pathlib.Path) -> None:
    write_program(working_dir, PROGRAM)
    rows = list(csv.DictReader(io.StringIO(command(capsys, "schema", "prog.py", "train", "--output", "csv").out)))
    assert rows[0] == {"name": "lr", "type": "float", "choices": "", "default": "0.1", "description": "Step size."}
    assert next(row for row in rows if row["name"] == "capture")["choices"] == "sys,fd,off"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "EXPERIMENT is missing: pystematic schema FILE EXPERIMENT. There are train, tools."),
        (["tools"], "'tools' is a group. Name one of its experiments. There is only clean."),
        (["trai"], "there is no experiment 'trai'. Did you mean 'train'?"),
    ],
)
def test_what_is_wrong_is_said(capsys: Capsys, working_dir: pathlib.Path, words: list[str], problem: str) -> None:
    write_program(working_dir, PROGRAM)
    ended = command(capsys, "schema", "prog.py", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"pystematic schema: error: {problem}\nSee 'pystematic schema --help'.\n"


def test_a_wrong_declaration_is_one_message(capsys: Capsys, working_dir: pathlib.Path) -> None:
    path = write_program(working_dir, PROGRAM.replace("default=0.1", "default='x'"))
    ended = command(capsys, "schema", "prog.py", "train")
    assert ended.code == 1
    assert re.fullmatch(rf"pystematic: {path}:\d+: parameter 'lr': the default 'x' is not a number\.\n", ended.err)
