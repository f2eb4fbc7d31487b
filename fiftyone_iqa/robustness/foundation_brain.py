"""The brain run of foundation-model-oriented robustness.

The import path of these classes is stored in people's databases: it must
never change.
"""

from __future__ import annotations

import fiftyone.core.brain as fob
import numpy as np

from ..errors import IQAError
from ..reading import read_values
from .foundation_plan import ORIGINAL
from .oracle import CIRCULAR_SHARE
from .results import Robustness, robustness

SCHEMA = 1

VARIANTS = {"a": "fallback", "b": "accepted"}
"""(a) Algorithm 1 with its fallback; (b) accepted images only."""

_OWN, _TRANSFER, _SHARED = "own", "transfer", "shared"

_EXPLAINED = (
    "A model's own set is the hardest for that model, so own sets rank models "
    "by how they do where each is weakest; another model's set shows what "
    "carries over (appendix D), and is easier. Only on a shared set do all "
    "see the same images."
)


class FoundationRobustnessConfig(fob.BrainMethodConfig):
    """What a run judged and how.

    Args:
        models (None): slugs of the models
        ground_truth (None): field of the true labels
        oracle (None): name of the oracle's encoder
        generators (None): names of the sets of perturbed images
        metrics (None): paths of the quality fields
        output (None): name of the dataset of perturbed images
        seed (51): of draws and resamples
    """

    def __init__(
        self,
        models=None,
        ground_truth=None,
        oracle=None,
        generators=None,
        metrics=None,
        output=None,
        seed=51,
        **kwargs,
    ):
        self.models = models
        self.ground_truth = ground_truth
        self.oracle = oracle
        self.generators = generators
        self.metrics = metrics
        self.output = output
        self.seed = seed
        super().__init__(**kwargs)

    @property
    def type(self):
        """``"foundation_robustness"``."""
        return "foundation_robustness"

    @property
    def method(self):
        """``"fmr"``."""
        return "fmr"


class FoundationRobustness(fob.BrainMethod):
    """Judges models on perturbed images. It writes no field of the samples."""

    def get_fields(self, samples, brain_key):
        """Returns the fields the run read."""
        return [self.config.ground_truth, *(self.config.metrics or [])]

    def cleanup(self, samples, brain_key):
        """Deletes nothing: the perturbed images are another dataset."""

    def rename(self, samples, brain_key, new_brain_key):
        """Changes nothing: no field bears the key."""


class FoundationRobustnessResults(fob.BrainResults):
    """FMR of models on their own, each other's and shared sets.

    Args:
        samples: the collection the run read
        config: its :class:`FoundationRobustnessConfig`
        brain_key: its key
        report: what was found, JSON-serialisable
        backend (None): the :class:`FoundationRobustness`
    """

    def __init__(self, samples, config, brain_key, report, backend=None):
        super().__init__(samples, config, brain_key, backend=backend)
        self.report = report

    @property
    def output(self) -> str:
        """Name of the dataset of perturbed images."""
        return self.report["output"]

    def load_output(self):
        """Returns the dataset of perturbed images.

        Raises:
            IQAError: if it has been deleted
        """
        import fiftyone as fo

        if not fo.dataset_exists(self.output):
            raise IQAError(
                f"Dataset {self.output!r}, which had the perturbed images, "
                "has been deleted; run foundation_robustness() again"
            )
        return fo.load_dataset(self.output)

    def table(self):
        """Returns a table: every model on its own and on the shared sets.

        Rows are models and variants: ``a`` is Algorithm 1 with its fallback
        to the original, ``b`` the accepted images only. ``rank`` is by FMR
        within a generator and a variant; circular models have none.
        ``agreement`` is how often the model and the oracle predict the same;
        on ``b`` it is PA, since the oracle is right there by construction.
        Of the set: originals the oracle does not recognise, those it rejects
        at the first step, and images that took every step.
        """
        import pandas as pd

        rows = [
            row for row in self._rows() if row["judged_on"] in (_OWN, _SHARED)
        ]
        table = pd.DataFrame(rows)
        numbers = [c for c in table if c.startswith(("sa", "pa", "fmr"))]
        numbers += ["agreement", "mean_steps"]
        table[numbers] = table[numbers].astype(float)
        ranked = table[~table.circular]
        by = ranked.groupby(["generator", "variant"]).fmr
        table["rank"] = by.rank(ascending=False, method="min")
        table["rank"] = table["rank"].astype("Int64")
        return table.sort_values(
            ["generator", "variant", "rank"], kind="stable"
        ).reset_index(drop=True)

    def transfer(self, generator=None, variant="b"):
        """Returns FMR of each model (columns) on each set (rows), per cent.

        Args:
            generator (None): only its sets
            variant ("b"): ``"a"`` or ``"b"``, see :meth:`table`
        """
        import pandas as pd

        if variant not in VARIANTS:
            raise IQAError(f"variant must be 'a' or 'b', not {variant!r}")
        rows = [
            row
            for row in self._rows()
            if row["variant"] == variant
            and generator in (None, row["generator"])
        ]
        if not rows:
            raise IQAError(
                f"This run has no generator {generator!r}; it has "
                f"{', '.join(self.report['sets'])}"
            )
        table = pd.DataFrame(rows).pivot(
            index="set", columns="model", values="fmr"
        )
        return table.loc[[s for s in self.report["sets"] if s in table.index]]

    def slices(self, by=None, n_resamples: int = 1000):
        """Returns the table by class, or by the values of fields.

        Of own and shared sets, with intervals; read from the two datasets as
        they are now.

        Args:
            by (None): a field of the samples (or several); by default their
                true labels
            n_resamples (1000): bootstrap resamples within each slice
        """
        import pandas as pd

        from .foundation_output import SetColumns

        report = self.report
        by = [by] if isinstance(by, str) else list(by or ())
        by = by or [report["label_path"]]
        for path in by:
            if self.samples.get_field(path) is None:
                raise IQAError(
                    f"Dataset {self.samples._root_dataset.name!r} has no "
                    f"field {path!r}"
                )
        ids, *values = read_values(self.samples, ["id", *by])
        columns = SetColumns(self.load_output(), report["models"], ids)
        slice_of = {
            id_: ", ".join(map(str, row)) for id_, *row in zip(ids, *values)
        }
        names = np.array([slice_of.get(s) for s in columns.sources], object)
        rows = []
        for set_name, info in report["sets"].items():
            for slug in report["models"]:
                if info["guide"] not in (None, slug):
                    continue
                for name in dict.fromkeys(names):
                    at = names == name
                    found = robustness(
                        columns.correct[ORIGINAL, slug][at],
                        columns.correct[set_name, slug][at],
                        columns.accepted[set_name][at],
                        n_resamples=n_resamples,
                        seed=self.config.seed,
                    )
                    head = {
                        "slice": name,
                        "generator": info["generator"],
                        "model": slug,
                    }
                    rows += [{**head, **r} for r in _flat(found)]
        return pd.DataFrame(rows)

    def quality(self):
        """Returns a table: quality of the originals against robustness.

        Spearman's coefficient (``krcc`` and ``plcc`` beside it) over images,
        of a quality field with the steps survived (``steps``) and with being
        right on the perturbed image (``correct``), over the images whose
        original the oracle recognises. Empty without ``metrics=``. Where the
        metric's encoder is the oracle's, steps and quality are no independent
        measurements.
        """
        import pandas as pd

        return pd.DataFrame(self.report["quality"])

    def summary(self) -> str:
        """Returns what was found as text."""
        import pandas as pd

        report = self.report
        lines = [
            f"FMR of {report['n']:,} images under the oracle "
            f"{report['oracle']['name']} ({report['oracle']['n_classes']:,} "
            "classes)"
        ]
        for row in self.table().to_dict("records"):
            flag = ", circular: not ranked" if row["circular"] else ""
            sa, pa, fmr, low, high = (
                "–" if pd.isna(row[key]) else f"{row[key]:{digits}}"
                for key, digits in (
                    *(("sa", ".3f"), ("pa", ".3f"), ("fmr", ".1f")),
                    *(("fmr_low", ".1f"), ("fmr_high", ".1f")),
                )
            )
            lines.append(
                f"- {row['generator']} ({row['variant']}) {row['model']}: FMR "
                f"{fmr} [{low}, {high}], SA {sa}, PA {pa}, n {row['n']:,}, "
                f"validation rate {row['validation_rate']:.2f}{flag}"
            )
        lines.append(_EXPLAINED)
        if report["oracle"]["caveat"]:
            lines.append(report["oracle"]["caveat"])
        return "\n".join(lines)

    def get_meta(self):
        """Returns what is worth knowing without loading the run."""
        return {
            "schema": self.report["schema"],
            "n": self.report["n"],
            "models": list(self.report["models"]),
            "output": self.output,
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

    def _rows(self):
        """Yields a row per set, model and variant."""
        report = self.report
        for name, info in report["sets"].items():
            for slug, stored in report["judged"][name].items():
                kind = _SHARED
                if info["guide"] is not None:
                    kind = _OWN if info["guide"] == slug else _TRANSFER
                share = report["models"][slug]["circular_share"]
                for row in _flat(Robustness.from_dict(stored["robustness"])):
                    yield {
                        "generator": info["generator"],
                        "set": name,
                        "judged_on": kind,
                        "model": slug,
                        **row,
                        "agreement": stored["agreement"][row["variant"]],
                        "n_unrecognised": info["n_unrecognised"],
                        "n_rejected_at_once": info["n_rejected_at_once"],
                        "n_at_budget": info["n_at_budget"],
                        "mean_steps": info["mean_steps"],
                        "circular": share >= CIRCULAR_SHARE,
                    }


def _flat(found: Robustness):
    """Returns the two variants of a result as rows of numbers."""
    rows = []
    for variant, attribute in VARIANTS.items():
        rates = getattr(found, attribute)
        row = {"variant": variant, "n": rates.n}
        row["validation_rate"] = found.validation_rate
        for name in ("sa", "pa", "fmr"):
            estimate = getattr(rates, name)
            row[name] = estimate.value
            row[f"{name}_low"] = estimate.low
            row[f"{name}_high"] = estimate.high
        rows.append(row)
    return rows
