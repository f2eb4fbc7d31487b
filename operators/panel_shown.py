"""What the panel shows: a run or, without one, a field's histogram."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from . import panel_runs as runs


def shown(ctx) -> runs.Run:
    """Returns the panel's run; without one, what :func:`count` counted.

    That has no key, only the chosen metric, and of it only the direction
    and the distribution.
    """
    state = ctx.panel.state
    if state.run is not None:
        return runs.load_run(ctx.dataset, state.run)
    return _from_counted(ctx, state.counted)


def count(ctx, metric: str | None = None) -> runs.Run | None:
    """Counts a quality field of the dataset, and keeps it in the state.

    Args:
        ctx: the execution context
        metric (None): the field; by default the first that has values

    Returns:
        None where no field has a value

    Raises:
        IQAError: if the field named has no value
    """
    from fiftyone_iqa.errors import IQAError
    from fiftyone_iqa.histogram import histogram

    state = ctx.panel.state
    fields = runs.quality_fields(ctx.dataset) if metric is None else [metric]
    found = None
    for path in fields:
        correctness = _correctness(ctx.dataset, path)
        try:
            found = histogram(ctx.dataset, path, correctness)
        except IQAError:
            if metric is not None:
                raise
            continue
        found |= {"path": path, "correctness": correctness}
        break
    if found is None:
        state.counted = None
        return None

    # As the state comes back from the App
    found = json.loads(json.dumps(found))
    before = state.counted or {}
    # What counts the same keeps its time, and with it the threshold
    found["created"] = before.get("created")
    if before != found:
        found["created"] = datetime.now(timezone.utc).isoformat()
        state.counted = found
    return _from_counted(ctx, found)


def _from_counted(ctx, found):
    from types import SimpleNamespace

    report = {
        "created": found["created"],
        "metrics": {found["path"]: found},
    }
    return runs.Run(
        key=None,
        report=report,
        order=runs.quality_fields(ctx.dataset),
        config=SimpleNamespace(correctness=found["correctness"]),
    )


def _correctness(dataset, metric):
    """Returns our correctness of a metric's images or objects, if any."""
    from fiftyone_iqa.quality_columns import object_root
    from fiftyone_iqa.scoring.source import INFO_KEY

    root = object_root(dataset, metric)
    for path in runs.correctness_fields(dataset):
        ours = INFO_KEY in (dataset.get_field(path).info or {})
        if ours and object_root(dataset, path) == root:
            return path
    return None
