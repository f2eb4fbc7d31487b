"""Noise corruptions of ImageNet-C."""

import numpy as np

from .registry import corruption


@corruption("noise", 0.08, 0.12, 0.18, 0.26, 0.38)
def gaussian_noise(image, scale, rng):
    """Adds independent normal noise to every value (low light)."""
    return image + rng.normal(scale=scale, size=image.shape)


@corruption("noise", 60, 25, 12, 5, 3)
def shot_noise(image, photons, rng):
    """Counts photons: Poisson noise, ``photons`` at full brightness."""
    return rng.poisson(image * photons) / photons


@corruption("noise", 0.03, 0.06, 0.09, 0.17, 0.27)
def impulse_noise(image, amount, rng):
    """Sets a share of the values to 0 or 1 (salt and pepper)."""
    hit = rng.uniform(size=image.shape) <= amount
    salt = rng.uniform(size=image.shape) <= 0.5
    return np.where(hit, salt, image)
