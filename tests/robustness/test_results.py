import numpy as np
import pytest

from fiftyone_iqa.robustness.results import (
    Robustness,
    quality_against,
    robustness,
)


def test_by_hand():
    original = [1, 1, 1, 1, 0, 1, 1, 0, 1, 1]
    perturbed = [1, 0, 1, 0, 0, 1, 1, 1, 1, 1]
    accepted = [1, 1, 1, 1, 1, 1, 0, 1, 0, 0]
    found = robustness(original, perturbed, accepted)
    assert found.validation_rate == 0.7
    a, b = found.fallback, found.accepted
    assert (a.n, a.sa.value, a.pa.value) == (10, 0.8, 0.7)
    assert a.fmr.value == pytest.approx(87.5)
    assert (b.n, b.sa.value, b.pa.value) == (7, 5 / 7, 4 / 7)
    assert b.fmr.value == pytest.approx(80)
    for estimate in (a.sa, a.pa, a.fmr, b.sa, b.pa, b.fmr):
        assert estimate.low <= estimate.value <= estimate.high
    assert Robustness.from_dict(found.to_dict()) == found


def test_intervals_are_those_of_the_ratio():
    rng = np.random.default_rng(0)
    n = 4000
    original = rng.random(n) < 0.8
    perturbed = np.where(original, rng.random(n) < 0.6, rng.random(n) < 0.1)
    found = robustness(
        original, perturbed, np.ones(n, bool), n_resamples=2000
    ).fallback
    # The delta method for a ratio of means
    ratio = perturbed.mean() / original.mean()
    deviation = (perturbed - ratio * original) / original.mean()
    error = 100 * deviation.std() / np.sqrt(n)
    assert found.fmr.value == pytest.approx(100 * ratio)
    assert found.fmr.high - found.fmr.low == pytest.approx(
        2 * 1.96 * error, rel=0.08
    )


def test_copies_of_an_original_add_no_certainty():
    rng = np.random.default_rng(1)
    original = rng.random(60) < 0.8
    perturbed = original & (rng.random(60) < 0.6)
    accepted = rng.random(60) < 0.7
    one = robustness(original, perturbed, accepted)
    columns = [np.repeat(c, 5) for c in (original, perturbed, accepted)]
    copies = robustness(*columns, source=np.repeat(np.arange(60), 5))
    for variant in ("fallback", "accepted"):
        for name in ("sa", "pa", "fmr"):
            first = getattr(getattr(one, variant), name)
            second = getattr(getattr(copies, variant), name)
            assert second.value == pytest.approx(first.value)
            assert second.low == pytest.approx(first.low)


def test_seeds():
    rng = np.random.default_rng(2)
    columns = rng.random((3, 50)) < 0.7
    assert robustness(*columns, seed=1) == robustness(*columns, seed=1)
    assert robustness(*columns, seed=1) != robustness(*columns, seed=2)


def test_nothing_accepted_and_nothing_right():
    none = robustness([True, False], [True, False], [False, False])
    assert none.validation_rate == 0
    assert none.accepted.n == 0 and none.accepted.fmr.value is None
    wrong = robustness([False, False], [True, False], [True, True])
    assert wrong.fallback.fmr.value is None
    assert wrong.fallback.pa.value == 0.5


def test_quality_against_steps():
    rng = np.random.default_rng(3)
    quality = rng.random(300)
    steps = np.round(10 * quality + rng.normal(0, 2, 300))
    quality[:5] = np.nan
    found = quality_against(quality, steps)
    assert found["n"] == 295
    from scipy.stats import spearmanr

    expected = spearmanr(quality[5:], steps[5:]).statistic
    assert found["srcc"]["value"] == pytest.approx(expected)
    assert 0 < found["srcc"]["low"] < expected < found["srcc"]["high"]
    assert quality_against(quality[:4], steps[:4]) is None
    constant = quality_against(quality, np.ones(300))
    assert constant["srcc"]["value"] is None


def test_many_images_are_drawn_from():
    rng = np.random.default_rng(4)
    quality = rng.random(3_000)
    found = quality_against(quality, quality > 0.5, n_resamples=20)
    assert found["n"] == 1000
    assert found["srcc"]["value"] == pytest.approx(0.866, abs=0.02)
