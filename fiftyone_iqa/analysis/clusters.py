"""Rows that belong together: sources as codes, sums over runs of rows."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from .estimate import Estimate


def codes(values, name: str = "source") -> tuple[np.ndarray, np.ndarray]:
    """Numbers the distinct values of a column.

    Args:
        values: ``(n,)`` ids of one type: strings, ints, ObjectIds
        name ("source"): what messages call the column

    Returns:
        ``(n,)`` ints 0 … k − 1, and the ``(k,)`` sorted distinct values

    Raises:
        IQAError: if a value is missing
    """
    # Hashing: many times faster than np.unique on millions of strings
    import pandas as pd

    numbers, distinct = pd.factorize(np.asarray(values), sort=True)
    n_missing = np.count_nonzero(numbers < 0)
    if n_missing:
        raise IQAError(
            f"{n_missing:,} rows have no {name}; leave them out, or give "
            f"each a {name} of its own"
        )
    return numbers, np.asarray(distinct)


def source_codes(source, n: int) -> np.ndarray:
    """Returns ``(n,)`` codes of the sources; None makes each row its own."""
    if source is None:
        return np.arange(n)

    source = np.asarray(source)
    if source.shape != (n,):
        raise IQAError(
            f"There are {n:,} rows and sources of shape {source.shape}; pass "
            "one source per row"
        )
    return codes(source)[0]


def check_confidence(confidence):
    """Raises an IQAError if ``confidence`` is not between 0 and 1."""
    if not 0 < confidence < 1:
        raise IQAError(
            f"confidence must be between 0 and 1, such as 0.95, not "
            f"{confidence}"
        )


def critical_value(confidence: float, n_clusters: int) -> float:
    """Returns how many standard errors an interval reaches to each side.

    It is Student's t with one degree of freedom less than there are clusters:
    with 10 or 20 of them the normal value covers only some 92 %.
    """
    from scipy.special import stdtrit

    return float(stdtrit(n_clusters - 1, 0.5 + confidence / 2))


def clustered_mean(values, source=None, confidence=0.95) -> Estimate:
    """Estimates a mean over rows, with an interval clustered by source.

    The standard error is the cluster-robust one of a ratio: rows' deviations
    from the mean are summed per source, so that any dependence within a
    source is allowed for.

    Args:
        values: ``(n,)`` floats
        source (None): ``(n,)`` ids of the rows' sources; None makes each
            row its own
        confidence (0.95): the interval's coverage

    Returns:
        an :class:`Estimate`, without interval where there is one source
    """
    check_confidence(confidence)
    values = np.asarray(values)
    mean = float(values.mean(dtype=np.float64))
    cluster = source_codes(source, len(values))
    sums = np.bincount(cluster, weights=values - mean)
    k = len(sums)
    if k < 2:
        return Estimate(mean)

    error = np.sqrt(k / (k - 1) * (sums @ sums)) / len(values)
    reach = float(critical_value(confidence, k) * error)
    return Estimate(mean, mean - reach, mean + reach)


def reduce_runs(ufunc, values, counts, empty=0.0) -> np.ndarray:
    """Reduces consecutive runs of rows.

    Args:
        ufunc: such as ``np.add`` or ``np.minimum``
        values: ``(n,)`` array
        counts: ``(k,)`` lengths of the runs, that sum to n; may hold zeros
        empty (0.0): the value of a run without rows

    Returns:
        ``(k,)`` array; float32 and bool are summed as float64
    """
    counts = np.asarray(counts)
    filled = np.flatnonzero(counts)
    dtype = np.float64 if ufunc is np.add else values.dtype
    reduced = np.full(len(counts), empty, dtype)
    if len(filled):
        # reduceat would return a neighbour's row for an empty run
        starts = (np.cumsum(counts) - counts)[filled]
        reduced[filled] = ufunc.reduceat(values, starts, dtype=dtype)
    return reduced
