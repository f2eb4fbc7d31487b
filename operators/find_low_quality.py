"""The operator that selects, tags or saves images of poor quality."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .panel_runs import correctness_fields, quality_fields, slug
from .sdk_call import dropdown, invalid

_SHARE = 0.05
_SELECT, _TAG, _SAVE = "select", "tag", "save"


class FindLowQuality(foo.Operator):
    """Form, one SDK call, refresh."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="find_low_quality",
            label="Find low-quality images",
            description="Show, tag or save the images of poor quality",
            icon="image_search",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        ctx.target_view()
        fields = quality_fields(ctx.dataset)
        if not fields:
            invalid(
                inputs,
                "no_fields",
                "This dataset has no image quality: run Compute image "
                "quality first",
            )
        else:
            metric_section(ctx, inputs, fields)
            ways = types.RadioGroup()
            ways.add_choice(_SELECT, label="Show them")
            ways.add_choice(_TAG, label="Tag them")
            ways.add_choice(
                _SAVE,
                label="Save views: poor, good but wrong, poor but right",
            )
            inputs.enum(
                "then", ways.values(), default=_SELECT, view=ways, label="Then"
            )
            if ctx.params.get("then") == _TAG:
                metric = ctx.params.get("metric") or fields[0]
                inputs.str(
                    "tag", default=f"iqa_low_{slug(metric)}", label="Tag"
                )
        return types.Property(
            inputs, view=types.View(label="Find low-quality images")
        )

    def execute(self, ctx):
        """Finds the target view's poor images; returns how many."""
        arguments = metric_arguments(ctx)
        params = ctx.params
        then = params.get("then") or _SELECT
        view, result = find(
            ctx.target_view(),
            tag=_tag(params, arguments) if then == _TAG else None,
            save=then == _SAVE,
            **arguments,
        )
        if not ctx.delegated:
            if then == _SELECT:
                ctx.ops.set_view(view)
            else:
                ctx.ops.reload_dataset()
            ctx.ops.notify(_said(result), variant="success")
        return result

    def __call__(self, sample_collection, **kwargs):
        """Does the same from Python.

        Args:
            sample_collection: a dataset or view
            **kwargs: as for :func:`find`

        Returns:
            the view of the poor images
        """
        return find(sample_collection, **kwargs)[0]


def find(samples, metric, tag=None, save=False, **cut):
    """Finds poor images, and tags them or saves views of them.

    Args:
        samples: a dataset or view
        metric: a quality field
        tag (None): a tag for them
        save (False): whether to save views of them
        **cut: as :func:`fiftyone_iqa.low_quality_view` takes it

    Returns:
        the view, and JSON-able values
    """
    from fiftyone_iqa.saved_views import save_views, tag_view
    from fiftyone_iqa.views import low_quality_view

    view = low_quality_view(samples, metric, **cut)
    result = {"metric": metric, "n": len(view)}
    if tag is not None:
        tag_view(view, tag)
        result["tag"] = tag
    if save:
        correct = correctness_fields(samples._root_dataset)
        saved = save_views(
            samples, metric, correct[0] if correct else None, **cut
        )
        result["views"] = list(saved)
    return view, result


def metric_section(ctx, inputs, fields):
    """Adds a metric, where poor quality ends, and which way is poor."""
    chosen = ctx.params.get("metric")
    metric = chosen if chosen in fields else fields[0]
    dropdown(inputs, "metric", fields, "Quality field", default=fields[0])
    inputs.float(
        "quantile",
        min=0.0001,
        max=0.9999,
        required=False,
        label="Share",
        description="Of the images that is poor, such as 0.05",
        default=None if ctx.params.get("threshold") is not None else _SHARE,
    )
    inputs.float(
        "threshold",
        required=False,
        label="Or threshold",
        description="Quality at which images are poor; goes before the share",
    )
    if _has_no_direction(ctx.dataset, metric):
        ways = types.RadioGroup()
        ways.add_choice("low", label="Low values")
        ways.add_choice("high", label="High values")
        inputs.enum(
            "poor",
            ways.values(),
            default="low",
            view=ways,
            label=f"{metric} has no direction. Poor are",
        )


def metric_arguments(ctx):
    """Returns what :func:`metric_section` asked, as the SDK takes it."""
    params = ctx.params
    fields = quality_fields(ctx.dataset)
    metric = params.get("metric") or (fields[0] if fields else None)
    arguments = {"metric": metric}
    if params.get("threshold") is not None:
        arguments["threshold"] = params["threshold"]
    elif params.get("quantile") is not None:
        arguments["quantile"] = params["quantile"]
    if metric in fields and _has_no_direction(ctx.dataset, metric):
        arguments["higher_is_better"] = params.get("poor") != "high"
    return arguments


def _has_no_direction(dataset, metric):
    from fiftyone_iqa.scoring.source import INFO_KEY

    field = dataset.get_field(metric)
    return field.info[INFO_KEY]["direction"] == "none"


def _tag(params, arguments):
    return params.get("tag") or f"iqa_low_{slug(arguments['metric'])}"


def _said(result):
    said = f"{result['n']:,} images of poor {result['metric']}"
    if "tag" in result:
        said += f", tagged {result['tag']!r}"
    if "views" in result:
        said += f"; saved {', '.join(result['views'])}"
    return said
