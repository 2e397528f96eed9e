"""Downsampling: no spike is lost, and what is near enough is exact."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from pystematic.terminal._charts import smooth as smooth_of_terminal
from pystematic.web._sampling import Window, in_order, sample, smooth, spread, to_floats

FINITE = st.floats(allow_nan=False, allow_infinity=False)
ANY = st.floats()


def arrays(*columns: list[float]) -> list[np.ndarray]:
    return [np.array(column, dtype=np.float64) for column in columns]


@pytest.mark.parametrize("buckets", [1, 7, 400, 3840])
@pytest.mark.parametrize("is_log", [False, True])
def test_one_spike_among_a_million_points_is_there_at_every_zoom(buckets: int, is_log: bool) -> None:
    x = np.arange(1_000_000, dtype=np.float64)
    y = np.sin(x / 1000)
    y[654_321] = 1e6
    low, high = 0.0, 999_999.0
    while high - low > 2:
        found = sample(x, y, Window(low, high, buckets, is_log))
        assert (654_321.0, 1e6) in zip(found.x.tolist(), found.y.tolist(), strict=True)
        assert found.n_points == int(high) - int(np.ceil(low)) + 1
        assert found.is_sampled == (found.n_points > 2 * buckets)
        low, high = low + (654_321 - low) * 0.4, high - (high - 654_321) * 0.4


@given(
    st.lists(st.tuples(st.floats(-1e300, 1e300), ANY), max_size=60),
    st.integers(1, 6),
    st.booleans(),
    st.floats(-1e300, 1e300),
    st.floats(0, 1e300),
)
def test_every_bucket_keeps_its_extremes_and_nothing_is_invented(
    points: list[tuple[float, float]], buckets: int, is_log: bool, low: float, width: float
) -> None:
    x, y = in_order(*arrays([point[0] for point in points], [point[1] for point in points]))
    found = sample(x, y, Window(low, low + width, buckets, is_log))

    shown = list(zip(found.x.tolist(), found.y.tolist(), strict=True))
    whole = [(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True) if np.isfinite(b)]
    assert set(shown) <= set(whole)
    assert found.x.tolist() == sorted(found.x.tolist())
    inside = [point for point in whole if low <= point[0] <= low + width]
    assert found.n_points == len(inside) + found.n_nonfinite
    if not found.is_sampled:
        assert [point for point in shown if low <= point[0] <= low + width] == inside
    elif inside:
        values = [value for _, value in shown if low <= _ <= low + width]
        assert (min(values), max(values)) == (min(v for _, v in inside), max(v for _, v in inside))
        assert len(shown) <= 2 * (buckets + 2) + 4


def test_the_next_points_outside_of_the_window_are_kept_so_that_lines_reach_its_edge() -> None:
    x, y = arrays([0, 1, 2, 3, 4], [0, 10, 20, 30, 40])

    assert sample(x, y, Window(1.5, 2.5)).x.tolist() == [1, 2, 3]
    assert sample(x, y, Window(1.5, 2.5)).n_points == 1
    assert sample(x, y, Window(1.2, 1.4)).x.tolist() == [1, 2]


def test_nan_and_infinities_are_marked_apart() -> None:
    x, y = arrays([0, 1, 2, 3], [1, np.nan, np.inf, -np.inf])
    found = sample(x, y, Window(0.5, 2.5))

    assert found.y.tolist() == [1]
    assert found.nonfinite_x.tolist() == [1, 2]
    assert str(found.nonfinite_y.tolist()) == "[nan, inf]"
    assert (found.n_points, found.n_nonfinite) == (2, 2)


def test_of_very_many_nan_some_are_marked_and_all_are_counted() -> None:
    x = np.arange(50_000, dtype=np.float64)
    found = sample(x, np.full(50_000, np.nan), Window(buckets=100))

    assert found.n_nonfinite == 50_000
    assert 100 <= len(found.nonfinite_x) <= 110


def test_steps_in_any_order_are_put_in_theirs() -> None:
    x, y = in_order(*arrays([3, 1, 1, 2, np.inf], [30, 10, 11, 20, 0]))

    assert (x.tolist(), y.tolist()) == ([1, 1, 2, 3], [10, 11, 20, 30])


def test_integers_that_no_float_holds_are_infinite() -> None:
    assert to_floats(np.array([10**400, -(10**400), 2**70], dtype=object)).tolist() == [np.inf, -np.inf, 2.0**70]


@given(st.lists(st.floats(-1e6, 1e6), max_size=300), st.floats(0, 1))
def test_smoothing_is_that_of_the_terminal(values: list[float], weight: float) -> None:
    ours = smooth(np.array(values, dtype=np.float64), weight).tolist()

    assert ours == pytest.approx(smooth_of_terminal(values, weight), rel=1e-9, abs=1e-6)


def test_seeds_with_the_same_steps_have_a_mean_at_each_of_them() -> None:
    x = np.array([0.0, 1.0, 2.0])
    found = spread([(x, np.array([1.0, 2.0, np.nan])), (x, np.array([3.0, 6.0, 5.0]))], Window())

    assert not found.is_sampled
    assert found.x.tolist() == [0, 1, 2]
    assert found.mean.tolist() == [2, 4, 5]
    assert found.n.tolist() == [2, 2, 1]
    assert found.std[:2].tolist() == pytest.approx([2**0.5, 8**0.5])
    assert np.isnan(found.std[2])
    assert (found.low.tolist(), found.high.tolist()) == ([1, 2, 5], [3, 6, 5])


def test_series_at_other_places_are_put_into_buckets() -> None:
    first, second = np.arange(0, 100, 1.0), np.arange(0.5, 100, 1.0)
    found = spread([(first, np.full(100, 1.0)), (second, np.full(100, 3.0))], Window(buckets=10))

    assert found.is_sampled
    assert 10 <= len(found.x) <= 11
    assert found.n.tolist()[:9] == [2] * 9
    assert found.mean.tolist()[:9] == pytest.approx([2] * 9)


def test_no_series_has_no_spread() -> None:
    assert spread([], Window()).x.tolist() == []
    assert spread([(np.array([]), np.array([]))], Window()).x.tolist() == []
