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
        state.slices = {"of": self._slices_of(state), **found.to_dict()}

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

        found = self._found(ctx)
        table = SliceTable.from_dict(found, runs.base_view(ctx))
        runs.save(ctx, lambda: [table.save(ctx.params["row"])])

    def on_export_slice(self, ctx):
        """Exports a row's slice."""
        runs.export(ctx, self._slice_view(ctx))

    def slices_section(self, ctx, panel):
        """Draws the table."""
        found = self._found(ctx)
        line = row(panel, "find_row", "1fr auto", "start")
        caption(line, "slices_said", _said(found))
        button(
            line,
            "find",
            "Find again" if found else "Find slices",
            "search",
            self.on_find_slices,
            title="Reads the run's images as they are now",
        )
        if not found or not found["slices"]:
            return

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
            default=[_cells(i, r) for i, r in enumerate(found["slices"])],
        )

    def _slices_of(self, state):
        return f"{state.chosen}/{state.poor}"

    def _found(self, ctx):
        """Returns the table found last, else the run's, as a dict; or None."""
        state = ctx.panel.state
        if state.slices and state.slices["of"] == self._slices_of(state):
            return state.slices
        stored = runs.load_run(ctx.dataset, state.run).report.get("slices", {})
        return stored.get(state.metric)

    def _slice_of(self, ctx):
        return self._found(ctx)["slices"][ctx.params["row"]]

    def _slice_view(self, ctx):
        from fiftyone_iqa.slices import slice_view

        return slice_view(runs.base_view(ctx), self._slice_of(ctx))


def _said(found):
    if not found:
        return (
            "Classes, tags, other fields and quality bands in which quality "
            "and accuracy fall"
        )
    if not found["slices"]:
        return (
            "**No slices.** A slice, and the rest, need 20 scored images of "
            "5 originals; no class, tag or other field parts these so"
        )
    said = (
        f"The worst {len(found['slices'])} of {found['n_tested']:,} slices, "
        "by how far quality and accuracy fall for certain. Click a row to "
        "see it; \\* is significant (q < 0.05) after the guard for so many "
        "tests"
    )
    if any(_is_counted(s) for s in found["slices"]):
        said += (
            ". Accuracy “of n” is of so few judged images, or originals, "
            "that it is not compared"
        )
    return said


def _is_counted(found):
    """Whether an accuracy is what was counted, and compared with nothing."""
    return (
        found["accuracy"]["value"] is not None
        and found["lift"]["value"] is None
    )


def _accuracy(found):
    value = found["accuracy"]["value"]
    if value is None:
        return "–"
    said = f"{value:.1%}"
    return f"{said} of {found['n_judged']:,}" if _is_counted(found) else said


def _cells(i, found):
    return {
        "id": str(i),
        "name": found["name"],
        "n": f"{found['n']:,}",
        "quality": f"{found['mean_quality']:.3g}",
        "shift": _signed(found["shift"]["value"], "{:+.2f}", found["shift_q"]),
        "accuracy": _accuracy(found),
        "lift": _signed(found["lift"]["value"], "{:+.1%}", found["lift_q"]),
    }


def _signed(value, form, q):
    """Returns a difference; with a star where it is no chance finding."""
    if value is None:
        return "–"
    star = " *" if q is not None and q < 0.05 else ""
    return form.format(value) + star
