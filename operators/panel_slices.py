"""The panel's table of the worst slices."""

from fiftyone.operators import types

from . import panel_runs as runs
from .panel_parts import button, caption, row

_MAX_ROWS = 30
_COLUMNS = (
    ("name", "Slice"),
    ("n", "n"),
    ("quality", "Mean Q"),
    ("shift", "Shift, σ"),
    ("accuracy", "Accuracy"),
    ("lift", "Lift"),
)
_CELL = {"sx": {"fontSize": 12, "px": 1, "py": 0.5, "whiteSpace": "nowrap"}}
_TABLE = {
    "table": {"sx": {"minWidth": 0}},
    "tableContainer": {"sx": {"maxHeight": 330, "overflow": "auto"}},
    "tableHeadCell": _CELL,
    "tableBodyCell": {
        "sx": {**_CELL["sx"], "&:first-of-type": {"whiteSpace": "normal"}}
    },
}


class SliceActions:
    """Finds slices and acts on them."""

    def on_find_slices(self, ctx):
        """Ranks the slices of the run's images by the chosen metric."""
        from fiftyone_iqa.errors import IQAError
        from fiftyone_iqa.slices import find_slices

        state = ctx.panel.state
        run = runs.load_run(ctx.dataset, state.run)
        try:
            found = find_slices(
                ctx.dataset.load_brain_view(run.key),
                state.metric,
                run.config.correctness,
                source=run.config.source,
                max_slices=_MAX_ROWS,
                progress=False,
                **run.direction(state.metric, state.poor),
            )
        except IQAError as e:
            ctx.ops.notify(str(e), variant="error")
            return
        state.slices = {
            "of": self._slices_of(state),
            "n_tested": found.n_tested,
            "rows": [s.to_dict() for s in found],
        }

    def on_slice(self, ctx):
        """Filters the grid to a row's slice."""
        if ctx.params.get("row", -1) >= 0:
            runs.show(ctx, self._slice_view(ctx))

    def on_tag_slice(self, ctx):
        """Tags a row's slice."""
        name = runs.slug(self._slice_of(ctx)["name"])
        runs.tag(ctx, self._slice_view(ctx), f"iqa_slice_{name}")

    def on_save_slice(self, ctx):
        """Saves a row's slice as a view."""
        from fiftyone_iqa.slices import SliceTable

        state, found = ctx.panel.state, self._slice_of(ctx)
        values = {
            "metric": state.metric,
            "n_tested": state.slices["n_tested"],
            "skipped": {},
            "slices": [found],
        }
        table = SliceTable.from_dict(values, runs.base_view(ctx))
        runs.save(ctx, lambda: [table.save(0)])

    def on_export_slice(self, ctx):
        """Exports a row's slice."""
        runs.export(ctx, self._slice_view(ctx))

    def slices_section(self, ctx, panel):
        """Draws the table."""
        state = ctx.panel.state
        found = state.slices
        if not found or found["of"] != self._slices_of(state):
            caption(
                panel,
                "slices_said",
                "Classes, tags, other fields and quality bands in which "
                "quality and accuracy fall",
            )
            button(
                row(panel, "find_row", "auto 1fr"),
                "find",
                "Find slices",
                "search",
                self.on_find_slices,
            )
            return

        caption(
            panel,
            "slices_said",
            f"The worst {len(found['rows'])} of {found['n_tested']:,} "
            "slices, by how far quality and accuracy fall for certain. "
            "Click a row to see it; \\* is significant (q < 0.05) after "
            "the guard for so many tests",
        )
        table = types.TableView(
            on_click_row=self.on_slice, componentsProps=_TABLE
        )
        for key, label in _COLUMNS:
            table.add_column(key, label=label)
        for name, label, icon, on_click in (
            ("view", "View", "visibility", self.on_slice),
            ("tag", "Tag", "sell", self.on_tag_slice),
            ("save", "Save view", "bookmark_add", self.on_save_slice),
            ("export", "Export", "download", self.on_export_slice),
        ):
            table.add_row_action(name, on_click, label=label, icon=icon)
        panel.list(
            "slices_table",
            types.Object(),
            view=table,
            default=[_cells(i, r) for i, r in enumerate(found["rows"])],
        )

    def _slices_of(self, state):
        return f"{state.chosen}/{state.poor}"

    def _slice_of(self, ctx):
        return ctx.panel.state.slices["rows"][ctx.params["row"]]

    def _slice_view(self, ctx):
        from fiftyone_iqa.slices import slice_view

        return slice_view(runs.base_view(ctx), self._slice_of(ctx))


def _cells(i, found):
    accuracy, lift = found["accuracy"]["value"], found["lift"]["value"]
    return {
        "id": str(i),
        "name": found["name"],
        "n": f"{found['n']:,}",
        "quality": f"{found['mean_quality']:.3g}",
        "shift": _signed(found["shift"]["value"], "{:+.2f}", found["shift_q"]),
        "accuracy": "–" if accuracy is None else f"{accuracy:.1%}",
        "lift": _signed(lift, "{:+.1%}", found["lift_q"]),
    }


def _signed(value, form, q):
    """Returns a difference; with a star where it is no chance finding."""
    if value is None:
        return "–"
    star = " *" if q is not None and q < 0.05 else ""
    return form.format(value) + star
