"""Whether half precision pays on this machine, and what it does to Q."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np

from .base import Encoder

HALF = "bf16"
_CLASSES = (
    *("airplane", "bird", "bridge", "car", "cat"),
    *("dog", "flower", "house", "person", "tree"),
)
_N_IMAGES = 32
_SIZE = 256
_ROUNDS = 3

# What half precision may do to Q_l, and must gain
_MAX_DIFFERENCE = 0.02
_MIN_RANK_CORRELATION = 0.98
_MIN_SPEED_UP = 1.1


@dataclass(frozen=True)
class Parity:
    """Half precision against fp32, on 32 made-up images and ten classes.

    Attributes:
        precision: which of the two is taken
        max_difference: largest absolute difference of Q_l
        rank_correlation: Spearman's of Q_l, in [-1, 1]
        speed_up: how many times as fast half precision is
    """

    precision: str
    max_difference: float
    rank_correlation: float
    speed_up: float

    def to_dict(self) -> dict:
        """Returns what is kept with a field."""
        return {
            k: v if isinstance(v, str) else round(v, 6)
            for k, v in asdict(self).items()
        }


def choose_precision(encoder: Encoder) -> Parity:
    """Sets an encoder's precision to bf16 where that pays and Q stays.

    bf16 is taken if it is at least 1.1 times as fast, moves Q_l by at most
    0.02, and keeps its order (rank correlation of at least 0.98); else fp32.

    Args:
        encoder: on its device; its ``precision`` and ``parity`` are set

    Returns:
        what was measured
    """
    from scipy.stats import spearmanr

    texts = encoder.encode_texts(
        [encoder.templates[0].replace("{}", name) for name in _CLASSES]
    )
    batch = np.stack([encoder.preprocessing(i) for i in _images()])
    quality, seconds = {}, {"fp32": [], HALF: []}
    for turn in range(_ROUNDS + 1):
        for precision in seconds:
            encoder.precision = precision
            start = time.perf_counter()
            embeddings = encoder.encode_images(batch)
            if turn:  # the first one compiles and allocates
                seconds[precision].append(time.perf_counter() - start)
            quality[precision] = (embeddings @ texts.T).max(axis=1)

    difference = float(np.abs(quality[HALF] - quality["fp32"]).max())
    rank = float(spearmanr(quality[HALF], quality["fp32"]).statistic)
    speed_up = float(np.median(seconds["fp32"]) / np.median(seconds[HALF]))
    # A comparison with NaN is False: then it is fp32
    pays = (
        speed_up >= _MIN_SPEED_UP
        and difference <= _MAX_DIFFERENCE
        and rank >= _MIN_RANK_CORRELATION
    )
    encoder.precision = HALF if pays else "fp32"
    encoder.parity = Parity(encoder.precision, difference, rank, speed_up)
    return encoder.parity


def _images():
    """Returns 32 images of coloured shapes, from clear to nearly lost."""
    rng = np.random.default_rng(51)
    y, x = np.mgrid[:_SIZE, :_SIZE] / _SIZE
    images = []
    for i in range(_N_IMAGES):
        colours = rng.random((3, 3))
        ramp = (x * rng.normal() + y * rng.normal())[..., None]
        image = colours[0] + ramp * (colours[1] - colours[0])
        for _ in range(5):
            (cx, cy), r = rng.random(2), rng.uniform(0.05, 0.3)
            inside = (x - cx) ** 2 + (y - cy) ** 2 < r**2
            image[inside] = rng.random(3)
        noise = rng.normal(size=image.shape) * 0.4 * i / _N_IMAGES
        images.append((np.clip(image + noise, 0, 1) * 255).astype(np.uint8))
    return images
