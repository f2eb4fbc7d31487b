"""What an image-text encoder is to the rest of the package."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

PRECISIONS = ("fp32", "bf16", "fp16")


class EncoderUnavailableError(RuntimeError):
    """An encoder's weights or packages are not to be had; says what to do."""


class Encoder(ABC):
    """An image tower and a text tower that share an embedding space.

    Attributes:
        name: what :func:`fiftyone_iqa.encoders.get_encoder` makes it from
        device: the ``torch.device`` it runs on
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``: the arithmetic of
            the image tower; embeddings are always returned in float32
        logit_scale: the temperature its softmax was trained or calibrated
            with
        preprocessing: picklable callable, ``(h, w, 3)`` uint8 RGB array to
            one ``(c, h', w')`` array; runs in workers; its ``str`` is part
            of a score's configuration
        templates: default prompt templates, each with one ``{}``
        caveat: one sentence to show wherever its scores are shown, or None
        parity: what ``precision="auto"`` measured, or None
    """

    name: str
    precision: str = "fp32"
    logit_scale: float
    templates: tuple[str, ...] = ("a photo of a {}.",)
    caveat: str | None = None
    parity = None

    @cached_property
    def id(self) -> str:
        """The name plus a digest of all weights: changes when they do."""
        return f"{self.name}@{self._weights_digest()}"

    def preprocess(self, image: np.ndarray):
        """Prepares one image.

        Args:
            image: ``(h, w, 3)`` uint8 RGB

        Returns:
            ``(c, h', w')`` tensor, uint8 where the encoder allows it
        """
        import torch

        return torch.from_numpy(self.preprocessing(image))

    @abstractmethod
    def encode_images(self, batch) -> np.ndarray:
        """Embeds preprocessed images.

        Args:
            batch: ``(n, c, h', w')`` tensor or array of preprocessed images

        Returns:
            ``(n, d)`` float32 array of unit rows
        """

    @abstractmethod
    def encode_texts(self, texts) -> np.ndarray:
        """Embeds texts.

        Args:
            texts: list of strings

        Returns:
            ``(k, d)`` float32 array of unit rows
        """

    @property
    def network(self):
        """The ``torch.nn.Module`` of the image tower, or None."""
        return None

    @abstractmethod
    def _weights_digest(self) -> str:
        """Returns a short hexadecimal digest of the weights."""


def autocast(device, precision: str):
    """Returns the context in which a network runs at a precision.

    Args:
        device: the ``torch.device`` it is on
        precision: one of :data:`PRECISIONS`; fp32 changes nothing
    """
    import torch

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(
        device.type,
        dtype=dtypes.get(precision),
        enabled=precision in dtypes,
    )


def to_device(batch, device):
    """Returns a batch on a device, in its own dtype.

    uint8 stays uint8 on the way, a quarter of the bytes of float32, and
    pinned memory lets the copy to a GPU run beside other work.

    Args:
        batch: an array or tensor
        device: the ``torch.device``
    """
    import torch

    batch = torch.as_tensor(batch)
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


def unit_rows(array) -> np.ndarray:
    """Returns the rows scaled to unit length, float32; zero rows stay zero."""
    array = np.asarray(array, dtype=np.float32)
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    return array / np.where(norms > 0, norms, 1)


def digest_of_arrays(named_arrays) -> str:
    """Returns 12 hexadecimal digits that identify named arrays.

    Args:
        named_arrays: iterable of ``(name, array or tensor)``
    """
    sha = hashlib.sha256()
    for name, array in sorted(named_arrays, key=lambda pair: pair[0]):
        if hasattr(array, "detach"):
            array = array.detach().cpu()
            # numpy has no bfloat16
            array = array.float().numpy()
        array = np.ascontiguousarray(array)
        sha.update(f"{name}{array.dtype}{array.shape}".encode())
        sha.update(memoryview(array).cast("B"))
    return sha.hexdigest()[:12]
