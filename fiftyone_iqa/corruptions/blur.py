"""Blur corruptions of ImageNet-C."""

import numpy as np

from .registry import corruption


@corruption("blur", (3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
def defocus_blur(image, parameter, rng):
    """Convolves with an antialiased disk (a lens out of focus)."""
    import cv2

    radius, antialias = parameter
    return cv2.filter2D(image, -1, _disk(radius, antialias))


def _disk(radius, antialias):
    import cv2

    # The benchmark's grid: at least 17 wide, tight around larger disks
    extent = max(radius, 8)
    side = 3 if radius <= 8 else 5
    axis = np.arange(-extent, extent + 1)
    inside = axis**2 + axis[:, None] ** 2 <= radius**2
    disk = inside.astype(np.float32) / inside.sum()
    return cv2.GaussianBlur(disk, ksize=(side, side), sigmaX=antialias)
