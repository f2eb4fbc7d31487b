"""The operator that measures the quality of task models."""

from fiftyone.operators import types

from .build_quality_prior import label_fields
from .compute_predictions import MODELS
from .sdk_call import SDKOperator, call_config, dropdown, invalid, several

KEY = "model_quality"
_MANY = 200


class ModelQuality(SDKOperator):
    """Form, one SDK call, refresh."""

    doing = "Measuring models"

    @property
    def config(self):
        """The operator's configuration."""
        return call_config(
            "model_quality",
            "Measure model quality",
            "Measure task models in nine dimensions: accuracy, robustness, "
            "calibration, balance, focus, shape bias and size",
            "radar",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        ctx.target_view()
        labels = label_fields(ctx.dataset)
        if not labels:
            invalid(
                inputs,
                "no_labels",
                "This dataset has no labels: models are measured on images "
                "whose class is known",
            )
        else:
            self._models(inputs)
            dropdown(
                inputs,
                "ground_truth",
                labels,
                "Ground truth",
                default=labels[0],
            )
            self._limits(inputs)
            self._collections(ctx, inputs)
            self._key(ctx, inputs)
        return types.Property(
            inputs, view=types.View(label="Measure model quality")
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        return f"Model quality on {ctx.dataset.name}"

    def call(self, ctx, progress):
        """Measures the models on the target view."""
        import fiftyone_iqa as fiqa

        return fiqa.model_quality(
            ctx.target_view(), progress=progress, **_arguments(ctx)
        )

    def done(self, ctx, result):
        """Says what was measured."""
        models = ", ".join(result.models)
        return (
            f"Model quality {result.key!r} of {models} on "
            f"{result.report['n']:,} images",
            {"brain_key": result.key, **result.get_meta()},
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.model_quality`."""
        import fiftyone_iqa as fiqa

        return fiqa.model_quality(sample_collection, **kwargs)

    def _models(self, inputs):
        several(
            inputs,
            "models",
            [name for name, _ in MODELS],
            "Task models",
            "Several are compared",
        )
        inputs.list(
            "more_models",
            types.String(),
            label="Other models",
            description="Any torchvision classifier, timm: model, "
            "architecture//path/to/checkpoint, or zoo: model",
        )

    def _limits(self, inputs):
        for name, label, cost in (
            ("max_attacked", "Images to attack", "about 35 passes each"),
            ("max_corrupted", "Images to corrupt", "75 passes each"),
        ):
            inputs.int(
                name,
                default=_MANY,
                min=0,
                label=label,
                description=f"{cost}; 0 leaves the dimension out",
            )

    def _collections(self, ctx, inputs):
        import fiftyone as fo

        others = [n for n in fo.list_datasets() if n != ctx.dataset.name]
        if not others:
            return
        several(
            inputs,
            "ood",
            others,
            "Out-of-distribution variants",
            "Datasets of the same classes drawn, painted, or shot elsewhere",
        )
        for name, label, description in (
            (
                "mixed_same",
                "Objects before backgrounds of their own class",
                "For object focus, with the next",
            ),
            ("mixed_rand", "Objects before random backgrounds", None),
            (
                "cue_conflict",
                "Shape of one class, texture of another",
                "For shape bias; its field 'texture' has the other class",
            ),
        ):
            dropdown(inputs, name, others, label, description, required=False)

    def _key(self, ctx, inputs):
        key = inputs.str(
            "brain_key",
            default=KEY,
            label="Brain key",
            description="Name of the run",
        )
        value = ctx.params.get("brain_key") or KEY
        if not value.isidentifier():
            key.invalid = True
            key.error_message = (
                "A brain key is letters, digits and _, and begins with a "
                "letter"
            )
        elif value in ctx.dataset.list_brain_runs(type="model_quality"):
            inputs.view(
                "replaces", types.Warning(label=f"Replaces run {value!r}")
            )
        elif value in ctx.dataset.list_brain_runs():
            key.invalid = True
            key.error_message = f"Another brain run is called {value!r}"


def _arguments(ctx):
    params = ctx.params
    labels = label_fields(ctx.dataset)
    arguments = {
        "models": [
            *(params.get("models") or []),
            *(params.get("more_models") or []),
        ],
        # FiftyOne applies no defaults to calls from Python
        "ground_truth": params.get("ground_truth")
        or (labels[0] if labels else "ground_truth"),
        "brain_key": params.get("brain_key") or KEY,
    }
    if params.get("ood"):
        ood = params["ood"]
        is_named = isinstance(ood, (dict, str))
        arguments["ood"] = ood if is_named else {name: name for name in ood}
    pair = {k: params.get(k) for k in ("mixed_same", "mixed_rand")}
    if any(pair.values()):
        arguments["backgrounds"] = {k: v for k, v in pair.items() if v}
    for name in (
        *("backgrounds", "cue_conflict", "texture", "mappings", "epsilons"),
        *("corruptions", "severities", "max_attacked", "max_corrupted"),
        *("batch_size", "num_workers", "device", "cache", "seed"),
    ):
        if params.get(name) is not None:
            arguments[name] = params[name]
    return arguments
