"""The panel's upper part: the distribution, and the slice of poor images."""

import math

from fiftyone.operators import types

from . import panel_plots as plots
from . import panel_runs as runs
from .panel_parts import button, caption, choice, row
from .panel_shown import shown

_STEPS = 200
_SHARE = 0.05
_DIGITS = 4
# The slider keeps distance by itself; its ends belong under the plot's
_UNDER_PLOT = {"my": "-36px", "pl": "30px", "mr": "-4px"}


class ThresholdActions:
    """Sets a threshold on a metric, and acts on the images beyond it."""

    def on_threshold(self, ctx):
        """Moves the threshold to what was chosen or typed; filters."""
        value = ctx.params.get("value")
        # A field that is being typed may be empty
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return
        value = float(value)
        path = str(ctx.params.get("path")).rpartition(".")[2]
        if value == ctx.panel.state.threshold and ctx.panel.state.filtered:
            return
        self.set_threshold(ctx, value, by=path.partition("_")[0])
        self._show_slice(ctx)

    def on_poor(self, ctx):
        """Takes low, or high, values for poor."""
        ctx.panel.state.poor = ctx.params.get("value")
        run = shown(ctx)
        self.set_threshold(ctx, self.default_threshold(ctx, run))

    def on_show(self, ctx):
        """Filters the grid to the threshold's slice."""
        self._show_slice(ctx)

    def on_reset(self, ctx):
        """Returns to the view before the panel's."""
        runs.reset(ctx)
        ctx.panel.state.filtered = False

    def on_tag(self, ctx):
        """Tags the threshold's slice."""
        view = self._slice(ctx)
        if view is not None:
            name = runs.slug(ctx.panel.state.metric)
            runs.tag(ctx, view, f"iqa_low_{name}")

    def on_save(self, ctx):
        """Saves views of the threshold's slice, and of what contradicts it."""
        from fiftyone_iqa.saved_views import save_views

        run = shown(ctx)
        runs.save(
            ctx,
            lambda: save_views(
                runs.base_view(ctx),
                ctx.panel.state.metric,
                run.config.correctness,
                brain_key=run.key,
                **self._cut(ctx),
            ),
        )

    def on_export(self, ctx):
        """Exports the threshold's slice."""
        view = self._slice(ctx)
        if view is not None:
            runs.export(ctx, view)

    def set_threshold(self, ctx, value, by=None):
        """Moves the threshold; the grid stays.

        Args:
            ctx: the execution context
            value: the threshold
            by (None): ``"slider"`` or ``"typed"``, the control that moved
                it and that is left alone
        """
        state = ctx.panel.state
        value = float(f"{value:.{_DIGITS}g}")
        state.threshold = value
        # The others get a new name. The App ignores a new value of a field
        # once it was typed into, and says that of a slider was a user's
        for name, place in (("slider", ""), ("typed", "poor_row.")):
            if name != by:
                version = (state.get(f"{name}_version") or 0) + 1
                state.set(
                    {
                        f"{name}_version": version,
                        f"{place}{name}_{version}": value,
                    }
                )

    def threshold_section(self, ctx, panel):
        """Draws the distribution, the threshold and its buttons."""
        state = ctx.panel.state
        run = shown(ctx)
        found = run.report["metrics"][state.metric]
        low = run.is_low(state.metric, state.poor)
        threshold = state.threshold
        unit = _unit(ctx)
        traces, layout = plots.distribution(found, unit, threshold, low)
        panel.plot(
            "distribution",
            data=traces,
            layout=layout,
            config=plots.CONFIG,
            height="195px",
        )

        edges = found["distribution"]["bin_edges"]
        panel.float(
            f"slider_{state.slider_version or 0}",
            min=edges[0],
            max=edges[-1],
            default=threshold,
            view=types.SliderView(
                label=None,
                label_position="top",
                value_label_display="auto",
                value_precision=4,
                view_multiple_of=(edges[-1] - edges[0]) / _STEPS,
                componentsProps={
                    "slider": {"size": "small"},
                    "item": {"sx": _UNDER_PLOT},
                },
            ),
            on_change=self.on_threshold,
        )
        n, share = plots.share_inside(found, threshold, low)
        line = row(panel, "poor_row", "auto 120px 1fr", "center")
        caption(line, "says", f"Poor is {'≤' if low else '≥'}")
        line.float(
            f"typed_{state.typed_version or 0}",
            default=threshold,
            view=types.TextFieldView(
                compact=True,
                componentsProps={"field": {"inputProps": {"step": "any"}}},
            ),
            on_change=self.on_threshold,
        )
        caption(
            line,
            "inside",
            f"about **{n:,}** {unit}{' of the run' if run.key else ''}, "
            f"**{share:.1%}**",
        )
        if found["direction"] == "none":
            choice(
                panel,
                "poor",
                [("low", "Low values"), ("high", "High values")],
                state.poor or "low",
                f"{state.metric} has no direction: poor are",
                self.on_poor,
            )

        buttons = row(panel, "poor_buttons", "repeat(5, auto) 1fr")
        for name, label, icon, on_click in (
            ("show", "Show", "visibility", self.on_show),
            ("reset", "Reset", "restart_alt", self.on_reset),
            ("tag", "Tag", "sell", self.on_tag),
            ("save", "Save views", "bookmark_add", self.on_save),
            ("export", "Export", "download", self.on_export),
        ):
            button(buttons, name, label, icon, on_click)

    def default_threshold(self, ctx, run):
        """Returns where the poorest 5 % of the run end."""
        metric = ctx.panel.state.metric
        low = run.is_low(metric, ctx.panel.state.poor)
        quantiles = run.report["metrics"][metric]["distribution"]["quantiles"]
        return quantiles[str(_SHARE if low else 1 - _SHARE)]

    def _show_slice(self, ctx):
        view = self._slice(ctx)
        if view is not None:
            runs.show(ctx, view)
            ctx.panel.state.filtered = True

    def _slice(self, ctx):
        """Returns the slice of the view before the panel's, or None."""
        from fiftyone_iqa.errors import IQAError
        from fiftyone_iqa.views import low_quality_view

        try:
            return low_quality_view(
                runs.base_view(ctx), ctx.panel.state.metric, **self._cut(ctx)
            )
        except IQAError as e:
            ctx.ops.notify(str(e), variant="error")
            return None

    def _cut(self, ctx):
        """Returns the threshold as the SDK's arguments."""
        state = ctx.panel.state
        run = shown(ctx)
        return {
            "threshold": state.threshold,
            **run.direction(state.metric, state.poor),
        }


def _unit(ctx):
    from fiftyone_iqa.quality_columns import object_root

    root = object_root(ctx.dataset, ctx.panel.state.metric)
    return "images" if root is None else "objects"
