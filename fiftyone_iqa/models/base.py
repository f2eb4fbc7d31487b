"""What a task model is to the rest of the package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np

from ..errors import IQAError


class ModelUnavailableError(RuntimeError):
    """A model's weights or packages are not to be had; says what to do."""


class TaskModel(ABC):
    """A trained classifier whose correctness is to be explained.

    Attributes:
        name: what :func:`fiftyone_iqa.models.get_task_model` makes it from
        slug: the stem of its fields, ``[a-z0-9_]``
        classes: its K class labels, in the order of its logits
        device: the ``torch.device`` it runs on
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``
        preprocessing: picklable callable, ``(h, w, 3)`` uint8 RGB array to
            one ``(c, h', w')`` array; runs in workers; its ``str`` is part
            of a score's configuration
    """

    name: str
    slug: str
    classes: tuple[str, ...]
    precision: str = "fp32"

    @cached_property
    def id(self) -> str:
        """The name plus a digest of all weights: changes when they do."""
        return f"{self.name}@{self._weights_digest()}"

    @abstractmethod
    def logits(self, batch) -> np.ndarray:
        """Classifies preprocessed images.

        Args:
            batch: ``(n, c, h', w')`` tensor or array of preprocessed images

        Returns:
            ``(n, K)`` float32 logits
        """

    def differentiable_logits(self, batch):
        """Classifies preprocessed images as :meth:`logits` does, with a graph.

        Args:
            batch: ``(n, c, h', w')`` float tensor on :attr:`device`, of
                preprocessed images, which for most models are RGB pixels in
                0...255

        Returns:
            ``(n, K)`` float32 tensor; gradients reach ``batch``

        Raises:
            IQAError: if gradients cannot be had from this model
        """
        raise IQAError(
            f"Task model {self.name!r} gives no gradients: pass it as a "
            "torch.nn.Module with classes= and transform=, or by the name of "
            "a torchvision or timm model"
        )

    def pixel_logits(self, pixels):
        """Classifies whole images so that gradients reach their pixels.

        Args:
            pixels: ``(n, 3, h, w)`` float tensor on :attr:`device`, RGB in
                0...255

        Returns:
            ``(n, K)`` float32 tensor with the graph

        Raises:
            IQAError: if gradients cannot be had from this model, or its
                images are prepared by a transform of another library
        """
        transform = getattr(self.preprocessing, "transform", None)
        if not hasattr(transform, "differentiably"):
            raise IQAError(
                f"Task model {self.name!r} gives no gradients: its images are "
                f"prepared by {self.preprocessing}; pass transform= a "
                "fiftyone_iqa.preprocessing.ResizeCrop"
            )
        return self.differentiable_logits(transform.differentiably(pixels))

    @property
    def network(self):
        """The ``torch.nn.Module`` it runs, or None where there is none."""
        return None

    @abstractmethod
    def _weights_digest(self) -> str:
        """Returns a short hexadecimal digest of the weights."""
