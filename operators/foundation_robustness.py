"""The operator that measures FMR."""

from fiftyone.operators import types

from .compute_predictions import MODELS
from .forms import label_field_section
from .sdk_call import SDKOperator, call_config, invalid, several

_GENERATORS = ("style", "corruption")


class FoundationRobustness(SDKOperator):
    """Form, one SDK call, the dataset of perturbed images opened."""

    doing = "Perturbing images"

    @property
    def config(self):
        """The operator's configuration."""
        return call_config(
            "foundation_robustness",
            "Measure foundation-model-oriented robustness",
            "Perturb images as long as an image-text model still sees their "
            "class, and count how often task models do (FMR)",
            "security",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        import fiftyone as fo

        inputs = types.Object()
        target = ctx.target_view()
        if not len(target):
            invalid(inputs, "empty", "The view is empty")
        label_field_section(
            ctx,
            inputs,
            "ground_truth",
            "True labels",
            "Their values are the oracle's label set",
            (fo.Classification,),
        )
        choices = types.AutocompleteView(
            allow_user_input=True, allow_duplicates=False
        )
        for value, label in MODELS:
            choices.add_choice(value, label=label)
        inputs.list(
            "models",
            types.String(),
            required=True,
            label="Task models",
            description="Or any torchvision classifier, timm: model, or "
            "architecture//path/to/checkpoint",
            view=choices,
        )
        inputs.str(
            "oracle",
            required=False,
            label="Oracle",
            description="An image-text encoder; empty takes CLIP where it is "
            "to be had, else lite, which must not judge EfficientNet-Lite0",
        )
        several(
            inputs,
            "generator",
            _GENERATORS,
            "Generators",
            "style is steered by each model; corruption is one set for all",
            default=list(_GENERATORS),
        )
        inputs.int(
            "budget",
            min=1,
            default=20,
            label="Budget",
            description="The most steps; corruption has five severities",
        )
        inputs.float(
            "step_size",
            default=0.01,
            label="Step size",
            description="Of style, 0.01 being 2.5 grey levels",
        )
        name = inputs.str(
            "output",
            default=_name(ctx),
            label="New dataset",
            description="With the perturbed images; one made here before is "
            "resumed",
        )
        if ctx.params.get("output") == ctx.dataset.name:
            name.invalid = True
            name.error_message = "Choose a name of its own"
        inputs.view(
            "cost",
            types.Notice(
                label=f"{len(target):,} images. Every step runs the model "
                "forwards and backwards and the oracle once; delegate it on "
                "a CPU"
            ),
        )
        return types.Property(
            inputs,
            view=types.View(
                label="Measure foundation-model-oriented robustness"
            ),
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        return f"FMR on {ctx.dataset.name}"

    def call(self, ctx, progress):
        """Measures FMR on the target view."""
        import fiftyone_iqa as fiqa

        given = {
            name: ctx.params[name]
            for name in (
                *("oracle", "budget", "step_size", "classes", "metrics"),
                *("brain_key", "batch_size", "device", "images_dir"),
            )
            if ctx.params.get(name) not in (None, "")
        }
        return fiqa.foundation_robustness(
            ctx.target_view(),
            ctx.params.get("models") or [],
            ctx.params.get("ground_truth") or "ground_truth",
            generator=ctx.params.get("generator") or list(_GENERATORS),
            output=ctx.params.get("output") or _name(ctx),
            progress=progress,
            **given,
        )

    def done(self, ctx, result):
        """Opens the dataset of perturbed images; returns the table."""
        if not ctx.delegated:
            ctx.ops.open_dataset(result.output)
        table = result.table()
        ranked = table[(table.variant == "b") & ~table.circular]
        said = ", ".join(
            f"{row.model} {row.fmr:.0f} ({row.generator})"
            for row in ranked.itertuples()
            if row.fmr == row.fmr
        )
        message = f"FMR of accepted images, per cent: {said or 'none'}"
        values = {
            "output": result.output,
            "n": result.report["n"],
            "table": table.astype(object)
            .where(table.notna(), None)
            .to_dict("records"),
        }
        return message, values

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.foundation_robustness`."""
        import fiftyone_iqa as fiqa

        return fiqa.foundation_robustness(sample_collection, **kwargs)


def _name(ctx):
    return f"{ctx.dataset.name}-fmr"
