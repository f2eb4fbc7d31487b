"""All there is to say of one metric, and of several, as plain values."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import IQAError
from .correlation import MIN_GROUPS, correlation, group_means
from .distribution import distributions
from .group_predictability import predictability_by_group
from .predictability import predictability
from .prior import fit_prior

MIN_VARIANTS = 10  # of a source, for an analysis within sources


@dataclass(frozen=True)
class Grouping:
    """Which images share conditions.

    Attributes:
        names: ``(n,)`` tuples, None for a row without a group
        fields: what a tuple's members are, such as ``("corruption",
            "severity")``; the first names the condition
        clean: the groups without a corruption, which the correlation over
            groups leaves out (Drenkow & Unberath, section 2.2)
    """

    names: Sequence
    fields: tuple[str, ...]
    clean: frozenset = frozenset()

    @property
    def conditions(self) -> list:
        """``(n,)`` first members of the names, None without a group."""
        return [None if name is None else name[0] for name in self.names]


def metric_report(
    values: np.ndarray,
    correct: np.ndarray,
    name: str,
    higher_is_better: bool | None,
    source: np.ndarray,
    grouping: Grouping | None = None,
    identity: dict | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> dict:
    """Analyses one metric.

    Args:
        values: ``(n,)`` float, NaN where missing
        correct: ``(n,)`` 1 right, 0 wrong, NaN where unknown
        name: the metric's, for messages and the prior
        higher_is_better: its direction, or None
        source: ``(n,)`` original image of each row
        grouping: of the rows
        identity: the metric's frozen configuration
        n_resamples: of the groups' bootstrap
        seed: of splits and resamples

    Returns:
        JSON-serialisable ``{"distribution", "by_correctness", "groups",
        "correlation", "sensitivity", "predictability", "paper_raw",
        "prior", "notes"}``; what could not be computed is None and a
        sentence in notes says why
    """
    notes: list[str] = []
    distribution = distributions(values)[None].to_dict()
    found = {
        "distribution": distribution,
        "by_correctness": by_correctness(
            values, correct, distribution["bin_edges"]
        ),
        "groups": None,
        "correlation": None,
        "sensitivity": None,
    }
    if grouping is not None and all(name is None for name in grouping.names):
        notes.append(
            f"no row has a group; fill {' and '.join(grouping.fields)}"
        )
    elif grouping is not None:
        found |= _of_groups(
            values, correct, higher_is_better, grouping, n_resamples, seed
        )
        if found["correlation"] is None:
            notes.append(
                f"correlation over groups needs {MIN_GROUPS} groups with "
                "quality and correctness"
            )
        elif found["correlation"]["srcc"]["signed"]["value"] is None:
            notes.append(
                "correlation over groups is undefined: they all have one "
                "mean quality, or one accuracy"
            )

    fit = {
        "source": source,
        "higher_is_better": higher_is_better,
        "seed": seed,
    }
    found["predictability"] = predictability(values, correct, **fit).to_dict()
    found["paper_raw"] = predictability(
        values, correct, protocol="paper_raw", **fit
    ).to_dict()
    found["prior"] = prior_report(
        values[:, None],
        correct,
        [name],
        [higher_is_better],
        source,
        grouping,
        [identity],
        seed,
        notes,
    )
    return {**found, "notes": notes}


def prior_report(
    quality,
    correct,
    names,
    higher_is_better,
    source,
    grouping,
    identities,
    seed,
    notes,
) -> dict | None:
    """Returns a prior as a dict; None, and a note, where there is none."""
    try:
        return fit_prior(
            quality,
            correct,
            names,
            higher_is_better,
            source=source,
            group=grouping and grouping.names,
            condition=grouping and grouping.conditions,
            identities=identities,
            seed=seed,
        ).to_dict()
    except IQAError as e:
        notes.append(f"no prior: {e}")
        return None


def within_report(
    quality: np.ndarray,
    correct: np.ndarray,
    higher_is_better: Sequence[bool | None],
    source: np.ndarray,
    labels: Sequence | None,
    seed: int = 0,
) -> dict:
    """Analyses predictability with the content held fixed (appendix G).

    Args:
        quality: ``(n, m)`` float, NaN where missing
        correct: ``(n,)`` 1 right, 0 wrong, NaN where unknown
        higher_is_better: ``m`` directions
        source: ``(n,)`` original image of each row
        labels: ``(n,)`` true labels, or None
        seed: of the folds

    Returns:
        ``{"label", "source"}``: each a
        :class:`~.group_predictability.GroupPredictability` as a dict, or
        None where there are no labels, fewer than 10 rows per source, or no
        row with everything
    """
    found = {"label": None, "source": None}
    groups = {}
    if labels is not None:
        groups["label"] = np.asarray(labels, dtype=object)
    n_sources = len(set(source.tolist()))
    if len(source) >= MIN_VARIANTS * n_sources:
        groups["source"] = source
    for name, group in groups.items():
        # Metrics that were computed on different images share no row
        with contextlib.suppress(IQAError):
            found[name] = predictability_by_group(
                quality,
                correct,
                group,
                source=source,
                higher_is_better=higher_is_better,
                seed=seed,
            ).to_dict()
    return found


def by_correctness(values, correct, edges):
    """Returns right and wrong rows per bin; the rest are not judged."""
    return {
        name: np.histogram(values[correct == outcome], bins=edges)[0].tolist()
        for name, outcome in (("right", 1), ("wrong", 0))
    }


def _of_groups(values, correct, higher_is_better, grouping, n_resamples, seed):
    described = distributions(values, grouping.names)
    means = group_means(values, correct, grouping.names)
    accuracy_of = dict(zip(means.names, means.accuracy.tolist()))
    corrupted = np.array(
        [name not in grouping.clean for name in means.names], dtype=bool
    )
    found = None
    if corrupted.sum() >= MIN_GROUPS:
        found = correlation(
            means.quality[corrupted],
            means.accuracy[corrupted],
            n_resamples=n_resamples,
            seed=seed,
        ).to_dict()

    groups = [
        {
            "name": [_plain(value) for value in name],
            "clean": name in grouping.clean,
            "n": d.n,
            "n_missing": d.n_missing,
            "mean": d.mean,
            "std": d.std,
            "accuracy": accuracy_of.get(name),
            "quantiles": d.to_dict()["quantiles"],
            "counts": list(d.counts),
        }
        for name, d in described.items()
    ]
    return {
        "groups": {"fields": list(grouping.fields), "rows": groups},
        "correlation": found,
        "sensitivity": _sensitivity(
            values, groups, higher_is_better, grouping
        ),
    }


def _plain(value):
    """Returns a value that JSON has: dates and ids as text."""
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _sensitivity(values, groups, higher_is_better, grouping):
    """D1: does quality fall with severity, and by how much when corrupted.

    Returns:
        ``trend``: mean over conditions of Spearman's correlation between
        severity (clean is 0) and mean quality, times -1 where lower is
        better: -1 if quality always falls. ``effect_size``: Cohen's d of
        clean against corrupted images, positive if clean ones are better.
        None where severities, or clean images, are missing, or the metric
        never changes
    """
    known = np.isfinite(values)
    if np.ptp(values[known]) == 0:
        return {"trend": None, "effect_size": None}

    sign = -1.0 if higher_is_better is False else 1.0
    trend = None
    if "severity" in grouping.fields[1:]:
        trend = _trend(groups, grouping)

    clean = np.array([name in grouping.clean for name in grouping.names])
    grouped = np.array([name is not None for name in grouping.names])
    a, b = values[clean & known], values[grouped & ~clean & known]
    effect = None
    if len(a) > 1 and len(b) > 1:
        spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
        if spread > 0:
            effect = float(sign * (a.mean() - b.mean()) / spread)
    return {
        "trend": None if trend is None else sign * trend,
        "effect_size": effect,
    }


def _trend(groups, grouping):
    from scipy.stats import spearmanr

    position = grouping.fields.index("severity")
    clean = [g["mean"] for g in groups if g["clean"] and g["n"]]
    by_condition: dict = {}
    for group in groups:
        if not group["clean"] and group["n"]:
            points = by_condition.setdefault(group["name"][0], {})
            points.setdefault(group["name"][position], []).append(
                group["mean"]
            )
    trends = []
    for points in by_condition.values():
        if clean:
            points[0] = clean
        means = {s: np.mean(v) for s, v in points.items()}
        if len(means) > 2 and len(set(means.values())) > 1:
            trends.append(spearmanr(*zip(*means.items())).statistic)
    return float(np.mean(trends)) if trends else None
