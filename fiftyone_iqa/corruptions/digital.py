"""Digital corruptions of ImageNet-C."""

import io

import numpy as np

from .registry import corruption, to_uint8


@corruption("digital", 0.4, 0.3, 0.2, 0.1, 0.05)
def contrast(image, factor, rng):
    """Draws every channel towards its mean."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


@corruption("digital", 25, 18, 15, 10, 7)
def jpeg_compression(image, quality, rng):
    """Saves and reads the image as JPEG of low quality."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255.0
