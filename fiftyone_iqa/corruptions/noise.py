"""Noise corruptions of ImageNet-C."""

from .registry import corruption


@corruption("noise", 0.08, 0.12, 0.18, 0.26, 0.38)
def gaussian_noise(image, scale, rng):
    """Adds independent normal noise to every value (low light)."""
    return image + rng.normal(scale=scale, size=image.shape)
