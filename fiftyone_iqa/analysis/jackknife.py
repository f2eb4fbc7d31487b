"""Intervals of any statistic, from leaving groups of rows out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .clusters import check_confidence, critical_value
from .estimate import Estimate


def jackknife(
    statistic: Callable,
    fold,
    confidence: float = 0.95,
    low: float = -np.inf,
    high: float = np.inf,
) -> Estimate:
    """Estimates a statistic, with a delete-a-group jackknife interval.

    Each fold is left out once, so a statistic is computed once more than
    there are folds, however slow it is. Unlike a bootstrap it draws no row
    twice, which would make a calibration error look larger than it is.

    Args:
        statistic: ``(n,)`` bools, the rows to use, to a float
        fold: ``(n,)`` ints from 0, such as
            :func:`fiftyone_iqa.analysis.folds.folds_by_source` deals
        confidence (0.95): the interval's coverage
        low (-inf): the least that the statistic can be
        high (inf): the most

    Returns:
        an :class:`Estimate`, without interval where there is one fold, or
        the statistic is not defined without one
    """
    check_confidence(confidence)
    fold = np.asarray(fold)
    value = float(statistic(np.ones(len(fold), bool)))
    numbers = np.unique(fold)
    k = len(numbers)
    if k < 2:
        return Estimate(value)

    found = np.array([statistic(fold != number) for number in numbers])
    if not np.isfinite(found).all():
        return Estimate(value)
    error = np.sqrt((k - 1) / k * ((found - found.mean()) ** 2).sum())
    reach = critical_value(confidence, k) * error
    return Estimate(
        value, float(max(value - reach, low)), float(min(value + reach, high))
    )
