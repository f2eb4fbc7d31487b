"""The accuracy to expect of images nobody labelled, by a quality prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ConfigurationMismatchError, IQAError
from .clusters import source_codes
from .correlation import group_codes
from .estimate import Estimate
from .prior import QualityPrior

ASSUMPTION = (
    "P(correct | quality) is taken to be what it was where the prior was "
    "learnt; within one class the association of the two is far weaker "
    "(Drenkow & Unberath, appendix G), so a collection of other classes can "
    "lie off"
)
# More mass than that beyond the middle 99 % of what the prior has seen
MAX_OUTSIDE = 0.05
MAX_KS = 0.5


@dataclass(frozen=True)
class Slice:
    """Expected accuracy of a part of a collection.

    Attributes:
        name: of the part
        n: images with quality in it
        accuracy: the estimate and its interval
    """

    name: object
    n: int
    accuracy: Estimate


@dataclass(frozen=True)
class ExpectedAccuracy:
    """What quality alone lets expect.

    Attributes:
        accuracy: the estimate and its interval
        n: images with quality
        n_missing: images without, which the estimate leaves out
        slices: its parts, lowest estimate first
        outside: ``{metric: share of images beyond the middle 99 % of what
            the prior has seen}``; 0.01 is what to expect
        ks: ``{metric: Kolmogorov-Smirnov distance to what it has seen}``
        warnings: sentences, empty if the collection is like the reference
        assumption: the sentence the estimate rests on
    """

    accuracy: Estimate
    n: int
    n_missing: int
    slices: tuple[Slice, ...]
    outside: dict[str, float]
    ks: dict[str, float]
    warnings: tuple[str, ...]
    assumption: str = ASSUMPTION

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        found = asdict(self)
        found["warnings"] = list(self.warnings)
        found["slices"] = list(found["slices"])
        return found

    def __str__(self):
        lines = [
            f"expected accuracy {self.accuracy} over {self.n:,} images"
            + (f" ({self.n_missing:,} without quality)" * bool(self.n_missing))
        ]
        lines += [
            f"  {s.name}: {s.accuracy} over {s.n:,}" for s in self.slices
        ]
        lines += [f"Warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, f"Assumed: {self.assumption}"])


def expected_accuracy(
    prior: QualityPrior,
    quality: np.ndarray,
    source: Sequence | None = None,
    slices: Sequence | None = None,
    identities: Sequence[dict | None] | None = None,
    confidence: float = 0.95,
) -> ExpectedAccuracy:
    """Estimates the accuracy on images without labels or predictions.

    The interval is for the accuracy these very images would show. Where the
    prior knew conditions, the estimate is of its fit between conditions, and
    the variance is the sum of chance here, chance where it was learnt (both
    larger where several images share a source), and how far whole conditions
    lay off a fit without them. Else the estimate is the curve's mean, and the
    last part is missing: a warning says so.

    Args:
        prior: learnt where correctness is known
        quality: ``(n, m)`` or, of one metric, ``(n,)``; NaN where missing
        source: ``(n,)`` original image of each row, by default its own
        slices: ``(n,)`` names of the parts to give apart
        identities: ``m`` frozen configurations of the metrics here
        confidence: of the intervals

    Raises:
        ConfigurationMismatchError: if a metric was computed under another
            configuration than the prior's
        IQAError: if no image has all the prior's metrics, or one has no
            source
    """
    if identities is not None:
        check_identities(prior, identities)

    p = prior.predict(quality)
    known = np.isfinite(p)
    if not known.any():
        raise IQAError(
            f"No image has {' and '.join(prior.metrics)}, which this prior "
            "reads; compute quality first"
        )
    columns = np.asarray(quality, dtype=float).reshape(len(p), -1)[known]
    sources = source_codes(source, len(p))[known]

    parts = []
    if slices is not None:
        codes, names = group_codes(slices)
        codes = codes[known]
        for code, name in enumerate(names):
            rows = codes == code
            if rows.any():
                estimate = _estimate(
                    prior, columns[rows], sources[rows], confidence
                )
                parts.append(Slice(name, int(rows.sum()), estimate))
        parts.sort(key=lambda part: part.accuracy.value)

    outside = _share_outside(prior, columns)
    ks = _ks(prior, columns)
    return ExpectedAccuracy(
        accuracy=_estimate(prior, columns, sources, confidence),
        n=int(known.sum()),
        n_missing=int((~known).sum()),
        slices=tuple(parts),
        outside=outside,
        ks=ks,
        warnings=tuple(_warnings(prior, outside, ks)),
    )


def check_identities(
    prior: QualityPrior, identities: Sequence[dict | None]
) -> None:
    """Refuses scores that mean something else than the prior's.

    Raises:
        ConfigurationMismatchError: if encoder, weights, label set,
            templates, temperature, or anything else that changes a value,
            differs; it says what
    """
    for name, own, other in zip(
        prior.metrics, prior.identities, identities, strict=True
    ):
        if own == other:
            continue
        if own is None or other is None:
            where = "here" if own is None else "where the prior was learnt"
            raise ConfigurationMismatchError(
                f"Field {name!r} was computed by this package only {where}; "
                "a prior holds for one kind of score"
            )
        differing = [k for k in {**own, **other} if own.get(k) != other.get(k)]
        said = "; ".join(
            f"{key} was {_short(own.get(key))}, is {_short(other.get(key))}"
            for key in differing
        )
        raise ConfigurationMismatchError(
            f"The prior does not hold for field {name!r}, whose scores were "
            f"made otherwise: {said}. Compute quality with the prior's "
            "configuration (field_prefix= writes it beside the old)"
        )


def _estimate(prior, quality, sources, confidence):
    from scipy.stats import norm, t

    if prior.between is not None:
        value = prior.between.accuracy(quality)
        variance = prior.between.variance(quality, sources)
        # Estimated from few conditions
        law = t(prior.between.n_conditions - 1)
    else:
        p = prior.predict(quality)
        value = float(p.mean())
        # The curves are linear between grid points: their mean over the
        # images is a product with how much of the images lies at each point
        mass = _grid_mass(prior.score(quality), prior.grid)
        variance = (prior.replicates @ mass).var(ddof=1)
        variance += _chance(p, sources, prior.source_correlation)
        law = norm
    half = float(law.ppf((1 + confidence) / 2) * np.sqrt(variance))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half))


def _grid_mass(score, grid):
    """Returns ``(k,)`` weights: ``curve @ mass`` is the curve's mean."""
    right = np.clip(np.searchsorted(grid, score), 1, len(grid) - 1)
    share = (score - grid[right - 1]) / (grid[right] - grid[right - 1])
    share = np.clip(share, 0, 1)
    mass = np.bincount(right, weights=share, minlength=len(grid))
    mass += np.bincount(right - 1, weights=1 - share, minlength=len(grid))
    return mass / len(score)


def _chance(p, sources, correlation):
    spread = p * (1 - p)
    _, codes = np.unique(sources, return_inverse=True)
    together = np.bincount(codes, weights=np.sqrt(spread)) ** 2
    return (
        (1 - correlation) * spread.sum() + correlation * together.sum()
    ) / len(p) ** 2


def _share_outside(prior, columns):
    low, high = (prior.seen[:, i] for i in (1, -2))
    outside = (columns < low) | (columns > high)
    return dict(zip(prior.metrics, outside.mean(axis=0).tolist()))


def _ks(prior, columns):
    """Largest difference of the two distribution functions, per metric."""
    from scipy.stats import ks_2samp

    # The quantiles stand for a sample, equal values among them for ties
    return {
        name: float(ks_2samp(seen, column, method="asymp").statistic)
        for name, seen, column in zip(prior.metrics, prior.seen, columns.T)
    }


def _warnings(prior, outside, ks):
    for name in prior.metrics:
        if outside[name] > MAX_OUTSIDE:
            yield (
                f"{outside[name]:.0%} of the images have a {name} beyond "
                "what the prior has seen; there it only repeats its ends"
            )
        elif ks[name] > MAX_KS:
            yield (
                f"{name} is distributed unlike where the prior was learnt "
                f"(KS distance {ks[name]:.2f}); the estimate leans on few of "
                "its images"
            )
    if prior.between is None:
        yield (
            "the prior knew no conditions, so the interval leaves out how "
            "far whole conditions lie off its curve; learn it with group_by="
        )


def _short(value):
    text = str(value)
    return text if len(text) <= 100 else f"{text[:80]}… ({len(text)} letters)"
