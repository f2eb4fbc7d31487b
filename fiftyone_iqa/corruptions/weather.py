"""Weather corruptions of ImageNet-C."""

import numpy as np

from .fractal import plasma
from .motion import blur_along
from .registry import corruption
from .zoom import add_zoomed


@corruption(
    "weather",
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
def snow(image, parameter, rng):
    """Whitens the image and adds flakes blurred by their fall."""
    mean, sd, zoom, threshold, radius, sigma, keep = parameter
    shape = image.shape[:2]
    noise = rng.normal(mean, sd, shape)[..., None]
    flakes = np.zeros_like(noise)
    add_zoomed(flakes, noise, zoom)
    flakes[flakes < threshold] = 0
    flakes = np.floor(np.clip(flakes, 0, 1) * 255) / 255
    flakes = blur_along(flakes, radius, sigma, rng.uniform(-135, -45))

    red, green, blue = np.moveaxis(image, 2, 0)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    pale = np.maximum(image, grey[..., None] * 1.5 + 0.5)
    whitened = keep * image + (1 - keep) * pale
    return whitened + flakes + flakes[::-1, ::-1]


@corruption(
    "weather", (1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)
)
def frost(image, parameter, rng):
    """Overlays ice crystals, which are procedural, not photographs.

    Image and overlay have the benchmark's weights. Its overlays are of
    unclear licence and not used; ours, of :mod:`.ice`, have their levels,
    contrasts and tints.
    """
    from .ice import ice

    return parameter[0] * image + parameter[1] * ice(*image.shape[:2], rng)


@corruption("weather", (1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
def fog(image, parameter, rng):
    """Adds a plasma fractal, and darkens to the old maximum."""
    thickness, decay = parameter
    height, width = image.shape[:2]
    mist = plasma(max(height, width), decay, rng)[:height, :width, None]
    brightest = image.max()
    return (image + thickness * mist) * brightest / (brightest + thickness)


@corruption("weather", 0.1, 0.2, 0.3, 0.4, 0.5)
def brightness(image, amount, rng):
    """Raises the value of hue, saturation, value."""
    value = image.max(axis=2, keepdims=True)
    raised = np.minimum(value + amount, 1)
    # Equal hue and saturation: all channels grow by one factor
    ratio = np.divide(raised, value, where=value > 0, out=np.ones_like(value))
    return np.where(value > 0, image * ratio, raised)
