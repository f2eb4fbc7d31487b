"""Other JPEG decoders: how fast they are, and what they do to Q.

The engine reads files with Pillow, by one policy. Others are raced on one
core, up to the encoder's crop, and the Q_l (``lite``) of their pixels is
compared with that of ours. A decoder that changes pixels changes scores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from _benchmark_race import BATCH, Contender, Pair, race

from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.images import read_image
from fiftyone_iqa.preprocessing import ResizeCrop

COLUMNS = (
    "size",
    "decoder",
    "rate",
    "ratio",
    "pixels_equal",
    "q_max_difference",
    "q_rank_correlation",
)
_OURS = "ours: Pillow with checks"
_CLASSES = tuple(f"thing {i}" for i in range(50))
_LARGE = 4000


def decoders(paths, repeats) -> list[dict]:
    """Races the decoders on files as they are and enlarged to 12 MP."""
    encoder = get_encoder("lite")
    texts = encoder.encode_texts([f"a photo of a {c}." for c in _CLASSES])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size, files in (
            ("as they are", paths),
            ("4000 pixels wide", _enlarged(paths[:16], Path(folder))),
        ):
            rows += _compare(size, files, encoder, texts, repeats)
    return rows


def _compare(size, paths, encoder, texts, repeats):
    crop = encoder.preprocessing
    functions = {
        _OURS: read_image,
        "Pillow alone": _pillow,
        "Pillow, DCT-scaled": lambda path: _scaled(path, crop),
        "OpenCV": _opencv,
        "torchvision": _torchvision,
    }

    def run(read):
        for path in paths:
            crop(read(path))
        return len(paths)

    names = [name for name in functions if name != _OURS]
    raced = race(
        "decoders",
        [Contender(n, lambda f=f: run(f)) for n, f in functions.items()],
        [Pair(name, _OURS) for name in names],
        repeats,
    )
    ours = [read_image(path) for path in paths]
    quality = _quality(encoder, texts, [crop(image) for image in ours])
    rows = []
    for row in raced:
        read = functions[row["contender"]]
        images = [read(path) for path in paths]
        own = _quality(encoder, texts, [crop(image) for image in images])
        rows.append(
            {
                "size": size,
                "decoder": row["contender"],
                "rate": row["rate"],
                "ratio": row.get("ratio"),
                "pixels_equal": all(map(np.array_equal, images, ours)),
                "q_max_difference": round(float(abs(own - quality).max()), 5),
                "q_rank_correlation": round(_rank(own, quality), 5),
            }
        )
    return rows


def _rank(first, second):
    from scipy.stats import spearmanr

    return float(spearmanr(first, second).statistic)


def _quality(encoder, texts, crops):
    parts = [
        encoder.encode_images(np.stack(crops[i : i + BATCH])) @ texts.T
        for i in range(0, len(crops), BATCH)
    ]
    return np.concatenate(parts).max(axis=1)


def _enlarged(paths, folder):
    from PIL import Image

    large = []
    for i, path in enumerate(paths):
        image = Image.fromarray(read_image(path))
        height = round(_LARGE * image.height / image.width)
        large.append(str(folder / f"{i}.jpg"))
        image.resize((_LARGE, height), Image.Resampling.BICUBIC).save(
            large[-1], quality=90
        )
    return large


def _pillow(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _scaled(path, crop: ResizeCrop):
    """Lets libjpeg decode at 1/2, 1/4 or 1/8, twice the crop at least."""
    from PIL import Image

    with Image.open(path) as image:
        side = 2 * crop.resize
        image.draft("RGB", (side, side))
        return np.asarray(image.convert("RGB"))


def _opencv(path):
    import cv2

    return cv2.cvtColor(cv2.imread(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _torchvision(path):
    from torchvision.io import ImageReadMode, decode_jpeg, read_file

    pixels = decode_jpeg(read_file(path), mode=ImageReadMode.RGB)
    return np.ascontiguousarray(pixels.numpy().transpose(1, 2, 0))
