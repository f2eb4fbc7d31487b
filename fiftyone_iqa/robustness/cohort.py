"""The QUBA score: nine dimensions of a model against a cohort of models.

Hesse et al. 2025, "Beyond Accuracy: What Matters in Designing Well-Behaved
Models?": each dimension's distance from the cohort's mean, in its standard
deviations, turned so that more is better, and their weighted mean. Constants
are those of github.com/visinf/beyond-accuracy (Apache-2.0), ``data_utils.py``.
Pure numpy.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ..analysis.estimate import Estimate
from ..errors import IQAError

QUBA, QUBA_STYLE = "QUBA", "QUBA-style"
_Z = 1.96


@dataclass(frozen=True)
class Spec:
    """What a dimension is.

    Attributes:
        key: its name in code
        title: its name in tables
        sign: 1 where more is better, -1 where less is
        weight: the published one
        unit: what a value is in
    """

    key: str
    title: str
    sign: int
    weight: float
    unit: str = "share"


DIMENSIONS = (
    Spec("accuracy", "Accuracy", 1, 1.0),
    Spec("adversarial_robustness", "Adversarial robustness", 1, 1 / 3),
    Spec("corruption_robustness", "Corruption robustness", 1, 1 / 3),
    Spec("ood_robustness", "OOD robustness", 1, 1 / 3),
    Spec("calibration_error", "Calibration error", -1, 1.0),
    Spec("class_balance", "Class balance", 1, 1.0),
    Spec("object_focus", "Object focus", 1, 0.5),
    Spec("shape_bias", "Shape bias", 1, 0.5),
    Spec("parameters", "Parameters", -1, 1.0, "millions"),
)
KEYS = tuple(spec.key for spec in DIMENSIONS)
WEIGHTS = {spec.key: spec.weight for spec in DIMENSIONS}


@dataclass(frozen=True)
class Cohort:
    """The models that others are compared with.

    Attributes:
        name: what to call it
        mean: of each dimension, by key
        std: of each dimension, by key
    """

    name: str
    mean: dict[str, float]
    std: dict[str, float]

    def to_dict(self) -> dict:
        """Returns JSON-serialisable values."""
        return {"name": self.name, "mean": self.mean, "std": self.std}


PUBLISHED = Cohort(
    "ImageNet-1k, Hesse et al. 2025",
    dict(
        zip(
            KEYS,
            (
                0.7990557251908397,
                0.18583778826016084,
                0.5298791080592711,
                0.5664841617855405,
                0.004479927389289115,
                0.783356376851669,
                0.9286352601551336,
                0.30548520497464765,
                55.28778625954198,
            ),
        )
    ),
    dict(
        zip(
            KEYS,
            (
                0.034685710545946026,
                0.11083062192390095,
                0.23383978329969085,
                0.14548627504237352,
                0.0026752085291489288,
                0.024047971612660052,
                0.017724144886557092,
                0.08354531823072534,
                42.8890536095964,
            ),
        )
    ),
)


def cohort_of(models: Iterable[Mapping], name: str) -> Cohort:
    """Returns the cohort that models form.

    Args:
        models: values by dimension of each model; None where not measured
        name: what to call it

    Returns:
        a :class:`Cohort` of the dimensions that at least two models have
        and that differ; the deviation is that of a sample
    """
    models = list(models)
    mean, std = {}, {}
    for key in KEYS:
        column = [m.get(key) for m in models]
        column = np.array([v for v in column if v is not None], dtype=float)
        if len(column) > 1 and np.ptp(column) > 0:
            mean[key] = float(column.mean())
            std[key] = float(column.std(ddof=1))
    return Cohort(name, mean, std)


@dataclass(frozen=True)
class Score:
    """A model's score.

    Attributes:
        name: ``"QUBA"`` or ``"QUBA-style"``
        estimate: the score; its interval takes the dimensions' errors to be
            independent and the cohort to be known
        z: of each dimension that counts, turned so that more is better
        weights: of those dimensions, that sum to 1
        left_out: dimension → why it does not count
        cohort: name of the cohort
    """

    name: str
    estimate: Estimate
    z: dict[str, float]
    weights: dict[str, float]
    left_out: dict[str, str]
    cohort: str

    @property
    def value(self) -> float | None:
        """The score; None where no dimension counts."""
        return self.estimate.value


def quba_score(
    values: Mapping,
    cohort: Cohort = PUBLISHED,
    weights: Mapping | None = None,
    by_protocol: Iterable[str] = (),
) -> Score:
    """Computes the score of a model.

    ``Σ w · s · (x − μ) / σ / Σ w`` over the dimensions that have a value and
    a weight above 0: those missing are left out and named, and the weights
    of the others renormalised.

    Args:
        values: by dimension, a float, an :class:`Estimate` or None
        cohort (PUBLISHED): the means and deviations
        weights (None): by dimension, by default the published ones; 0 for
            dimensions that it does not name
        by_protocol (()): dimensions that were measured by the paper's
            protocol; the score is called QUBA only where all nine were, the
            cohort is the published one and so are the weights

    Returns:
        a :class:`Score`

    Raises:
        IQAError: if a dimension is unknown or a weight is unusable
    """
    weights = check_weights(weights)
    unknown = [key for key in values if key not in KEYS]
    if unknown:
        raise IQAError(_no_dimension(unknown[0]))

    z, errors, used, left_out = {}, {}, {}, {}
    for spec in DIMENSIONS:
        key, value = spec.key, values.get(spec.key)
        if not isinstance(value, Estimate):
            value = Estimate(value)
        if not weights[key]:
            left_out[key] = "weight 0"
        elif value.value is None:
            left_out[key] = "not measured"
        elif not cohort.std.get(key):
            left_out[key] = f"no spread in the cohort ({cohort.name})"
        else:
            deviation = cohort.std[key]
            used[key] = weights[key]
            z[key] = spec.sign * (value.value - cohort.mean[key]) / deviation
            if value.low is not None and value.high is not None:
                errors[key] = (value.high - value.low) / (2 * _Z * deviation)

    is_quba = (
        set(by_protocol) >= set(KEYS)
        and cohort == PUBLISHED
        and all(math.isclose(weights[k], WEIGHTS[k]) for k in KEYS)
    )
    name = QUBA if is_quba and not left_out else QUBA_STYLE
    total = sum(used.values())
    if not total:
        none = Estimate(None)
        return Score(name, none, z, used, left_out, cohort.name)

    used = {key: weight / total for key, weight in used.items()}
    value = sum(used[key] * z[key] for key in used)
    reach = _Z * math.hypot(*(used[k] * errors[k] for k in errors))
    estimate = Estimate(value, value - reach, value + reach)
    if not errors:
        estimate = Estimate(value)
    return Score(name, estimate, z, used, left_out, cohort.name)


def check_weights(weights: Mapping | None) -> dict[str, float]:
    """Returns a weight for each dimension.

    Args:
        weights: by dimension, 0 for those it does not name; None for the
            published ones

    Raises:
        IQAError: if a dimension is unknown, a weight is negative or no
            number, or all are 0
    """
    if weights is None:
        return dict(WEIGHTS)
    if not isinstance(weights, Mapping):
        raise IQAError(
            "weights must be a dict from dimension to a number, such as "
            "{'accuracy': 1, 'corruption_robustness': 2}"
        )
    for key, weight in weights.items():
        if key not in KEYS:
            raise IQAError(_no_dimension(key))
        if (
            isinstance(weight, bool)
            or not isinstance(weight, numbers.Real)
            or not 0 <= weight < math.inf
        ):
            raise IQAError(
                f"The weight of {key!r} must be a number from 0, not "
                f"{weight!r}; what is better is known of each dimension"
            )
    if not any(weights.values()):
        raise IQAError("All weights are 0; give one dimension a weight")
    return {key: float(weights.get(key, 0)) for key in KEYS}


def _no_dimension(key):
    return f"There is no dimension {key!r}; there are {', '.join(KEYS)}"
