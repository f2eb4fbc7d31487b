"""Measures the top-1 accuracy of task models whose weights can be had offline.

    python scripts/task_models_check.py --images DIR --squeezenet FILE

DIR holds ImageNet photographs named ``nXXXXXXXX_name.JPEG``, at least one of
each class; FILE holds the Caffe weights of SqueezeNet 1.1 in torchvision's
names. A model whose package is not installed is skipped. Ends with status 1 if
a measured accuracy is below its target.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fiftyone_iqa.images import read_image
from fiftyone_iqa.models import (
    ModelUnavailableError,
    Normalisation,
    get_task_model,
)
from fiftyone_iqa.models.imagenet import imagenet_synsets
from fiftyone_iqa.preprocessing import ResizeCrop

TARGETS = {
    "efficientnet_lite0": 0.87,
    "efficientnet_lite1": 0.87,
    "efficientnet_lite2": 0.89,
    "squeezenet1_1": 0.60,
}
BATCH = 25


def main():
    args = parse_args()
    paths, truths = list_images(args.images)
    print(f"{len(paths)} images of {len(set(truths))} classes")
    failed = False
    for name, target in TARGETS.items():
        try:
            model = load(name, args.squeezenet)
        except ModelUnavailableError as e:
            print(f"{name}: skipped. {e}")
            continue

        start = time.perf_counter()
        predicted = np.concatenate(list(predict(model, paths)))
        seconds = time.perf_counter() - start
        accuracy = float((predicted == truths).mean())
        verdict = "ok" if accuracy >= target else "BELOW TARGET"
        failed |= accuracy < target
        print(
            f"{name}: top-1 {accuracy:.3f} (target {target:.2f}, {verdict}), "
            f"{len(paths) / seconds:.0f} images/s on {model.device}, "
            f"{model.preprocessing}"
        )
    sys.exit(int(failed))


def parse_args():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--squeezenet", required=True, metavar="FILE")
    return parser.parse_args()


def list_images(folder):
    """Returns the paths, and the class indices of their synsets."""
    indices = {synset: i for i, synset in enumerate(imagenet_synsets())}
    paths = [
        p
        for p in sorted(folder.iterdir())
        if re.match(r"n\d{8}_", p.name) and p.name[:9] in indices
    ]
    if not paths:
        sys.exit(f"{folder} holds no photographs named nXXXXXXXX_name.JPEG")
    return paths, np.array([indices[p.name[:9]] for p in paths])


def load(name, squeezenet):
    if name != "squeezenet1_1":
        return get_task_model(name)

    # Caffe: blue, green, red on 0...255, less a mean
    return get_task_model(
        f"{name}//{squeezenet}",
        transform=ResizeCrop(224, 256, "bilinear"),
        normalisation=Normalisation(
            (104, 117, 123), (1, 1, 1), scale=1.0, channels="bgr"
        ),
    )


def predict(model, paths) -> Iterator[np.ndarray]:
    """Yields the predicted class indices of batches of images."""
    for start in range(0, len(paths), BATCH):
        batch = [
            model.preprocessing(read_image(path))
            for path in paths[start : start + BATCH]
        ]
        yield model.logits(np.stack(batch)).argmax(axis=1)


if __name__ == "__main__":
    main()
