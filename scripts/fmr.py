"""FMR of small ImageNet models with the offline encoder as the oracle.

    python scripts/fmr.py --images DIR --squeezenet FILE

DIR holds ImageNet photographs named ``nXXXXXXXX_name.JPEG``; ``--n`` of them
are used, spread over the classes. FILE holds the Caffe weights of SqueezeNet
1.1 in torchvision's names. The database is FiftyOne's own; the two datasets
are deleted in the end unless ``--keep`` names them.

Written to ``--results``: ``fmr.csv`` (the table), ``fmr_transfer.csv``,
``fmr_quality.csv`` and ``fmr_check.csv``: the stored files judged anew by the
oracle, and 16 of the images perturbed again with the same seed and with
another. Classes are not broken down: there is about one image of each.

    python scripts/fmr.py --picture FILE --squeezenet FILE

draws photographs out of scikit-image under each generator instead. Their
"true" class is what the oracle says of them.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import re
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parent / "results"
MODELS = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "squeezenet1_1",
)
N_REPEATED = 16  # images perturbed again, for determinism


def main():
    args = parse_args()
    if args.picture:
        draw(args)
        return

    import fiftyone as fo

    import fiftyone_iqa as fiqa

    name = args.keep or f"fmr-{uuid.uuid4().hex[:8]}"
    dataset = make_dataset(name, args.images, args.n, bool(args.keep))
    models = [load(slug, args.squeezenet) for slug in MODELS]
    with tempfile.TemporaryDirectory() as folder:
        try:
            fiqa.compute_quality(
                dataset,
                "zsclip",
                encoder="lite",
                classes=class_names(),
                cache=False,
            )
            start = time.perf_counter()
            images = None if args.keep else Path(folder, "images")
            results = measure(dataset, models, args, images)
            seconds = time.perf_counter() - start
            args.results.mkdir(parents=True, exist_ok=True)
            save(results, args.results)
            print(results.summary())
            print(markdown(results))
            print(f"{seconds:.0f} s")
            checks = [
                ("images", len(dataset)),
                ("budget", args.budget),
                ("step_size", args.step_size),
                ("seconds", round(seconds)),
                *check_files(results),
                *check_agreement(results),
                *check_seeds(results, dataset, models, args, folder),
            ]
            with open(args.results / "fmr_check.csv", "w", newline="") as f:
                csv.writer(f).writerows([("check", "value"), *checks])
            for check in checks:
                print(*check)
        finally:
            if not args.keep:
                for made in fo.list_datasets(f"{name}*"):
                    fo.delete_dataset(made)


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=Path, metavar="DIR")
    what.add_argument("--picture", type=Path, metavar="FILE")
    parser.add_argument("--squeezenet", required=True, metavar="FILE")
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--budget", type=int, default=10)
    parser.add_argument("--step-size", type=float, default=0.01)
    parser.add_argument("--keep", metavar="NAME")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def make_dataset(name, folder, n, persistent):
    import fiftyone as fo

    paths = [
        p for p in sorted(folder.iterdir()) if re.match(r"n\d{8}_", p.name)
    ]
    if not paths:
        raise SystemExit(f"{folder} has no files named nXXXXXXXX_name.JPEG")
    chosen = np.linspace(0, len(paths) - 1, min(n, len(paths))).astype(int)
    if fo.dataset_exists(name):
        return fo.load_dataset(name)
    dataset = fo.Dataset(name, persistent=persistent)
    dataset.add_samples(
        [
            fo.Sample(
                filepath=str(paths[i]),
                ground_truth=fo.Classification(label=paths[i].name[:9]),
            )
            for i in chosen
        ],
        progress=False,
    )
    return dataset


def class_names():
    """Returns ImageNet's 1,000 names as image-text encoders read them."""
    from fiftyone_iqa.labels import readable_names
    from fiftyone_iqa.models.imagenet import imagenet_synsets

    return readable_names(imagenet_synsets())


def load(slug, squeezenet):
    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    if slug != "squeezenet1_1":
        return get_task_model(slug)
    # Caffe: blue, green, red on 0...255, less a mean
    return get_task_model(
        f"{slug}//{squeezenet}",
        transform=ResizeCrop(224, 256, "bilinear"),
        normalisation=Normalisation(
            (104, 117, 123), (1, 1, 1), scale=1.0, channels="bgr"
        ),
        slug=slug,
    )


def measure(samples, models, args, folder, output=None, **kwargs):
    import fiftyone_iqa as fiqa

    return fiqa.foundation_robustness(
        samples,
        models,
        "ground_truth",
        oracle="lite",
        generator=("style", "corruption"),
        classes=class_names(),
        budget=args.budget,
        step_size=args.step_size,
        images_dir=folder,
        output=output,
        **{"metrics": "zsclip", **kwargs},
    )


def save(results, folder):
    columns = [
        *("rank", "model", "generator", "judged_on", "variant", "n"),
        *("sa", "sa_low", "sa_high", "pa", "pa_low", "pa_high"),
        *("fmr", "fmr_low", "fmr_high", "validation_rate"),
        *("n_unrecognised", "n_rejected_at_once", "n_at_budget"),
        *("agreement", "mean_steps", "circular"),
    ]
    table = results.table()[columns].round(4)
    table.to_csv(folder / "fmr.csv", index=False)
    both = [results.transfer(variant=v).assign(variant=v) for v in ("a", "b")]
    import pandas as pd

    pd.concat(both).round(2).to_csv(folder / "fmr_transfer.csv")
    results.quality().round(4).to_csv(folder / "fmr_quality.csv", index=False)


def markdown(results) -> str:
    """Returns the table as the README has it."""
    lines = [
        "| generator | model | SA (a) | PA (a) | FMR (a) | FMR (b) | n (b) |",
        "|---|---|---|---|---|---|---|",
    ]
    table = results.table().set_index(["variant", "generator", "model"])
    for (_, generator, model), a in table.loc[["a"]].iterrows():
        b = table.loc["b", generator, model]
        fmr = [
            f"{r.fmr:.1f} [{r.fmr_low:.1f}, {r.fmr_high:.1f}]" for r in (a, b)
        ]
        name = f"{model} (circular)" if a.circular else model
        row = generator, name, f"{a.sa:.3f}", f"{a.pa:.3f}", *fmr, b.n
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def check_files(results):
    """Judges the stored files anew: are all accepted ones of their class?"""
    from fiftyone_iqa.encoders import get_encoder
    from fiftyone_iqa.images import read_image
    from fiftyone_iqa.matching import LabelMatcher
    from fiftyone_iqa.robustness.oracle import ZeroShotOracle

    oracle = ZeroShotOracle(get_encoder("lite"), class_names())
    output = results.load_output()
    for name in results.report["sets"]:
        view = output.select_group_slices([name])
        paths, labels, outcomes = view.values(
            ["filepath", "ground_truth.label", "fmr_outcome"]
        )
        kept = [i for i, o in enumerate(outcomes) if o == "perturbed"]
        matcher = LabelMatcher([], labels)
        truths = matcher.true_classes(oracle.names, labels).argmax(axis=1)
        agreed = 0
        for start in range(0, len(kept), 25):
            rows = kept[start : start + 25]
            images = np.stack([read_image(paths[i]) for i in rows])
            agreed += int(oracle.accepts(images, truths[rows])[0].sum())
        yield f"{name}: accepted files", len(kept)
        yield f"{name}: of those the oracle accepts again", agreed


def check_agreement(results):
    """On (b) the oracle is right by construction: agreement is PA."""
    table = results.table()
    table = table[table.variant == "b"]
    worst = float((table.agreement - table.pa).abs().max())
    yield "largest |agreement - PA| on (b)", worst


def check_seeds(results, dataset, models, args, folder):
    from fiftyone_iqa.images import read_image

    names = [f"style-{MODELS[1]}", "corruption"]
    view = dataset.limit(N_REPEATED)
    first = results.load_output()
    for seed in (51, 52):
        made = measure(
            view,
            [models[1]],
            args,
            Path(folder, str(seed)),
            output=f"{dataset.name}-{seed}",
            seed=seed,
            brain_key=None,
            metrics=None,
        ).load_output()
        for name in names:
            equal = 0
            again = paths_of(made, name)
            for key, path in again.items():
                same = read_image(paths_of(first, name)[key])
                equal += bool((read_image(path) == same).all())
            yield f"{name}: of {len(again)} equal, seed {seed}", equal


def paths_of(output, name):
    view = output.select_group_slices([name])
    return dict(zip(*view.values(["source_id", "filepath"])))


PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
_TILE, _HEADING = 168, 16


def draw(args):
    """Draws photographs, and what each generator made of them."""
    from PIL import Image, ImageDraw

    from fiftyone_iqa.corruptions import seed_of
    from fiftyone_iqa.encoders import get_encoder
    from fiftyone_iqa.images import read_image
    from fiftyone_iqa.matching import LabelMatcher
    from fiftyone_iqa.robustness.foundation import (
        canonical_image,
        model_loss,
        perturb,
        predict,
    )
    from fiftyone_iqa.robustness.generators import get_generator
    from fiftyone_iqa.robustness.oracle import ZeroShotOracle

    spec = importlib.util.find_spec("skimage")
    folder = Path(spec.origin).parent / "data"
    images = np.stack(
        [canonical_image(read_image(folder / name)) for name in PHOTOGRAPHS]
    )
    names = class_names()
    oracle = ZeroShotOracle(get_encoder("lite"), names)
    said = oracle.probabilities(images).argmax(axis=1)
    seeds = [seed_of(image, 51) for image in images]
    columns = [("original", images, [names[i] for i in said])]

    def accepts(x, rows):
        return oracle.accepts(x, said[rows])

    style = get_generator("style", args.budget, args.step_size)
    for slug in MODELS[1:]:
        model = load(slug, args.squeezenet)
        truths = LabelMatcher([], names).true_classes(model.classes, names)
        truths = truths[said].argmax(axis=1)
        found = perturb(
            images,
            style,
            accepts,
            lambda x, at, m=model, y=truths: model_loss(m, x, y[at]),
            seeds,
        )
        labels = [model.classes[i] for i in predict(model, found.images)[0]]
        texts = [f"{n}: {t}" for n, t in zip(found.steps, labels)]
        columns.append((f"style, {slug}", found.images, texts))
    corruption = get_generator("corruption")
    found = perturb(images, corruption, accepts, None, seeds)
    texts = [
        f"{n}: {corruption.condition(seed)}"
        for n, seed in zip(found.steps, seeds)
    ]
    columns.append(("corruption", found.images, texts))

    size = len(columns) * _TILE, _HEADING + len(images) * (_TILE + _HEADING)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    for i, (heading, tiles, texts) in enumerate(columns):
        pen.text((i * _TILE + 3, 2), heading, fill="black")
        for j, (tile, text) in enumerate(zip(tiles, texts)):
            top = _HEADING + j * (_TILE + _HEADING)
            small = Image.fromarray(tile).resize((_TILE - 4, _TILE - 2))
            picture.paste(small, (i * _TILE + 2, top))
            pen.text((i * _TILE + 3, top + _TILE), text[:28], fill="black")
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    picture.save(args.picture, quality=90)
    print(f"{args.picture}: {args.picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
