"""The operator that computes quality metrics."""

import shutil

import fiftyone.operators as foo
from fiftyone.operators import types

from .forms import storage_section, target_section
from .scoring import ScoringOperator, run_arguments, scoring_config

_AUTO = "auto"
_TYPED = "typed"

# Rough images per second, only to propose delegation
_RATE_ENCODER_CPU = 15.0
_RATE_ENCODER_GPU = 500.0
_RATE_PIXELS = 100.0
_DELEGATE_ABOVE_SECONDS = 300


class ComputeQuality(ScoringOperator):
    """Form, one SDK call, refresh."""

    @property
    def config(self):
        """The operator's configuration."""
        return scoring_config(
            "compute_quality",
            "Compute image quality",
            "Score how good images are for models and store the scores as "
            "sample fields",
            "high_quality",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        target = ctx.target_view()
        if target_section(inputs, target):
            specs = _metrics_section(ctx, inputs)
            if any(spec.needs_labels for spec in specs):
                _labels_section(ctx, inputs)
                _encoder_section(inputs)
            storage_section(inputs)

        return types.Property(
            inputs, view=types.View(label="Compute image quality")
        )

    def resolve_execution_options(self, ctx):
        """Proposes delegation above an estimated five minutes."""
        return foo.ExecutionOptions(
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            allow_distributed_execution=True,
            default_choice_to_delegated=_estimated_seconds(ctx)
            > _DELEGATE_ABOVE_SECONDS,
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        metrics = ", ".join(_arguments(ctx.params)["metrics"])
        return f"Image quality ({metrics}) on {ctx.dataset.name}"

    def score(self, ctx, progress):
        """Scores the target view."""
        import fiftyone_iqa as fiqa

        return fiqa.compute_quality(
            ctx.target_view(), progress=progress, **_arguments(ctx.params)
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.compute_quality`."""
        import fiftyone_iqa as fiqa

        return fiqa.compute_quality(sample_collection, **kwargs)


def _arguments(params):
    """Returns the SDK's keyword arguments for a form's parameters."""
    arguments = {"metrics": params.get("metrics") or ["zsclip", "tv"]}
    classes = params.get("classes")
    source = params.get("class_source", _AUTO)
    if source == _TYPED:
        typed = (params.get("class_names") or "").replace("\n", ",")
        classes = [name.strip() for name in typed.split(",") if name.strip()]
    elif source != _AUTO:
        classes = source
    arguments["classes"] = classes

    encoder = params.get("encoder")
    arguments["encoder"] = None if encoder in (None, "", _AUTO) else encoder
    return {**arguments, **run_arguments(params)}


def _metrics_section(ctx, inputs):
    from fiftyone_iqa.metrics import list_metrics

    specs = list_metrics()
    choices = types.DropdownView(multiple=True)
    for spec in specs:
        choices.add_choice(
            spec.name,
            label=f"{spec.title} ({spec.name})",
            description=f"{spec.summary}. Guidance: {spec.guidance}",
        )
    default = ["zsclip", "tv"]
    inputs.list(
        "metrics",
        types.String(),
        # Not required: FiftyOne applies no defaults to calls from Python
        default=default,
        label="Metrics",
        description="Every image is read once, however many you choose",
        view=choices,
    )
    chosen = ctx.params.get("metrics") or default
    return [spec for spec in specs if spec.name in chosen]


def _labels_section(ctx, inputs):
    from fiftyone_iqa.labels import classification_fields

    dataset = ctx.dataset
    choices = types.DropdownView()
    choices.add_choice(
        _AUTO,
        label="Automatic",
        description="What the scores were made with so far, else the "
        "dataset's classes, else its only classification field",
    )
    fields = {
        *classification_fields(dataset),
        *(name for name, names in dataset.classes.items() if names),
    }
    for field in sorted(fields):
        choices.add_choice(
            field, label=field, description=f"The classes of field {field!r}"
        )
    choices.add_choice(
        _TYPED, label="Type a list", description="Class names, below"
    )
    inputs.enum(
        "class_source",
        choices.values(),
        default=_AUTO,
        label="Label set",
        description="ZSCLIP-IQA asks which of these classes an image shows; "
        "how sure the answer is, is the quality",
        view=choices,
    )
    if ctx.params.get("class_source") == _TYPED:
        inputs.str(
            "class_names",
            required=True,
            label="Class names",
            description="Separated by commas",
        )


def _encoder_section(inputs):
    choices = types.AutocompleteView(allow_user_input=True)
    for value, label in (
        (_AUTO, "Automatic: what the field has, else the best there is"),
        ("ViT-B-32/openai", "CLIP ViT-B-32"),
        ("lite:ridge", "lite, ridge join (offline)"),
        ("lite:conse", "lite, ConSE join (offline)"),
    ):
        choices.add_choice(value, label=label)
    inputs.str(
        "encoder",
        default=_AUTO,
        label="Encoder",
        description="Or any open_clip architecture/tag, hf-hub: name, "
        "checkpoint folder, or zoo: model",
        view=choices,
    )


def _estimated_seconds(ctx):
    """Returns a rough duration, without importing torch."""
    from fiftyone_iqa.metrics import list_metrics

    names = _arguments(ctx.params)["metrics"]
    n = len(ctx.target_view())
    seconds = n / _RATE_PIXELS
    if any(s.needs_labels for s in list_metrics() if s.name in names):
        has_gpu = shutil.which("nvidia-smi") is not None
        seconds += n / (_RATE_ENCODER_GPU if has_gpu else _RATE_ENCODER_CPU)
    return seconds
