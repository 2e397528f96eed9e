"""The recorded series: numbers come back equal, damage costs its own line only, the summary is that of the files."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.rundir import (
    ScalarFormatter,
    SeriesFile,
    SeriesWriter,
    Tally,
    is_current_summary,
    make_summary,
    parse_metrics,
    read_series,
    summarize,
    write_document,
)
from tests.rundir.odd_values import same, texts

Number: TypeAlias = int | float
Point: TypeAlias = tuple[str, Number, float, Number]

NAMES = ("first", "last", "min", "max", "mean", "count", "min_step", "max_step")

steps = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 100) | st.floats(allow_nan=False, allow_infinity=False)
times = st.floats(1e9, 2e9).map(lambda time: int(time * 1000) / 1000) | st.floats(0, 1e300)
values = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e-310, 2**63, -(2**63), 2**63 - 1, -(2**63) - 1, 10**400]),
)
points = st.tuples(texts(), steps, times, values)
ordinary_points = st.tuples(st.sampled_from("abc"), st.integers(0, 9), times, st.floats(allow_nan=False, width=32))
any_points = st.lists(points, max_size=8) | st.lists(ordinary_points, max_size=8)


def columns_of(rows: Sequence[Point]) -> tuple[list[str], list[Number], list[float], list[Number]]:
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows]


def lines_of(rows: Sequence[Point]) -> bytes:
    return ScalarFormatter().format(columns_of(rows))


def points_of(tag: str, numbers: Sequence[Number], time: float = 1e9) -> list[Point]:
    return [(tag, step, time + step, number) for step, number in enumerate(numbers)]


def read_all(file: SeriesFile, **options: Any) -> list[Point]:
    return [row for columns in file.read(**options) for row in zip(*columns, strict=True)]


def read_bytes(data: bytes) -> tuple[list[Point], int]:
    """Return the points in ``data``, and how many of its lines are damaged."""
    path = Path("metrics.jsonl")
    path.write_bytes(data)
    file = SeriesFile(path)
    rows = read_all(file, to_end=True)
    assert file.offset == len(data)
    return rows, file.damaged_lines


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")


# -- lines -------------------------------------------------------------------------------------------------------


def test_a_line_is_that_of_the_contract() -> None:
    assert lines_of([("train/loss", 12, 1763910000.123, 0.25)]) == (
        b'{"tag":"train/loss","step":12,"time":1763910000.123,"value":0.25}\n'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, b'null,"special":"nan"'),
        (math.inf, b'null,"special":"inf"'),
        (-math.inf, b'null,"special":"-inf"'),
        (2**63, b'null,"special":"9223372036854775808"'),
        (-(2**63) - 1, b'null,"special":"-9223372036854775809"'),
        (2**63 - 1, b"9223372036854775807"),
        (-0.0, b"-0.0"),
        (1e-310, b"1e-310"),
    ],
)
def test_what_is_no_finite_number_of_64_bits_stands_beside_a_null(value: Number, written: bytes) -> None:
    assert lines_of([("a", 0, 1.5, value)]) == b'{"tag":"a","step":0,"time":1.5,"value":' + written + b"}\n"


def test_how_ranks_are_merged_is_written_where_it_is_not_the_mean() -> None:
    formatter = ScalarFormatter({"b": "sum"})

    assert formatter.format((["a", "b"], [1, 2], [1.5, 2.5], [3, math.nan])) == (
        b'{"tag":"a","step":1,"time":1.5,"value":3}\n'
        b'{"tag":"b","reduce":"sum","step":2,"time":2.5,"value":null,"special":"nan"}\n'
    )


@given(any_points)
@example([("\ud83d\ude00", 0, 1e9, 0), ("😀", 0, 1e9, 0), ("\\ud83d\\ude00 (eda0bdedb880)", 0, 1e9, 0)])
def test_every_point_comes_back_equal(rows: list[Point]) -> None:
    assert same(read_bytes(lines_of(rows)), (rows, 0))


@pytest.mark.parametrize("value", [7**9000, -(7**9000)], ids=["positive", "negative"])
def test_an_int_of_more_digits_than_python_spells_comes_back(value: int) -> None:
    [(_, _, _, read)], damaged = read_bytes(lines_of([("a", 0, 1e9, value)]))

    assert read == value
    assert damaged == 0


@given(any_points)
def test_every_line_is_strict_json_with_a_numeric_value(rows: list[Point]) -> None:
    lines = lines_of(rows).split(b"\n")[:-1]

    assert len(lines) == len(rows)
    for line in lines:
        record = json.loads(line.decode("ascii"), parse_constant=refuse)
        assert record["value"] is None or type(record["value"]) in (int, float)
        record["tag"].encode("utf-8")


@given(st.lists(texts(), unique=True, max_size=6), st.randoms())
@example(["\ud83d\ude00", "\\ud83d\\ude00 (eda0bdedb880)", "\\ud83d\\ude00 (eda0bdedb880)'", "😀"], Random(0))
def test_two_tags_never_merge(tags: list[str], random: Any) -> None:
    rows: list[Point] = [(tag, i, 1e9, i) for i, tag in enumerate(tags)]
    rows += rows
    random.shuffle(rows)
    Path("metrics.jsonl").write_bytes(lines_of(rows))
    summary = json.loads(json.dumps(summarize(".")))

    assert {tag: found.values[0] for tag, found in read_series(".").points.items()} == {
        t: i for i, t in enumerate(tags)
    }
    assert {tag: numbers["last"] for tag, numbers in parse_metrics(summary["metrics"]).items()} == {
        tag: i for i, tag in enumerate(tags)
    }


# -- damage ------------------------------------------------------------------------------------------------------


@given(any_points, st.data())
def test_a_file_that_is_cut_loses_the_last_line_only(rows: list[Point], data: st.DataObject) -> None:
    whole = lines_of(rows)
    cut = data.draw(st.integers(0, len(whole)))
    kept = whole[:cut]
    complete = kept.count(b"\n") + (whole[cut : cut + 1] == b"\n" and cut > 0)

    read, damaged = read_bytes(kept)
    assert same(read, rows[:complete])
    is_between_lines = not kept or kept.endswith(b"\n") or whole[cut : cut + 1] == b"\n"
    assert damaged == (0 if is_between_lines else 1)


@given(any_points, st.data())
def test_a_growing_file_is_read_line_by_line(rows: list[Point], data: st.DataObject) -> None:
    whole = lines_of(rows)
    path = Path("metrics.jsonl")
    path.write_bytes(b"")
    file = SeriesFile(path)
    read: list[Point] = []
    for cut in sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4))):
        path.write_bytes(whole[:cut])
        read += read_all(file)
        assert file.offset == whole[:cut].rfind(b"\n") + 1
        assert same(read, rows[: whole[:cut].count(b"\n")])
    path.write_bytes(whole)
    read += read_all(file)

    assert same(read, rows)
    assert file.damaged_lines == 0


@given(any_points, st.integers(1, 40))
def test_the_size_of_the_portions_that_are_read_changes_nothing(rows: list[Point], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pystematic.rundir._lines._READ_SIZE", size)
        assert same(read_bytes(lines_of(rows)), (rows, 0))


def test_nothing_is_read_beyond_the_limit() -> None:
    rows = points_of("a", [1, 2, 3])
    data = lines_of(rows)
    Path("metrics.jsonl").write_bytes(data)
    two = data.index(b"\n", data.index(b"\n") + 1) + 1

    for limit, count in ((0, 0), (two - 1, 1), (two, 2), (two + 1, 2), (len(data) + 9, 3)):
        assert read_all(SeriesFile("metrics.jsonl"), limit=limit) == rows[:count]
    later = SeriesFile("metrics.jsonl", offset=two)
    assert read_all(later, limit=len(data)) == rows[2:]


JUNK = (
    *(b"nonsense", b"{", b"null", b"[]", b"5", b"\0" * 30, b"\xff\xfe", b"[" * 100_000, b'{"tag":"a"}', b"{}"),
    b'{"tag":"a","step":007,"time":1.5,"value":1}',
    b'{"tag":"a","step":1,"time":01.5,"value":1}',
    b'{"tag":"a","step":1,"time":1.5,"value":1-2}',
    b'{"tag":"a","step":1,"time":1.5,"value":1,2}',
    b'{"tag":"a","step":1,"time":1.5,"value":"1"}',
    b'{"tag":"a","step":1,"time":1.5,"value":null}',
    b'{"tag":"a","step":1,"time":1.5,"value":null,"special":"x"}',
    b'{"tag":"a","step":1,"time":1.5,"value":null,"special":5}',
    b'{"tag":"a","step":null,"time":1.5,"value":1}',
    b'{"tag":"a","step":NaN,"time":1.5,"value":1}',
    b'{"tag":"a","step":1,"time":Infinity,"value":1}',
    b'{"tag":"a","step":1' + b"0" * 400 + b',"time":1.5,"value":1}',
    b'{"tag":"a","step":1' + b"0" * 5000 + b',"time":1.5,"value":1}',
    b'{"tag":"a","step":1,"time":1' + b"0" * 400 + b',"value":1}',
    b'{"tag":5,"step":1,"time":1.5,"value":1}',
    b'{"tag":"\xff","step":1,"time":1.5,"value":1}',
    b'{"tag":"\0\0a\0","step":1,"time":1.5,"value":1}',
    b'{"tag":"a","exact_tag":"zz","step":1,"time":1.5,"value":1}',
    b'{"tag":"a","exact_tag":1,"step":1,"time":1.5,"value":1}',
    b'{"tag":"a","step":1,"time":1.5,"value":1}{"tag":"b","step":1,"time":1.5,"value":1}',
)


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk[:60]))
def test_a_damaged_line_costs_itself_and_is_counted(junk: bytes) -> None:
    rows = points_of("a", [1, 2])
    first, second = lines_of(rows[:1]), lines_of(rows[1:])

    assert read_bytes(first + junk + b"\n" + second) == (rows, 1)


@given(any_points, st.lists(st.sampled_from(JUNK), max_size=5), st.randoms())
def test_damaged_lines_anywhere_cost_themselves_only(rows: list[Point], junk: list[bytes], random: Any) -> None:
    places = sorted(random.randint(0, len(rows)) for _ in junk)
    lines = [lines_of([row]) for row in rows]
    for place, line in zip(reversed(places), junk, strict=True):
        lines.insert(place, line + b"\n")

    assert same(read_bytes(b"".join(lines)), (rows, len(junk)))


@given(st.lists(points, min_size=1, max_size=6), st.data())
def test_a_changed_byte_costs_at_most_the_lines_that_it_touches(rows: list[Point], data: st.DataObject) -> None:
    whole = bytearray(lines_of(rows))
    place = data.draw(st.integers(0, len(whole) - 1))
    before = whole[place]
    whole[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != before))
    touched = bytes(whole[:place]).count(b"\n") if before != ord("\n") else lines_of(rows)[:place].count(b"\n")
    joined = before == ord("\n") and touched + 1 < len(rows)

    read, damaged = read_bytes(bytes(whole))
    assert same(read[:touched], rows[:touched])
    after = rows[touched + 1 + joined :]
    assert same(read[len(read) - len(after) :], after)
    assert damaged <= 2


@pytest.mark.parametrize("data", [b"\n", b"\n\n\n", b"  \n", b"\r\n", b""], ids=repr)
def test_an_empty_line_is_no_damage(data: bytes) -> None:
    rows = points_of("a", [1])

    assert read_bytes(data + lines_of(rows) + data) == (rows, 0)


def test_a_record_of_another_kind_is_passed_over() -> None:
    rows = points_of("a", [1])

    assert read_bytes(b'{"kind":"text","tag":"a","step":0}\n' + lines_of(rows)) == (rows, 0)


def test_lines_of_other_programs_are_read() -> None:
    line = b'{"step": 3, "value": true, "more": [1], "time": -1, "tag": "\xc3\xa4"}\r\n'

    assert same(read_bytes(line), ([("ä", 3, -1.0, 1)], 0))


weights = st.none() | st.integers(0, 1000) | st.floats(0, 1e300)


@given(st.lists(st.tuples(points | ordinary_points, weights), max_size=8), st.dictionaries(texts(), st.just("sum")))
def test_weights_and_ways_to_merge_come_back(rows: list[tuple[Point, float | None]], reduces: dict[str, str]) -> None:
    reduces = {**reduces, "a": "min"}
    columns, given_weights = columns_of([row for row, _ in rows]), [weight for _, weight in rows]
    Path("metrics.jsonl").write_bytes(ScalarFormatter(reduces).format(columns, given_weights))
    file = SeriesFile("metrics.jsonl")
    read_rows: list[Point] = []
    read_weights: list[float | None] = []
    for part, of_part in file.read_weighted():
        read_rows += zip(*part, strict=True)
        read_weights += of_part or [None] * len(part[0])

    assert file.damaged_lines == 0
    assert same(read_rows, [row for row, _ in rows])
    assert same(read_weights, given_weights)
    assert file.reduces == {tag: how for tag, how in reduces.items() if tag in {row[0] for row, _ in rows}}


def test_a_line_with_a_weight() -> None:
    formatter = ScalarFormatter()
    columns = columns_of([("a", 0, 1.5, 0.25), ("a", 1, 2.5, math.nan)])

    assert formatter.format(columns, [32, 7.5]) == (
        b'{"tag":"a","step":0,"time":1.5,"value":0.25,"weight":32}\n'
        b'{"tag":"a","step":1,"time":2.5,"value":null,"special":"nan","weight":7.5}\n'
    )
    assert formatter.format(columns_of([("a", 0, 1.5, 0.25)]), [None]) == lines_of([("a", 0, 1.5, 0.25)])


def test_a_way_to_merge_that_is_chosen_later_holds_from_then_on() -> None:
    reduces: dict[str, str] = {}
    formatter = ScalarFormatter(reduces)
    columns = columns_of([("a", 0, 1.5, 1)])
    first = formatter.format(columns)
    reduces["a"] = "sum"

    assert (first, formatter.format(columns)) == (
        b'{"tag":"a","step":0,"time":1.5,"value":1}\n',
        b'{"tag":"a","reduce":"sum","step":0,"time":1.5,"value":1}\n',
    )


# Alone or among many: odd lines make ordinary ones go another way through the reader.
ODD_LINES = (
    *(b"", b"{", b'{"kind":"text"}', b'{"tag":"a","step":1,"time":1.5,"value":null,"special":"nan"}'),
    b'{"tag":"a","step":1,"time":1.5,"value":1,"weight":2}',
    b'{"tag":"a","step":1\x021.5\x031}',
    b'{"tag":"a","step":1,"value":1,"time":1.5}',
    b'{"step":1,"tag":"a","time":1.5,"value":1,"reduce":"max"}',
    b'{"tag":"a","step":1,"time":1,"value":1e999}',
    b'{"tag":"a","step":1,"time":1.5,"value":18446744073709551616}',
    b'{"tag":"a","step":-9223372036854775809,"time":1.5,"value":0.5}',
    b'{"tag":"a","step":1,"time":1.5,"value":true}',
    b'{"tag":["a"],"step":1,"time":1.5,"value":1}',
    b'{"tag":"a","step":1,"time":1.5,"value":1,"weight":null}',
    b'{"tag":"a","step":1,"time":1.5,"value":1},{"tag":"a","step":2,"time":1.5,"value":1}',
    b'{"tag":"a","step":1\n"time":1.5,"value":1}',
)


@pytest.mark.parametrize("tags", [1, 2, 30], ids=["one tag", "two tags", "many tags"])
@pytest.mark.parametrize("odd", [None, *ODD_LINES], ids=repr)
def test_many_lines_are_read_like_each_alone(tags: int, odd: bytes | None) -> None:
    rows = [(f"tag {i % tags}|,{{}}1e5", i, 1e9 + i / 8, (-1) ** i * 2.0 ** (i % 100 - 50)) for i in range(700)]
    if odd is None:
        assert read_bytes(lines_of(rows)) == (rows, 0)
        return
    for count in (1, 3, 700):
        alone, damaged = read_bytes(odd + b"\n")
        place = count // 3
        content = lines_of(rows[:place]) + odd + b"\n" + lines_of(rows[place:count])

        assert same(read_bytes(content), (rows[:place] + alone + rows[place:count], damaged))


@pytest.mark.parametrize("weight", [b'"x"', b"-1", b"1e999", b"[]"])
def test_a_weight_that_is_none_is_damage(weight: bytes) -> None:
    line = b'{"tag":"a","step":0,"time":1.5,"value":1,"weight":' + weight + b"}\n"

    assert read_bytes(line) == ([], 1)


# -- the writer --------------------------------------------------------------------------------------------------


def test_a_writer_makes_its_file_at_the_first_write(working_dir: Path) -> None:
    writer = SeriesWriter("metrics.jsonl")
    assert list(working_dir.iterdir()) == []
    pending = bytearray(b"one\n")
    writer.write(pending)
    writer.close()

    assert pending == b""
    assert Path("metrics.jsonl").read_bytes() == b"one\n"


def test_a_writer_appends_to_what_is_there_already() -> None:
    Path("metrics.jsonl").write_bytes(b"one\n")
    for line in (b"two\n", b"three\n"):
        writer = SeriesWriter("metrics.jsonl")
        writer.write(bytearray(line))
        writer.close()

    assert Path("metrics.jsonl").read_bytes() == b"one\ntwo\nthree\n"


def test_a_writer_starts_on_a_fresh_line_after_another_ones_torn_line() -> None:
    Path("metrics.jsonl").write_bytes(b'one\n{"tag":"a","st')
    writer = SeriesWriter("metrics.jsonl")
    writer.write(bytearray(b"two\n"))
    writer.write(bytearray(b"three\n"))
    writer.close()

    assert Path("metrics.jsonl").read_bytes() == b'one\n{"tag":"a","st\ntwo\nthree\n'


def test_a_closed_writer_opens_its_file_again() -> None:
    writer = SeriesWriter("metrics.jsonl")
    for line in (b"one\n", b"two\n"):
        writer.write(bytearray(line))
        writer.close()
        writer.close()

    assert Path("metrics.jsonl").read_bytes() == b"one\ntwo\n"


def test_a_file_that_was_removed_is_made_again() -> None:
    writer = SeriesWriter("metrics.jsonl")
    writer.write(bytearray(b"one\n"))
    Path("metrics.jsonl").unlink()
    writer.write(bytearray(b"two\n"))
    writer.close()

    assert Path("metrics.jsonl").read_bytes() == b"two\n"


def test_a_folder_that_is_missing_keeps_the_lines_until_it_is_there(working_dir: Path) -> None:
    writer = SeriesWriter(working_dir / "run" / "metrics.jsonl")
    pending = bytearray(b"one\n")
    with pytest.raises(FileNotFoundError):
        writer.write(pending)
    assert pending == b"one\n"
    (working_dir / "run").mkdir()
    writer.write(pending)
    writer.close()

    assert (working_dir / "run" / "metrics.jsonl").read_bytes() == b"one\n"


def test_a_refused_write_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_all(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = SeriesWriter("metrics.jsonl")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse_all)
        with pytest.raises(OSError, match="No space left") as caught:
            writer.write(bytearray(b"one\n"))
    writer.close()

    assert str(caught.value) == "[Errno 28] No space left on device: 'metrics.jsonl'"


def refusing_write(limits: Iterable[int | None]) -> Callable[[int, bytes], int]:
    """Return an `os.write` that takes at most so many bytes in each call, none (an error) for None, in the end all."""
    write, remaining = os.write, iter(limits)

    def limited(descriptor: int, data: bytes) -> int:
        limit = next(remaining, len(data))
        if limit is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, bytes(data[:limit])) if limit else 0

    return limited


@given(st.lists(points, min_size=1, max_size=6), st.lists(st.none() | st.integers(0, 200), max_size=8))
@example([("a", 0, 1e9, 1)], [len(lines_of([("a", 0, 1e9, 1)])) - 1, None])
def test_whatever_the_disk_takes_every_line_is_there_once_in_the_end(
    rows: list[Point], limits: list[int | None]
) -> None:
    Path("metrics.jsonl").unlink(missing_ok=True)
    writer = SeriesWriter("metrics.jsonl")
    pending = bytearray()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", refusing_write(limits))
        for row in rows:
            pending += lines_of([row])
            try:
                writer.write(pending)
            except OSError:
                continue
        while pending:
            try:
                writer.write(pending)
            except OSError:
                continue
    writer.close()
    file = SeriesFile("metrics.jsonl")

    assert same(read_all(file, to_end=True), rows)
    assert file.damaged_lines == writer.torn_lines


# -- several writers ---------------------------------------------------------------------------------------------


def test_the_points_of_all_processes_are_put_in_the_order_of_time() -> None:
    Path("metrics.jsonl").write_bytes(lines_of([("a", 0, 1.5, 1), ("b", 0, 1.5, 1), ("a", 1, 3.5, 2)]))
    Path("metrics.rank-1.jsonl").write_bytes(lines_of([("a", 10, 1.5, 10), ("a", 11, 2.5, 20)]))
    Path("metrics.pid-7.jsonl").write_bytes(lines_of([("a", 0, 0.5, 100)]))
    Path("metrics.cut-1.jsonl").write_bytes(lines_of([("a", 9, 9.5, 9)]))

    series = read_series(".")
    assert list(zip(series.points["a"].times, series.points["a"].values, strict=True)) == [
        *((0.5, 100), (1.5, 1), (1.5, 10), (2.5, 20), (3.5, 2))
    ]
    assert series.points["a"].steps == [0, 0, 10, 11, 1]
    assert series.points["b"].values == [1]


def test_the_points_of_one_process_stay_in_the_order_of_their_recording() -> None:
    Path("metrics.jsonl").write_bytes(lines_of([("a", 5, 9.5, 1), ("a", 4, 1.5, 2), ("a", 6, 5.5, 3)]))
    Path("metrics.rank-1.jsonl").write_bytes(lines_of([("b", 0, 1.5, 10)]))

    assert read_series(".").points["a"].values == [1, 2, 3]


def test_damage_is_counted_over_all_files() -> None:
    Path("metrics.jsonl").write_bytes(lines_of(points_of("a", [1])) + b"{")
    Path("metrics.rank-1.jsonl").write_bytes(b"x\n" + lines_of(points_of("a", [2])))

    series = read_series(".")
    assert series.damaged_lines == 2
    assert series.sizes == {name: Path(name).stat().st_size for name in ("metrics.jsonl", "metrics.rank-1.jsonl")}


def test_a_file_that_cannot_be_read_costs_itself_and_is_named() -> None:
    Path("metrics.jsonl").write_bytes(lines_of(points_of("a", [1])))
    Path("metrics.rank-1.jsonl").mkdir()

    series = read_series(".")
    assert series.unreadable_files == ("metrics.rank-1.jsonl",)
    assert series.points["a"].values == [1]
    assert summarize(".")["metrics"] == Tally.merged([tally_of(points_of("a", [1]))]).to_plain()


def test_a_folder_that_is_missing_holds_no_series() -> None:
    assert read_series("missing").points == {}
    assert summarize("missing")["metrics"] == {}


# -- summary -----------------------------------------------------------------------------------------------------


def tally_of(rows: Sequence[Point]) -> Tally:
    tally = Tally()
    tally.add(columns_of(rows))
    return tally


def numbers_of(rows: Sequence[Point]) -> dict[str, dict[str, Number | None]]:
    return parse_metrics(json.loads(json.dumps(tally_of(rows).to_plain())))


def naive_summary(rows: Sequence[Point]) -> dict[str, Number | None]:
    """Compute what the contract says of one tag's points in the simplest way."""
    finite = [row for row in rows if row[3] == row[3]]
    newest = max(reversed(rows), key=lambda row: row[2])[3]
    more: dict[str, Number | None] = {} if newest == newest else {"ends_in_nan": True}
    if not finite:
        return {**dict.fromkeys(NAMES), "count": len(rows), **more}
    lowest, highest = min(row[3] for row in finite), max(row[3] for row in finite)
    return {
        "first": min(finite, key=lambda row: row[2])[3],
        "last": max(reversed(finite), key=lambda row: row[2])[3],
        "min": lowest,
        "max": highest,
        "count": len(rows),
        "min_step": next(row[1] for row in finite if row[3] == lowest),
        "max_step": next(row[1] for row in finite if row[3] == highest),
        **more,
    }


@given(any_points)
def test_the_summary_is_what_the_points_say(rows: list[Point]) -> None:
    summary = numbers_of(rows)

    for tag in {row[0] for row in rows}:
        wanted = naive_summary([row for row in rows if row[0] == tag])
        assert {name: number for name, number in summary[tag].items() if name in wanted or name not in NAMES} == wanted
    assert set(summary) == {row[0] for row in rows}


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example([0.1, 0.1, 0.1])
@example([1e308, 1e308, -1e308])
@example([1.7976931348623157e308] * 3)
@example([1e16, 1.0, -1e16])
def test_the_mean_is_rounded_once(numbers: list[float]) -> None:
    exact = sum(map(Fraction, numbers), start=Fraction()) / len(numbers)

    assert numbers_of(points_of("a", numbers))["a"]["mean"] == float(exact)


@pytest.mark.parametrize(
    ("numbers", "mean"),
    [
        ([math.inf, 1.0], math.inf),
        ([-math.inf, 1e308, 1e308], -math.inf),
        ([math.inf, -math.inf], None),
        ([math.nan, 1, 2], 1.5),
        ([math.nan], None),
        ([1, 2, 2**53], 3002399751580331.5),
    ],
)
def test_the_mean_of_odd_numbers(numbers: list[Number], mean: float | None) -> None:
    assert numbers_of(points_of("a", numbers))["a"]["mean"] == mean


def test_a_nan_is_counted_and_otherwise_passed_over() -> None:
    rows = [("a", 1, 1.5, math.nan), ("a", 2, 2.5, 4), ("a", 3, 3.5, 2), ("a", 4, 4.5, math.nan)]

    assert numbers_of(rows[:-1])["a"] == dict(zip(NAMES, (4, 2, 2, 4, 3, 3, 3, 2), strict=True))
    assert numbers_of(rows)["a"] == {
        **dict(zip(NAMES, (4, 2, 2, 4, 3, 4, 3, 2), strict=True)),
        "ends_in_nan": True,
    }


@pytest.mark.parametrize("at_once", [True, False], ids=["in one portion", "in several"])
@pytest.mark.parametrize(
    ("values", "ends_in_nan"),
    [
        ([(1.5, 1), (2.5, math.nan)], True),
        ([(1.5, 1), (2.5, math.nan), (3.5, math.nan)], True),
        ([(1.5, math.nan), (2.5, 1)], False),
        ([(1.5, 1), (2.5, math.nan), (3.5, 2)], False),
        ([(2.5, math.nan), (1.5, 1)], True),
        ([(2.5, 1), (1.5, math.nan)], False),
        ([(1.5, 1), (1.5, math.nan)], True),
        ([(1.5, math.nan), (1.5, 1)], False),
        ([(1.5, math.inf)], False),
        ([(1.5, math.nan)], True),
    ],
    ids=repr,
)
def test_the_summary_says_where_the_newest_point_is_nan(
    values: list[tuple[float, float]], ends_in_nan: bool, at_once: bool
) -> None:
    rows: list[Point] = [("a", step, time, value) for step, (time, value) in enumerate(values)]
    parts = [tally_of(rows)] if at_once else [tally_of([row]) for row in rows]

    numbers = parse_metrics(json.loads(json.dumps(Tally.merged(parts).to_plain())))["a"]
    assert numbers.get("ends_in_nan", False) is ends_in_nan


def test_of_nan_alone_only_the_number_is_known() -> None:
    assert tally_of(points_of("a", [math.nan] * 3)).to_plain() == {
        "a": {**dict.fromkeys(NAMES), "count": 3, "ends_in_nan": True}
    }


def test_an_infinity_and_a_big_int_are_special_in_strict_json() -> None:
    plain = tally_of(points_of("a", [math.inf, 10**30])).to_plain()
    text = json.dumps(plain, allow_nan=False)

    assert json.loads(text)["a"]["first"] == {"special": "inf"}
    assert json.loads(text)["a"]["last"] == {"special": "1" + "0" * 30}


def test_the_time_tells_what_was_first_and_last() -> None:
    rows: list[Point] = [("a", 1, 5.5, 1), ("a", 2, 1.5, 2), ("a", 3, 9.5, 3), ("a", 4, 9.5, 4), ("a", 5, 2.5, 5)]

    summary = numbers_of(rows)["a"]
    assert (summary["first"], summary["last"]) == (2, 4)


def test_of_points_of_one_time_the_order_of_the_files_decides() -> None:
    tallies = [tally_of([("a", step, 1.5, value)]) for step, value in ((1, 7), (2, 8), (3, 7), (4, 8))]
    merged = parse_metrics(Tally.merged(tallies).to_plain())["a"]

    assert (merged["first"], merged["last"], merged["min_step"], merged["max_step"]) == (7, 8, 1, 2)


@settings(max_examples=200)
@given(any_points, any_points, any_points, st.randoms())
def test_the_summary_is_the_same_in_whatever_portions_the_points_come(
    first: list[Point], second: list[Point], third: list[Point], random: Any
) -> None:
    files = {"metrics.jsonl": first, "metrics.pid-1.jsonl": second, "metrics.pid-2.jsonl": third}
    for name, rows in files.items():
        Path(name).write_bytes(lines_of(rows))
    tallies = {name: Tally() for name in files}
    left = {name: list(rows) for name, rows in files.items()}
    while any(left.values()):
        name = random.choice([name for name, rows in left.items() if rows])
        count = random.randint(1, len(left[name]))
        tallies[name].add(columns_of(left[name][:count]))
        del left[name][:count]

    merged = Tally.merged(tallies[name] for name in sorted(tallies)).to_plain()
    assert json.dumps(merged) == json.dumps(summarize(".")["metrics"])


def test_the_document_of_a_summary() -> None:
    rows = points_of("a", [3, 1, 2])
    Path("metrics.jsonl").write_bytes(lines_of(rows) + b"damaged\n")

    assert summarize(".", dropped=7) == {
        "schema": 1,
        "metrics": {
            "a": {"first": 3, "last": 2, "min": 1, "max": 3, "mean": 2, "count": 3, "min_step": 1, "max_step": 0}
        },
        "dropped": 7,
        "damaged_lines": 1,
        "files": {"metrics.jsonl": Path("metrics.jsonl").stat().st_size},
    }


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(lines_of(points_of("a", [1])))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda: append(Path("metrics.jsonl")), id="a file that grew"),
        pytest.param(lambda: append(Path("metrics.pid-3.jsonl")), id="another process"),
        pytest.param(lambda: Path("metrics.jsonl").unlink(), id="a file that is gone"),
        pytest.param(lambda: os.truncate("metrics.jsonl", 3), id="a file that was cut"),
    ],
)
def test_a_summary_is_current_until_a_file_changes(change: Callable[[], None]) -> None:
    append(Path("metrics.jsonl"))
    summary = summarize(".")
    assert is_current_summary(json.loads(json.dumps(summary)), ".")
    change()

    assert not is_current_summary(summary, ".")


def test_a_summary_of_points_that_no_file_has_is_never_current() -> None:
    assert not is_current_summary(make_summary({}, sizes=None, dropped=1, damaged_lines=0), ".")
    assert not is_current_summary({}, ".")


@given(any_points)
def test_a_summary_is_read_as_it_was_written(rows: list[Point]) -> None:
    assume(all(row[3] == row[3] for row in rows))
    Path("metrics.jsonl").write_bytes(lines_of(rows))
    write_document("summary.json", summarize("."))

    document = rundir.read_document("summary.json")
    assert document is not None
    assert is_current_summary(document, ".")
    assert same(parse_metrics(document["metrics"]), numbers_of(rows))


@pytest.mark.parametrize(
    "plain",
    [
        *(None, [], {"a": None}, {"a": {"last": "x"}}, {"a": {"last": {}}}, {"a": {"last": {"special": "x"}}}),
        *({"a": {"exact_tag": 5}}, {"a": {"exact_tag": "zz"}}),
    ],
    ids=repr,
)
def test_a_damaged_summary_is_refused(plain: Any) -> None:
    with pytest.raises(ValueError, match=r"metrics|damaged|special|literal|tag|hex"):
        parse_metrics(plain)


def test_nan_in_a_summary_of_another_program_is_no_number() -> None:
    assert parse_metrics({"a": {"last": math.nan, "count": 1}})["a"] == {**dict.fromkeys(NAMES), "count": 1}
