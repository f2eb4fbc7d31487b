"""Bins of calibration, its error and the Brier score."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from fiftyone_iqa.analysis.calibration import (
    brier_score,
    calibration_bins,
    calibration_error,
)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    p = rng.beta(2, 3, 4500)
    return p, rng.random(4500) < p


def test_brier_score_is_that_of_scikit_learn(drawn):
    p, correct = drawn
    expected = brier_score_loss(correct, p)
    assert brier_score(p, correct) == pytest.approx(expected, abs=1e-12)


def test_bins_are_those_of_scikit_learns_quantiles(drawn):
    p, correct = drawn
    bins = calibration_bins(p, correct)
    accuracy, mean = calibration_curve(
        correct, p, n_bins=15, strategy="quantile"
    )
    assert bins.n.tolist() == [300] * 15
    assert bins.probability == pytest.approx(mean, abs=1e-12)
    assert bins.accuracy == pytest.approx(accuracy, abs=1e-12)


def test_calibration_error_is_the_mean_gap(drawn):
    p, correct = drawn
    bins = calibration_bins(p, correct, 10)
    expected = np.mean(abs(bins.accuracy - bins.probability))
    found = calibration_error(p, correct, 10)
    assert found == pytest.approx(expected, abs=1e-12)


def test_good_probabilities_have_a_small_error_and_bad_ones_their_own(drawn):
    p, correct = drawn
    assert calibration_error(p, correct) < 0.03
    assert calibration_error(p * 0 + 0.6, correct) == pytest.approx(
        0.6 - correct.mean(), abs=1e-12
    )
    # Right on average, and useless all the same
    assert calibration_error(p[::-1], correct) > 0.1


def test_equal_probabilities_share_a_bin():
    bins = calibration_bins([0.2] * 7 + [0.9] * 3, [0, 1] * 5, 5)
    assert bins.n.tolist() == [7, 3]
    assert bins.probability == pytest.approx([0.2, 0.9])
    assert bins.accuracy == pytest.approx([3 / 7, 2 / 3])
