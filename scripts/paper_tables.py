"""Tables 1 to 6 of Drenkow & Unberath, and the data of their figures.

    python scripts/paper_tables.py --small --images DIR --out DIR
    python scripts/paper_tables.py --imagenet-c DIR --clean DIR --out DIR
    python scripts/paper_tables.py --dataset NAME --out DIR

DIR of ``--images`` and ``--clean`` holds ImageNet photographs, in one folder
per synset or named ``nXXXXXXXX_name.JPEG``. ``--small`` takes 200 of them,
makes the 75 conditions itself (protocol ``imagenet-c``), and uses models that
need no weights hub: the ``lite`` encoder and EfficientNet-Lite2, and
SqueezeNet 1.1 where ``--squeezenet`` names its Caffe weights. ``--dataset``
is one that ``corrupt_dataset`` or ``load_imagenet_c`` made.

Everything is resumable: a second call goes on with what is there.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import fiftyone as fo
import numpy as np
import pandas as pd
from _paper_layout import MODELS, markdown, rows_of, with_published

import fiftyone_iqa as fiqa
from fiftyone_iqa.analysis.predictability import predictability
from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.metrics.task_model import TaskModelMetric
from fiftyone_iqa.models import (
    ModelUnavailableError,
    Normalisation,
    get_task_model,
)
from fiftyone_iqa.models.imagenet import imagenet_names, imagenet_synsets
from fiftyone_iqa.preprocessing import ResizeCrop
from fiftyone_iqa.quality_columns import (
    QualityColumns,
    metric_fields,
    quality_field_paths,
)

BASELINES = ("brisque", "tv", "clipiqa", "arniqa")
TEMPERATURES = (1, 10, 30, 100)
MILD = (1, 2, 3)  # severities of section 2.5
SHARES = tuple(n / 100 for n in range(1, 21))
SEED = 51


def main(argv=None):
    args = parse_args(argv)
    try:
        dataset = prepare(args)
        slugs = score(dataset, args)
        write(dataset, slugs, args.out)
    except IQAError as e:
        sys.exit(str(e))


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--images", type=Path, metavar="DIR")
    data.add_argument("--imagenet-c", type=Path, metavar="DIR")
    data.add_argument("--dataset", metavar="NAME")
    parser.add_argument("--clean", type=Path, metavar="DIR")
    parser.add_argument("--small", action="store_true")
    parser.add_argument(
        "--limit", type=int, metavar="N", help="photographs to take"
    )
    parser.add_argument("--encoder", help="default: lite with --small")
    parser.add_argument(
        "--models", nargs="+", metavar="NAME", help="task models"
    )
    parser.add_argument("--squeezenet", type=Path, metavar="FILE")
    parser.add_argument("--device")
    parser.add_argument(
        "--name", default="iqa-paper-tables", help="of the dataset to make"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="for the tables"
    )
    args = parser.parse_args(argv)
    if args.small:
        args.limit = args.limit or 200
        args.encoder = args.encoder or "lite"
        args.models = args.models or ["efficientnet_lite2"]
    args.models = args.models or list(MODELS)
    return args


def prepare(args) -> fo.Dataset:
    """Returns the corrupted dataset, making what is missing of it."""
    if args.dataset:
        return fo.load_dataset(args.dataset)

    if args.imagenet_c:
        if fo.dataset_exists(args.name):
            return fo.load_dataset(args.name)
        dataset = fiqa.load_imagenet_c(args.imagenet_c, args.name)
        if args.clean:
            clean = photographs(args.clean, args.limit)
            for sample in clean:
                sample.update_fields(
                    corruption="clean",
                    severity=0,
                    source_id=Path(sample.filepath).stem,
                )
            dataset.add_samples(clean)
        return dataset

    name = f"{args.name}-photographs"
    if fo.dataset_exists(name):
        sources = fo.load_dataset(name)
    else:
        samples = photographs(args.images, args.limit)
        sources = fo.Dataset(name, persistent=True)
        sources.add_samples(samples)
    exists = fo.dataset_exists(args.name)
    return fiqa.corrupt_dataset(
        sources,
        dataset=fo.load_dataset(args.name) if exists else args.name,
        protocol="imagenet-c",
        seed=SEED,
    )


def photographs(folder: Path, limit: int | None) -> list[fo.Sample]:
    """Returns labelled samples, evenly chosen from a folder."""
    synsets = set(imagenet_synsets())
    found = []
    for path in sorted(folder.rglob("*")):
        for name in (path.name, path.parent.name):
            match = re.match(r"n\d{8}", name)
            if path.is_file() and match and match.group() in synsets:
                found.append((path, match.group()))
                break
    if not found:
        raise IQAError(
            f"{folder} holds no photographs named nXXXXXXXX_name.JPEG, nor "
            "folders named nXXXXXXXX"
        )
    step = max(1, len(found) // limit) if limit else 1
    return [
        fo.Sample(str(path), ground_truth=fo.Classification(label=synset))
        for path, synset in found[::step][:limit]
    ]


def score(dataset: fo.Dataset, args) -> list[str]:
    """Computes quality, predictions and correctness; returns the models."""
    task_models = [*args.models]
    if args.squeezenet:
        model = squeezenet(args.squeezenet, args.device)
        task_models.append(TaskModelMetric(model, field="squeezenet1_1"))

    metrics, slugs = ["zsclip", *BASELINES], []
    for model in task_models:
        try:
            if isinstance(model, str):
                model = get_task_model(model, args.device)
        except ModelUnavailableError as e:
            print(f"Left out: {e}")
            continue
        if not isinstance(model, TaskModelMetric):
            model = TaskModelMetric(model)
        metrics.append(model)
        slugs.append(metrics[-1].spec.name)
    if not slugs:
        raise IQAError("No task model is to be had; --models names others")

    options = {
        "classes": list(imagenet_names()),
        "encoder": args.encoder,
        "device": args.device,
    }
    print(fiqa.compute_quality(dataset, metrics, **options))
    encoder = dataset.get_field("zsclip_ql").info["iqa"]["identity"]["encoder"]
    variants = [(f"t{t}", {"temperature": t}) for t in TEMPERATURES]
    if encoder.startswith("lite:"):
        variants.append(("ridge", {"encoder": "lite:ridge"}))
    for prefix, changed in variants:
        fiqa.compute_quality(
            dataset, "zsclip", field_prefix=prefix, **{**options, **changed}
        )
    for slug in slugs:
        report = fiqa.compute_correctness(
            dataset, slug, "ground_truth", field=f"correct_{slug}"
        )
        print(f"{slug}: {report}")
    return slugs


def squeezenet(path, device):
    """SqueezeNet 1.1 by its Caffe weights: blue, green, red, less a mean."""
    return get_task_model(
        f"squeezenet1_1//{path}",
        device,
        transform=ResizeCrop(224, 256, "bilinear"),
        normalisation=Normalisation(
            (104, 117, 123), (1, 1, 1), scale=1.0, channels="bgr"
        ),
    )


def write(dataset, slugs, out: Path):
    """Analyses each task model; writes and prints the tables."""
    out.mkdir(parents=True, exist_ok=True)
    fields = score_fields(dataset)
    rows, groups, within, variants = [], [], [], []
    for slug in slugs:
        results = fiqa.build_quality_prior(
            dataset,
            fields,
            f"correct_{slug}",
            brain_key=f"paper_{slug}",
            ground_truth="ground_truth",
            seed=SEED,
        )
        rows += rows_of(results, slug)
        groups += group_rows(results, slug)
        within += within_rows(results, slug)
        variants += variant_rows(dataset, fields, slug)
        print(f"\n{slug}\n{results.summary()}")

    table = with_published(rows)
    table.to_csv(out / "tables.csv", index=False, float_format="%.5g")
    for name, data in (
        ("groups", groups),
        ("within_content", within),
        ("mild_variants", variants),
    ):
        pd.DataFrame(data).to_csv(
            out / f"{name}.csv", index=False, float_format="%.5g"
        )
    text = markdown(table)
    (out / "tables.md").write_text(text + "\n", encoding="utf-8")
    print(
        f"\n{text}\n\nWritten to {out}: tables.md, tables.csv, and the data "
        "of the figures: groups.csv (3, 5, 6, 11 to 19), within_content.csv "
        "(20), mild_variants.csv (21, 22)"
    )


def score_fields(dataset) -> list[str]:
    """Returns the quality fields that hold values."""
    fields = quality_field_paths(dataset)
    return [name for name in fields if dataset.count(name)]


def group_rows(results, slug):
    """Returns mean quality and accuracy of every group."""
    return [
        {
            "task_model": slug,
            "metric": name,
            "corruption": group["name"][0],
            "severity": group["name"][1],
            **{k: group[k] for k in ("n", "mean", "std", "accuracy")},
        }
        for name, found in results.report["metrics"].items()
        for group in found["groups"]["rows"]
    ]


def within_rows(results, slug):
    """Returns mAUC with image or label held fixed (appendix G)."""
    rows = []
    for content in ("source", "label"):
        found = results.within(content)
        if found is None:
            continue
        for i, name in enumerate(results.report["metrics"]):
            rows.append(
                {
                    "task_model": slug,
                    "held_fixed": content,
                    "metric": name,
                    "n_groups": found["n_groups"],
                    **{
                        key: found[key][i]
                        for key in (
                            "mean_raw_auc",
                            "sigma_raw_auc",
                            "mean_auc",
                            "sigma_auc",
                            "n_used",
                            "n_separable",
                        )
                    },
                }
            )
    return rows


def variant_rows(dataset, fields, slug):
    """Returns quality and AUC of mildly corrupted variants (section 2.5)."""
    found = metric_fields(dataset, fields)
    columns = QualityColumns(dataset, found)
    correct = columns.correct(f"correct_{slug}")
    severity = np.array(columns.column("severity"))
    if not (severity == 0).any():
        return []  # ImageNet-C by itself has no clean images

    rng = np.random.default_rng(SEED)
    rows = []
    for share in SHARES:
        chosen = variant(columns.source, severity, share, rng)
        for field, values in zip(found, columns.quality[chosen].T):
            rows.append(
                {
                    "task_model": slug,
                    "metric": field.path,
                    "share_corrupted": share,
                    "accuracy": float(np.nanmean(correct[chosen])),
                    "mean_quality": float(np.nanmean(values)),
                    **variant_auc(values, correct[chosen], field),
                }
            )
    return rows


def variant_auc(values, correct, field):
    """Returns the AUCs, None where there are too few wrong ones."""
    try:
        found = predictability(
            values,
            correct,
            higher_is_better=field.higher_is_better,
            seed=SEED,
        )
    except IQAError:
        return dict.fromkeys(("auc", "auc_low", "auc_high", "fitted_auc"))
    return {
        "auc": found.auc.value,
        "auc_low": found.auc.low,
        "auc_high": found.auc.high,
        "fitted_auc": found.fitted_auc.value,
    }


def variant(source, severity, share, rng) -> np.ndarray:
    """Draws the rows of a mildly corrupted variant.

    Every original is there once: ``share`` of them under a condition of
    severity 1 to 3, the rest clean.
    """
    frame = pd.DataFrame({"source": source, "severity": severity})
    clean = frame[frame.severity == 0].drop_duplicates("source")
    order = rng.permutation(len(clean))
    corrupted = order[: round(share * len(clean))]
    mild = frame[
        frame.severity.isin(MILD)
        & frame.source.isin(clean.source.iloc[corrupted])
    ]
    drawn = mild.iloc[rng.permutation(len(mild))].drop_duplicates("source")
    rest = clean.drop(clean.index[corrupted])
    return np.concatenate([rest.index, drawn.index])


if __name__ == "__main__":
    main()
