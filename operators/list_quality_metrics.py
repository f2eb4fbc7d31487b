"""The operator that shows the registry of quality metrics."""

import fiftyone.operators as foo
from fiftyone.operators import types

_COLUMNS = (
    ("name", "Metric"),
    ("summary", "What it is"),
    ("fields", "Fields"),
    ("guidance", "Guidance"),
    ("direction", "Better is"),
    ("licence", "Licence"),
    ("paper", "Paper"),
)


class ListQualityMetrics(foo.Operator):
    """Lists the registered quality metrics."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="list_quality_metrics",
            label="List image quality metrics",
            description="Which image quality metrics there are, what they "
            "mean and which way they point",
            icon="fact_check",
            risk_level=types.RiskLevel.LOW,
            view_target=False,
        )

    def execute(self, ctx):
        """Returns the specs as rows."""
        import fiftyone_iqa as fiqa

        return {"metrics": [_row(spec) for spec in fiqa.list_metrics()]}

    def resolve_output(self, ctx):
        """Shows the rows as a table."""
        outputs = types.Object()
        table = types.TableView()
        for key, label in _COLUMNS:
            table.add_column(key, label=label)
        outputs.list(
            "metrics", types.Object(), view=table, label="Quality metrics"
        )
        return types.Property(
            outputs, view=types.View(label="Image quality metrics")
        )


def _row(spec):
    outputs = spec.outputs
    return {
        "name": spec.name,
        "summary": spec.summary,
        "fields": ", ".join(spec.field_names().values()),
        "guidance": spec.guidance,
        "direction": ", ".join(dict.fromkeys(o.direction for o in outputs)),
        "licence": spec.licence,
        "paper": spec.paper,
    }
