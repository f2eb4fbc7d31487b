"""The brain run: quality against correctness, kept with the dataset.

The import path of these classes is stored in people's databases: it must
never change. Nothing here imports torch, so that a run loads where models
do not.
"""

from __future__ import annotations

import fiftyone.core.brain as fob
import numpy as np

from .analysis.between import BetweenConditions
from .analysis.distribution import Distribution, distance, distributions
from .analysis.expected import ExpectedAccuracy
from .analysis.prior import QualityPrior
from .desiderata import JOINT, Card, cards, summary
from .errors import IQAError
from .expectation import expected_accuracy
from .quality_columns import QualityColumns, label_path, metric_fields
from .slices import SliceTable

SCHEMA = 1


class ImageQualityConfig(fob.BrainMethodConfig):
    """What a run read and how.

    Args:
        metrics (None): paths of the quality fields
        correctness (None): path of the boolean field
        group_by (None): fields whose values together are a group
        ground_truth (None): path of the true labels
        source (None): field that names the original image
        n_resamples (1000): bootstrap resamples of the groups
        seed (51): of splits and resamples
    """

    def __init__(
        self,
        metrics=None,
        correctness=None,
        group_by=None,
        ground_truth=None,
        source=None,
        n_resamples=1000,
        seed=51,
        **kwargs,
    ):
        self.metrics = metrics
        self.correctness = correctness
        self.group_by = group_by
        self.ground_truth = ground_truth
        self.source = source
        self.n_resamples = n_resamples
        self.seed = seed
        super().__init__(**kwargs)

    @property
    def type(self):
        """``"image_quality"``."""
        return "image_quality"

    @property
    def method(self):
        """``"quality-prior"``."""
        return "quality-prior"


class ImageQuality(fob.BrainMethod):
    """Relates quality fields to correctness. It writes no field."""

    def get_fields(self, samples, brain_key):
        """Returns the fields the run read."""
        config = self.config
        fields = [
            *config.metrics,
            config.correctness,
            *(config.group_by or []),
        ]
        return [f for f in [*fields, config.ground_truth, config.source] if f]

    def cleanup(self, samples, brain_key):
        """Deletes nothing: the fields belong to those who computed them."""

    def rename(self, samples, brain_key, new_brain_key):
        """Changes nothing: no field bears the key."""


class ImageQualityResults(fob.BrainResults):
    """Aggregates of a run; the scores themselves stay in their fields.

    Args:
        samples: the collection the run read
        config: its :class:`ImageQualityConfig`
        brain_key: its key
        report: what was found, JSON-serialisable
        backend (None): the :class:`ImageQuality`
    """

    def __init__(self, samples, config, brain_key, report, backend=None):
        super().__init__(samples, config, brain_key, backend=backend)
        self.report = report

    @property
    def metrics(self) -> list[str]:
        """The fields, the most predictive first."""
        return sorted(
            self.report["metrics"],
            key=lambda name: -(self._auc(name) or 0.0),
        )

    def distribution(self, metric=None, by=None) -> dict:
        """Describes how a metric is distributed.

        Args:
            metric (None): a field of the run, by default the most predictive
            by (None): a field (or several) whose values are groups, or
                ``"tags"``; read from the samples as they are now

        Returns:
            ``{group: Distribution}``; the one group is None without ``by``
        """
        metric = self._metric(metric)
        if by is None:
            stored = self.report["metrics"][metric]["distribution"]
            return {None: Distribution.from_dict(stored)}

        columns = self._columns(self.samples, [metric])
        values = columns.quality[:, 0]
        if by != "tags":
            return distributions(values, columns.names(by))

        edges = distributions(values)[None].bin_edges
        return {
            tag: distributions(values[rows], bins=edges)[None]
            for tag, rows in columns.tags().items()
            if np.isfinite(values[rows]).any()
        }

    def correlation(self):
        """Returns a table: KRCC, SRCC and PLCC of each metric over groups.

        Columns are coefficient, its interval and p, ``signed`` and
        ``absolute``. Empty where the run had no groups.
        """
        import pandas as pd

        rows = []
        for name in self.metrics:
            found = self.report["metrics"][name]["correlation"]
            if found is None:
                continue
            for key in ("srcc", "krcc", "plcc"):
                signed, absolute = found[key]["signed"], found[key]["absolute"]
                rows.append(
                    {
                        "metric": name,
                        "coefficient": key.upper(),
                        "signed": signed["value"],
                        "low": signed["low"],
                        "high": signed["high"],
                        "absolute": absolute["value"],
                        "absolute_low": absolute["low"],
                        "absolute_high": absolute["high"],
                        "p": found[key]["p"],
                        "n_groups": found["n_groups"],
                    }
                )
        return pd.DataFrame(rows)

    def predictability(self, protocol="standardised"):
        """Returns a table: how well each metric predicts correctness.

        Args:
            protocol ("standardised"): or ``"paper_raw"``, the paper's fit of
                the unscaled metric
        """
        import pandas as pd

        key = "paper_raw" if protocol == "paper_raw" else "predictability"
        found = {
            name: self.report["metrics"][name][key] for name in self.metrics
        }
        joint = self.report["joint"]
        if key != "paper_raw" and joint and joint["predictability"]:
            found[JOINT] = joint["predictability"]
        return pd.DataFrame(
            [
                {
                    "metric": name,
                    "auc": p["auc"]["value"],
                    "auc_low": p["auc"]["low"],
                    "auc_high": p["auc"]["high"],
                    "fitted_auc": p["fitted_auc"]["value"],
                    "fitted_low": p["fitted_auc"]["low"],
                    "fitted_high": p["fitted_auc"]["high"],
                    "cross_entropy": p["cross_entropy"]["value"],
                    "base_entropy": p["base_entropy"],
                    "brier": p["brier"],
                    "calibration_error": p["calibration_error"],
                    "n": p["n"],
                    "n_sources": p["n_sources"],
                }
                for name, p in found.items()
            ]
        )

    def slices(self, metric=None) -> SliceTable:
        """Returns the slices that the run found worst, at most 30.

        Args:
            metric (None): a field of the run, by default the most predictive

        Raises:
            IQAError: if the run has none of it: the metric has no direction,
                or an earlier version built the run
        """
        metric = self._metric(metric)
        found = self.report.get("slices", {})
        if metric not in found:
            raise IQAError(
                f"Run {self.key!r} has no slices by {metric!r}; call "
                f"find_slices(samples, {metric!r}, "
                f"{self.config.correctness!r})"
            )
        return SliceTable.from_dict(found[metric], self.samples)

    def within(self, content="label") -> dict | None:
        """Returns predictability with the content held fixed (appendix G).

        Args:
            content ("label"): or ``"source"``, each original over its
                conditions
        """
        return self.report["within"][content]

    def prior(self, metric=None) -> QualityPrior:
        """Returns the performance prior.

        Args:
            metric (None): a field of the run, or ``"joint"`` for all of
                them; by default the single field that predicted left-out
                conditions best or, without groups, what predicted left-out
                originals best
        """
        priors = self._priors()
        if metric is None:
            metric = self._best_prior()
        if metric not in priors:
            raise IQAError(
                f"This run has no prior of {metric!r}; it has "
                f"{', '.join(priors) or 'none'}"
            )
        return QualityPrior.from_dict(priors[metric])

    def expected_accuracy(
        self, samples, metric=None, by=None, source=None
    ) -> ExpectedAccuracy:
        """Estimates the accuracy on images without labels.

        See :func:`expected_accuracy`; ``metric`` is :meth:`prior`'s.
        """
        return expected_accuracy(samples, self.prior(metric), by, source)

    def check(self, by=None, metric=None):
        """Returns a table: what a prior expects of slices, and what was true.

        Of the run's own samples. Within classes quality tells little
        (appendix G), so a prior that holds on the whole can miss classes:
        ``by=None`` shows how far.

        Args:
            by (None): a field (or several) whose values are slices, by
                default the run's true labels
            metric (None): as :meth:`prior` takes it

        Raises:
            IQAError: if ``by`` is None and the run had no ``ground_truth``
        """
        import pandas as pd

        by = by or label_path(self.samples, self.config.ground_truth)
        if by is None:
            raise IQAError(
                "This run had no ground_truth=; pass by=, a field whose "
                "values are slices"
            )
        prior = self.prior(metric)
        also = [
            self.config.correctness,
            *([by] if isinstance(by, str) else by),
        ]
        columns = self._columns(self.samples, list(prior.metrics), also)
        frame = pd.DataFrame(
            {
                "slice": columns.names(by),
                "accuracy": columns.correct(self.config.correctness),
                "expected": prior.predict(columns.quality),
            }
        ).dropna()
        table = frame.groupby("slice", sort=False).mean()
        table.insert(0, "n", frame.groupby("slice", sort=False).size())
        table["difference"] = table.expected - table.accuracy
        return table.sort_values("difference", ascending=False).reset_index()

    def compare(self, samples):
        """Returns a table: how far quality here lies from the run's.

        Args:
            samples: a dataset or view with the same quality fields
        """
        import pandas as pd

        own = self._columns(self.samples, self.metrics).quality
        other = self._columns(samples, self.metrics).quality
        return pd.DataFrame(
            [
                {"metric": name, **distance(a, b).to_dict()}
                for name, a, b in zip(self.metrics, own.T, other.T)
            ]
        )

    def desiderata(self) -> list[Card]:
        """Returns a card per metric: D1 to D4, measured or from its spec."""
        return cards(self.report, self.metrics)

    def to_pandas(self):
        """Returns the cards as a table, one row per metric."""
        import pandas as pd

        return pd.DataFrame([card.to_dict() for card in self.desiderata()])

    def summary(self) -> str:
        """Returns what was found as text."""
        return summary(self.report, self.metrics, self._best_prior())

    def plot(self, kind="overview", metric=None):
        """Returns a Plotly figure.

        Args:
            kind ("overview"): ``"distribution"``, ``"accuracy"`` (against
                quality, by group), ``"reliability"`` (of the prior),
                ``"auc"`` (by metric), or ``"overview"``, all four
            metric (None): a field of the run, by default the most predictive
        """
        from .plots import plot

        return plot(self, kind, self._metric(metric))

    def get_meta(self):
        """Returns what is worth knowing without loading the run."""
        return {
            "schema": self.report["schema"],
            "n": self.report["n"],
            "accuracy": self.report["accuracy"],
            "auc": {name: self._auc(name) for name in self.metrics},
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

    def _auc(self, name):
        return self.report["metrics"][name]["predictability"]["auc"]["value"]

    def _priors(self):
        found = {**self.report["metrics"], JOINT: self.report["joint"] or {}}
        found = {name: f.get("prior") for name, f in found.items()}
        return {name: prior for name, prior in found.items() if prior}

    def _best_prior(self):
        """Returns the name of the prior that predicts left-out rows best.

        Conditions of single metrics where they were known (several metrics
        extrapolate worse), else originals.
        """
        priors = self._priors()
        errors = {
            name: BetweenConditions.from_dict(prior["between"]).expected_error
            for name, prior in priors.items()
            if name != JOINT and prior["between"]
        }
        errors = errors or {
            name: prior["log_loss"][prior["calibrator"]]
            for name, prior in priors.items()
        }
        return min(errors, key=errors.get, default=None)

    def _metric(self, name):
        if name is None:
            return self.metrics[0]
        if name not in self.report["metrics"]:
            raise IQAError(
                f"This run has no metric {name!r}; it has "
                f"{', '.join(self.metrics)}"
            )
        return name

    def _columns(self, samples, metrics, also=()):
        fields = metric_fields(samples, metrics)
        source = self.config.source
        if source is not None and samples.get_field(source) is None:
            source = None
        return QualityColumns(samples, fields, source, also)
