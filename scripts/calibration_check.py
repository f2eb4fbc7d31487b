"""Checks BRISQUE and NIQE on images with known scores, and on corrupted ones.

``--calibration`` is pyiqa's calibration set: ``dist_dir/*.bmp`` and
``calibration_summary.csv``, with the scores of the official MATLAB code in the
row of a metric's name and pyiqa's own in the row ``<name>(ours)``.
``--photographs`` is a folder of JPEG photographs. pyiqa's parameters are read
from ``$TORCH_HOME/hub/pyiqa``. Exits with 1 if a check fails.
"""

import argparse
import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from fiftyone_iqa.corruptions import corrupt
from fiftyone_iqa.metrics import get_metric

METRICS = {"brisque": "brisque", "niqe": "pyiqa:niqe"}
CORRUPTIONS = ("gaussian_noise", "jpeg_compression")
SEVERITIES = (1, 2, 3, 4, 5)
N_PHOTOGRAPHS = 100
# NIQE needs blocks of 96 pixels: 16 of them
SIDE = 384


def main() -> int:
    """Runs the checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--photographs", type=Path, required=True)
    args = parser.parse_args()
    scorers = {key: _scorer(name) for key, name in METRICS.items()}
    photographs = _photographs(args.photographs)
    checks = []
    for key, scorer in scorers.items():
        checks += _check_calibration(key, scorer, args.calibration)
        checks += _check_batches(key, scorer, photographs[:10])
    for corruption in CORRUPTIONS:
        checks += _check_corruption(corruption, scorers, photographs)

    for passed, what in checks:
        print("ok    " if passed else "FAILED", what)
    return int(not all(passed for passed, _ in checks))


def _scorer(name):
    metric = get_metric(name)
    request = SimpleNamespace(device=None)
    return metric.build(metric.configure(request, None), request)


def _scores(scorer, images):
    return scorer.features(images)[:, 0]


def _read(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _photographs(folder):
    """Returns the middles of the first photographs that are large enough."""
    middles = []
    for path in sorted(folder.rglob("*.JPEG")):
        image = _read(path)
        top, left = ((s - SIDE) // 2 for s in image.shape[:2])
        if min(top, left) >= 0:
            middles.append(image[top : top + SIDE, left : left + SIDE].copy())
        if len(middles) == N_PHOTOGRAPHS:
            return middles
    raise SystemExit(
        f"{folder} has {len(middles)} JPEG photographs of {SIDE} x {SIDE} or "
        f"more; {N_PHOTOGRAPHS} are needed"
    )


def _check_calibration(key, scorer, folder):
    with (folder / "calibration_summary.csv").open(newline="") as file:
        rows = {row["Method"]: row for row in csv.DictReader(file)}
    names = [name for name in rows[key] if name != "Method"]
    scores = _scores(scorer, [_read(folder / "dist_dir" / n) for n in names])
    print(f"{key:8s} {'ours':>9s} {'pyiqa':>9s} {'MATLAB':>9s} distance")
    largest = 0.0
    for name, score in zip(names, scores):
        official = float(rows[key][name])
        published = float(rows[f"{key}(ours)"][name])
        largest = max(largest, abs(score - published))
        print(
            f"{name:8s} {score:9.4f} {published:9.4f} {official:9.4f} "
            f"{score - official:+.4f}"
        )
    yield (
        largest <= 0.01,
        f"{key}: within 0.01 of pyiqa's published values ({largest:.4f})",
    )


def _check_batches(key, scorer, images):
    together = _scores(scorer, images)
    alone = np.array([_scores(scorer, [image])[0] for image in images])
    largest = float((abs(together - alone) / np.maximum(1, abs(alone))).max())
    yield (
        largest <= 1e-5,
        f"{key}: in a batch of {len(images)} as alone ({largest:.1e})",
    )


def _check_corruption(corruption, scorers, photographs):
    means = {
        key: [_scores(scorer, photographs).mean()]
        for key, scorer in scorers.items()
    }
    for severity in SEVERITIES:
        corrupted = [
            corrupt(photograph, corruption, severity, seed)
            for seed, photograph in enumerate(photographs)
        ]
        for key, scorer in scorers.items():
            means[key].append(_scores(scorer, corrupted).mean())

    for key, values in means.items():
        print(f"{corruption}, {key}: mean at severity 0 … {SEVERITIES[-1]}:")
        print("  " + "  ".join(f"{value:.3f}" for value in values))
        yield (
            bool((np.diff(values) > 0).all()),
            f"{key}: worsens with every severity of {corruption}",
        )


if __name__ == "__main__":
    sys.exit(main())
