"""Views of poor images, and of where quality and correctness disagree."""

from __future__ import annotations

import numbers
from dataclasses import asdict, dataclass

import numpy as np

from .arguments import checked
from .errors import IQAError
from .quality_columns import (
    MetricField,
    metric_fields,
    object_root,
    read_scores,
)
from .selection import image_samples, select

LOW_SHARE = 0.05
GOOD_SHARE = 0.25


@dataclass(frozen=True)
class Cut:
    """Where good and poor quality part.

    Attributes:
        metric: the field
        higher_is_better: its direction
        threshold: in units of the metric; the threshold itself is poor
        quantile: share of the scores that the threshold was put at, counted
            from the poorest (or, of good images, from the best); None where
            the threshold was given
    """

    metric: str
    higher_is_better: bool
    threshold: float
    quantile: float | None

    @property
    def poor(self) -> dict:
        """The condition that quality is poor; None never is."""
        sign = "$lte" if self.higher_is_better else "$gte"
        return {self.metric: {sign: self.threshold}}

    @property
    def good(self) -> dict:
        """The condition that quality is better than the threshold."""
        sign = "$gt" if self.higher_is_better else "$lt"
        return {self.metric: {sign: self.threshold}}

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return asdict(self)


@checked
def low_quality_view(
    samples, metric, quantile=None, threshold=None, higher_is_better=None
):
    """Returns the view of the images, or objects, of poor quality.

    Images without a score are never in it. Of a metric of objects the view
    has the samples with poor objects, and only those objects
    (``to_patches()`` shows them one by one).

    Args:
        samples: a dataset or view
        metric: a quality field, or a metric that has one field
        quantile (None): share of the scores that is poor, ties with the last
            of them included; by default 0.05 where there is no threshold
        threshold (None): quality at which and below which (above which,
            where lower is better) images are poor
        higher_is_better (None): for a metric without a direction, whether
            the poor ones are those of low values

    Raises:
        IQAError: if the field is missing or no quality metric, its direction
            is open, both ``quantile`` and ``threshold`` are given, or there
            is no score
    """
    samples = image_samples(samples)
    field = metric_field(samples, metric)
    cut = low_cut(samples, field, quantile, threshold, higher_is_better)
    return select(samples, cut.poor)


@checked
def good_quality_but_wrong(
    samples,
    metric,
    correctness="iqa_correct",
    quantile=None,
    threshold=None,
    higher_is_better=None,
):
    """Returns the view of good images that the task model got wrong.

    Quality does not explain these: look for wrong labels and odd content.

    Args:
        samples: a dataset or view
        metric: a quality field, or a metric that has one field
        correctness ("iqa_correct"): the boolean field
        quantile (None): share of the scores that is good; by default 0.25,
            the best quarter, where there is no threshold
        threshold (None): quality above which (below which, where lower is
            better) images are good
        higher_is_better (None): see :func:`low_quality_view`

    Raises:
        IQAError: see :func:`low_quality_view`; or ``correctness`` is no
            boolean field of the same images or objects
    """
    samples = image_samples(samples)
    field = metric_field(samples, metric)
    check_correctness(samples, field, correctness)
    cut = good_cut(samples, field, quantile, threshold, higher_is_better)
    return select(samples, {**cut.good, correctness: False})


@checked
def poor_quality_but_right(
    samples,
    metric,
    correctness="iqa_correct",
    quantile=None,
    threshold=None,
    higher_is_better=None,
):
    """Returns the view of poor images that the task model got right.

    Args:
        samples: a dataset or view
        metric: a quality field, or a metric that has one field
        correctness ("iqa_correct"): the boolean field
        quantile (None): see :func:`low_quality_view`
        threshold (None): see :func:`low_quality_view`
        higher_is_better (None): see :func:`low_quality_view`

    Raises:
        IQAError: see :func:`good_quality_but_wrong`
    """
    samples = image_samples(samples)
    field = metric_field(samples, metric)
    check_correctness(samples, field, correctness)
    cut = low_cut(samples, field, quantile, threshold, higher_is_better)
    return select(samples, {**cut.poor, correctness: True})


def metric_field(samples, metric) -> MetricField:
    """Returns the one field of a metric.

    Raises:
        IQAError: if there is none, or more than one
    """
    fields = metric_fields(samples, metric)
    if len(fields) > 1:
        names = ", ".join(field.path for field in fields)
        raise IQAError(f"Name one field, not all of {metric!r}: {names}")
    return fields[0]


def direction(field: MetricField, higher_is_better: bool | None) -> bool:
    """Returns which way a field is better.

    Raises:
        IQAError: if neither the field nor the caller says, or they disagree
    """
    known = field.higher_is_better
    if higher_is_better not in (None, True, False):
        raise IQAError(
            f"higher_is_better must be True or False, not {higher_is_better!r}"
        )
    if known is None and higher_is_better is None:
        raise IQAError(
            f"{field.path!r} has no direction: noise may raise it and blur "
            "lower it. Pass higher_is_better=True to take low values for "
            "poor, or False to take high ones"
        )
    if None not in (known, higher_is_better) and known != higher_is_better:
        raise IQAError(
            f"Of {field.path!r} {field.direction} is better; leave out "
            "higher_is_better="
        )
    return bool(known if higher_is_better is None else higher_is_better)


def low_cut(
    samples, field, quantile=None, threshold=None, higher_is_better=None
) -> Cut:
    """Returns where poor quality ends; see :func:`low_quality_view`."""
    higher = direction(field, higher_is_better)
    _check_cut(quantile, threshold)
    if threshold is not None:
        return Cut(field.path, higher, float(threshold), None)

    share = LOW_SHARE if quantile is None else float(quantile)
    scores = _scores(samples, field)
    # The least value that at least this share is at or below
    last = max(1, int(np.ceil(share * len(scores) - 1e-9)))
    position = last - 1 if higher else len(scores) - last
    value = np.partition(scores, position)[position]
    return Cut(field.path, higher, float(value), share)


def good_cut(
    samples, field, quantile=None, threshold=None, higher_is_better=None
) -> Cut:
    """Returns where good quality starts: above the threshold."""
    higher = direction(field, higher_is_better)
    _check_cut(quantile, threshold)
    if threshold is not None:
        return Cut(field.path, higher, float(threshold), None)

    share = GOOD_SHARE if quantile is None else float(quantile)
    scores = _scores(samples, field)
    first = max(1, int(np.ceil(share * len(scores) - 1e-9)))
    position = len(scores) - first if higher else first - 1
    value = np.partition(scores, position)[position]
    # The threshold is poor: the next number is the least that is good
    value = np.nextafter(value, -np.inf if higher else np.inf)
    return Cut(field.path, higher, float(value), share)


def check_correctness(samples, field: MetricField, correctness) -> None:
    """Refuses what is no correctness of a metric's images or objects.

    Raises:
        IQAError: if it is none
    """
    import fiftyone as fo

    found = None
    if isinstance(correctness, str):
        found = samples.get_field(correctness)
    if not isinstance(found, fo.BooleanField):
        has = "has no" if found is None else "has a non-boolean"
        raise IQAError(
            f"Dataset {samples._root_dataset.name!r} {has} field "
            f"{correctness!r}; compute_correctness() writes a boolean one"
        )
    roots = [object_root(samples, p) for p in (field.path, correctness)]
    if roots[0] != roots[1]:
        raise IQAError(
            f"{field.path!r} and {correctness!r} belong to different things: "
            "name quality and correctness both of images, or of the same "
            "objects"
        )


def _check_cut(quantile, threshold):
    if quantile is not None and threshold is not None:
        raise IQAError("Pass quantile= or threshold=, not both")
    if quantile is not None and not (
        isinstance(quantile, numbers.Real) and 0 < quantile < 1
    ):
        raise IQAError(
            f"quantile must be between 0 and 1, such as 0.05, not {quantile!r}"
        )
    if threshold is not None and not (
        isinstance(threshold, numbers.Real) and np.isfinite(threshold)
    ):
        raise IQAError(f"threshold must be a number, not {threshold!r}")


def _scores(samples, field):
    scores = read_scores(samples, field.path)
    if not len(scores):
        raise IQAError(
            f"Field {field.path!r} has no score here; compute it first, or "
            "pass threshold="
        )
    return scores
