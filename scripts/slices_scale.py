"""Times slices on synthetic data: the ranking, and all of find_slices.

The ranking is of arrays: 30 fields of 2 to 1,000 values, with quality,
correctness, and 10 rows per source or 1. All of find_slices is on a dataset
in MongoDB with 10 fields, where reading dominates. Seconds are the median of
three. The dataset is deleted in the end.
"""

import argparse
import csv
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import scipy.stats  # noqa: F401  Not to be timed

from fiftyone_iqa.analysis.slices import Membership, rank_slices

N_VALUES = (2, 5, 10, 50, 200, 1000)
N_FIELDS = 30
N_DATASET_FIELDS = 10
COLUMNS = (
    "part",
    "rows",
    "fields",
    "sources",
    "slices",
    "seconds",
    "peak_gib",
)
RESULTS = Path(__file__).parent / "results" / "slices_scale.csv"
_CHUNK = 20_000


def main(arguments=None):
    """Runs the benchmark and writes its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--samples", type=int, default=100_000, help="0 for no dataset"
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)

    rows = []
    for per_source in (1, 10):
        rows.append(_time_ranking(args.rows, max(1, args.rows // per_source)))
        print(rows[-1])
    if args.samples:
        rows.append(_time_find_slices(args.samples))
        print(rows[-1])
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with args.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _time_ranking(n, n_sources):
    rng = np.random.default_rng(0)
    source = np.arange(n) % n_sources
    quality = rng.normal(size=n)
    correct = (rng.random(n) < 0.8).astype(float)
    memberships = []
    for field in range(N_FIELDS):
        k = N_VALUES[field % len(N_VALUES)]
        memberships.append(Membership(tuple(range(k)), rng.integers(-1, k, n)))
    found, seconds = _median(
        lambda: rank_slices(memberships, quality, True, correct, source)
    )
    return _row("rank_slices", n, N_FIELDS, n_sources, len(found), seconds)


def _time_find_slices(n):
    import fiftyone as fo

    import fiftyone_iqa as fiqa

    dataset = fo.Dataset()
    try:
        _fill(dataset, n)
        fiqa.use_quality_field(dataset, "q", higher_is_better=True)
        table, seconds = _median(
            lambda: fiqa.find_slices(dataset, "q", "right", progress=False)
        )
        # The quality field's bands are slices too
        fields = N_DATASET_FIELDS + 1
        return _row("find_slices", n, fields, n, table.n_tested, seconds)
    finally:
        dataset.delete()


def _median(call):
    """Returns what a call returned, and the median of its seconds."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - start)
    return found, float(np.median(seconds))


def _fill(dataset, n):
    """Inserts documents into MongoDB: FiftyOne's way is 10 times slower."""
    import fiftyone as fo
    from bson import ObjectId

    rng = np.random.default_rng(0)
    dataset.add_sample(_sample(fo))
    (template,) = dataset._sample_collection.find()
    dataset.clear()
    for start in range(0, n, _CHUNK):
        documents = []
        for i in range(start, min(start + _CHUNK, n)):
            document = {**template, "_id": ObjectId(), "filepath": f"/{i}.jpg"}
            document["q"] = float(rng.normal())
            document["right"] = bool(rng.random() < 0.8)
            for field in range(N_DATASET_FIELDS):
                k = N_VALUES[field % 5]
                document[f"field{field}"] = f"value{rng.integers(k)}"
            documents.append(document)
        dataset._sample_collection.insert_many(documents)
    dataset.reload()


def _sample(fo):
    fields = {f"field{i}": "value" for i in range(N_DATASET_FIELDS)}
    return fo.Sample("/no.jpg", q=0.0, right=True, **fields)


def _row(part, n, fields, sources, slices, seconds):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gib = peak / (2**30 if sys.platform == "darwin" else 2**20)
    values = part, n, fields, sources, slices, f"{seconds:.1f}", f"{gib:.2f}"
    return dict(zip(COLUMNS, values))


if __name__ == "__main__":
    os.environ.setdefault("FIFTYONE_DO_NOT_TRACK", "1")
    main()
