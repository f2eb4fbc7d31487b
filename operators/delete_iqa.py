"""The operator that deletes everything this extension wrote."""

import fiftyone.operators as foo
from fiftyone.operators import types

_WORD = "delete"


class DeleteIQA(foo.Operator):
    """A confirmation, one SDK call, refresh."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="delete_iqa",
            label="Delete image quality",
            description="Delete all that this extension wrote to a dataset: "
            "scores, runs, saved views, tags and the workspace",
            icon="delete_forever",
            dynamic=True,
            risk_level=types.RiskLevel.HIGH,
            view_target=False,
        )

    def resolve_input(self, ctx):
        """Asks for a confirmation."""
        from fiftyone_iqa.cleanup import written

        inputs = types.Object()
        found = written(ctx.dataset)
        inputs.view(
            "warning",
            types.Warning(
                label="Images are kept. This cannot be undone",
                description=f"Of {ctx.dataset.name!r} it deletes",
            ),
        )
        inputs.md(
            "\n".join(f"- {line}" for line in str(found).splitlines()),
            name="written",
        )
        if found.n_variants:
            inputs.bool(
                "variants",
                default=False,
                label=f"And {found.n_variants:,} corrupted samples",
                view=types.SwitchView(),
            )
        word = inputs.str(
            "confirm", required=True, label=f"Type {_WORD!r} to confirm"
        )
        if ctx.params.get("confirm") not in (None, "", _WORD):
            word.invalid = True
            word.error_message = f"Type {_WORD!r}"
        return types.Property(
            inputs, view=types.View(label="Delete image quality")
        )

    def execute(self, ctx):
        """Deletes; returns what."""
        from fiftyone_iqa.errors import IQAError

        if ctx.params.get("confirm") != _WORD:
            raise IQAError(
                f"Nothing was deleted; pass confirm={_WORD!r} to do it"
            )
        found = delete(ctx.dataset, ctx.params.get("variants", False))
        ctx.ops.reload_dataset()
        ctx.ops.notify(
            "Deleted all that fiftyone-iqa wrote here", variant="success"
        )
        return found

    def __call__(self, sample_collection, confirm=None, variants=False):
        """Does the same from Python.

        Args:
            sample_collection: a dataset or view
            confirm (None): must be ``"delete"``
            variants (False): whether to delete corrupted samples too

        Returns:
            what was deleted
        """
        from fiftyone_iqa.errors import IQAError

        if confirm != _WORD:
            raise IQAError(
                f"Nothing was deleted; pass confirm={_WORD!r} to do it"
            )
        return delete(sample_collection._root_dataset, variants)


def delete(dataset, variants=False):
    """Deletes all that this extension wrote; returns what, JSON-able."""
    import fiftyone_iqa as fiqa

    return fiqa.delete_everything(dataset, variants=variants).to_dict()
