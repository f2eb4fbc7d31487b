"""Logistic regression on one feature, many problems at once."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from .clusters import reduce_runs

# Rows solved together: their temporary arrays stay in a core's cache
_CHUNK_ROWS = 1 << 16
_TOLERANCE = 1e-7
_MAX_ITERATIONS = 1000
_LARGEST_LOSS = -np.log(np.finfo(np.float64).eps)


def fit_logistic(values, correct, counts=None):
    """Fits P(right) = 1 / (1 + exp(−(slope · value + intercept))).

    Each problem minimises, as ``sklearn.linear_model.LogisticRegression``
    with ``C=1`` does,

        slope² / 2 + Σ log(1 + exp(−s · (slope · value + intercept)))

    over its rows, with s = 1 for right and −1 for wrong ones. The penalty on
    the slope makes the minimum finite and unique wherever both classes
    occur, for separable data too. Newton's method starts at the base rate;
    its steps are damped so that every one lowers the objective (Bach 2010,
    self-concordant analysis), which needs no line search.

    Args:
        values: ``(n,)`` finite floats, standardised; rows of one problem lie
            together
        correct: ``(n,)`` bools
        counts (None): ``(k,)`` rows of each problem; None for one problem

    Returns:
        slope and intercept, each ``(k,)`` float64, NaN where a problem does
        not have both classes

    Raises:
        IQAError: if shapes differ or a value is not finite
    """
    values = np.asarray(values)
    correct = np.asarray(correct, bool)
    counts = np.atleast_1d(len(values) if counts is None else counts)
    if values.shape != correct.shape or counts.sum() != len(values):
        raise IQAError(
            f"Values of shape {values.shape}, correctness of shape "
            f"{correct.shape} and counts for {counts.sum():,} rows do not fit "
            "together"
        )
    if not np.isfinite(values).all():
        raise IQAError("A value is not finite; leave out such rows")

    slope = np.full(len(counts), np.nan)
    intercept = slope.copy()
    ends = np.r_[0, np.cumsum(counts)]
    first = 0
    while first < len(counts):
        last = np.searchsorted(ends, ends[first] + _CHUNK_ROWS, "right") - 1
        last = max(int(last), first + 1)
        rows = slice(ends[first], ends[last])
        slope[first:last], intercept[first:last] = _newton(
            values[rows].astype(np.float64), correct[rows], counts[first:last]
        )
        first = last
    return slope, intercept


def probability(logit) -> np.ndarray:
    """Returns 1 / (1 + exp(−logit)) of any array."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-np.asarray(logit, np.float64)))


def cross_entropy(logit, correct) -> np.ndarray:
    """Returns each row's −log P(what happened), in nats.

    Probabilities count as at least float64's epsilon, as in scikit-learn's
    ``log_loss``: a row costs at most 36 nats, however far an outlier is off.
    """
    losses = np.logaddexp(0, np.where(correct, -logit, logit))
    return np.minimum(losses, _LARGEST_LOSS)


def _newton(values, correct, counts):
    slope = np.full(len(counts), np.nan)
    intercept = slope.copy()
    right = reduce_runs(np.add, correct, counts)
    solvable = (right > 0) & (right < counts)
    index = np.flatnonzero(solvable)
    if not len(index):
        return slope, intercept

    if len(index) < len(counts):
        rows = np.repeat(solvable, counts)
        values, correct = values[rows], correct[rows]
        counts = counts[index]
    right = right[index]
    low = reduce_runs(np.minimum, values, counts)
    high = reduce_runs(np.maximum, values, counts)
    w, b = np.zeros(len(index)), np.log(right / (counts - right))

    for _ in range(_MAX_ITERATIONS):
        dw, db = _newton_step(values, correct, counts, w, b)
        # How far the step moves the logit of any of the problem's rows. The
        # third derivative along the step is at most this times the second,
        # so the damped step, and the full one up to 1, lower the objective
        reach = np.maximum(abs(db + dw * low), abs(db + dw * high))
        damping = np.where(
            reach > 1, np.log1p(reach) / np.maximum(reach, 1), 1.0
        )
        w += damping * dw
        b += damping * db
        going = reach > _TOLERANCE
        # Leaving problems out costs a copy: not for a few
        if going.any() and counts[going].sum() > 0.75 * len(values):
            continue

        slope[index], intercept[index] = w, b
        if not going.any():
            return slope, intercept
        rows = np.repeat(going, counts)
        values, correct = values[rows], correct[rows]
        counts, index, low, high, w, b = (
            column[going] for column in (counts, index, low, high, w, b)
        )

    raise RuntimeError("Logistic regression did not converge")


def _newton_step(values, correct, counts, slope, intercept):
    logit = np.repeat(slope, counts)
    logit *= values
    logit += np.repeat(intercept, counts)
    p = probability(logit)
    residual = p - correct
    gradient_b = reduce_runs(np.add, residual, counts)
    residual *= values
    gradient_w = reduce_runs(np.add, residual, counts) + slope

    p -= p * p
    h_bb = reduce_runs(np.add, p, counts)
    p *= values
    h_bw = reduce_runs(np.add, p, counts)
    p *= values
    h_ww = reduce_runs(np.add, p, counts) + 1

    determinant = h_bb * h_ww - h_bw * h_bw
    dw = (h_bw * gradient_b - h_bb * gradient_w) / determinant
    db = (h_bw * gradient_w - h_ww * gradient_b) / determinant
    return dw, db
