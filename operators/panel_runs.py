"""What the panel reads: runs, fields, and the views it sets."""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from dataclasses import dataclass

from .panel_parts import URI

RUN_TYPE = "image_quality"

_MAX_CACHED = 8
# Events overtake views: one may come with the view before the last
_MAX_OWN = 5
_cache: OrderedDict = OrderedDict()


@dataclass(frozen=True)
class Run:
    """A brain run's stored aggregates.

    Attributes:
        key: its brain key
        report: what was found
        order: its metrics, the most predictive first
        config: its configuration
    """

    key: str
    report: dict
    order: list[str]
    config: object

    def is_low(self, metric: str, poor: str | None) -> bool:
        """Whether low values of a metric are poor quality.

        Args:
            metric: a field of the run
            poor: ``"low"`` or ``"high"``, what the user said of a metric
                without a direction
        """
        direction = self.report["metrics"][metric]["direction"]
        if direction == "none":
            return poor != "high"
        return direction == "higher"

    def direction(self, metric: str, poor: str | None) -> dict:
        """Returns ``higher_is_better=`` where a metric has no direction."""
        if self.report["metrics"][metric]["direction"] != "none":
            return {}
        return {"higher_is_better": self.is_low(metric, poor)}


def list_runs(dataset) -> list[str]:
    """Returns the keys of the dataset's runs, the newest first."""
    keys = dataset.list_brain_runs(type=RUN_TYPE)
    return sorted(
        keys,
        key=lambda key: dataset.get_brain_info(key).timestamp,
        reverse=True,
    )


def load_run(dataset, key: str) -> Run:
    """Loads a run; kept in memory until it is built anew.

    Every event of the panel renders it, and a run of ten metrics takes
    tenths of a second to read.
    """
    info = dataset.get_brain_info(key)
    name = (str(dataset._doc.id), key, str(info.timestamp))
    if name not in _cache:
        results = dataset.load_brain_results(key, cache=False)
        _cache[name] = Run(key, results.report, results.metrics, info.config)
        while len(_cache) > _MAX_CACHED:
            _cache.popitem(last=False)
    _cache.move_to_end(name)
    return _cache[name]


def quality_fields(dataset) -> list[str]:
    """Returns the paths of the fields that hold quality."""
    from fiftyone_iqa.quality_columns import quality_field_paths

    return quality_field_paths(dataset)


def correctness_fields(dataset) -> list[str]:
    """Returns the paths of boolean fields, those of this extension first."""
    import fiftyone as fo

    from fiftyone_iqa.scoring.source import INFO_KEY

    schema = dataset.get_field_schema(ftype=fo.BooleanField, flat=True)
    return sorted(
        schema, key=lambda path: INFO_KEY not in (schema[path].info or {})
    )


def base_view(ctx):
    """Returns the view that the panel's filters start from.

    That is the App's view, unless it is the one that the panel set itself:
    then it is the one before. So the panel need not listen to views, and
    cannot loop.
    """
    state = ctx.panel.state
    if stages_of(ctx.view) in (state.own or ()):
        return from_stages(ctx.dataset, state.base)
    return ctx.view


def show(ctx, view) -> None:
    """Sets the App's view and remembers that the panel did."""
    # In one patch: the App does not keep the order of several
    own = [stages_of(view), *(ctx.panel.state.own or ())]
    ctx.panel.state.set(
        {"base": stages_of(base_view(ctx)), "own": own[:_MAX_OWN]}
    )
    _outdate(ctx)
    ctx.ops.set_view(view)


def reset(ctx) -> None:
    """Sets the App's view back to the one before the panel's."""
    view = base_view(ctx)
    _outdate(ctx)
    if view._stages:
        ctx.ops.set_view(view)
    else:
        ctx.ops.clear_view()


def _outdate(ctx):
    """Says that the accuracy to expect is of another view than the next.

    The panel does not listen to views: the App would send it three events
    after each of its own, and draw it with the state before.
    """
    found = ctx.panel.state.expected
    if found:
        ctx.panel.state.expected = {**found, "stages": None}


def tag(ctx, view, name: str) -> None:
    """Tags a view's samples, or says why not."""
    from fiftyone_iqa.errors import IQAError
    from fiftyone_iqa.saved_views import tag_view

    try:
        n = tag_view(view, name)
    except IQAError as e:
        ctx.ops.notify(str(e), variant="error")
        return
    ctx.ops.reload_dataset()
    ctx.ops.notify(f"Tagged {n:,} samples {name!r}", variant="success")


def save(ctx, call) -> None:
    """Calls what saves views and returns their names; or says why not."""
    from fiftyone_iqa.errors import IQAError

    try:
        names = call()
    except IQAError as e:
        ctx.ops.notify(str(e), variant="error")
        return
    ctx.ops.reload_dataset()
    ctx.ops.notify(f"Saved {', '.join(names)}", variant="success")


def slug(text: str) -> str:
    """Returns a text as part of a tag's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def export(ctx, view) -> None:
    """Opens the form that exports a view, and shows the view."""
    show(ctx, view)
    # Named, because the form can be there before the view is
    ctx.prompt(f"{URI}export_low_quality", params={"stages": stages_of(view)})


def from_stages(dataset, stages: str):
    """Returns the view of stages that came along with a form."""
    import fiftyone as fo

    return fo.DatasetView._build(dataset, json.loads(stages))


def expectation(view, run: Run, metric: str) -> dict:
    """Compares the accuracy a prior expects of a view with the actual one.

    Returns:
        ``said``, Markdown, and ``warnings``, sentences

    Raises:
        IQAError: if the view has no quality
    """
    import numpy as np

    from fiftyone_iqa.analysis.expected import expected_accuracy
    from fiftyone_iqa.analysis.prior import QualityPrior
    from fiftyone_iqa.quality_columns import QualityColumns, metric_fields

    prior = QualityPrior.from_dict(run.report["metrics"][metric]["prior"])
    # Read once, for what is expected and for what was
    fields = metric_fields(view, [metric])
    correctness = run.config.correctness
    columns = QualityColumns(view, fields, also=[correctness])
    found = expected_accuracy(
        prior,
        columns.quality,
        source=columns.source,
        identities=[field.identity for field in fields],
    )
    said = f"Expected **{found.accuracy}** over {found.n:,} of this view"
    correct = columns.correct(correctness)
    judged = np.isfinite(correct)
    if judged.any():
        said += (
            f" · actual **{correct[judged].mean():.3f}** "
            f"({judged.sum():,} judged)"
        )
    else:
        said += " · nothing here is judged"
    return {"said": said, "warnings": list(found.warnings)}


def stages_of(view) -> str:
    """Returns what tells a view from others."""
    stages = view._serialize(include_uuids=False)
    return json.dumps(stages, sort_keys=True, default=str)
