"""What ranks have recorded becomes one series: which points belong together, and what their values are together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pystematic import rundir
from pystematic.rundir import RankMerge, RankPoints, ScalarFormatter, merge_points, merge_values, read_series
from tests.rundir.odd_values import same

finite = st.floats(-1e6, 1e6)
samples = st.lists(st.lists(finite, min_size=1, max_size=5), min_size=1, max_size=8)


def points_of(*points: tuple[float, float], weights: Sequence[float | None] | None = None) -> RankPoints:
    """Return points (step, value) that were recorded a second apart."""
    steps, values = [step for step, _ in points], [value for _, value in points]
    return RankPoints(steps, [1e9 + i for i in range(len(points))], values, None if weights is None else list(weights))


def pairs(points: RankPoints) -> list[tuple[float, float]]:
    return sorted(zip(points.steps, points.values, strict=True))


@given(samples)
def test_the_mean_of_ranks_is_the_mean_of_all_their_samples(parts: list[list[float]]) -> None:
    means = [math.fsum(part) / len(part) for part in parts]
    whole = [sample for part in parts for sample in part]
    merged = merge_values(means, [len(part) for part in parts], "mean")

    assert math.isclose(merged, math.fsum(whole) / len(whole), rel_tol=1e-12, abs_tol=1e-9)


@given(samples)
def test_sum_min_and_max_of_ranks_are_those_of_all_their_samples(parts: list[list[float]]) -> None:
    weights = [len(part) for part in parts]
    whole = [sample for part in parts for sample in part]

    assert merge_values([min(part) for part in parts], weights, "min") == min(whole)
    assert merge_values([max(part) for part in parts], weights, "max") == max(whole)
    merged = merge_values([math.fsum(part) for part in parts], weights, "sum")
    assert math.isclose(merged, math.fsum(whole), rel_tol=1e-12, abs_tol=1e-6)


@given(st.lists(st.tuples(finite, st.integers(1, 1000)), min_size=1, max_size=6))
def test_the_mean_lies_between_the_values(points: list[tuple[float, int]]) -> None:
    values = [value for value, _ in points]

    assert min(values) <= merge_values(values, [weight for _, weight in points], "mean") <= max(values)


@pytest.mark.parametrize(
    ("values", "weights", "reduce", "merged"),
    [
        ([1, 3], [None, None], "mean", 2.0),
        ([1, 3], [3, 1], "mean", 1.5),
        ([1, 3], [None, 3], "mean", 2.5),  # None is 1
        ([5, 5], [1, 2], "mean", 5),
        ([0.1, 0.1, 0.1], [1, 1, 1], "mean", 0.1),
        ([1, 2**70], [1, 2], "sum", 2**70 + 1),
        ([1.5, 2], [None, None], "sum", 3.5),
        ([2, 1.5], [None, None], "min", 1.5),
        ([2, 1.5], [None, None], "max", 2),
        ([math.inf, 1.0], [None, None], "mean", math.inf),
        ([math.inf, -math.inf], [None, None], "mean", math.nan),
        ([math.inf, -math.inf], [None, None], "sum", math.nan),
        ([math.inf, -math.inf], [None, None], "min", -math.inf),
        ([1.7e308, 1.7e308, -1.7e308], [2, 2, 2], "mean", 1.7e308 / 3),
        ([1.7e308, 1.7e308, -1.7e308], [None, None, None], "sum", 1.7e308),
        ([10**400, 10**400 + 2], [1, 1], "mean", 10**400 + 1),
        ([1e-310, 3e-310], [1, 1], "mean", 2e-310),
    ],
)
def test_the_merged_value(values: list[Any], weights: list[Any], reduce: str, merged: Any) -> None:
    assert same(merge_values(values, weights, reduce), merged)


@pytest.mark.parametrize("reduce", ["mean", "sum", "min", "max"])
def test_a_nan_that_counts_is_seen_in_the_merged_value(reduce: str) -> None:
    assert math.isnan(merge_values([1.0, math.nan, 2.0], [1, 1, 1], reduce))


@pytest.mark.parametrize(("reduce", "merged"), [("mean", 2.0), ("sum", 4.0), ("min", 1.0), ("max", 3.0)])
def test_a_value_of_weight_0_counts_nowhere(reduce: str, merged: float) -> None:
    for other in (100.0, -100.0, math.nan, math.inf):
        assert merge_values([1.0, other, 3.0], [1, 0, 1], reduce) == merged


@pytest.mark.parametrize(("reduce", "merged"), [("mean", 2.0), ("sum", 4.0), ("min", 1.0), ("max", 3.0)])
def test_when_all_are_of_weight_0_all_count_alike(reduce: str, merged: float) -> None:
    assert merge_values([1.0, 3.0], [0, 0], reduce) == merged


def test_points_of_one_step_become_one() -> None:
    merged = merge_points([points_of((0, 1), (1, 2)), points_of((0, 3), (1, 6))], "mean")

    assert pairs(merged) == [(0, 2), (1, 4)]


def test_a_merged_point_has_the_time_of_the_last_rank() -> None:
    first, second = points_of((0, 1), (1, 2)), points_of((1, 6), (0, 3))

    merged = merge_points([first, second], "mean")
    assert sorted(zip(merged.steps, merged.times, strict=True)) == [(0, 1e9 + 1), (1, 1e9 + 1)]


def test_points_of_one_rank_alone_stay_as_they_are() -> None:
    merged = merge_points([points_of((0, 1), (2, 5), weights=[1, 0]), points_of((0, 3), (1, math.inf))], "sum")

    assert pairs(merged) == [(0, 4), (1, math.inf), (2, 5)]


def test_two_points_of_one_step_of_one_rank_stay_two() -> None:
    merged = merge_points([points_of((0, 1), (0, 10), (1, 5)), points_of((0, 3), (1, 5), (0, 30))], "mean")

    assert pairs(merged) == [(0, 2), (0, 20), (1, 5)]


def test_nothing_is_merged_where_it_should_not_be() -> None:
    merged = merge_points([points_of((0, 1)), points_of((0, 3))], "none")

    assert pairs(merged) == [(0, 1), (0, 3)]


rank_points = st.lists(st.tuples(st.integers(0, 4), finite, st.none() | st.integers(0, 3)), max_size=8)


@given(st.lists(rank_points, min_size=1, max_size=4), st.sampled_from(["mean", "sum", "min", "max", "none"]), st.data())
def test_points_that_come_bit_by_bit_are_merged_like_all_at_once(
    ranks: list[list[tuple[int, float, int | None]]], reduce: str, data: st.DataObject
) -> None:
    parts = [
        points_of(*((step, value) for step, value, _ in rank), weights=[weight for _, _, weight in rank])
        for rank in ranks
    ]
    merge = RankMerge(data.draw(st.none() | st.just(len(ranks))), {"a": reduce})
    left = [list(range(len(rank))) for rank in ranks]
    found: list[tuple[float, float]] = []
    while any(left):
        rank = data.draw(st.sampled_from([number for number, rest in enumerate(left) if rest]))
        i = left[rank].pop(0)
        part = parts[rank]
        assert part.weights is not None
        columns = (["a"], [part.steps[i]], [part.times[i]], [part.values[i]])
        merge.add(rank, columns, [part.weights[i]], now=1.0)
        taken = merge.take(before=0.0)  # what is done, as nothing is as old
        found += zip(taken[1], taken[3], strict=True) if taken is not None else ()
    taken = merge.take()
    found += zip(taken[1], taken[3], strict=True) if taken is not None else ()

    assert not merge
    assert merge.is_exact
    assert same(sorted(found), pairs(merge_points(parts, reduce)))


def test_a_point_is_done_when_the_last_rank_has_recorded_it() -> None:
    merge = RankMerge(2)
    merge.add(0, (["a"], [0], [1.5], [1.0]), now=5.0)
    assert merge.take(before=5.0) is None
    merge.add(1, (["a"], [0], [2.5], [3.0]), now=6.0)

    assert merge.take(before=5.0) == (["a"], [0], [2.5], [2.0])
    assert merge.take() is None


def test_a_point_that_waited_long_enough_is_taken_without_the_missing_rank() -> None:
    merge = RankMerge(2)
    merge.add(0, (["a", "a"], [0, 1], [1.5, 2.5], [1.0, 2.0]), now=5.0)
    merge.add(0, (["b"], [0], [3.5], [4.0]), now=6.0)

    assert merge.take(before=5.5) == (["a", "a"], [0, 1], [1.5, 2.5], [1.0, 2.0])
    assert merge.is_exact


def test_a_rank_that_comes_too_late_makes_the_merge_inexact() -> None:
    merge = RankMerge(2)
    merge.add(0, (["a"], [0], [1.5], [1.0]), now=5.0)
    merge.take()
    merge.add(1, (["b"], [0], [1.5], [1.0]), now=6.0)
    assert merge.is_exact
    merge.add(1, (["a"], [0], [1.5], [3.0]), now=6.0)

    assert not merge.is_exact


# -- files -------------------------------------------------------------------------------------------------------


def write_rank(name: str, points: list[tuple[str, float, float]], weight: float | None = None, **reduces: str) -> None:
    columns = (
        [tag for tag, _, _ in points],
        [step for _, step, _ in points],
        [1e9 + i for i in range(len(points))],
        [value for _, _, value in points],
    )
    weights: list[float | None] | None = None if weight is None else [weight] * len(points)
    Path(name).write_bytes(ScalarFormatter(reduces).format(columns, weights))


@given(st.lists(finite, min_size=1, max_size=40), st.integers(1, 5), st.randoms(use_true_random=False))
def test_samples_split_over_ranks_give_the_series_of_one_process(whole: list[float], ranks: int, random: Any) -> None:
    """Each rank takes some of the samples of each step, and records their mean with its weight."""
    for path in Path().glob("metrics*.jsonl"):
        path.unlink()
    lines: dict[int, bytes] = dict.fromkeys(range(ranks), b"")
    expected = []
    for step in range(4):
        random.shuffle(whole)
        sizes = sorted(random.randint(0, len(whole)) for _ in range(ranks - 1))
        shares = [whole[begin:end] for begin, end in zip([0, *sizes], [*sizes, len(whole)], strict=True)]
        expected.append(Fraction(sum(map(Fraction, whole), Fraction()), len(whole)))
        for rank, share in enumerate(shares):
            # A rank without a share repeats a sample, which has the weight 0.
            value = math.fsum(share) / len(share) if share else whole[0]
            columns = (["loss"], [step], [1e9 + step], [value])
            lines[rank] += ScalarFormatter().format(columns, [len(share)])  # type: ignore[arg-type]
    for rank, content in lines.items():
        rundir.RunDir(".").metrics_file(rank).write_bytes(content)

    points = read_series(".").points["loss"]
    assert points.steps == [0, 1, 2, 3]
    for value, exact in zip(points.values, expected, strict=True):
        assert math.isclose(value, exact, rel_tol=1e-9, abs_tol=1e-6)


def test_a_run_of_one_process_is_read_as_it_was_recorded() -> None:
    write_rank("metrics.jsonl", [("a", 0, 1), ("a", 0, 2)], weight=0)

    assert read_series(".").points["a"].values == [1, 2]


def test_how_a_tag_is_merged_stands_in_its_lines() -> None:
    for name in ("metrics.jsonl", "metrics.rank-1.jsonl"):
        write_rank(name, [("n", 0, 16), ("all", 0, 1), ("mean", 0, 4)], n="sum", all="none")

    points = read_series(".").points
    assert (points["n"].values, points["all"].values, points["mean"].values) == ([32], [1, 1], [4])


def test_forked_children_are_no_ranks() -> None:
    write_rank("metrics.jsonl", [("a", 0, 1)])
    write_rank("metrics.rank-1.jsonl", [("a", 0, 3)])
    write_rank("metrics.pid-7.jsonl", [("a", 0, 10)])
    write_rank("metrics.pid-8.jsonl", [("a", 0, 10)])

    assert sorted(read_series(".").points["a"].values) == [2, 10, 10]


def test_the_summary_of_several_ranks_is_that_of_the_merged_series() -> None:
    write_rank("metrics.jsonl", [("a", 0, 1.0), ("a", 1, 3.0)], weight=1)
    write_rank("metrics.rank-1.jsonl", [("a", 0, 4.0), ("a", 1, 6.0)], weight=2)

    numbers = rundir.parse_metrics(rundir.summarize(".")["metrics"])["a"]
    assert (numbers["count"], numbers["min"], numbers["max"], numbers["last"]) == (2, 3.0, 5.0, 5.0)
