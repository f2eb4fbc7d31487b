"""The operator that makes corrupted variants of images."""

from fiftyone.operators import types

from .sdk_call import SDKOperator, call_config, invalid, several

_SEVERITIES = ("1", "2", "3", "4", "5")


class CorruptDataset(SDKOperator):
    """Form, one SDK call, the new dataset opened."""

    doing = "Corrupting images"

    @property
    def config(self):
        """The operator's configuration."""
        return call_config(
            "corrupt_dataset",
            "Corrupt images",
            "Make ImageNet-C's corruptions of images as a new dataset, to "
            "learn what quality costs",
            "blur_on",
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        import fiftyone as fo

        from fiftyone_iqa.corruptions import list_corruptions

        inputs = types.Object()
        target = ctx.target_view()
        names = list_corruptions()
        several(
            inputs, "corruptions", names, "Corruptions", default=list(names)
        )
        several(
            inputs,
            "severities",
            _SEVERITIES,
            "Severities",
            default=list(_SEVERITIES),
        )
        name = inputs.str(
            "dataset",
            default=_name(ctx),
            label="New dataset",
            description="A dataset made here before is resumed",
        )
        inputs.bool(
            "include_clean",
            default=True,
            label="Clean images too",
            view=types.SwitchView(),
        )
        if ctx.params.get("dataset") == ctx.dataset.name:
            name.invalid = True
            name.error_message = "Choose a name of its own"
        n = len(target)
        if not n:
            invalid(inputs, "empty", "The view is empty")
        conditions = len(ctx.params.get("corruptions") or names) * len(
            ctx.params.get("severities") or _SEVERITIES
        )
        said = f"{n:,} images, {n * conditions:,} variants"
        if fo.dataset_exists(ctx.params.get("dataset") or _name(ctx)):
            said += "; the dataset exists, what it has is kept"
        inputs.view("size", types.Notice(label=said))
        return types.Property(inputs, view=types.View(label="Corrupt images"))

    def resolve_run_name(self, ctx):
        """Names a delegated run."""
        return f"Corruptions of {ctx.dataset.name}"

    def call(self, ctx, progress):
        """Makes the variants of the target view."""
        import fiftyone_iqa as fiqa

        params = ctx.params
        return fiqa.corrupt_dataset(
            ctx.target_view(),
            corruptions=params.get("corruptions") or None,
            severities=[
                int(s) for s in params.get("severities") or _SEVERITIES
            ],
            dataset=params.get("dataset") or _name(ctx),
            include_clean=params.get("include_clean", True),
            # FiftyOne's server must not fork
            num_workers=params.get("num_workers", 0),
            progress=progress,
        )

    def done(self, ctx, result):
        """Opens the new dataset."""
        if not ctx.delegated:
            ctx.ops.open_dataset(result.name)
        return (
            f"{len(result):,} images in dataset {result.name!r}",
            {"dataset": result.name, "n": len(result)},
        )

    @staticmethod
    def sdk(sample_collection, **kwargs):
        """Calls :func:`fiftyone_iqa.corrupt_dataset`."""
        import fiftyone_iqa as fiqa

        return fiqa.corrupt_dataset(sample_collection, **kwargs)


def _name(ctx):
    return f"{ctx.dataset.name}-corrupted"
