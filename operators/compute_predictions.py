"""The operator that runs a task model."""

from fiftyone.operators import types

from .forms import storage_section, target_section
from .scoring import ScoringOperator, run_arguments, scoring_config

MODELS = (
    ("resnet34", "ResNet-34"),
    ("convnext_base", "ConvNeXt-B"),
    ("efficientnet_v2_m", "EfficientNet-V2-M"),
    ("mobilenet_v3_large", "MobileNet-V3-L"),
    ("swin_b", "Swin-B"),
    ("vit_l_16", "ViT-L/16"),
    ("efficientnet_lite0", "EfficientNet-Lite0 (offline)"),
    ("efficientnet_lite2", "EfficientNet-Lite2 (offline)"),
)


class ComputePredictions(ScoringOperator):
    """Form, one SDK call, refresh."""

    @property
    def config(self):
        """The operator's configuration."""
        return scoring_config(
            "compute_predictions",
            "Compute task model predictions",
            "Run a trained classifier and store its predictions and their "
            "confidence, the strong-guided image quality",
            "psychology",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        if target_section(inputs, ctx.target_view()):
            choices = types.AutocompleteView(allow_user_input=True)
            for value, label in MODELS:
                choices.add_choice(value, label=label)
            inputs.str(
                "model",
                default=MODELS[0][0],
                label="Task model",
                description="Or any torchvision classifier, timm: model, "
                "architecture//path/to/checkpoint, or zoo: model",
                view=choices,
            )
            inputs.str(
                "field",
                required=False,
                label="Field",
                description="Stem of the new fields, by default the model's "
                "name",
            )
            inputs.bool(
                "store_logits",
                default=False,
                label="Keep the logits",
                description="One number per class and image",
                view=types.SwitchView(),
            )
            storage_section(inputs)
        return types.Property(
            inputs, view=types.View(label="Compute task model predictions")
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        model = ctx.params.get("model", MODELS[0][0])
        return f"Predictions of {model} on {ctx.dataset.name}"

    def score(self, ctx, progress):
        """Runs the model over the target view."""
        import fiftyone_iqa as fiqa

        return fiqa.compute_predictions(
            ctx.target_view(),
            model=ctx.params.get("model") or MODELS[0][0],
            field=ctx.params.get("field") or None,
            metrics=ctx.params.get("metrics") or (),
            store_logits=ctx.params.get("store_logits", False),
            progress=progress,
            **run_arguments(ctx.params),
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.compute_predictions`."""
        import fiftyone_iqa as fiqa

        return fiqa.compute_predictions(sample_collection, **kwargs)
