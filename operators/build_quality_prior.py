"""The operator that relates quality to correctness."""

from fiftyone.operators import types

from .panel_runs import correctness_fields, list_runs, quality_fields
from .sdk_call import SDKOperator, call_config, dropdown, invalid, several

_KEY = "iqa"
# A class per image is no group
_MAX_FIELDS = 200


class BuildQualityPrior(SDKOperator):
    """Form, one SDK call, refresh."""

    doing = "Relating quality to correctness"

    @property
    def config(self):
        """The operator's configuration."""
        return call_config(
            "build_quality_prior",
            "Build quality prior",
            "Relate image quality to what a model gets right, and learn the "
            "accuracy to expect from quality alone",
            "query_stats",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        ctx.target_view()
        dataset = ctx.dataset
        fields = quality_fields(dataset)
        correct = correctness_fields(dataset)
        if not fields:
            invalid(
                inputs,
                "no_fields",
                "This dataset has no image quality: run Compute image "
                "quality first",
            )
        elif not correct:
            invalid(
                inputs,
                "no_correctness",
                "Nothing says what a model gets right: run Compute "
                "correctness first",
            )
        else:
            several(
                inputs,
                "metrics",
                fields,
                "Quality fields",
                "Which of them explain what the model gets wrong is what "
                "you will see",
                default=fields,
            )
            dropdown(
                inputs,
                "correctness",
                correct,
                "Correctness",
                "What a task model got right",
                default=correct[0],
            )
            self._grouping(ctx, inputs)
            self._key(ctx, inputs)
        return types.Property(
            inputs, view=types.View(label="Build quality prior")
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        key = ctx.params.get("brain_key") or _KEY
        return f"Quality prior {key} on {ctx.dataset.name}"

    def call(self, ctx, progress):
        """Builds the run of the target view."""
        import fiftyone_iqa as fiqa

        return fiqa.build_quality_prior(
            ctx.target_view(), progress=progress, **_arguments(ctx)
        )

    def done(self, ctx, result):
        """Says which metric explains correctness best."""
        best = result.metrics[0]
        auc = result.get_meta()["auc"][best]
        said = "" if auc is None else f", AUC {auc:.2f}"
        return (
            f"Quality prior {result.key!r}: {best} tells right from wrong "
            f"best{said}",
            {"brain_key": result.key, **result.get_meta()},
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.build_quality_prior`."""
        import fiftyone_iqa as fiqa

        return fiqa.build_quality_prior(sample_collection, **kwargs)

    def _grouping(self, ctx, inputs):
        fields = categorical_fields(ctx.dataset)
        default = [f for f in ("corruption", "severity") if f in fields]
        several(
            inputs,
            "group_by",
            fields,
            "Groups",
            "Fields whose values together are a condition, such as a camera, "
            "or a corruption and its severity; leave empty for none",
            default=default if len(default) == 2 else [],
        )
        labels = label_fields(ctx.dataset)
        if labels:
            dropdown(
                inputs,
                "ground_truth",
                labels,
                "Ground truth",
                "Shows what quality tells within one class",
                required=False,
            )

    def _key(self, ctx, inputs):
        key = inputs.str(
            "brain_key",
            default=_KEY,
            label="Brain key",
            description="Name of the run",
        )
        value = ctx.params.get("brain_key") or _KEY
        if not value.isidentifier():
            key.invalid = True
            key.error_message = (
                "A brain key is letters, digits and _, and begins with a "
                "letter"
            )
        elif value in list_runs(ctx.dataset):
            inputs.view(
                "replaces", types.Warning(label=f"Replaces run {value!r}")
            )
        elif value in ctx.dataset.list_brain_runs():
            key.invalid = True
            key.error_message = f"Another brain run is called {value!r}"


def categorical_fields(dataset):
    """Returns paths of strings, integers and booleans of samples."""
    import fiftyone as fo

    from fiftyone_iqa.scoring.source import INFO_KEY

    schema = dataset.get_field_schema(
        ftype=(fo.StringField, fo.IntField, fo.BooleanField)
    )
    left_out = {"filepath", "source_id", "corruption_protocol"}
    return [
        path
        for path, field in schema.items()
        if path not in left_out and INFO_KEY not in (field.info or {})
    ][:_MAX_FIELDS]


def label_fields(dataset):
    """Returns the fields of labels that have classes."""
    import fiftyone as fo

    schema = dataset.get_field_schema(ftype=fo.EmbeddedDocumentField)
    kinds = (fo.Classification, fo.Detections)
    return [
        path
        for path, field in schema.items()
        if issubclass(field.document_type, kinds)
    ]


def _arguments(ctx):
    params = ctx.params
    fields = correctness_fields(ctx.dataset)
    arguments = {
        # FiftyOne applies no defaults to calls from Python
        "metrics": params.get("metrics") or quality_fields(ctx.dataset),
        "correctness": params.get("correctness")
        or (fields[0] if fields else "iqa_correct"),
        "brain_key": params.get("brain_key") or _KEY,
        "ground_truth": params.get("ground_truth") or None,
    }
    if "group_by" in params:
        arguments["group_by"] = params["group_by"] or []
    for name in ("source", "n_resamples", "seed"):
        if params.get(name) is not None:
            arguments[name] = params[name]
    return arguments
