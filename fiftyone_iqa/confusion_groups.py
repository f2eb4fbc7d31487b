"""Images in bands of a score, 0 the easiest; weights for a trainer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .arguments import checked
from .errors import IQAError
from .scoring.source import SampleSource, open_source
from .views import direction, metric_field

HARD_SHARE = 0.2


@checked
def confusion_weights(
    samples,
    metric="confusion",
    quantile=None,
    edges=None,
    higher_is_better=None,
):
    """Returns weights for your own trainer that make bands count alike.

    Each band of the score gets the same total weight; weights are 1 on
    average. Draw images with them, or multiply their losses.

    Args:
        samples: a dataset or view of images
        metric ("confusion"): a quality field
        quantile (None): share of the images that is hard, by default 0.2,
            where there are no ``edges``
        edges (None): scores between bands, instead of ``quantile``
        higher_is_better (None): for a metric without a direction

    Returns:
        a ``pandas.DataFrame``, a row per image that has a score: ``id``,
        ``filepath``, ``score``, ``group`` (0 is the easiest) and ``weight``

    Raises:
        IQAError: if the field is missing or no quality metric, or a band is
            empty
    """
    import pandas as pd

    source = image_source(samples)
    ids, paths, *_ = source.read([])
    field, hardness = read_hardness(source, metric, higher_is_better)
    known = np.flatnonzero(np.isfinite(hardness))
    bands = ScoreBands(field, hardness[known], quantile, edges)
    group = bands.of(hardness[known])
    n = np.bincount(group, minlength=bands.n)
    bands.check(n)
    weight = len(known) / (bands.n * n)
    return pd.DataFrame(
        {
            "id": [ids[i] for i in known],
            "filepath": [paths[i] for i in known],
            "score": bands.sign * hardness[known],
            "group": group,
            "weight": weight[group],
        }
    )


class ScoreBands:
    """Bands of a score, 0 the easiest.

    Args:
        field: the :class:`MetricField`, with a direction
        hardness: ``(n,)`` scores of the training images, high meaning hard
        quantile: share that is hard, or None
        edges: scores between bands, or None

    Attributes:
        n: how many bands there are
        sign: -1 where high scores mean quality, else 1

    Raises:
        IQAError: if both are given, or there are no scores
    """

    def __init__(self, field, hardness, quantile, edges):
        self._name = field.path
        self.sign = -1.0 if field.higher_is_better else 1.0
        if quantile is not None and edges is not None:
            raise IQAError("Pass quantile= or edges=, not both")
        if not len(hardness):
            raise IQAError(
                f"No image to train on has a score in {self._name!r}"
            )
        if edges is None:
            share = HARD_SHARE if quantile is None else quantile
            inner = [np.quantile(hardness, 1 - share)]
        else:
            inner = sorted({self.sign * edge for edge in edges})
        self._inner = np.array(inner, dtype=float)
        self.n = len(inner) + 1

    def of(self, hardness):
        """Returns the bands of scores."""
        return np.searchsorted(self._inner, hardness, side="right")

    def check(self, counts):
        """Raises an IQAError where a band has nothing to train on."""
        if self.n < 2 or not counts.all():
            raise IQAError(
                f"Bands of {self._name!r} have "
                f"{', '.join(map(str, counts))} images with a label; each "
                "needs some: pass other edges= or another quantile="
            )

    def table(self, n_train, n_test, weight, image_weight):
        """Returns what the report says of each band."""
        ends = [None, *(self.sign * self._inner), None]
        rows = []
        for i in range(self.n):
            low, high = ends[i], ends[i + 1]
            if self.sign < 0:
                low, high = high, low
            rows.append(
                {
                    "group": i,
                    "low": None if low is None else float(low),
                    "high": None if high is None else float(high),
                    "n_train": int(n_train[i]),
                    "n_test": int(n_test[i]),
                    "weight": float(weight[i]),
                    "image_weight": float(image_weight[i]),
                }
            )
        return tuple(rows)


def image_source(samples) -> SampleSource:
    """Returns the source of images; refuses objects and frames."""
    source = open_source(samples)
    if type(source) is not SampleSource:
        raise IQAError("Bands of confusion are of images, not of objects")
    return source


def read_hardness(source, metric, higher_is_better):
    """Returns the field, and ``(n,)`` scores turned so that high is hard."""
    field = metric_field(source.samples, metric)
    better = direction(field, higher_is_better)
    values = np.array(source.samples.values(field.path), dtype=float)
    named = replace(field, direction="higher" if better else "lower")
    return named, -values if better else values
