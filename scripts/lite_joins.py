"""Measures the two joins of the lite encoder, to choose between them.

    python scripts/lite_joins.py --images DIR --squeezenet FILE --out CSV

DIR holds one ImageNet photograph per class, named ``nXXXXXXXX_name.JPEG``;
FILE holds the Caffe weights of SqueezeNet 1.1 in torchvision's names. Measured
per join:

(a) zero-shot top-1 over all 1,000 names, and over 200 names that were left out
    of the join, choosing among those (ten seeded choices)
(b) AUC of Q_l, Q_p, Q_h and Q_m for the correctness of SqueezeNet 1.1, at
    temperature 1 and at the encoder's own scale, on 224-pixel crops, clean and
    under four ImageNet-C corruptions of severity 3. Every score is taken in
    its declared direction (Q_h: lower is better). Intervals are a bootstrap
    over source photographs: the five variants of one are drawn together
(c) the logit scale that minimises the negative log-likelihood

The join with the greater pooled AUC of Q_l is the default.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path

import numpy as np
import torch

from fiftyone_iqa.corruptions import corrupt
from fiftyone_iqa.encoders.lite import JOINS, LiteEncoder
from fiftyone_iqa.images import read_image
from fiftyone_iqa.metrics.zsclip import zsclip_scores
from fiftyone_iqa.preprocessing import ResizeCrop

CORRUPTIONS = (
    "gaussian_noise",
    "defocus_blur",
    "contrast",
    "jpeg_compression",
)
CONDITIONS = ("clean", *CORRUPTIONS)
SEVERITY = 3
SIGNS = {"ql": 1, "qp": 1, "qh": -1, "qm": 1}
HELD_OUT, SPLITS = 200, 10
REPLICATES = 1000
BATCH = 50

# SqueezeNet's Caffe weights want blue, green, red on 0...255
BGR_MEAN = (104.0, 117.0, 123.0)


def main():
    args = parse_args()
    paths = list_images(args.images)
    n = len(paths)
    classes = np.arange(n)
    squeezenet = load_squeezenet(args.squeezenet)
    encoders = {join: LiteEncoder(join) for join in JOINS}
    names = class_prompts()
    texts = {join: e.encode_texts(names) for join, e in encoders.items()}

    own, features, predictions = run_towers(
        paths, encoders["ridge"], squeezenet
    )
    rows = []

    def report(join, study, value, low="", high="", **where):
        rows.append(
            {
                "join": join,
                "study": study,
                "condition": where.get("condition", ""),
                "metric": where.get("metric", ""),
                "temperature": where.get("temperature", ""),
                "value": round(float(value), 4),
                "low": low if low == "" else round(float(low), 4),
                "high": high if high == "" else round(float(high), 4),
            }
        )
        print(*(v for v in rows[-1].values() if v != ""), flush=True)

    for c, condition in enumerate(CONDITIONS):
        accuracy = (predictions[c] == classes).mean()
        report("", "accuracy of SqueezeNet", accuracy, condition=condition)

    for join, encoder in encoders.items():
        similarities = encoder.embed_features(own) @ texts[join].T
        top1 = (similarities.argmax(1) == classes).mean()
        report(join, "top-1 of 1000", top1)
        mean, *extremes = held_out(join, own, names)
        report(join, "top-1 of 200 held out", mean, *extremes)
        scale, nll = best_scale(similarities)
        report(join, "best logit scale", scale)
        report(join, "NLL at best logit scale", nll)

    weights = bootstrap_weights(n)
    correct = predictions == classes
    draws = {}
    for join, encoder in encoders.items():
        embeddings = encoder.embed_features(np.concatenate(features))
        for temperature in (1.0, encoder.logit_scale):
            scores = zsclip_scores(embeddings, texts[join], temperature)
            for metric, sign in SIGNS.items():
                values = sign * scores[metric].reshape(len(CONDITIONS), n)
                parts = {"pooled": slice(None)}
                parts |= {c: [i] for i, c in enumerate(CONDITIONS)}
                for condition, part in parts.items():
                    auc = clustered_auc(values[part], correct[part], weights)
                    if (condition, metric) == ("pooled", "ql"):
                        draws[join] = auc
                    report(
                        join,
                        "AUC",
                        auc[0],
                        *interval(auc[1:]),
                        condition=condition,
                        metric=metric,
                        temperature=temperature,
                    )

    difference = draws["conse"] - draws["ridge"]
    report(
        "conse - ridge",
        "AUC",
        difference[0],
        *interval(difference[1:]),
        condition="pooled",
        metric="ql",
    )
    print("DEFAULT_JOIN =", "conse" if difference[0] > 0 else "ridge")
    write_csv(args.out, rows)


def parse_args():
    parser = argparse.ArgumentParser(
        description="Measures the two joins of the lite encoder."
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--squeezenet", required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, metavar="CSV")
    return parser.parse_args()


def list_images(folder):
    """Returns the paths in class index order, which is that of synsets."""
    paths = sorted(
        path
        for path in folder.iterdir()
        if re.match(r"n\d{8}_.*\.jpe?g$", path.name, re.IGNORECASE)
    )
    if len({path.name[:9] for path in paths}) != 1000 or len(paths) != 1000:
        raise SystemExit(
            f"{folder} must hold one image of each of 1,000 synsets"
        )
    return paths


def class_prompts():
    from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES

    return [
        LiteEncoder.templates[0].replace("{}", name)
        for name in IMAGENET_CLASSNAMES
    ]


def load_squeezenet(path):
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_1

    model = squeezenet1_1()
    model.load_state_dict(load_file(path))
    model = model.eval().to(memory_format=torch.channels_last)
    mean = torch.tensor(BGR_MEAN).view(1, 3, 1, 1)

    def classify(batch):
        with torch.inference_mode():
            pixels = torch.from_numpy(batch).float().flip(1) - mean
            return model(pixels).argmax(1).numpy()

    return classify


def run_towers(paths, encoder, squeezenet):
    """Runs both networks on all variants of all images.

    Returns:
        ``(n, 1280)`` features of the images under the encoder's own
        preprocessing, ``(conditions, n, 1280)`` features and
        ``(conditions, n)`` SqueezeNet predictions of the variants
    """
    crop = ResizeCrop(224, 256, "bilinear")
    own = []
    features = [[] for _ in CONDITIONS]
    predictions = [[] for _ in CONDITIONS]
    for start in range(0, len(paths), BATCH):
        chosen = paths[start : start + BATCH]
        images = [read_image(path) for path in chosen]
        own.append(
            encoder.features(np.stack([*map(encoder.preprocessing, images)]))
        )
        crops = [crop(image) for image in images]
        for c, condition in enumerate(CONDITIONS):
            batch = np.stack(
                [
                    variant(pixels, condition, path.name)
                    for pixels, path in zip(crops, chosen)
                ]
            )
            features[c].append(encoder.features(batch))
            predictions[c].append(squeezenet(batch))
        print(f"{start + len(chosen)} images", flush=True)

    return (
        np.concatenate(own),
        np.stack([np.concatenate(parts) for parts in features]),
        np.stack([np.concatenate(parts) for parts in predictions]),
    )


def variant(pixels, condition, seed):
    if condition == "clean":
        return pixels

    image = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    image = corrupt(image, condition, SEVERITY, seed)
    return image.transpose(2, 0, 1)


def held_out(join, features, prompts):
    """Returns mean, minimum and maximum top-1 over seeded choices."""
    accuracies = []
    for seed in range(SPLITS):
        rng = np.random.default_rng(seed)
        unseen = np.sort(rng.choice(len(prompts), HELD_OUT, replace=False))
        encoder = LiteEncoder(join, exclude_classes=unseen)
        images = encoder.embed_features(features[unseen])
        texts = encoder.encode_texts([prompts[i] for i in unseen])
        chosen = (images @ texts.T).argmax(1)
        accuracies.append((chosen == np.arange(HELD_OUT)).mean())

    return np.mean(accuracies), min(accuracies), max(accuracies)


def best_scale(similarities):
    """Returns the NLL-optimal scale of the softmax, and its NLL."""
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    similarities = similarities.astype(np.float64)
    true = np.diag(similarities)

    def nll(log_scale):
        scale = np.exp(log_scale)
        return (logsumexp(scale * similarities, axis=1) - scale * true).mean()

    best = minimize_scalar(nll, bounds=(0, np.log(1000)), method="bounded")
    return np.exp(best.x), best.fun


def bootstrap_weights(n):
    """Returns how often each source is drawn, ``(1 + REPLICATES, n)``.

    The first row is the sample itself.
    """
    rng = np.random.default_rng(0)
    draws = rng.multinomial(n, np.full(n, 1 / n), size=REPLICATES)
    return np.concatenate([np.ones((1, n), draws.dtype), draws])


def clustered_auc(scores, correct, weights):
    """Computes the AUC under each row of source weights.

    Args:
        scores: ``(variants, n)``, higher is better
        correct: ``(variants, n)`` bool
        weights: ``(replicates, n)``

    Returns:
        ``(replicates,)``; ties count one half, NaN without both classes
    """
    weights = np.tile(weights, len(scores)).astype(np.float64)
    order = np.argsort(scores, axis=None, kind="stable")
    ordered = scores.ravel()[order]
    starts = np.flatnonzero(np.r_[True, np.diff(ordered) > 0])
    positive = correct.ravel()[order]
    weights = weights[:, order]
    wins = np.add.reduceat(weights * positive, starts, axis=1)
    losses = np.add.reduceat(weights * ~positive, starts, axis=1)
    below = losses.cumsum(axis=1) - losses / 2
    with np.errstate(invalid="ignore"):
        return (wins * below).sum(1) / (wins.sum(1) * losses.sum(1))


def interval(replicates):
    return np.nanquantile(replicates, [0.025, 0.975])


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
