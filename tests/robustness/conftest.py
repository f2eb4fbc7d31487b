"""Small models of one's own, and images that they tell apart."""

import pytest


@pytest.fixture(scope="session")
def colour_model():
    """A function that makes a task model that reads an image's mean colour.

    ``colour_model(slug, gain=8.0)``: classes red, green and blue; the larger
    the gain, the surer it is.
    """
    import torch

    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    class Colour(torch.nn.Module):
        def __init__(self, gain):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(3) * gain)

        def forward(self, x):
            return x.mean(dim=(2, 3)) @ self.weight

    def make(slug, gain=8.0):
        return get_task_model(
            Colour(gain),
            classes=["red", "green", "blue"],
            transform=ResizeCrop(16, 16),
            normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
            slug=slug,
        )

    return make


@pytest.fixture(scope="session")
def colour_images(tmp_path_factory):
    """A function that writes noisy images of one colour each.

    ``colour_images(n, seed=0, tint=30)`` returns ``(paths, labels)``.
    """
    import numpy as np
    from PIL import Image

    def write(n, seed=0, tint=30):
        folder = tmp_path_factory.mktemp("colours")
        rng = np.random.default_rng(seed)
        paths, labels = [], []
        for i in range(n):
            k = i % 3
            image = rng.normal(110, 25, (24, 24, 3))
            # Some are hard to tell
            image[..., k] += tint * rng.random()
            image[..., (k + 1) % 3] += 12 * rng.random()
            path = folder / f"{i:04d}.png"
            Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path)
            paths.append(str(path))
            labels.append(("red", "green", "blue")[k])
        return paths, labels

    return write
