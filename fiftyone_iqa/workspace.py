"""The App's layout for image quality: images, panel, histograms."""

from __future__ import annotations

from .scoring.source import INFO_KEY

WORKSPACE = "iqa"
PANEL = "image_quality"


def save_workspace(dataset, path: str | None = None):
    """Saves the workspace ``iqa``; ``?workspace=iqa`` opens it.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        path (None): the field whose histogram is shown below the images, by
            default the first quality field, if there is one

    Returns:
        the ``fo.Space``
    """
    import fiftyone as fo

    samples = fo.Panel(type="Samples", pinned=True)
    state = {"path": path or _first_quality_field(dataset)}
    histograms = fo.Panel(type="Histograms", state=state)
    left = fo.Space(
        orientation="vertical",
        sizes=[0.68, 0.32],
        children=[_only(samples), _only(histograms)],
    )
    workspace = fo.Space(
        orientation="horizontal",
        sizes=[0.5, 0.5],
        children=[left, _only(fo.Panel(type=PANEL))],
    )
    dataset.save_workspace(
        WORKSPACE,
        workspace,
        description="Images, their quality and what it costs",
        overwrite=True,
    )
    return workspace


def _first_quality_field(dataset):
    import fiftyone as fo

    schema = dataset.get_field_schema(ftype=fo.FloatField)
    for path, field in schema.items():
        if "direction" in ((field.info or {}).get(INFO_KEY) or {}):
            return path
    return None


def _only(panel):
    import fiftyone as fo

    # A space without an active child stays blank
    return fo.Space(children=[panel], active_child=panel.component_id)
