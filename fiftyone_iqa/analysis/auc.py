"""Area under the ROC curve by ranks, with clustered intervals.

The AUC is the chance that a right row scores above a wrong one, ties
counting one half.
"""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from .clusters import check_confidence, critical_value, source_codes
from .estimate import Estimate
from .logistic import probability


def auc(scores, correct) -> float | None:
    """Computes the area under the ROC curve.

    Args:
        scores: ``(n,)`` floats, higher meaning more likely right
        correct: ``(n,)`` bools

    Returns:
        the area in [0, 1], or None where there is one class only

    Raises:
        IQAError: if shapes differ or a score is NaN
    """
    scores, correct = _checked(scores, correct)
    value = grouped_auc(scores, correct, np.zeros(len(scores), np.int64), 1)
    return None if np.isnan(value[0]) else float(value[0])


def auc_interval(scores, correct, source=None, confidence=0.95) -> Estimate:
    """Computes the area under the ROC curve and an interval around it.

    The variance is Obuchowski's (1997, Biometrics 53) for clustered data:
    each row's structural component (the share of the other class it is
    ranked rightly against) is summed per source, so any dependence within a
    source is allowed for. Where every source occurs once this is the
    variance of DeLong et al. (1988).

    The interval is symmetric on the logit scale, with Student's t for the
    number of sources. It stays within (0, 1), and where the AUC is high or
    sources are few it covers better than the plain one (simulated, 20
    sources, AUC 0.94: 95 % against 89 %).

    Args:
        scores: ``(n,)`` floats, higher meaning more likely right
        correct: ``(n,)`` bools
        source (None): ``(n,)`` ids of the rows' sources; None makes each
            row its own
        confidence (0.95): the interval's coverage

    Returns:
        an :class:`Estimate`: its value is None where there is one class
        only; it has no interval where the data do not give one: a class
        occurs in fewer than two sources, or the value is 0 or 1

    Raises:
        IQAError: if shapes differ, a score is NaN, a source is missing or
            ``confidence`` is not between 0 and 1
    """
    check_confidence(confidence)
    scores, correct = _checked(scores, correct)
    cluster = source_codes(source, len(scores))
    n_right = int(np.count_nonzero(correct))
    n_wrong = len(correct) - n_right
    if not n_right or not n_wrong:
        return Estimate(None)

    component = _structural_components(scores, correct)
    value = float(component[correct].mean())
    if not 0 < value < 1:
        return Estimate(value)

    variance = _clustered_variance(component - value, correct, cluster)
    if variance is None:
        return Estimate(value)

    centre = np.log(value / (1 - value))
    error = np.sqrt(variance) / (value * (1 - value))
    reach = critical_value(confidence, int(cluster.max()) + 1) * error
    low, high = probability(np.array([centre - reach, centre + reach]))
    return Estimate(value, float(low), float(high))


def grouped_auc(scores, correct, group, n_groups=None) -> np.ndarray:
    """Computes the AUC within each of many groups at once.

    Args:
        scores: ``(n,)`` floats, higher meaning more likely right
        correct: ``(n,)`` bools
        group: ``(n,)`` ints from 0
        n_groups (None): the number of groups; None for the largest plus one

    Returns:
        ``(n_groups,)`` float64, NaN for groups without both classes

    Raises:
        IQAError: if shapes differ, a score is NaN or a group is negative
    """
    scores, correct = _checked(scores, correct)
    group = np.asarray(group)
    if group.shape != scores.shape:
        raise IQAError(
            f"There are {len(scores):,} scores and groups of shape "
            f"{group.shape}; pass one group per score"
        )
    if len(group) and group.min() < 0:
        raise IQAError("Groups must be numbered from 0; one is negative")
    if n_groups is None:
        n_groups = int(group.max()) + 1 if len(group) else 0

    right = np.bincount(group[correct], minlength=n_groups)
    wrong = np.bincount(group, minlength=n_groups) - right
    twice_wins = _twice_wins(scores, correct, group, n_groups)
    pairs = right * wrong
    with np.errstate(invalid="ignore"):
        return np.where(pairs > 0, twice_wins / (2 * pairs), np.nan)


def _checked(scores, correct):
    scores, correct = np.asarray(scores), np.asarray(correct)
    if scores.ndim != 1 or scores.shape != correct.shape:
        raise IQAError(
            f"Scores and correctness must be two columns of one length, not "
            f"of shapes {scores.shape} and {correct.shape}"
        )
    if correct.dtype != bool:
        if not np.isin(correct, (0, 1)).all():
            raise IQAError(
                "Correctness must be True or False in every row; leave out "
                "rows where it is missing"
            )
        correct = correct.astype(bool)
    if np.isnan(scores).any():
        raise IQAError("A score is NaN; leave out rows without a score")
    return scores, correct


def _ranks(scores):
    """Returns 0 … k − 1 for the scores, equal ones getting one number."""
    order = np.argsort(scores)
    ordered = scores[order]
    step = np.empty(len(scores), np.int64)
    step[:1] = 0
    step[1:] = ordered[1:] != ordered[:-1]
    ranks = np.empty_like(step)
    ranks[order] = np.cumsum(step)
    return ranks


def _twice_wins(scores, correct, group, n_groups):
    """Returns per group twice the rightly ordered pairs, ties for one."""
    if not len(scores):
        return np.zeros(n_groups)

    # One sort of integers does it: by group, then score, then class
    key = _ranks(scores)
    n_ranks = int(key.max()) + 1
    key += group * np.int64(n_ranks)
    key *= 2
    key += correct
    key.sort()
    right = (key & 1).astype(bool)
    key >>= 1

    tie = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    size = np.diff(np.r_[tie, len(key)])
    n_right = np.add.reduceat(right, tie, dtype=np.int64)
    n_wrong = size - n_right
    owner = key[tie] // n_ranks
    wrong_before = np.cumsum(n_wrong) - n_wrong
    first = np.searchsorted(owner, np.arange(n_groups))
    wrong_before -= np.r_[wrong_before, 0][first][owner]
    wins = n_right * (2 * wrong_before + n_wrong)
    # Sums stay exact: below 2**53 for any data that fit in memory
    return np.bincount(owner, weights=wins, minlength=n_groups)


def _structural_components(scores, correct):
    """Returns each row's share of rightly ordered pairs; ``(n,)``."""
    ranks = _ranks(scores)
    n_right = np.bincount(ranks[correct], minlength=int(ranks.max()) + 1)
    n_wrong = np.bincount(ranks[~correct], minlength=len(n_right))
    beats = np.cumsum(n_wrong) - n_wrong / 2
    beaten = n_right.sum() - np.cumsum(n_right) + n_right / 2
    return np.where(
        correct,
        (beats / n_wrong.sum())[ranks],
        (beaten / n_right.sum())[ranks],
    )


def _clustered_variance(deviation, correct, cluster):
    """Obuchowski's variance, or None where a class has under two sources."""
    n_clusters = int(cluster.max()) + 1
    sums, counts, corrections = [], [], []
    for rows in (correct, ~correct):
        owners = cluster[rows]
        n_rows = np.bincount(owners, minlength=n_clusters)
        n_with = np.count_nonzero(n_rows)
        if n_with < 2:
            return None
        total = np.bincount(owners, deviation[rows], minlength=n_clusters)
        sums.append(total)
        counts.append(len(owners))
        corrections.append(n_with / (n_with - 1))

    covariance = n_clusters / (n_clusters - 1) * (sums[0] @ sums[1])
    return max(
        0.0,
        corrections[0] * (sums[0] @ sums[0]) / counts[0] ** 2
        + corrections[1] * (sums[1] @ sums[1]) / counts[1] ** 2
        + 2 * covariance / (counts[0] * counts[1]),
    )
