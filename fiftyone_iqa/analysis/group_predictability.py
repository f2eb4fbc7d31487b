"""Predictability with image content held fixed (appendix G).

A classifier per label, or per image over its conditions, each judged by
cross-validation: thousands of small regressions, solved together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import IQAError
from .auc import grouped_auc
from .clusters import codes, reduce_runs
from .folds import folds_by_source
from .logistic import cross_entropy, fit_logistic
from .predictability import base_entropy
from .rows import usable_rows


@dataclass(frozen=True)
class GroupPredictability:
    """Mean predictability within groups, one value per metric.

    Arrays have the shape ``(m,)``, also for one metric; NaN stands where
    nothing could be measured. σ is one standard deviation over what the
    mean is taken of: a spread, as appendix G's error bars, not a standard
    error.

    Attributes:
        n: rows used
        n_missing: rows left out because the group, the correctness or one
            of the metrics is missing
        n_groups: groups
        n_folds: folds per group
        fold_unit: what folds are made of: ``"source"`` or ``"row"``
        mean_raw_auc: mean over groups with both classes of the AUC of the
            raw score in its declared direction, over all of a group's rows
        sigma_raw_auc: its σ over groups
        n_raw: groups with both classes
        mean_auc: mean over all groups' folds used of the AUC of the fitted
            probabilities, on the rows held out
        sigma_auc: its σ over groups and folds
        mean_cross_entropy: mean over the same folds of their mean
            cross-entropy on the rows held out, in nats
        sigma_cross_entropy: its σ over groups and folds
        mean_base_entropy: mean over the same folds of the cross-entropy of
            the training rows' accuracy
        n_used: folds used
        n_single_class: folds skipped since the rows to train on or those
            held out are of one class (or none)
        n_separable: folds skipped since a threshold on the metric parts the
            right from the wrong training rows. Where many are, ``mean_auc``
            lacks the best predicted groups; ``mean_raw_auc`` has them
        per_group: a table with columns group, metric (its index), n,
            accuracy, raw_auc, and, as means over the group's folds used,
            auc and cross_entropy; or None
    """

    n: int
    n_missing: int
    n_groups: int
    n_folds: int
    fold_unit: str
    mean_raw_auc: np.ndarray
    sigma_raw_auc: np.ndarray
    n_raw: int
    mean_auc: np.ndarray
    sigma_auc: np.ndarray
    mean_cross_entropy: np.ndarray
    sigma_cross_entropy: np.ndarray
    mean_base_entropy: np.ndarray
    n_used: np.ndarray
    n_single_class: int
    n_separable: np.ndarray
    per_group: object = None

    def to_dict(self) -> dict:
        """Returns all but the table as JSON-serialisable values."""
        return {
            name: [None if np.isnan(v) else v for v in value.tolist()]
            if isinstance(value, np.ndarray)
            else value
            for name, value in vars(self).items()
            if name != "per_group"
        }

    def __str__(self):
        raw, fitted = (
            ", ".join(f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sigma))
            for mean, sigma in (
                (self.mean_raw_auc, self.sigma_raw_auc),
                (self.mean_auc, self.sigma_auc),
            )
        )
        return (
            f"mAUC {raw}; fitted {fitted}; {self.n_groups:,} groups x "
            f"{self.n_folds} folds, of which {self.n_single_class:,} of one "
            f"class and {', '.join(map(str, self.n_separable))} separable"
        )


def predictability_by_group(
    quality,
    correct,
    group,
    source=None,
    higher_is_better=True,
    n_folds=5,
    seed=0,
    keep_per_group=False,
) -> GroupPredictability:
    """Measures predictability within each group (appendix G).

    For each metric and group, a logistic regression on the standardised
    metric (standardised on the rows it is fitted to, scikit-learn's objective
    with ``C=1``) is fitted to all folds but one and judged on that one.

    Folds are made of sources, so that rows of one source are held out
    together (of its folds per label the paper does not say so). Where every
    group is one source (an image over its conditions), and where ``source``
    is None, they are made of rows.

    The AUC of a fitted model is that of the metric, or one minus it where
    the fitted slope is negative. In groups with little to predict the slope
    has the wrong sign by chance, which draws the mean towards 0.5; the raw
    score in its declared direction has no such artefact.

    Args:
        quality: ``(n,)`` or ``(n, m)`` floats, a column per metric (float32
            is enough); None or NaN where missing
        correct: ``(n,)`` bools, None or NaN where missing
        group: ``(n,)`` ids, such as labels or image ids; None where missing
        source (None): ``(n,)`` ids of the images that rows were made from
        higher_is_better (True): the metrics' declared direction, one for all
            or one each; None where there is none, whose raw AUC is NaN
        n_folds (5): folds per group
        seed (0): seed of the folds
        keep_per_group (False): whether to return the table of groups

    Returns:
        a :class:`GroupPredictability`

    Raises:
        IQAError: if shapes differ, a quality is infinite, a source is
            missing or an option is invalid
    """
    rows = usable_rows(quality, correct, source, group=group)
    n, n_metrics = rows.quality.shape
    directions = _directions(higher_is_better, n_metrics)
    number, names = codes(rows.keys["group"], "group")
    source = _fold_source(rows.keys["source"], number, len(names))
    fold = folds_by_source(source, n_folds, seed, number)
    cells = _Cells.of(rows.correct, number, fold, len(names), n_folds)

    raw = np.full((n_metrics, len(names)), np.nan)
    auc = np.empty((n_metrics, len(names), n_folds))
    entropy = np.empty_like(auc)
    n_separable = np.empty(n_metrics, np.int64)
    for j in range(n_metrics):
        column = rows.quality[:, j][cells.order]
        if directions[j] is not None:
            score = column if directions[j] else -column
            raw[j] = grouped_auc(score, cells.correct, cells.group, len(names))
        auc[j], entropy[j], separable = _judge_folds(column, cells)
        n_separable[j] = np.count_nonzero(separable)

    used = ~np.isnan(auc)
    base = np.where(used, cells.base_entropy(), np.nan)
    return GroupPredictability(
        n,
        rows.n_missing,
        len(names),
        n_folds,
        "row" if source is None else "source",
        *_mean_and_sigma(raw),
        int(np.count_nonzero(cells.two_class_groups())),
        *_mean_and_sigma(auc),
        *_mean_and_sigma(entropy),
        _mean_and_sigma(base)[0],
        used.sum(axis=(1, 2)),
        int(np.count_nonzero(~cells.usable)),
        n_separable,
        _table(names, cells, raw, auc, entropy) if keep_per_group else None,
    )


@dataclass(frozen=True)
class _Cells:
    """Rows sorted by group and fold: a cell is one fold of one group.

    Attributes:
        order: ``(n,)`` the sorted rows' places in the caller's columns
        correct: ``(n,)`` bools, sorted
        group: ``(n,)`` group numbers, sorted
        fold: ``(n,)`` fold numbers, sorted
        n: ``(g, k)`` rows of each cell
        right: ``(g, k)`` right rows of each cell
    """

    order: np.ndarray
    correct: np.ndarray
    group: np.ndarray
    fold: np.ndarray
    n: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, correct, group, fold, n_groups, n_folds):
        cell = group * np.int64(n_folds) + fold
        order = np.argsort(cell, kind="stable")
        shape, size = (n_groups, n_folds), n_groups * n_folds
        n = np.bincount(cell, minlength=size).reshape(shape)
        right = np.bincount(cell[correct], minlength=size).reshape(shape)
        return cls(order, correct[order], group[order], fold[order], n, right)

    @property
    def usable(self):
        """``(g, k)``: both classes to train on and both held out."""
        n_train, right_train = _others(self.n), _others(self.right)
        return (
            (right_train > 0)
            & (right_train < n_train)
            & (self.right > 0)
            & (self.right < self.n)
        )

    def two_class_groups(self):
        right = self.right.sum(axis=1)
        return (right > 0) & (right < self.n.sum(axis=1))

    def base_entropy(self):
        """``(g, k)``: held-out cross-entropy of the training accuracy."""
        with np.errstate(divide="ignore", invalid="ignore"):
            base = _others(self.right) / _others(self.n)
            return base_entropy(base, self.right / self.n)

    def reduce(self, ufunc, values, empty=0.0):
        """Reduces each cell's rows; ``(g, k)``."""
        reduced = reduce_runs(ufunc, values, self.n.ravel(), empty)
        return reduced.reshape(self.n.shape)


def _judge_folds(column, cells):
    """Fits and judges one metric in all folds of all groups.

    Returns:
        AUC and mean cross-entropy, ``(g, k)`` with NaN for folds skipped, and
        which usable folds are separable
    """
    n_groups, n_folds = cells.n.shape
    constant, separable = _training_ranges(column, cells)
    separable &= cells.usable
    judged = cells.usable & ~separable

    cell = cells.group * np.int64(n_folds) + cells.fold
    auc = grouped_auc(column, cells.correct, cell, n_groups * n_folds)
    auc = auc.reshape(cells.n.shape)
    entropy = np.full(cells.n.shape, np.nan)
    for f in range(n_folds):
        taking_part = judged[:, f][cells.group]
        held_out = cells.fold == f
        groups = np.flatnonzero(judged[:, f])

        rows = np.flatnonzero(taking_part & ~held_out)
        counts = _others(cells.n)[groups, f]
        z = column[rows].astype(np.float64)
        mean = reduce_runs(np.add, z, counts) / counts
        z -= np.repeat(mean, counts)
        deviation = np.sqrt(reduce_runs(np.add, z * z, counts) / counts)
        flat = constant[groups, f] | (deviation == 0)
        # A metric that does not vary says nothing: its column becomes zero
        scale = np.where(flat, 0, 1 / np.where(flat, 1, deviation))
        z *= np.repeat(scale, counts)
        slope, intercept = fit_logistic(z, cells.correct[rows], counts)

        rows = np.flatnonzero(taking_part & held_out)
        counts = cells.n[groups, f]
        logit = column[rows] - np.repeat(mean, counts)
        logit *= np.repeat(scale * slope, counts)
        logit += np.repeat(intercept, counts)
        losses = cross_entropy(logit, cells.correct[rows])
        entropy[groups, f] = reduce_runs(np.add, losses, counts) / counts
        # Probabilities order rows as the metric does, or the other way
        # round, or not at all
        auc[groups, f] = 0.5 + np.sign(slope) * (auc[groups, f] - 0.5)

    auc[~judged] = np.nan
    return auc, entropy, separable


def _training_ranges(column, cells):
    """Says of each fold's training rows, ``(g, k)``, two things.

    Whether the metric is the same for all of them, and whether a threshold
    on it parts the right from the wrong ones.
    """
    ranges = []
    for of_class in (cells.correct, ~cells.correct):
        for ufunc, empty in ((np.minimum, np.inf), (np.maximum, -np.inf)):
            values = np.where(of_class, column, column.dtype.type(empty))
            cell_values = cells.reduce(ufunc, values, empty)
            ranges.append(_others(cell_values, ufunc, empty))
    right_low, right_high, wrong_low, wrong_high = ranges
    constant = np.minimum(right_low, wrong_low) == np.maximum(
        right_high, wrong_high
    )
    separable = (right_high < wrong_low) | (wrong_high < right_low)
    return constant, separable


def _others(cells, ufunc=np.add, empty=0):
    """Reduces, for each fold, the other folds of its group; ``(g, k)``."""
    result = np.empty_like(cells)
    for f in range(cells.shape[1]):
        rest = np.delete(cells, f, axis=1)
        result[:, f] = ufunc.reduce(rest, axis=1, initial=empty)
    return result


def _fold_source(source, group, n_groups):
    """Returns what folds keep together: None for rows by themselves."""
    if source is None:
        return None

    number, _ = codes(source)
    first = np.empty(n_groups, np.int64)
    first[group] = number
    return None if (first[group] == number).all() else number


def _directions(higher_is_better, n_metrics):
    if np.ndim(higher_is_better) == 0:
        return [higher_is_better] * n_metrics
    if len(higher_is_better) != n_metrics:
        raise IQAError(
            f"There are {n_metrics} metrics and {len(higher_is_better)} "
            "directions; pass one direction each"
        )
    return list(higher_is_better)


def _mean_and_sigma(values):
    """Returns mean and standard deviation per metric, NaN left out."""
    values = values.reshape(len(values), -1)
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
        square = np.where(known, values - mean[:, None], 0) ** 2
        return mean, np.sqrt(square.sum(axis=1) / known.sum(axis=1))


def _table(names, cells, raw, auc, entropy):
    import pandas as pd

    n = cells.n.sum(axis=1)
    n_metrics = len(raw)
    used = np.maximum((~np.isnan(auc)).sum(axis=2), 1)
    unused = np.isnan(auc).all(axis=2)
    return pd.DataFrame(
        {
            "group": np.tile(names, n_metrics),
            "metric": np.repeat(np.arange(n_metrics), len(names)),
            "n": np.tile(n, n_metrics),
            "accuracy": np.tile(cells.right.sum(axis=1) / n, n_metrics),
            "raw_auc": raw.ravel(),
            **{
                name: np.where(
                    unused, np.nan, np.nansum(values, axis=2) / used
                ).ravel()
                for name, values in (("auc", auc), ("cross_entropy", entropy))
            },
        }
    )
