"""How quality is distributed, and how far two collections differ in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ..errors import IQAError
from .correlation import group_codes

N_BINS = 50
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

_KDE_BINS = 512
_KDE_POINTS = 128


@dataclass(frozen=True)
class Distribution:
    """Of one metric in one group of images.

    Attributes:
        n: values
        n_missing: images without one
        mean: arithmetic mean, or None if ``n`` is 0
        std: standard deviation (of the sample, ddof 1), or None below 2
        quantiles: ``{level: value}``
        bin_edges: ``(b + 1,)``; every bin holds its left edge, the last one
            both
        counts: ``(b,)`` values per bin
        grid: where the density is given; empty where there is none (fewer
            than 2 different values)
        density: Gaussian kernel density, Scott's bandwidth
    """

    n: int
    n_missing: int
    mean: float | None
    std: float | None
    quantiles: dict[float, float]
    bin_edges: tuple[float, ...]
    counts: tuple[int, ...]
    grid: tuple[float, ...]
    density: tuple[float, ...]

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values; levels become strings."""
        found = asdict(self)
        found["quantiles"] = {str(k): v for k, v in self.quantiles.items()}
        return found

    @classmethod
    def from_dict(cls, values: dict) -> Distribution:
        """Returns what :meth:`to_dict` wrote."""
        values = {
            k: tuple(v) if isinstance(v, list) else v
            for k, v in values.items()
        }
        quantiles = {float(k): v for k, v in values["quantiles"].items()}
        return cls(**{**values, "quantiles": quantiles})


@dataclass(frozen=True)
class Distance:
    """Between the quality of two collections, a and b.

    Attributes:
        wasserstein: earth mover's distance, in units of the metric
        ks: Kolmogorov-Smirnov statistic, 0 (alike) to 1 (disjoint)
        ks_p: of the test that both have one distribution. It takes images
            as independent: with several variants per source it is too small
        mean_difference: mean of b minus mean of a
    """

    wasserstein: float
    ks: float
    ks_p: float
    mean_difference: float

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return asdict(self)


def distributions(
    values: np.ndarray,
    group: Sequence | None = None,
    bins: int | Sequence[float] = N_BINS,
) -> dict:
    """Describes a metric, in all images or in each group.

    Args:
        values: ``(n,)`` float, NaN where missing
        group: ``(n,)`` names; rows named None are left out. By default all
            rows are one group named None
        bins: how many, or their edges. Groups share the edges, so that
            their histograms can be laid over each other

    Returns:
        ``{group: Distribution}`` in the order of first appearance

    Raises:
        IQAError: if there is no value at all
    """
    values = np.asarray(values, dtype=float)
    known = values[np.isfinite(values)]
    if not len(known):
        raise IQAError("There is no value to describe: the metric is empty")

    # As numpy does for a constant, one unit around it
    spread = known[:1] if _is_constant(known) else known
    edges = np.histogram_bin_edges(spread, bins=bins)
    if group is None:
        return {None: _describe(values, edges)}
    codes, names = group_codes(group)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return {
        name: _describe(values[order[start:stop]], edges)
        for name, start, stop in zip(names, starts, starts[1:])
    }


def distance(a: np.ndarray, b: np.ndarray) -> Distance:
    """Measures how far the values of two collections lie apart.

    Args:
        a: ``(n,)`` float, NaN where missing
        b: ``(m,)`` float, NaN where missing

    Raises:
        IQAError: if either has no value
    """
    from scipy import stats

    a, b = (np.asarray(v, dtype=float) for v in (a, b))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if not len(a) or not len(b):
        raise IQAError("A collection without values cannot be compared")
    test = stats.ks_2samp(a, b)
    return Distance(
        wasserstein=float(stats.wasserstein_distance(a, b)),
        ks=float(test.statistic),
        ks_p=float(test.pvalue),
        mean_difference=float(b.mean() - a.mean()),
    )


def _describe(values, edges):
    known = values[np.isfinite(values)]
    n = len(known)
    grid, density = _density(known)
    return Distribution(
        n=n,
        n_missing=len(values) - n,
        mean=float(known.mean()) if n else None,
        std=float(known.std(ddof=1)) if n > 1 else None,
        quantiles=dict(zip(QUANTILES, np.quantile(known, QUANTILES).tolist()))
        if n
        else {},
        bin_edges=tuple(edges.tolist()),
        counts=tuple(np.histogram(known, bins=edges)[0].tolist()),
        grid=tuple(grid.tolist()),
        density=tuple(density.tolist()),
    )


def _is_constant(values):
    """Whether values differ by rounding only: too little for bins."""
    return np.ptp(values) <= 1e-12 * np.abs(values).max()


def _density(values):
    """Kernel density over binned values: exact ones take n per point."""
    from scipy.stats import gaussian_kde

    if len(values) < 2 or _is_constant(values):
        return np.array([]), np.array([])

    width = len(values) ** -0.2  # Scott's, of the values and not of the bins
    margin = 3 * width * values.std(ddof=1)
    grid = np.linspace(
        values.min() - margin, values.max() + margin, _KDE_POINTS
    )
    if len(values) <= _KDE_BINS:
        return grid, gaussian_kde(values, bw_method=width)(grid)
    counts, edges = np.histogram(values, bins=_KDE_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    kde = gaussian_kde(centres, bw_method=width, weights=counts)
    return grid, kde(grid)
