"""The operator that lays out grid, panel and histograms."""

import fiftyone.operators as foo
from fiftyone.operators import types


class OpenWorkspace(foo.Operator):
    """Saves the workspace and opens it."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="open_iqa_workspace",
            label="Open the image quality workspace",
            description="Save and open a layout: images, the Image Quality "
            "panel and histograms",
            icon="dashboard",
            risk_level=types.RiskLevel.LOW,
            view_target=False,
        )

    def execute(self, ctx):
        """Saves and opens it."""
        from fiftyone_iqa.workspace import WORKSPACE, save_workspace

        save_workspace(ctx.dataset)
        ctx.ops.set_spaces(name=WORKSPACE)
        return {"workspace": WORKSPACE}

    def __call__(self, sample_collection):
        """Saves it from Python.

        Args:
            sample_collection: a dataset or view

        Returns:
            the ``fo.Space``
        """
        from fiftyone_iqa.workspace import save_workspace

        return save_workspace(sample_collection._root_dataset)
