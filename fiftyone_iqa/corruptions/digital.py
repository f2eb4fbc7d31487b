"""Digital corruptions of ImageNet-C."""

import io

import numpy as np

from .registry import corruption, to_uint8


@corruption("digital", 0.4, 0.3, 0.2, 0.1, 0.05)
def contrast(image, factor, rng):
    """Draws every channel towards its mean."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


# Pixels of displacement, smoothness and jitter. 244 for 224 is the
# benchmark's slip, and in its files
@corruption(
    "digital",
    (244 * 2, 244 * 0.7, 244 * 0.1),
    (244 * 2, 244 * 0.08, 244 * 0.2),
    (244 * 0.05, 244 * 0.01, 244 * 0.02),
    (244 * 0.07, 244 * 0.01, 244 * 0.02),
    (244 * 0.12, 244 * 0.01, 244 * 0.02),
)
def elastic_transform(image, parameter, rng):
    """Shears the image at random, then moves pixels along a smooth field.

    Severities 1 and 2 mainly shear, 3 to 5 mainly ripple, so damage does not
    grow from 2 to 3. Lengths are the published ones in pixels; where the
    shorter side is under the benchmark's 224, they shrink with it, or a
    small image would be torn apart.
    """
    import cv2
    from scipy.ndimage import map_coordinates

    strength, smoothness, jitter = parameter
    height, width = image.shape[:2]
    shorter = min(height, width)
    scale = min(1.0, shorter / 224)

    centre = np.float32((width // 2, height // 2))
    arm = max(1, shorter // 3)
    corners = centre + np.float32([(arm, arm), (arm, -arm), (-arm, -arm)])
    moves = rng.uniform(-jitter * scale, jitter * scale, size=corners.shape)
    image = cv2.warpAffine(
        image.astype(np.float32),
        cv2.getAffineTransform(corners, corners + np.float32(moves)),
        (width, height),
        borderMode=cv2.BORDER_REFLECT_101,
    )

    # Smooth noise falls as 1 / smoothness: its strength takes two factors
    strength, smoothness = strength * scale**2, smoothness * scale
    dx, dy = (
        strength * _smooth(rng.uniform(-1, 1, (height, width)), smoothness)
        for _ in range(2)
    )
    y, x = np.mgrid[:height, :width]
    channels = [
        map_coordinates(channel, (y + dy, x + dx), order=1, mode="reflect")
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, axis=2)


def _smooth(noise, sigma):
    """Gaussian filter cut at 3 sigma, edges mirrored.

    Mirrored edges make the cosine transform turn it into a product, which
    costs the same for any sigma; the benchmark's is up to 171 pixels.
    """
    from scipy.fft import dctn, idctn

    radius = int(3 * sigma + 0.5)
    steps = np.arange(1, radius + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    total = 1 + 2 * weights.sum()

    def response(n):
        cosines = np.cos(np.outer(np.arange(n), steps) * np.pi / n)
        return (1 + 2 * (cosines * weights).sum(axis=1)) / total

    rows, columns = map(response, noise.shape)
    return idctn(dctn(noise) * rows[:, None] * columns)


@corruption("digital", 0.6, 0.5, 0.4, 0.3, 0.25)
def pixelate(image, factor, rng):
    """Shrinks the image and enlarges it again, by averaging boxes."""
    from PIL import Image

    height, width = image.shape[:2]
    small = max(1, int(width * factor)), max(1, int(height * factor))
    box = Image.Resampling.BOX
    picture = Image.fromarray(to_uint8(image)).resize(small, box)
    return np.asarray(picture.resize((width, height), box)) / 255.0


@corruption("digital", 25, 18, 15, 10, 7)
def jpeg_compression(image, quality, rng):
    """Saves and reads the image as JPEG of low quality."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_uint8(image)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255.0
