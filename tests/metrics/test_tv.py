import numpy as np
import pytest
import torch

from fiftyone_iqa.metrics.tv import total_variation


def reference(image):
    """Total variation as torchmetrics sums it, per pair of neighbours."""
    x = torch.tensor(image.transpose(2, 0, 1) / 255.0)
    rows = (x[:, 1:] - x[:, :-1]).abs().mean()
    columns = (x[:, :, 1:] - x[:, :, :-1]).abs().mean()
    return float(rows + columns)


def test_equals_the_formula_on_photographs(photographs):
    for name, image in photographs:
        assert total_variation(image) == pytest.approx(
            reference(image), rel=1e-9
        ), name


def test_known_values():
    assert total_variation(np.full((8, 8, 3), 77, dtype=np.uint8)) == 0
    stripes = np.zeros((6, 6, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    assert total_variation(stripes) == 1


def test_noise_raises_it_and_blur_lowers_it(photographs):
    import cv2

    rng = np.random.default_rng(0)
    for _, image in photographs:
        noisy = np.clip(image + rng.normal(0, 30, image.shape), 0, 255)
        assert total_variation(noisy.astype(np.uint8)) > total_variation(image)
        blurred = cv2.GaussianBlur(image, (0, 0), 3)
        assert total_variation(blurred) < total_variation(image)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_images_without_pairs(shape):
    image = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    value = total_variation(image)
    assert 0 <= value <= 2
    assert (value == 0) == (shape == (1, 1, 3))
