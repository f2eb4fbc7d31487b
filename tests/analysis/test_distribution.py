"""How quality is distributed, and how far collections differ in it."""

import json

import numpy as np
import pytest
from scipy import integrate, stats

from fiftyone_iqa.analysis.distribution import (
    QUANTILES,
    Distribution,
    distance,
    distributions,
)
from fiftyone_iqa.errors import IQAError


@pytest.fixture
def values():
    return np.random.default_rng(0).gamma(2, size=300)


def describe(values, **kwargs):
    return distributions(np.asarray(values, float), **kwargs)[None]


def test_figures_are_those_of_numpy(values):
    found = describe(values)
    counts, edges = np.histogram(values, bins=50)
    assert found.n == 300
    assert found.n_missing == 0
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.std == pytest.approx(values.std(ddof=1), abs=1e-12)
    assert found.counts == tuple(counts)
    assert found.bin_edges == pytest.approx(edges, abs=1e-12)
    assert tuple(found.quantiles) == QUANTILES
    assert list(found.quantiles.values()) == pytest.approx(
        np.quantile(values, QUANTILES), abs=1e-12
    )


def test_bins_may_be_given(values):
    assert len(describe(values, bins=7).counts) == 7
    found = describe([0.0, 0.5, 1.0, 1.5, 2.0], bins=[0, 1, 2])
    assert found.bin_edges == (0, 1, 2)
    assert found.counts == (2, 3)


def test_groups_share_the_edges_and_add_up_to_the_whole(values):
    group = [("blur", 1) if v < 2 else "clean" for v in values]
    found = distributions(values, group)
    whole = describe(values)
    assert set(found) == {("blur", 1), "clean"}
    assert next(iter(found)) == group[0]
    parts = list(found.values())
    assert parts[0].bin_edges == parts[1].bin_edges == whole.bin_edges
    total = np.add(parts[0].counts, parts[1].counts)
    assert tuple(total) == whole.counts
    for name, part in found.items():
        inside = values[[g == name for g in group]]
        assert part.mean == pytest.approx(inside.mean(), abs=1e-12)
        assert part.std == pytest.approx(inside.std(ddof=1), abs=1e-12)


def test_rows_without_a_group_are_left_out():
    found = distributions(
        np.array([1.0, 2.0, 9.0, 3.0]), ["a", "b", None, "a"]
    )
    assert list(found) == ["a", "b"]
    assert found["a"].n == 2
    assert found["a"].mean == 2
    assert distributions(np.array([1.0, 2.0]), [None, None]) == {}


def test_missing_values_are_counted(values):
    nan = np.full(20, np.nan)
    found = describe(np.concatenate([nan, values]))
    assert (found.n, found.n_missing) == (300, 20)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)

    found = distributions(
        np.array([1.0, 2.0, np.nan, np.nan]), ["a", "a", "a", "empty"]
    )
    assert (found["a"].n, found["a"].n_missing) == (2, 1)
    empty = found["empty"]
    assert (empty.n, empty.n_missing) == (0, 1)
    assert empty.mean is None
    assert empty.std is None
    assert empty.quantiles == {}
    assert sum(empty.counts) == 0
    assert empty.grid == empty.density == ()


def test_one_value_has_no_spread():
    found = describe([0.25])
    assert found.mean == 0.25
    assert found.std is None
    assert set(found.quantiles.values()) == {0.25}
    assert sum(found.counts) == 1
    assert found.grid == ()


# Values that differ by rounding, too: numpy refuses bins between them
@pytest.mark.parametrize(
    "values",
    [np.full(100, 0.1), np.zeros(100), np.tile([0.1, 0.1 + 1e-16], 500)],
    ids=["0.1", "0", "rounding"],
)
def test_constants_have_bins_and_no_density(values):
    found = describe(values)
    assert found.std == pytest.approx(0, abs=1e-15)
    assert sum(found.counts) == len(values)
    assert found.bin_edges[0] == pytest.approx(values[0] - 0.5)
    assert found.bin_edges[-1] == pytest.approx(values[0] + 0.5)
    assert found.density == ()


@pytest.mark.parametrize("n", [0, 3])
def test_no_value_at_all_is_refused(n):
    with pytest.raises(IQAError, match="no value to describe"):
        distributions(np.full(n, np.nan))


@pytest.mark.parametrize("n", [2, 30, 512])
def test_density_of_few_values_is_that_of_scipy(n):
    values = np.random.default_rng(n).gamma(2, size=n)
    found = describe(values)
    expected = stats.gaussian_kde(values)(found.grid)
    assert found.density == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("draw", ["normal", "gamma", "two"])
def test_density_of_many_values_is_near_that_of_scipy(draw):
    rng = np.random.default_rng(1)
    values = {
        "normal": rng.normal(size=5000),
        "gamma": rng.gamma(2, size=5000),
        "two": np.concatenate([rng.normal(size=2500), rng.normal(9, 2, 2500)]),
    }[draw]
    found = describe(values)
    expected = stats.gaussian_kde(values)(found.grid)
    assert abs(found.density - expected).max() < 0.01 * expected.max()


@pytest.mark.parametrize("n", [50, 5000])
def test_density_integrates_to_one(n):
    found = describe(np.random.default_rng(2).normal(-3, 10, n))
    total = integrate.trapezoid(found.density, found.grid)
    assert total == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("group", [None, ["a", "b"] * 150])
def test_survives_json(values, group):
    values[:7] = np.nan
    for found in distributions(values, group).values():
        stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert Distribution.from_dict(stored) == found


def test_distances_are_those_of_scipy():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=200), rng.normal(0.4, 2, 350)
    found = distance(np.append(a, np.nan), np.append(np.nan, b))
    test = stats.ks_2samp(a, b)
    assert found.wasserstein == pytest.approx(
        stats.wasserstein_distance(a, b), abs=1e-12
    )
    assert found.ks == pytest.approx(test.statistic, abs=1e-12)
    assert found.ks_p == pytest.approx(test.pvalue, abs=1e-12)
    assert found.mean_difference == pytest.approx(
        b.mean() - a.mean(), abs=1e-12
    )
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_shift_is_its_own_distance(values):
    found = distance(values, values + 0.5)
    assert found.wasserstein == pytest.approx(0.5, abs=1e-12)
    assert found.mean_difference == pytest.approx(0.5, abs=1e-12)
    same = distance(values, values)
    assert (same.wasserstein, same.ks, same.mean_difference) == (0, 0, 0)
    assert distance(values, values + 1e3).ks == 1


def test_a_collection_without_values_has_no_distance(values):
    with pytest.raises(IQAError, match="without values"):
        distance(values, np.full(3, np.nan))
    with pytest.raises(IQAError, match="without values"):
        distance(np.array([]), values)
