"""Correlation over groups: coefficients, BCa intervals, group means."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fiftyone_iqa.analysis.correlation import (
    _STATISTICS,
    COEFFICIENTS,
    Coefficient,
    _bca,
    correlation,
    group_codes,
    group_means,
)
from fiftyone_iqa.analysis.estimate import Estimate
from fiftyone_iqa.errors import IQAError

TESTS = {
    "krcc": stats.kendalltau,
    "srcc": stats.spearmanr,
    "plcc": stats.pearsonr,
}


def draw(n=75, rho=0.8, seed=0, digits=None):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    if digits is not None:
        x, y = x.round(digits), y.round(digits)
    return x, y


@pytest.mark.parametrize("digits", [None, 0, 1], ids=["", "ties", "few"])
@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("n", [5, 19, 75])
def test_coefficients_and_p_are_those_of_scipy(n, name, digits):
    x, y = draw(n, 0.5, n, digits)
    found = getattr(correlation(x, y), name)
    expected = TESTS[name](x, y)
    assert found.signed.value == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize("digits", [None, 0], ids=["", "ties"])
@pytest.mark.parametrize("name", COEFFICIENTS)
def test_coefficients_of_resamples_are_those_of_scipy(name, digits):
    x, y = draw(20, -0.4, 1, digits)
    rows = np.random.default_rng(2).integers(20, size=(50, 20))
    counts = np.array([np.bincount(row, minlength=20) for row in rows], float)
    expected = [TESTS[name](x[row], y[row]).statistic for row in rows]
    found = _STATISTICS[name](x, y, counts)
    assert found == pytest.approx(np.array(expected), abs=1e-12)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_resamples_of_one_value_have_no_coefficient(name):
    # 0.1 is no binary fraction: centring it leaves rounding behind
    x = np.array([0.1] * 6 + [0.3])
    y = np.arange(7) / 7
    counts = np.array([[2, 1, 1, 1, 1, 1, 0], [1] * 7, [7] + [0] * 6], float)
    found = _STATISTICS[name](x, y, counts)
    assert np.isnan(found).tolist() == [True, False, True]


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_intervals_are_those_of_scipys_bootstrap(name):
    x, y = draw(40, 0.7, 3)
    found = getattr(correlation(x, y, n_resamples=20_000), name).signed
    values = _STATISTICS[name]
    expected = stats.bootstrap(
        (np.arange(40),),
        lambda rows: values(
            x, y, np.bincount(rows.astype(int), minlength=40)[None]
        )[0],
        method="BCa",
        n_resamples=5000,
        vectorized=False,
        rng=np.random.default_rng(4),
    ).confidence_interval
    # Resampling alone moves the ends by about 0.005
    assert found.low == pytest.approx(expected.low, abs=0.02)
    assert found.high == pytest.approx(expected.high, abs=0.02)


def test_interval_is_that_of_scipys_paired_bootstrap():
    x, y = draw(30, 0.6, 5)
    found = correlation(x, y, n_resamples=20_000, confidence=0.9).plcc.signed
    expected = stats.bootstrap(
        (x, y),
        lambda x, y, axis=-1: stats.pearsonr(x, y, axis=axis).statistic,
        method="BCa",
        paired=True,
        n_resamples=20_000,
        confidence_level=0.9,
        rng=np.random.default_rng(6),
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.01)
    assert found.high == pytest.approx(expected.high, abs=0.01)


# Of a bivariate normal distribution with correlation 0.8
TRUTH = {
    "plcc": 0.8,
    "srcc": 6 / np.pi * np.arcsin(0.4),
    "krcc": 2 / np.pi * np.arcsin(0.8),
}


def test_intervals_cover_what_they_estimate():
    rng = np.random.default_rng(7)
    left_out = 1 - np.eye(75)
    hits = {name: [] for name in COEFFICIENTS}
    for i in range(750):
        x, y = draw(seed=i)
        drawn = rng.multinomial(75, np.full(75, 1 / 75), size=1000) * 1.0
        for name, statistic in _STATISTICS.items():
            low, high = _bca(
                statistic(x, y, np.ones((1, 75)))[0],
                statistic(x, y, drawn),
                statistic(x, y, left_out),
                0.95,
            )
            hits[name].append(low < TRUTH[name] < high)
    # 93.7 % (PLCC) to 95.8 % (KRCC) of 4,000 simulations; here the standard
    # error is 0.9 %
    for name in COEFFICIENTS:
        assert 0.93 <= np.mean(hits[name]) <= 0.97, name


def test_a_perfect_correlation_has_a_tight_interval():
    x = np.arange(10.0)
    found = correlation(x, 3 - 0.1 * x)
    for name in COEFFICIENTS:
        signed = getattr(found, name).signed
        assert (signed.value, signed.low, signed.high) == pytest.approx(
            (-1, -1, -1), abs=1e-12
        )


def test_absolute_interval_reaches_zero_where_signs_differ():
    straddling = Coefficient(Estimate(-0.1, -0.5, 0.3), 0.5).absolute
    assert straddling == Estimate(0.1, 0.0, 0.5)
    negative = Coefficient(Estimate(-0.6, -0.8, -0.2), 0.01).absolute
    assert negative == Estimate(0.6, 0.2, 0.8)
    positive = Coefficient(Estimate(0.6, 0.2, 0.8), 0.01).absolute
    assert positive == Estimate(0.6, 0.2, 0.8)

    found = correlation(*draw(20, 0.0, 0)).srcc
    assert found.signed.low < 0 < found.signed.high
    assert found.absolute.low == 0
    assert found.absolute.high == max(-found.signed.low, found.signed.high)


def test_fewer_than_five_groups_are_refused():
    with pytest.raises(IQAError, match="at least 5 groups, here are 4; group"):
        correlation(np.arange(4), np.arange(4))


@pytest.mark.parametrize("constant", ["quality", "accuracy"])
def test_constants_have_no_correlation(constant):
    columns = {"quality": np.arange(8), "accuracy": np.arange(8) / 8}
    columns[constant] = np.full(8, 0.3)
    found = correlation(**columns)
    assert found.n_groups == 8
    for name in COEFFICIENTS:
        coefficient = getattr(found, name)
        assert coefficient == Coefficient(Estimate(None), None)
        assert coefficient.absolute == Estimate(None)
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.filterwarnings("error")
def test_a_constant_metric_has_no_correlation_whatever_its_groups_sizes():
    # Plain sums of 0.1 round differently for different numbers of images
    group = np.repeat(np.arange(8), [3, 7, 10, 11, 13, 17, 100, 1000])
    correct = np.random.default_rng(0).random(len(group)) < 0.6
    means = group_means(np.full(len(group), 0.1), correct, group.tolist())
    assert set(means.quality) == {0.1}
    assert correlation(means.quality, means.accuracy).plcc.signed.value is None


@pytest.mark.filterwarnings("error")
def test_groups_of_few_values_have_finite_intervals():
    # A third of the resamples have one value only
    found = correlation([0.1, 0.1, 0.1, 0.1, 0.3], [0.5, 0.6, 0.5, 0.7, 0.9])
    json.dumps(found.to_dict(), allow_nan=False)
    for name in COEFFICIENTS:
        signed = getattr(found, name).signed
        assert -1 <= signed.low <= signed.high <= 1


def test_a_seed_gives_one_result_and_another_one_gives_another():
    x, y = draw(30)
    first, again = correlation(x, y, seed=1), correlation(x, y, seed=1)
    assert first == again
    other = correlation(x, y, seed=2)
    assert other.plcc.signed.value == first.plcc.signed.value
    assert other.plcc.signed.low != first.plcc.signed.low


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(1e-3, 1e3),
    shift=st.floats(-100, 100),
    falling=st.booleans(),
)
def test_units_of_quality_do_not_matter(seed, scale, shift, falling):
    x, y = draw(15, 0.5, seed)
    found = correlation(x, y, n_resamples=200)
    sign = -1 if falling else 1
    other = correlation(sign * scale * x + shift, y, n_resamples=200)
    for name in COEFFICIENTS:
        a, b = getattr(found, name), getattr(other, name)
        assert b.p == pytest.approx(a.p, abs=1e-9)
        assert b.signed.value == pytest.approx(sign * a.signed.value, abs=1e-9)
        ends = sorted((sign * a.signed.low, sign * a.signed.high))
        # Turned round, a quantile lies at the interval's other end
        assert (b.signed.low, b.signed.high) == pytest.approx(ends, abs=1e-6)


def test_to_dict_says_all_there_is():
    found = correlation(*draw(20))
    stored = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert stored["n_groups"] == 20
    assert set(stored) == {"n_groups", *COEFFICIENTS}
    assert stored["srcc"] == {
        "signed": found.srcc.signed.to_dict(),
        "absolute": found.srcc.absolute.to_dict(),
        "p": found.srcc.p,
    }


def test_group_means_leave_out_missing_rows_and_rows_without_group():
    nan = np.nan
    means = group_means(
        [1.0, nan, 3.0, 5.0, 7.0, nan, 100.0],
        [1.0, 1.0, 0.0, nan, 1.0, 0.0, 1.0],
        ["b", "b", "b", "b", ("a", 1), "only missing", None],
    )
    assert means.names == ("b", ("a", 1))
    assert means.n.tolist() == [2, 1]
    assert means.quality == pytest.approx([2, 7], abs=1e-12)
    assert means.accuracy == pytest.approx([0.5, 1], abs=1e-12)


def test_group_means_of_nothing_are_empty():
    means = group_means([np.nan, 1.0], [1.0, np.nan], ["a", "b"])
    assert means.names == ()
    assert len(means.n) == len(means.quality) == len(means.accuracy) == 0


def test_group_means_are_those_of_pandas():
    import pandas as pd

    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "quality": rng.normal(1e3, 1, 5000),
            "correct": (rng.random(5000) < 0.7).astype(float),
            "group": rng.integers(0, 30, 5000),
        }
    )
    means = group_means(table.quality, table.correct, table.group.tolist())
    expected = table.groupby("group", sort=False).mean()
    assert means.names == tuple(expected.index)
    assert means.quality == pytest.approx(expected.quality, rel=1e-12)
    assert means.accuracy == pytest.approx(expected.correct, abs=1e-12)


def test_group_codes_follow_first_appearance():
    found, names = group_codes(["b", None, "a", "b"])
    assert found.tolist() == [0, -1, 1, 0]
    assert names == ["b", "a"]
