"""Quality against accuracy between conditions: what a collection shares.

Within a condition, quality is a noisy sign of whether an image is read; what
tells conditions apart is its mean. The curve P(M = 1 given Q) of single
images is therefore too flat for collections, as any regression on a noisy
measure is. Here the same quality is fitted to the accuracies of whole groups
(Drenkow & Unberath, section 2.2, correlate the same group means).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

MIN_GROUPS = 8
MIN_CONDITIONS = 4

_SEGMENTS = (1, 2, 4, 8)
_PENALTIES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class BetweenConditions:
    """Accuracy of a collection, linear in means over its images.

    Being linear, what holds for two conditions holds for their mixture.

    Attributes:
        knots: per metric, the ends of the segments of a piecewise linear
            function
        slopes: ``(f,)`` what each segment adds to the accuracy
        intercept: the accuracy where every metric is lowest
        error: root mean square error of groups' accuracies by fits without
            their condition
        spread: variance of groups about the fit of the other conditions, as
            a share of p (1 - p)
        n_conditions: how many were left out in turn to measure it
        noise: variance of an image's correctness about the fit, within
            groups
        source_correlation: the share of it that images of one source have in
            common
        n_sources: different sources it was learnt from
    """

    knots: tuple[tuple[float, ...], ...]
    slopes: tuple[float, ...]
    intercept: float
    error: float
    spread: float
    n_conditions: int
    noise: float
    source_correlation: float
    n_sources: int

    @property
    def expected_error(self) -> float:
        """Standard error to expect of a new condition.

        Of a collection with as many images as there were sources. A noisy
        metric has a steep fit: chance then counts for more.
        """
        return float(np.sqrt(self.error**2 + self.noise / self.n_sources))

    def accuracy(self, quality: np.ndarray) -> float:
        """Returns the expected accuracy of ``(n, m)`` images, in [0, 1]."""
        return float(np.clip(self._linear(quality).mean(), 0, 1))

    def variance(self, quality: np.ndarray, sources: np.ndarray) -> float:
        """Returns the variance of the accuracy about its expectation.

        Args:
            quality: ``(n, m)`` metrics
            sources: ``(n,)`` codes of the images' sources
        """
        p = np.clip(self.accuracy(quality), 0.02, 0.98)
        rho = self.source_correlation
        _, size = np.unique(sources, return_counts=True)
        n = size.sum()
        # Content here, content where it was learnt, and whole conditions
        here = self.noise * ((1 - rho) / n + rho * (size**2).sum() / n**2)
        there = self.noise * rho / self.n_sources
        return float(here + there + self.spread * p * (1 - p))

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        found = asdict(self)
        found["knots"] = [list(knots) for knots in self.knots]
        return {**found, "slopes": list(self.slopes)}

    @classmethod
    def from_dict(cls, values: dict) -> BetweenConditions:
        """Returns what :meth:`to_dict` wrote."""
        knots = tuple(tuple(map(float, knots)) for knots in values["knots"])
        slopes = tuple(map(float, values["slopes"]))
        if sum(len(k) - 1 for k in knots) != len(slopes):
            raise ValueError("its knots and slopes do not fit together")
        return cls(**{**values, "knots": knots, "slopes": slopes})

    def _linear(self, quality):
        return self.intercept + segments(quality, self.knots) @ self.slopes


def fit_between(
    quality: np.ndarray,
    correct: np.ndarray,
    sources: np.ndarray,
    groups: np.ndarray,
    conditions: np.ndarray,
) -> BetweenConditions | None:
    """Fits accuracies of groups to means of quality.

    Ridge regression of the groups' accuracies on the means of a piecewise
    linear basis of each metric; number of segments and penalty are those
    that predict conditions best when these are left out.

    Args:
        quality: ``(n, m)`` finite metrics
        correct: ``(n,)`` 1 right, 0 wrong
        sources: ``(n,)`` codes of the original images
        groups: ``(n,)`` codes, -1 for rows without a group
        conditions: ``(n,)`` codes of what is left out together

    Returns:
        the fit; None for fewer than 8 groups or 4 conditions
    """
    known = groups >= 0
    quality, correct, sources, conditions = (
        v[known] for v in (quality, correct, sources, conditions)
    )
    _, groups = np.unique(groups[known], return_inverse=True)
    n = np.bincount(groups)
    condition = np.zeros(len(n), dtype=np.int64)
    condition[groups] = conditions
    names = np.unique(condition)
    if len(n) < MIN_GROUPS or len(names) < MIN_CONDITIONS:
        return None

    accuracy = np.bincount(groups, weights=correct) / n
    best = None
    for count in _SEGMENTS:
        knots = _knots(quality, count)
        means = _group_means(segments(quality, knots), groups, n)
        for penalty in _PENALTIES:
            predicted = np.empty(len(n))
            for name in names:
                out = condition == name
                fit = _ridge(means[~out], accuracy[~out], penalty)
                predicted[out] = fit[0] + means[out] @ fit[1]
            error = ((predicted - accuracy) ** 2).mean()
            if best is None or error < best[0]:
                best = error, knots, means, penalty, predicted

    _, knots, means, penalty, predicted = best
    intercept, slopes = _ridge(means, accuracy, penalty)
    residual = correct - intercept - segments(quality, knots) @ slopes
    residual -= (np.bincount(groups, weights=residual) / n)[groups]
    noise = float(residual.var())
    rho = _correlation(residual, sources)

    p = np.clip(predicted, 0.02, 0.98)
    squared = ((predicted - accuracy) ** 2).sum()
    chance = (noise * (1 - rho) / n).sum()
    return BetweenConditions(
        knots=tuple(tuple(k.tolist()) for k in knots),
        slopes=tuple(slopes.tolist()),
        intercept=float(intercept),
        error=float(np.sqrt(squared / len(n))),
        spread=float(max(0.0, squared - chance) / (p * (1 - p)).sum()),
        n_conditions=len(names),
        noise=noise,
        source_correlation=rho,
        n_sources=len(np.unique(sources)),
    )


def segments(quality: np.ndarray, knots) -> np.ndarray:
    """Returns ``(n, f)``: how far each metric is through each segment."""
    return np.concatenate(
        [
            np.clip((column[:, None] - k[:-1]) / np.diff(k), 0, 1)
            for column, k in zip(quality.T, map(np.asarray, knots))
        ],
        axis=1,
    )


def _knots(quality, count):
    levels = np.linspace(0, 1, count + 1)
    return [np.unique(np.quantile(column, levels)) for column in quality.T]


def _group_means(columns, groups, n):
    return np.stack(
        [np.bincount(groups, weights=c) / n for c in columns.T], axis=1
    )


def _ridge(means, accuracy, penalty):
    centre = means.mean(axis=0)
    x = means - centre
    slopes = np.linalg.solve(
        x.T @ x + penalty * np.eye(x.shape[1]),
        x.T @ (accuracy - accuracy.mean()),
    )
    return accuracy.mean() - centre @ slopes, slopes


def _correlation(residual, sources):
    """Mean product of residuals of pairs of one source, per variance."""
    _, codes, size = np.unique(
        sources, return_inverse=True, return_counts=True
    )
    pairs = (size * (size - 1)).sum()
    variance = residual.var()
    if not pairs or not variance:
        return 0.0
    total = np.bincount(codes, weights=residual)
    products = (total**2).sum() - (residual**2).sum()
    return float(np.clip(products / pairs / variance, 0, 1))
