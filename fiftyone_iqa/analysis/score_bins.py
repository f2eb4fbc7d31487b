"""Calibration of a score over bins: what takes rows once takes bins after."""

from __future__ import annotations

import numpy as np

N_BINS = 512

# Exact in a few steps; the default takes ten times as long here
_SOLVER = "newton-cholesky"


class ScoreBins:
    """Rows in bins of equal numbers by score, so that a refit is cheap.

    Args:
        score: ``(n,)`` floats
        correct: ``(n,)`` 1 right, 0 wrong

    Attributes:
        row: ``(n,)`` bin of each row
        centres: ``(k,)`` mean score in each bin, ascending
        n: ``(k,)`` rows in each
        right: ``(k,)`` right ones among them
    """

    def __init__(self, score, correct):
        n_bins = min(N_BINS, len(score))
        # Equal scores share a bin, or isotonic regression could split them.
        # Their middle rank keeps the lowest and the highest score apart
        _, tie, size = np.unique(
            score, return_inverse=True, return_counts=True
        )
        middle = np.cumsum(size) - size / 2
        _, self.row = np.unique(
            (middle * n_bins / len(score)).astype(np.int64)[tie],
            return_inverse=True,
        )
        self.correct = correct
        self.n, self.right = self.count(np.ones(len(score)))
        self.centres = np.bincount(self.row, weights=score) / self.n

    def count(self, weights):
        """Returns the weight of rows, and of right ones, in each bin."""
        size = int(self.row.max()) + 1
        return (
            np.bincount(self.row, weights=weights, minlength=size),
            np.bincount(
                self.row, weights=weights * self.correct, minlength=size
            ),
        )


def calibrate(calibrator, centres, n, right) -> np.ndarray:
    """Returns P(M = 1) at every bin's centre; it never falls with the score.

    Args:
        calibrator: ``"isotonic"`` or ``"logistic"``
        centres: ``(k,)`` scores, ascending
        n: ``(k,)`` weight of the rows in each bin, 0 where there are none
        right: ``(k,)`` weight of the right ones
    """
    if calibrator == "isotonic":
        return _isotonic(centres, n, right)
    return _logistic(centres, n, right)


def _isotonic(centres, n, right):
    from sklearn.isotonic import IsotonicRegression

    used = n > 0
    rate = right[used] / n[used]
    fitted = IsotonicRegression(out_of_bounds="clip").fit(
        centres[used], rate, sample_weight=n[used]
    )
    # Half an image: never a certainty that the data cannot give
    edge = min(0.5, 0.5 / n.sum())
    return np.clip(fitted.predict(centres), edge, 1 - edge)


def _logistic(centres, n, right):
    from sklearn.linear_model import LogisticRegression

    used = n > 0
    x = np.tile(centres[used], 2)[:, None]
    y = np.repeat([1, 0], used.sum())
    weight = np.concatenate([right[used], (n - right)[used]])
    if not right.sum() or not (n - right).sum():
        return np.full(len(centres), right.sum() / n.sum())
    model = LogisticRegression(solver=_SOLVER, tol=1e-8).fit(
        x, y, sample_weight=weight
    )
    # A prior never falls with quality
    if model.coef_[0, 0] < 0:
        return np.full(len(centres), right.sum() / n.sum())
    return model.predict_proba(centres[:, None])[:, 1]
