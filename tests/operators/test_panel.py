"""The panel's data, state and views, without a browser."""

import json

import numpy as np
import pytest

import fiftyone_iqa as fiqa

URI = "@fiftyone-iqa/iqa/image_quality"
CONDITIONS = ("blur", "noise", "fog")


def fill(dataset, n_sources=12, seed=0):
    """A corruption grid whose quality tells correctness; no image is read."""
    import fiftyone as fo

    rng = np.random.default_rng(seed)
    samples = []
    for source in range(n_sources):
        for condition in ("clean", *CONDITIONS):
            for severity in [0] if condition == "clean" else (1, 3):
                latent = 2 - severity + rng.normal()
                samples.append(
                    fo.Sample(
                        f"/no/{source}-{condition}-{severity}.jpg",
                        corruption=condition,
                        severity=severity,
                        source_id=str(source),
                        good=latent + 0.3 * rng.normal(),
                        odd=float(rng.normal()),
                        right=bool(rng.random() < 1 / (1 + np.exp(-latent))),
                    )
                )
    samples[0]["good"] = None
    dataset.add_samples(samples, progress=False)
    fiqa.use_quality_field(dataset, "good", higher_is_better=True)
    # As total variation has none
    field = dataset.get_field("odd")
    field.info = {"iqa": {"metric": "external", "direction": "none"}}
    field.save()
    return dataset


@pytest.fixture(scope="module")
def grid(database):
    import fiftyone as fo

    dataset = fill(fo.Dataset(persistent=True))
    yield dataset
    dataset.delete()


@pytest.fixture(scope="module")
def results(grid):
    return fiqa.build_quality_prior(
        grid, ["good", "odd"], "right", n_resamples=50, progress=False
    )


@pytest.fixture
def plots():
    """The module of plots, as the App has it."""
    return _module("panel_plots")


@pytest.fixture
def runs():
    return _module("panel_runs")


def _module(name):
    import sys

    import fiftyone.operators as foo

    foo.get_operator("@fiftyone-iqa/iqa/list_quality_metrics")
    (found,) = [
        m for key, m in sys.modules.items() if key.endswith(f".{name}")
    ]
    return found


class Panel:
    """The panel as the App drives it: state goes back and forth as JSON."""

    def __init__(self, foo, dataset):
        self.dataset = dataset
        self.panel = foo.get_operator(URI)
        self.state = {}
        self.view = None
        self.requests = []
        self.result = None

    def event(self, method, **params):
        from fiftyone.operators.executor import ExecutionContext, Executor

        request = {
            "dataset_name": self.dataset.name,
            "params": {
                "panel_id": "p",
                "panel_state": self.state,
                "__method__": method,
                **params,
            },
        }
        if self.view is not None:
            request["view"] = self.view._serialize()
        executor = Executor()
        context = ExecutionContext(request, executor=executor)
        with context:
            self.result = self.panel.execute(context)
        self.requests = json.loads(
            json.dumps(executor.to_json(), allow_nan=False, default=str)
        )["requests"]
        self.state = json.loads(json.dumps(context.panel_state))
        for request in self.requests:
            if request["operator_uri"].endswith("set_view"):
                self._set_view(request["params"])
            elif request["operator_uri"].endswith("clear_view"):
                self.view = None
        return self

    def _set_view(self, params):
        import fiftyone as fo

        self.view = fo.DatasetView._build(self.dataset, params["view"])

    def called(self, name):
        return [
            r["params"]
            for r in self.requests
            if r["operator_uri"].endswith(name)
        ]

    def count(self):
        """Does what the App does with what is drawn while it counts."""
        ((name, loader),) = [
            item for item in self.seen.items() if item[0].startswith("counted")
        ]
        uri, _, method = loader["view"]["operator"].partition("#")
        assert uri == URI
        drawn = len(self.called("show_panel_output"))
        self.event(method, **loader["view"]["params"])
        assert drawn == 1 and not self.requests
        value = {
            "state": "loaded",
            "data": json.loads(json.dumps(self.result)),
        }
        return self.event("on_counted", path=name, value=value)

    @property
    def seen(self):
        """The properties last drawn."""
        (output,) = self.called("show_panel_output")
        return output["output"]["type"]["properties"]


@pytest.fixture
def panel(foo, grid, results):
    return Panel(foo, grid).event("on_load")


def test_distribution_holds_every_image(plots, results):
    found = results.report["metrics"]["good"]
    traces, layout = plots.distribution(found, "images", 0.5, True)
    assert [t["name"] for t in traces] == ["wrong", "right"]
    assert sum(sum(t["y"]) for t in traces) == found["distribution"]["n"]
    assert layout["shapes"][0]["x0"] == 0.5
    # Bars are given by their left edge and their width, which the App's
    # click event needs
    assert traces[0]["x"][0] == found["distribution"]["bin_edges"][0]

    del found["by_correctness"]
    try:
        (plain,), layout = plots.distribution(found, "objects", None, True)
    finally:
        right, wrong = (np.array(t["y"]) for t in traces[::-1])
        found["by_correctness"] = {
            "right": right.tolist(),
            "wrong": wrong.tolist(),
        }
    # Nothing was judged: one colour, which needs no legend
    assert plain["name"] == "objects" and not layout["showlegend"]
    assert sum(plain["y"]) == found["distribution"]["n"]


def test_share_inside_agrees_with_the_images(plots, grid, results):
    values = np.array(grid.values("good"), dtype=float)
    values = values[np.isfinite(values)]
    found = results.report["metrics"]["good"]
    for threshold in (-1.0, 0.3, 1.7):
        for low in (True, False):
            inside = values <= threshold if low else values >= threshold
            n, share = plots.share_inside(found, threshold, low)
            # A threshold within a bin takes its part of the bin
            assert n == pytest.approx(inside.sum(), abs=4)
            assert share == pytest.approx(n / len(values), abs=0.01)


def test_accuracy_has_a_point_per_group_with_its_interval(plots, results):
    from scipy.stats import binomtest

    found = results.report["metrics"]["good"]
    traces, _, title = plots.accuracy(found)
    rows = found["groups"]["rows"]
    ids = [int(i) for t in traces for i in t["ids"]]
    assert sorted(ids) == list(range(len(rows))) == list(range(7))
    for trace in traces:
        bars = trace["error_y"]
        for k, i in enumerate(trace["ids"]):
            row = rows[int(i)]
            assert trace["x"][k] == row["mean"]
            assert trace["customdata"][k] == row["n"]
            right = round(row["accuracy"] * row["n"])
            low, high = binomtest(right, row["n"]).proportion_ci(
                method="wilson"
            )
            y = trace["y"][k]
            assert y - bars["arrayminus"][k] == pytest.approx(low, abs=1e-3)
            assert y + bars["array"][k] == pytest.approx(high, abs=1e-3)
    assert title.startswith("SRCC") and "over 6 groups" in title


def test_prior_is_drawn_in_units_of_the_metric(plots, results):
    traces, _, title = plots.prior(results.report["metrics"]["good"], "good")
    low, high, curve, bars = traces
    prior = results.prior("good")
    assert curve["y"] == pytest.approx(prior.predict(np.array(curve["x"])))
    assert all(a <= b for a, b in zip(low["y"], high["y"]))
    assert (
        sum(bars["y"])
        == results.report["metrics"]["good"]["distribution"]["n"]
    )
    assert "cross-entropy" in title


def test_a_metric_without_a_prior_says_why(plots):
    found = {"prior": None, "notes": ["no prior: too few"]}
    assert plots.prior(found, "good") == ([], {}, "no prior: too few")


def test_metrics_without_auc_are_left_out(plots, results):
    traces, _ = plots.metrics(results.report, results.metrics, "good")
    auc, srcc = traces
    assert auc["y"] == ["good"]
    assert srcc["y"] == ["odd", "good"]
    assert auc["x"][0] == pytest.approx(
        results.predictability().set_index("metric").auc["good"]
    )


def test_loading_draws_the_newest_run(panel, results):
    assert panel.state["run"] == "iqa"
    assert panel.state["metric"] == "good"
    quantiles = results.distribution("good")[None].quantiles
    assert panel.state["threshold"] == pytest.approx(quantiles[0.05], rel=1e-3)
    assert {"distribution", "plot_accuracy", "slider_1"} <= set(panel.seen)
    assert not panel.called("set_view")


def test_events_ship_no_raw_samples(panel):
    for tab in ("accuracy", "prior", "metrics"):
        panel.state["tab"] = tab
        panel.event("on_tab")
        assert len(json.dumps(panel.requests)) < 100_000


def test_a_threshold_filters_without_nulls(panel, grid):
    panel.event("on_threshold", path="slider", value=0.5)
    values = grid.values("good")
    expected = [v for v in values if v is not None and v <= 0.5]
    assert sorted(panel.view.values("good")) == sorted(expected)

    # The next threshold starts from the same view, not from the last one
    panel.event("on_threshold", path="poor_row.typed_3", value=1.5)
    expected = [v for v in values if v is not None and v <= 1.5]
    assert len(panel.view) == len(expected)
    assert panel.state["threshold"] == 1.5
    # The slider follows under a new name, lest the App takes it for a move
    name = f"slider_{panel.state['slider_version']}"
    assert panel.state[name] == panel.seen[name]["default"] == 1.5

    panel.event("on_reset")
    assert panel.view is None


def test_a_view_of_the_user_is_the_base(panel, grid):
    from fiftyone import ViewField as F

    mine = grid.match(F("corruption") == "fog")
    panel.view = mine
    panel.event("on_threshold", path="slider", value=0.5)
    assert set(panel.view.values("corruption")) == {"fog"}
    assert max(panel.view.values("good")) <= 0.5

    panel.event("on_reset")
    assert panel.view == mine


def test_what_is_half_typed_changes_nothing(panel):
    before = dict(panel.state)
    for value in (None, "", float("nan")):
        panel.event("on_threshold", path="poor_row.typed_1", value=value)
    assert panel.state == before
    assert not panel.called("set_view")


def test_a_metric_without_direction_asks(panel, grid):
    panel.event("on_metric", path="header.metric", value="odd")
    assert "poor" in panel.seen
    panel.event("on_poor", path="poor", value="high")
    panel.event("on_threshold", path="slider", value=1.0)
    assert min(panel.view.values("odd")) >= 1.0


def test_a_point_filters_to_its_group(panel, grid, results):
    rows = results.report["metrics"]["good"]["groups"]["rows"]
    panel.event("on_point", id="4")
    assert set(panel.view.values("corruption")) == {rows[4]["name"][0]}
    assert set(panel.view.values("severity")) == {rows[4]["name"][1]}


def test_expected_against_actual(panel, grid, results):
    panel.view = grid.limit(40)
    panel.state["tab"] = "prior"
    panel.event("on_expect").count()
    said = panel.state["expected"]["said"]
    expected = results.expected_accuracy(panel.view, "good").accuracy
    assert f"**{expected}**" in said
    assert "40 judged" in said
    assert panel.seen["expected_said"]["default"] == said
    assert not any(name.startswith("counted") for name in panel.seen)


def test_what_was_counted_of_another_view_says_so(panel, grid):
    def said():
        return panel.seen["expected_said"]["default"]

    panel.state["tab"] = "prior"
    panel.event("on_expect").count()
    assert said().startswith("Expected")
    # The panel's own filter; and a view that the user chose
    panel.event("on_threshold", path="slider", value=0.5)
    assert said().startswith("Of an earlier view: Expected")
    panel.event("on_expect").count()
    assert said().startswith("Expected")
    panel.event("on_reset")
    assert said().startswith("Of an earlier view: Expected")
    panel.event("on_expect").count()
    panel.view = grid.limit(50)
    panel.event("on_tab")
    assert said().startswith("Of an earlier view: Expected")


def test_a_count_that_comes_late_is_not_of_another_metric(panel, grid):
    panel.state["tab"] = "prior"
    panel.event("on_expect")
    params = panel.seen["counted_1"]["view"]["params"]
    panel.event("count", **params)
    found = panel.result
    panel.event("on_metric", path="header.metric", value="odd")
    panel.event("on_counted", value={"state": "loaded", "data": found})
    assert not panel.state["expected"]


def test_a_view_without_quality_says_so(panel, grid):
    panel.state["tab"] = "prior"
    panel.view = grid.exists("good", False)
    panel.event("on_expect").count()
    assert "No image has good" in panel.seen["expected_said"]["default"]


def test_slices_of_the_run_are_there_at_once(panel, grid, results):
    panel.state["tab"] = "slices"
    panel.event("on_tab")
    table = panel.seen["slices_table"]["default"]
    assert [row["name"] for row in table] == [s.name for s in results.slices()]
    (row,) = [i for i, s in enumerate(table) if s["name"] == "severity = 3"]
    panel.event("on_slice", row=row)
    assert set(panel.view.values("severity")) == {3}

    panel.event("on_find_slices")
    assert panel.state["slices"]["slices"] == [
        s.to_dict()
        for s in fiqa.find_slices(
            grid, "good", "right", max_slices=30, progress=False
        )
    ]
    panel.event("on_tag_slice", row=row)
    (said,) = panel.called("notify")
    assert "iqa_slice_severity_3" in said["message"]
    assert grid.count_sample_tags()["iqa_slice_severity_3"] == 36
    grid.untag_samples("iqa_slice_severity_3")

    panel.event("on_save_slice", row=row)
    (name,) = [n for n in grid.list_saved_views() if "slice" in n]
    assert len(grid.load_saved_view(name)) == 36
    fiqa.remove_views(grid)


def test_what_has_no_slices_yet_is_searched(panel, runs):
    """A metric without direction, or a run of an earlier version."""
    panel.state["tab"] = "slices"
    panel.event("on_metric", path="header.metric", value="odd")
    assert "slices_table" not in panel.seen
    panel.event("on_find_slices")
    assert "slices_table" in panel.seen


def test_few_judged_images_are_marked(foo):
    import fiftyone as fo

    dataset = fill(fo.Dataset(), n_sources=12)
    try:
        right = dataset.values("right")
        # Of severity 3 few are judged
        few = [
            r if s < 3 or i < 40 else None
            for i, (r, s) in enumerate(zip(right, dataset.values("severity")))
        ]
        dataset.set_values("right", few)
        fiqa.build_quality_prior(
            dataset, "good", "right", n_resamples=50, progress=False
        )
        panel = Panel(foo, dataset)
        panel.state["tab"] = "slices"
        panel.event("on_load")
        rows = {r["name"]: r for r in panel.seen["slices_table"]["default"]}
        row = rows["severity = 3"]
        n = sum(
            f is not None and s == 3
            for f, s in zip(few, dataset.values("severity"))
        )
        assert row["accuracy"].endswith(f" of {n}") and row["lift"] == "–"
        assert (
            "not compared"
            in panel.seen["find_row"]["type"]["properties"]["slices_said"][
                "default"
            ]
        )
    finally:
        dataset.delete()


def test_a_dataset_without_slices_says_so(foo, make_dataset):
    dataset = make_dataset(40, persistent=True)
    rng = np.random.default_rng(0)
    quality = rng.normal(size=40)
    dataset.set_values("q", quality.tolist())
    dataset.set_values(
        "right", [bool(x > 0) for x in quality + rng.normal(size=40)]
    )
    # Bands of 8 are too few
    fiqa.use_quality_field(dataset, "q", higher_is_better=True)
    fiqa.build_quality_prior(
        dataset, "q", "right", n_resamples=50, progress=False
    )
    panel = Panel(foo, dataset)
    panel.state["tab"] = "slices"
    panel.event("on_load")
    assert "slices_table" not in panel.seen
    line = panel.seen["find_row"]["type"]["properties"]
    assert "**No slices.**" in line["slices_said"]["default"]


def test_tagging_and_saving_the_threshold(panel, grid):
    panel.event("on_threshold", path="slider", value=0.5)
    n = len(panel.view)
    panel.event("on_tag")
    assert grid.count_sample_tags()["iqa_low_good"] == n
    panel.event("on_save")
    assert set(grid.list_saved_views()) == {
        "iqa_low_good",
        "iqa_good_but_wrong_good",
        "iqa_poor_but_right_good",
    }
    assert len(grid.load_saved_view("iqa_low_good")) == n
    fiqa.remove_views(grid)


def next_steps(panel):
    return list(panel.seen["steps"]["type"]["properties"])


def test_empty_states_say_what_is_next(foo, make_dataset):
    import fiftyone as fo

    dataset = make_dataset(3, persistent=True)
    panel = Panel(foo, dataset)
    assert next_steps(panel.event("on_load")) == ["compute_quality"]
    dataset.add_sample_field("q", fo.FloatField)
    fiqa.use_quality_field(dataset, "q", higher_is_better=True)
    # A field without a value is none
    assert next_steps(panel.event("refresh")) == ["compute_quality"]
    assert "distribution" not in panel.seen
    dataset.set_values("q", [0.1, 0.2, 0.3])
    panel.event("refresh")
    assert next_steps(panel) == ["compute_correctness", "compute_predictions"]
    assert "distribution" in panel.seen
    dataset.add_sample_field("right", fo.BooleanField)
    assert next_steps(panel.event("refresh")) == ["build_quality_prior"]
    panel.event("prompt", operator="build_quality_prior")
    (prompt,) = panel.called("prompt_user_for_operation")
    assert prompt["operator_uri"].endswith("/build_quality_prior")


@pytest.fixture
def plain(foo, database):
    """The panel on 100 images, each with two objects, and no run."""
    import fiftyone as fo

    def box(value):
        return fo.Detection(
            label="paw", bounding_box=[0, 0, 0.5, 0.5], tv=value
        )

    dataset = fo.Dataset(persistent=True)
    dataset.add_samples(
        [
            fo.Sample(
                f"/no/{i}.jpg",
                q=float(i),
                boxes=fo.Detections(detections=[box(i / 100), box(None)]),
                reviewed=i % 2 == 0,
            )
            for i in range(100)
        ]
        + [fo.Sample("/no/none.jpg")],
        progress=False,
    )
    dataset.add_dynamic_sample_fields()
    fiqa.use_quality_field(dataset, "q", higher_is_better=True)
    field = dataset.get_field("boxes.detections.tv")
    field.info = {"iqa": {"metric": "external", "direction": "none"}}
    field.save()
    yield Panel(foo, dataset).event("on_load")
    dataset.delete()


def bars(panel):
    return panel.seen["distribution"]["view"]["data"]


def test_without_a_run_the_field_has_its_threshold(plain):
    dataset = plain.dataset
    # Whether somebody has reviewed an image says nothing of a model
    plain.event("on_metric", path="header.metric", value="q")
    (bar,) = bars(plain)
    assert bar["name"] == "images" and sum(bar["y"]) == 100
    assert plain.state["threshold"] == pytest.approx(4.95)
    assert "plot_accuracy" not in plain.seen and "steps" in plain.seen

    plain.event("on_threshold", path="slider", value=9.0)
    assert plain.view.values("q") == [float(i) for i in range(10)]
    plain.event("on_threshold", path="poor_row.typed_9", value=4.0)
    assert len(plain.view) == 5
    plain.event("on_tag")
    assert dataset.count_sample_tags() == {"iqa_low_q": 5}
    plain.event("on_save")
    assert dataset.list_saved_views() == ["iqa_low_q"]
    assert len(dataset.load_saved_view("iqa_low_q")) == 5
    plain.event("on_export")
    (prompt,) = plain.called("prompt_user_for_operation")
    assert prompt["operator_uri"].endswith("/export_low_quality")
    plain.event("on_reset")
    assert plain.view is None


def test_without_a_run_objects_have_theirs(plain):
    plain.event("on_metric", path="header.metric", value="boxes.detections.tv")
    (bar,) = bars(plain)
    assert bar["name"] == "objects" and sum(bar["y"]) == 100
    assert "poor" in plain.seen
    plain.event("on_poor", path="poor", value="high")
    plain.event("on_threshold", path="slider", value=0.9)
    values = [v for r in plain.view.values("boxes.detections.tv") for v in r]
    assert values == [i / 100 for i in range(90, 100)]


def test_only_a_change_is_counted_anew(plain):
    dataset = plain.dataset
    plain.event("on_metric", path="header.metric", value="q")
    plain.event("on_threshold", path="slider", value=20.0)
    dataset.set_values("q", [50.0] * 50 + [None] * 51)
    plain.event("on_threshold", path="slider", value=30.0)
    assert sum(bars(plain)[0]["y"]) == 100
    plain.event("refresh")
    assert sum(bars(plain)[0]["y"]) == 50
    assert plain.state["threshold"] == 50.0

    # What counts the same keeps the threshold
    plain.event("on_threshold", path="slider", value=49.8)
    plain.event("refresh")
    assert plain.state["threshold"] == 49.8

    dataset.clear_sample_field("q")
    plain.event("on_metric", path="header.metric", value="q")
    (said,) = plain.called("notify")
    assert "'q' has no value" in said["message"]
    plain.event("refresh")
    assert plain.state["metric"] == "boxes.detections.tv"


def test_the_first_run_shows_its_best_metric(foo, database):
    import fiftyone as fo

    dataset = fill(fo.Dataset(persistent=True))
    try:
        panel = Panel(foo, dataset).event("on_load")
        panel.event("on_metric", path="header.metric", value="odd")
        assert panel.state["metric"] == "odd" and "steps" in panel.seen
        fiqa.build_quality_prior(
            dataset, ["odd", "good"], "right", n_resamples=50, progress=False
        )
        panel.event("refresh")
        assert panel.state["metric"] == "good"
        assert "plot_accuracy" in panel.seen
        # Another time, the metric stays
        panel.event("on_metric", path="header.metric", value="odd")
        assert panel.event("refresh").state["metric"] == "odd"
    finally:
        dataset.delete()


def test_without_a_run_our_correctness_stacks(plain):
    dataset = plain.dataset
    plain.event("on_metric", path="header.metric", value="q")
    field = dataset.get_field("reviewed")
    field.info = {"iqa": {"metric": "correctness"}}
    field.save()
    plain.event("refresh")
    assert {b["name"]: sum(b["y"]) for b in bars(plain)} == {
        "wrong": 50,
        "right": 50,
    }
    assert next_steps(plain) == ["build_quality_prior"]
    plain.event("on_save")
    assert len(dataset.list_saved_views()) == 3
    # It is of images
    plain.event("on_metric", path="header.metric", value="boxes.detections.tv")
    assert [b["name"] for b in bars(plain)] == ["objects"]


def test_a_run_that_is_built_anew_is_read_anew(runs, grid, results):
    first = runs.load_run(grid, "iqa")
    assert runs.load_run(grid, "iqa") is first
    fiqa.build_quality_prior(
        grid,
        "good",
        "right",
        n_resamples=50,
        brain_key="other",
        progress=False,
    )
    assert runs.list_runs(grid)[0] == "other"
    assert runs.load_run(grid, "other").order == ["good"]
    grid.delete_brain_run("other")
