import numpy as np
import pytest
from skimage import measure

from fiftyone_iqa.metrics.pixels import blur_effect, brightness, rms_contrast


def luma(image):
    return np.rint(image @ np.array([0.299, 0.587, 0.114]))


def test_blur_equals_scikit_image(photographs):
    for name, image in photographs:
        expected = measure.blur_effect(luma(image) / 255, h_size=11)
        # Luma is rounded by another library
        assert blur_effect(image) == pytest.approx(expected, abs=1e-4), name


def test_blur_rises_with_blur(photographs):
    import cv2

    for name, image in photographs:
        values = [blur_effect(image)]
        values += [
            blur_effect(cv2.GaussianBlur(image, (0, 0), s)) for s in (1, 2, 4)
        ]
        assert values == sorted(values), name


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 50, 3), (40, 40, 3)])
def test_an_image_without_edges_is_blurred(shape):
    assert blur_effect(np.full(shape, 9, dtype=np.uint8)) == 1


def test_brightness_and_contrast(photographs):
    for _, image in photographs:
        assert brightness(image) == pytest.approx(
            luma(image).mean() / 255, abs=1e-3
        )
        assert rms_contrast(image) == pytest.approx(
            luma(image).std() / 255, abs=1e-3
        )

    half = np.zeros((4, 4, 3), dtype=np.uint8)
    half[:2] = 255
    assert brightness(half) == 0.5
    assert rms_contrast(half) == 0.5
