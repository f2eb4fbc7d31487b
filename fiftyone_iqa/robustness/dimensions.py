"""The nine dimensions of model quality, from what models made of images.

Definitions are those of Hesse et al. 2025 (github.com/visinf/beyond-accuracy,
``helper/benchmarks.py``). Pure numpy: columns of right and wrong,
probabilities and counts in, a :class:`Measured` out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

from ..analysis.calibration import calibration_error
from ..analysis.clusters import clustered_mean
from ..analysis.estimate import Estimate
from ..analysis.folds import folds_by_source
from ..analysis.jackknife import jackknife

N_BINS = 15
N_FOLDS = 20
MIN_PER_CLASS = 10
_Z = 1.96
# Of n with none right, at most 3 / n are, with 95 % confidence
_RULE_OF_THREE = 3.0


@dataclass(frozen=True)
class Measured:
    """One dimension of one model.

    Attributes:
        estimate: value and 95 % interval; None where it was not measured
        measured_on: what was looked at
        needs: what is missing, where it was not measured
        parts: the numbers it is made of
        by_protocol: whether it is the paper's protocol, image by image
    """

    estimate: Estimate
    measured_on: str | None = None
    needs: str | None = None
    parts: dict[str, float] = field(default_factory=dict)
    by_protocol: bool = False

    @property
    def value(self) -> float | None:
        """The value, None where it was not measured."""
        return self.estimate.value

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict) -> Measured:
        """Returns what :meth:`to_dict` was called on."""
        return cls(**{**stored, "estimate": Estimate(**stored["estimate"])})

    def __str__(self):
        if self.value is None:
            return f"not measured: {self.needs}"
        return f"{self.estimate} on {self.measured_on}"


def not_measured(needs: str, parts: dict | None = None) -> Measured:
    """Returns a dimension without a value, and what it would need."""
    return Measured(Estimate(None), needs=needs, parts=parts or {})


def accuracy(right, source=None) -> Estimate:
    """Returns the share of right images, clustered by source.

    Where all or none are right the interval is Wilson's, over sources.
    """
    found = clustered_mean(np.asarray(right, float), source)
    if found.value in (0.0, 1.0):
        n = len(right) if source is None else len(set(np.asarray(source)))
        return _share(round(found.value * n), n)
    if found.low is None:
        return found
    return Estimate(found.value, max(found.low, 0.0), min(found.high, 1.0))


def adversarial_robustness(right, attacked, source=None, seed=0):
    """Computes how much accuracy attacks leave: the geometric mean of ratios.

    Args:
        right: ``(n,)`` bools, of the images as they are
        attacked: ``{name: (n,) bools}``, of the same images attacked
        source (None): ``(n,)`` ids of originals
        seed (0): of the folds

    Returns:
        an :class:`Estimate` and the ratios by name. Where an attack leaves
        nothing the value is 0, and the interval ends where 3 right ones in n
        would put it
    """
    columns = np.stack(list(attacked.values()), axis=1).astype(float)
    right = np.asarray(right, float)
    clean = right.mean()
    if not clean:
        return Estimate(None), {}
    ratios = columns.mean(axis=0) / clean
    parts = dict(zip(attacked, map(float, ratios)))
    if (ratios == 0).any():
        most = _RULE_OF_THREE / len(right) / clean
        high = _geometric_mean(np.maximum(ratios, most))
        return Estimate(0.0, 0.0, float(min(high, 1.0))), parts

    def statistic(rows):
        left = _geometric_mean(columns[rows].mean(axis=0))
        return _ratio(left, right[rows].mean())

    fold = folds_by_source(source, N_FOLDS, seed, n_rows=len(right))
    return jackknife(statistic, fold, low=0.0), parts


def corruption_robustness(right, corrupted, source=None, seed=0):
    """Computes the mean over conditions of accuracy relative to clean.

    Args:
        right: ``(n,)`` bools, of the images as they are
        corrupted: ``(n, c)`` bools, of the same images under c conditions
        source (None): ``(n,)`` ids of originals
        seed (0): of the folds

    Returns:
        an :class:`Estimate`, with no value where no clean image is right
    """
    right = np.asarray(right, float)
    corrupted = np.asarray(corrupted, float)
    if not right.any():
        return Estimate(None)

    def statistic(rows):
        return _ratio(corrupted[rows].mean(), right[rows].mean())

    fold = folds_by_source(source, N_FOLDS, seed, n_rows=len(right))
    return jackknife(statistic, fold, low=0.0)


def ood_robustness(right, variants):
    """Computes the geometric mean of accuracies relative to clean.

    Args:
        right: ``(n,)`` bools, of the images as they are
        variants: ``{name: (m,) bools}``, of other images

    Returns:
        an :class:`Estimate`, whose interval takes the collections to be
        independent, and the ratios by name
    """
    clean = np.mean(right)
    if not clean:
        return Estimate(None), {}
    shares = np.array([np.mean(column) for column in variants.values()])
    n = np.array([len(column) for column in variants.values()])
    ratios = shares / clean
    parts = dict(zip(variants, map(float, ratios)))
    value = float(_geometric_mean(ratios))
    if (shares == 0).any():
        most = _RULE_OF_THREE / n / clean
        high = _geometric_mean(np.maximum(ratios, most))
        return Estimate(0.0, 0.0, float(high)), parts

    # Of logarithms: of a share p of n it has variance (1 - p) / (p n)
    variance = ((1 - shares) / (shares * n)).sum() / len(n) ** 2
    variance += (1 - clean) / (clean * len(right))
    reach = np.exp(_Z * np.sqrt(variance))
    return Estimate(value, float(value / reach), float(value * reach)), parts


def calibration(probability, truth, label, source=None, seed=0):
    """Computes the geometric mean of adaptive and expected calibration error.

    ECE: 15 equally wide bins of the largest probability. ACE: 15 bins of
    equally many rows for each class (those of
    :func:`fiftyone_iqa.analysis.calibration.calibration_bins`), the mean over
    the classes that occur among the true labels. On ImageNet that is all of
    the model's; where few of them occur, the mean over all would be near 0
    whatever the model does.

    Args:
        probability: ``(n, K)`` floats, rows sum to 1
        truth: ``(L, K)`` bools, which of the model's classes each label is
        label: ``(n,)`` ints, each row's label
        source (None): ``(n,)`` ids of originals
        seed (0): of the folds

    Returns:
        an :class:`Estimate` and the two errors, ``ECE`` and ``ACE``
    """
    probability = np.asarray(probability, np.float64)
    label = np.asarray(label)
    right, confidence = _right(probability, truth, label)
    per_label = probability @ np.asarray(truth, float).T
    labels = np.unique(label)

    def errors(rows):
        ece = expected_calibration_error(confidence[rows], right[rows])
        ace = np.mean(
            [
                calibration_error(per_label[rows, k], label[rows] == k, N_BINS)
                for k in labels
            ]
        )
        return ece, float(ace)

    everything = errors(np.ones(len(label), bool))
    fold = folds_by_source(source, N_FOLDS, seed, label)
    found = jackknife(lambda rows: _geometric_mean(errors(rows)), fold)
    found = Estimate(
        found.value,
        None if found.low is None else max(found.low, 0.0),
        found.high,
    )
    return found, dict(zip(("ECE", "ACE"), everything))


def expected_calibration_error(confidence, right, n_bins=N_BINS) -> float:
    """Computes the ECE of Naeini et al. 2015: equally wide bins, l1.

    Args:
        confidence: ``(n,)`` floats in [0, 1]
        right: ``(n,)`` bools
        n_bins (15): bins
    """
    confidence = np.asarray(confidence, np.float64)
    edges = np.linspace(0, 1, n_bins + 1)
    # torchmetrics' bins: above the lower edge, up to the upper one
    bin_of = np.searchsorted(edges[1:-1], confidence, side="left")
    gap = np.bincount(bin_of, confidence - np.asarray(right, float), n_bins)
    return float(abs(gap).sum() / len(confidence))


def class_balance(probability, truth, label, source=None, seed=0):
    """Computes how alike classes are treated.

    The geometric mean of 1 - the deviation of the classes' accuracies, and of
    1 - the mean over classes of the deviation of the true class's
    probability within one. The fewer images a class has, the more of the
    first deviation is chance.

    Args:
        probability: ``(n, K)`` floats, rows sum to 1
        truth: ``(L, K)`` bools, which of the model's classes each label is
        label: ``(n,)`` ints, each row's label
        source (None): ``(n,)`` ids of originals
        seed (0): of the folds

    Returns:
        an :class:`Estimate` and the two parts, ``accuracy`` and
        ``confidence``
    """
    probability = np.asarray(probability, np.float64)
    label = np.asarray(label)
    right, _ = _right(probability, truth, label)
    of_truth = (probability * np.asarray(truth)[label]).sum(axis=1)
    labels, number = np.unique(label, return_inverse=True)

    def parts(rows):
        code = number[rows]
        n = np.bincount(code, minlength=len(labels))
        means = [
            np.bincount(code, column[rows], len(labels)) / n
            for column in (right, of_truth, of_truth**2)
        ]
        deviation = np.sqrt(np.maximum(means[2] - means[1] ** 2, 0))
        return 1 - means[0].std(ddof=1), 1 - deviation.mean()

    fold = folds_by_source(source, N_FOLDS, seed, number)
    found = jackknife(
        lambda rows: _geometric_mean(parts(rows)), fold, low=0.0, high=1.0
    )
    everything = parts(np.ones(len(label), bool))
    return found, dict(zip(("accuracy", "confidence"), map(float, everything)))


def object_focus(right, same, other):
    """Computes 1 - the gap that backgrounds of other classes make.

    The Backgrounds Challenge (Xiao et al. 2021): accuracy on objects before
    backgrounds of their own class less that before random ones, relative to
    the accuracy on ordinary images.

    Args:
        right: ``(n,)`` bools, of ordinary images
        same: ``(m,)`` bools, of mixed-same
        other: ``(m,)`` bools, of mixed-rand

    Returns:
        an :class:`Estimate` and the two accuracies
    """
    clean = float(np.mean(right))
    shares = {
        "mixed_same": float(np.mean(same)),
        "mixed_rand": float(np.mean(other)),
    }
    if not clean:
        return Estimate(None), shares
    gap = (shares["mixed_same"] - shares["mixed_rand"]) / clean
    variance = sum(
        p * (1 - p) / len(column)
        for p, column in zip(shares.values(), (same, other))
    )
    variance = variance / clean**2
    variance += gap**2 * (1 - clean) / (clean * len(right))
    reach = float(_Z * np.sqrt(variance))
    return Estimate(1 - gap, 1 - gap - reach, 1 - gap + reach), shares


def shape_bias(shape, texture):
    """Computes the share of decisions by shape (Geirhos et al. 2019).

    Args:
        shape: ``(n,)`` bools, decided as the shape says
        texture: ``(n,)`` bools, as the texture says; where both say one
            class, leave the image out

    Returns:
        an :class:`Estimate`, with no value where no decision is either, and
        the shares of both
    """
    k, n = int(np.sum(shape)), int(np.sum(shape) + np.sum(texture))
    parts = {"shape": np.mean(shape), "texture": np.mean(texture)}
    parts = {name: float(share) for name, share in parts.items()}
    if not n:
        return Estimate(None), parts
    return _share(k, n), parts


def _share(k, n):
    from scipy.stats import binomtest

    ends = binomtest(k, n).proportion_ci(method="wilson")
    return Estimate(k / n, float(ends.low), float(ends.high))


def _right(probability, truth, label):
    """Returns whether rows are right, and their largest probability."""
    best = probability.argmax(axis=1)
    rows = np.arange(len(best))
    return np.asarray(truth)[label, best], probability[rows, best]


def _ratio(a, b):
    return a / b if b else np.nan


def _geometric_mean(values):
    values = np.asarray(values, float)
    if (values <= 0).any():
        return 0.0
    return float(np.exp(np.log(values).mean()))
