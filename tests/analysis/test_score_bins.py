"""Binned calibration against scikit-learn's of the rows themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from fiftyone_iqa.analysis.score_bins import N_BINS, ScoreBins, calibrate


def draw(n, seed=0, digits=None):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    if digits is not None:
        score = score.round(digits)
    p = 1 / (1 + np.exp(-0.5 - 1.5 * score))
    return score, (rng.random(n) < p).astype(float)


def unbinned(calibrator, score, correct, at=None):
    """Returns P(M = 1) by scikit-learn, at the rows' scores or others."""
    at = score if at is None else at
    if calibrator == "isotonic":
        model = IsotonicRegression(out_of_bounds="clip")
        edge = 0.5 / len(score)
        return model.fit(score, correct).predict(at).clip(edge, 1 - edge)
    model = LogisticRegression(tol=1e-10, max_iter=10_000)
    return model.fit(score[:, None], correct).predict_proba(at[:, None])[:, 1]


def binned(calibrator, score, correct):
    bins = ScoreBins(score, correct)
    fit = calibrate(calibrator, bins.centres, bins.n, bins.right)
    return fit[bins.row]


@pytest.mark.parametrize("digits", [None, 1], ids=["", "ties"])
@pytest.mark.parametrize("n", [20, 511])
@pytest.mark.parametrize(
    ("calibrator", "tolerance"), [("isotonic", 1e-12), ("logistic", 1e-5)]
)
def test_few_scores_are_calibrated_as_by_scikit_learn(
    calibrator, tolerance, n, digits
):
    score, correct = draw(n, n, digits)
    expected = unbinned(calibrator, score, correct)
    found = binned(calibrator, score, correct)
    assert found == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("calibrator", ["isotonic", "logistic"])
def test_bins_cost_little_accuracy(calibrator):
    score, correct = draw(20_000)
    bins = ScoreBins(score, correct)
    found = calibrate(calibrator, bins.centres, bins.n, bins.right)
    difference = abs(
        found - unbinned(calibrator, score, correct, bins.centres)
    )
    # A few isotonic steps lie inside a bin, of 39 rows each
    assert np.quantile(difference, 0.95) < 0.01
    assert difference.mean() < 0.003
    if calibrator == "logistic":
        assert difference.max() < 1e-4


def test_bins_hold_equal_numbers_and_every_row():
    score, correct = draw(20_000)
    bins = ScoreBins(score, correct)
    assert len(bins.n) == N_BINS
    assert set(bins.n) <= {39, 40}
    assert bins.n.sum() == 20_000
    assert bins.right.sum() == correct.sum()
    assert (np.diff(bins.centres) > 0).all()
    assert bins.centres[bins.row[score.argmax()]] == bins.centres[-1]
    order = np.argsort(score)
    assert (np.diff(bins.row[order]) >= 0).all()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 400), min_size=2, max_size=30),
    many=st.integers(0, 2000),
    seed=st.integers(0, 100),
)
def test_equal_scores_share_a_bin_and_the_extremes_do_not(sizes, many, seed):
    rng = np.random.default_rng(seed)
    score = np.concatenate(
        [np.repeat(np.arange(len(sizes)), sizes), rng.normal(size=many)]
    )
    bins = ScoreBins(rng.permutation(score), np.ones(len(score)))
    assert len(bins.n) <= N_BINS
    assert bins.n.min() >= 1

    bins = ScoreBins(score, np.ones(len(score)))
    for value in range(len(sizes)):
        assert len(set(bins.row[score == value])) == 1
    assert bins.row[score.argmin()] < bins.row[score.argmax()]


def test_a_rare_lowest_score_keeps_its_bin():
    # By their lowest rank, both values would be in the first of 512 bins
    score = np.repeat([0.0, 1.0], [3, 9997])
    bins = ScoreBins(score, np.ones(10_000))
    assert bins.n.tolist() == [3, 9997]
    assert bins.centres == pytest.approx([0, 1], abs=1e-12)


def test_weights_count_rows_as_often():
    score, correct = draw(300, digits=1)
    times = np.random.default_rng(1).integers(0, 4, 300)
    bins = ScoreBins(score, correct)
    n, right = bins.count(times)
    rows = np.repeat(np.arange(300), times)
    assert n.tolist() == np.bincount(bins.row[rows], None, len(n)).tolist()

    for calibrator, tolerance in ("isotonic", 1e-12), ("logistic", 1e-5):
        found = calibrate(calibrator, bins.centres, n, right)[bins.row[rows]]
        expected = unbinned(calibrator, score[rows], correct[rows])
        assert found == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("calibrator", ["isotonic", "logistic"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_curves_never_fall_and_stay_inside(calibrator, data):
    k = data.draw(st.integers(1, 20))
    n = data.draw(st.lists(st.integers(0, 50), min_size=k, max_size=k))
    n = np.array(n, float)
    n[0] += 1
    share = data.draw(st.lists(st.floats(0, 1), min_size=k, max_size=k))
    right = np.floor(n * share)
    curve = calibrate(calibrator, np.arange(k) - k / 2, n, right)
    assert (np.diff(curve) >= -1e-12).all()
    assert ((curve >= 0) & (curve <= 1)).all()


@pytest.mark.parametrize("calibrator", ["isotonic", "logistic"])
def test_a_score_that_misleads_gives_the_base_rate(calibrator):
    score, correct = draw(400)
    found = binned(calibrator, -score, correct)
    # Pooled violators may leave single rows at the ends
    assert np.median(found) == pytest.approx(correct.mean(), abs=0.02)
    assert np.ptp(np.quantile(found, [0.05, 0.95])) < 0.02


def test_isotonic_probabilities_are_no_certainties():
    score, correct = np.arange(10.0), np.repeat([0.0, 1.0], 5)
    found = binned("isotonic", score, correct)
    assert found == pytest.approx(np.repeat([0.05, 0.95], 5), abs=1e-12)
