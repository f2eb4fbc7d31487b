"""The brain run of model quality: nine dimensions of several models.

The import path of these classes is stored in people's databases: it must
never change. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping

import fiftyone.core.brain as fob

from ..errors import IQAError
from .cohort import (
    DIMENSIONS,
    KEYS,
    PUBLISHED,
    Cohort,
    Score,
    check_weights,
    cohort_of,
    quba_score,
)
from .dimensions import Measured

SCHEMA = 1
RUN_TYPE = "model_quality"
OWN = "the models compared"


class ModelQualityConfig(fob.BrainMethodConfig):
    """What a run measured and how.

    Args:
        models (None): names of the task models
        ground_truth (None): field of the true labels
        collections (None): what the other collections were, by dimension
        max_attacked (None): how many images were attacked
        max_corrupted (None): how many were corrupted
        seed (51): of draws, attacks and corruptions
    """

    def __init__(
        self,
        models=None,
        ground_truth=None,
        collections=None,
        max_attacked=None,
        max_corrupted=None,
        seed=51,
        **kwargs,
    ):
        self.models = models
        self.ground_truth = ground_truth
        self.collections = collections
        self.max_attacked = max_attacked
        self.max_corrupted = max_corrupted
        self.seed = seed
        super().__init__(**kwargs)

    @property
    def type(self):
        """``"model_quality"``."""
        return RUN_TYPE

    @property
    def method(self):
        """``"quba-style"``."""
        return "quba-style"


class ModelQuality(fob.BrainMethod):
    """Measures task models on a dataset's images. It writes no field."""

    def get_fields(self, samples, brain_key):
        """Returns the fields the run read."""
        return [self.config.ground_truth]

    def cleanup(self, samples, brain_key):
        """Deletes nothing: the run wrote no field."""

    def rename(self, samples, brain_key, new_brain_key):
        """Changes nothing: no field bears the key."""


class ModelQualityResults(fob.BrainResults):
    """Dimensions of models; scores and ranks are computed when asked for.

    Args:
        samples: the collection the run read
        config: its :class:`ModelQualityConfig`
        brain_key: its key
        report: what was found, JSON-serialisable
        backend (None): the :class:`ModelQuality`
    """

    def __init__(self, samples, config, brain_key, report, backend=None):
        super().__init__(samples, config, brain_key, backend=backend)
        self.report = report

    @property
    def models(self) -> list[str]:
        """The models' slugs."""
        return list(self.report["models"])

    def dimensions(self, model: str) -> dict[str, Measured]:
        """Returns a model's dimensions by key.

        Args:
            model: its slug

        Raises:
            IQAError: if the run has no such model
        """
        if model not in self.report["models"]:
            raise IQAError(
                f"This run has no model {model!r}; it has "
                f"{', '.join(self.models)}"
            )
        return dimensions_of(self.report, model)

    def table(self):
        """Returns a table: a row per model and dimension.

        Columns are value, interval, what it was measured on, and where it
        was not measured what that needs.
        """
        import pandas as pd

        rows = []
        for model in self.models:
            for spec in DIMENSIONS:
                found = self.dimensions(model)[spec.key]
                rows.append(
                    {
                        "model": model,
                        "dimension": spec.key,
                        "value": found.value,
                        "low": found.estimate.low,
                        "high": found.estimate.high,
                        "better": "higher" if spec.sign > 0 else "lower",
                        "measured_on": found.measured_on,
                        "needs": found.needs,
                        "by_protocol": found.by_protocol,
                    }
                )
        return pd.DataFrame(rows)

    def score(self, weights=None, cohort=None) -> dict[str, Score]:
        """Scores the models; see :func:`scores`."""
        return scores(self.report, weights, cohort)

    def rank(self, weights=None, cohort=None):
        """Returns a table: the models by score, the best first.

        Args:
            weights (None): as :meth:`score` takes them
            cohort (None): as :meth:`score` takes it
        """
        import pandas as pd

        found = self.score(weights, cohort)
        rows = []
        for place, (model, score) in enumerate(ranked(found), 1):
            rows.append(
                {
                    "rank": place if score.value is not None else None,
                    "model": model,
                    "score": score.value,
                    "low": score.estimate.low,
                    "high": score.estimate.high,
                    **{key: score.z.get(key) for key in KEYS},
                    "left_out": ", ".join(score.left_out),
                    "name": score.name,
                    "cohort": score.cohort,
                }
            )
        return pd.DataFrame(rows)

    def plot(self, kind="radar"):
        """Returns a Plotly figure.

        Args:
            kind ("radar"): all models in one figure, or ``"bars"``, with
                intervals, a plot per dimension
        """
        from .profile_plots import figure

        return figure(self.report, kind)

    def summary(self) -> str:
        """Returns what was found as text."""
        lines = []
        for model in self.models:
            lines.append(model)
            for spec in DIMENSIONS:
                found = self.dimensions(model)[spec.key]
                lines.append(f"  {spec.title}: {found}")
        return "\n".join(lines)

    def get_meta(self):
        """Returns what is worth knowing without loading the run."""
        return {
            "schema": self.report["schema"],
            "n": self.report["n"],
            "models": self.models,
        }

    def attributes(self):
        """Returns what is stored."""
        return ["cls", "report"]

    @classmethod
    def _from_dict(cls, d, samples, config, key):
        report = d["report"]
        if report["schema"] > SCHEMA:
            raise IQAError(
                f"Run {key!r} was stored by a later version (schema "
                f"{report['schema']}, this reads up to {SCHEMA}): upgrade "
                "fiftyone-iqa"
            )
        return cls(samples, config, key, report)


def dimensions_of(report, model) -> dict[str, Measured]:
    """Returns a model's dimensions out of a run's report."""
    stored = report["models"][model]["dimensions"]
    return {key: Measured.from_dict(stored[key]) for key in KEYS}


def ranked(found: Mapping[str, Score]) -> list[tuple[str, Score]]:
    """Returns models and scores, the best first, those without one last."""

    def order(item):
        value = item[1].value
        return (value is None, -(value or 0.0))

    return sorted(found.items(), key=order)


def scores(report, weights=None, cohort=None) -> dict[str, Score]:
    """Scores the models of a run's report, on what all of them have.

    A dimension that one model lacks is left out for all, so that scores
    compare.

    Args:
        report: a run's
        weights (None): by dimension, by default the published ones
        cohort (None): ``"published"``, the paper's models; ``"models"``,
            those of the run; a :class:`fiftyone_iqa.robustness.cohort.Cohort`
            ; or a dict of models, each a dict from dimension to value. By
            default the published one where every value was measured by the
            paper's protocol, else the run's own models

    Returns:
        ``{slug: Score}``

    Raises:
        IQAError: if weights or cohort are unusable, or one model is to be
            compared with itself
    """
    weights = check_weights(weights)
    measured = {
        model: dimensions_of(report, model) for model in report["models"]
    }
    estimates = {
        model: {key: one.estimate for key, one in found.items()}
        for model, found in measured.items()
    }
    lacking = {
        key: [m for m, found in estimates.items() if found[key].value is None]
        for key in KEYS
    }
    cohort = _cohort(cohort, measured)
    result = {}
    for model, found in estimates.items():
        kept = {k: v for k, v in found.items() if not lacking[k]}
        protocol = [k for k, one in measured[model].items() if one.by_protocol]
        score = quba_score(kept, cohort, weights, protocol)
        for key, models in lacking.items():
            if models and model not in models and weights[key]:
                score.left_out[key] = f"not measured of {', '.join(models)}"
        result[model] = score
    return result


def _cohort(cohort, measured) -> Cohort:
    if isinstance(cohort, Cohort):
        return cohort
    values = [
        {key: one.value for key, one in found.items()}
        for found in measured.values()
    ]
    if cohort is None:
        by_protocol = all(
            one.by_protocol
            for found in measured.values()
            for one in found.values()
            if one.value is not None
        )
        cohort = "published" if by_protocol else "models"
    if cohort == "published":
        return PUBLISHED
    if cohort == "models":
        if len(values) < 2:
            raise IQAError(
                "One model has nothing to be compared with: its values are "
                "not all of the paper's protocol. Measure several models, or "
                "pass cohort= a dict of models, or 'published' all the same"
            )
        return cohort_of(values, OWN)
    if isinstance(cohort, Mapping):
        return _declared(cohort)
    raise IQAError(
        "cohort must be 'published', 'models', a Cohort, or a dict of "
        f"models, each a dict from dimension to value; got {cohort!r}"
    )


def _declared(models) -> Cohort:
    for name, values in models.items():
        usable = isinstance(values, Mapping) and all(
            key in KEYS
            and (
                value is None
                or (
                    isinstance(value, (int, float))
                    and not isinstance(value, bool)
                    and value == value
                )
            )
            for key, value in values.items()
        )
        if not usable:
            raise IQAError(
                f"Model {name!r} of the cohort must be a dict from dimension "
                f"({', '.join(KEYS)}) to a number"
            )
    if len(models) < 2:
        raise IQAError("A cohort needs at least two models")
    return cohort_of(models.values(), f"{len(models)} declared models")
