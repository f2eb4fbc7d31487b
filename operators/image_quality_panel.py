"""The panel: which images are poor for models, and what that costs."""

import fiftyone.operators as foo
from fiftyone.operators import types

from . import panel_plots as plots
from . import panel_runs as runs
from .panel_parts import URI, button, caption, choice, row
from .panel_shown import count, shown
from .panel_slices import SliceActions
from .panel_threshold import ThresholdActions

TABS = (
    ("accuracy", "Accuracy"),
    ("prior", "Prior"),
    ("metrics", "Metrics"),
    ("slices", "Slices"),
)
_HELP = (
    "Choose a **run** and a **metric**. The slider sets which images count "
    "as poor; the grid follows. Click a point to see its group. Reset "
    "returns to your own view."
)
_HEIGHT = 270
_PER_METRIC = 30
_PAGE = {
    "p": 1.5,
    "pt": 1,
    "justifyContent": "stretch",
    "gridTemplateColumns": "minmax(0, 1fr)",
}


class ImageQualityPanel(ThresholdActions, SliceActions, foo.Panel):
    """Shows a brain run; every event redraws from its stored bins.

    Without a run it shows a quality field, whose bins are counted once.
    """

    @property
    def config(self):
        """The panel's configuration."""
        return foo.PanelConfig(
            name="image_quality",
            label="Image Quality",
            icon="high_quality",
            category=foo.Categories.CURATE,
            surfaces="grid",
            help_markdown=_HELP,
        )

    # Events -----------------------------------------------------------------

    def on_load(self, ctx):
        """Chooses the newest run."""
        self._choose_run(ctx, ctx.panel.state.run)

    def on_change_dataset(self, ctx):
        """Starts over."""
        ctx.panel.state.clear()
        self._choose_run(ctx, None)

    def refresh(self, ctx):
        """Shows what an operator has changed."""
        self._choose_run(ctx, None)

    def on_run(self, ctx):
        """Shows another run."""
        self._choose_run(ctx, ctx.params.get("value"))

    def on_metric(self, ctx):
        """Shows another metric."""
        from fiftyone_iqa.errors import IQAError

        run, metric = self._run(ctx), ctx.params.get("value")
        if run.key is None:
            try:
                run = count(ctx, metric)
            except IQAError as e:
                ctx.ops.notify(str(e), variant="error")
                return
        self._choose_metric(ctx, run, metric)

    def on_tab(self, ctx):
        """Shows another plot."""

    def on_point(self, ctx):
        """Filters the grid to a group."""
        from fiftyone_iqa.selection import select

        run, metric = self._run(ctx), ctx.panel.state.metric
        groups = run.report["metrics"][metric]["groups"]
        place = ctx.params.get("id")
        if groups is None or place is None:
            return
        row = groups["rows"][int(place)]
        view = runs.base_view(ctx)
        conditions = dict(zip(groups["fields"], row["name"]))
        runs.show(ctx, select(view, conditions))

    def on_expect(self, ctx):
        """Asks for the accuracy to expect of the App's view."""
        state = ctx.panel.state
        n = (state.counts or 0) + 1
        state.set({"counts": n, "counting": True, "expected": None})

    def execute(self, ctx):
        """Runs an event; all but a count draw the panel."""
        if ctx.params.get("__method__") == "count":
            return self.count(ctx)
        return super().execute(ctx)

    def count(self, ctx):
        """Compares expected with actual accuracy of the App's view.

        It takes seconds, and the panel may have changed meanwhile. So it
        draws nothing: what it returns goes to :meth:`on_counted`.
        """
        from fiftyone_iqa.errors import IQAError

        run = runs.load_run(ctx.dataset, ctx.params["run"])
        try:
            found = runs.expectation(ctx.view, run, ctx.params["metric"])
        except IQAError as e:
            found = {"said": f"⚠ {e}", "warnings": []}
        return {
            "of": ctx.params["of"],
            "stages": runs.stages_of(ctx.view),
            **found,
        }

    def on_counted(self, ctx):
        """Shows what was counted."""
        value = ctx.params.get("value") or {}
        state = ctx.panel.state
        found = value.get("data")
        if value.get("state") == "loaded" and found["of"] == state.chosen:
            state.set({"counting": False, "expected": found})

    def prompt(self, ctx):
        """Opens the form of one of the extension's operators."""
        ctx.prompt(
            URI + ctx.params["operator"],
            params=ctx.params.get("form") or None,
            on_success=self.refresh,
        )

    # State ------------------------------------------------------------------

    def _run(self, ctx):
        return shown(ctx)

    def _choose_run(self, ctx, key):
        state = ctx.panel.state
        keys = runs.list_runs(ctx.dataset)
        if key not in keys:
            key = keys[0] if keys else None
        state.run = key
        if key is None:
            self._choose_field(ctx)
            return
        run = runs.load_run(ctx.dataset, key)
        metric = state.metric
        if metric not in run.order:
            metric = run.order[0]
        self._choose_metric(ctx, run, metric)

    def _choose_field(self, ctx):
        """Counts the field shown, or else the first that has values."""
        from fiftyone_iqa.errors import IQAError

        try:
            run = count(ctx, ctx.panel.state.metric)
        except IQAError:
            run = count(ctx)
        if run is not None:
            (metric,) = run.report["metrics"]
            self._choose_metric(ctx, run, metric)

    def _choose_metric(self, ctx, run, metric):
        if metric not in run.order:
            return
        state = ctx.panel.state
        chosen = f"{run.key}/{run.report['created']}/{metric}"
        if state.chosen == chosen:
            return
        state.set(
            {
                "chosen": chosen,
                "metric": metric,
                "expected": None,
                "counting": False,
            }
        )
        self.set_threshold(ctx, self.default_threshold(ctx, run))

    # What is seen -----------------------------------------------------------

    def render(self, ctx):
        """Draws the state."""
        panel, state = types.Object(), ctx.panel.state
        if state.run is None:
            if state.counted:
                self._field_choice(ctx, panel)
                self.threshold_section(ctx, panel)
            self._next_step(ctx, panel)
        else:
            self._header(ctx, panel)
            self.threshold_section(ctx, panel)
            self._tabs(ctx, panel)
        return types.Property(
            panel,
            view=types.GridView(
                orientation="vertical",
                gap=1,
                componentsProps={"grid": {"sx": _PAGE}},
            ),
        )

    def _header(self, ctx, panel):
        run = self._run(ctx)
        line = row(panel, "header", "1fr 1.4fr auto")
        choice(
            line,
            "run",
            runs.list_runs(ctx.dataset),
            run.key,
            "Run",
            self.on_run,
        )
        self._metric_choice(
            ctx, line, run.order, "Metric, the most predictive first"
        )
        button(
            line,
            "build",
            "Build",
            "add",
            self.prompt,
            operator="build_quality_prior",
        )
        caption(panel, "about", _about(run))

    def _field_choice(self, ctx, panel):
        self._metric_choice(
            ctx,
            row(panel, "header", "1fr"),
            runs.quality_fields(ctx.dataset),
            "Quality field",
        )

    def _metric_choice(self, ctx, line, metrics, label):
        metric = ctx.panel.state.metric
        choice(line, "metric", metrics, metric, label, self.on_metric)

    def _tabs(self, ctx, panel):
        tabs = types.TabsView(variant="rounded")
        for value, label in TABS:
            tabs.add_choice(value, label=label)
        tab = ctx.panel.state.tab or TABS[0][0]
        panel.enum(
            "tab",
            tabs.values(),
            default=TABS[0][0],
            view=tabs,
            on_change=self.on_tab,
        )
        run, metric = self._run(ctx), ctx.panel.state.metric
        found = run.report["metrics"][metric]
        height = _HEIGHT
        if tab == "slices":
            self.slices_section(ctx, panel)
            return
        if tab == "accuracy":
            traces, layout, title = plots.accuracy(found)
        elif tab == "prior":
            traces, layout, title = plots.prior(found, metric)
        else:
            traces, layout = plots.metrics(run.report, run.order, metric)
            height = 50 + min(_PER_METRIC * len(run.order), _HEIGHT)
            title = "How well metrics tell right from wrong, 95 % intervals"
        caption(panel, "title", title)
        if tab == "prior" and traces:
            self._expectation(ctx, panel)
        if traces:
            panel.plot(
                f"plot_{tab}",
                data=traces,
                layout=layout,
                config=plots.CONFIG,
                height=f"{height}px",
                on_click=self.on_point if tab == "accuracy" else None,
            )

    def _expectation(self, ctx, panel):
        button(
            row(panel, "expect_row", "auto 1fr"),
            "expect",
            "Expect the view's accuracy",
            "calculate",
            self.on_expect,
        )
        state = ctx.panel.state
        found = state.expected
        if found:
            said = found["said"]
            if found["stages"] != runs.stages_of(ctx.view):
                said = f"Of an earlier view: {said}"
            # Not the name of the state, which the App would show instead
            caption(panel, "expected_said", said)
            for i, warning in enumerate(found["warnings"]):
                caption(panel, f"warning_{i}", f"⚠ {warning}")
        elif state.counting:
            # Of a name of its own, so that the App counts once per request
            panel.loader(
                f"counted_{state.counts}",
                types.Object(),
                operator=self.count,
                params={
                    "run": state.run,
                    "metric": state.metric,
                    "of": state.chosen,
                },
                label="Counting…",
                on_change=self.on_counted,
            )

    def _next_step(self, ctx, panel):
        """Says what to press next, where there is no run."""
        fields = runs.quality_fields(ctx.dataset)
        if not ctx.panel.state.counted:
            said = (
                "**No image quality yet.** Score the images first: how good "
                "is each of them for a model?"
            )
            steps = [("Compute image quality", "compute_quality")]
        elif not runs.correctness_fields(ctx.dataset):
            said = (
                f"**{len(fields)} quality fields, but nothing says what a "
                "model gets right.** Compare predictions that the dataset "
                "has with its labels, or run a task model first."
            )
            steps = [
                ("Compute correctness", "compute_correctness"),
                ("Compute predictions", "compute_predictions"),
            ]
        else:
            said = (
                f"**{len(fields)} quality fields and a correctness.** Relate "
                "the two, to see how far quality explains what the model "
                "gets wrong."
            )
            steps = [("Build quality prior", "build_quality_prior")]
        caption(panel, "next", said)
        line = row(panel, "steps", f"repeat({len(steps)}, auto) 1fr")
        for label, operator in steps:
            button(
                line,
                operator,
                label,
                "play_arrow",
                self.prompt,
                operator=operator,
            )


def _about(run):
    report = run.report
    model = (report["task_model"] or "The task model").partition("@")[0]
    return (
        f"**{model}** is right on **{report['accuracy']:.1%}** of "
        f"{report['n_judged']:,} judged images "
        f"(`{run.config.correctness}`), {report['n_sources']:,} originals"
    )
