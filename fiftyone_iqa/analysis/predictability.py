"""Point-wise predictability of correctness M from quality Q.

Drenkow et al. 2025, section 2.2: how well do metrics tell images a task
model gets right from those it gets wrong? Section 2.5 and appendix H ask it
of dataset variants; appendix G's per-label and per-image analyses are in
:mod:`fiftyone_iqa.analysis.group_predictability`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import IQAError
from .auc import auc_interval
from .calibration import brier_score, calibration_error
from .clusters import check_confidence, clustered_mean, codes, source_codes
from .estimate import Estimate
from .folds import split_by_source
from .logistic import cross_entropy, fit_logistic, probability
from .rows import usable_rows

PROTOCOLS = ("standardised", "paper_raw")


@dataclass(frozen=True)
class Predictability:
    """How well quality predicts correctness, image by image.

    Intervals are clustered by source. What ``fitted_auc`` to
    ``calibration_error`` say is measured on the rows held out, of a model
    fitted to the others.

    Attributes:
        n: rows used
        n_missing: rows left out because quality or correctness is missing
        n_sources: distinct sources among the rows used
        accuracy: share of right rows
        auc: AUC of the raw score in its declared direction over all rows;
            its value is None for several metrics, or without a direction
        n_train: rows the model was fitted to
        n_test: rows held out
        fitted_auc: AUC of the model's probabilities; its value is None where
            the rows held out are of one class
        cross_entropy: mean cross-entropy in nats per row
        base_entropy: the same of the training rows' accuracy, used as every
            row's probability: what a metric that knows nothing reaches
        brier: mean squared error of the probabilities
        calibration_error: expected calibration error, in 15 bins of equally
            many rows (see :mod:`fiftyone_iqa.analysis.calibration`)
        slope: the model's slope; per standard deviation of the training
            rows, for ``"paper_raw"`` per unit; a tuple for several metrics
        intercept: the model's intercept
        protocol: ``"standardised"`` or ``"paper_raw"``
    """

    n: int
    n_missing: int
    n_sources: int
    accuracy: float
    auc: Estimate
    n_train: int
    n_test: int
    fitted_auc: Estimate
    cross_entropy: Estimate
    base_entropy: float
    brier: float
    calibration_error: float
    slope: float | tuple[float, ...]
    intercept: float
    protocol: str

    def to_dict(self) -> dict:
        """Returns everything as JSON-serialisable values."""
        return asdict(self)

    def __str__(self):
        return (
            f"AUC {self.auc}, fitted {self.fitted_auc}; cross-entropy "
            f"{self.cross_entropy} nats against {self.base_entropy:.3f} of "
            f"the base rate; {self.n:,} images of {self.n_sources:,} sources"
        )


def predictability(
    quality,
    correct,
    source=None,
    higher_is_better=True,
    protocol="standardised",
    test_share=0.2,
    seed=0,
    confidence=0.95,
) -> Predictability:
    """Measures how well quality predicts correctness (section 2.2).

    Sources are split into training and held-out ones; a logistic regression
    (scikit-learn's objective with ``C=1``) is fitted to the rows of the
    former and judged on those of the latter.

    ``protocol="paper_raw"`` fits scikit-learn's ``LogisticRegression()`` with
    its default tolerance to the metric as it is, as the paper did. For a
    metric that hardly varies compared with its mean, that solver stops when
    slope and intercept have together reached the base rate; the slope then
    has the sign of (accuracy − 1/2), whatever the metric knows. An AUC well
    below 0.5, at the base rate's cross-entropy, is this artefact: the full
    solution's slope always has the sign of the covariance. Use it to
    reproduce published figures only.

    Args:
        quality: ``(n,)`` floats, or ``(n, m)`` for several metrics jointly;
            None or NaN where missing
        correct: ``(n,)`` bools, None or NaN where missing
        source (None): ``(n,)`` ids of the images that rows were made from;
            None makes each row its own source
        higher_is_better (True): the metric's declared direction; None where
            it has none. Of no influence on the fitted model
        protocol ("standardised"): ``"standardised"`` or ``"paper_raw"``
        test_share (0.2): share of the sources to hold out
        seed (0): seed of the split
        confidence (0.95): the intervals' coverage

    Returns:
        a :class:`Predictability`

    Raises:
        IQAError: if shapes differ, a quality is infinite, a source is
            missing, an option is invalid, or the right or the wrong rows
            come from fewer than two sources
    """
    if protocol not in PROTOCOLS:
        raise IQAError(
            f"There is no protocol {protocol!r}; choose "
            f"{' or '.join(map(repr, PROTOCOLS))}"
        )
    check_confidence(confidence)

    rows = usable_rows(quality, correct, source)
    quality, correct = rows.quality, rows.correct
    cluster = source_codes(rows.keys["source"], len(correct))
    _check_classes(correct, cluster)
    test = split_by_source(cluster, test_share, seed)
    train = ~test
    base = float(correct[train].mean())
    if base in (0, 1):
        raise IQAError(
            f"All training rows are {'right' if base else 'wrong'}: pass "
            "another seed=, or score more images"
        )

    raw = Estimate(None)
    if quality.shape[1] == 1 and higher_is_better is not None:
        score = quality[:, 0] if higher_is_better else -quality[:, 0]
        raw = auc_interval(score, correct, cluster, confidence)

    fit = _fit_standardised if protocol == "standardised" else _fit_raw
    slope, intercept, logit = fit(
        quality[train], correct[train], quality[test]
    )
    happened, held_out = correct[test], cluster[test]
    p = probability(logit)
    return Predictability(
        n=len(correct),
        n_missing=rows.n_missing,
        n_sources=int(cluster.max()) + 1,
        accuracy=float(correct.mean()),
        auc=raw,
        n_train=int(np.count_nonzero(train)),
        n_test=len(happened),
        fitted_auc=auc_interval(logit, happened, held_out, confidence),
        cross_entropy=clustered_mean(
            cross_entropy(logit, happened), held_out, confidence
        ),
        base_entropy=float(base_entropy(base, happened.mean())),
        brier=brier_score(p, happened),
        calibration_error=calibration_error(p, happened),
        slope=slope[0] if len(slope) == 1 else tuple(slope),
        intercept=intercept,
        protocol=protocol,
    )


@dataclass(frozen=True)
class VariantPredictability:
    """Predictability in each of several dataset variants (appendix H).

    Attributes:
        variants: the variants, in ascending order
        results: a :class:`Predictability` for each
        mean_auc: mean over variants of the raw score's AUC, or None
        sigma_auc: its standard deviation over variants, or None
        mean_fitted_auc: the same of the fitted models' AUC
        sigma_fitted_auc: its standard deviation over variants
    """

    variants: tuple
    results: tuple[Predictability, ...]
    mean_auc: float | None
    sigma_auc: float | None
    mean_fitted_auc: float | None
    sigma_fitted_auc: float | None

    def to_dict(self) -> dict:
        """Returns everything as JSON-serialisable values."""
        return asdict(self)


def predictability_by_variant(
    quality, correct, variant, source=None, **options
) -> VariantPredictability:
    """Measures predictability within each dataset variant.

    Args:
        quality: as :func:`predictability` takes it
        correct: as :func:`predictability` takes it
        variant: ``(n,)`` values, such as the share of corrupted images p_c;
            rows where it is missing are left out
        source (None): as :func:`predictability` takes it; all variants that
            hold the same sources are split alike
        **options: further arguments of :func:`predictability`

    Returns:
        a :class:`VariantPredictability`

    Raises:
        IQAError: as :func:`predictability`, naming the variant
    """
    rows = usable_rows(quality, correct, source, variant=variant)
    source = rows.keys["source"]
    number, variants = codes(rows.keys["variant"], "variant")
    results = []
    for i, name in enumerate(variants.tolist()):
        of = number == i
        try:
            result = predictability(
                rows.quality[of],
                rows.correct[of],
                None if source is None else source[of],
                **options,
            )
        except IQAError as error:
            raise IQAError(f"Variant {name!r}: {error}") from error
        results.append(result)

    return VariantPredictability(
        tuple(variants.tolist()),
        tuple(results),
        *_mean_and_sigma([r.auc.value for r in results]),
        *_mean_and_sigma([r.fitted_auc.value for r in results]),
    )


def base_entropy(base, accuracy):
    """Returns the cross-entropy of one probability for all rows, in nats.

    Args:
        base: the probability, strictly between 0 and 1
        accuracy: share of rows that are right; arrays do too
    """
    return -(accuracy * np.log(base) + (1 - accuracy) * np.log1p(-base))


def _check_classes(correct, cluster):
    for label, word in ((True, "right"), (False, "wrong")):
        found = cluster[correct == label]
        if not len(found) or (found == found[0]).all():
            raise IQAError(
                f"The {len(found):,} {word} rows come from fewer than two "
                "source images; predictability needs at least two of right "
                "and of wrong ones: score more images"
            )


def _fit_standardised(quality, correct, held_out):
    mean = quality.mean(axis=0, dtype=np.float64)
    deviation = quality.std(axis=0, dtype=np.float64)
    constant = quality.min(axis=0) == quality.max(axis=0)
    constant |= deviation == 0
    # A metric that does not vary says nothing: its column becomes zero
    scale = np.where(constant, 0, 1 / np.where(constant, 1, deviation))
    z, z_held_out = (quality - mean) * scale, (held_out - mean) * scale
    if z.shape[1] == 1:
        slope, intercept = fit_logistic(z[:, 0], correct)
    else:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            C=1.0, tol=1e-10, max_iter=1000, solver="newton-cholesky"
        ).fit(z, correct)
        slope, intercept = model.coef_[0], model.intercept_
    logit = z_held_out @ slope + intercept[0]
    return slope.tolist(), float(intercept[0]), logit


def _fit_raw(quality, correct, held_out):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression()
    model.fit(quality.astype(np.float64), correct)
    logit = model.decision_function(held_out.astype(np.float64))
    return model.coef_[0].tolist(), float(model.intercept_[0]), logit


def _mean_and_sigma(values):
    values = [value for value in values if value is not None]
    if not values:
        return None, None
    return float(np.mean(values)), float(np.std(values))
