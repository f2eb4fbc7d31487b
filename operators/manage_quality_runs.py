"""The operator that lists, renames and deletes runs of quality priors."""

import fiftyone.operators as foo
from fiftyone.operators import types

from .panel_runs import list_runs, load_run
from .sdk_call import dropdown, invalid

_LIST, _RENAME, _DELETE = "list", "rename", "delete"
_COLUMNS = (
    ("key", "Run"),
    ("created", "Built"),
    ("n", "Images"),
    ("accuracy", "Accuracy"),
    ("best", "Best metric"),
    ("auc", "AUC"),
)


class ManageQualityRuns(foo.Operator):
    """Form, one FiftyOne call, a table."""

    @property
    def config(self):
        """The operator's configuration."""
        return foo.OperatorConfig(
            name="manage_quality_runs",
            label="Manage quality priors",
            description="List, rename or delete the runs that relate quality "
            "to correctness",
            icon="list_alt",
            dynamic=True,
            risk_level=types.RiskLevel.MEDIUM,
            view_target=False,
        )

    def resolve_input(self, ctx):
        """Builds the form."""
        inputs = types.Object()
        keys = list_runs(ctx.dataset)
        if not keys:
            inputs.view(
                "none",
                types.Notice(
                    label="This dataset has no quality prior: run Build "
                    "quality prior"
                ),
            )
        else:
            ways = types.RadioGroup()
            ways.add_choice(_LIST, label="List")
            ways.add_choice(_RENAME, label="Rename")
            ways.add_choice(_DELETE, label="Delete")
            inputs.enum(
                "action", ways.values(), default=_LIST, view=ways, label="Do"
            )
            action = ctx.params.get("action") or _LIST
            if action != _LIST:
                dropdown(inputs, "key", keys, "Run", default=keys[0])
            if action == _RENAME:
                _new_key(ctx, inputs)
            elif action == _DELETE:
                inputs.view(
                    "kept",
                    types.Notice(label="Scores and correctness are kept"),
                )
        return types.Property(
            inputs, view=types.View(label="Manage quality priors")
        )

    def execute(self, ctx):
        """Does it; returns the runs there are then."""
        params = ctx.params
        manage(
            ctx.dataset,
            params.get("action") or _LIST,
            params.get("key"),
            params.get("new_key"),
        )
        if not ctx.delegated and params.get("action") in (_RENAME, _DELETE):
            ctx.ops.reload_dataset()
        return {"runs": runs_table(ctx.dataset)}

    def resolve_output(self, ctx):
        """Shows the runs as a table."""
        outputs = types.Object()
        table = types.TableView()
        for key, label in _COLUMNS:
            table.add_column(key, label=label)
        outputs.list("runs", types.Object(), view=table, label="Runs")
        return types.Property(outputs, view=types.View(label="Quality priors"))

    def __call__(
        self, sample_collection, action=_LIST, key=None, new_key=None
    ):
        """Does the same from Python.

        Args:
            sample_collection: a dataset or view
            action ("list"): or ``"rename"``, ``"delete"``
            key (None): of the run
            new_key (None): for ``"rename"``

        Returns:
            list of dicts, a run each
        """
        dataset = sample_collection._root_dataset
        manage(dataset, action, key, new_key)
        return runs_table(dataset)


def manage(dataset, action, key=None, new_key=None):
    """Renames or deletes a run.

    Raises:
        IQAError: if there is no such run or action, or the new key is taken
    """
    from fiftyone_iqa.errors import IQAError

    if action == _LIST:
        return
    keys = list_runs(dataset)
    key = key or (keys[0] if len(keys) == 1 else None)
    if key not in keys:
        raise IQAError(
            f"Dataset {dataset.name!r} has no quality prior {key!r}; it has "
            f"{', '.join(keys) or 'none'}"
        )
    if action == _DELETE:
        dataset.delete_brain_run(key)
    elif action == _RENAME:
        if not new_key or not new_key.isidentifier():
            raise IQAError(
                "new_key must be letters, digits and _, such as 'iqa_2', not "
                f"{new_key!r}"
            )
        if new_key in dataset.list_brain_runs():
            raise IQAError(f"There is a brain run {new_key!r} already")
        dataset.rename_brain_run(key, new_key)
    else:
        raise IQAError(
            f"action must be 'list', 'rename' or 'delete', not {action!r}"
        )


def runs_table(dataset):
    """Returns a dict per run."""
    rows = []
    for key in list_runs(dataset):
        run = load_run(dataset, key)
        best = run.order[0]
        auc = run.report["metrics"][best]["predictability"]["auc"]["value"]
        rows.append(
            {
                "key": key,
                "created": run.report["created"][:16].replace("T", " "),
                "n": run.report["n"],
                "accuracy": f"{run.report['accuracy']:.1%}",
                "best": best,
                "auc": None if auc is None else f"{auc:.3f}",
            }
        )
    return rows


def _new_key(ctx, inputs):
    new_key = ctx.params.get("new_key")
    prop = inputs.str("new_key", required=True, label="New name")
    if new_key and not new_key.isidentifier():
        prop.invalid = True
        prop.error_message = "Letters, digits and _, beginning with a letter"
    elif new_key in ctx.dataset.list_brain_runs():
        invalid(inputs, "taken", f"There is a brain run {new_key!r} already")
