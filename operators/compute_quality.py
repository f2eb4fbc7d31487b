"""The operator that computes quality metrics."""

import shutil

import fiftyone.operators as foo
from fiftyone.operators import types

from .progress import delegated, stream

_AUTO = "auto"
_TYPED = "typed"

# Rough images per second, only to propose delegation
_RATE_ENCODER_CPU = 15.0
_RATE_ENCODER_GPU = 500.0
_RATE_PIXELS = 100.0
_DELEGATE_ABOVE_SECONDS = 300


class ComputeQuality(foo.Operator):
    """Form, one SDK call, refresh."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="compute_quality",
            label="Compute image quality",
            description="Score how good images are for models and store the "
            "scores as sample fields",
            icon="high_quality",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
            allow_distributed_execution=True,
            # Adds fields; replaces scores only when told to
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        target = ctx.target_view()
        if _target_section(inputs, target):
            specs = _metrics_section(ctx, inputs)
            if any(spec.needs_labels for spec in specs):
                _labels_section(ctx, inputs)
                _encoder_section(inputs)
            _storage_section(inputs)

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

    def execute(self, ctx):
        """Scores the target view.

        Returns:
            a generator of messages for the App; in a delegated operation the
            report as a dict
        """
        if ctx.delegated:
            report = delegated(
                ctx, lambda progress: _compute(ctx, progress), "Scoring"
            )
            return report.to_dict()
        return self._execute_live(ctx)

    def __call__(
        self,
        sample_collection,
        delegate=False,
        delegation_target=None,
        **kwargs,
    ):
        """Scores a collection from Python.

        Args:
            sample_collection: a dataset or view
            delegate (False): whether to schedule the operation instead
            delegation_target (None): where to schedule it
            **kwargs: as for :func:`fiftyone_iqa.compute_quality`

        Returns:
            a ``QualityReport``, or with ``delegate`` FiftyOne's
            ``ExecutionResult``
        """
        if not delegate:
            import fiftyone_iqa as fiqa

            return fiqa.compute_quality(sample_collection, **kwargs)

        return foo.execute_operator(
            self.uri,
            {"view": sample_collection.view()},
            params=kwargs,
            request_delegation=True,
            delegation_target=delegation_target,
        )

    def _execute_live(self, ctx):
        try:
            report = yield from stream(
                ctx, lambda progress: _compute(ctx, progress), "Scoring"
            )
        except Exception as e:
            yield ctx.ops.set_progress(label="Scoring: stopped", progress=0)
            yield ctx.ops.notify(str(e), variant="error")
            raise

        yield ctx.ops.reload_dataset()
        failed = f", {report.n_failed:,} failed" if report.n_failed else ""
        yield ctx.ops.notify(
            f"Image quality: {report.n - report.n_failed:,} of {report.n:,} "
            f"scored{failed} ({report.seconds['total']:.0f} s on "
            f"{report.device})",
            variant="warning" if report.n_failed else "success",
        )


def _compute(ctx, progress):
    import fiftyone_iqa as fiqa
    from fiftyone_iqa.sidebar import index_fields, show_in_sidebar

    report = fiqa.compute_quality(
        ctx.target_view(), progress=progress, **_arguments(ctx.params)
    )

    fields = [field for m in report.metrics for field in m.fields]
    if report.field_root:
        return report
    if ctx.params.get("sidebar_group", True):
        show_in_sidebar(ctx.dataset, fields)
    if ctx.params.get("create_index", False):
        index_fields(ctx.dataset, fields)
    return report


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
    for name in ("temperature", "templates", "field_prefix"):
        if params.get(name) not in (None, ""):
            arguments[name] = params[name]
    for name in ("batch_size", "num_workers", "device"):
        if params.get(name) is not None:
            arguments[name] = params[name]
    for name in ("overwrite", "skip_failures", "cache"):
        if name in params:
            arguments[name] = params[name]
    return arguments


def _target_section(inputs, target):
    """Says how much there is to score; returns whether it can be."""
    from fiftyone_iqa.errors import IQAError
    from fiftyone_iqa.scoring.source import open_source

    try:
        source = open_source(target)
    except IQAError as e:
        prop = inputs.view("unusable", types.Error(label=str(e)))
        prop.invalid = True
        return False

    n = len(source.samples)
    noun = "object" if source.samples._is_patches else "image"
    inputs.view(
        "target_size",
        types.Notice(label=f"{n:,} {noun if n == 1 else f'{noun}s'}"),
    )
    return True


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


def _storage_section(inputs):
    inputs.bool(
        "overwrite",
        default=False,
        label="Score again what has scores",
        description="Otherwise only missing scores are computed",
        view=types.SwitchView(),
    )
    inputs.str(
        "field_prefix",
        required=False,
        label="Field prefix",
        description="Keeps scores of another configuration beside the "
        "existing ones",
    )
    inputs.bool(
        "sidebar_group",
        default=True,
        label="Group the fields in the sidebar",
        description="Shows when the dataset is opened the next time",
        view=types.SwitchView(),
    )
    inputs.bool(
        "create_index",
        default=False,
        label="Index the fields",
        description="Makes filtering fast on large datasets",
        view=types.SwitchView(),
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
