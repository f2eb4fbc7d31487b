"""The App's layout for image quality: images, panel, histograms."""

from __future__ import annotations

from .errors import IQAError
from .quality_columns import quality_field_paths

WORKSPACE = "iqa"
PANEL = "image_quality"

# What marks a workspace as ours in people's datasets: not to be changed
_DESCRIPTION = "Images, their quality and what it costs"


def save_workspace(dataset, path: str | None = None):
    """Saves the workspace ``iqa``; ``?workspace=iqa`` opens it.

    Args:
        dataset: a ``fiftyone.core.dataset.Dataset``
        path (None): the field whose histogram is shown below the images, by
            default the first quality field, if there is one

    Returns:
        the ``fo.Space``

    Raises:
        IQAError: if the dataset has a workspace of this name that was not
            saved here
    """
    import fiftyone as fo
    import fiftyone.core.utils as fou

    taken = set(dataset.list_workspaces()) - set(our_workspaces(dataset))
    if WORKSPACE in {fou.to_slug(name) for name in taken}:
        raise IQAError(
            f"Dataset {dataset.name!r} has a workspace {WORKSPACE!r} that "
            "was not saved here; rename or delete it first"
        )
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
        description=_DESCRIPTION,
        overwrite=True,
    )
    return workspace


def our_workspaces(dataset) -> list[str]:
    """Returns the names of the workspaces that were saved here."""
    return [
        found["name"]
        for found in dataset.list_workspaces(info=True)
        if found["description"] == _DESCRIPTION
    ]


def _first_quality_field(dataset):
    """Returns an image's quality field before those of objects, or None."""
    paths = quality_field_paths(dataset)
    return min(paths, key=lambda path: "." in path, default=None)


def _only(panel):
    import fiftyone as fo

    # A space without an active child stays blank
    return fo.Space(children=[panel], active_child=panel.component_id)
