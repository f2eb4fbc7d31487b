"""scripts/corruptions_check.py: what it compares, and what it says."""

import importlib.util
import subprocess
import sys
import types

import numpy as np
import pytest

from fiftyone_iqa.corruptions import list_corruptions

HAS_PACKAGE = importlib.util.find_spec("corrupt_tta") is not None


@pytest.fixture(scope="module")
def check(load_script):
    return load_script("corruptions_check")


@pytest.fixture(scope="module")
def images(check, photographs):
    return [check.fit(image, (60, 40)) for _, image in photographs[:2]]


def contrast(image, severity):
    factor = (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1]
    image = np.array(image) / 255
    mean = image.mean(axis=(0, 1))
    return np.clip((image - mean) * factor + mean, 0, 1) * 255


def gaussian_noise(image, severity):
    scale = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    noise = np.random.normal(size=image.shape, scale=scale)
    return np.clip(image / 255 + noise, 0, 1) * 255


def test_every_condition_is_judged(check):
    judged = {*check.EQUAL, *check.CLOSE, *check.OTHERWISE}
    assert judged == set(list_corruptions())


def test_equal_pixels_from_equal_draws(check, images):
    theirs = types.SimpleNamespace(
        contrast=contrast, gaussian_noise=gaussian_noise
    )
    names = ["contrast", "gaussian_noise"]
    rows = list(check.compare_all(theirs, images, names))
    assert len(rows) == 10
    assert {row["verdict"] for row in rows} == {"equal"}
    assert all(row["largest_difference"] <= 1 for row in rows)
    assert all(set(row) == set(check.FIELDS) for row in rows)
    assert all(row["mad_ours"] > 1 and row["ms_ours"] > 0 for row in rows)
    assert (rows[0]["width"], rows[0]["height"]) == (60, 40)
    assert "equal" in check.describe(rows[0])


def test_other_pixels_fail(check, images):
    def weaker(image, severity):
        return contrast(image, max(1, severity - 1))

    def no_impulses(image, severity):
        return contrast(image, severity)

    theirs = types.SimpleNamespace(contrast=weaker, impulse_noise=no_impulses)
    rows = check.compare_all(theirs, images, ["contrast", "impulse_noise"])
    verdicts = [row["verdict"] for row in rows]
    assert verdicts == ["equal", *["FAILED"] * 9]


def test_slowness_is_reported(check):
    rows = [
        {"corruption": name, "width": 224, "times_faster": ratio}
        for name, ratio in (
            *(("glass_blur", r) for r in (4, 4.5, 30)),
            *(("zoom_blur", r) for r in (6, 5.5, 2)),
            ("contrast", 1),
        )
    ]
    assert check.too_slow(rows) == [("glass_blur", 224, 4.5)]


@pytest.mark.skipif(HAS_PACKAGE, reason="corrupt-tta is installed")
def test_without_the_package_it_says_how_to_get_it(check):
    run = subprocess.run(
        [sys.executable, check.__file__], capture_output=True, text=True
    )
    assert run.returncode == 1 and not run.stdout
    assert "pip install --no-deps corrupt-tta" in run.stderr


@pytest.mark.skipif(not HAS_PACKAGE, reason="corrupt-tta is not installed")
def test_with_the_package(check, photographs):
    import corrupt_tta.corruptions as theirs

    images = [check.fit(image, (224, 224)) for _, image in photographs[:2]]
    rows = list(check.compare_all(theirs, images))
    assert len(rows) == 75
    bad = {row["corruption"] for row in rows if row["verdict"] == "FAILED"}
    assert bad <= {"frost"}  # two images are few for its statistics
