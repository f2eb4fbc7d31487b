import pickle

import numpy as np
import pytest

from fiftyone_iqa.preprocessing import ResizeCrop, TorchTransform

torch = pytest.importorskip("torch")
SIZES = [(37, 90), (224, 224), (500, 333), (225, 224), (1000, 1), (64, 65)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_shortest_equals_torchvision(size, interpolation):
    from PIL import Image
    from torchvision import transforms as T

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    if min(size) == 1:  # torchvision's own limit is memory: 64,000 px wide
        image = image[:40]
    mode = T.InterpolationMode(interpolation)
    theirs = T.Compose(
        [T.Resize(64, mode), T.CenterCrop(56), T.PILToTensor()]
    )(Image.fromarray(image))
    ours = ResizeCrop(56, 64, interpolation)(image)
    np.testing.assert_array_equal(ours, theirs.numpy())


@pytest.mark.parametrize("size", SIZES)
def test_squash_equals_torchvision(size):
    from PIL import Image
    from torchvision import transforms as T

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    mode = T.InterpolationMode.BICUBIC
    theirs = T.Compose([T.Resize((56, 56), mode), T.PILToTensor()])(
        Image.fromarray(image)
    )
    ours = ResizeCrop(56, 56, "bicubic", "squash")(image)
    np.testing.assert_array_equal(ours, theirs.numpy())


def test_result_and_description_survive_pickling():
    preprocessing = ResizeCrop(224, 256)
    again = pickle.loads(pickle.dumps(preprocessing))
    assert str(again) == str(preprocessing)
    image = np.zeros((50, 70, 3), dtype=np.uint8)
    result = again(image)
    assert result.shape == (3, 224, 224)
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous


@pytest.mark.parametrize(
    "arguments",
    [(224, 200), (224, 256, "nearest"), (224, 256, "bicubic", "longest")],
)
def test_unusable_arguments(arguments):
    with pytest.raises(ValueError, match="must"):
        ResizeCrop(*arguments)


def test_torch_transform_runs_the_transform():
    from torchvision import transforms as T

    transform = TorchTransform(T.ToTensor(), "to tensor")
    image = np.full((4, 5, 3), 51, dtype=np.uint8)
    np.testing.assert_allclose(transform(image), np.full((3, 4, 5), 0.2))
    assert str(transform) == "to tensor"
