"""Times the panel's events on synthetic samples.

A run is built over ``--n`` samples without images; then every event is sent
through FiftyOne's own executor, as the App's server does, and its median
time over ``--repeats`` is printed. The App's round trip and the grid's
reload come on top.
"""

from __future__ import annotations

import argparse
import statistics
import time

import fiftyone as fo
import fiftyone.operators as foo
import numpy as np
from fiftyone.operators.executor import ExecutionContext, Executor

import fiftyone_iqa as fiqa
from fiftyone_iqa.plugin import install_plugin

URI = "@fiftyone-iqa/iqa/image_quality"
CONDITIONS = 15
SEVERITIES = 5
BATCH = 20_000


def make_dataset(n: int, seed: int = 51) -> fo.Dataset:
    """Returns a temporary dataset whose quality tells correctness."""
    rng = np.random.default_rng(seed)
    severity = rng.integers(0, SEVERITIES + 1, n)
    latent = 2 - severity + rng.normal(size=n)
    quality = latent + 0.5 * rng.normal(size=n)
    right = rng.random(n) < 1 / (1 + np.exp(-latent))
    dataset = fo.Dataset()
    for start in range(0, n, BATCH):
        dataset.add_samples(
            [
                fo.Sample(
                    f"/no/{i}.jpg",
                    corruption=f"c{i % CONDITIONS}",
                    severity=int(severity[i]),
                    quality=float(quality[i]),
                    right=bool(right[i]),
                )
                for i in range(start, min(n, start + BATCH))
            ],
            progress=False,
        )
    fiqa.use_quality_field(dataset, "quality", higher_is_better=True)
    return dataset


def event(dataset, state: dict, method: str, **params) -> dict:
    """Sends an event to the panel; returns its state then."""
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


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    install_plugin()
    dataset = make_dataset(args.n)
    try:
        start = time.perf_counter()
        fiqa.build_quality_prior(
            dataset, "quality", "right", n_resamples=100, progress=False
        )
        print(f"{args.n:,} samples, prior {time.perf_counter() - start:.1f} s")
        state = event(dataset, {}, "on_load")
        for name, method, params in (
            ("load", "on_load", {}),
            ("metric", "on_metric", {"value": "quality"}),
            ("threshold", "on_threshold", {"path": "slider", "value": 0.5}),
            ("point", "on_point", {"id": "1"}),
            ("expected accuracy", "on_expect", {}),
            ("slices", "on_find_slices", {}),
        ):
            seconds = []
            for _ in range(args.repeats):
                start = time.perf_counter()
                event(dataset, state, method, **params)
                seconds.append(time.perf_counter() - start)
            print(f"{name:18} {statistics.median(seconds):7.2f} s")
    finally:
        dataset.delete()


if __name__ == "__main__":
    main()
