"""What is recorded beside numbers: every line comes back, damage costs itself, no file leads out of the run."""

from __future__ import annotations

import json
import math
import pathlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.rundir import Item, ItemFile, encode_json, format_item, read_items, read_table
from tests.rundir.odd_values import same, texts


def item_of(kind: str = "text", **fields: Any) -> Item:
    return Item(**{"kind": kind, "tag": "a", "step": 3, "time": 1.5, "data": {"text": "x"}, "file": None, **fields})


def write(*items: Item, name: str = "metrics.jsonl") -> None:
    Path(name).write_bytes(b"".join(format_item(item, ".") for item in items))


def read_line(line: bytes) -> list[Item]:
    Path("metrics.jsonl").write_bytes(line + b"\n")
    return read_items(".")


def test_a_line_is_that_of_the_contract() -> None:
    item = item_of("image", file=Path("run/images/a_3.png"), data={"width": 4, "height": 5})

    assert format_item(item, "run") == (
        b'{"kind":"image","tag":"a","step":3,"time":1.5,"file":"images/a_3.png","width":4,"height":5}\n'
    )


@given(
    texts(),
    st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False),
    st.dictionaries(st.sampled_from(["x", "y"]), st.integers() | st.floats() | texts() | st.lists(st.floats())),
)
def test_every_item_comes_back_equal(tag: str, step: float, data: dict[str, Any]) -> None:
    write(item_of("params", tag=tag, step=step, data={"params": encode_json(data)}))

    [item] = read_items(".")
    assert (item.kind, item.tag, item.step, item.time) == ("params", tag, step, 1.5)
    assert same(item.data, {"params": data})


def test_a_file_is_found_in_the_folder_that_is_read() -> None:
    folder = Path("run")
    folder.mkdir()
    (folder / "metrics.jsonl").write_bytes(format_item(item_of("image", file=Path("run/images/x.png"), data={}), "run"))
    folder.rename("moved")

    [item] = read_items("moved")
    assert item.file == Path("moved/images/x.png")
    assert item.data == {}


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "/etc/passwd", "images/../../x", "images//x", ".", "..", "./x", "C:/x", "C:\\x", "a\\..\\x"),
        *("\0", "images/\0"),
    ],
)
def test_a_line_that_names_a_file_outside_of_the_run_is_passed_over(name: str) -> None:
    line = json.dumps({"kind": "image", "tag": "a", "step": 0, "time": 1.5, "file": name}).encode()

    assert read_line(line) == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"kind":',
        b'{"kind":"text"}',
        b'{"kind":5,"tag":"a","step":0,"time":1.5}',
        b'{"kind":"text","tag":5,"step":0,"time":1.5}',
        b'{"kind":"text","tag":"a","step":"0","time":1.5}',
        b'{"kind":"text","tag":"a","step":NaN,"time":1.5}',
        b'{"kind":"text","tag":"a","step":0,"time":null}',
        b'{"kind":"text","tag":"a","exact_tag":"zz","step":0,"time":1.5}',
        b'{"kind":"image","tag":"a","step":0,"time":1.5,"file":5}',
        b'{"kind":"text","tag":"\xff","step":0,"time":1.5}',
        b'{"kind":"text","tag":"a","step":1' + b"0" * 400 + b',"time":1.5}',
        b'{"kind":' + b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:70]),
)
def test_a_damaged_line_costs_itself_only(line: bytes) -> None:
    whole = format_item(item_of(), ".")

    assert read_line(whole + line + b"\n" + whole) == [item_of(source="metrics.jsonl")] * 2


def test_a_damaged_line_is_counted_by_the_series() -> None:
    Path("metrics.jsonl").write_bytes(format_item(item_of(), ".") + b'{"kind":"text","ta')

    assert rundir.read_series(".").damaged_lines == 1
    assert len(read_items(".")) == 1


def test_numbers_are_passed_over() -> None:
    line = b'{"tag":"{\\"kind\\":\\"text\\"}","step":0,"time":1.5,"value":1}\n'
    Path("metrics.jsonl").write_bytes(line + format_item(item_of(), ".") + line)

    assert len(read_items(".")) == 1
    assert len(rundir.read_series(".").points['{"kind":"text"}'].values) == 2


def test_items_of_all_processes_come_in_the_order_of_time_with_their_source() -> None:
    write(item_of(time=2.5), item_of(time=5.5))
    write(item_of(time=1.5), name="metrics.rank-1.jsonl")
    write(item_of(time=3.5), name="metrics.pid-7.jsonl")
    write(item_of(time=4.5), name="metrics.cut-1.jsonl")

    assert [(item.time, item.source) for item in read_items(".")] == [
        *((1.5, "metrics.rank-1.jsonl"), (2.5, "metrics.jsonl"), (3.5, "metrics.pid-7.jsonl"), (5.5, "metrics.jsonl"))
    ]


def test_a_file_that_cannot_be_read_costs_itself() -> None:
    Path("metrics.rank-1.jsonl").mkdir()
    write(item_of())

    assert len(read_items(".")) == 1
    assert read_items("missing") == []


def test_a_growing_file_is_read_on() -> None:
    line = format_item(item_of(), ".")
    path = Path("metrics.jsonl")
    path.write_bytes(line + line[:10])
    file = ItemFile(path)
    assert (len(list(file.read())), file.offset) == (1, len(line))
    with path.open("ab") as growing:
        growing.write(line[10:] + line)

    assert (len(list(file.read())), file.offset) == (2, 3 * len(line))
    assert list(file.read()) == []


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, -math.inf, [math.inf, {"a": math.nan}], (1, 2), {1, 2}, pathlib.Path("x"), None, b"x", 10**400),
        {"special": "nan"},
        {"$type": "float", "value": "nan"},
        "\ud800",
    ],
    ids=repr,
)
def test_odd_values_come_back(value: object) -> None:
    plain = encode_json({"x": value})
    json.dumps(plain, allow_nan=False).encode("ascii")
    write(item_of("params", data={"params": plain}))

    assert same(read_items(".")[0].data["params"]["x"], value)


# -- tables ------------------------------------------------------------------------------------------------------

TABLE = {"columns": ["a", "b"], "data": [[1, None], ["x", {"$type": "float", "value": "inf"}]]}


def test_a_table_is_read_from_its_line() -> None:
    write(item_of("table", data=TABLE))

    assert read_table(read_items(".")[0]) == (["a", "b"], [[1, None], ["x", math.inf]])


def test_a_table_is_read_from_its_file() -> None:
    Path("tables").mkdir()
    Path("tables/a_3.json").write_text(json.dumps(TABLE))
    write(item_of("table", data={"columns": ["a", "b"], "rows": 2}, file=Path("tables/a_3.json")))

    assert read_table(read_items(".")[0]) == (["a", "b"], [[1, None], ["x", math.inf]])


@pytest.mark.parametrize("content", ["", "[]", '{"columns":[]}', '{"columns":["a"],"data":[1]}', "[" * 100_000])
def test_a_damaged_table_is_refused(content: str) -> None:
    path = Path("x.json")
    path.write_text(content)

    with pytest.raises(ValueError, match=r"no table|Expecting|nested too deeply"):
        read_table(item_of("table", file=path))


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^no table$"):
        read_table(item_of("text", data=TABLE))
