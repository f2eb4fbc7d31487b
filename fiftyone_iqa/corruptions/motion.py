"""Motion blur, as the benchmark's ImageMagick does it."""

import math

import numpy as np


def blur_along(image, radius, sigma, angle):
    """Averages each pixel with those ahead of it along a line.

    ImageMagick's ``MotionBlurImage``: half a Gaussian of ``2 * radius + 1``
    taps at whole pixels, edges repeated, the result rounded to grey levels.

    Args:
        image: ``(h, w, ...)`` float array in ``[0, 1]``
        radius: in pixels
        sigma: of the Gaussian, in pixels
        angle: of the line, in degrees, clockwise from the right

    Returns:
        array of the image's shape, in steps of 1/255
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2.0 * sigma**2))
    weights /= weights.sum()
    dx, dy = (
        np.ceil(steps * f(math.radians(angle)) - 0.5).astype(int)
        for f in (math.cos, math.sin)
    )

    height, width = image.shape[:2]
    pad = [(max(0, -d.min()), max(0, d.max())) for d in (dy, dx)]
    padded = np.pad(image, pad + [(0, 0)] * (image.ndim - 2), mode="edge")
    total = np.zeros(image.shape)
    for weight, x, y in zip(weights, dx + pad[1][0], dy + pad[0][0]):
        total += weight * padded[y : y + height, x : x + width]
    return np.rint(total * 255) / 255
