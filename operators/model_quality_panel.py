"""The panel: several models side by side, in nine dimensions."""

import math

import fiftyone.operators as foo
from fiftyone.operators import types

from .panel_parts import URI, button, caption, choice, row
from .panel_plots import CONFIG

RUN_TYPE = "model_quality"
_PLOTS = (("radar", "Radar"), ("bars", "Bars"))
_HELP = (
    "**Measure models** runs task models on this dataset's images. Weigh the "
    "dimensions as you need them: the ranks follow. 0 leaves one out."
)
_PAGE = {
    "p": 1.5,
    "pt": 1,
    "justifyContent": "stretch",
    "gridTemplateColumns": "minmax(0, 1fr)",
}
_HEIGHTS = {"radar": 330, "bars": 340}
_CELL = {"sx": {"fontSize": 12, "px": 1, "py": 0.5}}
_TABLE = {
    "table": {"sx": {"minWidth": 0}},
    "tableHeadCell": _CELL,
    "tableBodyCell": _CELL,
}
_PER_ROW = 5
_FIELD = {
    "field": {"inputProps": {"step": "any", "min": 0}, "size": "small"},
    "header": {"label": {"sx": {"fontSize": 11, "whiteSpace": "nowrap"}}},
}
_COLUMNS = (
    ("rank", "Rank"),
    ("model", "Model"),
    ("score", "Score"),
    ("best", "Best at"),
    ("worst", "Worst at"),
)
_COHORTS = (
    ("models", "The models compared"),
    ("published", "Hesse et al.'s models (ImageNet-1k)"),
)


class ModelQualityPanel(foo.Panel):
    """Shows a run of ``model_quality``, ranked by the user's weights."""

    @property
    def config(self):
        """The panel's configuration."""
        return foo.PanelConfig(
            name="model_quality_panel",
            label="Model quality",
            icon="radar",
            category=foo.Categories.ANALYZE,
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
        """Shows what an operator has measured."""
        self._choose_run(ctx, None)

    def on_run(self, ctx):
        """Shows another run."""
        self._choose_run(ctx, ctx.params.get("value"))

    def on_plot(self, ctx):
        """Shows the radar or the bars."""
        ctx.panel.state.plot = ctx.params.get("value")

    def on_cohort(self, ctx):
        """Compares with other models."""
        ctx.panel.state.cohort = ctx.params.get("value")

    def on_weight(self, ctx):
        """Weighs a dimension otherwise."""
        value = ctx.params.get("value")
        # A field that is being typed may be empty
        if not isinstance(value, (int, float)) or not 0 <= value < math.inf:
            return
        path = str(ctx.params.get("path")).rpartition(".")[2]
        key = path.removeprefix("weight_").rpartition("_")[0]
        weights = {**(ctx.panel.state.weighed or {}), key: float(value)}
        ctx.panel.state.weighed = weights

    def on_reset(self, ctx):
        """Takes the published weights."""
        state = ctx.panel.state
        state.weighed = None
        # Of new names: the App keeps what was typed into a field
        state.version = (state.version or 0) + 1

    def prompt(self, ctx):
        """Opens the operator's form."""
        ctx.prompt(f"{URI}model_quality", on_success=self.refresh)

    # State ------------------------------------------------------------------

    def _choose_run(self, ctx, key):
        # A run may come from Python, which the App's server is not told
        ctx.dataset.reload()
        keys = list_runs(ctx.dataset)
        if key not in keys:
            key = keys[0] if keys else None
        ctx.panel.state.run = key

    # What is seen -----------------------------------------------------------

    def render(self, ctx):
        """Draws the state."""
        panel, state = types.Object(), ctx.panel.state
        if state.run is None:
            self._next_step(panel)
        else:
            results = ctx.dataset.load_brain_results(state.run, cache=False)
            self._header(ctx, panel, results)
            self._plot(ctx, panel, results)
            self._ranks(ctx, panel, results)
            self._lacking(panel, results)
        return types.Property(
            panel,
            view=types.GridView(
                orientation="vertical",
                gap=1,
                componentsProps={"grid": {"sx": _PAGE}},
            ),
        )

    def _next_step(self, panel):
        caption(
            panel,
            "next",
            "**No models measured yet.** Run task models on these images: "
            "how accurate, robust, calibrated, even-handed and small is each "
            "of them?",
        )
        line = row(panel, "steps", "auto auto 1fr")
        button(line, "measure", "Measure models", "play_arrow", self.prompt)
        button(
            line,
            "look",
            "Look again",
            "refresh",
            self.refresh,
            title="For what was measured in Python, or delegated",
        )

    def _header(self, ctx, panel, results):
        state = ctx.panel.state
        line = row(panel, "header", "1fr 1.4fr auto")
        choice(
            line,
            "run",
            list_runs(ctx.dataset),
            state.run,
            "Run",
            self.on_run,
        )
        choice(
            line,
            "cohort",
            _COHORTS,
            state.cohort or _COHORTS[0][0],
            "Compared with",
            self.on_cohort,
        )
        button(line, "measure", "Measure", "add", self.prompt)
        failed = len(results.report["failures"])
        caption(
            panel,
            "about",
            f"{len(results.models)} models on {results.report['n']:,} images "
            f"of `{results.config.ground_truth}`"
            + (f", {failed:,} of which could not be read" if failed else ""),
        )

    def _plot(self, ctx, panel, results):
        from fiftyone_iqa.robustness import profile_plots as plots

        kind = ctx.panel.state.plot or _PLOTS[0][0]
        tabs = types.TabsView(variant="rounded")
        for value, label in _PLOTS:
            tabs.add_choice(value, label=label)
        panel.enum(
            "plot",
            tabs.values(),
            default=kind,
            view=tabs,
            on_change=self.on_plot,
        )
        draw = plots.radar if kind == "radar" else plots.bars
        traces, layout = draw(results.report)
        if traces:
            panel.plot(
                f"plot_{kind}",
                data=traces,
                layout=layout,
                config=CONFIG,
                height=f"{_HEIGHTS[kind]}px",
            )
        else:
            caption(
                panel, "too_few", "Too little was measured to draw a radar."
            )

    def _ranks(self, ctx, panel, results):
        from fiftyone_iqa.errors import IQAError
        from fiftyone_iqa.robustness.cohort import DIMENSIONS, WEIGHTS

        state = ctx.panel.state
        weights = {**WEIGHTS, **(state.weighed or {})}
        try:
            found = results.score(weights, state.cohort or "models")
        except IQAError as e:
            caption(panel, "no_score", f"⚠ {e}")
        else:
            table = types.TableView(componentsProps=_TABLE)
            for key, label in _COLUMNS:
                table.add_column(key, label=label)
            panel.list(
                # The App keeps a list's first value under a name
                f"ranks_{_digest(weights, state)}",
                types.Object(),
                view=table,
                default=rank_rows(found),
            )
            caption(panel, "said", _said(found))

        caption(panel, "weigh", "**What counts how much:**")
        version = state.version or 0
        for place, spec in enumerate(DIMENSIONS):
            if place % _PER_ROW == 0:
                name = f"weights_{place // _PER_ROW}"
                line = row(panel, name, f"repeat({_PER_ROW}, minmax(0, 1fr))")
            line.float(
                f"weight_{spec.key}_{version}",
                default=round(weights[spec.key], 3),
                view=types.TextFieldView(
                    label=_short(spec), componentsProps=_FIELD
                ),
                label=_short(spec),
                on_change=self.on_weight,
            )
        button(line, "reset", "Published", "restart_alt", self.on_reset)

    def _lacking(self, panel, results):
        from fiftyone_iqa.robustness.profile_plots import unmeasured

        lacking = unmeasured(results.report)
        if lacking:
            said = "; ".join(f"**{k}** needs {v}" for k, v in lacking.items())
            caption(panel, "unmeasured", f"Not measured: {said}.")


def _short(spec):
    """Returns a title that fits above a field."""
    return spec.title.removesuffix(" robustness")


def list_runs(dataset) -> list[str]:
    """Returns the keys of the dataset's runs, the newest first."""
    return sorted(
        dataset.list_brain_runs(type=RUN_TYPE),
        key=lambda key: dataset.get_brain_info(key).timestamp,
        reverse=True,
    )


def rank_rows(found) -> list[dict]:
    """Returns the cells of the rank table, the best model first."""
    from fiftyone_iqa.robustness.cohort import DIMENSIONS
    from fiftyone_iqa.robustness.profile import ranked

    titles = {spec.key: spec.title for spec in DIMENSIONS}
    rows = []
    for place, (model, score) in enumerate(ranked(found), 1):
        ends = sorted(score.z, key=score.z.get)
        best, worst = (
            [f"{titles[ends[i]]} ({score.z[ends[i]]:+.1f} σ)"] if ends else []
            for i in (-1, 0)
        )
        rows.append(
            {
                "id": model,
                "rank": str(place) if score.value is not None else "–",
                "model": model,
                "score": str(score.estimate),
                "best": "".join(best),
                "worst": "".join(worst),
            }
        )
    return rows


def _said(found):
    score = next(iter(found.values()))
    left = "; ".join(
        f"{k.replace('_', ' ')} ({v})" for k, v in score.left_out.items()
    )
    said = (
        f"{score.name} score: the weighted mean of deviations (σ) from "
        f"{score.cohort}, 95 % interval"
    )
    if score.cohort != "the models compared":
        said += (
            ". Those values belong to ImageNet-1k's protocol, these to these "
            "images"
        )
    return f"{said}. Left out: {left}." if left else f"{said}."


def _digest(weights, state):
    import zlib

    text = repr((sorted(weights.items()), state.cohort, state.run))
    return f"{zlib.crc32(text.encode()):08x}"
