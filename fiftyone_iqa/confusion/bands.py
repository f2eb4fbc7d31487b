"""Error by band of confusion: what sections 3.1 to 3.4 of the paper plot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.clusters import clustered_mean, source_codes
from ..analysis.estimate import Estimate
from ..errors import IQAError

MIN_N = 30


def band_edges(scores, n_bands: int, how: str = "width") -> np.ndarray:
    """Returns the edges of bands.

    Args:
        scores: ``(n,)`` floats
        n_bands: how many, at least 2
        how ("width"): ``"width"``, bands of one width from the lowest to the
            highest score, as the paper's; ``"count"``, of about equal
            numbers of images

    Returns:
        ``(k + 1,)`` ascending floats; fewer than ``n_bands`` bands where
        scores are tied

    Raises:
        IQAError: if there are no two different scores
    """
    scores = np.asarray(scores, dtype=float)
    if not len(scores) or not np.ptp(scores):
        raise IQAError("Bands need at least two different scores")
    if how == "width":
        return np.linspace(scores.min(), scores.max(), n_bands + 1)
    return np.unique(np.quantile(scores, np.linspace(0, 1, n_bands + 1)))


def band_of(scores, edges) -> np.ndarray:
    """Returns ``(n,)`` bands from 0; scores outside are in the last ones.

    A score on an edge is in the upper band, the highest in the last.
    """
    inner = np.asarray(edges)[1:-1]
    return np.searchsorted(inner, np.asarray(scores), side="right")


@dataclass(frozen=True)
class Bands:
    """Error by band.

    Attributes:
        edges: ``(k + 1,)`` edges, in units of the score
        n: ``(k,)`` images in each
        score: ``(k,)`` mean scores, NaN where there is none
        error: k :class:`Estimate` of the share that is wrong, with intervals
            clustered by source; valueless where there is none
        pearson: r of mean score and error over the bands of ``min_n`` images
            and more, with a bootstrap interval; None under 3 such bands
        min_n: see there
    """

    edges: np.ndarray
    n: np.ndarray
    score: np.ndarray
    error: tuple[Estimate, ...]
    pearson: Estimate
    min_n: int

    @property
    def n_bands(self) -> int:
        """How many bands have ``min_n`` images or more."""
        return int((self.n >= self.min_n).sum())

    def to_pandas(self):
        """Returns a ``pandas.DataFrame``, a row per band."""
        import pandas as pd

        return pd.DataFrame(
            {
                "low": self.edges[:-1],
                "high": self.edges[1:],
                "n": self.n,
                "score": self.score,
                "error": [e.value for e in self.error],
                "error_low": [e.low for e in self.error],
                "error_high": [e.high for e in self.error],
            }
        )


def error_by_band(
    scores,
    wrong,
    edges,
    source=None,
    min_n: int = MIN_N,
    n_resamples: int = 1000,
    seed: int = 0,
) -> Bands:
    """Measures the error in bands of a score.

    Args:
        scores: ``(n,)`` finite floats
        wrong: ``(n,)`` bools, or shares of several models that are wrong
        edges: ``(k + 1,)``, see :func:`band_edges`
        source (None): ``(n,)`` ids of the images' originals
        min_n (30): images that a band needs to count for the correlation
        n_resamples (1000): of sources, for its interval
        seed (0): of the resamples

    Returns:
        :class:`Bands`
    """
    scores = np.asarray(scores, dtype=float)
    wrong = np.asarray(wrong, dtype=float)
    edges = np.asarray(edges, dtype=float)
    k = len(edges) - 1
    band = band_of(scores, edges)
    n = np.bincount(band, minlength=k)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(band, scores, k) / n

    cluster = source_codes(source, len(scores))
    error = []
    for i in range(k):
        inside = band == i
        error.append(
            clustered_mean(wrong[inside], cluster[inside])
            if n[i]
            else Estimate(None)
        )

    used = n >= min_n
    value = _pearson(band, scores, wrong, np.ones(len(scores)), used)
    low = high = None
    if value is not None:
        rng = np.random.default_rng(seed)
        n_clusters = int(cluster.max()) + 1
        drawn = []
        for _ in range(n_resamples):
            weights = rng.multinomial(
                n_clusters, np.full(n_clusters, 1 / n_clusters)
            )[cluster]
            r = _pearson(band, scores, wrong, weights, used)
            if r is not None:
                drawn.append(r)
        if drawn:
            low, high = map(float, np.quantile(drawn, (0.025, 0.975)))
    return Bands(
        edges, n, mean, tuple(error), Estimate(value, low, high), min_n
    )


def _pearson(band, scores, wrong, weights, used):
    """Returns r between bands, None where it is not defined."""
    k = len(used)
    n = np.bincount(band, weights, k)
    used = used & (n > 0)
    if used.sum() < 3:
        return None
    x = np.bincount(band, weights * scores, k)[used] / n[used]
    y = np.bincount(band, weights * wrong, k)[used] / n[used]
    if not np.ptp(x) or not np.ptp(y):
        return None
    return float(np.corrcoef(x, y)[0, 1])


def kendall(a, b) -> float | None:
    """Returns Kendall's tau-b of two scores of the same images.

    Raises:
        IQAError: if they differ in length
    """
    from scipy.stats import kendalltau

    if len(a) != len(b):
        raise IQAError(f"{len(a)} scores cannot be ranked beside {len(b)}")
    tau = float(kendalltau(a, b).statistic)
    return tau if np.isfinite(tau) else None
