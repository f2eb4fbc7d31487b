"""Corruptions against the benchmark's formulas, and their determinism."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fiftyone_iqa.corruptions import SEVERITIES, corrupt, list_corruptions
from fiftyone_iqa.corruptions.registry import corruption

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
    assert NAMES == [
        "gaussian_noise",
        "defocus_blur",
        "contrast",
        "jpeg_compression",
    ]


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


@pytest.mark.parametrize("name", NAMES)
def test_distortion_grows_with_severity(photo, name):
    steps = [distance(corrupt(photo, name, s, 1), photo) for s in SEVERITIES]
    assert np.all(np.diff([0, *steps]) > 0.3), steps


@pytest.mark.parametrize("name", NAMES)
def test_any_size(name):
    for shape in ((1, 1, 3), (5, 3, 3), (31, 400, 3)):
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        before = image.copy()
        result = corrupt(image, name, 5, "a")
        assert result.shape == shape and result.dtype == np.uint8
        np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("name", ["contrast", "defocus_blur"])
def test_a_plain_image_stays(name):
    for level in (0, 3, 128, 255):
        image = np.full((40, 50, 3), level, np.uint8)
        np.testing.assert_array_equal(corrupt(image, name, 1, 0), image)


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


def test_a_corruption_has_five_parameters():
    with pytest.raises(ValueError, match="5 parameters"):
        corruption("noise", 1, 2)


def test_import_is_light():
    code = (
        "import sys, fiftyone_iqa.corruptions\n"
        "heavy = {'scipy', 'cv2', 'torch', 'fiftyone', 'PIL'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
