"""Blur corruptions of ImageNet-C."""

import numpy as np

from .motion import blur_along
from .registry import corruption, to_uint8
from .zoom import add_zoomed


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


@corruption(
    "blur", (0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)
)
def glass_blur(image, parameter, rng):
    """Blurs, displaces pixels at random, blurs (frosted glass).

    The benchmark's line that swaps two pixels copies one onto the other, as
    both sides are views of one array; its files were made so, and so are
    ours. An image too small for the displacement is blurred only.
    """
    from ._kernels import displace

    sigma, reach, repetitions = parameter
    pixels = to_uint8(_gaussian(image, sigma))
    shape = tuple(max(0, n - 2 * reach) for n in image.shape[:2])
    for _ in range(repetitions):
        displace(pixels, rng.randint(-reach, reach, size=(*shape, 2)), reach)
    return _gaussian(pixels / 255.0, sigma)


def _gaussian(image, sigma):
    """scikit-image's ``gaussian``: cut at 4 sigma, edges repeated."""
    import cv2

    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    return cv2.sepFilter2D(
        image, -1, weights, weights, borderType=cv2.BORDER_REPLICATE
    )


@corruption("blur", (10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
def motion_blur(image, parameter, rng):
    """Blurs along a random direction within 45° of the horizontal."""
    return blur_along(image, *parameter, rng.uniform(-45, 45))


@corruption(
    "blur",
    np.arange(1, 1.11, 0.01),
    np.arange(1, 1.16, 0.01),
    np.arange(1, 1.21, 0.02),
    np.arange(1, 1.26, 0.02),
    np.arange(1, 1.31, 0.03),
)
def zoom_blur(image, factors, rng):
    """Averages the image with zooms into it (a fast approach)."""
    image = image.astype(np.float32)
    total = image.copy()
    for factor in factors:
        add_zoomed(total, image, factor)
    return total / (len(factors) + 1)
