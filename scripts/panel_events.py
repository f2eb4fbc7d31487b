"""Times the panel's events on synthetic samples.

Runs of one metric and of several are built over samples without images; then
every event is sent through FiftyOne's own executor, as the App's server does,
and its median time over the repeats is written beside the bar it has to meet.
The App's round trip and the grid's reload come on top.

Documents are inserted into MongoDB: FiftyOne's own way is many times slower,
and nothing here is about adding samples.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import time
from pathlib import Path

import numpy as np

URI = "@fiftyone-iqa/iqa/image_quality"
RESULTS = Path(__file__).parent / "results" / "panel_events.csv"
COLUMNS = ("n", "event", "median_s", "repeats", "bar_s", "load_1min")
METRICS = ("quality", "noisy", "noisier")
CONDITIONS = 15
SEVERITIES = 5
PER_SOURCE = 1 + CONDITIONS * SEVERITIES
CAMERAS = 50
CLASSES = 200
BATCH = 20_000
# An event redraws from stored bins; a change of view is one pass
EVENT_BAR = 1.0
PASS_BAR = 15.0


def make_dataset(n: int, seed: int = 51):
    """Returns a temporary dataset whose quality tells correctness."""
    import fiftyone as fo
    from bson import ObjectId

    import fiftyone_iqa as fiqa

    rng = np.random.default_rng(seed)
    dataset = fo.Dataset()
    dataset.add_sample(_template(fo))
    (template,) = dataset._sample_collection.find()
    dataset.clear()
    for start in range(0, n, BATCH):
        size = min(BATCH, n - start)
        severity = rng.integers(0, SEVERITIES + 1, size)
        latent = 2 - severity + rng.normal(size=size)
        right = rng.random(size) < 1 / (1 + np.exp(-latent))
        noise = rng.normal(size=(size, len(METRICS))) * (0.5, 1, 2)
        quality = latent[:, None] + noise
        cameras = rng.integers(0, CAMERAS, size)
        classes = rng.integers(0, CLASSES, size)
        documents = []
        for i in range(size):
            row = start + i
            document = {
                **template,
                "_id": ObjectId(),
                "filepath": f"/no/{row}.jpg",
                "source_id": f"photo{row // PER_SOURCE}",
                "corruption": f"c{row % CONDITIONS}",
                "severity": int(severity[i]),
                "camera": f"camera{cameras[i]}",
                "label": {
                    **template["label"],
                    "_id": ObjectId(),
                    "label": f"class{classes[i]}",
                },
                "right": bool(right[i]),
            }
            document.update(zip(METRICS, quality[i].tolist()))
            documents.append(document)
        dataset._sample_collection.insert_many(documents)
    dataset.reload()
    for name in METRICS:
        fiqa.use_quality_field(dataset, name, higher_is_better=True)
    return dataset


def event(dataset, state: dict, method: str, **params) -> dict:
    """Sends an event to the panel; returns its state then."""
    import fiftyone.operators as foo
    from fiftyone.operators.executor import ExecutionContext, Executor

    params = {
        "panel_id": "p",
        "panel_state": dict(state),
        "__method__": method,
        **params,
    }
    context = ExecutionContext(
        {"dataset_name": dataset.name, "params": params}, executor=Executor()
    )
    with context:
        foo.get_operator(URI).execute(context)
    return context.panel_state


def time_events(n: int, repeats: int) -> list[dict]:
    """Returns the table's rows of one size."""
    import fiftyone_iqa as fiqa

    rows = []

    def measure(name, call, bar="", times=repeats):
        seconds = []
        for _ in range(times):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        median = f"{statistics.median(seconds):.3g}"
        load = f"{os.getloadavg()[0]:.1f}"
        rows.append(dict(zip(COLUMNS, (n, name, median, times, bar, load))))
        print(rows[-1], flush=True)

    dataset = make_dataset(n)
    try:
        for metrics in (METRICS[:1], METRICS):
            measure(
                f"build a run of {len(metrics)}",
                lambda metrics=metrics: fiqa.build_quality_prior(
                    dataset,
                    metrics,
                    "right",
                    n_resamples=100,
                    brain_key="iqa",
                    progress=False,
                ),
                times=1,
            )
        state = event(dataset, {}, "on_load")
        # As drawn by the tab Prior
        counted = {
            "run": state["run"],
            "metric": state["metric"],
            "of": state["chosen"],
        }
        other = next(m for m in METRICS if m != state["metric"])
        slider = {"path": "slider", "value": 0.5}
        for name, method, params, tab, bar in (
            ("load", "on_load", {}, None, EVENT_BAR),
            ("run", "on_run", {"value": "iqa"}, None, EVENT_BAR),
            ("metric", "on_metric", {"value": other}, None, EVENT_BAR),
            ("threshold", "on_threshold", slider, None, EVENT_BAR),
            ("point", "on_point", {"id": "1"}, None, EVENT_BAR),
            ("prior tab", "on_tab", {}, "prior", EVENT_BAR),
            ("slices tab", "on_tab", {}, "slices", EVENT_BAR),
            ("expected accuracy", "count", counted, "prior", PASS_BAR),
            ("find slices again", "on_find_slices", {}, "slices", ""),
        ):
            measure(
                name,
                lambda method=method, params=params, tab=tab: event(
                    dataset, {**state, "tab": tab}, method, **params
                ),
                bar,
            )
        measure(
            "low quality view by quantile",
            lambda: fiqa.low_quality_view(dataset, "quality", quantile=0.05),
            PASS_BAR,
        )
    finally:
        dataset.delete()
    return rows


def main(arguments=None) -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[100_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)

    from fiftyone_iqa.plugin import install_plugin

    install_plugin()
    rows = [row for n in args.n for row in time_events(n, args.repeats)]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _template(fo):
    return fo.Sample(
        "/no.jpg",
        source_id="photo",
        corruption="c",
        severity=0,
        camera="camera",
        label=fo.Classification(label="class"),
        right=True,
        **dict.fromkeys(METRICS, 0.0),
    )


if __name__ == "__main__":
    main()
