"""Performance priors: the accuracy to expect from quality alone.

A prior is learnt where correctness is known (Drenkow & Unberath, sections 1
and 2.5: "quality-driven priors for DNN performance"): a calibrated curve
P(M = 1 given Q) for single images and, where conditions are known, a fit of
accuracy to mean quality between conditions, for collections (see
:mod:`.between` for why these differ).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from ..arguments import checked
from ..errors import IQAError
from .between import BetweenConditions, fit_between
from .clusters import source_codes
from .correlation import group_codes
from .logistic import cross_entropy
from .score_bins import ScoreBins, calibrate

SCHEMA = 1
N_RESAMPLES = 200

_GRID = 65
_LEVELS = np.linspace(0, 1, 201)
_FOLDS = 5
_RELIABILITY_BINS = 10


@dataclass(frozen=True)
class QualityPrior:
    """P(M = 1 given Q) of one metric, or of several jointly.

    Attributes:
        metrics: names of the metrics' fields
        centre: ``(m,)`` means of the metrics where the prior was learnt
        scale: ``(m,)`` their standard deviations
        weights: ``(m,)``; the score of an image is its standardised metrics'
            weighted sum, and a higher score never means a lower accuracy
        calibrator: ``"isotonic"`` or ``"logistic"``, whichever predicted
            left-out sources better
        log_loss: ``{calibrator: mean cross-entropy of left-out sources}``,
            and ``"base rate"``, which knows no quality
        grid: ``(k,)`` scores
        curve: ``(k,)`` P(M = 1) there; linear between, constant outside
        replicates: ``(b, k)`` curves of resampled sources
        reliability: ``(r, 3)`` mean probability, share of right ones and
            number of images in up to ten groups of equal numbers, of
            left-out sources
        n: images it was learnt from
        n_sources: different sources among them
        accuracy: their accuracy
        seen: ``(m, 201)`` quantiles of each metric where it was learnt
        source_correlation: of what images of one source have in common
            beyond their quality, 0 to 1
        between: the fit between conditions, or None where too few were known
        identities: each metric's frozen configuration, None for a field
            somebody else computed
    """

    metrics: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    calibrator: str
    log_loss: dict[str, float]
    grid: np.ndarray
    curve: np.ndarray
    replicates: np.ndarray
    reliability: np.ndarray
    n: int
    n_sources: int
    accuracy: float
    seen: np.ndarray
    source_correlation: float
    between: BetweenConditions | None
    identities: tuple = field(default=())

    def score(self, quality: np.ndarray) -> np.ndarray:
        """Returns ``(n,)`` scores of ``(n, m)`` metrics, NaN if any is."""
        quality = _columns(quality, len(self.metrics))
        return ((quality - self.centre) / self.scale) @ self.weights

    def predict(self, quality: np.ndarray) -> np.ndarray:
        """Returns P(M = 1) of each image.

        Args:
            quality: ``(n, m)`` or, of one metric, ``(n,)``; NaN where missing

        Returns:
            ``(n,)`` in [0, 1], NaN where a metric is missing
        """
        return np.interp(self.score(quality), self.grid, self.curve)

    def band(self, confidence: float = 0.95) -> np.ndarray:
        """Returns the ``(2, k)`` bootstrap band around :attr:`curve`."""
        tail = (1 - confidence) / 2
        return np.quantile(self.replicates, [tail, 1 - tail], axis=0)

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        found = asdict(self)
        # The band is as good with 4 digits, and the file a quarter as long
        found["replicates"] = np.round(self.replicates, 4)
        for name in _ARRAYS:
            found[name] = found[name].tolist()
        found["between"] = self.between and self.between.to_dict()
        found["metrics"] = list(self.metrics)
        found["identities"] = list(self.identities)
        return {"schema": SCHEMA, **found}

    @classmethod
    def from_dict(cls, values: dict) -> QualityPrior:
        """Returns the prior that :meth:`to_dict` wrote.

        Raises:
            IQAError: if it was written by a later version
            ValueError: if its arrays do not fit together
        """
        values = dict(values)
        schema = values.pop("schema")
        if schema != SCHEMA:
            raise IQAError(
                f"This prior has schema {schema!r} and this version reads "
                f"{SCHEMA}: use the version of fiftyone-iqa that wrote it, or "
                "a later one"
            )
        for name in _ARRAYS:
            values[name] = np.asarray(values[name], dtype=float)
        if values["between"] is not None:
            values["between"] = BetweenConditions.from_dict(values["between"])
        values["metrics"] = tuple(values["metrics"])
        values["identities"] = tuple(values["identities"])
        prior = cls(**values)
        prior._check_arrays()
        return prior

    def _check_arrays(self):
        m, k = len(self.metrics), len(self.grid)
        shapes = {
            "centre": (m,),
            "scale": (m,),
            "weights": (m,),
            "grid": (k,),
            "curve": (k,),
            "replicates": (len(self.replicates), k),
            "seen": (m, len(_LEVELS)),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape or not np.isfinite(values).all():
                raise ValueError(f"{name!r} is not what a prior has there")

    def save(self, path) -> None:
        """Writes the prior to a small JSON file."""
        text = json.dumps(self.to_dict(), separators=(",", ":"))
        Path(path).write_text(text + "\n", encoding="utf-8")


@checked
def load_prior(path) -> QualityPrior:
    """Reads a prior that :meth:`QualityPrior.save` wrote.

    Raises:
        IQAError: if the file is missing, is no prior, or is of a later
            version
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
        return QualityPrior.from_dict(values)
    except IQAError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise IQAError(
            f"{path} holds no quality prior ({e}); prior.save(path) writes one"
        ) from e


_ARRAYS = (
    "centre",
    "scale",
    "weights",
    "grid",
    "curve",
    "replicates",
    "reliability",
    "seen",
)


def fit_prior(
    quality: np.ndarray,
    correct: np.ndarray,
    metrics: Sequence[str],
    higher_is_better: Sequence[bool | None],
    source: Sequence | None = None,
    group: Sequence | None = None,
    condition: Sequence | None = None,
    identities: Sequence[dict | None] | None = None,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> QualityPrior:
    """Learns P(M = 1 given Q).

    One metric is its own score, in its declared direction. Several are
    joined by logistic regression on the standardised metrics. The score is
    then calibrated by isotonic and by logistic regression, and the one with
    the lower cross-entropy over five folds of left-out sources is kept.

    Args:
        quality: ``(n, m)`` or, for one metric, ``(n,)`` float, NaN where
            missing; such rows are left out
        correct: ``(n,)`` 1 right, 0 wrong, NaN where unknown
        metrics: ``m`` names
        higher_is_better: ``m`` directions; None is learnt
        source: ``(n,)`` the original image of each row; by default every row
            is its own
        group: ``(n,)`` what each row was taken under, such as a corruption
            and its severity, or a camera; None where that is unknown. They
            give the fit between conditions
        condition: ``(n,)`` what is left out together to measure how far
            that fit transports, such as the corruption at all its
            severities; by default the group
        identities: ``m`` configurations, kept for :meth:`check_identities`
        n_resamples: bootstrap resamples of the sources
        seed: of folds and resamples

    Raises:
        IQAError: if there are fewer than 5 sources, one outcome only, a
            metric that never changes, or a row without its source
    """
    metrics = tuple(metrics)
    quality = _columns(quality, len(metrics))
    correct = np.asarray(correct, dtype=float)
    known = np.isfinite(quality).all(axis=1) & np.isfinite(correct)
    quality, correct = quality[known], correct[known]
    if source is not None:
        source = np.asarray(source)[known]
    sources = source_codes(source, len(correct))
    n_sources = len(np.unique(sources))
    _check(quality, correct, metrics, n_sources)

    centre, scale = quality.mean(axis=0), quality.std(axis=0)
    standard = (quality - centre) / scale
    weights = _weights(standard, correct, higher_is_better)
    score = standard @ weights

    bins = ScoreBins(score, correct)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(n_sources)[sources] % _FOLDS
    left_out = _cross_validate(bins, fold)
    log_loss = {
        name: float(cross_entropy(_logit(p), correct).mean())
        for name, p in left_out.items()
    }
    calibrator = min(("isotonic", "logistic"), key=log_loss.get)

    grid = np.unique(
        np.quantile(bins.centres, np.linspace(0, 1, _GRID), method="nearest")
    )
    fitted = calibrate(calibrator, bins.centres, bins.n, bins.right)
    replicates = np.empty((n_resamples, len(grid)))
    for row in replicates:
        drawn = rng.multinomial(n_sources, np.full(n_sources, 1 / n_sources))
        counts = bins.count(drawn[sources])
        curve = calibrate(calibrator, bins.centres, *counts)
        row[:] = np.interp(grid, bins.centres, curve)

    p = fitted[bins.row]
    return QualityPrior(
        metrics=metrics,
        centre=centre,
        scale=scale,
        weights=weights,
        calibrator=calibrator,
        log_loss=log_loss,
        grid=grid,
        curve=np.interp(grid, bins.centres, fitted),
        replicates=replicates,
        reliability=_reliability(left_out[calibrator], correct),
        n=len(correct),
        n_sources=n_sources,
        accuracy=float(correct.mean()),
        seen=np.quantile(quality, _LEVELS, axis=0).T,
        source_correlation=_source_correlation(correct, p, sources),
        between=_between(quality, correct, sources, known, group, condition),
        identities=tuple(identities or [None] * len(metrics)),
    )


def _check(quality, correct, metrics, n_sources):
    if n_sources < _FOLDS:
        raise IQAError(
            f"A prior needs at least {_FOLDS} original images with "
            f"quality and correctness, here are {n_sources}"
        )
    if correct.min() == correct.max():
        what = "right" if correct[0] else "wrong"
        raise IQAError(
            f"All {len(correct):,} predictions are {what}: there is nothing "
            "to learn a prior from. Add images of other quality (see "
            "corrupt_dataset)"
        )
    for name, column in zip(metrics, quality.T):
        if np.ptp(column) == 0:
            raise IQAError(
                f"Metric {name!r} has the value {column[0]:g} everywhere and "
                "predicts nothing; leave it out"
            )


def _columns(quality, m):
    quality = np.asarray(quality, dtype=float)
    if quality.ndim == 1:
        quality = quality[:, None]
    if quality.ndim != 2 or quality.shape[1] != m:
        raise IQAError(
            f"quality must be (n, {m}), one column per metric, not "
            f"{quality.shape}"
        )
    return quality


def _weights(standard, correct, higher_is_better):
    if standard.shape[1] == 1 and higher_is_better[0] is not None:
        return np.array([1.0 if higher_is_better[0] else -1.0])

    from sklearn.linear_model import LogisticRegression

    slopes = LogisticRegression().fit(standard, correct).coef_[0]
    length = np.linalg.norm(slopes)
    return slopes / length if length else np.eye(len(slopes))[0]


def _cross_validate(bins, fold):
    """Returns ``(n,)`` probabilities by models that never saw the source."""
    found = {
        name: np.empty(len(fold))
        for name in ("isotonic", "logistic", "base rate")
    }
    for held_out in range(_FOLDS):
        rows = fold == held_out
        test_n, test_right = bins.count(rows.astype(float))
        n, right = bins.n - test_n, bins.right - test_right
        for name, p in found.items():
            if name == "base rate":
                p[rows] = right.sum() / n.sum()
            else:
                fit = calibrate(name, bins.centres, n, right)
                p[rows] = fit[bins.row[rows]]
    return found


def _logit(p):
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p) - np.log1p(-p)


def _reliability(p, correct):
    order = np.argsort(p, kind="stable")
    parts = np.array_split(order, min(_RELIABILITY_BINS, len(p)))
    return np.array([[p[i].mean(), correct[i].mean(), len(i)] for i in parts])


def _source_correlation(correct, p, sources):
    """Mean product of standardised residuals of pairs of one source."""
    residual = (correct - p) / np.sqrt(np.clip(p * (1 - p), 1e-3, None))
    size = np.bincount(sources)
    total = np.bincount(sources, weights=residual)
    own = np.bincount(sources, weights=residual**2)
    pairs = (size * (size - 1)).sum()
    if not pairs:
        return 0.0
    return float(np.clip((total**2 - own).sum() / pairs, 0, 1))


def _between(quality, correct, sources, known, group, condition):
    if group is None:
        return None
    groups = group_codes(group)[0][known]
    conditions = groups
    if condition is not None:
        conditions = group_codes(condition)[0][known]
    return fit_between(quality, correct, sources, groups, conditions)
