"""timm's classifiers: with its weights, or with a local checkpoint."""

from __future__ import annotations

import math
import os

from ..encoders.hub import hub_reachable
from ..errors import IQAError
from ..preprocessing import ResizeCrop, TorchTransform
from .base import ModelUnavailableError
from .checkpoints import fetch, load_weights, read_state_dict
from .imagenet import N_CLASSES, imagenet_names
from .preparation import Normalisation, Preparation
from .torch_models import Network, Options, classes_of, preparation_of

_FILES = ("model.safetensors", "pytorch_model.bin")


def timm_names() -> list[str]:
    """Returns the names of timm's architectures, and those with a tag."""
    import timm

    return [*timm.list_models(), *timm.list_models(pretrained=True)]


def timm_network(name: str, path: str | None, options: Options) -> Network:
    """Returns a timm model.

    Images are prepared by timm's own data configuration of the name. 1,000
    classes are taken to be ImageNet's; other sets of ImageNet's classes are
    named by synset ids.

    Args:
        name: ``"<architecture>"`` or ``"<architecture>.<tag>"``
        path: of a local checkpoint; None for timm's weights
        options: what is to differ from the model's own

    Raises:
        IQAError: if the name has no weights, the checkpoint does not fit, or
            its classes have no names
        ModelUnavailableError: if the weights are neither cached nor can be
            fetched
    """
    import timm
    from timm.models import PretrainedCfg

    config = timm.get_pretrained_cfg(name) or PretrainedCfg()
    preparation = preparation_of(_preparation(config), options)
    if path is None:
        full_name, n = f"timm:{name}", config.num_classes
    else:
        path = os.path.abspath(os.path.expanduser(path))
        full_name = f"timm:{name}//{path}"
        state = read_state_dict(path)
        n = _n_classes(state, config, path)
    if n == 0:
        raise IQAError(f"{full_name!r} is no classifier: it has no head")
    classes = classes_of(full_name, n, options, _own_classes(n, config))

    if path is None:
        module = _pretrained(name, config, full_name)
    else:
        module = timm.create_model(name, num_classes=n)
        load_weights(module, state, path)
    return Network(full_name, module, classes, preparation)


def _pretrained(name, config, full_name):
    import timm

    if not config.has_weights:
        raise IQAError(
            f"timm has no weights for {name!r}; pass a checkpoint as "
            f"'{full_name}//path/to/checkpoint'"
        )

    overlay = {}
    if config.hf_hub_id:
        path = _cached(config)
        if path is None and not hub_reachable():
            raise ModelUnavailableError(_missing(config, full_name))
    else:
        instead = f"{full_name}//path/to/{os.path.basename(config.url)}"
        path = fetch(config.url, full_name, instead)
    if path is not None and not config.custom_load:
        # Else timm asks the hub about a file it has
        overlay = {"file": path}

    try:
        return timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay=overlay
        )
    except Exception as e:  # hubs and loaders raise anything
        raise ModelUnavailableError(
            f"Task model {full_name!r} could not be loaded: {e}"
        ) from e


def _cached(config):
    from huggingface_hub import try_to_load_from_cache

    own = [config.hf_hub_filename] if config.hf_hub_filename else _FILES
    for filename in own:
        path = try_to_load_from_cache(config.hf_hub_id, filename)
        if isinstance(path, str):
            return path
    return None


def _missing(config, full_name):
    from huggingface_hub import constants

    filename = config.hf_hub_filename or _FILES[0]
    return (
        f"The weights of {full_name!r} are not cached (looked for {filename} "
        f"of {config.hf_hub_id} in {constants.HF_HUB_CACHE}) and "
        f"{constants.ENDPOINT} cannot be reached. Fetch "
        f"{constants.ENDPOINT}/{config.hf_hub_id}/resolve/main/{filename} on "
        "another machine and pass it as "
        f"'{full_name}//path/to/{filename}'"
    )


def _preparation(config):
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config(pretrained_cfg=config.to_dict())
    normalisation = Normalisation(config["mean"], config["std"])
    _, height, width = config["input_size"]
    resize = math.floor(height / config["crop_pct"])
    plain = (
        height == width
        and config["interpolation"] in ("bilinear", "bicubic")
        and resize >= height
    )
    mode = {"center": "shortest", "squash": "squash"}.get(config["crop_mode"])
    if plain and (mode == "shortest" or (mode and resize == height)):
        transform = ResizeCrop(height, resize, config["interpolation"], mode)
        return Preparation(transform, normalisation)

    described = ", ".join(f"{k}={config[k]}" for k in sorted(config))
    transform = create_transform(**config, normalize=False)
    return Preparation(
        TorchTransform(transform, f"timm {described}"), normalisation
    )


def _n_classes(state, config, path):
    """Reads the number of classes off the shape of the head."""
    head = config.classifier
    # Distilled models have two of one shape
    head = head[0] if isinstance(head, (tuple, list)) else head
    weight = state.get(f"{head}.weight")
    if weight is None:
        raise IQAError(f"{path!r} holds no classifier: no '{head}.weight'")
    return len(weight)


def _own_classes(n, config):
    from timm.data import ImageNetInfo, infer_imagenet_subset

    if config.label_names:
        return tuple(config.label_names)
    if n == N_CLASSES:
        return imagenet_names()
    subset = infer_imagenet_subset({"num_classes": n})
    return tuple(ImageNetInfo(subset).label_names()) if subset else None
