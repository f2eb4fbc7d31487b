"""Sources as codes, clustered means, reductions of runs."""

import numpy as np
import pytest

from fiftyone_iqa.analysis.clusters import (
    clustered_mean,
    codes,
    reduce_runs,
)
from fiftyone_iqa.errors import IQAError


def test_codes_follow_the_sorted_values():
    numbers, distinct = codes(["b", "a", "c", "a"])
    assert numbers.tolist() == [1, 0, 2, 0]
    assert distinct.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("values", [["a", None], [1.0, np.nan]])
def test_rows_without_a_source_are_refused(values):
    with pytest.raises(IQAError, match="1 rows have no source"):
        codes(values)


def test_clustered_mean_of_independent_rows_is_the_t_interval():
    from scipy.stats import t

    values = np.random.default_rng(0).normal(3, 2, 30)
    found = clustered_mean(values, confidence=0.9)
    error = values.std(ddof=1) / np.sqrt(30)
    expected = t.interval(0.9, 29, values.mean(), error)
    assert found.value == pytest.approx(values.mean(), abs=1e-12)
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)


def test_rows_that_repeat_their_source_add_nothing():
    values = np.random.default_rng(0).normal(size=30)
    once = clustered_mean(values)
    again = clustered_mean(np.repeat(values, 7), np.repeat(range(30), 7))
    assert (again.low, again.high) == pytest.approx(
        (once.low, once.high), abs=1e-12
    )


def test_one_source_gives_no_interval():
    assert clustered_mean([1.0, 2.0], ["a", "a"]).low is None


def test_clustered_means_cover_and_pointwise_ones_do_not():
    rng = np.random.default_rng(0)
    covered = {True: [], False: []}
    for _ in range(1000):
        # Sources of unequal size, whose mean is not tied to their size
        source = np.repeat(np.arange(60), rng.integers(1, 30, 60))
        values = rng.normal(size=60)[source] + rng.normal(size=len(source))
        for known, hits in covered.items():
            found = clustered_mean(values, source if known else None)
            hits.append(found.low < 0 < found.high)
    assert 0.93 <= np.mean(covered[True]) <= 0.97
    assert np.mean(covered[False]) < 0.7


def test_runs_without_rows_get_the_empty_value():
    values = np.array([1, 2, 3, 4], np.float32)
    sums = reduce_runs(np.add, values, [0, 2, 0, 2, 0])
    assert sums.tolist() == [0, 3, 0, 7, 0]
    assert sums.dtype == np.float64
    lows = reduce_runs(np.minimum, values, [1, 0, 3], np.inf)
    assert lows.tolist() == [1, np.inf, 2]
    assert reduce_runs(np.add, values[:0], [0, 0]).tolist() == [0, 0]


def test_sums_of_float32_do_not_drift():
    values = np.full(1_000_000, 0.1, np.float32)
    total = reduce_runs(np.add, values, [1_000_000])
    assert total[0] == pytest.approx(float(values[0]) * 1e6, rel=1e-9)
