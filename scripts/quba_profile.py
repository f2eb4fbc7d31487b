"""The QUBA-style profile of the task models whose weights can be had offline.

    python scripts/quba_profile.py --images DIR --squeezenet FILE --out DIR \
        [--one-per-class DIR]

The first DIR holds photographs in a folder for each class, named by its
synset (Imagenette is such a set); FILE the Caffe weights of SqueezeNet 1.1 in
torchvision's names. ``--one-per-class`` takes a folder of photographs named
``nXXXXXXXX_name.JPEG``, one of each class, and shows what those cannot tell.

Writes ``quba_profile.csv`` (a row per model and dimension),
``quba_profile_parts.csv`` (what they are made of), ``quba_profile_ranks.csv``
(by three sets of weights) and ``quba_profile.png``. Ends with status 1 if
fewer than six dimensions were measured, or PGD's accuracy rises with its
budget by more than two standard errors.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from itertools import pairwise
from pathlib import Path

import fiftyone as fo
import matplotlib
import numpy as np
import pandas as pd
from task_models_check import load

import fiftyone_iqa as fiqa
from fiftyone_iqa.robustness.cohort import DIMENSIONS

MODELS = ("efficientnet_lite1", "efficientnet_lite2", "squeezenet1_1")
EPSILONS = (1 / 255, 8 / 255)
MIN_MEASURED = 6
# What a user may care for
WEIGHT_SETS = {
    "published": None,
    "robust": {
        "accuracy": 1,
        "adversarial_robustness": 1,
        "corruption_robustness": 3,
    },
    "small and honest": {
        "accuracy": 1,
        "calibration_error": 2,
        "parameters": 2,
    },
}
SEED = 51


def main():
    args = parse_args()
    models = [load(name, args.squeezenet) for name in MODELS]
    for name, model in zip(MODELS, models):
        model.slug = name  # not that of the checkpoint's file too
    start = time.perf_counter()
    results = profile(
        folder_per_class(args.images, args.per_class),
        models,
        max_attacked=args.attacked,
        max_corrupted=args.corrupted,
        severities=args.severities,
    )
    print(results.summary())
    print(f"{time.perf_counter() - start:.0f} s")

    args.out.mkdir(parents=True, exist_ok=True)
    tables = [labelled(results, "a folder per class")]
    if args.one_per_class:
        start = time.perf_counter()
        few = profile(
            one_per_class(args.one_per_class, args.limit),
            models,
            max_attacked=0,
            max_corrupted=0,
        )
        print(few.summary())
        print(f"{time.perf_counter() - start:.0f} s")
        tables.append(labelled(few, "one image per class"))
    save(pd.concat(tables), args.out / "quba_profile.csv")
    save(parts_table(results), args.out / "quba_profile_parts.csv")
    ranks = ranks_table(results)
    print(ranks.to_string(index=False))
    save(ranks, args.out / "quba_profile_ranks.csv")
    draw(results, args.out / "quba_profile.png")

    failed = check(results, args.attacked)
    print("\n".join(failed) or "all checks hold")
    sys.exit(int(bool(failed)))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--squeezenet", required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--one-per-class", type=Path, metavar="DIR")
    parser.add_argument("--per-class", type=int, default=40)
    parser.add_argument("--attacked", type=int, default=20)
    parser.add_argument("--corrupted", type=int, default=10)
    parser.add_argument("--severities", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument(
        "--limit", type=int, default=100, help="of --one-per-class"
    )
    return parser.parse_args()


def folder_per_class(folder, per_class) -> fo.Dataset:
    """Returns the first photographs of each class."""
    samples = []
    for kind in sorted(p for p in folder.iterdir() if p.is_dir()):
        for path in sorted(kind.iterdir())[:per_class]:
            samples.append(labelled_sample(path, kind.name))
    if not samples:
        sys.exit(f"{folder} holds no folders of photographs")
    return dataset_of(samples)


def one_per_class(folder, limit) -> fo.Dataset:
    """Returns photographs named by their synsets, evenly drawn."""
    paths = [
        p for p in sorted(folder.iterdir()) if re.match(r"n\d{8}_", p.name)
    ]
    chosen = paths[:: max(1, len(paths) // limit)][:limit]
    if not chosen:
        sys.exit(f"{folder} holds no photographs named nXXXXXXXX_name.JPEG")
    return dataset_of([labelled_sample(p, p.name[:9]) for p in chosen])


def labelled_sample(path, label):
    """Returns a sample with its true class."""
    truth = fo.Classification(label=label)
    return fo.Sample(str(path), ground_truth=truth)


def dataset_of(samples):
    """Returns a dataset that ends with the process."""
    dataset = fo.Dataset()
    dataset.add_samples(samples, progress=False)
    return dataset


def profile(dataset, models, **kwargs):
    """Returns the results of a profile."""
    return fiqa.model_quality(
        dataset,
        models,
        "ground_truth",
        brain_key=None,
        epsilons=EPSILONS,
        seed=SEED,
        **kwargs,
    )


def labelled(results, images):
    """Returns a table of dimensions that says what it is of."""
    table = results.table()
    table.insert(0, "images", images)
    return table


def parts_table(results) -> pd.DataFrame:
    """Returns what dimensions are made of."""
    return pd.DataFrame(
        [
            {"model": model, "dimension": key, "part": part, "value": value}
            for model in results.models
            for key, one in results.dimensions(model).items()
            for part, value in one.parts.items()
        ]
    )


def ranks_table(results) -> pd.DataFrame:
    """Returns the ranks by each set of weights."""
    tables = []
    for name, weights in WEIGHT_SETS.items():
        table = results.rank(weights)
        table.insert(0, "weights", name)
        tables.append(table)
    found = pd.concat(tables, ignore_index=True)
    return found[
        [
            *("weights", "rank", "model", "score", "low", "high"),
            *("name", "cohort", "left_out"),
        ]
    ]


def save(table, path):
    """Writes a table with four digits."""
    table.to_csv(path, index=False, float_format="%.4f")


def check(results, n_attacked) -> list[str]:
    """Returns what is not as it should be."""
    failed = []
    for model in results.models:
        found = results.dimensions(model)
        n = sum(one.value is not None for one in found.values())
        if n < MIN_MEASURED:
            failed.append(f"{model}: only {n} dimensions were measured")
        failed += [
            f"{model}: {said}"
            for said in rises(
                found["adversarial_robustness"].parts, n_attacked
            )
        ]
    return failed


def budgets(parts) -> list[tuple[float, float]]:
    """Returns PGD's budgets, of 255, and the accuracy it leaves."""
    found = [(0.0, parts["clean"])]
    for name, value in parts.items():
        match = re.fullmatch(r"PGD ([\d.]+)/255", name)
        if match:
            found.append((float(match[1]), value))
    return sorted(found)


def rises(parts, n) -> list[str]:
    """Returns where accuracy rises with PGD's budget for certain.

    Args:
        parts: accuracies by attack
        n: images attacked
    """
    said = []
    steps = budgets(parts)
    for (low, before), (high, after) in pairwise(steps):
        error = np.sqrt((before * (1 - before) + after * (1 - after)) / n)
        if after > before + 2 * error:
            said.append(
                f"PGD leaves {before:.3f} at {low:g}/255 and {after:.3f} at "
                f"{high:g}/255"
            )
    return said


def draw(results, path):
    """Draws the dimensions with intervals, and accuracy under PGD."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = ("#0072B2", "#E69F00", "#009E73")
    names = results.models
    found = [results.dimensions(model) for model in results.models]
    specs = [
        spec
        for spec in DIMENSIONS
        if any(one[spec.key].value is not None for one in found)
    ]
    columns = 4
    rows = -(-(len(specs) + 1) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(11, 2.7 * rows))
    axes = list(axes.flat)
    for spec, axis in zip(specs, axes):
        for i, one in enumerate(found):
            estimate = one[spec.key].estimate
            if estimate.value is None:
                continue
            axis.bar(i, estimate.value, color=colours[i], width=0.7)
            if estimate.low is not None:
                axis.errorbar(
                    i,
                    estimate.value,
                    [
                        [estimate.value - estimate.low],
                        [estimate.high - estimate.value],
                    ],
                    color="#444444",
                    capsize=3,
                )
        lower = "" if spec.sign > 0 else " (lower is better)"
        axis.set_title(f"{spec.title}{lower}", fontsize=9)
        axis.set_xticks([])
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    curve = axes[len(specs)]
    for i, one in enumerate(found):
        steps = budgets(one["adversarial_robustness"].parts)
        curve.plot(*zip(*steps), "o-", color=colours[i], label=names[i])
    curve.set_title("Accuracy under PGD, ε in 1/255", fontsize=9)
    curve.tick_params(labelsize=8)
    curve.spines[["top", "right"]].set_visible(False)
    for axis in axes[len(specs) + 1 :]:
        axis.axis("off")
    figure.legend(
        *curve.get_legend_handles_labels(),
        loc="upper center",
        ncol=len(names),
        frameon=False,
        fontsize=9,
    )
    figure.tight_layout(rect=(0, 0, 1, 0.93))
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
