"""SA, PA and FMR of a model on a set of perturbed images (section 3.3)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..analysis.clusters import source_codes
from ..analysis.correlation import correlation
from ..analysis.estimate import Estimate

N_RESAMPLES = 1000
_RESAMPLES_AT_ONCE = 100  # of up to millions of images
_MOST_PAIRED = 1000  # images whose ranks are compared pair by pair


@dataclass(frozen=True)
class Rates:
    """A model's accuracy on originals and on what was made of them.

    Attributes:
        n: images
        sa: standard accuracy, of the originals, 0 to 1
        pa: perturbed accuracy, of the same images perturbed, 0 to 1
        fmr: PA / SA x 100, in per cent; above 100 where perturbed images are
            easier; no value where the model gets no original right
    """

    n: int
    sa: Estimate
    pa: Estimate
    fmr: Estimate

    @classmethod
    def from_dict(cls, d):
        """Returns what :meth:`Robustness.to_dict` stored."""
        estimates = {k: Estimate(**d[k]) for k in ("sa", "pa", "fmr")}
        return cls(d["n"], **estimates)


@dataclass(frozen=True)
class Robustness:
    """One model on one set.

    Attributes:
        validation_rate: share of the images of which the oracle accepted a
            perturbed one (appendix J)
        fallback: (a) Algorithm 1: all images, with the original in place of
            what was rejected
        accepted: (b) only the accepted images, SA on the same ones
    """

    validation_rate: float
    fallback: Rates
    accepted: Rates

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d):
        """Returns what :meth:`to_dict` made a dict of."""
        parts = {k: Rates.from_dict(d[k]) for k in ("fallback", "accepted")}
        return cls(d["validation_rate"], **parts)


def robustness(
    original,
    perturbed,
    accepted,
    source=None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 51,
    confidence: float = 0.95,
) -> Robustness:
    """Computes FMR with and without the images the oracle rejected.

    Intervals are percentiles of a bootstrap of the originals.

    Args:
        original: ``(n,)`` bools, whether the model gets each original right
        perturbed: ``(n,)`` bools, the same of what was made of it
        accepted: ``(n,)`` bools, whether it is a perturbed image at all
        source (None): ``(n,)`` ids of images that are resampled together
        n_resamples (1000): bootstrap resamples
        seed (51): of the resamples
        confidence (0.95): of the intervals

    Returns:
        a :class:`Robustness`
    """
    original, perturbed, accepted = (
        np.asarray(v, dtype=bool) for v in (original, perturbed, accepted)
    )
    cluster = source_codes(source, len(original))
    rates = [
        _rates(
            original[rows],
            perturbed[rows],
            cluster[rows],
            n_resamples,
            seed,
            confidence,
        )
        for rows in (np.ones(len(original), bool), accepted)
    ]
    share = float(accepted.mean()) if len(accepted) else 0.0
    return Robustness(share, *rates)


def _rates(original, perturbed, cluster, n_resamples, seed, confidence):
    n = len(original)
    if not n:
        return Rates(0, Estimate(None), Estimate(None), Estimate(None))

    _, cluster = np.unique(cluster, return_inverse=True)
    sums = np.stack(
        [
            np.bincount(cluster, weights=column)
            for column in (np.ones(n), original, perturbed)
        ],
        axis=1,
    )
    k = len(sums)
    rng = np.random.default_rng(seed)
    totals = []
    for start in range(0, n_resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, n_resamples - start)
        totals.append(rng.multinomial(k, np.full(k, 1 / k), size) @ sums)
    values = _three(sums.sum(axis=0)[None])[0]
    resampled = _three(np.concatenate(totals))
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    estimates = []
    for value, column in zip(values, resampled.T):
        column = column[np.isfinite(column)]
        if not np.isfinite(value):
            estimates.append(Estimate(None))
        elif k < 2 or not len(column):
            estimates.append(Estimate(float(value)))
        else:
            low, high = map(float, np.quantile(column, ends))
            estimates.append(Estimate(float(value), low, high))
    return Rates(n, *estimates)


def _three(totals):
    """Returns SA, PA and FMR of rows of counts, right and still right."""
    n, sa, pa = totals.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [sa / n, pa / n, np.where(sa > 0, 100 * pa / sa, np.nan)], axis=1
        )


def quality_against(
    quality,
    outcome,
    n_resamples: int = N_RESAMPLES,
    seed: int = 51,
) -> dict | None:
    """Correlates the originals' quality with an outcome, image by image.

    Of more than 1,000 images that many are drawn, since ranks are compared
    in pairs.

    Args:
        quality: ``(n,)`` floats, NaN where missing
        outcome: ``(n,)`` numbers, NaN where missing: steps survived, or
            whether the perturbed image is classified right
        n_resamples (1000): bootstrap resamples of the images
        seed (51): of the draw and the resamples

    Returns:
        ``{"n", "krcc", "srcc", "plcc"}``, each coefficient with ``value``,
        ``low``, ``high`` and ``p``; None for fewer than five images
    """
    quality = np.asarray(quality, dtype=float)
    outcome = np.asarray(outcome, dtype=float)
    known = np.flatnonzero(np.isfinite(quality) & np.isfinite(outcome))
    if len(known) > _MOST_PAIRED:
        rng = np.random.default_rng(seed)
        known = np.sort(rng.choice(known, _MOST_PAIRED, replace=False))
    if len(known) < 5:
        return None

    found = correlation(
        quality[known], outcome[known], n_resamples, seed=seed
    ).to_dict()
    return {
        "n": len(known),
        **{
            name: {**found[name]["signed"], "p": found[name]["p"]}
            for name in ("krcc", "srcc", "plcc")
        },
    }
