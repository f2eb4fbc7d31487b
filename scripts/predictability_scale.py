"""Times predictability at the paper's scale, on synthetic data.

50,000 images x 76 conditions (clean, 15 corruptions x 5 severities) with
eight metrics that know more or less of what makes a task model fail: point by
point, per label and per image, as Drenkow et al. 2025 did (section 2.2,
appendix G). Writes seconds, peak memory and the ratio to a plain scikit-learn
loop, which is timed on a sample of its models and extrapolated.
"""

import argparse
import csv
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from fiftyone_iqa.analysis.folds import folds_by_source, split_by_source
from fiftyone_iqa.analysis.group_predictability import predictability_by_group
from fiftyone_iqa.analysis.predictability import predictability

N_CONDITIONS = 76
N_METRICS = 8
N_FOLDS = 5
IDS_PER_LABEL = 50
COLUMNS = (
    "part",
    "rows",
    "seconds",
    "peak_gib",
    "models",
    "sklearn_models_timed",
    "sklearn_seconds_extrapolated",
    "sklearn_ratio",
)
RESULTS = Path(__file__).parent / "results" / "predictability_scale.csv"


def main(arguments=None):
    """Runs the benchmark and writes its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--ids", type=int, default=50_000, help="images; a multiple of 50"
    )
    parser.add_argument(
        "--sample",
        type=int,
        default=40,
        help="groups of each kind that the scikit-learn loop is timed on",
    )
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    if args.ids < IDS_PER_LABEL or args.ids % IDS_PER_LABEL:
        parser.error(f"--ids must be a multiple of {IDS_PER_LABEL}")

    print(f"{args.ids:,} images x {N_CONDITIONS} x {N_METRICS}: making them")
    quality, correct = make_data(args.ids)
    image = np.repeat(np.arange(args.ids, dtype=np.int32), N_CONDITIONS)
    label = image // IDS_PER_LABEL

    parts = {
        "point by point": lambda: _pointwise(quality, correct, image),
        "per label": lambda: predictability_by_group(
            quality, correct, label, image, n_folds=N_FOLDS
        ),
        "per image": lambda: predictability_by_group(
            quality, correct, image, image, n_folds=N_FOLDS
        ),
    }
    loops = {
        "point by point": lambda: _plain_split(quality, correct, image),
        "per label": lambda: _plain_folds(
            quality, correct, label, image, args.sample
        ),
        "per image": lambda: _plain_folds(
            quality, correct, image, None, args.sample
        ),
    }
    rows = []
    for name, run in parts.items():
        print(f"{name} …", flush=True)
        start = time.perf_counter()
        result = run()
        seconds = time.perf_counter() - start
        rows.append([name, len(correct), seconds, peak_memory()])
        print(f"  {seconds:.1f} s, peak {peak_memory():.2f} GiB; {result}")

    # After all of ours, whose peak memory it must not raise. On one thread:
    # with more it takes several times as long for models as small as these
    with threadpool_limits(1):
        # Imports and the first call do not count
        _plain_model(
            quality[:100, -1], correct[:100], *[np.arange(100) > 9] * 2
        )
        for row in rows:
            print(f"scikit-learn, {row[0]} …", flush=True)
            seconds, n_timed, n_models = loops[row[0]]()
            extrapolated = seconds / n_timed * n_models
            row += [n_models, n_timed, extrapolated, extrapolated / row[2]]
            print(
                f"  {extrapolated:.0f} s for {n_models:,} models, "
                f"extrapolated from {n_timed:,}: {row[-1]:.1f} times ours"
            )

    total = [sum(row[i] for row in rows) for i in (2, 6)]
    rows.append(["all", len(correct), total[0], rows[-1][3], "", "", total[1]])
    rows[-1].append(total[1] / total[0])
    write(args.output, rows)
    print(f"{total[0]:.0f} s in all on {os.cpu_count()} CPUs: {args.output}")


def make_data(n_ids, seed=0):
    """Makes correctness, and metrics that share its causes.

    Returns:
        ``(n, m)`` float32 quality and ``(n,)`` bool correctness; rows of one
        image lie together
    """
    rng = np.random.default_rng(seed)
    shape = (n_ids, N_CONDITIONS)
    image = rng.standard_normal((n_ids, 1), np.float32)
    condition = rng.standard_normal((1, N_CONDITIONS), np.float32)
    margin = image + condition + rng.standard_normal(shape, np.float32)
    correct = (margin > -0.5).ravel()
    quality = np.empty((correct.size, N_METRICS), np.float32, order="F")
    for j in range(N_METRICS):
        # From a metric that knows nothing to one that knows much
        knows = j / N_METRICS
        column = knows * margin + rng.standard_normal(shape, np.float32)
        column += 0.5 * rng.standard_normal((n_ids, 1), np.float32)
        quality[:, j] = column.ravel()
    return quality, correct


def peak_memory():
    """Returns this process's peak resident memory in GiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def write(path, rows):
    """Writes the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for name, n, seconds, peak, models, timed, sklearn, ratio in rows:
            figures = [f"{seconds:.1f}", f"{peak:.2f}", models, timed]
            figures += [f"{sklearn:.0f}", f"{ratio:.1f}"]
            writer.writerow([name, n, *figures])


def _pointwise(quality, correct, image):
    results = [
        predictability(quality[:, j], correct, image)
        for j in range(quality.shape[1])
    ]
    return "AUC " + ", ".join(str(result.auc) for result in results)


def _plain_split(quality, correct, image):
    """Times the split and one metric's model, without any interval."""
    start = time.perf_counter()
    test = split_by_source(image)
    _plain_model(quality[:, -1], correct, ~test, test)
    return time.perf_counter() - start, 1, quality.shape[1]


def _plain_folds(quality, correct, group, source, n_sampled):
    """Times all folds of a sample of groups, one metric after another."""
    n_groups = int(group.max()) + 1
    n_sampled = min(n_sampled, n_groups)
    sample = np.random.default_rng(0).choice(n_groups, n_sampled, False)
    # Rows of a group lie together: the loop need not search for them
    bounds = np.searchsorted(group, np.arange(n_groups + 1))
    start = time.perf_counter()
    for g in sample:
        rows = slice(bounds[g], bounds[g + 1])
        happened = correct[rows]
        fold = folds_by_source(
            None if source is None else source[rows],
            N_FOLDS,
            n_rows=len(happened),
        )
        for column in quality[rows].T:
            for f in range(N_FOLDS):
                _plain_model(column, happened, fold != f, fold == f)
    models = n_groups * N_FOLDS * quality.shape[1]
    seconds = time.perf_counter() - start
    return seconds, models // n_groups * n_sampled, models


def _plain_model(column, correct, train, test):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score

    if any(correct[rows].mean() in (0, 1) for rows in (train, test)):
        return
    z = (column - column[train].mean()) / column[train].std()
    model = LogisticRegression().fit(z[train, None], correct[train])
    p = model.predict_proba(z[test, None])[:, 1]
    roc_auc_score(correct[test], p)
    log_loss(correct[test], p)


if __name__ == "__main__":
    main()
