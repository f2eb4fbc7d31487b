"""Do conditions of lower quality have lower accuracy (group correlation)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import IQAError
from .estimate import Estimate

COEFFICIENTS = ("krcc", "srcc", "plcc")
MIN_GROUPS = 5
N_RESAMPLES = 1000


@dataclass(frozen=True)
class GroupMeans:
    """Mean quality and accuracy of images that share a condition.

    Attributes:
        names: of the groups
        n: ``(g,)`` images in each
        quality: ``(g,)`` mean quality
        accuracy: ``(g,)`` share of right predictions
    """

    names: tuple
    n: np.ndarray
    quality: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True)
class Coefficient:
    """One correlation coefficient between group means.

    Attributes:
        signed: the coefficient, -1 to 1, and its interval
        p: of the two-sided test against no association, or None
    """

    signed: Estimate
    p: float | None

    @property
    def absolute(self) -> Estimate:
        """The coefficient's magnitude, as the paper's tables give it."""
        value, low, high = self.signed.value, self.signed.low, self.signed.high
        if value is None:
            return self.signed
        ends = sorted((abs(low), abs(high)))
        if low < 0 < high:
            ends[0] = 0.0
        return Estimate(abs(value), *ends)

    def to_dict(self) -> dict:
        """Returns signed and absolute estimates and p."""
        return {
            "signed": self.signed.to_dict(),
            "absolute": self.absolute.to_dict(),
            "p": self.p,
        }


@dataclass(frozen=True)
class Correlation:
    """Correlation between mean quality and accuracy over groups.

    Attributes:
        n_groups: how many groups
        krcc: Kendall's tau-b
        srcc: Spearman's rank correlation
        plcc: Pearson's linear correlation
    """

    n_groups: int
    krcc: Coefficient
    srcc: Coefficient
    plcc: Coefficient

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return {
            "n_groups": self.n_groups,
            **{name: getattr(self, name).to_dict() for name in COEFFICIENTS},
        }


def group_means(
    quality: np.ndarray, correct: np.ndarray, group: Sequence
) -> GroupMeans:
    """Averages quality and correctness within groups.

    Args:
        quality: ``(n,)`` float, NaN where missing
        correct: ``(n,)`` float, 1 right, 0 wrong, NaN where missing
        group: ``(n,)`` names; rows whose name is None have no group

    Returns:
        the groups with at least one row where nothing is missing, in the
        order of their names' first appearance
    """
    quality = np.asarray(quality, dtype=float)
    correct = np.asarray(correct, dtype=float)
    codes, names = group_codes(group)
    known = (codes >= 0) & np.isfinite(quality) & np.isfinite(correct)
    codes, quality, correct = codes[known], quality[known], correct[known]
    n = np.bincount(codes, minlength=len(names))
    kept = n > 0
    # Summed from the first value on: the means of a constant are equal
    first = quality[0] if len(quality) else 0.0
    sums = [
        np.bincount(codes, weights=column, minlength=len(names))[kept]
        for column in (quality - first, correct)
    ]
    return GroupMeans(
        tuple(name for name, keep in zip(names, kept) if keep),
        n[kept],
        first + sums[0] / n[kept],
        sums[1] / n[kept],
    )


def group_codes(group: Sequence) -> tuple[np.ndarray, list]:
    """Returns ``(n,)`` integer codes, -1 for None, and the names in order."""
    codes_of: dict = {}
    codes = np.fromiter(
        (
            -1 if name is None else codes_of.setdefault(name, len(codes_of))
            for name in group
        ),
        dtype=np.int64,
        count=len(group),
    )
    return codes, list(codes_of)


def correlation(
    quality: np.ndarray,
    accuracy: np.ndarray,
    n_resamples: int = N_RESAMPLES,
    confidence: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """Correlates group means, with bootstrap intervals.

    Drenkow & Unberath, section 2.2 and table 1: over the corrupted groups of
    ImageNet-C, with 1,000 resamples of the groups. Intervals are
    bias-corrected and accelerated (BCa; Efron 1987): percentile intervals
    of a coefficient near 1 are off centre.

    Args:
        quality: ``(g,)`` mean quality of each group
        accuracy: ``(g,)`` accuracy of each group
        n_resamples: bootstrap resamples of the groups
        confidence: of the intervals
        seed: of the resamples

    Returns:
        the three coefficients; their values are None where all groups have
        one quality or one accuracy

    Raises:
        IQAError: for fewer than 5 groups
    """
    from scipy import stats

    quality = np.asarray(quality, dtype=float)
    accuracy = np.asarray(accuracy, dtype=float)
    n_groups = len(quality)
    if n_groups < MIN_GROUPS:
        raise IQAError(
            f"Correlation over groups needs at least {MIN_GROUPS} groups, "
            f"here are {n_groups}; group by a field with more values"
        )
    if np.ptp(quality) == 0 or np.ptp(accuracy) == 0:
        undefined = Coefficient(Estimate(None), None)
        return Correlation(n_groups, undefined, undefined, undefined)

    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(
        n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples
    ).astype(float)
    left_out = 1 - np.eye(n_groups)
    tests = (stats.kendalltau, stats.spearmanr, stats.pearsonr)
    found = {}
    for name, test in zip(COEFFICIENTS, tests):
        value, p = map(float, test(quality, accuracy))
        statistic = _STATISTICS[name]
        low, high = _bca(
            value,
            statistic(quality, accuracy, drawn),
            statistic(quality, accuracy, left_out),
            confidence,
        )
        found[name] = Coefficient(Estimate(value, low, high), p)
    return Correlation(n_groups, **found)


def _bca(value, resampled, left_one_out, confidence):
    """Returns the ends of Efron's BCa interval."""
    from scipy.stats import norm

    # A resample of one group only, drawn g times, has no correlation
    resampled = resampled[np.isfinite(resampled)]
    below = (resampled < value).mean() + (resampled == value).mean() / 2
    edge = 0.5 / len(resampled)
    bias = norm.ppf(np.clip(below, edge, 1 - edge))
    left_one_out = left_one_out[np.isfinite(left_one_out)]
    deviation = left_one_out.mean() - left_one_out
    spread = (deviation**2).sum() ** 1.5
    acceleration = (deviation**3).sum() / (6 * spread) if spread else 0.0

    z = bias + norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(resampled, levels)
    return float(low), float(high)


# Coefficients of resamples, from how often each group is in each: products
# of matrices, so that no pair of groups is looked at anew for a resample


def _pearson(x, y, counts):
    return _cosine(_centred(x, counts), _centred(y, counts), counts)


def _centred(v, counts):
    centred = v - (counts @ v / counts.sum(axis=1))[:, None]
    # Rounding would leave a constant some spread
    drawn = counts > 0
    high = np.where(drawn, v, -np.inf).max(axis=1)
    centred[high == np.where(drawn, v, np.inf).min(axis=1)] = 0
    return centred


def _cosine(x, y, counts):
    xy, xx, yy = (
        np.einsum("rg,rg,rg->r", counts, a, b)
        for a, b in ((x, y), (x, x), (y, y))
    )
    with np.errstate(invalid="ignore"):
        return xy / np.sqrt(xx * yy)


def _spearman(x, y, counts):
    # Groups below minus groups above: twice the mid-rank, centred
    x, y = (counts @ np.sign(v - v[:, None]) for v in (x, y))
    return _cosine(x, y, counts)


def _kendall(x, y, counts):
    """Tau-b: the sums run over pairs of groups."""
    x, y = (np.sign(v - v[:, None]) for v in (x, y))
    both, of_x, of_y = (
        np.einsum("rg,rg->r", counts @ pairs, counts)
        for pairs in (x * y, abs(x), abs(y))
    )
    with np.errstate(invalid="ignore"):
        return both / np.sqrt(of_x * of_y)


_STATISTICS = {"krcc": _kendall, "srcc": _spearman, "plcc": _pearson}
