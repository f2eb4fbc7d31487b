"""Operators that judge stored predictions, without running a model."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .forms import label_field_section

_EVALUATION = "evaluation"
_FIELDS = "fields"


class ComputeCorrectness(foo.Operator):
    """Stores whether predictions are right."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="compute_correctness",
            label="Compute correctness",
            description="Store whether a task model's predictions are right",
            icon="rule",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        import fiftyone as fo

        inputs = types.Object()
        ctx.target_view(require_flat=True)
        evaluations = ctx.dataset.list_evaluations()
        how = _FIELDS
        if evaluations:
            ways = types.RadioGroup()
            ways.add_choice(_FIELDS, label="Compare two label fields")
            ways.add_choice(_EVALUATION, label="Read an evaluation")
            inputs.enum(
                "how", ways.values(), default=_FIELDS, view=ways, label="How"
            )
            how = ctx.params.get("how", _FIELDS)
        if how == _EVALUATION:
            inputs.enum(
                "eval_key", evaluations, required=True, label="Evaluation"
            )
        else:
            kinds = (fo.Classification, fo.Classifications)
            for name, label, description in (
                ("predictions", "Predictions", "What the model said"),
                ("ground_truth", "Ground truth", "What is true"),
            ):
                label_field_section(
                    ctx, inputs, name, label, description, kinds
                )
        inputs.str(
            "field",
            default="iqa_correct",
            label="Field",
            description="The boolean field to store",
        )
        return types.Property(
            inputs, view=types.View(label="Compute correctness")
        )

    def execute(self, ctx):
        """Judges the target view; returns counts."""
        import fiftyone_iqa as fiqa

        params = ctx.params
        report = fiqa.compute_correctness(
            ctx.target_view(require_flat=True),
            predictions=params.get("predictions"),
            ground_truth=params.get("ground_truth"),
            field=params.get("field") or "iqa_correct",
            mapping=params.get("mapping"),
            eval_key=params.get("eval_key"),
        )
        return _done(ctx, f"Correctness: {report}", report.to_dict())


class QualityFromPredictions(foo.Operator):
    """Reads strong-guided quality from stored predictions."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="quality_from_predictions",
            label="Read image quality from predictions",
            description="Store the confidence of predictions that a dataset "
            "has as image quality, without running a model",
            icon="insights",
            dynamic=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        import fiftyone as fo

        inputs = types.Object()
        ctx.target_view(require_flat=True)
        label_field_section(
            ctx,
            inputs,
            "predictions",
            "Predictions",
            "Logits give Q_p, Q_h and Q_l; a confidence alone gives Q_p",
            (fo.Classification,),
        )
        return types.Property(
            inputs,
            view=types.View(label="Read image quality from predictions"),
        )

    def execute(self, ctx):
        """Reads the target view's predictions; returns the new fields."""
        import fiftyone_iqa as fiqa

        fields = fiqa.quality_from_predictions(
            ctx.target_view(require_flat=True),
            ctx.params["predictions"],
            field=ctx.params.get("field"),
        )
        said = f"Image quality: wrote {', '.join(fields)}"
        return _done(ctx, said, {"fields": fields})


def _done(ctx, message, result):
    if not ctx.delegated:
        ctx.ops.reload_dataset()
        ctx.ops.notify(message, variant="success")
    return result
