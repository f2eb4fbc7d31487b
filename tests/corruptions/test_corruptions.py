"""Corruptions against the benchmark's formulas, and their determinism."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fiftyone_iqa.corruptions import (
    SEVERITIES,
    corrupt,
    get_corruption,
    list_corruptions,
    prepare_image,
)
from fiftyone_iqa.corruptions.registry import corruption, random_state

NAMES = list_corruptions()


@pytest.fixture(scope="module")
def photo():
    """A smooth image with edges, structure and a non-square shape."""
    y, x = np.mgrid[0:180, 0:240] / 240.0
    channels = [
        0.5 + 0.4 * np.sin(9 * x + 4 * y),
        0.3 + 0.5 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05),
        0.2 + 0.7 * (np.floor(x * 24) % 2),
    ]
    return np.uint8(np.clip(np.stack(channels, axis=2), 0, 1) * 255)


def by_severity(*parameters):
    """Runs a test with each severity and the parameter it stands for."""
    pairs = list(zip(SEVERITIES, parameters, strict=True))
    return pytest.mark.parametrize("severity, parameter", pairs)


def distance(one, other):
    return np.abs(one.astype(float) - other.astype(float)).mean()


def correlate(image, kernel):
    """Correlates by the definition, mirrored without repeating the edge."""
    r = kernel.shape[0] // 2
    padded = np.pad(image, ((r, r), (r, r), (0, 0)), mode="reflect")
    height, width = image.shape[:2]
    total = np.zeros_like(image)
    for dy, row in enumerate(kernel):
        for dx, weight in enumerate(row):
            total += weight * padded[dy : dy + height, dx : dx + width]
    return total


def benchmark_disk(radius, sigma):
    """The benchmark's kernel, by scipy instead of OpenCV."""
    from scipy.ndimage import correlate1d

    extent = max(radius, 8)
    grid = np.hypot(*np.mgrid[-extent : extent + 1, -extent : extent + 1])
    disk = (grid <= radius).astype(float)
    disk /= disk.sum()
    half = 1 if radius <= 8 else 2
    gauss = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * sigma**2))
    gauss /= gauss.sum()
    for axis in (0, 1):
        disk = correlate1d(disk, gauss, axis=axis, mode="mirror")
    return disk


def test_the_conditions():
    """In the order of the benchmark's paper and tables."""
    published = [
        *("gaussian_noise", "shot_noise", "impulse_noise"),
        *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("snow", "frost", "fog", "brightness"),
        *("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
    ]
    assert published == NAMES
    families = [get_corruption(name).family for name in NAMES]
    assert families == (
        ["noise"] * 3 + ["blur"] * 4 + ["weather"] * 4 + ["digital"] * 4
    )
    descriptions = {get_corruption(name).description for name in NAMES}
    assert len(descriptions) == 15 and all(descriptions)
    assert "procedural" in get_corruption("frost").description


@by_severity(0.08, 0.12, 0.18, 0.26, 0.38)
def test_gaussian_noise_statistics(severity, parameter):
    grey = np.full((300, 300, 3), 128, np.uint8)
    noisy = corrupt(grey, "gaussian_noise", severity, 7) / 255
    reference = np.random.default_rng(0).normal(scale=parameter, size=200_000)
    reference = np.clip(128 / 255 + reference, 0, 1)
    # Truncation to grey levels costs half a level
    expected = reference.mean() - 0.5 / 255
    assert noisy.mean() == pytest.approx(expected, abs=3e-3)
    assert noisy.std() == pytest.approx(reference.std(), rel=0.01)
    flat = noisy.reshape(-1, 3)
    assert np.abs(np.corrcoef(flat.T) - np.eye(3)).max() < 0.02
    neighbours = np.corrcoef(noisy[:, 1:].ravel(), noisy[:, :-1].ravel())
    assert abs(neighbours[0, 1]) < 0.02


@by_severity((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
def test_defocus_blur_reference(photo, severity, parameter):
    blurred = corrupt(photo, "defocus_blur", severity, 0)
    expected = correlate(photo / 255.0, benchmark_disk(*parameter))
    expected = np.floor(np.clip(expected, 0, 1) * 255 + 1e-6)
    # Weights differ by 1e-8, enough to cross an integer now and then
    assert np.abs(blurred - expected).max() <= 1
    assert (blurred == expected).mean() > 0.99


@by_severity(0.4, 0.3, 0.2, 0.1, 0.05)
def test_contrast_reference(photo, severity, parameter):
    result = corrupt(photo, "contrast", severity, 0)
    means = photo.reshape(-1, 3).mean(axis=0)
    expected = means + parameter * (photo - means)
    assert np.abs(result - np.floor(expected + 1e-6)).max() == 0


@by_severity(25, 18, 15, 10, 7)
def test_jpeg_reference(photo, severity, parameter):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=parameter)
    result = corrupt(photo, "jpeg_compression", severity, 0)
    np.testing.assert_array_equal(result, np.asarray(Image.open(file)))


# Severities after which the benchmark's own parameters need not lower the
# signal-to-noise ratio: glass blur displaces fewer times, snowflakes get
# larger and fewer, frost weighs the image less but the ice no more, fog gets
# rougher but no thicker, and elastic transforms turn from shears into ripples
LEVEL_STEPS = {
    "glass_blur": [1, 3],
    "snow": [2],
    "frost": [2, 3, 4],
    "fog": [3, 4],
    "elastic_transform": [2],
}


@pytest.mark.parametrize("name", NAMES)
def test_distortion_grows_with_severity(photographs, name):
    ratios = []
    for label, image in photographs:
        image = prepare_image(image, "imagenet-c")
        pixels = [corrupt(image, name, s, label) for s in SEVERITIES]
        errors = [np.mean((p / 255 - image / 255) ** 2) for p in pixels]
        ratios.append(-10 * np.log10(errors))
    falls = -np.diff(np.mean(ratios, axis=0))
    steps = [i for i in range(4) if i + 1 not in LEVEL_STEPS.get(name, ())]
    assert np.all(falls[steps] > 0.1), falls
    assert name == "elastic_transform" or falls.sum() > 1


@pytest.mark.parametrize("name", NAMES)
def test_any_size(name):
    for height, width in (
        *((1, 1), (1, 2), (2, 1), (3, 3), (5, 3), (1, 300), (300, 1)),
        *((8, 8), (17, 16), (32, 32), (31, 400), (256, 256), (257, 130)),
    ):
        shape = (height, width, 3)
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        before = image.copy()
        for severity in SEVERITIES:
            result = corrupt(image, name, severity, "a")
            assert result.shape == shape and result.dtype == np.uint8
            np.testing.assert_array_equal(image, before)
        for level in (0, 255):
            plain = np.full(shape, level, np.uint8)
            assert corrupt(plain, name, 5, "a").shape == shape


@pytest.mark.parametrize(
    "name",
    [
        *("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
        *("contrast", "elastic_transform", "pixelate"),
    ],
)
def test_a_plain_image_stays(name):
    for level in (0, 3, 128, 255):
        image = np.full((40, 50, 3), level, np.uint8)
        for severity in SEVERITIES:
            pixels = corrupt(image, name, severity, 0)
            # The benchmark's disks that reach their grid's edge sum to 1.01
            error = 2 if name == "defocus_blur" and severity > 3 else 0
            if name == "elastic_transform":
                error = 1  # OpenCV's float32 warp can end just below a level
            np.testing.assert_allclose(pixels, image, rtol=0, atol=error)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_wraps_around(name):
    """What is at one edge does not show at the other."""
    for axis in (0, 1):
        for at_end in (False, True):
            image = np.zeros((300, 300, 3), np.uint8)
            ends = [slice(-30, None), slice(None, 30)]
            lit, dark = ends if at_end else ends[::-1]
            image[(lit, slice(None))[:: 1 if axis == 0 else -1]] = 200
            black = np.zeros_like(image)
            for severity in (1, 3, 5):
                result = corrupt(image, name, severity, 3).astype(int)
                if name == "contrast":  # its mean level is everywhere
                    continue
                if name == "fog":  # so is its brightest one
                    black[150, 150] = 200
                other = corrupt(black, name, severity, 3)
                where = (dark, slice(None))[:: 1 if axis == 0 else -1]
                assert np.abs(result - other)[where].max() <= 1


def test_draws_depend_on_the_condition():
    """Conditions and severities of one seed share no random numbers."""
    draws = {
        random_state(seed, name, severity).uniform()
        for seed in ("a", "b")
        for name in NAMES
        for severity in SEVERITIES
    }
    assert len(draws) == 2 * 15 * 5


def test_draws_depend_on_seed_and_severity(photo):
    grey = np.full_like(photo, 128)
    results = {
        corrupt(grey, "gaussian_noise", severity, seed).tobytes()
        for severity in (1, 2)
        for seed in (1, "1", 2, -1, 2**80, "chat noir é")
    }
    assert len(results) == 12


def test_the_same_pixels_in_any_process_and_order(photo):
    script = (
        "import hashlib, io, sys, numpy as np\n"
        "from fiftyone_iqa.corruptions import corrupt, list_corruptions\n"
        "image = np.load(io.BytesIO(sys.stdin.buffer.read()))\n"
        "for name in reversed(list_corruptions()):\n"
        "    pixels = corrupt(image, name, 3, 'cat.png').tobytes()\n"
        "    print(name, hashlib.sha256(pixels).hexdigest())\n"
    )
    here = {
        name: hashlib.sha256(
            corrupt(photo, name, 3, "cat.png").tobytes()
        ).hexdigest()
        for name in NAMES
    }
    file = io.BytesIO()
    np.save(file, photo)
    np.random.seed(4)
    for _ in range(2):  # each with its own PYTHONHASHSEED
        run = subprocess.run(
            [sys.executable, "-c", script],
            input=file.getvalue(),
            capture_output=True,
            check=True,
        )
        there = dict(line.split() for line in run.stdout.decode().splitlines())
        assert there == here


def test_known_draws():
    """Changes to the seeding would change people's stored images."""
    grey = np.full((1, 2, 3), 128, np.uint8)
    pixels = corrupt(grey, "gaussian_noise", 3, "known").ravel().tolist()
    assert pixels == [129, 46, 126, 136, 45, 35]


def test_unknown_names_and_severities(photo):
    with pytest.raises(ValueError, match="'blurr'; there are gaussian_noise"):
        corrupt(photo, "blurr", 1, 0)
    for severity in (0, 6, 1.5, None):
        with pytest.raises(ValueError, match="there are 1, 2, 3, 4, 5"):
            corrupt(photo, "contrast", severity, 0)


def test_wrong_inputs(photo):
    for image in (photo / 255.0, photo[..., 0], np.dstack([photo, photo])):
        with pytest.raises(TypeError, match=r"\(height, width, 3\)"):
            corrupt(image, "contrast", 1, 0)
    with pytest.raises(TypeError, match="an int or a string, not 1.5"):
        corrupt(photo, "contrast", 1, 1.5)


def test_unknown_protocols(photo):
    with pytest.raises(ValueError, match="there are native, imagenet-c"):
        prepare_image(photo, "cifar")


def test_a_corruption_has_five_parameters():
    with pytest.raises(ValueError, match="5 parameters"):
        corruption("noise", 1, 2)


def test_import_is_light():
    code = (
        "import sys, fiftyone_iqa.corruptions\n"
        "heavy = {'scipy', 'cv2', 'numba', 'torch', 'fiftyone', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
