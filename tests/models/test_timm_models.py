"""timm's names at random weights, cached and local."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models import ModelUnavailableError, get_task_model
from fiftyone_iqa.models.imagenet import imagenet_names
from fiftyone_iqa.models.timm_models import _own_classes, _preparation
from fiftyone_iqa.preprocessing import ResizeCrop

NAME = "mobilenetv3_small_050.lamb_in1k"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return timm.create_model(NAME).eval()


@pytest.fixture
def cached(network):
    """The hub's cache, holding random weights of NAME."""
    from huggingface_hub import constants

    root = constants.HF_HUB_CACHE
    assert "fiftyone-iqa-tests-" in root
    import pathlib
    import shutil

    folder = pathlib.Path(root) / f"models--timm--{NAME}"
    snapshot = folder / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    save_file(network.state_dict(), snapshot / "model.safetensors")
    yield
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [
        (NAME, True),
        ("resnet50.a1_in1k", True),
        ("convnext_tiny.fb_in1k", True),
        ("convnext_tiny.in12k_ft_in1k_384", True),  # squash
        ("tf_efficientnet_lite0.in1k", True),
        ("inception_v3.tf_in1k", True),
        ("dpn68.mx_in1k", True),
    ],
)
def test_preparation_equals_timms_own(name, is_plain, images):
    config = timm.get_pretrained_cfg(name)
    preparation = _preparation(config)
    assert isinstance(preparation.transform, ResizeCrop) == is_plain
    transform = create_transform(
        **resolve_data_config(pretrained_cfg=config.to_dict())
    )
    for image in images:
        pixels = torch.from_numpy(preparation(image)[None])
        ours = preparation.normalisation(pixels)[0]
        assert torch.equal(ours, transform(Image.fromarray(image)))


@pytest.mark.parametrize(
    "change",
    [
        {"crop_mode": "border"},
        {"crop_mode": "squash", "crop_pct": 0.9},
        {"input_size": (3, 96, 128)},
        {"interpolation": "lanczos"},
    ],
)
def test_unusual_preparation_is_timms_own(change, images):
    from dataclasses import replace

    config = replace(timm.get_pretrained_cfg(NAME), **change)
    preparation = _preparation(config)
    assert "timm crop_mode=" in str(preparation)
    transform = create_transform(
        **resolve_data_config(pretrained_cfg=config.to_dict())
    )
    for image in images:
        pixels = torch.from_numpy(preparation(image)[None].copy())
        assert pixels.dtype == torch.uint8
        ours = preparation.normalisation(pixels)[0]
        assert torch.equal(ours, transform(Image.fromarray(image)))


def test_cached_weights_run_as_timm_runs_them(cached, network, images):
    model = get_task_model(f"timm:{NAME}", "cpu")
    assert model.slug == "timm_mobilenetv3_small_050_lamb_in1k"
    assert model.classes == imagenet_names()
    transform = create_transform(
        **resolve_data_config(pretrained_cfg=network.pretrained_cfg)
    )
    batch = np.stack([model.preprocessing(image) for image in images])
    with torch.inference_mode():
        expected = network(
            torch.stack([transform(Image.fromarray(i)) for i in images])
        ).numpy()
    logits = model.logits(batch)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    alone = np.concatenate([model.logits(one[None]) for one in batch])
    np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_missing_weights_say_where_and_how(images):
    with pytest.raises(ModelUnavailableError) as raised:
        get_task_model(f"timm:{NAME}")
    message = str(raised.value)
    assert "model.safetensors of timm/" + NAME in message
    assert f"'timm:{NAME}//path/to/model.safetensors'" in message
    assert "\n" not in message


def test_weights_at_a_plain_address(torch_home):
    name = next(
        n
        for n in timm.list_models(pretrained=True)
        if not timm.get_pretrained_cfg(n).hf_hub_id
    )
    with pytest.raises(ModelUnavailableError, match="does not exist"):
        get_task_model(f"timm:{name}")


def test_local_checkpoints(tmp_path):
    classes = [f"class {i}" for i in range(10)]
    torch.manual_seed(0)
    plain = timm.create_model(NAME, num_classes=10)
    for path in (tmp_path / "x.pt", tmp_path / "x.safetensors"):
        if path.suffix == ".pt":
            torch.save({"state_dict": plain.state_dict()}, path)
        else:
            save_file(plain.state_dict(), path)
        model = get_task_model(f"timm:{NAME}//{path}", classes=classes)
        assert model.classes == tuple(classes)
        assert model.slug == "timm_mobilenetv3_small_050_lamb_in1k_x"
    with pytest.raises(IQAError, match="10 classes without names"):
        get_task_model(f"timm:{NAME}//{path}")
    with pytest.raises(IQAError, match="no classifier"):
        get_task_model(f"timm:resnet18//{path}")


def test_class_lists():
    config = timm.get_pretrained_cfg(NAME)
    assert _own_classes(1000, config) == imagenet_names()
    synsets = _own_classes(11821, config)
    assert len(synsets) == 11821 and synsets[0].startswith("n")
    assert _own_classes(512, config) is None


def test_names_without_a_classifier():
    for name, message in (
        ("vit_small_patch14_dinov2.lvd142m", "no classifier"),
        ("vit_base_patch16_clip_224.openai", "classes without names"),
    ):
        with pytest.raises(IQAError, match=message):
            get_task_model(f"timm:{name}")
