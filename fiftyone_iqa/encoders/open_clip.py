"""CLIP and its kin through open_clip."""

from __future__ import annotations

import os

import numpy as np

from ..errors import IQAError
from ..preprocessing import ResizeCrop, TorchTransform
from .base import (
    Encoder,
    EncoderUnavailableError,
    autocast,
    digest_of_arrays,
    to_device,
    unit_rows,
)
from .hub import cached_weights, hub_reachable

_TEXT_BATCH = 64


class OpenCLIPEncoder(Encoder):
    """An open_clip model.

    Args:
        name: see :func:`fiftyone_iqa.encoders.get_encoder`
        device: a torch device name
        precision ("fp32"): arithmetic of the image tower

    Raises:
        EncoderUnavailableError: if the weights are neither cached nor can be
            fetched
        IQAError: if open_clip knows no such architecture or tag
    """

    def __init__(self, name: str, device: str, precision: str = "fp32"):
        import torch

        self.name, model, transform, tokenizer = _load(name)
        self.device = torch.device(device)
        self.precision = precision
        self._model = model.eval().requires_grad_(False).to(self.device)
        self._format = torch.contiguous_format
        if _is_convolutional(model.visual):
            self._format = torch.channels_last
            self._model.visual.to(memory_format=self._format)
        self._tokenizer = tokenizer
        self.logit_scale = float(model.logit_scale.detach().exp())
        self.preprocessing, self._normalise = _preprocessing(model, transform)
        if self._normalise is not None:
            mean, std = (
                torch.tensor(v, device=self.device).view(1, 3, 1, 1)
                for v in self._normalise
            )
            self._mean, self._std = mean * 255, std * 255

    def encode_images(self, batch):
        """See :meth:`Encoder.encode_images`."""
        import torch

        with torch.inference_mode():
            batch = to_device(batch, self.device).float()
            if self._normalise is not None:
                batch = (batch - self._mean) / self._std
            batch = batch.contiguous(memory_format=self._format)
            with autocast(self.device, self.precision):
                embeddings = self._model.encode_image(batch)
            return unit_rows(embeddings.float().cpu().numpy())

    def encode_texts(self, texts):
        """See :meth:`Encoder.encode_texts`."""
        import torch

        texts = list(texts)
        rows = []
        with torch.inference_mode():
            for start in range(0, len(texts), _TEXT_BATCH):
                tokens = self._tokenizer(texts[start : start + _TEXT_BATCH])
                rows.append(
                    self._model.encode_text(tokens.to(self.device))
                    .float()
                    .cpu()
                    .numpy()
                )
        return unit_rows(np.concatenate(rows))

    @property
    def network(self):
        """See :attr:`Encoder.network`."""
        return self._model

    def _weights_digest(self):
        return digest_of_arrays(self._model.state_dict().items())


def _is_convolutional(tower):
    import torch

    return any(isinstance(m, torch.nn.BatchNorm2d) for m in tower.modules())


def _load(name):
    """Returns ``(full name, model, evaluation transform, tokenizer)``."""
    import open_clip

    if os.path.isdir(name):
        name = f"local-dir:{os.path.abspath(name)}"
    elif os.path.isfile(name):
        raise IQAError(
            f"Which architecture are the weights in {name!r}? Write "
            f"'ViT-B-32/{name}', or pass a folder with an "
            "open_clip_config.json"
        )

    if name.startswith(("hf-hub:", "local-dir:")):
        if name.startswith("hf-hub:"):
            _require_hub(name, cached=_hub_model_cached(name))
        return _create(name, name, None, {})

    architecture, _, pretrained = name.partition("/")
    if architecture not in open_clip.list_models():
        raise IQAError(
            f"Unknown encoder {name!r}: it is no open_clip architecture, no "
            "folder, and neither 'lite', 'zoo:…' nor 'hf-hub:…'. "
            "open_clip.list_models() lists the architectures"
        )

    if os.path.isfile(pretrained):
        path = os.path.abspath(pretrained)
        return _create(f"{architecture}/{path}", architecture, path, {})

    return _create_from_tag(architecture, pretrained)


def _create_from_tag(architecture, tag):
    from open_clip.pretrained import (
        get_pretrained_cfg,
        list_pretrained_tags_by_model,
    )

    tags = list_pretrained_tags_by_model(architecture)
    if not tag and tags:
        tag = "openai" if "openai" in tags else tags[0]
    if tag not in tags:
        raise IQAError(
            f"Unknown weights {tag!r} for {architecture}: neither a file nor "
            f"one of its tags: {', '.join(tags) or 'none'}"
        )

    name = f"{architecture}/{tag}"
    path = cached_weights(architecture, tag)
    _require_hub(name, cached=path is not None)

    # With a tag open_clip asks the hub even for cached weights, and takes
    # the tag's activation only as a warning
    config = get_pretrained_cfg(architecture, tag)
    options = {
        "force_quick_gelu": bool(config.get("quick_gelu")),
        "image_mean": config.get("mean"),
        "image_std": config.get("std"),
        "image_interpolation": config.get("interpolation"),
        "image_resize_mode": config.get("resize_mode"),
    }
    return _create(name, architecture, path or tag, options)


def _create(name, model_name, pretrained, options):
    import logging

    import open_clip

    try:
        model, _, transform = open_clip.create_model_and_transforms(
            model_name, pretrained=pretrained, weights_only=True, **options
        )
    except Exception as e:  # open_clip raises what its loaders raise
        raise EncoderUnavailableError(
            f"Encoder {name!r} could not be loaded: {e}"
        ) from e

    level = logging.root.level
    try:
        tokenizer = open_clip.get_tokenizer(model_name)
    finally:
        logging.root.setLevel(level)
    return name, model, transform, tokenizer


def _require_hub(name, cached):
    if not cached and not hub_reachable():
        raise EncoderUnavailableError(
            f"The weights of {name!r} are not cached and no hub can be "
            "reached. Connect once to fetch them, pass local weights as "
            "'ARCHITECTURE//path/to/checkpoint', or use encoder='lite'"
        )


def _hub_model_cached(name):
    from huggingface_hub import try_to_load_from_cache

    repository = name.removeprefix("hf-hub:").split("@")[0]
    path = try_to_load_from_cache(repository, "open_clip_config.json")
    return isinstance(path, str)


def _preprocessing(model, transform):
    """Returns ``(preprocessing, (mean, std) or None)``.

    Square resize-and-crop pipelines run on uint8, with normalisation on the
    device; anything else keeps open_clip's own transform.
    """
    from open_clip import get_model_preprocess_cfg

    config = get_model_preprocess_cfg(model)
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    mode, interpolation = config["resize_mode"], config["interpolation"]
    if (
        height != width
        or mode not in ("shortest", "squash")
        or interpolation not in ("bilinear", "bicubic")
    ):
        described = ", ".join(f"{k}={config[k]}" for k in sorted(config))
        return TorchTransform(transform, f"open_clip {described}"), None

    preprocessing = ResizeCrop(height, height, interpolation, mode)
    return preprocessing, (config["mean"], config["std"])
