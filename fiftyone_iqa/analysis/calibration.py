"""How well probabilities fit what happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

N_BINS = 15


@dataclass(frozen=True)
class CalibrationBins:
    """Rows in bins of ascending probability.

    Attributes:
        probability: ``(k,)`` mean probability of each bin
        accuracy: ``(k,)`` share of right rows
        n: ``(k,)`` rows
    """

    probability: np.ndarray
    accuracy: np.ndarray
    n: np.ndarray


def calibration_bins(probability, correct, n_bins=N_BINS) -> CalibrationBins:
    """Sorts rows into bins of about equally many.

    Equally wide bins would put nearly all rows of a weak metric, whose
    probabilities all lie near the base rate, into one. Equal probabilities
    share a bin; bins without rows are left out.

    Args:
        probability: ``(n,)`` floats in [0, 1]
        correct: ``(n,)`` bools
        n_bins (15): the largest number of bins

    Returns:
        the :class:`CalibrationBins`
    """
    probability = np.asarray(probability, np.float64)
    _, tie, size = np.unique(
        probability, return_inverse=True, return_counts=True
    )
    middle = np.cumsum(size) - size / 2
    bin_of = (middle * n_bins / len(probability)).astype(np.int64)[tie]
    n = np.bincount(bin_of, minlength=n_bins)
    filled = n > 0
    n = n[filled]
    means = [
        np.bincount(bin_of, np.asarray(column, np.float64), n_bins)[filled] / n
        for column in (probability, correct)
    ]
    return CalibrationBins(*means, n)


def calibration_error(probability, correct, n_bins=N_BINS) -> float:
    """Computes the expected calibration error.

    It is the mean over rows of the distance between their bin's accuracy and
    mean probability, with the bins of :func:`calibration_bins`. Chance alone
    leaves about sqrt(n_bins · p · (1 − p) / n) of it: hundreds of rows are
    needed to tell a good fit from a poor one.

    Args:
        probability: ``(n,)`` floats in [0, 1]
        correct: ``(n,)`` bools
        n_bins (15): the largest number of bins

    Returns:
        the error, in [0, 1]
    """
    bins = calibration_bins(probability, correct, n_bins)
    gaps = abs(bins.accuracy - bins.probability)
    return float(gaps @ bins.n / bins.n.sum())


def brier_score(probability, correct) -> float:
    """Returns the mean squared distance of probability and correctness."""
    difference = np.asarray(probability, np.float64) - np.asarray(correct)
    return float(np.mean(difference**2))
