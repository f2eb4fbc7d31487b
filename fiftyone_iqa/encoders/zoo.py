"""FiftyOne models that embed images and prompts, such as the zoo's CLIPs."""

from __future__ import annotations

import numpy as np

from ..errors import IQAError
from ..preprocessing import TorchTransform
from .base import Encoder, EncoderUnavailableError, digest_of_arrays, unit_rows

_CLIP_SCALE = 100.0


def load_zoo_encoder(name: str, device: str) -> ZooEncoder:
    """Loads ``"zoo:<model name>"``.

    Raises:
        IQAError: if the zoo has no such model
        EncoderUnavailableError: if it cannot be loaded
    """
    import fiftyone.zoo as foz

    model_name = name.removeprefix("zoo:")
    if model_name not in foz.list_zoo_models():
        raise IQAError(
            f"FiftyOne's zoo has no model {model_name!r}; "
            "fiftyone.zoo.list_zoo_models() lists what there is"
        )

    try:
        # Classes and prompt are ours to choose: a zoo CLIP insists on some
        model = foz.load_zoo_model(
            model_name, device=device, classes=["image"], text_prompt=""
        )
    except Exception as e:  # downloads and loaders raise anything
        raise EncoderUnavailableError(
            f"Zoo model {model_name!r} could not be loaded: {e}"
        ) from e

    return ZooEncoder(model, name)


class ZooEncoder(Encoder):
    """A ``fiftyone.core.models.Model`` with image and prompt embeddings.

    Args:
        model: the model; must be able to embed prompts
        name (None): what to call it, by default after its class

    Raises:
        IQAError: if it does not embed prompts or has no transforms
    """

    def __init__(self, model, name: str | None = None):
        if not getattr(model, "can_embed_prompts", False):
            raise IQAError(
                f"{type(model).__name__} is no image-text encoder: it cannot "
                "embed prompts"
            )
        if getattr(model, "transforms", None) is None:
            raise IQAError(
                f"{type(model).__name__} has no transforms to prepare images"
            )

        import torch

        self.name = name or f"model:{type(model).__name__}"
        self._model = model
        self._network = getattr(model, "_model", None)
        # FiftyOne's classes choose it themselves: half precision on GPUs
        self.precision = "model"
        self.device = getattr(model, "device", torch.device("cpu"))
        self.preprocessing = TorchTransform(
            model.transforms, f"{type(model).__name__} transforms"
        )
        scale = getattr(self._network, "logit_scale", None)
        self.logit_scale = (
            _CLIP_SCALE if scale is None else float(scale.detach().exp())
        )
        # A model with a prompt of its own puts it before ours
        if getattr(getattr(model, "config", None), "text_prompt", None):
            self.templates = ("{}",)

    def encode_images(self, batch):
        """See :meth:`Encoder.encode_images`."""
        import torch

        batch = torch.as_tensor(batch)
        preprocess, self._model.preprocess = self._model.preprocess, False
        try:
            with torch.inference_mode():
                embeddings = self._model.embed_all(batch)
        finally:
            self._model.preprocess = preprocess
        return unit_rows(np.asarray(embeddings))

    def encode_texts(self, texts):
        """See :meth:`Encoder.encode_texts`."""
        import torch

        with torch.inference_mode():
            return unit_rows(self._model.embed_prompts(list(texts)))

    @property
    def network(self):
        """See :attr:`Encoder.network`."""
        return self._network

    def _weights_digest(self):
        if self._network is None:
            raise IQAError(f"{self.name} exposes no weights to identify it by")
        return digest_of_arrays(self._network.state_dict().items())
