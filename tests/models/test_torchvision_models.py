"""torchvision's architectures at random weights, cached and local."""

import pickle
import re

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models import get_task_model
from fiftyone_iqa.models.imagenet import imagenet_names
from fiftyone_iqa.models.torchvision_models import (
    _constructor_options,
    _n_classes,
    _preparation,
    _weights,
    torchvision_names,
)
from fiftyone_iqa.preprocessing import ResizeCrop

PAPER = (
    "resnet34",
    "convnext_base",
    "efficientnet_v2_m",
    "mobilenet_v3_large",
    "swin_b",
    "vit_l_16",
)
TEN = [f"class {i}" for i in range(10)]
CACHED = "resnet18-f37072fd.pth"


def network(name="resnet18", n=1000, seed=0, **kwargs):
    torch.manual_seed(seed)
    return torchvision.models.get_model(name, num_classes=n, **kwargs).eval()


@pytest.fixture(scope="module")
def resnet18():
    return network()


@pytest.fixture(scope="module")
def ten():
    """A small network of ten classes and its plain checkpoint's state."""
    return network("shufflenet_v2_x0_5", 10)


def check_logits(model, plain, images, transform, atol=1e-5):
    batch = np.stack([model.preprocessing(image) for image in images])
    with torch.inference_mode():
        inputs = torch.stack([transform(Image.fromarray(i)) for i in images])
        expected = plain(inputs).numpy()
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        model.logits(batch), expected, atol=atol * max(1, scale)
    )
    return batch


@pytest.mark.parametrize("name", PAPER)
def test_preparation_equals_torchvisions_own(name, images):
    weights = torchvision.models.get_model_weights(name).DEFAULT
    preparation = _preparation(_weights(name, ""))
    transform = weights.transforms()
    for image in images:
        pixels = torch.from_numpy(preparation(image)[None])
        assert pixels.dtype == torch.uint8
        ours = preparation.normalisation(pixels)[0]
        assert torch.equal(ours, transform(Image.fromarray(image)))


def test_every_classifier_has_a_preparation():
    names = torchvision_names()
    assert set(PAPER) < set(names)
    for name in names:
        preparation = _preparation(_weights(name, ""))
        assert isinstance(preparation.transform, ResizeCrop)


def test_cached_weights_run_as_torchvision_runs_them(
    torch_home, resnet18, images
):
    torch.save(resnet18.state_dict(), torch_home / CACHED)
    model = get_task_model("resnet18", "cpu")
    assert model.name == "resnet18/IMAGENET1K_V1"
    assert model.slug == "resnet18"
    assert model.classes == imagenet_names()
    assert model.id == get_task_model("resnet18/IMAGENET1K_V1", "cpu").id

    weights = torchvision.models.ResNet18_Weights.DEFAULT
    batch = check_logits(model, resnet18, images, weights.transforms())
    alone = np.concatenate([model.logits(one[None]) for one in batch])
    np.testing.assert_allclose(model.logits(batch), alone, atol=1e-5)

    torch.save(network(seed=1).state_dict(), torch_home / CACHED)
    changed = get_task_model("resnet18", "cpu")
    assert changed.id != model.id


def test_a_cached_pickle_with_code_is_refused(torch_home, tmp_path):
    write_evil(torch_home / CACHED, tmp_path / "ran")
    with pytest.raises(IQAError, match="could run code"):
        get_task_model("resnet18")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
def test_local_checkpoints(suffix, tmp_path, ten, images):
    path = tmp_path / f"run{suffix}"
    if suffix == ".safetensors":
        save_file(ten.state_dict(), path)
    else:
        torch.save(ten.state_dict(), path)
    model = get_task_model(f"shufflenet_v2_x0_5//{path}", classes=TEN)
    assert model.classes == tuple(TEN)
    assert model.slug == "shufflenet_v2_x0_5_run"
    weights = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT
    check_logits(model, ten, images, weights.transforms())


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_wrapped_checkpoints(wrapper, prefix, tmp_path, ten):
    plain, path = tmp_path / "plain.pt", tmp_path / "wrapped.pt"
    torch.save(ten.state_dict(), plain)
    state = {prefix + k: v for k, v in ten.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, path)
    ids = [
        get_task_model(f"shufflenet_v2_x0_5//{p}", classes=TEN).id
        for p in (plain, path)
    ]
    digests = {i.rpartition("@")[2] for i in ids}
    assert len(digests) == 1


def test_a_thousand_classes_are_imagenets(tmp_path):
    path = tmp_path / "x.pt"
    torch.save(network("squeezenet1_1").state_dict(), path)
    model = get_task_model(f"squeezenet1_1//{path}")
    assert model.classes == imagenet_names()


def test_a_checkpoint_named_as_torchvisions_is_prepared_as_it(tmp_path):
    weights = torchvision.models.MobileNet_V2_Weights
    for member, resize in (
        (weights.IMAGENET1K_V1, 256),
        (weights.DEFAULT, 232),
    ):
        path = tmp_path / member.url.rpartition("/")[2]
        torch.save(network("mobilenet_v2").state_dict(), path)
        model = get_task_model(f"mobilenet_v2//{path}")
        assert f"shortest {resize} bilinear" in str(model.preprocessing)


def test_checkpoints_that_do_not_fit(tmp_path, ten):
    path = tmp_path / "x.pt"
    torch.save(ten.state_dict(), path)
    name = f"shufflenet_v2_x0_5//{path}"
    with pytest.raises(IQAError, match="10 classes without names"):
        get_task_model(name)
    with pytest.raises(IQAError, match="has 10 classes; got 9 names"):
        get_task_model(name, classes=TEN[:9])
    with pytest.raises(IQAError, match="weights are missing.*have no place"):
        get_task_model(f"resnet18//{path}", classes=TEN)
    with pytest.raises(IQAError, match="size mismatch"):
        get_task_model(f"shufflenet_v2_x1_0//{path}", classes=TEN)
    with pytest.raises(IQAError, match="no classifier"):
        get_task_model(f"swin_t//{save(tmp_path, {'a': torch.ones(2)})}")


def save(folder, value):
    path = folder / "saved.pt"
    torch.save(value, path)
    return path


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(IQAError, match="There is no checkpoint"):
        get_task_model(f"resnet18//{tmp_path / 'none.pt'}")
    for name in ("text.pt", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(IQAError) as raised:
            get_task_model(f"resnet18//{tmp_path / name}")
        assert name in str(raised.value)
    for value in ({"epoch": 3}, {}, torch.ones(3)):
        with pytest.raises(IQAError, match="holds no state dict"):
            get_task_model(f"resnet18//{save(tmp_path, value)}")


def write_evil(path, target):
    class Evil:
        def __reduce__(self):
            return (open, (str(target), "w"))

    with open(path, "wb") as f:
        pickle.dump({"fc.weight": Evil()}, f, protocol=2)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickled_code_is_refused_and_not_run(writer, tmp_path):
    path, target = tmp_path / "evil.pt", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(target), "w"))

    if writer == "torch":
        torch.save({"state_dict": {"fc.weight": Evil()}}, path)
    else:
        write_evil(path, target)
    with pytest.raises(IQAError, match="could run code"):
        get_task_model(f"resnet18//{path}")
    assert not target.exists()
    # A whole module is code as well
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(IQAError, match="could run code"):
        get_task_model(f"resnet18//{path}")


@pytest.mark.parametrize(
    "name",
    # One of each family that can be built without memory
    [
        "alexnet",
        "convnext_tiny",
        "densenet121",
        "efficientnet_b0",
        "efficientnet_v2_m",
        "googlenet",
        "inception_v3",
        "maxvit_t",
        "mnasnet0_5",
        "mobilenet_v2",
        "mobilenet_v3_large",
        "resnet34",
        "shufflenet_v2_x0_5",
        "squeezenet1_1",
        "swin_b",
        "swin_v2_t",
        "vgg11_bn",
        "vit_l_16",
    ],
)
def test_the_head_is_found_and_runs_channels_last(name):
    preparation = _preparation(_weights(name, ""))
    options = _constructor_options(name, preparation)
    with torch.device("meta"):
        module = torchvision.models.get_model(name, num_classes=7, **options)
        crop = preparation.transform.crop
        batch = torch.empty(2, 3, crop, crop)
    assert _n_classes(module.state_dict(), "x.pt") == 7
    module.eval().to(memory_format=torch.channels_last)
    batch = batch.contiguous(memory_format=torch.channels_last)
    assert module(batch).shape == (2, 7)


def test_vision_transformers_are_as_large_as_their_images():
    preparation = _preparation(_weights("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"))
    options = _constructor_options("vit_b_16", preparation)
    assert options == {"image_size": 384}


def test_auxiliary_heads_are_left_out(tmp_path, images):
    path = tmp_path / "x.pt"
    plain = network("googlenet", 10, init_weights=False, transform_input=True)
    assert any(k.startswith("aux1") for k in plain.state_dict())
    torch.save(plain.state_dict(), path)
    model = get_task_model(f"googlenet//{path}", classes=TEN)
    weights = torchvision.models.GoogLeNet_Weights.DEFAULT
    check_logits(model, plain, images[:1], weights.transforms())


def test_layouts_that_torchvision_has_left(tmp_path):
    # DenseNets' names before torchvision 0.3
    plain = network("densenet121", 10)
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", k): v
        for k, v in plain.state_dict().items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in state
    torch.save(state, tmp_path / "x.pt")
    get_task_model(f"densenet121//{tmp_path / 'x.pt'}", classes=TEN)

    # A MNASNet in safetensors has lost the number of its layout
    plain = network("mnasnet0_5", 10)
    save_file(plain.state_dict(), tmp_path / "x.safetensors")
    get_task_model(f"mnasnet0_5//{tmp_path / 'x.safetensors'}", classes=TEN)
