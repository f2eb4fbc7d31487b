"""The operator that exports a slice of images."""

from fiftyone.operators import types

from .build_quality_prior import label_fields
from .find_low_quality import metric_arguments, metric_section
from .panel_runs import quality_fields
from .sdk_call import SDKOperator, call_config, dropdown
from .stages import build_view

_TYPES = (
    "FiftyOneDataset",
    "COCODetectionDataset",
    "YOLOv5Dataset",
    "ImageClassificationDirectoryTree",
    "ImageDirectory",
)
_ALL, _POOR = "all", "poor"


class ExportLowQuality(SDKOperator):
    """Form, one SDK call."""

    doing = "Exporting"

    @property
    def config(self):
        """The operator's configuration."""
        return call_config(
            "export_low_quality",
            "Export low-quality images",
            "Write a view, or its poor images, to a folder, with a manifest "
            "of what they are and why",
            "download",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        n = len(_target(ctx))
        fields = quality_fields(ctx.dataset)
        if fields:
            ways = types.RadioGroup()
            ways.add_choice(_ALL, label=f"All {n:,} images")
            ways.add_choice(_POOR, label="The poor ones among them")
            inputs.enum(
                "which", ways.values(), default=_ALL, view=ways, label="What"
            )
            if ctx.params.get("which") == _POOR:
                metric_section(ctx, inputs, fields)
        inputs.str("stages", required=False, view=types.HiddenView())
        inputs.str(
            "export_dir",
            required=True,
            label="Folder",
            description="New or empty, on the machine where the App's server "
            "runs",
        )
        dropdown(inputs, "dataset_type", _TYPES, "Format", default=_TYPES[0])
        labels = label_fields(ctx.dataset)
        if labels:
            dropdown(
                inputs,
                "label_field",
                labels,
                "Labels",
                "By default all, or the first that suits the format",
                required=False,
            )
        inputs.str(
            "reason",
            required=False,
            label="Reason",
            description="Noted in the manifest with every image",
        )
        inputs.bool(
            "copy",
            default=True,
            label="Copy the images",
            description="Otherwise link to them",
            view=types.SwitchView(),
        )
        inputs.bool(
            "overwrite",
            default=False,
            label="Replace an earlier export",
            view=types.SwitchView(),
        )
        return types.Property(
            inputs, view=types.View(label="Export low-quality images")
        )

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        return f"Export of {ctx.dataset.name}"

    def call(self, ctx, progress):
        """Exports the target view, or its poor images."""
        import fiftyone_iqa as fiqa

        params, view = ctx.params, _target(ctx)
        metric = None
        if params.get("which") == _POOR:
            cut = metric_arguments(ctx)
            metric = cut.pop("metric")
            view = fiqa.low_quality_view(view, metric, **cut)
        return fiqa.export_slice(
            view,
            params["export_dir"],
            dataset_type=params.get("dataset_type") or None,
            label_field=params.get("label_field") or None,
            copy=params.get("copy", True),
            overwrite=params.get("overwrite", False),
            metric=metric,
            reason=params.get("reason") or None,
            progress=progress,
        )

    def done(self, ctx, result):
        """Says where the images are."""
        return (
            f"Exported {result['n']:,} images to {result['export_dir']}",
            result,
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.export_slice`."""
        import fiftyone_iqa as fiqa

        return fiqa.export_slice(sample_collection, **kwargs)


def _target(ctx):
    """Returns the view that the panel named, else the target view."""
    stages = ctx.params.get("stages")
    if stages:
        return build_view(ctx.dataset, stages)
    return ctx.target_view()
