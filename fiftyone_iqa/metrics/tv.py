"""Total variation: the pixel baseline of Drenkow & Unberath, section 2.1."""

from __future__ import annotations

import numpy as np

from .pixel_scorer import PixelMetric
from .registry import NONE, MetricSpec, Output, register


def total_variation(image: np.ndarray) -> float:
    """Mean absolute difference between neighbouring pixels.

    Anisotropic total variation (Rudin, Osher & Fatemi 1992) of the RGB image
    scaled to [0, 1], at native size, as a mean and not a sum, so that images
    of different sizes compare: the mean over channels and vertical pairs of
    neighbours plus the same over horizontal pairs.

    Args:
        image: ``(h, w, 3)`` uint8 RGB; an image one pixel high or wide has
            no pairs in that direction and gets 0 for it

    Returns:
        a float in [0, 2]; 0 for a constant image

    Examples:
        >>> checker = np.indices((4, 4)).sum(axis=0) % 2 * 255
        >>> total_variation(np.repeat(checker[..., None], 3, 2).astype("u1"))
        2.0
    """
    total = 0.0
    for first, second in (
        (image[1:], image[:-1]),
        (image[:, 1:], image[:, :-1]),
    ):
        if first.size:
            # |a - b| in uint8 without leaving uint8
            difference = np.maximum(first, second) - np.minimum(first, second)
            total += float(difference.mean(dtype=np.float64))

    return total / 255.0


@register
class TotalVariation(PixelMetric):
    """Registers ``tv``."""

    spec = MetricSpec(
        name="tv",
        title="Total variation",
        summary="Mean absolute difference between neighbouring pixels",
        guidance="none",
        outputs=(
            Output(
                suffix="",
                direction=NONE,
                range=(0.0, 2.0),
                description="Total variation: noise raises it, blur lowers "
                "it, so it has no direction",
            ),
        ),
        licence="Apache-2.0",
        weights="none",
        paper="Rudin, Osher & Fatemi 1992",
    )
    function = staticmethod(total_variation)
    formula = "anisotropic mean, RGB in [0, 1], native size"
