"""Compares our corruptions with those of corrupt-tta: pixels and seconds.

    python scripts/corruptions_check.py [IMAGE ...] [--out FILE]

The images are brought to 224 x 224 and to 500 x 375 pixels; by default they
are the photographs that come with scikit-image. One thread, both packages in
turn on every image; times are medians. Both get the same random numbers where
corrupt-tta draws as the benchmark does, and pixels are compared then (at most
one grey level apart); else the mean absolute difference to the clean image is.
Where corrupt-tta is known not to follow the benchmark, that is said, and its
figures are for information: the tests compare those conditions with the
benchmark's formulas. Ends with status 1 if a comparison fails or glass blur or
zoom blur is not five times as fast.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from fiftyone_iqa.corruptions import SEVERITIES, corrupt, list_corruptions
from fiftyone_iqa.corruptions.registry import random_state
from fiftyone_iqa.images import read_image

SIZES = ((224, 224), (500, 375))  # width, height
PHOTOGRAPHS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg"),
    *("ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)
OUT = Path(__file__).parent / "results" / "corruptions.csv"
PIP = "pip install --no-deps corrupt-tta scikit-image"

# The same pixels from the same draws, to one grey level
EQUAL = (
    *("gaussian_noise", "shot_noise", "defocus_blur", "zoom_blur"),
    *("brightness", "contrast", "pixelate", "jpeg_compression"),
)
# Other draws or pictures: relative tolerance of the mean absolute difference
# to the clean image, averaged over the images
CLOSE = {"impulse_noise": 0.05, "snow": 0.05, "frost": 0.25}
# Draws per image where single ones differ much: panes of ice are of any
# level, and corrupt-tta's six overlays include one that the benchmark leaves
# out
DRAWS = {"frost": 10}
# What corrupt-tta 0.1.7 does otherwise than the benchmark
OTHERWISE = {
    "glass_blur": "swaps pixels; the benchmark's line copies them",
    "motion_blur": "a uniform line; the benchmark's is half a Gaussian",
    "fog": "ignores the decay of the severity",
    "elastic_transform": "lengths of 224 where the benchmark has 244",
}
FAST = {"glass_blur": 5, "zoom_blur": 5}
FIELDS = (
    *("corruption", "severity", "width", "height", "comparisons"),
    *("largest_difference", "mad_ours", "mad_theirs"),
    *("mean_ours", "mean_theirs", "std_ours", "std_theirs"),
    *("ms_ours", "ms_theirs", "times_faster", "verdict"),
)


def main():
    args = parse_args()
    try:
        import corrupt_tta.corruptions as theirs
    except ImportError as e:
        sys.exit(f"corrupt-tta cannot be imported ({e}): {PIP}")

    paths = args.images or default_images()
    images = [read_image(path) for path in paths]
    rows = []
    for size in SIZES:
        print(f"\n{len(images)} images of {size[0]} x {size[1]}, one thread")
        fitted = [fit(image, size) for image in images]
        for row in compare_all(theirs, fitted):
            rows.append(row)
            print(describe(row))

    args.out.parent.mkdir(parents=True, exist_ok=True)
    with open(args.out, "w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    slow = too_slow(rows)
    failed = [row for row in rows if row["verdict"] == "FAILED"]
    print(f"\n{len(failed)} of {len(rows)} comparisons failed; {args.out}")
    for name, width, ratio in slow:
        print(f"TOO SLOW: {name} at width {width}, {ratio:.1f} times")
    sys.exit(int(bool(failed or slow)))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    return parser.parse_args()


def default_images():
    spec = importlib.util.find_spec("skimage")
    if spec is None:
        sys.exit(
            "No photographs: name image files, or pip install scikit-image"
        )
    folder = Path(spec.origin).parent / "data"
    return [folder / n for n in PHOTOGRAPHS if (folder / n).is_file()]


def fit(image, size):
    """Returns the central part of an image, resized."""
    picture = Image.fromarray(image)
    return np.asarray(ImageOps.fit(picture, size, Image.Resampling.BICUBIC))


def compare_all(theirs, images, names=None):
    """Yields a row for each condition and severity.

    Args:
        theirs: a module with functions of the conditions' names
        images: list of ``(h, w, 3)`` uint8 RGB of one size
        names: of the conditions, by default all
    """
    import cv2

    cv2.setNumThreads(1)
    for name in names or list_corruptions():
        their_function = getattr(theirs, name)
        # Compiling and loading are not what is measured
        corrupt(images[0], name, 1, 0)
        run_theirs(their_function, images[0], 1, np.random.RandomState(0))
        repeated = images * DRAWS.get(name, 1)
        for severity in SEVERITIES:
            yield compare(name, severity, their_function, repeated)


def compare(name, severity, their_function, images):
    ours, theirs, seconds = [], [], []
    for seed, image in enumerate(images):
        start = time.perf_counter()
        ours.append(corrupt(image, name, severity, seed))
        middle = time.perf_counter()
        rng = random_state(seed, name, severity)
        theirs.append(run_theirs(their_function, image, severity, rng))
        end = time.perf_counter()
        seconds.append((middle - start, end - middle))

    ours, theirs, clean = (
        np.array(stack, dtype=np.int16) for stack in (ours, theirs, images)
    )
    ms_ours, ms_theirs = 1000 * np.median(seconds, axis=0)
    row = {
        "corruption": name,
        "severity": severity,
        "width": clean.shape[2],
        "height": clean.shape[1],
        "comparisons": len(images),
        "largest_difference": int(np.abs(ours - theirs).max()),
        "mad_ours": np.abs(ours - clean).mean(),
        "mad_theirs": np.abs(theirs - clean).mean(),
        "mean_ours": ours.mean(),
        "mean_theirs": theirs.mean(),
        "std_ours": ours.std(axis=(1, 2)).mean(),
        "std_theirs": theirs.std(axis=(1, 2)).mean(),
        "ms_ours": ms_ours,
        "ms_theirs": ms_theirs,
        "times_faster": ms_theirs / ms_ours,
    }
    row["verdict"] = judge(row)
    return {
        key: round(float(value), 2) if isinstance(value, float) else value
        for key, value in row.items()
    }


def run_theirs(function, image, severity, rng):
    """Runs a function that draws from numpy's global generator."""
    np.random.set_state(rng.get_state())
    return np.uint8(np.asarray(function(image, severity)))


def judge(row):
    name = row["corruption"]
    if name in OTHERWISE:
        return OTHERWISE[name]
    if name in EQUAL:
        return "equal" if row["largest_difference"] <= 1 else "FAILED"
    apart = abs(row["mad_ours"] / row["mad_theirs"] - 1)
    return "close" if apart <= CLOSE[name] else "FAILED"


def too_slow(rows):
    """Returns the conditions that are not as fast as they have to be."""
    found = []
    for name, least in FAST.items():
        for width in sorted({row["width"] for row in rows}):
            ratios = [
                row["times_faster"]
                for row in rows
                if row["corruption"] == name and row["width"] == width
            ]
            if ratios and np.median(ratios) < least:
                found.append((name, width, float(np.median(ratios))))
    return found


def describe(row):
    return (
        f"{row['corruption']:17} {row['severity']}  "
        f"largest {row['largest_difference']:3}  "
        f"to clean {row['mad_ours']:6.2f} / {row['mad_theirs']:6.2f}  "
        f"ms {row['ms_ours']:6.1f} / {row['ms_theirs']:7.1f}  "
        f"x {row['times_faster']:5.1f}  {row['verdict']}"
    )


if __name__ == "__main__":
    main()
