"""Error by band, its correlation and the rank correlation."""

import numpy as np
import pytest
from scipy.stats import pearsonr

from fiftyone_iqa.confusion.bands import (
    band_edges,
    band_of,
    error_by_band,
    kendall,
)
from fiftyone_iqa.errors import IQAError


def make(n=4000, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.beta(1, 3, n)
    return scores, rng.random(n) < 0.05 + 0.9 * scores


def test_edges():
    scores, _ = make()
    width = band_edges(scores, 10)
    np.testing.assert_allclose(np.diff(width), np.ptp(scores) / 10)
    count = np.bincount(band_of(scores, band_edges(scores, 10, "count")))
    assert set(count) == {400}
    assert len(band_edges([0, 0, 0, 1], 10, "count")) < 11
    for bad in ([], [1.0, 1.0]):
        with pytest.raises(IQAError, match="two different scores"):
            band_edges(bad, 10)


def test_every_score_is_in_the_band_of_its_edges():
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    scores = [-1, 0, 0.99, 1, 2.5, 3, 9]
    assert band_of(scores, edges).tolist() == [0, 0, 0, 1, 2, 2, 2]


def test_error_and_correlation():
    scores, wrong = make()
    bands = error_by_band(scores, wrong, np.linspace(0, 1, 21))
    x, y = [], []
    for i in range(20):
        inside = (scores >= i / 20) & (scores < (i + 1) / 20)
        assert bands.n[i] == inside.sum()
        if inside.sum():
            assert bands.error[i].value == pytest.approx(wrong[inside].mean())
        if inside.sum() >= 30:
            x.append(scores[inside].mean())
            y.append(wrong[inside].mean())
    assert bands.n_bands == len(x) < 20
    expected = pearsonr(x, y).statistic
    assert bands.pearson.value == pytest.approx(expected, abs=1e-12)
    assert bands.pearson.low < expected < bands.pearson.high <= 1
    assert expected > 0.97
    table = bands.to_pandas()
    assert len(table) == 20 and table.n.sum() == len(scores)


def test_sources_widen_the_interval():
    scores, wrong = make(400)
    edges = np.linspace(0, 1, 6)
    alone = error_by_band(scores, wrong, edges)
    repeated = error_by_band(
        np.tile(scores, 5),
        np.tile(wrong, 5),
        edges,
        source=np.tile(np.arange(400), 5),
    )
    # Five copies of an image tell nothing new
    for a, b in zip(alone.error, repeated.error):
        if a.low is not None:
            assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.1)


def test_too_few_bands_have_no_correlation():
    scores, wrong = make(100)
    bands = error_by_band(scores, wrong, [0, 0.5, 1])
    assert bands.pearson.value is None


def test_kendall():
    a = np.arange(10.0)
    assert kendall(a, a) == pytest.approx(1)
    assert kendall(a, -a) == pytest.approx(-1)
    assert kendall(a, np.ones(10)) is None
    with pytest.raises(IQAError, match="cannot be ranked"):
        kendall(a, a[:3])
