"""The corruptions against small implementations of their own.

Each reference spells the benchmark's formula out in loops or in other
libraries' terms, and takes the same random numbers.
"""

import colorsys
import math

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from fiftyone_iqa.corruptions import SEVERITIES, corrupt, prepare_image
from fiftyone_iqa.corruptions.ice import ice
from fiftyone_iqa.corruptions.registry import random_state


def by_severity(*parameters):
    """Runs a test with each severity and the parameter it stands for."""
    pairs = list(zip(SEVERITIES, parameters, strict=True))
    return pytest.mark.parametrize("severity, parameter", pairs)


@pytest.fixture(scope="module")
def photo(photographs):
    """A photograph of 160 x 244 pixels."""
    image = dict(photographs)["cat"]
    return np.ascontiguousarray(image[70:230, 80:324])


def levels(image):
    """Grey levels as the benchmark cuts them."""
    return np.floor(np.clip(image, 0, 1) * 255 + 1e-6)


def assert_equal_levels(result, expected, share=0.999):
    """Within one grey level everywhere, equal nearly everywhere."""
    difference = np.abs(result - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() > share


@by_severity(60, 25, 12, 5, 3)
def test_shot_noise_statistics(severity, parameter):
    grey = np.full((300, 300, 3), 128, np.uint8)
    noisy = corrupt(grey, "shot_noise", severity, 1) / 255
    counts = np.arange(400)
    shares = stats.poisson.pmf(counts, 128 / 255 * parameter)
    values = levels(counts / parameter) / 255
    mean = shares @ values
    sd = math.sqrt(shares @ (values - mean) ** 2)
    assert noisy.mean() == pytest.approx(mean, abs=3e-3)
    assert noisy.std() == pytest.approx(sd, rel=0.01)
    assert not np.any(corrupt(0 * grey, "shot_noise", severity, 1))


@by_severity(0.03, 0.06, 0.09, 0.17, 0.27)
def test_impulse_noise_statistics(photo, severity, parameter):
    image = np.clip(photo, 1, 254)
    noisy = corrupt(image, "impulse_noise", severity, 1)
    hit = noisy != image
    assert set(np.unique(noisy[hit])) == {0, 255}
    # 117,000 draws: three standard deviations
    error = 3 * math.sqrt(parameter / hit.size)
    assert hit.mean() == pytest.approx(parameter, abs=error)
    assert (noisy == 255).mean() == pytest.approx(parameter / 2, abs=error)
    assert (hit.all(axis=2)).mean() < 0.05  # channels are independent


def gaussian(image, sigma):
    """As scikit-image's gaussian()."""
    sigmas = (sigma, sigma, 0)
    return ndimage.gaussian_filter(image, sigmas, mode="nearest", truncate=4)


@by_severity((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
def test_glass_blur_reference(photo, severity, parameter):
    """The benchmark's loop, line by line: its swap of views is a copy."""
    sigma, reach, repetitions = parameter
    image = np.ascontiguousarray(photo[:32, :40])
    rng = random_state("x", "glass_blur", severity)
    x = levels(gaussian(image / 255, sigma)).astype(np.uint8)
    for _ in range(repetitions):
        for h in range(32 - reach, reach, -1):
            for w in range(40 - reach, reach, -1):
                dx, dy = rng.randint(-reach, reach, size=(2,))
                h2, w2 = h + dy, w + dx
                x[h, w], x[h2, w2] = x[h2, w2], x[h, w]
    expected = levels(gaussian(x / 255.0, sigma))
    result = corrupt(image, "glass_blur", severity, "x")
    assert_equal_levels(result, expected, share=0.99)


def motion(image, radius, sigma, angle):
    """ImageMagick's MotionBlurImage, pixel by pixel."""
    width = 2 * radius + 1
    kernel = [math.exp(-(i * i) / (2 * sigma * sigma)) for i in range(width)]
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    result = np.zeros(image.shape)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for i, weight in enumerate(kernel):
                y2 = min(max(y + math.ceil(i * sin - 0.5), 0), len(image) - 1)
                x2 = x + math.ceil(i * cos - 0.5)
                x2 = min(max(x2, 0), image.shape[1] - 1)
                result[y, x] += weight / sum(kernel) * image[y2, x2]
    return np.rint(result * 255) / 255


@by_severity((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
def test_motion_blur_reference(photo, severity, parameter):
    image = np.ascontiguousarray(photo[40:64, 60:96])
    rng = random_state("x", "motion_blur", severity)
    expected = motion(image / 255.0, *parameter, rng.uniform(-45, 45))
    result = corrupt(image, "motion_blur", severity, "x")
    assert_equal_levels(result, levels(expected))


def zoomed(image, factor):
    """The benchmark's clipped_zoom, for any shape."""
    (h, w), (ch, cw) = (
        image.shape[:2],
        np.ceil(np.array(image.shape[:2]) / factor).astype(int),
    )
    top, left = (h - ch) // 2, (w - cw) // 2
    centre = image[top : top + ch, left : left + cw]
    # "nearest" only spares the last line from rounding
    large = ndimage.zoom(centre, (factor, factor, 1), order=1, mode="nearest")
    top, left = (large.shape[0] - h) // 2, (large.shape[1] - w) // 2
    return large[top : top + h, left : left + w]


@by_severity(
    (1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)
)
def test_zoom_blur_reference(photo, severity, parameter):
    factors = np.arange(1, *parameter)
    for image in (photo, photo.transpose(1, 0, 2)):
        image = np.ascontiguousarray(image)
        stack = [image / 255.0, *(zoomed(image / 255.0, f) for f in factors)]
        expected = levels(np.mean(stack, axis=0))
        result = corrupt(image, "zoom_blur", severity, 0)
        assert_equal_levels(result, expected, share=0.99)


@by_severity(
    (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
def test_snow_reference(photo, severity, parameter):
    mean, sd, zoom, threshold, radius, sigma, keep = parameter
    image = np.ascontiguousarray(photo[40:72, 60:100])
    x = image / 255.0
    rng = random_state("x", "snow", severity)
    layer = zoomed(rng.normal(mean, sd, x.shape[:2])[..., None], zoom)
    layer = np.where(layer < threshold, 0, np.clip(layer, 0, 1))
    layer = np.uint8(layer * 255) / 255.0
    layer = motion(layer, radius, sigma, rng.uniform(-135, -45))
    grey = np.asarray(Image.fromarray(image).convert("L"))[..., None] / 255
    x = keep * x + (1 - keep) * np.maximum(x, grey * 1.5 + 0.5)
    expected = levels(x + layer + np.rot90(layer, 2))
    # Pillow's grey is rounded to whole levels
    assert_equal_levels(corrupt(image, "snow", severity, "x"), expected, 0.4)


@by_severity((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
def test_fog_reference(photo, severity, parameter):
    """Diamonds and squares one point at a time."""
    image = np.ascontiguousarray(photo[:13, :30])
    thickness, decay = parameter
    rng = random_state("x", "fog", severity)
    side = 32
    heights = np.zeros((side, side))

    def fill(ys, xs, corners, wibble):
        for y in ys:
            for x in xs:
                around = [
                    heights[(y + dy) % side, (x + dx) % side]
                    for dy, dx in corners
                ]
                noise = wibble * rng.uniform(-wibble, wibble)
                heights[y, x] = sum(around) / 4 + noise

    step, wibble = side, 100.0
    while step > 1:
        half = step // 2
        even, odd = range(0, side, step), range(half, side, step)
        diagonal = [(a, b) for a in (-half, half) for b in (-half, half)]
        straight = [(-half, 0), (half, 0), (0, -half), (0, half)]
        fill(odd, odd, diagonal, wibble)
        fill(even, odd, straight, wibble)
        fill(odd, even, straight, wibble)
        step, wibble = half, wibble / decay

    heights = (heights - heights.min()) / np.ptp(heights)
    x, brightest = image / 255.0, image.max() / 255.0
    x = x + thickness * heights[:13, :30, None]
    expected = levels(x * brightest / (brightest + thickness))
    assert_equal_levels(corrupt(image, "fog", severity, "x"), expected)


@by_severity(0.1, 0.2, 0.3, 0.4, 0.5)
def test_brightness_reference(photo, severity, parameter):
    image = np.ascontiguousarray(photo[::8, ::8])
    image[:2] = 0, 0, 0
    image[2:4] = 255, 0, 9
    result = corrupt(image, "brightness", severity, 0)
    for pixel, bright in zip(image.reshape(-1, 3), result.reshape(-1, 3)):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel / 255.0)
        value = min(value + parameter, 1)
        expected = levels(
            np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        )
        assert np.abs(bright - expected).max() <= 1


@by_severity((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
def test_frost_formula(severity, parameter):
    """The published weights of the image and of the ice."""
    shape = (60, 80, 3)
    overlay = ice(60, 80, random_state(1, "frost", severity))
    black = corrupt(np.zeros(shape, np.uint8), "frost", severity, 1)
    np.testing.assert_array_equal(black, levels(parameter[1] * overlay))
    grey = np.full(shape, 60, np.uint8)
    expected = levels(parameter[0] * 60 / 255 + parameter[1] * overlay)
    result = corrupt(grey, "frost", severity, 1)
    np.testing.assert_array_equal(result, expected)


def test_the_ice_is_like_the_benchmark_s():
    """Levels, contrast and texture span those of its five overlays.

    Theirs, over crops of 224 pixels: mean 118 to 209, red 31 to 4 less than
    green in four and 71 less in the fifth, deviation 12 to 32, slope of the
    logarithmic power spectrum -2.0 to -1.2.
    """
    panes = [ice(224, 224, np.random.RandomState(i)) for i in range(40)]
    means = np.array([pane.mean() for pane in panes]) * 255
    assert 110 < means.min() < 130 and 195 < means.max() < 212
    assert means.mean() == pytest.approx(164, abs=10)
    channels = np.mean([pane.mean(axis=(0, 1)) for pane in panes], axis=0)
    assert channels[0] < channels[1] < channels[2]
    deviations = [pane.mean(axis=2).std() * 255 for pane in panes]
    assert min(deviations) > 15 and max(deviations) < 40

    slopes = [spectral_slope(pane.mean(axis=2)) for pane in panes]
    assert min(slopes) > -2.0 and max(slopes) < -1.0

    # No seam: the first and last columns have as little in common as any
    pane = np.array([p.mean(axis=2) for p in panes])
    apart = np.abs(pane[:, :, 0] - pane[:, :, -1]).mean()
    usual = np.abs(pane[:, :, 60] - pane[:, :, 170]).mean()
    assert apart > 0.7 * usual


def spectral_slope(grey):
    window = np.outer(*2 * [np.hanning(len(grey))])
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(len(grey))]))
    band = (frequency > 0.02) & (frequency < 0.4)
    return np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]


@by_severity(
    (488, 170.8, 24.4),
    (488, 19.52, 48.8),
    (12.2, 2.44, 4.88),
    (17.08, 2.44, 4.88),
    (29.28, 2.44, 4.88),
)
def test_elastic_transform_reference(photographs, severity, parameter):
    """With scipy's Gaussian filter and an affine map solved for here."""
    strength, sigma, jitter = parameter
    # Smooth, so that hundredths of a pixel are small differences
    image = np.uint8(gaussian(dict(photographs)["cat"][:230, :270] / 1.0, 2))
    rng = random_state("x", "elastic_transform", severity)
    corners = np.array([(211, 191), (211, 39), (59, 39)], float)
    moves = rng.uniform(-jitter, jitter, (3, 2))
    system = np.hstack([corners + moves, np.ones((3, 1))])
    back = np.linalg.solve(system, corners).T  # from result to source
    y, x = np.mgrid[:230, :270].astype(float)
    at = np.einsum("ij,jhw->ihw", back, np.stack([x, y, np.ones_like(x)]))
    sheared = sample(image / 255.0, at[1], at[0], "mirror")

    fields = [
        ndimage.gaussian_filter(
            rng.uniform(-1, 1, (230, 270)), sigma, mode="reflect", truncate=3
        )
        * strength
        for _ in range(2)
    ]
    expected = levels(sample(sheared, y + fields[1], x + fields[0], "reflect"))
    result = corrupt(image, "elastic_transform", severity, "x")
    # OpenCV rounds positions to 1/32 pixel
    difference = np.abs(result - expected)
    assert difference.max() <= 3 and difference.mean() < 0.6


def sample(image, y, x, mode):
    channels = np.moveaxis(image, 2, 0)
    channels = [
        ndimage.map_coordinates(c, (y, x), order=1, mode=mode)
        for c in channels
    ]
    return np.stack(channels, axis=2)


def test_elastic_transform_of_a_small_image_is_as_gentle(photographs):
    """Displacements shrink with images under 224 pixels."""
    errors = []
    for size in (224, 112, 56, 28):
        error = 0
        for label, image in photographs:
            image = prepare_image(image, "imagenet-c")
            picture = Image.fromarray(image).resize((size, size))
            small = np.asarray(picture)
            for severity in (1, 2):
                result = corrupt(small, "elastic_transform", severity, label)
                error += np.abs(result - small.astype(float)).mean()
        errors.append(error / len(photographs))
    assert max(errors) < 1.5 * min(errors), errors


@by_severity(0.6, 0.5, 0.4, 0.3, 0.25)
def test_pixelate_reference(photo, severity, parameter):
    """Exact averages where boxes are whole pixels; else Pillow's."""
    image = np.ascontiguousarray(photo[:160, :240])
    result = corrupt(image, "pixelate", severity, 0)
    size = int(240 * parameter), int(160 * parameter)
    picture = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    expected = picture.resize((240, 160), Image.Resampling.BOX)
    np.testing.assert_array_equal(result, np.asarray(expected))
    if parameter in (0.5, 0.25):
        n = round(1 / parameter)
        blocks = image.reshape(160 // n, n, 240 // n, n, 3).mean(axis=(1, 3))
        blocks = np.repeat(np.repeat(blocks, n, axis=0), n, axis=1)
        assert np.abs(result - blocks).max() <= 1


def test_the_protocol_is_torchvision_s(photographs):
    transforms = pytest.importorskip("torchvision.transforms")
    benchmark = transforms.Compose(
        [transforms.Resize(256), transforms.CenterCrop(224)]
    )
    for _, image in photographs:
        for picture in (image, image[:100, :60], image[:31]):
            picture = np.ascontiguousarray(picture)
            expected = np.asarray(benchmark(Image.fromarray(picture)))
            result = prepare_image(picture, "imagenet-c")
            np.testing.assert_array_equal(result, expected)
            assert prepare_image(picture, "native") is picture
