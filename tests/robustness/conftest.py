"""A small oracle, small models, and images that the oracle recognises."""

import numpy as np
import pytest

CLASSES = ["cat", "dog", "rocket", "cup"]


def small_model(slug, seed, **kwargs):
    """Makes a task model: a random convolution of 32 x 32 pixels."""
    import torch

    from fiftyone_iqa.models import Normalisation, get_task_model
    from fiftyone_iqa.preprocessing import ResizeCrop

    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, 2),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(32, len(CLASSES)),
    )
    return get_task_model(
        net,
        "cpu",
        classes=CLASSES,
        transform=kwargs.get("transform") or ResizeCrop(32, 32),
        normalisation=Normalisation((0.5,) * 3, (0.1,) * 3),
        slug=slug,
    )


@pytest.fixture(scope="session")
def small_models():
    return [small_model("m1", 1), small_model("m2", 2)]


@pytest.fixture
def recognised(make_dataset, write_images, encoder_names):
    """12 images whose labels are the oracle's own, but for the last two."""
    from fiftyone_iqa.encoders import get_encoder
    from fiftyone_iqa.images import read_image
    from fiftyone_iqa.robustness.foundation import canonical_image
    from fiftyone_iqa.robustness.oracle import ZeroShotOracle

    paths = write_images(12, size=(60, 80))
    images = np.stack([canonical_image(read_image(p)) for p in paths])
    oracle = ZeroShotOracle(get_encoder(encoder_names[0], "cpu"), CLASSES)
    said = oracle.probabilities(images).argmax(axis=1)
    said[-2:] = (said[-2:] + 1) % len(CLASSES)
    return make_dataset(
        paths=paths, labels=[CLASSES[i] for i in said], persistent=True
    )


@pytest.fixture
def run_fmr(recognised, small_models, encoder_names, tmp_path):
    """A function that measures FMR of the recognised images."""
    import fiftyone as fo

    import fiftyone_iqa as fiqa

    def run(**kwargs):
        arguments = {
            "samples": recognised,
            "models": small_models,
            "ground_truth": "ground_truth",
            "oracle": encoder_names[0],
            "classes": CLASSES,
            "budget": 3,
            "batch_size": 5,
            "images_dir": tmp_path / "fmr",
            "n_resamples": 50,
            **kwargs,
        }
        return fiqa.foundation_robustness(**arguments)

    yield run
    for name in fo.list_datasets(f"{recognised.name}-*"):
        fo.delete_dataset(name)
