"""torchvision's classifiers: with its weights, or with a local checkpoint."""

from __future__ import annotations

import os
import re
from functools import cache

from ..errors import IQAError
from ..preprocessing import ResizeCrop
from .checkpoints import fetch, load_weights, read_state_dict
from .imagenet import N_CLASSES, imagenet_names
from .preparation import Normalisation, Preparation
from .torch_models import Network, Options, classes_of, preparation_of

# Heads that only training uses
_AUXILIARY = {"googlenet": "aux", "inception_v3": "AuxLogits."}

# Last layers; a later one is also in networks with an earlier one
_HEADS = (
    "heads.head",
    "head",
    "fc",
    *(f"classifier.{i}" for i in (6, 5, 3, 2, 1)),
    "classifier",
)

# Before torchvision 0.3: "norm.1" for "norm1"
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


@cache
def torchvision_names() -> tuple[str, ...]:
    """Returns the names of torchvision's classification architectures."""
    from torchvision import models

    return tuple(models.list_models(module=models))


def pretrained_network(
    architecture: str, tag: str, options: Options
) -> Network:
    """Returns an architecture with torchvision's weights.

    Args:
        architecture: one of :func:`torchvision_names`
        tag: of its weights, such as ``"IMAGENET1K_V1"``; "" for the default
        options: what is to differ from the weights' own

    Raises:
        IQAError: if there is no such tag, or the weights classify nothing
        ModelUnavailableError: if they are neither cached nor can be fetched
    """
    weights = _weights(architecture, tag)
    name = f"{architecture}/{weights.name}"
    own = weights.meta["categories"]
    classes = classes_of(name, len(own), options, own)
    preparation = preparation_of(_preparation(weights), options)

    instead = f"{architecture}//path/to/{os.path.basename(weights.url)}"
    path = fetch(weights.url, name, instead)
    module = _loaded(architecture, path, len(own), preparation)[0]
    return Network(name, module, classes, preparation)


def checkpoint_network(
    architecture: str, path: str, options: Options
) -> Network:
    """Returns an architecture with local weights.

    Images are prepared as for torchvision's weights of the same file name,
    else as for the architecture's default weights. 1,000 classes are taken
    to be ImageNet's.

    Args:
        architecture: one of :func:`torchvision_names`
        path: see :func:`fiftyone_iqa.models.checkpoints.read_state_dict`
        options: what is to differ

    Raises:
        IQAError: if the file does not fit, or has classes without names
    """
    path = os.path.abspath(os.path.expanduser(path))
    name = f"{architecture}//{path}"
    weights = _weights(architecture, "", os.path.basename(path))
    preparation = preparation_of(_preparation(weights), options)
    module, n = _loaded(architecture, path, None, preparation)
    own = imagenet_names() if n == N_CLASSES else None
    classes = classes_of(name, n, options, own)
    return Network(name, module, classes, preparation)


def _weights(architecture, tag, filename=None):
    """Returns the weights of a tag, of a file name, or the default ones."""
    from torchvision.models import get_model_weights

    # Some, for dense prediction, have no classifier
    weights = {
        w.name: w
        for w in get_model_weights(architecture)
        if w.meta.get("categories")
    }
    for w in weights.values():
        if os.path.basename(w.url) == filename:
            return w

    if not tag:
        return get_model_weights(architecture).DEFAULT
    if tag not in weights:
        raise IQAError(
            f"Unknown weights {tag!r} for {architecture}; torchvision has "
            f"{', '.join(weights)}. A local checkpoint is written with two "
            f"slashes: '{architecture}//path/to/checkpoint'"
        )
    return weights[tag]


def _preparation(weights):
    preset = weights.transforms()
    return Preparation(
        ResizeCrop(
            preset.crop_size[0],
            preset.resize_size[0],
            preset.interpolation.value,
        ),
        Normalisation(tuple(preset.mean), tuple(preset.std)),
    )


def _loaded(architecture, path, n, preparation):
    """Returns ``(module, number of classes)``."""
    from torchvision.models import get_model

    state = read_state_dict(path)
    auxiliary = _AUXILIARY.get(architecture)
    for key in list(state):
        if auxiliary and key.startswith(auxiliary):
            del state[key]
        elif _OLD_DENSENET.search(key):
            state[_OLD_DENSENET.sub(r"\1\2", key)] = state.pop(key)

    options = _constructor_options(architecture, preparation)
    if n is None:
        n = _n_classes(state, path)
    module = get_model(architecture, num_classes=n, **options)
    load_weights(module, state, path)
    return module, n


def _constructor_options(architecture, preparation):
    """Returns what torchvision passes when it loads weights of its own."""
    if architecture in _AUXILIARY:
        return {
            "aux_logits": False,
            "init_weights": False,
            "transform_input": True,
        }
    if architecture.startswith("vit_"):
        # Its position embedding is of one size
        transform = preparation.transform
        if isinstance(transform, ResizeCrop):
            return {"image_size": transform.crop}
    return {}


def _n_classes(state, path):
    """Reads the number of classes off the shape of the head."""
    for head in _HEADS:
        weight = state.get(f"{head}.weight")
        if weight is not None:
            return len(weight)

    raise IQAError(f"{path!r} holds no classifier of torchvision's")
