"""How well quality alone tells the accuracy on images nobody labelled.

    python scripts/expected_accuracy.py --images DIR --out DIR

Learns priors on the dataset of ``paper_tables.py --small --images DIR``, takes
other photographs of the same folder, makes collections of them whose true
accuracy differs widely, and compares it with ``expected_accuracy``:

-   mild: section 2.5's variants, a share of 0.02 to 0.20 corrupted
-   condition: one corruption at one severity
-   mixture: clean images and any conditions in different proportions

The best constant guess knows the median of the true accuracies. "Held out"
are single conditions whose family (noise, blur, weather, digital) the prior
never saw.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import fiftyone as fo
import matplotlib
import numpy as np
import pandas as pd
from fiftyone import ViewField as F
from paper_tables import SEED, photographs

import fiftyone_iqa as fiqa
from fiftyone_iqa.corruptions import get_corruption, list_corruptions
from fiftyone_iqa.metrics.task_model import TaskModelMetric

MODEL = "efficientnet_lite2"
CORRECT = f"correct_{MODEL}"
# Weak and no guidance: what needs no trained task model
WEAK = (
    *(f"{join}zsclip_q{q}" for join in ("", "ridge_") for q in "phlm"),
    "brisque",
    "tv",
)
STRONG = tuple(f"{MODEL}_q{q}" for q in "phl")
# What is learnt of which fields; None takes the run's own choice of one.
# Q_l is what section 2.5 uses
PRIORS = {
    "Q_l": (("zsclip_ql",), None),
    "weak, chosen by the run": (WEAK, None),
    "all weak, jointly": (WEAK, "joint"),
    "strong, same model": (STRONG, None),
}
SHARES = tuple(n / 100 for n in range(2, 21))
PER_COLLECTION = 400
PER_CONDITION = 300
N_MIXTURES = 16


def main():
    args = parse_args()
    reference = fo.load_dataset(args.reference)
    unseen = prepare(args, reference)
    score(unseen, reference)
    collections = [*mild(unseen), *conditions(unseen), *mixtures(unseen)]

    rows = []
    for name, (metrics, choice) in PRIORS.items():
        prior = learn(reference, metrics, choice)
        print(f"{name}: {', '.join(prior.metrics)}")
        rows += [judge(c, prior, name) for c in collections]
    for family in ("noise", "blur", "weather", "digital"):
        members = [
            name
            for name in list_corruptions()
            if get_corruption(name).family == family
        ]
        rest = reference.match(~F("corruption").is_in(members))
        unknown = [c for c in collections if c.get("corruption") in members]
        for name, metrics in (("Q_l", ("zsclip_ql",)), ("strong", STRONG)):
            prior = learn(rest, metrics)
            rows += [
                judge(c, prior, f"{name}, {family} held out") for c in unknown
            ]
    write(pd.DataFrame(rows), args.out)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--reference", default="iqa-paper-tables", metavar="NAME"
    )
    parser.add_argument("--name", default="iqa-unseen")
    parser.add_argument(
        "--limit", type=int, default=600, help="unseen photographs to take"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    return parser.parse_args()


def prepare(args, reference) -> fo.Dataset:
    """Returns the unseen images under all that the collections need."""
    if fo.dataset_exists(args.name):
        return fo.load_dataset(args.name)

    seen = fo.load_dataset(f"{reference.name}-photographs").values("filepath")
    fresh = [
        s for s in photographs(args.images, None) if s.filepath not in seen
    ]
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(len(fresh))[: args.limit]
    sources = fo.Dataset()
    sources.add_samples([fresh[i] for i in chosen])

    made = fo.Dataset(args.name)
    options = {"protocol": "imagenet-c", "seed": SEED}
    mixtures = (
        ("clean", 0, (1, 2, 3), SEED),
        ("mild", 1, (1, 2, 3), SEED),
        ("any", 1, (1, 2, 3, 4, 5), SEED),
        ("more", 1, (2, 3, 4, 5), SEED + 1),
    )
    for part, p, severities, seed in mixtures:
        add(
            made,
            fiqa.mildly_corrupt_dataset(
                sources,
                p,
                severities,
                dataset=f"{args.name}-{part}",
                protocol="imagenet-c",
                seed=seed,
            ),
            part,
        )
    for i, corruption in enumerate(list_corruptions()):
        ids = rng.permutation(sources.values("id"))[:PER_CONDITION].tolist()
        add(
            made,
            fiqa.corrupt_dataset(
                sources.select(ids),
                [corruption],
                [1 + i * 2 % 5],
                dataset=f"{args.name}-{corruption}",
                include_clean=False,
                **options,
            ),
            "condition",
        )
    made.persistent = True
    return made


def add(made, part, name):
    part.set_values("part", [name] * len(part))
    made.add_collection(part)
    part.delete()


def score(unseen, reference):
    """Computes on the unseen images what the reference has."""
    metrics = ["zsclip", "brisque", "tv", TaskModelMetric(MODEL)]
    identity = reference.get_field("zsclip_ql").info["iqa"]["identity"]
    classes = reference.info["iqa_label_sets"][identity["classes"]]
    print(fiqa.compute_quality(unseen, metrics, classes, "lite"))
    fiqa.compute_quality(
        unseen, "zsclip", classes, "lite:ridge", field_prefix="ridge"
    )
    print(fiqa.compute_correctness(unseen, MODEL, "ground_truth", CORRECT))


def learn(reference, metrics, choice=None):
    """Returns the prior of some metrics, or of the best of them."""
    results = fiqa.build_quality_prior(
        reference, list(metrics), CORRECT, brain_key=None, seed=SEED
    )
    return results.prior(choice)


def mild(unseen):
    """Yields section 2.5's variants: each photograph once."""
    frame = table_of(unseen)
    clean = frame[frame.part == "clean"].set_index("source_id").id
    corrupted = frame[frame.part == "mild"].set_index("source_id").id
    rng = np.random.default_rng(SEED)
    for share in SHARES:
        sources = rng.permutation(clean.index)[:PER_COLLECTION]
        n = round(share * len(sources))
        ids = [*corrupted[sources[:n]], *clean[sources[n:]]]
        yield collection(unseen, "mild", f"p = {share:.2f}", ids)


def conditions(unseen):
    """Yields single conditions."""
    frame = table_of(unseen)
    frame = frame[frame.part == "condition"]
    for (corruption, severity), rows in frame.groupby(
        ["corruption", "severity"], sort=False
    ):
        yield {
            **collection(
                unseen, "condition", f"{corruption} {severity}", rows.id
            ),
            "corruption": corruption,
        }


def mixtures(unseen):
    """Yields mixtures, from mostly clean to all heavily corrupted."""
    frame = table_of(unseen)
    clean = frame[frame.part == "clean"].set_index("source_id").id
    pool = frame[frame.part.isin(["any", "more"])]
    rng = np.random.default_rng(SEED + 2)
    for k in range(N_MIXTURES):
        share = 0.3 + 0.7 * k / (N_MIXTURES - 1)
        lowest = 1 + (4 * k) // N_MIXTURES
        drawn = pool[pool.severity >= lowest].sample(
            frac=1, random_state=int(rng.integers(2**31))
        )
        drawn = drawn.drop_duplicates("source_id").set_index("source_id").id
        sources = rng.permutation(drawn.index)[:PER_COLLECTION]
        n = round(share * len(sources))
        ids = [*drawn[sources[:n]], *clean[sources[n:]]]
        name = f"{share:.0%} of severity {lowest} and up"
        yield collection(unseen, "mixture", name, ids)


def table_of(unseen):
    names = ["id", "source_id", "part", "corruption", "severity"]
    return pd.DataFrame(dict(zip(names, unseen.values(names))))


def collection(unseen, kind, name, ids):
    view = unseen.select(list(ids))
    correct = view.values(CORRECT)
    return {
        "kind": kind,
        "name": name,
        "view": view,
        "truth": float(np.mean(correct)),
        "n": len(correct),
    }


def judge(one, prior, name):
    """Returns a row: what was expected of a collection, and what was true."""
    found = fiqa.expected_accuracy(one["view"], prior)
    low, high = found.accuracy.low, found.accuracy.high
    return {
        "prior": name,
        "kind": one["kind"],
        "collection": one["name"],
        "n": one["n"],
        "accuracy": one["truth"],
        "expected": found.accuracy.value,
        "low": low,
        "high": high,
        "error": found.accuracy.value - one["truth"],
        "covered": low <= one["truth"] <= high,
        "warnings": "; ".join(found.warnings),
    }


def write(table, out: Path):
    """Writes the table and the plot; prints the summary."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "expected_accuracy.csv"
    table.to_csv(path, index=False, float_format="%.4f")
    main_rows = table[table.prior == "Q_l"]
    guess = main_rows.accuracy.median()
    constant = (main_rows.accuracy - guess).abs().mean()
    print(
        f"{len(main_rows)} collections, accuracy "
        f"{main_rows.accuracy.min():.3f} to {main_rows.accuracy.max():.3f}; "
        f"best constant guess {guess:.3f}, mean absolute error {constant:.4f}"
    )
    table = table.assign(absolute=table.error.abs())
    table["prior"] = table.prior.str.replace(
        r", \w+ held out", ", held out", regex=True
    )
    kinds = table.groupby(["prior", "kind"], sort=False)
    total = table.groupby("prior", sort=False)
    for groups in (total, kinds):
        print(
            groups.agg(
                n=("absolute", "size"),
                mean_absolute_error=("absolute", "mean"),
                worst=("absolute", "max"),
                bias=("error", "mean"),
                covered=("covered", "mean"),
            )
            .round(4)
            .to_string()
        )
    plot(table, out / "expected_accuracy.png")
    print(f"Written to {out}")


def plot(table, path):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 5), sharey=True)
    for axis, name, title in (
        (axes[0], "Q_l", "Q_l: conditions the prior has seen"),
        (axes[1], "Q_l, held out", "Q_l: families of conditions it has not"),
    ):
        axis.plot([0, 1], [0, 1], ":", color="#999999")
        for kind, colour in (
            ("mild", "#009E73"),
            ("condition", "#0072B2"),
            ("mixture", "#D55E00"),
        ):
            rows = table[(table.prior == name) & (table.kind == kind)]
            if rows.empty:
                continue
            axis.errorbar(
                rows.expected,
                rows.accuracy,
                xerr=[rows.expected - rows.low, rows.high - rows.expected],
                fmt="o",
                markersize=4,
                linewidth=0.8,
                color=colour,
                label=kind,
            )
        axis.set(
            title=title,
            xlabel="expected accuracy, 95 % interval",
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
        )
        axis.legend(frameon=False, loc="upper left")
    axes[0].set_ylabel("true accuracy")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
