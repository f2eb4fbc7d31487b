"""The operator that compares the quality of two collections."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .panel_runs import quality_fields
from .sdk_call import dropdown, invalid, several

_DATASET, _VIEW = "dataset", "view"
_SAVED = "saved:"
_COLUMNS = (
    ("metric", "Metric"),
    ("n", "n"),
    ("other_n", "n of the other"),
    ("mean_difference", "Mean, other − this"),
    ("wasserstein", "Earth mover's"),
    ("ks", "KS"),
)


class CompareQuality(foo.Operator):
    """Form, distances, a table."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="compare_quality",
            label="Compare image quality",
            description="How far the quality of two views lies apart",
            icon="compare",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.LOW,
            view_target=False,
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        fields = quality_fields(ctx.dataset)
        if not fields:
            invalid(
                inputs,
                "no_fields",
                "This dataset has no image quality: run Compute image "
                "quality first",
            )
        else:
            choices = [(_VIEW, "Current view"), (_DATASET, "Whole dataset")]
            choices += [
                (f"{_SAVED}{name}", f"Saved view {name}")
                for name in ctx.dataset.list_saved_views()
            ]
            dropdown(inputs, "this", choices, "This", default=_VIEW)
            dropdown(inputs, "other", choices, "The other", default=_DATASET)
            several(
                inputs, "metrics", fields, "Quality fields", default=fields
            )
            if ctx.params.get("this", _VIEW) == ctx.params.get(
                "other", _DATASET
            ):
                invalid(inputs, "same", "Choose two different collections")
        return types.Property(
            inputs, view=types.View(label="Compare image quality")
        )

    def execute(self, ctx):
        """Compares; returns rows."""
        metrics = ctx.params.get("metrics") or quality_fields(ctx.dataset)
        this = _collection(ctx, ctx.params.get("this") or _VIEW)
        other = _collection(ctx, ctx.params.get("other") or _DATASET)
        return {"rows": compare(this, other, metrics)}

    def resolve_output(self, ctx):
        """Shows the rows as a table."""
        outputs = types.Object()
        table = types.TableView()
        for key, label in _COLUMNS:
            table.add_column(key, label=label)
        outputs.list("rows", types.Object(), view=table, label="Distances")
        return types.Property(
            outputs, view=types.View(label="Compare image quality")
        )

    def __call__(self, sample_collection, other, metrics=None):
        """Does the same from Python.

        Args:
            sample_collection: a dataset or view
            other: another one
            metrics (None): quality fields, by default all

        Returns:
            list of dicts, as :func:`compare` returns it
        """
        metrics = metrics or quality_fields(sample_collection._root_dataset)
        return compare(sample_collection, other, metrics)


def compare(this, other, metrics):
    """Measures how far quality lies apart.

    Args:
        this: a dataset or view
        other: another one
        metrics: quality fields that both have

    Returns:
        list of ``{"metric", "n", "other_n", "mean_difference",
        "wasserstein", "ks"}``, the farthest first
    """
    import numpy as np

    from fiftyone_iqa.analysis.distribution import distance
    from fiftyone_iqa.quality_columns import QualityColumns, metric_fields

    columns = [
        QualityColumns(samples, metric_fields(samples, metrics)).quality
        for samples in (this, other)
    ]
    names = [field.path for field in metric_fields(this, metrics)]
    rows = []
    for name, a, b in zip(names, columns[0].T, columns[1].T):
        found = distance(a, b)
        rows.append(
            {
                "metric": name,
                "n": int(np.isfinite(a).sum()),
                "other_n": int(np.isfinite(b).sum()),
                "mean_difference": round(found.mean_difference, 4),
                "wasserstein": round(found.wasserstein, 4),
                "ks": round(found.ks, 4),
            }
        )
    return sorted(rows, key=lambda row: -row["ks"])


def _collection(ctx, name):
    if name == _DATASET:
        return ctx.dataset
    if name == _VIEW:
        return ctx.view
    return ctx.dataset.load_saved_view(name.removeprefix(_SAVED))
