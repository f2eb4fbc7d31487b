"""The operator that scores confusion."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .forms import label_field_section, storage_section, target_section
from .scoring import ScoringOperator
from .sdk_call import call_config, dropdown, invalid, several

_TRAIN, _LOGITS = "train", "logits"
_HEADS = ("mlp", "linear")
_MODELS = (
    ("mlp", "Small head on an encoder's embeddings (minutes on a CPU)"),
    ("resnet18", "ResNet-18, from pixels"),
    ("resnet8", "ResNet-8, from pixels of small images"),
    ("linear", "Linear head on an encoder's embeddings"),
)
_SIZE = 64
_NUMBERS = (
    ("seeds", 3, "Seeds", "Members of the ensemble"),
    ("epochs", 20, "Epochs", "Under 20 the scores shift upwards"),
    ("folds", 3, "Folds", "0: images are scored by what was trained on them"),
)


class ComputeConfusion(ScoringOperator):
    """Form, one SDK call, refresh."""

    doing = "Confusion"

    @property
    def config(self):
        """The operator's configuration."""
        # Shards would train ensembles of their own: never distributed
        return call_config(
            "compute_confusion",
            "Compute confusion",
            "Score how much a small ensemble, trained on this dataset's "
            "labels, disagrees on each image",
            "psychology_alt",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        if target_section(inputs, ctx.target_view()):
            how = _source_section(ctx, inputs)
            if how == _TRAIN:
                _training_section(ctx, inputs)
            else:
                _logits_section(ctx, inputs)
            storage_section(inputs)
        return types.Property(
            inputs, view=types.View(label="Compute confusion")
        )

    def resolve_execution_options(self, ctx):
        """Proposes delegation of a training from pixels."""
        model = ctx.params.get("model", _MODELS[0][0])
        trains = ctx.params.get("how", _TRAIN) == _TRAIN
        return foo.ExecutionOptions(
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            default_choice_to_delegated=trains and model not in _HEADS,
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        return f"Confusion on {ctx.dataset.name}"

    def score(self, ctx, progress):
        """Scores the target view."""
        import fiftyone_iqa as fiqa

        return fiqa.confusion_score(
            ctx.target_view(), progress=progress, **_arguments(ctx.params)
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.confusion_score`."""
        import fiftyone_iqa as fiqa

        return fiqa.confusion_score(sample_collection, **kwargs)


def _source_section(ctx, inputs):
    ways = types.RadioGroup()
    ways.add_choice(_TRAIN, label="Train an ensemble here")
    ways.add_choice(_LOGITS, label="Read predictions that keep their logits")
    inputs.enum(
        "how",
        ways.values(),
        default=_TRAIN,
        view=ways,
        label="Class probabilities",
    )
    return ctx.params.get("how", _TRAIN)


def _training_section(ctx, inputs):
    import fiftyone as fo

    kinds = (fo.Classification,)
    if ctx.target_view()._is_patches:
        kinds = (fo.Detections,)
    label_field_section(
        ctx,
        inputs,
        "label_field",
        "Labels",
        "What the ensemble learns; images without one are scored too",
        kinds,
    )
    dropdown(inputs, "model", _MODELS, "Network", default=_MODELS[0][0])
    if ctx.params.get("model", _MODELS[0][0]) in _HEADS:
        inputs.str(
            "encoder",
            required=False,
            label="Encoder",
            description="By default CLIP ViT-B-32 where it is to be had, "
            "else 'lite'",
        )
    else:
        inputs.int(
            "image_size",
            default=_SIZE,
            min=8,
            label="Image size",
            description="Side in pixels; time grows with its square",
        )
    for name, value, label, description in _NUMBERS:
        inputs.int(
            name,
            default=value,
            min=0 if name == "folds" else 1,
            label=label,
            description=description,
        )
    if ctx.params.get("folds") == 1:
        invalid(inputs, "one_fold", "Folds must be 0, or at least 2")
    inputs.bool(
        "store_predictions",
        default=False,
        label="Keep the ensemble's predictions",
        description="Held out, so compute_correctness can judge by them",
        view=types.SwitchView(),
    )


def _logits_section(ctx, inputs):
    import fiftyone as fo

    fields = ctx.dataset.get_field_schema(
        ftype=fo.EmbeddedDocumentField, embedded_doc_type=fo.Classification
    )
    several(
        inputs,
        "logits",
        list(fields),
        "Predictions",
        "Of one model each; together they are the ensemble",
        required=True,
    )


def _arguments(params):
    """Returns the SDK's keyword arguments for a form's parameters."""
    arguments = {
        name: params[name]
        for name in ("field_prefix", "device", "num_workers")
        if params.get(name) not in (None, "")
    }
    arguments["overwrite"] = params.get("overwrite", False)
    if params.get("how", _TRAIN) == _LOGITS:
        return {**arguments, "logits": params.get("logits") or None}

    model = params.get("model") or _MODELS[0][0]
    arguments.update(
        label_field=params.get("label_field"),
        model=model,
        store_predictions=params.get("store_predictions", False),
    )
    own = "encoder" if model in _HEADS else "image_size"
    if params.get(own) not in (None, ""):
        arguments[own] = params[own]
    for name, value, _, _ in _NUMBERS:
        arguments[name] = params.get(name, value)
    return arguments
